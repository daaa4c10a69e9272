"""Late messages of former epochs (RFC 9420 §15.3): within the window, once, and under that epoch's members."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from crypto.errors import DecodeError, GenerationUsed, PastEpoch, UsageError
from crypto.mls.config import GroupConfig
from crypto.mls.extensions import Extension
from crypto.mls.framing import ApplicationContent, ProposalContent
from crypto.mls.group import ApplicationMessage, Group, StagedCommit, external_join, verify_group_info
from crypto.mls.mls_message import encode_message
from crypto.mls.proposals import GroupContextExtensions
from crypto.mls.protection import verify_framed_content
from crypto.mls.roster import Member
from crypto.mls.rules import message as message_rules
from crypto.mls.snapshot import difference, load, rows
from crypto.mls.tree_nodes import LeafIndex
from crypto.suites import suite_of
from tests.crypto.forge import (
    assert_not_authentic,
    assert_refused,
    assert_refused_with,
    changed_state,
    forged_message,
    off,
)
from tests.crypto.forge_messages import HELLO, said
from tests.crypto.matrix import every_group, groups_of, open_groups, without_group
from tests.crypto.world import NOW, World, won, world_of

WINDOW = GroupConfig(former_epochs_max=2, accept_external_commits=True)
BOUNDS = {bound: GroupConfig(former_epochs_max=bound) for bound in (1, 5)}
"""Larger and smaller windows, each a constant so that its groups are made once."""


def late(group: Group, message: bytes) -> ApplicationMessage:
    received = group.receive(message, NOW)
    assert isinstance(received, ApplicationMessage)
    return received


@open_groups(WINDOW)
def test_f3_r1_late_messages_open_once_within_the_window(world: World) -> None:
    early = []
    for number in range(3):
        early.append((world["person 0"].epoch, world["person 0"].protect(b"%d" % number)[1]))
        world.commit(world.receiver)
    group = world[world.receiver]
    assert_refused_with(PastEpoch, lambda: group.receive(early[0][1], NOW), group)
    for number in (2, 1):
        epoch, message = early[number]
        received = late(group, message)
        assert (received.data, received.epoch, received.generation) == (b"%d" % number, epoch, 0)
        assert received.sender == group.member(world.leaf("person 0"))
        assert received.sender_is_current
        group = received.group
        for again in (group, load(rows(group), group.state.signer, WINDOW)):
            assert_refused_with(GenerationUsed, lambda again=again: again.receive(message, NOW), again)  # noqa: B023  # called at once
    assert late(group, world["person 0"].protect(b"now")[1]).sender_is_current


@open_groups(WINDOW)
def test_r1_what_was_opened_while_a_commit_was_pending_stays_opened(world: World) -> None:
    """The state that a commit leads to was made before; what it knows of message keys is caught up with."""
    pending = world["person 0"].commit(now=NOW)
    other = encode_message(said(world[world.receiver]))
    _, message = world[world.receiver].protect(b"meanwhile")
    present = late(pending.group, message).group
    after = present.adopt(pending.next_epoch)
    assert_refused_with(GenerationUsed, lambda: after.receive(message, NOW), after)
    assert late(pending.group.adopt(pending.next_epoch), other).data == HELLO.application_data


@open_groups(WINDOW)
def test_r1_what_was_opened_between_staging_and_adopting_stays_opened(world: World) -> None:
    pending = world[world.receiver].commit(now=NOW)
    _, message = world[world.receiver].protect(b"before the commit, and late")
    group = world["person 0"]
    staged = group.receive(pending.message, NOW)
    assert isinstance(staged, StagedCommit)
    after = late(group, message).group.adopt(staged)
    assert_refused_with(GenerationUsed, lambda: after.receive(message, NOW), after)


@every_group
def test_r1_nothing_but_adopt_leads_from_a_commit_to_its_epoch(world: World) -> None:
    """The state that a commit leads to would open again what has been opened since: so no commit hands it out."""
    pending = world["person 0"].commit(now=NOW)
    staged = world[world.receiver].receive(pending.message, NOW)
    for commit in (pending, staged):
        values = [getattr(commit, name) for name in dir(commit) if not name.startswith("_")]
        results = [value() if callable(value) else value for value in values]
        assert {value.epoch for value in results if isinstance(value, Group)} <= {world["person 0"].epoch}


@open_groups(WINDOW)
def test_d3_what_was_forgotten_while_a_commit_was_pending_stays_forgotten(world: World) -> None:
    message = encode_message(said(world[world.receiver]))
    world.commit("person 0")
    pending = world["person 0"].commit(now=NOW)
    after = pending.group.forget_former_epochs().adopt(pending.next_epoch)
    assert_refused_with(PastEpoch, lambda: after.receive(message, NOW), after)


@every_group
def test_u13_only_the_next_epoch_of_the_same_group_is_adopted(world: World) -> None:
    pending = world["person 0"].commit(now=NOW)
    beyond = won(pending).commit(now=NOW)
    elsewhere = World(world.suite)
    elsewhere.found("person 0")
    elsewhere_too = elsewhere["person 0"].commit(now=NOW)
    theirs = world[world.receiver].commit(now=NOW)
    for wrong in (beyond, elsewhere_too, theirs):
        with pytest.raises(UsageError):
            world["person 0"].adopt(wrong.next_epoch)
    with pytest.raises(UsageError):
        won(pending).adopt(pending.next_epoch)


@every_group
def test_u13_only_a_commit_of_the_same_fork_is_adopted(world: World) -> None:
    """Two commits of one epoch lead to two epochs of one number, at the same leaf."""
    ours, theirs = world["person 0"].commit(now=NOW), world[world.receiver].commit(now=NOW)
    staged = world["person 0"].receive(theirs.message, NOW)
    assert isinstance(staged, StagedCommit)
    one, other = won(ours), world["person 0"].adopt(staged)
    pending = one.commit(now=NOW)
    in_other = other.receive(won(theirs).commit(now=NOW).message, NOW)
    assert isinstance(in_other, StagedCommit)
    assert in_other.next_epoch is not None
    for group, wrong in ((other, pending.next_epoch), (one, in_other), (one, in_other.next_epoch)):
        with pytest.raises(UsageError):
            group.adopt(wrong)
    assert one.adopt(pending.next_epoch).epoch == other.adopt(in_other).epoch == world["person 0"].epoch + 2


@every_group
def test_f3_no_former_epoch_is_kept_by_default(world: World) -> None:
    message = encode_message(said(world["person 0"]))
    world.commit(world.receiver)
    group = world[world.receiver]
    assert group.state.former == ()
    assert_refused_with(PastEpoch, lambda: group.receive(message, NOW), group)


def assert_window(world: World, bound: int) -> None:
    for _ in range(bound + 2):
        world.commit("person 0")
    for someone in world.members:
        last = someone.view.epoch
        assert [former.epoch for former in someone.view.state.former] == list(range(last - bound, last))
        assert sum(name.startswith("former/") and name.count("/") == 1 for name in rows(someone.view)) == bound


@open_groups(WINDOW)
def test_d3_the_number_of_former_epochs_is_bounded(world: World) -> None:
    assert_window(world, 2)


@without_group("a group of two: its size makes no difference to the number of its epochs")
@pytest.mark.parametrize("bound", BOUNDS)
def test_d3_by_whatever_bound_the_application_sets(bound: int) -> None:
    assert_window(world_of(suite_of(1), 2, BOUNDS[bound]), bound)


@open_groups(WINDOW)
def test_d3_former_epochs_can_be_forgotten_when_time_has_passed(world: World) -> None:
    """`crypto` has no clock: the application says when."""
    message = encode_message(said(world["person 0"]))
    world.commit(world.receiver)
    assert late(world[world.receiver], message).data == b"hello"
    forgetful = world[world.receiver].forget_former_epochs()
    assert_refused_with(PastEpoch, lambda: forgetful.receive(message, NOW), forgetful)
    assert not any(name.startswith("former/") for name in rows(forgetful))


# F17: whose message it was


@groups_of(5, 9, 33, why="the leaf of a third member is blanked or given away", config=WINDOW)
def test_f17_a_late_message_shows_its_sender_and_not_who_sits_there_now(world: World) -> None:
    gone = world["person 1"].member(LeafIndex(1))
    message = encode_message(said(world["person 1"]))
    world.commit("person 0", removes=["person 1"])
    received = late(world[world.receiver], message)
    assert (received.sender, received.sender_is_current) == (gone, False)
    judge = world.receiver
    world.commit("person 0", adds=["newcomer"])
    assert world.leaf("newcomer") == 1
    for name in ("person 0", judge):
        received = late(world[name], message)
        assert (received.sender, received.sender_is_current) == (gone, False)
    new = encode_message(said(world["newcomer"]))
    assert late(world[judge], new).sender.credential == world.people["newcomer"].credential


@groups_of(5, 9, 33, why="the leaf of a third member is blanked or given away", config=WINDOW)
def test_f17_a_leaf_that_changes_hands_twice(world: World) -> None:
    """Who sat there first stays on record, and what changes beside it is noted too."""
    judge = world.receiver
    former = {number: world["person 0"].member(LeafIndex(number)) for number in (1, 2)}
    early = {number: encode_message(said(world[f"person {number}"])) for number in (1, 2)}
    world.commit("person 0", removes=["person 1"], adds=["second"])
    second, later = world["person 0"].member(LeafIndex(1)), encode_message(said(world["second"]))
    world.commit("person 0", removes=["second", "person 2"], adds=["third", "fourth"])
    for number, message in early.items():
        received = late(world[judge], message)
        assert (received.sender, received.sender_is_current) == (former[number], False)
    assert late(world[judge], later).sender == second
    assert world[judge].member(LeafIndex(1)) != second


@groups_of(5, 9, 33, why="the leaf of a third member is blanked or given away", config=WINDOW)
def test_f17_removed_and_given_away_in_one_commit_and_by_an_external_one(world: World) -> None:
    judge = world.receiver
    gone = world["person 1"].member(LeafIndex(1))
    message = encode_message(said(world["person 1"]))
    world.commit("person 0", removes=["person 1"], adds=["newcomer"])
    assert late(world[judge], message).sender == gone
    someone = world.people["newcomer"]
    second = encode_message(said(world["newcomer"]))
    leaf, former_self = world.leaf("newcomer"), world["newcomer"].member(world.leaf("newcomer"))
    someone.signer = world.suite.signature.generate()
    verified = verify_group_info(world["person 0"].group_info(), now=NOW)
    pending = external_join(verified, someone.credential, someone.signer, removes=leaf, config=WINDOW)
    staged = world[judge].receive(pending.message, NOW)
    assert isinstance(staged, StagedCommit)
    group = world[judge].adopt(staged)
    received = late(group, second)
    assert (received.sender, received.sender_is_current) == (former_self, False)
    assert late(group, message).sender == gone
    assert pending.next_group.state.former == ()


@open_groups(WINDOW)
def test_f17_a_sender_whose_leaf_says_something_else_now(world: World) -> None:
    judge, leaf = world.receiver, world.leaf("person 0")
    before = world["person 0"].member(leaf)
    message = encode_message(said(world["person 0"]))
    world.commit("person 0", leaf_extensions=(Extension(1, b"application id"),))
    received = late(world[judge], message)
    assert (received.sender, received.sender_is_current) == (before, False)
    assert world[judge].member(leaf) != before


@groups_of(5, 9, 33, why="the leaf of a third member is blanked or given away", config=WINDOW)
def test_f10_f17_r5_a_forgery_by_who_was_there_then(world: World) -> None:
    """An insider has that epoch's keys and cannot sign for the one who left; its forgery uses nothing up."""
    victim, judge = world["person 1"], world.receiver
    insider = world["person 0"]
    posing = changed_state(victim, signer=insider.state.signer)
    forged, real = forged_message(posing, ApplicationContent(b"forged")), encode_message(said(victim))
    world.commit("person 0", removes=["person 1"], adds=["newcomer"])
    receiver = world[judge]
    assert_not_authentic(lambda: receiver.receive(forged, NOW), receiver)
    assert late(receiver, real).data == b"hello"
    with off(verify_framed_content):
        assert late(receiver, forged).data == b"forged"


