"""The public tree: official vectors, the examples of RFC 9420, a naive oracle, and what a change costs."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from crypto.errors import RuleViolation
from crypto.mls import parent_hashes, tree_math
from crypto.mls.proposals import Add, Proposal, Remove, Update
from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.tree_hashes import AnyNode
from crypto.mls.tree_nodes import (
    CommitSource,
    LeafIndex,
    LeafNode,
    NodeIndex,
    ParentNode,
    RatchetTreeNodes,
    verify_leaf_node,
)
from crypto.suites import CipherSuite, suite
from crypto.wire import decode_as, encode_as
from tests import vectors
from tests.crypto import naive_tree
from tests.crypto.tree_samples import (
    client,
    grown,
    indices,
    parent_at,
    ragged,
    refused,
    with_node,
)
from tests.vectors import Case

SUITE = suite(1)
CLIENTS = [client(SUITE, f"client {number}").leaf for number in range(400)]
KEYS = [SUITE.generate_hpke_key_pair().public for _ in range(400)]


def published_tree(case: Case, name: str) -> RatchetTree:
    nodes = decode_as(RatchetTreeNodes, bytes.fromhex(case[name]))
    return RatchetTree.of_nodes(suite(case["cipher_suite"]), nodes)


# Official vectors


@vectors.each("mls/tree-operations.json")
def test_published_operations(case: Case) -> None:
    before = published_tree(case, "tree_before")
    assert before.tree_hash.hex() == case["tree_hash_before"]
    match decode_as(Proposal, bytes.fromhex(case["proposal"])):
        case Add(key_package):
            after, _ = before.add_leaf(key_package.leaf_node)
        case Update(leaf_node):
            after = before.update_leaf(LeafIndex(case["proposal_sender"]), leaf_node)
        case Remove(removed):
            after = before.remove_leaf(LeafIndex(removed))
        case other:
            raise AssertionError(other)
    assert encode_as(RatchetTreeNodes, after.export()).hex() == case["tree_after"]
    assert after.tree_hash.hex() == case["tree_hash_after"]


@vectors.each("mls/tree-validation.json")
def test_published_trees_are_valid(case: Case) -> None:
    tree = published_tree(case, "tree")
    assert [tree.subtree_hash(index).hex() for index in indices(tree)] == case["tree_hashes"]
    assert [list(tree.resolution(index)) for index in indices(tree)] == case["resolutions"]
    assert encode_as(RatchetTreeNodes, tree.export()).hex() == case["tree"]
    tree.verify_structure()
    tree.verify_parent_hashes()
    for index, leaf in tree.occupied():
        verify_leaf_node(tree.suite, leaf, bytes.fromhex(case["group_id"]), index)


@vectors.each("mls/tree-validation.json")
def test_a_published_tree_with_any_parent_changed_is_refused(case: Case) -> None:
    tree = published_tree(case, "tree")
    key = tree.suite.generate_hpke_key_pair().public
    for index, parent in tree.parents():
        with refused("T4", tree):
            with_node(tree, index, replace(parent, encryption_key=key)).verify_parent_hashes()
        with refused("T4", tree):
            with_node(tree, index, replace(parent, parent_hash=parent.parent_hash + b"\x00")).verify_parent_hashes()


# The RFC's own examples


def test_resolutions_of_the_example_tree() -> None:
    # RFC 9420 §4.1.1: A B _ D E F _ H, X over A to D with B unmerged, Y over E and F
    nodes: list[AnyNode | None] = [None] * 15
    for leaf in (0, 1, 3, 4, 5, 7):
        nodes[2 * leaf] = CLIENTS[leaf]
    nodes[3], nodes[9] = ParentNode(KEYS[0], b"", (1,)), ParentNode(KEYS[1], b"", ())
    tree = RatchetTree.of_nodes(SUITE, nodes)
    assert tree.resolution(NodeIndex(3)) == (3, 2)
    assert tree.resolution(NodeIndex(4)) == tree.resolution(NodeIndex(12)) == ()
    assert tree.resolution(tree.root) == (3, 2, 9, 14)


def test_filtered_direct_paths_of_the_example_tree() -> None:
    # RFC 9420 §4.1.2: A B _ _ E F G _, blank are U 3, V 5, Z 13
    nodes: list[AnyNode | None] = [None] * 13
    for leaf in (0, 1, 4, 5, 6):
        nodes[2 * leaf] = CLIENTS[leaf]
    for index in (1, 7, 9, 11):
        nodes[index] = ParentNode(KEYS[index], b"", ())
    tree = RatchetTree.of_nodes(SUITE, nodes)
    assert tree.filtered_direct_path(LeafIndex(0)) == tree.filtered_direct_path(LeafIndex(1)) == (1, 7)
    assert tree.filtered_direct_path(LeafIndex(4)) == tree.filtered_direct_path(LeafIndex(5)) == (9, 11, 7)
    assert tree.filtered_direct_path(LeafIndex(6)) == (11, 7)


def test_a_node_above_new_members_only_stays_in_the_filtered_path() -> None:
    tree, added = grown(SUITE, 2).tree.apply({}, (), CLIENTS[:1])
    assert added == (2,)
    assert tree.filtered_direct_path(LeafIndex(0)) == (1, 3)


def test_the_example_of_an_original_tree_hash() -> None:
    # RFC 9420 §7.9, figure "A Tree Illustrating Parent Hash Computations": W [F] over U and Y [F]
    nodes: list[AnyNode | None] = [None] * 13
    for leaf in range(7):
        nodes[2 * leaf] = CLIENTS[leaf]
    for index, unmerged in ((1, ()), (3, ()), (7, (5,)), (11, (5,))):
        nodes[index] = ParentNode(KEYS[index], b"", unmerged)
    tree = RatchetTree.of_nodes(SUITE, nodes)
    without = with_node(with_node(tree, 10, None), 11, replace(parent_at(tree, 11), unmerged_leaves=()))
    assert tree.original_subtree_hash(NodeIndex(11), [5]) == without.subtree_hash(NodeIndex(11))
    assert tree.original_subtree_hash(NodeIndex(3), [5]) == tree.subtree_hash(NodeIndex(3))


# Against the oracle


@st.composite
def steps(draw: st.DrawFn) -> list[tuple[list[int], list[int], int, int | None]]:
    """Commits: which members update, which are removed, how many join, who sends a path. Taken modulo the members."""
    members = st.lists(st.integers(0, 40), max_size=4)
    path = st.one_of(st.none(), st.integers(0, 40))
    return draw(st.lists(st.tuples(members, members, st.integers(0, 6), path), min_size=1, max_size=12))


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

    def commit(self, updates: list[int], removes: list[int], adds: int, path: int | None) -> None:
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
        if path is not None:
            self.merge(path)

    def merge(self, number: int) -> None:
        sender = [leaf for leaf, _ in self.tree.occupied()][number % len(list(self.tree.occupied()))]
        filtered = self.tree.filtered_direct_path(sender)
        keys = {index: next(self.fresh_keys) for index in filtered}
        parents, parent_hash = parent_hashes.path_parents(self.tree, sender, keys)
        leaf = replace(next(self.fresh_leaves), source=CommitSource(parent_hash))
        self.tree = self.tree.with_path(sender, leaf, parents)
        assert naive_tree.set_path(SUITE, self.naive, sender, list(keys.values())) == parent_hash
        naive_tree.leaves(self.naive)[sender].value = leaf

    def check(self, before: RatchetTree) -> None:
        tree, naive = self.tree, self.naive
        order = naive_tree.in_order(naive)
        place_of = {id(node): place for place, node in enumerate(order)}
        assert tree.leaf_count == len(naive_tree.leaves(naive))
        assert [tree.node(index) for index in indices(tree)] == naive_tree.values(naive)
        assert [tree.subtree_hash(index) for index in indices(tree)] == [
            naive_tree.tree_hash(SUITE, node) for node in order
        ]
        assert [list(tree.resolution(index)) for index in indices(tree)] == [
            [place_of[id(found)] for found in naive_tree.resolution(naive, node)] for node in order
        ]
        for leaf in map(LeafIndex, range(tree.leaf_count)):
            expected = naive_tree.filtered_direct_path(naive, leaf)
            filtered = tree.filtered_direct_path(leaf)
            assert list(filtered) == [place_of[id(node)] for node, _ in expected]
            assert [tree_math.copath_child(index, tree_math.node_of(leaf)) for index in filtered] == [
                place_of[id(off)] for _, off in expected
            ]
        nodes = tree.export()
        assert nodes[-1] is not None
        assert RatchetTree.of_nodes(SUITE, nodes) == tree
        assert tree.encryption_keys() == Counter(node.encryption_key for node in nodes if node is not None)
        width = max(len(indices(tree)), len(indices(before)))
        assert list(tree.changed_since(before)) == [
            index for index in map(NodeIndex, range(width)) if tree.node(index) != before.node(index)
        ]
        assert tree.changed_since(before) == before.changed_since(tree)
        tree.verify_structure()
        tree.verify_parent_hashes()
        assert naive_tree.structure_fault(naive) is None
        assert naive_tree.is_parent_hash_valid(SUITE, naive)


@settings(max_examples=40)
@given(steps())
def test_random_commits_agree_with_the_oracle(commits: list[tuple[list[int], list[int], int, int | None]]) -> None:
    twins = Twins()
    for updates, removes, adds, path in commits:
        before = twins.tree
        twins.commit(updates, removes, adds, path)
        twins.check(before)


@st.composite
def spoiled(draw: st.DrawFn) -> list[AnyNode | None]:
    """A valid tree with one node changed at random."""
    twins = Twins()
    for updates, removes, adds, path in draw(steps()):
        twins.commit(updates, removes, adds, path)
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


@settings(max_examples=200)
@given(spoiled())
def test_random_faults_are_judged_as_by_the_oracle(nodes: list[AnyNode | None]) -> None:
    tree, naive = RatchetTree.of_nodes(SUITE, nodes), naive_tree.of_nodes(nodes)
    fault = naive_tree.structure_fault(naive)
    if fault is None:
        tree.verify_structure()
        if naive_tree.is_parent_hash_valid(SUITE, naive):
            tree.verify_parent_hashes()
        else:
            with refused("T4", tree):
                tree.verify_parent_hashes()
        return
    with pytest.raises(RuleViolation) as caught:
        tree.verify_structure()
    assert caught.value.rule == fault or {caught.value.rule, fault} == {"T6", "T7"}  # several at once: either is right
    with suppress(RuleViolation):  # whatever the tree, nothing else may come out
        tree.verify_parent_hashes()


# Changes


def test_a_change_leaves_the_tree_as_it_was_and_shares_the_rest() -> None:
    tree = grown(SUITE, 9).tree
    before, before_hash = tree.export(), tree.tree_hash
    changed = tree.remove_leaf(LeafIndex(3))
    assert (tree.export(), tree.tree_hash) == (before, before_hash)
    assert changed != tree
    assert changed.node(NodeIndex(11)) is tree.node(NodeIndex(11))
    assert changed.changed_since(tree) == (3, 5, 6, 7, 15)
    assert hash(changed) == hash(RatchetTree.of_nodes(SUITE, changed.export()))


def test_a_change_hashes_each_touched_node_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tree, _ = RatchetTree.of_leaf(SUITE, CLIENTS[0]).apply({}, (), CLIENTS[1:257])
    assert tree.leaf_count == 512
    hashed: list[bytes] = []
    hash_of = CipherSuite.hash

    def counting_hash(suite: CipherSuite, data: bytes) -> bytes:
        hashed.append(data)
        return hash_of(suite, data)

    monkeypatch.setattr(CipherSuite, "hash", counting_hash)
    for change, expected in (
        (lambda: tree.update_leaf(LeafIndex(9), CLIENTS[300]), 10),
        (lambda: tree.remove_leaf(LeafIndex(9)), 10),
        (lambda: tree.add_leaf(CLIENTS[300]), 10),
        (lambda: tree.apply({}, (LeafIndex(8), LeafIndex(9)), CLIENTS[300:302]), 11),
        (lambda: tree.remove_leaf(LeafIndex(256)), 0),  # truncated: the left half is the tree
    ):
        hashed.clear()
        change()
        assert len(hashed) == expected


def test_trees_that_no_honest_group_makes_are_changed_by_the_book() -> None:
    # Leaf 1 is blank though its parent is not, and though the later leaf 3 is unmerged.
    set_one, set_root = ParentNode(KEYS[0], b"", ()), ParentNode(KEYS[1], b"", (3,))
    tree = RatchetTree.of_nodes(SUITE, (CLIENTS[0], set_one, None, set_root, CLIENTS[2], None, CLIENTS[3]))
    added, place = tree.add_leaf(CLIENTS[1])
    assert place == 1
    assert parent_at(added, 1).unmerged_leaves == (1,)
    assert parent_at(added, 3).unmerged_leaves == (1, 3)
    assert tree.filtered_direct_path(LeafIndex(0)) == (3,)
    merged = tree.with_path(LeafIndex(0), CLIENTS[4], {NodeIndex(3): ParentNode(KEYS[2], b"", ())})
    assert merged.node(NodeIndex(1)) is None
    assert KEYS[0] not in merged.encryption_keys()


def test_single_changes_are_batches_of_one() -> None:
    tree = ragged(SUITE, 9).tree
    assert tree.add_leaf(CLIENTS[0]) == (tree.apply({}, (), CLIENTS[:1])[0], tree.apply({}, (), CLIENTS[:1])[1][0])
    assert tree.update_leaf(LeafIndex(2), CLIENTS[0]) == tree.apply({LeafIndex(2): CLIENTS[0]}, (), ())[0]
    assert tree.remove_leaf(LeafIndex(2)) == tree.apply({}, (LeafIndex(2),), ())[0]


def test_what_is_outside_the_tree_is_blank() -> None:
    tree = grown(SUITE, 3).tree
    assert tree.leaf(LeafIndex(2)) is not None
    for outside in (3, 4, 2**24, 2**32 - 1):
        assert tree.leaf(LeafIndex(outside)) is None
        assert tree.node(NodeIndex(2 * outside)) is None
    with refused("C9", tree):
        tree.filtered_direct_path(LeafIndex(4))


@pytest.mark.parametrize("place", [2, 4, 2**32 - 1])
def test_p2_p3_only_members_are_updated_or_removed(place: int) -> None:
    tree = grown(SUITE, 4).tree.remove_leaf(LeafIndex(2))
    with refused("P2", tree):
        tree.update_leaf(LeafIndex(place), CLIENTS[0])
    with refused("P3", tree):
        tree.remove_leaf(LeafIndex(place))


def test_p3_nobody_is_removed_twice() -> None:
    tree = grown(SUITE, 4).tree
    with refused("P3", tree):
        tree.apply({}, (LeafIndex(1), LeafIndex(1)), ())
