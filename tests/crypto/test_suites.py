"""The table of suites and its labelled functions, against the official vectors. See `test_wycheproof` for others."""

from __future__ import annotations

import pytest

from crypto import suites
from crypto.errors import AuthenticationError, DecodeError, Unsupported
from crypto.kem import HPKEKeyPair
from crypto.mls.secret_tree import derive_tree_secret
from crypto.secret import Secret
from crypto.suites import (
    SUITES,
    X_WING,
    CipherSuite,
    HPKECiphertext,
    SignatureKeyPair,
    derive_ed25519_key_pair,
    encode_sign_content,
    suite_of,
    verify_ed25519,
)
from tests.vectors import Case, each

EVERY_SUITE = pytest.mark.parametrize("chosen", SUITES.values(), ids=[str(suite_id) for suite_id in SUITES])
ECDSA_SUITES = pytest.mark.parametrize("chosen", [SUITES[2], SUITES[5], SUITES[7]], ids=["P-256", "P-521", "P-384"])


def hexed(case: Case, *names: str) -> list[bytes]:
    return [bytes.fromhex(case[name]) for name in names]


@each("mls/crypto-basics.json")
def test_ref_hash(case: Case) -> None:
    basics = case["ref_hash"]
    value, out = hexed(basics, "value", "out")
    assert suite_of(case["cipher_suite"]).ref_hash(basics["label"], value) == out


@each("mls/crypto-basics.json")
def test_expand_with_label(case: Case) -> None:
    basics = case["expand_with_label"]
    secret, context, out = hexed(basics, "secret", "context", "out")
    chosen = suite_of(case["cipher_suite"])
    assert chosen.expand_with_label(Secret(secret), basics["label"], context, basics["length"]) == Secret(out)


@each("mls/crypto-basics.json")
def test_derive_secret(case: Case) -> None:
    basics = case["derive_secret"]
    secret, out = hexed(basics, "secret", "out")
    assert suite_of(case["cipher_suite"]).derive_secret(Secret(secret), basics["label"]) == Secret(out)


@each("mls/crypto-basics.json")
def test_derive_tree_secret(case: Case) -> None:
    basics = case["derive_tree_secret"]
    secret, out = hexed(basics, "secret", "out")
    chosen = suite_of(case["cipher_suite"])
    derived = derive_tree_secret(chosen, Secret(secret), basics["label"], basics["generation"], basics["length"])
    assert derived == Secret(out)


@each("mls/crypto-basics.json")
def test_sign_with_label(case: Case) -> None:
    basics = case["sign_with_label"]
    private, public, content, signature = hexed(basics, "priv", "pub", "content", "signature")
    chosen = suite_of(case["cipher_suite"])
    chosen.verify_with_label(public, basics["label"], content, signature)
    ours = chosen.sign_with_label(SignatureKeyPair(Secret(private), public), basics["label"], content)
    chosen.verify_with_label(public, basics["label"], content, ours)
    with pytest.raises(AuthenticationError):
        chosen.verify_with_label(public, basics["label"] + "x", content, signature)
    with pytest.raises(AuthenticationError):
        chosen.verify_with_label(public, basics["label"], content + b"x", signature)


@each("mls/crypto-basics.json")
def test_encrypt_with_label(case: Case) -> None:
    basics = case["encrypt_with_label"]
    private, public, context, plaintext = hexed(basics, "priv", "pub", "context", "plaintext")
    chosen, label = suite_of(case["cipher_suite"]), basics["label"]
    theirs = HPKECiphertext(*hexed(basics, "kem_output", "ciphertext"))
    ours = chosen.encrypt_with_label(public, label, context, plaintext)
    assert ours != theirs
    keys = HPKEKeyPair(Secret(private), public)
    for sealed in (theirs, ours):
        assert chosen.decrypt_with_label(keys, label, context, sealed) == Secret(plaintext)
        with pytest.raises(AuthenticationError):
            chosen.decrypt_with_label(keys, label + "x", context, sealed)
        with pytest.raises(AuthenticationError):
            chosen.decrypt_with_label(keys, label, context + b"x", sealed)


def test_suites_by_code_point() -> None:
    assert list(SUITES) == [1, 2, 3, 4, 5, 6, 7, 0xF647]
    assert suite_of(0xF647) is X_WING
    for suite_id in (0, 8, 0xFFFF):
        with pytest.raises(Unsupported, match=f"0x{suite_id:04x}"):
            suite_of(suite_id)