# The other rules, where they apply to a message of a former epoch


@groups_of(5, 9, 33, why="the leaf of a third member is blanked or given away", config=WINDOW)
def test_f4_a_leaf_that_was_blank_then(world: World) -> None:
    """Somebody sits there now, whose message it is not."""
    judge = world.receiver
    world.commit("person 0", removes=["person 1"])
    sender = world["person 0"]
    message = forged_message(changed_state(sender, own_leaf=LeafIndex(1)), HELLO)
    world.commit("person 0", adds=["newcomer"])
    assert world.leaf("newcomer") == 1
    receiver = world[judge]
    assert_refused("F4", lambda: receiver.receive(message, NOW), receiver)
    there_then = Member(LeafIndex(1), world.people["person 0"].credential, sender.state.signer.public, ())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(message_rules, "f4_sender_is_member", lambda _found: there_then)
        assert late(receiver, message).data == b"hello"


@open_groups(WINDOW)
def test_f19_our_own_message_of_a_former_epoch(world: World) -> None:
    message = encode_message(said(world[world.receiver]))
    world.commit("person 0")
    receiver = world[world.receiver]
    assert_refused("F19", lambda: receiver.receive(message, NOW), receiver)
    with off(message_rules.f19_not_from_us):
        assert late(receiver, message).data == b"hello"


