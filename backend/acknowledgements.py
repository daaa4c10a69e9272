"""Acknowledgements from the streams, gathered: the newest position of each device and chat, written together.

They have no answer, and one that is lost is repaired by the next: the device gets an entry again that it has already.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import asyncpg

from backend import limits
from backend.errors import DATABASE_AWAY
from backend.logs import event
from backend.store import chats, inbox

logger = logging.getLogger(__name__)


class Acknowledgements:
    """What devices have persisted, on its way to the database. Holds one number for each device and chat at most."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._positions: dict[tuple[bytes, bytes], int] = {}
        self._items: set[tuple[bytes, int]] = set()
        self._wake = asyncio.Event()
        self._stopping = False
        self._task = asyncio.create_task(self._run(), name="acknowledgements")

    def position(self, chat_id: bytes, device_id: bytes, position: int) -> None:
        """A device has persisted a chat's log up to `position`."""
        key = (chat_id, device_id)
        self._positions[key] = max(position, self._positions.get(key, 0))
        self._wake.set()

    def item(self, device_id: bytes, item_id: int) -> None:
        """A device has persisted an inbox item."""
        self._items.add((device_id, item_id))
        self._wake.set()

    async def stop(self) -> None:
        """Write what is there and end."""
        self._stopping = True
        self._wake.set()
        await self._task

    async def _run(self) -> None:
        while True:
            if not self._positions and not self._items:
                if self._stopping:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            try:
                await self._flush()
            except (asyncpg.PostgresError, *DATABASE_AWAY) as error:
                event(logger, "acknowledgements.dropped", level=logging.WARNING, error=type(error).__name__)
                await asyncio.sleep(0.2)

    async def _flush(self) -> None:
        positions, self._positions = self._positions, {}
        items, self._items = self._items, set()
        if items:
            await inbox.acknowledge(self._pool, sorted(items))
        ordered = [(chat_id, device_id, position) for (chat_id, device_id), position in positions.items()]
        for start in range(0, len(ordered), limits.BATCH_ITEMS_MAX):
            await chats.acknowledge(self._pool, ordered[start : start + limits.BATCH_ITEMS_MAX])
