"""The recovery phrase, ids and certificate chains."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import AuthenticationError, DecodeError, IdentityError
from crypto.identity.accounts import (
    DeviceChain,
    SigningKeyCertificate,
    account_id_of,
    certify_device,
    certify_signing_key,
    derive_recovery_phrase,
    derive_root_key,
    device_id_of,
    format_account_id,
    generate_recovery_phrase,
    generate_signature_key_pair,
    parse_account_id,
    verify_chain,
    verify_device,
    verify_signing_key,
)
from crypto.secret import Secret
from crypto.wire import decode, encode
from tests.crypto.identities import NOW, account, key_pair

VECTORS = json.loads((Path(__file__).parent / "data" / "identity.json").read_text())
PHRASE = VECTORS["phrase"]

# From the vectors published with BIP-39: entropy of one byte 32 times.
BIP39 = {
    0x00: "abandon " * 23 + "art",
    0x7F: "legal winner thank year wave sausage worth useful " * 2 + "legal winner thank year wave sausage worth title",
    0x80: "letter advice cage absurd amount doctor acoustic avoid " * 2
    + "letter advice cage absurd amount doctor acoustic bless",
    0xFF: "zoo " * 23 + "vote",
}


@pytest.mark.parametrize("byte", BIP39)
def test_words_are_those_of_bip39(byte: int) -> None:
    assert derive_recovery_phrase(Secret(bytes([byte]) * 32)) == BIP39[byte]


def test_root_key_is_hkdf_of_the_entropy() -> None:
    """The derivation written out from RFC 5869, independent of the library that the code uses."""
    extracted = hmac.digest(bytes(32), bytes.fromhex(VECTORS["entropy"]), "sha256")
    seed = hmac.digest(extracted, b"Sealdesk 1.0 root key\x01", "sha256")
    assert derive_root_key(PHRASE).private == Secret(seed)


def test_generated_phrase_has_24_words_and_leads_to_one_root_key() -> None:
    phrase = generate_recovery_phrase()
    assert len(phrase.split(" ")) == 24
    assert derive_root_key(phrase) == derive_root_key(phrase)
    assert phrase != generate_recovery_phrase()


def test_case_spacing_and_width_of_the_words_do_not_matter() -> None:
    full_width = "".join(chr(ord(letter) + 0xFEE0) if letter.isalpha() else letter for letter in PHRASE)
    for written in (PHRASE.upper(), f"  {PHRASE}\n", PHRASE.replace(" ", "\t\n "), full_width):
        assert derive_root_key(written) == derive_root_key(PHRASE)


@pytest.mark.parametrize(
    "damage, text",
    [
        (lambda words: words[:-1], "a recovery phrase has 24 words, this one has 23"),
        (lambda words: [*words, "zoo"], "a recovery phrase has 24 words, this one has 25"),
        (lambda words: [], "a recovery phrase has 24 words, this one has 0"),
        (lambda words: [*words[:11], "xyzzyplugh", *words[12:22], "qqqq", words[23]], "word 12, 23"),
        (lambda words: [words[1], words[0], *words[2:]], "a word is wrong or out of place"),
        (lambda words: [*words[:23], "zoo"], "a word is wrong or out of place"),
    ],
)
def test_a_typo_is_named_without_the_words(damage, text: str) -> None:  # type: ignore[no-untyped-def]  # damage is any function of a phrase
    words = damage(PHRASE.split())
    with pytest.raises(IdentityError, match=text) as caught:
        derive_root_key(" ".join(words))
    shown = "".join(traceback.format_exception_only(caught.value))
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert not [word for word in words if len(word) > 4 and word in shown]


@given(st.binary(min_size=32, max_size=32))
def test_every_phrase_leads_back_to_its_entropy(entropy: bytes) -> None:
    root = derive_root_key(derive_recovery_phrase(Secret(entropy)))
    assert root != derive_root_key(PHRASE)
    assert len(root.public) == 32


@given(st.text(max_size=300))
def test_any_text_is_a_phrase_or_an_identity_error(text: str) -> None:
    with pytest.raises(IdentityError):
        derive_root_key(text)


def test_ids_are_truncated_hashes_with_their_own_labels() -> None:
    key = key_pair("anyone").public
    assert account_id_of(key) == hashlib.sha256(b"Sealdesk 1.0 account" + key).digest()[:20]
    assert device_id_of(key) == hashlib.sha256(b"Sealdesk 1.0 device" + key).digest()[:20]


@given(st.binary(min_size=20, max_size=20))
def test_account_ids_round_trip_through_their_text(account_id: bytes) -> None:
    text = format_account_id(account_id)
    assert len(text) == 32
    assert text == text.lower()
    assert parse_account_id(text) == account_id


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a" * 31,
        "a" * 33,
        "A" * 32,
        "1" * 32,
        "a" * 32 + "\n",
        " " + "a" * 31,
        "a" * 31 + "=",
        "\uff41" * 32,
        "\u0131" * 32,
    ],
)
def test_other_texts_are_no_account_ids(text: str) -> None:
    with pytest.raises(IdentityError):
        parse_account_id(text)


def test_a_chain_leads_from_root_to_device() -> None:
    alice = account("alice", signing_key_version=7)
    device = verify_chain(encode(alice.devices[0].chain))
    assert device.account_id == alice.account_id
    assert device.root_key == alice.root.public
    assert device.device_key == alice.devices[0].keys.public
    assert device.device_id == alice.devices[0].device_id
    assert device.certificate == alice.devices[0].certificate
    assert device.certificate.signing_key_version == 7


def test_generated_keys_certify_like_any_other() -> None:
    root, signing, keys = (generate_signature_key_pair() for _ in range(3))
    certificate = certify_signing_key(root, signing.public, 1)
    chain = DeviceChain(certificate, certify_device(signing, certificate, keys.public, NOW))
    assert verify_chain(encode(chain)).device_key == keys.public


def test_wrong_root_is_refused() -> None:
    forged = dataclasses.replace(account("alice").certificate, root_key=key_pair("mallory root").public)
    with pytest.raises(AuthenticationError):
        verify_signing_key(forged)


@pytest.mark.parametrize("change", [{"version": 2}, {"signing_key": key_pair("mallory").public}])
def test_changed_signing_key_certificate_is_refused(change: dict[str, object]) -> None:
    forged = dataclasses.replace(account("alice").certificate, **change)  # type: ignore[arg-type]  # fields by name
    with pytest.raises(AuthenticationError):
        verify_signing_key(forged)


@pytest.mark.parametrize("change", [{"device_key": key_pair("mallory").public}, {"issued_at": NOW + 1}])
def test_changed_device_certificate_is_refused(change: dict[str, object]) -> None:
    alice = account("alice")
    forged = dataclasses.replace(alice.devices[0].certificate, **change)  # type: ignore[arg-type]  # fields by name
    with pytest.raises(AuthenticationError):
        verify_device(verify_signing_key(alice.certificate), forged)


def test_a09_certificates_swapped_between_accounts_are_refused() -> None:
    alice, bob = account("alice"), account("bob")
    with pytest.raises(IdentityError, match="another account"):
        verify_chain(encode(DeviceChain(alice.certificate, bob.devices[0].certificate)))


def test_a09_attackers_key_under_the_victims_name_is_refused() -> None:
    """Mallory certifies its own device for Alice's account with a signing key that Alice's root did not certify."""
    alice, mallory = account("alice"), account("mallory")
    device_certificate = certify_device(mallory.signing, alice.certificate, mallory.devices[0].keys.public, NOW)
    with pytest.raises(AuthenticationError):
        verify_chain(encode(DeviceChain(alice.certificate, device_certificate)))


def test_device_certificate_of_another_signing_key_version_is_refused() -> None:
    old, new = account("alice", signing_key_version=1), account("alice", signing_key_version=2)
    assert old.account_id == new.account_id
    with pytest.raises(IdentityError, match="another version"):
        verify_chain(encode(DeviceChain(new.certificate, old.devices[0].certificate)))


@pytest.mark.parametrize("size", [0, 1, 63, 65, 128])
def test_a42_signatures_of_other_sizes_are_refused(size: int) -> None:
    certificate = account("alice").certificate
    forged = dataclasses.replace(certificate, signature=(certificate.signature * 2)[:size])
    with pytest.raises(AuthenticationError):
        verify_signing_key(forged)
    with pytest.raises(DecodeError):
        decode(SigningKeyCertificate, encode(certificate)[:-64] + forged.signature)


def test_a42_signature_with_another_encoding_of_its_scalar_is_refused() -> None:
    """Adding the group order to S gives the same equation; libsodium takes the canonical S only (RFC 8032 §5.1.7)."""
    order = 2**252 + 27742317777372353535851937790883648493
    certificate = account("alice").certificate
    scalar = int.from_bytes(certificate.signature[32:], "little") + order
    forged = dataclasses.replace(certificate, signature=certificate.signature[:32] + scalar.to_bytes(32, "little"))
    with pytest.raises(AuthenticationError):
        verify_signing_key(forged)


def test_low_order_root_key_signs_for_nobody() -> None:
    """With the neutral point as key, R = neutral and S = 0 would sign everything."""
    neutral = (1).to_bytes(32, "little")
    forged = SigningKeyCertificate(neutral, key_pair("mallory").public, 1, neutral + bytes(32))
    with pytest.raises(AuthenticationError):
        verify_signing_key(forged)


@given(st.integers(min_value=0), st.integers(min_value=0, max_value=7))
def test_no_bit_of_a_chain_can_change(place: int, bit: int) -> None:
    identity = bytearray(encode(account("alice").devices[0].chain))
    identity[place % len(identity)] ^= 1 << bit
    with pytest.raises((AuthenticationError, IdentityError)):
        verify_chain(bytes(identity))


@given(st.binary(max_size=400))
def test_random_bytes_are_no_chain(identity: bytes) -> None:
    with pytest.raises((DecodeError, AuthenticationError, IdentityError)):
        verify_chain(identity)


def test_encodings_and_signatures_stay_as_they_are() -> None:
    """Regression vectors, made by this code: a change of derivation, label or layout breaks every account."""
    root = derive_root_key(PHRASE)
    assert derive_recovery_phrase(Secret(bytes.fromhex(VECTORS["entropy"]))) == PHRASE
    assert root.public.hex() == VECTORS["root_key"]
    assert format_account_id(account_id_of(root.public)) == VECTORS["account_id"]
    signing, keys = key_pair("vector signing"), key_pair("vector device")
    certificate = certify_signing_key(root, signing.public, 3)
    assert encode(certificate).hex() == VECTORS["signing_key_certificate"]
    assert encode(certify_device(signing, certificate, keys.public, NOW)).hex() == VECTORS["device_certificate"]
    assert device_id_of(keys.public).hex() == VECTORS["device_id"]
