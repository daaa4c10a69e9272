"""Tree hashes (RFC 9420 §7.8): one hash per subtree, kept for the whole array and renewed only where it changed.

Owns the hash of every subtree, and the "original" one that parent hashes need (§7.9). Works on bare arrays: `nodes` and
`hashes` have one entry per node, in the order of Appendix C.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from crypto.mls import tree_math
from crypto.mls.tree_nodes import LeafNode, NodeIndex, NodeType, ParentNode
from crypto.suites import CipherSuite
from crypto.wire import encode, encode_length, encode_opaque

AnyNode = LeafNode | ParentNode

_LEAF = NodeType.LEAF.to_bytes(1, "big")
_PARENT = NodeType.PARENT.to_bytes(1, "big")
_ABSENT, _PRESENT = b"\x00", b"\x01"


def renew(suite: CipherSuite, nodes: Sequence[AnyNode | None], hashes: list[bytes], order: Iterable[NodeIndex]) -> None:
    """Write the tree hash of each node of `order` into `hashes`; children stand before their parents there."""
    digest = suite.hash
    prefix = encode_length(suite.hash_size)
    for index in order:
        node = nodes[index]
        optional_node = _ABSENT if node is None else _PRESENT + encode(node)
        if index & 1:
            half = (~index & (index + 1)) >> 1
            left_hash, right_hash = hashes[index - half], hashes[index + half]
            hashes[index] = digest(_PARENT + optional_node + prefix + left_hash + prefix + right_hash)
        else:
            hashes[index] = digest(_LEAF + (index >> 1).to_bytes(4, "big") + optional_node)


def original(
    suite: CipherSuite,
    nodes: Sequence[AnyNode | None],
    hashes: Sequence[bytes],
    head: NodeIndex,
    unmerged: Sequence[int],
) -> bytes:
    """The tree hash of `head` as it was before the leaves `unmerged` came (§7.9, `original_sibling_tree_hash`).

    They are blanked, and taken out of the `unmerged_leaves` of all parents below. A subtree without any of these leaves
    keeps its hash, so this costs a path per leaf, not the whole subtree.
    """
    covered = tree_math.leaf_range(head)
    missing = [leaf for leaf in unmerged if leaf in covered]
    if not missing:
        return hashes[head]
    if not head & 1:
        return suite.hash(_LEAF + (head >> 1).to_bytes(4, "big") + _ABSENT)
    left_hash = original(suite, nodes, hashes, tree_math.left(head), missing)
    right_hash = original(suite, nodes, hashes, tree_math.right(head), missing)
    optional_node = _ABSENT
    node = nodes[head]
    if isinstance(node, ParentNode):
        gone = frozenset(missing)
        kept = tuple(leaf for leaf in node.unmerged_leaves if leaf not in gone)
        optional_node = _PRESENT + encode(ParentNode(node.encryption_key, node.parent_hash, kept))
    return suite.hash(_PARENT + optional_node + encode_opaque(left_hash) + encode_opaque(right_hash))
