"""Revocations: which role certificates hold no more, in one statement signed by the organisation's key.

A certificate ends by itself at its `not_after`; until then only a statement ends it. A statement lists the serials of
all certificates that are revoked, has a version, and expires. It travels through the server, which can neither make
one nor, to whoever has seen a newer one, bring an older one back. What it can do is withhold the newest; that shows
when the one in hand expires, and from then on no role is believed until a newer one comes. So the lifetime of
statements bounds how long a revoked worker passes for one at a client that the server deceives.

A serial may leave the list once its certificate has ended by itself; no check depends on its staying.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Annotated

from crypto.errors import DecodeError, IdentityError, Stale
from crypto.identity.organisation import organisation_id_of
from crypto.identity.signing import Id, Signature, SignedLabel, sign_object, verify_object
from crypto.suites import SignatureKeyPair
from crypto.wire import Fixed, Max, Uint32, Uint64, decode, struct

SERIAL_SIZE = 16
"""Bytes of a certificate's serial, drawn at random: it names one certificate of the organisation and tells nothing."""

REVOKED_MAX = 4096
"""Most serials of a statement: 64 KiB. Revoking an admin ends all that it certified with one of them."""

STATEMENT_BYTES_MAX = 128 + REVOKED_MAX * SERIAL_SIZE
"""No statement is longer, encoded."""

STATEMENT_LIFETIME_MAX_S = 100 * 86_400
"""Longest time from `issued_at` to `expires_at`: a little more than a quarter of a year."""

CLOCK_TOLERANCE_S = 3_600
"""By how much the clocks of those who sign and those who check may differ: as for leaves that we send."""

Serial = Annotated[bytes, Fixed(SERIAL_SIZE)]


@struct
class RevocationStatement:
    """The organisation says: these certificates are revoked, as of version n. Times are Unix seconds."""

    organisation_id: Id
    version: Uint32
    issued_at: Uint64
    expires_at: Uint64
    revoked: Annotated[tuple[Serial, ...], Max(REVOKED_MAX)]
    signature: Signature


@dataclass(frozen=True, slots=True)
class VerifiedRevocations:
    """A statement that holds. Made by `verify_revocations` and `load_revocations` only.

    To keep it, store `encode(statement)` and load that. That it held once does not make it current:
    `check_current` is called wherever a role is judged by it.
    """

    statement: RevocationStatement

    @property
    def organisation_id(self) -> bytes:
        """Whose certificates it is about, 20 bytes."""
        return self.statement.organisation_id

    @property
    def version(self) -> int:
        """The newest statement has the highest."""
        return self.statement.version

    @property
    def expires_at(self) -> int:
        """Until when it tells about certificates, Unix seconds, itself included."""
        return self.statement.expires_at

    def is_revoked(self, serial: bytes) -> bool:
        """Whether the certificate with this serial is on the list."""
        return serial in self.statement.revoked


def sign_revocations(
    organisation: SignatureKeyPair, version: int, issued_at: int, expires_at: int, revoked: frozenset[bytes]
) -> RevocationStatement:
    """Make the organisation's `version`-th statement: `revoked` are all serials that are revoked, not the new ones.

    Raises `IdentityError` for a statement that nobody would take.
    """
    organisation_id = organisation_id_of(organisation.public)
    unsigned = RevocationStatement(organisation_id, version, issued_at, expires_at, tuple(sorted(revoked)), b"")
    _check_form(unsigned)
    return sign_object(organisation, SignedLabel.REVOCATION_STATEMENT, unsigned)


def verify_revocations(
    encoded: bytes, organisation_key: bytes, previous: VerifiedRevocations | None, now: int
) -> VerifiedRevocations:
    """Check a statement that came in, against the newest one seen before (None: this is the first).

    Raises `DecodeError`, `AuthenticationError`; `IdentityError` for one of another organisation, an older one, another
    one of the same version, or one from the future; `Stale` if it has expired.
    """
    verified = load_revocations(encoded, organisation_key)
    if previous is not None:
        _check_succession(previous, verified)
    if verified.statement.issued_at > now + CLOCK_TOLERANCE_S:
        raise IdentityError("the revocation statement is dated in the future: check the clock of this device")
    check_current(verified, now)
    return verified


def load_revocations(encoded: bytes, organisation_key: bytes) -> VerifiedRevocations:
    """A statement that was verified before, from a store of one's own: all but time and succession is checked again.

    It may have expired since; as `previous` it counts all the same. Raises like `verify_revocations`.
    """
    if len(encoded) > STATEMENT_BYTES_MAX:
        raise DecodeError(f"a revocation statement of {len(encoded)} bytes, more than {STATEMENT_BYTES_MAX}")
    statement = decode(RevocationStatement, encoded)
    if statement.organisation_id != organisation_id_of(organisation_key):
        raise IdentityError("the revocation statement is of another organisation")
    verify_object(organisation_key, SignedLabel.REVOCATION_STATEMENT, statement)
    _check_form(statement)
    return VerifiedRevocations(statement)


def check_current(revocations: VerifiedRevocations | None, now: int) -> VerifiedRevocations:
    """The same statement, if there is one and it still tells about certificates at `now`; else raises `Stale`."""
    if revocations is None:
        raise Stale("no revocation statement of the organisation is known: fetch the newest")
    if now > revocations.expires_at + CLOCK_TOLERANCE_S:
        since = format_span(now - revocations.expires_at)
        raise Stale(f"the newest revocation statement known expired {since} ago: fetch a newer one")
    return revocations


def format_span(seconds: int) -> str:
    """A length of time for people: "1 hour", "5 hours", from two days on in days."""
    days, hours = seconds // 86_400, seconds // 3_600
    if days >= 2:
        return f"{days} days"
    return "1 hour" if hours == 1 else f"{hours} hours"


def _check_form(statement: RevocationStatement) -> None:
    if any(first >= second for first, second in itertools.pairwise(statement.revoked)):
        raise IdentityError("the serials of a revocation statement are not strictly ascending")
    if not 0 < statement.expires_at - statement.issued_at <= STATEMENT_LIFETIME_MAX_S:
        raise IdentityError(f"a revocation statement holds for up to {STATEMENT_LIFETIME_MAX_S // 86_400} days")


def _check_succession(previous: VerifiedRevocations, following: VerifiedRevocations) -> None:
    if following.organisation_id != previous.organisation_id:
        raise IdentityError("the revocation statement is of another organisation than the one before")
    if following.version < previous.version:
        raise IdentityError("the revocation statement is older than one seen before")
    if following.version == previous.version and following.statement != previous.statement:
        raise IdentityError("two different revocation statements have the same version")
