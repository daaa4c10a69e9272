"""The stream over a real socket: batches, renewal, death of the server, back-pressure, a clean close."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

import msgspec
import pytest
from aiohttp import web

from client_lib.errors import ServerError, TransportError
from client_lib.transport import Backoff, Connected, Disconnected, HttpTransport, Received, Stream, StreamEvent
from client_lib.transport import stream as stream_module
from protocol import limits
from protocol.codes import Code
from protocol.frames import Ack, CaughtUp, ClientFrame, KeyPackages, Problem, Send
from tests.client_lib.transport.server import CHAT, LOGIN, SmallServer, problem

FAST = Backoff(first_s=0.02, longest_s=0.05)
CAUGHT_UP = Received((CaughtUp(),))


class Running:
    """A stream whose events are collected as they come."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.events: asyncio.Queue[StreamEvent] = asyncio.Queue()
        self.task = asyncio.create_task(self._collect())

    async def _collect(self) -> None:
        async with aclosing(self.stream.events()) as events:
            async for event in events:
                await self.events.put(event)

    async def next(self) -> StreamEvent:
        return await asyncio.wait_for(self.events.get(), 10)

    async def until(self, kind: type[StreamEvent]) -> list[StreamEvent]:
        """Every event up to the first of a kind, that one included."""
        seen = [await self.next()]
        while not isinstance(seen[-1], kind):
            seen.append(await self.next())
        return seen


@asynccontextmanager
async def running(server: SmallServer) -> AsyncIterator[Running]:
    async with HttpTransport(server.url, LOGIN) as http:
        run = Running(Stream(http, FAST))
        try:
            yield run
        finally:
            await run.stream.close()
            await asyncio.wait_for(run.task, 10)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # the server under test has no event to wait for
            await asyncio.sleep(0.005)


def _ack(position: int) -> Ack:
    return Ack(CHAT, position)


async def test_frames_go_both_ways() -> None:
    async with SmallServer().running() as server, running(server) as run:
        assert await run.next() == Connected()
        assert await run.next() == CAUGHT_UP
        await server.push([KeyPackages(3), KeyPackages(2)])
        assert await run.next() == Received((KeyPackages(3), KeyPackages(2)))
        frames: list[ClientFrame] = [_ack(1), Send(b"m" * 16, CHAT, b"x" * 1000)]
        await run.stream.send(frames)
        await _until(lambda: server.received == frames)
        assert server.batches == [2]


async def test_what_waits_is_joined_into_one_message_in_order() -> None:
    async with SmallServer().running() as server, running(server) as run:
        await run.next()
        for position in range(1, 101):
            await run.stream.send([_ack(position)])
        await _until(lambda: len(server.received) == 100)
        assert server.received == [_ack(position) for position in range(1, 101)]
        assert len(server.batches) < 50


async def test_a_batch_stays_within_the_servers_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STREAM_BYTES_MAX", 10_000)
    async with SmallServer().running() as server, running(server) as run:
        await run.next()
        frames = [Send(bytes([number]) * 16, CHAT, bytes(3_000)) for number in range(10)]
        await run.stream.send(frames)
        await _until(lambda: len(server.received) == 10)
        assert server.received == frames
        assert max(server.batches) == 3


async def test_a_batch_has_no_more_frames_than_allowed() -> None:
    async with SmallServer().running() as server, running(server) as run:
        await run.next()
        frames = [_ack(position) for position in range(1, 2 * limits.STREAM_FRAMES_MAX + 1)]
        await run.stream.send(frames)
        await _until(lambda: len(server.received) == len(frames))
        assert server.received == frames
        assert max(server.batches) == limits.STREAM_FRAMES_MAX


@pytest.mark.parametrize("count", [1, 15, 16, 1000])
def test_a_batch_is_a_msgpack_array(count: int) -> None:
    encoded = stream_module._array_head(count) + msgspec.msgpack.encode(1) * count
    assert msgspec.msgpack.decode(encoded) == [1] * count


async def test_the_stream_comes_back_after_the_server_died() -> None:
    async with SmallServer().running() as server, running(server) as run:
        await run.until(Received)
        await server.stop()
        gone = await run.next()
        assert isinstance(gone, Disconnected)
        assert "does not answer" in str(gone.error)
        assert 0 < gone.retry_in_s <= 0.05
        await asyncio.sleep(0.1)
        await server.start()
        seen = await run.until(Connected)
        # While the server was away there were more tries than one, and each was reported.
        assert len([event for event in seen if isinstance(event, Disconnected)]) >= 2
        assert await run.next() == CAUGHT_UP
        await run.stream.send([_ack(1)])
        await _until(lambda: server.received == [_ack(1)])


