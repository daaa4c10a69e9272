"""The usual messages: text, Markdown, a reply, attachments."""

from __future__ import annotations

import os
from collections.abc import Sequence

from client_lib.content.model import (
    SALT_BYTES,
    TEXT_MARKDOWN,
    TEXT_PLAIN,
    Content,
    ExternalPart,
    MultiPart,
    Part,
    PartSemantics,
    SinglePart,
)


def generate_salt() -> bytes:
    """A new message's salt: 16 random bytes (draft-ietf-mimi-content-09 §9.2)."""
    return os.urandom(SALT_BYTES)


def text(
    body: str,
    reply_to: bytes | None = None,
    *,
    salt: bytes,
    attachments: Sequence[ExternalPart] = (),
    markdown: bool = False,
) -> Content:
    """Make a text message, perhaps with attachments; without text it is the attachments alone.

    `reply_to`: the id of the message that is answered, 32 bytes. `salt`: from `generate_salt`. Raises ValueError if
    there is neither text nor attachment.
    """
    parts: list[Part] = list(attachments)
    if body:
        parts.insert(0, SinglePart(TEXT_MARKDOWN if markdown else TEXT_PLAIN, body.encode("utf-8")))
    if not parts:
        raise ValueError("a message needs a text or an attachment")
    whole = parts[0] if len(parts) == 1 else MultiPart(PartSemantics.PROCESS_ALL, tuple(parts))
    return Content(salt=salt, in_reply_to=reply_to, body=whole)
