"""Health: whether the process runs, and whether it can serve."""

from __future__ import annotations

import asyncio

from litestar import get

from backend import limits
from backend.database import pending_migrations
from backend.errors import ProblemError, problems
from backend.routes.parameters import HTTPRequest
from backend.services import services_of
from protocol.api import Health
from protocol.codes import Code


@get(
    "/health/live",
    summary="Is the process alive?",
    description="No session. Restart the process when this does not answer.",
    responses=problems(),
    tags=["health"],
)
async def live() -> Health:
    """The event loop turns."""
    return Health("live")


@get(
    "/health/ready",
    summary="Can it serve?",
    description="No session. 200 when the database answers, its migrations are current and the writer runs; else 503.",
    responses=problems(),
    tags=["health"],
)
async def ready(request: HTTPRequest) -> Health:
    """The database answers and is of this version."""
    services = services_of(request)
    async with asyncio.timeout(limits.READY_TIMEOUT_S), services.pool.acquire() as connection:
        pending = await pending_migrations(connection)
    if pending:
        raise ProblemError(Code.UNAVAILABLE, f"{len(pending)} migrations have not run")
    if not services.relay.writer.alive:
        raise ProblemError(Code.UNAVAILABLE, "the writer has stopped")
    return Health("ready")
