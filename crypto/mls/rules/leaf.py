"""Rules for leaf nodes (RFC 9420 §7.2, §7.3), wherever a leaf appears.

L1, L16 and L21 (whose credential is this?) are the application's; L2 is `tree_nodes.verify_leaf_node`.
"""

from __future__ import annotations

from typing import TypeAlias

from crypto.errors import DecodeError, RuleViolation
from crypto.mls.config import GroupConfig
from crypto.mls.credentials import credential_type
from crypto.mls.extensions import DEFAULT_EXTENSION_TYPES, Extension
from crypto.mls.headers import ProtocolVersion
from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.roster import Roster
from crypto.mls.rules.extensions import (
    l17_leaf_extensions,
    l18_extension_types_unique,
    require_support,
)
from crypto.mls.tree_nodes import (
    Capabilities,
    CommitSource,
    KeyPackageSource,
    LeafContents,
    LeafNode,
    Lifetime,
    UpdateSource,
)
from crypto.suites import CipherSuite

Place: TypeAlias = type[KeyPackageSource] | type[UpdateSource] | type[CommitSource]


def check_leaf(suite: CipherSuite, leaf: LeafNode, place: Place) -> None:
    """Apply the rules that need no group to a leaf at the place where it appears."""
    l8_source(leaf, place)
    check_standing_leaf(suite, leaf)


def check_standing_leaf(suite: CipherSuite, leaf: LeafNode) -> None:
    """Apply the rules that need no group to a leaf that stands in a tree, whatever its source."""
    l5_own_credential_type(leaf)
    l6_own_extensions(leaf)
    l7_version_and_suite(suite, leaf.capabilities)
    l15_signature_key(suite, leaf)
    l17_leaf_extensions(leaf.extensions)
    l18_extension_types_unique(leaf.extensions)
    l20_public_key(suite, leaf.encryption_key)


def check_own_extensions(leaf: LeafContents) -> None:
    """Apply to what a leaf of ours will say the rules that its extensions could break: they come from our caller."""
    l6_own_extensions(leaf)
    l17_leaf_extensions(leaf.extensions)
    l18_extension_types_unique(leaf.extensions)


def l3_requirements(capabilities: Capabilities, extensions: tuple[Extension, ...]) -> None:
    """A leaf supports each required type and each GroupContext extension, §7.3, §11.1, §13.4.

    Required are types of extensions, proposals and credentials. `extensions` are the GroupContext's.
    """
    require_support("L3", capabilities, extensions)


def l4_credential_types(roster: Roster) -> None:
    """Every member supports every credential type in use, §7.3."""
    in_use = roster.credential_types()
    for kind in roster.kinds:
        if not in_use.issubset(kind.capabilities.credentials):
            raise RuleViolation("L4", "a member does not support a credential type in use")


def l5_own_credential_type(leaf: LeafNode) -> None:
    """A leaf lists its own credential type, §7.2."""
    if credential_type(leaf.credential) not in leaf.capabilities.credentials:
        raise RuleViolation("L5", "a leaf does not list its own credential type")


def l6_own_extensions(leaf: LeafNode | LeafContents) -> None:
    """A leaf lists every extension that it carries, but the default ones, §7.2, §7.3."""
    for extension in leaf.extensions:
        if (
            extension.extension_type not in DEFAULT_EXTENSION_TYPES
            and extension.extension_type not in leaf.capabilities.extensions
        ):
            raise RuleViolation("L6", "a leaf carries an extension that it does not list")


def l7_version_and_suite(suite: CipherSuite, capabilities: Capabilities) -> None:
    """A leaf lists the group's version and cipher suite, §7.2, §11."""
    if ProtocolVersion.MLS10 not in capabilities.versions or suite.id not in capabilities.cipher_suites:
        raise RuleViolation("L7", "a leaf does not list the version or the cipher suite in use")


def l8_source(leaf: LeafNode, place: Place) -> None:
    """A leaf's source says where it sits: key package, Update or Commit, §7.3."""
    if type(leaf.source) is not place:
        raise RuleViolation("L8", "a leaf's source is not of the place where it appears")


def l9_lifetime_of_sent_leaf(lifetime: Lifetime, config: GroupConfig, now: int) -> None:
    """The lifetime of a leaf that we send contains now, §7.3; before it begins, our clock may be behind."""
    _check_lifetime("L9", lifetime, now, early_s=config.clock_behind_max_s, late_s=0)


def l10_lifetime_of_received_leaf(lifetime: Lifetime, config: GroupConfig, now: int) -> None:
    """The lifetime of an added leaf contains now, within `receive_tolerance_s`, §7.3."""
    _check_lifetime("L10", lifetime, now, early_s=config.receive_tolerance_s, late_s=config.receive_tolerance_s)


def l10_lifetime_of_standing_leaf(lifetime: Lifetime, config: GroupConfig, now: int) -> None:
    """The lifetime of a leaf in a tree that we join contains now, within `join_tolerance_s`, §7.3."""
    _check_lifetime("L10", lifetime, now, early_s=config.join_tolerance_s, late_s=config.join_tolerance_s)


def _check_lifetime(rule: str, lifetime: Lifetime, now: int, *, early_s: int, late_s: int) -> None:
    if not lifetime.not_before - early_s <= now <= lifetime.not_after + late_s:
        raise RuleViolation(rule, "a leaf is expired or not yet valid")


def l11_total_lifetime(lifetime: Lifetime, config: GroupConfig) -> None:
    """A lifetime is not negative and no longer than our maximum, §7.2."""
    if not 0 <= lifetime.not_after - lifetime.not_before <= config.lifetime_max_s:
        raise RuleViolation("L11", "a leaf's lifetime is negative or longer than we accept")


def l12_signature_key_unique(leaf: LeafNode, roster: Roster) -> None:
    """The signature key of a member stands in its tree once, §7.3."""
    if roster.signature_keys[leaf.signature_key] != 1:
        raise RuleViolation("L12", "two members have one signature key")


def l13_encryption_key_unique(leaf: LeafNode, tree: RatchetTree) -> None:
    """The encryption key of a leaf of `tree` stands there once, parents included, §7.3."""
    if tree.encryption_keys()[leaf.encryption_key] != 1:
        raise RuleViolation("L13", "an encryption key is used twice in the tree")


def l14_new_encryption_key(new: LeafNode, old: LeafNode) -> None:
    """An Update brings a new encryption key, §7.3."""
    if new.encryption_key == old.encryption_key:
        raise RuleViolation("L14", "an Update keeps the encryption key")


def l15_signature_key(suite: CipherSuite, leaf: LeafNode) -> None:
    """A signature key has the size of the suite's scheme, §5.1.2; verifying the signature checks the rest."""
    if len(leaf.signature_key) != suite.signature.public_key_size:
        raise RuleViolation("L15", "a signature key is not one of the suite's")


def l20_public_key(suite: CipherSuite, public_key: bytes) -> None:
    """An HPKE public key is one of the suite's KEM, and one that can be encrypted to, §5.1.1.

    Checked on the way in: a key that nobody can encrypt to would stop every later commit.
    """
    check_public_key("L20", suite, public_key)


def check_public_key(rule: str, suite: CipherSuite, public_key: bytes) -> None:
    """Raise `RuleViolation` under `rule` unless an HPKE public key is one of the suite's KEM."""
    try:
        suite.hpke.check_public_key(public_key)
    except DecodeError as error:
        raise RuleViolation(rule, "an HPKE public key is not one of the suite's") from error