async def test_the_waits_grow_while_the_server_is_away() -> None:
    server = SmallServer()
    await server.start()
    async with HttpTransport(server.url, LOGIN) as http:
        stream = Stream(http, Backoff(first_s=0.001, longest_s=10))
        await server.stop()
        waits: list[float] = []
        async with aclosing(stream.events()) as events:
            async for event in events:
                assert isinstance(event, Disconnected)
                waits.append(event.retry_in_s)
                if len(waits) == 6:
                    break
    # Half of each wait is fixed and they double, so every second one is longer, whatever the jitter.
    assert all(later > earlier for earlier, later in zip(waits, waits[2:], strict=False))


async def test_frames_for_a_connection_that_is_gone_are_dropped() -> None:
    async with SmallServer().running() as server, running(server) as run:
        await run.until(Received)
        await server.stop()
        await run.next()
        await asyncio.wait_for(run.stream.send([_ack(1)]), 1)
        await server.start()
        await run.until(Connected)
        await run.stream.send([_ack(2)])
        await _until(lambda: server.received == [_ack(2)])


async def test_a_session_that_ran_out_is_renewed_at_the_upgrade() -> None:
    async with SmallServer().running() as server, running(server) as run:
        await run.until(Received)
        server.revoke_all()
        await server.sockets[-1].close(code=1012)
        await run.until(Connected)
        assert server.sessions_opened == 2


async def test_a_device_that_was_removed_ends_the_stream() -> None:
    async def refuse(_request: web.Request) -> web.Response:
        return problem(Code.UNAUTHENTICATED, 401, "this device was removed")

    async with SmallServer({"GET /v1/stream": refuse}).running() as server:
        async with HttpTransport(server.url, LOGIN) as http:
            with pytest.raises(ServerError, match="this device was removed"):
                await anext(Stream(http, FAST).events())
        assert server.sessions_opened == 2


async def test_a_refusal_without_problem_details_renews_too() -> None:
    answers = iter([web.Response(status=401)])

    async def refuse(_request: web.Request) -> web.Response:
        return next(answers, problem(Code.FORBIDDEN, 403, "not here"))

    async with SmallServer({"GET /v1/stream": refuse}).running() as server:
        async with HttpTransport(server.url, LOGIN) as http:
            with pytest.raises(ServerError, match="not here"):
                await anext(Stream(http, FAST).events())
        assert server.sessions_opened == 2


async def test_a_busy_server_is_tried_again() -> None:
    answers = iter([problem(Code.UNAVAILABLE, 503, "starting"), web.Response(status=502)])

    async def busy(request: web.Request) -> web.StreamResponse:
        answer = next(answers, None)
        return answer if answer is not None else await server._stream(request)

    async with SmallServer({"GET /v1/stream": busy}).running() as server, running(server) as run:
        seen = await run.until(Connected)
        assert [type(event.error) for event in seen if isinstance(event, Disconnected)] == [ServerError, TransportError]


async def test_a_url_without_a_stream_ends_it() -> None:
    async def page(_request: web.Request) -> web.Response:
        return web.Response(status=404, text="<html>")

    async with SmallServer({"GET /v1/stream": page}).running() as server, HttpTransport(server.url, LOGIN) as http:
        with pytest.raises(TransportError, match="check the URL") as failed:
            await anext(Stream(http, FAST).events())
    assert not failed.value.retryable


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x91\x81\xa1t\xa7unknown", b"\x80", "text"])
async def test_a_message_that_is_not_understood_breaks_the_connection_and_says_so(data: bytes | str) -> None:
    async with SmallServer().running() as server, running(server) as run:
        await run.until(Received)
        socket = server.sockets[-1]
        await (socket.send_str(data) if isinstance(data, str) else socket.send_bytes(data))
        broken = await run.next()
        assert isinstance(broken, Disconnected)
        assert "not understood" in str(broken.error)
        assert await run.next() == Connected()


async def test_the_servers_last_words_are_heard() -> None:
    async with SmallServer().running() as server, running(server) as run:
        await run.until(Received)
        await server.push([Problem(Code.MALFORMED, "no such frame")])
        await server.sockets[-1].close(code=1008)
        assert await run.next() == Received((Problem(Code.MALFORMED, "no such frame"),))
        assert isinstance(await run.next(), Disconnected)


