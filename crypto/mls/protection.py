"""Protecting messages (RFC 9420 §6.1 to §6.3): signature, membership tag, encryption, and the way back.

Owns what makes and checks the structs of `framing`. Does not own the keys (`key_schedule`, `secret_tree`) nor what a
message means.

A received message passes three gates: the caller checks group and epoch; `unprotect_public` or `open_private` gives an
`AuthenticatedContent` from someone who holds the group's keys; `verify_framed_content`, under the key of the sender
that it names, proves who. Only after the third does the caller adopt the secret tree that `open_private` returned, so
that a forgery by an outsider or by a member uses up no key.

`group_context` is the encoded GroupContext of the message's epoch.
"""

from __future__ import annotations

import os

from crypto.errors import UsageError
from crypto.mls.framing import (
    AnyAuth,
    AuthenticatedContent,
    CommitAuth,
    ContentAuth,
    FramedContent,
    PrivateApplication,
    PrivateCommit,
    PrivateContentAAD,
    PrivateMessage,
    PrivateProposal,
    PublicMessage,
    SenderData,
    SenderDataAAD,
    auth_type,
    content_type,
)
from crypto.mls.headers import ContentType, MemberSender, NewMemberCommitSender, ProtocolVersion, WireFormat
from crypto.mls.padding import padded_size
from crypto.mls.proposals import Commit
from crypto.mls.rules import message as rules
from crypto.mls.secret_tree import Generation, RatchetKind, SecretTree
from crypto.mls.tree_nodes import LeafIndex
from crypto.secret import Secret
from crypto.suites import AEAD_NONCE_SIZE, CipherSuite, SignatureKeyPair
from crypto.wire import INPUT_BYTES_MAX, decode, decode_prefix, encode

_PRIVATE_CONTENT = {
    ContentType.APPLICATION: PrivateApplication,
    ContentType.PROPOSAL: PrivateProposal,
    ContentType.COMMIT: PrivateCommit,
}


def sign_framed_content(
    suite: CipherSuite,
    signer: SignatureKeyPair,
    wire_format: WireFormat,
    content: FramedContent,
    group_context: bytes | None,
) -> AuthenticatedContent:
    """Sign a message for the way that it will travel.

    FramedContentAuthData.signature, §6.1. `group_context` enters for the sender types that sign it, and for those it
    must be given. A commit still needs `with_confirmation_tag`, which depends on this signature.
    """
    signed = _framed_content_tbs(wire_format, content, group_context)
    signature = suite.sign_with_label(signer, "FramedContentTBS", signed)
    return AuthenticatedContent(wire_format, content, ContentAuth(signature))


def with_confirmation_tag(commit: AuthenticatedContent, confirmation_tag: bytes) -> AuthenticatedContent:
    """A signed commit, made complete by its confirmation tag (§6.1)."""
    if not isinstance(commit.content.content, Commit):
        raise UsageError("only a commit has a confirmation tag")
    return AuthenticatedContent(commit.wire_format, commit.content, CommitAuth(commit.auth.signature, confirmation_tag))


def verify_framed_content(
    suite: CipherSuite, authenticated: AuthenticatedContent, public_key: bytes, group_context: bytes | None
) -> None:
    """Raise `AuthenticationError` unless the message was signed under `public_key` (rule F10).

    FramedContentAuthData.signature, §6.1. The caller takes the key from where the sender's type says.
    `group_context` as in `sign_framed_content`.
    """
    signed = _framed_content_tbs(authenticated.wire_format, authenticated.content, group_context)
    suite.verify_with_label(public_key, "FramedContentTBS", signed, authenticated.auth.signature)


def protect_public(
    suite: CipherSuite,
    authenticated: AuthenticatedContent,
    group_context: bytes | None,
    membership_key: Secret | None,
) -> PublicMessage:
    """Frame a signed handshake message without encrypting it (§6.2).

    A member's message gets the membership tag, for which both `group_context` and `membership_key` must be there.
    """
    _check_complete(authenticated, WireFormat.PUBLIC_MESSAGE)
    content, auth = authenticated.content, authenticated.auth
    rules.f5_application_data_is_private(content.content)
    rules.f13_sender_may_send(content)
    if not isinstance(content.sender, MemberSender):
        return PublicMessage(content, auth, None)
    if membership_key is None:
        raise UsageError("a member's message needs the membership key")
    tag = suite.mac(membership_key, _authenticated_content_tbm(content, auth, group_context))
    return PublicMessage(content, auth, tag)


