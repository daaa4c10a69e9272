"""The stream: one WebSocket that carries frames both ways, and comes back by itself when it breaks.

Owns connecting with the session's token, keep-alive, joining what waits into one message, bounded queues and the
waiting between tries. Does not own what was sent: frames that a broken connection had not taken are dropped, because
after each `Connected` the engine sends again whatever has no answer, and the server knows repeats by their ids.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Final

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, WebSocketException

from client_lib.errors import ServerError, TransportError
from client_lib.transport.backoff import Backoff
from client_lib.transport.http import HttpTransport, refusal, unreachable, untrusted
from protocol import limits
from protocol.codes import Code
from protocol.frames import ClientFrame, ServerFrame, ServerFrames

OPEN_TIMEOUT_S: Final = 10.0
PING_INTERVAL_S: Final = 20.0
"""A connection that answers no ping within this time is given up."""
CLOSE_TIMEOUT_S: Final = 5.0
STABLE_S: Final = 10.0
"""A connection that held this long was a success: the next wait is a first one again."""
WAITING_BYTES_MAX: Final = limits.STREAM_BYTES_MAX
RECEIVED_MESSAGES_MAX: Final = 16

_JITTER: Final = random.SystemRandom()
_ARRAY_HEAD_BYTES: Final = 3


@dataclass(frozen=True, slots=True)
class Connected:
    """A new connection. Send again what has no answer."""


@dataclass(frozen=True, slots=True)
class Received:
    """Frames in the order in which the server sent them."""

    frames: tuple[ServerFrame, ...]


@dataclass(frozen=True, slots=True)
class Disconnected:
    """No connection now, and why; the next try comes after `retry_in_s` seconds."""

    error: ServerError | TransportError
    retry_in_s: float


StreamEvent = Connected | Received | Disconnected


class Stream:
    """One device's stream. `events` runs it; `send` may be called from any task of the same loop."""

    def __init__(self, http: HttpTransport, backoff: Backoff | None = None) -> None:
        self._http = http
        self._backoff = backoff or Backoff()
        self._decoder = msgspec.msgpack.Decoder(ServerFrames)
        self._encoder = msgspec.msgpack.Encoder()
        self._closing = asyncio.Event()
        self._opening: asyncio.Task[ClientConnection] | None = None
        self._socket: ClientConnection | None = None
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._changed = asyncio.Condition()
        self._sending = asyncio.Lock()

    async def events(self) -> AsyncGenerator[StreamEvent, None]:
        """Connect, and give everything that happens, until `close`. Reads no faster than it is asked.

        Raises ServerError if the server refuses this device, TransportError if a retry cannot help (TLS, wrong URL).
        """
        loop = asyncio.get_running_loop()
        failures = 0
        while not self._closing.is_set():
            connected_at = None
            try:
                socket = await self._open()
                if socket is None:
                    return
                connected_at = loop.time()
                async with aclosing(self._run(socket)) as run:
                    async for event in run:
                        yield event
                error: ServerError | TransportError = unreachable(self._http.address)
            except (ServerError, TransportError) as failure:
                if not _is_passing(failure):
                    raise
                error = failure
            if self._closing.is_set():
                return
            was_stable = connected_at is not None and loop.time() - connected_at > STABLE_S
            failures = 1 if was_stable else failures + 1
            delay_s = self._backoff.delay_s(failures, _JITTER.random())
            yield Disconnected(error, delay_s)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), delay_s)

    async def send(self, frames: Sequence[ClientFrame]) -> None:
        """Queue frames for the present connection; waits while 16 MiB wait already.

        Without a connection, or when it breaks meanwhile, they are dropped: see the module's text.
        """
        encoded = [self._encoder.encode(frame) for frame in frames]
        # One caller at a time, so that frames leave in the order of the calls.
        async with self._sending, self._changed:
            socket = self._socket
            # A connection that breaks leaves nothing waiting, so this ends then too.
            await self._changed.wait_for(lambda: self._waiting_bytes < WAITING_BYTES_MAX)
            if socket is not None and self._socket is socket:
                self._waiting.extend(encoded)
                self._waiting_bytes += sum(map(len, encoded))
                self._changed.notify_all()

    async def close(self) -> None:
        """Send what waits, close the connection and end `events`. Takes 10 seconds at most."""
        self._closing.set()
        if self._opening is not None:
            self._opening.cancel()
        socket = self._socket
        if socket is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S), self._changed:
                await self._changed.wait_for(lambda: self._socket is not socket or not self._waiting)
        await socket.close()

    async def _open(self) -> ClientConnection | None:
        """Connect; with a renewed session if the server says 401. None if `close` was called meanwhile."""
        token = await self._http.token()
        try:
            return await self._connect(token)
        except ServerError as error:
            if error.code is not Code.UNAUTHENTICATED:
                raise
        return await self._connect(await self._http.renew_token(token))

    async def _connect(self, token: str) -> ClientConnection | None:
        address = self._http.address
        self._opening = asyncio.ensure_future(_connection(self._http, token))
        try:
            return await self._opening
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closing.is_set() and task is not None and not task.cancelling():
                return None
            raise
        except InvalidStatus as error:
            raise refusal(address, error.response.status_code, bytes(error.response.body or b"")) from error
        except ssl.SSLCertVerificationError as error:
            raise untrusted(address) from error
        except InvalidHandshake as error:
            raise TransportError(f"{address.url} has no stream: check the URL and what is before it") from error
        except (WebSocketException, OSError, EOFError) as error:
            raise unreachable(address) from error
        finally:
            self._opening = None

    async def _run(self, socket: ClientConnection) -> AsyncGenerator[StreamEvent, None]:
        self._socket = socket
        pump = asyncio.create_task(self._pump(socket))
        try:
            yield Connected()
            # Ends, without an error, when the connection does.
            with suppress(ConnectionClosed):
                async for data in socket:
                    yield Received(self._decoded(data))
        finally:
            pump.cancel()
            await asyncio.wait([pump])
            async with self._changed:
                self._socket = None
                self._waiting.clear()
                self._waiting_bytes = 0
                self._changed.notify_all()
            await socket.close()
            if not pump.cancelled():
                pump.result()

    def _decoded(self, data: str | bytes) -> tuple[ServerFrame, ...]:
        try:
            return tuple(self._decoder.decode(data if isinstance(data, bytes) else data.encode()))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise TransportError("the server sent a frame that is not understood: update Sealdesk") from error

    async def _pump(self, socket: ClientConnection) -> None:
        """Send what waits, as much at a time as one message takes, until the connection ends."""
        with suppress(ConnectionClosed):
            while True:
                async with self._changed:
                    await self._changed.wait_for(lambda: bool(self._waiting))
                    frames = list(self._waiting)
                batch = _batch(frames)
                await socket.send(_array_head(len(batch)) + b"".join(batch))
                async with self._changed:
                    # Only now: `close` waits until nothing waits, and may close only what is sent.
                    for _ in batch:
                        self._waiting_bytes -= len(self._waiting.popleft())
                    self._changed.notify_all()


