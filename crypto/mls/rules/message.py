"""Rules for messages on their way in and out (RFC 9420 §6, §12.4, §15).

F6, F10 and F22 are steps of `protection` that raise `AuthenticationError`; F9, F12 and F16 hold by the codec, which
gives only a commit a confirmation tag and a private message a member as its sender. F2 and F3 are told apart for the
caller: it waits for a later epoch and drops an earlier one, unless it is application data of a former epoch that is
kept; F17 is `former_epochs.sender_in`. F15 stands with the proposals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import assert_never

from crypto.errors import CommitFirst, FutureEpoch, PastEpoch, RuleViolation
from crypto.mls.config import GroupConfig
from crypto.mls.extensions import ExternalSender
from crypto.mls.framing import AnyContent, ApplicationContent, FramedContent, ProposalContent, PublicMessage
from crypto.mls.headers import (
    AnySender,
    ExternalSenderIndex,
    MemberSender,
    NewMemberCommitSender,
    NewMemberProposalSender,
)
from crypto.mls.proposals import PENDING_MAX, Add, CheckedProposal, Commit
from crypto.mls.roster import Member
from crypto.mls.tree_nodes import LeafIndex
from crypto.secret import Secret
from crypto.suites import CipherSuite

EPOCH_MESSAGES_MAX = 2**20
"""How many messages of application data a member sends in one epoch. Each has a key of its own and at most 2**22 blocks
(`wire.INPUT_BYTES_MAX`): 2**42 blocks in such portions give an attacker on AES-GCM an advantage far below 2**-50."""


def f1_our_group(group_id: bytes, ours: bytes) -> None:
    """A message names the group that it is given to, §6."""
    if group_id != ours:
        raise RuleViolation("F1", "a message of another group")


def f2_f3_current_epoch(epoch: int, current: int) -> None:
    """A message is of the current epoch, §12.1, §12.4.2. Raises `FutureEpoch` or `PastEpoch`."""
    if epoch > current:
        raise FutureEpoch(f"a message of epoch {epoch} in epoch {current}")
    if epoch < current:
        raise PastEpoch(f"a message of epoch {epoch} in epoch {current}")


def f4_sender_is_member(found: Member | None) -> Member:
    """A member sender's leaf is occupied, §6.3.2; returns the member, under whose key the message is verified."""
    if found is None:
        raise RuleViolation("F4", "the sender is not a member")
    return found


def f5_application_data_is_private(content: AnyContent) -> None:
    """Application data never travels as a PublicMessage, §6."""
    if isinstance(content, ApplicationContent):
        raise RuleViolation("F5", "application data in a public message")


def f7_membership_tag_of_members(message: PublicMessage) -> None:
    """Members' public messages have a membership tag, and nobody else's, §6.2.

    What the codec reads is always so; this holds for messages that were made otherwise.
    """
    if isinstance(message.content.sender, MemberSender) != (message.membership_tag is not None):
        raise RuleViolation("F7", "a membership tag is for members, and each of their public messages has one")


def f8_membership_tag_matches(suite: CipherSuite, membership_key: Secret, covered: bytes, tag: bytes) -> None:
    """A membership tag is the whole MAC over the message and its group context, §6.2. Raises `AuthenticationError`."""
    suite.verify_mac(membership_key, covered, tag)


def f11_padding_is_zero(padding: bytes) -> None:
    """Padding is all zero, §6.3.1."""
    if padding.strip(b"\0"):
        raise RuleViolation("F11", "padding that is not all zero")


def f13_sender_may_send(content: FramedContent) -> None:
    """Who is no member sends what its sender type is for, §6: proposals, an Add of itself, or a commit that joins."""
    match content.sender:
        case MemberSender():
            allowed = True
        case ExternalSenderIndex():
            allowed = isinstance(content.content, ProposalContent)
        case NewMemberProposalSender():
            allowed = isinstance(content.content, ProposalContent) and isinstance(content.content.proposal, Add)
        case NewMemberCommitSender():
            allowed = isinstance(content.content, Commit)
        case _:
            assert_never(content.sender)
    if not allowed:
        raise RuleViolation("F13", "this sender may not send such content")


def f14_external_sender(senders: Sequence[ExternalSender], index: int) -> ExternalSender:
    """An external sender is in the group's list, §12.1.8.1; returns the entry, under whose key it is verified."""
    if index >= len(senders):
        raise RuleViolation("F14", "the group lists no such external sender")
    return senders[index]


def f19_not_from_us(sender: int, own_leaf: LeafIndex) -> None:
    """Nobody else sends under our leaf, §9.1; our own message that comes back is known by its id, not by this."""
    if sender == own_leaf:
        raise RuleViolation("F19", "a message that claims to be from us")


def f20_public_allowed(config: GroupConfig, sender: AnySender) -> None:
    """Handshake messages are private, §6, unless the group's configuration accepts public ones.

    Those of outsiders cannot be private (§12.1.8).
    """
    match sender:
        case MemberSender():
            allowed = config.accept_public_handshakes
        case NewMemberCommitSender():
            allowed = config.accept_external_commits
        case ExternalSenderIndex() | NewMemberProposalSender():
            allowed = config.accept_external_proposals
        case _:
            assert_never(sender)
    if not allowed:
        raise RuleViolation("F20", "a public message where private ones are wanted")


def c10_proposals_bounded(proposals: Mapping[bytes, CheckedProposal], one_more: CheckedProposal) -> None:
    """A sender has a bounded number of proposals in one epoch, §2.1.2.

    Of each sender, not of all together: whoever floods the group must not decide which proposals of others are kept,
    nor may that depend on how our own on their way cross theirs. Whoever is outside counts as one sender, for it can be
    as many as it likes.
    """
    sender = _member_or_none(one_more)
    if sum(_member_or_none(each) == sender for each in proposals.values()) >= PENDING_MAX:
        raise RuleViolation("C10", "too many proposals of one sender in one epoch")


def _member_or_none(checked: CheckedProposal) -> int | None:
    return checked.sender if isinstance(checked.sender, int) else None


def d1_nothing_pending(proposals: Mapping[bytes, CheckedProposal]) -> None:
    """Proposals are committed before application data is sent, §12.4: a proposed Remove takes effect first."""
    if proposals:
        raise CommitFirst("D1", "there are proposals to commit before application data is sent")


def r8_epoch_bears_more(generation: int) -> None:
    """What a member sends in an epoch stays below the AEAD's limits, §15.2: beyond them a commit comes first."""
    if generation >= EPOCH_MESSAGES_MAX:
        raise CommitFirst("R8", "this epoch has carried as many of our messages as it may: a commit comes first")