@EVERY_SUITE
def test_sizes(chosen: CipherSuite) -> None:
    secret = chosen.generate_secret()
    assert len(secret) == len(chosen.zero_secret) == len(chosen.hash(b"")) == chosen.hash_size
    assert len(chosen.mac(secret, b"")) == len(chosen.extract(secret, secret)) == chosen.hash_size
    assert chosen.zero_secret == Secret(bytes(chosen.hash_size))
    key = chosen.expand_with_label(secret, "key", b"", chosen.aead_key_size)
    assert len(chosen.aead_seal(key, bytes(12), b"", b"")) == 16
    pair, signer = chosen.generate_hpke_key_pair(), chosen.signature.generate()
    assert (len(pair.private), len(pair.public)) == (chosen.hpke.kem.private_key_size, chosen.hpke.kem.public_key_size)
    assert len(signer.public) == chosen.signature.public_key_size


@EVERY_SUITE
def test_what_is_generated_is_fresh(chosen: CipherSuite) -> None:
    assert chosen.generate_secret() != chosen.generate_secret()
    assert chosen.generate_hpke_key_pair().public != chosen.generate_hpke_key_pair().public
    assert chosen.signature.generate().public != chosen.signature.generate().public


@EVERY_SUITE
def test_a_mac_counts_only_whole(chosen: CipherSuite) -> None:
    key = Secret(bytes(range(chosen.hash_size)))
    tag = chosen.mac(key, b"data")
    chosen.verify_mac(key, b"data", tag)
    flipped = [tag[:place] + bytes([tag[place] ^ 1]) + tag[place + 1 :] for place in range(len(tag))]
    for wrong in [*flipped, *(tag[:size] for size in range(len(tag))), tag + b"\0", tag * 2]:
        with pytest.raises(AuthenticationError, match=r"^the message is not authentic$"):
            chosen.verify_mac(key, b"data", wrong)
    with pytest.raises(AuthenticationError):
        chosen.verify_mac(key, b"dat", tag)


@EVERY_SUITE
def test_aead_opens_what_was_sealed_and_nothing_else(chosen: CipherSuite) -> None:
    key, nonce = Secret(bytes(chosen.aead_key_size)), bytes(12)
    sealed = chosen.aead_seal(key, nonce, b"aad", b"plaintext")
    assert chosen.aead_open(key, nonce, b"aad", sealed) == b"plaintext"
    wrong = [(nonce, b"aae", sealed), (b"\1" + nonce[1:], b"aad", sealed), (nonce, b"", sealed)]
    wrong += [(nonce, b"aad", sealed[:size]) for size in range(len(sealed))]
    wrong += [(nonce, b"aad", sealed[:n] + bytes([sealed[n] ^ 1]) + sealed[n + 1 :]) for n in range(len(sealed))]
    for other_nonce, aad, ciphertext in wrong:
        with pytest.raises(AuthenticationError, match=r"^the message is not authentic$"):
            chosen.aead_open(key, other_nonce, aad, ciphertext)


@EVERY_SUITE
def test_signatures_hold_for_one_key_and_message(chosen: CipherSuite) -> None:
    signer, other = chosen.signature.generate(), chosen.signature.generate()
    signature = chosen.sign_with_label(signer, "label", b"content")
    chosen.verify_with_label(signer.public, "label", b"content", signature)
    for key, signed in (
        (other.public, signature),
        (signer.public[:-1], signature),
        (signer.public + b"\0", signature),
        (b"", signature),
        (signer.public, b""),
        (signer.public, signature[:-1]),
        (signer.public, signature + b"\0"),
        (signer.public, signature[:-1] + bytes([signature[-1] ^ 1])),
    ):
        with pytest.raises(AuthenticationError, match=r"^the message is not authentic$"):
            chosen.verify_with_label(key, "label", b"content", signed)


@ECDSA_SUITES
def test_a_signature_key_has_one_encoding(chosen: CipherSuite) -> None:
    """Otherwise two leaves could hold one key that looks like two (rule L12)."""
    signer = chosen.signature.generate()
    signature = chosen.sign_with_label(signer, "label", b"content")
    half = len(signer.public) // 2
    odd = signer.public[-1] & 1
    compressed, hybrid = bytes([2 + odd]) + signer.public[1 : 1 + half], bytes([6 + odd]) + signer.public[1:]
    for wrong in (compressed, hybrid):
        with pytest.raises(AuthenticationError):
            chosen.verify_with_label(wrong, "label", b"content", signature)


