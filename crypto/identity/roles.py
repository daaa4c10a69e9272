"""Role certificates: who is a worker, an admin or a bot of the organisation, whatever the server says.

::

    organisation key ─ RoleCertificate: admin ─► account, n-th signing key ─ RoleCertificate: worker ─► account
    (not on the server)   serial a                root ─ SigningKeyCertificate      issuer_serial a

The organisation's key certifies admins, and whom else it likes. An admin certifies workers, bots and clients with the
signing key of its account; never an admin. A certificate holds at a moment if

- it is of the pinned organisation, about the account in question, and `now` lies within its times, which span no more
  than `LIFETIME_MAX_S`;
- its serial is not on the newest revocation statement, and that statement has not expired;
- it is signed by the organisation's key; or its issuer's certificate holds at the same moment by these rules, is an
  admin's, has the serial that the certificate names, pins the version of the signing key that signed it, and ends no
  earlier than it does.

So what a revoked admin has issued is worth nothing from that statement on, whoever staples it to what: the next
certificate of that admin has another serial. And a thief of an admin's device gains nothing by that next certificate,
which everybody can read: it pins the next signing key.

All that is checked offline. The chain is stapled to the account's MLS leaf as an extension (`role_extension`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Annotated

from crypto.errors import DecodeError, IdentityError, UsageError
from crypto.identity.accounts import CertifiedSigningKey, SigningKeyCertificate, verify_signing_key
from crypto.identity.organisation import organisation_id_of as organisation_id_of  # noqa: PLC0414  # of roles, to callers
from crypto.identity.permissions import Action, may
from crypto.identity.permissions import Role as Role  # noqa: PLC0414  # the same
from crypto.identity.revocations import (
    CLOCK_TOLERANCE_S,
    SERIAL_SIZE,
    Serial,
    VerifiedRevocations,
    check_current,
    format_span,
)
from crypto.identity.signing import Id, Signature, SignedLabel, sign_object, verify_object
from crypto.mls.extensions import Extension, find_extension
from crypto.suites import SignatureKeyPair
from crypto.texts import decode_line, encode_line
from crypto.wire import Uint, Uint32, Uint64, decode, encode, struct

ROLE_EXTENSION = 0xF5E1
"""The leaf node extension that holds an encoded `RoleChain`: private range, RFC 9420 §17.3."""

LABEL_BYTES_MAX = 120
"""Most bytes of a certificate's label in UTF-8."""

CHAIN_BYTES_MAX = 1024
"""No chain is longer, encoded: two certificates with the longest labels, and one of a signing key."""

LIFETIME_MAX_S = 400 * 86_400
"""Longest time from `not_before` to `not_after`: a year, and a month in which to renew."""

RENEWAL_SHARE = 3
"""A certificate is renewed when less than a third of its lifetime is left."""


@struct
class RoleCertificate:
    """The organisation, or an admin of it, says: this account has this role, from `not_before` to `not_after`.

    Times are Unix seconds, both included. `issuer_serial` is the serial of the admin's certificate, None if the
    organisation's key signs itself. `signing_key_version` stands in certificates of admins alone: the one version of
    the account's signing key that certifies for it.
    """

    organisation_id: Id
    account_id: Id
    role: Annotated[Role, Uint(1)]
    label: bytes
    not_before: Uint64
    not_after: Uint64
    serial: Serial
    issuer_serial: Serial | None
    signing_key_version: Uint32 | None
    signature: Signature


@struct
class Issuer:
    """The admin that signed a certificate: its own certificate, by the organisation's key, and its signing key's."""

    certificate: RoleCertificate
    signing_key_certificate: SigningKeyCertificate


@struct
class RoleChain:
    """From the organisation's key to an account. Without an issuer the organisation's key signed the certificate."""

    issuer: Issuer | None
    certificate: RoleCertificate


@dataclass(frozen=True, slots=True)
class VerifiedRole:
    """What an account is to the organisation, now. Made by `verify_role` and `role_of_leaf` only.

    A client without a certificate has an empty label, and None for times and serials. For everybody else `now` was
    within the times; it is verified anew when time has passed or a newer revocation statement has come.
    """

    organisation_id: bytes
    account_id: bytes
    role: Role
    label: str
    not_before: int | None
    not_after: int | None
    serial: bytes | None
    issuer_serial: bytes | None


