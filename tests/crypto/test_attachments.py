"""Attachments: sealed and opened in chunks, and every cut, swap and addition refused before a byte comes out."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import nacl.bindings
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.attachments import (
    CHUNK_SIZE,
    SEALED_CHUNK_SIZE,
    TAG_SIZE,
    AttachmentOpener,
    AttachmentSealer,
    chunk_count,
    chunk_range,
    ciphertext_size,
    generate_attachment_key,
    open_chunk,
    plaintext_size,
)
from crypto.errors import AuthenticationError, DecodeError, UsageError
from crypto.secret import Secret
from tests.crypto.identities import secret

KEY = secret("attachment")
OTHER_KEY = secret("another attachment")
EDGES = [0, 1, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 2 * CHUNK_SIZE, 2 * CHUNK_SIZE + 1, 3 * CHUNK_SIZE]
SIZES = st.sampled_from(EDGES) | st.integers(0, 3 * CHUNK_SIZE)
VECTORS = json.loads((Path(__file__).parent / "data" / "attachments.json").read_text())


def content(size: int, seed: bytes = b"content") -> bytes:
    return hashlib.shake_256(seed).digest(size)


def seal(plaintext: bytes, key: Secret = KEY) -> tuple[list[bytes], bytes]:
    """The sealed chunks of a plaintext, and their hash."""
    sealer = AttachmentSealer(key)
    count = chunk_count(len(plaintext))
    pieces = [plaintext[place * CHUNK_SIZE : (place + 1) * CHUNK_SIZE] for place in range(count)]
    chunks = [sealer.seal(piece, last=place == count - 1) for place, piece in enumerate(pieces)]
    return chunks, sealer.content_hash


def open_all(chunks: Sequence[bytes], content_hash: bytes, key: Secret = KEY) -> bytes:
    opener = AttachmentOpener(key, content_hash)
    plaintext = b"".join(opener.open(chunk, last=place == len(chunks) - 1) for place, chunk in enumerate(chunks))
    opener.finish()
    return plaintext


def refused_at(chunks: Sequence[bytes], content_hash: bytes, place: int) -> None:
    """The chunks before `place` open, the one at `place` is refused as not authentic, and nothing of it comes out."""
    opener = AttachmentOpener(KEY, content_hash)
    for chunk in chunks[:place]:
        opener.open(chunk)
    with pytest.raises(AuthenticationError):
        opener.open(chunks[place], last=place == len(chunks) - 1)
    with pytest.raises(AuthenticationError):
        opener.finish()


@given(SIZES)
def test_sealed_content_opens(size: int) -> None:
    plaintext = content(size)
    chunks, content_hash = seal(plaintext)
    assert open_all(chunks, content_hash) == plaintext
    assert sum(map(len, chunks)) == ciphertext_size(size)
    assert hashlib.sha256(b"".join(chunks)).digest() == content_hash


@given(SIZES)
def test_every_chunk_opens_alone(size: int) -> None:
    plaintext = content(size)
    ciphertext = b"".join(seal(plaintext)[0])
    count = chunk_count(size)
    for place in range(count):
        where = chunk_range(size, place)
        opened = open_chunk(KEY, place, ciphertext[where.start : where.stop], last=place == count - 1)
        assert opened == plaintext[place * CHUNK_SIZE : (place + 1) * CHUNK_SIZE]
    assert chunk_range(size, count - 1).stop == len(ciphertext)


@pytest.mark.parametrize("size", EDGES)
def test_another_implementation_opens_it_with_the_documented_nonce(size: int) -> None:
    chunks, _ = seal(content(size))
    opened = b""
    for place, chunk in enumerate(chunks):
        nonce = place.to_bytes(11, "big") + (b"\x01" if place == len(chunks) - 1 else b"\x00")
        opened += nacl.bindings.crypto_aead_chacha20poly1305_ietf_decrypt(chunk, None, nonce, KEY.reveal())
    assert opened == content(size)


@pytest.mark.parametrize("size", [int(size) for size in VECTORS])
def test_ciphertexts_stay_as_they_are(size: int) -> None:
    chunks, content_hash = seal(content(size))
    assert content_hash.hex() == VECTORS[str(size)]["content_hash"]
    assert chunks[-1][-TAG_SIZE:].hex() == VECTORS[str(size)]["last_tag"]


@given(st.integers(0, 2**50))
def test_sizes_follow_from_each_other(size: int) -> None:
    assert plaintext_size(ciphertext_size(size)) == size
    assert chunk_range(size, chunk_count(size) - 1).stop == ciphertext_size(size)


@pytest.mark.parametrize(
    "size", [0, 1, TAG_SIZE - 1, SEALED_CHUNK_SIZE + 1, SEALED_CHUNK_SIZE + TAG_SIZE, 2 * SEALED_CHUNK_SIZE + 5]
)
def test_some_sizes_no_ciphertext_has(size: int) -> None:
    with pytest.raises(DecodeError, match=str(size)):
        plaintext_size(size)


@pytest.mark.parametrize("place", [-1, 2])
def test_chunk_that_does_not_exist_has_no_place(place: int) -> None:
    with pytest.raises(UsageError):
        chunk_range(CHUNK_SIZE + 1, place)


@pytest.mark.parametrize("kept", [1, 2])
def test_a24_truncated_at_a_chunk_is_refused(kept: int) -> None:
    """Whether the cut is shown as the end, or as a stream that just stops."""
    chunks, content_hash = seal(content(3 * CHUNK_SIZE))
    refused_at(chunks[:kept], content_hash, kept - 1)
    opener = AttachmentOpener(KEY, content_hash)
    for chunk in chunks[:kept]:
        opener.open(chunk)
    with pytest.raises(AuthenticationError):
        opener.finish()


def test_a24_truncated_to_nothing_is_refused() -> None:
    _, content_hash = seal(content(10))
    with pytest.raises(AuthenticationError):
        AttachmentOpener(KEY, content_hash).finish()


@pytest.mark.parametrize("lost", [1, 15, 16, 17, 99])
def test_a24_truncated_inside_a_chunk_is_refused(lost: int) -> None:
    chunks, content_hash = seal(content(CHUNK_SIZE + 100))
    refused_at([chunks[0], chunks[1][:-lost]], content_hash, 1)


def test_a24_reordered_chunks_are_refused() -> None:
    chunks, content_hash = seal(content(4 * CHUNK_SIZE))
    refused_at([chunks[1], chunks[0], *chunks[2:]], content_hash, 0)
    refused_at([chunks[0], chunks[2], chunks[1], chunks[3]], content_hash, 1)
    refused_at([*chunks[:2], chunks[3], chunks[2]], content_hash, 2)


def test_a24_doubled_and_left_out_chunks_are_refused() -> None:
    chunks, content_hash = seal(content(3 * CHUNK_SIZE))
    refused_at([chunks[0], chunks[0], *chunks[1:]], content_hash, 1)
    refused_at([chunks[0], chunks[2]], content_hash, 1)


def test_a24_spliced_attachments_are_refused() -> None:
    chunks, content_hash = seal(content(3 * CHUNK_SIZE))
    foreign, foreign_hash = seal(content(3 * CHUNK_SIZE, b"foreign"), OTHER_KEY)
    refused_at([chunks[0], foreign[1], chunks[2]], content_hash, 1)
    refused_at([*chunks[:2], foreign[2]], content_hash, 2)
    refused_at(foreign, foreign_hash, 0)


def test_a24_last_chunk_of_another_ciphertext_under_one_key_fails_the_hash() -> None:
    """What only the key's owner can make: all chunks are authentic, the whole is not what the message named."""
    chunks, content_hash = seal(content(CHUNK_SIZE + 50))
    refused_at([chunks[0], seal(content(CHUNK_SIZE + 50, b"other"))[0][1]], content_hash, 1)


