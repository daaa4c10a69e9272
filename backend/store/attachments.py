"""Attachments: the rows. The bytes are in the object store (`backend.objects`)."""

from __future__ import annotations

from typing import Any

from backend import limits
from backend.errors import ProblemError, not_found
from protocol.codes import Code


async def require_absent(pool: Any, chat_id: bytes, attachment_id: bytes) -> None:
    """Raise `ProblemError` already_exists if the attachment is stored, too_many if the chat has no room for it."""
    exists, count = await pool.fetchrow(
        """SELECT EXISTS (SELECT 1 FROM attachments WHERE chat_id = $1 AND attachment_id = $2),
                  (SELECT count(*) FROM attachments WHERE chat_id = $1)""",
        chat_id,
        attachment_id,
    )
    if exists:
        raise _exists()
    if count >= limits.ATTACHMENTS_PER_CHAT_MAX:
        raise ProblemError(Code.TOO_MANY, "this chat has too many attachments")


async def add(pool: Any, chat_id: bytes, attachment_id: bytes, object_id: bytes, size_bytes: int, now: int) -> None:
    """Record an object that is stored in full. Raises `ProblemError` already_exists: somebody was faster."""
    added = await pool.fetchval(
        """INSERT INTO attachments (chat_id, attachment_id, object_id, size_bytes, stored_at_s)
           VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING 1""",
        chat_id,
        attachment_id,
        object_id,
        size_bytes,
        now,
    )
    if added is None:
        raise _exists()


async def find(pool: Any, chat_id: bytes, attachment_id: bytes) -> tuple[bytes, int]:
    """An attachment's object id and size in bytes. Raises `ProblemError` not_found."""
    row = await pool.fetchrow(
        "SELECT object_id, size_bytes FROM attachments WHERE chat_id = $1 AND attachment_id = $2",
        chat_id,
        attachment_id,
    )
    if row is None:
        raise not_found()
    return row["object_id"], row["size_bytes"]


def _exists() -> ProblemError:
    return ProblemError(Code.ALREADY_EXISTS, "this attachment is stored already")
