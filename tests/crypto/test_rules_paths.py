"""Rules U2 to U9 and C8: the path of a commit, a member's or that of a client which joins by itself.

Each path is wrong in one thing and the commit around it is right: signed, confirmed and encrypted over that path. What
every member of a group makes of such paths, at each node, is `test_treekem_refusals`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from crypto.kem import HPKEKeyPair
from crypto.mls import commit as commit_module
from crypto.mls import parent_hashes, treekem
from crypto.mls.group import Group
from crypto.mls.rules import commit as rules
from crypto.mls.rules import leaf as leaf_rules
from crypto.mls.tree_math import node_of
from crypto.mls.tree_nodes import LeafIndex, NodeIndex, UpdatePath, UpdatePathNode, verify_leaf_node
from crypto.secret import Secret
from tests.crypto.forge import (
    Change,
    assert_enters,
    assert_not_authentic,
    assert_refused,
    capabilities,
    changed_leaf,
    forged_commit,
    off,
    offered,
    values,
)
from tests.crypto.matrix import every_group, groups_of, open_groups
from tests.crypto.outside import OPEN, joining
from tests.crypto.world import NOW, World, won

in_both = pytest.mark.parametrize("way", ["member", "joiner"])


def committed(world: World, way: str) -> tuple[bytes, Group]:
    """A commit with a path, of person 0 or of a client that joins: its message, and where it leads."""
    if way == "member":
        pending = forged_commit(world["person 0"], [])
        return pending.message, won(pending)
    joined = joining(world, world.person("joiner"))
    return joined.message, joined.next_group


@contextmanager
def instead(name: str, function: Callable[..., Any]) -> Iterator[None]:
    """Whoever commits has another `generate_path` or `encrypt_path`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commit_module, name, function)
        patch.setattr(treekem, name, function)
        yield


@contextmanager
def path_sent(change: Callable[[UpdatePath], UpdatePath]) -> Iterator[None]:
    """Paths are changed after they were made and encrypted."""
    honest = treekem.encrypt_path
    with instead("encrypt_path", lambda *arguments: change(honest(*arguments))):
        yield


@contextmanager
def template(change: Change) -> Iterator[None]:
    """The new leaf is another than it should be, and signed like that."""
    honest = treekem.generate_path

    def generate_path(suite: Any, tree: Any, place: Any, contents: Any, *rest: Any) -> Any:
        return honest(suite, tree, place, change(contents), *rest)

    with instead("generate_path", generate_path):
        yield


@contextmanager
def node_keys(change: Callable[[int, HPKEKeyPair], HPKEKeyPair]) -> Iterator[None]:
    """The n-th node of the path, from the bottom up, has another key pair than follows from its secret."""
    honest, made = treekem._node_key_pair, []

    def node_key_pair(*arguments: Any) -> HPKEKeyPair:
        made.append(change(len(made), honest(*arguments)))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(treekem, "_node_key_pair", node_key_pair)
        yield


def with_key(public: bytes) -> Callable[[int, HPKEKeyPair], HPKEKeyPair]:
    """The lowest node has this key."""
    return lambda number, pair: pair if number else HPKEKeyPair(pair.private, public)


@open_groups(OPEN)
@in_both
def test_u2_one_node_too_few_or_too_many(world: World, way: str) -> None:
    """Whose key, and for whom? With the rule off there is no telling."""
    receiver = world[world.receiver]
    extra = UpdatePathNode(world.suite.generate_hpke_key_pair().public, ())
    changes: list[Callable[[UpdatePath], UpdatePath]] = [
        lambda path: replace(path, nodes=path.nodes[:-1]),
        lambda path: replace(path, nodes=path.nodes[1:]),
        lambda path: replace(path, nodes=(*path.nodes, extra)),
        lambda path: replace(path, nodes=()),
    ]
    for change in changes:
        with path_sent(change):
            message, _ = committed(world, way)
        assert_refused("U2", lambda message=message: receiver.receive(message, NOW), receiver)


