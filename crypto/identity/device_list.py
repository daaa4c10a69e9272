"""Device lists: which devices an account has now, signed, versioned, never going back.

A certificate says that a device was let in; only the newest list says that it still belongs. Whoever keeps the newest
`VerifiedDeviceList` of an account gives it as `previous` when another arrives. The next one is taken only if

- it is of the same account under the same root key, and signed by the signing key that its certificate names;
- its signing key's version is not lower than before, and under the same signing key its own version is not lower;
- an equal version comes with equal bytes, list and certificate alike: two different ones mean that the account's owner
  (or a thief of its signing key) shows different lists to different people.

So a server can withhold a newer list, and can neither make one nor bring an older one back. A thief of a signing key
can sign a list, visibly: a new device for all to see. A signing key with a higher version ends that. It also starts the
lists' versions anew, or else the thief could sign the highest version that there is and lock the owner out for ever.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from crypto.errors import IdentityError
from crypto.identity.accounts import (
    CertifiedDevice,
    CertifiedSigningKey,
    SigningKeyCertificate,
    account_id_of,
    check_signed_for,
    verify_chain,
    verify_signing_key,
)
from crypto.identity.signing import Id, Signature, SignedLabel, sign_object, verify_object
from crypto.mls.credentials import AnyCredential, BasicCredential
from crypto.suites import SignatureKeyPair
from crypto.wire import Uint32, Uint64, struct

DEVICES_MAX = 64
"""Most devices of one account: what bounds the leaves that a person adds to a group."""

_VERSION_MAX = 2**32 - 1


@struct
class DeviceList:
    """All devices of an account, ids ascending. `issued_at` is Unix seconds, shown to people."""

    account_id: Id
    version: Uint32
    signing_key_version: Uint32
    device_ids: tuple[Id, ...]
    issued_at: Uint64
    signature: Signature


@dataclass(frozen=True, slots=True)
class VerifiedDeviceList:
    """A list that holds, with the certificate it hangs on. Made by `verify_device_list` only.

    To keep it, store the encodings of both parts and verify them again when loading.
    """

    certificate: SigningKeyCertificate
    device_list: DeviceList
    signing_key: CertifiedSigningKey

    @property
    def account_id(self) -> bytes:
        """The account whose devices these are."""
        return self.device_list.account_id

    @property
    def version(self) -> int:
        """The list's version; under one signing key the newest list has the highest."""
        return self.device_list.version

    @property
    def device_ids(self) -> tuple[bytes, ...]:
        """The devices' ids, ascending."""
        return self.device_list.device_ids


@dataclass(frozen=True, slots=True)
class VerifiedDevice:
    """A device whose certificates hold and that is on its account's list. Made by `verify_listed` only."""

    account_id: bytes
    device_id: bytes
    device_key: bytes
    root_key: bytes
    device_list_version: int


def sign_device_list(
    signer: SignatureKeyPair,
    certificate: SigningKeyCertificate,
    version: int,
    device_ids: frozenset[bytes],
    issued_at: int,
) -> DeviceList:
    """Make the account's `version`-th list with the signing key that `certificate` is about."""
    account_id = account_id_of(certificate.root_key)
    unsigned = DeviceList(account_id, version, certificate.version, tuple(sorted(device_ids)), issued_at, signature=b"")
    return sign_object(signer, SignedLabel.DEVICE_LIST, unsigned)


def sign_next_device_list(
    signer: SignatureKeyPair, previous: VerifiedDeviceList, device_ids: frozenset[bytes], issued_at: int
) -> VerifiedDeviceList:
    """The list that follows `previous` under the same signing key, with these devices.

    Raises `IdentityError` if there would be no device or too many, or if there is no higher version: a thief of the
    signing key may have used up the last one, and `recovery.replace_signing_key` starts anew. `AuthenticationError` if
    `signer` is not the signing key of `previous`.
    """
    if previous.version == _VERSION_MAX:
        raise IdentityError("this signing key has signed its last device list: replace it, with the recovery phrase")
    device_list = sign_device_list(signer, previous.certificate, previous.version + 1, device_ids, issued_at)
    return verify_device_list(device_list, previous.certificate, previous)


