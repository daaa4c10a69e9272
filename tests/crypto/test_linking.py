"""Linking a device: the round trip, and what a server, a stranger or a former offer may try in it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crypto.errors import AuthenticationError, DecodeError, IdentityError, Unsupported, UsageError
from crypto.identity import linking
from crypto.identity.accounts import certify_device, certify_signing_key, device_id_of
from crypto.identity.device_list import DEVICES_MAX, sign_device_list, sign_next_device_list, verify_device_list
from crypto.identity.link_codes import LinkCode, format_link_code, parse_link_code, parse_link_scan
from crypto.identity.linking import (
    LINK_OFFER_BYTES_MAX,
    LINK_PACKAGE_BYTES_MAX,
    OFFER_LIFETIME_S,
    ConfirmedOffer,
    LinkContents,
    LinkOffer,
    LinkPackage,
    PendingLink,
    certify_link,
    confirm_compared,
    confirm_scanned,
    generate_link_offer,
    open_link_package,
    read_link_offer,
    seal_link_package,
)
from crypto.identity.signing import SignedLabel, sign_object
from crypto.secret import Secret
from crypto.suites import X_WING, HPKECiphertext, encode_sign_content
from crypto.wire import decode, encode
from tests.crypto.identities import NOW, Account, account, key_pair, secret
from tests.crypto.links import CODE, CONTENTS, HISTORY, URL, answer, cheap_argon2id, compared, offer_of, scanned

VECTORS = json.loads((Path(__file__).parent / "data" / "linking.json").read_text())
ALICE, MALLORY = account("alice", devices=2), account("mallory")


@pytest.fixture(scope="module", autouse=True)
def cheap() -> Iterator[None]:
    with cheap_argon2id():
        yield


def package_of(person: Account, pending: PendingLink, **changes: object) -> LinkPackage:
    """What `certify_link` seals, with other fields."""
    certificate = certify_device(person.signing, person.certificate, pending.device_key.public, NOW)
    ids = frozenset({person.devices[0].device_id, device_id_of(pending.device_key.public)})
    package = LinkPackage(
        proof=pending.pairing.proof,
        signing_seed=person.signing.private,
        signing_key_certificate=person.certificate,
        device_certificate=certificate,
        device_list=sign_device_list(person.signing, person.certificate, 2, ids, NOW),
        profile_keys=CONTENTS.profile_keys,
        contacts=CONTENTS.contacts,
        history=None,
        padding=b"",
    )
    return dataclasses.replace(package, **changes)  # type: ignore[arg-type]  # fields by name


def open_changed(person: Account, pending: PendingLink, **changes: object) -> None:
    confirmed = ConfirmedOffer(pending.offer, pending.pairing)
    open_link_package(pending, seal_link_package(confirmed, package_of(person, pending, **changes)), NOW)


def resigned(pending: PendingLink, **changes: object) -> bytes:
    """The offer with other fields, signed with the device key that it names if that is ours."""
    changed = dataclasses.replace(pending.offer, **changes)  # type: ignore[arg-type]  # fields by name
    return encode(sign_object(pending.device_key, SignedLabel.LINK_OFFER, changed))


@pytest.mark.parametrize("confirm", [scanned, compared])
@pytest.mark.parametrize("history", [None, HISTORY])
def test_a_device_is_linked(confirm: Callable[[PendingLink], ConfirmedOffer], history: object) -> None:
    pending = generate_link_offer(URL, NOW)
    contents = dataclasses.replace(CONTENTS, history=history)  # type: ignore[arg-type]  # either of the two
    made = answer(ALICE, confirm(pending), contents)
    linked = open_link_package(pending, made.sealed_package, NOW + 60)
    assert linked.account_id == ALICE.account_id
    assert linked.root_key == ALICE.root.public
    assert linked.signing_key == ALICE.signing
    assert linked.device_key == pending.device_key
    assert linked.device_certificate == made.device_certificate
    assert linked.device_list == made.device_list
    assert linked.contents == contents
    assert linked.device_list.version == ALICE.verified_list().version + 1
    expected = {*ALICE.verified_list().device_ids, device_id_of(pending.offer.device_key)}
    assert set(linked.device_list.device_ids) == expected


def test_the_typed_code_leads_to_the_same_string_on_both_sides() -> None:
    pending = generate_link_offer(URL, NOW)
    typed = parse_link_code(format_link_code(pending.code).lower())
    fetched = read_link_offer(encode(pending.offer), typed, URL, NOW)
    assert fetched.pairing == pending.pairing
    confirm_compared(fetched, f" {fetched.pairing.short_string.replace('-', ' ').lower()}")


def test_no_two_offers_are_alike() -> None:
    one, other = generate_link_offer(URL, NOW), generate_link_offer(URL, NOW)
    for part in (
        lambda pending: pending.offer.device_key,
        lambda pending: pending.offer.hpke_key,
        lambda pending: pending.pairing.short_string,
        lambda pending: pending.pairing.proof.reveal(),
    ):
        assert part(one) != part(other)


def test_offer_string_and_qr_code_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the full cost: a changed parameter would part the two devices."""
    monkeypatch.setattr(linking, "ARGON2ID_ITERATIONS", 8)
    monkeypatch.setattr(linking, "ARGON2ID_MEMORY_KIB", 64 * 1024)
    assert linking.ARGON2ID_LANES == 4
    pending = offer_of("vector")
    assert pending.pairing.offer_hash.hex() == VECTORS["offer_hash"]
    assert pending.pairing.short_string == VECTORS["short_string"]
    assert pending.pairing.proof.reveal().hex() == VECTORS["proof"]
    assert pending.qr_text == VECTORS["qr_text"]


