"""What a commit covers (RFC 9420 §12.1 to §12.3): each proposal checked, the list checked, the list applied.

The way of a proposal: `check_proposal` judges it alone, when it arrives or is found inside a commit; `resolve` replaces
references by what they name; `apply_proposals` judges the list and gives the tree and the extensions that follow.
A committer chooses by `choose_proposals`, which keeps what makes a valid list, the same for every committer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from crypto.errors import RuleViolation
from crypto.mls.extensions import Extension
from crypto.mls.headers import Outsider
from crypto.mls.key_package import KeyPackage
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
from crypto.mls.psk import PSK_COUNT_MAX, PreSharedKeyID
from crypto.mls.psk_lookup import PSKLookup
from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.roster import Roster
from crypto.mls.rules import key_package as key_package_rules
from crypto.mls.rules import leaf as leaf_rules
from crypto.mls.rules import proposal_list as rules
from crypto.mls.state import GroupState
from crypto.mls.tree_nodes import LeafIndex, LeafNode, UpdateSource, verify_leaf_node
from crypto.mls.verified_key_package import VerifiedKeyPackage, check_key_package, lifetime_of_leaf

ATTEMPTS_MAX = 48
"""How many lists are judged to find what can be committed together: some eight clashes among a hundred proposals."""


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """A list of proposals that is valid, and what it does to a group before the committer's path."""

    proposals: tuple[CheckedProposal, ...]
    tree: RatchetTree
    roster: Roster
    extensions: tuple[Extension, ...]
    added: Mapping[LeafIndex, KeyPackage]
    updated: Mapping[LeafIndex, LeafNode]
    removed: frozenset[LeafIndex]
    psk_ids: tuple[PreSharedKeyID, ...]
    reinit: ReInit | None
    extensions_replaced: bool
    path_required: bool


def check_proposal(
    state: GroupState, proposal: AnyProposal, sender: LeafIndex | Outsider, reference: bytes | None, now: int
) -> CheckedProposal:
    """Judge a received proposal by itself (§12.1): what depends on the rest of a commit is judged there.

    The signature of its message has been verified. Raises `InvalidMessage`, or `Unsupported`.
    """
    rules.check_single(state.suite, state.tree, proposal, sender)
    if isinstance(proposal, Add):
        key_package_rules.k1_suite(state.suite, proposal.key_package)
        verified = check_key_package(proposal.key_package, state.config)
        leaf_rules.l10_lifetime_of_received_leaf(lifetime_of_leaf(verified.leaf), state.config, now)
    elif isinstance(proposal, Update):
        assert isinstance(sender, int), "rules F13 and F15 keep others out"
        _check_update(state, proposal.leaf_node, sender)
    return CheckedProposal(proposal, sender, reference)


def checked_add(state: GroupState, verified: VerifiedKeyPackage, now: int) -> CheckedProposal:
    """An Add of ours. What was verified is not verified again, but for what depends on the group and the time."""
    lifetime = lifetime_of_leaf(verified.leaf)
    key_package_rules.k1_suite(state.suite, verified.key_package)
    leaf_rules.l11_total_lifetime(lifetime, state.config)
    leaf_rules.l9_lifetime_of_sent_leaf(lifetime, state.config, now)
    return CheckedProposal(Add(verified.key_package), state.own_leaf, None)


def _check_update(state: GroupState, leaf: LeafNode, sender: LeafIndex) -> None:
    """Judge the new leaf of an Update (§12.1.2, §7.3): it replaces that of its sender, who signed for that place."""
    leaf_rules.check_leaf(state.suite, leaf, UpdateSource)
    leaf_rules.l14_new_encryption_key(leaf, state.leaf(sender))
    verify_leaf_node(state.suite, leaf, state.context.group_id, sender)


def resolve(
    state: GroupState,
    committer: LeafIndex,
    named: Sequence[ProposalByValue | ProposalByReference],
    now: int,
) -> list[CheckedProposal]:
    """The proposals that a received commit covers: by value from the committer, by reference from whoever sent them."""
    proposals = []
    for item in named:
        if isinstance(item, ProposalByReference):
            proposals.append(rules.q10_known_reference(state.proposals, item))
        else:
            rules.q2_no_update_by_value(item)
            proposals.append(check_proposal(state, item.proposal, committer, None, now))
    return proposals


