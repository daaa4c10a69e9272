"""An organisation for the tests of roles: its key, its admin and its people, with certificates that hold at `NOW`."""

from __future__ import annotations

import dataclasses
import hashlib

from crypto.identity.organisation import organisation_id_of
from crypto.identity.revocations import VerifiedRevocations, sign_revocations, verify_revocations
from crypto.identity.roles import (
    Issuer,
    Role,
    RoleCertificate,
    RoleChain,
    RoleGrant,
    VerifiedRole,
    certify_role,
    certify_role_as_admin,
    verify_role,
)
from crypto.identity.signing import SignedLabel, sign_object
from crypto.suites import SignatureKeyPair
from crypto.wire import encode
from tests.crypto.identities import DAY_S, NOW, Account, account, key_pair

ORGANISATION = key_pair("organisation")
ORGANISATION_ID = organisation_id_of(ORGANISATION.public)
OTHER_ORGANISATION = key_pair("another organisation")
ADMIN, WORKER, BOT, CLIENT = account("admin"), account("worker"), account("bot"), account("client")


def serial(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()[:16]


def grant(person: Account, role: Role, label: str = "", not_after: int = NOW + 90 * DAY_S) -> RoleGrant:
    pinned = person.certificate.version if role is Role.ADMIN else None
    return RoleGrant(person.account_id, role, label, NOW - DAY_S, not_after, pinned)


def admin_chain(
    person: Account = ADMIN, name: str = "admin", organisation: SignatureKeyPair = ORGANISATION
) -> RoleChain:
    return certify_role(organisation, grant(person, Role.ADMIN, "Office", NOW + 365 * DAY_S), serial(name))


def issuer(person: Account = ADMIN, name: str = "admin") -> Issuer:
    return Issuer(admin_chain(person, name).certificate, person.certificate)


def worker_chain(admin: Account = ADMIN, name: str = "admin") -> RoleChain:
    """The worker's role, from `admin` under the certificate with that name."""
    given = grant(WORKER, Role.WORKER, "Dr. Weber, intake")
    return certify_role_as_admin(admin.signing, issuer(admin, name), given, serial("worker"))


def resigned(chain: RoleChain, signer: SignatureKeyPair, **changes: object) -> RoleChain:
    """The chain with other fields in its certificate, signed anew by `signer`: nothing but the change is wrong."""
    changed = dataclasses.replace(chain.certificate, **changes)  # type: ignore[arg-type]  # fields by name
    return dataclasses.replace(chain, certificate=signed(changed, signer))


def with_issuer(chain: RoleChain, signer: SignatureKeyPair = ORGANISATION, **changes: object) -> RoleChain:
    """The chain with other fields in the certificate of its issuer, signed anew by `signer`."""
    assert chain.issuer is not None
    changed = dataclasses.replace(chain.issuer.certificate, **changes)  # type: ignore[arg-type]  # fields by name
    return dataclasses.replace(chain, issuer=dataclasses.replace(chain.issuer, certificate=signed(changed, signer)))


def signed(certificate: RoleCertificate, signer: SignatureKeyPair) -> RoleCertificate:
    return sign_object(signer, SignedLabel.ROLE_CERTIFICATE, certificate)


def revocations(*names: str, version: int = 1, issued_at: int = NOW - DAY_S) -> VerifiedRevocations:
    """The statement that revokes the certificates with these names; it holds for thirty days."""
    revoked = frozenset(map(serial, names))
    statement = sign_revocations(ORGANISATION, version, issued_at, issued_at + 30 * DAY_S, revoked)
    return verify_revocations(encode(statement), ORGANISATION.public, None, issued_at)


def verify(
    chain: RoleChain,
    person: Account = WORKER,
    revoked: VerifiedRevocations | None = revocations(),  # noqa: B008  a frozen value
    now: int = NOW,
) -> VerifiedRole:
    return verify_role(encode(chain), ORGANISATION.public, person.account_id, revoked, now)
