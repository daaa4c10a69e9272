"""Sections P and Q of the rules: single proposals, and the list of a member's commit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crypto.errors import AuthenticationError, DecodeError, RuleViolation
from crypto.mls import proposal_list, proposing
from crypto.mls.extensions import Extension, ExtensionType
from crypto.mls.proposals import (
    Add,
    CheckedProposal,
    ExternalInit,
    GroupContextExtensions,
    PreSharedKey,
    Remove,
    Update,
)
from crypto.mls.psk import ExternalPSK, PreSharedKeyID, ResumptionPSK, ResumptionPSKUsage
from crypto.mls.rules import leaf as leaf_rules
from crypto.mls.rules import proposal_list as rules
from crypto.mls.secret_tree import SecretTree
from crypto.mls.state import no_psks
from crypto.mls.tree_nodes import LeafIndex
from crypto.secret import Secret
from crypto.suites import suite
from tests.crypto.forge import (
    assert_commit_refused,
    assert_refused,
    by_value,
    capable,
    changed_key_package,
    changed_state,
    changed_update,
    forged_commit,
    forged_proposal,
    off,
    offered,
    path_leaf,
    requiring,
    values,
)
from tests.crypto.world import NOW, world_of


@pytest.mark.parametrize("removed", [7, 8, 2**24, 2**32 - 1])
def test_p3_a_remove_names_a_member(removed: int) -> None:
    world = world_of(suite(1), 5)
    message = forged_proposal(world["person 0"], Remove(removed))
    receiver = world["person 3"]
    assert_refused("P3", lambda: receiver.receive(message, NOW), receiver)
    with off(rules.p3_removes_member):
        receiver.receive(message, NOW)


def test_p3_inside_a_commit() -> None:
    world = world_of(suite(1), 5)
    assert_refused("P3", lambda: forged_commit(world["person 0"], values(world, Remove(7))))


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_p4_the_size_of_a_psk_nonce(size: int) -> None:
    world = world_of(suite(1), 4)
    proposal = PreSharedKey(PreSharedKeyID(ExternalPSK(b"paper"), bytes(size)))
    message = forged_proposal(world["person 0"], proposal)
    receiver = world["person 3"]
    assert_refused("P4", lambda: receiver.receive(message, NOW), receiver)
    with off(rules.p4_psk_nonce):
        receiver.receive(message, NOW)


@pytest.mark.parametrize("usage", [ResumptionPSKUsage.REINIT, ResumptionPSKUsage.BRANCH])
def test_p5_a_resumption_psk_for_another_use(usage: ResumptionPSKUsage) -> None:
    world = world_of(suite(1), 4)
    group = world["person 0"]
    proposal = PreSharedKey(PreSharedKeyID(ResumptionPSK(usage, group.group_id, 0), bytes(32)))
    message = forged_proposal(group, proposal)
    receiver = world["person 3"]
    assert_refused("P5", lambda: receiver.receive(message, NOW), receiver)
    with off(rules.p5_psk_usage):
        receiver.receive(message, NOW)


def test_p7_external_init_from_a_member() -> None:
    world = world_of(suite(1), 4)
    message = forged_proposal(world["person 0"], ExternalInit(bytes(32)))
    receiver = world["person 3"]
    assert_refused("P7", lambda: receiver.receive(message, NOW), receiver)
    with off(rules.p7_external_init):
        receiver.receive(message, NOW)


@pytest.mark.parametrize("extensions", [requiring(0xF123), (Extension(0xF123, b""),)])
def test_p8_new_extensions_that_a_member_does_not_support(extensions: tuple[Extension, ...]) -> None:
    world = world_of(suite(1), 4)
    for name in ("person 0", "person 1", "person 3"):
        with path_leaf(capable(0xF123)):
            world.commit(name)
    proposals = values(world, GroupContextExtensions(extensions))
    assert_commit_refused("P8", world, rules.p8_members_support_extensions, proposals)
    # the member who lacks it is removed by the same commit: fine
    world.commit("person 0", removes=["person 2"], extensions=extensions)


def test_p8_a_new_extension_that_an_added_member_does_not_support() -> None:
    world = world_of(suite(1), 4)
    for number in range(4):
        with path_leaf(capable(0xF123)):
            world.commit(f"person {number}")
    proposals = values(world, GroupContextExtensions(requiring(0xF123)), offered(world, "newcomer"))
    with off(leaf_rules.l3_requirements, rules.p8_members_support_extensions):
        pending = forged_commit(world["person 0"], proposals)
    receiver = world["person 3"]
    assert_refused("L3", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(leaf_rules.l3_requirements):
        assert_refused("P8", lambda: receiver.receive(pending.message, NOW), receiver)


@pytest.mark.parametrize("extension_type", [ExtensionType.REQUIRED_CAPABILITIES, ExtensionType.EXTERNAL_SENDERS])
def test_extensions_that_we_understand_must_decode(extension_type: int) -> None:
    world = world_of(suite(1), 4)
    message = forged_proposal(world["person 0"], GroupContextExtensions((Extension(extension_type, b"\xff"),)))
    with pytest.raises(DecodeError):
        world["person 3"].receive(message, NOW)


def test_p10_proposals_end_with_their_epoch() -> None:
    world = world_of(suite(1), 4)
    world.deliver_proposal("person 1", world["person 1"].propose_update(now=NOW))
    world.deliver_proposal("person 2", world["person 2"].propose_remove(LeafIndex(1), now=NOW))
    stale = world["person 0"].pending_proposals
    with off(rules.q4_one_change_per_leaf):
        world.commit("person 0", removes=["person 1"])
    assert all(someone.view.pending_proposals == () for someone in world.members)
    pending = forged_commit(world["person 0"], [replace(stale[1], proposal=Remove(2))])
    receiver = world["person 3"]
    assert_refused("Q10", lambda: receiver.receive(pending.message, NOW), receiver)


def test_q2_no_update_by_the_committer() -> None:
    world = world_of(suite(1), 4)
    by_value_too = values(world, Update(changed_update(world, "person 0", lambda same: same)))
    with off(rules.q2_no_update_by_committer):
        pending = forged_commit(world["person 0"], by_value_too)
    receiver = world["person 3"]
    assert_refused("Q2", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(rules.q2_no_update_by_value):
        assert_refused("Q2", lambda: receiver.receive(pending.message, NOW), receiver)
    world.deliver_proposal("person 0", world["person 0"].propose_update(now=NOW))
    by_reference = list(world["person 0"].pending_proposals)
    with off(rules.q2_no_update_by_committer):
        pending = forged_commit(world["person 0"], by_reference)
    receiver = world["person 3"]
    assert_refused("Q2", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(rules.q2_no_update_by_committer):
        receiver.receive(pending.message, NOW)


def test_q2_an_update_by_value_is_refused_whatever_else_holds() -> None:
    world = world_of(suite(1), 4)
    with off(rules.q2_no_update_by_committer):
        pending = forged_commit(
            world["person 0"], values(world, Update(changed_update(world, "person 0", lambda same: same)))
        )
        receiver = world["person 3"]
        assert_refused("Q2", lambda: receiver.receive(pending.message, NOW), receiver)
        with off(rules.q2_no_update_by_value):
            receiver.receive(pending.message, NOW)


@pytest.mark.parametrize("way", ["by value", "by reference"])
def test_q3_a_committer_does_not_remove_itself(way: str) -> None:
    world = world_of(suite(1), 4)
    if way == "by reference":
        world.deliver_proposal("person 2", world["person 2"].propose_remove(LeafIndex(0), now=NOW))
        proposals = list(world["person 0"].pending_proposals)
    else:
        proposals = values(world, Remove(0))
    receiver = world["person 3"]
    # no honest code can commit its own removal: a path of somebody who is no longer there. The list is judged first.
    assert_refused("Q3", lambda: forged_commit(world["person 0"], proposals), receiver)
    assert_refused("Q3", lambda: rules.check_list(proposals, LeafIndex(0)))
    rules.check_list(proposals, LeafIndex(1))


@pytest.mark.parametrize("pair", ["two removes", "update and remove", "two updates"])
def test_q4_one_change_for_each_leaf(pair: str) -> None:
    world = world_of(suite(1), 4)
    remove = by_value(world["person 0"], Remove(1))
    update = CheckedProposal(Update(changed_update(world, "person 1", lambda same: same)), LeafIndex(1), b"reference")
    other = replace(update, reference=b"another reference")
    listed = {"two removes": [remove, remove], "update and remove": [update, remove], "two updates": [update, other]}
    assert_refused("Q4", lambda: rules.check_list(listed[pair], LeafIndex(0)))
    rules.check_list(listed[pair][:1], LeafIndex(0))


def test_q4_received() -> None:
    world = world_of(suite(1), 4)
    world.deliver_proposal("person 1", world["person 1"].propose_update(now=NOW))
    world.deliver_proposal("person 1", world["person 1"].propose_update(now=NOW))
    assert_commit_refused("Q4", world, rules.q4_one_change_per_leaf, list(world["person 0"].pending_proposals))


def test_q5_a_client_is_added_once() -> None:
    world = world_of(suite(1), 4)
    adds = values(world, offered(world, "newcomer"), offered(world, "newcomer"))
    with off(rules.q5_added_clients_distinct, rules.q6_added_client_is_new):
        pending = forged_commit(world["person 0"], adds)
    receiver = world["person 3"]
    assert_refused("Q5", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(rules.q5_added_clients_distinct, rules.q6_added_client_is_new):
        receiver.receive(pending.message, NOW)


def test_q6_a_member_is_added_only_with_its_removal() -> None:
    world = world_of(suite(1), 4)
    again = offered(world, "person 1")
    assert_commit_refused("Q6", world, rules.q6_added_client_is_new, values(world, again))
    world["person 3"].receive(forged_commit(world["person 0"], values(world, again, Remove(1))).message, NOW)


def test_q7_psk_ids_are_unique() -> None:
    world = world_of(suite(1), 4)
    psk = PreSharedKey(PreSharedKeyID(ExternalPSK(b"paper"), bytes(32)))
    listed = values(world, psk, psk)
    assert_refused("Q7", lambda: rules.check_list(listed, LeafIndex(0)))
    other = PreSharedKey(PreSharedKeyID(ExternalPSK(b"paper"), b"1" * 32))
    rules.check_list(values(world, psk, other), LeafIndex(0))
    pending = world["person 0"].commit(now=NOW, psks=(ExternalPSK(b"paper"),) * 2, find_psk=lambda _: Secret(b"paper"))
    world["person 3"].receive(pending.message, NOW, lambda _: Secret(b"paper"))


def test_q8_group_context_extensions_stand_once() -> None:
    world = world_of(suite(1), 4)
    one = GroupContextExtensions(())
    assert_commit_refused("Q8", world, rules.q8_one_group_context_extensions, values(world, one, one))


@pytest.mark.parametrize("reference", [bytes(32), b"", b"1" * 33])
def test_q10_an_unknown_reference(reference: bytes) -> None:
    world = world_of(suite(1), 4)
    unknown = CheckedProposal(Remove(1), LeafIndex(2), reference)
    pending = forged_commit(world["person 0"], [unknown])
    receiver = world["person 3"]
    assert_refused("Q10", lambda: receiver.receive(pending.message, NOW), receiver)


def test_q11_an_add_is_judged_under_the_new_requirements() -> None:
    world = world_of(suite(1), 4)
    for number in range(4):
        with path_leaf(capable(0xF123)):
            world.commit(f"person {number}")
    world.commit("person 0", extensions=requiring(0xF123))
    # fits only the old requirements, which the same commit lifts; and the other way round
    world.commit("person 1", adds=["plain"], extensions=())
    proposals = values(world, offered(world, "another"), GroupContextExtensions(requiring(0xF123)))
    with off(rules.p8_members_support_extensions):
        assert_commit_refused("L3", world, leaf_rules.l3_requirements, proposals)


def test_q13_an_update_counts_for_its_sender() -> None:
    """The committer cannot pass off another member's Update as one for a leaf that it likes."""
    world = world_of(suite(1), 4)
    world.deliver_proposal("person 1", world["person 1"].propose_update(now=NOW))
    honest = world["person 0"].pending_proposals[0]
    with_lie = [replace(honest, sender=LeafIndex(2))]
    with off(leaf_rules.l12_signature_key_unique):
        pending = forged_commit(world["person 0"], with_lie)
    receiver = world["person 3"]
    # the receiver applies it to leaf 1, and so has another tree than the one that the path was made for
    assert_refused("U6", lambda: receiver.receive(pending.message, NOW), receiver)


