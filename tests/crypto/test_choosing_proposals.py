"""What a committer chooses of an epoch's proposals, and what a flood of them costs (rule C10)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crypto.mls import proposal_list, proposing
from crypto.mls.config import GroupConfig
from crypto.mls.credentials import BasicCredential, CredentialType, X509Credential
from crypto.mls.extensions import Extension, ExtensionType, ExternalSender, ExternalSenders
from crypto.mls.group import ReceivedProposal, StagedCommit, propose_as_external_sender
from crypto.mls.proposals import Add, AnyProposal, GroupContextExtensions, Remove
from crypto.mls.psk import ResumptionPSK, ResumptionPSKUsage
from crypto.mls.psk_lookup import no_psks
from crypto.mls.rules import message as message_rules
from crypto.mls.rules import proposal_list as rules
from crypto.mls.state import GroupState
from crypto.mls.tree_nodes import KeyPackageSource, LeafIndex, LeafNode, Lifetime
from crypto.suites import suite_of
from crypto.wire import encode_as
from tests.crypto.forge import (
    REQUIRED,
    UNLISTED,
    assert_enters,
    assert_refused,
    by_reference,
    capabilities,
    forged_proposal,
    off,
    offered_with,
    taken_in,
    told,
)
from tests.crypto.matrix import every_group, groups_of
from tests.crypto.world import NOW, World, person, won, world_of


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with each list that the committer judges."""
    made: list[int] = []
    judge = proposal_list._judge
    monkeypatch.setattr(proposal_list, "_judge", lambda *arguments: (made.append(1), judge(*arguments))[1])
    return made


@every_group
def test_c10_a_flood_of_proposals_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crypto.mls.rules.message.PENDING_MAX", 3)
    for _ in range(3):
        told(world, "person 0", world["person 0"].propose_update(now=NOW))
    message = forged_proposal(world["person 0"], Remove(world.leaf(world.bystander)))
    receiver = world[world.receiver]
    assert_refused("C10", lambda: receiver.receive(message, NOW), receiver)
    with off(message_rules.c10_proposals_bounded):
        receiver.receive(message, NOW)
    assert receiver.propose_update(now=NOW)[0].pending_proposals  # the flood is not ours


@groups_of(5, 9, 33, why="one floods, two others go on")
def test_c10_a_flood_does_not_divide_the_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proposal of an honest member crosses the flood on its way, and is committed all the same."""
    monkeypatch.setattr("crypto.mls.rules.message.PENDING_MAX", 3)
    bob, removal = world["person 0"].propose_remove(world.leaf("person 1"), now=NOW)
    alice, mallory = world[world.receiver], world["person 2"]
    for _ in range(4):
        with off(message_rules.c10_proposals_bounded):
            mallory, message = mallory.propose_update(now=NOW)
        for refuses in (alice, bob):
            if len(refuses.pending_proposals) - (refuses is bob) == 3:
                assert_refused("C10", lambda message=message, refuses=refuses: refuses.receive(message, NOW), refuses)
                break
        else:
            alice, bob = taken_in(alice, message), taken_in(bob, message)
    alice = taken_in(alice, removal)
    pending = bob.commit(now=NOW)
    assert_enters(alice, pending.message, won(pending))


def present(world: World) -> ResumptionPSK:
    """The PSK that every member knows without asking."""
    group = world["person 0"]
    return ResumptionPSK(ResumptionPSKUsage.APPLICATION, group.group_id, group.epoch)


@every_group
def test_c10_what_does_not_fit_into_one_commit_waits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that nobody could read would divide its committer from all others."""
    for _ in range(3):
        told(world, world.receiver, world[world.receiver].propose_psk(present(world), now=NOW))
    sender, receiver = world["person 0"], world[world.receiver]
    monkeypatch.setattr(proposal_list, "PROPOSALS_MAX", 3)
    pending = sender.commit([world.person("newcomer").offer()], now=NOW)
    staged = receiver.receive(pending.message, NOW)
    assert isinstance(staged, StagedCommit)
    assert len(staged.proposals) == 3
    monkeypatch.setattr(proposal_list, "PROPOSALS_MAX", 16_384)
    monkeypatch.setattr(proposal_list, "PSK_COUNT_MAX", 2)
    staged = receiver.receive(sender.commit(now=NOW, psks=[present(world)]).message, NOW)
    assert isinstance(staged, StagedCommit)
    assert len(staged.psks) == 2


