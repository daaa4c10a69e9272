"""Commits (RFC 9420 §12.4): how an epoch ends and the next one begins.

Owns `create_commit` (§12.4.1) and `process_commit` (§12.4.2), and the steps that they share with commits from outside
(`external`). Neither changes a state: both return the next one. What a Welcome holds is `welcome`'s, what a list of
proposals does is `proposal_list`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from crypto.mls import tree_math
from crypto.mls.extensions import Extension
from crypto.mls.former_epochs import remember
from crypto.mls.framing import AuthenticatedContent, CommitAuth, FramedContent
from crypto.mls.headers import MemberSender, WireFormat
from crypto.mls.key_schedule import (
    EpochSecrets,
    GroupContext,
    confirmation_tag,
    confirmed_transcript_hash,
    epoch_secrets,
    joiner_secret,
    verify_confirmation_tag,
    welcome_secret,
)
from crypto.mls.own_leaf import with_leaf_extensions
from crypto.mls.proposal_list import Changes, apply_proposals, check_members, resolve
from crypto.mls.proposals import CheckedProposal, Commit, ProposalByReference, ProposalByValue
from crypto.mls.protection import sign_framed_content, with_confirmation_tag
from crypto.mls.psk import derive_psk_secret
from crypto.mls.psk_lookup import PSKLookup, find_psks
from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.roster import Roster
from crypto.mls.rules import commit as rules
from crypto.mls.rules import leaf as leaf_rules
from crypto.mls.state import GroupState, state_in_epoch
from crypto.mls.tree_nodes import CommitSource, LeafIndex, LeafNode, NodeIndex, UpdatePath, verify_leaf_node
from crypto.mls.treekem import NewPath, PrivateKeys, decrypt_path, encrypt_path, generate_path, merge_path, prune
from crypto.secret import Secret
from crypto.suites import CipherSuite
from crypto.wire import encode


@dataclass(frozen=True, slots=True, eq=False)
class CreatedCommit:
    """A commit of ours, signed and not yet protected, with what its Welcome needs."""

    authenticated: AuthenticatedContent
    changes: Changes
    next_state: GroupState
    joiner_secret: Secret
    welcome_secret: Secret
    path_secrets: Mapping[NodeIndex, Secret]
    """Of each node of our path; empty without a path."""


@dataclass(frozen=True, slots=True, eq=False)
class ProcessedCommit:
    """A valid commit of another member. `next_state` is None if the commit removes us: it is not for us to know."""

    changes: Changes
    added: Mapping[LeafIndex, LeafNode]
    """The leaves of those who come: by Add, or by an external commit."""
    renewed: Mapping[LeafIndex, LeafNode]
    """The new leaves of members who stay: by Update, and by path that of the committer."""
    next_state: GroupState | None


@dataclass(frozen=True, slots=True, eq=False)
class NewEpoch:
    """What the key schedule gives when an epoch begins."""

    context: GroupContext
    encoded_context: bytes
    joiner_secret: Secret
    secrets: EpochSecrets


@dataclass(frozen=True, slots=True, eq=False)
class NextTree:
    """What a commit makes of the tree, and of what one member knows of it."""

    committer: LeafIndex
    context: GroupContext
    """That of the next epoch but for its transcript hash, which is still the old one (§12.4.1)."""
    tree: RatchetTree
    roster: Roster
    private_keys: PrivateKeys
    commit_secret: Secret


def create_commit(
    state: GroupState,
    changes: Changes,
    *,
    with_path: bool,
    wire_format: WireFormat,
    authenticated_data: bytes,
    find_psk: PSKLookup,
    leaf_extensions: tuple[Extension, ...] | None = None,
) -> CreatedCommit:
    """Commit a list of proposals that `proposal_list` found valid (§12.4.1).

    With `with_path`, and always where the list needs it, we draw a new leaf key and a new path. The new leaf has
    `leaf_extensions`, if they are given, in place of the old ones.
    """
    suite, group_id = state.suite, state.context.group_id
    rules.u15_group_goes_on(state.reinit)
    rules.u13_epoch_can_grow(state.context.epoch)
    psk_secret = derive_psk_secret(suite, find_psks("U10", changes.psk_ids, find_psk))

    if with_path or changes.path_required:
        after, path, path_secrets = _draw_path(state, changes, leaf_extensions)
    else:
        after, path, path_secrets = _without_path(state, changes, state.own_leaf, state.private_keys), None, _NO_SECRETS
    check_members(changes, after.roster)

    commit = Commit(tuple(map(_name, changes.proposals)), path)
    content = FramedContent(group_id, state.context.epoch, MemberSender(state.own_leaf), authenticated_data, commit)
    signed = sign_framed_content(suite, state.signer, wire_format, content, state.encoded_context)
    epoch = enter_epoch(
        suite,
        after,
        state.interim_transcript_hash,
        signed,
        init_secret=state.secrets.init_secret,
        psk_secret=psk_secret,
    )
    tag = confirmation_tag(suite, epoch.secrets.confirmation_key, epoch.context.confirmed_transcript_hash)
    return CreatedCommit(
        with_confirmation_tag(signed, tag),
        changes,
        _next_state(state, changes, epoch, tag, after),
        epoch.joiner_secret,
        welcome_secret(suite, epoch.joiner_secret, psk_secret),
        path_secrets,
    )


def process_commit(
    state: GroupState, authenticated: AuthenticatedContent, find_psk: PSKLookup, now: int
) -> ProcessedCommit:
    """Judge another member's commit, whose signature has been verified, and derive the next epoch (§12.4.2).

    Raises `InvalidMessage` or `Unsupported`.
    """
    content = authenticated.content
    assert isinstance(content.sender, MemberSender)
    assert isinstance(content.content, Commit)
    committer, path = LeafIndex(content.sender.leaf_index), content.content.path
    rules.u13_epoch_can_grow(state.context.epoch)
    changes = apply_proposals(state, committer, resolve(state, committer, content.content.proposals, now))
    rules.u1_path_present(path, required=changes.path_required)
    added = {place: package.leaf_node for place, package in changes.added.items()}
    tree, roster, renewed = changes.tree, changes.roster, dict(changes.updated)
    if path is not None:
        tree, roster = _judge_path(state, changes, committer, path)
        renewed[committer] = path.leaf_node
    check_members(changes, roster)
    if state.own_leaf in changes.removed:
        return ProcessedCommit(changes, added, renewed, None)

    private_keys = _with_own_update(state, changes)
    if path is None:
        after = _without_path(state, changes, committer, private_keys)
    else:
        after = open_path(state, changes, committer, path, tree, roster, private_keys)
    next_state = confirm(state, changes, authenticated, find_psk, after, state.secrets.init_secret)
    return ProcessedCommit(changes, added, renewed, next_state)


def of_new_path(
    new_path: NewPath, roster: Roster, context: GroupContext, extensions: tuple[Extension, ...]
) -> NextTree:
    """The tree after a path of ours; `roster` has our new leaf, `context` is that of the epoch which ends."""
    return NextTree(
        new_path.leaf_index,
        provisional_context(context, extensions, new_path.tree),
        new_path.tree,
        roster,
        new_path.private_keys,
        new_path.commit_secret,
    )


def open_path(
    state: GroupState,
    changes: Changes,
    committer: LeafIndex,
    path: UpdatePath,
    tree: RatchetTree,
    roster: Roster,
    private_keys: PrivateKeys,
) -> NextTree:
    """Decrypt what a path, which `tree` has merged, holds for us (§12.4.2)."""
    context = provisional_context(state.context, changes.extensions, tree)
    keys, commit_secret = decrypt_path(
        state.suite,
        changes.tree,
        tree,
        committer,
        state.own_leaf,
        private_keys,
        path,
        encode(context),
        frozenset(changes.added),
    )
    return NextTree(committer, context, tree, roster, keys, commit_secret)


def confirm(
    state: GroupState,
    changes: Changes,
    authenticated: AuthenticatedContent,
    find_psk: PSKLookup,
    after: NextTree,
    init_secret: Secret,
) -> GroupState:
    """Derive the epoch that a received commit begins, and check its confirmation tag: the last steps of §12.4.2."""
    suite, auth = state.suite, authenticated.auth
    assert isinstance(auth, CommitAuth)
    epoch = enter_epoch(
        suite,
        after,
        state.interim_transcript_hash,
        authenticated,
        init_secret=init_secret,
        psk_secret=derive_psk_secret(suite, find_psks("U10", changes.psk_ids, find_psk)),
    )
    confirmed = epoch.context.confirmed_transcript_hash
    verify_confirmation_tag(suite, epoch.secrets.confirmation_key, confirmed, auth.confirmation_tag)
    return _next_state(state, changes, epoch, auth.confirmation_tag, after)


def provisional_context(context: GroupContext, extensions: tuple[Extension, ...], tree: RatchetTree) -> GroupContext:
    """The next GroupContext with the old confirmed transcript hash: what the path is encrypted under (§12.4.1)."""
    return replace(context, epoch=context.epoch + 1, tree_hash=tree.tree_hash, extensions=extensions)


def enter_epoch(
    suite: CipherSuite,
    after: NextTree,
    interim_transcript_hash: bytes,
    signed: AuthenticatedContent,
    *,
    init_secret: Secret,
    psk_secret: Secret,
) -> NewEpoch:
    """The key schedule of the next epoch (§8): the same at the committer and at everybody else.

    `interim_transcript_hash` is that of the epoch which ends.
    """
    confirmed = confirmed_transcript_hash(suite, interim_transcript_hash, signed)
    context = replace(after.context, confirmed_transcript_hash=confirmed)
    encoded = encode(context)
    joiner = joiner_secret(suite, init_secret, after.commit_secret, encoded)
    return NewEpoch(context, encoded, joiner, epoch_secrets(suite, joiner, psk_secret, encoded))


_NO_SECRETS: Mapping[NodeIndex, Secret] = MappingProxyType({})


def _name(checked: CheckedProposal) -> ProposalByValue | ProposalByReference:
    if checked.reference is None:
        return ProposalByValue(checked.proposal)
    return ProposalByReference(checked.reference)


def _draw_path(
    state: GroupState, changes: Changes, leaf_extensions: tuple[Extension, ...] | None
) -> tuple[NextTree, UpdatePath, Mapping[NodeIndex, Secret]]:
    """A new leaf key and a new path of ours, in the tree and encrypted to the others, with its path secrets."""
    suite, old_leaf = state.suite, state.leaf(state.own_leaf)
    contents = with_leaf_extensions(old_leaf.contents, leaf_extensions)
    new_path = generate_path(suite, changes.tree, state.own_leaf, contents, state.signer, state.context.group_id)
    roster = changes.roster.replace((old_leaf,), (new_path.leaf,))
    after = of_new_path(new_path, roster, state.context, changes.extensions)
    path = encrypt_path(suite, new_path, encode(after.context), frozenset(changes.added))
    return after, path, new_path.path_secrets


def _judge_path(
    state: GroupState, changes: Changes, committer: LeafIndex, path: UpdatePath
) -> tuple[RatchetTree, Roster]:
    """Judge the public part of a path, all that does not depend on who we are (§12.4.2): tree and roster with it."""
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


def _without_path(state: GroupState, changes: Changes, committer: LeafIndex, private_keys: PrivateKeys) -> NextTree:
    """The tree after a commit's proposals; without a path that is all, and the commit secret is all zero."""
    return NextTree(
        committer,
        provisional_context(state.context, changes.extensions, changes.tree),
        changes.tree,
        changes.roster,
        prune(private_keys, changes.tree),
        state.suite.zero_secret,
    )


def _next_state(state: GroupState, changes: Changes, epoch: NewEpoch, tag: bytes, after: NextTree) -> GroupState:
    """A member's state in the next epoch."""
    touched = {*changes.updated, *changes.removed, *changes.added, after.committer}
    return state_in_epoch(
        suite=state.suite,
        config=state.config,
        signer=state.signer,
        own_leaf=state.own_leaf,
        context=epoch.context,
        encoded_context=epoch.encoded_context,
        confirmation_tag=tag,
        secrets=epoch.secrets,
        tree=after.tree,
        roster=after.roster,
        private_keys=after.private_keys,
        former=remember(state, after.tree, touched),
        reinit=changes.reinit,
    )
