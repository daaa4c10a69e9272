"""Trees that must be refused (rules T1, T2, T4 to T9, T11, C8), each wrong in exactly one thing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crypto.mls import parent_hashes, ratchet_tree, tree_math
from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.tree_nodes import (
    CommitSource,
    LeafIndex,
    NodeIndex,
    ParentNode,
)
from crypto.suites import CipherSuite, suite
from tests.crypto.tree_samples import (
    CLASSICAL_AND_HYBRID,
    GROUP_SIZES,
    World,
    client,
    grown,
    indices,
    parent_at,
    ragged,
    refused,
    with_node,
    with_unmerged,
)

SUITE = suite(1)
CLIENTS = [client(SUITE, f"client {number}").leaf for number in range(5)]
KEYS = [SUITE.generate_hpke_key_pair().public for _ in range(2)]


@CLASSICAL_AND_HYBRID
@GROUP_SIZES
def test_t1_the_last_node_is_blank(suite: CipherSuite, size: int) -> None:
    tree = grown(suite, size).tree
    with refused("T1", tree):
        RatchetTree.of_nodes(suite, (*tree.export(), None))
    with refused("T1"):
        RatchetTree.of_nodes(suite, ())


@CLASSICAL_AND_HYBRID
@GROUP_SIZES
def test_t2_a_node_of_the_other_kind(suite: CipherSuite, size: int) -> None:
    tree = grown(suite, size).tree
    nodes = tree.export()
    for place in (0, 1, len(nodes) - 1):
        swapped = [*nodes]
        swapped[place] = nodes[1] if place % 2 == 0 else nodes[0]
        with refused("T2", tree):
            RatchetTree.of_nodes(suite, swapped)


@CLASSICAL_AND_HYBRID
@GROUP_SIZES
def test_t4_a_parent_that_no_chain_covers(suite: CipherSuite, size: int) -> None:
    tree = grown(suite, size).tree
    tree.verify_parent_hashes()
    key = suite.generate_hpke_key_pair().public
    for index, parent in tree.parents():
        with refused("T4", tree):
            with_node(tree, index, replace(parent, encryption_key=key)).verify_parent_hashes()
    leaf = tree.leaf(LeafIndex(size - 2))  # the last committer
    assert leaf is not None
    with refused("T4", tree):
        with_node(tree, 2 * (size - 2), replace(leaf, source=CommitSource(b"forged"))).verify_parent_hashes()


def test_t4_a_parent_that_nobody_set() -> None:
    tree = grown(SUITE, 5).tree.remove_leaf(LeafIndex(1))
    with refused("T4", tree):
        with_node(tree, 3, ParentNode(KEYS[0], b"", ())).verify_parent_hashes()


def test_t4_a_parent_that_two_chains_cover(monkeypatch: pytest.MonkeyPatch) -> None:
    # With a real hash this takes a collision: each side's hash would have to cover the other's.
    monkeypatch.setattr(parent_hashes, "parent_hash", lambda *_: b"collision")
    one, other = (replace(leaf, source=CommitSource(b"collision")) for leaf in CLIENTS[:2])
    root = ParentNode(KEYS[0], b"", ())
    RatchetTree.of_nodes(SUITE, (one, root, CLIENTS[1])).verify_parent_hashes()
    tree = RatchetTree.of_nodes(SUITE, (one, root, other))
    with refused("T4", tree):
        tree.verify_parent_hashes()


@CLASSICAL_AND_HYBRID
@pytest.mark.parametrize("size", [9, 33])
def test_t5_blanks_and_unmerged_leaves_hide_no_parent(suite: CipherSuite, size: int) -> None:
    world = ragged(suite, size)
    tree = world.tree
    assert any(tree.node(index) is None for index in indices(tree) if index & 1)
    assert any(parent.unmerged_leaves for _, parent in tree.parents())
    tree.verify_parent_hashes()
    key = suite.generate_hpke_key_pair().public
    for index, parent in tree.parents():
        for forged in (
            replace(parent, encryption_key=key),
            replace(parent, parent_hash=b"forged"),
            replace(parent, unmerged_leaves=(*parent.unmerged_leaves, tree_math.leaf_range(index)[-1])),
        ):
            if forged != parent:
                with refused("T4", tree):
                    with_node(tree, index, forged).verify_parent_hashes()


def test_t5_a_deep_tree_with_empty_subtrees() -> None:
    world = World.of_creator(SUITE)
    world.commit(0, adds=199)
    world.commit(199, removes=[*range(32, 64), *range(100, 120), 131])
    for sender in (70, 99, 128, 135, 199):
        world.commit(sender)
    world.commit(130, adds=3, path=False)
    tree = world.tree
    assert len(list(tree.parents())) > 20
    for index, parent in tree.parents():
        with refused("T4", tree):
            with_node(tree, index, replace(parent, parent_hash=b"forged")).verify_parent_hashes()


def test_t5_a_leaf_slipped_in_below_a_parent() -> None:
    world = grown(SUITE, 8)
    world.commit(0, removes=[6])
    with refused("T4", world.tree):
        with_node(world.tree, 12, CLIENTS[0]).verify_parent_hashes()


@CLASSICAL_AND_HYBRID
def test_t6_unmerged_leaves_that_do_not_increase(suite: CipherSuite) -> None:
    world = grown(suite, 9)
    world.commit(0, adds=2, path=False)
    tree = world.tree
    assert parent_at(tree, 15).unmerged_leaves == (9, 10)
    for unmerged in ((10, 9), (9, 9), (9, 10, 10)):
        with refused("T6", tree):
            with_unmerged(tree, 15, *unmerged).verify_structure()


@CLASSICAL_AND_HYBRID
def test_t7_unmerged_leaves_that_are_no_members_below(suite: CipherSuite) -> None:
    world = grown(suite, 9)
    world.commit(0, adds=2, path=False)
    tree = world.tree
    for index, leaf in ((15, 11), (15, 15), (15, 16), (15, 2**32 - 1), (3, 4), (19, 7), (1, 8)):
        unmerged = sorted({*parent_at(tree, index).unmerged_leaves, leaf}) if index == 15 else [leaf]
        if isinstance(tree.node(NodeIndex(index)), ParentNode):
            with refused("T7", tree):
                with_unmerged(tree, index, *unmerged).verify_structure()


@CLASSICAL_AND_HYBRID
def test_t8_an_unmerged_leaf_that_one_level_forgets(suite: CipherSuite) -> None:
    world = grown(suite, 8)
    world.commit(0, removes=[5])
    for sender in (4, 6):
        world.commit(sender)
    world.commit(0, adds=1, path=False)
    tree = world.tree
    listing = [index for index, parent in tree.parents() if 5 in parent.unmerged_leaves]
    assert listing == [7, 11]
    with refused("T8", tree):
        with_unmerged(tree, 11).verify_structure()
    with_unmerged(tree, 7).verify_structure()  # nothing above lists it: the structure is right, the parent hash is not
    with refused("T4", tree):
        with_unmerged(tree, 7).verify_parent_hashes()


@CLASSICAL_AND_HYBRID
@GROUP_SIZES
def test_t9_a_parent_key_that_stands_elsewhere(suite: CipherSuite, size: int) -> None:
    tree = grown(suite, size).tree
    leaf = tree.leaf(LeafIndex(size - 1))
    assert leaf is not None
    for index, parent in tree.parents():
        with refused("T9", tree):
            with_node(tree, index, replace(parent, encryption_key=leaf.encryption_key)).verify_structure()
        if index != tree.root:
            with refused("T9", tree):
                root_key = parent_at(tree, tree.root).encryption_key
                with_node(tree, index, replace(parent, encryption_key=root_key)).verify_structure()


@CLASSICAL_AND_HYBRID
def test_c8_a_parent_key_that_is_none(suite: CipherSuite) -> None:
    tree = grown(suite, 5).tree
    for index, parent in tree.parents():
        with refused("C8", tree):
            short = replace(parent, encryption_key=parent.encryption_key[:-1])
            with_node(tree, index, short).verify_structure()


@CLASSICAL_AND_HYBRID
def test_t11_the_tree_is_truncated(suite: CipherSuite) -> None:
    world = grown(suite, 33)
    assert world.tree.leaf_count == 64
    world.commit(0, removes=[32])
    assert world.tree.leaf_count == 32
    world.commit(0, removes=range(2, 32))
    assert world.tree.leaf_count == 2
    assert len(world.tree.export()) == 3


@CLASSICAL_AND_HYBRID
@GROUP_SIZES
def test_t11_a_tree_that_was_not_truncated(suite: CipherSuite, size: int) -> None:
    tree = grown(suite, size).tree
    width = 2 * tree.leaf_count - 1
    padding = [None] * (width - len(tree.export()))
    root = ParentNode(suite.generate_hpke_key_pair().public, b"", ())
    wide = RatchetTree.of_nodes(suite, (*tree.export(), *padding, root))
    assert wide.leaf_count == 2 * tree.leaf_count
    with refused("T11", tree, wide):
        wide.verify_structure()


def test_t11_the_last_member_stays() -> None:
    tree = RatchetTree.of_leaf(SUITE, CLIENTS[0])
    with refused("T11", tree):
        tree.remove_leaf(LeafIndex(0))
    exchanged, places = tree.apply({}, (LeafIndex(0),), CLIENTS[1:2])
    assert places == (0,)
    assert exchanged == RatchetTree.of_leaf(SUITE, CLIENTS[1])


def test_t11_the_largest_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratchet_tree, "LEAF_COUNT_MAX", 4)
    tree, _ = RatchetTree.of_leaf(SUITE, CLIENTS[0]).apply({}, (), CLIENTS[1:4])
    with refused("T11", tree):
        tree.add_leaf(CLIENTS[4])
    with refused("T11", tree):
        RatchetTree.of_nodes(SUITE, (*tree.export(), None, CLIENTS[4]))
