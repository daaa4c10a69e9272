"""The presentation language of RFC 9420 §2.1: a struct's annotations are its codec.

`@struct` turns a class into a frozen, slotted dataclass and compiles its annotations, once, into one encoder and one
decoder::

    @struct
    class KeyPackageRefs:
        epoch: Uint64                     # uint64 epoch;
        references: tuple[bytes, ...]     # opaque reference<V>  references<V>;
        note: bytes | None                # optional<opaque note<V>>;

What an annotation means:

=============================  ==============================================================
`Uint8` … `Uint64`             big-endian unsigned integer
`bytes`, `Secret`              `opaque x<V>`
`Annotated[bytes, Fixed(n)]`   `opaque x[n]`
`tuple[T, ...]`                `T x<V>` (the prefix counts bytes), at most `ITEMS_MAX`
`Annotated[tuple[…], Max(n)]`  the same, at most n
`T | None`                     `optional<T>`
`Annotated[E, Uint(n)]`        closed enum of n bytes: an unknown value is refused
another struct                 the struct, inline
`Annotated[A | B, Select(n)]`  an n-byte tag followed by the variant that carries it
`Annotated[S, Shared(n)]`      the struct S; equal ones decode to one object
`Annotated[T, Depends(f)]`     a field whose type `f(*earlier fields)` chooses; None: absent
=============================  ==============================================================

Decoding is strict: shortest length prefix, known tags, presence bytes 0 or 1, nothing left over. So encoding a decoded
value gives the same bytes, and signatures may be checked over the re-encoding. Every length is checked against the
bytes that are there before anything is allocated, and the items of a vector are counted, so that tiny ones do not fill
the memory (rule C10). Only `DecodeError` comes out of bad input.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable
from enum import IntEnum
from typing import Annotated, Any, NamedTuple, TypeVar, Union, dataclass_transform, get_args, get_origin
from typing import get_type_hints as _get_type_hints

from crypto.errors import DecodeError
from crypto.secret import Secret

T = TypeVar("T")

INPUT_BYTES_MAX = 64 * 1024 * 1024
"""No input is larger: a hybrid Welcome for 10,000 members is about half of it, so some 20,000 is the end."""

ITEMS_MAX = 65_536
"""No vector has more items, unless its annotation says so. `INPUT_BYTES_MAX` bounds hybrid groups before that."""

LENGTH_MAX = 2**30 - 1
"""The largest vector that a length prefix can name (§2.1.2)."""


class Codec(NamedTuple):
    """An encoder, and a decoder that takes `(data, position, end)` and returns the value and the new position."""

    encode: Callable[[Any], bytes]
    decode: Callable[[bytes, int, int], tuple[Any, int]]


@dataclasses.dataclass(frozen=True, slots=True)
class Uint:
    """Marks an integer or enum of `size` bytes."""

    size: int


@dataclasses.dataclass(frozen=True, slots=True)
class Fixed:
    """Marks bytes of exactly `size`, without a length prefix."""

    size: int


@dataclasses.dataclass(frozen=True, slots=True)
class Max:
    """Marks a vector of at most `count` items."""

    count: int


@dataclasses.dataclass(frozen=True, slots=True)
class Select:
    """Marks a union of structs told apart by a tag of `size` bytes in front of the body."""

    size: int


@dataclasses.dataclass(frozen=True, slots=True)
class Depends:
    """Marks a field whose type is chosen by the fields before it; `None` means that the field is absent."""

    choose: Callable[..., Any]


class Kept:
    """Base of structs that are signed, hashed and sent several times over: a value keeps its encoding (rule C7).

    It never changes, so neither do its bytes. For what passes through; what stays in a state would need their memory.
    """

    __slots__ = ("_encoded",)


@dataclasses.dataclass(frozen=True, slots=True)
class Shared:
    """Marks a struct of which most values in a group are alike: equal ones decode to one object, of the last `count`.

    An encoding ends where it says, so bytes that begin with one that was decoded before are that value again.
    """

    count: int


Uint8 = Annotated[int, Uint(1)]
Uint16 = Annotated[int, Uint(2)]
Uint32 = Annotated[int, Uint(4)]
Uint64 = Annotated[int, Uint(8)]


@dataclass_transform(frozen_default=True)
def struct(cls: type[T]) -> type[T]:
    """Make `cls` a frozen dataclass that `encode` and `decode` understand."""
    made = dataclasses.dataclass(frozen=True, slots=True)(cls)
    _CODECS[made] = _struct_codec(made)
    return made


@dataclass_transform(frozen_default=True)
def variant(tag: int) -> Callable[[type[T]], type[T]]:
    """Make a struct that stands in a `Select` union under `tag`."""

    def make(cls: type[T]) -> type[T]:
        made = struct(cls)
        _TAGS[made] = tag
        return made

    return make


def encode(value: object) -> bytes:
    """The encoding of a struct."""
    return _CODECS[type(value)].encode(value)


def decode(cls: type[T], data: bytes) -> T:
    """Decode a struct that fills `data` exactly. Raises `DecodeError`."""
    value: T = decode_as(cls, data)
    return value


def encode_as(annotation: Any, value: object) -> bytes:
    """The encoding of a value of an annotated type that is not a struct, such as a union or a vector."""
    return codec_of(annotation).encode(value)


def decode_as(annotation: Any, data: bytes) -> Any:
    """Decode a value of `annotation` that fills `data` exactly. Raises `DecodeError`."""
    value, position = decode_prefix(annotation, data)
    if position != len(data):
        raise DecodeError(f"{len(data) - position} bytes left over")
    return value


def decode_prefix(annotation: Any, data: bytes) -> tuple[Any, int]:
    """Decode a value at the start of `data`; returns it and how many bytes it took. Raises `DecodeError`."""
    if len(data) > INPUT_BYTES_MAX:
        raise DecodeError(f"larger than {INPUT_BYTES_MAX} bytes")
    return codec_of(annotation).decode(data, 0, len(data))


def encode_unsigned(value: object) -> bytes:
    """The encoding of a struct without its last field, `signature`: the start of what is signed."""
    return _UNSIGNED[type(value)](value)


def codec_of(annotation: Any) -> Codec:
    """The codec of an annotated type; compiled at the first request."""
    found = _CODECS.get(annotation)
    if found is None:
        found = _CODECS[annotation] = _compile(annotation)
    return found


_CODECS: dict[Any, Codec] = {}
_UNSIGNED: dict[type, Callable[[Any], bytes]] = {}
_TAGS: dict[type, int] = {}


def _compile(annotation: Any) -> Codec:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is bytes:
        return Codec(encode_opaque, _decode_opaque)
    if annotation is Secret:
        return Codec(lambda value: encode_opaque(value.reveal()), _decode_secret)
    if origin is Annotated:
        return _annotated_codec(arguments[0], arguments[1])
    if origin is tuple and arguments[1:] == (Ellipsis,):
        return _vector_codec(codec_of(arguments[0]), ITEMS_MAX)
    if origin in (Union, types.UnionType) and len(arguments) == 2 and arguments[1] is type(None):
        return _optional_codec(codec_of(arguments[0]))
    raise TypeError(f"no wire encoding for {annotation!r}")


def _annotated_codec(base: Any, mark: object) -> Codec:
    match mark:
        case Uint(size) if isinstance(base, type) and issubclass(base, IntEnum):
            return _enum_codec(base, size)
        case Uint(size):
            return _uint_codec(size)
        case Fixed(size):
            return _fixed_codec(size)
        case Max(count):
            return _vector_codec(codec_of(get_args(base)[0]), count)
        case Shared(count):
            return _shared_codec(codec_of(base), count)
        case Select(size):
            return _select_codec(get_args(base), size)
        case _:
            raise TypeError(f"no wire encoding for {base!r} marked {mark!r}")


def _uint_codec(size: int) -> Codec:
    from_bytes = int.from_bytes

    def encode_uint(value: int) -> bytes:
        return value.to_bytes(size, "big")

    def decode_uint(data: bytes, position: int, end: int) -> tuple[int, int]:
        after = position + size
        if after > end:
            raise DecodeError("ends inside an integer")
        return from_bytes(data[position:after], "big"), after

    return Codec(encode_uint, decode_uint)


def _enum_codec(enum: type[IntEnum], size: int) -> Codec:
    members = {int(member): member for member in enum}
    uint = _uint_codec(size)

    def decode_enum(data: bytes, position: int, end: int) -> tuple[IntEnum, int]:
        number, position = uint.decode(data, position, end)
        if number not in members:
            raise DecodeError(f"{enum.__name__} has no value {number}")
        return members[number], position

    return Codec(uint.encode, decode_enum)


def _fixed_codec(size: int) -> Codec:
    def encode_fixed(value: bytes) -> bytes:
        if len(value) != size:
            raise ValueError(f"{len(value)} bytes where {size} belong")
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
    raise ValueError(f"{length} bytes do not fit a vector")


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


def _decode_secret(data: bytes, position: int, end: int) -> tuple[Secret, int]:
    value, after = _decode_opaque(data, position, end)
    return Secret(value), after


def _vector_codec(item: Codec, items_max: int) -> Codec:
    encode_item, decode_item = item

    def encode_vector(values: tuple[Any, ...]) -> bytes:
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


def _shared_codec(item: Codec, count: int) -> Codec:
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


def _optional_codec(item: Codec) -> Codec:
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


def _select_codec(variants: tuple[type, ...], size: int) -> Codec:
    tagged = {_TAGS[cls].to_bytes(size, "big"): codec_of(cls) for cls in variants}
    by_class = {cls: (_TAGS[cls].to_bytes(size, "big"), codec_of(cls).encode) for cls in variants}

    def encode_select(value: Any) -> bytes:
        tag, encode_body = by_class[type(value)]
        return tag + encode_body(value)

    def decode_select(data: bytes, position: int, end: int) -> tuple[Any, int]:
        after = position + size
        body = tagged.get(data[position:after]) if after <= end else None
        if body is None:
            raise DecodeError("unknown or truncated type tag")
        return body.decode(data, after, end)

    return Codec(encode_select, decode_select)


def _struct_codec(cls: type) -> Codec:
    hints = _get_type_hints(cls, include_extras=True)
    names = [field.name for field in dataclasses.fields(cls)]
    if any(_is_dependent(hints[name]) for name in names):
        return _dependent_struct_codec(cls, {name: hints[name] for name in names})
    codecs = [codec_of(hints[name]) for name in names]
    encoders = [(name, codec.encode) for name, codec in zip(names, codecs, strict=True)]
    decoders = [codec.decode for codec in codecs]
    if names and names[-1] == "signature":
        unsigned = encoders[:-1]
        _UNSIGNED[cls] = lambda value: b"".join([enc(getattr(value, name)) for name, enc in unsigned])

    def encode_struct(value: Any) -> bytes:
        return b"".join([enc(getattr(value, name)) for name, enc in encoders])

    def decode_struct(data: bytes, position: int, end: int) -> tuple[Any, int]:
        values = []
        for decode_field in decoders:
            value, position = decode_field(data, position, end)
            values.append(value)
        return cls(*values), position

    return _keeping(encode_struct, decode_struct) if issubclass(cls, Kept) else Codec(encode_struct, decode_struct)


def _keeping(
    encode_struct: Callable[[Any], bytes], decode_struct: Callable[[bytes, int, int], tuple[Any, int]]
) -> Codec:
    """The codec of a `Kept` struct: its encoding is what it was decoded from, or what it was first encoded to."""
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


def _is_dependent(hint: Any) -> bool:
    return get_origin(hint) is Annotated and isinstance(get_args(hint)[1], Depends)


def _dependent_struct_codec(cls: type, hints: dict[str, Any]) -> Codec:
    """The codec of a struct with a `Depends` field: the type of each field is settled value by value."""

    def settle(hint: Any, earlier: list[Any]) -> Codec | None:
        if _is_dependent(hint):
            chosen = get_args(hint)[1].choose(*earlier)
            return None if chosen is None else codec_of(chosen)
        return codec_of(hint)

    def encode_struct(value: Any) -> bytes:
        values: list[Any] = []
        parts = []
        for name, hint in hints.items():
            codec = settle(hint, values)
            values.append(getattr(value, name))
            if codec is not None:
                parts.append(codec.encode(values[-1]))
            elif values[-1] is not None:
                raise ValueError(f"{cls.__name__}.{name} must be absent here")
        return b"".join(parts)

    def decode_struct(data: bytes, position: int, end: int) -> tuple[Any, int]:
        values: list[Any] = []
        for hint in hints.values():
            codec = settle(hint, values)
            value, position = (None, position) if codec is None else codec.decode(data, position, end)
            values.append(value)
        return cls(*values), position

    return Codec(encode_struct, decode_struct)
