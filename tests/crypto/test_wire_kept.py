"""Structs that keep their encoding, and structs that members share: what is cheaper must not be another value."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import pytest

from crypto import wire
from crypto.errors import DecodeError


@wire.struct
class Pair:
    """Two numbers."""

    first: wire.Uint8
    second: wire.Uint16


@wire.struct
class Envelope(wire.Kept):
    """A struct that keeps its encoding."""

    number: wire.Uint16
    text: bytes
    signature: bytes


def test_a_kept_struct_is_encoded_once_and_as_any_other() -> None:
    made = Envelope(7, b"text", b"signed")
    encoded = b"\x00\x07\x04text\x06signed"
    assert wire.encode(made) == encoded
    assert wire.encode(made) is wire.encode(made)
    decoded = wire.decode(Envelope, encoded)
    assert decoded == made
    assert wire.encode(decoded) == encoded
    changed = dataclasses.replace(decoded, number=8)
    assert wire.encode(changed) == b"\x00\x08" + encoded[2:]
    for value in (made, decoded, Envelope(7, b"text", b"")):
        assert wire.encode_unsigned(value) == b"\x00\x07\x04text"


def test_a_kept_struct_inside_another_keeps_its_own_bytes() -> None:
    two = tuple[Envelope, ...]
    values = (Envelope(1, b"", b""), Envelope(2, b"x", b"y"))
    data = wire.encode_as(two, values)
    assert [wire.encode(value) for value in wire.decode_as(two, b"" + data)] == [wire.encode(value) for value in values]


def test_shared_structs_that_are_equal_decode_to_one_object() -> None:
    shared = Annotated[Pair, wire.Shared(2)]
    one, two, three = (wire.decode_as(shared, wire.encode(Pair(1, number))) for number in (1, 2, 3))
    assert (one, two, three) == (Pair(1, 1), Pair(1, 2), Pair(1, 3))
    assert wire.decode_as(shared, wire.encode(three)) is three
    assert wire.decode_as(shared, wire.encode(one)) is not one  # two others came since
    assert wire.encode_as(shared, two) == wire.encode(two)


def test_a_shared_struct_is_found_only_where_all_of_it_is() -> None:
    shared = Annotated[Pair, wire.Shared(8)]
    data = wire.encode(Pair(1, 1))
    assert wire.decode_prefix(shared, data + b"more") == (Pair(1, 1), len(data))
    for end in range(len(data)):
        with pytest.raises(DecodeError):
            wire.decode_as(shared, data[:end])
        with pytest.raises(DecodeError):  # the rest is there, but belongs to what comes after
            wire.codec_of(shared).decode(data, 0, end)
