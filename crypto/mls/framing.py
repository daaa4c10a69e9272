"""Message framing (RFC 9420 §6): the structs of what is signed, and of how it travels.

Does not own what makes and checks them: `protection`.
"""

from __future__ import annotations

from typing import Annotated, assert_never

from crypto.mls.headers import ContentType, MemberSender, Sender, WireFormat
from crypto.mls.proposals import Commit, Proposal
from crypto.wire import Depends, Fixed, Select, Uint, Uint32, Uint64, struct, variant


@variant(ContentType.APPLICATION)
class ApplicationContent:
    """Application data (§6)."""

    application_data: bytes


@variant(ContentType.PROPOSAL)
class ProposalContent:
    """A proposal (§6, §12.1)."""

    proposal: Proposal


AnyContent = ApplicationContent | ProposalContent | Commit


@struct
class FramedContent:
    """The content of a message and who sent it where (§6)."""

    group_id: bytes
    epoch: Uint64
    sender: Sender
    authenticated_data: bytes
    content: Annotated[AnyContent, Select(1)]


@struct
class ContentAuth:
    """FramedContentAuthData of an application message or a proposal (§6.1)."""

    signature: bytes


@struct
class CommitAuth:
    """FramedContentAuthData of a commit (§6.1). The two fields are one codec, so `signature` is not the last."""

    signature: bytes
    confirmation_tag: bytes


AnyAuth = ContentAuth | CommitAuth


def auth_type(framed: FramedContent) -> type[AnyAuth]:
    """The proofs that a content needs: only a commit has a confirmation tag (§6.1)."""
    return CommitAuth if isinstance(framed.content, Commit) else ContentAuth


def _auth_after_format(_format: int, framed: FramedContent) -> type[AnyAuth]:
    return auth_type(framed)


def _membership_tag(framed: FramedContent, _auth: AnyAuth) -> type[bytes] | None:
    return bytes if isinstance(framed.sender, MemberSender) else None


@struct
class AuthenticatedContent:
    """A message with its proofs, whatever way it travelled (§6)."""

    wire_format: Annotated[WireFormat, Uint(2)]
    content: FramedContent
    auth: Annotated[AnyAuth, Depends(_auth_after_format)]


@variant(WireFormat.PUBLIC_MESSAGE)
class PublicMessage:
    """A message that is signed and not encrypted (§6.2). Only members' messages carry a membership tag."""

    content: FramedContent
    auth: Annotated[AnyAuth, Depends(auth_type)]
    membership_tag: Annotated[bytes | None, Depends(_membership_tag)]


@variant(WireFormat.PRIVATE_MESSAGE)
class PrivateMessage:
    """A message that is signed and encrypted (§6.3)."""

    group_id: bytes
    epoch: Uint64
    content_type: Annotated[ContentType, Uint(1)]
    authenticated_data: bytes
    encrypted_sender_data: bytes
    ciphertext: bytes


@struct
class SenderData:
    """Who sent a PrivateMessage and under which key (§6.3.2)."""

    leaf_index: Uint32
    generation: Uint32
    reuse_guard: Annotated[bytes, Fixed(4)]


@struct
class SenderDataAAD:
    """The AAD of SenderData (§6.3.2)."""

    group_id: bytes
    epoch: Uint64
    content_type: Annotated[ContentType, Uint(1)]


@struct
class PrivateContentAAD:
    """The AAD of a PrivateMessage's content (§6.3.1)."""

    group_id: bytes
    epoch: Uint64
    content_type: Annotated[ContentType, Uint(1)]
    authenticated_data: bytes


@struct
class PrivateApplication:
    """PrivateMessageContent of application data, before its padding (§6.3.1)."""

    content: ApplicationContent
    auth: ContentAuth


@struct
class PrivateProposal:
    """PrivateMessageContent of a proposal, before its padding (§6.3.1)."""

    content: ProposalContent
    auth: ContentAuth


@struct
class PrivateCommit:
    """PrivateMessageContent of a commit, before its padding (§6.3.1)."""

    content: Commit
    auth: CommitAuth


def content_type(content: AnyContent) -> ContentType:
    """The type under which a content travels."""
    match content:
        case ApplicationContent():
            return ContentType.APPLICATION
        case ProposalContent():
            return ContentType.PROPOSAL
        case Commit():
            return ContentType.COMMIT
        case _:
            assert_never(content)
