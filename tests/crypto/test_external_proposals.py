"""Proposals from outside the group (RFC 9420 §12.1.8): external senders, and clients that want to be added."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from crypto.errors import DecodeError, FutureEpoch, PastEpoch, UsageError
from crypto.mls import messages, proposing
from crypto.mls.config import GroupConfig
from crypto.mls.credentials import BasicCredential
from crypto.mls.extensions import Extension, ExtensionType, ExternalSender, external_senders
from crypto.mls.framing import FramedContent, ProposalContent, PublicMessage
from crypto.mls.group import ReceivedProposal, propose_as_external_sender, propose_own_addition
from crypto.mls.headers import ExternalSenderIndex, NewMemberProposalSender, ProtocolVersion, WireFormat
from crypto.mls.mls_message import decode_message, encode_message
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
from crypto.mls.protection import sign_framed_content, verify_framed_content
from crypto.mls.psk import ExternalPSK, PreSharedKeyID
from crypto.mls.rules import leaf as leaf_rules
from crypto.mls.rules import message as message_rules
from crypto.mls.rules import proposal_list as list_rules
from crypto.mls.snapshot import load, rows
from crypto.secret import Secret
from crypto.suites import CipherSuite, SignatureKeyPair, suite_of
from crypto.wire import encode_as, encode_opaque
from tests.crypto.forge import (
    FIRST_LEAF,
    assert_not_authentic,
    assert_refused,
    assert_refused_with,
    changed_key_package,
    changed_state,
    off,
    offered,
)
from tests.crypto.matrix import every_group, open_groups
from tests.crypto.world import NOW, World, every_suite, world_of

OPEN = GroupConfig(accept_external_proposals=True)


def listing(*senders: ExternalSender) -> tuple[Extension, ...]:
    return (Extension(ExtensionType.EXTERNAL_SENDERS, encode_as(tuple[ExternalSender, ...], senders)),)


def guarded(world: World) -> SignatureKeyPair:
    """Let the group list two external senders; returns the key of the second."""
    first, second = world.suite.signature.generate(), world.suite.signature.generate()
    entries = [
        ExternalSender(key.public, BasicCredential(name))
        for key, name in ((first, b"first service"), (second, b"second service"))
    ]
    world.commit("person 0", extensions=listing(*entries))
    return second


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
    world = world_of(belongs, 5, OPEN)
    service = guarded(world)
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
    world = world_of(suite_of(1), 3, OPEN)
    service = guarded(world)
    psk = PreSharedKeyID(ExternalPSK(b"paper"), bytes(32))
    take_in(world, from_service(world, service, PreSharedKey(psk)))
    take_in(world, from_service(world, service, GroupContextExtensions(())))
    pending = world["person 1"].commit(now=NOW, find_psk=lambda _: Secret(b"paper"))
    staged = world["person 2"].receive(pending.message, NOW, lambda _: Secret(b"paper"))
    assert staged.extensions == ()  # type: ignore[union-attr]  # a commit
    world = world_of(suite_of(1), 3, OPEN)
    service = guarded(world)
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


@every_group
@pytest.mark.parametrize("config", [GroupConfig(), GroupConfig(accept_public_handshakes=True)])
def test_f20_proposals_from_outside_are_refused_by_default(world: World, config: GroupConfig) -> None:
    service = guarded(world)
    newcomer = world.person("newcomer")
    newcomer.offer()
    assert newcomer.bundle is not None
    group = changed_state(world[world.receiver], config=config)
    for message in (
        from_service(world, service, Remove(0)),
        propose_own_addition(newcomer.bundle, newcomer.signer, group.group_id, group.epoch),
    ):
        assert_refused("F20", lambda message=message: group.receive(message, NOW), group)
        with off(message_rules.f20_public_allowed):
            group.receive(message, NOW)


def believed(key: SignatureKeyPair) -> Any:
    """F14 for somebody who takes a stranger for a listed sender."""
    return lambda _senders, _index: ExternalSender(key.public, BasicCredential(b"a stranger"))


@open_groups(OPEN)
@pytest.mark.parametrize("index", [2, 3, 2**24, 2**32 - 1])
def test_f14_an_external_sender_that_is_not_listed(world: World, index: int) -> None:
    service = guarded(world)
    message = from_service(world, service, Remove(0), index)
    receiver = world[world.receiver]
    assert_refused("F14", lambda: receiver.receive(message, NOW), receiver)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(message_rules, "f14_external_sender", believed(service))
        receiver.receive(message, NOW)


@open_groups(OPEN)
def test_f14_a_group_without_external_senders(world: World) -> None:
    stranger = world.suite.signature.generate()
    message = from_service(world, stranger, Remove(0), 0)
    receiver = world[world.receiver]
    assert_refused("F14", lambda: receiver.receive(message, NOW), receiver)
    assert external_senders(()) == ()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(message_rules, "f14_external_sender", believed(stranger))
        receiver.receive(message, NOW)


@open_groups(OPEN)
@pytest.mark.parametrize("who", ["another entry", "a member"])
def test_f10_f14_the_listed_key_verifies(world: World, who: str) -> None:
    service = guarded(world)
    receiver = world[world.receiver]
    message = (
        from_service(world, service, Remove(0), 0)
        if who == "another entry"
        else from_service(world, world.people["person 0"].signer, Remove(0), 1)
    )
    assert_not_authentic(lambda: receiver.receive(message, NOW), receiver)
    with off(verify_framed_content):
        receiver.receive(message, NOW)


@open_groups(OPEN)
@pytest.mark.parametrize("what", ["update", "external init"])
def test_f15_what_an_external_sender_may_not_propose(world: World, what: str) -> None:
    """An ExternalInit meets rule P7 next. An Update has no leaf that it could replace, so none accepts it."""
    service = guarded(world)
    proposal = Update(world["person 0"].state.leaf(FIRST_LEAF)) if what == "update" else ExternalInit(bytes(32))
    assert_refused("F15", lambda: from_service(world, service, proposal))
    with off(list_rules.f15_external_sender_may_propose):
        message = from_service(world, service, proposal)
    receiver = world[world.receiver]
    assert_refused("F15", lambda: receiver.receive(message, NOW), receiver)
    if what == "external init":
        with off(list_rules.f15_external_sender_may_propose):
            assert_refused("P7", lambda: receiver.receive(message, NOW), receiver)
        with off(list_rules.f15_external_sender_may_propose, list_rules.p7_external_init):
            receiver.receive(message, NOW)


ALLOWED: dict[str, Callable[[World], AnyProposal]] = {
    "add": lambda world: offered(world, "newcomer"),
    "remove": lambda _: Remove(0),
    "psk": lambda world: PreSharedKey(PreSharedKeyID(ExternalPSK(b"paper"), bytes(world.suite.hash_size))),
    "reinit": lambda world: ReInit(b"next", ProtocolVersion.MLS10, world.suite.id, ()),
    "extensions": lambda _: GroupContextExtensions(()),
}


@open_groups(OPEN)
@pytest.mark.parametrize("what", ALLOWED)
def test_f15_what_an_external_sender_may_propose(world: World, what: str) -> None:
    service = guarded(world)
    message = from_service(world, service, ALLOWED[what](world))
    assert isinstance(world[world.receiver].receive(message, NOW), ReceivedProposal)


@open_groups(OPEN)
def test_f13_a_client_proposes_nothing_but_an_add(world: World) -> None:
    """Our own side; that a receiver refuses it too: `test_rules_public_message`."""
    group = world["person 0"]
    newcomer = world.person("newcomer")

    def propose() -> bytes:
        return proposing.propose_from_outside(
            world.suite, group.group_id, group.epoch, NewMemberProposalSender(), newcomer.signer, Remove(1)
        )

    assert_refused("F13", propose)
    with off(message_rules.f13_sender_may_send):
        message = propose()
    assert_refused("F13", lambda: world[world.receiver].receive(message, NOW), world[world.receiver])


@open_groups(OPEN)
def test_f16_an_external_senders_proposal_in_a_private_message(world: World) -> None:
    """There is no way to seal it: a private message has no place for such a sender, and no key."""
    service = guarded(world)
    group = world["person 0"]
    framed = FramedContent(group.group_id, group.epoch, ExternalSenderIndex(1), b"", ProposalContent(Remove(0)))
    signed = sign_framed_content(world.suite, service, WireFormat.PRIVATE_MESSAGE, framed, None)
    with pytest.raises(UsageError, match="only members"):
        messages.protect(group.state, signed)


@open_groups(OPEN)
@pytest.mark.parametrize("by", [-1, 1])
def test_f1_f2_a_proposal_for_another_group_or_epoch(world: World, by: int) -> None:
    service = guarded(world)
    group = world[world.receiver]
    message = propose_as_external_sender(world.suite, group.group_id, group.epoch + by, 1, service, Remove(0))
    assert_refused_with(PastEpoch if by < 0 else FutureEpoch, lambda: group.receive(message, NOW), group)
    with off(message_rules.f2_f3_current_epoch):
        group.receive(message, NOW)
    elsewhere = propose_as_external_sender(world.suite, b"another", group.epoch, 1, service, Remove(0))
    assert_refused("F1", lambda: group.receive(elsewhere, NOW), group)
    with off(message_rules.f1_our_group):
        group.receive(elsewhere, NOW)


@open_groups(OPEN)
def test_f7_an_external_sender_has_no_membership_tag(world: World) -> None:
    service = guarded(world)
    receiver = world[world.receiver]
    message = from_service(world, service, Remove(0))
    tagged = message + encode_opaque(bytes(world.suite.hash_size))
    assert_refused_with(DecodeError, lambda: receiver.receive(tagged, NOW), receiver)
    body = decode_message(message).body
    assert isinstance(body, PublicMessage)
    assert body.membership_tag is None


@open_groups(OPEN)
def test_f10_outsiders_do_not_sign_the_group_context(world: World) -> None:
    """They may not know it (§6.1): the same message with the context under its signature is another message."""
    service = guarded(world)
    body = decode_message(from_service(world, service, Remove(0))).body
    assert isinstance(body, PublicMessage)
    receiver = world[world.receiver]
    covered = messages.encode(body.content) + receiver.state.encoded_context
    prefix = ProtocolVersion.MLS10.to_bytes(2, "big") + WireFormat.PUBLIC_MESSAGE.to_bytes(2, "big")
    signature = world.suite.sign_with_label(service, "FramedContentTBS", prefix + covered)
    message = encode_message(replace(body, auth=replace(body.auth, signature=signature)))
    assert_not_authentic(lambda: receiver.receive(message, NOW), receiver)
    with off(verify_framed_content):
        receiver.receive(message, NOW)


SINGLE: dict[str, Callable[[World], AnyProposal]] = {
    "P3": lambda _: Remove(2**24),
    "P4": lambda _: PreSharedKey(PreSharedKeyID(ExternalPSK(b"paper"), b"short")),
    "L17": lambda _: GroupContextExtensions((Extension(ExtensionType.RATCHET_TREE, b""),)),
}


@pytest.mark.breaks("P3", "P4", "L17")
@open_groups(OPEN)
@pytest.mark.parametrize("rule", SINGLE)
def test_single_proposals_of_outsiders_meet_the_same_rules(world: World, rule: str) -> None:
    message = from_service(world, guarded(world), SINGLE[rule](world))
    assert_refused(rule, lambda: world[world.receiver].receive(message, NOW), world[world.receiver])


def test_the_table_names_the_rules_that_it_breaks() -> None:
    marks = {mark.name: mark.args for mark in test_single_proposals_of_outsiders_meet_the_same_rules.pytestmark}  # type: ignore[attr-defined]  # pytest adds it
    assert list(marks["breaks"]) == list(SINGLE)


@open_groups(OPEN)
def test_l7_f10_an_own_addition_meets_the_rules_for_key_packages(world: World) -> None:
    newcomer = world.person("newcomer")
    newcomer.offer()
    assert newcomer.bundle is not None
    group = world[world.receiver]

    def without_suite(leaf: Any) -> Any:
        return replace(leaf, capabilities=replace(leaf.capabilities, cipher_suites=()))

    bad = changed_key_package(newcomer, newcomer.bundle, leaf=without_suite)
    message = propose_own_addition(bad, newcomer.signer, group.group_id, group.epoch)
    assert_refused("L7", lambda: group.receive(message, NOW), group)
    with off(leaf_rules.l7_version_and_suite):
        group.receive(message, NOW)
    stranger = world.person("stranger")
    of_another = propose_own_addition(newcomer.bundle, stranger.signer, group.group_id, group.epoch)
    assert_not_authentic(lambda: group.receive(of_another, NOW), group)
    with off(verify_framed_content):
        group.receive(of_another, NOW)


def test_an_outsiders_removal_of_the_committer_is_left_to_another() -> None:
    world = world_of(suite_of(1), 3, OPEN)
    service = guarded(world)
    take_in(world, from_service(world, service, Remove(0)))
    take_in(world, from_service(world, service, Add(world.person("newcomer").offer().key_package)))
    staged = world.commit("person 0")["person 1"]
    assert [type(checked.proposal) for checked in staged.proposals] == [Add]
