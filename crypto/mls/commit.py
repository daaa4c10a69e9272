"""Commits (RFC 9420 §12.4): how an epoch ends and the next one begins.

Owns `create_commit` (§12.4.1) and `process_commit` (§12.4.2), and the steps that they share. Neither changes a state:
both return the next one. What a Welcome holds is `welcome`'s, what a list of proposals does is `proposal_list`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from crypto.mls import tree_math
from crypto.mls.framing import AuthenticatedContent, CommitAuth, FramedContent, MemberSender, WireFormat
from crypto.mls.key_schedule import (
    EpochSecrets,
    GroupContext,
    confirmation_tag,
    confirmed_transcript_hash,
    epoch_secrets,
    interim_transcript_hash,
    joiner_secret,
    verify_confirmation_tag,
)
from crypto.mls.proposal_list import Changes, apply_proposals, check_members, resolve
from crypto.mls.proposals import CheckedProposal, Commit, ProposalByReference, ProposalByValue
from crypto.mls.protection import sign_content, with_confirmation_tag
from crypto.mls.psk import psk_secret
from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.roster import Roster
from crypto.mls.rules import commit as rules
from crypto.mls.rules import leaf as leaf_rules
from crypto.mls.secret_tree import SecretTree
from crypto.mls.state import NO_KEYS, NO_PROPOSALS, GroupState, PSKLookup, find_psks
from crypto.mls.tree_nodes import CommitSource, LeafIndex, LeafNode, NodeIndex, UpdatePath, verify_leaf_node
from crypto.mls.treekem import PrivateKeys, decrypt_path, encrypt_path, generate_path, merge_path, prune
from crypto.secret import Secret
from crypto.wire import encode


@dataclass(frozen=True, slots=True, eq=False)
class CreatedCommit:
    """A commit of ours, signed and not yet protected, with what its Welcome needs."""

    authenticated: AuthenticatedContent
    changes: Changes
    next_state: GroupState
    joiner_secret: Secret
    psk_secret: Secret
    path_secrets: Mapping[NodeIndex, Secret]
    """Of each node of our path; empty without a path."""


@dataclass(frozen=True, slots=True, eq=False)
class ProcessedCommit:
    """A valid commit of another member. `next_state` is None if the commit removes us: it is not for us to know."""

    changes: Changes
    renewed: Mapping[LeafIndex, LeafNode]
    """The new leaves of members who stay: by Update, and by path that of the committer."""
    next_state: GroupState | None


@dataclass(frozen=True, slots=True, eq=False)
class _Epoch:
    context: GroupContext
    encoded_context: bytes
    joiner_secret: Secret
    secrets: EpochSecrets


def create_commit(
    state: GroupState,
    changes: Changes,
    *,
    with_path: bool,
    wire_format: WireFormat,
    authenticated_data: bytes,
    find_psk: PSKLookup,
) -> CreatedCommit:
    """Commit a list of proposals that `proposal_list` found valid (§12.4.1).

    With `with_path`, and always where the list needs it, we draw a new leaf key and a new path.
    """
    suite, group_id = state.suite, state.context.group_id
    rules.u13_epoch_can_grow(state.context.epoch)
    chained_psks = psk_secret(suite, find_psks("U10", changes.psk_ids, find_psk))

    tree, roster, path, path_secrets = changes.tree, changes.roster, None, _NO_SECRETS
    private_keys, commit_secret = prune(state.private_keys, tree), suite.zero_secret
    if with_path or changes.path_required:
        old_leaf = state.leaf(state.own_leaf)
        new_path = generate_path(suite, tree, state.own_leaf, old_leaf, state.signer, group_id)
        tree, private_keys, commit_secret = new_path.tree, new_path.private_keys, new_path.commit_secret
        roster, path_secrets = roster.replace((old_leaf,), (new_path.leaf,)), new_path.path_secrets
        provisional = encode(_provisional_context(state, changes, tree))
        path = encrypt_path(suite, new_path, provisional, frozenset(changes.added))

    check_members(changes, roster)

    commit = Commit(tuple(map(_name, changes.proposals)), path)
    content = FramedContent(group_id, state.context.epoch, MemberSender(state.own_leaf), authenticated_data, commit)
    signed = sign_content(suite, state.signer, wire_format, content, state.encoded_context)
    epoch = _enter_epoch(state, changes, tree, signed, commit_secret, chained_psks)
    tag = confirmation_tag(suite, epoch.secrets.confirmation_key, epoch.context.confirmed_transcript_hash)
    return CreatedCommit(
        with_confirmation_tag(signed, tag),
        changes,
        _next_state(state, epoch, tag, tree, roster, private_keys),
        epoch.joiner_secret,
        chained_psks,
        path_secrets,
    )


def process_commit(
    state: GroupState, authenticated: AuthenticatedContent, find_psk: PSKLookup, now: int
) -> ProcessedCommit:
    """Judge another member's commit, whose signature has been verified, and derive the next epoch (§12.4.2).

    Raises `InvalidMessage` or `Unsupported`.
    """
    suite, content, auth = state.suite, authenticated.content, authenticated.auth
    assert isinstance(content.sender, MemberSender)
    assert isinstance(content.content, Commit)
    assert isinstance(auth, CommitAuth)
    committer, path = LeafIndex(content.sender.leaf_index), content.content.path
    rules.u13_epoch_can_grow(state.context.epoch)
    changes = apply_proposals(state, committer, resolve(state, committer, content.content.proposals, now))
    rules.u1_path_present(path, required=changes.path_required)
    tree, roster, renewed = changes.tree, changes.roster, dict(changes.updated)
    if path is not None:
        tree, roster = _merge_path(state, changes, committer, path)
        renewed[committer] = path.leaf_node
    check_members(changes, roster)
    if state.own_leaf in changes.removed:
        return ProcessedCommit(changes, renewed, None)

    chained_psks = psk_secret(suite, find_psks("U10", changes.psk_ids, find_psk))
    private_keys, commit_secret = prune(_with_own_update(state, changes), changes.tree), suite.zero_secret
    if path is not None:
        private_keys, commit_secret = decrypt_path(
            suite,
            changes.tree,
            tree,
            committer,
            state.own_leaf,
            private_keys,
            path,
            encode(_provisional_context(state, changes, tree)),
            frozenset(changes.added),
        )
    epoch = _enter_epoch(state, changes, tree, authenticated, commit_secret, chained_psks)
    confirmed = epoch.context.confirmed_transcript_hash
    verify_confirmation_tag(suite, epoch.secrets.confirmation_key, confirmed, auth.confirmation_tag)
    next_state = _next_state(state, epoch, auth.confirmation_tag, tree, roster, private_keys)
    return ProcessedCommit(changes, renewed, next_state)


_NO_SECRETS: Mapping[NodeIndex, Secret] = MappingProxyType({})


def _name(checked: CheckedProposal) -> ProposalByValue | ProposalByReference:
    if checked.reference is None:
        return ProposalByValue(checked.proposal)
    return ProposalByReference(checked.reference)


def _merge_path(
    state: GroupState, changes: Changes, committer: LeafIndex, path: UpdatePath
) -> tuple[RatchetTree, Roster]:
    """Judge the public part of a path and merge it (§12.4.2): all that does not depend on who we are."""
    suite, new, old = state.suite, path.leaf_node, state.leaf(committer)
    leaf_rules.check_leaf(suite, new, CommitSource)
    leaf_rules.l3_requirements(new.capabilities, changes.extensions)
    rules.u8_committer_key_changes(new, old)
    rules.c8_path_keys(suite, path)
    verify_leaf_node(suite, new, state.context.group_id, committer)
    tree = merge_path(suite, changes.tree, committer, path)
    roster = changes.roster.replace((old,), (new,))
    leaf_rules.l12_signature_key_unique(new, roster)
    return tree, roster


def _with_own_update(state: GroupState, changes: Changes) -> PrivateKeys:
    """Our private keys, with that of our own Update if the commit covers one."""
    own = changes.updated.get(state.own_leaf)
    if own is None:
        return state.private_keys
    own_node = tree_math.node_of(state.own_leaf)
    return MappingProxyType({**state.private_keys, own_node: state.update_keys[own.encryption_key]})


def _provisional_context(state: GroupState, changes: Changes, tree: RatchetTree) -> GroupContext:
    """The next GroupContext with the old confirmed transcript hash: what the path is encrypted under (§12.4.1)."""
    return replace(
        state.context,
        epoch=state.context.epoch + 1,
        tree_hash=tree.tree_hash,
        extensions=changes.extensions,
    )


def _enter_epoch(
    state: GroupState,
    changes: Changes,
    tree: RatchetTree,
    signed: AuthenticatedContent,
    commit_secret: Secret,
    chained_psks: Secret,
) -> _Epoch:
    """The key schedule of the next epoch (§8): the same at the committer and at everybody else."""
    suite = state.suite
    confirmed = confirmed_transcript_hash(suite, state.interim_transcript_hash, signed)
    context = replace(_provisional_context(state, changes, tree), confirmed_transcript_hash=confirmed)
    encoded = encode(context)
    joiner = joiner_secret(suite, state.secrets.init_secret, commit_secret, encoded)
    return _Epoch(context, encoded, joiner, epoch_secrets(suite, joiner, chained_psks, encoded))


def _next_state(
    state: GroupState, epoch: _Epoch, tag: bytes, tree: RatchetTree, roster: Roster, private_keys: PrivateKeys
) -> GroupState:
    """The state of the next epoch: proposals of this one are forgotten (rule P10)."""
    return GroupState(
        suite=state.suite,
        config=state.config,
        signer=state.signer,
        own_leaf=state.own_leaf,
        context=epoch.context,
        encoded_context=epoch.encoded_context,
        interim_transcript_hash=interim_transcript_hash(state.suite, epoch.context.confirmed_transcript_hash, tag),
        confirmation_tag=tag,
        secrets=epoch.secrets.kept(),
        secret_tree=SecretTree(state.suite, tree.leaf_count, epoch.secrets.encryption_secret),
        tree=tree,
        private_keys=private_keys,
        roster=roster,
        proposals=NO_PROPOSALS,
        update_keys=NO_KEYS,
    )