@dataclass(frozen=True, slots=True)
class RoleGrant:
    """What is to be certified: a role for an account, with the text that people see beside it, and its times.

    `signing_key_version` is for admins: of the account's signing key, as its newest certificate has it.
    """

    account_id: bytes
    role: Role
    label: str
    not_before: int
    not_after: int
    signing_key_version: int | None = None


def generate_serial() -> bytes:
    """A serial for one certificate, 16 random bytes."""
    return os.urandom(SERIAL_SIZE)


def certify_role(organisation: SignatureKeyPair, grant: RoleGrant, serial: bytes) -> RoleChain:
    """Certify with the organisation's key itself: admins always, others where there is no admin.

    Raises `IdentityError` or `DecodeError` for a certificate that nobody would take.
    """
    unsigned = _unsigned(organisation_id_of(organisation.public), grant, serial, issuer_serial=None)
    return RoleChain(None, sign_object(organisation, SignedLabel.ROLE_CERTIFICATE, unsigned))


def certify_role_as_admin(signer: SignatureKeyPair, issuer: Issuer, grant: RoleGrant, serial: bytes) -> RoleChain:
    """Certify with an admin's signing key; `issuer` is the admin's own certificate and that of this signing key.

    Raises `IdentityError` or `DecodeError` for a certificate that nobody would take, and `UsageError` if `signer` is
    not the key that `issuer` is about.
    """
    if signer.public != issuer.signing_key_certificate.signing_key:
        raise UsageError("the signer is not the signing key of the issuer")
    admin = issuer.certificate
    unsigned = _unsigned(admin.organisation_id, grant, serial, issuer_serial=admin.serial)
    _check_issuance(admin, verify_signing_key(issuer.signing_key_certificate), unsigned)
    return RoleChain(issuer, sign_object(signer, SignedLabel.ROLE_CERTIFICATE, unsigned))


def role_extension(chain: RoleChain) -> Extension:
    """The chain as the extension of a leaf; whoever updates the leaf later carries it on, or a renewed one."""
    return Extension(ROLE_EXTENSION, encode(chain))


def role_of_leaf(
    extensions: tuple[Extension, ...],
    organisation_key: bytes,
    account_id: bytes,
    revocations: VerifiedRevocations | None,
    now: int,
) -> VerifiedRole:
    """The role of a leaf with these extensions, whose credential is of `account_id` (`authenticate_leaf`).

    No role extension: a client. One that does not verify is an error, as in `verify_role`, and never a client: somebody
    claims what it cannot prove. A leaf holds each type of extension at most once (rule L18).
    """
    stapled = find_extension(extensions, ROLE_EXTENSION)
    if stapled is None:
        return VerifiedRole(
            organisation_id_of(organisation_key), account_id, Role.CLIENT, "", None, None, None, issuer_serial=None
        )
    return verify_role(stapled, organisation_key, account_id, revocations, now)


def verify_role(
    encoded: bytes, organisation_key: bytes, account_id: bytes, revocations: VerifiedRevocations | None, now: int
) -> VerifiedRole:
    """Check an encoded `RoleChain` under the pinned organisation's key, for the account that shows it.

    `revocations` is the newest statement known. Raises `DecodeError`, `AuthenticationError`; `IdentityError` for a
    certificate of another account or organisation, of other times, revoked, or by somebody who may not issue it; and
    `Stale` without a current statement, which says nothing against the account: fetch one and ask again.
    """
    if len(encoded) > CHAIN_BYTES_MAX:
        raise DecodeError(f"a role chain of {len(encoded)} bytes, more than {CHAIN_BYTES_MAX}")
    chain = decode(RoleChain, encoded)
    certificate = chain.certificate
    if certificate.account_id != account_id:
        raise IdentityError("the role certificate is of another account")
    organisation_id = organisation_id_of(organisation_key)
    statement = check_current(revocations, now)
    if statement.organisation_id != organisation_id:
        raise IdentityError("the revocation statement is of another organisation")
    if chain.issuer is None:
        verify_object(organisation_key, SignedLabel.ROLE_CERTIFICATE, certificate)
        if certificate.issuer_serial is not None:
            raise IdentityError("the role certificate names an issuer that does not come with it")
    else:
        admin = chain.issuer.certificate
        verify_object(organisation_key, SignedLabel.ROLE_CERTIFICATE, admin)
        signing_key = verify_signing_key(chain.issuer.signing_key_certificate)
        verify_object(signing_key.signing_key, SignedLabel.ROLE_CERTIFICATE, certificate)
        _check_holds(admin, statement, now, whose="the role of the admin behind it")
        _check_issuance(admin, signing_key, certificate)
    label = _check_holds(certificate, statement, now, whose="the role")
    return VerifiedRole(
        organisation_id=organisation_id,
        account_id=account_id,
        role=certificate.role,
        label=label,
        not_before=certificate.not_before,
        not_after=certificate.not_after,
        serial=certificate.serial,
        issuer_serial=certificate.issuer_serial,
    )