@open_groups(OPEN)
@in_both
def test_u3_one_ciphertext_too_few_or_too_many(world: World, way: str) -> None:
    """At the lowest node, which need not be above the receiver: nobody lets it pass."""
    receiver = world[world.receiver]

    def at_the_lowest_node(change: Callable[[Any], Any]) -> Callable[[UpdatePath], UpdatePath]:
        def changed(path: UpdatePath) -> UpdatePath:
            lowest = path.nodes[0]
            sealed = change(lowest.encrypted_path_secret)
            return replace(path, nodes=(replace(lowest, encrypted_path_secret=sealed), *path.nodes[1:]))

        return changed

    for change in (lambda sealed: sealed[:-1], lambda sealed: (*sealed, sealed[0]), lambda _: ()):
        with path_sent(at_the_lowest_node(change)):
            message, _ = committed(world, way)
        assert_refused("U3", lambda message=message: receiver.receive(message, NOW), receiver)


@every_group
def test_u3_a_ciphertext_for_a_new_member(world: World) -> None:
    """It gets its secret in the Welcome."""
    honest = treekem.encrypt_path
    with instead("encrypt_path", lambda suite, path, context, _: honest(suite, path, context, frozenset())):
        pending = forged_commit(world["person 0"], values(world, offered(world, "newcomer")))
    receiver = world[world.receiver]
    assert_refused("U3", lambda: receiver.receive(pending.message, NOW), receiver)


@open_groups(OPEN)
@in_both
def test_u4_a_secret_encrypted_under_another_context(world: World, way: str) -> None:
    honest = treekem.encrypt_path
    with instead("encrypt_path", lambda suite, path, context, new: honest(suite, path, context + b"\0", new)):
        message, _ = committed(world, way)
    receiver = world[world.receiver]
    assert_not_authentic(lambda: receiver.receive(message, NOW), receiver)


@open_groups(OPEN)
@in_both
def test_u5_a_key_that_does_not_follow_from_the_secret(world: World, way: str) -> None:
    """The lowest node's. Person 1 is below that of person 0, and the last member below the joiner's."""
    with node_keys(with_key(world.suite.generate_hpke_key_pair().public)):
        message, _ = committed(world, way)
    judge = world["person 1" if way == "member" else world.receiver]
    assert_refused("U5", lambda: judge.receive(message, NOW), judge)


@groups_of(5, 9, 33, why="members above and below the break")
def test_u5_a_path_that_breaks_the_group_in_two(world: World) -> None:
    """§16.12: the root's secret does not follow from those below it.

    Who is given the root's secret itself cannot tell, and agrees with the committer; who comes from below refuses.
    """
    honest = treekem._next_path_secret
    root, steps = len(world["person 0"].state.tree.filtered_direct_path(LeafIndex(0))) - 1, []

    def next_path_secret(*arguments: Any) -> Secret:
        steps.append(honest(*arguments))
        return world.suite.generate_secret() if len(steps) == root else steps[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(treekem, "_next_path_secret", next_path_secret)
        message, leads_to = committed(world, "member")
    assert_enters(world[world.receiver], message, leads_to)
    below = world[world.bystander]
    assert_refused("U5", lambda: below.receive(message, NOW), below)


@open_groups(OPEN)
@in_both
def test_u6_a_stale_parent_hash(world: World, way: str) -> None:
    """Signed, and part of the tree that everybody hashes: it alone is not what the path makes it."""
    honest = parent_hashes.path_parents
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parent_hashes, "path_parents", lambda *arguments: (honest(*arguments)[0], b"stale"))
        message, leads_to = committed(world, way)
        assert_enters(world[world.receiver], message, leads_to)
    receiver = world[world.receiver]
    assert_refused("U6", lambda: receiver.receive(message, NOW), receiver)


@open_groups(OPEN)
@in_both
def test_u7_a_leaf_against_the_rules_for_leaves(world: World, way: str) -> None:
    """Section L, of which one rule stands here for all: the leaf lists the group's suite (rule L7)."""
    with template(capabilities(cipher_suites=())), off(leaf_rules.l7_version_and_suite):
        message, leads_to = committed(world, way)
    receiver = world[world.receiver]
    assert_refused("L7", lambda: receiver.receive(message, NOW), receiver)
    with off(leaf_rules.l7_version_and_suite):
        assert_enters(receiver, message, leads_to)


