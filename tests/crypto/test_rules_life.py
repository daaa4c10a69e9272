"""Section D of the rules: the life of a group. What needs a disk or a server stands in the tests of `client_lib`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from crypto.errors import DecodeError
from crypto.mls import commit as commit_module
from crypto.mls.group import ApplicationMessage, PendingCommit, ReceivedProposal, StagedCommit
from crypto.mls.mls_message import encode_message
from crypto.mls.psk import ExternalPSK
from crypto.mls.rules import message as message_rules
from crypto.mls.snapshot import load, rows
from crypto.mls.tree_nodes import UpdatePath
from crypto.mls.treekem import NewPath, encrypt_path
from crypto.secret import Secret
from crypto.suites import CipherSuite
from tests.crypto.forge import assert_not_authentic, assert_refused, off
from tests.crypto.forge_messages import opened, said
from tests.crypto.matrix import every_group
from tests.crypto.world import NOW, World, won

# D1: what was proposed comes first


@every_group
@pytest.mark.parametrize("whose", ["ours", "another's"])
def test_d1_what_was_proposed_is_committed_before_more_is_said(world: World, whose: str) -> None:
    """A member that is proposed to be removed must read no more: its Remove takes effect first (§12.4)."""
    proposer = "person 0" if whose == "ours" else world.receiver
    world.deliver_proposal(proposer, world[proposer].propose_update(now=NOW))
    sender = world["person 0"]
    assert_refused("D1", lambda: sender.protect(b"too early"), sender)
    with off(message_rules.d1_nothing_pending):
        early = world[world.receiver].receive(sender.protect(b"too early")[1], NOW)
    assert isinstance(early, ApplicationMessage)  # only its sender can keep the rule
    world.commit(world.receiver if whose == "ours" else "person 0")
    world.say("person 0", b"in time")


# D2: what is pending is not yet so

MADE: dict[str, Callable[[World], PendingCommit]] = {
    "fresh keys": lambda world: world["person 0"].commit(now=NOW),
    "an addition": lambda world: world["person 0"].commit([world.person("newcomer").offer()], now=NOW),
    "an addition without a path": lambda world: world["person 0"].commit(
        [world.person("newcomer").offer()], with_path=False, now=NOW
    ),
    "a removal": lambda world: world["person 0"].commit(removes=[world.leaf(world.receiver)], now=NOW),
    "a PSK": lambda world: world["person 0"].commit(
        psks=[ExternalPSK(b"paper")], now=NOW, find_psk=lambda _: Secret(b"paper")
    ),
    "extensions": lambda world: world["person 0"].commit(extensions=(), now=NOW),
}


@every_group
@pytest.mark.parametrize("what", MADE)
def test_d2_a_commit_that_is_made_and_discarded_leaves_no_trace(world: World, what: str) -> None:
    group = world["person 0"]
    before = rows(group)
    discarded = MADE[what](world)
    assert rows(group) == before
    assert rows(won(discarded)) != before
    assert won(discarded).epoch == group.epoch + 1
    world.commit(world.receiver)  # another one wins: person 0 goes on from the state that it had
    world.say("person 0", b"nothing has happened")


@every_group
def test_d2_a_second_attempt_uses_another_key(world: World) -> None:
    """What is kept of a discarded commit is that the key of its message was used."""
    first = world["person 0"].commit(now=NOW)
    second = first.group.commit(now=NOW)
    receiver = world[world.receiver]
    assert [opened(receiver, pending.message).generation for pending in (first, second)] == [0, 1]


# D5, D6: broken and divided groups


def fragmenting(suite: CipherSuite, new_path: NewPath, *rest: Any) -> UpdatePath:
    """A path whose root gets another secret than its lower nodes lead to: half of the group would know other keys."""
    *_, root = new_path.path_secrets
    unrelated = {**new_path.path_secrets, root: suite.generate_secret()}
    return encrypt_path(suite, replace(new_path, path_secrets=unrelated), *rest)


@every_group
def test_d5_who_cannot_follow_a_commit_says_so_stays_as_it_was_and_is_added_again(world: World) -> None:
    """A member gives one half of the group other secrets than the other half (§16.12)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commit_module, "encrypt_path", fragmenting)
        pending = world["person 0"].commit(now=NOW)
    world.people["person 0"].group = won(pending)
    half = won(pending).state.tree.leaf_count // 2
    stuck = {someone.name: someone.view.own_leaf for someone in world.members if someone.view.own_leaf >= half}
    assert world.receiver in stuck
    for someone in world.members[1:]:
        group = someone.view
        if someone.name in stuck:
            assert_refused("U5", lambda group=group: group.receive(pending.message, NOW), group)
            someone.group = None
        else:
            staged = group.receive(pending.message, NOW)
            assert isinstance(staged, StagedCommit)
            someone.group = group.adopt(staged)
    assert {someone.view.epoch_authenticator for someone in world.members} == {won(pending).epoch_authenticator}
    offers = [world.people[name].offer() for name in stuck]
    world.win("person 0", world["person 0"].commit(offers, list(stuck.values()), now=NOW))
    world.say(next(iter(stuck)), b"back again")


