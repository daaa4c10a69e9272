"""Groups through their public API: every operation, several sizes, a classical and a hybrid suite."""

from __future__ import annotations

import os
import random

import pytest

from crypto.errors import (
    AuthenticationError,
    DecodeError,
    FutureEpoch,
    GenerationUsed,
    PastEpoch,
    RuleViolation,
    UsageError,
)
from crypto.mls.config import GroupConfig
from crypto.mls.extensions import Extension, ExtensionType, RequiredCapabilities
from crypto.mls.framing import PrivateMessage, PublicMessage
from crypto.mls.group import ApplicationMessage, Group, ReceivedProposal, StagedCommit, create_group
from crypto.mls.mls_message import decode_message
from crypto.mls.proposals import Update
from crypto.mls.psk import ExternalPSK, ResumptionPSK, ResumptionPSKUsage
from crypto.mls.snapshot import rows
from crypto.mls.tree_nodes import Lifetime
from crypto.secret import Secret
from crypto.suites import CipherSuite, suite_of
from crypto.wire import encode
from tests.crypto.world import LIFETIME, NOW, SIZES, World, every_suite, names, person, won, world_of

every_size = pytest.mark.parametrize("size", SIZES)


@every_suite
@every_size
def test_members_agree_through_adds_removes_and_updates(belongs: CipherSuite, size: int) -> None:
    world = world_of(belongs, size)
    people = names(size)
    world.say(people[-1], b"hello", b"readable")
    world.commit(people[-1])  # an empty commit renews its sender's keys
    world.commit(people[0], adds=["newcomer"], with_path=False)
    world.say("newcomer", b"I am new")
    world.commit("newcomer", adds=["another", "third"], removes=[people[1]])
    world.say("another", b"so am I")
    world.deliver_proposal("third", world["third"].propose_update(now=NOW))
    world.deliver_proposal("another", world["another"].propose_remove(world.leaf("newcomer"), now=NOW))
    world.deliver_proposal("third", world["third"].propose_add(world.person("fourth").offer(), now=NOW))
    staged = world.commit(people[0])
    assert [member.credential.identity for member in staged["third"].removed] == [b"newcomer"]
    assert [member.credential.identity for member in staged["third"].added] == [b"fourth"]
    assert {member.credential.identity for member in staged["third"].updated} == {b"third", people[0].encode()}
    assert staged["newcomer"].removes_us
    for name in ("fourth", "third", people[0]):
        world.say(name, os.urandom(300))
        world.commit(name)


@every_suite
def test_every_member_can_commit_after_every_other(belongs: CipherSuite) -> None:
    world = world_of(belongs, 9)
    for name in names(9):
        world.commit(name)
        world.say(name, name.encode())


@every_suite
def test_a_group_shrinks_to_one_and_grows_again(belongs: CipherSuite) -> None:
    world = world_of(belongs, 9)
    world.commit("person 8", removes=names(8))
    assert len(world["person 8"].members) == 1
    world.commit("person 8", adds=names(8))
    world.say("person 0", b"back again")


@every_suite
def test_of_two_concurrent_commits_one_wins_and_the_other_is_said_again(belongs: CipherSuite) -> None:
    world = world_of(belongs, 5)
    loser = world.pending("person 1", adds=["newcomer"])
    world.people["person 1"].group = loser.group
    world.commit("person 2", removes=["person 3"])
    with pytest.raises(PastEpoch):
        world["person 0"].receive(loser.message, NOW)
    world.commit("person 1", adds=["newcomer"])
    assert {member.credential.identity for member in world["person 0"].members} == {
        b"person 0", b"person 1", b"person 2", b"person 4", b"newcomer"
    }  # fmt: skip


def test_creating_a_commit_changes_nothing_until_it_is_adopted() -> None:
    """Rule D2."""
    world = world_of(suite_of(1), 5)
    before = rows(world["person 0"])
    pending = world.pending("person 0", adds=["newcomer"], removes=["person 1"])
    assert rows(world["person 0"]) == before
    assert rows(pending.group) != before  # the message key is used up in what it returns
    world.win("person 1", world.pending("person 1"))


