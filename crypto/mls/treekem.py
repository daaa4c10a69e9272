"""TreeKEM (RFC 9420 §7.4 to §7.6): an update path gives all members but its sender's former self a new secret.

Owns the path secrets and the private keys of the tree; the public tree is `ratchet_tree`'s. A commit with a path is
`generate_path`, `encrypt_path` at its sender, and `merge_path`, `decrypt_path` at everybody else. Between the two steps
the caller puts the hash of the new tree into the GroupContext that the encryption binds.

A member's private keys are an immutable mapping from node to HPKE private key: its own leaf, and those ancestors that
it has been given. The tree invariant (§4.2) is that it never holds a key of a node that is not its own or above it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from types import MappingProxyType

from crypto.errors import DecodeError, RuleViolation, UsageError
from crypto.kem import HPKEKeyPair
from crypto.mls import parent_hashes, tree_math
from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.tree_nodes import (
    CommitSource,
    LeafContents,
    LeafIndex,
    LeafNode,
    NodeIndex,
    UpdatePath,
    UpdatePathNode,
    sign_leaf_node,
)
from crypto.secret import Secret
from crypto.suites import CipherSuite, SignatureKeyPair

PrivateKeys = Mapping[NodeIndex, Secret]
"""HPKE private keys of a member: its leaf's and those of the ancestors that it knows."""

_ENCRYPT_LABEL = "UpdatePathNode"


@dataclass(frozen=True, slots=True)
class NewPath:
    """What a committer has drawn. `path_secrets` and `commit_secret` are KDF.Nh bytes each."""

    leaf_index: LeafIndex
    leaf: LeafNode
    """The committer's new, signed leaf."""
    tree: RatchetTree
    """The tree with the path merged."""
    path_secrets: Mapping[NodeIndex, Secret] = field(repr=False)
    """Of each node of the filtered direct path, from the bottom up. A joiner gets that of its common ancestor."""
    private_keys: PrivateKeys = field(repr=False)
    """All that the committer holds from now on."""
    commit_secret: Secret


def generate_path(
    suite: CipherSuite,
    tree: RatchetTree,
    leaf_index: LeafIndex,
    contents: LeafContents,
    signer: SignatureKeyPair,
    group_id: bytes,
) -> NewPath:
    """Draw a new leaf key and new path secrets, and put them into the tree (§7.4, §7.5).

    `tree` has the commit's proposals applied. The new leaf says `contents`, of whose signature key `signer` holds the
    private half.
    """
    leaf_keys = suite.generate_hpke_key_pair()
    return derive_path(suite, tree, leaf_index, contents, signer, group_id, leaf_keys, suite.generate_secret())


def derive_path(
    suite: CipherSuite,
    tree: RatchetTree,
    leaf_index: LeafIndex,
    contents: LeafContents,
    signer: SignatureKeyPair,
    group_id: bytes,
    leaf_keys: HPKEKeyPair,
    path_secret: Secret,
) -> NewPath:
    """`generate_path` from given randomness: the leaf's key pair and path_secret[0], KDF.Nh bytes."""
    path_secrets = {}
    private_keys = {tree_math.node_of(leaf_index): leaf_keys.private}
    public_keys = {}
    for index in tree.filtered_direct_path(leaf_index):
        keys = _node_key_pair(suite, path_secret)
        path_secrets[index], private_keys[index], public_keys[index] = path_secret, keys.private, keys.public
        path_secret = _next_path_secret(suite, path_secret)
    parents, parent_hash = parent_hashes.path_parents(tree, leaf_index, public_keys)
    leaf = sign_leaf_node(suite, signer, contents, leaf_keys.public, CommitSource(parent_hash), group_id, leaf_index)
    return NewPath(
        leaf_index,
        leaf,
        tree.with_path(leaf_index, leaf, parents),
        MappingProxyType(path_secrets),
        MappingProxyType(private_keys),
        path_secret,
    )


