"""Random and mutated bytes at every route and at the stream: 4xx problem details, never 5xx, and nothing changes."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from typing import Any

import aiohttp
import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed

from protocol import api, frames
from tests.backend.people import Device, StreamClient, commit_request, digest, people, rows, send_request
from tests.backend.test_problems import check_problem
from tests.conftest import Server

EXAMPLES_PER_ROUTE = 25
JSON, OCTETS = {"Content-Type": "application/json"}, {"Content-Type": "application/octet-stream"}

# Ids that fit the routes' patterns and belong to nobody.
ZERO20, ZERO32, ZERO16 = "0" * 40, "0" * 64, "0" * 32


# A few changed bytes do not make these good: any other id would do for a new chat, so its kind is wrong.
NO_CHAT = frames.CreateChat(os.urandom(16), os.urandom(32), "crowd")  # type: ignore[arg-type]  # wrong on purpose
FAR_EPOCH = 0x0505_0505_0505_0505


ATTACHMENT = ("PUT", "/v1/chats/{chat_id}/attachments/{attachment_id}")


def bodies(device: Device, chat: bytes) -> dict[tuple[str, str], msgspec.Struct]:
    """The JSON routes, each with a body that is well-formed and changes nothing: unknown ids, wrong signatures.

    A challenge is given to anybody who asks; see `digest_without_challenges`.
    """
    return {
        ("POST", "/v1/accounts"): device.registration(os.urandom(16)),
        ("POST", "/v1/sessions/challenges"): api.ChallengeRequest(device.device_id),
        ("POST", "/v1/sessions"): api.OpenSession(device.device_id, os.urandom(32), os.urandom(64)),
        ("POST", "/v1/key_packages"): api.UploadKeyPackages([os.urandom(300)], os.urandom(300)),
        ("POST", "/v1/chats"): NO_CHAT,
        ("POST", "/v1/chats/{chat_id}/messages"): send_request(chat, FAR_EPOCH),
        ("POST", "/v1/chats/{chat_id}/commits"): commit_request(chat, FAR_EPOCH),
        ("PUT", "/v1/chats/{chat_id}/position"): api.AckPosition(1),  # of an empty log
    }


async def routes_with_bodies(device: Device) -> dict[tuple[str, str], str]:
    """From the server's OpenAPI: method and path of each operation that takes a body, and the body's media type."""
    _, _, content = await device.request("GET", "/schema/openapi.json")
    found = {}
    for path, item in msgspec.json.decode(content)["paths"].items():
        for method, operation in item.items():
            if "requestBody" in operation:
                (found[method.upper(), path],) = operation["requestBody"]["content"]
    return found


async def digest_without_challenges(server: Server) -> str:
    await rows(server, "DELETE FROM session_challenges")
    return await digest(server)


@st.composite
def mutations(draw: st.DrawFn, original: bytes) -> bytes:
    """Cut, insert, overwrite and repeat parts of `original`, or make something else altogether."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=300))
    changed = bytearray(original)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(changed)))
        match draw(st.sampled_from(["cut", "insert", "overwrite", "repeat", "end"])):
            case "cut":
                del changed[place : place + draw(st.integers(1, 40))]
            case "insert":
                changed[place:place] = draw(st.binary(max_size=20))
            case "overwrite":
                part = draw(st.binary(min_size=1, max_size=4))
                changed[place : place + len(part)] = part
            case "repeat":
                changed[place:place] = changed[place : place + draw(st.integers(1, 100))]
            case "end":
                del changed[place:]
    return bytes(changed)


EDGE_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.floats(allow_nan=False),
    st.text(max_size=50),
    st.lists(st.text(max_size=3), max_size=3),
    st.just("A" * 43 + "="),
    st.just("AAAAAAAAAAAAAAAAAAAAAA=="),
)


@st.composite
def struct_mutations(draw: st.DrawFn, body: msgspec.Struct) -> bytes:
    """The body with fields missing, of other types, or with values at the edge of what the types take."""
    fields: dict[str, Any] = msgspec.to_builtins(body)
    for name in draw(st.lists(st.sampled_from(sorted(fields)), min_size=1, max_size=2, unique=True)):
        fields[name] = draw(EDGE_VALUES)
        if draw(st.booleans()):
            del fields[name]
    return msgspec.json.encode(fields)


def check_answer(status: int, headers: dict[str, str], body: bytes) -> None:
    """A refusal. A success is a mutation that changed nothing that matters; the digest tells whether it did."""
    assert status < 500, (status, body)
    if status >= 400:
        check_problem(status, headers, body)


def attack_on(
    runner: asyncio.Runner, device: Device, method: str, path: str, headers: dict[str, str]
) -> Callable[[bytes], None]:
    def attack(content: bytes) -> None:
        check_answer(*runner.run(device.request(method, path, content, headers)))

    return attack


def explore(count: int) -> Any:
    return settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck))


