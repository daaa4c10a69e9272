"""Message ids and the URIs that they bind: draft-ietf-mimi-content-09 §3.3.

An id is a hash over who said what where, so nobody can make two messages with one id, or give one message's id to
another sender or chat.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Final

from client_lib.content.model import HASH_SHA256, MESSAGE_ID_BYTES, Content
from client_lib.errors import ContentError

URI_BYTES_MAX: Final = 2**16 - 1


def account_uri(account_id: bytes) -> str:
    """The sender URI of an account (20 bytes): its id as people see it, 32 lowercase base32 characters."""
    return "sealdesk:account/" + base64.b32encode(account_id).decode("ascii").lower()


def chat_uri(chat_id: bytes) -> str:
    """The room URI of a chat (32 bytes), in lowercase hex."""
    return "sealdesk:chat/" + chat_id.hex()


def message_id(content: Content, encoded: bytes, *, sender_uri: str, room_uri: str) -> bytes:
    """The id of a message, 32 bytes: what replies, edits and reactions refer to.

    messageId = hashAlg || first 31 octets of SHA-256(senderUriLength || senderUri || roomUriLength || roomUri ||
    message || salt), draft §3.3; lengths are 16 bits, in octets. `encoded` is the message as it was sent, without
    padding; `content` is what it decodes to. The URIs are those that MLS has authenticated, not the claimed ones.
    """
    hashed = _length_prefixed(sender_uri) + _length_prefixed(room_uri) + encoded + content.salt
    return bytes([HASH_SHA256]) + hashlib.sha256(hashed).digest()[: MESSAGE_ID_BYTES - 1]


def verify_origin(content: Content, *, sender_uri: str, room_uri: str) -> None:
    """Check the sender and room that the content itself names, where it does, against what MLS has authenticated.

    Raises ContentError: the message was made by or for somebody else and is passed off as this sender's.
    """
    if content.sender_uri not in (None, sender_uri) or content.room_uri not in (None, room_uri):
        raise ContentError("content names another sender or chat than it came from: drop the message")


def _length_prefixed(uri: str) -> bytes:
    data = uri.encode("utf-8")
    if len(data) > URI_BYTES_MAX:
        raise ValueError(f"a URI has at most {URI_BYTES_MAX:,} bytes")
    return len(data).to_bytes(2) + data
