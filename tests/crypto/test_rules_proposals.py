"""Section P of the rules: single proposals, as messages of their own, inside a commit, and where we make them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crypto.errors import DecodeError, PastEpoch
from crypto.mls.extensions import DEFAULT_PROPOSAL_TYPES, Extension, ExtensionType
from crypto.mls.framing import ProposalContent
from crypto.mls.group import Group, ReceivedProposal, StagedCommit
from crypto.mls.headers import ProtocolVersion
from crypto.mls.proposals import (
    Add,
    ExternalInit,
    GroupContextExtensions,
    PreSharedKey,
    Proposal,
    ProposalType,
    ReInit,
    Remove,
    Update,
)
from crypto.mls.psk import PreSharedKeyID, ResumptionPSKUsage
from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.rules import key_package as key_package_rules
from crypto.mls.rules import leaf as leaf_rules
from crypto.mls.rules import proposal_list as rules
from crypto.mls.tree_nodes import LeafIndex, UpdateSource, verify_leaf_node
from crypto.wire import decode_as, encode_as
from tests.crypto.forge import (
    REQUIRED,
    UNLISTED,
    assert_commit_refused,
    assert_not_authentic,
    assert_refused,
    by_reference,
    by_value,
    capabilities,
    capable,
    changed_key_package,
    changed_leaf,
    changed_update,
    follow,
    forged_commit,
    forged_message,
    forged_proposal,
    naming,
    off,
    path_leaf,
    present_psk,
    values,
)
from tests.crypto.matrix import every_group, groups_of, without_group
from tests.crypto.world import NOW, World


def assert_proposal_refused(rule: str, world: World, function: object, message: bytes) -> None:
    """The receiver refuses a proposal message by one rule, and keeps it with that rule off."""
    assert callable(function)
    receiver = world[world.receiver]
    assert_refused(rule, lambda: receiver.receive(message, NOW), receiver)
    with off(function):
        received = receiver.receive(message, NOW)
    assert isinstance(received, ReceivedProposal)
    assert received.group.pending_proposals == (received.proposal,)


# P1: Add


def with_one_key(world: World) -> Add:
    """An Add of a newcomer whose init key is its leaf's encryption key (rule K4)."""
    someone = world.person("newcomer")
    someone.offer()
    assert someone.bundle is not None
    same = lambda package: replace(package, init_key=package.leaf_node.encryption_key)  # noqa: E731  # a breach
    return Add(changed_key_package(someone, someone.bundle, package=same).key_package)


@every_group
def test_p1_an_add_meets_the_rules_for_key_packages(world: World) -> None:
    add = with_one_key(world)
    message = forged_proposal(world["person 0"], add)
    assert_proposal_refused("K4", world, key_package_rules.k4_init_key_differs, message)
    assert_commit_refused("K4", world, key_package_rules.k4_init_key_differs, values(world, add))


@every_group
def test_p1_a_key_package_that_is_not_signed(world: World) -> None:
    """Rule K3. As an Add it is refused wherever it stands, and only for that: signed, it passes."""
    good = world.person("newcomer").offer().key_package
    add = Add(replace(good, signature=bytes(64)))
    message = forged_proposal(world["person 0"], add)
    pending = forged_commit(world["person 0"], values(world, add))
    receiver = world[world.receiver]
    assert_not_authentic(lambda: receiver.receive(message, NOW), receiver)
    assert_not_authentic(lambda: receiver.receive(pending.message, NOW), receiver)
    receiver.receive(forged_commit(world["person 0"], values(world, Add(good))).message, NOW)


# P2: Update


@every_group
def test_p2_an_update_is_signed_for_its_senders_place(world: World) -> None:
    """Nobody proposes a leaf for somebody else's place, or its own for another place: the signature covers it."""
    sender = world["person 0"]
    leaf = replace(sender.state.leaf(sender.own_leaf), source=UpdateSource())
    fresh = replace(leaf, encryption_key=world.suite.generate_hpke_key_pair().public)
    elsewhere = changed_leaf(
        world.people["person 0"], fresh, lambda same: same, sender.group_id, world.leaf(world.receiver)
    )
    message = forged_proposal(sender, Update(elsewhere))
    receiver = world[world.receiver]
    assert_not_authentic(lambda: receiver.receive(message, NOW), receiver)
    with off(verify_leaf_node):
        receiver.receive(message, NOW)


@every_group
def test_p2_an_update_meets_the_rules_for_leaves(world: World) -> None:
    """Section L as an Update, of which one rule stands here for all: a new encryption key (rule L14)."""
    sender = world["person 0"]
    same_key = sender.state.leaf(sender.own_leaf).encryption_key
    leaf = changed_update(world, "person 0", lambda leaf: replace(leaf, encryption_key=same_key))
    assert_proposal_refused("L14", world, leaf_rules.l14_new_encryption_key, forged_proposal(sender, Update(leaf)))


# P3: Remove


def nobodys_places(world: World) -> tuple[int, ...]:
    """A blank leaf, or in a group of two the first place outside the tree; and places that no tree has."""
    return len(world.members), 2**24, 2**32 - 1


