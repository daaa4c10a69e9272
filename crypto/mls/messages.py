"""The messages of a group, in and out (RFC 9420 §6): the meeting of `protection` and a member's state.

Owns the order of checks on a received message. A private one: group and epoch, then who says that it is from them, then
the keys, then the signature. A public one: whether we take any (F20), group and epoch, then a member's membership MAC
before anybody is looked up, then the signature. Only a message that passed all of them advances the secret tree (rule
R5). What it means comes after.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from crypto.errors import DecodeError
from crypto.mls.extensions import ExternalSender, external_senders
from crypto.mls.former_epochs import sender_in
from crypto.mls.framing import (
    AnyContent,
    AuthenticatedContent,
    FramedContent,
    PrivateMessage,
    ProposalContent,
    PublicMessage,
)
from crypto.mls.headers import (
    ContentType,
    ExternalSenderIndex,
    MemberSender,
    NewMemberCommitSender,
    NewMemberProposalSender,
    WireFormat,
)
from crypto.mls.mls_message import decode_message, encode_message
from crypto.mls.proposals import Add, Commit
from crypto.mls.protection import (
    open_private,
    open_sender_data,
    protect_private,
    protect_public,
    sign_framed_content,
    unprotect_public,
    verify_framed_content,
)
from crypto.mls.roster import Member, member_at
from crypto.mls.rules import commit as commit_rules
from crypto.mls.rules import external as external_rules
from crypto.mls.rules import message as rules
from crypto.mls.state import FormerEpoch, GroupState
from crypto.mls.tree_nodes import LeafIndex, LeafNode
from crypto.suites import CipherSuite
from crypto.wire import encode


@dataclass(frozen=True, slots=True, eq=False)
class OpenedMessage:
    """An authentic message of somebody else. `state` is ours with the message's key used up."""

    state: GroupState
    authenticated: AuthenticatedContent
    sender: Member | ExternalSender
    """Who signed it: a member of the message's epoch, or whose key and credential stand where its sender type says."""
    generation: int | None
    """The message's place in its sender's ratchet; a public message has none."""
    sender_is_current: bool
    """False for a message of a former epoch whose sender's leaf has changed hands, or changed, since."""


def handshake_format(state: GroupState) -> WireFormat:
    """How our proposals and commits travel."""
    return WireFormat.PUBLIC_MESSAGE if state.config.send_public_handshakes else WireFormat.PRIVATE_MESSAGE


def sign(
    state: GroupState, wire_format: WireFormat, content: AnyContent, authenticated_data: bytes
) -> AuthenticatedContent:
    """Frame and sign a content of ours in the current epoch."""
    commit_rules.u15_group_goes_on(state.reinit)
    framed = FramedContent(
        state.context.group_id, state.context.epoch, MemberSender(state.own_leaf), authenticated_data, content
    )
    return sign_framed_content(state.suite, state.signer, wire_format, framed, state.encoded_context)


def protect(state: GroupState, authenticated: AuthenticatedContent) -> tuple[GroupState, bytes]:
    """Our signed message in its wire format, and the state with its key used up: store that before sending."""
    if authenticated.wire_format is WireFormat.PUBLIC_MESSAGE:
        public = protect_public(state.suite, authenticated, state.encoded_context, state.secrets.membership_key)
        return state, encode_message(public)
    secret_tree, private = protect_private(
        state.suite, authenticated, state.secret_tree, state.secrets.sender_data_secret
    )
    return replace(state, secret_tree=secret_tree), encode_message(private)


def open_message(state: GroupState, data: bytes) -> OpenedMessage:
    """Authenticate a message of somebody else (§6): of the current epoch, or application data of a kept former one.

    Raises `InvalidMessage` or `SequenceError`.
    """
    match decode_message(data).body:
        case PrivateMessage() as private:
            rules.f1_our_group(private.group_id, state.context.group_id)
            former = _former_epoch(state, private)
            return _open_private(state, private) if former is None else _open_former(state, former, private)
        case PublicMessage() as public:
            return _open_public(state, public)
        case _:
            raise DecodeError("not a message of a group")


