"""A small server on a real socket: sessions as the real one gives them, and whatever else a test puts on it."""

from __future__ import annotations

import secrets
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec
from aiohttp import web

from client_lib.transport import Login
from protocol import api, frames
from protocol.codes import Code

DEVICE = b"d" * 20
CHAT = b"c" * 32
ATTACHMENT = b"a" * 16

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def answer_challenge(challenge: bytes) -> bytes:
    return b"signed " + challenge


LOGIN = Login(DEVICE, answer_challenge)


class SmallServer:
    """Opens sessions and checks tokens. `routes`: more handlers, by `METHOD /path`; they need a good token."""

    def __init__(self, routes: Mapping[str, Handler] | None = None) -> None:
        self.url = ""
        self.good_tokens: set[str] = set()
        self.sessions_opened = 0
        self.requests: list[str] = []
        self.sockets: list[web.WebSocketResponse] = []
        self.received: list[frames.ClientFrame] = []
        self.batches: list[int] = []
        self._challenges: set[bytes] = set()
        self._routes = routes or {}
        self._runner: web.AppRunner | None = None
        self._port = 0

    @asynccontextmanager
    async def running(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[SmallServer]:
        await self.start(tls)
        try:
            yield self
        finally:
            await self.stop()

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        """Listen; on the same port as before, if there was one."""
        app = web.Application(client_max_size=2**30)
        app.router.add_post("/v1/sessions/challenges", self._challenge)
        app.router.add_post("/v1/sessions", self._session)
        app.router.add_route("*", "/{path:.*}", self._dispatch)
        self._runner = web.AppRunner(app, shutdown_timeout=0.2, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=tls, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._port}"

    async def stop(self) -> None:
        """Stop listening and drop every connection, as a dying server does."""
        for socket in self.sockets:
            if socket._req is not None and socket._req.transport is not None:
                socket._req.transport.abort()
        self.sockets.clear()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def revoke_all(self) -> None:
        self.good_tokens.clear()

    async def _challenge(self, request: web.Request) -> web.Response:
        msgspec.json.decode(await request.read(), type=api.ChallengeRequest)
        challenge = secrets.token_bytes(32)
        self._challenges.add(challenge)
        return created(api.Challenge(challenge, 2_000_000_000))

    async def _session(self, request: web.Request) -> web.Response:
        answer = msgspec.json.decode(await request.read(), type=api.OpenSession)
        if answer.challenge not in self._challenges or answer.signature != answer_challenge(answer.challenge):
            return problem(Code.UNAUTHENTICATED, 401, "the challenge is not answered")
        self._challenges.remove(answer.challenge)
        token = secrets.token_urlsafe(32)
        self.good_tokens.add(token)
        self.sessions_opened += 1
        return created(api.Session(token, 2_000_000_000))

    async def _dispatch(self, request: web.Request) -> web.StreamResponse:
        name = f"{request.method} {request.path}"
        self.requests.append(name)
        handler = self._routes.get(name)
        if name in ("POST /v1/accounts", "GET /health/ready") and handler is not None:
            return await handler(request)
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.good_tokens:
            return problem(Code.UNAUTHENTICATED, 401, "open a new session")
        if handler is not None:
            return await handler(request)
        if name == "GET /v1/stream":
            return await self._stream(request)
        if name == "GET /v1/key_packages":
            return ok(api.KeyPackageCount(7))
        return problem(Code.NOT_FOUND, 404, "there is no such thing")

    async def _stream(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        self.sockets.append(socket)
        await self.push([frames.CaughtUp()], socket)
        async for message in socket:
            batch = msgspec.msgpack.decode(message.data, type=list[frames.ClientFrame])
            self.batches.append(len(batch))
            self.received += batch
        return socket

    async def push(self, batch: Sequence[frames.ServerFrame], socket: web.WebSocketResponse | None = None) -> None:
        """Send frames on a socket, the newest unless it is said which."""
        await (socket or self.sockets[-1]).send_bytes(msgspec.msgpack.encode(batch))


def ok(body: msgspec.Struct) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), content_type="application/json")


def created(body: msgspec.Struct) -> web.Response:
    return web.Response(status=201, body=msgspec.json.encode(body), content_type="application/json")


def problem(code: Code, status: int, detail: str, head: int | None = None) -> web.Response:
    body = api.ProblemDetails(
        type=f"urn:sealdesk:problem:{code}", title=code.value, status=status, detail=detail, code=code, head=head
    )
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/problem+json")
