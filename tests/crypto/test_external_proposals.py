"""Proposals from outside the group (RFC 9420 §12.1.8): external senders, and clients that want to be added."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from crypto.errors import AuthenticationError, DecodeError, FutureEpoch, PastEpoch, RuleViolation
from crypto.mls import messages, proposing
from crypto.mls.config import GroupConfig
from crypto.mls.credentials import BasicCredential
from crypto.mls.extensions import Extension, ExtensionType, ExternalSender, external_senders
from crypto.mls.framing import (
    ExternalSenderIndex,
    NewMemberProposalSender,
    ProposalContent,
    PublicMessage,
    WireFormat,
    decode_message,
    encode_message,
)
from crypto.mls.group import (
    ReceivedProposal,
    propose_as_external_sender,
    propose_own_addition,
)
from crypto.mls.proposals import (
    Add,
    AnyProposal,
    ExternalInit,
    GroupContextExtensions,
    PreSharedKey,
    ReInit,
    Remove,
    Update,
)
from crypto.mls.protection import open_private, open_sender_data
from crypto.mls.psk import ExternalPSK, PreSharedKeyID
from crypto.mls.rules import leaf as leaf_rules
from crypto.mls.rules import message as message_rules
from crypto.mls.rules import proposal_list as list_rules
from crypto.mls.snapshot import load, rows
from crypto.mls.tree_nodes import LeafIndex, ProtocolVersion
from crypto.secret import Secret
from crypto.suites import CipherSuite, SignatureKeyPair, suite
from crypto.wire import encode_as
from tests.crypto.forge import assert_refused, changed_key_package, forged_message, off, offered
from tests.crypto.world import NOW, World, every_suite, world_of

OPEN = GroupConfig(accept_external_proposals=True)


def listing(*senders: ExternalSender) -> tuple[Extension, ...]:
    return (Extension(ExtensionType.EXTERNAL_SENDERS, encode_as(tuple[ExternalSender, ...], senders)),)


def guarded_world(belongs: CipherSuite, count: int, config: GroupConfig = OPEN) -> tuple[World, SignatureKeyPair]:
    """A group that lists two external senders, and the key of the second."""
    world = world_of(belongs, count, config)
    first, second = belongs.signature.generate(), belongs.signature.generate()
    entries = [
        ExternalSender(key.public, BasicCredential(name))
        for key, name in ((first, b"first service"), (second, b"second service"))
    ]
    world.commit("person 0", extensions=listing(*entries))
    return world, second


def from_service(world: World, service: SignatureKeyPair, proposal: AnyProposal, index: int = 1) -> bytes:
    group = world["person 0"]
    return propose_as_external_sender(world.suite, group.group_id, group.epoch, index, service, proposal)


def take_in(world: World, message: bytes) -> list[ReceivedProposal]:
    """Everybody gets an outsider's proposal."""
    taken = []
    for someone in world.members:
        received = someone.view.receive(message, NOW)
        assert isinstance(received, ReceivedProposal)
        someone.group = load(rows(received.group), someone.signer, someone.config)
        taken.append(received)
    return taken


@every_suite
def test_a_service_proposes_and_a_member_commits(belongs: CipherSuite) -> None:
    world, service = guarded_world(belongs, 5)
    for received in take_in(world, from_service(world, service, Remove(world.leaf("person 3")))):
        assert received.sender == ExternalSender(service.public, BasicCredential(b"second service"))
        assert received.proposal.sender == ExternalSenderIndex(1)
    take_in(world, from_service(world, service, offered(world, "newcomer")))
    staged = world.commit("person 1")["person 2"]
    assert [checked.sender for checked in staged.proposals] == [ExternalSenderIndex(1)] * 2
    assert [member.credential.identity for member in staged.removed] == [b"person 3"]
    assert [member.credential.identity for member in staged.added] == [b"newcomer"]
    world.say("newcomer", b"hello")


