"""The presentation language: round trips, every rule C1 to C7 broken on purpose, and input that means nothing."""

from __future__ import annotations

import dataclasses
import tracemalloc
from enum import IntEnum
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crypto import wire
from crypto.errors import DecodeError, UsageError
from crypto.mls import credentials, extensions, framing, headers, mls_message, proposals, psk, tree_nodes, welcome
from crypto.mls.secret_tree import LeafRatchets
from crypto.mls.tree_nodes import LeafIndex
from crypto.secret import Secret
from tests.crypto.matrix import without_group
from tests.vectors import Case, each


class Colour(IntEnum):
    """A closed enum."""

    RED = 1
    BLUE = 3


@wire.struct
class Pair:
    """Two numbers."""

    first: wire.Uint8
    second: wire.Uint16


@wire.variant(1)
class Circle:
    """A variant with a body."""

    radius: wire.Uint32


@wire.variant(2)
class Nothing:
    """A variant without a body."""


def _note_if_red(colour: int, _pairs: tuple[Pair, ...]) -> Any:
    return bytes if colour == Colour.RED else None


@wire.struct
class Everything:
    """Each kind of annotation once."""

    number: wire.Uint64
    opaque: bytes
    fixed: Annotated[bytes, wire.Fixed(3)]
    secret: Secret
    pairs: tuple[Pair, ...]
    maybe: Pair | None
    colour: Annotated[Colour, wire.Uint(1)]
    shape: Annotated[Circle | Nothing, wire.Select(2)]
    names: tuple[bytes | None, ...]


@wire.struct
class Dependent:
    """A field that is there or not."""

    colour: Annotated[Colour, wire.Uint(1)]
    pairs: tuple[Pair, ...]
    note: Annotated[bytes | None, wire.Depends(_note_if_red)]


@wire.struct
class Signed:
    """A struct with a signature."""

    number: wire.Uint8
    signature: bytes


EVERYTHING = Everything(
    7, b"opaque", b"abc", Secret(b"secret"), (Pair(1, 2), Pair(3, 4)), Pair(5, 6), Colour.RED, Circle(9), (b"x", None)
)

ROUND_TRIPS: list[Any] = [
    Everything, Dependent, mls_message.MLSMessage, framing.AuthenticatedContent, framing.SenderData,
    framing.PrivateContentAAD, framing.SenderDataAAD, framing.PrivateCommit, welcome.GroupInfo, welcome.GroupSecrets,
    welcome.Welcome, proposals.Commit, tree_nodes.LeafNode, tree_nodes.UpdatePath, psk.PSKLabel,
    extensions.RequiredCapabilities, extensions.ExternalSender, LeafRatchets, proposals.Proposal,
    tree_nodes.RatchetTreeNodes,
]  # fmt: skip

CLOSED_ENUMS: list[tuple[type[IntEnum], int, Any]] = [
    (headers.ProtocolVersion, 2, headers.Version),
    (headers.WireFormat, 2, Annotated[headers.WireFormat, wire.Uint(2)]),
    (headers.ContentType, 1, Annotated[headers.ContentType, wire.Uint(1)]),
    (psk.ResumptionPSKUsage, 1, Annotated[psk.ResumptionPSKUsage, wire.Uint(1)]),
]
TAGGED_UNIONS: list[tuple[type[IntEnum], int, Any]] = [
    (headers.WireFormat, 2, mls_message.MLSMessage),
    (headers.ContentType, 1, Annotated[framing.AnyContent, wire.Select(1)]),
    (headers.SenderType, 1, headers.Sender),
    (tree_nodes.NodeType, 1, tree_nodes.Node),
    (tree_nodes.LeafNodeSource, 1, tree_nodes.Source),
    (psk.PSKType, 1, Annotated[psk.ExternalPSK | psk.ResumptionPSK, wire.Select(1)]),
    (credentials.CredentialType, 2, credentials.Credential),
    (proposals.ProposalType, 2, proposals.Proposal),
    (proposals.ProposalOrRefType, 1, proposals.ProposalOrRef),
]


