"""Content round-trips, and whatever is not exactly valid is refused with ContentError alone."""

from __future__ import annotations

import struct

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_lib import content
from client_lib.content import cbor
from client_lib.errors import ContentError
from crypto.secret import Secret

SALT = bytes(range(16))
MESSAGE_ID = b"\x01" + bytes(31)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
uints = {bits: st.integers(0, 2**bits - 1) for bits in (8, 16, 32, 64)}
common = {"disposition": uints[8], "language": texts}
leaves = st.one_of(
    st.builds(content.NullPart, **common),
    st.builds(content.SinglePart, texts, st.binary(max_size=100), **common),
    st.builds(
        content.ExternalPart,
        content_type=texts,
        url=texts,
        expires_s=uints[32],
        size=uints[64],
        enc_alg=uints[16],
        key=st.builds(Secret, st.binary(max_size=40)),
        nonce=st.binary(max_size=16),
        aad=st.binary(max_size=16),
        hash_alg=uints[8],
        content_hash=st.binary(max_size=40),
        description=texts,
        filename=texts,
        **common,
    ),
)


def _multi(inner: st.SearchStrategy[content.Part]) -> st.SearchStrategy[content.Part]:
    parts = st.lists(inner, min_size=2, max_size=4).map(tuple)
    return st.builds(content.MultiPart, st.sampled_from(content.PartSemantics), parts, **common)


parts = leaves
for _ in range(3):
    parts = st.one_of(leaves, _multi(parts))

message_ids = st.binary(min_size=31, max_size=31).map(lambda digest: b"\x01" + digest)
scalars = st.one_of(st.integers(-(2**64), 2**64 - 1), st.booleans(), st.none(), st.binary(max_size=20), texts)
extension_keys = st.one_of(
    st.integers(-(2**53) + 1, 2**53 - 1).filter(lambda key: key not in (1, 2)),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60),
)
extension_values = st.one_of(scalars, st.lists(scalars, max_size=3), st.lists(st.lists(scalars, max_size=2))).map(
    cbor2.dumps
)
extensions = st.dictionaries(extension_keys, extension_values, max_size=5).map(
    lambda entries: tuple(
        content.Extension(key, value) for key, value in sorted(entries.items(), key=lambda entry: cbor2.dumps(entry[0]))
    )
)
contents = st.builds(
    content.Content,
    salt=st.binary(min_size=16, max_size=16),
    body=parts,
    replaces=st.none() | message_ids,
    topic_id=st.binary(max_size=40),
    expires=st.none() | st.builds(content.Expiration, st.booleans(), uints[32]),
    in_reply_to=st.none() | message_ids,
    sender_uri=st.none() | texts,
    room_uri=st.none() | texts,
    extensions=extensions,
)


def _message(*, extensions: bytes = b"\xa0", body: object = None, **fields: object) -> bytes:
    """The bytes of a message whose fields are given as plain CBOR values, valid unless a field says otherwise."""
    values = {"salt": SALT, "replaces": None, "topic": b"", "expires": None, "reply": None} | fields
    head = b"\x87" + b"".join(cbor2.dumps(value) for value in values.values())
    return head + extensions + cbor2.dumps([1, "", 0] if body is None else body)


@given(contents)
def test_every_message_that_the_draft_allows_round_trips(message: content.Content) -> None:
    data = content.encode(message)
    assert content.decode(data) == message
    assert content.encode(content.decode(data)) == data


@given(contents, st.data())
def test_mutated_bytes_give_a_content_error_or_another_canonical_message(
    message: content.Content, data: st.DataObject
) -> None:
    original = content.encode(message)
    mutated = bytearray(original)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(mutated) - 1))
        match data.draw(st.sampled_from(["change", "remove", "insert"])):
            case "change":
                mutated[place] = data.draw(st.integers(0, 255))
            case "remove" if len(mutated) > 1:
                del mutated[place]
            case _:
                mutated.insert(place, data.draw(st.integers(0, 255)))
    try:
        decoded = content.decode(bytes(mutated))
    except ContentError:
        return
    assert content.encode(decoded) == bytes(mutated)


@given(st.binary(max_size=400))
def test_random_bytes_give_a_content_error(data: bytes) -> None:
    with pytest.raises(ContentError):
        content.decode(data)


@given(extensions=st.binary(max_size=60))
def test_random_extensions_give_a_content_error_or_round_trip(extensions: bytes) -> None:
    data = _message(extensions=b"\xa1\x18\x40" + extensions)
    try:
        decoded = content.decode(data)
    except ContentError:
        return
    assert content.encode(decoded) == data