def encrypt_path(
    suite: CipherSuite, new_path: NewPath, group_context: bytes, excluded: frozenset[LeafIndex]
) -> UpdatePath:
    """Encrypt the path secrets to the group (§7.5, §7.6).

    `group_context` is the encoded provisional GroupContext, with the hash of `new_path.tree`. `excluded` are the
    members that this very commit adds: they get their secret in the Welcome.
    """
    tree = new_path.tree
    receivers = {index: _receivers(tree, new_path.leaf_index, index, excluded) for index in new_path.path_secrets}
    addressed = [
        (_public_key(tree, receiver), path_secret.reveal())
        for index, path_secret in new_path.path_secrets.items()
        for receiver in receivers[index]
    ]
    sealed = iter(suite.encrypt_each_with_label(_ENCRYPT_LABEL, group_context, addressed))
    nodes = [
        UpdatePathNode(_public_key(tree, index), tuple(islice(sealed, len(to)))) for index, to in receivers.items()
    ]
    return UpdatePath(new_path.leaf, tuple(nodes))


def _public_key(tree: RatchetTree, index: NodeIndex) -> bytes:
    node = tree.node(index)
    assert node is not None, "resolutions and a path just merged hold no blanks"
    return node.encryption_key


def merge_path(suite: CipherSuite, tree: RatchetTree, sender: LeafIndex, path: UpdatePath) -> RatchetTree:
    """Merge a received path into the public tree, `tree` having the commit's proposals applied (§7.5, §12.4.2).

    The caller has checked the leaf itself (§7.3), and that every key of the path is one of the suite's KEM (rule C8).
    The sender is a member, or joins by this very path: then its place may be blank (§12.4.3.2). Raises `RuleViolation`
    U2 (number of nodes), U9 (a key is in use), L8 (the leaf is not from a commit), U6 (its parent hash) or C9 (a sender
    outside the tree).
    """
    filtered = _path_nodes(tree, sender, path)
    keys_in_use = tree.encryption_keys()
    new_keys = {path.leaf_node.encryption_key, *[node.encryption_key for node in path.nodes]}
    if len(new_keys) != 1 + len(path.nodes) or any(key in keys_in_use for key in new_keys):
        raise RuleViolation("U9", "a public key of the path is used twice")
    public_keys = {index: node.encryption_key for index, node in filtered.items()}
    parents, parent_hash = parent_hashes.path_parents(tree, sender, public_keys)
    source = path.leaf_node.source
    if not isinstance(source, CommitSource):
        raise RuleViolation("L8", "the leaf of a path is not from a commit")
    if source.parent_hash != parent_hash:
        raise RuleViolation("U6", "the parent hash of the path's leaf is not that of the path")
    return tree.with_path(sender, path.leaf_node, parents)


def decrypt_path(
    suite: CipherSuite,
    tree_before_path: RatchetTree,
    tree_after: RatchetTree,
    sender: LeafIndex,
    own_leaf: LeafIndex,
    private_keys: PrivateKeys,
    path: UpdatePath,
    group_context: bytes,
    excluded: frozenset[LeafIndex],
) -> tuple[PrivateKeys, Secret]:
    """Open the path secret that is meant for us and derive all that follows from it (§7.5).

    `tree_before_path` has the commit's proposals applied, `tree_after` is what `merge_path` made of it.
    `private_keys` holds our leaf's present key, `group_context` is the encoded provisional GroupContext, `excluded` are
    the members that this commit adds. Returns our private keys in the new epoch and the commit secret.

    Every public key from ours up to the root must follow from the secret, so that whoever sends unrelated secrets to
    parts of the group is found out by the first who can (§16.12).
    Raises `RuleViolation` U2 (number of nodes), U3 (number of ciphertexts) or U5 (a public key does not follow),
    `AuthenticationError` (U4), `DecodeError` for a secret that is not KDF.Nh bytes, and `UsageError` if we are the
    sender or none of our keys is asked for.
    """
    filtered = _path_nodes(tree_before_path, sender, path)
    receivers = {index: _receivers(tree_before_path, sender, index, excluded) for index in filtered}
    for index, node in filtered.items():
        if len(node.encrypted_path_secret) != len(receivers[index]):
            raise RuleViolation("U3", f"not one ciphertext for each receiver of node {index}")
    lowest = tree_math.common_ancestor(tree_math.node_of(sender), tree_math.node_of(own_leaf))
    ours = [place for place, receiver in enumerate(receivers.get(lowest, ())) if receiver in private_keys]
    if not ours:
        raise UsageError("this path is not for us: we sent it, joined by it, or are no member")
    receiver = receivers[lowest][ours[0]]
    sealed = filtered[lowest].encrypted_path_secret[ours[0]]
    keys = HPKEKeyPair(private_keys[receiver], _public_key(tree_before_path, receiver))
    path_secret = suite.decrypt_with_label(keys, _ENCRYPT_LABEL, group_context, sealed)
    new_keys, commit_secret = _climb(suite, tree_after, tuple(filtered), lowest, path_secret, "U5")
    # Of the sender's direct path nothing old is left: what we held there is blank now, or has just been derived anew.
    return MappingProxyType({**prune(private_keys, tree_after), **new_keys}), commit_secret