def verify_device_list(
    device_list: DeviceList, certificate: SigningKeyCertificate, previous: VerifiedDeviceList | None
) -> VerifiedDeviceList:
    """Check a list against its certificate and against the newest one seen before (None: this is the first).

    Raises `AuthenticationError` for a signature that does not hold, `IdentityError` for everything else.
    """
    signing_key = verify_signing_key(certificate)
    check_signed_for(signing_key, device_list.account_id, device_list.signing_key_version)
    verify_object(signing_key.signing_key, SignedLabel.DEVICE_LIST, device_list)
    _check_device_ids(device_list.device_ids)
    verified = VerifiedDeviceList(certificate, device_list, signing_key)
    if previous is not None:
        _check_succession(previous, verified)
    return verified


def verify_listed(device: CertifiedDevice, device_list: VerifiedDeviceList | None) -> VerifiedDevice:
    """Check that a device is on the newest list of its account; None, an account without a list, has no devices.

    A certificate by an older signing key will do, because the list is signed by the newest one and names the device's
    key; so a device need not replace its leaf in every group at once when the account changes its signing key. One
    by a newer key means that this list is not the newest. Raises `IdentityError`.
    """
    if device_list is None:
        raise IdentityError("no device list of this account is known")
    if device.root_key != device_list.signing_key.root_key:
        raise IdentityError("the device and the device list are of different accounts")
    if device.certificate.signing_key_version > device_list.signing_key.version:
        raise IdentityError("the device list is older than the device's certificate: fetch the newest")
    if device.device_id not in device_list.device_ids:
        raise IdentityError("the device is not on its account's device list")
    return VerifiedDevice(device.account_id, device.device_id, device.device_key, device.root_key, device_list.version)


def certify_leaf(credential: AnyCredential, signature_key: bytes) -> CertifiedDevice:
    """Check the chain in a leaf's credential, and that it is about the leaf's own signature key.

    The first half of `authenticate_leaf`: it tells which account's list to ask for. The leaf's signature is the
    group's business (RFC 9420 §7.3). Raises `DecodeError`, `AuthenticationError` or `IdentityError`.
    """
    if not isinstance(credential, BasicCredential):
        raise IdentityError("the credential is not a Sealdesk device chain")
    device = verify_chain(credential.identity)
    if device.device_key != signature_key:
        raise IdentityError("the credential is about another key than the leaf's")
    return device


def authenticate_leaf(
    credential: AnyCredential, signature_key: bytes, device_list: VerifiedDeviceList | None
) -> VerifiedDevice:
    """The Authentication Service (RFC 9420 §5.3.1): whose leaf this is, or an error.

    `device_list` is the newest one of the account that `certify_leaf` names, None if there is none. Raises
    `DecodeError`, `AuthenticationError` or `IdentityError`.
    """
    return verify_listed(certify_leaf(credential, signature_key), device_list)


def _check_device_ids(device_ids: tuple[bytes, ...]) -> None:
    if not 1 <= len(device_ids) <= DEVICES_MAX:
        raise IdentityError(f"a device list names 1 to {DEVICES_MAX} devices")
    if any(first >= second for first, second in itertools.pairwise(device_ids)):
        raise IdentityError("the ids of a device list are not strictly ascending")


def _check_succession(previous: VerifiedDeviceList, following: VerifiedDeviceList) -> None:
    if following.signing_key.root_key != previous.signing_key.root_key:
        raise IdentityError("the device list is of another account than the one before")
    if following.signing_key.version > previous.signing_key.version:
        return
    if following.signing_key.version < previous.signing_key.version or following.version < previous.version:
        raise IdentityError("the device list is older than one seen before")
    if following.certificate != previous.certificate:
        raise IdentityError("two different signing keys have the same version")
    if following.version == previous.version and following.device_list != previous.device_list:
        raise IdentityError("two different device lists have the same version")