def test_the_server_is_given_nothing_that_depends_on_the_secret() -> None:
    """Or else it could try the 2^25 secrets, and then look for an offer that shows the same string."""
    other = offer_of("phone", LinkCode(CODE.mailbox, Secret(b"00000")))
    assert encode(offer_of("phone").offer) == encode(other.offer)
    assert offer_of("phone").pairing.short_string != other.pairing.short_string
    assert offer_of("phone").pairing.proof != other.pairing.proof


def test_secrets_are_not_shown() -> None:
    pending = offer_of("phone")
    linked = open_link_package(pending, answer(ALICE, compared(pending)).sealed_package, NOW)
    for shown in (repr(pending), repr(linked), repr(package_of(ALICE, pending)), repr(compared(pending))):
        for hidden in (
            pending.code.secret.reveal().decode(),
            pending.pairing.short_string,
            repr(pending.pairing.proof.reveal()),
            repr(ALICE.signing.private.reveal()),
            repr(CONTENTS.contacts.reveal()),
        ):
            assert hidden not in shown


@pytest.mark.parametrize("handed_out", [offer_of("mallory's phone"), offer_of("phone", made_at=NOW - 1)])
def test_an_offer_swapped_by_the_server_is_not_confirmed(handed_out: PendingLink) -> None:
    """Somebody else's, with the right mailbox, and the one that the same device made before."""
    pending = offer_of("phone")
    with pytest.raises(IdentityError, match="another offer than the new device shows"):
        scanned(pending, encode(handed_out.offer))
    with pytest.raises(IdentityError, match="different strings"):
        compared(pending, encode(handed_out.offer))


@pytest.mark.parametrize("part", ["hpke_key", "device_key"])
def test_a_half_swapped_offer_is_refused(part: str) -> None:
    """The victim's device with the attacker's HPKE key, or the other way round: the signature is one of both."""
    pending, mallory = offer_of("phone"), offer_of("mallory's phone")
    mixed = dataclasses.replace(pending.offer, **{part: getattr(mallory.offer, part)})
    with pytest.raises(AuthenticationError):
        read_link_offer(encode(mixed), CODE, URL, NOW)


def test_an_offer_needs_the_key_of_the_device_that_it_names() -> None:
    """Or else an account would certify a key that somebody else holds."""
    mallory = offer_of("mallory's phone")
    unsigned = dataclasses.replace(mallory.offer, device_key=ALICE.devices[0].keys.public)
    with pytest.raises(AuthenticationError):
        read_link_offer(encode(sign_object(mallory.device_key, SignedLabel.LINK_OFFER, unsigned)), CODE, URL, NOW)