def private_keys_from_path_secret(
    suite: CipherSuite, tree: RatchetTree, own_leaf: LeafIndex, signer_leaf: LeafIndex, path_secret: Secret
) -> PrivateKeys:
    """The private keys of a joiner's ancestors, from the path secret in its Welcome (§12.4.3.1).

    `tree` is the new epoch's, `signer_leaf` the member whose commit added us: another than we (rule W8). Our leaf's own
    key is not in the result. Raises `RuleViolation` W9 if a public key does not follow from the secret, and
    `DecodeError` for a secret that is not KDF.Nh bytes.
    """
    filtered = tree.filtered_direct_path(signer_leaf)
    lowest = tree_math.common_ancestor(tree_math.node_of(signer_leaf), tree_math.node_of(own_leaf))
    if lowest not in filtered:
        raise RuleViolation("W9", "the signer's path does not lead to us")
    keys, _ = _climb(suite, tree, filtered, lowest, path_secret, "W9")
    return MappingProxyType(keys)


def prune(private_keys: PrivateKeys, tree: RatchetTree) -> PrivateKeys:
    """Our private keys without those of nodes that are blank in `tree` (§7.5: outdated keys are deleted)."""
    return MappingProxyType({index: key for index, key in private_keys.items() if tree.node(index) is not None})


def _path_nodes(tree: RatchetTree, sender: LeafIndex, path: UpdatePath) -> dict[NodeIndex, UpdatePathNode]:
    """The nodes of a path by their places, from the bottom up. Raises `RuleViolation` U2."""
    filtered = tree.filtered_direct_path(sender)
    if len(path.nodes) != len(filtered):
        raise RuleViolation("U2", f"a path of {len(path.nodes)} nodes where {len(filtered)} belong")
    return dict(zip(filtered, path.nodes, strict=True))


def _receivers(
    tree: RatchetTree, sender: LeafIndex, index: NodeIndex, excluded: frozenset[LeafIndex]
) -> list[NodeIndex]:
    """To whom the path secret of node `index` is encrypted: the resolution of its copath child without new members."""
    resolution = tree.resolution(tree_math.copath_child(index, tree_math.node_of(sender)))
    return [node for node in resolution if node & 1 or node >> 1 not in excluded]


def _climb(
    suite: CipherSuite,
    tree: RatchetTree,
    filtered: tuple[NodeIndex, ...],
    lowest: NodeIndex,
    path_secret: Secret,
    rule: str,
) -> tuple[dict[NodeIndex, Secret], Secret]:
    """Derive the private keys from node `lowest` of a filtered path up to the root, and the secret after the last.

    Raises `RuleViolation` under `rule` unless each public key is the one in `tree`.
    """
    if len(path_secret) != suite.hash_size:
        raise DecodeError("path secret of the wrong size")
    private_keys = {}
    for index in filtered[filtered.index(lowest) :]:
        keys = _node_key_pair(suite, path_secret)
        node = tree.node(index)
        if node is None or node.encryption_key != keys.public:
            raise RuleViolation(rule, f"the public key of node {index} does not follow from the path secret")
        private_keys[index] = keys.private
        path_secret = _next_path_secret(suite, path_secret)
    return private_keys, path_secret


def _node_key_pair(suite: CipherSuite, path_secret: Secret) -> HPKEKeyPair:
    """The key pair of a node: by way of node_secret, so that each secret serves one algorithm (§7.4)."""
    return suite.derive_key_pair(suite.derive_secret(path_secret, "node"))


def _next_path_secret(suite: CipherSuite, path_secret: Secret) -> Secret:
    """The path secret of the next node up; after the root's, the commit secret (§7.4, §12.4.1)."""
    return suite.derive_secret(path_secret, "path")
