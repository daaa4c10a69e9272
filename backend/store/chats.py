"""Chats as one device stands in them: which it is in, what it may read, how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from backend.errors import not_found
from protocol.api import Chat
from protocol.frames import Message

# A device may read the positions of its stays ($2: the device). The bounds before the EXISTS say the same again, as a
# range of the primary key: so that a long log is not read where the device has no business.
_READ = """SELECT position, message_id, received_at_ms, message FROM (
        SELECT *, sum(length(message)) OVER (ORDER BY position) - length(message) AS bytes_before FROM (
            SELECT * FROM messages m WHERE m.chat_id = $1
                AND m.position > greatest($3, (
                    SELECT min(added_at) FROM chat_members WHERE chat_id = $1 AND device_id = $2))
                AND m.position <= (
                    SELECT max(coalesce(removed_at, 9223372036854775807)) FROM chat_members
                    WHERE chat_id = $1 AND device_id = $2)
                AND EXISTS (
                    SELECT 1 FROM chat_members s WHERE s.chat_id = $1 AND s.device_id = $2
                        AND m.position > s.added_at AND (s.removed_at IS NULL OR m.position <= s.removed_at))
            ORDER BY m.position LIMIT $4) readable) page
    WHERE bytes_before < $5 ORDER BY position"""


@dataclass(frozen=True, slots=True)
class Standing:
    """A device in a chat: it has acknowledged `position`; `head` is the newest entry it may read.

    `removed_at` is set when it is no longer a member and has not acknowledged its last entry yet.
    """

    chat_id: bytes
    position: int
    head: int
    removed_at: int | None


async def standings(pool: Any, device_id: bytes) -> list[Standing]:
    """Every chat that a device is in, or still has its last entries to read of."""
    rows = await pool.fetch(
        """SELECT chat_id, min(s.position) AS position,
                  max(coalesce(s.removed_at, c.head)) AS head,
                  CASE WHEN bool_and(s.removed_at IS NOT NULL) THEN max(s.removed_at) END AS removed_at
           FROM chat_members s JOIN chats c USING (chat_id) WHERE s.device_id = $1 GROUP BY chat_id""",
        device_id,
    )
    return [Standing(*row) for row in rows]


async def of_device(pool: Any, device_id: bytes) -> list[Chat]:
    """The same, for people and for clients without a stream."""
    rows = await pool.fetch(
        """SELECT chat_id, c.kind, c.epoch, max(coalesce(s.removed_at, c.head)) AS head, min(s.position) AS position
           FROM chat_members s JOIN chats c USING (chat_id) WHERE s.device_id = $1
           GROUP BY chat_id, c.kind, c.epoch, c.created_at_s ORDER BY c.created_at_s, chat_id""",
        device_id,
    )
    return [Chat(**row) for row in rows]


async def read(
    pool: Any, chat_id: bytes, device_id: bytes, after: int, entries_max: int, bytes_max: int
) -> list[Message]:
    """Entries after position `after` that the device may read, in order; empty for a chat that is not the device's.

    No more than `entries_max`, and no further one once `bytes_max` are reached.
    """
    rows = await pool.fetch(
        _READ,
        chat_id,
        device_id,
        after,
        entries_max,
        bytes_max,
    )
    return [
        Message(
            chat_id=chat_id,
            position=row["position"],
            message_id=row["message_id"],
            received_at_ms=row["received_at_ms"],
            message=row["message"],
        )
        for row in rows
    ]


async def require_member(pool: Any, chat_id: bytes, device_id: bytes) -> None:
    """Raise `ProblemError` not_found unless the device is in the chat, or has its last entries to read."""
    query = "SELECT 1 FROM chat_members WHERE chat_id = $1 AND device_id = $2 LIMIT 1"
    if await pool.fetchval(query, chat_id, device_id) is None:
        raise not_found()


async def acknowledge(pool: Any, acks: Sequence[tuple[bytes, bytes, int]]) -> None:
    """Move devices' positions, given as (chat_id, device_id, position), forwards and never past what they may read.

    A stay whose end is acknowledged goes away. Chats that are not the device's are passed over.
    """
    ordered = sorted(acks)  # rows are locked in this order everywhere: no deadlocks
    chats, devices = [ack[0] for ack in ordered], [ack[1] for ack in ordered]
    positions = [ack[2] for ack in ordered]
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(
            """SELECT 1 FROM chat_members s JOIN unnest($1::bytea[], $2::bytea[]) t (chat_id, device_id)
               USING (chat_id, device_id) ORDER BY s.chat_id, s.device_id, s.added_at FOR UPDATE OF s""",
            chats,
            devices,
        )
        await connection.execute(
            """UPDATE chat_members s SET position = least(t.position, coalesce(s.removed_at, c.head))
               FROM unnest($1::bytea[], $2::bytea[], $3::bigint[]) t (chat_id, device_id, position)
               JOIN chats c ON c.chat_id = t.chat_id
               WHERE s.chat_id = t.chat_id AND s.device_id = t.device_id
                 AND s.position < least(t.position, coalesce(s.removed_at, c.head))""",
            chats,
            devices,
            positions,
        )
        await connection.execute(
            """DELETE FROM chat_members s USING unnest($1::bytea[], $2::bytea[]) t (chat_id, device_id)
               WHERE s.chat_id = t.chat_id AND s.device_id = t.device_id AND s.position >= s.removed_at""",
            chats,
            devices,
        )
