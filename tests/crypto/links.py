"""Linking for the tests: two devices, made from names, and a cheap Argon2id where thousands of links are made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from crypto.identity import linking
from crypto.identity.link_codes import LinkCode, parse_link_scan
from crypto.identity.linking import (
    CertifiedLink,
    ConfirmedOffer,
    HistoryArchive,
    LinkContents,
    PendingLink,
    certify_link,
    confirm_compared,
    confirm_scanned,
    derive_link_offer,
    read_link_offer,
)
from crypto.secret import Secret
from crypto.suites import X_WING
from crypto.wire import encode
from tests.crypto.identities import NOW, Account, key_pair, secret

URL = "https://desk.example.org"
CODE = LinkCode("7K2Q", Secret(b"M9XA4"))
CONTENTS = LinkContents(Secret(b"profile keys"), Secret(b"contacts"))
HISTORY = HistoryArchive(b"attachment 1", secret("archive"), bytes(32), 1_000)


@contextmanager
def cheap_argon2id() -> Iterator[None]:
    """The same function at the least cost: what is tested is what hangs on its output, not how long it takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linking, "ARGON2ID_ITERATIONS", 1)
        patch.setattr(linking, "ARGON2ID_MEMORY_KIB", 8 * linking.ARGON2ID_LANES)
        yield


def offer_of(name: str, code: LinkCode = CODE, made_at: int = NOW, account_id: bytes | None = None) -> PendingLink:
    """An offer of the device with that name; each name has one device key and one HPKE key."""
    hpke_key = X_WING.derive_key_pair(secret(f"{name} hpke"))
    return derive_link_offer(URL, made_at, code, key_pair(name), hpke_key, account_id)


def scanned(pending: PendingLink, fetched: bytes | None = None, now: int = NOW) -> ConfirmedOffer:
    """The old device scans `pending`'s QR code, and the server hands out `fetched`."""
    scan = parse_link_scan(pending.qr_text, URL)
    handed_out = encode(pending.offer) if fetched is None else fetched
    return confirm_scanned(read_link_offer(handed_out, scan.link_code, URL, now), scan)


def compared(pending: PendingLink, fetched: bytes | None = None, now: int = NOW) -> ConfirmedOffer:
    """The person types `pending`'s code and reads its short string; the server hands out `fetched`."""
    handed_out = encode(pending.offer) if fetched is None else fetched
    return confirm_compared(read_link_offer(handed_out, pending.code, URL, now), pending.pairing.short_string)


def answer(person: Account, confirmed: ConfirmedOffer, contents: LinkContents = CONTENTS) -> CertifiedLink:
    return certify_link(confirmed, person.signing, person.verified_list(), contents, NOW)
