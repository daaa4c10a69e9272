"""MIMI message content as Python values: draft-ietf-mimi-content-09 §4, in the order of its CDDL.

Owns the shapes and names. `codec` gives them bytes, `building` makes the usual ones, `rendering` shows them. Everything
that the draft allows has a place here, rendered by us or not, so a decoded value encodes to the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from crypto.secret import Secret

SALT_BYTES: Final = 16
MESSAGE_ID_BYTES: Final = 32

TEXT_PLAIN: Final = "text/plain;charset=utf-8"
TEXT_MARKDOWN: Final = "text/markdown;variant=GFM-MIMI"

HASH_SHA256: Final = 1
"""Hash algorithm of `ExternalPart.content_hash` and of message ids: IANA Named Information Hash Algorithm registry."""

AEAD_NONE: Final = 0
AEAD_STREAM_CHACHA20_POLY1305: Final = 0x8001
"""`ExternalPart.enc_alg` of our attachments: STREAM over ChaCha20-Poly1305 with 64 KiB chunks (`crypto.attachments`).

The IANA AEAD registry has no number for a chunked construction; this one is of its private range (32768-65535), so that
a foreign client says "unknown algorithm" instead of failing to decrypt.
"""


class Disposition(IntEnum):
    """What a part is for. 9 to 255 are legal and unknown: treat them as `RENDER` (draft §9.1)."""

    UNSPECIFIED = 0
    RENDER = 1
    REACTION = 2
    PROFILE = 3
    INLINE = 4
    ICON = 5
    ATTACHMENT = 6
    SESSION = 7
    PREVIEW = 8


class PartSemantics(IntEnum):
    """How the parts of a `MultiPart` belong together."""

    CHOOSE_ONE = 0
    SINGLE_UNIT = 1
    PROCESS_ALL = 2


@dataclass(frozen=True, slots=True)
class NullPart:
    """No body: what a delete or an unlike carries."""

    disposition: int = Disposition.RENDER
    language: str = ""


@dataclass(frozen=True, slots=True)
class SinglePart:
    """A body inside the message. `content_type` is an IANA media type with its parameters."""

    content_type: str
    content: bytes = field(repr=False)
    disposition: int = Disposition.RENDER
    language: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalPart:
    """A body somewhere else, usually encrypted: an attachment.

    `expires_s`: Unix seconds, 0 for never. `size`: octets of the plaintext, 0 for unknown. `enc_alg`: IANA AEAD number,
    0 for not encrypted. `content_hash`: of the bytes at `url`, that is, of the ciphertext.
    """

    content_type: str
    url: str = field(repr=False)
    expires_s: int = 0
    size: int = 0
    enc_alg: int = AEAD_NONE
    key: Secret = field(default_factory=lambda: Secret(b""))
    nonce: bytes = b""
    aad: bytes = b""
    hash_alg: int = HASH_SHA256
    content_hash: bytes = b""
    description: str = field(default="", repr=False)
    filename: str = field(default="", repr=False)
    disposition: int = Disposition.ATTACHMENT
    language: str = ""


@dataclass(frozen=True, slots=True)
class MultiPart:
    """Two or more parts, to choose from or to take together."""

    semantics: PartSemantics
    parts: tuple[Part, ...]
    disposition: int = Disposition.RENDER
    language: str = ""


Part = NullPart | SinglePart | ExternalPart | MultiPart


@dataclass(frozen=True, slots=True)
class Expiration:
    """A hint to forget: seconds after reading if `relative`, else Unix seconds."""

    relative: bool
    time_s: int


@dataclass(frozen=True, slots=True)
class Extension:
    """An entry of the extensions map that is neither senderUri nor roomUri, carried through untouched.

    `value` is one deterministically encoded CBOR item, never interpreted here: a CBOR library would turn tags into
    dates, sets or cyclic lists before anybody could say no.
    """

    key: int | str
    value: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """One message (mimiContent).

    `salt`: 16 random bytes. `replaces` and `in_reply_to`: message ids, 32 bytes. `sender_uri` and `room_uri` are only
    claims of the sender: check them with `verify_origin`. `extensions`: any order; encoded, and decoded, sorted.
    """

    salt: bytes
    body: Part
    replaces: bytes | None = None
    topic_id: bytes = b""
    expires: Expiration | None = None
    in_reply_to: bytes | None = None
    sender_uri: str | None = None
    room_uri: str | None = None
    extensions: tuple[Extension, ...] = ()