@every_group
def test_d6_a_divided_group_is_seen_by_its_epoch_authenticators(world: World) -> None:
    """A server that lets two commits win. Whoever compares sees it; what the one half says the other cannot read."""
    ours, theirs = won(world["person 0"].commit(now=NOW)), won(world[world.receiver].commit(now=NOW))
    assert ours.epoch == theirs.epoch
    assert ours.epoch_authenticator != theirs.epoch_authenticator
    assert_not_authentic(lambda: theirs.receive(encode_message(said(ours)), NOW), theirs)
    assert_not_authentic(lambda: ours.receive(encode_message(said(theirs)), NOW), ours)


# D7: what is stored


@every_group
@pytest.mark.parametrize("name", ["group", "node/0", "secret/", "key/"])
@pytest.mark.parametrize("version", [0, 2, 255])
def test_d7_a_row_of_another_version_is_refused(world: World, name: str, version: int) -> None:
    group = world[world.receiver]
    stored = rows(group)
    name = next(each for each in stored if each.startswith(name))
    assert rows(load(stored, group.state.signer)) == stored
    with pytest.raises(DecodeError):
        load(stored | {name: bytes([version]) + stored[name][1:]}, group.state.signer)


@every_group
def test_d7_rows_of_two_times_are_refused(world: World) -> None:
    """A store that has gone back in part. One that has gone back as a whole is for the client to notice."""
    signer = world.people["person 0"].signer
    older = rows(world["person 0"])
    world.commit("person 0")
    newer = rows(world["person 0"])
    assert newer["group"] != older["group"]
    for mixed in (newer | {"group": older["group"]}, older | {"group": newer["group"]}):
        with pytest.raises(DecodeError):
            load(mixed, signer)


# D8: clocks


@every_group
@pytest.mark.parametrize("skew", [-86_400, 86_400], ids=["a day behind", "a day ahead"])
def test_d8_a_wrong_clock_decides_nothing_but_lifetimes(world: World, skew: int) -> None:
    sender, receiver, wrong = world["person 0"], world[world.receiver], NOW + skew
    assert isinstance(receiver.receive(encode_message(said(sender)), wrong), ApplicationMessage)
    assert isinstance(receiver.receive(sender.propose_update(now=wrong)[1], wrong), ReceivedProposal)
    newcomer = world.person("newcomer").offer()
    pending = sender.commit([newcomer], now=NOW)
    staged: Any = receiver.receive(pending.message, wrong)
    assert receiver.adopt(staged).epoch_authenticator == won(pending).epoch_authenticator
    assert won(sender.commit(now=wrong)).epoch == sender.epoch + 1
    if skew < 0:
        assert_refused("L9", lambda: sender.commit([newcomer], now=wrong), sender)
