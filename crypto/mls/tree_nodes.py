"""The nodes of a ratchet tree (RFC 9420 §7.1 to §7.3, §7.6): what they hold and how a leaf is signed.

Owns the structs and the leaf's signature. Does not own the tree (`ratchet_tree`) or the rules a leaf must meet.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, NewType

from crypto.mls.credentials import AnyCredential, Credential
from crypto.mls.extensions import Extension, Extensions, Types
from crypto.suites import CipherSuite, HPKECiphertext, SignatureKeyPair
from crypto.wire import (
    ITEMS_MAX,
    Kept,
    Max,
    Select,
    Shared,
    Uint32,
    Uint64,
    encode_opaque,
    encode_unsigned,
    struct,
    variant,
)

LeafIndex = NewType("LeafIndex", int)
"""Counts leaves from the left: 0, 1, 2, … The node index of a leaf is twice this."""

NodeIndex = NewType("NodeIndex", int)
"""Counts all nodes of the array (Appendix C): leaves even, parents odd."""


class NodeType(IntEnum):
    """The kind of an occupied node (§7.8)."""

    LEAF = 1
    PARENT = 2


class LeafNodeSource(IntEnum):
    """Where a leaf came from (§7.2)."""

    KEY_PACKAGE = 1
    UPDATE = 2
    COMMIT = 3


@struct
class Capabilities(Kept):
    """What a client supports beyond the defaults (§7.2). Values that we do not know grant nothing and harm nothing."""

    versions: Types
    cipher_suites: Types
    extensions: Types
    proposals: Types
    credentials: Types


@struct
class Lifetime:
    """When a leaf may be used: Unix seconds, both ends included (§7.2)."""

    not_before: Uint64
    not_after: Uint64


@variant(LeafNodeSource.KEY_PACKAGE)
class KeyPackageSource:
    """The leaf came in a KeyPackage (§7.2)."""

    lifetime: Lifetime


@variant(LeafNodeSource.UPDATE)
class UpdateSource:
    """The leaf came in an Update proposal (§7.2)."""


@variant(LeafNodeSource.COMMIT)
class CommitSource:
    """The leaf came in a Commit's path (§7.2)."""

    parent_hash: bytes


AnySource = KeyPackageSource | UpdateSource | CommitSource
Source = Annotated[AnySource, Select(1)]


@variant(NodeType.LEAF)
class LeafNode:
    """A member's leaf (§7.2). `encryption_key` is an HPKE public key, `signature_key` one of the suite's scheme."""

    encryption_key: bytes
    signature_key: bytes
    credential: Credential
    capabilities: Annotated[Capabilities, Shared(32)]
    source: Source
    extensions: Extensions
    signature: bytes

    @property
    def contents(self) -> LeafContents:
        """What stays when the member takes a new encryption key."""
        return LeafContents(self.signature_key, self.credential, self.capabilities, self.extensions)


@dataclass(frozen=True, slots=True)
class LeafContents:
    """What a leaf says of its member (§7.2): all but the encryption key, the source and the signature."""

    signature_key: bytes
    credential: AnyCredential
    capabilities: Capabilities
    extensions: tuple[Extension, ...]


@variant(NodeType.PARENT)
class ParentNode:
    """An occupied parent (§7.1). `unmerged_leaves` are leaf indices, ascending."""

    encryption_key: bytes
    parent_hash: bytes
    unmerged_leaves: tuple[Uint32, ...]


Node = Annotated[LeafNode | ParentNode, Select(1)]
NODES_MAX = 2 * ITEMS_MAX - 1
"""The array of a tree of as many members as a vector may have items."""

RatchetTreeNodes = Annotated[tuple[Node | None, ...], Max(NODES_MAX)]
"""The `ratchet_tree` extension: `optional<Node> ratchet_tree<V>` (§12.4.3.3)."""


@struct
class UpdatePathNode:
    """One node of an update path: its new key, and the path secret for each node of the copath's resolution (§7.6)."""

    encryption_key: bytes
    encrypted_path_secret: tuple[HPKECiphertext, ...]


@struct
class UpdatePath:
    """A committer's new leaf and the new keys of its filtered direct path, from the bottom up (§7.6)."""

    leaf_node: LeafNode
    nodes: tuple[UpdatePathNode, ...]


def leaf_node_tbs(leaf: LeafNode, group_id: bytes, leaf_index: LeafIndex) -> bytes:
    """LeafNodeTBS (§7.2). A leaf in a KeyPackage is signed without group and index: they are not known yet."""
    if isinstance(leaf.source, KeyPackageSource):
        return encode_unsigned(leaf)
    return encode_unsigned(leaf) + encode_opaque(group_id) + leaf_index.to_bytes(4, "big")


def sign_leaf_node(
    suite: CipherSuite,
    signer: SignatureKeyPair,
    contents: LeafContents,
    encryption_key: bytes,
    source: AnySource,
    group_id: bytes,
    leaf_index: LeafIndex,
) -> LeafNode:
    """Make a leaf of ours (§7.2). `signer` holds the private half of the contents' signature key.

    A leaf for a KeyPackage is signed without `group_id` and `leaf_index`.
    """

    def leaf(signature: bytes) -> LeafNode:
        return LeafNode(
            encryption_key,
            contents.signature_key,
            contents.credential,
            contents.capabilities,
            source,
            contents.extensions,
            signature,
        )

    return leaf(suite.sign_with_label(signer, "LeafNodeTBS", leaf_node_tbs(leaf(b""), group_id, leaf_index)))


def verify_leaf_node(suite: CipherSuite, leaf: LeafNode, group_id: bytes, leaf_index: LeafIndex) -> None:
    """Raise `AuthenticationError` unless the leaf signed itself (§7.3)."""
    tbs = leaf_node_tbs(leaf, group_id, leaf_index)
    suite.verify_with_label(leaf.signature_key, "LeafNodeTBS", tbs, leaf.signature)
