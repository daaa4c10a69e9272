"""The key schedule (RFC 9420 §8): from one epoch's secrets to the next."""

from __future__ import annotations

from crypto.mls.extensions import Extension
from crypto.mls.tree_nodes import Version
from crypto.wire import Uint16, Uint64, struct


@struct
class GroupContext:
    """What all members agree on in an epoch (§8.1)."""

    version: Version
    cipher_suite: Uint16
    group_id: bytes
    epoch: Uint64
    tree_hash: bytes
    confirmed_transcript_hash: bytes
    extensions: tuple[Extension, ...]
