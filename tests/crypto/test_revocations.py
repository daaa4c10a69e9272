"""Revocation statements: that they never go back, and that a stale one is noticed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import AuthenticationError, DecodeError, IdentityError, Stale, UsageError
from crypto.identity.revocations import (
    CLOCK_TOLERANCE_S,
    REVOKED_MAX,
    STATEMENT_BYTES_MAX,
    STATEMENT_LIFETIME_MAX_S,
    RevocationStatement,
    VerifiedRevocations,
    check_current,
    format_span,
    load_revocations,
    sign_revocations,
    verify_revocations,
)
from crypto.identity.signing import SignedLabel, sign_object
from crypto.wire import decode, encode
from tests.crypto.identities import DAY_S, NOW
from tests.crypto.organisations import ORGANISATION, ORGANISATION_ID, OTHER_ORGANISATION, revocations, serial

VECTORS = json.loads((Path(__file__).parent / "data" / "roles.json").read_text())


def statement(version: int = 3, *names: str, issued_at: int = NOW - DAY_S) -> RevocationStatement:
    revoked = frozenset(map(serial, names))
    return sign_revocations(ORGANISATION, version, issued_at, issued_at + 30 * DAY_S, revoked)


def resigned(**changes: object) -> RevocationStatement:
    """A statement with other fields, signed by the organisation: nothing but the change is wrong."""
    changed = dataclasses.replace(statement(3, "a", "b"), **changes)  # type: ignore[arg-type]  # fields by name
    return sign_object(ORGANISATION, SignedLabel.REVOCATION_STATEMENT, changed)


def verify(
    made: RevocationStatement, previous: VerifiedRevocations | None = None, now: int = NOW
) -> VerifiedRevocations:
    return verify_revocations(encode(made), ORGANISATION.public, previous, now)


def test_a_statement_names_what_is_revoked() -> None:
    verified = verify(statement(3, "a", "b"))
    assert (verified.organisation_id, verified.version, verified.expires_at) == (ORGANISATION_ID, 3, NOW + 29 * DAY_S)
    assert verified.is_revoked(serial("a"))
    assert verified.is_revoked(serial("b"))
    assert not verified.is_revoked(serial("c"))
    assert verified.statement.revoked == tuple(sorted((serial("a"), serial("b"))))


def test_same_and_later_versions_follow() -> None:
    third = verify(statement(3, "a"))
    assert verify(statement(3, "a"), third) == third
    assert verify(statement(4, "a", "b"), third).version == 4
    assert not verify(statement(9), third).is_revoked(
        serial("a")
    )  # the certificate has ended, so it may leave the list


def test_an_older_statement_is_refused() -> None:
    with pytest.raises(IdentityError, match="older than one seen before"):
        verify(statement(2, "a", "b"), verify(statement(3, "a")))


def test_an_expired_statement_still_shows_that_another_is_older() -> None:
    kept = load_revocations(encode(statement(3, "a", issued_at=NOW - 90 * DAY_S)), ORGANISATION.public)
    with pytest.raises(Stale, match="expired 60 days ago"):
        check_current(kept, NOW)
    with pytest.raises(IdentityError, match="older than one seen before"):
        verify(statement(2), kept)
    assert verify(statement(4), kept).version == 4


def test_same_version_with_other_bytes_is_refused() -> None:
    with pytest.raises(IdentityError, match="two different revocation statements"):
        verify(statement(3, "a"), verify(statement(3, "b")))
    with pytest.raises(IdentityError, match="two different revocation statements"):
        verify(resigned(expires_at=NOW + DAY_S), verify(statement(3, "a", "b")))


def test_statement_of_another_organisation_is_refused() -> None:
    there = sign_revocations(OTHER_ORGANISATION, 9, NOW, NOW + DAY_S, frozenset())
    with pytest.raises(IdentityError, match="is of another organisation"):
        verify(there)
    with pytest.raises(IdentityError, match="another organisation than the one before"):
        verify_revocations(encode(there), OTHER_ORGANISATION.public, revocations(), NOW)
    renamed = dataclasses.replace(there, organisation_id=ORGANISATION_ID)
    with pytest.raises(AuthenticationError):
        verify(sign_object(OTHER_ORGANISATION, SignedLabel.REVOCATION_STATEMENT, renamed))


def test_a_stale_statement_is_noticed() -> None:
    last = statement().expires_at + CLOCK_TOLERANCE_S
    verified = verify(statement(), now=last)
    assert check_current(verified, last) is verified
    for judge in (lambda: verify(statement(), now=last + 1), lambda: check_current(verified, last + 1)):
        with pytest.raises(Stale, match="expired 1 hour ago: fetch a newer one"):
            judge()
    with pytest.raises(Stale, match="no revocation statement of the organisation is known: fetch the newest"):
        check_current(None, NOW)


def test_a_statement_from_the_future_is_refused() -> None:
    first = statement().issued_at - CLOCK_TOLERANCE_S
    assert verify(statement(), now=first).version == 3
    with pytest.raises(IdentityError, match="check the clock of this device"):
        verify(statement(), now=first - 1)


@pytest.mark.parametrize("lifetime", [-1, 0, STATEMENT_LIFETIME_MAX_S + 1])
def test_statements_that_never_expire_or_never_hold_are_refused(lifetime: int) -> None:
    with pytest.raises(IdentityError, match="up to 100 days"):
        sign_revocations(ORGANISATION, 1, NOW, NOW + lifetime, frozenset())
    with pytest.raises(IdentityError, match="up to 100 days"):
        verify(resigned(issued_at=NOW, expires_at=NOW + lifetime))


@pytest.mark.parametrize("serials", [(b"b" * 16, b"a" * 16), (b"a" * 16, b"a" * 16)])
def test_unsorted_and_doubled_serials_are_refused(serials: tuple[bytes, ...]) -> None:
    with pytest.raises(IdentityError, match="strictly ascending"):
        verify(resigned(revoked=serials))


def test_number_of_serials_is_bounded() -> None:
    serials = [number.to_bytes(16, "big") for number in range(REVOKED_MAX + 1)]
    full = sign_revocations(ORGANISATION, 1, NOW, NOW + STATEMENT_LIFETIME_MAX_S, frozenset(serials[1:]))
    assert verify(full).is_revoked(serials[-1])
    assert len(encode(full)) <= STATEMENT_BYTES_MAX
    with pytest.raises(UsageError):
        resigned(revoked=tuple(serials))
    with pytest.raises(DecodeError, match=f"more than {STATEMENT_BYTES_MAX}"):
        verify_revocations(bytes(STATEMENT_BYTES_MAX + 1), ORGANISATION.public, None, NOW)


@pytest.mark.parametrize(
    "change",
    [
        {"organisation_id": bytes(20)},
        {"version": 4},
        {"issued_at": NOW - 2},
        {"expires_at": NOW + 2},
        {"revoked": ()},
        {"signature": bytes(64)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_no_field_of_a_statement_can_change(change: dict[str, object]) -> None:
    made = statement(3, "a")
    with pytest.raises((AuthenticationError, IdentityError)):
        verify(dataclasses.replace(made, **change))  # type: ignore[arg-type]  # fields by name


@given(st.integers(min_value=0), st.integers(min_value=0, max_value=7))
def test_no_bit_of_a_statement_can_change(place: int, bit: int) -> None:
    encoded = bytearray(encode(statement(3, "a", "b")))
    encoded[place % len(encoded)] ^= 1 << bit
    with pytest.raises((DecodeError, AuthenticationError, IdentityError)):
        verify_revocations(bytes(encoded), ORGANISATION.public, None, NOW)


@pytest.mark.parametrize("size", [0, 1, 63, 65])
def test_a42_signatures_of_other_sizes_are_refused(size: int) -> None:
    made = statement()
    with pytest.raises(DecodeError):
        decode(RevocationStatement, encode(made)[:-64] + (made.signature * 2)[:size])


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_whatever_order_they_come_in_the_newest_stays(versions: list[int]) -> None:
    newest = None
    for version in versions:
        try:
            newest = verify(statement(version, f"{version}"), newest)
        except IdentityError:
            assert newest is not None
            assert version < newest.version
    assert newest is not None
    assert newest.version == max(versions)


@pytest.mark.parametrize(
    "seconds, shown", [(0, "0 hours"), (7_199, "1 hour"), (2 * DAY_S - 1, "47 hours"), (2 * DAY_S, "2 days")]
)
def test_spans_of_time_are_for_people(seconds: int, shown: str) -> None:
    assert format_span(seconds) == shown


def test_encoding_and_signature_stay_as_they_are() -> None:
    assert encode(statement(3, "a", "b")).hex() == VECTORS["revocation_statement"]
