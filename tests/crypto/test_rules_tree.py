"""Section T of the rules: the tree of a group that we enter. Rule T10 is section L, see `test_rules_leaf_places`.

A member shows the wrong tree itself: the GroupContext names its hash, the leaves are signed, and so is the GroupInfo.
Whoever comes by Welcome checks it by the same function (T12).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from crypto.errors import DecodeError
from crypto.kem import HPKEKeyPair
from crypto.mls import group_info as group_info_module
from crypto.mls import parent_hashes, ratchet_tree, treekem
from crypto.mls.extensions import Extension, ExtensionType
from crypto.mls.group import Group, VerifiedGroupInfo, verify_group_info
from crypto.mls.group_info import sign_group_info
from crypto.mls.mls_message import encode_message
from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.rules import leaf as leaf_rules
from crypto.mls.rules import tree as tree_rules
from crypto.mls.rules import tree_shape as rules
from crypto.mls.snapshot import load, rows
from crypto.mls.tree_hashes import AnyNode
from crypto.mls.tree_math import direct_path, leaf_range, left, node_of
from crypto.mls.tree_nodes import CommitSource, LeafIndex, LeafNode, NodeIndex, ParentNode, RatchetTreeNodes
from crypto.mls.welcome import GroupInfo
from crypto.secret import Secret
from crypto.suites import CipherSuite
from crypto.wire import encode_as
from tests.crypto.forge import Rule, assert_enters, assert_refused, changed_leaf, changed_state, forged_commit, off
from tests.crypto.matrix import every_group, groups_of
from tests.crypto.world import NOW, World, won

Nodes = Sequence[AnyNode | None]


def shown(group: Group, nodes: Nodes, *checks: Rule) -> bytes:
    """The group's GroupInfo with these nodes instead of its own: their hash in the GroupContext, all signed."""
    with off(*checks):
        tree_hash = RatchetTree.of_nodes(group.suite, nodes).tree_hash
    state = group.state
    extensions = (Extension(ExtensionType.RATCHET_TREE, encode_as(RatchetTreeNodes, tuple(nodes))),)
    context = replace(state.context, tree_hash=tree_hash)
    unsigned = GroupInfo(context, extensions, state.confirmation_tag, state.own_leaf, b"")
    return encode_message(sign_group_info(group.suite, state.signer, unsigned))


def entered(message: bytes) -> VerifiedGroupInfo:
    return verify_group_info(message, now=NOW)


def assert_tree_refused(rule: str, group: Group, nodes: Nodes, *checks: Rule, then: str | None = None) -> None:
    """The tree is refused; with the checks off it is accepted, or refused by `then`, if that goes with it."""
    message = shown(group, nodes, *checks)
    assert_refused(rule, lambda: entered(message), group)
    with off(*checks):
        if then is None:
            assert entered(message).tree.export() is not None
        else:
            assert_refused(then, lambda: entered(message), group)


def with_node(group: Group, index: int, node: AnyNode | None) -> list[AnyNode | None]:
    """The group's nodes, in full width, with one exchanged; without the blanks at the end."""
    tree = group.state.tree
    nodes = [tree.node(NodeIndex(each)) for each in range(2 * tree.leaf_count - 1)]
    nodes[index] = node
    while nodes[-1] is None:
        nodes.pop()
    return nodes


def parent_at(group: Group, index: int) -> ParentNode:
    node = group.state.tree.node(NodeIndex(index))
    assert isinstance(node, ParentNode)
    return node


def with_unmerged(group: Group, index: int, *unmerged: int) -> list[AnyNode | None]:
    return with_node(group, index, replace(parent_at(group, index), unmerged_leaves=unmerged))


def ragged(world: World) -> Group:
    """The group as person 0 sees it, with blanks in the middle and two unmerged leaves at several levels."""
    removed = [leaf for leaf, _ in world["person 0"].state.tree.occupied() if leaf % 4 in {1, 2}]
    group = won(world["person 0"].commit(removes=removed, now=NOW))
    offers = [world.person(name).offer() for name in ("one", "two")]
    group = won(group.commit(offers, now=NOW, with_path=False))
    assert parent_at(group, group.state.tree.root).unmerged_leaves == (1, 2)
    assert any(group.state.tree.node(NodeIndex(index)) is None for index in range(1, 2 * len(group.members), 2))
    return group


