"""Rule C10: every list has a bound, and one item more is refused while it is read, before it fills the memory."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from crypto.errors import DecodeError
from crypto.mls.credentials import CERTIFICATES_MAX, Credential
from crypto.mls.extensions import EXTENSIONS_MAX, Extensions, ExternalSenders, RequiredCapabilities
from crypto.mls.proposals import PROPOSALS_MAX, Commit
from crypto.mls.psk import PSK_COUNT_MAX
from crypto.mls.ratchet_tree import LEAF_COUNT_MAX
from crypto.mls.tree_nodes import NODES_MAX, Capabilities, ParentNode, RatchetTreeNodes, UpdatePath
from crypto.mls.welcome import GroupSecrets, Welcome
from crypto.wire import ITEMS_MAX, codec_of, decode_as, encode_opaque
from tests.crypto.matrix import without_group

LISTS: dict[str, tuple[Any, int, bytes, bytes, bytes]] = {
    # what, how many, before the vector, one item, after it
    "nodes of a tree": (RatchetTreeNodes, NODES_MAX, b"", b"\0", b""),
    "proposals of a commit": (Commit, PROPOSALS_MAX, b"", b"\2\0", b"\0"),
    "extensions": (Extensions, EXTENSIONS_MAX, b"", b"\0\1\0", b""),
    "external senders": (ExternalSenders, EXTENSIONS_MAX, b"", b"\0\0\1\0", b""),
    "versions": (Capabilities, EXTENSIONS_MAX, b"", b"\0\1", b"\0\0\0\0"),
    "credential types": (Capabilities, EXTENSIONS_MAX, b"\0\0\0\0", b"\0\1", b""),
    "required types": (RequiredCapabilities, EXTENSIONS_MAX, b"\0\0", b"\0\1", b""),
    "certificates": (Credential, CERTIFICATES_MAX, b"\0\2", b"\0", b""),
    "secrets of a Welcome": (Welcome, ITEMS_MAX, b"\0\1", b"\0\0\0", b"\0"),
    "PSKs of a Welcome": (GroupSecrets, PSK_COUNT_MAX, b"\0\0", b"\1\0\0", b""),
    "unmerged leaves": (ParentNode, ITEMS_MAX, b"\0\0", b"\0\0\0\1", b""),
}


def test_as_many_psks_as_all_read() -> None:
    assert PSK_COUNT_MAX == 1_024


@without_group("the codec knows no group")
@pytest.mark.parametrize("name", LISTS)
def test_c10_one_item_too_many(name: str) -> None:
    annotation, count, before, item, after = LISTS[name]
    decode_as(annotation, before + encode_opaque(item * count) + after)
    with pytest.raises(DecodeError, match=f"more than {count} items"):
        decode_as(annotation, before + encode_opaque(item * (count + 1)) + after)


@without_group("the codec knows no group")
def test_c10_the_memory_of_many_tiny_items_is_bounded() -> None:
    data = encode_opaque(bytes(20 * 1024 * 1024))
    for annotation in (RatchetTreeNodes, tuple[bytes, ...], UpdatePath):
        codec_of(annotation)
        tracemalloc.start()
        with pytest.raises(DecodeError):
            decode_as(annotation, data)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 45 * 1024 * 1024  # the vector itself is copied at most once


def test_a_tree_that_can_be_made_can_be_read() -> None:
    assert NODES_MAX == 2 * LEAF_COUNT_MAX - 1