def test_a_valid_hand_made_message_decodes() -> None:
    # The base of the refusals below: each of them breaks one thing in it.
    assert content.decode(_message()) == content.Content(salt=SALT, body=content.NullPart())


_SINGLE = [1, "", 1, "text/plain", b"x"]
_EXTERNAL = [6, "", 2, "a/b", "u", 0, 0, 0, b"", b"", b"", 1, b"", "", ""]


def _changed(values: list[object], index: int, value: object) -> list[object]:
    return [*values[:index], value, *values[index + 1 :]]


def _nested(levels: int) -> object:
    part: object = [1, "", 0]
    for _ in range(levels - 1):
        part = [1, "", 3, 2, [part, [1, "", 0]]]
    return part


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80",
        cbor2.dumps({}),
        _message() + b"\x00",
        _message()[:-1],
        b"\x98\x07" + _message()[1:],
        b"\x9f" + _message()[1:] + b"\xff",
        _message(salt=bytes(15)),
        _message(salt=bytes(17)),
        _message(salt="0123456789abcdef"),
        _message(replaces=bytes(32)),
        _message(replaces=MESSAGE_ID + b"\x00"),
        _message(reply=b"\x02" + bytes(31)),
        _message(topic=bytes(4097)),
        _message(topic=None),
        _message(expires=[True]),
        _message(expires=[1, 1]),
        _message(expires=[True, -1]),
        _message(expires=[True, 2**32]),
        _message(expires=[True, False]),
        _message(body=[]),
        _message(body=[1, ""]),
        _message(body="part"),
        _message(body=[256, "", 0]),
        _message(body=[-1, "", 0]),
        _message(body=[True, "", 0]),
        _message(body=[1, b"", 0]),
        _message(body=[1, "", 4]),
        _message(body=[1, "", 0, 0]),
        _message(body=_SINGLE[:4]),
        _message(body=[*_SINGLE, b""]),
        _message(body=_changed(_SINGLE, 3, b"text/plain")),
        _message(body=_changed(_SINGLE, 4, "x")),
        _message(body=_EXTERNAL[:-1]),
        *(_message(body=_changed(_EXTERNAL, index, 1.5)) for index in range(15)),
        _message(body=_changed(_EXTERNAL, 5, 2**32)),
        _message(body=_changed(_EXTERNAL, 6, 2**64)),
        _message(body=_changed(_EXTERNAL, 7, 2**16)),
        _message(body=_changed(_EXTERNAL, 11, 256)),
        _message(body=[1, "", 3, 2, []]),
        _message(body=[1, "", 3, 2, [_SINGLE]]),
        _message(body=[1, "", 3, 3, [_SINGLE, _SINGLE]]),
        _message(body=[1, "", 3, 2, {1: 1}]),
        _message(body=_nested(5)),
        _message(body=[1, "", 3, 2, [[1, "", 0]] * 1024]),
        _message(body=cbor2.CBORTag(4242, _SINGLE)),
        _message(body=[1, "", cbor2.undefined]),
        _message(body=[1, "", 1, "a/b", bytes(224 * 1024)]),
    ],
    ids=lambda data: f"{len(data)}B-{data[-12:].hex()}",
)
def test_a_message_that_breaks_the_cddl_or_a_limit_is_refused(data: bytes) -> None:
    with pytest.raises(ContentError):
        content.decode(data)


@pytest.mark.parametrize(
    "extensions",
    [
        "80",  # not a map
        "a2 1840 00 1840 01",  # a key twice
        "a2 1841 00 1840 00",  # keys out of order
        "a2 20 00 1840 00",  # RFC 7049 order: shorter keys first
        "a1 f5 00",  # a key that is neither integer nor text
        "a1 40 00",  # nor bytes, at this level
        "a1 60 00",  # an empty text key
        "a1 790100" + "61" * 256 + "00",  # a text key of 256 octets
        "a1 1b0020000000000000 00",  # 2^53
        "a1 3b001fffffffffffff 00",  # -(2^53)
        "a1 01 00",  # senderUri that is no text
        "a1 02 40",  # roomUri that is no text
        "a1 1801 00",  # a long head
        "a1 1840 1801",
        "a1 1840 1900ff",
        "a1 1840 1a0000ffff",
        "a1 1840 1b00000000ffffffff",
        "a1 1840 f818",  # a simple value in two bytes that needs one
        "a1 1840 fa3f800000",  # 1.0 in four bytes
        "a1 1840 fb3ff0000000000000",  # 1.0 in eight
        "a1 1840 fb41dfffffffc00000 00",  # left over
        "a1 1840 f97e01",  # another NaN
        "a1 1840 fa7fc00000",
        "a1 1840 fb7ff8000000000000",
        "a1 1840 62c328",  # not UTF-8
        "a1 1840 5f4100ff",  # indefinite
        "a1 1840 1c",  # reserved
        "a1 1840 9bffffffffffffffff",  # a promise of 2^64 items
        "a1 1840 5bffffffffffffffff",
        "a1 1840 c24101",  # a big integer that fits a plain one
        "a1 1840 c249 00ffffffffffffffff",
        "a1 1840 c2 01",
        "a1 1840 8181818100",  # five levels
        "a1 1840 818181c100",
        "a1 1840 a1f500",  # a key that is no integer or string, further inside
    ],
)
def test_extensions_outside_the_data_model_are_refused(extensions: str) -> None:
    with pytest.raises(ContentError):
        content.decode(_message(extensions=bytes.fromhex(extensions)))


