"""Section F of the rules: public messages, by sender and content, and their tags (F5, F7, F8, F9, F13, F20)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from crypto.errors import DecodeError
from crypto.mls import protection
from crypto.mls.config import GroupConfig
from crypto.mls.extensions import Extension, ExtensionType, ExternalSender
from crypto.mls.framing import CommitAuth, ContentAuth, ProposalContent, PublicMessage
from crypto.mls.group import ReceivedProposal
from crypto.mls.headers import (
    AnySender,
    ExternalSenderIndex,
    MemberSender,
    NewMemberCommitSender,
    NewMemberProposalSender,
    WireFormat,
)
from crypto.mls.mls_message import encode_message
from crypto.mls.proposals import Commit, Remove
from crypto.mls.rules import message as message_rules
from crypto.wire import encode, encode_as, encode_opaque
from tests.crypto.forge import (
    assert_not_authentic,
    assert_refused,
    assert_refused_with,
    changed_state,
    forged_message,
    off,
    offered,
)
from tests.crypto.forge_messages import (
    HELLO,
    PROPOSAL,
    opened,
    public_body,
    signed_by,
)
from tests.crypto.matrix import every_group, open_groups
from tests.crypto.world import NOW, World

ALL_PUBLIC = GroupConfig(accept_public_handshakes=True, accept_external_commits=True, accept_external_proposals=True)

# F5, F13, F20: what may be public


@open_groups(ALL_PUBLIC)
def test_f5_application_data_in_a_public_message(world: World) -> None:
    """With the rule off it is an authentic message; `Group.receive` has nothing that it could make of it."""
    sender, receiver = world["person 0"], world[world.receiver]
    assert_refused("F5", lambda: forged_message(sender, HELLO, WireFormat.PUBLIC_MESSAGE), sender)
    with off(message_rules.f5_application_data_is_private):
        message = forged_message(sender, HELLO, WireFormat.PUBLIC_MESSAGE)
    assert_refused("F5", lambda: receiver.receive(message, NOW), receiver)
    with off(message_rules.f5_application_data_is_private):
        assert opened(receiver, message).authenticated.content.content == HELLO


OUTSIDERS = [ExternalSenderIndex(0), NewMemberProposalSender(), NewMemberCommitSender()]
ALLOWED = {
    (ExternalSenderIndex, "remove"), (ExternalSenderIndex, "add"), (NewMemberProposalSender, "add"),
    (NewMemberCommitSender, "commit"),
}  # fmt: skip


@open_groups(ALL_PUBLIC)
@pytest.mark.parametrize("sender", OUTSIDERS, ids=lambda sender: type(sender).__name__)
@pytest.mark.parametrize("kind", ["application", "remove", "add", "commit"])
def test_f13_what_each_kind_of_outsider_may_send(world: World, sender: AnySender, kind: str) -> None:
    """Of what is refused only an external sender's has a key that could verify it: that opens with the rule off."""
    outsider = world.person("outsider")
    listed = ExternalSender(outsider.signer.public, outsider.credential)
    data = encode_as(tuple[ExternalSender, ...], (listed,))
    judging = world[world.receiver]
    extensions = (Extension(ExtensionType.EXTERNAL_SENDERS, data),)
    receiver = changed_state(judging, context=replace(judging.state.context, extensions=extensions))
    contents: dict[str, Any] = {
        "application": HELLO,
        "remove": ProposalContent(Remove(0)),
        "add": ProposalContent(offered(world, "outsider")),
        "commit": Commit((), None),
    }
    body = signed_by(receiver, outsider.signer, sender, contents[kind], receiver.state.encoded_context)
    if (type(sender), kind) in ALLOWED:
        if kind == "commit":  # it gets as far as rule X4: it has no path
            assert_refused("X4", lambda: receiver.receive(encode_message(body), NOW), receiver)
        else:
            assert isinstance(receiver.receive(encode_message(body), NOW), ReceivedProposal)
        return
    rule = "F5" if kind == "application" else "F13"
    assert_refused(rule, lambda: receiver.receive(encode_message(body), NOW), receiver)
    if isinstance(sender, ExternalSenderIndex):
        with off(message_rules.f5_application_data_is_private, message_rules.f13_sender_may_send):
            assert opened(receiver, encode_message(body)).sender == listed


CLOSED = {
    "members": (GroupConfig(accept_external_commits=True, accept_external_proposals=True), MemberSender(0)),
    "external senders": (GroupConfig(accept_public_handshakes=True), ExternalSenderIndex(0)),
    "who wants to be added": (GroupConfig(accept_public_handshakes=True), NewMemberProposalSender()),
    "who joins by itself": (GroupConfig(accept_external_proposals=True), NewMemberCommitSender()),
}


