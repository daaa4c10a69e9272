"""Device inboxes: what waits for one device alone, until it says that it has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from protocol.frames import InboxItem


async def waiting(pool: Any, device_id: bytes, seen: Sequence[int], items_max: int, bytes_max: int) -> list[InboxItem]:
    """The oldest items of a device that are not in `seen`; none only if there are none.

    No more than `items_max`, and no more than `bytes_max` of Welcomes, save that a first one always goes.
    Not "above the last id": ids are drawn before their transactions commit, so a lower one can appear later.
    """
    rows = await pool.fetch(
        """SELECT * FROM (
               SELECT *, sum(length(welcome)) OVER (ORDER BY item_id) AS bytes FROM (
                   SELECT i.item_id, i.kind, i.chat_id, c.kind AS chat_kind, i.position, w.welcome
                   FROM device_inbox i JOIN welcomes w USING (chat_id, position) JOIN chats c USING (chat_id)
                   WHERE i.device_id = $1 AND i.item_id <> ALL($2::bigint[]) ORDER BY i.item_id LIMIT $3) oldest) page
           WHERE bytes <= $4 OR bytes = length(welcome) ORDER BY item_id""",
        device_id,
        seen,
        items_max,
        bytes_max,
    )
    return [
        InboxItem(
            item_id=row["item_id"],
            kind=row["kind"],
            chat_id=row["chat_id"],
            chat_kind=row["chat_kind"],
            position=row["position"],
            message=row["welcome"],
        )
        for row in rows
    ]


async def acknowledge(pool: Any, pairs: Sequence[tuple[bytes, int]]) -> int:
    """Forget items, given as (device_id, item_id); a Welcome goes with the last item that points to it.

    Returns how many there were. Ids that are not there, or are another device's, are passed over.
    """
    devices, items = [device for device, _ in pairs], [item for _, item in pairs]
    async with pool.acquire() as connection, connection.transaction():
        # The Welcomes' rows are locked first: of two devices that acknowledge at once, the second sees the first's.
        await connection.execute(
            """SELECT 1 FROM welcomes w WHERE (w.chat_id, w.position) IN (
                   SELECT i.chat_id, i.position FROM device_inbox i
                   JOIN unnest($1::bytea[], $2::bigint[]) t (device_id, item_id) USING (device_id, item_id))
               ORDER BY w.chat_id, w.position FOR UPDATE""",
            devices,
            items,
        )
        gone = await connection.fetch(
            """DELETE FROM device_inbox i USING unnest($1::bytea[], $2::bigint[]) t (device_id, item_id)
               WHERE i.device_id = t.device_id AND i.item_id = t.item_id RETURNING i.chat_id, i.position""",
            devices,
            items,
        )
        await connection.execute(
            """DELETE FROM welcomes w USING unnest($1::bytea[], $2::bigint[]) t (chat_id, position)
               WHERE w.chat_id = t.chat_id AND w.position = t.position AND NOT EXISTS (
                   SELECT 1 FROM device_inbox i WHERE i.chat_id = w.chat_id AND i.position = w.position)""",
            [row["chat_id"] for row in gone],
            [row["position"] for row in gone],
        )
    return len(gone)
