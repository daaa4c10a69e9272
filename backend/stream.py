"""One device's stream: a WebSocket with a reader task and a sender task.

The reader decodes what the device sends and hands it to the writer. The sender reads from the database what the device
lacks, page by page, and sends; once it has caught up with a chat, entries come live from the hub. One number per chat,
`sent`, joins the two: the position up to which entries are queued. An entry is queued only if it is the next one, so
there is no gap and no repeat on a connection, whatever order the hints come in; if it is not the next one, or the
buffer is full, the chat is marked and the sender reads it from the database when there is room. So a slow device costs
a bounded buffer and nobody else's time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, assert_never

import msgspec

from backend import limits
from backend.acknowledgements import Acknowledgements
from backend.errors import DATABASE_AWAY, UNDECODABLE, ProblemError
from backend.hub import Hub, encode_frames
from backend.logs import event
from backend.ordering import Answer, Request, check, refusal
from backend.outgoing import Outgoing
from backend.store import chats, inbox, key_packages, sessions
from backend.store.sessions import Caller
from backend.writer import Writer
from protocol.codes import Code
from protocol.frames import (
    Ack,
    CaughtUp,
    ClientFrame,
    ClientFrames,
    Commit,
    CreateChat,
    InboxAck,
    KeyPackages,
    Problem,
    Send,
)
from protocol.limits import DETAIL_CHARACTERS_MAX

logger = logging.getLogger(__name__)

_decoder = msgspec.msgpack.Decoder(ClientFrames)
_encoder = msgspec.msgpack.Encoder()

Receive = Callable[[], Awaitable[Any]]
SendEvent = Callable[[Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Relay:
    """What every stream of a process shares."""

    pool: Any
    hub: Hub
    writer: Writer
    acknowledgements: Acknowledgements


@dataclass(slots=True)
class _Cursor:
    """A chat on this connection.

    `sent`: queued up to here. `stale`: the next entries come from the database, they are waiting to be read or being
    read. `until`: the last entry of a device that is no longer a member.
    """

    sent: int
    stale: bool
    until: int | None = None


class _Closed(Exception):
    """The connection is to end with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Stream:
    """The stream of one device. `run` it once; the other methods are the hub's hints."""

    def __init__(
        self, relay: Relay, caller: Caller, receive: Receive, send: SendEvent, abort: Callable[[], None]
    ) -> None:
        self.device_id = caller.device_id
        self.token_hash = caller.token_hash
        self._account_id = caller.account_id
        self._expires_at_s = caller.expires_at_s
        self._relay = relay
        self._receive = receive
        self._send = send
        self._abort = abort
        self._outgoing = Outgoing()
        self._cursors: dict[bytes, _Cursor] = {}
        self._stale: dict[bytes, None] = {}  # chats to read, oldest first
        self._membership_changes = 0
        self._inbox_stale = True
        self._items_sent: set[int] = set()
        self._unanswered = 0
        self._unanswered_bytes = 0
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._ending: _Closed | None = None
        self._deaf = False
        self._one_time_left: int | None = None
        self._sender: asyncio.Task[None] | None = None
        self.ended = asyncio.Event()

    async def run(self) -> None:
        """Serve the connection until either side ends it. It is accepted already; this closes it."""
        try:
            await self._serve()
        finally:
            self.ended.set()

    async def _serve(self) -> None:
        self._relay.hub.connect(self)
        reader = asyncio.create_task(self._read(), name="stream-reader")
        sender = self._sender = asyncio.create_task(self._write(), name="stream-sender")
        code, reason = 1000, ""
        try:
            async with asyncio.timeout(max(0.0, self._expires_at_s - time.time())):
                await asyncio.wait({reader, sender}, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            code, reason = 1008, "the session has expired"
        finally:
            self._relay.hub.end_loading(self)
            self._relay.hub.disconnect(self, tuple(self._cursors))
            for task in (reader, sender):
                task.cancel()
            ended = await asyncio.gather(reader, sender, return_exceptions=True)
        if ended[0] is None:  # the reader saw the other side go
            return
        if self._ending is not None:
            code, reason = self._ending.code, self._ending.reason
        for result in ended:
            if isinstance(result, _Closed):
                code, reason = result.code, result.reason
            elif isinstance(result, DATABASE_AWAY):
                code, reason = 1013, "the database is away; connect again"
            elif isinstance(result, OSError):  # it went while we were sending
                return
            elif isinstance(result, Exception):
                raise result
        await self._end(code, reason)

    async def _end(self, code: int, reason: str) -> None:
        try:
            async with asyncio.timeout(
                limits.STREAM_CLOSE_GRACE_S
            ):  # a peer that reads nothing takes no close frame either
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except TimeoutError:
            self._abort()
        except OSError:
            return

    # Hints from the hub. Each returns at once.

    def push(self, chat_id: bytes, first: int, last: int, encoded: bytes) -> None:
        """Queue entries if they are the next ones and there is room, else remember to read them."""
        cursor = self._cursors.get(chat_id)
        if cursor is None or cursor.until is not None:
            return
        if cursor.stale or cursor.sent + 1 != first or not self._outgoing.has_room:
            self.changed(chat_id)
            return
        self._outgoing.add(encoded, last - first + 1)
        cursor.sent = last
        self._wake.set()

    def changed(self, chat_id: bytes) -> None:
        """Remember to read a chat."""
        cursor = self._cursors.get(chat_id)
        if cursor is not None:
            cursor.stale = True
            self._stale[chat_id] = None
            self._wake.set()

    def joined(self, chat_id: bytes, position: int) -> None:
        """Begin, or begin again, with a chat. Its entries wait until the inbox, with the Welcome, has been read."""
        self._membership_changes += 1
        cursor = self._cursors.setdefault(chat_id, _Cursor(position, stale=True))
        cursor.until = None
        self._relay.hub.subscribe(self, chat_id)
        self.changed(chat_id)

    def left(self, chat_id: bytes, position: int) -> None:
        """Nothing live any more; what is left up to `position` comes from the database."""
        self._membership_changes += 1
        self._relay.hub.unsubscribe(self, chat_id)
        cursor = self._cursors.get(chat_id)
        if cursor is not None:
            cursor.until = position
            self.changed(chat_id)

    def inbox(self) -> None:
        """Remember to read the inbox."""
        self._inbox_stale = True
        self._wake.set()

    def key_packages(self, one_time_left: int) -> None:
        """Remember to say how many one-time key packages are left."""
        self._one_time_left = one_time_left
        self._wake.set()

    def close(self, code: int, reason: str) -> None:
        """End the connection when what is queued is sent, or in a moment if that does not move."""
        if self._ending is None:
            self._ending = _Closed(code, reason)
            self._wake.set()
            if self._sender is not None:
                asyncio.get_running_loop().call_later(limits.STREAM_CLOSE_GRACE_S, self._sender.cancel)

    async def drain(self) -> None:
        """Take no more requests; return when the answers to those that were taken are sent."""
        self._deaf = True
        while self._unanswered:
            self._room.clear()
            self._wake.set()
            await self._room.wait()

    # The reader.

    async def _read(self) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return
            data = message.get("bytes")
            if self._deaf:
                continue  # what is not answered, the device sends again when it has connected again
            try:
                frames = _decoder.decode(data if data is not None else b"")
            except (msgspec.DecodeError, *UNDECODABLE) as error:
                detail = str(error) if data is not None else "frames are binary messages"
                self._refuse(Problem(Code.MALFORMED, detail[:DETAIL_CHARACTERS_MAX]))
                continue
            for frame in frames:
                self._handle(frame)
            while (
                self._unanswered >= limits.STREAM_UNANSWERED_MAX
                or self._unanswered_bytes >= limits.STREAM_UNANSWERED_BYTES_MAX
            ):
                self._room.clear()
                await self._room.wait()

    def _handle(self, frame: ClientFrame) -> None:
        match frame:
            case CreateChat() | Send() | Commit():
                self._submit(frame)
            case Ack(chat_id, position):
                cursor = self._cursors.get(chat_id)
                if cursor is not None:
                    self._relay.acknowledgements.position(chat_id, self.device_id, position)
                    if cursor.until is not None and cursor.sent >= cursor.until and position >= cursor.until:
                        del self._cursors[chat_id]
            case InboxAck(item_id):
                if item_id in self._items_sent:
                    self._relay.acknowledgements.item(self.device_id, item_id)
            case _:
                assert_never(frame)

    def _submit(self, request: Request) -> None:
        size_bytes = 256 if isinstance(request, CreateChat) else len(request.message) + 256
        self._unanswered += 1
        self._unanswered_bytes += size_bytes

        def answered(answer: Answer) -> None:
            self._outgoing.add_answer(_encoder.encode(answer), size_bytes)
            self._wake.set()

        try:
            entry = check(self._account_id, self.device_id, request)
        except ProblemError as error:
            answered(refusal(request, error))
        else:
            self._relay.writer.submit(entry, answered)

    def _refuse(self, problem: Problem) -> None:
        event(logger, "stream.malformed")
        self._deaf = True
        self._outgoing.add(_encoder.encode(problem), 1)
        self.close(1008, "a frame could not be understood")

    # The sender.

    async def _write(self) -> None:
        await self._require_session()
        await self._load()
        held = await key_packages.count(self._relay.pool, self.device_id, int(time.time()))
        self._outgoing.add(_encoder.encode(KeyPackages(held)), 1)
        caught_up = False
        while True:
            self._wake.clear()
            if self._inbox_stale and self._outgoing.has_room:
                await self._read_inbox()
            elif self._stale and self._outgoing.has_room:
                await self._read_page(next(iter(self._stale)))
            if self._one_time_left is not None:
                self._outgoing.add(_encoder.encode(KeyPackages(self._one_time_left)), 1)
                self._one_time_left = None
            waiting = self._inbox_stale or bool(self._stale)
            if not waiting and not caught_up:
                caught_up = True
                self._outgoing.add(_encoder.encode(CaughtUp()), 1)
            if self._outgoing:
                await self._send_some()
            elif self._ending is not None:
                raise self._ending
            elif not waiting:
                await self._wake.wait()

    async def _send_some(self) -> None:
        data, answers, answered_bytes = self._outgoing.take()
        try:
            async with asyncio.timeout(limits.STREAM_SEND_TIMEOUT_S):
                await self._send({"type": "websocket.send", "bytes": data})
        except TimeoutError:
            event(logger, "stream.slow_reader", level=logging.WARNING, waited_s=limits.STREAM_SEND_TIMEOUT_S)
            raise _Closed(1008, "nothing was read for too long") from None
        self._unanswered -= answers
        self._unanswered_bytes -= answered_bytes
        self._room.set()

    async def _require_session(self) -> None:
        """A session that ended after it was checked at the door and before the hub knew us: nobody closed us."""
        try:
            await sessions.require_open(self._relay.pool, self.token_hash)
        except ProblemError:
            raise _Closed(1008, "the session has ended") from None

    async def _load(self) -> None:
        """Find out where the device stands, while the hub notes what happens meanwhile."""
        while True:
            changes = self._membership_changes
            self._relay.hub.begin_loading(self)
            standings = await chats.standings(self._relay.pool, self.device_id)
            if changes == self._membership_changes:
                break  # else a membership changed while we read: read again
        happened = self._relay.hub.end_loading(self)
        for standing in standings:
            chat_id = standing.chat_id
            stale = standing.head > standing.position or chat_id in happened
            self._cursors[chat_id] = _Cursor(standing.position, stale, standing.removed_at)
            if standing.removed_at is None:
                self._relay.hub.subscribe(self, chat_id)
            if stale:
                self._stale[chat_id] = None

    async def _read_page(self, chat_id: bytes) -> None:
        cursor = self._cursors[chat_id]
        del self._stale[chat_id]  # a hint that comes while we read puts it back
        page = await chats.read(
            self._relay.pool,
            chat_id,
            self.device_id,
            cursor.sent,
            limits.STREAM_PAGE_ENTRIES,
            limits.STREAM_PAGE_BYTES,
        )
        if page:
            self._outgoing.add(encode_frames(page), len(page))
            cursor.sent = page[-1].position
        size_bytes = sum(len(message.message) for message in page)
        if len(page) == limits.STREAM_PAGE_ENTRIES or size_bytes >= limits.STREAM_PAGE_BYTES:
            self._stale[chat_id] = None
        cursor.stale = chat_id in self._stale

    async def _read_inbox(self) -> None:
        self._inbox_stale = False
        items = await inbox.waiting(
            self._relay.pool,
            self.device_id,
            list(self._items_sent),
            limits.STREAM_INBOX_ITEMS,
            limits.STREAM_PAGE_BYTES,
        )
        for item in items:
            self._outgoing.add(_encoder.encode(item), 1)
            self._items_sent.add(item.item_id)
        if len(self._items_sent) > limits.STREAM_SEEN_ITEMS_MAX:
            raise _Closed(1012, "connect again")
        if items:  # there may be more
            self._inbox_stale = True
