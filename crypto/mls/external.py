"""External commits (RFC 9420 §8.3, §12.4.3.2): a client joins by itself, or comes back and replaces its own leaf.

Owns both directions, `create_external_commit` at the joiner and `process_external_commit` at the members. Most steps
are those of every commit and stand in `commit`; what differs is the init secret, which comes from outside, and the
leaf, which takes the leftmost blank place.
"""

from __future__ import annotations

from collections.abc import Sequence

from crypto.mls import treekem
from crypto.mls.commit import (
    ProcessedCommit,
    confirm,
    enter_epoch,
    of_new_path,
    open_path,
)
from crypto.mls.config import GroupConfig
from crypto.mls.framing import AuthenticatedContent, FramedContent
from crypto.mls.group_info import VerifiedGroupInfo
from crypto.mls.headers import NewMemberCommitSender, WireFormat
from crypto.mls.key_schedule import confirmation_tag, interim_transcript_hash, send_external_init
from crypto.mls.mls_message import encode_message
from crypto.mls.proposal_list import Changes
from crypto.mls.proposals import (
    AnyProposal,
    CheckedProposal,
    Commit,
    ExternalInit,
    PreSharedKey,
    ProposalByValue,
    Remove,
)
from crypto.mls.protection import protect_public, sign_framed_content, with_confirmation_tag
from crypto.mls.psk import PreSharedKeyID, derive_psk_secret
from crypto.mls.psk_lookup import PSKLookup, find_psks
from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.roster import Roster
from crypto.mls.rules import commit as commit_rules
from crypto.mls.rules import external as rules
from crypto.mls.rules import leaf as leaf_rules
from crypto.mls.rules import proposal_list as list_rules
from crypto.mls.rules import welcome as welcome_rules
from crypto.mls.state import GroupState, state_in_epoch
from crypto.mls.tree_nodes import CommitSource, LeafContents, LeafIndex, LeafNode, verify_leaf_node
from crypto.suites import CipherSuite, SignatureKeyPair
from crypto.wire import encode


def create_external_commit(
    verified: VerifiedGroupInfo,
    contents: LeafContents,
    signer: SignatureKeyPair,
    *,
    removed: LeafIndex | None,
    psk_ids: Sequence[PreSharedKeyID],
    find_psk: PSKLookup,
    authenticated_data: bytes,
    config: GroupConfig,
) -> tuple[GroupState, bytes]:
    """Join the group of a GroupInfo (§12.4.3.2). `contents` is what our leaf says, `removed` our former one.

    Returns the state with us in it, ours when the commit is accepted, and the message. Raises `RuleViolation` if the
    GroupInfo has no external key, or for what the members would refuse.
    """
    suite, context = verified.suite, verified.group_info.group_context
    commit_rules.u13_epoch_can_grow(context.epoch)
    external_pub = rules.x7_external_pub(suite, verified.group_info.extensions)
    welcome_rules.w12_we_support(contents.capabilities, context.extensions)
    kem_output, init_secret = send_external_init(suite, external_pub)
    proposals: list[AnyProposal] = [ExternalInit(kem_output)]
    proposals += [] if removed is None else [Remove(removed)]
    proposals += [PreSharedKey(psk_id) for psk_id in psk_ids]

    _check_proposals(suite, verified.tree, proposals)
    tree, others, own_leaf = _make_room(verified.tree, verified.roster, proposals)
    new_path = treekem.generate_path(suite, tree, own_leaf, contents, signer, context.group_id)
    _check_new_leaf(suite, config, verified.tree, proposals, new_path.leaf)
    after = of_new_path(new_path, others.replace((), (new_path.leaf,)), context, context.extensions)
    _check_roster(after.roster, new_path.leaf)
    path = treekem.encrypt_path(suite, new_path, encode(after.context), frozenset())

    commit = Commit(tuple(map(ProposalByValue, proposals)), path)
    content = FramedContent(context.group_id, context.epoch, NewMemberCommitSender(), authenticated_data, commit)
    signed = sign_framed_content(suite, signer, WireFormat.PUBLIC_MESSAGE, content, encode(context))
    epoch = enter_epoch(
        suite,
        after,
        interim_transcript_hash(suite, context.confirmed_transcript_hash, verified.group_info.confirmation_tag),
        signed,
        init_secret=init_secret,
        psk_secret=derive_psk_secret(suite, find_psks("U10", psk_ids, find_psk)),
    )
    tag = confirmation_tag(suite, epoch.secrets.confirmation_key, epoch.context.confirmed_transcript_hash)
    state = state_in_epoch(
        suite=suite,
        config=config,
        signer=signer,
        own_leaf=own_leaf,
        context=epoch.context,
        encoded_context=epoch.encoded_context,
        confirmation_tag=tag,
        secrets=epoch.secrets,
        tree=after.tree,
        roster=after.roster,
        private_keys=after.private_keys,
    )
    message = encode_message(protect_public(suite, with_confirmation_tag(signed, tag), None, None))
    return state, message