def test_a_flood_of_proposals_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule C10."""
    monkeypatch.setattr("crypto.mls.rules.message.PROPOSALS_MAX", 3)
    world = world_of(suite(1), 4)
    for _ in range(3):
        world.deliver_proposal("person 1", world["person 1"].propose_update(now=NOW))
    message = forged_proposal(world["person 1"], Remove(2))
    receiver = world["person 0"]
    assert_refused("C10", lambda: receiver.receive(message, NOW), receiver)


def test_choosing_costs_few_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """One clash among many proposals is found by halving, not by trying each alone."""
    world = world_of(suite(1), 2)
    adder = world["person 1"]
    offers = [world.person(f"newcomer {number}").offer() for number in range(31)]
    for offer in (*offers, offers[17]):
        world.deliver_proposal("person 1", adder.propose_add(offer, now=NOW))
        adder = world["person 1"]
    judged = []
    original = proposal_list._judge
    monkeypatch.setattr(proposal_list, "_judge", lambda *args: (judged.append(1), original(*args))[1])
    world.win("person 0", world["person 0"].commit(now=NOW))
    assert len(world["person 0"].members) == 33
    assert len(judged) <= 2 + 2 * 6


def test_a_flood_of_adds_that_share_a_key_costs_few_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule C10: each clashes with the first one only, which trying them in halves would find one by one."""
    world = world_of(suite(1), 2)
    state = world["person 0"].state
    shared = world.person("shared").offer().key_package
    for number in range(60):
        someone = world.person(f"person {number} of the flood")
        someone.offer()
        assert someone.bundle is not None
        same_key = lambda leaf: replace(leaf, encryption_key=shared.leaf_node.encryption_key)  # noqa: E731  # a breach
        package = changed_key_package(someone, someone.bundle, leaf=same_key).key_package
        checked = proposal_list.check_proposal(state, Add(package), LeafIndex(1), bytes([number]) * 32, NOW)
        state = proposing.with_proposal(state, checked)
    attempts: list[int] = []
    judge = proposal_list._judge
    monkeypatch.setattr(proposal_list, "_judge", lambda *arguments: (attempts.append(1), judge(*arguments))[1])
    assert len(proposal_list.choose_proposals(state, (), no_psks, NOW).added) == 1
    assert len(attempts) <= 2


def test_a_secret_tree_of_the_old_epoch_opens_nothing_of_the_new() -> None:
    world = world_of(suite(1), 4)
    old = world["person 3"].state.secret_tree
    world.commit("person 0")
    _, message = world["person 0"].protect(b"new")
    assert isinstance(old, SecretTree)
    with pytest.raises(AuthenticationError):
        changed_state(world["person 3"], secret_tree=old).receive(message, NOW)


def test_a_rule_violation_names_its_rule() -> None:
    assert RuleViolation("Q4", "text").rule == "Q4"
