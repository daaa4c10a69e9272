"""Who is calling: the session token of a request, and the guards that ask for it."""

from __future__ import annotations

import base64
import binascii
import time
from typing import Any, cast

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from backend.errors import ProblemError
from backend.services import services_of
from backend.store import sessions
from backend.store.sessions import Caller
from protocol.codes import Code
from protocol.limits import SESSION_TOKEN_BYTES

Connection = ASGIConnection[Any, Any, Any, Any]


def format_token(token: bytes) -> str:
    """A token's text: base64url without padding."""
    return base64.urlsafe_b64encode(token).decode().rstrip("=")


async def authenticate(connection: Connection) -> Caller:
    """The session that the request's bearer token belongs to. Raises `ProblemError` unauthenticated."""
    scheme, _, text = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not text:
        raise ProblemError(Code.UNAUTHENTICATED, "send the session's token: Authorization: Bearer TOKEN")
    try:
        token = base64.b64decode(text.strip().encode("ascii") + b"=", altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        token = b""
    if len(token) != SESSION_TOKEN_BYTES:
        raise ProblemError(Code.UNAUTHENTICATED, "this is not a session token")
    return await sessions.find(services_of(connection).pool, token, int(time.time()))


async def require_session(connection: Connection, _: BaseRouteHandler) -> None:
    """Guard: the request comes from a device. `caller_of` tells which."""
    connection.scope["auth"] = await authenticate(connection)


async def require_json(connection: Connection, _: BaseRouteHandler) -> None:
    """Guard: the body says that it is JSON. Raises `ProblemError` unsupported_media_type."""
    media_type = connection.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise ProblemError(Code.UNSUPPORTED_MEDIA_TYPE, "this route takes application/json")


async def require_octets(connection: Connection, _: BaseRouteHandler) -> None:
    """Guard: the body says that it is raw bytes. Raises `ProblemError` unsupported_media_type."""
    media_type = connection.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/octet-stream":
        raise ProblemError(Code.UNSUPPORTED_MEDIA_TYPE, "this route takes application/octet-stream")


def caller_of(connection: Connection) -> Caller:
    """The device that `require_session` let in."""
    return cast("Caller", connection.scope["auth"])
