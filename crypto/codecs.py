"""The codecs that the presentation language of RFC 9420 §2.1 compiles to: one for each of its constructions.

Each function makes an encoder and its decoder, from those of the parts where there are any. Which annotation means
which codec is for `wire` to say; nothing here knows of annotations. Bad input raises `DecodeError` and nothing else; a
value that has no encoding, or none that a decoder would take, raises `UsageError`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from crypto.errors import DecodeError, UsageError
from crypto.secret import Secret

LENGTH_MAX = 2**30 - 1
"""The largest vector that a length prefix can name (§2.1.2)."""


class Codec(NamedTuple):
    """An encoder, and a decoder that takes `(data, position, end)` and returns the value and the new position."""

    encode: Callable[[Any], bytes]
    decode: Callable[[bytes, int, int], tuple[Any, int]]


def uint_codec(size: int) -> Codec:
    """`uint8` to `uint64`: an unsigned integer of `size` bytes, big-endian (§2.1)."""
    from_bytes = int.from_bytes

    def encode_uint(value: int) -> bytes:
        try:
            return value.to_bytes(size, "big")
        except OverflowError:
            raise UsageError(f"{value} does not fit {size} bytes") from None

    def decode_uint(data: bytes, position: int, end: int) -> tuple[int, int]:
        after = position + size
        if after > end:
            raise DecodeError("ends inside an integer")
        return from_bytes(data[position:after], "big"), after

    return Codec(encode_uint, decode_uint)


def enum_codec(enum: type[IntEnum], size: int) -> Codec:
    """An enum of `size` bytes; a value that it does not name is refused (rule C6)."""
    members = {int(member): member for member in enum}
    uint = uint_codec(size)

    def decode_enum(data: bytes, position: int, end: int) -> tuple[IntEnum, int]:
        number, position = uint.decode(data, position, end)
        if number not in members:
            raise DecodeError(f"{enum.__name__} has no value {number}")
        return members[number], position

    return Codec(uint.encode, decode_enum)


def fixed_codec(size: int) -> Codec:
    """`opaque x[size]`: bytes of a known number, without a length (§2.1)."""

    def encode_fixed(value: bytes) -> bytes:
        if len(value) != size:
            raise UsageError(f"{len(value)} bytes where {size} belong")
        return value

    def decode_fixed(data: bytes, position: int, end: int) -> tuple[bytes, int]:
        after = position + size
        if after > end:
            raise DecodeError("ends inside a fixed-size field")
        return data[position:after], after

    return Codec(encode_fixed, decode_fixed)


_SHORT_LENGTHS = [bytes([length]) for length in range(0x40)]


def encode_length(length: int) -> bytes:
    """The shortest length prefix of a vector (§2.1.2)."""
    if length < 0x40:
        return _SHORT_LENGTHS[length]
    if length < 0x4000:
        return (0x4000 | length).to_bytes(2, "big")
    if length <= LENGTH_MAX:
        return (0x8000_0000 | length).to_bytes(4, "big")
    raise UsageError(f"{length} bytes do not fit a vector")


def _decode_length(data: bytes, position: int, end: int) -> tuple[int, int]:
    """Read a length prefix; returns where the vector's content starts and where it ends."""
    if position >= end:
        raise DecodeError("ends where a length belongs")
    first = data[position]
    if first < 0x40:
        start, length = position + 1, first
    elif first < 0x80:
        start = position + 2
        length = int.from_bytes(data[position:start], "big") & 0x3FFF
        if length < 0x40:
            raise DecodeError("length is not in its shortest form")
    elif first < 0xC0:
        start = position + 4
        length = int.from_bytes(data[position:start], "big") & 0x3FFF_FFFF
        if length < 0x4000:
            raise DecodeError("length is not in its shortest form")
    else:
        raise DecodeError("length prefix of an unknown class")
    if start + length > end:
        raise DecodeError("vector is longer than what is left")
    return start, start + length


def encode_opaque(value: bytes) -> bytes:
    """`opaque value<V>`."""
    return encode_length(len(value)) + value


def _decode_opaque(data: bytes, position: int, end: int) -> tuple[bytes, int]:
    start, after = _decode_length(data, position, end)
    return data[start:after], after


def _encode_secret(value: Secret) -> bytes:
    return encode_opaque(value.reveal())


def _decode_secret(data: bytes, position: int, end: int) -> tuple[Secret, int]:
    value, after = _decode_opaque(data, position, end)
    return Secret(value), after


OPAQUE = Codec(encode_opaque, _decode_opaque)
"""`opaque x<V>`."""

SECRET = Codec(_encode_secret, _decode_secret)
"""`opaque x<V>` of secret bytes."""


def vector_codec(item: Codec, items_max: int) -> Codec:
    """`T x<V>`: items up to the end that a length prefix says, at most `items_max` both ways (§2.1.2; rule C10)."""
    encode_item, decode_item = item

    def encode_vector(values: tuple[Any, ...]) -> bytes:
        if len(values) > items_max:
            raise UsageError(f"a vector of more than {items_max} items")
        return encode_opaque(b"".join(map(encode_item, values)))

    def decode_vector(data: bytes, position: int, end: int) -> tuple[tuple[Any, ...], int]:
        position, after = _decode_length(data, position, end)
        values: list[Any] = []
        while position < after:
            if len(values) == items_max:
                raise DecodeError(f"a vector of more than {items_max} items")
            value, position = decode_item(data, position, after)
            values.append(value)
        return tuple(values), after

    return Codec(encode_vector, decode_vector)


