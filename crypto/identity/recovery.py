"""Devices that go, and accounts that come back: unlinking, "my phone was stolen", recovery from the phrase alone.

Three things that look alike and are not:

- *Unlinking* a device that is in good hands (sold, and erased): `unlink_devices`, the next list without it. It had the
  signing key, and whoever has that can sign a list and be on it again, for all to see.
- *A device in bad hands*: `replace_signing_key`. The recovery phrase gives the root key, the root certifies a new
  signing key, and the stolen one counts no more, whatever the thief has signed or will sign.
- *No device left*: `recover`. The same, with one new device that stays.

Which version the new signing key gets. The root signs whatever number it is told, everybody keeps the highest that he
has seen, and the only one who can be asked for it, the server, may show an old one. A number that follows an old one is
below what others have, who would refuse it, or equal to it, which looks like a forgery. So the number also follows the
clock: `next_version` is the minutes since 1970 or, if that is more, the highest known plus one. Versions that the
server hides were made in earlier minutes. Left are a clock that is behind, a clock that was ahead, and a phrase typed
on two devices within one minute: then somebody shows a certificate of our own account that is not below ours. Our
former leaves in chats carry one, and so do our other devices; `check_newest` is to be called with each that comes.

Order of steps for the client, after either function: write all of the result into the store, as pending; upload
certificate, device certificates and list in one request, which the server takes for the root's signature, as it takes a
registration, because the thief may have ended all our sessions; if it has a newer one by now, verify that and start
again; adopt the new keys; take the leaves of the devices that are gone out of every chat, or after `recover` wait to be
added again; hand the signing key to the devices that stay by linking each again with its own key (`generate_link_offer`
with `device_key`). Until then they go on sending, for the list names them. Lists and leaves tell the contacts; the root
key, and so the safety number, stays.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from crypto.errors import IdentityError, UsageError
from crypto.identity.accounts import (
    CertifiedDevice,
    CertifiedSigningKey,
    DeviceCertificate,
    SigningKeyCertificate,
    certify_device,
    certify_signing_key,
    device_id_of,
)
from crypto.identity.device_list import (
    VerifiedDeviceList,
    sign_device_list,
    sign_next_device_list,
    verify_device_list,
)
from crypto.suites import SignatureKeyPair

_VERSION_MAX = 2**32 - 1


@dataclass(frozen=True, slots=True)
class ReplacedSigningKey:
    """An account under its new signing key, all of it signed anew. `device_certificates` are in the list's order."""

    signing_key: SignatureKeyPair
    certificate: SigningKeyCertificate
    device_certificates: tuple[DeviceCertificate, ...]
    device_list: VerifiedDeviceList

    @property
    def account_id(self) -> bytes:
        """The same as before, for it hangs on the root key: 20 bytes."""
        return self.device_list.account_id


def unlink_devices(
    signing_key: SignatureKeyPair, previous: VerifiedDeviceList, device_ids: frozenset[bytes], now: int
) -> VerifiedDeviceList:
    """The next list, without these devices of `previous`. For devices in good hands only.

    Raises `IdentityError` if one of them is not on the list or none would be left, `AuthenticationError` if
    `signing_key` is not the account's.
    """
    if not device_ids <= frozenset(previous.device_ids):
        raise IdentityError("a device that is to be unlinked is not on the account's device list")
    return sign_next_device_list(signing_key, previous, frozenset(previous.device_ids) - device_ids, now)


def replace_signing_key(
    root: SignatureKeyPair,
    signing_key: SignatureKeyPair,
    newest: CertifiedSigningKey,
    stays: Iterable[CertifiedDevice],
    now: int,
) -> ReplacedSigningKey:
    """Put the fresh `signing_key` in place of `newest` and of all before it; only the devices in `stays` remain.

    `root` is from the phrase, `newest` the one with the highest version that was ever seen. `stays` is what the person
    has picked, this device among them; a thief may have certified more, and may have taken ours off his list, so no
    list is asked. Raises `IdentityError` if the phrase or a device is of another account, or if no device stays.
    """
    _check_account(root, newest)
    if signing_key.public == newest.signing_key:
        raise UsageError("a signing key is replaced by another one")
    devices = tuple(stays)
    if any(device.root_key != root.public for device in devices):
        raise IdentityError("a device that is to stay is of another account")
    return _start_anew(root, signing_key, newest.version, frozenset(each.device_key for each in devices), now)


def recover(
    root: SignatureKeyPair,
    signing_key: SignatureKeyPair,
    device_key: bytes,
    newest: CertifiedSigningKey | None,
    now: int,
) -> ReplacedSigningKey:
    """An account on an empty machine: both keys are fresh, the device (public, 32 bytes) is the only one.

    `newest` is what the server shows as the account's, None if it says that there is no such account; either may be a
    lie. Raises `IdentityError` if it is of another account than the phrase.
    """
    if newest is not None:
        _check_account(root, newest)
    return _start_anew(root, signing_key, 0 if newest is None else newest.version, frozenset({device_key}), now)


def next_version(newest: int, now: int) -> int:
    """The version of the signing key that follows version `newest`: minutes since 1970, or one more than `newest`.

    In minutes, 32 bits last beyond the year 10000, so a clock that is wrong by a lifetime uses up next to nothing.
    Raises `IdentityError` beyond.
    """
    version = max(newest + 1, now // 60)
    if version > _VERSION_MAX:
        raise IdentityError("no signing key can follow at this date: set the clock")
    return version


def check_newest(ours: CertifiedSigningKey, seen: CertifiedSigningKey) -> None:
    """Raise `IdentityError` if a certificate of our own account, wherever it was seen, shows that ours is not newest.

    Nobody but the holder of the phrase can make one, so it is true whoever shows it. What is to be done: if the person
    has recovered the account elsewhere, link this device to that one; else recover again, with `seen` as the newest.
    """
    if seen.root_key != ours.root_key:
        raise UsageError("the certificates are of two accounts")
    if seen.version > ours.version:
        raise IdentityError("this account has a newer signing key than this device: link it again, or recover again")
    if seen.version == ours.version and seen.signing_key != ours.signing_key:
        raise IdentityError("this account has two signing keys of one version: recover again")


def _check_account(root: SignatureKeyPair, newest: CertifiedSigningKey) -> None:
    if newest.root_key != root.public:
        raise IdentityError("the recovery phrase is of another account")


def _start_anew(
    root: SignatureKeyPair, signing_key: SignatureKeyPair, newest: int, device_keys: frozenset[bytes], now: int
) -> ReplacedSigningKey:
    certificate = certify_signing_key(root, signing_key.public, next_version(newest, now))
    keys = sorted(device_keys, key=device_id_of)
    device_certificates = tuple(certify_device(signing_key, certificate, key, now) for key in keys)
    signed = sign_device_list(signing_key, certificate, 1, frozenset(map(device_id_of, keys)), now)
    device_list = verify_device_list(signed, certificate, previous=None)
    return ReplacedSigningKey(signing_key, certificate, device_certificates, device_list)
