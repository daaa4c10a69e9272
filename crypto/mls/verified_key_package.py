"""Key packages of others, checked (RFC 9420 §10.1).

A `KeyPackage` is what someone sent. A `VerifiedKeyPackage` has passed every rule that needs no group, its two
signatures among them, and only that can be added to a group. Whose it is, the application judges (rules L1, K7 to K9).
"""

from __future__ import annotations

from dataclasses import dataclass

from crypto.errors import DecodeError
from crypto.mls.config import DEFAULT_CONFIG, GroupConfig
from crypto.mls.key_package import KeyPackage, is_last_resort, key_package_reference, verify_key_package_signature
from crypto.mls.mls_message import decode_message
from crypto.mls.rules import extensions as extension_rules
from crypto.mls.rules import key_package as rules
from crypto.mls.rules import leaf as leaf_rules
from crypto.mls.tree_nodes import KeyPackageSource, LeafIndex, LeafNode, Lifetime, verify_leaf_node
from crypto.suites import CipherSuite, suite_of


@dataclass(frozen=True, slots=True, eq=False)
class VerifiedKeyPackage:
    """A key package that may be added to a group of its suite. Only this module makes one."""

    suite: CipherSuite
    key_package: KeyPackage

    @property
    def reference(self) -> bytes:
        """KeyPackageRef (§5.2): compare it with the one that was asked for."""
        return key_package_reference(self.suite, self.key_package)

    @property
    def leaf(self) -> LeafNode:
        """The leaf that the new member will have; its credential says who it is."""
        return self.key_package.leaf_node

    @property
    def last_resort(self) -> bool:
        """Whether it may have been used before."""
        return is_last_resort(self.key_package)


def verify_key_package(message: bytes, now: int, config: GroupConfig = DEFAULT_CONFIG) -> VerifiedKeyPackage:
    """Check a key package that we are about to add.

    §10.1 and §7.3. `message` is an MLSMessage, `now` Unix seconds: the lifetime must contain it. There is one protocol
    version, so wrapper and key package agree (rule K5) or do not decode. Raises `InvalidMessage`, or `Unsupported` for
    a suite that we do not have.
    """
    body = decode_message(message).body
    if not isinstance(body, KeyPackage):
        raise DecodeError("the message is not a key package")
    verified = check_key_package(body, config)
    leaf_rules.l9_lifetime_of_sent_leaf(lifetime_of_leaf(verified.leaf), config, now)
    return verified


def check_key_package(key_package: KeyPackage, config: GroupConfig) -> VerifiedKeyPackage:
    """Apply all rules that need neither a group nor the time. Raises `InvalidMessage` or `Unsupported`."""
    suite = suite_of(key_package.cipher_suite)
    leaf = key_package.leaf_node
    leaf_rules.check_leaf(suite, leaf, KeyPackageSource)
    assert isinstance(leaf.source, KeyPackageSource)
    leaf_rules.l11_total_lifetime(leaf.source.lifetime, config)
    rules.k4_init_key_differs(key_package)
    extension_rules.l17_key_package_extensions(key_package.extensions)
    extension_rules.l18_extension_types_unique(key_package.extensions)
    rules.l6_key_package_extensions(key_package)
    rules.c5_last_resort_mark(key_package)
    leaf_rules.l20_public_key(suite, key_package.init_key)
    verify_leaf_node(suite, leaf, b"", LeafIndex(0))  # a key package's leaf is signed without group and index
    verify_key_package_signature(suite, key_package)
    return VerifiedKeyPackage(suite, key_package)


def lifetime_of_leaf(leaf: LeafNode) -> Lifetime:
    """The lifetime of a verified key package's leaf."""
    assert isinstance(leaf.source, KeyPackageSource), "rule L8 holds for it"
    return leaf.source.lifetime