@pytest.mark.parametrize(
    "extensions",
    [
        "a1 1840 81818100",  # four levels
        "a1 1840 8181c100",  # a tag is a level too; which tag, nobody asks
        "a1 1840 d81c80",  # a shared reference: harmless, as nobody resolves it
        "a1 1840 f97e00",
        "a1 1840 f97c00",  # infinity
        "a1 1840 fa47c35000",
        "a1 1840 fb3ff199999999999a",
        "a1 1840 c249 010000000000000000",
        "a1 1840 f8ff",
        "a1 1840 f7",
        "a3 1840 00 190100 00 20 00",  # bytewise order
        "a1 1b001fffffffffffff 00",
        "a1 00 00",  # the reserved key means nothing and changes nothing
        "a1 1840 a3 01 00 40 00 60 00",
    ],
)
def test_extensions_inside_the_data_model_pass_through(extensions: str) -> None:
    data = _message(extensions=bytes.fromhex(extensions))
    assert content.encode(content.decode(data)) == data


def test_the_limits_themselves_are_allowed() -> None:
    for data in (
        _message(topic=bytes(4096)),
        _message(body=_nested(4)),
        _message(body=[1, "", 3, 2, [[1, "", 0]] * 1023]),
        _message(body=[255, "", 0]),
        _message(extensions=b"\xa1\x78\xff" + b"a" * 255 + b"\x00"),
    ):
        assert content.encode(content.decode(data)) == data


@pytest.mark.parametrize(
    "message",
    [
        content.Content(salt=b"short", body=content.NullPart()),
        content.Content(salt=SALT, body=content.NullPart(disposition=256)),
        content.Content(salt=SALT, body=content.SinglePart("text/plain", b"", language="\ud800")),
        content.Content(salt=SALT, body=content.MultiPart(content.PartSemantics.CHOOSE_ONE, (content.NullPart(),))),
        content.Content(salt=SALT, body=content.NullPart(), extensions=(content.Extension(9, b""),)),
        content.Content(salt=SALT, body=content.NullPart(), extensions=(content.Extension(9, b"\x00\x00"),)),
        content.Content(salt=SALT, body=content.NullPart(), extensions=(content.Extension(9, b"\x00"),) * 2),
        content.Content(
            salt=SALT, body=content.NullPart(), sender_uri="a", extensions=(content.Extension(1, b"\x61a"),)
        ),
    ],
)
def test_what_a_receiver_would_refuse_is_not_encoded(message: content.Content) -> None:
    with pytest.raises(ContentError):
        content.encode(message)


@given(st.floats(allow_nan=False))
def test_only_the_shortest_form_of_a_float_passes(value: float) -> None:
    forms = []
    for head, form in ((b"\xf9", ">e"), (b"\xfa", ">f"), (b"\xfb", ">d")):
        try:
            packed = struct.pack(form, value)
        except OverflowError:
            continue
        if struct.unpack(form, packed)[0] == value:
            forms.append(head + packed)
    assert cbor.check_item(forms[0], 0, depth=1, tags=True) == len(forms[0])
    for longer in forms[1:]:
        with pytest.raises(ContentError):
            cbor.check_item(longer, 0, depth=1, tags=True)


def test_keys_and_texts_stay_out_of_reprs() -> None:
    part = content.ExternalPart(
        content_type="a/b",
        url="marker-url",
        key=Secret(b"marker-key"),
        description="marker-text",
        filename="marker-file",
    )
    message = content.text("marker-body", salt=SALT, attachments=[part])
    assert "marker" not in repr(message)
