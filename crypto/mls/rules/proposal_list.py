"""Rules for single proposals and for the list of a member's commit (RFC 9420 §12.1, §12.2).

P1 is section K with section L, P11 (may the sender do this?) waits for roles. P6 holds because there is one
version and no other decodes, P9 because a proposal type that we do not know does not decode either.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import assert_never

from crypto.errors import RuleViolation
from crypto.mls.extensions import Extension
from crypto.mls.headers import ExternalSenderIndex, NewMemberCommitSender, Outsider
from crypto.mls.proposals import (
    PROPOSALS_MAX,
    Add,
    AnyProposal,
    CheckedProposal,
    ExternalInit,
    GroupContextExtensions,
    PreSharedKey,
    ProposalByReference,
    ProposalByValue,
    ReInit,
    Remove,
    Update,
)
from crypto.mls.psk import PreSharedKeyID, ResumptionPSK, ResumptionPSKUsage
from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.roster import Roster
from crypto.mls.rules.extensions import check_group_context_extensions, require_support
from crypto.mls.tree_nodes import LeafIndex, LeafNode
from crypto.suites import CipherSuite


def check_single(suite: CipherSuite, tree: RatchetTree, proposal: AnyProposal, sender: LeafIndex | Outsider) -> None:
    """Apply the rules for one proposal, whoever sends it and in whatever commit it may stand (§12.1).

    Of an Add and an Update all is said by the leaf that they bring, which is for whoever knows time and configuration.
    """
    if isinstance(sender, ExternalSenderIndex):
        f15_external_sender_may_propose(proposal)
    match proposal:
        case Add() | Update():
            pass
        case Remove():
            p3_removes_member(tree, proposal)
        case PreSharedKey():
            p4_psk_nonce(suite, proposal.psk)
            p5_psk_usage(proposal.psk)
        case GroupContextExtensions() | ReInit():
            check_group_context_extensions(proposal.extensions)
        case ExternalInit():
            p7_external_init(sender)
        case _:
            assert_never(proposal)


def check_list(proposals: Sequence[CheckedProposal], committer: LeafIndex) -> None:
    """Apply the rules that need the list alone to what a member commits."""
    c10_list_bounded(proposals)
    q2_no_update_by_committer(proposals, committer)
    q3_committer_stays(proposals, committer)
    q4_one_change_per_leaf(proposals)
    q5_added_clients_distinct(proposals)
    q7_psk_ids_unique([checked.proposal.psk for checked in proposals if isinstance(checked.proposal, PreSharedKey)])
    q8_one_group_context_extensions(proposals)
    q9_reinit_alone(proposals)


def c10_list_bounded(proposals: Sequence[CheckedProposal]) -> None:
    """A commit covers a bounded number of proposals, §2.1.2: one that is longer could be made, and not be read."""
    if len(proposals) > PROPOSALS_MAX:
        raise RuleViolation("C10", f"a commit of more than {PROPOSALS_MAX} proposals")


def f15_external_sender_may_propose(proposal: AnyProposal) -> None:
    """An external sender proposes Add, Remove, PreSharedKey, ReInit or GroupContextExtensions only, §12.1.8."""
    if not isinstance(proposal, Add | Remove | PreSharedKey | ReInit | GroupContextExtensions):
        raise RuleViolation("F15", "an external sender may not propose this")


def p3_removes_member(tree: RatchetTree, proposal: Remove) -> None:
    """A Remove names an occupied leaf, §12.1.3."""
    if tree.leaf(LeafIndex(proposal.removed)) is None:
        raise RuleViolation("P3", "a Remove names nobody")


def p4_psk_nonce(suite: CipherSuite, psk_id: PreSharedKeyID) -> None:
    """A PSK nonce is KDF.Nh bytes, §12.1.4."""
    if len(psk_id.psk_nonce) != suite.hash_size:
        raise RuleViolation("P4", "a PSK nonce of the wrong size")


def p5_psk_usage(psk_id: PreSharedKeyID) -> None:
    """A resumption PSK in a proposal is for application use: reinit and branch have flows of their own, §12.1.4."""
    if isinstance(psk_id.psk, ResumptionPSK) and psk_id.psk.usage != ResumptionPSKUsage.APPLICATION:
        raise RuleViolation("P5", "a resumption PSK for another use")


def p7_external_init(sender: LeafIndex | Outsider) -> None:
    """ExternalInit stands only in an external commit, §12.1.6: it is of a client that joins by it."""
    if not isinstance(sender, NewMemberCommitSender):
        raise RuleViolation("P7", "an ExternalInit outside an external commit")


def p8_members_support_extensions(extensions: tuple[Extension, ...], roster: Roster) -> None:
    """Every member after the commit supports the new GroupContext extensions and what they require, §12.1.7, §13.4."""
    for kind in roster.kinds:
        require_support("P8", kind.capabilities, extensions)


def q2_no_update_by_committer(proposals: Sequence[CheckedProposal], committer: LeafIndex) -> None:
    """A commit covers no Update by its committer, §12.2: its path does that."""
    for checked in proposals:
        if isinstance(checked.proposal, Update) and checked.member == committer:
            raise RuleViolation("Q2", "a commit covers its committer's own Update")


def q3_committer_stays(proposals: Sequence[CheckedProposal], committer: LeafIndex) -> None:
    """A committer does not remove itself, §12.2."""
    for checked in proposals:
        if isinstance(checked.proposal, Remove) and checked.proposal.removed == committer:
            raise RuleViolation("Q3", "a committer removes itself")


def q4_one_change_per_leaf(proposals: Sequence[CheckedProposal]) -> None:
    """A leaf is updated or removed at most once, §12.2."""
    changed: Counter[int] = Counter()
    for checked in proposals:
        if isinstance(checked.proposal, Remove):
            changed[checked.proposal.removed] += 1
        elif isinstance(checked.proposal, Update):
            changed[checked.member] += 1
    if any(count > 1 for count in changed.values()):
        raise RuleViolation("Q4", "a leaf is changed twice")


def q5_added_clients_distinct(proposals: Sequence[CheckedProposal]) -> None:
    """No client is added twice, §12.2. A client is known by its signature key."""
    keys = [
        checked.proposal.key_package.leaf_node.signature_key
        for checked in proposals
        if isinstance(checked.proposal, Add)
    ]
    if len(set(keys)) != len(keys):
        raise RuleViolation("Q5", "a client is added twice")


def q6_added_client_is_new(leaf: LeafNode, roster: Roster) -> None:
    """A client is added only if it is not in the group, or is removed by the same commit, §12.2.

    `roster` is the one after the commit's proposals.
    """
    if roster.signature_keys[leaf.signature_key] != 1:
        raise RuleViolation("Q6", "an added client is in the group already")


def q7_psk_ids_unique(ids: Sequence[PreSharedKeyID]) -> None:
    """No PreSharedKeyID is named twice, §12.2."""
    if len(set(ids)) != len(ids):
        raise RuleViolation("Q7", "a PSK is named twice")


def q8_one_group_context_extensions(proposals: Sequence[CheckedProposal]) -> None:
    """At most one GroupContextExtensions, §12.2."""
    if sum(isinstance(checked.proposal, GroupContextExtensions) for checked in proposals) > 1:
        raise RuleViolation("Q8", "two GroupContextExtensions")


def q9_reinit_alone(proposals: Sequence[CheckedProposal]) -> None:
    """A ReInit is a commit's only proposal, §12.2."""
    if len(proposals) > 1 and any(isinstance(checked.proposal, ReInit) for checked in proposals):
        raise RuleViolation("Q9", "a ReInit together with another proposal")


def q10_known_reference(cached: Mapping[bytes, CheckedProposal], named: ProposalByReference) -> CheckedProposal:
    """A reference names a proposal of this epoch that we have seen, §12.4."""
    found = cached.get(named.reference)
    if found is None:
        raise RuleViolation("Q10", "a commit names a proposal that is not known here")
    return found


def q2_no_update_by_value(named: ProposalByValue) -> None:
    """An Update by value would be the committer's own, §12.2."""
    if isinstance(named.proposal, Update):
        raise RuleViolation("Q2", "a commit holds an Update by value")
