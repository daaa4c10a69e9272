"""Section Q of the rules: the list of a member's commit, whose entries stand there by value or by reference."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crypto.mls.group import StagedCommit
from crypto.mls.headers import ProtocolVersion
from crypto.mls.proposals import (
    Add,
    AnyProposal,
    CheckedProposal,
    GroupContextExtensions,
    PreSharedKey,
    ReInit,
    Remove,
    Update,
)
from crypto.mls.psk import ResumptionPSKUsage
from crypto.mls.rules import leaf as leaf_rules
from crypto.mls.rules import proposal_list as rules
from crypto.mls.tree_nodes import LeafIndex
from tests.crypto.forge import (
    REQUIRED,
    assert_commit_refused,
    assert_refused,
    by_reference,
    by_value,
    capabilities,
    changed_key_package,
    changed_state,
    changed_update,
    follow,
    forged_commit,
    naming,
    off,
    offered,
    present_psk,
    told,
    values,
)
from tests.crypto.matrix import every_group, groups_of
from tests.crypto.world import NOW, World

both_ways = pytest.mark.parametrize("way", ["by value", "by reference"])


def named(world: World, way: str, *proposals: AnyProposal, proposer: str = "person 0") -> list[CheckedProposal]:
    """The proposals as a commit of person 0 names them; by reference, those that `proposer` has sent before."""
    if way == "by value":
        return values(world, *proposals)
    return [by_reference(world, proposer, proposal) for proposal in proposals]


def lacking(world: World, name: str) -> Add:
    """An Add of a newcomer that does not support what `REQUIRED` requires."""
    someone = world.person(name)
    someone.offer()
    assert someone.bundle is not None
    return Add(changed_key_package(someone, someone.bundle, leaf=capabilities(extensions=())).key_package)


def sharing_a_key(world: World, name: str, encryption_key: bytes) -> Add:
    """An Add of a newcomer with somebody else's encryption key."""
    someone = world.person(name)
    someone.offer()
    assert someone.bundle is not None
    same_key = lambda leaf: replace(leaf, encryption_key=encryption_key)  # noqa: E731  # a breach
    return Add(changed_key_package(someone, someone.bundle, leaf=same_key).key_package)


def accepted(world: World, proposals: list[CheckedProposal]) -> StagedCommit:
    """What the receiver makes of a commit of person 0."""
    staged = world[world.receiver].receive(forged_commit(world["person 0"], proposals).message, NOW)
    assert isinstance(staged, StagedCommit)
    return staged


@every_group
def test_q1_one_invalid_entry_among_valid_ones(world: World) -> None:
    """Section P holds for each entry, wherever it stands; by reference, what is invalid was never kept."""
    bad = present_psk(world["person 0"], ResumptionPSKUsage.BRANCH)
    good = [offered(world, "newcomer"), GroupContextExtensions(())]
    for place in range(3):
        proposals = values(world, *good[:place], bad, *good[place:])
        assert_commit_refused("P5", world, rules.p5_psk_usage, proposals)


@every_group
def test_q2_an_update_by_value(world: World) -> None:
    """It would be the committer's own, which a second check refuses as well: either suffices."""
    update = values(world, Update(changed_update(world, "person 0", lambda same: same)))
    with off(rules.q2_no_update_by_committer):
        assert_commit_refused("Q2", world, rules.q2_no_update_by_value, update)
        pending = forged_commit(world["person 0"], update)
    receiver = world[world.receiver]
    with off(rules.q2_no_update_by_value):
        assert_refused("Q2", lambda: receiver.receive(pending.message, NOW), receiver)


@every_group
def test_q2_the_committers_own_update_by_reference(world: World) -> None:
    update = [told(world, "person 0", world["person 0"].propose_update(now=NOW))]
    assert_commit_refused("Q2", world, rules.q2_no_update_by_committer, update)