@open_groups(WINDOW)
@pytest.mark.parametrize("what", ["a proposal", "a commit"])
def test_f2_a_late_handshake_message_is_of_no_use(world: World, what: str) -> None:
    sender = world["person 0"]
    message = (
        forged_message(sender, ProposalContent(GroupContextExtensions(())))
        if what == "a proposal"
        else sender.commit(now=NOW).message
    )
    world.commit(world.receiver)
    receiver = world[world.receiver]
    assert_refused_with(PastEpoch, lambda: receiver.receive(message, NOW), receiver)


@open_groups(WINDOW)
def test_f10_a_late_message_is_signed_in_its_own_epoch(world: World) -> None:
    """Who holds another context for that epoch does not believe it, not even under the present one."""
    message = encode_message(said(world["person 0"]))
    world.commit(world.receiver)
    receiver = world[world.receiver]
    (*older, last) = receiver.state.former
    present = changed_state(receiver, former=(*older, replace(last, encoded_context=receiver.state.encoded_context)))
    assert_not_authentic(lambda: present.receive(message, NOW), present)
    assert late(receiver, message).data == b"hello"
    with off(verify_framed_content):
        assert late(present, message).data == b"hello"


# Rows


def test_former_epochs_come_back_from_their_rows() -> None:
    world = world_of(suite_of(1), 9, WINDOW)
    stored: dict[str, bytes] = {}
    seen: Group | None = None
    waiting: list[bytes] = []

    def store() -> None:
        nonlocal seen
        someone = world.people["person 0"]
        for name, row in difference(seen, someone.view).items():
            if row is None:
                stored.pop(name, None)
            else:
                stored[name] = row
        assert stored == rows(someone.view)
        someone.group = seen = load(stored, someone.signer, someone.config)

    store()
    for step in range(6):
        waiting += [world["person 1"].protect(b"%d" % step)[1], world["person 2"].protect(b"%d" % step)[1]]
        leaves: dict[str, Any] = {"removes": ["person 8"], "adds": ["person 8"]} if step == 2 else {}
        world.commit(f"person {step % 3}", **leaves)
        store()
        received = late(world["person 0"], waiting[-1 if step % 2 else -2])
        world.people["person 0"].group = received.group
        store()
    received = late(world["person 0"], waiting[-1 if (5 % 2) == 0 else -2])
    world.people["person 0"].group = received.group
    store()


