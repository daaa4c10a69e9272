"""Rules for the nodes of a ratchet tree, judged one by one (RFC 9420 §7.1, §7.7, §12.4.3).

`ratchet_tree` calls them, for a tree from outside; which keys and leaves are acceptable is in `tree` and `leaf`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import chain

from crypto.errors import RuleViolation
from crypto.mls import tree_math
from crypto.mls.tree_hashes import AnyNode
from crypto.mls.tree_nodes import LeafIndex, LeafNode, NodeIndex, ParentNode

Nodes = Sequence[AnyNode | None]


def t1_last_node_occupied(nodes: Nodes) -> None:
    """The last node of a `ratchet_tree` extension is occupied, §12.4.3.3."""
    if not nodes or nodes[-1] is None:
        raise RuleViolation("T1", "the last node of a ratchet tree is blank")


def t2_kinds_in_place(nodes: Nodes) -> None:
    """Leaves stand at even places, parents at odd ones, §12.4.3.3."""
    for index, node in enumerate(nodes):
        if node is not None and not isinstance(node, ParentNode if index & 1 else LeafNode):
            raise RuleViolation("T2", f"node {index} is of the wrong kind")


def t6_unmerged_increase(index: NodeIndex, parent: ParentNode) -> None:
    """The unmerged leaves of a parent are listed in strictly increasing order, §7.1."""
    previous = -1
    for leaf in parent.unmerged_leaves:
        if leaf <= previous:
            raise RuleViolation("T6", f"the unmerged leaves of node {index} do not increase")
        previous = leaf


def t7_unmerged_are_below(nodes: Nodes, index: NodeIndex, parent: ParentNode) -> None:
    """Each unmerged leaf of a parent is a member below it, §12.4.3.1."""
    below = tree_math.leaf_range(index)
    for leaf in parent.unmerged_leaves:
        if leaf not in below or nodes[2 * leaf] is None:
            raise RuleViolation("T7", f"unmerged leaf {leaf} of node {index} is no member below it")


def t8_unmerged_on_the_way(leaf_count: int, unmerged: Mapping[NodeIndex, Collection[int]]) -> None:
    """Where a parent lists an unmerged leaf, so does every parent between the two, §12.4.3.1.

    `unmerged` holds the list of every parent that is not blank.
    """
    for leaf in frozenset(chain.from_iterable(unmerged.values())):
        missed = False
        for index in tree_math.direct_path(tree_math.node_of(LeafIndex(leaf)), leaf_count):
            if index in unmerged and leaf not in unmerged[index]:
                missed = True
            elif index in unmerged and missed:
                raise RuleViolation("T8", f"leaf {leaf} is unmerged at node {index}, but not everywhere below it")


def t9_parent_key_unique(encryption_keys: Mapping[bytes, int], index: NodeIndex, parent: ParentNode) -> None:
    """The encryption key of a parent stands nowhere else in the tree, §12.4.3.1."""
    if encryption_keys[parent.encryption_key] != 1:
        raise RuleViolation("T9", f"the encryption key of node {index} is used twice")


def t11_truncated(nodes: Nodes) -> None:
    """The right half of a tree has a member: otherwise it should have been dropped, §7.7. `nodes` are a full width."""
    leaf_count = (len(nodes) + 1) // 2
    if leaf_count > 1 and not any(nodes[leaf_count::2]):
        raise RuleViolation("T11", "the right half of the tree is blank: it should have been truncated")