def unprotect_public(
    suite: CipherSuite, message: PublicMessage, group_context: bytes, membership_key: Secret
) -> AuthenticatedContent:
    """Check that a PublicMessage may be one and, if it says so, comes from a member (§6.2).

    The caller has checked group and epoch, and verifies the signature afterwards. Raises `RuleViolation` F5, F7 or F13,
    and `AuthenticationError` for a wrong membership tag (F8).
    """
    content = message.content
    rules.f5_application_data_is_private(content.content)
    rules.f13_sender_may_send(content)
    rules.f7_membership_tag_of_members(message)
    if message.membership_tag is not None:
        covered = _authenticated_content_tbm(content, message.auth, group_context)
        rules.f8_membership_tag_matches(suite, membership_key, covered, message.membership_tag)
    return AuthenticatedContent(WireFormat.PUBLIC_MESSAGE, content, message.auth)


def protect_private(
    suite: CipherSuite, authenticated: AuthenticatedContent, secret_tree: SecretTree, sender_data_secret: Secret
) -> tuple[SecretTree, PrivateMessage]:
    """Encrypt a signed message to the group, padded to a bucket and with a fresh reuse guard (§6.3).

    The returned tree must be stored before the message leaves (rule R7). Raises `CommitFirst` (R8), and `UsageError`
    for what is no member's to send, or more than others read.
    """
    _check_complete(authenticated, WireFormat.PRIVATE_MESSAGE)
    framed = authenticated.content
    if not isinstance(framed.sender, MemberSender):
        raise UsageError("only members send private messages")
    content = _private_content(authenticated)
    size = padded_size(len(content))
    if size > INPUT_BYTES_MAX:  # `encode_message` judges the whole message; this comes before the work
        raise UsageError(f"larger than the {INPUT_BYTES_MAX} bytes that others read")
    kind_of_content = content_type(framed.content)
    leaf = LeafIndex(framed.sender.leaf_index)
    secret_tree, generation, message_key = secret_tree.next_key(leaf, _ratchet_kind(kind_of_content))
    if kind_of_content is ContentType.APPLICATION:  # the commit that must come is sent all the same
        rules.r8_epoch_bears_more(generation)

    reuse_guard = generate_reuse_guard()
    nonce = _guarded(message_key.nonce, reuse_guard)
    aad = encode(PrivateContentAAD(framed.group_id, framed.epoch, kind_of_content, framed.authenticated_data))
    ciphertext = suite.aead_seal(message_key.key, nonce, aad, content.ljust(size, b"\0"))

    sender_data = encode(SenderData(leaf, generation, reuse_guard))
    key, nonce = sender_data_key_nonce(suite, sender_data_secret, ciphertext)
    aad = encode(SenderDataAAD(framed.group_id, framed.epoch, kind_of_content))
    sealed_sender = suite.aead_seal(key, nonce, aad, sender_data)
    return secret_tree, PrivateMessage(
        framed.group_id, framed.epoch, kind_of_content, framed.authenticated_data, sealed_sender, ciphertext
    )


def generate_reuse_guard() -> bytes:
    """Four fresh bytes that keep a nonce unique even if a stored generation was lost (§6.3.1)."""
    return os.urandom(4)


def open_sender_data(suite: CipherSuite, message: PrivateMessage, sender_data_secret: Secret) -> SenderData:
    """Who claims to have sent a PrivateMessage, and which key opens it (§6.3.2).

    The caller checks that the leaf is occupied. Raises `AuthenticationError`, or `DecodeError` if what a member
    encrypted is no SenderData.
    """
    key, nonce = sender_data_key_nonce(suite, sender_data_secret, message.ciphertext)
    aad = encode(SenderDataAAD(message.group_id, message.epoch, message.content_type))
    return decode(SenderData, suite.aead_open(key, nonce, aad, message.encrypted_sender_data))