def _open_private(state: GroupState, message: PrivateMessage) -> OpenedMessage:
    rules.f2_f3_current_epoch(message.epoch, state.context.epoch)
    commit_rules.u15_group_goes_on(state.reinit)
    sender_data = open_sender_data(state.suite, message, state.secrets.sender_data_secret)
    sender = rules.f4_sender_is_member(member_at(state.tree, LeafIndex(sender_data.leaf_index)))
    rules.f19_not_from_us(sender.leaf_index, state.own_leaf)
    secret_tree, authenticated = open_private(state.suite, message, sender_data, state.secret_tree)
    verify_framed_content(state.suite, authenticated, sender.signature_key, state.encoded_context)
    advanced = replace(state, secret_tree=secret_tree)
    return OpenedMessage(advanced, authenticated, sender, sender_data.generation, sender_is_current=True)


def _former_epoch(state: GroupState, message: PrivateMessage) -> FormerEpoch | None:
    """The kept epoch of a late message; only application data is of use then (rules F2, F3)."""
    if message.content_type is not ContentType.APPLICATION:
        return None
    return next((former for former in state.former if former.epoch == message.epoch), None)


def _open_former(state: GroupState, former: FormerEpoch, message: PrivateMessage) -> OpenedMessage:
    """Open a message of a former epoch by that epoch's keys, context and members (rule F17)."""
    sender_data = open_sender_data(state.suite, message, former.sender_data_secret)
    found, is_current = sender_in(former, state.tree, LeafIndex(sender_data.leaf_index))
    sender = rules.f4_sender_is_member(found)
    rules.f19_not_from_us(sender.leaf_index, state.own_leaf)
    secret_tree, authenticated = open_private(state.suite, message, sender_data, former.secret_tree)
    verify_framed_content(state.suite, authenticated, sender.signature_key, former.encoded_context)
    advanced = replace(former, secret_tree=secret_tree)
    kept = tuple(advanced if other is former else other for other in state.former)
    return OpenedMessage(
        replace(state, former=kept), authenticated, sender, sender_data.generation, sender_is_current=is_current
    )


def _open_public(state: GroupState, message: PublicMessage) -> OpenedMessage:
    content = message.content
    rules.f20_public_allowed(state.config, content.sender)
    rules.f1_our_group(content.group_id, state.context.group_id)
    rules.f2_f3_current_epoch(content.epoch, state.context.epoch)
    commit_rules.u15_group_goes_on(state.reinit)
    authenticated = unprotect_public(state.suite, message, state.encoded_context, state.secrets.membership_key)
    sender = _public_sender(state, content)
    verify_framed_content(state.suite, authenticated, sender.signature_key, state.encoded_context)
    return OpenedMessage(state, authenticated, sender, None, sender_is_current=True)


def _public_sender(state: GroupState, content: FramedContent) -> Member | ExternalSender:
    """Whose key verifies a public message, by its sender type (§6.1). Rule F13 holds already."""
    match content.sender, content.content:
        case MemberSender(leaf_index=leaf_index), _:
            sender = rules.f4_sender_is_member(member_at(state.tree, LeafIndex(leaf_index)))
            rules.f19_not_from_us(leaf_index, state.own_leaf)
            return sender
        case ExternalSenderIndex(sender_index=index), _:
            return rules.f14_external_sender(external_senders(state.context.extensions), index)
        case NewMemberProposalSender(), ProposalContent(proposal=Add(key_package=key_package)):
            return _outsider(key_package.leaf_node)
        case NewMemberCommitSender(), Commit() as commit:
            return _outsider(external_rules.x4_path_present(commit).leaf_node)
        case _:  # pragma: no cover  # rule F13
            raise AssertionError("a sender with content that it may not send")


def _outsider(leaf: LeafNode) -> ExternalSender:
    return ExternalSender(leaf.signature_key, leaf.credential)


def proposal_reference(suite: CipherSuite, authenticated: AuthenticatedContent) -> bytes:
    """ProposalRef (§5.2), KDF.Nh bytes: over the whole message that brought the proposal."""
    return suite.ref_hash("MLS 1.0 Proposal Reference", encode(authenticated))
