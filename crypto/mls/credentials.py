"""Credentials (RFC 9420 §5.3): who a leaf says that it is.

Owns the encoding only. Whether a credential is believed is for the Authentication Service, `crypto.identity`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

from crypto.wire import Max, Select, variant

CERTIFICATES_MAX = 64
"""How long a chain of certificates may be."""


class CredentialType(IntEnum):
    """Registered credential types (§17.5)."""

    BASIC = 1
    X509 = 2


@variant(CredentialType.BASIC)
class BasicCredential:
    """An identity as the application writes it; Sealdesk puts a device's certificate chain here (§5.3)."""

    identity: bytes


@variant(CredentialType.X509)
class X509Credential:
    """A chain of DER certificates, the leaf's own first (§5.3). We carry it, and trust none."""

    certificates: Annotated[tuple[bytes, ...], Max(CERTIFICATES_MAX)]


Credential = Annotated[BasicCredential | X509Credential, Select(2)]
AnyCredential = BasicCredential | X509Credential


def credential_type(credential: AnyCredential) -> CredentialType:
    """The type under which a credential is encoded."""
    return CredentialType.BASIC if isinstance(credential, BasicCredential) else CredentialType.X509