def open_private(
    suite: CipherSuite, message: PrivateMessage, sender_data: SenderData, secret_tree: SecretTree
) -> tuple[SecretTree, AuthenticatedContent]:
    """Decrypt the content of a PrivateMessage (§6.3.1).

    The caller has checked group and epoch, verifies the signature, and then adopts the returned tree. Raises
    `AuthenticationError`; `GenerationUsed` or `GenerationTooFar`; `DecodeError` and `RuleViolation` F4 or F11 for what
    only a member can have done.
    """
    leaf, generation = LeafIndex(sender_data.leaf_index), Generation(sender_data.generation)
    secret_tree, message_key = secret_tree.key_for(leaf, _ratchet_kind(message.content_type), generation)
    nonce = _guarded(message_key.nonce, sender_data.reuse_guard)
    aad = encode(PrivateContentAAD(message.group_id, message.epoch, message.content_type, message.authenticated_data))
    plaintext = suite.aead_open(message_key.key, nonce, aad, message.ciphertext)
    opened, size = decode_prefix(_PRIVATE_CONTENT[message.content_type], plaintext)
    rules.f11_padding_is_zero(plaintext[size:])
    content = FramedContent(
        message.group_id, message.epoch, MemberSender(leaf), message.authenticated_data, opened.content
    )
    return secret_tree, AuthenticatedContent(WireFormat.PRIVATE_MESSAGE, content, opened.auth)


def sender_data_key_nonce(suite: CipherSuite, sender_data_secret: Secret, ciphertext: bytes) -> tuple[Secret, bytes]:
    """The AEAD key and nonce of the sender data that goes with a ciphertext.

    sender_data_key and sender_data_nonce, §6.3.2. The sample is the first KDF.Nh bytes, or all of a shorter ciphertext.
    """
    sample = ciphertext[: suite.hash_size]
    key = suite.expand_with_label(sender_data_secret, "key", sample, suite.aead_key_size)
    return key, suite.expand_with_label(sender_data_secret, "nonce", sample, AEAD_NONCE_SIZE).reveal()


def _framed_content_tbs(wire_format: WireFormat, content: FramedContent, group_context: bytes | None) -> bytes:
    """FramedContentTBS, §6.1: the sender types that know the group sign its context too."""
    signed = ProtocolVersion.MLS10.to_bytes(2, "big") + wire_format.to_bytes(2, "big") + encode(content)
    if not isinstance(content.sender, MemberSender | NewMemberCommitSender):
        return signed
    if group_context is None:
        raise UsageError("the sender's signature covers the group context")
    return signed + group_context


def _authenticated_content_tbm(content: FramedContent, auth: AnyAuth, group_context: bytes | None) -> bytes:
    """AuthenticatedContentTBM, §6.2: what the membership tag covers."""
    return _framed_content_tbs(WireFormat.PUBLIC_MESSAGE, content, group_context) + encode(auth)


def _private_content(authenticated: AuthenticatedContent) -> bytes:
    """PrivateMessageContent without padding, §6.3.1."""
    return encode(authenticated.content.content) + encode(authenticated.auth)


def _check_complete(authenticated: AuthenticatedContent, wire_format: WireFormat) -> None:
    """Refuse to send what was signed for another way of travelling, or a commit that lacks its tag."""
    if authenticated.wire_format != wire_format:
        raise UsageError("signed for another wire format")
    if type(authenticated.auth) is not auth_type(authenticated.content):
        raise UsageError("a commit needs its confirmation tag")


def _ratchet_kind(kind_of_content: ContentType) -> RatchetKind:
    """The ratchet whose keys protect a content type: handshake and application keys never mix (§6.3.1)."""
    return RatchetKind.APPLICATION if kind_of_content is ContentType.APPLICATION else RatchetKind.HANDSHAKE


def _guarded(nonce: Secret, reuse_guard: bytes) -> bytes:
    """The nonce with the reuse guard XORed into its first four bytes (§6.3.1)."""
    drawn = nonce.reveal()
    return bytes(a ^ b for a, b in zip(drawn, reuse_guard, strict=False)) + drawn[len(reuse_guard) :]
