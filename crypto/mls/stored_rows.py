"""The rows of a stored group, each kind with its writer and its reader.

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

The rows of the secret tree are `secret_tree`'s. Readers take their rows out of those that are unread, and raise
`DecodeError` for what is no such row; whether all rows together make a group is `snapshot`'s to judge.
"""

from __future__ import annotations

from itertools import islice
from types import MappingProxyType

from crypto.errors import DecodeError
from crypto.mls.credentials import Credential
from crypto.mls.extensions import Extension
from crypto.mls.headers import MemberSender, Sender
from crypto.mls.key_schedule import GroupContext, KeptSecrets
from crypto.mls.proposals import CheckedProposal, Proposal, ReInit
from crypto.mls.roster import Member
from crypto.mls.secret_tree import SecretTree
from crypto.mls.state import FormerEpoch, GroupState
from crypto.mls.tree_hashes import AnyNode
from crypto.mls.tree_nodes import NODES_MAX, LeafIndex, Node, NodeIndex
from crypto.secret import Secret
from crypto.suites import CipherSuite
from crypto.wire import Uint32, decode, decode_as, encode, encode_as, struct

NODE_NUMBER_MAX = NODES_MAX - 1
"""The number of the last node there can be: bounds the array that a row's name can make us allocate."""

NUMBER_MAX = 2**64 - 1
"""Of what only stands in a row. Each of many members may propose much in one epoch (rule C10)."""


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


def group_row(state: GroupState) -> bytes:
    """What is new in every epoch."""
    return encode(
        GroupRow(
            state.own_leaf,
            state.context,
            state.interim_transcript_hash,
            state.confirmation_tag,
            state.secrets,
            state.reinit,
        )
    )


def take_group(unread: dict[str, bytes]) -> GroupRow:
    """The one row that every group has."""
    row = unread.pop("group", None)
    if row is None:
        raise DecodeError("no row group")
    return decode(GroupRow, row)


def node_row(node: AnyNode) -> bytes:
    """A leaf or a parent."""
    return encode_as(Node, node)


def take_nodes(unread: dict[str, bytes]) -> list[AnyNode | None]:
    """The array of Appendix C, up to the last node that is not blank."""
    nodes: list[AnyNode | None] = []
    for index, row in _numbered(unread, "node", NODE_NUMBER_MAX):
        nodes += [None] * (index - len(nodes))
        nodes.append(decode_as(Node, row))
    return nodes


def key_rows(state: GroupState) -> dict[str, bytes]:
    """Our HPKE private keys; the store encrypts them."""
    return {f"key/{index}": key.reveal() for index, key in state.private_keys.items()}


def take_keys(unread: dict[str, bytes]) -> dict[NodeIndex, Secret]:
    """Our HPKE private keys by their node. Nobody has looked at their sizes yet."""
    return {NodeIndex(index): Secret(key) for index, key in _numbered(unread, "key", NODE_NUMBER_MAX)}


def proposal_rows(state: GroupState, first_proposal: int = 0, first_update: int = 0) -> dict[str, bytes]:
    """The rows of the proposals of this epoch and of our Updates, from given numbers on."""
    made = {}
    for number, (reference, checked) in islice(enumerate(state.proposals.items()), first_proposal, None):
        sender = MemberSender(checked.sender) if isinstance(checked.sender, int) else checked.sender
        made[f"proposal/{number}"] = encode(ProposalRow(checked.proposal, sender, reference))
    for number, (public_key, private_key) in islice(enumerate(state.update_keys.items()), first_update, None):
        made[f"update/{number}"] = encode(UpdateRow(public_key, private_key))
    return made


def take_proposals(unread: dict[str, bytes]) -> dict[bytes, CheckedProposal]:
    """The proposals of this epoch by their reference, in the order in which they came."""
    found = {}
    for _, encoded in _numbered(unread, "proposal"):
        row = decode(ProposalRow, encoded)
        sender = LeafIndex(row.sender.leaf_index) if isinstance(row.sender, MemberSender) else row.sender
        found[row.reference] = CheckedProposal(row.proposal, sender, row.reference)
    return found


def take_update_keys(unread: dict[str, bytes]) -> dict[bytes, Secret]:
    """The private keys of our Updates of this epoch, by public key."""
    updates = [decode(UpdateRow, row) for _, row in _numbered(unread, "update")]
    return {row.public_key: row.private_key for row in updates}


def former_row(former: FormerEpoch) -> bytes:
    """All of a former epoch but its message keys."""
    replaced = [
        ReplacedRow(leaf_index, None if who is None else MemberRow(who.credential, who.signature_key, who.extensions))
        for leaf_index, who in former.replaced.items()
    ]
    leaf_count = former.secret_tree.leaf_count
    return encode(FormerRow(former.encoded_context, former.sender_data_secret, leaf_count, tuple(replaced)))


def former_rows(former: FormerEpoch) -> dict[str, bytes]:
    """All of a former epoch."""
    name = f"former/{former.epoch}"
    return {name: former_row(former)} | {f"{name}/{below}": row for below, row in former.secret_tree.rows().items()}


def take_former(unread: dict[str, bytes], suite: CipherSuite) -> tuple[FormerEpoch, ...]:
    """The former epochs, the latest last."""
    keys = {name: unread.pop(name) for name in list(unread) if name.startswith("former/") and name.count("/") > 1}
    found = []
    for epoch, encoded in _numbered(unread, "former"):
        row = decode(FormerRow, encoded)
        if row.leaf_count.bit_count() != 1:
            raise DecodeError("a former epoch whose tree is of no possible width")
        prefix = f"former/{epoch}/"
        own = {name.removeprefix(prefix): keys.pop(name) for name in list(keys) if name.startswith(prefix)}
        found.append(
            FormerEpoch(
                epoch,
                row.encoded_context,
                row.sender_data_secret,
                SecretTree.of_rows(suite, row.leaf_count, own),
                MappingProxyType({LeafIndex(each.leaf_index): _member(each) for each in row.replaced}),
            )
        )
    if keys:
        raise DecodeError("message keys of a former epoch that is not there")
    return tuple(found)


def _member(row: ReplacedRow) -> Member | None:
    if row.member is None:
        return None
    return Member(LeafIndex(row.leaf_index), row.member.credential, row.member.signature_key, row.member.extensions)


def _numbered(unread: dict[str, bytes], kind: str, maximum: int = NUMBER_MAX) -> list[tuple[int, bytes]]:
    """Take out all rows of a kind, in the order of their numbers."""
    prefix = f"{kind}/"
    names = [name for name in unread if name.startswith(prefix)]
    return sorted((_number(kind, name.removeprefix(prefix), maximum), unread.pop(name)) for name in names)


def _number(kind: str, digits: str, maximum: int) -> int:
    """The number in a row's name, which has one way to write it. `int` refuses very long ones by a `ValueError`."""
    if digits.isascii() and digits.isdecimal() and len(digits) <= len(str(maximum)):
        number = int(digits)
        if number <= maximum and str(number) == digits:
            return number
    raise DecodeError(f"a row without a number: {kind}")
