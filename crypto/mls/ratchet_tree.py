"""The public ratchet tree of an epoch (RFC 9420 §4, §7.7, §12.4.3.3): who is in the group, and the subgroups' keys.

Owns the array of nodes, what follows from it (resolutions, filtered direct paths, tree hashes, which keys are in use)
and the changes that proposals make. Private keys are `treekem`'s; parent hashes are `parent_hashes`'; whether a leaf is
acceptable is for the rules of §7.3.

Invariants: the width is a power of two; every hash and count fits the nodes; a value never changes. A changed tree
shares the nodes and hashes that stay: a change hashes the touched paths, each node once, and copies arrays at C speed.
A tree from outside is one here once its nodes make one (rules T1, T2 and T11's bound); `rules.tree` judges it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from types import MappingProxyType

from crypto.errors import RuleViolation
from crypto.mls import tree_hashes, tree_math
from crypto.mls.rules import tree_shape as rules
from crypto.mls.tree_hashes import AnyNode
from crypto.mls.tree_nodes import LeafIndex, LeafNode, NodeIndex, ParentNode
from crypto.suites import CipherSuite
from crypto.wire import ITEMS_MAX

LEAF_COUNT_MAX = ITEMS_MAX
"""Leaves of the largest tree: what a vector can list (rule C10), far from where 32-bit arithmetic could wrap (C9)."""


@dataclass(frozen=True, slots=True)
class RatchetTree:
    """An immutable ratchet tree. Two are equal if their suites and nodes are."""

    suite: CipherSuite
    _nodes: tuple[AnyNode | None, ...] = field(repr=False)
    _hashes: tuple[bytes, ...] = field(repr=False, compare=False)
    _encryption_keys: dict[bytes, int] = field(repr=False, compare=False)

    @classmethod
    def of_leaf(cls, suite: CipherSuite, leaf: LeafNode) -> RatchetTree:
        """The tree of a group's creator: one leaf, which is the root (§11)."""
        return cls.of_nodes(suite, (leaf,))

    @classmethod
    def of_nodes(cls, suite: CipherSuite, nodes: Sequence[AnyNode | None]) -> RatchetTree:
        """The tree of a `ratchet_tree` extension, extended to a full width (§12.4.3.3).

        Checks the shape only; see the module's text for what must follow.
        Raises `RuleViolation` T1 (ends in a blank), T2 (a leaf or parent in the other's place) or T11 (too large).
        """
        rules.t1_last_node_occupied(nodes)
        leaf_count = 1
        while 2 * leaf_count - 1 < len(nodes):
            leaf_count *= 2
        if leaf_count > LEAF_COUNT_MAX:
            raise RuleViolation("T11", f"a ratchet tree of more than {LEAF_COUNT_MAX} leaves")
        rules.t2_kinds_in_place(nodes)
        full = [*nodes, *[None] * (2 * leaf_count - 1 - len(nodes))]
        hashes = [b""] * len(full)
        every_leaf = tree_math.leaf_range(tree_math.root(leaf_count))
        tree_hashes.renew(suite, full, hashes, tree_math.with_ancestors(every_leaf, leaf_count))
        encryption_keys = Counter(node.encryption_key for node in full if node is not None)
        return cls(suite, tuple(full), tuple(hashes), dict(encryption_keys))

    # What the tree holds

    @property
    def leaf_count(self) -> int:
        """The tree's width in leaves, blank ones included: a power of two."""
        return (len(self._nodes) + 1) // 2

    @property
    def root(self) -> NodeIndex:
        """The root's place in the array."""
        return tree_math.root(self.leaf_count)

    @property
    def tree_hash(self) -> bytes:
        """The tree hash of the root (§7.8), as it stands in the GroupContext."""
        return self._hashes[self.root]

    def subtree_hash(self, node: NodeIndex) -> bytes:
        """The tree hash of a node of this tree (§7.8)."""
        return self._hashes[node]

    def original_subtree_hash(self, node: NodeIndex, unmerged: Sequence[int]) -> bytes:
        """The tree hash of a node of this tree, as if the leaves `unmerged` had not come yet (§7.9)."""
        return tree_hashes.original(self.suite, self._nodes, self._hashes, node, unmerged)

    def node(self, index: NodeIndex) -> AnyNode | None:
        """The node at a place of the array, or None where it is blank; beyond the array all is blank."""
        return self._nodes[index] if 0 <= index < len(self._nodes) else None

    def leaf(self, index: LeafIndex) -> LeafNode | None:
        """The leaf of a member, or None where it is blank; beyond the tree all is blank."""
        found = self.node(tree_math.node_of(index))
        return found if isinstance(found, LeafNode) else None

    def occupied(self) -> Iterator[tuple[LeafIndex, LeafNode]]:
        """The members, from left to right."""
        for index, node in enumerate(self._nodes[::2]):
            if isinstance(node, LeafNode):
                yield LeafIndex(index), node

    def parents(self) -> Iterator[tuple[NodeIndex, ParentNode]]:
        """The parents that are not blank, from left to right."""
        for index, node in enumerate(self._nodes):
            if isinstance(node, ParentNode):
                yield NodeIndex(index), node

    def encryption_keys(self) -> Mapping[bytes, int]:
        """Every HPKE public key of leaves and parents, with how many nodes hold it (one, if the tree is valid)."""
        return MappingProxyType(self._encryption_keys)

    def export(self) -> tuple[AnyNode | None, ...]:
        """The nodes as the `ratchet_tree` extension lists them: without the blanks at the end (§12.4.3.3)."""
        end = len(self._nodes)
        while self._nodes[end - 1] is None:
            end -= 1
        return self._nodes[:end]

    def changed_since(self, before: RatchetTree) -> tuple[NodeIndex, ...]:
        """The places where the nodes of this tree and of `before` differ; costs a path per change.

        A place that only one of the trees has counts as blank in the other.
        """
        small, large = sorted((self, before), key=lambda tree: tree.leaf_count)
        changed = [NodeIndex(i) for i in range(len(small._nodes), len(large._nodes)) if large._nodes[i] is not None]
        pending = [small.root]
        while pending:
            head = pending.pop()
            if self._hashes[head] == before._hashes[head]:
                continue
            if self._nodes[head] != before._nodes[head]:
                changed.append(head)
            if head & 1:
                pending += (tree_math.left(head), tree_math.right(head))
        return tuple(sorted(changed))

    # Resolutions and paths

    def resolution(self, head: NodeIndex) -> tuple[NodeIndex, ...]:
        """The non-blank nodes that cover the members below `head`, left first (§4.1.1)."""
        nodes = self._nodes
        found: list[NodeIndex] = []
        pending = [head]
        while pending:
            index = pending.pop()
            node = nodes[index]
            if node is not None:
                found.append(index)
                if isinstance(node, ParentNode):
                    found += [NodeIndex(2 * leaf) for leaf in node.unmerged_leaves]
                continue
            covered = tree_math.subtree(index)
            if any(nodes[covered][1::2]):
                pending += (tree_math.right(index), tree_math.left(index))
            else:  # no parent anywhere below: the members themselves
                found += compress(tree_math.leaf_nodes(index), nodes[covered][::2])
        return tuple(found)

    def _is_blank(self, head: NodeIndex) -> bool:
        """Whether nothing is in a subtree: then, and only then, its resolution is empty."""
        return self._nodes[head] is None and not any(self._nodes[tree_math.subtree(head)])

    def filtered_direct_path(self, leaf: LeafIndex) -> tuple[NodeIndex, ...]:
        """The ancestors of a leaf, without those whose other child has an empty resolution (§4.1.2).

        Of each, `tree_math.copath_child(node, node_of(leaf))` is that other child. Members added by the commit at hand
        count here, though nothing is encrypted to them. Raises `RuleViolation` C9 for a leaf outside the tree.
        """
        if not 0 <= leaf < self.leaf_count:
            raise RuleViolation("C9", f"leaf {leaf} is outside the tree")
        start = tree_math.node_of(leaf)
        path = tree_math.direct_path(start, self.leaf_count)
        return tuple([node for node in path if not self._is_blank(tree_math.copath_child(node, start))])

    # Changes

    def apply(
        self, updates: Mapping[LeafIndex, LeafNode], removes: Sequence[LeafIndex], adds: Sequence[LeafNode]
    ) -> tuple[RatchetTree, tuple[LeafIndex, ...]]:
        """Apply a commit's proposals in the order of §12.3: updates, removes, adds (§12.1.1 to §12.1.3).

        Updates and removes blank the leaf's direct path. Removes then truncate the tree. Each added leaf takes the
        leftmost blank place, or a new one to the right of all, and is noted as unmerged by its ancestors.
        Returns the new tree and the places of the added leaves. The caller has checked the leaves and the list.
        Raises `RuleViolation` P2 or P3 (no member at that place) or T11 (nobody left, or too many).
        """
        if not updates and not removes and not adds:
            return self, ()
        nodes = list(self._nodes)
        touched: set[LeafIndex] = set()
        for index, leaf in updates.items():
            _blank_path(nodes, index, "P2")
            nodes[2 * index] = leaf
            touched.add(index)
        for index in removes:
            _blank_path(nodes, index, "P3")
            nodes[2 * index] = None
            touched.add(index)
        if removes:
            _truncate(nodes)
        placed = _place(nodes, adds)
        if not any(nodes[::2]):
            raise RuleViolation("T11", "a group needs a member")
        return self._with_nodes(nodes, touched.union(placed)), placed

    def with_room(self) -> tuple[RatchetTree, LeafIndex]:
        """The tree with a place for one more member: the leftmost blank leaf, if need be of a tree twice as wide.

        For an external commit, whose path fills the place (§12.4.2). Raises `RuleViolation` T11 (too many).
        """
        taken = bytearray(map(bool, self._nodes[::2]))
        place = taken.find(0)
        if place >= 0:
            return self, LeafIndex(place)
        _check_room(len(taken))
        nodes = [*self._nodes, *[None] * (len(self._nodes) + 1)]
        return self._with_nodes(nodes, set()), LeafIndex(len(taken))

    def with_path(self, index: LeafIndex, leaf: LeafNode, parents: Mapping[NodeIndex, ParentNode]) -> RatchetTree:
        """Merge an update path: the sender's new leaf, its direct path blank but for `parents` (§7.5).

        The caller has checked that `parents` are the filtered direct path of a leaf of this tree.
        """
        nodes = list(self._nodes)
        for node in tree_math.direct_path(tree_math.node_of(index), self.leaf_count):
            nodes[node] = parents.get(node)
        nodes[2 * index] = leaf
        return self._with_nodes(nodes, {index})

    def _with_nodes(self, nodes: list[AnyNode | None], touched: set[LeafIndex]) -> RatchetTree:
        """The tree of `nodes`, which differ from ours only at the leaves `touched` and above them, and in width."""
        before = self._nodes
        leaf_count = (len(nodes) + 1) // 2
        touched = {leaf for leaf in touched if leaf < leaf_count}
        touched.update(map(LeafIndex, range(self.leaf_count, leaf_count)))
        order = tree_math.with_ancestors(touched, leaf_count)
        hashes = [*self._hashes[: len(nodes)], *[b""] * (len(nodes) - len(before))]
        tree_hashes.renew(self.suite, nodes, hashes, order)
        keys = self._encryption_keys.copy()
        for node in [nodes[index] for index in order]:
            if node is not None:
                keys[node.encryption_key] = keys.get(node.encryption_key, 0) + 1
        for node in [*[before[index] for index in order if index < len(before)], *before[len(nodes) :]]:
            if node is not None:
                keys[node.encryption_key] -= 1
                if not keys[node.encryption_key]:
                    del keys[node.encryption_key]
        return RatchetTree(self.suite, tuple(nodes), tuple(hashes), keys)


