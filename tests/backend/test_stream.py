"""The stream: catch-up, live entries, order, acknowledgements, back-pressure, bad input."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from protocol import api, frames, limits
from protocol.codes import Code
from tests.backend.people import (
    COMMIT,
    Device,
    StreamClient,
    commit_request,
    digest,
    people,
    private_message,
    rows,
    send_request,
)
from tests.conftest import Server


async def test_a_conversation_goes_both_ways(shared_server: Server) -> None:
    async with people(shared_server, 2) as (alice, bob), alice.stream() as here, bob.stream() as there:
        create = frames.CreateChat(os.urandom(16), os.urandom(32), "private")
        chat = create.chat_id
        assert await here.ask(create) == frames.Accepted(create.message_id, chat, 0)
        commit = commit_request(chat, 0, added=[bob])
        assert await here.ask(commit) == frames.Accepted(commit.message_id, chat, 1)
        item = await there.until(frames.InboxItem)
        assert (item.chat_id, item.chat_kind, item.position, item.message) == (chat, "private", 1, commit.welcome)
        await there.send(frames.InboxAck(item.item_id))
        send = send_request(chat, 1)
        assert await there.ask(send) == frames.Accepted(send.message_id, chat, 2)
        echo = await there.until(frames.Message)
        seen = await here.until(frames.Message, lambda m: m.position == 2)
        assert echo == seen
        assert (seen.message_id, seen.message) == (send.message_id, send.message)
        assert here.positions(chat) == [1, 2]


async def test_what_waited_comes_first_and_caught_up_once(shared_server: Server) -> None:
    async with people(shared_server, 2) as (alice, bob):
        chat = await alice.create_chat()
        await alice.commit(chat, 0, added=[bob])
        await asyncio.gather(*(alice.send(chat, 1) for _ in range(450)))  # more than two pages
        await bob.publish(3)
        async with bob.stream() as stream:
            await stream.until(frames.CaughtUp)
            kinds = [type(frame) for frame in stream.received]
            assert kinds[0] is frames.KeyPackages
            assert kinds.index(frames.InboxItem) < kinds.index(frames.Message)
            assert stream.positions(chat) == list(range(2, 452))
            assert stream.received[0] == frames.KeyPackages(3)
            await alice.send(chat, 1)
            assert await stream.until_position(chat, 452) == list(range(2, 453))
            assert kinds.count(frames.CaughtUp) == 1


async def test_an_acknowledged_entry_does_not_come_again(shared_server: Server) -> None:
    async with people(shared_server, 2) as (alice, bob):
        chat = await alice.create_chat()
        await alice.commit(chat, 0, added=[bob])
        for _ in range(4):
            await alice.send(chat, 1)
        async with bob.stream() as stream:
            item = await stream.until(frames.InboxItem)
            await stream.until_position(chat, 5)
            await stream.send(frames.InboxAck(item.item_id), frames.Ack(chat, 3))
            await _acknowledged(bob, chat, 3)
        async with bob.stream() as stream:
            await stream.until(frames.CaughtUp)
            assert stream.positions(chat) == [4, 5]
            assert not [f for f in stream.received if isinstance(f, frames.InboxItem)]


async def test_no_gap_and_no_repeat_while_connecting_under_load(shared_server: Server) -> None:
    """Connect again and again while others send: every connection sees each position after its start exactly once."""
    async with people(shared_server, 2) as (alice, bob):
        chat = await alice.create_chat()
        await alice.commit(chat, 0, added=[bob])
        sending = asyncio.create_task(_send_many(alice, chat, 600))
        for _ in range(12):
            async with bob.stream() as stream:
                await stream.until(frames.CaughtUp)
                seen = len(stream.positions(chat))
                positions = await stream.until_position(chat, min(seen + 30, 601))
                assert positions == list(range(2, 2 + len(positions)))
        await sending
        async with bob.stream() as stream:
            assert await stream.until_position(chat, 601) == list(range(2, 602))


async def test_stale_epoch_on_the_stream_names_the_head(shared_server: Server) -> None:
    async with people(shared_server, 2) as (alice, bob), alice.stream() as here, bob.stream() as there:
        chat = await alice.create_chat()
        await alice.commit(chat, 0, added=[bob])
        answers = await asyncio.gather(here.ask(commit_request(chat, 1)), there.ask(commit_request(chat, 1)))
        (won,) = [answer for answer in answers if isinstance(answer, frames.Accepted)]
        (lost,) = [answer for answer in answers if isinstance(answer, frames.Refused)]
        assert (lost.code, lost.head, won.position) == (Code.STALE_EPOCH, 2, 2)


async def test_a_removed_device_gets_its_removal_last(shared_server: Server) -> None:
    async with people(shared_server, 3) as (alice, bob, carol), bob.stream() as stream, carol.stream() as other:
        chat = await alice.create_chat()
        await alice.commit(chat, 0, added=[bob, carol])
        async with alice.stream() as here:
            # In one WebSocket message, so that removal and what follows share a transaction.
            requests = [send_request(chat, 1), commit_request(chat, 1, removed=[bob])]
            requests += [send_request(chat, 2) for _ in range(5)]
            await here.send(*requests)
            await here.until(frames.Accepted, lambda answer: answer.position == 8)
            assert await other.until_position(chat, 8) == list(range(2, 9))
            assert await stream.until_position(chat, 3) == [2, 3]
            await stream.send(frames.Ack(chat, 3))
            await here.ask(send_request(chat, 2))
            assert await bob.call("GET", "/v1/inbox", None, api.Inbox)  # a round trip behind the last entry
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await stream.until(frames.Message)
            assert stream.positions(chat) == [2, 3]
        assert (await bob.call("GET", "/v1/chats", None, api.Chats)).chats == []


async def test_a_device_added_back_while_connected_goes_on(shared_server: Server) -> None:
    async with people(shared_server, 2) as (alice, bob), bob.stream() as stream:
        chat = await alice.create_chat()
        await alice.commit(chat, 0, added=[bob])  # 1
        await alice.commit(chat, 1, removed=[bob])  # 2
        await alice.send(chat, 2)  # 3
        await alice.commit(chat, 2, added=[bob])  # 4
        await alice.send(chat, 3)  # 5
        assert await stream.until_position(chat, 5) == [2, 5]
        items = [frame.position for frame in stream.received if isinstance(frame, frames.InboxItem)]
        assert items == [1, 4]


async def test_a_welcome_comes_before_its_first_message(shared_server: Server) -> None:
    async with people(shared_server, 2) as (alice, bob), bob.stream() as stream, alice.stream() as here:
        await stream.until(frames.CaughtUp)
        for _ in range(10):
            chat = await alice.create_chat()
            await here.send(commit_request(chat, 0, added=[bob]), send_request(chat, 1))
            await stream.until_position(chat, 2)
        order: dict[bytes, list[type[Any]]] = {}
        for frame in stream.received:
            if isinstance(frame, frames.InboxItem | frames.Message):
                order.setdefault(frame.chat_id, []).append(type(frame))
        assert list(order.values()) == [[frames.InboxItem, frames.Message]] * 10


async def test_many_requests_in_one_message_are_answered_in_order(shared_server: Server) -> None:
    async with people(shared_server, 1) as (alice,), alice.stream() as stream:
        chat = await alice.create_chat()
        requests = [send_request(chat, 0) for _ in range(limits.STREAM_FRAMES_MAX)]
        await stream.send(*requests)
        await stream.until_position(chat, len(requests))
        answers = [frame for frame in stream.received if isinstance(frame, frames.Accepted)]
        assert [answer.position for answer in answers] == list(range(1, len(requests) + 1))
        assert [answer.message_id for answer in answers] == [request.message_id for request in requests]


async def test_a_newer_connection_takes_the_older_ones_place(shared_server: Server) -> None:
    async with people(shared_server, 1) as (alice,), alice.stream() as older, alice.stream() as newer:
        assert await older.closed() == 4000
        chat = await alice.create_chat()
        assert isinstance(await newer.ask(send_request(chat, 0)), frames.Accepted)


async def test_ending_the_session_closes_its_stream(shared_server: Server) -> None:
    async with people(shared_server, 1) as (alice,), alice.stream() as stream:
        await stream.until(frames.CaughtUp)
        await alice.call("DELETE", "/v1/sessions/current", None, type(None))
        assert await stream.closed() == 1008
        status, _, _ = await alice.request("GET", "/v1/chats")
        assert status == 401


@pytest.mark.parametrize("token", ["", "Bearer", "Bearer x", "Bearer " + "A" * 43, "Basic QUFB"])
async def test_a_stream_without_a_session_is_refused_before_it_opens(shared_server: Server, token: str) -> None:
    url = shared_server.url.replace("http://", "ws://") + "/v1/stream"
    with pytest.raises(InvalidStatus) as refusal:
        async with connect(url, additional_headers={"Authorization": token}, proxy=None):
            pytest.fail("it opened")
    response = refusal.value.response
    assert response.status_code == 401
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.body is not None
    assert msgspec.json.decode(response.body)["code"] == "unauthenticated"


def bad_frames(chat: bytes) -> dict[str, bytes | str]:
    encode = msgspec.msgpack.encode
    send = msgspec.to_builtins(send_request(chat, 0), builtin_types=(bytes,))
    return {
        "no msgpack": b"\xc1\xff\x00",
        "nothing": b"",
        "a text": "hello",
        "a map alone": encode(send),
        "an unknown tag": encode([{**send, "t": "shout"}]),
        "no tag": encode([{key: value for key, value in send.items() if key != "t"}]),
        "a server's frame": encode([frames.CaughtUp()]),
        "an unknown field": encode([{**send, "x": 1}]),
        "a missing field": encode([{"t": "send", "chat_id": chat}]),
        "a short id": encode([{**send, "chat_id": chat[:31]}]),
        "a long id": encode([{**send, "message_id": bytes(17)}]),
        "a text for bytes": encode([{**send, "message": "hello"}]),
        "a message too large": encode([{**send, "message": bytes(limits.MESSAGE_BYTES_MAX + 1)}]),
        "too many frames": encode([frames.Ack(chat, 1)] * (limits.STREAM_FRAMES_MAX + 1)),
        "a negative position": encode([{"t": "ack", "chat_id": chat, "position": -1}]),
        "bytes left over": encode([frames.Ack(chat, 1)]) + b"\x00",
        "a good frame and a bad one": encode([send, {"t": "shout"}]),
        "deep nesting": b"\x91" * 100_000 + b"\x90",
    }


@pytest.mark.parametrize("name", bad_frames(bytes(32)))
async def test_a_frame_that_is_not_understood_ends_the_stream_and_changes_nothing(
    shared_server: Server, name: str
) -> None:
    async with people(shared_server, 1) as (mallory,):
        chat = await mallory.create_chat()
        before = await digest(shared_server)
        async with mallory.stream() as stream:
            await stream.until(frames.CaughtUp)
            await stream.socket.send(bad_frames(chat)[name])
            assert await stream.closed() == 1008
            problem = stream.received[-1]
            assert isinstance(problem, frames.Problem)
            assert problem.code is Code.MALFORMED
        assert await digest(shared_server) == before


async def test_an_oversize_message_is_not_taken(shared_server: Server) -> None:
    async with people(shared_server, 2) as (mallory, alice), alice.stream() as other:
        async with mallory.stream() as stream:
            await stream.until(frames.CaughtUp)
            with contextlib.suppress(ConnectionClosed):  # it may end before all is sent
                await stream.socket.send(bytes(limits.STREAM_BYTES_MAX + 1))
            assert await stream.closed() in (1009, 1006)
        chat = await alice.create_chat()
        assert isinstance(await other.ask(send_request(chat, 0)), frames.Accepted)


async def test_a_message_that_a_check_refuses_keeps_the_stream_open(shared_server: Server) -> None:
    async with people(shared_server, 1) as (alice,), alice.stream() as stream:
        chat = await alice.create_chat()
        for message in (b"\x00", private_message(os.urandom(32), 0), private_message(chat, 0, COMMIT)):
            answer = await stream.ask(frames.Send(os.urandom(16), chat, message))
            assert isinstance(answer, frames.Refused)
            assert answer.code is Code.INVALID_OBJECT
        answer = await stream.ask(send_request(os.urandom(32), 0))
        assert isinstance(answer, frames.Refused)
        assert (answer.code, answer.head) == (Code.NOT_FOUND, 0)
        assert isinstance(await stream.ask(send_request(chat, 0)), frames.Accepted)


async def test_acknowledging_what_is_not_ours_changes_nothing(shared_server: Server) -> None:
    async with people(shared_server, 3) as (alice, bob, mallory):
        chat = await alice.create_chat()
        await alice.commit(chat, 0, added=[bob])
        (item,) = await bob.inbox()
        async with mallory.stream() as stream:
            await stream.send(frames.Ack(chat, 1), frames.InboxAck(item.item_id), frames.Ack(os.urandom(32), 5))
            own = frames.CreateChat(os.urandom(16), os.urandom(32), "group")
            assert isinstance(await stream.ask(own), frames.Accepted)
        assert await bob.inbox() == [item]
        query = "SELECT position FROM chat_members WHERE chat_id = $1 ORDER BY added_at"
        assert [row[0] for row in await rows(shared_server, query, chat)] == [0, 1]


async def test_a_slow_reader_is_bounded_and_hurts_nobody(shared_server: Server) -> None:
    """One device reads nothing while 100 MB pass; the others are served, the server stays small, and it catches up."""
    async with people(shared_server, 3) as (alice, bob, slow):
        chat = await alice.create_chat()
        await alice.commit(chat, 0, added=[bob, slow])
        async with slow.stream() as lazy, bob.stream() as quick, alice.stream() as here:
            await lazy.until(frames.CaughtUp)
            lazy.socket.transport.pause_reading()
            await _pass_megabytes(here, chat, 20)  # so that what everybody's buffers need is there
            before = _resident_bytes(shared_server)
            await _pass_megabytes(here, chat, 80)
            assert _resident_bytes(shared_server) - before < 40_000_000
            assert await quick.until_position(chat, 501) == list(range(2, 502))
            lazy.socket.transport.resume_reading()
            assert await lazy.until_position(chat, 501) == list(range(2, 502))


async def _send_many(device: Device, chat: bytes, count: int) -> None:
    async with device.stream() as stream:
        for _ in range(count // 10):
            await stream.send(*(send_request(chat, 1) for _ in range(10)))
            await asyncio.sleep(0)
        await stream.until_position(chat, count + 1)


async def _acknowledged(device: Device, chat: bytes, position: int) -> None:
    async with asyncio.timeout(5):
        while True:
            (listed,) = (await device.call("GET", "/v1/chats", None, api.Chats)).chats
            if listed.chat_id == chat and listed.position == position:
                return


async def _pass_megabytes(stream: StreamClient, chat: bytes, count: int) -> None:
    for _ in range(count // 2):
        requests = [send_request(chat, 1, ciphertext=os.urandom(200_000)) for _ in range(10)]
        await stream.send(*requests)
        await stream.until_accepted(requests[-1].message_id)
        stream.received.clear()


def _resident_bytes(server: Server) -> int:
    assert server.process is not None
    with open(f"/proc/{server.process.pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
