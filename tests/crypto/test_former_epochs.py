"""Late messages of former epochs (RFC 9420 §15.3): within the window, once, and under that epoch's members."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from crypto.errors import AuthenticationError, DecodeError, GenerationUsed, PastEpoch
from crypto.mls import messages, protection
from crypto.mls.config import GroupConfig
from crypto.mls.extensions import Extension
from crypto.mls.framing import ApplicationContent, ProposalContent, WireFormat
from crypto.mls.group import ApplicationMessage, Group, external_join, verify_group_info
from crypto.mls.proposals import Remove
from crypto.mls.rules import message as message_rules
from crypto.mls.snapshot import difference, load, rows
from crypto.mls.tree_nodes import LeafIndex
from crypto.suites import CipherSuite, suite
from tests.crypto.forge import assert_refused, changed_state, forged_message, off
from tests.crypto.world import NOW, World, every_suite, world_of

WINDOW = GroupConfig(former_epochs_max=2, accept_external_commits=True)


def late(group: Group, message: bytes) -> ApplicationMessage:
    received = group.receive(message, NOW)
    assert isinstance(received, ApplicationMessage)
    return received


@every_suite
@pytest.mark.parametrize("size", [2, 5, 9, 33])
def test_late_messages_open_once_within_the_window(belongs: CipherSuite, size: int) -> None:
    world = world_of(belongs, size, WINDOW)
    early = []
    for number in range(3):
        early.append((world["person 1"].epoch, world["person 1"].protect(b"%d" % number)[1]))
        world.commit("person 0")
    group = world["person 0"]
    with pytest.raises(PastEpoch):
        group.receive(early[0][1], NOW)
    for number in (2, 1):
        epoch, message = early[number]
        received = late(group, message)
        assert (received.data, received.epoch, received.generation) == (b"%d" % number, epoch, 0)
        assert received.sender == group.member(LeafIndex(1))
        assert received.sender_is_current
        group = received.group
        with pytest.raises(GenerationUsed):  # rule R1
            group.receive(message, NOW)
    assert late(group, world["person 1"].protect(b"now")[1]).sender_is_current


def test_no_former_epoch_is_kept_by_default() -> None:
    world = world_of(suite(1), 3)
    _, message = world["person 1"].protect(b"early")
    world.commit("person 0")
    assert world["person 2"].state.former == ()
    with pytest.raises(PastEpoch):
        world["person 2"].receive(message, NOW)


@pytest.mark.parametrize("bound", [1, 2, 5])
def test_d3_the_number_of_former_epochs_is_bounded(bound: int) -> None:
    world = world_of(suite(1), 2, GroupConfig(former_epochs_max=bound))
    for _ in range(8):
        world.commit("person 0")
    for someone in world.members:
        assert [former.epoch for former in someone.view.state.former] == list(range(9 - bound, 9))
        assert sum(name.startswith("former/") and name.count("/") == 1 for name in rows(someone.view)) == bound


def test_former_epochs_can_be_forgotten() -> None:
    world = world_of(suite(1), 2, WINDOW)
    _, message = world["person 1"].protect(b"early")
    world.commit("person 0")
    world.people["person 0"].group = forgetful = world["person 0"].forget_former_epochs()
    with pytest.raises(PastEpoch):
        forgetful.receive(message, NOW)
    assert not any(name.startswith("former/") for name in rows(forgetful))


@every_suite
def test_f17_a_late_message_shows_its_sender_and_not_who_sits_there_now(belongs: CipherSuite) -> None:
    world = world_of(belongs, 5, WINDOW)
    gone = world["person 1"].member(LeafIndex(1))
    _, message = world["person 1"].protect(b"from the former member")
    world.commit("person 0", removes=["person 1"])
    received = late(world["person 2"], message)
    assert (received.sender, received.sender_is_current) == (gone, False)
    world.commit("person 0", adds=["newcomer"])
    assert world.leaf("newcomer") == 1
    received = late(world["person 2"], message)
    assert (received.sender, received.sender_is_current) == (gone, False)
    for name in ("person 0", "person 3"):
        assert late(world[name], message).sender == gone
    _, new = world["newcomer"].protect(b"from the new one")
    assert late(world["person 2"], new).sender.credential == world.people["newcomer"].credential


def test_f17_a_leaf_that_changes_hands_twice() -> None:
    """Who sat there first stays on record, and what changes beside it is noted too."""
    world = world_of(suite(1), 5, WINDOW)
    former = {number: world["person 0"].member(LeafIndex(number)) for number in (1, 2)}
    early = {number: world[f"person {number}"].protect(b"early")[1] for number in (1, 2)}
    world.commit("person 0", removes=["person 1"], adds=["second"])
    second, later = world["person 0"].member(LeafIndex(1)), world["second"].protect(b"later")[1]
    world.commit("person 0", removes=["second", "person 2"], adds=["third", "fourth"])
    for number, message in early.items():
        received = late(world["person 3"], message)
        assert (received.sender, received.sender_is_current) == (former[number], False)
    assert late(world["person 3"], later).sender == second
    assert world["person 3"].member(LeafIndex(1)) != second


def test_f17_removed_and_given_away_in_one_commit_and_by_an_external_one() -> None:
    world = world_of(suite(1), 4, WINDOW)
    gone = world["person 1"].member(LeafIndex(1))
    _, message = world["person 1"].protect(b"late")
    world.commit("person 0", removes=["person 1"], adds=["newcomer"])
    assert late(world["person 2"], message).sender == gone
    someone = world.people["newcomer"]
    _, second = world["newcomer"].protect(b"late too")
    leaf, former_self = world.leaf("newcomer"), world["newcomer"].member(world.leaf("newcomer"))
    someone.signer = suite(1).signature.generate()
    verified = verify_group_info(world["person 0"].group_info(), now=NOW)
    pending = external_join(verified, someone.credential, someone.signer, removes=leaf, config=WINDOW)
    group = world["person 2"].receive(pending.message, NOW).merge()  # type: ignore[union-attr]  # a commit
    received = late(group, second)
    assert (received.sender, received.sender_is_current) == (former_self, False)
    assert late(group, message).sender == gone
    assert pending.next_group.state.former == ()


def test_f17_a_sender_whose_leaf_says_something_else_now() -> None:
    world = World(suite(1), config=WINDOW)
    for name in ("person 0", "person 1"):
        world.person(name)
    world = world_of(suite(1), 3, WINDOW)
    before = world["person 1"].member(LeafIndex(1))
    _, message = world["person 1"].protect(b"late")
    world.commit("person 1", leaf_extensions=(Extension(1, b"application id"),))
    received = late(world["person 2"], message)
    assert (received.sender, received.sender_is_current) == (before, False)
    assert world["person 2"].member(LeafIndex(1)) != before


def test_f17_a_forgery_by_who_sits_there_now() -> None:
    """The newcomer has never had that epoch's keys; a member that has them cannot sign for the one who left."""
    world = world_of(suite(1), 4, WINDOW)
    insider, victim = world["person 3"], world["person 1"]
    posing = changed_state(
        insider, own_leaf=LeafIndex(1), secret_tree=victim.state.secret_tree, signer=insider.state.signer
    )
    forged = forged_message(posing, ApplicationContent(b"forged"))
    _, real = victim.protect(b"real")
    world.commit("person 0", removes=["person 1"], adds=["newcomer"])
    receiver = world["person 2"]
    before = rows(receiver)
    with pytest.raises(AuthenticationError):
        receiver.receive(forged, NOW)
    assert rows(receiver) == before
    assert late(receiver, real).data == b"real"  # rule R5: the forgery has used nothing up


