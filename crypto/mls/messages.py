"""The messages of a group, in and out (RFC 9420 §6): the meeting of `protection` and a member's state.

Owns the order of checks on a received message: group and epoch, then who says that it is from them, then the keys, then
the signature. Only a message that passed all of them advances the secret tree (rule R5). What it means comes after.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from crypto.errors import DecodeError, Unsupported
from crypto.mls.framing import (
    AnyContent,
    AuthenticatedContent,
    FramedContent,
    MemberSender,
    PrivateMessage,
    PublicMessage,
    WireFormat,
    decode_message,
    encode_message,
)
from crypto.mls.padding import padded_size
from crypto.mls.protection import (
    open_private,
    open_sender_data,
    private_content_size,
    protect_private,
    protect_public,
    sign_content,
    unprotect_public,
    verify_signature,
)
from crypto.mls.rules import message as rules
from crypto.mls.state import GroupState
from crypto.mls.tree_nodes import LeafIndex
from crypto.wire import encode


@dataclass(frozen=True, slots=True, eq=False)
class OpenedMessage:
    """An authentic message of another member. `state` is ours with the message's key used up."""

    state: GroupState
    authenticated: AuthenticatedContent
    sender: LeafIndex
    generation: int | None
    """The message's place in its sender's ratchet; a public message has none."""


def handshake_format(state: GroupState) -> WireFormat:
    """How our proposals and commits travel."""
    return WireFormat.PUBLIC_MESSAGE if state.config.send_public_handshakes else WireFormat.PRIVATE_MESSAGE


def sign(
    state: GroupState, wire_format: WireFormat, content: AnyContent, authenticated_data: bytes
) -> AuthenticatedContent:
    """Frame and sign a content of ours in the current epoch."""
    framed = FramedContent(
        state.context.group_id, state.context.epoch, MemberSender(state.own_leaf), authenticated_data, content
    )
    return sign_content(state.suite, state.signer, wire_format, framed, state.encoded_context)


def protect(state: GroupState, authenticated: AuthenticatedContent) -> tuple[GroupState, bytes]:
    """Our signed message in its wire format, and the state with its key used up: store that before sending."""
    if authenticated.wire_format is WireFormat.PUBLIC_MESSAGE:
        public = protect_public(state.suite, authenticated, state.encoded_context, state.secrets.membership_key)
        return state, encode_message(public)
    secret_tree, private = protect_private(
        state.suite,
        authenticated,
        state.secret_tree,
        state.secrets.sender_data_secret,
        padded_size=padded_size(private_content_size(authenticated)),
    )
    return replace(state, secret_tree=secret_tree), encode_message(private)


def open_message(state: GroupState, data: bytes) -> OpenedMessage:
    """Authenticate a message of the current epoch from another member (§6).

    Raises `InvalidMessage`, `SequenceError`, or `Unsupported` for a sender outside the group.
    """
    match decode_message(data).body:
        case PrivateMessage() as private:
            return _open_private(state, private)
        case PublicMessage() as public:
            return _open_public(state, public)
        case _:
            raise DecodeError("not a message of a group")


def _open_private(state: GroupState, message: PrivateMessage) -> OpenedMessage:
    rules.f1_our_group(message.group_id, state.context.group_id)
    rules.f2_f3_current_epoch(message.epoch, state.context.epoch)
    sender_data = open_sender_data(state.suite, message, state.secrets.sender_data_secret)
    leaf = rules.f4_sender_is_member(state.tree, sender_data.leaf_index)
    rules.f19_not_from_us(sender_data.leaf_index, state.own_leaf)
    secret_tree, authenticated = open_private(state.suite, message, sender_data, state.secret_tree)
    verify_signature(state.suite, authenticated, leaf.signature_key, state.encoded_context)
    advanced = replace(state, secret_tree=secret_tree)
    return OpenedMessage(advanced, authenticated, LeafIndex(sender_data.leaf_index), sender_data.generation)


def _open_public(state: GroupState, message: PublicMessage) -> OpenedMessage:
    rules.f20_public_allowed(allowed=state.config.accept_public_handshakes)
    content = message.content
    rules.f1_our_group(content.group_id, state.context.group_id)
    rules.f2_f3_current_epoch(content.epoch, state.context.epoch)
    authenticated = unprotect_public(state.suite, message, state.encoded_context, state.secrets.membership_key)
    if not isinstance(content.sender, MemberSender):
        raise Unsupported("this version takes messages from members only")
    leaf = rules.f4_sender_is_member(state.tree, content.sender.leaf_index)
    rules.f19_not_from_us(content.sender.leaf_index, state.own_leaf)
    verify_signature(state.suite, authenticated, leaf.signature_key, state.encoded_context)
    return OpenedMessage(state, authenticated, LeafIndex(content.sender.leaf_index), None)


def proposal_reference(state: GroupState, authenticated: AuthenticatedContent) -> bytes:
    """ProposalRef (§5.2), KDF.Nh bytes: over the whole message that brought the proposal."""
    return state.suite.ref_hash("MLS 1.0 Proposal Reference", encode(authenticated))
