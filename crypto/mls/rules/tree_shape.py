"""Rules without which a list of nodes is no ratchet tree (RFC 9420 §12.4.3.3).

`RatchetTree.of_nodes` calls them, for a tree from outside; all else about such a tree is in `tree`, which stands on it.
"""

from __future__ import annotations

from collections.abc import Sequence

from crypto.errors import RuleViolation
from crypto.mls.tree_hashes import AnyNode
from crypto.mls.tree_nodes import LeafNode, ParentNode

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