def test_f4_a_leaf_that_was_blank_then() -> None:
    world = world_of(suite(1), 4, WINDOW)
    world.commit("person 0", removes=["person 2"])
    sender, receiver_name = world["person 0"], "person 3"
    honest = protection.SenderData
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protection, "SenderData", lambda _, generation, guard: honest(2, generation, guard))
        signed = messages.sign(sender.state, WireFormat.PRIVATE_MESSAGE, ApplicationContent(b"hello"), b"")
        message = messages.protect(sender.state, signed)[1]
    world.commit("person 0", adds=["newcomer"])
    assert world.leaf("newcomer") == 2
    receiver = world[receiver_name]
    assert_refused("F4", lambda: receiver.receive(message, NOW), receiver)


def test_f19_in_a_former_epoch() -> None:
    world = world_of(suite(1), 3, WINDOW)
    _, message = world["person 1"].protect(b"mine")
    world.commit("person 0")
    receiver = world["person 1"]
    assert_refused("F19", lambda: receiver.receive(message, NOW), receiver)
    with off(message_rules.f19_not_from_us):
        receiver.receive(message, NOW)


def test_f2_a_late_proposal_or_commit_is_of_no_use() -> None:
    world = world_of(suite(1), 3, WINDOW)
    proposal = forged_message(world["person 1"], ProposalContent(Remove(2)))
    commit = world["person 1"].commit(now=NOW).message
    world.commit("person 0")
    for message in (proposal, commit):
        with pytest.raises(PastEpoch):
            world["person 2"].receive(message, NOW)


def test_f10_a_late_message_is_signed_in_its_own_epoch() -> None:
    world = world_of(suite(1), 3, WINDOW)
    _, message = world["person 1"].protect(b"late")
    world.commit("person 0")
    receiver = world["person 2"]
    (*older, last) = receiver.state.former
    present = changed_state(receiver, former=(*older, replace(last, encoded_context=receiver.state.encoded_context)))
    with pytest.raises(AuthenticationError):
        present.receive(message, NOW)


# Rows


def test_former_epochs_come_back_from_their_rows() -> None:
    world = world_of(suite(1), 9, WINDOW)
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
    world = world_of(suite(1), 33, WINDOW)
    group, first = world["person 1"].protect(b"first")
    _, second = group.protect(b"second")
    world.commit("person 0")
    before = world["person 20"]
    after = late(before, first).group
    last = after.state.former[-1].epoch
    assert all(name.startswith(f"former/{last}/") for name in difference(before, after))
    assert list(difference(after, late(after, second).group)) == [f"former/{last}/ratchets/1"]


def test_damaged_rows_of_former_epochs_are_noticed() -> None:
    world = world_of(suite(1), 5, WINDOW)
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