@every_group
def test_p3_a_remove_names_a_member(world: World) -> None:
    for removed in nobodys_places(world):
        message = forged_proposal(world["person 0"], Remove(removed))
        assert_proposal_refused("P3", world, rules.p3_removes_member, message)


@every_group
def test_p3_inside_a_commit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the rule off the tree refuses, too: there is nothing to blank. So the rule must come before the tree."""
    sender, receiver = world["person 0"], world[world.receiver]
    for removed in nobodys_places(world):
        with naming(by_value(sender, Remove(removed))):
            pending = forged_commit(sender, [])
        with off(rules.p3_removes_member):
            assert_refused("P3", lambda pending=pending: receiver.receive(pending.message, NOW), receiver)
        with monkeypatch.context() as patch:
            patch.delattr(RatchetTree, "apply")
            assert_refused("P3", lambda pending=pending: receiver.receive(pending.message, NOW), receiver)


@every_group
def test_p3_we_neither_propose_nor_commit_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    sender = world["person 0"]
    monkeypatch.delattr(RatchetTree, "apply")
    for place in map(LeafIndex, nobodys_places(world)):
        assert_refused("P3", lambda place=place: sender.propose_remove(place, now=NOW), sender)
        assert_refused("P3", lambda place=place: sender.commit(removes=[place], now=NOW), sender)


# P4, P5: PreSharedKey


@every_group
def test_p4_the_size_of_a_psk_nonce(world: World) -> None:
    sender = world["person 0"]
    for size in (0, world.suite.hash_size - 1, world.suite.hash_size + 1, 64):
        proposal = PreSharedKey(PreSharedKeyID(present_psk(sender).psk.psk, bytes(size)))
        assert_proposal_refused("P4", world, rules.p4_psk_nonce, forged_proposal(sender, proposal))
        assert_commit_refused("P4", world, rules.p4_psk_nonce, values(world, proposal))


@every_group
def test_p4_we_neither_propose_nor_commit_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    sender = world["person 0"]
    psk = present_psk(sender).psk.psk
    monkeypatch.setattr("crypto.mls.group_view.generate_psk_id", lambda _, psk: PreSharedKeyID(psk, b"short"))
    assert_refused("P4", lambda: sender.propose_psk(psk, now=NOW), sender)
    assert_refused("P4", lambda: sender.commit(psks=[psk], now=NOW), sender)


@every_group
@pytest.mark.parametrize("usage", [ResumptionPSKUsage.REINIT, ResumptionPSKUsage.BRANCH])
def test_p5_a_resumption_psk_for_another_use(world: World, usage: ResumptionPSKUsage) -> None:
    sender = world["person 0"]
    proposal = present_psk(sender, usage)
    psk = proposal.psk.psk
    assert_proposal_refused("P5", world, rules.p5_psk_usage, forged_proposal(sender, proposal))
    assert_commit_refused("P5", world, rules.p5_psk_usage, values(world, proposal))
    assert_refused("P5", lambda: sender.propose_psk(psk, now=NOW), sender)
    assert_refused("P5", lambda: sender.commit(psks=[psk], now=NOW), sender)


# P6, P7: ReInit, ExternalInit


@without_group("there is one version, and the codec knows no other")
@pytest.mark.parametrize("version", [0, 2, 255])
def test_p6_a_reinit_to_another_version(version: int) -> None:
    """A lower one does not decode, so that no group can be led to it."""
    good = encode_as(Proposal, ReInit(b"id", ProtocolVersion.MLS10, 1, ()))
    assert good == b"\0\5\2id\0\1\0\1\0"
    assert decode_as(Proposal, good) == ReInit(b"id", ProtocolVersion.MLS10, 1, ())
    with pytest.raises(DecodeError):
        decode_as(Proposal, b"\0\5\2id\0" + bytes([version]) + b"\0\1\0")


@every_group
def test_p7_external_init_from_a_member(world: World) -> None:
    """Inside a commit it cannot be accepted even with the rule off: a list of proposals has no place to put it."""
    sender, receiver = world["person 0"], world[world.receiver]
    proposal = ExternalInit(
        world.suite.hpke.send_export(sender.state.leaf(sender.own_leaf).encryption_key, b"", b"", 32)[0]
    )
    assert_proposal_refused("P7", world, rules.p7_external_init, forged_proposal(sender, proposal))
    with naming(by_value(sender, proposal)):
        pending = forged_commit(sender, [])
    assert_refused("P7", lambda: receiver.receive(pending.message, NOW), receiver)


# P8, P9: what every member must support


@every_group
@pytest.mark.parametrize("extensions", [REQUIRED, (*REQUIRED, UNLISTED)], ids=["a requirement", "an extension"])
def test_p8_new_extensions_that_an_old_member_does_not_support(world: World, extensions: tuple[Extension, ...]) -> None:
    """The bystander lacks what all others support; with the extension, the committer's new leaf alone supports it."""
    with path_leaf(capabilities(extensions=())):
        follow(world, world.bystander, world.pending(world.bystander))
    sender = world["person 0"]
    wanted = GroupContextExtensions(extensions)
    with path_leaf(capable(UNLISTED.extension_type)):
        for proposals in (values(world, wanted), [by_reference(world, "person 0", wanted)]):
            assert_commit_refused("P8", world, rules.p8_members_support_extensions, proposals)
            assert_refused("P8", lambda proposals=proposals: forged_commit(sender, proposals), sender)
    assert_refused("P8", lambda: sender.commit(extensions=REQUIRED, now=NOW), sender)


