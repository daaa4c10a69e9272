"""Rules for messages on their way in and out (RFC 9420 §6, §12.4, §15).

F5, F7, F8, F11, F13 and F22 stand in `protection`; F6 and F10 are `AuthenticationError`s; F9 and F12 hold by the codec.
F2 and F3 are told apart for the caller: it waits for a later epoch and drops an earlier one, unless it is application
data of a former epoch that is kept; F17 is `former_epochs.sender_in`. F16 holds by the codec, which gives a private
message a member as its sender; F15 stands with the proposals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from crypto.errors import FutureEpoch, PastEpoch, RuleViolation
from crypto.mls.extensions import ExternalSender
from crypto.mls.proposals import PROPOSALS_MAX, CheckedProposal
from crypto.mls.roster import Member
from crypto.mls.tree_nodes import LeafIndex


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


def f14_external_sender(senders: Sequence[ExternalSender], index: int) -> ExternalSender:
    """An external sender is in the group's list, §12.1.8.1; returns the entry, under whose key it is verified."""
    if index >= len(senders):
        raise RuleViolation("F14", "the group lists no such external sender")
    return senders[index]


def f19_not_from_us(sender: int, own_leaf: LeafIndex) -> None:
    """Nobody else sends under our leaf, §9.1; our own message that comes back is known by its id, not by this."""
    if sender == own_leaf:
        raise RuleViolation("F19", "a message that claims to be from us")


def f20_public_allowed(*, allowed: bool) -> None:
    """Handshake messages are private, §6, unless the group's configuration accepts public ones."""
    if not allowed:
        raise RuleViolation("F20", "a public message where private ones are wanted")


def c10_proposals_bounded(proposals: Mapping[bytes, CheckedProposal]) -> None:
    """An epoch has a bounded number of proposals, §2.1.2."""
    if len(proposals) >= PROPOSALS_MAX:
        raise RuleViolation("C10", "too many proposals in one epoch")


def d1_nothing_pending(proposals: Mapping[bytes, CheckedProposal]) -> None:
    """Proposals are committed before application data is sent, §12.4: a proposed Remove takes effect first."""
    if proposals:
        raise RuleViolation("D1", "there are proposals to commit before application data is sent")
