"""A check of CBOR bytes before any library sees them: deterministic encoding (RFC 8949 §4.2.1) and MIMI's data model.

Owns the rules of draft-ietf-mimi-content-09 §6: shortest heads, definite lengths, sorted unique map keys, the smallest
float, one NaN, UTF-8, bounded depth. It allocates nothing for what a length merely promises. `cbor2` does the decoding
afterwards; on its own it takes long heads, trailing bytes and old-style key order, and resolves tags.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NamedTuple

import cbor2

from client_lib.errors import ContentError

MAP_KEY_INTEGER_MAX: Final = 2**53 - 1
EXTENSION_KEY_BYTES_MAX: Final = 255
_NAN: Final = b"\xf9\x7e\x00"
_FLOAT_FORMATS: Final = {2: ">e", 4: ">f", 8: ">d"}


class Major(IntEnum):
    """CBOR's major types (RFC 8949 §3.1)."""

    UNSIGNED = 0
    NEGATIVE = 1
    BYTES = 2
    TEXT = 3
    ARRAY = 4
    MAP = 5
    TAG = 6
    SIMPLE = 7


class Head(NamedTuple):
    """The head of an item: major type, argument, additional information, and where its content begins."""

    major: Major
    argument: int
    additional: int
    end: int


def read_head(data: bytes, start: int) -> Head:
    """Read the head at `start`. Raises ContentError: cut off, not the shortest form, indefinite or reserved."""
    if start >= len(data):
        raise ContentError("content is cut off: drop the message")
    major, additional = Major(data[start] >> 5), data[start] & 0x1F
    if additional < 24:
        return Head(major, additional, additional, start + 1)
    if additional > 27:
        raise ContentError("content uses an indefinite or reserved length: drop the message")
    width = 1 << (additional - 24)
    end = start + 1 + width
    if end > len(data):
        raise ContentError("content is cut off: drop the message")
    argument = int.from_bytes(data[start + 1 : end])
    if major is not Major.SIMPLE and argument < (24 if width == 1 else 1 << (4 * width)):
        raise ContentError("content does not use the shortest length: drop the message")
    return Head(major, argument, additional, end)


def check_item(data: bytes, start: int, *, depth: int, tags: bool) -> int:
    """Check the item at `start` and everything in it; return where it ends.

    `depth`: levels of arrays, maps and tags that are still allowed. `tags`: whether tags, maps and floats may appear at
    all (only extensions may use them). Raises ContentError.
    """
    head = read_head(data, start)
    match head.major:
        case Major.UNSIGNED | Major.NEGATIVE:
            return head.end
        case Major.BYTES | Major.TEXT:
            return _check_string(data, head)
        case Major.SIMPLE:
            return _check_simple(data, start, head, floats=tags)
        case Major.ARRAY | Major.MAP | Major.TAG:
            if depth == 0:
                raise ContentError("content is nested too deeply: drop the message")
            if head.major is not Major.ARRAY and not tags:
                raise ContentError("content has a tag or map where none belongs: drop the message")
            return _check_container(data, head, depth=depth - 1, tags=tags)


def load(data: bytes) -> object:
    """Decode one item that `check_item` has passed."""
    try:
        return cbor2.loads(data, allow_indefinite=False, allow_duplicate_keys=False)
    except cbor2.CBORDecodeError as error:
        raise ContentError("content does not decode: drop the message") from error


def dump(value: object) -> bytes:
    """Encode a value without maps or floats; cbor2 writes those in RFC 7049 order, which the draft forbids."""
    return cbor2.dumps(value)


def dump_map(entries: list[tuple[int | str, bytes]]) -> bytes:
    """Encode a map of keys and already encoded values, sorted bytewise (RFC 8949 §4.2.1)."""
    encoded = sorted((cbor2.dumps(key), value) for key, value in entries)
    # A map's head is the head of an unsigned integer with another major type.
    head = bytearray(cbor2.dumps(len(encoded)))
    head[0] |= Major.MAP << 5
    return bytes(head) + b"".join(key + value for key, value in encoded)


def _check_string(data: bytes, head: Head) -> int:
    end = head.end + head.argument
    if end > len(data):
        raise ContentError("content is cut off: drop the message")
    if head.major is Major.TEXT:
        try:
            data[head.end : end].decode("utf-8")
        except UnicodeDecodeError as error:
            raise ContentError("content holds text that is not UTF-8: drop the message") from error
    return end


def _check_simple(data: bytes, start: int, head: Head, *, floats: bool) -> int:
    if head.additional == 24 and head.argument < 32:
        raise ContentError("content does not use the shortest length: drop the message")
    if head.additional >= 25:
        if not floats:
            raise ContentError("content has a float where none belongs: drop the message")
        _check_float(data[start : head.end])
    return head.end


def _check_float(item: bytes) -> None:
    size = len(item) - 1
    (value,) = struct.unpack(_FLOAT_FORMATS[size], item[1:])
    if value != value:  # NaN, the only value unequal to itself
        if item != _NAN:
            raise ContentError("content has a NaN other than the one allowed: drop the message")
        return
    if size > 2 and _fits(value, size // 2):
        raise ContentError("content does not use the shortest float: drop the message")


def _fits(value: float, size: int) -> bool:
    form = _FLOAT_FORMATS[size]
    try:
        return bool(struct.unpack(form, struct.pack(form, value))[0] == value)
    except OverflowError:
        return False


def _check_container(data: bytes, head: Head, *, depth: int, tags: bool) -> int:
    offset = head.end
    if head.major is Major.ARRAY:
        for _ in range(head.argument):
            offset = check_item(data, offset, depth=depth, tags=tags)
        return offset
    if head.major is Major.TAG:
        end = check_item(data, offset, depth=depth, tags=tags)
        if head.argument in (2, 3):
            _check_bigint(data, offset, end)
        return end
    previous = b""
    for _ in range(head.argument):
        key_end = check_key(data, offset)
        key = data[offset:key_end]
        if key <= previous:
            raise ContentError("content has map keys out of order or twice: drop the message")
        previous = key
        offset = check_item(data, key_end, depth=depth, tags=tags)
    return offset


def check_key(data: bytes, start: int) -> int:
    """Check a map key, an integer of at most 53 bits or a string, and return where it ends. Raises ContentError."""
    head = read_head(data, start)
    match head.major:
        case Major.UNSIGNED | Major.NEGATIVE:
            # The negative integer -1 - n is in range when n + 1 is.
            magnitude = head.argument + (head.major is Major.NEGATIVE)
            if magnitude > MAP_KEY_INTEGER_MAX:
                raise ContentError("content has a map key above 53 bits: drop the message")
            return head.end
        case Major.BYTES | Major.TEXT:
            return _check_string(data, head)
        case _:
            raise ContentError("content has a map key that is no integer or string: drop the message")


def _check_bigint(data: bytes, start: int, end: int) -> None:
    head = read_head(data, start)
    if head.major is not Major.BYTES or head.argument <= 8 or data[head.end] == 0:
        raise ContentError("content has a big integer that is not in its shortest form: drop the message")
