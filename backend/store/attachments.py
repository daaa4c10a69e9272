"""Attachments: the rows. The bytes are in the object store (`backend.objects`).

They are for members of this moment. Who was removed may still read the log up to its removal, but no files: their rows
do not say when in the log they came.
"""

from __future__ import annotations

from typing import Any

from backend import limits
from backend.errors import ProblemError, not_found
from protocol.codes import Code

_IS_MEMBER = "SELECT 1 FROM chat_members WHERE chat_id = $1 AND device_id = $2 AND removed_at IS NULL"


async def require_room(connection: Any, chat_id: bytes, device_id: bytes, attachment_id: bytes) -> None:
    """Check that a device may add this attachment to this chat: ask before the bytes come, `add` asks again.

    Raises `ProblemError` not_found unless the device is a member now, already_exists, or too_many if the chat is full.
    """
    member, exists, count = await connection.fetchrow(
        f"""SELECT EXISTS ({_IS_MEMBER}),
                   EXISTS (SELECT 1 FROM attachments WHERE chat_id = $1 AND attachment_id = $3),
                   (SELECT count(*) FROM attachments WHERE chat_id = $1)""",  # noqa: S608 - a constant of ours
        chat_id,
        device_id,
        attachment_id,
    )
    if not member:
        raise not_found()
    if exists:
        raise _exists()
    if count >= limits.ATTACHMENTS_PER_CHAT_MAX:
        raise ProblemError(Code.TOO_MANY, "this chat has too many attachments")


async def add(
    pool: Any, chat_id: bytes, device_id: bytes, attachment_id: bytes, object_id: bytes, size_bytes: int, now: int
) -> None:
    """Record an object that is stored in full.

    Raises what `require_room` raises: an upload takes its time, and meanwhile its device may have been removed, the
    chat filled, or somebody been faster.
    """
    async with pool.acquire() as connection, connection.transaction():
        await require_room(connection, chat_id, device_id, attachment_id)
        added = await connection.fetchval(
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


async def find(pool: Any, chat_id: bytes, device_id: bytes, attachment_id: bytes) -> tuple[bytes, int]:
    """An attachment's object id and size in bytes, for a device that is a member now.

    Raises `ProblemError` not_found, the same for those who are no members.
    """
    row = await pool.fetchrow(
        f"""SELECT object_id, size_bytes FROM attachments
            WHERE chat_id = $1 AND attachment_id = $3 AND EXISTS ({_IS_MEMBER})""",  # noqa: S608 - a constant of ours
        chat_id,
        device_id,
        attachment_id,
    )
    if row is None:
        raise not_found()
    return row["object_id"], row["size_bytes"]


def _exists() -> ProblemError:
    return ProblemError(Code.ALREADY_EXISTS, "this attachment is stored already")
