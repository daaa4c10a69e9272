"""Message content to bytes and back: draft-ietf-mimi-content-09 §4 (CDDL in appendix A.1), §6 and §9.1.

Decoding is strict: deterministic CBOR, every size and range of the CDDL, the draft's limits on topic, parts and depth.
What is legal but unknown (dispositions, media types, extensions) passes through, so `encode(decode(data)) == data`.
Only `ContentError` comes out of bad input.
"""

from __future__ import annotations

from typing import Any, Final, assert_never

from client_lib.content import cbor
from client_lib.content.model import (
    HASH_SHA256,
    MESSAGE_ID_BYTES,
    SALT_BYTES,
    Content,
    Expiration,
    Extension,
    ExternalPart,
    MultiPart,
    NullPart,
    Part,
    PartSemantics,
    SinglePart,
)
from client_lib.errors import ContentError
from crypto.secret import Secret

CONTENT_BYTES_MAX: Final = 224 * 1024
"""Local policy (draft §9.1): its bucket and the MLS framing fit protocol.limits.MESSAGE_BYTES_MAX of 256 KiB."""
TOPIC_ID_BYTES_MAX: Final = 4096
PARTS_MAX: Final = 1024
PART_DEPTH_MAX: Final = 4
EXTENSION_DEPTH_MAX: Final = 4

_FIELDS: Final = 7
_EXTENSIONS_FIELD: Final = 5
# Four levels of parts are four arrays, and three more that hold them; this is what bounds `_Parts.decode`.
_BODY_DEPTH_MAX: Final = 2 * PART_DEPTH_MAX - 1
_NULL, _SINGLE, _EXTERNAL, _MULTI = range(4)
_SENDER_URI, _ROOM_URI = 1, 2


def encode(content: Content) -> bytes:
    """Encode content deterministically.

    mimiContent. The result is decoded once, so that we never send what a receiver would refuse. Raises ContentError.
    """
    extensions: list[tuple[int | str, bytes]] = [(extension.key, extension.value) for extension in content.extensions]
    if content.sender_uri is not None:
        extensions.append((_SENDER_URI, cbor.dump(content.sender_uri)))
    if content.room_uri is not None:
        extensions.append((_ROOM_URI, cbor.dump(content.room_uri)))
    expires = None if content.expires is None else [content.expires.relative, content.expires.time_s]
    fields = [content.salt, content.replaces, content.topic_id, expires, content.in_reply_to]
    try:
        encoded = b"".join(cbor.dump(field) for field in fields)
        body = cbor.dump(_part_to_list(content.body))
    except UnicodeEncodeError as error:
        raise ContentError("the text holds half a character (a lone surrogate): remove it") from error
    data = bytes([0x80 | _FIELDS]) + encoded + cbor.dump_map(extensions) + body
    decode(data)
    return data


def decode(data: bytes) -> Content:
    """Decode content, or raise ContentError.

    mimiContent. At most 224 KiB. Whether sender and room are the claimed ones, and whether dates make sense, only the
    caller can know.
    """
    if len(data) > CONTENT_BYTES_MAX:
        raise ContentError(f"content is larger than {CONTENT_BYTES_MAX:,} bytes: send it as an attachment")
    head = cbor.read_head(data, 0)
    if (head.major, head.argument) != (cbor.Major.ARRAY, _FIELDS):
        raise ContentError("content is not a MIMI message: drop it")
    items: list[bytes] = []
    offset = head.end
    for index in range(_FIELDS):
        is_extensions = index == _EXTENSIONS_FIELD
        depth = EXTENSION_DEPTH_MAX if is_extensions else _BODY_DEPTH_MAX
        end = cbor.check_item(data, offset, depth=depth, tags=is_extensions)
        items.append(data[offset:end])
        offset = end
    if offset != len(data):
        raise ContentError("content has bytes left over: drop the message")
    sender_uri, room_uri, extensions = _extensions(items[_EXTENSIONS_FIELD])
    return Content(
        salt=_sized(cbor.load(items[0]), SALT_BYTES, SALT_BYTES),
        replaces=_message_id(cbor.load(items[1])),
        topic_id=_sized(cbor.load(items[2]), 0, TOPIC_ID_BYTES_MAX),
        expires=_expiration(cbor.load(items[3])),
        in_reply_to=_message_id(cbor.load(items[4])),
        sender_uri=sender_uri,
        room_uri=room_uri,
        extensions=extensions,
        body=_Parts().decode(cbor.load(items[6])),
    )