def optional_codec(item: Codec) -> Codec:
    """`optional<T>`: a presence byte, and the value if it is 1 (§2.1.1)."""

    def encode_optional(value: Any) -> bytes:
        return b"\x00" if value is None else b"\x01" + item.encode(value)

    def decode_optional(data: bytes, position: int, end: int) -> tuple[Any, int]:
        if position >= end:
            raise DecodeError("ends where a presence byte belongs")
        if data[position] == 0:
            return None, position + 1
        if data[position] == 1:
            return item.decode(data, position + 1, end)
        raise DecodeError("presence byte is neither 0 nor 1")

    return Codec(encode_optional, decode_optional)


def select_codec(variants: Mapping[type, tuple[int, Codec]], size: int) -> Codec:
    """A union: a tag of `size` bytes, and the body that it announces (§2.1, `select`; rule C6)."""
    tagged = {tag.to_bytes(size, "big"): body.decode for tag, body in variants.values()}
    by_class = {cls: (tag.to_bytes(size, "big"), body.encode) for cls, (tag, body) in variants.items()}

    def encode_select(value: Any) -> bytes:
        tag, encode_body = by_class[type(value)]
        return tag + encode_body(value)

    def decode_select(data: bytes, position: int, end: int) -> tuple[Any, int]:
        after = position + size
        decode_body = tagged.get(data[position:after]) if after <= end else None
        if decode_body is None:
            raise DecodeError("unknown or truncated type tag")
        return decode_body(data, after, end)

    return Codec(encode_select, decode_select)


def struct_codec(cls: type, fields: Sequence[tuple[str, Codec]]) -> Codec:
    """A struct: its fields one after the other (§2.1)."""
    decoders = [codec.decode for _, codec in fields]

    def decode_struct(data: bytes, position: int, end: int) -> tuple[Any, int]:
        values = []
        for decode_field in decoders:
            value, position = decode_field(data, position, end)
            values.append(value)
        return cls(*values), position

    return Codec(fields_encoder(fields), decode_struct)


def fields_encoder(fields: Sequence[tuple[str, Codec]]) -> Callable[[Any], bytes]:
    """Encodes these fields of a struct: all of them, or all but the signature over the others."""
    encoders = [(name, codec.encode) for name, codec in fields]

    def encode_fields(value: Any) -> bytes:
        return b"".join([encode_field(getattr(value, name)) for name, encode_field in encoders])

    return encode_fields


def dependent_struct_codec(cls: type, fields: Sequence[tuple[str, Callable[[Sequence[Any]], Codec | None]]]) -> Codec:
    """A struct of which some fields depend on those before them: each codec is settled value by value (§2.1, `select`).

    A field comes with the choice of its codec, which sees the earlier values; None means that the field is absent.
    """

    def encode_struct(value: Any) -> bytes:
        values: list[Any] = []
        parts = []
        for name, settle in fields:
            codec = settle(values)
            values.append(getattr(value, name))
            if codec is not None:
                parts.append(codec.encode(values[-1]))
            elif values[-1] is not None:
                raise UsageError(f"{cls.__name__}.{name} must be absent here")
        return b"".join(parts)

    def decode_struct(data: bytes, position: int, end: int) -> tuple[Any, int]:
        values: list[Any] = []
        for _, settle in fields:
            codec = settle(values)
            value, position = (None, position) if codec is None else codec.decode(data, position, end)
            values.append(value)
        return cls(*values), position

    return Codec(encode_struct, decode_struct)


def kept_codec(struct: Codec) -> Codec:
    """The codec of a `Kept` struct: its encoding is what it was decoded from, or what it was first encoded to."""
    encode_struct, decode_struct = struct
    keep = object.__setattr__

    def encode_kept(value: Any) -> bytes:
        try:
            encoded: bytes = value._encoded
        except AttributeError:
            encoded = encode_struct(value)
            keep(value, "_encoded", encoded)
        return encoded

    def decode_kept(data: bytes, position: int, end: int) -> tuple[Any, int]:
        value, after = decode_struct(data, position, end)
        keep(value, "_encoded", data[position:after])
        return value, after

    return Codec(encode_kept, decode_kept)


def shared_codec(item: Codec, count: int) -> Codec:
    """The same item, of which the last `count` are remembered by their encodings."""
    known: tuple[tuple[bytes, Any], ...] = ()  # replaced as a whole: readers in other threads see one or the other

    def decode_shared(data: bytes, position: int, end: int) -> tuple[Any, int]:
        nonlocal known
        for encoded, value in known:
            if data.startswith(encoded, position, end):
                return value, position + len(encoded)
        value, after = item.decode(data, position, end)
        known = ((data[position:after], value), *known)[:count]
        return value, after

    return Codec(item.encode, decode_shared)
