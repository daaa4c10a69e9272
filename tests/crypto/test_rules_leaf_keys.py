"""Rules L12, L13, L14 and L20: the keys of a leaf, which nobody else has, which change, and which can be used."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crypto import kem
from crypto.errors import DecodeError
from crypto.mls.group import Group, ReceivedProposal, verify_group_info, verify_key_package
from crypto.mls.mls_message import encode_message
from crypto.mls.proposals import Add, Update
from crypto.mls.rules import leaf as rules
from crypto.mls.tree_nodes import LeafNode
from crypto.suites import X_WING, CipherSuite
from tests.crypto.forge import (
    assert_enters,
    assert_refused,
    by_value,
    changed_update,
    forged_commit,
    forged_proposal,
    off,
    offered_with,
    path_leaf,
    taken_in,
    values,
)
from tests.crypto.matrix import every_group, groups_of, open_groups, without_group
from tests.crypto.outside import OPEN, joining
from tests.crypto.world import NOW, World, every_suite, won


def leaf_of(world: World, name: str) -> LeafNode:
    return world["person 0"].state.leaf(world.leaf(name))


@groups_of(5, 9, 33, why="one updates, one commits, a third judges, and a fourth has the key")
def test_l12_an_update_takes_no_signature_key_of_another_member(world: World) -> None:
    """As two devices of one person might share it. The leaf is signed by the shared key, the message by its sender."""
    thief, victim = world.people["person 1"], world.people["person 2"]
    own_signer, thief.signer = thief.signer, victim.signer
    leaf = changed_update(world, thief.name, lambda leaf: replace(leaf, signature_key=victim.signer.public))
    thief.signer = own_signer
    message = forged_proposal(thief.view, Update(leaf))
    sender, receiver = taken_in(world["person 0"], message), taken_in(world[world.receiver], message)
    with off(rules.l12_signature_key_unique):
        pending = sender.commit(now=NOW)
    assert_refused("L12", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(rules.l12_signature_key_unique):
        assert_enters(receiver, pending.message, won(pending))
    committed = sender.commit(now=NOW)
    assert won(committed).state.leaf(world.leaf(thief.name)) != leaf, "we leave it out"


@every_group
def test_l12_in_a_path_and_in_a_tree_that_we_enter(world: World) -> None:
    newcomer, receiver, victim = world.person("newcomer"), world[world.receiver], world.people[world.bystander]
    add = by_value(world["person 0"], Add(newcomer.offer().key_package))
    with path_leaf(lambda leaf: replace(leaf, signature_key=victim.signer.public), victim.signer):
        pending = forged_commit(world["person 0"], [add])
        # The GroupInfo is signed by the one key that now has two members.
        group = Group(replace(won(pending).state, signer=victim.signer))
        group_info = group.group_info()
    assert_refused("L12", lambda: receiver.receive(pending.message, NOW), receiver)
    assert_refused("L12", lambda: verify_group_info(group_info, now=NOW))
    with off(rules.l12_signature_key_unique):
        assert_enters(receiver, pending.message, won(pending))
        verify_group_info(group_info, now=NOW)


@open_groups(OPEN)
def test_l12_in_the_path_of_an_external_commit(world: World) -> None:
    """Somebody who has a member's signature key joins beside it. The joiner hears of it, too."""
    receiver, twin = world[world.receiver], world.person("twin")
    twin.signer = world.people[world.bystander].signer
    assert_refused("L12", lambda: joining(world, twin), world["person 0"])
    with off(rules.l12_signature_key_unique):
        pending = joining(world, twin)
    assert_refused("L12", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(rules.l12_signature_key_unique):
        assert_enters(receiver, pending.message, pending.next_group)


def taken_keys(world: World) -> dict[str, bytes]:
    """Encryption keys that stand in the tree: of the leaf of a member who stays, of one who commits, of the root."""
    tree = world["person 0"].state.tree
    root = tree.node(tree.root)
    assert root is not None
    return {
        "member": leaf_of(world, world.bystander).encryption_key,
        "committer": leaf_of(world, "person 0").encryption_key,
        "root": root.encryption_key,
    }


@every_group
@pytest.mark.parametrize("whose", ["member", "committer", "root"])
def test_l13_an_added_leaf_takes_no_key_of_the_tree(world: World, whose: str) -> None:
    """By value, by reference, and as we would commit it. Without a path: the old keys stay where they are."""
    taken = taken_keys(world)[whose]
    sender, receiver, newcomer = world["person 0"], world[world.receiver], world.person("newcomer")
    add = offered_with(newcomer, leaf=lambda leaf: replace(leaf, encryption_key=taken))
    verified = verify_key_package(encode_message(add.key_package), NOW)
    assert_refused("L13", lambda: sender.commit([verified], now=NOW, with_path=False), sender)
    with off(rules.l13_encryption_key_unique):
        pending = forged_commit(sender, values(world, add), with_path=False)
    proposing, proposed = sender.propose_add(verified, now=NOW)
    with off(rules.l13_encryption_key_unique):
        by_reference = proposing.commit(now=NOW, with_path=False)
    seen = taken_in(receiver, proposed)
    assert_refused("L13", lambda: receiver.receive(pending.message, NOW), receiver)
    assert_refused("L13", lambda: seen.receive(by_reference.message, NOW), seen)
    with off(rules.l13_encryption_key_unique):
        assert_enters(receiver, pending.message, won(pending))
        assert_enters(seen, by_reference.message, won(by_reference))
    assert proposing.commit(now=NOW).welcome is None, "we leave it out"


@every_group
def test_l13_t10_in_a_tree_that_we_enter(world: World) -> None:
    """Two leaves with one key: that of the newcomer, and of somebody who was there before."""
    newcomer, taken = world.person("newcomer"), taken_keys(world)["member"]
    add = offered_with(newcomer, leaf=lambda leaf: replace(leaf, encryption_key=taken))
    with off(rules.l13_encryption_key_unique):
        pending = forged_commit(world["person 0"], values(world, add))
    group_info = won(pending).group_info()
    assert_refused("L13", lambda: newcomer.accept(pending.welcome))
    assert_refused("L13", lambda: verify_group_info(group_info, now=NOW))
    with off(rules.l13_encryption_key_unique):
        newcomer.accept(pending.welcome)
        verify_group_info(group_info, now=NOW)


@every_group
def test_l13_two_added_leaves_have_two_encryption_keys(world: World) -> None:
    one, two, receiver = world.person("one"), world.person("two"), world[world.receiver]
    first = offered_with(one)
    shared = first.key_package.leaf_node.encryption_key
    second = offered_with(two, leaf=lambda leaf: replace(leaf, encryption_key=shared))
    with off(rules.l13_encryption_key_unique):
        pending = forged_commit(world["person 0"], values(world, first, second))
    assert_refused("L13", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(rules.l13_encryption_key_unique):
        assert_enters(receiver, pending.message, won(pending))


@groups_of(5, 9, 33, why="one updates, one commits, a third judges, and a fourth has the key")
@pytest.mark.parametrize("whose", ["member", "committer", "another's update"])
def test_l13_an_update_takes_no_key_of_the_tree(world: World, whose: str) -> None:
    """The root's key is not among them: an Update blanks the way up to it, so nobody has that key any more."""
    sender, receiver = world["person 0"], world[world.receiver]
    if whose == "another's update":
        other = changed_update(world, "person 2", lambda leaf: leaf)
        taken = other.encryption_key
        message = forged_proposal(world["person 2"], Update(other))
        sender, receiver = taken_in(sender, message), taken_in(receiver, message)
    else:
        taken = leaf_of(world, {"member": "person 2", "committer": "person 0"}[whose]).encryption_key
    leaf = changed_update(world, "person 1", lambda leaf: replace(leaf, encryption_key=taken))
    message = forged_proposal(world["person 1"], Update(leaf))
    sender, receiver = taken_in(sender, message), taken_in(receiver, message)
    with off(rules.l13_encryption_key_unique):
        pending = sender.commit(now=NOW)
    assert_refused("L13", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(rules.l13_encryption_key_unique):
        assert_enters(receiver, pending.message, won(pending))
    assert won(sender.commit(now=NOW)).state.leaf(world.leaf("person 1")) != leaf, "we leave it out"


@open_groups(OPEN)
@pytest.mark.parametrize("whose", ["member", "committer", "root"])
def test_l13_u9_a_path_takes_no_key_of_the_tree(world: World, whose: str) -> None:
    """For the leaves of paths the rule is U9, which looks at all keys of the path: see its tests for the rest."""
    receiver, taken = world[world.receiver], taken_keys(world)[whose]
    with path_leaf(lambda leaf: replace(leaf, encryption_key=taken)):
        outside = joining(world, world.person("joiner"))
        inside = forged_commit(world["person 0"], [])
    if whose != "committer":  # inside, that would be U8
        assert_refused("U9", lambda: receiver.receive(inside.message, NOW), receiver)
    assert_refused("U9", lambda: receiver.receive(outside.message, NOW), receiver)


@every_group
def test_l14_an_update_brings_a_new_encryption_key(world: World) -> None:
    updater, receiver = world[world.receiver], world["person 0"]
    old = leaf_of(world, world.receiver).encryption_key
    leaf = changed_update(world, world.receiver, lambda leaf: replace(leaf, encryption_key=old))
    message = forged_proposal(updater, Update(leaf))
    assert_refused("L14", lambda: receiver.receive(message, NOW), receiver)
    with off(rules.l14_new_encryption_key):
        assert isinstance(receiver.receive(message, NOW), ReceivedProposal)


LOW_ORDER = sorted(kem._LOW_ORDER_25519)


@without_group("a public key alone")
@pytest.mark.parametrize("point", LOW_ORDER, ids=lambda point: point.hex()[:8])
@pytest.mark.parametrize("top_bit", [0, 0x80])
@every_suite
def test_l20_low_order_points(belongs: CipherSuite, point: bytes, top_bit: int) -> None:
    """Nobody can encrypt to them: the primitive refuses every one."""
    start = belongs.generate_hpke_key_pair().public[:-32]
    key = start + point[:-1] + bytes([point[-1] | top_bit])
    with pytest.raises(DecodeError):
        belongs.encrypt_with_label(key, "Test", b"", b"")
    assert_refused("L20", lambda: rules.l20_public_key(belongs, key))


@every_group
@pytest.mark.parametrize("breach", ["short", "long", "empty", "modulus", "low order"])
def test_l20_bad_init_keys(world: World, breach: str) -> None:
    """Encryption keys are in `test_rules_leaf_places`. All members judge an init key, though one encrypts to it."""
    good = world.suite.generate_hpke_key_pair().public
    bad = {
        "short": good[:-1],
        "long": good + b"\0",
        "empty": b"",
        "modulus": b"\xff" * 3 + good[3:] if world.suite is X_WING else b"",  # any 32 bytes are an X25519 key
        "low order": good[:-32] + bytes(32),
    }[breach]
    add = offered_with(world.person("newcomer"), package=lambda package: replace(package, init_key=bad))
    message, receiver = forged_proposal(world["person 0"], add), world[world.receiver]
    assert_refused("L20", lambda: verify_key_package(encode_message(add.key_package), NOW))
    assert_refused("L20", lambda: receiver.receive(message, NOW), receiver)
    with off(rules.l20_public_key):
        verify_key_package(encode_message(add.key_package), NOW)
        assert isinstance(receiver.receive(message, NOW), ReceivedProposal)


@every_group
def test_l20_a_key_that_fails_the_modulus_check(world: World) -> None:
    """Of ML-KEM keys: those of the hybrid suite. In the other suite such a length is not a key at all."""
    breach = lambda leaf: replace(leaf, encryption_key=b"\xff" * 3 + leaf.encryption_key[3:])  # noqa: E731  # one line
    if world.suite is not X_WING:
        breach = lambda leaf: replace(leaf, encryption_key=b"\xff" * 1216)  # noqa: E731  # one line
    with path_leaf(breach):
        pending = forged_commit(world["person 0"], [])
    receiver = world[world.receiver]
    assert_refused("L20", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(rules.l20_public_key):
        assert_enters(receiver, pending.message, won(pending))