def test_a24_appended_chunks_are_refused() -> None:
    """Before the end, whose last flag no longer fits, and after it."""
    chunks, content_hash = seal(content(2 * CHUNK_SIZE))
    refused_at([*chunks, chunks[1]], content_hash, 1)
    opener = AttachmentOpener(KEY, content_hash)
    opener.open(chunks[0])
    opener.open(chunks[1], last=True)
    for last in (False, True):
        with pytest.raises(AuthenticationError):
            opener.open(chunks[1], last=last)


def test_a24_nothing_follows_the_last_chunk_even_from_the_keys_owner() -> None:
    """A sender goes on sealing after the end: each chunk is authentic in its place, the hash no longer covers it."""
    chunks, content_hash = seal(content(CHUNK_SIZE))
    nonce = (1).to_bytes(11, "big") + b"\x00"
    plaintext = content(CHUNK_SIZE, b"further")
    further = nacl.bindings.crypto_aead_chacha20poly1305_ietf_encrypt(plaintext, None, nonce, KEY.reveal())
    assert open_chunk(KEY, 1, further, last=False) == plaintext
    opener = AttachmentOpener(KEY, content_hash)
    opener.open(chunks[0], last=True)
    with pytest.raises(AuthenticationError):
        opener.open(further)


@pytest.mark.parametrize("added", [b"\x00", b"\x00" * 16, b"\xff" * 100])
def test_a24_appended_bytes_are_refused(added: bytes) -> None:
    chunks, content_hash = seal(content(CHUNK_SIZE + 100))
    refused_at([chunks[0], chunks[1] + added], content_hash, 1)


