"""Message ids bind sender, room and bytes."""

from __future__ import annotations

import hashlib

import pytest

from client_lib import content
from client_lib.errors import ContentError

SALT = bytes(range(16))
ALICE = content.account_uri(bytes(range(20)))
ROOM = content.chat_uri(bytes(range(32)))


def _id(message: content.Content, sender_uri: str = ALICE, room_uri: str = ROOM) -> bytes:
    return content.message_id(message, content.encode(message), sender_uri=sender_uri, room_uri=room_uri)


def test_a_message_id_is_the_hash_that_the_draft_describes() -> None:
    message = content.text("Hello", salt=SALT)
    encoded = bytes.fromhex("87 50") + SALT + bytes.fromhex("f6 40 f6 f6 a0 85 01 60 01 78 18")
    encoded += b"text/plain;charset=utf-8" + bytes.fromhex("45") + b"Hello"
    hashed = b"\x00\x31sealdesk:account/aaaqeayeaudaocajbifqydiob4ibceqt" + b"\x00\x4esealdesk:chat/"
    hashed += bytes(range(32)).hex().encode() + encoded + SALT
    assert content.encode(message) == encoded
    assert _id(message) == b"\x01" + hashlib.sha256(hashed).digest()[:31]


def test_uri_lengths_are_counted_in_octets() -> None:
    message = content.text("Hello", salt=SALT)
    hashed = b"\x00\x03\xe2\x9d\xa4" + b"\x00\x00" + content.encode(message) + SALT
    assert _id(message, "\N{HEAVY BLACK HEART}", "") == b"\x01" + hashlib.sha256(hashed).digest()[:31]
    with pytest.raises(ValueError, match="65,535"):
        _id(message, "a" * 65_536)


def test_no_two_of_sender_room_text_and_salt_share_an_id() -> None:
    message = content.text("Hello", salt=SALT)
    ids = {
        _id(message),
        _id(message, sender_uri=ALICE + "a"),
        _id(message, room_uri=ROOM + "a"),
        # The lengths keep a sender's end from becoming a room's beginning.
        _id(message, sender_uri=ALICE + ROOM, room_uri=""),
        _id(content.text("Hello", salt=bytes(16))),
        _id(content.text("hello", salt=SALT)),
    }
    assert len(ids) == 6


def test_a_reply_refers_to_a_message_id() -> None:
    first = _id(content.text("Question?", salt=SALT))
    reply = content.text("Answer.", first, salt=SALT)
    assert content.decode(content.encode(reply)).in_reply_to == first


@pytest.mark.parametrize("sender_uri, room_uri", [(None, None), (ALICE, None), (None, ROOM), (ALICE, ROOM)])
def test_an_origin_that_is_absent_or_true_passes(sender_uri: str | None, room_uri: str | None) -> None:
    message = content.Content(salt=SALT, body=content.NullPart(), sender_uri=sender_uri, room_uri=room_uri)
    content.verify_origin(message, sender_uri=ALICE, room_uri=ROOM)


@pytest.mark.parametrize("sender_uri, room_uri", [("sealdesk:account/mallory", ROOM), (ALICE, "sealdesk:chat/00")])
def test_an_origin_that_is_not_the_authenticated_one_is_refused(sender_uri: str, room_uri: str) -> None:
    message = content.Content(salt=SALT, body=content.NullPart(), sender_uri=sender_uri, room_uri=room_uri)
    with pytest.raises(ContentError, match="another sender or chat"):
        content.verify_origin(message, sender_uri=ALICE, room_uri=ROOM)


def test_salts_are_sixteen_bytes_and_differ() -> None:
    salts = {content.generate_salt() for _ in range(100)}
    assert len(salts) == 100
    assert {len(salt) for salt in salts} == {16}
