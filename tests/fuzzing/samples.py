"""What the targets of members start from: every proposal, commits, and public messages of all senders."""

from __future__ import annotations

from dataclasses import replace

from crypto.mls import messages
from crypto.mls.credentials import BasicCredential
from crypto.mls.extensions import Extension, ExtensionType, RequiredCapabilities
from crypto.mls.framing import AnyContent, ApplicationContent, FramedContent, ProposalContent, PublicMessage
from crypto.mls.group import Group, external_join, propose_as_external_sender, propose_own_addition, verify_group_info
from crypto.mls.headers import ExternalSenderIndex, MemberSender, ProtocolVersion, WireFormat
from crypto.mls.mls_message import decode_message
from crypto.mls.proposals import (
    Add,
    AnyProposal,
    Commit,
    GroupContextExtensions,
    PreSharedKey,
    ProposalByReference,
    ProposalByValue,
    ReInit,
    Remove,
    Update,
)
from crypto.mls.protection import open_private, open_sender_data
from crypto.mls.psk import PreSharedKeyID, ResumptionPSK, ResumptionPSKUsage
from crypto.mls.tree_nodes import UpdateSource
from crypto.wire import encode
from tests.crypto.identities import signed_leaf
from tests.crypto.world import NOW
from tests.fuzzing.world import KNOWN_PSK, OPEN, SUITE, external_senders, find_psk, world


def proposals() -> list[AnyProposal]:
    """One of every kind that Ada may commit by value, in an order in which the first six go together."""
    w = world()
    state = w.ada.state
    epoch = ResumptionPSK(ResumptionPSKUsage.APPLICATION, state.context.group_id, state.context.epoch)
    required = Extension(ExtensionType.REQUIRED_CAPABILITIES, encode(RequiredCapabilities((), (), (1,))))
    return [
        Add(w.joiner.key_package),
        Remove(w.people.leaf("fay")),
        PreSharedKey(PreSharedKeyID(KNOWN_PSK, bytes(SUITE.hash_size))),
        PreSharedKey(PreSharedKeyID(epoch, bytes(SUITE.hash_size))),
        GroupContextExtensions((external_senders(w.external_sender), required)),
        Remove(w.people.leaf("hal")),
        Remove(w.bob.own_leaf),
        ReInit(b"the next group", ProtocolVersion.MLS10, SUITE.id, (required,)),
    ]


def update() -> Update:
    """Ada's own leaf with another key; only somebody else may commit it."""
    state = world().ada.state
    pair = SUITE.generate_hpke_key_pair()
    unsigned = replace(state.leaf(state.own_leaf), encryption_key=pair.public, source=UpdateSource())
    return Update(signed_leaf(SUITE, state.signer, unsigned, state.context.group_id, state.own_leaf))


def commits() -> list[Commit]:
    """Of Ada: what the world has pending, one with a path and nothing else, and one that only adds."""
    w = world()
    (reference,) = w.ada.state.proposals
    pending = [
        w.adding.message,
        w.ada.commit(removes=[w.people.leaf("fay"), w.people.leaf("hal")], now=NOW).message,
    ]
    opened = [_content(message) for message in pending]
    added = ProposalByValue(Add(w.joiner.key_package))
    return [*opened, Commit((added,), None), replace(opened[0], proposals=(ProposalByReference(reference),))]


def _content(message: bytes) -> Commit:
    """A private commit of Ada's, opened with Bob's keys."""
    state, body = world().bob.state, decode_message(message).body
    sender_data = open_sender_data(SUITE, body, state.secrets.sender_data_secret)
    content = open_private(SUITE, body, sender_data, state.secret_tree)[1].content.content
    assert isinstance(content, Commit)
    return content


def contents() -> list[AnyContent]:
    """Everything that Ada may say."""
    said: list[AnyContent] = [ApplicationContent(b"hello")]
    return [*said, *(ProposalContent(each) for each in [*proposals(), update()]), *commits()[:3]]


def private_messages() -> list[bytes]:
    """Ada's, as they travel."""
    w, state = world(), world().ada.state
    said = ApplicationContent(b"hello"), ProposalContent(Remove(w.people.leaf("fay")))
    sent = [
        messages.protect(state, messages.sign(state, WireFormat.PRIVATE_MESSAGE, each, b"readable"))[1] for each in said
    ]
    return [*sent, w.late, w.adding.message]


def public_messages() -> list[bytes]:
    """From everybody who may send one."""
    w = world()
    talkative = Group(replace(w.ada.state, config=replace(OPEN, send_public_handshakes=True)))
    removal, addition = Remove(w.people.leaf("fay")), Add(w.joiner.key_package)
    outside = [
        propose_as_external_sender(SUITE, w.bob.group_id, w.bob.epoch, 0, w.external_sender, proposal)
        for proposal in (removal, addition)
    ]
    verified = verify_group_info(w.bob.group_info(), now=NOW, config=OPEN)
    joining = external_join(verified, BasicCredential(b"gil"), w.gil, psks=[KNOWN_PSK], find_psk=find_psk, config=OPEN)
    coming_back = [
        external_join(verified, BasicCredential(name.encode()), w.gil, removes=w.people.leaf(name), config=OPEN)
        for name in ("fay", "bob")
    ]
    return [
        talkative.propose_remove(w.people.leaf("fay"), now=NOW)[1],
        talkative.commit(now=NOW).message,
        *outside,
        propose_own_addition(w.joiner, w.gil, w.bob.group_id, w.bob.epoch),
        joining.message,
        *(each.message for each in coming_back),
    ]


def framed_contents() -> list[FramedContent]:
    """What those public messages say, and Ada's proposals."""
    bodies = [decode_message(message).body for message in public_messages()]
    w = world()
    by_ada = [
        FramedContent(w.bob.group_id, w.bob.epoch, MemberSender(w.ada.own_leaf), b"readable", ProposalContent(each))
        for each in [*proposals(), update()]
    ]
    by_outsider = [
        FramedContent(w.bob.group_id, w.bob.epoch, ExternalSenderIndex(0), b"", ProposalContent(each))
        for each in proposals()
    ]
    return [*(body.content for body in bodies if isinstance(body, PublicMessage)), *by_ada, *by_outsider]
