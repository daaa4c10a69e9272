"""Key packages (RFC 9420 §10): how a client says, in advance, "this is how to add me".

Owns the struct and how we make ours. How others' are checked stands in `verified_key_package`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from crypto.mls.credentials import AnyCredential, CredentialType
from crypto.mls.extensions import (
    Extension,
    Extensions,
    ExtensionType,
    find_extension,
    generate_grease,
)
from crypto.mls.headers import ProtocolVersion, Version, WireFormat
from crypto.mls.rules import leaf as leaf_rules
from crypto.mls.tree_nodes import (
    Capabilities,
    KeyPackageSource,
    LeafContents,
    LeafIndex,
    LeafNode,
    Lifetime,
    sign_leaf_node,
)
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


LAST_RESORT = Extension(ExtensionType.LAST_RESORT_KEY_PACKAGE, b"")
"""Marks a key package that may be used more than once (§16.8)."""

OUR_CAPABILITIES = Capabilities(
    versions=(ProtocolVersion.MLS10,),
    cipher_suites=tuple(SUITES),
    extensions=(ExtensionType.LAST_RESORT_KEY_PACKAGE,),
    proposals=(),
    credentials=(CredentialType.BASIC,),
)
"""What this implementation can do, and all of it (§13.4). Default types are not listed (§7.2; rule L19).

What we send lists one value for GREASE besides, and what the application supports.
"""


def generate_key_package(
    suite: CipherSuite,
    credential: AnyCredential,
    signer: SignatureKeyPair,
    *,
    lifetime: Lifetime,
    last_resort: bool = False,
    supported_extensions: tuple[int, ...] = (),
    leaf_extensions: tuple[Extension, ...] = (),
) -> KeyPackageBundle:
    """A fresh key package of ours.

    KeyPackage, §10. Set `lifetime` back by an hour: others' clocks may be behind. `supported_extensions` are the types
    of leaf and GroupContext extensions that the application gives a meaning; `leaf_extensions` go into the leaf.
    Raises `RuleViolation` if they do not belong there, and `UsageError` for more than a list holds.
    """
    contents = generate_leaf_contents(credential, signer, supported_extensions, leaf_extensions)
    init = suite.generate_hpke_key_pair()
    leaf, encryption_private = generate_leaf(suite, contents, signer, lifetime)
    extensions = (LAST_RESORT,) if last_resort else ()
    unsigned = KeyPackage(ProtocolVersion.MLS10, suite.id, init.public, leaf, extensions, b"")
    return KeyPackageBundle(sign_key_package(suite, signer, unsigned), init.private, encryption_private)


def generate_leaf_contents(
    credential: AnyCredential,
    signer: SignatureKeyPair,
    supported_extensions: tuple[int, ...],
    leaf_extensions: tuple[Extension, ...],
) -> LeafContents:
    """What a leaf of ours says (§7.2). Raises `RuleViolation` as `with_leaf_extensions`.

    One value for GREASE stands in all lists (§13.5): with more, no two members' capabilities would be alike. No
    extension for GREASE stands in leaf or key package, where the RFC would like one: OpenMLS refuses both up to 0.8.
    """
    grease = generate_grease()
    capabilities = Capabilities(
        OUR_CAPABILITIES.versions,
        (*OUR_CAPABILITIES.cipher_suites, grease),
        (*OUR_CAPABILITIES.extensions, *supported_extensions, grease),
        (*OUR_CAPABILITIES.proposals, grease),
        (*OUR_CAPABILITIES.credentials, grease),
    )
    return with_leaf_extensions(LeafContents(signer.public, credential, capabilities, ()), leaf_extensions)


def generate_leaf(
    suite: CipherSuite, contents: LeafContents, signer: SignatureKeyPair, lifetime: Lifetime
) -> tuple[LeafNode, Secret]:
    """A leaf of ours with a fresh encryption key for a key package, and its private key (§7.2)."""
    pair = suite.generate_hpke_key_pair()
    leaf = sign_leaf_node(suite, signer, contents, pair.public, KeyPackageSource(lifetime), b"", LeafIndex(0))
    return leaf, pair.private


def with_leaf_extensions(contents: LeafContents, extensions: tuple[Extension, ...] | None) -> LeafContents:
    """What our leaf says, with other extensions if some are given: the one way in for extensions of ours.

    Raises `RuleViolation` L6, L17 or L18. Whether lists are too long is the codec's to judge, when the leaf is signed.
    """
    if extensions is None:
        return contents
    changed = replace(contents, extensions=extensions)
    leaf_rules.check_own_extensions(changed)
    return changed


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
