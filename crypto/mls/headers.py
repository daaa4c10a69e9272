"""What stands at the head of a message (RFC 9420 §6): version, wire format, content type and sender.

These are the tags by which everything else is told apart, so all structs of the wire build on them.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

from crypto.wire import Select, Uint, Uint32, variant


class ProtocolVersion(IntEnum):
    """The only version there is (§6)."""

    MLS10 = 1


Version = Annotated[ProtocolVersion, Uint(2)]


class WireFormat(IntEnum):
    """What an MLSMessage holds (§6, §17.2)."""

    PUBLIC_MESSAGE = 1
    PRIVATE_MESSAGE = 2
    WELCOME = 3
    GROUP_INFO = 4
    KEY_PACKAGE = 5


class ContentType(IntEnum):
    """What a framed message carries (§6)."""

    APPLICATION = 1
    PROPOSAL = 2
    COMMIT = 3


class SenderType(IntEnum):
    """Who sends a framed message (§6)."""

    MEMBER = 1
    EXTERNAL = 2
    NEW_MEMBER_PROPOSAL = 3
    NEW_MEMBER_COMMIT = 4


@variant(SenderType.MEMBER)
class MemberSender:
    """A member, by its leaf index (Sender, §6)."""

    leaf_index: Uint32


@variant(SenderType.EXTERNAL)
class ExternalSenderIndex:
    """Someone listed in the `external_senders` extension, by the place in that list (Sender, §6; §12.1.8.1)."""

    sender_index: Uint32


@variant(SenderType.NEW_MEMBER_PROPOSAL)
class NewMemberProposalSender:
    """A client that proposes its own addition (Sender, §6; §12.1.8)."""


@variant(SenderType.NEW_MEMBER_COMMIT)
class NewMemberCommitSender:
    """A client that joins by external commit (Sender, §6; §12.4.3.2)."""


AnySender = MemberSender | ExternalSenderIndex | NewMemberProposalSender | NewMemberCommitSender
Sender = Annotated[AnySender, Select(1)]

Outsider = ExternalSenderIndex | NewMemberProposalSender | NewMemberCommitSender
"""Senders who are not, or not yet, in the group."""