def test_a_late_message_changes_few_rows() -> None:
    world = world_of(suite_of(1), 33, WINDOW)
    group, first = world["person 1"].protect(b"first")
    _, second = group.protect(b"second")
    world.commit("person 0")
    before = world["person 20"]
    after = late(before, first).group
    last = after.state.former[-1].epoch
    assert all(name.startswith(f"former/{last}/") for name in difference(before, after))
    assert list(difference(after, late(after, second).group)) == [f"former/{last}/ratchets/1"]


@without_group("how much is written")
def test_a_commit_leaves_the_rows_of_an_older_epoch_alone() -> None:
    """Nobody's leaf changes hands, so what is known of the members of then stays as it is written."""
    world = world_of(suite_of(1), 5, WINDOW)
    world.commit("person 0")
    before = world["person 1"]
    world.commit("person 0")
    older = before.state.former[-1].epoch
    assert world["person 1"].state.former[0].epoch == older
    assert [name for name in difference(before, world["person 1"]) if name.startswith(f"former/{older}")] == []


def test_damaged_rows_of_former_epochs_are_noticed() -> None:
    world = world_of(suite_of(1), 5, WINDOW)
    world.say("person 2", b"hello")
    world.commit("person 0", removes=["person 3"])
    stored, signer = rows(world["person 1"]), world.people["person 1"].signer
    last = max(int(name.split("/")[1]) for name in stored if name.startswith("former/"))
    main = f"former/{last}"
    for name in [name for name in stored if name.startswith(main)]:
        with pytest.raises(DecodeError):
            load({other: row for other, row in stored.items() if other != name}, signer)
        for damaged in (b"", b"\2" + stored[name][1:]):
            with pytest.raises(DecodeError):
                load(stored | {name: damaged}, signer)
    for strange in (f"former/{2**64}", "former/x", f"former/{last}/strange", "former/77/secret/1"):
        with pytest.raises(DecodeError):
            load(stored | {strange: stored[main]}, signer)
    row = stored[main]
    width = world["person 1"].state.former[-1].secret_tree.leaf_count
    place = row.index(width.to_bytes(4, "big"), len(row) // 2)
    for other in (0, 3, width // 2):
        with pytest.raises(DecodeError):
            load(stored | {main: row[:place] + other.to_bytes(4, "big") + row[place + 4 :]}, signer)