def test_a_second_attempt_in_the_same_epoch_uses_another_key() -> None:
    world = world_of(suite_of(1), 2)
    first = world.pending("person 0")
    second = first.group.commit(now=NOW)
    receiver = world["person 1"]
    receiver.receive(first.message, NOW)
    staged = receiver.receive(second.message, NOW)
    assert isinstance(staged, StagedCommit)
    assert receiver.adopt(staged).epoch_authenticator == won(second).epoch_authenticator


def test_application_messages_open_out_of_order_and_once() -> None:
    world = world_of(suite_of(1), 2)
    sent = []
    for number in range(30):
        world.people["person 0"].group, message = world["person 0"].protect(b"%d" % number)
        sent.append((number, message))
    random.Random(5).shuffle(sent)
    for number, message in sent:
        received = world["person 1"].receive(message, NOW)
        assert isinstance(received, ApplicationMessage)
        assert (received.generation, received.data) == (number, b"%d" % number)
        world.people["person 1"].group = received.group
        with pytest.raises(GenerationUsed):
            received.group.receive(message, NOW)


def test_messages_of_another_epoch_are_told_apart() -> None:
    """Rules F2 and F3."""
    world = world_of(suite_of(1), 3)
    _, early = world["person 0"].protect(b"early")
    slow = world["person 2"]
    world.commit("person 1")
    _, late = world["person 0"].protect(b"late")
    with pytest.raises(PastEpoch):
        world["person 2"].receive(early, NOW)
    with pytest.raises(FutureEpoch):
        slow.receive(late, NOW)


def test_our_own_messages_are_refused() -> None:
    """Rule F19: application data, a proposal and a commit that come back."""
    world = world_of(suite_of(1), 3)
    group, message = world["person 0"].protect(b"mine")
    _, proposal = group.propose_update(now=NOW)
    for own in (message, proposal, group.commit(now=NOW).message):
        with pytest.raises(RuleViolation, match="F19"):
            group.receive(own, NOW)
        with pytest.raises(RuleViolation, match="F19"):
            world["person 0"].receive(own, NOW)


def test_a_pending_proposal_must_be_committed_before_data_is_sent() -> None:
    """Rule D1."""
    world = world_of(suite_of(1), 3)
    world.deliver_proposal("person 1", world["person 1"].propose_remove(world.leaf("person 2"), now=NOW))
    assert len(world["person 0"].pending_proposals) == 1
    for name in ("person 0", "person 1"):
        with pytest.raises(RuleViolation, match="D1"):
            world[name].protect(b"too early")
    world.commit("person 0")
    world.say("person 0", b"now")


def test_a_removed_member_has_no_next_epoch() -> None:
    world = world_of(suite_of(1), 3)
    before = world["person 2"]
    staged = world.commit("person 0", removes=["person 2"])["person 2"]
    assert staged.removes_us
    with pytest.raises(UsageError):
        before.adopt(staged)


def test_a_leaf_that_is_removed_and_given_to_another_in_one_commit() -> None:
    world = world_of(suite_of(1), 3)
    staged = world.commit("person 0", removes=["person 1"], adds=["newcomer"])
    assert staged["person 1"].removes_us
    assert world.leaf("newcomer") == 1


def test_a_member_may_be_removed_and_added_again_in_one_commit() -> None:
    """Rule Q6, the allowed side."""
    world = world_of(suite_of(1), 3)
    world.commit("person 0", removes=["person 2"], adds=["person 2"])
    world.say("person 2", b"a new leaf")


@every_suite
def test_public_handshakes_by_configuration(belongs: CipherSuite) -> None:
    config = GroupConfig(send_public_handshakes=True, accept_public_handshakes=True)
    world = world_of(belongs, 5, config)
    group, proposal = world["person 1"].propose_update(now=NOW)
    assert isinstance(decode_message(proposal).body, PublicMessage)
    world.deliver_proposal("person 1", (group, proposal))
    pending = world.pending("person 2")
    assert isinstance(decode_message(pending.message).body, PublicMessage)
    world.win("person 2", pending)
    assert isinstance(decode_message(world.say("person 1", b"always private")).body, PrivateMessage)


