"""A group as rows for a store, and back.

Owns which rows a group has, which of them a step changes, and what rows must fulfil to be one group again; a single row
is `stored_rows`'. Rows hold secrets: the store encrypts them and keeps them whole, nobody else sees them. The signature
key is not among them. Each row begins with a version byte. Rows that do not make one group are a `DecodeError`, and so
are nodes whose tree is not the one that the GroupContext names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from crypto.errors import DecodeError, RuleViolation, UsageError
from crypto.mls.config import DEFAULT_CONFIG, GroupConfig
from crypto.mls.former_epochs import caught_up
from crypto.mls.group import Group, NextEpoch
from crypto.mls.key_package import KeyPackage, KeyPackageBundle
from crypto.mls.key_schedule import GroupContext
from crypto.mls.proposals import CheckedProposal, Update
from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.roster import roster_of
from crypto.mls.secret_tree import SecretTree
from crypto.mls.state import FormerEpoch, GroupState
from crypto.mls.stored_rows import (
    former_row,
    former_rows,
    group_row,
    key_rows,
    node_row,
    proposal_rows,
    take_former,
    take_group,
    take_keys,
    take_nodes,
    take_proposals,
    take_update_keys,
)
from crypto.mls.tree_hashes import AnyNode
from crypto.mls.tree_math import node_of
from crypto.mls.tree_nodes import LeafIndex
from crypto.secret import Secret
from crypto.suites import SUITES, CipherSuite, SignatureKeyPair
from crypto.wire import decode, encode, struct

VERSION = b"\x01"

Rows = Mapping[str, bytes]


@struct
class BundleRow:
    """A key package of ours with its private keys."""

    key_package: KeyPackage
    init_private: Secret
    encryption_private: Secret


def rows(group: Group) -> dict[str, bytes]:
    """The whole group as rows."""
    state = group.state
    made = {"group": group_row(state)}
    made |= {f"node/{index}": node_row(node) for index, node in enumerate(state.tree.export()) if node is not None}
    made |= key_rows(state) | state.secret_tree.rows()
    for former in state.former:
        made |= former_rows(former)
    made |= proposal_rows(state)
    return {name: VERSION + row for name, row in made.items()}


def difference(before: Group | None, after: Group) -> dict[str, bytes | None]:
    """What to write, and with None what to delete, to get from the rows of `before` to those of `after`.

    `before` is an earlier state of the same group, or None if nothing has been stored.
    """
    return dict(rows(after)) if before is None else _difference(before.state, after.state)


def pending_difference(group: Group, following: NextEpoch) -> dict[str, bytes | None]:
    """The same from `group` to an epoch that is not entered yet, and which epoch it follows.

    It holds for this state of `group` only: write it anew when the group changes, so that it brings back no message key
    that has been used since (rule R4).
    """
    after = replace(following.state, former=caught_up(following.state.former, group.state))
    return _difference(group.state, after) | {"follows": VERSION + following.follows}


def _difference(old: GroupState, new: GroupState) -> dict[str, bytes | None]:
    if old.context.group_id != new.context.group_id:
        raise UsageError("states of two groups")
    changed: dict[str, bytes | None] = {}
    if old.context is new.context:  # in one epoch, message keys go and proposals come
        changed |= new.secret_tree.changed_rows(old.secret_tree)
        changed |= proposal_rows(new, len(old.proposals), len(old.update_keys))
    else:
        changed["group"] = group_row(new)
        for index in new.tree.changed_since(old.tree):
            node = new.tree.node(index)
            changed[f"node/{index}"] = None if node is None else node_row(node)
        changed |= dict.fromkeys(old.secret_tree.rows())
        changed |= new.secret_tree.rows()
        changed |= dict.fromkeys(f"proposal/{number}" for number in range(len(old.proposals)))
        changed |= dict.fromkeys(f"update/{number}" for number in range(len(old.update_keys)))
        changed |= proposal_rows(new)
    changed |= _former_difference(old.former, new.former)
    if old.private_keys is not new.private_keys:
        before, after = key_rows(old), key_rows(new)
        changed |= dict.fromkeys(name for name in before if name not in after)
        changed |= {name: row for name, row in after.items() if before.get(name) != row}
    return {name: None if row is None else VERSION + row for name, row in changed.items()}


def load_pending(stored: Rows, group: Group) -> NextEpoch:
    """The epoch to which our commit of this epoch of `group` leads: its rows, with what `pending_difference` changed.

    Raises as `load` does, and `DecodeError` for rows that follow another epoch, fork or group.
    """
    follows = group.state.interim_transcript_hash
    if stored.get("follows") != VERSION + follows:
        raise DecodeError("rows that do not follow this epoch of the group")
    unread = {name: row for name, row in stored.items() if name != "follows"}
    return NextEpoch(follows, load(unread, group.state.signer, group.state.config).state)


def load(stored: Rows, signer: SignatureKeyPair, config: GroupConfig = DEFAULT_CONFIG) -> Group:
    """The group that `rows` described.

    Raises `DecodeError` if the rows are not those of one group, and `UsageError` if `signer` is not our key in it.
    """
    unread = {name: _unversioned(row) for name, row in stored.items()}
    group = take_group(unread)
    context = group.context
    suite = _suite(context.cipher_suite)
    tree = _tree(suite, take_nodes(unread), context)
    own_leaf = LeafIndex(group.own_leaf)
    leaf = tree.leaf(own_leaf)
    if leaf is None:
        raise DecodeError("our own leaf is blank")
    if leaf.signature_key != signer.public:
        raise UsageError("the group was made under another signature key")
    private_keys, proposals, update_keys = take_keys(unread), take_proposals(unread), take_update_keys(unread)
    if node_of(own_leaf) not in private_keys:
        raise DecodeError("no private key for our own leaf")
    _check_private_keys(suite, [*private_keys.values(), *update_keys.values()])
    _check_own_updates(own_leaf, proposals.values(), update_keys)
    former = take_former(unread, suite)
    return Group(
        GroupState(
            suite=suite,
            config=config,
            signer=signer,
            own_leaf=own_leaf,
            context=context,
            encoded_context=encode(context),
            interim_transcript_hash=group.interim_transcript_hash,
            confirmation_tag=group.confirmation_tag,
            secrets=group.secrets,
            secret_tree=SecretTree.of_rows(suite, tree.leaf_count, unread),
            tree=tree,
            private_keys=MappingProxyType(private_keys),
            roster=roster_of([member for _, member in tree.occupied()]),
            proposals=MappingProxyType(proposals),
            update_keys=MappingProxyType(update_keys),
            former=former,
            reinit=group.reinit,
        )
    )


def encode_bundle(bundle: KeyPackageBundle) -> bytes:
    """A key package of ours with its private keys, for the store."""
    return VERSION + encode(BundleRow(bundle.key_package, bundle.init_private, bundle.encryption_private))


def decode_bundle(stored: bytes) -> KeyPackageBundle:
    """The key package that `encode_bundle` wrote. Raises `DecodeError`."""
    row = decode(BundleRow, _unversioned(stored))
    suite = _suite(row.key_package.cipher_suite)
    _check_private_keys(suite, (row.init_private, row.encryption_private))
    return KeyPackageBundle(row.key_package, row.init_private, row.encryption_private)


def _former_difference(before: Sequence[FormerEpoch], after: Sequence[FormerEpoch]) -> dict[str, bytes | None]:
    """What changes of the former epochs: the latest comes, the oldest goes, and a late message takes a key."""
    known = {former.epoch: former for former in before}
    changed: dict[str, bytes | None] = {}
    for former in after:
        old = known.pop(former.epoch, None)
        if old is None:
            changed |= former_rows(former)
            continue
        name = f"former/{former.epoch}"
        if old.replaced is not former.replaced:
            changed[name] = former_row(former)
        for below, row in former.secret_tree.changed_rows(old.secret_tree).items():
            changed[f"{name}/{below}"] = row
    for gone in known.values():
        changed |= dict.fromkeys(former_rows(gone))
    return changed


def _unversioned(row: bytes) -> bytes:
    if row[:1] != VERSION:
        raise DecodeError("a row of another version")
    return row[1:]


def _suite(suite_id: int) -> CipherSuite:
    suite = SUITES.get(suite_id)
    if suite is None:
        raise DecodeError("a cipher suite that is not implemented")
    return suite


def _tree(suite: CipherSuite, nodes: Sequence[AnyNode | None], context: GroupContext) -> RatchetTree:
    try:
        tree = RatchetTree.of_nodes(suite, nodes)
    except RuleViolation as error:
        raise DecodeError("the nodes are not those of a tree") from error
    if tree.tree_hash != context.tree_hash:
        raise DecodeError("the tree is not the one in the GroupContext")
    return tree


def _check_private_keys(suite: CipherSuite, keys: Iterable[Secret]) -> None:
    if any(len(key) != suite.hpke.kem.private_key_size for key in keys):
        raise DecodeError("a private key of the wrong size")


def _check_own_updates(own_leaf: LeafIndex, proposals: Iterable[CheckedProposal], keys: Mapping[bytes, Secret]) -> None:
    """Without its private key an Update of ours would stop us once it is committed."""
    for checked in proposals:
        if not isinstance(checked.proposal, Update) or checked.sender != own_leaf:
            continue
        if checked.proposal.leaf_node.encryption_key not in keys:
            raise DecodeError("an Update of ours without its private key")
