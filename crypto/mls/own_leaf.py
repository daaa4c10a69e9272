"""What we say of ourselves: our leaves and key packages (RFC 9420 §7.2, §10, §13.5), and what we can do.

Owns their making alone: how a leaf or a key package is judged, ours too, stands in `rules`.
"""

from __future__ import annotations

from dataclasses import replace

from crypto.mls.credentials import AnyCredential, CredentialType
from crypto.mls.extensions import Extension, ExtensionType, generate_grease
from crypto.mls.headers import ProtocolVersion
from crypto.mls.key_package import KeyPackage, KeyPackageBundle, sign_key_package
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