async def test_close_sends_what_waits_and_ends_the_events() -> None:
    async with SmallServer().running() as server:
        async with running(server) as run:
            await run.until(Received)
            await run.stream.send([_ack(position) for position in range(1, 2001)])
        assert len(server.received) == 2000
        assert run.task.done()
        assert run.events.empty()


async def test_close_ends_a_wait_and_a_connection_attempt() -> None:
    async with SmallServer().running() as server, HttpTransport(server.url, LOGIN) as http:
        run = Running(Stream(http, Backoff(first_s=600, longest_s=600)))
        await run.until(Received)
        await server.stop()
        await run.until(Disconnected)
        await run.stream.close()
        await asyncio.wait_for(run.task, 1)

    hanging = asyncio.Event()

    async def hang(_request: web.Request) -> web.Response:
        hanging.set()
        await asyncio.sleep(60)
        return web.Response()

    async with SmallServer({"GET /v1/stream": hang}).running() as server, HttpTransport(server.url, LOGIN) as http:
        run = Running(Stream(http, FAST))
        await asyncio.wait_for(hanging.wait(), 5)
        await run.stream.close()
        await asyncio.wait_for(run.task, 1)


async def test_a_cancelled_reader_closes_the_connection() -> None:
    async with SmallServer().running() as server, HttpTransport(server.url, LOGIN) as http:
        run = Running(Stream(http, FAST))
        await run.until(Received)
        run.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run.task
        await _until(lambda: server.sockets[-1].closed)


async def test_r16_a_full_queue_holds_the_sender_back_until_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "WAITING_BYTES_MAX", 200_000)
    reading = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        await reading.wait()
        async for message in socket:
            server.received += msgspec.msgpack.decode(message.data, type=list[ClientFrame])
        return socket

    async with SmallServer({"GET /v1/stream": slow}).running() as server, running(server) as run:
        await run.next()

        async def send_much() -> None:
            for number in range(200):
                await run.stream.send([Send(number.to_bytes(16), CHAT, bytes(100_000))])

        sender = asyncio.create_task(send_much())
        await asyncio.sleep(0.5)
        assert not sender.done()
        assert run.stream._waiting_bytes <= 400_000
        reading.set()
        await asyncio.wait_for(sender, 20)
        await _until(lambda: len(server.received) == 200)
        assert [frame.message_id for frame in server.received if isinstance(frame, Send)] == [
            number.to_bytes(16) for number in range(200)
        ]


async def test_a_sender_that_waits_is_released_when_the_connection_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "WAITING_BYTES_MAX", 1)

    async def first_deaf(request: web.Request) -> web.StreamResponse:
        if server.sockets:
            return await server._stream(request)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        server.sockets.append(socket)
        await asyncio.sleep(60)
        return socket

    async with SmallServer({"GET /v1/stream": first_deaf}).running() as server, running(server) as run:
        await run.next()

        async def send_much() -> None:
            for number in range(200):
                await run.stream.send([Send(number.to_bytes(16), CHAT, bytes(200_000))])

        sender = asyncio.create_task(send_much())
        await asyncio.sleep(0.3)
        assert not sender.done()
        waited = [sent.message_id for sent in map(_decoded, run.stream._waiting) if isinstance(sent, Send)]
        assert waited
        request = server.sockets[0]._req
        assert request is not None
        assert request.transport is not None
        request.transport.abort()
        await asyncio.wait_for(sender, 10)
        await run.until(Connected)
        await run.stream.send([_ack(1)])
        await _until(lambda: _ack(1) in server.received)
        # What waited for the old connection is not sent on the new one: the engine sends it again, in its order.
        assert not {frame.message_id for frame in server.received if isinstance(frame, Send)} & set(waited)


def _decoded(encoded: bytes) -> ClientFrame:
    (frame,) = msgspec.msgpack.decode(b"\x91" + encoded, type=list[ClientFrame])
    return frame


async def test_a_server_that_answers_the_upgrade_wrongly_is_tried_again() -> None:
    answers = iter([web.Response(status=101, headers={"Upgrade": "websocket", "Connection": "upgrade"})])

    async def wrong(request: web.Request) -> web.StreamResponse:
        answer = next(answers, None)
        return answer if answer is not None else await server._stream(request)

    async with SmallServer({"GET /v1/stream": wrong}).running() as server, running(server) as run:
        (failed, connected) = await run.until(Connected)
        assert isinstance(failed, Disconnected)
        assert "has no stream" in str(failed.error)
        assert connected == Connected()