@pytest.mark.parametrize("size", [0, 1, TAG_SIZE - 1, TAG_SIZE, SEALED_CHUNK_SIZE - 1, SEALED_CHUNK_SIZE + 1])
def test_sizes_that_no_full_chunk_has_are_refused(size: int) -> None:
    with pytest.raises(DecodeError, match=str(CHUNK_SIZE)):
        AttachmentOpener(KEY, bytes(32)).open(bytes(size))


@pytest.mark.parametrize("size", [0, 1, TAG_SIZE - 1, SEALED_CHUNK_SIZE + 1])
def test_a42_sizes_that_no_last_chunk_has_are_refused(size: int) -> None:
    with pytest.raises(DecodeError, match=str(CHUNK_SIZE)):
        AttachmentOpener(KEY, bytes(32)).open(bytes(size), last=True)


def test_a_further_chunk_is_never_empty() -> None:
    """Or else one file would have two ciphertexts. The tag of the empty chunk is right, its size is not."""
    chunks, _ = seal(content(2 * CHUNK_SIZE))
    empty = nacl.bindings.crypto_aead_chacha20poly1305_ietf_encrypt(b"", None, bytes(10) + b"\x01\x01", KEY.reveal())
    with pytest.raises(DecodeError, match="if it is the only one"):
        open_chunk(KEY, 1, empty, last=True)
    sealer = AttachmentSealer(KEY)
    sealer.seal(content(CHUNK_SIZE))
    with pytest.raises(UsageError, match="if it is the only one"):
        sealer.seal(b"", last=True)
    assert len(chunks) == 2


@given(st.integers(0, 99 + TAG_SIZE), st.integers(0, 7))
def test_no_bit_of_a_chunk_can_change(place: int, bit: int) -> None:
    chunks, content_hash = seal(content(100))
    changed = bytearray(chunks[0])
    changed[place] ^= 1 << bit
    refused_at([bytes(changed)], content_hash, 0)


def test_a_refused_chunk_may_be_fetched_again() -> None:
    plaintext = content(2 * CHUNK_SIZE)
    chunks, content_hash = seal(plaintext)
    opener = AttachmentOpener(KEY, content_hash)
    with pytest.raises(AuthenticationError):
        opener.open(chunks[1])
    opened = opener.open(chunks[0])
    with pytest.raises(AuthenticationError):
        opener.open(chunks[1])
    opened += opener.open(chunks[1], last=True)
    opener.finish()
    assert opened == plaintext


def test_wrong_key_and_wrong_hash_are_refused() -> None:
    chunks, content_hash = seal(content(100))
    with pytest.raises(AuthenticationError):
        open_all(chunks, content_hash, OTHER_KEY)
    with pytest.raises(AuthenticationError):
        open_all(chunks, bytes(32))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_keys_and_hashes_of_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(DecodeError, match="attachment key is 32 bytes"):
        AttachmentOpener(Secret(bytes(size)), bytes(32))
    with pytest.raises(DecodeError, match="attachment key is 32 bytes"):
        open_chunk(Secret(bytes(size)), 0, bytes(100), last=True)
    with pytest.raises(DecodeError, match="content hash is 32 bytes"):
        AttachmentOpener(KEY, bytes(size))


def test_sealer_keeps_to_its_order() -> None:
    sealer = AttachmentSealer(KEY)
    for size in (0, 1, CHUNK_SIZE - 1, CHUNK_SIZE + 1):
        with pytest.raises(UsageError):
            sealer.seal(bytes(size))
    with pytest.raises(UsageError):
        sealer.seal(bytes(CHUNK_SIZE + 1), last=True)
    with pytest.raises(UsageError, match="not sealed to its end"):
        _ = sealer.content_hash
    sealer.seal(b"all", last=True)
    with pytest.raises(UsageError, match="last chunk was given"):
        sealer.seal(b"more", last=True)
    assert len(sealer.content_hash) == 32


def test_generated_keys_differ() -> None:
    assert len(generate_attachment_key()) == 32
    assert generate_attachment_key() != generate_attachment_key()


def test_memory_does_not_grow_with_the_file() -> None:
    """16 MiB go through sealer and opener in the space of a few chunks."""
    piece = content(CHUNK_SIZE)
    sealer, opener = AttachmentSealer(KEY), AttachmentOpener(KEY, bytes(32))
    tracemalloc.start()
    try:
        for _ in range(256):
            assert opener.open(sealer.seal(piece)) == piece
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 4 * SEALED_CHUNK_SIZE
