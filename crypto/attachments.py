"""Attachments: one file of any size, sealed chunk by chunk, opened chunk by chunk or in part.

The STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár: "Online Authenticated-Encryption and its Nonce-Reuse
Misuse-Resistance", CRYPTO 2015) over ChaCha20-Poly1305. The plaintext is cut into chunks of 64 KiB; each becomes its
own ciphertext with a 16-byte tag, and they follow one another with no header:

::

    nonce (12 bytes) = position of the chunk (11 bytes, big-endian, from 0) || last (1 byte: 1 for the last, else 0)

STREAM's nonce prefix, which tells streams under one key apart, is left out: every attachment has a random key of its
own that seals one stream, once. No associated data. The last chunk may be shorter and is not empty, unless it is the
only one; so a plaintext has one form, and sizes follow from each other.

What that gives: a chunk opens only in its place and with its own last flag, so cutting off, reordering, mixing in
chunks of another attachment (another key) and appending are refused at the chunk where they happen, before any byte of
it comes out. Any chunk opens without the others. The key, the plaintext's size and the SHA-256 of the ciphertext travel
in the message; the hash binds the message to one ciphertext, which a tag alone does not (the cipher does not commit to
its key).

Owns the format and its arithmetic, no files and no transport. Memory is constant: one chunk.
"""

from __future__ import annotations

import hashlib
import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from crypto.errors import AuthenticationError, DecodeError, UsageError
from crypto.secret import Secret

CHUNK_SIZE = 64 * 1024
"""Plaintext bytes of every chunk but the last."""

TAG_SIZE = 16
"""What sealing adds to each chunk, in bytes."""

SEALED_CHUNK_SIZE = CHUNK_SIZE + TAG_SIZE
"""Ciphertext bytes of every chunk but the last."""

_KEY_SIZE = 32
_HASH_SIZE = 32
_POSITION_SIZE = 11


def generate_attachment_key() -> Secret:
    """A fresh 32-byte key. It seals one attachment, once: sealing other bytes under it would give both away."""
    return Secret(os.urandom(_KEY_SIZE))


class AttachmentSealer:
    """Seals one attachment from its first byte to its last.

    ::

        sealer = AttachmentSealer(generate_attachment_key())
        ciphertext = sealer.seal(first_64_kib) + sealer.seal(rest, last=True)
        sealer.content_hash
    """

    __slots__ = ("_cipher", "_finished", "_hash", "_position")

    def __init__(self, key: Secret) -> None:
        self._cipher = _cipher(key)
        self._hash = hashlib.sha256()
        self._position = 0
        self._finished = False

    def seal(self, chunk: bytes, last: bool = False) -> bytes:
        """The ciphertext of the next chunk: `len(chunk)` + 16 bytes.

        `chunk` is `CHUNK_SIZE` bytes; the last one may be shorter, and empty if it is the only one. Raises `UsageError`
        for another size, or after the last chunk.
        """
        if self._finished:
            raise UsageError("the attachment is sealed: its last chunk was given before")
        _check_chunk_size(len(chunk), self._position, last, UsageError)
        ciphertext = self._cipher.encrypt(_nonce(self._position, last), chunk, None)
        self._hash.update(ciphertext)
        self._position += 1
        self._finished = last
        return ciphertext

    @property
    def content_hash(self) -> bytes:
        """SHA-256 of the whole ciphertext, 32 bytes. Raises `UsageError` before the last chunk."""
        if not self._finished:
            raise UsageError("the attachment is not sealed to its end yet")
        return self._hash.digest()


