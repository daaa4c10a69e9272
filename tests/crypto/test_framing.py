"""Framing: every published message decodes and encodes again, and structure alone refuses what it can."""

from __future__ import annotations

from typing import Any

import pytest

from crypto import wire
from crypto.errors import DecodeError, UsageError
from crypto.mls import framing, key_package, mls_message, proposals, tree_nodes, welcome
from crypto.mls.framing import (
    AnyContent,
    ApplicationContent,
    CommitAuth,
    ContentAuth,
    FramedContent,
    PrivateMessage,
    ProposalContent,
    PublicMessage,
    auth_type,
    content_type,
)
from crypto.mls.headers import (
    AnySender,
    ContentType,
    ExternalSenderIndex,
    MemberSender,
    NewMemberCommitSender,
    NewMemberProposalSender,
)
from crypto.mls.mls_message import decode_message, encode_message
from crypto.mls.proposals import Commit, Remove
from tests.crypto.matrix import without_group
from tests.vectors import Case, each

MEMBER = MemberSender(1)
REMOVE, COMMIT = ProposalContent(Remove(3)), Commit((), None)
PRIVATE = PrivateMessage(b"group", 7, ContentType.APPLICATION, b"aad", b"sender data", b"ciphertext")

PUBLISHED: dict[str, Any] = {
    "mls_welcome": mls_message.MLSMessage,
    "mls_group_info": mls_message.MLSMessage,
    "mls_key_package": mls_message.MLSMessage,
    "ratchet_tree": tree_nodes.RatchetTreeNodes,
    "group_secrets": welcome.GroupSecrets,
    "add_proposal": proposals.Add,
    "update_proposal": proposals.Update,
    "remove_proposal": proposals.Remove,
    "pre_shared_key_proposal": proposals.PreSharedKey,
    "re_init_proposal": proposals.ReInit,
    "external_init_proposal": proposals.ExternalInit,
    "group_context_extensions_proposal": proposals.GroupContextExtensions,
    "commit": proposals.Commit,
    "public_message_application": mls_message.MLSMessage,
    "public_message_proposal": mls_message.MLSMessage,
    "public_message_commit": mls_message.MLSMessage,
    "private_message": mls_message.MLSMessage,
}
BODIES: dict[str, type] = {
    "mls_welcome": welcome.Welcome,
    "mls_group_info": welcome.GroupInfo,
    "mls_key_package": key_package.KeyPackage,
    "public_message_application": ApplicationContent,
    "public_message_proposal": ProposalContent,
    "public_message_commit": Commit,
    "private_message": PrivateMessage,
}


@each("mls/messages.json")
def test_published_messages_decode_and_encode_again(case: Case) -> None:
    assert set(case) == set(PUBLISHED)
    for name, annotation in PUBLISHED.items():
        data = bytes.fromhex(case[name])
        value = wire.decode_as(annotation, data)
        assert wire.encode_as(annotation, value) == data, name
        if name in BODIES:
            body = value.body.content.content if isinstance(value.body, PublicMessage) else value.body
            assert isinstance(body, BODIES[name])
        for damaged in (data + b"\0", data[:-1]):
            with pytest.raises(DecodeError):
                wire.decode_as(annotation, damaged)


@pytest.mark.parametrize(
    "content, kind, auth",
    [
        (ApplicationContent(b""), ContentType.APPLICATION, ContentAuth),
        (REMOVE, ContentType.PROPOSAL, ContentAuth),
        (COMMIT, ContentType.COMMIT, CommitAuth),
    ],
)
def test_each_content_has_its_type_and_its_proofs(content: AnyContent, kind: ContentType, auth: type) -> None:
    framed = FramedContent(b"group", 7, MEMBER, b"", content)
    assert content_type(content) is kind
    assert auth_type(framed) is auth
    assert wire.encode(framed)[-len(wire.encode(content)) - 1] == kind


def test_the_envelope() -> None:
    encoded = encode_message(PRIVATE)
    assert encoded.startswith(b"\x00\x01\x00\x02\x05group")
    assert decode_message(encoded).body == PRIVATE
    assert decode_message(encoded).version == 1


def public(sender: AnySender, content: AnyContent, tag: bytes | None) -> bytes:
    auth = CommitAuth(b"signature", b"confirmation") if isinstance(content, Commit) else ContentAuth(b"signature")
    return encode_message(PublicMessage(FramedContent(b"group", 7, sender, b"aad", content), auth, tag))


@without_group("the codec knows no group")
@pytest.mark.parametrize("content", [REMOVE, COMMIT], ids=["proposal", "commit"])
def test_f7_a_member_message_without_the_field_for_its_tag_does_not_decode(content: AnyContent) -> None:
    encoded, tag = public(MEMBER, content, bytes(32)), wire.encode_opaque(bytes(32))
    assert encoded.endswith(tag)
    with pytest.raises(DecodeError, match="ends where a length belongs"):
        decode_message(encoded[: -len(tag)])


@without_group("the codec knows no group")
@pytest.mark.parametrize(
    "sender", [ExternalSenderIndex(0), NewMemberProposalSender(), NewMemberCommitSender()], ids=str
)
@pytest.mark.parametrize("content", [REMOVE, COMMIT], ids=["proposal", "commit"])
def test_f7_a_tag_on_the_message_of_anyone_else_does_not_decode(sender: AnySender, content: AnyContent) -> None:
    encoded = public(sender, content, None)
    assert encode_message(decode_message(encoded).body) == encoded
    with pytest.raises(DecodeError, match="33 bytes left over"):
        decode_message(encoded + wire.encode_opaque(bytes(32)))


@without_group("the codec knows no group")
def test_f9_a_commit_without_and_a_proposal_with_a_confirmation_tag_do_not_decode() -> None:
    tag = wire.encode_opaque(bytes(32))
    commit, proposal = public(MEMBER, COMMIT, bytes(32)), public(MEMBER, REMOVE, bytes(32))
    confirmation = wire.encode_opaque(b"confirmation")
    assert commit.endswith(confirmation + tag)
    with pytest.raises(DecodeError, match="ends where a length belongs"):  # the membership tag is read in its place
        decode_message(commit.removesuffix(confirmation + tag) + tag)
    with pytest.raises(DecodeError, match="33 bytes left over"):
        decode_message(proposal + tag)


@without_group("the codec knows no group")
def test_f9_the_same_without_a_membership_tag_after_it() -> None:
    commit, proposal = public(NewMemberCommitSender(), COMMIT, None), public(ExternalSenderIndex(0), REMOVE, None)
    confirmation = wire.encode_opaque(b"confirmation")
    with pytest.raises(DecodeError, match="ends where a length belongs"):
        decode_message(commit.removesuffix(confirmation))
    with pytest.raises(DecodeError, match="13 bytes left over"):
        decode_message(proposal + confirmation)


@without_group("the codec knows no group")
@pytest.mark.parametrize("size", [0, 3, 5])
def test_c8_sender_data_has_one_size(size: int) -> None:
    encoded = wire.encode(framing.SenderData(1, 2, b"rand"))
    assert wire.decode(framing.SenderData, encoded) == framing.SenderData(1, 2, b"rand")
    with pytest.raises(DecodeError):
        wire.decode(framing.SenderData, encoded[:8] + bytes(size))
    with pytest.raises(UsageError, match="where 4 belong"):
        wire.encode(framing.SenderData(1, 2, bytes(size)))
