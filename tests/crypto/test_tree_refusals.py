"""Trees that must be refused, whatever group they are of (rules T1, T4, T5, T8, T11): empty, ragged, deep, huge.

How a member would show one to a joiner, and that nothing else is wrong with it, is in `test_rules_tree`.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from crypto.mls import parent_hashes, ratchet_tree, tree_math
from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.rules.tree import check_structure
from crypto.mls.tree_nodes import (
    CommitSource,
    LeafIndex,
    ParentNode,
)
from crypto.suites import CipherSuite, suite_of
from tests.crypto.matrix import without_group
from tests.crypto.tree_samples import (
    CLASSICAL_AND_HYBRID,
    KeyedTree,
    client,
    grown,
    indices,
    ragged,
    refused,
    with_added,
    with_node,
    with_removed,
    with_unmerged,
)

SUITE = suite_of(1)
CLIENTS = [client(SUITE, f"client {number}").leaf for number in range(5)]
KEY = SUITE.generate_hpke_key_pair().public


@without_group("a tree alone")
def test_t1_no_nodes() -> None:
    with refused("T1"):
        RatchetTree.of_nodes(SUITE, ())


@without_group("a collision of hashes in a tree alone")
def test_t4_a_parent_that_two_chains_cover(monkeypatch: pytest.MonkeyPatch) -> None:
    # With a real hash this takes a collision: each side's hash would have to cover the other's.
    monkeypatch.setattr(parent_hashes, "parent_hash", lambda *_: b"collision")
    one, other = (replace(leaf, source=CommitSource(b"collision")) for leaf in CLIENTS[:2])
    root = ParentNode(KEY, b"", ())
    parent_hashes.verify(RatchetTree.of_nodes(SUITE, (one, root, CLIENTS[1])))
    tree = RatchetTree.of_nodes(SUITE, (one, root, other))
    with refused("T4", tree):
        parent_hashes.verify(tree)


@without_group("a tree alone, grown by commits of all its members")
@CLASSICAL_AND_HYBRID
@pytest.mark.parametrize("size", [9, 33])
def test_t5_blanks_and_unmerged_leaves_hide_no_parent(suite: CipherSuite, size: int) -> None:
    world = ragged(suite, size)
    tree = world.tree
    assert any(tree.node(index) is None for index in indices(tree) if index & 1)
    assert any(parent.unmerged_leaves for _, parent in tree.parents())
    parent_hashes.verify(tree)
    key = suite.generate_hpke_key_pair().public
    for index, parent in tree.parents():
        for forged in (
            replace(parent, encryption_key=key),
            replace(parent, parent_hash=b"forged"),
            replace(parent, unmerged_leaves=(*parent.unmerged_leaves, tree_math.leaf_range(index)[-1])),
        ):
            if forged != parent:
                with refused("T4", tree):
                    parent_hashes.verify(with_node(tree, index, forged))


@without_group("a tree alone, of 200 members")
def test_t5_a_deep_tree_with_empty_subtrees() -> None:
    world = KeyedTree.of_creator(SUITE)
    world.commit(0, adds=199)
    world.commit(199, removes=[*range(32, 64), *range(100, 120), 131])
    for sender in (70, 99, 128, 135, 199):
        world.commit(sender)
    world.commit(130, adds=3, path=False)
    tree = world.tree
    assert len(list(tree.parents())) > 20
    for index, parent in tree.parents():
        with refused("T4", tree):
            parent_hashes.verify(with_node(tree, index, replace(parent, parent_hash=b"forged")))


@without_group("a tree alone")
def test_t5_a_leaf_slipped_in_below_a_parent() -> None:
    world = grown(SUITE, 8)
    world.commit(0, removes=[6])
    with refused("T4", world.tree):
        parent_hashes.verify(with_node(world.tree, 12, CLIENTS[0]))


@without_group("a tree alone")
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
        check_structure(with_unmerged(tree, 11))
    check_structure(with_unmerged(tree, 7))  # nothing above lists it: the structure is right, the parent hash is not
    with refused("T4", tree):
        parent_hashes.verify(with_unmerged(tree, 7))


@without_group("a tree alone")
def test_t11_the_last_member_stays() -> None:
    tree = RatchetTree.of_leaf(SUITE, CLIENTS[0])
    with refused("T11", tree):
        with_removed(tree, LeafIndex(0))
    exchanged, places = tree.apply({}, (LeafIndex(0),), CLIENTS[1:2])
    assert places == (0,)
    assert exchanged == RatchetTree.of_leaf(SUITE, CLIENTS[1])


@without_group("a tree alone, and a small limit")
def test_t11_the_largest_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratchet_tree, "LEAF_COUNT_MAX", 4)
    tree, _ = RatchetTree.of_leaf(SUITE, CLIENTS[0]).apply({}, (), CLIENTS[1:4])
    with refused("T11", tree):
        with_added(tree, CLIENTS[4])
    with refused("T11", tree):
        tree.with_room()
    with refused("T11", tree):
        RatchetTree.of_nodes(SUITE, (*tree.export(), None, CLIENTS[4]))