def test_handshakes_are_private_by_default() -> None:
    world = world_of(suite_of(1), 2)
    pending = world.pending("person 0")
    assert isinstance(decode_message(pending.message).body, PrivateMessage)
    assert isinstance(decode_message(world["person 0"].propose_update(now=NOW)[1]).body, PrivateMessage)


@every_suite
def test_pre_shared_keys_enter_the_epoch(belongs: CipherSuite) -> None:
    world = world_of(belongs, 3)
    former = ResumptionPSK(ResumptionPSKUsage.APPLICATION, world["person 0"].group_id, world["person 0"].epoch)
    former_psk = world["person 0"].resumption_psk
    world.commit("person 1")
    known = {ExternalPSK(b"paper"): Secret(b"p" * 32), former: former_psk}
    present = ResumptionPSK(ResumptionPSKUsage.APPLICATION, world["person 0"].group_id, world["person 0"].epoch)
    world.deliver_proposal("person 2", world["person 2"].propose_psk(present, now=NOW))
    pending = world["person 0"].commit(
        [world.person("newcomer").offer()], now=NOW, psks=tuple(known), find_psk=known.get, with_path=False
    )
    for name in ("person 1", "person 2"):
        with pytest.raises(RuleViolation, match="U10"):
            world[name].receive(pending.message, NOW)
        staged = world[name].receive(pending.message, NOW, known.get)
        assert isinstance(staged, StagedCommit)
        assert staged.updated == ()  # no path
        assert world[name].adopt(staged).epoch_authenticator == won(pending).epoch_authenticator


def test_a_commit_with_another_psk_gives_another_epoch() -> None:
    world = world_of(suite_of(1), 2)
    psk = ExternalPSK(b"paper")
    pending = world["person 0"].commit(now=NOW, psks=(psk,), find_psk=lambda _: Secret(b"one"))
    with pytest.raises(AuthenticationError):
        world["person 1"].receive(pending.message, NOW, lambda _: Secret(b"two"))


def requirement(*extension_types: int, credentials: tuple[int, ...] = (1,)) -> Extension:
    data = encode(RequiredCapabilities(extension_types, (1, 2), credentials))
    return Extension(ExtensionType.REQUIRED_CAPABILITIES, data)


def test_group_context_extensions_by_value_and_by_reference() -> None:
    world = world_of(suite_of(1), 3)
    wanted = (requirement(ExtensionType.LAST_RESORT_KEY_PACKAGE),)
    staged = world.commit("person 0", extensions=wanted)
    assert staged["person 1"].extensions == wanted
    world.commit("person 1", adds=["newcomer"])
    assert world["newcomer"].extensions == wanted
    world.deliver_proposal("person 1", world["person 1"].propose_extensions((), now=NOW))
    world.commit("newcomer")
    assert world["person 2"].extensions == ()


def test_a_group_can_be_created_with_extensions() -> None:
    world = World(suite_of(1))
    world.found("founder", (requirement(),))
    world.commit("founder", adds=["other"])
    assert world["other"].extensions == (requirement(),)


def test_a_committer_keeps_what_fits_together() -> None:
    """§12.2: a Remove goes before an Update, the latest Update counts, its own Update is left out."""
    world = world_of(suite_of(1), 6)
    world.deliver_proposal("person 0", world["person 0"].propose_update(now=NOW))
    world.deliver_proposal("person 1", world["person 1"].propose_update(now=NOW))
    world.deliver_proposal("person 1", world["person 1"].propose_update(now=NOW))
    world.deliver_proposal("person 2", world["person 2"].propose_update(now=NOW))
    world.deliver_proposal("person 3", world["person 3"].propose_remove(world.leaf("person 2"), now=NOW))
    world.deliver_proposal("person 4", world["person 4"].propose_remove(world.leaf("person 2"), now=NOW))
    world.deliver_proposal("person 5", world["person 5"].propose_remove(world.leaf("person 0"), now=NOW))
    newcomer = world.person("newcomer").offer()
    world.deliver_proposal("person 3", world["person 3"].propose_add(newcomer, now=NOW))
    world.deliver_proposal("person 4", world["person 4"].propose_add(newcomer, now=NOW))
    world.deliver_proposal("person 4", world["person 4"].propose_extensions((requirement(),), now=NOW))
    world.deliver_proposal("person 5", world["person 5"].propose_extensions((), now=NOW))
    latest = world["person 0"].pending_proposals[2]
    staged = world.commit("person 0")["person 1"]
    assert [type(checked.proposal).__name__ for checked in staged.proposals] == [
        "Update", "Remove", "Add", "GroupContextExtensions"
    ]  # fmt: skip
    assert isinstance(latest.proposal, Update)
    assert staged.proposals[0].proposal == latest.proposal
    assert staged.extensions == (requirement(),)


