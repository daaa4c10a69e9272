"""What a server may check: headers, key packages, accounts, session answers and roles, all without a secret.

This is the whole of `crypto` that `backend` sees. Nothing here opens, decrypts or needs a private key; what these
functions return is all that a server learns from what it relays. The members check everything again, and more: a
server that skips or fakes a check here can lose or delay messages and cannot read or forge one.

Every function raises `InvalidMessage` (`DecodeError`, `AuthenticationError`, `RuleViolation`) or `IdentityError` for
bad input, and nothing else; `check_permission` raises `PolicyViolation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crypto.errors import CryptoError, DecodeError, IdentityError, RuleViolation, Unsupported
from crypto.identity.accounts import (
    CertifiedDevice,
    DeviceCertificate,
    SigningKeyCertificate,
    account_id_of,
    device_id_of,
    verify_device,
)
from crypto.identity.device_list import DeviceList, VerifiedDevice, certify_leaf, verify_device_list, verify_listed
from crypto.identity.organisation import organisation_id_of
from crypto.identity.permissions import Action, Role, check_permission, may
from crypto.identity.revocations import VerifiedRevocations, load_revocations, verify_revocations
from crypto.identity.roles import VerifiedRole, verify_role
from crypto.identity.sessions import verify_session_answer
from crypto.mls import verified_key_package
from crypto.mls.framing import PrivateMessage
from crypto.mls.headers import ContentType
from crypto.mls.mls_message import MLSMessage
from crypto.mls.welcome import Welcome
from crypto.suites import X_WING_SUITE_ID
from crypto.wire import decode

__all__ = [
    "CHAT_SUITES",
    "Action",
    "ContentType",
    "CryptoError",
    "DeviceCertificate",
    "KeyPackageHeader",
    "MessageHeader",
    "Role",
    "VerifiedAccount",
    "VerifiedDevice",
    "VerifiedRevocations",
    "VerifiedRole",
    "WelcomeHeader",
    "account_id_of",
    "check_permission",
    "device_id_of",
    "load_revocations",
    "may",
    "organisation_id_of",
    "parse_device_certificate",
    "parse_message_header",
    "parse_welcome",
    "verify_account",
    "verify_key_package",
    "verify_revocations",
    "verify_role",
    "verify_session_answer",
]

CHAT_SUITES = frozenset({1, 3, X_WING_SUITE_ID})
"""The suites that chats use: Ed25519 only, because the proof of MLS needs strongly unforgeable signatures."""


@dataclass(frozen=True, slots=True)
class MessageHeader:
    """What stands in the clear in a PrivateMessage (RFC 9420 §6.3)."""

    group_id: bytes
    epoch: int
    content_type: ContentType


@dataclass(frozen=True, slots=True)
class WelcomeHeader:
    """What stands in the clear in a Welcome (RFC 9420 §12.4.3.1): for which key packages it is, in its order."""

    key_package_refs: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class KeyPackageHeader:
    """What a server keeps beside a key package. `not_after` is Unix seconds, itself included."""

    reference: bytes
    cipher_suite: int
    not_after: int
    last_resort: bool


@dataclass(frozen=True, slots=True)
class VerifiedAccount:
    """An account whose certificates and device list fit together; `devices` in the list's order."""

    account_id: bytes
    root_key: bytes
    signing_key: bytes
    signing_key_version: int
    devices: tuple[VerifiedDevice, ...]
    device_list_version: int


def parse_message_header(message: bytes) -> MessageHeader:
    """The header of an MLSMessage that holds a PrivateMessage; anything else is a `DecodeError`.

    Nothing in it is authentic to a server: members alone can tell whether the ciphertext belongs to it.
    """
    match decode(MLSMessage, message).body:
        case PrivateMessage(group_id=group_id, epoch=epoch, content_type=content_type):
            return MessageHeader(group_id, epoch, content_type)
        case _:
            raise DecodeError("not a PrivateMessage")


def parse_welcome(message: bytes) -> WelcomeHeader:
    """The key packages that an MLSMessage with a Welcome answers; anything else is a `DecodeError`."""
    match decode(MLSMessage, message).body:
        case Welcome(secrets=secrets):
            return WelcomeHeader(tuple(entry.new_member for entry in secrets))
        case _:
            raise DecodeError("not a Welcome")


def parse_device_certificate(certificate: bytes) -> DeviceCertificate:
    """Decode a certificate that `verify_account` has checked before. Raises `DecodeError`."""
    return decode(DeviceCertificate, certificate)


def verify_account(
    signing_key_certificate: bytes, device_certificates: Sequence[bytes], device_list: bytes
) -> VerifiedAccount:
    """Check that a root certified a signing key, and that key the list and exactly the devices on it.

    The certificates may come in any order. Whether this replaces what is stored under `account_id` is for the caller:
    the pair (`signing_key_version`, `device_list_version`) must be higher, compared in this order.
    """
    verified = verify_device_list(
        decode(DeviceList, device_list), decode(SigningKeyCertificate, signing_key_certificate), previous=None
    )
    if len(device_certificates) != len(verified.device_ids):
        raise IdentityError("there is not one certificate for each device on the list")
    certificates = (parse_device_certificate(certificate) for certificate in device_certificates)
    certified = sorted((verify_device(verified.signing_key, each) for each in certificates), key=_device_id)
    if tuple(map(_device_id, certified)) != verified.device_ids:
        raise IdentityError("the certificates are not those of the devices on the list")
    return VerifiedAccount(
        account_id=verified.account_id,
        root_key=verified.signing_key.root_key,
        signing_key=verified.signing_key.signing_key,
        signing_key_version=verified.signing_key.version,
        devices=tuple(verify_listed(device, verified) for device in certified),
        device_list_version=verified.version,
    )


def verify_key_package(message: bytes, device_certificate: DeviceCertificate, now: int) -> KeyPackageHeader:
    """Check that a device may publish this key package: an MLSMessage with a KeyPackage (RFC 9420 §10).

    It must pass every rule that needs no group, be valid at `now` (Unix seconds, to the tolerance that members grant)
    and of a suite that chats use; and its leaf's credential and key must be those of `device_certificate`. The
    result's `last_resort` tells whether it carries the extension that lets it be given out more than once.
    """
    try:
        verified = verified_key_package.verify_key_package(message, now)
    except Unsupported as error:
        raise _suite_violation() from error
    if verified.suite.id not in CHAT_SUITES:
        raise _suite_violation()
    if certify_leaf(verified.leaf.credential, verified.leaf.signature_key).certificate != device_certificate:
        raise IdentityError("the key package is of another device")
    lifetime = verified_key_package.lifetime_of_leaf(verified.leaf)
    return KeyPackageHeader(verified.reference, verified.suite.id, lifetime.not_after, verified.last_resort)


def _device_id(device: CertifiedDevice) -> bytes:
    return device.device_id


def _suite_violation() -> RuleViolation:
    return RuleViolation("S7", "the cipher suite is not one that chats use")
