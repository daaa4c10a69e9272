"""The ratchet tree as RFC 9420 tells it: linked nodes, recursion, nothing cached, nothing shared, nothing fast.

An oracle for `crypto.mls.ratchet_tree` and `parent_hashes`. It shares with them the structs and the hash function only.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from crypto.mls.tree_nodes import CommitSource, LeafNode, ParentNode
from crypto.suites import CipherSuite
from crypto.wire import encode

Value = LeafNode | ParentNode | None


@dataclass(eq=False)
class Node:
    """A node and its subtree. Leaves have no children; `index` is the leaf index there, else -1."""

    value: Value
    index: int
    left: Node | None = None
    right: Node | None = None

    @property
    def children(self) -> tuple[Node, Node]:
        assert self.left is not None
        assert self.right is not None
        return self.left, self.right


def blank_tree(first_leaf: int, leaf_count: int) -> Node:
    if leaf_count == 1:
        return Node(None, first_leaf)
    half = leaf_count // 2
    return Node(None, -1, blank_tree(first_leaf, half), blank_tree(first_leaf + half, half))


def of_nodes(values: Sequence[Value]) -> Node:
    """§12.4.3.3: fill in in-order, extended to the least full size."""
    leaf_count = 1
    while 2 * leaf_count - 1 < len(values):
        leaf_count *= 2
    tree = blank_tree(0, leaf_count)
    for node, value in zip(in_order(tree), values, strict=False):
        node.value = value
    return tree


def in_order(node: Node) -> list[Node]:
    if node.left is None:
        return [node]
    left, right = node.children
    return [*in_order(left), node, *in_order(right)]


def values(tree: Node) -> list[Value]:
    return [node.value for node in in_order(tree)]


def leaves(node: Node) -> list[Node]:
    return [found for found in in_order(node) if found.left is None]


def parents(node: Node) -> list[Node]:
    return [found for found in in_order(node) if found.left is not None]


def contains(head: Node, node: Node) -> bool:
    return any(found is node for found in in_order(head))


def resolution(tree: Node, node: Node) -> list[Node]:
    """§4.1.1."""
    if isinstance(node.value, ParentNode):
        return [node, *[leaves(tree)[leaf] for leaf in node.value.unmerged_leaves]]
    if node.value is not None:
        return [node]
    if node.left is None:
        return []
    left, right = node.children
    return resolution(tree, left) + resolution(tree, right)


def ways_up(tree: Node, leaf: int) -> Iterator[tuple[Node, Node, Node]]:
    """Of each node of a leaf's direct path, from the bottom up: the node, its child on the way, the copath child."""
    if tree.left is None:
        return
    left, right = tree.children
    on, off = (left, right) if any(found.index == leaf for found in leaves(left)) else (right, left)
    yield from ways_up(on, leaf)
    yield tree, on, off


def filtered_direct_path(tree: Node, leaf: int) -> list[tuple[Node, Node]]:
    """§4.1.2, each node with its copath child. The resolution is looked up in the whole tree."""
    return [(node, off) for node, _, off in ways_up(tree, leaf) if resolution(tree, off)]


def blank_direct_path(tree: Node, leaf: int) -> None:
    for node, _, _ in ways_up(tree, leaf):
        node.value = None


def extend(tree: Node) -> Node:
    """§7.7: a new blank root, the tree at its left, as many blank leaves at its right."""
    width = len(leaves(tree))
    return Node(None, -1, tree, blank_tree(width, width))


def add(tree: Node, value: LeafNode) -> tuple[Node, int]:
    """§12.1.1 with §7.7: the leftmost blank leaf, extending the tree if there is none; unmerged above it."""
    if all(leaf.value is not None for leaf in leaves(tree)):
        tree = extend(tree)
    leaf = next(leaf for leaf in leaves(tree) if leaf.value is None)
    leaf.value = value
    for node, _, _ in ways_up(tree, leaf.index):
        if isinstance(node.value, ParentNode):
            unmerged = tuple(sorted({*node.value.unmerged_leaves, leaf.index}))
            node.value = replace(node.value, unmerged_leaves=unmerged)
    return tree, leaf.index


def update(tree: Node, leaf: int, value: LeafNode) -> None:
    """§12.1.2."""
    leaves(tree)[leaf].value = value
    blank_direct_path(tree, leaf)


def remove(tree: Node, leaf: int) -> None:
    """§12.1.3, without truncation."""
    leaves(tree)[leaf].value = None
    blank_direct_path(tree, leaf)


def truncate(tree: Node) -> Node:
    """§7.7."""
    while tree.right is not None and all(leaf.value is None for leaf in leaves(tree.right)):
        tree = tree.children[0]
    return tree


def tree_hash(suite: CipherSuite, node: Node) -> bytes:
    """§7.8, TreeHashInput written out by hand."""
    present = b"\x00" if node.value is None else b"\x01" + encode(node.value)
    if node.left is None:
        return suite.hash(b"\x01" + node.index.to_bytes(4, "big") + present)
    left, right = (opaque(tree_hash(suite, child)) for child in node.children)
    return suite.hash(b"\x02" + present + left + right)


def opaque(data: bytes) -> bytes:
    if len(data) < 64:
        return bytes([len(data)]) + data
    assert len(data) < 2**14
    return (0x4000 | len(data)).to_bytes(2, "big") + data