def test_a_service_proposes_psks_extensions_and_the_end_of_the_group() -> None:
    world, service = guarded_world(suite(1), 3)
    psk = PreSharedKeyID(ExternalPSK(b"paper"), bytes(32))
    take_in(world, from_service(world, service, PreSharedKey(psk)))
    take_in(world, from_service(world, service, GroupContextExtensions(())))
    pending = world["person 1"].commit(now=NOW, find_psk=lambda _: Secret(b"paper"))
    staged = world["person 2"].receive(pending.message, NOW, lambda _: Secret(b"paper"))
    assert staged.extensions == ()  # type: ignore[union-attr]  # a commit
    world, service = guarded_world(suite(1), 3)
    take_in(world, from_service(world, service, ReInit(b"next", ProtocolVersion.MLS10, 1, ())))
    world.commit("person 1")
    assert world["person 2"].reinitialised_to == ReInit(b"next", ProtocolVersion.MLS10, 1, ())


@every_suite
def test_a_client_proposes_itself(belongs: CipherSuite) -> None:
    world = world_of(belongs, 5, OPEN)
    newcomer = world.person("newcomer")
    newcomer.offer()
    assert newcomer.bundle is not None
    group = world["person 0"]
    message = propose_own_addition(newcomer.bundle, newcomer.signer, group.group_id, group.epoch)
    for received in take_in(world, message):
        assert received.sender == ExternalSender(newcomer.signer.public, newcomer.credential)
        assert received.proposal.sender == NewMemberProposalSender()
    world.commit("person 4")
    world.say("newcomer", b"hello")


@pytest.mark.parametrize("config", [GroupConfig(), GroupConfig(accept_public_handshakes=True)])
def test_proposals_from_outside_are_refused_by_default(config: GroupConfig) -> None:
    """Rule F20."""
    world, service = guarded_world(suite(1), 3, config)
    newcomer = world.person("newcomer")
    newcomer.offer()
    assert newcomer.bundle is not None
    group = world["person 1"]
    for message in (
        from_service(world, service, Remove(2)),
        propose_own_addition(newcomer.bundle, newcomer.signer, group.group_id, group.epoch),
    ):
        assert_refused("F20", lambda message=message: group.receive(message, NOW), group)
        with off(message_rules.f20_public_allowed):
            group.receive(message, NOW)


@pytest.mark.parametrize("index", [2, 3, 2**32 - 1])
def test_f14_an_external_sender_that_is_not_listed(index: int) -> None:
    world, service = guarded_world(suite(1), 3)
    message = from_service(world, service, Remove(2), index)
    receiver = world["person 1"]
    assert_refused("F14", lambda: receiver.receive(message, NOW), receiver)


def test_f14_a_group_without_external_senders() -> None:
    world = world_of(suite(1), 3, OPEN)
    message = from_service(world, suite(1).signature.generate(), Remove(2), 0)
    receiver = world["person 1"]
    assert_refused("F14", lambda: receiver.receive(message, NOW), receiver)
    assert external_senders(()) == ()


@every_suite
def test_f14_the_listed_key_verifies(belongs: CipherSuite) -> None:
    world, service = guarded_world(belongs, 3)
    receiver = world["person 1"]
    for message in (
        from_service(world, service, Remove(2), 0),
        from_service(world, world.people["person 0"].signer, Remove(2), 1),
    ):
        with pytest.raises(AuthenticationError):
            receiver.receive(message, NOW)


@pytest.mark.parametrize("what", ["update", "external init"])
def test_f15_what_an_external_sender_may_not_propose(what: str) -> None:
    world, service = guarded_world(suite(1), 3)
    leaf = world["person 1"].state.leaf(LeafIndex(1))
    proposal = Update(leaf) if what == "update" else ExternalInit(bytes(32))
    assert_refused("F15", lambda: from_service(world, service, proposal))
    with off(list_rules.f15_external_sender_may_propose):
        message = from_service(world, service, proposal)
    receiver = world["person 2"]
    assert_refused("F15", lambda: receiver.receive(message, NOW), receiver)
    if what == "external init":
        with off(list_rules.f15_external_sender_may_propose, list_rules.p7_external_init):
            receiver.receive(message, NOW)


def test_f13_a_client_proposes_nothing_but_an_add() -> None:
    world = world_of(suite(1), 3, OPEN)
    group = world["person 0"]
    newcomer = world.person("newcomer")
    with pytest.raises(RuleViolation, match="F13"):
        proposing.propose_from_outside(
            suite(1), group.group_id, group.epoch, NewMemberProposalSender(), newcomer.signer, Remove(1)
        )


