"""Sending proposals (RFC 9420 §12.1), and keeping those of an epoch for its commit (§12.4)."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from crypto.mls import messages
from crypto.mls.extensions import Extension
from crypto.mls.framing import FramedContent, ProposalContent
from crypto.mls.headers import ExternalSenderIndex, NewMemberProposalSender, WireFormat
from crypto.mls.mls_message import encode_message
from crypto.mls.own_leaf import with_leaf_extensions
from crypto.mls.proposal_list import check_proposal
from crypto.mls.proposals import AnyProposal, CheckedProposal, Update
from crypto.mls.protection import protect_public, sign_framed_content
from crypto.mls.rules import message as message_rules
from crypto.mls.rules import proposal_list as proposal_rules
from crypto.mls.state import GroupState
from crypto.mls.tree_nodes import UpdateSource, sign_leaf_node
from crypto.suites import CipherSuite, SignatureKeyPair


def propose(state: GroupState, judged: CheckedProposal) -> tuple[GroupState, bytes]:
    """Send a proposal of ours, which names no message yet: it comes in this one."""
    signed = messages.sign(state, messages.handshake_format(state), ProposalContent(judged.proposal), b"")
    used, message = messages.protect(state, signed)
    reference = messages.proposal_reference(state.suite, signed)
    return with_proposal(used, replace(judged, reference=reference)), message


def with_proposal(state: GroupState, checked: CheckedProposal) -> GroupState:
    """The state that knows one more proposal of this epoch."""
    message_rules.c10_proposals_bounded(state.proposals, checked)
    assert checked.reference is not None, "only a proposal that came by itself is kept"
    return replace(state, proposals=MappingProxyType({**state.proposals, checked.reference: checked}))


def propose_update(
    state: GroupState, now: int, leaf_extensions: tuple[Extension, ...] | None
) -> tuple[GroupState, bytes]:
    """Propose our own leaf with a fresh encryption key, and keep its private key until a commit covers it.

    `leaf_extensions`, if they are given, stand in place of the old ones.
    """
    contents = with_leaf_extensions(state.leaf(state.own_leaf).contents, leaf_extensions)
    pair, group_id = state.suite.generate_hpke_key_pair(), state.context.group_id
    leaf = sign_leaf_node(state.suite, state.signer, contents, pair.public, UpdateSource(), group_id, state.own_leaf)
    state, message = propose(state, check_proposal(state, Update(leaf), state.own_leaf, None, now))
    update_keys = MappingProxyType({**state.update_keys, pair.public: pair.private})
    return replace(state, update_keys=update_keys), message


def propose_from_outside(
    suite: CipherSuite,
    group_id: bytes,
    epoch: int,
    sender: ExternalSenderIndex | NewMemberProposalSender,
    signer: SignatureKeyPair,
    proposal: AnyProposal,
) -> bytes:
    """A proposal of somebody outside the group (§12.1.8). Only a PublicMessage can carry it.

    Raises `RuleViolation` F13 or F15 for what such a sender may not propose.
    """
    if isinstance(sender, ExternalSenderIndex):
        proposal_rules.f15_external_sender_may_propose(proposal)
    framed = FramedContent(group_id, epoch, sender, b"", ProposalContent(proposal))
    signed = sign_framed_content(suite, signer, WireFormat.PUBLIC_MESSAGE, framed, None)
    return encode_message(protect_public(suite, signed, None, None))