def apply_proposals(state: GroupState, committer: LeafIndex, proposals: Sequence[CheckedProposal]) -> Changes:
    """Judge a list of proposals and apply it, in the order of §12.3: extensions, updates, removes, adds.

    §12.2. Raises `RuleViolation`. What the committer's path changes comes later: see `commit`.
    """
    rules.check_list(proposals, committer)
    extensions = state.context.extensions
    updated: dict[LeafIndex, LeafNode] = {}
    removed: list[LeafIndex] = []
    key_packages: list[KeyPackage] = []
    psk_ids: list[PreSharedKeyID] = []
    extensions_replaced = False
    reinit: ReInit | None = None
    for checked in proposals:
        match checked.proposal:
            case GroupContextExtensions(extensions=extensions):
                extensions_replaced = True
            case Update(leaf_node=leaf):
                updated[checked.member] = leaf
            case Remove(removed=leaf_index):
                removed.append(LeafIndex(leaf_index))
            case Add(key_package=key_package):
                key_packages.append(key_package)
            case PreSharedKey(psk=psk_id):
                psk_ids.append(psk_id)
            case ReInit():
                reinit = checked.proposal
            case ExternalInit():  # pragma: no cover  # check_proposal refuses it
                raise AssertionError("a proposal that was not checked")
            case _:
                assert_never(checked.proposal)
    key_package_rules.k6_init_keys_unique(key_packages)

    added_leaves = [key_package.leaf_node for key_package in key_packages]
    tree, places = state.tree.apply(updated, removed, added_leaves)
    gone = [state.leaf(leaf_index) for leaf_index in (*updated, *removed)]
    roster = state.roster.replace(gone, (*updated.values(), *added_leaves))
    _check_new_leaves(tree, roster, extensions, list(updated.values()), added_leaves)
    return Changes(
        proposals=tuple(proposals),
        tree=tree,
        roster=roster,
        extensions=extensions,
        added=dict(zip(places, key_packages, strict=True)),
        updated=updated,
        removed=frozenset(removed),
        psk_ids=tuple(psk_ids),
        reinit=reinit,
        extensions_replaced=extensions_replaced,
        path_required=not proposals or extensions_replaced or bool(updated) or bool(removed),
    )


def _check_new_leaves(
    tree: RatchetTree,
    roster: Roster,
    extensions: tuple[Extension, ...],
    updated: Sequence[LeafNode],
    added: Sequence[LeafNode],
) -> None:
    """Judge the leaves that proposals brought, against the tree and the extensions after them (§7.3, §12.2)."""
    for leaf in added:
        rules.q6_added_client_is_new(leaf, roster)
    for leaf in updated:
        leaf_rules.l12_signature_key_unique(leaf, roster)
    for leaf in (*updated, *added):
        leaf_rules.l13_encryption_key_unique(leaf, tree)
        leaf_rules.l3_requirements(leaf.capabilities, extensions)


def check_members(changes: Changes, roster: Roster) -> None:
    """Judge all members together, as they are after the commit (§12.1.7, §12.2). `roster` includes the path's leaf."""
    if changes.extensions_replaced:
        rules.p8_members_support_extensions(changes.extensions, roster)
    leaf_rules.l4_credential_types(roster)


def choose_proposals(state: GroupState, own: Sequence[CheckedProposal], find_psk: PSKLookup, now: int) -> Changes:
    """What we commit: proposals of this epoch, then our `own`.

    §12.4: all that are valid together. Of those that clash, a Remove goes before an Update, a later Update before an
    earlier one, our own before others', and else the one that came first; a ReInit waits until there is nothing else.
    What does not fit into one commit waits for the next.
    Raises `RuleViolation` if `own` is invalid by itself.
    """
    candidates = _one_change_per_leaf(state, own)
    candidates = _psks_at_hand(candidates, own, find_psk)
    candidates = _possible_adds(state, candidates, own, now)
    candidates = _reinit_last(candidates)[: max(0, PROPOSALS_MAX - len(own))]
    try:
        return _judge(state, [*candidates, *own])
    except RuleViolation:
        _judge(state, own)
        return _judge(state, [*_valid_part(state, [], candidates, own, iter(range(ATTEMPTS_MAX))), *own])