@every_group
@pytest.mark.parametrize("blanks", [1, 2, 5])
def test_t1_the_last_node_is_blank(world: World, blanks: int) -> None:
    """As many as keep the tree's width, or it would be another tree."""
    group = world["person 0"]
    nodes = group.state.tree.export()
    padded = [*nodes, *[None] * blanks]
    if len(padded) > 2 * group.state.tree.leaf_count - 1:
        assert_tree_refused("T1", group, padded, rules.t1_last_node_occupied, then="T11")
    else:
        assert_tree_refused("T1", group, padded, rules.t1_last_node_occupied)


@every_group
@pytest.mark.parametrize("place", [0, 1, -1])
def test_t2_a_node_of_the_other_kind(world: World, place: int) -> None:
    """Nothing could be made of such a tree, so with the rule off it is not one of any group."""
    group = world["person 0"]
    nodes = [*group.state.tree.export()]
    leaf, root = nodes[0], nodes[group.state.tree.root]
    nodes[place] = root if isinstance(nodes[place], LeafNode) else leaf
    message = shown(group, nodes, rules.t2_kinds_in_place)
    assert_refused("T2", lambda: entered(message), group)


@every_group
@pytest.mark.parametrize("comes", ["inside", "separately"])
def test_t3_the_tree_of_another_epoch(world: World, comes: str) -> None:
    """A tree that was valid, and that all but the hash in the GroupContext would believe."""
    old = encode_as(RatchetTreeNodes, world["person 0"].state.tree.export())
    group = won(world["person 0"].commit(now=NOW))
    if comes == "inside":
        state = group.state
        extensions = (Extension(ExtensionType.RATCHET_TREE, old),)
        unsigned = GroupInfo(state.context, extensions, state.confirmation_tag, state.own_leaf, b"")
        message, separate = encode_message(sign_group_info(group.suite, state.signer, unsigned)), None
    else:
        message, separate = group.group_info(ratchet_tree=False), old
    enter = lambda: verify_group_info(message, now=NOW, ratchet_tree=separate)  # noqa: E731  # one line, twice
    assert_refused("T3", enter, group)
    with off(tree_rules.t3_tree_hash):
        enter()


@every_group
@pytest.mark.parametrize("field", ["encryption_key", "parent_hash"])
def test_t4_a_parent_that_no_chain_covers(world: World, field: str) -> None:
    """Each parent that there is."""
    group = world["person 0"]
    value = {"encryption_key": world.suite.generate_hpke_key_pair().public, "parent_hash": b"forged"}[field]
    for index, parent in group.state.tree.parents():
        forged = with_node(group, index, replace(parent, **{field: value}))
        assert_refused("T4", lambda forged=forged: entered(shown(group, forged)), group)
    assert_tree_refused("T4", group, forged, parent_hashes.verify)


@every_group
def test_t4_a_leaf_that_breaks_its_chain(world: World) -> None:
    """The last member has committed: its leaf is signed again, with another parent hash."""
    group, last = world["person 0"], world.people[world.receiver]
    place = last.view.own_leaf
    forged = changed_leaf(
        last,
        group.state.leaf(place),
        lambda leaf: replace(leaf, source=CommitSource(b"forged")),
        group.group_id,
        place,
    )
    assert_tree_refused("T4", group, with_node(group, node_of(place), forged), parent_hashes.verify)


@groups_of(5, 9, 33, why="a parent that is blank")
def test_t4_a_parent_that_nobody_set(world: World) -> None:
    group = ragged(world)
    blank = [index for index in range(1, 2 * world.leaf(world.receiver), 2) if not group.state.tree.node(index)]  # type: ignore[arg-type]  # a place
    key = world.suite.generate_hpke_key_pair().public
    unmerged = tuple(leaf for leaf in leaf_range(NodeIndex(blank[0])) if leaf in {1, 2})
    forged = with_node(group, blank[0], ParentNode(key, b"", unmerged))
    assert_tree_refused("T4", group, forged, parent_hashes.verify)