@ECDSA_SUITES
def test_a_signature_is_der_and_nothing_like_it(chosen: CipherSuite) -> None:
    """RFC 9420 §5.1.2. Other encodings of the same two integers would be other messages with other references."""
    signer = chosen.signature.generate()
    good = chosen.signature.sign(signer, b"content")
    chosen.signature.verify(signer.public, b"content", good)
    header = 3 if good[1] == 0x81 else 2  # of the sequence; P-521's is longer than 127 bytes
    body = good[header:]
    r_size = body[1]
    r, s = body[2 : 2 + r_size], body[4 + r_size :]
    assert body == _integer(r) + _integer(s)
    for wrong in (
        _sequence(_integer(b"\0" + r) + _integer(s)),  # a leading zero too many
        _sequence(_integer(r) + _integer(b"\0" + s)),
        _sequence(b"\x02\x81" + _integer(r)[1:] + _integer(s)),  # a length in more bytes than it needs
        b"\x30\x82\0" + bytes([len(body)]) + body,
        b"\x30\x80" + body + b"\0\0",  # an indefinite length
        _sequence(body + b"\0"),
        _sequence(body + _integer(b"\1")),
        _sequence(_integer(r)),
        good + b"\0",
        r + s,
    ):
        with pytest.raises(AuthenticationError):
            chosen.signature.verify(signer.public, b"content", wrong)


def _integer(content: bytes) -> bytes:
    return b"\x02" + bytes([len(content)]) + content


def _sequence(content: bytes) -> bytes:
    long = b"\x81" if len(content) > 127 else b""
    return b"\x30" + long + bytes([len(content)]) + content


@EVERY_SUITE
def test_nothing_is_encrypted_to_a_bad_key(chosen: CipherSuite) -> None:
    with pytest.raises(DecodeError):
        chosen.encrypt_with_label(bytes(chosen.hpke.kem.public_key_size), "label", b"", b"plaintext")


def test_sign_content_frames_label_and_content() -> None:
    assert encode_sign_content("ab", b"c") == b"\x02ab\x01c"


def test_ed25519_refuses_keys_of_low_order() -> None:
    """Under such a key one signature holds for many messages."""
    for public in (bytes(32), b"\x01" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f"):
        for signature in (bytes(64), b"\x01" + bytes(63)):
            with pytest.raises(AuthenticationError):
                verify_ed25519(public, b"message", signature)


def test_ed448_refuses_keys_of_low_order() -> None:
    """The primitive takes them all: the signature of the neutral element and zero holds for any message."""
    scheme = SUITES[4].signature
    assert len(suites._ED448_LOW_ORDER) == 10
    for public in suites._ED448_LOW_ORDER:
        for signature in (bytes(114), b"\x01" + bytes(113)):
            with pytest.raises(AuthenticationError):
                scheme.verify(public, b"message", signature)


def test_ed448_signs_as_published() -> None:
    """RFC 8032 §7.4, "1 octet"."""
    private = (
        "c4eab05d357007c632f3dbb48489924d552b08fe0c353a0d4a1f00acda2c463afbea67c5e8d2877c5e3bc397a659949e"
        "f8021e954e0a12274e"
    )
    public = (
        "43ba28f430cdff456ae531545f7ecd0ac834a55d9358c0372bfa0c6c6798c0866aea01eb00742802b8438ea4cb82169c"
        "235160627b4c3a9480"
    )
    signature = (
        "26b8f91727bd62897af15e41eb43c377efb9c610d48f2335cb0bd0087810f4352541b143c4b981b7e18f62de8ccdf633"
        "fc1bf037ab7cd779805e0dbcc0aae1cbcee1afb2e027df36bc04dcecbf154336c19f0af7e0a6472905e799f1953d2a0f"
        "f3348ab21aa4adafd1d234441cf807c03a00"
    )
    signer = SignatureKeyPair(Secret(bytes.fromhex(private)), bytes.fromhex(public))
    assert SUITES[4].signature.sign(signer, b"\x03").hex() == signature
    SUITES[6].signature.verify(signer.public, b"\x03", bytes.fromhex(signature))


def test_derive_ed25519_key_pair() -> None:
    """RFC 8032 §7.1, test 1."""
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert derive_ed25519_key_pair(Secret(seed)) == SignatureKeyPair(Secret(seed), bytes.fromhex(public))