def _one_change_per_leaf(state: GroupState, own: Sequence[CheckedProposal]) -> list[CheckedProposal]:
    """The proposals of this epoch, and of those that change one leaf the one that goes first (§12.2)."""
    proposals = list(state.proposals.values())
    updates = {c.member: c for c in proposals if isinstance(c.proposal, Update)}
    removes = {LeafIndex(c.proposal.removed): c for c in reversed(proposals) if isinstance(c.proposal, Remove)}
    ours = {state.own_leaf, *[LeafIndex(c.proposal.removed) for c in own if isinstance(c.proposal, Remove)]}
    first = {c for leaf, c in (updates | removes).items() if leaf not in ours}
    return [c for c in proposals if not isinstance(c.proposal, Update | Remove) or c in first]


def _psks_at_hand(
    candidates: Sequence[CheckedProposal], own: Sequence[CheckedProposal], find_psk: PSKLookup
) -> list[CheckedProposal]:
    """All but the pre-shared keys that we do not know, or that are too many for one commit."""
    left = PSK_COUNT_MAX - sum(isinstance(c.proposal, PreSharedKey) for c in own)
    kept = []
    for checked in candidates:
        if isinstance(checked.proposal, PreSharedKey):
            if left <= 0 or find_psk(checked.proposal.psk.psk) is None:
                continue
            left -= 1
        kept.append(checked)
    return kept


def _possible_adds(
    state: GroupState, candidates: Sequence[CheckedProposal], own: Sequence[CheckedProposal], now: int
) -> list[CheckedProposal]:
    """All but the Adds that cannot be valid. Of those that share a key one can be (Q5, L13, K6): the first.

    The list is judged whole afterwards; what is found here keeps a flood of them from costing much.
    """
    replaced = [c.proposal.extensions for c in own if isinstance(c.proposal, GroupContextExtensions)]
    extensions = replaced[0] if replaced else state.context.extensions
    taken: set[tuple[str, bytes]] = set()
    kept = []
    for checked in candidates:
        if isinstance(checked.proposal, Add):
            package, leaf = checked.proposal.key_package, checked.proposal.key_package.leaf_node
            keys = {("signs", leaf.signature_key), ("opens", leaf.encryption_key), ("joins", package.init_key)}
            if not taken.isdisjoint(keys) or not _may_be_added(state, package, extensions, now):
                continue
            taken |= keys
        kept.append(checked)
    return kept


def _reinit_last(candidates: list[CheckedProposal]) -> list[CheckedProposal]:
    """All but the ReInits, which wait until there is nothing else (§12.2)."""
    return [checked for checked in candidates if not isinstance(checked.proposal, ReInit)] or candidates


def _may_be_added(state: GroupState, key_package: KeyPackage, extensions: tuple[Extension, ...], now: int) -> bool:
    """What can be said of an Add by itself, so that a flood of bad ones is not looked for by halving."""
    try:
        leaf_rules.l9_lifetime_of_sent_leaf(lifetime_of_leaf(key_package.leaf_node), state.config, now)
        leaf_rules.l3_requirements(key_package.leaf_node.capabilities, extensions)
    except RuleViolation:
        return False
    return True


def _valid_part(
    state: GroupState,
    chosen: list[CheckedProposal],
    candidates: list[CheckedProposal],
    own: Sequence[CheckedProposal],
    attempts: Iterator[int],
) -> list[CheckedProposal]:
    """`chosen` and those candidates that stay valid with it, found by halving: few clashes cost few attempts.

    What is not found in as many as there are waits: a flood of clashes costs its sender's proposals, and ours no time.
    """
    if next(attempts, None) is None:
        return chosen
    try:
        _judge(state, [*chosen, *candidates, *own])
    except RuleViolation:
        if len(candidates) == 1:
            return chosen
        half = len(candidates) // 2
        chosen = _valid_part(state, chosen, candidates[:half], own, attempts)
        return _valid_part(state, chosen, candidates[half:], own, attempts)
    return [*chosen, *candidates]


def _judge(state: GroupState, proposals: Sequence[CheckedProposal]) -> Changes:
    """Raise `RuleViolation` unless we may commit this list."""
    changes = apply_proposals(state, state.own_leaf, proposals)
    check_members(changes, changes.roster)
    return changes