def test_every_field_of_an_offer_counts() -> None:
    offer = offer_of("phone").offer
    changes: dict[str, object] = {
        "server_url": b"https://evil.example.org",
        "mailbox": b"0000",
        "device_key": key_pair("another").public,
        "hpke_key": X_WING.derive_key_pair(secret("another")).public,
        "made_at": NOW + 1,
        "signature": bytes(64),
    }
    assert {field.name for field in dataclasses.fields(offer)} == {"version", *changes}
    for name, value in changes.items():
        with pytest.raises(AuthenticationError):
            read_link_offer(encode(dataclasses.replace(offer, **{name: value})), CODE, URL, NOW)  # type: ignore[arg-type]  # fields by name
    with pytest.raises(Unsupported, match="update both"):
        read_link_offer(encode(dataclasses.replace(offer, version=2)), CODE, URL, NOW)


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"mailbox": b"0000"}, "another code"),
        ({"server_url": b"https://evil.example.org"}, "another server"),
        ({"made_at": NOW - OFFER_LIFETIME_S - 1}, "last 10 minutes"),
        ({"made_at": NOW + OFFER_LIFETIME_S + 1}, "last 10 minutes"),
    ],
)
def test_an_offer_of_another_place_or_time_is_refused(changes: dict[str, object], text: str) -> None:
    with pytest.raises(IdentityError, match=text):
        read_link_offer(resigned(offer_of("phone"), **changes), CODE, URL, NOW)


def test_an_offer_without_a_usable_key_is_refused() -> None:
    with pytest.raises(DecodeError, match="HPKE public key"):
        read_link_offer(resigned(offer_of("phone"), hpke_key=b"\xff" * 1184 + bytes(32)), CODE, URL, NOW)


@pytest.mark.parametrize("encoded", [b"", b"\x01", b"\x01" * 300, bytes([1]) * (LINK_OFFER_BYTES_MAX + 1)])
def test_what_is_no_offer_is_refused(encoded: bytes) -> None:
    with pytest.raises(DecodeError):
        read_link_offer(encoded, CODE, URL, NOW)


def test_an_offer_fits_with_room_for_a_long_address() -> None:
    offer = dataclasses.replace(offer_of("phone").offer, server_url=b"https://" + 253 * b"x" + b":65535")
    assert len(encode(offer)) <= LINK_OFFER_BYTES_MAX


@pytest.mark.parametrize("away_s, good", [(0, True), (600, True), (-600, True), (601, False), (-601, False)])
def test_an_offer_is_good_for_ten_minutes_at_every_step(away_s: int, good: bool) -> None:
    pending = offer_of("phone")
    confirmed = scanned(pending)
    sealed = answer(ALICE, confirmed).sealed_package
    steps: list[Callable[[int], object]] = [
        lambda now: read_link_offer(encode(pending.offer), CODE, URL, now),
        lambda now: certify_link(confirmed, ALICE.signing, ALICE.verified_list(), CONTENTS, now),
        lambda now: open_link_package(pending, sealed, now),
    ]
    for step in steps:
        if good:
            step(NOW + away_s)
        else:
            with pytest.raises(IdentityError, match="make a new one"):
                step(NOW + away_s)


@pytest.mark.parametrize("read", ["", "0000-0000", "no"])
def test_another_string_confirms_nothing(read: str) -> None:
    fetched = read_link_offer(encode(offer_of("phone").offer), CODE, URL, NOW)
    with pytest.raises(IdentityError, match="different strings"):
        confirm_compared(fetched, read)


def test_a_mistyped_code_that_adds_up_shows_another_string() -> None:
    pending = offer_of("phone")
    other = LinkCode(CODE.mailbox, Secret(b"M9XA5"))
    fetched = read_link_offer(encode(pending.offer), other, URL, NOW)
    with pytest.raises(IdentityError, match="different strings"):
        confirm_compared(fetched, pending.pairing.short_string)


def test_a_package_for_another_offer_does_not_open() -> None:
    """Of another device, and of the offer that the same device, with the same keys, made a second before."""
    pending = offer_of("phone")
    for other in (offer_of("tablet"), offer_of("phone", made_at=NOW - 1)):
        with pytest.raises(AuthenticationError):
            open_link_package(pending, answer(ALICE, scanned(other)).sealed_package, NOW)