def renewal_time(certificate: RoleCertificate) -> int:
    """From when on a certificate should be renewed, Unix seconds: when a third of its lifetime is left.

    One that an admin issued ends with the admin's own at the latest, so the admin renews first.
    """
    return certificate.not_after - (certificate.not_after - certificate.not_before) // RENEWAL_SHARE


def _check_issuance(admin: RoleCertificate, signing_key: CertifiedSigningKey, certificate: RoleCertificate) -> None:
    """Whether this admin may issue this with this signing key; signatures and times are checked elsewhere."""
    if admin.issuer_serial is not None or not may(admin.role, Action.CERTIFY, certificate.role):
        raise IdentityError("whoever issued the role certificate may not certify this role")
    if signing_key.account_id != admin.account_id:
        raise IdentityError("the role certificate is signed by another account than the admin's")
    if signing_key.version != admin.signing_key_version:
        raise IdentityError("the role certificate is signed by another signing key than the admin's certificate pins")
    if certificate.issuer_serial != admin.serial:
        raise IdentityError("the role certificate was issued under another certificate of the admin: issue it anew")
    if certificate.not_after > admin.not_after:
        raise IdentityError("the role certificate ends later than that of the admin who issued it")


def _check_holds(certificate: RoleCertificate, revocations: VerifiedRevocations, now: int, whose: str) -> str:
    """Check what one certificate says by itself, but for its signature; its label as text."""
    label = _check_form(certificate)
    if certificate.organisation_id != revocations.organisation_id:
        raise IdentityError("the role certificate is of another organisation")
    if revocations.is_revoked(certificate.serial):
        raise IdentityError(f"{whose} was revoked by the organisation")
    if now > certificate.not_after + CLOCK_TOLERANCE_S:
        raise IdentityError(f"{whose} expired {format_span(now - certificate.not_after)} ago and was not renewed")
    if now + CLOCK_TOLERANCE_S < certificate.not_before:
        raise IdentityError(f"{whose} begins in {format_span(certificate.not_before - now)}")
    return label


def _check_form(certificate: RoleCertificate) -> str:
    if not 0 < certificate.not_after - certificate.not_before <= LIFETIME_MAX_S:
        raise IdentityError(f"a role certificate holds for up to {LIFETIME_MAX_S // 86_400} days")
    if (certificate.signing_key_version is not None) != (certificate.role is Role.ADMIN):
        raise IdentityError("the certificate of an admin, and no other, pins the signing key that certifies")
    return decode_line(certificate.label, LABEL_BYTES_MAX)


def _unsigned(organisation_id: bytes, grant: RoleGrant, serial: bytes, issuer_serial: bytes | None) -> RoleCertificate:
    unsigned = RoleCertificate(
        organisation_id=organisation_id,
        account_id=grant.account_id,
        role=grant.role,
        label=encode_line(grant.label, LABEL_BYTES_MAX),
        not_before=grant.not_before,
        not_after=grant.not_after,
        serial=serial,
        issuer_serial=issuer_serial,
        signing_key_version=grant.signing_key_version,
        signature=b"",
    )
    _check_form(unsigned)
    return unsigned
