"""The public tree: official vectors, the examples of RFC 9420, a naive oracle, and what a change costs."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.errors import RuleViolation
from crypto.mls import parent_hashes
from crypto.mls.proposals import Add, Proposal, Remove, Update
from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.rules.tree import check_structure
from crypto.mls.tree_hashes import AnyNode
from crypto.mls.tree_nodes import (
    LeafIndex,
    NodeIndex,
    ParentNode,
    RatchetTreeNodes,
    verify_leaf_node,
)
from crypto.suites import CipherSuite, suite_of
from crypto.wire import decode_as, encode_as
from tests import vectors
from tests.crypto import naive_tree
from tests.crypto.tree_samples import (
    grown,
    indices,
    parent_at,
    refused,
    with_added,
    with_node,
    with_removed,
    with_updated,
)
from tests.crypto.tree_twins import CLIENTS, KEYS, SUITE, Step, Twins, damaged, lives, spoiled
from tests.vectors import Case


def published_tree(case: Case, name: str) -> RatchetTree:
    nodes = decode_as(RatchetTreeNodes, bytes.fromhex(case[name]))
    return RatchetTree.of_nodes(suite_of(case["cipher_suite"]), nodes)


# Official vectors


@vectors.each("mls/tree-operations.json")
def test_published_operations(case: Case) -> None:
    before = published_tree(case, "tree_before")
    assert before.tree_hash.hex() == case["tree_hash_before"]
    match decode_as(Proposal, bytes.fromhex(case["proposal"])):
        case Add(key_package):
            after, _ = with_added(before, key_package.leaf_node)
        case Update(leaf_node):
            after = with_updated(before, LeafIndex(case["proposal_sender"]), leaf_node)
        case Remove(removed):
            after = with_removed(before, LeafIndex(removed))
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
    check_structure(tree)
    parent_hashes.verify(tree)
    for index, leaf in tree.occupied():
        verify_leaf_node(tree.suite, leaf, bytes.fromhex(case["group_id"]), index)


@vectors.each("mls/tree-validation.json")
def test_a_published_tree_with_any_parent_changed_is_refused(case: Case) -> None:
    tree = published_tree(case, "tree")
    key = tree.suite.generate_hpke_key_pair().public
    for index, parent in tree.parents():
        with refused("T4", tree):
            parent_hashes.verify(with_node(tree, index, replace(parent, encryption_key=key)))
        with refused("T4", tree):
            parent_hashes.verify(with_node(tree, index, replace(parent, parent_hash=parent.parent_hash + b"\x00")))


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


def test_nothing_to_apply_copies_nothing() -> None:
    tree = grown(SUITE, 5).tree
    assert tree.apply({}, (), ())[0] is tree


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


@settings(max_examples=20)
@given(lives())
def test_random_commits_agree_with_the_oracle(life: list[Step]) -> None:
    twins = Twins()
    for step in life:
        before = twins.tree
        twins.happens(step)
        twins.check(before)


@pytest.mark.parametrize("seed", range(3))
def test_large_trees_agree_with_the_oracle(seed: int) -> None:
    """More than 64 leaves, deep removals, narrow again, and wide once more."""
    draw = random.Random(seed)
    twins, widths, unmerged = Twins(), set(), 0
    for adds, holes, kept in ((67, 0, 99), (0, 40, 99), (9, 0, 99), (0, 0, 20), (30, 20, 99), (0, 0, 3), (62, 10, 99)):
        others = range(sum(1 for _ in twins.tree.occupied()) - 1)
        removes = [number for number in others if number >= kept or draw.randrange(100) < holes]
        for step in (
            Step([draw.randrange(80)], removes, adds, draw.randrange(80)),
            *(Step([], [], draw.choice([0, 0, 1]), draw.choice([None, draw.randrange(80)])) for _ in range(4)),
            Step([], [], 4, None, joins=draw.random() < 0.5),
        ):
            before = twins.tree
            twins.happens(step)
        twins.check(before)
        widths.add(twins.tree.leaf_count)
        unmerged += sum(len(parent.unmerged_leaves) for _, parent in twins.tree.parents())
    assert min(widths) <= 16
    assert max(widths) == 128
    assert unmerged > 10


def judge(nodes: list[AnyNode | None]) -> str:
    """The verdict on a tree from outside, in which the tree, the oracle and the RFC's other method agree."""
    tree, naive = RatchetTree.of_nodes(SUITE, nodes), naive_tree.of_nodes(nodes)
    fault = naive_tree.structure_fault(naive)
    if fault is not None:
        with pytest.raises(RuleViolation) as caught:
            check_structure(tree)
        # several faults at once: either is right
        assert caught.value.rule == fault or {caught.value.rule, fault} == {"T6", "T7"}
        if fault in {"T6", "T7"}:  # lists that name nobody: whatever the verdict, nothing but a violation may come out
            with suppress(RuleViolation):
                parent_hashes.verify(tree)
            return fault
    is_valid = naive_tree.is_parent_hash_valid(SUITE, naive)
    if fault is None:
        check_structure(tree)
        assert naive_tree.is_covered_by_chains(SUITE, naive) == is_valid
    if is_valid:
        parent_hashes.verify(tree)
        return fault or "valid"
    with refused("T4", tree):
        parent_hashes.verify(tree)
    return fault or "T4"


