"""Rules for a whole ratchet tree that comes from outside (RFC 9420 §12.4.3.1).

T1, T2, T6 to T9 and T11 stand in `tree_shape`, T4 and T5 in `parent_hashes`. T13 holds because `t10_leaf` uses a
leaf's place only where the leaf's signature covers it.
"""

from __future__ import annotations

from crypto.errors import RuleViolation
from crypto.mls import parent_hashes
from crypto.mls.config import GroupConfig
from crypto.mls.key_schedule import GroupContext
from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.roster import Roster, roster_of
from crypto.mls.rules import leaf as leaf_rules
from crypto.mls.tree_nodes import KeyPackageSource, LeafIndex, LeafNode, verify_leaf_node


def check_tree(tree: RatchetTree, context: GroupContext, config: GroupConfig, now: int) -> Roster:
    """Apply all rules to the tree of a group that we enter; returns its roster.

    Raises `RuleViolation`, or `AuthenticationError` for a leaf that did not sign itself (rule L2).
    """
    t3_tree_hash(tree, context)
    tree.verify_structure()
    c8_parent_keys(tree)
    parent_hashes.verify(tree)
    roster = roster_of([leaf for _, leaf in tree.occupied()])
    for leaf_index, leaf in tree.occupied():
        leaf_rules.l12_signature_key_unique(leaf, roster)
        t10_leaf(tree, leaf_index, leaf, context, config, now)
    leaf_rules.l4_credential_types(roster)
    return roster


def c8_parent_keys(tree: RatchetTree) -> None:
    """The encryption key of a parent is one of the suite's KEM, §5.1.1: nobody could encrypt to another."""
    for _, parent in tree.parents():
        leaf_rules.check_public_key("C8", tree.suite, parent.encryption_key)


def t3_tree_hash(tree: RatchetTree, context: GroupContext) -> None:
    """The tree is the one that the GroupContext's tree hash names, §12.4.3.1, wherever it came from."""
    if tree.tree_hash != context.tree_hash:
        raise RuleViolation("T3", "the tree is not the one that the GroupContext names")


def t10_leaf(
    tree: RatchetTree, leaf_index: LeafIndex, leaf: LeafNode, context: GroupContext, config: GroupConfig, now: int
) -> None:
    """Every occupied leaf is a valid one, §7.3, §12.4.3.1; the violation names the rule of section L."""
    leaf_rules.check_standing_leaf(tree.suite, leaf)
    leaf_rules.l3_requirements(leaf.capabilities, context.extensions)
    leaf_rules.l13_encryption_key_unique(leaf, tree)
    if isinstance(leaf.source, KeyPackageSource):
        leaf_rules.l11_total_lifetime(leaf.source.lifetime, config)
        leaf_rules.l10_lifetime_of_standing_leaf(leaf.source.lifetime, config, now)
    verify_leaf_node(tree.suite, leaf, context.group_id, leaf_index)