@every_group
@pytest.mark.parametrize("whose", CLOSED)
def test_f20_public_messages_of_whom_the_group_is_closed_to(world: World, whose: str) -> None:
    config, sender = CLOSED[whose]
    group = world["person 0"]
    content: Any = PROPOSAL
    if isinstance(sender, NewMemberProposalSender):
        content = ProposalContent(offered(world, "outsider"))
    elif isinstance(sender, NewMemberCommitSender):
        content = Commit((), None)
    signer = group.state.signer if isinstance(sender, MemberSender) else world.person("outsider").signer
    body = signed_by(group, signer, sender, content, group.state.encoded_context)
    for setting in (GroupConfig(), config):
        receiver = changed_state(world[world.receiver], config=setting)
        assert_refused("F20", lambda receiver=receiver: receiver.receive(encode_message(body), NOW), receiver)
        if isinstance(sender, MemberSender | NewMemberProposalSender):
            with off(message_rules.f20_public_allowed):
                assert isinstance(receiver.receive(encode_message(body), NOW), ReceivedProposal)


# F7, F8, F9: tags


@open_groups(ALL_PUBLIC)
def test_f7_a_members_message_without_a_membership_tag(world: World) -> None:
    """Its bytes end too early; as a value, which the codec never makes, rule F7 refuses it."""
    sender, receiver = world["person 0"], world[world.receiver]
    body = public_body(forged_message(sender, PROPOSAL, WireFormat.PUBLIC_MESSAGE))
    assert body.membership_tag is not None
    whole = encode_message(body)
    bare = whole.removesuffix(encode_opaque(body.membership_tag))
    assert_refused_with(DecodeError, lambda: receiver.receive(bare, NOW), receiver)
    state, untagged = receiver.state, replace(body, membership_tag=None)
    unprotect = (state.suite, untagged, state.encoded_context, state.secrets.membership_key)
    assert_refused("F7", lambda: protection.unprotect_public(*unprotect), receiver)
    with off(message_rules.f7_membership_tag_of_members):
        protection.unprotect_public(*unprotect)


@open_groups(ALL_PUBLIC)
def test_f7_an_outsiders_message_with_a_membership_tag(world: World) -> None:
    receiver, outsider = world[world.receiver], world.person("outsider")
    body = signed_by(receiver, outsider.signer, NewMemberProposalSender(), ProposalContent(offered(world, "outsider")))
    state = receiver.state
    tag = state.suite.mac(state.secrets.membership_key, b"")
    tagged = encode_message(body) + encode_opaque(tag)
    assert_refused_with(DecodeError, lambda: receiver.receive(tagged, NOW), receiver)
    unprotect = (state.suite, replace(body, membership_tag=tag), state.encoded_context, state.secrets.membership_key)
    assert_refused("F7", lambda: protection.unprotect_public(*unprotect), receiver)
    with off(message_rules.f7_membership_tag_of_members, message_rules.f8_membership_tag_matches):
        protection.unprotect_public(*unprotect)


TAGS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "one byte": lambda right: right[:1],
    "half": lambda right: right[:16],
    "one short": lambda right: right[:-1],
    "one long": lambda right: right + b"\0",
    "zero": lambda right: bytes(len(right)),
    "first byte": lambda right: bytes([right[0] ^ 1]) + right[1:],
    "last byte": lambda right: right[:-1] + bytes([right[-1] ^ 0x80]),
}


@open_groups(ALL_PUBLIC)
@pytest.mark.parametrize("wrong", TAGS)
def test_f8_c8_a_membership_tag_that_is_not_whole_or_wrong(world: World, wrong: str) -> None:
    sender, receiver = world["person 0"], world[world.receiver]
    body = public_body(forged_message(sender, PROPOSAL, WireFormat.PUBLIC_MESSAGE))
    assert body.membership_tag is not None
    message = encode_message(replace(body, membership_tag=TAGS[wrong](body.membership_tag)))
    assert_not_authentic(lambda: receiver.receive(message, NOW), receiver)
    with off(message_rules.f8_membership_tag_matches):
        assert isinstance(receiver.receive(message, NOW), ReceivedProposal)


def hand_made(body: PublicMessage, proofs: bytes, world: World) -> bytes:
    """The same message with other proofs, under a right membership tag."""
    state = world["person 0"].state
    content = b"\0\1\0\1" + encode(body.content)
    tag = state.suite.mac(state.secrets.membership_key, content + state.encoded_context + proofs)
    return content + proofs + encode_opaque(tag)


@open_groups(ALL_PUBLIC)
def test_f9_a_public_commit_without_and_a_proposal_with_a_confirmation_tag(world: World) -> None:
    """There is no reading the one or the other, so no rule to switch off: a commit has its tag, nothing else has."""
    sender, receiver = world["person 0"], world[world.receiver]
    pending = changed_state(sender, config=GroupConfig(send_public_handshakes=True)).commit(now=NOW)
    commit = public_body(pending.message)
    assert hand_made(commit, encode(commit.auth), world) == pending.message
    bare = hand_made(commit, encode(ContentAuth(commit.auth.signature)), world)
    assert_refused_with(DecodeError, lambda: receiver.receive(bare, NOW), receiver)
    proposal = public_body(forged_message(sender, PROPOSAL, WireFormat.PUBLIC_MESSAGE))
    tagged = hand_made(proposal, encode(CommitAuth(proposal.auth.signature, bytes(world.suite.hash_size))), world)
    assert_refused_with(DecodeError, lambda: receiver.receive(tagged, NOW), receiver)