@settings(max_examples=100)
@given(spoiled())
def test_random_faults_are_judged_as_by_the_oracle(nodes: list[AnyNode | None]) -> None:
    judge(nodes)


@settings(max_examples=80)
@given(lives(), st.randoms(use_true_random=False))
def test_damaged_trees_are_judged_as_by_the_oracle(life: list[Step], draw: random.Random) -> None:
    twins = Twins()
    for step in life:
        twins.happens(step)
    judge(damaged(twins.tree, draw))


def has_all_parent_hashes(nodes: list[AnyNode | None]) -> bool:
    """What a careless verifier looks at: something below each parent holds its parent hash."""
    naive = naive_tree.of_nodes(nodes)
    return all(
        any(
            naive_tree.held_parent_hash(node) == naive_tree.parent_hash(SUITE, parent, sibling)
            for child, sibling in (parent.children, parent.children[::-1])
            for node in naive_tree.in_order(child)
        )
        for parent in naive_tree.parents(naive)
        if parent.value is not None
    )


def test_damage_is_judged_both_ways() -> None:
    """Trees that break one criterion of §7.9.2 with all hashes right, and trees that are changed and still valid."""
    draw, verdicts = random.Random(7), Counter[str]()
    for number in range(60):
        twins = Twins()
        for _ in range(1 + number % 6):
            removes = [draw.randrange(40) for _ in range(draw.randrange(4))]
            path = draw.choice([None, draw.randrange(40)])
            twins.happens(Step([draw.randrange(40)], removes, draw.randrange(9), path, draw.random() < 0.2))
        nodes = damaged(twins.tree, draw)
        verdict = judge(nodes)
        verdicts[verdict] += 1
        verdicts["T4 in spite of all hashes"] += verdict == "T4" and has_all_parent_hashes(nodes)
    assert verdicts["valid"] >= 5
    assert verdicts["T4"] >= 15
    assert verdicts["T4 in spite of all hashes"] >= 5


# Changes


def test_a_change_leaves_the_tree_as_it_was_and_shares_the_rest() -> None:
    tree = grown(SUITE, 9).tree
    before, before_hash = tree.export(), tree.tree_hash
    changed = with_removed(tree, LeafIndex(3))
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
        (lambda: with_updated(tree, LeafIndex(9), CLIENTS[300]), 10),
        (lambda: with_removed(tree, LeafIndex(9)), 10),
        (lambda: with_added(tree, CLIENTS[300]), 10),
        (lambda: tree.apply({}, (LeafIndex(8), LeafIndex(9)), CLIENTS[300:302]), 11),
        (lambda: with_removed(tree, LeafIndex(256)), 0),  # truncated: the left half is the tree
    ):
        hashed.clear()
        change()
        assert len(hashed) == expected


def test_trees_that_no_honest_group_makes_are_changed_by_the_book() -> None:
    # Leaf 1 is blank though its parent is not, and though the later leaf 3 is unmerged.
    set_one, set_root = ParentNode(KEYS[0], b"", ()), ParentNode(KEYS[1], b"", (3,))
    tree = RatchetTree.of_nodes(SUITE, (CLIENTS[0], set_one, None, set_root, CLIENTS[2], None, CLIENTS[3]))
    added, place = with_added(tree, CLIENTS[1])
    assert place == 1
    assert parent_at(added, 1).unmerged_leaves == (1,)
    assert parent_at(added, 3).unmerged_leaves == (1, 3)
    assert tree.filtered_direct_path(LeafIndex(0)) == (3,)
    merged = tree.with_path(LeafIndex(0), CLIENTS[4], {NodeIndex(3): ParentNode(KEYS[2], b"", ())})
    assert merged.node(NodeIndex(1)) is None
    assert KEYS[0] not in merged.encryption_keys()


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
    tree = with_removed(grown(SUITE, 4).tree, LeafIndex(2))
    with refused("P2", tree):
        with_updated(tree, LeafIndex(place), CLIENTS[0])
    with refused("P3", tree):
        with_removed(tree, LeafIndex(place))


def test_p3_nobody_is_removed_twice() -> None:
    tree = grown(SUITE, 4).tree
    with refused("P3", tree):
        tree.apply({}, (LeafIndex(1), LeafIndex(1)), ())