def test_a_committer_leaves_out_what_it_may_not_send() -> None:
    """A key package that has expired since it was proposed, and a PSK that we do not know."""
    world = world_of(suite_of(1), 3)
    world.deliver_proposal("person 1", world["person 1"].propose_add(world.person("late").offer(), now=NOW))
    world.deliver_proposal("person 1", world["person 1"].propose_psk(ExternalPSK(b"unknown"), now=NOW))
    pending = world["person 0"].commit(now=LIFETIME.not_after + 2 * 3600)
    assert pending.welcome is None
    assert world.win("person 0", pending)["person 1"].proposals == ()


def test_what_the_caller_wants_goes_before_what_others_proposed() -> None:
    world = world_of(suite_of(1), 4)
    world.deliver_proposal("person 1", world["person 1"].propose_update(now=NOW))
    world.deliver_proposal("person 2", world["person 2"].propose_remove(world.leaf("person 3"), now=NOW))
    staged = world.commit("person 0", removes=["person 1", "person 3"])["person 2"]
    assert [checked.reference for checked in staged.proposals] == [None, None]


def test_a_wish_that_breaks_a_rule_is_refused() -> None:
    world = world_of(suite_of(1), 3)
    world.deliver_proposal("person 1", world["person 1"].propose_update(now=NOW))
    with pytest.raises(RuleViolation, match="Q3"):
        world.pending("person 0", removes=["person 0"])
    with pytest.raises(RuleViolation, match="Q6"):
        world.pending("person 0", adds=["person 1"])
    with pytest.raises(RuleViolation, match="K1"):
        world["person 0"].commit([person("other", suite_of(3)).offer()], now=NOW)
    with pytest.raises(RuleViolation, match="L9"):
        world["person 0"].commit([person("other", suite_of(1)).offer()], now=LIFETIME.not_after + 86400)


def test_a_creator_checks_its_own_leaf() -> None:
    someone = person("founder", suite_of(1))
    with pytest.raises(RuleViolation, match="L9"):
        create_group(
            suite_of(1), b"id", someone.credential, someone.signer, lifetime=Lifetime(NOW, NOW + 1), now=NOW + 86400
        )
    with pytest.raises(RuleViolation, match="L11"):
        create_group(suite_of(1), b"id", someone.credential, someone.signer, lifetime=Lifetime(0, 2**40), now=NOW)
    with pytest.raises(RuleViolation, match="W12"):
        create_group(
            suite_of(1),
            b"id",
            someone.credential,
            someone.signer,
            lifetime=LIFETIME,
            now=NOW,
            extensions=(Extension(0xFF00, b""),),
        )


def test_what_is_no_group_message_is_refused() -> None:
    world = world_of(suite_of(1), 2)
    with pytest.raises(DecodeError):
        world["person 0"].receive(person("other", suite_of(1)).offer_bytes(), NOW)
    with pytest.raises(DecodeError):
        world["person 0"].receive(b"", NOW)


def test_a_proposal_says_who_sent_it() -> None:
    world = world_of(suite_of(1), 3)
    _, message = world["person 1"].propose_update(now=NOW)
    received = world["person 0"].receive(message, NOW)
    assert isinstance(received, ReceivedProposal)
    assert received.sender == world["person 0"].member(world.leaf("person 1"))
    assert received.proposal.sender == world.leaf("person 1")
    assert isinstance(received.group, Group)
    assert world["person 0"].member(world.leaf("person 2") + 1) is None