@open_groups(OPEN)
@in_both
def test_u7_a_leaf_signed_for_another_place(world: World, way: str) -> None:
    honest = treekem.generate_path
    signer = world.person("joiner" if way == "joiner" else "person 0")

    def generate_path(suite: Any, tree: Any, place: LeafIndex, *rest: Any) -> treekem.NewPath:
        made = honest(suite, tree, place, *rest)
        leaf = changed_leaf(signer, made.leaf, lambda same: same, world["person 0"].group_id, LeafIndex(place + 1))
        parents = {index: made.tree.node(index) for index in made.path_secrets}
        return replace(made, leaf=leaf, tree=tree.with_path(place, leaf, parents))

    with instead("generate_path", generate_path):
        message, leads_to = committed(world, way)
    receiver = world[world.receiver]
    assert_not_authentic(lambda: receiver.receive(message, NOW), receiver)
    with off(verify_leaf_node):
        assert_enters(receiver, message, leads_to)


@every_group
def test_u8_a_path_that_keeps_the_committers_key(world: World) -> None:
    """With the rule off it is a key that is in the tree already (U9)."""
    sender = world["person 0"]
    old = HPKEKeyPair(
        sender.state.private_keys[node_of(sender.own_leaf)], sender.state.leaf(sender.own_leaf).encryption_key
    )
    secret = world.suite.generate_secret()
    with instead("generate_path", lambda *arguments: treekem.derive_path(*arguments, old, secret)):
        message, _ = committed(world, "member")
    receiver = world[world.receiver]
    assert_refused("U8", lambda: receiver.receive(message, NOW), receiver)
    with off(rules.u8_committer_key_changes):
        assert_refused("U9", lambda: receiver.receive(message, NOW), receiver)


def keys_in_use(world: World) -> list[bytes]:
    """Of a leaf, of the root, and of a parent node that a path of person 0 leaves as it is, where there is one."""
    tree = world["person 0"].state.tree
    replaced = tree.filtered_direct_path(LeafIndex(0))
    others = (tree.node(NodeIndex(index)) for index in range(1, 2 * tree.leaf_count - 1, 2) if index not in replaced)
    nodes = [tree.leaf(LeafIndex(1)), tree.node(tree.root), *[node for node in others if node is not None][:1]]
    return [node.encryption_key for node in nodes if node is not None]


@open_groups(OPEN)
@in_both
def test_u9_a_key_that_is_in_use(world: World, way: str) -> None:
    """With the rule off it would not follow from its path secret either (U5), or its owner could not be told apart."""
    receiver = world[world.receiver]
    for used in keys_in_use(world):
        with node_keys(with_key(used)):
            as_a_node, _ = committed(world, way)
        leaf_keys, secret = HPKEKeyPair(Secret(bytes(32)), used), world.suite.generate_secret()
        with instead("generate_path", lambda *each, k=leaf_keys, s=secret: treekem.derive_path(*each, k, s)):
            as_the_leaf, _ = committed(world, way)
        for message in (as_a_node, as_the_leaf):
            assert_refused("U9", lambda message=message: receiver.receive(message, NOW), receiver)


@open_groups(OPEN)
@in_both
def test_u9_a_key_twice_in_the_path(world: World, way: str) -> None:
    """In the leaf and the lowest node; and in two nodes, of which a path in a group of two has but one."""
    receiver, secret, keys = world[world.receiver], world.suite.generate_secret(), world.suite.generate_hpke_key_pair()
    with (
        instead("generate_path", lambda *arguments: treekem.derive_path(*arguments, keys, secret)),
        node_keys(with_key(keys.public)),
    ):
        message, _ = committed(world, way)
    assert_refused("U9", lambda: receiver.receive(message, NOW), receiver)
    if len(world.members) > 2:
        with node_keys(lambda number, pair: HPKEKeyPair(pair.private, keys.public) if number < 2 else pair):
            message, _ = committed(world, way)
        assert_refused("U9", lambda: receiver.receive(message, NOW), receiver)


@open_groups(OPEN, 5, 9, 33)
@in_both
@pytest.mark.parametrize("key", ["low order", "short"])
def test_c8_a_path_key_that_nobody_can_encrypt_to(world: World, way: str, key: str) -> None:
    """The judge is not below the lowest node of the path, so that it could not notice by rule U5 (hence not in two)."""
    with node_keys(
        lambda number, pair: (
            pair
            if number
            else HPKEKeyPair(pair.private, pair.public[:-32] + bytes(32) if key == "low order" else pair.public[:-1])
        )
    ):
        message, leads_to = committed(world, way)
    judge = world[world.receiver if way == "member" else world.bystander]
    assert_refused("C8", lambda: judge.receive(message, NOW), judge)
    with off(rules.c8_path_keys):
        assert_enters(judge, message, leads_to)