def test_random_bytes_at_every_route_change_nothing(shared_server: Server) -> None:
    with asyncio.Runner() as runner:
        context = people(shared_server, 1)
        (device,) = runner.run(context.__aenter__())
        chat = runner.run(device.create_chat())
        routes = bodies(device, chat)
        every = runner.run(routes_with_bodies(device))
        assert every == {**dict.fromkeys(routes, "application/json"), ATTACHMENT: "application/octet-stream"}
        before = runner.run(digest_without_challenges(shared_server))
        for (method, path), body in routes.items():
            contents = st.one_of(mutations(msgspec.json.encode(body)), struct_mutations(body))
            attack = attack_on(runner, device, method, path.format(chat_id=chat.hex()), JSON)
            explore(EXAMPLES_PER_ROUTE)(given(contents)(attack))()
        # Where no body is expected, and where the chat is not one's own.
        for path in (f"/v1/accounts/{ZERO20}/key_packages/claims", f"/v1/chats/{ZERO32}/messages"):
            contents = mutations(msgspec.json.encode(send_request(bytes(32), 0)))
            explore(EXAMPLES_PER_ROUTE)(given(contents)(attack_on(runner, device, "POST", path, JSON)))()
        assert runner.run(digest_without_challenges(shared_server)) == before
        runner.run(context.__aexit__(None, None, None))


def test_random_bytes_as_an_attachment_come_back_as_they_were(shared_server: Server) -> None:
    with asyncio.Runner() as runner:
        context = people(shared_server, 1)
        (device,) = runner.run(context.__aenter__())
        chat = runner.run(device.create_chat())
        method, template = ATTACHMENT

        def attack(content: bytes) -> None:
            path = template.format(chat_id=chat.hex(), attachment_id=os.urandom(16).hex())
            answer = runner.run(device.request(method, path, content, OCTETS))
            kept = runner.run(device.request("GET", path))
            if content:
                assert (answer[0], kept[0], kept[2]) == (201, 200, content)
            else:
                check_problem(*answer, "malformed")
                check_problem(*kept, "not_found")

        contents = mutations(msgspec.json.encode(api.AckPosition(1)))
        explore(EXAMPLES_PER_ROUTE)(given(contents)(attack))()
        runner.run(context.__aexit__(None, None, None))


def test_random_paths_and_queries_change_nothing(shared_server: Server) -> None:
    parts = st.sampled_from(
        [
            *("v1", "chats", "accounts", "inbox", "messages", "attachments", "stream", "health", "schema", "assets"),
            *("key_packages", "claims", "sessions", ZERO20, ZERO32, ZERO16, "..", "%00", "%2e%2e", "%ff", "1", "-1"),
        ]
    )
    paths = st.lists(st.one_of(parts, st.text(alphabet="abc019%/?&=.", max_size=8)), max_size=6)
    with asyncio.Runner() as runner:
        context = people(shared_server, 1)
        (device,) = runner.run(context.__aenter__())
        before = runner.run(digest(shared_server))

        @explore(150)
        @given(st.sampled_from(["GET", "POST", "PUT", "PATCH", "HEAD", "OPTIONS"]), paths, st.binary(max_size=20))
        def attack(method: str, path: list[str], query: bytes) -> None:
            target = "/" + "/".join(path) + "?after=" + query.hex()
            status, headers, body = runner.run(device.request(method, target, None))
            assert status < 500, (method, target, body)
            if status >= 400 and method != "HEAD":
                check_problem(status, headers, body)

        attack()
        assert runner.run(digest(shared_server)) == before
        runner.run(context.__aexit__(None, None, None))


def test_random_bytes_on_the_stream_change_nothing(shared_server: Server) -> None:
    with asyncio.Runner() as runner:
        context = people(shared_server, 1)
        (device,) = runner.run(context.__aenter__())
        chat = runner.run(device.create_chat())
        before = runner.run(digest(shared_server))
        originals = [
            NO_CHAT,
            send_request(chat, FAR_EPOCH),
            commit_request(chat, FAR_EPOCH),
            frames.Ack(os.urandom(32), 1),
            frames.InboxAck(1),
        ]
        encoded = [msgspec.msgpack.encode([frame]) for frame in originals] + [msgspec.msgpack.encode(originals)]

        @explore(120)
        @given(st.sampled_from(encoded).flatmap(mutations))
        def attack(content: bytes) -> None:
            runner.run(_throw(device, content))

        attack()
        assert runner.run(digest(shared_server)) == before
        runner.run(context.__aexit__(None, None, None))


async def _throw(device: Device, content: bytes) -> None:
    """Send it; the server either refuses each request or says what it did not understand. Never 1011."""
    async with device.stream() as stream:
        with contextlib.suppress(ConnectionClosed):
            await stream.socket.send(content)
            await stream.send(frames.Send(bytes(16), bytes(32), b"x"))  # refused: marks the end of the answers
        await _until_answered(stream)
        assert stream.socket.close_code in (None, 1008), stream.socket.close_code
        for frame in stream.received:
            assert not isinstance(frame, frames.Accepted)


async def _until_answered(stream: StreamClient) -> None:
    with contextlib.suppress(ConnectionClosed):
        while True:
            frame = await stream.next()
            if isinstance(frame, frames.Problem):
                await stream.closed()
                return
            if isinstance(frame, frames.Refused) and frame.message_id == bytes(16):
                return


async def test_random_upgrade_headers_do_not_open_a_stream(shared_server: Server) -> None:
    async with aiohttp.ClientSession() as http:
        for headers in (
            {"Upgrade": "websocket", "Connection": "Upgrade"},
            {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"},
            {
                "Upgrade": "websocket",
                "Connection": "Upgrade",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "x",
            },
        ):
            async with http.get(f"{shared_server.url}/v1/stream", headers=headers) as response:
                assert 400 <= response.status < 500
