"""Who we are: this device's keys and certificates, and the row that holds them.

The root key is not here: it exists while an account is made or recovered, as the recovery phrase, and nowhere else.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

import msgspec

from crypto.identity.accounts import (
    DeviceCertificate,
    DeviceChain,
    SigningKeyCertificate,
    account_id_of,
    certify_device,
    certify_signing_key,
    derive_root_key,
    device_id_of,
    generate_signature_key_pair,
)
from crypto.identity.device_list import DeviceList, sign_device_list
from crypto.mls.credentials import BasicCredential
from crypto.secret import Secret
from crypto.suites import SignatureKeyPair, derive_ed25519_key_pair
from crypto.wire import decode, encode


@dataclass(frozen=True, slots=True)
class Identity:
    """An account on one device, at one server. `server_url` is the server's public URL, without a slash at the end."""

    server_url: str
    signing_key: SignatureKeyPair
    device_key: SignatureKeyPair
    signing_key_certificate: SigningKeyCertificate
    device_certificate: DeviceCertificate
    device_list: DeviceList

    @property
    def account_id(self) -> bytes:
        """20 bytes."""
        return account_id_of(self.signing_key_certificate.root_key)

    @property
    def device_id(self) -> bytes:
        """20 bytes."""
        return device_id_of(self.device_key.public)

    @property
    def credential(self) -> BasicCredential:
        """What our leaves carry: the chain from the root key to this device."""
        return BasicCredential(encode(DeviceChain(self.signing_key_certificate, self.device_certificate)))

    def derive_message_id(self, name: bytes) -> bytes:
        """A message id that follows from `name`, and that nobody else can foresee and use up: 16 bytes."""
        return hmac.digest(self.device_key.private.reveal(), b"Sealdesk 1.0 message id" + name, "sha256")[:16]


class IdentityRow(msgspec.Struct, frozen=True):
    """An `Identity` in the (encrypted) store."""

    server_url: str
    signing_seed: bytes
    device_seed: bytes
    signing_key_certificate: bytes
    device_certificate: bytes
    device_list: bytes

    def __repr__(self) -> str:
        return "IdentityRow(redacted)"


def generate_identity(phrase: str, server_url: str, now: int) -> Identity:
    """A new account from its recovery phrase, this device its first. Raises `IdentityError` for a bad phrase."""
    root, signing, device = derive_root_key(phrase), generate_signature_key_pair(), generate_signature_key_pair()
    certificate = certify_signing_key(root, signing.public, version=1)
    return Identity(
        server_url,
        signing,
        device,
        certificate,
        certify_device(signing, certificate, device.public, now),
        sign_device_list(signing, certificate, 1, frozenset({device_id_of(device.public)}), now),
    )


def encode_identity(identity: Identity) -> bytes:
    """The row of an identity."""
    return msgspec.msgpack.encode(
        IdentityRow(
            identity.server_url,
            identity.signing_key.private.reveal(),
            identity.device_key.private.reveal(),
            encode(identity.signing_key_certificate),
            encode(identity.device_certificate),
            encode(identity.device_list),
        )
    )


def decode_identity(row: bytes) -> Identity:
    """The identity of a row."""
    read = msgspec.msgpack.decode(row, type=IdentityRow)
    return Identity(
        read.server_url,
        derive_ed25519_key_pair(Secret(read.signing_seed)),
        derive_ed25519_key_pair(Secret(read.device_seed)),
        decode(SigningKeyCertificate, read.signing_key_certificate),
        decode(DeviceCertificate, read.device_certificate),
        decode(DeviceList, read.device_list),
    )
