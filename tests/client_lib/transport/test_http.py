"""Requests over a real socket: sessions, refusals, broken connections, attachments."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing

import msgspec
import pytest
from aiohttp import web

from client_lib.errors import ServerError, TransportError
from client_lib.transport import HttpTransport, Login
from protocol import api, frames
from protocol.codes import Code
from tests.client_lib.transport.server import ATTACHMENT, CHAT, DEVICE, LOGIN, SmallServer, created, ok, problem

ACCOUNT = b"u" * 20
PATH = f"/v1/chats/{CHAT.hex()}/attachments/{ATTACHMENT.hex()}"


async def test_the_first_request_opens_a_session_and_the_others_share_it() -> None:
    async with SmallServer().running() as server, HttpTransport(server.url, LOGIN) as http:
        counts = await asyncio.gather(*(http.key_package_count() for _ in range(10)))
        assert counts == [api.KeyPackageCount(7)] * 10
        assert server.sessions_opened == 1


async def test_a_session_that_the_server_no_longer_knows_is_renewed_once_for_all() -> None:
    async with SmallServer().running() as server, HttpTransport(server.url, LOGIN) as http:
        await http.key_package_count()
        server.revoke_all()
        await asyncio.gather(*(http.key_package_count() for _ in range(10)))
        assert server.sessions_opened == 2


async def test_a_device_that_is_refused_after_renewal_is_told_so() -> None:
    async def refuse(_request: web.Request) -> web.Response:
        return problem(Code.UNAUTHENTICATED, 401, "this device was removed")

    async with SmallServer({"GET /v1/key_packages": refuse}).running() as server:
        async with HttpTransport(server.url, LOGIN) as http:
            with pytest.raises(ServerError, match="this device was removed") as refused:
                await http.key_package_count()
        assert refused.value.code is Code.UNAUTHENTICATED
        assert server.sessions_opened == 2


async def test_a_wrong_answer_to_the_challenge_is_refused() -> None:
    async with SmallServer().running() as server:
        async with HttpTransport(server.url, Login(DEVICE, lambda _challenge: b"forged")) as http:
            with pytest.raises(ServerError) as refused:
                await http.token()
        assert refused.value.code is Code.UNAUTHENTICATED


async def test_without_a_login_nothing_is_sent_that_needs_one() -> None:
    async with SmallServer().running() as server:
        async with HttpTransport(server.url) as http:
            with pytest.raises(TransportError, match="no device key"):
                await http.chats()
        assert server.requests == []


async def test_closing_the_session_revokes_it() -> None:
    async def revoke(_request: web.Request) -> web.Response:
        return web.Response(status=204)

    routes = {"DELETE /v1/sessions/current": revoke}
    async with SmallServer(routes).running() as server, HttpTransport(server.url, LOGIN) as http:
        await http.close_session()
        assert server.requests == []
        first = await http.token()
        await http.close_session()
        assert server.requests == ["DELETE /v1/sessions/current"]
        assert await http.token() != first


async def test_every_endpoint_is_called_as_the_server_declares_it() -> None:
    account = api.Account(
        account_id=ACCOUNT, signing_key_certificate=b"s", device_certificates=[b"d"], device_list=b"l"
    )
    claims = api.Claims([api.ClaimedKeyPackage(DEVICE, b"k", False)])
    accepted = frames.Accepted(b"m" * 16, CHAT, 3)
    message = frames.Message(chat_id=CHAT, position=1, message_id=b"m" * 16, received_at_ms=5, message=b"x")
    item = frames.InboxItem(item_id=9, kind="welcome", chat_id=CHAT, chat_kind="group", position=2, message=b"w")
    chat = api.Chat(chat_id=CHAT, kind="private", epoch=1, head=2, position=1)
    bodies: dict[str, bytes] = {}
    chat_path = f"/v1/chats/{CHAT.hex()}"
    answers: dict[str, msgspec.Struct | None] = {
        "POST /v1/accounts": account,
        f"GET /v1/accounts/{ACCOUNT.hex()}": account,
        f"POST /v1/accounts/{ACCOUNT.hex()}/key_packages/claims": claims,
        "POST /v1/key_packages": api.KeyPackageCount(2),
        "GET /v1/chats": api.Chats([chat]),
        "POST /v1/chats": accepted,
        f"POST {chat_path}/messages": accepted,
        f"POST {chat_path}/commits": accepted,
        f"GET {chat_path}/messages": api.Messages([message]),
        f"PUT {chat_path}/position": None,
        "GET /v1/inbox": api.Inbox([item]),
        "DELETE /v1/inbox/9": None,
        "GET /health/ready": api.Health("ready"),
    }

    async def answer(request: web.Request) -> web.Response:
        name = f"{request.method} {request.path}"
        bodies[name] = await request.read() or request.query_string.encode()
        reply = answers[name]
        return web.Response(status=204) if reply is None else ok(reply)

    registration = api.RegisterAccount(
        invitation=bytes(16), signing_key_certificate=b"s", device_certificate=b"d", device_list=b"l"
    )
    packages = api.UploadKeyPackages([b"k"], b"last")
    create = frames.CreateChat(b"m" * 16, CHAT, "private")
    send = frames.Send(b"m" * 16, CHAT, b"x")
    commit = frames.Commit(message_id=b"m" * 16, chat_id=CHAT, message=b"x", removed=[DEVICE])
    routes = dict.fromkeys(answers, answer)
    async with SmallServer(routes).running() as server, HttpTransport(server.url, LOGIN) as http:
        assert await http.register_account(registration) == account
        assert await http.account(ACCOUNT) == account
        assert await http.claim_key_packages(ACCOUNT) == claims
        assert await http.upload_key_packages(packages) == api.KeyPackageCount(2)
        assert await http.chats() == api.Chats([chat])
        assert await http.create_chat(create) == accepted
        assert await http.send(send) == accepted
        assert await http.commit(commit) == accepted
        assert await http.messages(CHAT, after=0, limit=50) == api.Messages([message])
        await http.ack_position(CHAT, 4)
        assert await http.inbox() == api.Inbox([item])
        await http.delete_inbox_item(9)
        assert await http.ready() == api.Health("ready")
    assert bodies.keys() == answers.keys()
    assert bodies[f"GET {chat_path}/messages"] == b"after=0&limit=50"
    for name, sent in {
        "POST /v1/accounts": registration,
        "POST /v1/key_packages": packages,
        "POST /v1/chats": create,
        f"POST {chat_path}/messages": send,
        f"POST {chat_path}/commits": commit,
        f"PUT {chat_path}/position": api.AckPosition(4),
    }.items():
        assert msgspec.json.decode(bodies[name], type=type(sent)) == sent


async def test_problem_details_become_a_server_error() -> None:
    async def stale(_request: web.Request) -> web.Response:
        return problem(Code.STALE_EPOCH, 409, "the chat has\nmoved \x1b[2Jon", head=12)

    routes = {f"POST /v1/chats/{CHAT.hex()}/messages": stale}
    async with SmallServer(routes).running() as server, HttpTransport(server.url, LOGIN) as http:
        with pytest.raises(ServerError) as refused:
            await http.send(frames.Send(b"m" * 16, CHAT, b"x"))
    error = refused.value
    assert (error.code, error.status, error.head) == (Code.STALE_EPOCH, 409, 12)
    # One line, and nothing that steers a terminal.
    assert str(error) == "the server refused (stale_epoch): the chat has moved  [2Jon"


@pytest.mark.parametrize("status, retryable", [(302, False), (400, False), (404, False), (429, True), (502, True)])
async def test_an_answer_that_is_not_the_servers_own_is_a_transport_error(status: int, retryable: bool) -> None:
    async def proxy(_request: web.Request) -> web.Response:
        return web.Response(status=status, text="<html>", headers={"Location": "http://127.0.0.1:1/elsewhere"})

    async with SmallServer({"GET /v1/chats": proxy}).running() as server:
        async with HttpTransport(server.url, LOGIN) as http:
            with pytest.raises(TransportError, match=f"answered {status}, not as a Sealdesk server") as failed:
                await http.chats()
        assert failed.value.retryable is retryable
        assert server.requests == ["GET /v1/chats"]


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff", b"[]", b'{"chats":[{}]}'])
async def test_a_good_status_with_a_strange_body_is_a_transport_error(body: bytes) -> None:
    async def strange(_request: web.Request) -> web.Response:
        return web.Response(body=body)

    async with SmallServer({"GET /v1/chats": strange}).running() as server, HttpTransport(server.url, LOGIN) as http:
        with pytest.raises(TransportError, match="not understood") as failed:
            await http.chats()
    assert not failed.value.retryable


async def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client_lib.transport.http.ANSWER_BYTES_MAX", 100_000)

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(bytes(65_536))

    async with SmallServer({"GET /v1/chats": endless}).running() as server, HttpTransport(server.url, LOGIN) as http:
        with pytest.raises(TransportError, match="too large"):
            await http.chats()


async def test_a_server_that_is_not_there_is_a_retryable_transport_error() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    async with HttpTransport(f"http://127.0.0.1:{port}", LOGIN) as http:
        with pytest.raises(TransportError, match="does not answer") as failed:
            await http.chats()
    assert failed.value.retryable


async def test_a_server_that_dies_in_the_middle_of_an_answer_is_a_retryable_transport_error() -> None:
    async def die(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with SmallServer({"GET /v1/chats": die}).running() as server, HttpTransport(server.url, LOGIN) as http:
        with pytest.raises(TransportError) as failed:
            await http.chats()
        assert failed.value.retryable
        # The transport is usable afterwards.
        assert await http.key_package_count() == api.KeyPackageCount(7)


async def _pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def test_an_attachment_is_streamed_up_and_down() -> None:
    stored = bytearray()

    async def put(request: web.Request) -> web.Response:
        assert request.headers["Content-Length"] == str(40 * 65_536)
        assert request.content_type == "application/octet-stream"
        async for chunk in request.content.iter_any():
            stored.extend(chunk)
        return created(api.Attachment(len(stored)))

    async def get(_request: web.Request) -> web.Response:
        return web.Response(body=bytes(stored))

    sent = [hashlib.sha256(bytes([number])).digest() * 2048 for number in range(40)]
    routes = {f"PUT {PATH}": put, f"GET {PATH}": get}
    async with SmallServer(routes).running() as server, HttpTransport(server.url, LOGIN) as http:
        answer = await http.upload_attachment(CHAT, ATTACHMENT, _pieces(*sent), 40 * 65_536)
        assert answer == api.Attachment(40 * 65_536)
        async with aclosing(http.download_attachment(CHAT, ATTACHMENT)) as chunks:
            received = [chunk async for chunk in chunks]
    assert b"".join(received) == b"".join(sent)
    assert max(map(len, received)) <= 65_536


async def test_a_session_that_ran_out_does_not_cost_an_upload_or_a_download() -> None:
    async def put(request: web.Request) -> web.Response:
        return created(api.Attachment(len(await request.read())))

    async def get(_request: web.Request) -> web.Response:
        return web.Response(body=b"stored")

    async with SmallServer({f"PUT {PATH}": put, f"GET {PATH}": get}).running() as server:
        async with HttpTransport(server.url, LOGIN) as http:
            await http.token()
            server.revoke_all()
            assert await http.upload_attachment(CHAT, ATTACHMENT, _pieces(b"a", b"b"), 2) == api.Attachment(2)
            server.revoke_all()
            assert [chunk async for chunk in http.download_attachment(CHAT, ATTACHMENT)] == [b"stored"]
        assert server.sessions_opened == 3


@pytest.mark.parametrize("pieces", [(b"abc",), (b"abc", b"defg"), ()])
async def test_an_attachment_of_another_size_than_was_said_is_our_own_bug(pieces: tuple[bytes, ...]) -> None:
    async def put(request: web.Request) -> web.Response:
        return created(api.Attachment(len(await request.read())))

    async with SmallServer({f"PUT {PATH}": put}).running() as server, HttpTransport(server.url, LOGIN) as http:
        with pytest.raises(ValueError, match="not 5 bytes long"):
            await http.upload_attachment(CHAT, ATTACHMENT, _pieces(*pieces), 5)


async def test_a_fault_while_reading_the_file_comes_out_as_it_was() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"ab"
        raise PermissionError("the file went away")

    async def put(request: web.Request) -> web.Response:
        return created(api.Attachment(len(await request.read())))

    async with SmallServer({f"PUT {PATH}": put}).running() as server, HttpTransport(server.url, LOGIN) as http:
        with pytest.raises(PermissionError, match="went away"):
            await http.upload_attachment(CHAT, ATTACHMENT, broken(), 5)


async def test_a_refused_upload_says_why() -> None:
    async def put(_request: web.Request) -> web.Response:
        return problem(Code.ALREADY_EXISTS, 409, "this attachment is complete")

    async with SmallServer({f"PUT {PATH}": put}).running() as server, HttpTransport(server.url, LOGIN) as http:
        with pytest.raises(ServerError) as refused:
            await http.upload_attachment(CHAT, ATTACHMENT, _pieces(b"abcde"), 5)
    assert refused.value.code is Code.ALREADY_EXISTS


async def test_an_interrupted_download_is_noticed() -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "200000"})
        await response.prepare(request)
        await response.write(bytes(100_000))
        assert request.transport is not None
        request.transport.close()
        return response

    received: list[bytes] = []

    async def download(http: HttpTransport) -> None:
        async for chunk in http.download_attachment(CHAT, ATTACHMENT):
            received.append(chunk)  # noqa: PERF401  # what came before the cut counts too

    async with SmallServer({f"GET {PATH}": cut}).running() as server, HttpTransport(server.url, LOGIN) as http:
        with pytest.raises(TransportError) as failed:
            await download(http)
    assert failed.value.retryable
    assert sum(map(len, received)) <= 100_000


async def test_an_unknown_attachment_is_a_server_error() -> None:
    async with SmallServer().running() as server, HttpTransport(server.url, LOGIN) as http:
        with pytest.raises(ServerError) as refused:
            await anext(http.download_attachment(CHAT, ATTACHMENT))
    assert refused.value.code is Code.NOT_FOUND


async def test_a_download_is_refused_after_one_renewal() -> None:
    async def refuse(_request: web.Request) -> web.Response:
        return problem(Code.UNAUTHENTICATED, 401, "this device was removed")

    async with SmallServer({f"GET {PATH}": refuse}).running() as server, HttpTransport(server.url, LOGIN) as http:
        with pytest.raises(ServerError, match="this device was removed"):
            await anext(http.download_attachment(CHAT, ATTACHMENT))
        assert server.sessions_opened == 2