def _blank_path(nodes: list[AnyNode | None], leaf: LeafIndex, rule: str) -> None:
    """Blank the ancestors of a member's leaf. Raises `RuleViolation` under `rule` where there is no member."""
    if not 0 <= 2 * leaf < len(nodes) or nodes[2 * leaf] is None:
        raise RuleViolation(rule, f"leaf {leaf} is not a member")
    for node in tree_math.direct_path(tree_math.node_of(leaf), (len(nodes) + 1) // 2):
        nodes[node] = None


def _truncate(nodes: list[AnyNode | None]) -> None:
    """Drop the root and the right half as long as the right half has no member (§7.7)."""
    leaf_count = (len(nodes) + 1) // 2
    while leaf_count > 1 and not any(nodes[leaf_count::2]):
        del nodes[leaf_count - 1 :]
        leaf_count //= 2


def _place(nodes: list[AnyNode | None], adds: Sequence[LeafNode]) -> tuple[LeafIndex, ...]:
    """Put each leaf at the leftmost blank place, extending the tree as needed, and note it as unmerged (§12.1.1)."""
    if not adds:
        return ()
    taken = bytearray(map(bool, nodes[::2]))
    placed: list[LeafIndex] = []
    place = 0
    for leaf in adds:
        place = taken.find(0, place)
        if place < 0:
            place = len(taken)
            _check_room(place)
            nodes += [None] * (len(nodes) + 1)  # a blank root, and right of it a blank subtree
            taken += bytes(place)
        nodes[2 * place] = leaf
        taken[place] = 1
        placed.append(LeafIndex(place))
    _note_unmerged(nodes, placed)
    return tuple(placed)


def _check_room(leaf_count: int) -> None:
    """Raise `RuleViolation` T11 if the tree cannot be twice as wide."""
    if leaf_count == LEAF_COUNT_MAX:
        raise RuleViolation("T11", f"a group of more than {LEAF_COUNT_MAX} members")


def _note_unmerged(nodes: list[AnyNode | None], placed: Iterable[LeafIndex]) -> None:
    """Add new leaves to the `unmerged_leaves` of all parents above them; each parent is written once."""
    leaf_count = (len(nodes) + 1) // 2
    noted: dict[NodeIndex, tuple[ParentNode, list[int]]] = {}
    for leaf in placed:
        for index in tree_math.direct_path(tree_math.node_of(leaf), leaf_count):
            parent = nodes[index]
            if isinstance(parent, ParentNode):
                noted.setdefault(index, (parent, [*parent.unmerged_leaves]))[1].append(leaf)
    for index, (parent, unmerged) in noted.items():
        nodes[index] = ParentNode(parent.encryption_key, parent.parent_hash, tuple(sorted(unmerged)))
