"""What the handlers work with: made when the application starts, found through it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

from litestar.connection import ASGIConnection

from backend import objects
from backend.acknowledgements import Acknowledgements
from backend.database import close_pool, open_pool
from backend.hub import Hub
from backend.logs import event
from backend.settings import Settings
from backend.stream import Relay, Stream
from backend.writer import Writer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Services:
    """One running server's parts."""

    settings: Settings
    pool: Any
    relay: Relay
    objects: Any

    async def drain(self) -> None:
        """Take no more from the sockets; when what was taken is durable and answered, close them (1012)."""
        streams = [listener for listener in self.relay.hub.listeners() if isinstance(listener, Stream)]
        async with asyncio.TaskGroup() as group:
            for stream in streams:
                group.create_task(stream.drain())
        await self.relay.writer.drained()
        for stream in streams:
            stream.close(1012, "the server is stopping; connect again")
        for stream in streams:
            await stream.ended.wait()
        event(logger, "server.drained", sockets=len(streams))


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Connect to everything, and at the end write what is left and disconnect.

    `settings.database_url` is set and its database is migrated.
    """
    assert settings.database_url is not None
    pool = await open_pool(settings.database_url)
    try:
        hub = Hub()
        writer = Writer(settings.database_url, hub)
        await writer.start()
        acknowledgements = Acknowledgements(pool)
        try:
            relay = Relay(pool, hub, writer, acknowledgements)
            store = objects.open_store(settings)
            objects.delete_staged(store)  # the writer's lock says that no other server is taking uploads
            yield Services(settings, pool, relay, store)
        finally:
            await writer.stop()
            await acknowledgements.stop()
    finally:
        await close_pool(pool)


def services_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Services:
    """The services of the application that a connection came to."""
    return cast("Services", connection.app.state["services"])