class AttachmentOpener:
    """Opens one attachment from its first chunk to its last, and checks its hash.

    ::

        opener = AttachmentOpener(key, content_hash)
        plaintext = opener.open(first_chunk) + opener.open(last_chunk, last=True)
        opener.finish()

    A refused chunk changes nothing: the right one may be fetched again and opened in its place.
    """

    __slots__ = ("_cipher", "_content_hash", "_finished", "_hash", "_position")

    def __init__(self, key: Secret, content_hash: bytes) -> None:
        """Both come from a message, so wrong sizes are a `DecodeError`: each is 32 bytes."""
        if len(content_hash) != _HASH_SIZE:
            raise DecodeError(f"a content hash is {_HASH_SIZE} bytes, not {len(content_hash)}")
        self._cipher = _cipher(key)
        self._content_hash = content_hash
        self._hash = hashlib.sha256()
        self._position = 0
        self._finished = False

    def open(self, chunk: bytes, last: bool = False) -> bytes:
        """The plaintext of the next chunk, `SEALED_CHUNK_SIZE` bytes of ciphertext or, for the last one, up to that.

        Raises `DecodeError` for a size that no such chunk has, and `AuthenticationError` if the chunk does not belong
        here, if it comes after the last, or if at the last the hash of the whole differs; no byte of it is released.
        """
        if self._finished:
            raise AuthenticationError
        plaintext = _open(self._cipher, self._position, chunk, last)
        running = self._hash.copy()
        running.update(chunk)
        if last and not hmac.compare_digest(running.digest(), self._content_hash):
            raise AuthenticationError
        self._hash = running
        self._position += 1
        self._finished = last
        return plaintext

    def finish(self) -> None:
        """Raise `AuthenticationError` unless the last chunk was opened: without it the attachment is cut off."""
        if not self._finished:
            raise AuthenticationError


def open_chunk(key: Secret, position: int, chunk: bytes, last: bool) -> bytes:
    """Open one chunk by itself, for ranges; `position` counts from 0, `chunk_range` says where the chunk lies.

    The chunk is authentic, in its place and under this key; the hash of the whole is not checked. Raises
    `DecodeError` or `AuthenticationError`.
    """
    return _open(_cipher(key), position, chunk, last)


def ciphertext_size(plaintext_bytes: int) -> int:
    """The size of the ciphertext of a plaintext of that size, in bytes."""
    return plaintext_bytes + TAG_SIZE * chunk_count(plaintext_bytes)


def plaintext_size(ciphertext_bytes: int) -> int:
    """The size of the plaintext in a ciphertext of that size. Raises `DecodeError` if no ciphertext has it."""
    full, rest = divmod(ciphertext_bytes, SEALED_CHUNK_SIZE)
    plaintext_bytes = full * CHUNK_SIZE + max(rest - TAG_SIZE, 0)
    if ciphertext_size(plaintext_bytes) != ciphertext_bytes:
        raise DecodeError(f"no attachment has {ciphertext_bytes} bytes of ciphertext")
    return plaintext_bytes


def chunk_count(plaintext_bytes: int) -> int:
    """How many chunks a plaintext of that size has: at least one."""
    return max(1, -(-plaintext_bytes // CHUNK_SIZE))


def chunk_range(plaintext_bytes: int, position: int) -> range:
    """Where in the ciphertext the chunk at `position` lies. Raises `UsageError` if there is no such chunk."""
    if not 0 <= position < chunk_count(plaintext_bytes):
        raise UsageError(f"the attachment has no chunk {position}")
    start = position * SEALED_CHUNK_SIZE
    return range(start, min(start + SEALED_CHUNK_SIZE, ciphertext_size(plaintext_bytes)))


def _cipher(key: Secret) -> ChaCha20Poly1305:
    if len(key) != _KEY_SIZE:
        raise DecodeError(f"an attachment key is {_KEY_SIZE} bytes, not {len(key)}")
    return ChaCha20Poly1305(key.reveal())


def _nonce(position: int, last: bool) -> bytes:
    return position.to_bytes(_POSITION_SIZE, "big") + bytes([last])


def _open(cipher: ChaCha20Poly1305, position: int, chunk: bytes, last: bool) -> bytes:
    _check_chunk_size(len(chunk) - TAG_SIZE, position, last, DecodeError)
    try:
        return cipher.decrypt(_nonce(position, last), chunk, None)
    except InvalidTag as error:
        raise AuthenticationError from error


def _check_chunk_size(size: int, position: int, last: bool, error: type[UsageError | DecodeError]) -> None:
    """Hold every chunk to the one size it may have; `size` is its plaintext's, in bytes."""
    if not last and size != CHUNK_SIZE:
        raise error(f"a chunk before the last holds {CHUNK_SIZE} bytes, not {size}")
    smallest = 0 if position == 0 else 1
    if last and not smallest <= size <= CHUNK_SIZE:
        raise error(f"the last chunk holds 1 to {CHUNK_SIZE} bytes, or none if it is the only one; not {size}")