@groups_of(5, 9, 33, why="two leaves that are removed, and two members who stay")
def test_t5_blanks_and_unmerged_leaves_hide_no_parent(world: World) -> None:
    """The check does not end early at a blank, or at leaves that came later."""
    group = ragged(world)
    assert entered(group.group_info()).members == group.members
    key = world.suite.generate_hpke_key_pair().public
    for index, parent in group.state.tree.parents():
        for forged in (replace(parent, encryption_key=key), replace(parent, parent_hash=b"forged")):
            nodes = with_node(group, index, forged)
            assert_refused("T4", lambda nodes=nodes: entered(shown(group, nodes)), group)
    assert_tree_refused("T4", group, nodes, parent_hashes.verify)


@groups_of(5, 9, 33, why="two leaves that are removed, and two members who stay")
@pytest.mark.parametrize("unmerged", [(2, 1), (1, 1, 2), (1, 2, 2)], ids=str)
def test_t6_unmerged_leaves_that_do_not_increase(world: World, unmerged: tuple[int, ...]) -> None:
    group = ragged(world)
    nodes = with_unmerged(group, group.state.tree.root, *unmerged)
    assert_tree_refused("T6", group, nodes, tree_rules.t6_unmerged_increase)


@groups_of(5, 9, 33, why="two leaves that are removed, and two members who stay")
def test_t7_an_unmerged_leaf_of_the_other_side(world: World) -> None:
    """The last member sees such a tree, and its path vouches for it: all parent hashes hold."""
    group, last = ragged(world), world.people[world.receiver]
    last_leaf, top = last.view.own_leaf, left(group.state.tree.root)
    nodes = with_unmerged(group, top, *parent_at(group, top).unmerged_leaves, last_leaf)
    tree = RatchetTree.of_nodes(group.suite, nodes)
    forged = won(forged_commit(changed_state(group, tree=tree, own_leaf=last_leaf, signer=last.signer), []))
    assert_tree_refused("T7", forged, forged.state.tree.export(), tree_rules.t7_unmerged_are_below)


@groups_of(5, 9, 33, why="two leaves that are removed, and two members who stay")
def test_t7_an_unmerged_leaf_that_is_blank(world: World) -> None:
    group = ragged(world)
    root, blank = group.state.tree.root, world.leaf(world.receiver) + 1
    assert group.member(LeafIndex(blank)) is None
    assert blank in leaf_range(root)
    assert_tree_refused("T7", group, with_unmerged(group, root, 1, 2, blank), tree_rules.t7_unmerged_are_below)


@groups_of(5, 9, 33, why="two leaves that are removed, and two members who stay")
def test_t7_an_unmerged_leaf_outside_the_tree(world: World) -> None:
    """Nothing could follow from such a leaf: it has no place."""
    group = ragged(world)
    for outside in (group.state.tree.leaf_count, 2**32 - 1):
        message = shown(group, with_unmerged(group, group.state.tree.root, 1, 2, outside))
        assert_refused("T7", lambda message=message: entered(message), group)


@groups_of(5, 9, 33, why="two leaves that are removed, and two members who stay")
def test_t8_an_unmerged_leaf_that_one_level_forgets(world: World) -> None:
    """With the rule off it still breaks the chain of parent hashes, which counts the leaves."""
    group = ragged(world)
    above = direct_path(node_of(LeafIndex(1)), group.state.tree.leaf_count)
    lowest = next(index for index in above if group.state.tree.node(index) is not None)
    assert lowest != group.state.tree.root
    assert_tree_refused("T8", group, with_unmerged(group, lowest, 2), tree_rules.t8_unmerged_on_the_way, then="T4")