def test_a_package_of_another_label_or_without_its_offer_does_not_open() -> None:
    pending = offer_of("phone")
    plaintext = encode(package_of(ALICE, pending))
    of_mls = encode_sign_content("MLS 1.0 Welcome", pending.pairing.offer_hash)
    for info in (b"", pending.pairing.offer_hash, of_mls):
        (sealed,) = X_WING.hpke.seal_each(info, [(pending.offer.hpke_key, plaintext)])
        with pytest.raises(AuthenticationError):
            open_link_package(pending, encode(HPKECiphertext(*sealed)), NOW)


@pytest.mark.parametrize("proof", [b"", bytes(32), b"short"])
def test_a_package_of_somebody_who_was_not_given_the_code_is_refused(proof: bytes) -> None:
    """The server knows the offer and can seal to it: the victim's phone would come to the attacker's account."""
    with pytest.raises(IdentityError, match="not given this device's code"):
        open_changed(MALLORY, offer_of("phone"), proof=Secret(proof))


def test_a_guessed_code_is_refused_like_any_other() -> None:
    pending = offer_of("phone")
    guess = offer_of("phone", LinkCode(CODE.mailbox, Secret(b"00000")))
    sealed = answer(MALLORY, ConfirmedOffer(pending.offer, guess.pairing)).sealed_package
    with pytest.raises(IdentityError, match="not given this device's code"):
        open_link_package(pending, sealed, NOW)


def test_who_read_the_code_off_the_screen_links_to_an_account_that_the_person_is_shown() -> None:
    """No check can tell: so the account's id comes out, to be shown before anything is kept."""
    pending = offer_of("phone")
    linked = open_link_package(pending, answer(MALLORY, scanned(pending)).sealed_package, NOW)
    assert linked.account_id == MALLORY.account_id != ALICE.account_id


def test_a_device_that_is_linked_again_stays_itself_and_takes_no_other_account() -> None:
    device = ALICE.devices[1]
    pending = generate_link_offer(URL, NOW, device.keys, ALICE.account_id)
    linked = open_link_package(pending, answer(ALICE, scanned(pending)).sealed_package, NOW)
    assert linked.device_key == device.keys
    assert linked.device_list.device_ids == ALICE.verified_list().device_ids
    with pytest.raises(IdentityError, match="another account than this device's"):
        open_link_package(pending, answer(MALLORY, scanned(pending)).sealed_package, NOW)


def mixed_packages() -> dict[str, tuple[dict[str, object], type[Exception], str]]:
    pending = offer_of("phone")
    mine, other = package_of(ALICE, pending), package_of(MALLORY, pending)
    elsewhere = package_of(ALICE, offer_of("tablet"))
    second = certify_signing_key(ALICE.root, ALICE.signing.public, 2)
    unsigned = dataclasses.replace(mine.signing_key_certificate, signature=bytes(64))
    without = sign_device_list(ALICE.signing, ALICE.certificate, 2, frozenset({ALICE.devices[0].device_id}), NOW)
    history = dataclasses.replace(HISTORY, key=Secret(bytes(31)))
    return {
        "seed": ({"signing_seed": other.signing_seed}, IdentityError, "another signing key"),
        "short seed": ({"signing_seed": Secret(bytes(31))}, DecodeError, "32 bytes"),
        "certificate": (
            {"signing_key_certificate": other.signing_key_certificate}, IdentityError, "another signing key"),
        "version": ({"signing_key_certificate": second}, IdentityError, "another version"),
        "unsigned certificate": ({"signing_key_certificate": unsigned}, AuthenticationError, "not authentic"),
        "device of another account": ({"device_certificate": other.device_certificate}, IdentityError, "account"),
        "another device": ({"device_certificate": elsewhere.device_certificate}, IdentityError, "another device"),
        "list of another account": ({"device_list": other.device_list}, IdentityError, "another account"),
        "list without the device": ({"device_list": without}, IdentityError, "not on its account's device list"),
        "list of another link": ({"device_list": elsewhere.device_list}, IdentityError, "not on its account's"),
        "short history key": ({"history": history}, DecodeError, "32 bytes"),
    }  # fmt: skip


MIXED = mixed_packages()


