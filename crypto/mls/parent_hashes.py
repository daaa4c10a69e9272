"""Parent hashes (RFC 9420 §7.9): each member's signed leaf vouches for the parents that its commit has set.

Owns the computation for a new path and the verification of a whole tree. The link from a node D up to a parent P:
C is P's child on the way to D (D itself, or a blank above it), S the other one. Whoever set P set D in the same path,
and P's parent hash, which D holds, fixes P's key, everything above, and S as it was then.
"""

from __future__ import annotations

from crypto.errors import RuleViolation
from crypto.mls import tree_math
from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.tree_hashes import AnyNode
from crypto.mls.tree_nodes import CommitSource, LeafIndex, NodeIndex, ParentNode
from crypto.suites import CipherSuite
from crypto.wire import encode, struct


@struct
class ParentHashInput:
    """What a parent hash covers (§7.9). `encryption_key` and `parent_hash` are P's, the tree hash is S's."""

    encryption_key: bytes
    parent_hash: bytes
    original_sibling_tree_hash: bytes


def parent_hash(suite: CipherSuite, parent: ParentNode, original_sibling_tree_hash: bytes) -> bytes:
    """The parent hash of P with the copath child S (§7.9), KDF.Nh bytes."""
    return suite.hash(encode(ParentHashInput(parent.encryption_key, parent.parent_hash, original_sibling_tree_hash)))


def path_parents(
    tree: RatchetTree, leaf: LeafIndex, public_keys: dict[NodeIndex, bytes]
) -> tuple[dict[NodeIndex, ParentNode], bytes]:
    """The parents that a path from `leaf` sets, and the parent hash that the leaf must hold (§7.5, step 3).

    `public_keys` holds the key of each node of the filtered direct path, from the bottom up. From the root down, each
    parent's hash goes into the node below. A new parent has no unmerged leaves, so the original tree hash of each
    sibling is the present one. Where the path is empty, so is the leaf's parent hash.
    """
    start = tree_math.node_of(leaf)
    parents: dict[NodeIndex, ParentNode] = {}
    above = b""
    for index, key in reversed(public_keys.items()):
        parents[index] = ParentNode(key, above, ())
        sibling_hash = tree.subtree_hash(tree_math.copath_child(index, start))
        above = parent_hash(tree.suite, parents[index], sibling_hash)
    return parents, above


def verify(tree: RatchetTree) -> None:
    """Check that every parent is covered by exactly one parent-hash chain (§7.9.2). Raises `RuleViolation` T4.

    Top down: each parent must have exactly one descendant that links to it. That descendant is a leaf, or a parent with
    a link of its own, so every parent is chained down to a signed leaf. Only the loop's end ends this with success.
    """
    for index, parent in tree.parents():
        below = (tree_math.left(index), tree_math.right(index))
        links = [_links(tree, parent, child, other) for child, other in (below, below[::-1])]
        if sum(links) != 1:
            raise RuleViolation("T4", f"node {index} is covered by {sum(links)} parent-hash chains")


def _links(tree: RatchetTree, parent: ParentNode, child: NodeIndex, other: NodeIndex) -> bool:
    """Whether a node D below `child` (C) links to `parent` (P), whose other child is `other` (S).

    D's place follows from the last criterion of §7.9.2: it is the one node in the resolution of C that P does not list
    as unmerged. So there is at most one D on each side, and its parent hash is all that is left to compare.
    """
    covered = tree_math.leaf_range(child)
    unmerged = {tree_math.node_of(LeafIndex(leaf)) for leaf in parent.unmerged_leaves if leaf in covered}
    resolution = tree.resolution(child)
    candidates = [node for node in resolution if node not in unmerged]
    if len(candidates) != 1 or len(resolution) != len(unmerged) + 1:
        return False
    held = _held_parent_hash(tree.node(candidates[0]))
    if held is None:
        return False
    original_hash = tree.original_subtree_hash(other, parent.unmerged_leaves)
    return held == parent_hash(tree.suite, parent, original_hash)


def _held_parent_hash(node: AnyNode | None) -> bytes | None:
    """The parent hash that a node holds; a leaf holds one only if a commit has set it."""
    if isinstance(node, ParentNode):
        return node.parent_hash
    if node is not None and isinstance(node.source, CommitSource):
        return node.source.parent_hash
    return None
