"""People for the tests of the identity layer, with keys made from names, and key packages wrong in a chosen field."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from crypto.identity.accounts import (
    DeviceCertificate,
    DeviceChain,
    SigningKeyCertificate,
    account_id_of,
    certify_device,
    certify_signing_key,
    device_id_of,
)
from crypto.identity.device_list import DeviceList, VerifiedDeviceList, sign_device_list, verify_device_list
from crypto.mls.credentials import BasicCredential
from crypto.mls.extensions import Extension, ExtensionType
from crypto.mls.headers import ProtocolVersion
from crypto.mls.key_package import KeyPackage
from crypto.mls.mls_message import MLSMessage
from crypto.mls.tree_nodes import (
    AnySource,
    Capabilities,
    KeyPackageSource,
    LeafContents,
    LeafIndex,
    LeafNode,
    Lifetime,
    sign_leaf_node,
)
from crypto.secret import Secret
from crypto.suites import CipherSuite, SignatureKeyPair, derive_ed25519_key_pair
from crypto.wire import encode, encode_unsigned

NOW = 1_800_000_000
DAY_S = 86_400


def secret(name: str) -> Secret:
    return Secret(hashlib.sha256(name.encode()).digest())


def key_pair(name: str) -> SignatureKeyPair:
    return derive_ed25519_key_pair(secret(name))


@dataclass(frozen=True)
class Device:
    """A device of an account: its key and its certificate."""

    keys: SignatureKeyPair
    certificate: DeviceCertificate
    chain: DeviceChain

    @property
    def device_id(self) -> bytes:
        return device_id_of(self.keys.public)

    @property
    def credential(self) -> BasicCredential:
        return BasicCredential(encode(self.chain))


@dataclass(frozen=True)
class Account:
    """An account as its owner sees it."""

    root: SignatureKeyPair
    signing: SignatureKeyPair
    certificate: SigningKeyCertificate
    devices: tuple[Device, ...]

    @property
    def account_id(self) -> bytes:
        return account_id_of(self.root.public)

    def device_list(self, version: int = 1) -> DeviceList:
        return sign_device_list(self.signing, self.certificate, version, self._device_ids(), NOW)

    def verified_list(self, version: int = 1) -> VerifiedDeviceList:
        return verify_device_list(self.device_list(version), self.certificate, previous=None)

    def _device_ids(self) -> frozenset[bytes]:
        return frozenset(device.device_id for device in self.devices)


def account(name: str, devices: int = 1, signing_key_version: int = 1) -> Account:
    root, signing = key_pair(f"{name} root"), key_pair(f"{name} signing {signing_key_version}")
    certificate = certify_signing_key(root, signing.public, signing_key_version)
    made = tuple(device(certificate, signing, f"{name} device {number}") for number in range(devices))
    return Account(root, signing, certificate, made)


def device(certificate: SigningKeyCertificate, signing: SignatureKeyPair, name: str) -> Device:
    keys = key_pair(name)
    device_certificate = certify_device(signing, certificate, keys.public, NOW)
    return Device(keys, device_certificate, DeviceChain(certificate, device_certificate))


def key_package(
    suite: CipherSuite,
    device: Device,
    *,
    lifetime: Lifetime = Lifetime(NOW - 3_600, NOW + 30 * DAY_S),  # noqa: B008  a frozen value
    last_resort: bool = False,
    change_leaf: Callable[[LeafNode], LeafNode] = lambda leaf: leaf,
    change: Callable[[KeyPackage], KeyPackage] = lambda package: package,
) -> KeyPackage:
    """A key package of `device`. Both changes come before signing, so that nothing but them is wrong."""
    last_resort_type = ExtensionType.LAST_RESORT_KEY_PACKAGE
    leaf = change_leaf(
        LeafNode(
            encryption_key=suite.derive_key_pair(secret("encryption")).public,
            signature_key=device.keys.public,
            credential=device.credential,
            capabilities=Capabilities((ProtocolVersion.MLS10,), (suite.id,), (last_resort_type,), (), (1,)),
            source=KeyPackageSource(lifetime),
            extensions=(),
            signature=b"",
        )
    )
    package = change(
        KeyPackage(
            version=ProtocolVersion.MLS10,
            cipher_suite=suite.id,
            init_key=suite.derive_key_pair(secret("init")).public,
            leaf_node=signed_leaf(suite, device.keys, leaf, b"", LeafIndex(0)),
            extensions=(Extension(last_resort_type, b""),) if last_resort else (),
            signature=b"",
        )
    )
    signature = suite.sign_with_label(device.keys, "KeyPackageTBS", encode_unsigned(package))
    return dataclasses.replace(package, signature=signature)


def unsigned_leaf(contents: LeafContents, encryption_key: bytes, source: AnySource) -> LeafNode:
    """A leaf that says this, before it is signed."""
    return LeafNode(
        encryption_key,
        contents.signature_key,
        contents.credential,
        contents.capabilities,
        source,
        contents.extensions,
        b"",
    )


def signed_leaf(
    suite: CipherSuite, signer: SignatureKeyPair, unsigned: LeafNode, group_id: bytes, leaf_index: LeafIndex
) -> LeafNode:
    """The same leaf with its signature; whatever `unsigned.signature` holds is replaced."""
    key, source = unsigned.encryption_key, unsigned.source
    return sign_leaf_node(suite, signer, unsigned.contents, key, source, group_id, leaf_index)


def message(body: object) -> bytes:
    return encode(MLSMessage(ProtocolVersion.MLS10, body))  # type: ignore[arg-type]  # tests wrap what they like