def test_f16_a_private_message_has_a_member_for_a_sender() -> None:
    """There is no place in it for another: whatever its plaintext says, the sender is a leaf."""
    world, _ = guarded_world(suite(1), 3)
    sender, receiver = world["person 0"], world["person 1"]
    body = decode_message(forged_message(sender, ProposalContent(Remove(2)))).body
    state = receiver.state
    sender_data = open_sender_data(state.suite, body, state.secrets.sender_data_secret)  # type: ignore[arg-type]  # a private message
    _, opened = open_private(state.suite, body, sender_data, state.secret_tree)  # type: ignore[arg-type]  # a private message
    assert opened.content.sender == messages.MemberSender(0)


@pytest.mark.parametrize("by", [-1, 1])
def test_f2_a_proposal_of_another_epoch(by: int) -> None:
    world, service = guarded_world(suite(1), 3)
    group = world["person 1"]
    message = propose_as_external_sender(world.suite, group.group_id, group.epoch + by, 1, service, Remove(2))
    with pytest.raises(PastEpoch if by < 0 else FutureEpoch):
        group.receive(message, NOW)
    message = propose_as_external_sender(world.suite, b"another", group.epoch, 1, service, Remove(2))
    assert_refused("F1", lambda: group.receive(message, NOW), group)


def test_f7_an_outsider_has_no_membership_tag() -> None:
    world, service = guarded_world(suite(1), 3)
    message = from_service(world, service, Remove(2))
    with pytest.raises(DecodeError):
        world["person 1"].receive(message + b"\x20" + bytes(32), NOW)
    body = decode_message(message).body
    assert isinstance(body, PublicMessage)
    assert body.membership_tag is None


def test_f10_outsiders_do_not_sign_the_group_context() -> None:
    """They may not know it (§6.1): the same message with the context under its signature is another message."""
    world, service = guarded_world(suite(1), 3)
    body = decode_message(from_service(world, service, Remove(2))).body
    assert isinstance(body, PublicMessage)
    state = world["person 1"].state
    covered = messages.encode(body.content) + state.encoded_context
    prefix = ProtocolVersion.MLS10.to_bytes(2, "big") + WireFormat.PUBLIC_MESSAGE.to_bytes(2, "big")
    signature = state.suite.sign_with_label(service, "FramedContentTBS", prefix + covered)
    with pytest.raises(AuthenticationError):
        world["person 1"].receive(encode_message(replace(body, auth=replace(body.auth, signature=signature))), NOW)


def test_single_proposals_of_outsiders_meet_the_same_rules() -> None:
    world, service = guarded_world(suite(1), 3)
    receiver = world["person 1"]
    cases: dict[str, AnyProposal] = {
        "P3": Remove(7),
        "P4": PreSharedKey(PreSharedKeyID(ExternalPSK(b"paper"), b"short")),
        "L17": GroupContextExtensions((Extension(ExtensionType.RATCHET_TREE, b""),)),
    }
    for rule, proposal in cases.items():
        message = from_service(world, service, proposal)
        assert_refused(rule, lambda message=message: receiver.receive(message, NOW), receiver)


def test_an_own_addition_meets_the_rules_for_key_packages() -> None:
    world = world_of(suite(1), 3, OPEN)
    newcomer = world.person("newcomer")
    newcomer.offer()
    assert newcomer.bundle is not None
    group = world["person 1"]

    def without_suite(leaf: Any) -> Any:
        return replace(leaf, capabilities=replace(leaf.capabilities, cipher_suites=()))

    bad = changed_key_package(newcomer, newcomer.bundle, leaf=without_suite)
    message = propose_own_addition(bad, newcomer.signer, group.group_id, group.epoch)
    assert_refused("L7", lambda: group.receive(message, NOW), group)
    with off(leaf_rules.l7_version_and_suite):
        group.receive(message, NOW)
    stranger = world.person("stranger")
    message = propose_own_addition(newcomer.bundle, stranger.signer, group.group_id, group.epoch)
    with pytest.raises(AuthenticationError):
        group.receive(message, NOW)


def test_an_outsiders_removal_of_the_committer_is_left_to_another() -> None:
    world, service = guarded_world(suite(1), 3)
    take_in(world, from_service(world, service, Remove(0)))
    take_in(world, from_service(world, service, Add(world.person("newcomer").offer().key_package)))
    staged = world.commit("person 0")["person 1"]
    assert [type(checked.proposal) for checked in staged.proposals] == [Add]