@every_group
def test_p8_a_proposal_that_a_member_cannot_follow_is_not_committed(world: World) -> None:
    """By itself it is no wrong proposal: the next commit may remove the member. Ours leaves it out."""
    by_reference(world, world.receiver, GroupContextExtensions((UNLISTED,)))
    pending = world["person 0"].commit(now=NOW)
    staged = world[world.receiver].receive(pending.message, NOW)
    assert isinstance(staged, StagedCommit)
    assert (staged.proposals, staged.extensions) == ((), ())


@every_group
def test_p8_an_added_member_that_does_not_support_a_requirement(world: World) -> None:
    """Rule L3 judges the new leaf; were it off, P8 would still judge all members as they will be."""
    someone = world.person("newcomer")
    someone.offer()
    assert someone.bundle is not None
    package = changed_key_package(someone, someone.bundle, leaf=capabilities(extensions=())).key_package
    proposals = values(world, GroupContextExtensions(REQUIRED), Add(package))
    with off(leaf_rules.l3_requirements, rules.p8_members_support_extensions):
        pending = forged_commit(world["person 0"], proposals)
    receiver = world[world.receiver]
    assert_refused("L3", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(leaf_rules.l3_requirements):
        assert_refused("P8", lambda: receiver.receive(pending.message, NOW), receiver)


@groups_of(5, 9, 33, why="a third member lacks the requirement, and goes")
def test_p8_a_removed_member_need_not_support_it(world: World) -> None:
    with path_leaf(capabilities(extensions=())):
        follow(world, world.bystander, world.pending(world.bystander))
    pending = world["person 0"].commit(removes=[world.leaf(world.bystander)], extensions=REQUIRED, now=NOW)
    staged = world[world.receiver].receive(pending.message, NOW)
    assert isinstance(staged, StagedCommit)
    assert world[world.receiver].adopt(staged).extensions == REQUIRED


@without_group("we know no proposal type but the default ones, and the codec refuses every other")
def test_p9_a_proposal_type_that_is_not_one_of_the_default_ones() -> None:
    for proposal_type in (0, 8, 0x0A0A, 0xF000, 0xFFFF):
        with pytest.raises(DecodeError):
            decode_as(Proposal, proposal_type.to_bytes(2, "big") + b"\0")
    assert DEFAULT_PROPOSAL_TYPES == set(range(1, 8)) == set(ProposalType)


@every_group
@pytest.mark.parametrize("extension_type", [ExtensionType.REQUIRED_CAPABILITIES, ExtensionType.EXTERNAL_SENDERS])
def test_extensions_that_we_understand_must_decode(world: World, extension_type: int) -> None:
    proposal = GroupContextExtensions((Extension(extension_type, b"\xff"),))
    receiver = world[world.receiver]
    for message in (
        forged_proposal(world["person 0"], proposal),
        forged_proposal(world["person 0"], ReInit(b"next", ProtocolVersion.MLS10, 1, proposal.extensions)),
    ):
        with pytest.raises(DecodeError):
            receiver.receive(message, NOW)


# P10: which proposals are kept, and for how long


@every_group
def test_p10_a_proposal_is_kept_only_if_its_sender_signed_it(world: World) -> None:
    """Right group, epoch, keys and proposal; signed by another member than the leaf that it is from."""
    sender, receiver = world["person 0"], world[world.receiver]
    proposal = GroupContextExtensions(())
    impostor = replace(sender.state, signer=world.people[world.receiver].signer)
    message = forged_message(Group(impostor), ProposalContent(proposal))
    assert_not_authentic(lambda: receiver.receive(message, NOW), receiver)
    receiver.receive(forged_proposal(sender, proposal), NOW)


@every_group
def test_p10_proposals_end_with_their_epoch(world: World) -> None:
    message = world["person 0"].propose_extensions((), now=NOW)[1]
    stale = by_reference(world, "person 0", GroupContextExtensions(()))
    receiver = world[world.receiver]
    assert receiver.pending_proposals != ()
    receiver.receive(forged_commit(world["person 0"], [stale]).message, NOW)  # as long as its epoch lasts
    follow(world, "person 0", forged_commit(world["person 0"], []))
    receiver = world[world.receiver]
    assert world["person 0"].pending_proposals == receiver.pending_proposals == ()
    pending = forged_commit(world["person 0"], [stale])
    assert_refused("Q10", lambda: receiver.receive(pending.message, NOW), receiver)
    with pytest.raises(PastEpoch):
        receiver.receive(message, NOW)
