"""Key packages (RFC 9420 §10): how a client says, in advance, "this is how to add me"."""

from __future__ import annotations

from crypto.mls.extensions import Extension
from crypto.mls.tree_nodes import LeafNode, Version
from crypto.wire import Uint16, variant

WIRE_FORMAT_KEY_PACKAGE = 5


@variant(WIRE_FORMAT_KEY_PACKAGE)
class KeyPackage:
    """A client's offer to be added (§10). `init_key` is an HPKE public key used for one Welcome."""

    version: Version
    cipher_suite: Uint16
    init_key: bytes
    leaf_node: LeafNode
    extensions: tuple[Extension, ...]
    signature: bytes
