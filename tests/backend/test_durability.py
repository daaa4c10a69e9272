"""kill -9, SIGTERM, a database that goes away: what was acknowledged stays, and every request gets an answer."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal

import asyncpg
import pytest
from websockets.exceptions import ConnectionClosed

from backend.operator import OperatorError, serve
from protocol import frames
from protocol.codes import Code
from tests.backend.people import WAIT_S, Device, StreamClient, people, rows, send_request
from tests.conftest import Server, run_in_thread

ANSWERED = 60
"""What each sender waits for before the server is killed."""


async def _send_until_it_dies(
    device: Device, chat: bytes, sent: list[frames.Send], stream: StreamClient, answered: asyncio.Event
) -> None:
    try:
        for batches in itertools.count(1):
            batch = [send_request(chat, 1) for _ in range(20)]
            sent.extend(batch)
            await stream.send(*batch)
            await stream.until_accepted(batch[-1].message_id)
            if batches * len(batch) >= ANSWERED:
                answered.set()
    except ConnectionClosed:
        await stream.closed()


async def test_r01_nothing_acknowledged_is_lost_by_kill_9(server: Server) -> None:
    async with people(server, 3) as devices:
        chat = await devices[0].create_chat()
        await devices[0].commit(chat, 0, added=devices[1:])
        sent: list[frames.Send] = []
        accepted: dict[bytes, int] = {}
        for _ in range(3):
            streams = []
            async with devices[0].stream() as first, devices[1].stream() as second:
                streams = [first, second]
                answered = [asyncio.Event() for _ in streams]
                tasks = [
                    asyncio.create_task(_send_until_it_dies(device, chat, sent, stream, event))
                    for device, stream, event in zip(devices[:2], streams, answered, strict=True)
                ]
                async with asyncio.timeout(WAIT_S):
                    await asyncio.gather(*(event.wait() for event in answered))
                await asyncio.to_thread(server.kill9)
                await asyncio.gather(*tasks)
            for stream in streams:
                accepted |= {f.message_id: f.position for f in stream.received if isinstance(f, frames.Accepted)}
            await asyncio.to_thread(server.start)
        assert len(accepted) >= 3 * 2 * ANSWERED
        async with devices[2].stream() as stream:
            await stream.until(frames.CaughtUp)
            log = {f.message_id: f.position for f in stream.received if isinstance(f, frames.Message)}
            positions = stream.positions(chat)
        assert positions == list(range(2, 2 + len(positions)))
        assert {message_id: log.get(message_id) for message_id in accepted} == accepted
        # What was sent and not acknowledged: a resend answers with its place, and nothing is there twice.
        async with devices[0].stream() as stream:
            for request in sent:
                if request.message_id not in accepted:
                    answer = await stream.ask(request)
                    assert isinstance(answer, frames.Accepted)
                    assert log.get(request.message_id, answer.position) == answer.position
        (count,) = (await rows(server, "SELECT count(*), count(DISTINCT message_id) FROM messages"))[0:1]
        assert count[0] == count[1] == len(sent) + 1


async def test_sigterm_answers_what_was_taken_and_closes_with_1012(server: Server) -> None:
    async with people(server, 3) as devices:
        chat = await devices[0].create_chat()
        await devices[0].commit(chat, 0, added=devices[1:])
        async with devices[0].stream() as here, devices[1].stream() as there, devices[2].stream() as idle:
            for stream in (here, there, idle):
                await stream.until(frames.CaughtUp)
            requests = [send_request(chat, 1) for _ in range(900)]
            await here.send(*requests)
            await here.until(frames.Accepted)  # the whole message was taken
            server.signal(signal.SIGTERM)
            codes = await asyncio.gather(here.closed(), there.closed(), idle.closed())
            assert codes == [1012, 1012, 1012]
            assert await asyncio.to_thread(server.wait) == 0
        answered = {f.message_id for f in here.received if isinstance(f, frames.Accepted)}
        assert answered == {request.message_id for request in requests}
        (count,) = await rows(server, "SELECT count(*) FROM messages")
        assert count[0] == 901
        log = server.log_path.read_text()
        assert "server.stopped" in log
        assert "server.drain_timeout" not in log


async def test_sigterm_is_not_held_up_by_a_peer_that_reads_nothing(server: Server) -> None:
    async with people(server, 2) as (alice, slow):
        chat = await alice.create_chat()
        await alice.commit(chat, 0, added=[slow])
        async with slow.stream() as lazy, alice.stream() as here:
            await lazy.until(frames.CaughtUp)
            lazy.socket.transport.pause_reading()
            for _ in range(10):
                await here.send(*(send_request(chat, 1, ciphertext=os.urandom(200_000)) for _ in range(10)))
            await here.until(frames.Accepted, lambda answer: answer.position == 101)
            server.signal(signal.SIGTERM)
            status = await asyncio.to_thread(server.wait, server.settings.stop_timeout_s * 2.5)
            assert status == 0
            lazy.socket.transport.abort()


async def test_a_database_that_goes_away_refuses_and_comes_back(server: Server) -> None:
    async with people(server, 1) as (alice,), alice.stream() as stream:
        chat = await alice.create_chat()
        assert isinstance(await stream.ask(send_request(chat, 0)), frames.Accepted)
        admin = await asyncpg.connect(server.settings.database_url)
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await admin.close()
        request = send_request(chat, 0)
        answer = await stream.ask(request)
        if isinstance(answer, frames.Refused):
            assert answer.code is Code.UNAVAILABLE
            answer = await stream.ask(request)
        assert answer == frames.Accepted(request.message_id, chat, 2)
        assert (await alice.request("GET", "/health/ready"))[0] == 200
        assert await stream.until_position(chat, 2) == [1, 2]


async def test_readiness_tells_of_missing_migrations(server: Server) -> None:
    async with people(server, 1) as (alice,):
        await rows(server, "DELETE FROM migration WHERE name = (SELECT max(name) FROM migration)")
        status, headers, body = await alice.request("GET", "/health/ready")
        assert (status, headers["Content-Type"]) == (503, "application/problem+json")
        assert b"1 migrations have not run" in body
        assert (await alice.request("GET", "/health/live"))[0] == 200


def test_a_second_server_on_one_database_does_not_start(server: Server, unused_port: int) -> None:
    second = Server(server.log_path.parent, str(server.settings.database_url))
    second.log_path = server.log_path.with_name("second.log")
    second.settings = type(second.settings)(
        data_folder=server.settings.data_folder, database_url=server.settings.database_url, port=unused_port
    )
    with pytest.raises(AssertionError, match="another Sealdesk server writes to this database"):
        second.start()
    second.process = None


def test_a_port_in_use_is_said_in_one_line(server: Server) -> None:
    with pytest.raises(OperatorError, match="cannot listen on 127"):
        run_in_thread(lambda: serve(server.settings, lambda: None))