def process_external_commit(
    state: GroupState, authenticated: AuthenticatedContent, find_psk: PSKLookup
) -> ProcessedCommit:
    """Judge the commit of a client that joins, verified under the key in its path, and derive the next epoch.

    §12.4.2, §12.4.3.2. Raises `InvalidMessage`.
    """
    suite, content = state.suite, authenticated.content
    assert isinstance(content.sender, NewMemberCommitSender)
    assert isinstance(content.content, Commit)
    commit_rules.u13_epoch_can_grow(state.context.epoch)
    path = rules.x4_path_present(content.content)
    proposals = rules.x5_by_value(content.content)
    rules.check_list(proposals)
    checked = _check_proposals(suite, state.tree, proposals)
    init_secret = rules.x8_init_secret(suite, state.secrets.external_secret, proposals)

    room, others, joiner = _make_room(state.tree, state.roster, proposals)
    leaf = path.leaf_node
    _check_new_leaf(suite, state.config, state.tree, proposals, leaf)
    leaf_rules.l3_requirements(leaf.capabilities, state.context.extensions)
    commit_rules.c8_path_keys(suite, path)
    verify_leaf_node(suite, leaf, state.context.group_id, joiner)
    tree, roster = treekem.merge_path(suite, room, joiner, path), others.replace((), (leaf,))
    _check_roster(roster, leaf)

    changes = _changes(state, checked, room, others)
    added = {joiner: leaf}
    if state.own_leaf in changes.removed:  # it was us who came back, from another place
        return ProcessedCommit(changes, added, {}, None)
    after = open_path(state, changes, joiner, path, tree, roster, state.private_keys)
    next_state = confirm(state, changes, authenticated, find_psk, after, init_secret)
    return ProcessedCommit(changes, added, {}, next_state)


def _check_proposals(suite: CipherSuite, tree: RatchetTree, proposals: Sequence[AnyProposal]) -> list[CheckedProposal]:
    """Judge the proposals of an external commit, each by itself and its PSKs together (§12.1, §12.2)."""
    sender = NewMemberCommitSender()
    for proposal in proposals:
        list_rules.check_single(suite, tree, proposal, sender)
    checked = [CheckedProposal(proposal, sender, None) for proposal in proposals]
    list_rules.q7_psk_ids_unique([proposal.psk for proposal in proposals if isinstance(proposal, PreSharedKey)])
    return checked


def _removed(proposals: Sequence[AnyProposal]) -> list[LeafIndex]:
    return [LeafIndex(proposal.removed) for proposal in proposals if isinstance(proposal, Remove)]


def _make_room(
    tree: RatchetTree, roster: Roster, proposals: Sequence[AnyProposal]
) -> tuple[RatchetTree, Roster, LeafIndex]:
    """Tree and roster without the joiner's former leaf, and the place for the new one: the leftmost blank (§12.4.2)."""
    removed = _removed(proposals)
    gone = [leaf for leaf in map(tree.leaf, removed) if leaf is not None]
    tree, place = tree.apply({}, removed, ())[0].with_room()
    return tree, roster.replace(gone, ()), place


def _check_new_leaf(
    suite: CipherSuite, config: GroupConfig, tree: RatchetTree, proposals: Sequence[AnyProposal], leaf: LeafNode
) -> None:
    """Judge a joiner's leaf by itself, and against the one that it replaces (§7.3, §12.2). `tree` is the old one."""
    leaf_rules.check_leaf(suite, leaf, CommitSource)
    for leaf_index in _removed(proposals):
        old = tree.leaf(leaf_index)
        assert old is not None, "rule P3 holds"
        rules.x2_removes_own_old_leaf(config, old, leaf)


def _check_roster(roster: Roster, leaf: LeafNode) -> None:
    """Judge a joiner's leaf together with all others (§7.3)."""
    leaf_rules.l12_signature_key_unique(leaf, roster)
    leaf_rules.l4_credential_types(roster)


def _changes(state: GroupState, checked: Sequence[CheckedProposal], room: RatchetTree, roster: Roster) -> Changes:
    """What an external commit does before its path."""
    proposals = [each.proposal for each in checked]
    return Changes(
        proposals=tuple(checked),
        tree=room,
        roster=roster,
        extensions=state.context.extensions,
        added={},
        updated={},
        removed=frozenset(_removed(proposals)),
        psk_ids=tuple(proposal.psk for proposal in proposals if isinstance(proposal, PreSharedKey)),
        reinit=None,
        extensions_replaced=False,
        path_required=True,
    )
