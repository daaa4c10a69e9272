"""How every signed object of the identity layer is signed: one shape, one label for each kind.

The shape is SignContent of RFC 9420 §5.1.2 (label, content) over the object's encoding without its signature. The label
names the kind of object and the version of its format, so a signature over one kind never holds for another, nor for
anything that MLS signs (its labels begin with "MLS 1.0 "). A changed format takes a new label. Keys are Ed25519
throughout: its signatures are strongly unforgeable, and an object has one valid encoding.
"""

from __future__ import annotations

import dataclasses
from enum import StrEnum, unique
from typing import Annotated, Any, ClassVar, Protocol, TypeVar

from crypto.suites import SignatureKeyPair, encode_sign_content, sign_ed25519, verify_ed25519
from crypto.wire import Fixed, encode_unsigned

ID_SIZE = 20
"""Bytes of an account id or device id: 160 bits of SHA-256, out of reach for a second preimage."""

Id = Annotated[bytes, Fixed(ID_SIZE)]
PublicKey = Annotated[bytes, Fixed(32)]
Signature = Annotated[bytes, Fixed(64)]


@unique
class SignedLabel(StrEnum):
    """The label of every kind of signed object."""

    SIGNING_KEY_CERTIFICATE = "Sealdesk 1.0 SigningKeyCertificate"
    DEVICE_CERTIFICATE = "Sealdesk 1.0 DeviceCertificate"
    DEVICE_LIST = "Sealdesk 1.0 DeviceList"
    SESSION_ANSWER = "Sealdesk 1.0 SessionAnswer"
    EPOCH_STATEMENT = "Sealdesk 1.0 EpochStatement"
    ROLE_CERTIFICATE = "Sealdesk 1.0 RoleCertificate"
    REVOCATION_STATEMENT = "Sealdesk 1.0 RevocationStatement"
    LINK_OFFER = "Sealdesk 1.0 LinkOffer"
    PROFILE_MANIFEST = "Sealdesk 1.0 ProfileManifest"


class SignedObject(Protocol):
    """A wire struct whose last field is its signature."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    @property
    def signature(self) -> bytes:
        """64 bytes of Ed25519."""
        ...


T = TypeVar("T", bound=SignedObject)


def sign_object(signer: SignatureKeyPair, label: SignedLabel, unsigned: T) -> T:
    """The same object with its signature; whatever `unsigned.signature` holds is replaced."""
    signature = sign_ed25519(signer, encode_sign_content(label, encode_unsigned(unsigned)))
    return dataclasses.replace(unsigned, signature=signature)


def verify_object(public_key: bytes, label: SignedLabel, signed: SignedObject) -> None:
    """Raise `AuthenticationError` unless `public_key` signed this object under this label."""
    verify_ed25519(public_key, encode_sign_content(label, encode_unsigned(signed)), signed.signature)
