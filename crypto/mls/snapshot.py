"""A group as rows for a store, and back.

A row is a name and some bytes. What changes together stands in one row, so that a message rewrites one row and a commit
as many as the tree is high:

==================  =================================================================
`group`             own leaf, GroupContext, transcript hash, confirmation tag, epoch secrets: new in every epoch
`node/N`            node N of the ratchet tree, where it is not blank
`key/N`             our HPKE private key of node N
`secret/N`          the secret of an unused subtree of the secret tree
`ratchets/N`        the two ratchets of leaf N, once it has been used
`proposal/N`        the proposal that came as number N of this epoch
`update/N`          the private key of our Update number N of this epoch
`former/E`          what is left of former epoch E; `former/E/secret/N` and `former/E/ratchets/N` are its message keys
==================  =================================================================

Rows hold secrets: the store encrypts them and keeps them whole, nobody else sees them. The signature key is not among
them. Each row begins with a version byte. Rows that do not make one group are a `DecodeError`, and so are nodes whose
tree is not the one that the GroupContext names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import TypeVar

from crypto.errors import DecodeError, RuleViolation, UsageError
from crypto.mls.config import DEFAULT_CONFIG, GroupConfig
from crypto.mls.credentials import Credential
from crypto.mls.extensions import Extension
from crypto.mls.group import Group, NextEpoch
from crypto.mls.headers import AnySender, MemberSender, Outsider, Sender
from crypto.mls.key_package import KeyPackage, KeyPackageBundle
from crypto.mls.key_schedule import GroupContext, KeptSecrets
from crypto.mls.proposals import CheckedProposal, Proposal, ReInit, Update
from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.roster import Member, roster_of
from crypto.mls.rules.commit import EPOCH_MAX
from crypto.mls.secret_tree import SecretTree
from crypto.mls.state import FormerEpoch, GroupState
from crypto.mls.tree_hashes import AnyNode
from crypto.mls.tree_math import node_of
from crypto.mls.tree_nodes import NODES_MAX, LeafIndex, Node, NodeIndex
from crypto.secret import Secret
from crypto.suites import SUITES, CipherSuite, SignatureKeyPair
from crypto.wire import Uint32, decode, decode_as, encode, encode_as, struct

VERSION = b"\x01"

Rows = Mapping[str, bytes]
T = TypeVar("T")


@struct
class GroupRow:
    """What is new in every epoch."""

    own_leaf: Uint32
    context: GroupContext
    interim_transcript_hash: bytes
    confirmation_tag: bytes
    secrets: KeptSecrets
    reinit: ReInit | None


@struct
class ProposalRow:
    """A proposal of this epoch, which was checked when it came."""

    proposal: Proposal
    sender: Sender
    reference: bytes


@struct
class UpdateRow:
    """The keys of an Update of ours that no commit has covered yet."""

    public_key: bytes
    private_key: Secret


@struct
class MemberRow:
    """A member of a former epoch."""

    credential: Credential
    signature_key: bytes
    extensions: tuple[Extension, ...]


@struct
class ReplacedRow:
    """Who sat at a leaf in a former epoch."""

    leaf_index: Uint32
    member: MemberRow | None


@struct
class FormerRow:
    """What is left of a former epoch, but its message keys. `leaf_count` is the width of its tree."""

    encoded_context: bytes
    sender_data_secret: Secret
    leaf_count: Uint32
    replaced: tuple[ReplacedRow, ...]


@struct
class BundleRow:
    """A key package of ours with its private keys."""

    key_package: KeyPackage
    init_private: Secret
    encryption_private: Secret


def rows(group: Group) -> dict[str, bytes]:
    """The whole group as rows."""
    state = group.state
    made = {"group": _group_row(state)}
    made |= {f"node/{index}": _node_row(node) for index, node in enumerate(state.tree.export()) if node is not None}
    made |= _key_rows(state)
    made |= _secret_tree_rows(state.secret_tree)
    for former in state.former:
        made |= _former_rows(former)
    return made | _proposal_rows(state)


def difference(before: Group | None, after: Group) -> dict[str, bytes | None]:
    """What to write, and with None what to delete, to get from the rows of `before` to those of `after`.

    `before` is an earlier state of the same group, or None if nothing has been stored.
    """
    return dict(rows(after)) if before is None else _difference(before.state, after.state)


def pending_difference(group: Group, following: NextEpoch) -> dict[str, bytes | None]:
    """The same from `group` to an epoch that is not entered yet. It holds for this state of `group` only."""
    return _difference(group.state, following.state)


def _difference(old: GroupState, new: GroupState) -> dict[str, bytes | None]:
    if old.context.group_id != new.context.group_id:
        raise UsageError("states of two groups")
    changed: dict[str, bytes | None] = {}
    if old.context is new.context:  # in one epoch, message keys go and proposals come
        secret_rows = new.secret_tree.changed_rows(old.secret_tree)
        changed |= {name: None if row is None else VERSION + row for name, row in secret_rows.items()}
        changed |= _proposal_rows(new, len(old.proposals), len(old.update_keys))
    else:
        changed["group"] = _group_row(new)
        for index in new.tree.changed_since(old.tree):
            node = new.tree.node(index)
            changed[f"node/{index}"] = None if node is None else _node_row(node)
        changed |= dict.fromkeys(old.secret_tree.rows())
        changed |= _secret_tree_rows(new.secret_tree)
        changed |= dict.fromkeys(f"proposal/{number}" for number in range(len(old.proposals)))
        changed |= dict.fromkeys(f"update/{number}" for number in range(len(old.update_keys)))
        changed |= _proposal_rows(new)
    changed |= _former_difference(old.former, new.former)
    if old.private_keys is not new.private_keys:
        changed |= _changed(_key_rows(old), _key_rows(new))
    return changed


def load_pending(stored: Rows, group: Group) -> NextEpoch:
    """The epoch to which our commit of this epoch of `group` leads, from its rows. Raises as `load` does."""
    return NextEpoch(group.state.interim_transcript_hash, load(stored, group.state.signer, group.state.config).state)


def load(stored: Rows, signer: SignatureKeyPair, config: GroupConfig = DEFAULT_CONFIG) -> Group:
    """The group that `rows` described.

    Raises `DecodeError` if the rows are not those of one group, and `UsageError` if `signer` is not our key in it.
    """
    unread = dict(stored)
    group_row = _read(GroupRow, _take(unread, "group"))
    context = group_row.context
    suite = SUITES.get(context.cipher_suite)
    if suite is None:
        raise DecodeError("a group of a cipher suite that is not implemented")
    tree = _load_tree(unread, context)
    own_leaf = LeafIndex(group_row.own_leaf)
    leaf = tree.leaf(own_leaf)
    if leaf is None:
        raise DecodeError("our own leaf is blank")
    if leaf.signature_key != signer.public:
        raise UsageError("the group was made under another signature key")
    private_keys = {NodeIndex(index): Secret(key) for index, key in _numbered(unread, "key")}
    if node_of(own_leaf) not in private_keys:
        raise DecodeError("no private key for our own leaf")
    proposals = [decode(ProposalRow, row) for _, row in _numbered(unread, "proposal")]
    update_rows = [decode(UpdateRow, row) for _, row in _numbered(unread, "update")]
    updates = {row.public_key: row.private_key for row in update_rows}
    _check_private_keys(suite, [*private_keys.values(), *updates.values()])
    _check_own_updates(own_leaf, proposals, updates)
    former = _load_former(unread, suite)
    former = former[max(0, len(former) - config.former_epochs_max) :]
    secret_tree_rows = {name: _unversioned(row) for name, row in unread.items()}
    return Group(
        GroupState(
            suite=suite,
            config=config,
            signer=signer,
            own_leaf=own_leaf,
            context=context,
            encoded_context=encode(context),
            interim_transcript_hash=group_row.interim_transcript_hash,
            confirmation_tag=group_row.confirmation_tag,
            secrets=group_row.secrets,
            secret_tree=SecretTree.of_rows(suite, tree.leaf_count, secret_tree_rows),
            tree=tree,
            private_keys=MappingProxyType(private_keys),
            roster=roster_of([member for _, member in tree.occupied()]),
            proposals=MappingProxyType(
                {
                    row.reference: CheckedProposal(row.proposal, _proposer(row.sender), row.reference)
                    for row in proposals
                }
            ),
            update_keys=MappingProxyType(updates),
            former=former,
            reinit=group_row.reinit,
        )
    )


def _check_private_keys(suite: CipherSuite, keys: Iterable[Secret]) -> None:
    if any(len(key) != suite.hpke.kem.private_key_size for key in keys):
        raise DecodeError("a private key of the wrong size")


def _check_own_updates(own_leaf: LeafIndex, proposals: Iterable[ProposalRow], keys: Mapping[bytes, Secret]) -> None:
    """Without its private key an Update of ours would stop us once it is committed."""
    for row in proposals:
        if not isinstance(row.proposal, Update) or row.sender != MemberSender(own_leaf):
            continue
        if row.proposal.leaf_node.encryption_key not in keys:
            raise DecodeError("an Update of ours without its private key")


def encode_bundle(bundle: KeyPackageBundle) -> bytes:
    """A key package of ours with its private keys, for the store."""
    return VERSION + encode(BundleRow(bundle.key_package, bundle.init_private, bundle.encryption_private))


def decode_bundle(stored: bytes) -> KeyPackageBundle:
    """The key package that `encode_bundle` wrote. Raises `DecodeError`."""
    row = _read(BundleRow, stored)
    suite = SUITES.get(row.key_package.cipher_suite)
    if suite is None:
        raise DecodeError("a key package of a cipher suite that is not implemented")
    _check_private_keys(suite, (row.init_private, row.encryption_private))
    return KeyPackageBundle(row.key_package, row.init_private, row.encryption_private)


def _group_row(state: GroupState) -> bytes:
    return VERSION + encode(
        GroupRow(
            state.own_leaf,
            state.context,
            state.interim_transcript_hash,
            state.confirmation_tag,
            state.secrets,
            state.reinit,
        )
    )


def _node_row(node: AnyNode) -> bytes:
    return VERSION + encode_as(Node, node)


def _key_rows(state: GroupState) -> dict[str, bytes]:
    return {f"key/{index}": VERSION + key.reveal() for index, key in state.private_keys.items()}


def _secret_tree_rows(secret_tree: SecretTree) -> dict[str, bytes]:
    return {name: VERSION + row for name, row in secret_tree.rows().items()}


def _proposal_rows(state: GroupState, first_proposal: int = 0, first_update: int = 0) -> dict[str, bytes]:
    """The rows of the proposals of this epoch and of our Updates, from given numbers on."""
    made = {}
    for number, (reference, checked) in islice(enumerate(state.proposals.items()), first_proposal, None):
        made[f"proposal/{number}"] = VERSION + encode(ProposalRow(checked.proposal, _sender(checked), reference))
    for number, (public_key, private_key) in islice(enumerate(state.update_keys.items()), first_update, None):
        made[f"update/{number}"] = VERSION + encode(UpdateRow(public_key, private_key))
    return made


def _sender(checked: CheckedProposal) -> AnySender:
    return MemberSender(checked.sender) if isinstance(checked.sender, int) else checked.sender


def _proposer(sender: AnySender) -> LeafIndex | Outsider:
    return LeafIndex(sender.leaf_index) if isinstance(sender, MemberSender) else sender


def _former_row(former: FormerEpoch) -> bytes:
    replaced = [
        ReplacedRow(leaf_index, None if who is None else MemberRow(who.credential, who.signature_key, who.extensions))
        for leaf_index, who in former.replaced.items()
    ]
    leaf_count = former.secret_tree.leaf_count
    return VERSION + encode(FormerRow(former.encoded_context, former.sender_data_secret, leaf_count, tuple(replaced)))


def _former_rows(former: FormerEpoch) -> dict[str, bytes]:
    name = f"former/{former.epoch}"
    keys = _secret_tree_rows(former.secret_tree)
    return {name: _former_row(former)} | {f"{name}/{below}": row for below, row in keys.items()}


def _former_difference(before: Sequence[FormerEpoch], after: Sequence[FormerEpoch]) -> dict[str, bytes | None]:
    """What changes of the former epochs: the latest comes, the oldest goes, and a late message takes a key."""
    known = {former.epoch: former for former in before}
    changed: dict[str, bytes | None] = {}
    for former in after:
        old = known.pop(former.epoch, None)
        if old is None:
            changed |= _former_rows(former)
            continue
        name = f"former/{former.epoch}"
        if old.replaced is not former.replaced:
            changed[name] = _former_row(former)
        for below, row in former.secret_tree.changed_rows(old.secret_tree).items():
            changed[f"{name}/{below}"] = None if row is None else VERSION + row
    for gone in known.values():
        changed |= dict.fromkeys(_former_rows(gone))
    return changed


def _load_former(unread: dict[str, bytes], suite: CipherSuite) -> tuple[FormerEpoch, ...]:
    """Take out the former epochs, the latest last."""
    keys = {name: unread.pop(name) for name in list(unread) if name.startswith("former/") and name.count("/") > 1}
    found = []
    for epoch, encoded in _numbered(unread, "former", EPOCH_MAX):
        row = decode(FormerRow, encoded)
        if row.leaf_count.bit_count() != 1:
            raise DecodeError("a former epoch whose tree is of no possible width")
        prefix = f"former/{epoch}/"
        own = {name.removeprefix(prefix): keys.pop(name) for name in list(keys) if name.startswith(prefix)}
        tree_rows = {name: _unversioned(row) for name, row in own.items()}
        replaced = {LeafIndex(each.leaf_index): _member(each) for each in row.replaced}
        found.append(
            FormerEpoch(
                epoch,
                row.encoded_context,
                row.sender_data_secret,
                SecretTree.of_rows(suite, row.leaf_count, tree_rows),
                MappingProxyType(replaced),
            )
        )
    if keys:
        raise DecodeError("message keys of a former epoch that is not there")
    return tuple(found)


def _member(row: ReplacedRow) -> Member | None:
    if row.member is None:
        return None
    return Member(LeafIndex(row.leaf_index), row.member.credential, row.member.signature_key, row.member.extensions)


def _changed(before: Rows, after: Rows) -> dict[str, bytes | None]:
    changed: dict[str, bytes | None] = dict.fromkeys(name for name in before if name not in after)
    return changed | {name: row for name, row in after.items() if before.get(name) != row}


def _load_tree(unread: dict[str, bytes], context: GroupContext) -> RatchetTree:
    nodes: list[AnyNode | None] = []
    for index, row in _numbered(unread, "node"):
        nodes += [None] * (index - len(nodes))
        nodes.append(decode_as(Node, row))
    try:
        tree = RatchetTree.of_nodes(SUITES[context.cipher_suite], nodes)
    except RuleViolation as error:
        raise DecodeError("the nodes are not those of a tree") from error
    if tree.tree_hash != context.tree_hash:
        raise DecodeError("the tree is not the one in the GroupContext")
    return tree


def _take(unread: dict[str, bytes], name: str) -> bytes:
    row = unread.pop(name, None)
    if row is None:
        raise DecodeError(f"no row {name}")
    return row


NUMBER_MAX = NODES_MAX - 1
"""The number of the last node there can be: bounds the array that a row's name can make us allocate."""


def _numbered(unread: dict[str, bytes], kind: str, maximum: int = NUMBER_MAX) -> list[tuple[int, bytes]]:
    """Take out all rows of a kind, in the order of their numbers, without their version bytes."""
    found = []
    for name in [name for name in unread if name.startswith(f"{kind}/")]:
        digits = name.removeprefix(f"{kind}/")
        found.append((_number(kind, digits, maximum), _unversioned(unread.pop(name))))
    return sorted(found)


def _number(kind: str, digits: str, maximum: int) -> int:
    """The number in a row's name, which has one way to write it. `int` refuses very long ones by a `ValueError`."""
    if digits.isascii() and digits.isdecimal() and len(digits) <= len(str(maximum)):
        number = int(digits)
        if number <= maximum and str(number) == digits:
            return number
    raise DecodeError(f"a row without a number: {kind}")


def _unversioned(row: bytes) -> bytes:
    if row[:1] != VERSION:
        raise DecodeError("a row of another version")
    return row[1:]


def _read(cls: type[T], row: bytes) -> T:
    return decode(cls, _unversioned(row))