@every_group
def test_c10_we_make_no_longer_commit_than_others_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "PROPOSALS_MAX", 2)
    sender = world["person 0"]
    offers = [world.person(f"newcomer {number}").offer() for number in range(3)]
    sender.commit(offers[:2], now=NOW)
    assert_refused("C10", lambda: sender.commit(offers, now=NOW), sender)
    with off(rules.c10_list_bounded):
        sender.commit(offers, now=NOW)


@groups_of(5, 9, 33, why="two members want a third to go")
def test_q4_of_two_removes_of_one_leaf_we_commit_the_first(world: World, attempts: list[int]) -> None:
    """Seen before anything is judged, so that a crowd that wants somebody out costs one attempt, too."""
    first = by_reference(world, world.receiver, Remove(1))
    by_reference(world, "person 0", Remove(1))
    pending = world["person 0"].commit(now=NOW)
    staged = world[world.receiver].receive(pending.message, NOW)
    assert isinstance(staged, StagedCommit)
    assert [checked.reference for checked in staged.proposals] == [first.reference]
    assert len(attempts) == 1


def test_choosing_costs_few_attempts(attempts: list[int]) -> None:
    """One clash among many proposals is found by halving, not by trying each alone."""
    world = world_of(suite_of(1), 2)
    offers = [world.person(f"newcomer {number}").offer() for number in range(31)]
    for offer in (*offers, offers[17]):
        world.deliver_proposal("person 1", world["person 1"].propose_add(offer, now=NOW))
    world.win("person 0", world["person 0"].commit(now=NOW))
    assert len(world["person 0"].members) == 33
    assert len(attempts) <= 2 + 2 * 6


def test_a_flood_of_adds_that_lack_what_we_ask_for_costs_few_attempts(attempts: list[int]) -> None:
    """They could come into the group as it is, and not into what our commit makes of it."""
    state = world_of(suite_of(1), 2)["person 0"].state
    for number in range(20):
        add = offered_with(person(f"person {number} of the flood", state.suite), leaf=capabilities(extensions=()))
        checked = proposal_list.check_proposal(state, add, LeafIndex(1), bytes([number]) * 32, NOW)
        state = proposing.with_proposal(state, checked)
    own = proposal_list.check_proposal(state, GroupContextExtensions(REQUIRED), state.own_leaf, None, NOW)
    assert not proposal_list.choose_proposals(state, [own], no_psks, NOW).added
    assert len(attempts) <= 2


@pytest.mark.parametrize("what", ["share a key", "lack a requirement"])
def test_a_flood_of_bad_adds_costs_few_attempts(what: str, attempts: list[int]) -> None:
    """Rule C10: trying them in halves would find one by one those that clash, or that may not come at all."""
    world = World(suite_of(1))
    world.found("person 0", REQUIRED)
    shared = world.person("shared").offer().key_package
    same_key = lambda leaf: replace(leaf, encryption_key=shared.leaf_node.encryption_key)  # noqa: E731  # a breach
    breach, count = {"share a key": (same_key, 1), "lack a requirement": (capabilities(extensions=()), 0)}[what]
    state = world["person 0"].state
    for number in range(60):
        add = offered_with(world.person(f"person {number} of the flood"), leaf=breach)
        checked = proposal_list.check_proposal(state, add, LeafIndex(0), bytes([number]) * 32, NOW)
        state = proposing.with_proposal(state, checked)
    assert len(proposal_list.choose_proposals(state, (), no_psks, NOW).added) == count
    assert len(attempts) <= 2


@groups_of(5, 9, 33, why="one proposes, another commits, a third follows")
def test_p8_what_a_member_could_not_live_with_stops_no_commit(world: World) -> None:
    told(world, "person 1", world["person 1"].propose_extensions((UNLISTED,), now=NOW))
    pending = world["person 0"].commit(now=NOW)
    assert won(pending).extensions == ()
    assert_enters(world[world.receiver], pending.message, won(pending))


def flooded(state: GroupState, proposals: list[AnyProposal]) -> GroupState:
    """All of them from member 1."""
    for number, proposal in enumerate(proposals):
        checked = proposal_list.check_proposal(state, proposal, LeafIndex(1), number.to_bytes(32, "big"), NOW)
        state = proposing.with_proposal(state, checked)
    return state