def _part_to_list(part: Part) -> list[Any]:
    common = [int(part.disposition), part.language]
    match part:
        case NullPart():
            return [*common, _NULL]
        case SinglePart():
            return [*common, _SINGLE, part.content_type, part.content]
        case ExternalPart():
            return [
                *common,
                _EXTERNAL,
                part.content_type,
                part.url,
                part.expires_s,
                part.size,
                part.enc_alg,
                part.key.reveal(),
                part.nonce,
                part.aad,
                part.hash_alg,
                part.content_hash,
                part.description,
                part.filename,
            ]
        case MultiPart():
            return [*common, _MULTI, int(part.semantics), [_part_to_list(inner) for inner in part.parts]]
        case _:
            assert_never(part)


class _Parts:
    """Decodes one message's parts and counts them: the limit of 1,024 is over all levels (draft §9.1)."""

    def __init__(self) -> None:
        self.count = 0

    def decode(self, value: object) -> Part:
        self.count += 1
        if self.count > PARTS_MAX:
            raise ContentError(f"content has more than {PARTS_MAX:,} parts: drop the message")
        match value:
            case [disposition, language, cardinality, *rest]:
                disposition, language = _uint(disposition, 8), _text(language)
            case _:
                raise ContentError("content has a part of the wrong shape: drop the message")
        match _uint(cardinality, 8), rest:
            case 0, []:
                return NullPart(disposition, language)
            case 1, [content_type, content]:
                return SinglePart(_text(content_type), _bytes(content), disposition, language)
            case 2, [content_type, url, expires, size, enc_alg, key, nonce, aad, hash_alg, digest, description, name]:
                return ExternalPart(
                    content_type=_text(content_type),
                    url=_text(url),
                    expires_s=_uint(expires, 32),
                    size=_uint(size, 64),
                    enc_alg=_uint(enc_alg, 16),
                    key=Secret(_bytes(key)),
                    nonce=_bytes(nonce),
                    aad=_bytes(aad),
                    hash_alg=_uint(hash_alg, 8),
                    content_hash=_bytes(digest),
                    description=_text(description),
                    filename=_text(name),
                    disposition=disposition,
                    language=language,
                )
            case 3, [semantics, [_, _, *_] as parts]:
                return MultiPart(_semantics(semantics), tuple(map(self.decode, parts)), disposition, language)
            case _:
                raise ContentError("content has a part of the wrong shape: drop the message")


def _extensions(data: bytes) -> tuple[str | None, str | None, tuple[Extension, ...]]:
    head = cbor.read_head(data, 0)
    if head.major is not cbor.Major.MAP:
        raise ContentError("content has no extensions map: drop the message")
    uris: dict[int, str] = {}
    others: list[Extension] = []
    offset = head.end
    for _ in range(head.argument):
        key_end = cbor.check_key(data, offset)
        key = cbor.load(data[offset:key_end])
        offset = cbor.check_item(data, key_end, depth=EXTENSION_DEPTH_MAX - 1, tags=True)
        value = data[key_end:offset]
        if not isinstance(key, int | str) or (
            isinstance(key, str) and not 1 <= len(key.encode()) <= cbor.EXTENSION_KEY_BYTES_MAX
        ):
            raise ContentError("content has an extension key that is no integer or short text: drop the message")
        if key in (_SENDER_URI, _ROOM_URI):
            if cbor.read_head(value, 0).major is not cbor.Major.TEXT:
                raise ContentError("content names its sender or room by something else than text: drop the message")
            uris[int(key)] = _text(cbor.load(value))
        else:
            others.append(Extension(key, value))
    return uris.get(_SENDER_URI), uris.get(_ROOM_URI), tuple(others)


def _expiration(value: object) -> Expiration | None:
    match value:
        case None:
            return None
        case [bool() as relative, time]:
            return Expiration(relative, _uint(time, 32))
        case _:
            raise ContentError("content has an expiry of the wrong shape: drop the message")


def _message_id(value: object) -> bytes | None:
    if value is None:
        return None
    message_id = _sized(value, MESSAGE_ID_BYTES, MESSAGE_ID_BYTES)
    if message_id[0] != HASH_SHA256:
        raise ContentError("content refers to a message by an unknown hash algorithm: drop the message")
    return message_id


def _semantics(value: object) -> PartSemantics:
    number = _uint(value, 8)
    if number > max(PartSemantics):
        raise ContentError("content has unknown part semantics: drop the message")
    return PartSemantics(number)


def _uint(value: object, bits: int) -> int:
    # bool is a kind of int in Python, and another thing in CBOR.
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << bits:
        raise ContentError(f"content has something else where an unsigned integer of {bits} bits belongs: drop it")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ContentError("content has something else where text belongs: drop the message")
    return value


def _bytes(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise ContentError("content has something else where bytes belong: drop the message")
    return value


def _sized(value: object, smallest: int, largest: int) -> bytes:
    data = _bytes(value)
    if not smallest <= len(data) <= largest:
        raise ContentError("content has bytes of a wrong size: drop the message")
    return data