def _name(value: object) -> str:
    """A test id."""
    return getattr(value, "__name__", "alias")


def values_of(annotation: Any) -> st.SearchStrategy[Any]:
    """Values of an annotated type, read from the annotation as the codec reads it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is bytes:
        return st.binary(max_size=70)
    if annotation is Secret:
        return st.binary(max_size=70).map(Secret)
    if dataclasses.is_dataclass(annotation):
        return structs_of(annotation)
    if origin is tuple:
        return st.lists(values_of(arguments[0]), max_size=3).map(tuple)
    if origin is not Annotated:
        return st.none() | values_of(arguments[0])
    match arguments:
        case (base, wire.Uint(size)) if base is int:
            return st.integers(0, 2 ** (8 * size) - 1)
        case (base, wire.Uint()):
            return st.sampled_from(list(base))
        case (_, wire.Fixed(size)):
            return st.binary(min_size=size, max_size=size)
        case (base, wire.Max() | wire.Shared()):
            return values_of(base)
        case (base, wire.Select()):
            return st.one_of([values_of(cls) for cls in get_args(base)])
        case _:
            raise AssertionError(annotation)


@st.composite
def structs_of(draw: st.DrawFn, cls: Any) -> Any:
    values: list[Any] = []
    for hint in [get_type_hints(cls, include_extras=True)[field.name] for field in dataclasses.fields(cls)]:
        mark = get_args(hint)[1] if get_origin(hint) is Annotated else None
        if isinstance(mark, wire.Depends):
            hint = mark.choose(*values)
        values.append(None if hint is None else draw(values_of(hint)))
    return cls(*values)


def encode(annotation: Any, value: Any) -> bytes:
    return wire.encode_as(annotation, value)


def test_what_has_no_signature_has_no_unsigned_form() -> None:
    with pytest.raises(KeyError):
        wire.encode_unsigned(tree_nodes.Lifetime(1, 2))


def test_a_kept_struct_holds_what_it_was_decoded_from() -> None:
    """So what came is hashed and passed on without encoding it again."""
    encoded = wire.encode(tree_nodes.Capabilities((headers.ProtocolVersion.MLS10,), (1, 2), (), (), ()))
    assert wire.decode(tree_nodes.Capabilities, encoded)._encoded == encoded


@pytest.mark.parametrize("annotation", ROUND_TRIPS, ids=_name)
@given(st.data())
def test_what_is_encoded_comes_back(annotation: Any, data: st.DataObject) -> None:
    value = data.draw(values_of(annotation))
    encoded = encode(annotation, value)
    assert wire.decode_as(annotation, encoded) == value
    assert wire.decode_prefix(annotation, encoded + b"rest") == (value, len(encoded))


@st.composite
def damaged(draw: st.DrawFn, annotation: Any) -> bytes:
    """The encoding of some value with a few bytes changed, removed or put in."""
    encoded = bytearray(encode(annotation, draw(values_of(annotation))))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(encoded)))
        removed = draw(st.integers(0, 3))
        encoded[place : place + removed] = draw(st.binary(max_size=3))
    return bytes(encoded)


@pytest.mark.parametrize("annotation", ROUND_TRIPS, ids=_name)
@given(st.data())
def test_damaged_input_is_refused_or_has_exactly_that_encoding(annotation: Any, data: st.DataObject) -> None:
    encoded = data.draw(st.binary(max_size=200) | damaged(annotation))
    try:
        value = wire.decode_as(annotation, encoded)
    except DecodeError:
        return
    assert encode(annotation, value) == encoded


@pytest.mark.parametrize("annotation", ROUND_TRIPS, ids=_name)
@given(st.data())
def test_every_shorter_input_is_refused(annotation: Any, data: st.DataObject) -> None:
    encoded = encode(annotation, data.draw(values_of(annotation)))
    for size in range(len(encoded)):
        with pytest.raises(DecodeError):
            wire.decode_as(annotation, encoded[:size])


def test_each_annotation_is_encoded_as_the_rfc_writes_it() -> None:
    # uint64, opaque<V>, opaque[3], opaque<V>, Pair<V>, optional<Pair>, enum, select, optional<opaque<V>><V>
    written = "0000000000000007 066f7061717565 616263 06736563726574 06010002030004 01050006 01 000100000009 0401017800"
    assert wire.encode(EVERYTHING).hex() == written.replace(" ", "")
    assert wire.decode(Everything, bytes.fromhex(written)) == EVERYTHING


def test_a_dependent_field_is_there_exactly_when_the_fields_before_it_say_so() -> None:
    assert wire.encode(Dependent(Colour.RED, (), b"x")) == b"\x01\x00\x01x"
    assert wire.encode(Dependent(Colour.BLUE, (), None)) == b"\x03\x00"
    with pytest.raises(UsageError, match="note must be absent"):
        wire.encode(Dependent(Colour.BLUE, (), b"x"))


def test_the_signed_part_is_everything_before_the_signature() -> None:
    assert wire.encode_unsigned(Signed(5, b"signature")) == b"\x05"


# C1: the presence byte of an optional


@without_group("the codec knows no group")
@pytest.mark.parametrize("presence", range(2, 256))
def test_c1_a_presence_byte_other_than_0_and_1_is_refused(presence: int) -> None:
    encoded = encode(Pair | None, Pair(1, 2))
    assert encoded[0] == 1
    with pytest.raises(DecodeError, match="presence byte"):
        wire.decode_as(Pair | None, bytes([presence]) + encoded[1:])


@without_group("the codec knows no group")
def test_c1_a_missing_presence_byte_is_refused() -> None:
    with pytest.raises(DecodeError, match="presence byte belongs"):
        wire.decode_as(Pair | None, b"")


# C2, C3: the length prefix


@without_group("the codec knows no group")
@pytest.mark.parametrize(
    "prefix, length",
    [("4000", 0), ("4001", 1), ("403f", 63), ("80000001", 1), ("8000003f", 63), ("80000040", 64), ("80003fff", 16383)],
)
def test_c2_a_length_that_fits_a_shorter_form_is_refused(prefix: str, length: int) -> None:
    assert wire.decode_as(bytes, wire.encode_length(length) + bytes(length)) == bytes(length)
    with pytest.raises(DecodeError, match="shortest form"):
        wire.decode_as(bytes, bytes.fromhex(prefix) + bytes(length))


@without_group("the codec knows no group")
@pytest.mark.parametrize("first", range(0xC0, 0x100))
def test_c3_the_unused_class_of_length_prefix_is_refused(first: int) -> None:
    for rest in (b"", bytes(3), bytes(7), bytes(200)):
        with pytest.raises(DecodeError, match="unknown class"):
            wire.decode_as(bytes, bytes([first]) + rest)


# C4: declared lengths


@without_group("the codec knows no group")
@pytest.mark.parametrize("annotation", [bytes, Secret, tuple[Pair, ...]], ids=_name)
@pytest.mark.parametrize("prefix", ["bfffffff", "80004000", "7fff", "4040", "3f", "07"])
def test_c4_a_length_beyond_the_input_is_refused_before_anything_is_allocated(annotation: Any, prefix: str) -> None:
    data = bytes.fromhex(prefix) + bytes(6)
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match="longer than what is left"):
            wire.decode_as(annotation, data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000


@without_group("the codec knows no group")
@pytest.mark.parametrize("prefix", ["", "40", "80", "8000", "800040"])
def test_c4_a_truncated_length_prefix_is_refused(prefix: str) -> None:
    with pytest.raises(DecodeError):
        wire.decode_as(bytes, bytes.fromhex(prefix))


@without_group("the codec knows no group")
def test_c4_an_item_may_not_reach_beyond_its_vector() -> None:
    names = tuple[bytes, ...]
    assert wire.decode_as(names, b"\x02\x01a") == (b"a",)
    with pytest.raises(DecodeError, match="longer than what is left"):
        wire.decode_prefix(names, b"\x02\x02ab")
    with pytest.raises(DecodeError, match="ends inside an integer"):
        wire.decode_prefix(tuple[Pair, ...], b"\x04\x01\x00\x02\x03\x00\x04")


@without_group("the codec knows no group")
def test_c4_an_input_above_the_cap_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "INPUT_BYTES_MAX", 100)
    assert len(wire.decode_as(bytes, wire.encode_opaque(bytes(98)))) == 98
    with pytest.raises(DecodeError, match="larger than 100 bytes"):
        wire.decode_as(bytes, wire.encode_opaque(bytes(99)))


# C5: nothing left over


@without_group("the codec knows no group")
def test_c5_a_byte_after_the_struct_is_refused() -> None:
    with pytest.raises(DecodeError, match="1 bytes left over"):
        wire.decode(Everything, wire.encode(EVERYTHING) + b"\0")


@without_group("the codec knows no group")
@pytest.mark.parametrize("extra", [b"\x00", b"\x01", b"\xff"])
def test_c5_a_byte_inside_a_nested_vector_is_refused(extra: bytes) -> None:
    pairs = b"\x01\x00\x02"
    with pytest.raises(DecodeError, match="ends inside an integer"):
        wire.decode_as(tuple[Pair, ...], wire.encode_opaque(pairs + extra))
    nested = wire.encode_opaque(wire.encode_opaque(pairs) + wire.encode_opaque(pairs + extra))
    with pytest.raises(DecodeError, match="ends inside an integer"):
        wire.decode_as(tuple[tuple[Pair, ...], ...], nested)


# C6: enums and tags


@without_group("the codec knows no group")
@pytest.mark.parametrize("enum, size, annotation", CLOSED_ENUMS, ids=_name)
def test_c6_each_unused_value_of_an_enum_is_refused(enum: type[IntEnum], size: int, annotation: Any) -> None:
    known = {int(member) for member in enum}
    for value in known:
        assert wire.decode_as(annotation, value.to_bytes(size, "big")) is enum(value)
    for value in set(range(256**size)) - known:
        with pytest.raises(DecodeError, match="has no value"):
            wire.decode_as(annotation, value.to_bytes(size, "big"))


@without_group("the codec knows no group")
@pytest.mark.parametrize("enum, size, annotation", TAGGED_UNIONS, ids=_name)
def test_c6_each_unused_tag_of_a_union_is_refused(enum: type[IntEnum], size: int, annotation: Any) -> None:
    version = b"\x00\x01" if annotation is mls_message.MLSMessage else b""
    for tag in set(range(256**size)) - {int(member) for member in enum}:
        with pytest.raises(DecodeError, match="unknown or truncated type tag"):
            wire.decode_as(annotation, version + tag.to_bytes(size, "big") + bytes(8))


@without_group("the codec knows no group")
def test_c6_another_protocol_version_is_refused() -> None:
    with pytest.raises(DecodeError, match="ProtocolVersion has no value 2"):
        wire.decode(mls_message.MLSMessage, b"\x00\x02\x00\x02")


@without_group("the codec knows no group")
def test_c6_a_truncated_tag_is_refused() -> None:
    with pytest.raises(DecodeError, match="truncated type tag"):
        wire.decode_as(proposals.Proposal, b"\x00")


# C7: one value, one encoding


@without_group("the codec knows no group")
@pytest.mark.parametrize("size", [0, 1, 62, 63, 64, 65, 16382, 16383, 16384, 16385])
def test_c7_sizes_around_each_boundary_come_back(size: int) -> None:
    encoded = wire.encode_opaque(b"\xab" * size)
    assert len(encoded) - size == (1 if size < 64 else 2 if size < 16384 else 4)
    assert wire.decode_as(bytes, encoded) == b"\xab" * size
    assert wire.decode_as(Secret, encoded) == Secret(b"\xab" * size)


@each("mls/deserialization.json")
def test_published_length_prefixes(case: Case) -> None:
    header, length = bytes.fromhex(case["vlbytes_header"]), case["length"]
    assert wire.encode_length(length) == header
    if length < 100_000:
        assert wire.decode_as(bytes, header + bytes(length)) == bytes(length)
    else:  # the largest length there is; that it was read shows in what is missing
        with pytest.raises(DecodeError, match="longer than what is left"):
            wire.decode_as(bytes, header)


# What only our own code can get wrong


@example(2**30)
@given(st.integers(2**30, 2**64))
def test_a_vector_too_long_for_its_prefix_is_not_encoded(length: int) -> None:
    with pytest.raises(UsageError, match="do not fit a vector"):
        wire.encode_length(length)


def test_a_fixed_field_of_another_size_is_neither_encoded_nor_decoded() -> None:
    fixed = Annotated[bytes, wire.Fixed(3)]
    for value in (b"", b"ab", b"abcd"):
        with pytest.raises(UsageError, match="bytes where 3 belong"):
            encode(fixed, value)
        with pytest.raises(DecodeError):
            wire.decode_as(fixed, value)


@pytest.mark.parametrize("number", [-1, 2**16])
def test_a_number_of_another_size_is_not_encoded(number: int) -> None:
    with pytest.raises(UsageError, match="does not fit 2 bytes"):
        encode(wire.Uint16, number)


def test_an_annotation_without_meaning_is_an_error_at_once() -> None:
    for annotation in (str, dict[str, int], Annotated[bytes, "mark"], Annotated[int, wire.Depends(len)], int | str):
        with pytest.raises(TypeError, match="no wire encoding"):
            wire.codec_of(annotation)


@pytest.mark.parametrize(
    "annotation",
    [
        tuple[wire.Uint8, wire.Uint8],
        dict[bytes, ...],
        dict[bytes, type(None)],
        bytes | None | wire.Uint8,
        bytes | Secret,
    ],
    ids=str,
)
def test_what_only_looks_like_a_vector_or_an_optional_is_neither(annotation: object) -> None:
    with pytest.raises(TypeError, match="no wire encoding"):
        wire.codec_of(annotation)


def test_a_named_integer_is_marked_like_any_other() -> None:
    assert wire.decode_as(Annotated[LeafIndex, wire.Uint(2)], b"\x01\x02") == 0x0102


@wire.variant(0x0102)
class TagOnly:
    """A choice without content: its tag is all there is of it."""


@wire.variant(0x0304)
class TagAndByte:
    """A choice with content."""

    content: wire.Uint8


def test_c5_a_tag_takes_nothing_from_behind_its_vector() -> None:
    choices = tuple[Annotated[TagOnly | TagAndByte, wire.Select(2)], ...]
    assert wire.decode_prefix(choices, b"\x02\1\2")[0] == (TagOnly(),)
    with pytest.raises(DecodeError, match="truncated type tag"):
        wire.decode_prefix(choices, b"\x01\1\2")


@pytest.mark.parametrize("item", [Annotated[bytes, wire.Fixed(2)], wire.Uint16], ids=["bytes", "integer"])
def test_c5_the_last_item_of_a_vector_takes_nothing_from_behind_it(item: Any) -> None:
    assert wire.decode_prefix(tuple[item, ...], b"\x04\0\1\0\2" + b"\0\3")[1] == 5
    with pytest.raises(DecodeError, match="ends inside"):
        wire.decode_prefix(tuple[item, ...], b"\x03\0\1\0" + b"\2\0\3")