def group_with_path_keys(world: World, change: Any) -> Group:
    """Person 0 commits a path whose public keys are changed, from the bottom up; parent hashes and leaf follow them."""
    original = treekem._node_key_pair
    made: list[HPKEKeyPair] = []

    def changed(suite: CipherSuite, path_secret: Secret) -> HPKEKeyPair:
        pair = original(suite, path_secret)
        made.append(HPKEKeyPair(pair.private, change(pair.public, made)))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(treekem, "_node_key_pair", changed)
        return won(forged_commit(world["person 0"], []))


@groups_of(5, 9, 33, why="a path of two parents")
def test_t9_two_parents_with_one_key(world: World) -> None:
    group = group_with_path_keys(world, lambda public, made: made[0].public if made else public)
    assert_tree_refused("T9", group, group.state.tree.export(), tree_rules.t9_parent_key_unique)


@every_group
def test_t9_a_parent_with_the_key_of_a_leaf(world: World) -> None:
    """For the leaf that is L13, which comes later."""
    taken = world["person 0"].state.leaf(world.leaf(world.receiver)).encryption_key
    group = group_with_path_keys(world, lambda public, made: public if made else taken)
    assert_tree_refused("T9", group, group.state.tree.export(), tree_rules.t9_parent_key_unique, then="L13")
    with off(tree_rules.t9_parent_key_unique, leaf_rules.l13_encryption_key_unique):
        entered(group.group_info())


@every_group
@pytest.mark.parametrize("key", ["low order", "short", "empty"])
def test_c8_a_parent_key_that_nobody_can_encrypt_to(world: World, key: str) -> None:
    def bad(public: bytes, made: list[HPKEKeyPair]) -> bytes:
        if made:
            return public
        return {"low order": public[:-32] + bytes(32), "short": public[:-1], "empty": b""}[key]

    group = group_with_path_keys(world, bad)
    assert_tree_refused("C8", group, group.state.tree.export(), tree_rules.c8_parent_keys)


@every_group
def test_t11_a_tree_that_was_not_truncated(world: World) -> None:
    """The last member goes, and with it the right half of the tree; but the committer's path leads over both."""
    with pytest.MonkeyPatch.context() as patch, off(ratchet_tree._truncate):
        patch.setattr(RatchetTree, "_is_blank", lambda *_: False)
        group = won(world["person 0"].commit(removes=[world.leaf(world.receiver)], now=NOW))
    assert group.state.tree.leaf_count == world["person 0"].state.tree.leaf_count
    assert_tree_refused("T11", group, group.state.tree.export(), tree_rules.t11_truncated)


@every_group
def test_t11_the_tree_is_truncated(world: World) -> None:
    """Down to two, by a commit that all follow."""
    removed = [leaf for leaf, _ in world["person 0"].state.tree.occupied() if leaf > 1]
    pending = world["person 0"].commit(removes=removed, now=NOW)
    assert won(pending).state.tree.leaf_count == 2
    assert_enters(world["person 1"], pending.message, won(pending))


@every_group
def test_t12_every_way_in_checks_the_tree(world: World) -> None:
    """By Welcome and by GroupInfo once each; what comes from the store must have the hash that was checked."""
    checked: list[RatchetTree] = []

    def counting(tree: RatchetTree, *rest: Any) -> Any:
        checked.append(tree)
        return tree_rules.check_tree(tree, *rest)

    pending = world.pending("person 0", adds=["newcomer"])
    newcomer, tree = world.people["newcomer"], won(pending).state.tree
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(group_info_module, "check_tree", counting)
        newcomer.accept(pending.welcome)
        assert checked == [tree]
        entered(won(pending).group_info())
        assert checked == [tree, tree]
    stored = rows(newcomer.view)
    assert load(stored, newcomer.signer).state.tree == tree
    for name in [name for name in stored if name.startswith("node/")][:3]:
        damaged = bytearray(stored[name])
        damaged[-1] ^= 1
        with pytest.raises(DecodeError):
            load(stored | {name: bytes(damaged)}, newcomer.signer)