@every_group
@both_ways
def test_q3_a_committer_does_not_remove_itself(world: World, way: str) -> None:
    """Nothing else stands in the way: with the rule off we would look for the leaf of somebody who has just gone."""
    proposals = named(world, way, Remove(0), proposer=world.receiver)
    with naming(*proposals):
        pending = forged_commit(world["person 0"], [])
    receiver = world[world.receiver]
    assert_refused("Q3", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(rules.q3_committer_stays), pytest.raises(KeyError):
        receiver.receive(pending.message, NOW)


@every_group
def test_q3_we_do_not_remove_ourselves(world: World) -> None:
    sender = world["person 0"]
    assert_refused("Q3", lambda: sender.commit(removes=[sender.own_leaf], now=NOW), sender)


@groups_of(5, 9, 33, why="somebody else than committer and receiver is removed")
@both_ways
def test_q4_two_removes_of_one_leaf(world: World, way: str) -> None:
    """With the rule off the second finds nobody (P3)."""
    first, second = named(world, way, Remove(1)) + values(world, Remove(1))
    with naming(second):
        pending = forged_commit(world["person 0"], [first])
    receiver = world[world.receiver]
    assert_refused("Q4", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(rules.q4_one_change_per_leaf):
        assert_refused("P3", lambda: receiver.receive(pending.message, NOW), receiver)
    sender = world["person 0"]
    assert_refused("Q4", lambda: sender.commit(removes=[LeafIndex(1)] * 2, now=NOW), sender)


@groups_of(5, 9, 33, why="somebody else than committer and receiver is updated and removed")
@both_ways
def test_q4_an_update_and_a_remove_of_one_leaf(world: World, way: str) -> None:
    """The rules for new leaves (L12, L13) would miss the updated leaf, which is not in the group that follows."""
    update = told(world, "person 1", world["person 1"].propose_update(now=NOW))
    proposals = [update, *named(world, way, Remove(1))]
    with off(leaf_rules.l12_signature_key_unique, leaf_rules.l13_encryption_key_unique):
        assert_commit_refused("Q4", world, rules.q4_one_change_per_leaf, proposals)


@every_group
def test_q4_two_updates_of_one_leaf(world: World) -> None:
    updates = [told(world, "person 1", world["person 1"].propose_update(now=NOW)) for _ in range(2)]
    assert_commit_refused("Q4", world, rules.q4_one_change_per_leaf, updates)


@every_group
@both_ways
def test_q5_a_client_is_added_once(world: World, way: str) -> None:
    """Rule Q6 would find it, too: the client is twice in the group that the commit makes."""
    adds = named(world, way, offered(world, "newcomer")) + values(world, offered(world, "newcomer"))
    with off(rules.q6_added_client_is_new):
        assert_commit_refused("Q5", world, rules.q5_added_clients_distinct, adds)


@every_group
def test_q5_we_do_not_add_a_client_twice(world: World) -> None:
    sender = world["person 0"]
    offers = [world.person("newcomer").offer() for _ in range(2)]
    assert_refused("Q5", lambda: sender.commit(offers, now=NOW), sender)


@every_group
@both_ways
def test_q6_a_member_is_not_added_again(world: World, way: str) -> None:
    again = named(world, way, offered(world, world.bystander))
    assert_commit_refused("Q6", world, rules.q6_added_client_is_new, again)
    sender, offer = world["person 0"], world.people[world.bystander].offer()
    assert_refused("Q6", lambda: sender.commit([offer], now=NOW), sender)


@every_group
@both_ways
def test_q6_but_together_with_its_removal(world: World, way: str) -> None:
    leaf = world.leaf(world.bystander)
    again = named(world, way, offered(world, world.bystander), Remove(leaf), proposer="person 0")
    staged = accepted(world, again)
    assert [member.credential for member in staged.added] == [member.credential for member in staged.removed]
    assert staged.added[0].leaf_index == leaf


@every_group
@both_ways
def test_q7_psk_ids_are_unique(world: World, way: str) -> None:
    psk = present_psk(world["person 0"])
    assert_commit_refused("Q7", world, rules.q7_psk_ids_unique, named(world, way, psk) + values(world, psk))


@every_group
def test_q7_one_key_may_stand_twice_under_two_nonces(world: World) -> None:
    psk = present_psk(world["person 0"])
    other = PreSharedKey(replace(psk.psk, psk_nonce=b"\1" * world.suite.hash_size))
    assert len(accepted(world, values(world, psk, other)).psks) == 2
    pending = world["person 0"].commit(now=NOW, psks=[psk.psk.psk] * 2)
    world[world.receiver].receive(pending.message, NOW)


@every_group
@both_ways
def test_q8_group_context_extensions_stand_once(world: World, way: str) -> None:
    one, other = GroupContextExtensions(()), GroupContextExtensions(REQUIRED)
    proposals = named(world, way, one) + values(world, other)
    assert_commit_refused("Q8", world, rules.q8_one_group_context_extensions, proposals)


@every_group
def test_q8_of_two_we_commit_our_own(world: World) -> None:
    by_reference(world, world.receiver, GroupContextExtensions(()))
    pending = world["person 0"].commit(extensions=REQUIRED, now=NOW)
    staged = world[world.receiver].receive(pending.message, NOW)
    assert isinstance(staged, StagedCommit)
    assert [checked.sender for checked in staged.proposals] == [LeafIndex(0)]
    assert staged.extensions == REQUIRED


def reinit(world: World) -> ReInit:
    return ReInit(b"the group that follows", ProtocolVersion.MLS10, world.suite.id, ())


@every_group
@both_ways
@pytest.mark.parametrize("other", ["add", "extensions", "reinit"])
def test_q9_a_reinit_stands_alone(world: World, way: str, other: str) -> None:
    besides: dict[str, AnyProposal] = {
        "add": offered(world, "newcomer"),
        "extensions": GroupContextExtensions(()),
        "reinit": reinit(world),
    }
    proposals = named(world, way, reinit(world)) + values(world, besides[other])
    assert_commit_refused("Q9", world, rules.q9_reinit_alone, proposals)
    assert accepted(world, proposals[:1]).reinit == reinit(world)


@every_group
@pytest.mark.parametrize("size", [None, 0, 33], ids=["right size", "empty", "33 bytes"])
def test_q10_an_unknown_reference(world: World, size: int | None) -> None:
    """With the rule off there would be nothing to apply."""
    reference = bytes(world.suite.hash_size if size is None else size)
    with naming(CheckedProposal(GroupContextExtensions(()), LeafIndex(0), reference)):
        pending = forged_commit(world["person 0"], [])
    receiver = world[world.receiver]
    assert_refused("Q10", lambda: receiver.receive(pending.message, NOW), receiver)


@every_group
def test_q10_a_reference_of_another_group(world: World) -> None:
    """The same proposal by the same sender in a group of another id: another message, so another reference."""
    sender, receiver = world["person 0"], world[world.receiver]
    elsewhere = changed_state(sender, context=replace(sender.state.context, group_id=b"another group"))
    there = elsewhere.propose_extensions((), now=NOW)[0].pending_proposals[-1]
    pending = forged_commit(sender, [there])
    assert_refused("Q10", lambda: receiver.receive(pending.message, NOW), receiver)
    assert accepted(world, [by_reference(world, "person 0", there.proposal)]).proposals[0].reference != there.reference


@every_group
@pytest.mark.parametrize("order", [1, -1], ids=["extensions first", "extensions last"])
def test_q11_an_add_is_judged_under_the_new_requirements(world: World, order: int) -> None:
    """The Add fits only the old ones. Rule P8 would find it, too."""
    proposals = values(world, GroupContextExtensions(REQUIRED), lacking(world, "newcomer"))[::order]
    with off(rules.p8_members_support_extensions):
        assert_commit_refused("L3", world, leaf_rules.l3_requirements, proposals)


@every_group
@pytest.mark.parametrize("order", [1, -1], ids=["extensions first", "extensions last"])
def test_q11_an_add_that_fits_only_the_new_requirements(world: World, order: int) -> None:
    follow(world, "person 0", world["person 0"].commit(extensions=REQUIRED, now=NOW))
    add = lacking(world, "newcomer")
    proposals = values(world, GroupContextExtensions(()), add)[::order]
    assert [member.signature_key for member in accepted(world, proposals).added] == [
        add.key_package.leaf_node.signature_key
    ]
    assert_commit_refused("L3", world, leaf_rules.l3_requirements, proposals[order == 1 :][:1])


@every_group
@both_ways
def test_q12_two_adds_that_clash_only_together(world: World, way: str) -> None:
    first = offered(world, "newcomer")
    other = sharing_a_key(world, "another", first.key_package.leaf_node.encryption_key)
    proposals = named(world, way, first) + values(world, other)
    assert_commit_refused("L13", world, leaf_rules.l13_encryption_key_unique, proposals)
    for alone in proposals:
        accepted(world, [alone])


@groups_of(5, 9, 33, why="somebody else than committer and receiver is updated")
def test_q12_an_update_and_an_add_that_clash_only_together(world: World) -> None:
    update = told(world, "person 1", world["person 1"].propose_update(now=NOW))
    assert isinstance(update.proposal, Update)
    add = by_value(world["person 0"], sharing_a_key(world, "newcomer", update.proposal.leaf_node.encryption_key))
    assert_commit_refused("L13", world, leaf_rules.l13_encryption_key_unique, [update, add])
    for alone in (update, add):
        accepted(world, [alone])


@groups_of(5, 9, 33, why="a third member's Update is passed off as a fourth's")
def test_q13_an_update_counts_for_its_sender(world: World) -> None:
    """Whatever the committer makes of it: the receiver applies it to its sender's leaf, and has another tree (U6)."""
    update = told(world, "person 1", world["person 1"].propose_update(now=NOW))
    with off(leaf_rules.l12_signature_key_unique):
        pending = forged_commit(world["person 0"], [replace(update, sender=LeafIndex(2))])
    receiver = world[world.receiver]
    assert_refused("U6", lambda: receiver.receive(pending.message, NOW), receiver)
    assert [member.leaf_index for member in accepted(world, [update]).updated] == [1, 0]


@every_group
def test_q13_anothers_update_passed_off_as_the_committers_own(world: World) -> None:
    update = told(world, "person 1", world["person 1"].propose_update(now=NOW))
    with off(rules.q2_no_update_by_committer), off(leaf_rules.l12_signature_key_unique):
        pending = forged_commit(world["person 0"], [replace(update, sender=LeafIndex(0))])
    receiver = world[world.receiver]
    assert_refused("U6", lambda: receiver.receive(pending.message, NOW), receiver)
