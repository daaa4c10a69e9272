"""Sessions: a device signs a challenge and gets a token."""

from __future__ import annotations

import time

from litestar import delete, post
from litestar.params import JSONBody

from backend import checks, limits
from backend.auth import caller_of, format_token, require_json, require_session
from backend.errors import problems
from backend.routes.parameters import HTTPRequest
from backend.services import services_of
from backend.store import sessions
from protocol.api import Challenge, ChallengeRequest, OpenSession, Session
from protocol.codes import Code


@post(
    "/v1/sessions/challenges",
    guards=[require_json],
    request_max_body_size=limits.BODY_BYTES_MAX,
    summary="Ask for a challenge",
    description="No session. Any device id gets a challenge, so that nobody learns which devices exist.",
    responses=problems(Code.TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE),
    tags=["sessions"],
)
async def create_challenge(data: JSONBody[ChallengeRequest], request: HTTPRequest) -> Challenge:
    """A challenge for a device."""
    return Challenge(*await sessions.create_challenge(services_of(request).pool, data.device_id, int(time.time())))


@post(
    "/v1/sessions",
    guards=[require_json],
    request_max_body_size=limits.BODY_BYTES_MAX,
    summary="Open a session",
    description="No session. The signature covers the server's public URL, the device id and the challenge. "
    "A challenge is used up by its first answer, right or wrong. A device's oldest sessions beyond "
    f"{limits.SESSIONS_PER_DEVICE_MAX} end, and their streams with them.",
    responses=problems(Code.UNAUTHENTICATED, Code.TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE),
    tags=["sessions"],
)
async def open_session(data: JSONBody[OpenSession], request: HTTPRequest) -> Session:
    """A token, if the device answered its challenge."""
    services = services_of(request)
    device_key = await sessions.take_challenge(services.pool, data.device_id, data.challenge, int(time.time()))
    checks.session_answer(device_key, services.settings.url, data.challenge, data.signature)
    token, expires_at_s, ended = await sessions.open_session(services.pool, data.device_id, int(time.time() * 1000))
    for token_hash in ended:
        services.relay.hub.end_session(data.device_id, token_hash)
    return Session(format_token(token), expires_at_s)


@delete(
    "/v1/sessions/current",
    guards=[require_session],
    summary="End this session",
    description="The token is good for nothing from now on, and the session's stream is closed.",
    responses=problems(Code.UNAUTHENTICATED),
    security=[{"session": []}],
    tags=["sessions"],
)
async def close_session(request: HTTPRequest) -> None:
    """Forget the token and close its socket."""
    caller = caller_of(request)
    await sessions.close_session(caller.token_hash)
    services_of(request).relay.hub.end_session(caller.device_id, caller.token_hash)
