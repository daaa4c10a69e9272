"""What makes the engine's steps happen: store, transport and clock around it, one step at a time.

Owns the order that everything relies on: a step's writes are on disk before the engine adopts it, before its frames
leave, before its events are told. A step is never cut in half by a cancelled task. Owns the connection too: it is kept
up for as long as the client is open, and everything without an answer is sent again on a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import aclosing
from typing import Any, TypeVar, assert_never

from client_lib.engine import Draft, Engine, LogGap
from client_lib.errors import ClientError, ServerError, StoreError, TransportError, TrustError
from client_lib.events import Alert, ChangeDone, ChangeFailed, Event, Offline
from client_lib.store.model import Put, Store
from client_lib.transport import Backoff, Connected, Disconnected, HttpTransport, Received, Stream, StreamEvent
from crypto.mls.group import encode_message
from protocol.api import UploadKeyPackages
from protocol.codes import Code
from protocol.frames import KeyPackages, Refused, ServerFrame
from protocol.limits import KEY_PACKAGES_PER_UPLOAD_MAX

T = TypeVar("T")

log = logging.getLogger("sealdesk.client")

ERASE_S = 1.0
"""How long the write-ahead log may keep what a step has deleted."""

RECONNECT_LONGEST_S = 15.0
"""A person who waits for the server to come back waits no longer than this after it did."""

RETRY_SOON = frozenset({Code.UNAVAILABLE, Code.INTERNAL, Code.TOO_MANY, Code.UNAUTHENTICATED})
"""Refusals after which we connect again, with back-off, and send again what has no answer."""


class Runtime:
    """One open client: engine, store and connection."""

    def __init__(self, engine: Engine, store: Store, http: HttpTransport) -> None:
        self.engine = engine
        self.store = store
        self.http = http
        self._steps = asyncio.Lock()
        self._stream: Stream | None = None
        self._stopping = False
        self._troubles = 0  # connections in a row on which something was wrong
        self.is_connected = False
        """Whether there is a connection to the server now."""
        self._connection: asyncio.Task[None] | None = None
        self._fault: ClientError | None = None
        self._publishing: asyncio.Task[None] | None = None
        self._erasing: asyncio.Task[None] | None = None
        self._deleted = False
        self._listeners: set[asyncio.Queue[Event]] = set()
        self._changes: dict[bytes, asyncio.Future[None]] = {}
        self.names = {account_id: name.decode() for account_id, name in store.load("names").items()}
        self._cursors = {key: int.from_bytes(value, "big") for key, value in store.load("cursors").items()}

    def start(self) -> None:
        """Connect, and stay connected until `stop`."""
        self._connection = asyncio.create_task(self._stay_connected())
        self._connection.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Let the running step end, then disconnect and close the store. Whoever waits for something gets an error."""
        if self._stopping:
            return
        self._stopping = True
        if self._stream is not None:
            await self._stream.close()
        tasks = [task for task in (self._connection, self._publishing, self._erasing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # a fault of theirs has been told already
        async with self._steps:
            self._give_up(ClientError("the client is closed: open it again"))
            await self.http.close()
            try:
                await asyncio.to_thread(self.store.erase_deleted)
            finally:
                await asyncio.to_thread(self.store.close)

    async def perform(self, make: Callable[[], Draft]) -> Draft:
        """Make one step and see it through: on disk, adopted, sent, told. Raises what `make` and the store raise."""
        return await _uncancelled(self._perform(make))

    async def perform_change(self, change_id: bytes, make: Callable[[], Draft]) -> None:
        """Make a step that changes members, and wait until the change is in force. Raises `ClientError` if refused."""
        settled = self._changes.setdefault(change_id, asyncio.get_running_loop().create_future())
        try:
            await self.perform(make)
            await settled
        finally:
            self._changes.pop(change_id, None)

    @contextlib.contextmanager
    def listen(self) -> Iterator[asyncio.Queue[Event]]:
        """A queue of what happens from now on. It holds no message texts, so it may grow while nobody reads."""
        events: asyncio.Queue[Event] = asyncio.Queue()
        self._listeners.add(events)
        try:
            yield events
        finally:
            self._listeners.discard(events)

    async def next_event(self, events: asyncio.Queue[Event]) -> Event:
        """The next event of a queue of `listen`. Raises `ClientError` if the client has stopped: nothing would come."""
        if self._fault is not None and events.empty():
            raise self._fault
        return await events.get()

    async def set_name(self, account_id: bytes, name: str) -> None:
        """Keep the user's name for an account (20 bytes)."""
        await asyncio.to_thread(self.store.apply, [Put("names", account_id, name.encode())])
        self.names[account_id] = name

    def cursor(self, consumer: str, chat_id: bytes) -> int:
        """Up to which position a consumer has handled a chat."""
        return self._cursors.get(_cursor_key(consumer, chat_id), 0)

    async def move_cursor(self, consumer: str, chat_id: bytes, position: int) -> None:
        """A consumer has handled a chat up to and including `position`."""
        key = _cursor_key(consumer, chat_id)
        await asyncio.to_thread(self.store.apply, [Put("cursors", key, position.to_bytes(8, "big"))])
        self._cursors[key] = position

    async def learn_accounts(self, account_ids: Sequence[bytes]) -> None:
        """Fetch accounts and keep what holds. Raises `TransportError`; what does not hold is told as an alert."""
        for account_id in account_ids:
            try:
                account = await self.http.account(account_id)
                await self.perform(lambda: self.engine.learn_account(account_id, account, now_ms()))  # noqa: B023  # awaited here
            except (ServerError, TrustError) as error:
                self._tell(Alert(None, str(error)))

    async def key_packages(self, account_id: bytes) -> list[bytes]:
        """Key packages to add an account's devices by, judged. Raises `TrustError`, `ServerError`, `TransportError`."""
        account = await self.http.account(account_id)
        await self.perform(lambda: self.engine.learn_account(account_id, account, now_ms()))
        claims = await self.http.claim_key_packages(account_id)
        return self.engine.judge_claims(account_id, claims.claims, now_ms())

    async def publish_key_packages(self) -> None:
        """Upload what is on disk and not known to be at the server. Repeats do no harm."""
        while waiting := self.engine.unpublished_key_packages[:KEY_PACKAGES_PER_UPLOAD_MAX]:
            one_time = [encode_message(own.bundle.key_package) for own in waiting if not own.is_last_resort]
            last_resort = next((encode_message(own.bundle.key_package) for own in waiting if own.is_last_resort), None)
            await self.http.upload_key_packages(UploadKeyPackages(one_time, last_resort))
            references = [own.bundle.reference for own in waiting]
            await self.perform(lambda: self.engine.published(references, now_ms()))  # noqa: B023  # awaited here

    async def fill_key_packages(self) -> None:
        """Ask the server how many it has, and bring them to the target."""
        count = await self.http.key_package_count()
        await self._process([KeyPackages(count.one_time_left)])
        await self.publish_key_packages()

    async def _perform(self, make: Callable[[], Draft]) -> Draft:
        async with self._steps:
            if self._fault is not None:
                raise self._fault
            draft = make()
            await self._see_through(draft)
            return draft

    async def _see_through(self, draft: Draft) -> None:
        if draft.writes:
            await asyncio.to_thread(self.store.apply, draft.writes)
            self._erase_soon()
        draft.adopt()
        if self._stream is not None and draft.frames:
            await self._stream.send(draft.frames)
        for event in draft.events:
            self._tell(event)

    def _tell(self, event: Event) -> None:
        for listener in self._listeners:
            listener.put_nowait(event)
        if isinstance(event, ChangeDone | ChangeFailed):
            settled = self._changes.get(event.change_id)
            if settled is not None and not settled.done():
                if isinstance(event, ChangeDone):
                    settled.set_result(None)
                else:
                    settled.set_exception(ClientError(f"the change was refused: {event.reason}"))

    async def _stay_connected(self) -> None:
        backoff = Backoff(longest_s=RECONNECT_LONGEST_S)
        while not self._stopping:
            self._stream = Stream(self.http, backoff)
            try:
                async with aclosing(self._stream.events()) as events:
                    async for event in events:
                        await self._happened(event)
            except (ClientError, LogGap) as error:
                self._troubles += 1
                self._tell(Offline(str(error)))
            finally:
                self.is_connected = False
                await self._stream.close()
            if not self._stopping:
                await asyncio.sleep(backoff.delay_s(max(1, self._troubles), 1.0))

    async def _happened(self, event: StreamEvent) -> None:
        match event:
            case Connected():
                self.is_connected = True
                await self.perform(lambda: self.engine.connected(now_ms()))
            case Received(frames):
                await self._process(frames)
                self._publish_soon()
                busy = next((f for f in frames if isinstance(f, Refused) and f.code in RETRY_SOON), None)
                if busy is not None:
                    raise TransportError(f"the server refuses for now: {busy.detail}")
                self._troubles = 0
            case Disconnected(error):
                self.is_connected = False
                self._tell(Offline(str(error)))
            case _:
                assert_never(event)

    async def _process(self, incoming: Sequence[ServerFrame]) -> None:
        fresh: frozenset[bytes] = frozenset()
        while incoming:
            received, missing = await _uncancelled(self._receive(incoming, fresh))
            incoming, fresh = received, missing
            await self.learn_accounts(sorted(missing))

    async def _receive(
        self, incoming: Sequence[ServerFrame], fresh: frozenset[bytes]
    ) -> tuple[Sequence[ServerFrame], frozenset[bytes]]:
        async with self._steps:
            draft, rest, missing = self.engine.receive(incoming, now_ms(), fresh)
            await self._see_through(draft)
            return rest, missing

    def _ended(self, connection: asyncio.Task[None]) -> None:
        """The connection's task ends with `stop`, or by a fault of ours: then nobody may wait for it in silence."""
        if connection.cancelled() or connection.exception() is None:
            return
        log.error("the client stopped because of an internal error", exc_info=connection.exception())
        self._give_up(ClientError("the client stopped because of an internal error: close it and open it again"))

    def _give_up(self, fault: ClientError) -> None:
        """Nothing comes any more: say so to everybody who waits, now and later."""
        self._fault = self._fault or fault
        self._tell(Alert(None, str(self._fault)))
        for settled in self._changes.values():
            if not settled.done():
                settled.set_exception(self._fault)

    def _erase_soon(self) -> None:
        self._deleted = True
        if self._erasing is None or self._erasing.done():
            self._erasing = asyncio.create_task(self._erase())

    async def _erase(self) -> None:
        """Take the copies of deleted keys off the disk too; once a second, as each time costs a write of the disk."""
        while self._deleted:
            await asyncio.sleep(ERASE_S)
            self._deleted = False
            try:
                await asyncio.to_thread(self.store.erase_deleted)
            except StoreError as error:
                self._tell(Alert(None, f"deleted keys are still on disk: {error}"))

    def _publish_soon(self) -> None:
        if self.engine.unpublished_key_packages and (self._publishing is None or self._publishing.done()):
            self._publishing = asyncio.create_task(self._publish())

    async def _publish(self) -> None:
        try:
            await self.publish_key_packages()
        except (TransportError, ServerError, StoreError) as error:
            self._tell(Alert(None, f"key packages are not uploaded yet: {error}"))


def _cursor_key(consumer: str, chat_id: bytes) -> bytes:
    return chat_id + consumer.encode()


def now_ms() -> int:
    """The clock of the whole client: Unix milliseconds."""
    return time.time_ns() // 1_000_000


async def _uncancelled(step: Coroutine[Any, Any, T]) -> T:
    """Run a step to its end even if the caller is cancelled: memory and disk must not part."""
    return await asyncio.shield(asyncio.ensure_future(step))