def original_tree_hash(suite: CipherSuite, sibling: Node, unmerged: Sequence[int]) -> bytes:
    """§7.9: the tree hash of S, each leaf of P.unmerged_leaves blanked and removed from all unmerged lists."""
    changed = copy.deepcopy(sibling)
    for node in in_order(changed):
        if node.left is None and node.index in unmerged:
            node.value = None
        elif isinstance(node.value, ParentNode):
            kept = tuple(leaf for leaf in node.value.unmerged_leaves if leaf not in unmerged)
            node.value = replace(node.value, unmerged_leaves=kept)
    return tree_hash(suite, changed)


def parent_hash(suite: CipherSuite, parent: Node, sibling: Node) -> bytes:
    """§7.9, ParentHashInput written out by hand."""
    value = parent.value
    assert isinstance(value, ParentNode)
    original = original_tree_hash(suite, sibling, value.unmerged_leaves)
    return suite.hash(opaque(value.encryption_key) + opaque(value.parent_hash) + opaque(original))


def set_path(suite: CipherSuite, tree: Node, leaf: int, public_keys: Sequence[bytes]) -> bytes:
    """§7.5: blank the direct path, set the filtered one with parent hashes; returns the one that the leaf must hold."""
    filtered = filtered_direct_path(tree, leaf)
    assert len(filtered) == len(public_keys)
    blank_direct_path(tree, leaf)
    above = b""
    for (node, sibling), key in reversed(list(zip(filtered, public_keys, strict=True))):
        node.value = ParentNode(key, above, ())
        above = parent_hash(suite, node, sibling)
    return above


def room(tree: Node) -> tuple[Node, int]:
    """§12.4.2, §7.7: the place of who joins by itself: the leftmost blank leaf, in a wider tree if need be."""
    if all(leaf.value is not None for leaf in leaves(tree)):
        tree = extend(tree)
    return tree, next(leaf.index for leaf in leaves(tree) if leaf.value is None)


def held_parent_hash(node: Node) -> bytes | None:
    """The `parent_hash` field of a node; leaves have one if their source is a commit (§7.2)."""
    if isinstance(node.value, ParentNode):
        return node.value.parent_hash
    if node.value is not None and isinstance(node.value.source, CommitSource):
        return node.value.source.parent_hash
    return None


def is_valid_with_respect_to(suite: CipherSuite, tree: Node, descendant: Node, parent: Node) -> bool:
    """§7.9.2: whether a node D is parent-hash valid with respect to a parent P. Its three criteria, one by one."""
    assert isinstance(parent.value, ParentNode)
    # D is a descendant of P; C is the child of P that is D or above it, S is the other.
    if descendant is parent or not contains(parent, descendant):
        return False
    left, right = parent.children
    child, sibling = (left, right) if contains(left, descendant) else (right, left)
    # D is in the resolution of C, and P's unmerged leaves below C are the resolution of C without D.
    covered = resolution(tree, child)
    unmerged = [leaf for leaf in leaves(child) if leaf.index in parent.value.unmerged_leaves]
    without = [node for node in covered if node is not descendant]
    if len(without) == len(covered) or {id(node) for node in without} != {id(leaf) for leaf in unmerged}:
        return False
    # The parent_hash of D is the parent hash of P with the copath child S.
    return held_parent_hash(descendant) == parent_hash(suite, parent, sibling)


def is_parent_hash_valid(suite: CipherSuite, tree: Node) -> bool:
    """§7.9.2, top down: of each parent that is not blank, exactly one descendant is valid with respect to it."""
    return all(
        sum(is_valid_with_respect_to(suite, tree, node, parent) for node in in_order(parent)) == 1
        for parent in parents(tree)
        if parent.value is not None
    )


def is_covered_by_chains(suite: CipherSuite, tree: Node) -> bool:
    """§7.9.2, bottom up: each parent that is not blank is in exactly one of the chains that lead up from the leaves."""
    above = [parent for parent in parents(tree) if parent.value is not None]
    chained = Counter[int]()
    for start in leaves(tree):
        pending = [start]
        while pending:
            node = pending.pop()
            upwards = [parent for parent in above if is_valid_with_respect_to(suite, tree, node, parent)]
            chained.update(map(id, upwards))
            pending += upwards
    return all(chained[id(parent)] == 1 for parent in above)


def common_ancestor(tree: Node, one: Node, other: Node) -> Node:
    """§4.1.2: the lowest node that has both below it, or is one of them."""
    if tree.left is not None:
        for child in tree.children:
            if contains(child, one) and contains(child, other):
                return common_ancestor(child, one, other)
    return tree


def structure_fault(tree: Node) -> str | None:
    """The first rule of T6 to T9 and T11 that the tree breaks, checked one after the other over the whole tree."""
    width = len(leaves(tree))
    occupied = [(node, node.value) for node in parents(tree) if isinstance(node.value, ParentNode)]
    if tree.right is not None and all(leaf.value is None for leaf in leaves(tree.right)):
        return "T11"
    for node, value in occupied:
        if list(value.unmerged_leaves) != sorted(set(value.unmerged_leaves)):
            return "T6"
        for leaf in value.unmerged_leaves:
            if leaf >= width or not contains(node, leaves(tree)[leaf]) or leaves(tree)[leaf].value is None:
                return "T7"
    for node, value in occupied:
        for leaf in value.unmerged_leaves:
            for between, _, _ in ways_up(node, leaf):
                if isinstance(between.value, ParentNode) and leaf not in between.value.unmerged_leaves:
                    return "T8"
    keys = Counter(value.encryption_key for value in values(tree) if value is not None)
    return "T9" if any(keys[value.encryption_key] != 1 for _, value in occupied) else None
