"""Key packages (RFC 9420 §10): how a client says, in advance, "this is how to add me".

Owns the struct and its signature. How we make ours stands in `own_leaf`, how others' are checked in
`verified_key_package`.
"""

from __future__ import annotations

from dataclasses import dataclass

from crypto.mls.extensions import Extensions, ExtensionType, find_extension
from crypto.mls.headers import Version, WireFormat
from crypto.mls.tree_nodes import LeafNode
from crypto.secret import Secret
from crypto.suites import SUITES, CipherSuite, SignatureKeyPair
from crypto.wire import Kept, Uint16, encode, encode_unsigned, variant


@variant(WireFormat.KEY_PACKAGE)
class KeyPackage(Kept):
    """A client's offer to be added (§10). `init_key` is an HPKE public key used for one Welcome."""

    version: Version
    cipher_suite: Uint16
    init_key: bytes
    leaf_node: LeafNode
    extensions: Extensions
    signature: bytes


@dataclass(frozen=True, slots=True, eq=False)
class KeyPackageBundle:
    """A key package of ours with the private keys that belong to it."""

    key_package: KeyPackage
    init_private: Secret
    encryption_private: Secret

    @property
    def reference(self) -> bytes:
        """The name by which a Welcome calls it, KDF.Nh bytes."""
        return key_package_reference(SUITES[self.key_package.cipher_suite], self.key_package)


def sign_key_package(suite: CipherSuite, signer: SignatureKeyPair, unsigned: KeyPackage) -> KeyPackage:
    """The same key package with its signature (§10)."""
    signature = suite.sign_with_label(signer, "KeyPackageTBS", encode_unsigned(unsigned))
    return KeyPackage(
        unsigned.version,
        unsigned.cipher_suite,
        unsigned.init_key,
        unsigned.leaf_node,
        unsigned.extensions,
        signature,
    )


def verify_key_package_signature(suite: CipherSuite, key_package: KeyPackage) -> None:
    """Raise `AuthenticationError` unless the key package is signed by its leaf's key (§10.1; rule K3)."""
    tbs = encode_unsigned(key_package)
    suite.verify_with_label(key_package.leaf_node.signature_key, "KeyPackageTBS", tbs, key_package.signature)


def key_package_reference(suite: CipherSuite, key_package: KeyPackage) -> bytes:
    """KeyPackageRef (§5.2), KDF.Nh bytes."""
    return suite.ref_hash("MLS 1.0 KeyPackage Reference", encode(key_package))


def is_last_resort(key_package: KeyPackage) -> bool:
    """Whether its owner allows that it is used more than once (§16.8)."""
    return find_extension(key_package.extensions, ExtensionType.LAST_RESORT_KEY_PACKAGE) is not None