@pytest.mark.parametrize("name", MIXED)
def test_a15_parts_that_do_not_belong_together_are_refused(name: str) -> None:
    """By somebody who was given the code: an account that is not his cannot be put together from its public parts."""
    changes, error, text = MIXED[name]
    with pytest.raises(error, match=text):
        open_changed(ALICE, offer_of("phone"), **changes)


@pytest.mark.parametrize("sealed", [b"", b"\x00\x00", bytes(LINK_PACKAGE_BYTES_MAX + 1)])
def test_what_is_no_package_is_refused(sealed: bytes) -> None:
    with pytest.raises((DecodeError, AuthenticationError)):
        open_link_package(offer_of("phone"), sealed, NOW)


def test_what_is_sealed_but_no_package_is_refused() -> None:
    pending = offer_of("phone")
    info = linking._package_info(pending.pairing)
    (sealed,) = X_WING.hpke.seal_each(info, [(pending.offer.hpke_key, b"no package")])
    with pytest.raises(DecodeError):
        open_link_package(pending, encode(HPKECiphertext(*sealed)), NOW)


def test_a_package_says_little_by_its_size() -> None:
    pending = offer_of("phone")
    confirmed = scanned(pending)
    sizes = {
        len(answer(ALICE, confirmed, LinkContents(Secret(b""), Secret(bytes(count)))).sealed_package)
        for count in range(10_000, 10_400, 20)
    }
    assert len(sizes) <= 4


def test_a_package_that_is_too_large_is_not_made() -> None:
    contents = LinkContents(Secret(b""), Secret(bytes(LINK_PACKAGE_BYTES_MAX)))
    with pytest.raises(UsageError, match="too large"):
        answer(ALICE, scanned(offer_of("phone")), contents)


def test_a_device_with_a_replaced_signing_key_links_nobody() -> None:
    newer = account("alice", devices=1, signing_key_version=2)
    with pytest.raises(IdentityError, match="newer signing key than this device"):
        certify_link(scanned(offer_of("phone")), ALICE.signing, newer.verified_list(), CONTENTS, NOW)


def test_a_full_account_links_no_more() -> None:
    ids = frozenset(bytes([number]) * 20 for number in range(DEVICES_MAX))
    full = verify_device_list(sign_device_list(ALICE.signing, ALICE.certificate, 1, ids, NOW), ALICE.certificate, None)
    with pytest.raises(IdentityError, match="1 to 64 devices"):
        certify_link(scanned(offer_of("phone")), ALICE.signing, full, CONTENTS, NOW)


def test_a16_the_list_in_a_package_is_not_the_last_word() -> None:
    """It is the newest that the other device knew; the server's newer one follows it, its older one does not."""
    pending = offer_of("phone")
    linked = open_link_package(pending, answer(ALICE, scanned(pending)).sealed_package, NOW)
    later = sign_next_device_list(ALICE.signing, linked.device_list, frozenset(linked.device_list.device_ids), NOW)
    verify_device_list(later.device_list, later.certificate, linked.device_list)
    with pytest.raises(IdentityError, match="older"):
        verify_device_list(ALICE.device_list(), ALICE.certificate, linked.device_list)


def test_a34_the_key_that_opens_the_package_does_not_outlive_the_link() -> None:
    """What the linked device keeps opens no recording of the package: the HPKE key is not in it."""
    pending = offer_of("phone")
    linked = open_link_package(pending, answer(ALICE, scanned(pending)).sealed_package, NOW)
    assert {field.name for field in dataclasses.fields(linked)} == {
        "signing_key", "device_key", "device_certificate", "device_list", "contents",
    }  # fmt: skip
    assert linked.device_key.private != pending.hpke_key.private


def test_a_scan_of_another_device_confirms_nothing() -> None:
    pending, other = offer_of("phone"), offer_of("tablet")
    fetched = read_link_offer(encode(pending.offer), CODE, URL, NOW)
    with pytest.raises(IdentityError, match="another offer"):
        confirm_scanned(fetched, parse_link_scan(other.qr_text, URL))


def test_an_offer_reads_back() -> None:
    offer = offer_of("phone").offer
    assert decode(LinkOffer, encode(offer)) == offer
