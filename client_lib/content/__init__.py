"""What a message says: MIMI content (draft-ietf-mimi-content-09), encoded in deterministic CBOR.

Owns the model, its codec, message ids, the usual messages, and showing them. Does not own who sent a message or when:
that is what MLS and the chat's log say.
"""

from __future__ import annotations

from client_lib.content.building import generate_salt, text
from client_lib.content.codec import CONTENT_BYTES_MAX, decode, encode
from client_lib.content.ids import account_uri, chat_uri, message_id, verify_origin
from client_lib.content.model import (
    AEAD_NONE,
    AEAD_STREAM_CHACHA20_POLY1305,
    HASH_SHA256,
    TEXT_MARKDOWN,
    TEXT_PLAIN,
    Content,
    Disposition,
    Expiration,
    Extension,
    ExternalPart,
    MultiPart,
    NullPart,
    Part,
    PartSemantics,
    SinglePart,
)
from client_lib.content.rendering import attachments, body_text, neutralise, plain_text, safe_filename

__all__ = [
    "AEAD_NONE",
    "AEAD_STREAM_CHACHA20_POLY1305",
    "CONTENT_BYTES_MAX",
    "HASH_SHA256",
    "TEXT_MARKDOWN",
    "TEXT_PLAIN",
    "Content",
    "Disposition",
    "Expiration",
    "Extension",
    "ExternalPart",
    "MultiPart",
    "NullPart",
    "Part",
    "PartSemantics",
    "SinglePart",
    "account_uri",
    "attachments",
    "body_text",
    "chat_uri",
    "decode",
    "encode",
    "generate_salt",
    "message_id",
    "neutralise",
    "plain_text",
    "safe_filename",
    "text",
    "verify_origin",
]
