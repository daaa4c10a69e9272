"""Group commit: whatever arrived while one transaction was under way is the next one.

One task, one connection. Every request that was taken gets exactly one answer, also if the task fails. A transaction
that fails wrote nothing; it is tried again if it may succeed, and one request that the database cannot take does not
fail the others.

The connection holds an advisory lock: there is one writer for a database, because sockets are woken by the process that
writes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import asyncpg

from backend import limits
from backend.database import WRITER_LOCK, DatabaseError
from backend.errors import DATABASE_AWAY, ProblemError
from backend.hub import Hub
from backend.logs import event, where
from backend.ordering import Answer, Entry, Plan, refusal
from backend.store.log import WRITER_SETTINGS, append
from protocol.codes import Code
from protocol.frames import Commit

logger = logging.getLogger(__name__)

_LOCK_WAIT_S: Final = 3.0
_AGAIN: Final = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)

Answered = Callable[[Answer], None]


class Writer:
    """The one way into the logs. `start`, then `submit` or `ask`; `stop` writes what is waiting and ends."""

    def __init__(self, url: str, hub: Hub) -> None:
        self._url = url
        self._hub = hub
        self._connection: Any = None
        self._waiting: deque[tuple[Entry, Answered]] = deque()
        self._waiting_bytes = 0
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self.batches = 0
        self.entries = 0

    async def start(self) -> None:
        """Connect and take the writer's lock. Raises `DatabaseError` if another server holds it."""
        await self._connect(_LOCK_WAIT_S)
        self._task = asyncio.create_task(self._run(), name="writer")

    async def stop(self) -> None:
        """Write what is waiting, take nothing more, disconnect."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait({self._task})  # a fault that ended it has been logged
        await self._disconnect()
        event(logger, "writer.stopped", batches=self.batches, entries=self.entries)

    @property
    def alive(self) -> bool:
        """Whether requests are being written."""
        return self._task is not None and not self._task.done()

    async def drained(self) -> None:
        """Wait until everything that was submitted is answered."""
        await self._idle.wait()

    def submit(self, entry: Entry, answered: Answered) -> None:
        """Take a request; `answered` is called once, from the event loop, when it is durable or refused."""
        full = (
            len(self._waiting) >= limits.WRITER_WAITING_MAX
            or self._waiting_bytes + entry.size_bytes > limits.WRITER_WAITING_BYTES_MAX
        )
        if full or self._stopping:
            answered(refusal(entry.request, _unavailable("the server is busy or stopping; try again")))
            return
        self._waiting.append((entry, answered))
        self._waiting_bytes += entry.size_bytes
        self._idle.clear()
        self._wake.set()

    async def ask(self, entry: Entry) -> Answer:
        """Take a request and wait for its answer. A caller that stops waiting does not take the request back."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def answered(answer: Answer) -> None:
            if not future.done():
                future.set_result(answer)

        self.submit(entry, answered)
        return await future

    async def _run(self) -> None:
        try:
            await self._write_all()
        except BaseException as error:
            event(logger, "writer.died", level=logging.ERROR, error=type(error).__name__, where=where(error))
            raise
        finally:
            self._stopping = True
            for entry, answered in self._waiting:
                answered(refusal(entry.request, _unavailable("the server is stopping; try again")))
            self._waiting.clear()
            self._idle.set()

    async def _write_all(self) -> None:
        while True:
            batch = self._take()
            if batch:
                await self._write(batch)
                continue
            self._idle.set()
            if self._stopping:
                return
            self._wake.clear()
            await self._wake.wait()

    def _take(self) -> list[tuple[Entry, Answered]]:
        batch: list[tuple[Entry, Answered]] = []
        size_bytes = 0
        while self._waiting and len(batch) < limits.BATCH_ITEMS_MAX and size_bytes < limits.BATCH_BYTES_MAX:
            item = self._waiting.popleft()
            size_bytes += item[0].size_bytes
            batch.append(item)
        self._waiting_bytes -= size_bytes
        return batch

    async def _write(self, batch: Sequence[tuple[Entry, Answered]]) -> None:
        started = time.monotonic()
        try:
            plan = await self._append([entry for entry, _ in batch])
        except ProblemError as error:
            for entry, answered in batch:
                answered(refusal(entry.request, error))
            return
        except (asyncpg.PostgresError, ValueError, TypeError, LookupError) as error:
            await self._write_apart(batch, error)
            return
        except BaseException:
            for entry, answered in batch:
                answered(refusal(entry.request, _unavailable("the server failed; try again")))
            raise
        self.batches += 1
        self.entries += len(plan.messages)
        # The answers first, so that a sender knows that its commit won before it sees it in the log.
        for (_, answered), answer in zip(batch, plan.answers, strict=True):
            answered(answer)
        self._hub.publish(plan)
        event(
            logger,
            "writer.batch",
            level=logging.DEBUG,
            requests=len(batch),
            entries=len(plan.messages),
            duration_ms=(time.monotonic() - started) * 1e3,
        )

    async def _write_apart(self, batch: Sequence[tuple[Entry, Answered]], error: Exception) -> None:
        """The database did not take a batch as a whole, for a reason that is not its own state: find the culprit."""
        if len(batch) > 1:
            event(logger, "writer.batch_split", level=logging.WARNING, requests=len(batch), error=type(error).__name__)
            for item in batch:
                await self._write([item])
            return
        event(logger, "writer.failed", level=logging.ERROR, error=type(error).__name__, where=where(error))
        ((entry, answered),) = batch
        answered(refusal(entry.request, ProblemError(Code.INTERNAL, "the server failed; it has been logged")))

    async def _append(self, entries: Sequence[Entry]) -> Plan:
        """Write a batch, connecting again and trying again where that can help. Raises `ProblemError` unavailable."""
        lost = False
        for attempt in range(1, limits.TRANSACTION_TRIES_MAX + 1):
            try:
                if self._connection is None:
                    await self._connect(0)
                plan = await append(self._connection, entries, int(time.time() * 1000))
            except _AGAIN as error:
                event(logger, "writer.retry", level=logging.WARNING, error=type(error).__name__, attempt=attempt)
            except (*DATABASE_AWAY, DatabaseError) as error:
                event(
                    logger, "writer.database_away", level=logging.WARNING, error=type(error).__name__, attempt=attempt
                )
                lost = True
                await self._disconnect()
                await asyncio.sleep(0.1 * attempt)
            else:
                if lost:
                    # The first try may have committed: then these entries are old to the log and new to the sockets.
                    self._refresh(entries)
                return plan
        raise _unavailable("the database is away; try again")

    def _refresh(self, entries: Sequence[Entry]) -> None:
        commits = [entry.request for entry in entries if isinstance(entry.request, Commit)]
        self._hub.refresh(
            {entry.request.chat_id for entry in entries},
            {device.device_id for commit in commits for device in commit.added},
        )
        # Who was removed by a commit whose answer was lost is in the database only: those sockets start afresh.
        if any(commit.removed or commit.added for commit in commits):
            for listener in self._hub.listeners():
                listener.close(1012, "connect again")

    async def _connect(self, wait_s: float) -> None:
        connection = await asyncpg.connect(
            self._url, server_settings=WRITER_SETTINGS, command_timeout=limits.DATABASE_COMMAND_TIMEOUT_S
        )
        deadline = time.monotonic() + wait_s
        # A server that was killed may hold the lock until PostgreSQL notices that its connection is gone.
        while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", WRITER_LOCK):
            if time.monotonic() > deadline:
                await connection.close()
                raise DatabaseError("another Sealdesk server writes to this database; stop it first")
            await asyncio.sleep(0.1)
        self._connection = connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*DATABASE_AWAY, OSError):
                await connection.close(timeout=2)


def _unavailable(detail: str) -> ProblemError:
    return ProblemError(Code.UNAVAILABLE, detail)
