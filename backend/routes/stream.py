"""GET /v1/stream: the WebSocket's door."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import msgspec
from litestar import WebSocket, get, websocket

from backend.auth import authenticate
from backend.errors import DATABASE_AWAY, PROBLEM_MEDIA_TYPE, ProblemError, problem_details, problems
from backend.services import services_of
from backend.stream import Stream
from protocol.codes import Code


@websocket("/v1/stream")
async def open_stream(socket: WebSocket[Any, Any, Any]) -> None:
    """Let a device in, or answer the upgrade with problem details."""
    await socket.receive()  # websocket.connect
    try:
        caller = await authenticate(socket)
    except ProblemError as error:
        return await _deny(socket, error)
    except DATABASE_AWAY:
        return await _deny(socket, ProblemError(Code.UNAVAILABLE, "the server cannot do this now; try again"))
    await socket.send({"type": "websocket.accept", "subprotocol": None, "headers": []})
    abort = cast("Callable[[], None]", socket.scope["state"]["abort"])
    await Stream(services_of(socket).relay, caller, socket.receive, socket.send, abort).run()


@get(
    "/v1/stream",
    status_code=101,
    summary="Open the stream",
    description="A WebSocket (RFC 6455) with the session's token in the upgrade request. Each binary message is a "
    "msgpack array of frames; the frames are described in the reference of `protocol.frames`. One connection per "
    "device: a newer one closes the older (4000). The server closes with 1008 after a frame that it does not "
    "understand, at the end of the session, and when nothing is read for too long; with 1009 after a message that is "
    "too large; with 1012 when it stops and 1013 when the database is away.",
    responses=problems(Code.UNAUTHENTICATED, Code.UPGRADE_REQUIRED),
    security=[{"session": []}],
    tags=["stream"],
)
async def stream_without_upgrade() -> None:
    """Plain HTTP on the stream's path."""
    raise ProblemError(Code.UPGRADE_REQUIRED, "this path is a WebSocket")


async def _deny(socket: WebSocket[Any, Any, Any], error: ProblemError) -> None:
    """Answer the upgrade request with an HTTP error (ASGI's websocket.http.response extension)."""
    details = problem_details(error.code, error.detail)
    body = msgspec.json.encode(details)
    headers = [(b"content-type", PROBLEM_MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    if error.code is Code.UNAUTHENTICATED:
        headers.append((b"www-authenticate", b"Bearer"))
    send = cast("Callable[[Any], Any]", socket.send)
    await send({"type": "websocket.http.response.start", "status": details.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
