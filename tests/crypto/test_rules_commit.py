"""Section U of the rules: commits, and the way into the next epoch. Their paths are in `test_rules_paths`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from crypto.errors import PastEpoch, UsageError
from crypto.mls import commit as commit_module
from crypto.mls.config import GroupConfig
from crypto.mls.framing import CommitAuth, PublicMessage
from crypto.mls.group import ApplicationMessage, StagedCommit
from crypto.mls.headers import ProtocolVersion
from crypto.mls.key_schedule import verify_confirmation_tag
from crypto.mls.mls_message import decode_message, encode_message
from crypto.mls.proposals import CheckedProposal, GroupContextExtensions, ReInit, Remove
from crypto.mls.psk import ExternalPSK
from crypto.mls.rules import commit as rules
from crypto.mls.rules import message as message_rules
from crypto.mls.snapshot import load, rows
from crypto.mls.tree_nodes import LeafIndex
from crypto.secret import Secret
from tests.crypto.forge import (
    assert_not_authentic,
    assert_refused,
    by_reference,
    by_value,
    changed_state,
    follow,
    forged_commit,
    off,
    offered,
    present_psk,
    told,
    values,
)
from tests.crypto.matrix import every_group, groups_of, open_groups
from tests.crypto.outside import OPEN, joining, seen
from tests.crypto.world import NOW, World, won

ALL_PUBLIC = GroupConfig(
    send_public_handshakes=True,
    accept_public_handshakes=True,
    accept_external_commits=True,
    accept_external_proposals=True,
)

LAST_EPOCH = 2**64 - 1

in_both = pytest.mark.parametrize("way", ["member", "joiner"])


# U1: a path where one is needed


def assert_needs_a_path(world: World, proposals: list[CheckedProposal]) -> None:
    original = commit_module.apply_proposals

    def apply_without_path(*arguments: Any) -> Any:
        return replace(original(*arguments), path_required=False)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commit_module, "apply_proposals", apply_without_path)
        pending = forged_commit(world["person 0"], proposals, with_path=False)
    receiver = world[world.receiver]
    assert_refused("U1", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(rules.u1_path_present):
        staged = receiver.receive(pending.message, NOW)
    assert isinstance(staged, StagedCommit)
    assert receiver.adopt(staged).epoch_authenticator == won(pending).epoch_authenticator


@every_group
def test_u1_nothing_and_extensions_need_a_path(world: World) -> None:
    assert_needs_a_path(world, [])
    assert_needs_a_path(world, values(world, GroupContextExtensions(())))
    assert_needs_a_path(world, [by_reference(world, world.receiver, GroupContextExtensions(()))])
    assert_needs_a_path(world, values(world, offered(world, "newcomer"), GroupContextExtensions(())))


@groups_of(5, 9, 33, why="somebody else than committer and receiver is updated or removed")
def test_u1_an_update_and_a_remove_need_a_path(world: World) -> None:
    assert_needs_a_path(world, values(world, Remove(1)))
    assert_needs_a_path(world, values(world, offered(world, "newcomer"), Remove(1)))
    assert_needs_a_path(world, [by_reference(world, world.receiver, Remove(1))])
    assert_needs_a_path(world, [told(world, "person 1", world["person 1"].propose_update(now=NOW))])


@every_group
def test_u1_what_needs_none(world: World) -> None:
    reinit = ReInit(b"next", ProtocolVersion.MLS10, world.suite.id, ())
    for proposals in (
        values(world, offered(world, "newcomer")),
        values(world, present_psk(world["person 0"])),
        values(world, reinit),
    ):
        pending = forged_commit(world["person 0"], proposals, with_path=False)
        staged = world[world.receiver].receive(pending.message, NOW)
        assert isinstance(staged, StagedCommit)
        assert staged.updated == ()
        assert world[world.receiver].adopt(staged).epoch_authenticator == won(pending).epoch_authenticator


@every_group
def test_u1_we_send_a_path_where_one_is_needed(world: World) -> None:
    sender, receiver = world["person 0"], world[world.receiver]
    wishes: list[dict[str, Any]] = [{}, {"extensions": ()}, {"removes": [world.leaf(world.bystander)]}]
    for wish in wishes:
        staged = receiver.receive(sender.commit(**wish, with_path=False, now=NOW).message, NOW)
        assert isinstance(staged, StagedCommit)
        assert [member.leaf_index for member in staged.updated] == [0]


# U10: pre-shared keys


@open_groups(OPEN)
@in_both
def test_u10_an_unknown_psk(world: World, way: str) -> None:
    psk, key = ExternalPSK(b"paper"), Secret(b"paper" * 8)
    if way == "member":
        message = world["person 0"].commit(psks=[psk], now=NOW, find_psk=lambda _: key).message
    else:
        message = joining(world, world.person("joiner"), psks=[psk], find_psk=lambda _: key).message
    receiver = world[world.receiver]
    assert_refused("U10", lambda: receiver.receive(message, NOW), receiver)
    assert_not_authentic(lambda: receiver.receive(message, NOW, lambda _: Secret(b"another")), receiver)
    staged = receiver.receive(message, NOW, lambda _: key)
    assert isinstance(staged, StagedCommit)
    assert staged.psks == (psk,)


@every_group
def test_u10_we_commit_no_unknown_psk(world: World) -> None:
    sender, joiner = world["person 0"], world.person("joiner")
    unknown = ExternalPSK(b"unknown")
    assert_refused("U10", lambda: sender.commit(psks=[unknown], now=NOW), sender)
    assert_refused("U10", lambda: joining(world, joiner, psks=[unknown]), sender)


# U11 to U14: the next epoch


@open_groups(OPEN)
@in_both
@pytest.mark.parametrize("tag", [b"", b"1", bytes(31), bytes(32), bytes(33)], ids=lambda tag: f"{len(tag)} bytes")
def test_u11_u12_a_wrong_confirmation_tag(world: World, way: str, tag: bytes) -> None:
    """The last check of all: the whole next epoch is derived by then, and nothing of it is left behind."""

    def wrong(created: commit_module.CreatedCommit) -> commit_module.CreatedCommit:
        auth = replace(created.authenticated.auth, confirmation_tag=tag)
        return replace(created, authenticated=replace(created.authenticated, auth=auth))

    if way == "member":
        message = forged_commit(world["person 0"], [], change=wrong).message
    else:
        body = decode_message(joining(world, world.person("joiner")).message).body
        assert isinstance(body, PublicMessage)
        assert isinstance(body.auth, CommitAuth)
        message = encode_message(replace(body, auth=replace(body.auth, confirmation_tag=tag)))
    receiver = world[world.receiver]
    assert_not_authentic(lambda: receiver.receive(message, NOW), receiver)
    with off(verify_confirmation_tag):
        receiver.receive(message, NOW)


@open_groups(OPEN)
def test_u13_the_last_epoch(world: World) -> None:
    """Nothing follows epoch 2^64 - 1: not by our commit, nor by one that we receive, nor by a joiner's.

    Such a commit cannot be accepted with the rule off, for the number that it leads to has no encoding; so the two
    that are received are of another epoch, which is let pass.
    """
    sender, receiver = (
        changed_state(world[name], context=replace(world[name].state.context, epoch=LAST_EPOCH))
        for name in ("person 0", world.receiver)
    )
    assert_refused("U13", lambda: sender.commit(now=NOW), sender)
    last_but_one = changed_state(sender, context=replace(sender.state.context, epoch=LAST_EPOCH - 1))
    assert won(last_but_one.commit(now=NOW)).epoch == LAST_EPOCH
    joiner = world.person("joiner")
    verified = seen(world["person 0"])
    context = replace(verified.group_info.group_context, epoch=LAST_EPOCH)
    last = replace(verified, group_info=replace(verified.group_info, group_context=context))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.crypto.outside.seen", lambda _: last)
        assert_refused("U13", lambda: joining(world, joiner), sender)
    for message in (world["person 0"].commit(now=NOW).message, joining(world, joiner).message):
        with off(message_rules.f2_f3_current_epoch):
            assert_refused("U13", lambda message=message: receiver.receive(message, NOW), receiver)


@open_groups(OPEN)
@in_both
def test_u13_an_epoch_is_one_more_than_the_last_and_another(world: World, way: str) -> None:
    before = world[world.receiver]
    made = forged_commit(world["person 0"], []) if way == "member" else joining(world, world.person("joiner"))
    staged = before.receive(made.message, NOW)
    assert isinstance(staged, StagedCommit)
    after = before.adopt(staged)
    assert after.epoch == before.epoch + 1
    assert after.epoch_authenticator != before.epoch_authenticator


@every_group
def test_u13_the_keys_of_an_epoch_open_nothing_of_the_next(world: World) -> None:
    """Neither all that a member knew before, nor its message keys alone in place of the new ones."""
    before = world[world.receiver]
    follow(world, "person 0", world["person 0"].commit(now=NOW))
    after = world[world.receiver]
    _, said = world["person 0"].protect(b"new")
    all_old = changed_state(before, context=after.state.context, encoded_context=after.state.encoded_context)
    old_tree = changed_state(after, secret_tree=before.state.secret_tree)
    for someone in (all_old, old_tree):
        assert_not_authentic(lambda someone=someone: someone.receive(said, NOW), someone)
    assert isinstance(after.receive(said, NOW), ApplicationMessage)


@every_group
def test_u14_a_commit_that_removes_us_leads_nowhere(world: World) -> None:
    """By value and by reference; whoever it removes can neither enter the next epoch nor read what is said there."""
    gone = world[world.receiver]
    by_name = by_reference(world, "person 0", Remove(gone.own_leaf))
    for proposals in (values(world, Remove(gone.own_leaf)), [by_name]):
        pending = forged_commit(world["person 0"], proposals)
        staged = world[world.receiver].receive(pending.message, NOW)
        assert isinstance(staged, StagedCommit)
        assert staged.removes_us
        with pytest.raises(UsageError):
            world[world.receiver].adopt(staged)
        _, said = won(pending).protect(b"among us")
        with_old_keys = changed_state(gone, context=won(pending).state.context)
        assert_not_authentic(lambda said=said, group=with_old_keys: group.receive(said, NOW), with_old_keys)


# U15: a group at its end


def end(world: World) -> None:
    """The group is reinitialised."""
    reinit = ReInit(b"the group that follows", ProtocolVersion.MLS10, world.suite.id, ())
    follow(world, "person 0", forged_commit(world["person 0"], [by_value(world["person 0"], reinit)]))


@every_group
def test_u15_we_say_nothing_in_a_group_at_its_end(world: World) -> None:
    end(world)
    someone = world.people["person 0"]
    group = load(rows(someone.view), someone.signer, someone.config)
    offer = world.person("newcomer").offer()
    for action in (
        lambda: group.protect(b"too late"),
        lambda: group.commit(now=NOW),
        lambda: group.commit([offer], now=NOW),
        lambda: group.propose_remove(LeafIndex(1), now=NOW),
        lambda: group.propose_update(now=NOW),
        group.group_info,
    ):
        assert_refused("U15", action, group)
        with off(rules.u15_group_goes_on):
            action()


@open_groups(ALL_PUBLIC)
def test_u15_nor_do_we_hear_anything(world: World) -> None:
    """In private messages, in public ones, and from a client that joins."""
    end(world)
    public = world["person 0"]
    private = changed_state(public, config=replace(ALL_PUBLIC, send_public_handshakes=False))
    with off(rules.u15_group_goes_on):
        messages = [public.protect(b"too late")[1], joining(world, world.person("joiner")).message]
        for sender in (public, private):
            messages += [sender.commit(now=NOW).message, sender.propose_update(now=NOW)[1]]
    receiver = world[world.receiver]
    for message in messages:
        assert_refused("U15", lambda message=message: receiver.receive(message, NOW), receiver)
        with off(rules.u15_group_goes_on):
            receiver.receive(message, NOW)


# U16: of two commits one wins


@open_groups(OPEN)
@in_both
def test_u16_a_pending_commit_is_dropped_when_another_wins(world: World, way: str) -> None:
    """Making it changed nothing, so its maker follows the winner; nobody follows the loser any more."""
    before = rows(world["person 0"])
    lost = world["person 0"].commit([world.person("newcomer").offer()], now=NOW)
    assert rows(world["person 0"]) == before
    if way == "member":
        follow(world, world.receiver, world[world.receiver].commit(now=NOW))
    else:
        winner = joining(world, world.person("joiner"))
        for name in ("person 0", world.receiver):
            staged = world[name].receive(winner.message, NOW)
            assert isinstance(staged, StagedCommit)
            world.people[name].group = world[name].adopt(staged)
    assert world["person 0"].epoch_authenticator == world[world.receiver].epoch_authenticator
    assert won(lost).epoch_authenticator != world["person 0"].epoch_authenticator
    with pytest.raises(PastEpoch):
        world[world.receiver].receive(lost.message, NOW)


@every_group
def test_u16_our_own_commit_is_adopted_and_never_received(world: World) -> None:
    pending = world["person 0"].commit(now=NOW)
    for ours in (world["person 0"], pending.group):
        assert_refused("F19", lambda ours=ours: ours.receive(pending.message, NOW), ours)
