"""Index arithmetic of the ratchet tree (RFC 9420 §4.1, Appendix C). Nothing here looks into a node.

A tree of 2**d leaves is an array of 2**(d+1) - 1 nodes, leaves at even places, a parent between its two subtrees::

                 7                 level 3, the root of 8 leaves
         3               11        level 2
     1       5       9       13    level 1: one trailing 1 in binary
    0   2   4   6   8   10  12  14 level 0
    0   1   2   3   4   5   6   7  leaf index

Trees are always full, so where a node's children and parent are does not depend on the size of the tree: only
its root does. A node of level k has k trailing ones in binary, and its subtree is the 2**k - 1 nodes on either side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

from crypto.mls.tree_nodes import LeafIndex, NodeIndex


def root(leaf_count: int) -> NodeIndex:
    """The root of a tree of `leaf_count` leaves, a power of two."""
    return NodeIndex(leaf_count - 1)


def level(node: NodeIndex) -> int:
    """How far a node is above the leaves, which are at level 0."""
    return (~node & (node + 1)).bit_length() - 1


def left(parent_node: NodeIndex) -> NodeIndex:
    """The left child of a parent."""
    return NodeIndex(parent_node - _half(parent_node))


def right(parent_node: NodeIndex) -> NodeIndex:
    """The right child of a parent."""
    return NodeIndex(parent_node + _half(parent_node))


def _half(parent_node: NodeIndex) -> int:
    """The distance of a parent to its children: 2**(level - 1). `ValueError` for a leaf, which has none."""
    if not parent_node & 1:
        raise ValueError("a leaf has no children")
    return (~parent_node & (parent_node + 1)) >> 1


def parent(node: NodeIndex) -> NodeIndex:
    """The parent of a node. The root has one too, in the tree of twice the size: callers stop at the root."""
    size = ~node & (node + 1)  # 2**level
    return NodeIndex((node | size) & ~(size << 1))


def node_of(leaf: LeafIndex) -> NodeIndex:
    """The array place of a leaf."""
    return NodeIndex(2 * leaf)


def leaf_range(node: NodeIndex) -> Sequence[LeafIndex]:
    """The indices of the leaves below a node; for a leaf, its own. A range: `in` costs nothing."""
    size = ~node & (node + 1)
    first = (node - size + 1) >> 1
    return cast("Sequence[LeafIndex]", range(first, first + size))


def leaf_nodes(node: NodeIndex) -> Sequence[NodeIndex]:
    """The array places of the leaves below a node; for a leaf, its own."""
    size = ~node & (node + 1)
    return cast("Sequence[NodeIndex]", range(node - size + 1, node + size, 2))


def subtree(node: NodeIndex) -> slice:
    """The part of the array that a node's subtree fills."""
    size = ~node & (node + 1)
    return slice(node - size + 1, node + size)


def is_in_subtree(node: NodeIndex, head: NodeIndex) -> bool:
    """Whether `node` is `head` or one of its descendants."""
    size = ~head & (head + 1)
    return -size < node - head < size


def direct_path(node: NodeIndex, leaf_count: int) -> tuple[NodeIndex, ...]:
    """The ancestors of a node from its parent up to the root; empty for the root (§4.1.2)."""
    path = []
    top = root(leaf_count)
    while node != top:
        node = parent(node)
        path.append(node)
    return tuple(path)


def copath_child(parent_node: NodeIndex, node: NodeIndex) -> NodeIndex:
    """The child of `parent_node` that is not on the way down to its descendant `node`, but on its copath (§4.1.2)."""
    return right(parent_node) if node < parent_node else left(parent_node)


def common_ancestor(one: NodeIndex, other: NodeIndex) -> NodeIndex:
    """The lowest node whose subtree holds both; one of the two if it is above the other."""
    if is_in_subtree(one, other):
        return other
    if is_in_subtree(other, one):
        return one
    shift = (one ^ other).bit_length()
    return NodeIndex((one >> shift << shift) + (1 << (shift - 1)) - 1)


def with_ancestors(leaves: Iterable[LeafIndex], leaf_count: int) -> list[NodeIndex]:
    """The nodes of `leaves` and all their ancestors, each once, children before parents."""
    places: set[int] = set(leaves)
    nodes = [2 * place for place in places]
    size = 1
    while size < leaf_count:
        size *= 2
        places = {place >> 1 for place in places}
        nodes += [2 * size * place + size - 1 for place in places]
    return cast("list[NodeIndex]", nodes)
