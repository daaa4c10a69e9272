"""The ratchet tree and its naive oracle, changed alike and compared in all that can be seen; and trees with faults."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from hypothesis import assume
from hypothesis import strategies as st

from crypto.mls import parent_hashes, tree_math
from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.rules.tree import check_structure
from crypto.mls.tree_hashes import AnyNode
from crypto.mls.tree_nodes import CommitSource, LeafIndex, LeafNode, NodeIndex, ParentNode
from crypto.suites import suite_of
from tests.crypto import naive_tree
from tests.crypto.tree_samples import client, indices

SUITE = suite_of(1)
CLIENTS = [client(SUITE, f"client {number}").leaf for number in range(500)]
KEYS = [SUITE.generate_hpke_key_pair().public for _ in range(500)]


@dataclass(frozen=True)
class Step:
    """A commit: which members update, which are removed, how many join, who sends a path; modulo the members.

    With `joins` somebody joins by an external commit after it.
    """

    updates: list[int]
    removes: list[int]
    adds: int
    path: int | None
    joins: bool = False


@st.composite
def lives(draw: st.DrawFn) -> list[Step]:
    """Some commits; the first may bring a crowd, so that wide trees are as frequent as narrow ones."""
    numbers = st.lists(st.integers(0, 40), max_size=4)
    step = st.builds(Step, numbers, numbers, st.integers(0, 6), st.none() | st.integers(0, 40), st.booleans())
    crowd = Step([], [], draw(st.sampled_from([0, 0, 1, 3, 7, 12, 16, 33])), draw(st.none() | st.integers(0, 40)))
    return [crowd, *draw(st.lists(step, min_size=1, max_size=10))]


def chosen(tree: RatchetTree, numbers: list[int], spared: int) -> list[LeafIndex]:
    """Different members other than the first `spared`."""
    members = [leaf for leaf, _ in tree.occupied()][spared:]
    return list(dict.fromkeys(members[number % len(members)] for number in numbers)) if members else []


class Twins:
    """The tree and its oracle, changed alike; `check` compares all that can be seen."""

    def __init__(self) -> None:
        self.fresh_leaves = iter(CLIENTS)
        self.fresh_keys = iter(KEYS)
        first = next(self.fresh_leaves)
        self.tree = RatchetTree.of_leaf(SUITE, first)
        self.naive = naive_tree.of_nodes([first])

    def happens(self, step: Step) -> None:
        """Both trees go through a commit, and an external one after it if somebody joins."""
        self.commit(step.updates, step.removes, step.adds)
        if step.path is not None:
            members = [leaf for leaf, _ in self.tree.occupied()]
            self.merge(members[step.path % len(members)])
        if step.joins:
            self.tree, place = self.tree.with_room()
            self.naive, expected = naive_tree.room(self.naive)
            assert place == expected
            self.compare_nodes()
            self.merge(place)

    def commit(self, updates: list[int], removes: list[int], adds: int) -> None:
        before = self.tree
        removed = chosen(before, removes, 1)
        updated = {leaf: next(self.fresh_leaves) for leaf in chosen(before, updates, 1) if leaf not in removed}
        added = [next(self.fresh_leaves) for _ in range(adds)]
        self.tree, places = before.apply(updated, removed, added)
        for leaf, new in updated.items():
            naive_tree.update(self.naive, leaf, new)
        for leaf in removed:
            naive_tree.remove(self.naive, leaf)
        self.naive = naive_tree.truncate(self.naive)
        expected_places = []
        for new in added:
            self.naive, place = naive_tree.add(self.naive, new)
            expected_places.append(place)
        assert list(places) == expected_places

    def merge(self, sender: LeafIndex) -> None:
        """A path from a leaf, which is blank if its sender joins by it."""
        filtered = self.tree.filtered_direct_path(sender)
        keys = {index: next(self.fresh_keys) for index in filtered}
        parents, parent_hash = parent_hashes.path_parents(self.tree, sender, keys)
        leaf = replace(next(self.fresh_leaves), source=CommitSource(parent_hash))
        self.tree = self.tree.with_path(sender, leaf, parents)
        assert naive_tree.set_path(SUITE, self.naive, sender, list(keys.values())) == parent_hash
        naive_tree.leaves(self.naive)[sender].value = leaf

    def compare_nodes(self) -> None:
        assert self.tree.leaf_count == len(naive_tree.leaves(self.naive))
        assert [self.tree.node(index) for index in indices(self.tree)] == naive_tree.values(self.naive)

    def check(self, before: RatchetTree) -> None:
        """All that the tree offers is what the oracle says; `before` is an earlier tree."""
        tree = self.tree
        self.compare_nodes()
        self.compare_contents()
        self.compare_hashes()
        self.compare_paths()
        nodes = tree.export()
        assert nodes[-1] is not None
        assert RatchetTree.of_nodes(SUITE, nodes) == tree
        width = max(len(indices(tree)), len(indices(before)))
        assert list(tree.changed_since(before)) == [
            index for index in map(NodeIndex, range(width)) if tree.node(index) != before.node(index)
        ]
        assert tree.changed_since(before) == before.changed_since(tree)
        check_structure(tree)
        parent_hashes.verify(tree)
        assert naive_tree.structure_fault(self.naive) is None
        assert naive_tree.is_parent_hash_valid(SUITE, self.naive)

    def compare_contents(self) -> None:
        """Who is in the tree, which parents are set, which keys are in use, and where there is room."""
        tree, naive = self.tree, self.naive
        order, leaves = naive_tree.in_order(naive), naive_tree.leaves(naive)
        assert list(tree.occupied()) == [(leaf.index, leaf.value) for leaf in leaves if leaf.value is not None]
        assert [tree.leaf(LeafIndex(leaf.index)) for leaf in leaves] == [leaf.value for leaf in leaves]
        assert list(tree.parents()) == [
            (place, node.value) for place, node in enumerate(order) if isinstance(node.value, ParentNode)
        ]
        assert tree.encryption_keys() == Counter(node.value.encryption_key for node in order if node.value is not None)
        wider, place = tree.with_room()
        naive_wider, expected = naive_tree.room(naive)
        assert (place, wider.export()) == (expected, tree.export())
        assert wider.leaf_count == len(naive_tree.leaves(naive_wider))
        assert wider.tree_hash == naive_tree.tree_hash(SUITE, naive_wider)

    def compare_hashes(self) -> None:
        """The tree hash of every node, and as if some of the leaves below it had not come yet."""
        tree, order = self.tree, naive_tree.in_order(self.naive)
        assert [tree.subtree_hash(index) for index in indices(tree)] == [
            naive_tree.tree_hash(SUITE, node) for node in order
        ]
        members = [leaf for leaf, _ in tree.occupied()]
        for unmerged in (members[::2], members[1::3], members[-2:]):
            for index in (tree.root, *indices(tree)[1::6]):
                expected = naive_tree.original_tree_hash(SUITE, order[index], unmerged)
                assert tree.original_subtree_hash(index, unmerged) == expected

    def compare_paths(self) -> None:
        """Every resolution, every filtered direct path with its copath, and common ancestors."""
        tree, naive = self.tree, self.naive
        order = naive_tree.in_order(naive)
        place_of = {id(node): place for place, node in enumerate(order)}
        assert [list(tree.resolution(index)) for index in indices(tree)] == [
            [place_of[id(found)] for found in naive_tree.resolution(naive, node)] for node in order
        ]
        for leaf in map(LeafIndex, range(tree.leaf_count)):
            start = tree_math.node_of(leaf)
            ways = list(naive_tree.ways_up(naive, leaf))
            path = tree_math.direct_path(start, tree.leaf_count)
            assert list(path) == [place_of[id(node)] for node, _, _ in ways]
            copath = [tree_math.copath_child(node, start) for node in path]
            assert copath == [place_of[id(off)] for _, _, off in ways]
            expected = naive_tree.filtered_direct_path(naive, leaf)
            filtered = tree.filtered_direct_path(leaf)
            assert list(filtered) == [place_of[id(node)] for node, _ in expected]
            assert [tree_math.copath_child(index, start) for index in filtered] == [
                place_of[id(off)] for _, off in expected
            ]
            other = order[(7 * leaf + 3) % len(order)]
            shared = tree_math.common_ancestor(start, NodeIndex(place_of[id(other)]))
            assert shared == place_of[id(naive_tree.common_ancestor(naive, order[start], other))]


@st.composite
def spoiled(draw: st.DrawFn) -> list[AnyNode | None]:
    """A valid tree with one node changed at random."""
    twins = Twins()
    for step in draw(lives()):
        twins.happens(step)
    nodes = list(twins.tree.export())
    place = draw(st.integers(0, len(nodes) - 1))
    node = nodes[place]
    other = draw(st.sampled_from([found for found in nodes if found is not None]))
    unmerged = tuple(draw(st.lists(st.integers(0, 2 * twins.tree.leaf_count), max_size=4)))
    match node:
        case ParentNode():
            nodes[place] = draw(
                st.sampled_from(
                    [
                        None,
                        replace(node, encryption_key=other.encryption_key),
                        replace(node, encryption_key=KEYS[-1]),
                        replace(node, parent_hash=draw(st.binary(max_size=32))),
                        replace(node, unmerged_leaves=unmerged),
                        replace(node, unmerged_leaves=node.unmerged_leaves[:-1]),
                    ]
                )
            )
        case LeafNode():
            nodes[place] = draw(st.sampled_from([None, replace(node, source=CommitSource(b"")), CLIENTS[-1]]))
        case None if place & 1:
            nodes[place] = ParentNode(KEYS[-1], b"", unmerged)
        case None:
            nodes[place] = CLIENTS[-1]
    assume(nodes[-1] is not None)
    return nodes


# Damage that leaves all parent hashes right


def damaged(tree: RatchetTree, draw: random.Random) -> list[AnyNode | None]:
    """The nodes of a tree after some faults, most of which keep its structure valid.

    Mostly the parent hashes are made anew afterwards, so that whoever only compares them finds them right, and the
    other criteria of §7.9.2 must tell.
    """
    naive = naive_tree.of_nodes(tree.export())
    for number in range(draw.randrange(3)):
        damage_one(naive, draw, number)
    naive = naive_tree.truncate(naive) if draw.randrange(4) else naive
    if draw.randrange(4):
        hold_parent_hashes_anew(naive, draw)
    nodes = naive_tree.values(naive)
    while len(nodes) > 1 and nodes[-1] is None:
        nodes.pop()
    if nodes[-1] is None:
        nodes[-1] = CLIENTS[-1]
    return nodes


def damage_one(naive: naive_tree.Node, draw: random.Random, number: int) -> None:
    """Change one node: it goes, it comes, or it lists other leaves below it as unmerged."""
    node = draw.choice(naive_tree.in_order(naive))
    occupied = [leaf.index for leaf in naive_tree.leaves(node) if leaf.value is not None]
    if node.left is None:
        node.value = draw.choice([None, CLIENTS[-2 - number]])
        return
    unmerged = tuple(leaf for leaf in occupied if draw.randrange(4) == 0)
    match node.value:
        case None:
            node.value = ParentNode(KEYS[-2 - number], b"", unmerged)
        case ParentNode() as parent if draw.randrange(3):
            node.value = replace(parent, unmerged_leaves=unmerged)
        case _:
            node.value = None


def hold_parent_hashes_anew(naive: naive_tree.Node, draw: random.Random) -> None:
    """Let one node below each parent hold its parent hash: mostly the one that should, at times any other."""
    for parent, child, sibling in top_down(naive, draw):
        below = [node for node in naive_tree.in_order(child) if node.value is not None]
        unmerged = parent.value.unmerged_leaves if isinstance(parent.value, ParentNode) else ()
        due = [node for node in naive_tree.resolution(naive, child) if node.index not in unmerged]
        if below:
            holder = draw.choice(below if draw.randrange(5) == 0 else due or below)
            hold(holder, naive_tree.parent_hash(SUITE, parent, sibling))


def top_down(
    node: naive_tree.Node, draw: random.Random
) -> Iterator[tuple[naive_tree.Node, naive_tree.Node, naive_tree.Node]]:
    """Each parent that is set, the child over its chain, and the other, below which all is done by then."""
    if node.left is None:
        return
    child, sibling = draw.choice([node.children, node.children[::-1]])
    yield from top_down(sibling, draw)
    if node.value is not None:
        yield node, child, sibling
    yield from top_down(child, draw)


def hold(node: naive_tree.Node, parent_hash: bytes) -> None:
    match node.value:
        case ParentNode() as parent:
            node.value = replace(parent, parent_hash=parent_hash)
        case LeafNode() as leaf:
            node.value = replace(leaf, source=CommitSource(parent_hash))
        case _:
            raise AssertionError("a blank node holds nothing")