async def _connection(http: HttpTransport, token: str) -> ClientConnection:
    return await connect(
        http.address.stream_url,
        additional_headers={"Authorization": f"Bearer {token}"},
        ssl=http.tls,
        proxy=None,
        # Ciphertext does not shrink, and what is beside it should not be measurable by it.
        compression=None,
        max_size=limits.STREAM_BYTES_MAX,
        max_queue=RECEIVED_MESSAGES_MAX,
        open_timeout=OPEN_TIMEOUT_S,
        ping_interval=PING_INTERVAL_S,
        ping_timeout=PING_INTERVAL_S,
        close_timeout=CLOSE_TIMEOUT_S,
    )


def _is_passing(error: ServerError | TransportError) -> bool:
    """Whether the same may succeed later: the server is starting, busy or gone, not refusing us."""
    if isinstance(error, TransportError):
        return error.retryable
    return error.code in (Code.UNAVAILABLE, Code.INTERNAL, Code.TOO_MANY)


def _batch(frames: Sequence[bytes]) -> Sequence[bytes]:
    """As many of the first frames as one message may hold; at least one."""
    size, count = _ARRAY_HEAD_BYTES, 0
    for frame in frames[: limits.STREAM_FRAMES_MAX]:
        size += len(frame)
        if count and size > limits.STREAM_BYTES_MAX:
            break
        count += 1
    return frames[:count]


def _array_head(count: int) -> bytes:
    """The head of a msgpack array: its frames are encoded one by one, so that a batch can be cut to size."""
    return bytes([0x90 | count]) if count < 16 else b"\xdc" + count.to_bytes(2)
