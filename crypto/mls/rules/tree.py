"""Rules for a whole ratchet tree that comes from outside (RFC 9420 §12.4.3.1).

T1, T2 and T11's bound hold for every `RatchetTree` (`tree_shape`), T4 and T5 stand in `parent_hashes`. T12 holds
because there is one `check_tree`, T13 because `t10_leaf` uses a leaf's place only where its signature covers it.
"""

from __future__ import annotations

from itertools import chain

from crypto.errors import RuleViolation
from crypto.mls import parent_hashes, tree_math
from crypto.mls.config import GroupConfig
from crypto.mls.key_schedule import GroupContext
from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.roster import Roster, roster_of
from crypto.mls.rules import leaf as leaf_rules
from crypto.mls.tree_nodes import KeyPackageSource, LeafIndex, LeafNode, NodeIndex, ParentNode, verify_leaf_node


def check_tree(tree: RatchetTree, context: GroupContext, config: GroupConfig, now: int) -> Roster:
    """Apply all rules to the tree of a group that we enter; returns its roster.

    Raises `RuleViolation`, or `AuthenticationError` for a leaf that did not sign itself (rule L2).
    """
    t3_tree_hash(tree, context)
    check_structure(tree)
    c8_parent_keys(tree)
    parent_hashes.verify(tree)
    roster = roster_of([leaf for _, leaf in tree.occupied()])
    for leaf_index, leaf in tree.occupied():
        leaf_rules.l12_signature_key_unique(leaf, roster)
        t10_leaf(tree, leaf_index, leaf, context, config, now)
    leaf_rules.l4_credential_types(roster)
    return roster


def check_structure(tree: RatchetTree) -> None:
    """Apply the rules for the width and for what parents hold, but their keys' form and their hashes."""
    t11_truncated(tree)
    for index, parent in tree.parents():
        t6_unmerged_increase(index, parent)
        t7_unmerged_are_below(tree, index, parent)
    t8_unmerged_on_the_way(tree)
    for index, parent in tree.parents():
        t9_parent_key_unique(tree, index, parent)


def c8_parent_keys(tree: RatchetTree) -> None:
    """The encryption key of a parent is one of the suite's KEM, §5.1.1: nobody could encrypt to another."""
    for _, parent in tree.parents():
        leaf_rules.check_public_key("C8", tree.suite, parent.encryption_key)


def t3_tree_hash(tree: RatchetTree, context: GroupContext) -> None:
    """The tree is the one that the GroupContext's tree hash names, §12.4.3.1, wherever it came from."""
    if tree.tree_hash != context.tree_hash:
        raise RuleViolation("T3", "the tree is not the one that the GroupContext names")


def t6_unmerged_increase(index: NodeIndex, parent: ParentNode) -> None:
    """The unmerged leaves of a parent are listed in strictly increasing order, §7.1."""
    previous = -1
    for leaf in parent.unmerged_leaves:
        if leaf <= previous:
            raise RuleViolation("T6", f"the unmerged leaves of node {index} do not increase")
        previous = leaf


def t7_unmerged_are_below(tree: RatchetTree, index: NodeIndex, parent: ParentNode) -> None:
    """Each unmerged leaf of a parent is a member below it, §12.4.3.1."""
    below = tree_math.leaf_range(index)
    for leaf in parent.unmerged_leaves:
        if leaf not in below or tree.leaf(LeafIndex(leaf)) is None:
            raise RuleViolation("T7", f"unmerged leaf {leaf} of node {index} is no member below it")


def t8_unmerged_on_the_way(tree: RatchetTree) -> None:
    """Where a parent lists an unmerged leaf, so does every parent between the two, §12.4.3.1."""
    unmerged = {index: frozenset(parent.unmerged_leaves) for index, parent in tree.parents()}
    for leaf in frozenset(chain.from_iterable(unmerged.values())):
        missed = False
        for index in tree_math.direct_path(tree_math.node_of(LeafIndex(leaf)), tree.leaf_count):
            if index in unmerged and leaf not in unmerged[index]:
                missed = True
            elif index in unmerged and missed:
                raise RuleViolation("T8", f"leaf {leaf} is unmerged at node {index}, but not everywhere below it")


def t9_parent_key_unique(tree: RatchetTree, index: NodeIndex, parent: ParentNode) -> None:
    """The encryption key of a parent stands nowhere else in the tree, §12.4.3.1."""
    if tree.encryption_keys()[parent.encryption_key] != 1:
        raise RuleViolation("T9", f"the encryption key of node {index} is used twice")


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


def t11_truncated(tree: RatchetTree) -> None:
    """The right half of a tree has a member: otherwise it should have been dropped, §7.7."""
    if not any(leaf_index >= tree.leaf_count // 2 for leaf_index, _ in tree.occupied()):
        raise RuleViolation("T11", "the right half of the tree is blank: it should have been truncated")
