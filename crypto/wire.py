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
the memory (rule C10). Only `DecodeError` comes out of bad input, and only `UsageError` of a value that nobody could
decode. What is done for each annotation stands in `codecs`.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Annotated, Any, TypeVar, Union, dataclass_transform, get_args, get_origin
from typing import get_type_hints as _get_type_hints

from crypto import codecs
from crypto.codecs import Codec
from crypto.codecs import encode_length as encode_length  # noqa: PLC0414  # part of the language to its callers
from crypto.codecs import encode_opaque as encode_opaque  # noqa: PLC0414  # the same
from crypto.errors import DecodeError
from crypto.secret import Secret

T = TypeVar("T")

INPUT_BYTES_MAX = 64 * 1024 * 1024
"""No input is larger: a hybrid Welcome for 10,000 members is about half of it, so some 20,000 is the end."""

ITEMS_MAX = 65_536
"""No vector has more items, unless its annotation says so. `INPUT_BYTES_MAX` bounds hybrid groups before that."""


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
    _CODECS[made] = _compile_struct(made)
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
    """The encoding of a struct. Raises `UsageError`."""
    return _CODECS[type(value)].encode(value)


def decode(cls: type[T], data: bytes) -> T:
    """Decode a struct that fills `data` exactly. Raises `DecodeError`."""
    value: T = decode_as(cls, data)
    return value


def encode_as(annotation: Any, value: object) -> bytes:
    """The encoding of a value of an annotated type that is not a struct, such as a union or a vector.

    Raises `UsageError`.
    """
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
        return codecs.OPAQUE
    if annotation is Secret:
        return codecs.SECRET
    if origin is Annotated:
        return _compile_marked(arguments[0], arguments[1])
    if origin is tuple and arguments[1:] == (Ellipsis,):
        return codecs.vector_codec(codec_of(arguments[0]), ITEMS_MAX)
    if origin in (Union, types.UnionType) and len(arguments) == 2 and arguments[1] is type(None):
        return codecs.optional_codec(codec_of(arguments[0]))
    raise TypeError(f"no wire encoding for {annotation!r}")


def _compile_marked(base: Any, mark: object) -> Codec:
    match mark:
        case Uint(size) if isinstance(base, type) and issubclass(base, IntEnum):
            return codecs.enum_codec(base, size)
        case Uint(size):
            return codecs.uint_codec(size)
        case Fixed(size):
            return codecs.fixed_codec(size)
        case Max(count):
            return codecs.vector_codec(codec_of(get_args(base)[0]), count)
        case Shared(count):
            return codecs.shared_codec(codec_of(base), count)
        case Select(size):
            return codecs.select_codec({cls: (_TAGS[cls], codec_of(cls)) for cls in get_args(base)}, size)
        case _:
            raise TypeError(f"no wire encoding for {base!r} marked {mark!r}")


def _compile_struct(cls: type) -> Codec:
    hints = _get_type_hints(cls, include_extras=True)
    annotated = [(field.name, hints[field.name]) for field in dataclasses.fields(cls)]
    if any(_is_dependent(hint) for _, hint in annotated):
        return codecs.dependent_struct_codec(cls, [(name, _chooser(hint)) for name, hint in annotated])
    fields = [(name, codec_of(hint)) for name, hint in annotated]
    if fields and fields[-1][0] == "signature":
        _UNSIGNED[cls] = codecs.fields_encoder(fields[:-1])
    made = codecs.struct_codec(cls, fields)
    return codecs.kept_codec(made) if issubclass(cls, Kept) else made


def _is_dependent(hint: Any) -> bool:
    return get_origin(hint) is Annotated and isinstance(get_args(hint)[1], Depends)


def _chooser(hint: Any) -> Callable[[Sequence[Any]], Codec | None]:
    """Says which codec a field has, given the values before it."""
    if not _is_dependent(hint):
        return lambda _: codec_of(hint)
    choose = get_args(hint)[1].choose

    def chosen(earlier: Sequence[Any]) -> Codec | None:
        annotation = choose(*earlier)
        return None if annotation is None else codec_of(annotation)

    return chosen
