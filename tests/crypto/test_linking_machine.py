"""A machine in the middle of a link: whatever it does to what passes, both devices agree or somebody says why not.

It is the server, with an account of its own, all that anybody ever posted, and as many keys as it likes. It does not
see the screens. The people are honest: they scan or type what is shown, and compare all of the short string.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crypto.errors import CryptoError
from crypto.identity.link_codes import LinkCode, format_link_code, parse_link_code, parse_link_scan
from crypto.identity.linking import (
    CertifiedLink,
    ConfirmedOffer,
    Pairing,
    PendingLink,
    VerifiedLink,
    confirm_compared,
    confirm_scanned,
    open_link_package,
    read_link_offer,
)
from crypto.identity.signing import SignedLabel, sign_object
from crypto.secret import Secret
from crypto.wire import encode
from tests.crypto.identities import NOW, account
from tests.crypto.links import URL, answer, cheap_argon2id, offer_of, scanned

ALICE, MALLORY = account("alice"), account("mallory")
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
SECRETS = st.text(ALPHABET, min_size=5, max_size=5).map(lambda text: Secret(text.encode()))


@pytest.fixture(scope="module", autouse=True)
def cheap() -> Iterator[None]:
    with cheap_argon2id():
        yield


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """The bytes with one to three changes: flipped, cut out, put in, cut off."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, max(0, len(changed) - 1)))
        match draw(st.sampled_from(["flip", "cut", "insert", "truncate"])):
            case "flip" if changed:
                changed[place] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del changed[place : place + draw(st.integers(1, 40))]
            case "insert":
                changed[place:place] = draw(st.binary(min_size=1, max_size=40))
            case _:
                del changed[place:]
    return bytes(changed)


@st.composite
def handed_out_offers(draw: st.DrawFn, pending: PendingLink) -> bytes:
    """What the device of the account is given for the new device's offer."""
    offer, own = pending.offer, offer_of("machine", LinkCode(pending.code.mailbox, Secret(b"00000")))
    match draw(st.sampled_from(["as it is", "damaged", "own", "own device", "own key", "earlier", "any"])):
        case "as it is":
            return encode(offer)
        case "damaged":
            return draw(damaged(encode(offer)))
        case "own":
            return encode(own.offer)
        case "own device":
            mixed = dataclasses.replace(own.offer, hpke_key=offer.hpke_key)
            return encode(sign_object(own.device_key, SignedLabel.LINK_OFFER, mixed))
        case "own key":
            mixed = dataclasses.replace(offer, hpke_key=own.offer.hpke_key)
            return encode(sign_object(own.device_key, SignedLabel.LINK_OFFER, mixed))
        case "earlier":
            return encode(offer_of("phone", pending.code, NOW - draw(st.integers(1, 700))).offer)
        case _:
            return draw(st.binary(max_size=300))


@st.composite
def handed_out_packages(draw: st.DrawFn, pending: PendingLink, made: CertifiedLink | None) -> bytes:
    """What the new device is given: `made`, what the device of the account has posted, or else.

    If that device has refused, what it posted for an earlier offer is replayed. A guess of the secret is a wrong one.
    """
    sealed = (made or answer(ALICE, scanned(offer_of("phone", pending.code, NOW - 1)))).sealed_package
    match draw(st.sampled_from(["as it is", "damaged", "own account", "any"])):
        case "as it is":
            return sealed
        case "damaged":
            return draw(damaged(sealed))
        case "own account":
            guessed = draw(SECRETS.filter(lambda guess: guess != pending.code.secret))
            guess = offer_of("phone", LinkCode(pending.code.mailbox, guessed)).pairing
            pairing = Pairing(pending.pairing.offer_hash, guess.short_string, guess.proof)
            return answer(MALLORY, ConfirmedOffer(pending.offer, pairing)).sealed_package
        case _:
            return draw(st.binary(max_size=2_000))


def certify(pending: PendingLink, handed_out: bytes, camera: bool) -> CertifiedLink | None:
    """The device of the account and its person: what they have certified, None if they refused, by a named error."""
    try:
        if camera:
            scan = parse_link_scan(pending.qr_text, URL)
            confirmed = confirm_scanned(read_link_offer(handed_out, scan.link_code, URL, NOW), scan)
        else:
            code = parse_link_code(format_link_code(pending.code))
            fetched = read_link_offer(handed_out, code, URL, NOW)
            confirmed = confirm_compared(fetched, pending.pairing.short_string)
        return answer(ALICE, confirmed)
    except CryptoError:
        return None


def open_package(pending: PendingLink, handed_out: bytes) -> VerifiedLink | None:
    try:
        return open_link_package(pending, handed_out, NOW)
    except CryptoError:
        return None


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data(), camera=st.booleans(), secret=SECRETS)
def test_both_devices_agree_or_one_refuses(data: st.DataObject, camera: bool, secret: Secret) -> None:
    pending = offer_of("phone", LinkCode("7K2Q", secret))
    made = certify(pending, data.draw(handed_out_offers(pending)), camera)
    if made is not None:
        assert made.device_certificate.device_key == pending.device_key.public
    linked = open_package(pending, data.draw(handed_out_packages(pending, made)))
    if linked is not None:
        assert made is not None
        assert linked.account_id == ALICE.account_id
        assert linked.device_key == pending.device_key
        assert (linked.device_certificate, linked.device_list) == (made.device_certificate, made.device_list)
        assert linked.signing_key == ALICE.signing


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_every_damage_to_an_offer_or_a_package_is_refused(data: st.DataObject) -> None:
    pending = offer_of("phone")
    offer, sealed = encode(pending.offer), answer(ALICE, scanned(pending)).sealed_package
    bad_offer, bad_package = data.draw(damaged(offer)), data.draw(damaged(sealed))
    assert (certify(pending, bad_offer, camera=False) is None) == (bad_offer != offer)
    assert (open_package(pending, bad_package) is None) == (bad_package != sealed)


def test_a_machine_that_does_nothing_is_not_noticed() -> None:
    """So that the property above says something."""
    pending = offer_of("phone")
    for camera in (True, False):
        made = certify(pending, encode(pending.offer), camera)
        assert made is not None
        assert open_package(pending, made.sealed_package) is not None