def clashing_with_the_group(world: World, number: int) -> Add:
    """An Add that is valid by itself, and not in this group: rule L4."""

    def breach(leaf: LeafNode) -> LeafNode:
        able = replace(leaf.capabilities, credentials=(CredentialType.BASIC, CredentialType.X509))
        return replace(leaf, credential=X509Credential((b"x",)), capabilities=able)

    return offered_with(world.person(f"odd {number}"), leaf=breach)


@pytest.mark.parametrize("what", ["between good ones", "all of one kind"])
def test_c10_whatever_the_flood_is_made_of_it_costs_a_bounded_number_of_attempts(
    what: str, attempts: list[int]
) -> None:
    """And our own commit goes out, with what was found until then."""
    world = world_of(suite_of(1), 2)
    odd: list[AnyProposal] = [clashing_with_the_group(world, number) for number in range(40)]
    if what == "all of one kind":
        odd = [GroupContextExtensions(()) for _ in range(60)]
    good: list[AnyProposal] = [offered_with(world.person(f"newcomer {number}")) for number in range(40)]
    state = flooded(world["person 0"].state, [each for pair in zip(odd, good, strict=False) for each in pair])
    attempts.clear()
    changes = proposal_list.choose_proposals(state, (), no_psks, NOW)
    assert changes.added
    assert len(attempts) <= proposal_list.ATTEMPTS_MAX + 3


def test_of_what_is_invalid_by_itself_nothing_is_looked_for(attempts: list[int]) -> None:
    world = world_of(suite_of(1), 3)
    odd: list[AnyProposal] = [clashing_with_the_group(world, number) for number in range(20)]
    state = flooded(world["person 0"].state, odd)
    own = [proposal_list.check_proposal(state, Remove(LeafIndex(2)), state.own_leaf, None, NOW)] * 2
    attempts.clear()
    assert_refused("Q4", lambda: proposal_list.choose_proposals(state, own, no_psks, NOW))
    assert len(attempts) == 2


def test_as_many_attempts_as_are_made() -> None:
    assert proposal_list.ATTEMPTS_MAX == 48


@pytest.mark.parametrize("how", ["an expired one", "by a key of another use"])
def test_an_add_that_goes_nowhere_keeps_no_other_out(how: str) -> None:
    world = world_of(suite_of(1), 3)
    bob = world.person("bob").offer().key_package
    expired = KeyPackageSource(Lifetime(NOW - 90_000, NOW - 86_400))
    if how == "an expired one":
        others = offered_with(
            world.person("ghost"),
            leaf=lambda leaf: replace(leaf, source=expired),
            package=lambda package: replace(package, init_key=bob.init_key),
        )
    else:
        others = offered_with(world.person("ghost"), leaf=lambda leaf: replace(leaf, encryption_key=bob.init_key))
    state = flooded(world["person 0"].state, [others, Add(bob)])
    added = proposal_list.choose_proposals(state, (), no_psks, NOW).added.values()
    assert bob.init_key in [package.init_key for package in added]


def test_c10_whoever_is_outside_counts_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """One key may stand in many places of `external_senders`."""
    monkeypatch.setattr("crypto.mls.rules.message.PENDING_MAX", 2)
    suite = suite_of(1)
    world = World(suite, config=GroupConfig(accept_external_proposals=True))
    key = suite.signature.generate()
    senders = tuple(ExternalSender(key.public, BasicCredential(b"outsider")) for _ in range(3))
    world.found("person 0", (Extension(ExtensionType.EXTERNAL_SENDERS, encode_as(ExternalSenders, senders)),))
    messages = [
        propose_as_external_sender(
            suite, world["person 0"].group_id, 0, place, key, GroupContextExtensions((Extension(3, b"\0\0\0"),))
        )
        for place in range(3)
    ]
    for message in messages[:2]:
        received = world["person 0"].receive(message, NOW)
        assert isinstance(received, ReceivedProposal)
        world.people["person 0"].group = received.group
    group = world["person 0"]
    assert_refused("C10", lambda: group.receive(messages[2], NOW), group)
    with off(message_rules.c10_proposals_bounded):
        group.receive(messages[2], NOW)
