"""The connection pool, shared by raw queries and Piccolo, and the migrations.

Invariant: no session state is ever left on a pooled connection (no SET, no session lock, no open transaction), so that
returning one costs no round trip.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import time
from typing import Any, Final

import asyncpg
from piccolo.apps.migrations.commands.backwards import BackwardsMigrationManager
from piccolo.apps.migrations.commands.forwards import ForwardsMigrationManager

from backend import limits
from backend.logs import event
from backend.piccolo_app import MIGRATIONS
from backend.piccolo_conf import DB

logger = logging.getLogger(__name__)

MIGRATION_LOCK: Final = 0x5EA1_0001
"""Advisory lock: one process migrates at a time (Piccolo has no lock of its own)."""
WRITER_LOCK: Final = 0x5EA1_0002
"""Advisory lock: one writer per database, because sockets are woken inside one process."""


class DatabaseError(Exception):
    """The database cannot be used. The text says why and what to do."""


async def open_pool(url: str) -> asyncpg.Pool[asyncpg.Record]:
    """Connect, and give Piccolo the same pool. Close it with `close_pool`. Raises what asyncpg raises."""
    _use(url)
    pool = await asyncpg.create_pool(
        url,
        min_size=1,
        max_size=limits.DATABASE_CONNECTIONS_MAX,
        command_timeout=limits.DATABASE_COMMAND_TIMEOUT_S,
        reset=_nothing_to_reset,
    )
    DB.pool = pool
    return pool


async def close_pool(pool: asyncpg.Pool[asyncpg.Record]) -> None:
    """Close every connection; queries under way are waited for."""
    DB.pool = None
    await pool.close()


async def migrate(url: str) -> int:
    """Bring the schema up to date, one process at a time. Returns how many migrations ran.

    Raises `DatabaseError`, and what asyncpg raises if the database is away.
    """
    started = time.monotonic()
    lock = await asyncpg.connect(url)
    try:
        await lock.execute("SELECT pg_advisory_lock($1)", MIGRATION_LOCK)
        before = await pending_migrations(lock)
        if before:
            await _run(url, ForwardsMigrationManager(app_name="backend"))
        if await pending_migrations(lock):
            raise DatabaseError(
                "the migrations did not finish; run sealdesk init again, and report it if it says this again"
            )
    finally:
        await lock.close()  # and with it the lock
    event(logger, "database.migrated", migrations=len(before), duration_ms=(time.monotonic() - started) * 1e3)
    return len(before)


async def unmigrate(url: str) -> None:
    """Undo every migration: all tables go. For tests of the way back, and for operators who leave."""
    await _run(url, BackwardsMigrationManager(app_name="backend", migration_id="all", auto_agree=True))


async def pending_migrations(connection: Any) -> list[str]:
    """Ids of the migrations that have not run in this database, oldest first."""
    ids = [_id_of(path.read_text()) for path in sorted(MIGRATIONS.glob("*.py")) if path.name != "__init__.py"]
    if await connection.fetchval("SELECT to_regclass('migration') IS NULL"):
        return ids
    ran = {row["name"] for row in await connection.fetch("SELECT name FROM migration WHERE app_name = 'backend'")}
    return [migration for migration in ids if migration not in ran]


def _id_of(source: str) -> str:
    (line,) = [line for line in source.splitlines() if line.startswith("ID = ")]
    return line.partition('"')[2].rstrip('"')


async def _run(url: str, manager: Any) -> None:
    _use(url)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):  # Piccolo reports by printing
        result = await manager.run()
    if not result.success:
        raise DatabaseError(
            f"a migration failed: {result.message}; run sealdesk init again, and report it if it says this again"
        )


def _use(url: str) -> None:
    # Piccolo finds its engine through this variable and the module's global.
    os.environ["PICCOLO_CONF"] = "backend.piccolo_conf"
    DB.config["dsn"] = url


async def _nothing_to_reset(_: object) -> None:
    """See the module's invariant."""
