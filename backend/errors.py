"""Errors as callers see them: a stable code, its one HTTP status, and RFC 9457 problem details.

Every answer with an error status goes through `problem_response`. A fault of ours (500) says nothing of its cause.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

import asyncpg
from litestar import Request, Response
from litestar.exceptions import ClientException, HTTPException, ValidationException
from litestar.openapi.datastructures import ResponseSpec

from backend.logs import event, where
from protocol.api import ProblemDetails
from protocol.codes import Code
from protocol.limits import DETAIL_CHARACTERS_MAX

logger = logging.getLogger(__name__)

PROBLEM_MEDIA_TYPE: Final = "application/problem+json"

STATUS: Final[Mapping[Code, int]] = {
    Code.MALFORMED: 400,
    Code.UNAUTHENTICATED: 401,
    Code.FORBIDDEN: 403,
    Code.INVITATION_INVALID: 403,
    Code.NOT_FOUND: 404,
    Code.METHOD_NOT_ALLOWED: 405,
    Code.STALE_EPOCH: 409,
    Code.MESSAGE_ID_REUSED: 409,
    Code.PRIVATE_CHAT_FULL: 409,
    Code.ALREADY_EXISTS: 409,
    Code.KEY_PACKAGES_EXHAUSTED: 409,
    Code.LENGTH_REQUIRED: 411,
    Code.TOO_LARGE: 413,
    Code.UNSUPPORTED_MEDIA_TYPE: 415,
    Code.INVALID_OBJECT: 422,
    Code.UPGRADE_REQUIRED: 426,
    Code.TOO_MANY: 429,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
}

TITLES: Final[Mapping[Code, str]] = {
    Code.MALFORMED: "The request does not decode",
    Code.UNAUTHENTICATED: "No valid session",
    Code.FORBIDDEN: "Not allowed",
    Code.INVITATION_INVALID: "The invitation cannot be used",
    Code.NOT_FOUND: "Not found",
    Code.METHOD_NOT_ALLOWED: "Method not allowed",
    Code.STALE_EPOCH: "The chat is in another epoch",
    Code.MESSAGE_ID_REUSED: "The message id was used for something else",
    Code.PRIVATE_CHAT_FULL: "A private chat holds two accounts",
    Code.ALREADY_EXISTS: "It exists already",
    Code.KEY_PACKAGES_EXHAUSTED: "No key package left",
    Code.LENGTH_REQUIRED: "Content-Length is missing",
    Code.TOO_LARGE: "Too large",
    Code.UNSUPPORTED_MEDIA_TYPE: "Unsupported Content-Type",
    Code.INVALID_OBJECT: "A check failed",
    Code.UPGRADE_REQUIRED: "WebSocket upgrade required",
    Code.TOO_MANY: "Too many",
    Code.INTERNAL: "Internal error",
    Code.UNAVAILABLE: "Not available now",
}

# Litestar's own refusals, by status. What is not here and below 500 is a request that does not decode.
_CODE_OF_STATUS: Final[Mapping[int, Code]] = {
    401: Code.UNAUTHENTICATED,
    403: Code.FORBIDDEN,
    404: Code.NOT_FOUND,
    405: Code.METHOD_NOT_ALLOWED,
    413: Code.TOO_LARGE,
    415: Code.UNSUPPORTED_MEDIA_TYPE,
    429: Code.TOO_MANY,
    503: Code.UNAVAILABLE,
}


class ProblemError(Exception):
    """A refusal: what the caller gets, and nothing changed. `head` is the chat's newest position where it explains."""

    def __init__(self, code: Code, detail: str, head: int | None = None) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail[:DETAIL_CHARACTERS_MAX]
        self.head = head


def not_found() -> ProblemError:
    """The one refusal for what is not there and for what is not yours."""
    return ProblemError(Code.NOT_FOUND, "there is no such thing, or it is not yours")


def problem_details(code: Code, detail: str, head: int | None = None) -> ProblemDetails:
    """The body of a refusal."""
    return ProblemDetails(
        type=f"urn:sealdesk:problem:{code}",
        title=TITLES[code],
        status=STATUS[code],
        detail=detail[:DETAIL_CHARACTERS_MAX],
        code=code,
        head=head,
    )


def problem_response(
    code: Code, detail: str, head: int | None = None, headers: Mapping[str, str] | None = None
) -> Response[ProblemDetails]:
    """The answer of a refusal."""
    body = problem_details(code, detail, head)
    every = dict(headers or {})
    if code is Code.UNAUTHENTICATED:
        every["WWW-Authenticate"] = "Bearer"
    return Response(body, status_code=body.status, media_type=PROBLEM_MEDIA_TYPE, headers=every)


def problems(*codes: Code) -> dict[int, ResponseSpec]:
    """OpenAPI: the refusals of a route. Those that any route can give are added."""
    every = sorted({*codes, Code.MALFORMED, Code.INTERNAL, Code.UNAVAILABLE}, key=lambda code: (STATUS[code], code))
    specs: dict[int, ResponseSpec] = {}
    for status in sorted({STATUS[code] for code in every}):
        listed = ", ".join(f"`{code}`" for code in every if STATUS[code] == status)
        specs[status] = ResponseSpec(
            ProblemDetails,
            generate_examples=False,
            description=f"Problem details with code {listed}.",
            media_type=PROBLEM_MEDIA_TYPE,
        )
    return specs


def handle_problem(_: Request[Any, Any, Any], error: ProblemError) -> Response[ProblemDetails]:
    """Answer our own refusals."""
    return problem_response(error.code, error.detail, error.head)


def handle_http(_: Request[Any, Any, Any], error: HTTPException) -> Response[ProblemDetails]:
    """Answer what Litestar refuses: no such route, a body that does not decode, a body that is too large."""
    code = _CODE_OF_STATUS.get(error.status_code, Code.MALFORMED if error.status_code < 500 else Code.INTERNAL)
    if code is Code.INTERNAL:
        return handle_fault(_, error)
    detail = TITLES[code]
    if isinstance(error, ValidationException):
        detail = _validation_detail(error)
    elif isinstance(error, ClientException) and code is Code.MALFORMED:
        detail = "the body is not the JSON that this route takes"
    allowed = {name: value for name, value in (error.headers or {}).items() if name.lower() == "allow"}
    return problem_response(code, detail, headers=allowed)


def handle_undecodable(_: Request[Any, Any, Any], error: Exception) -> Response[ProblemDetails]:
    """Answer a body that is not UTF-8 or nested too deep; msgspec raises other errors for these than for the rest."""
    del error
    return problem_response(Code.MALFORMED, "the body is not the JSON that this route takes")


def handle_unavailable(_: Request[Any, Any, Any], error: Exception) -> Response[ProblemDetails]:
    """Answer when the database is away or full: the caller may retry."""
    event(logger, "request.unavailable", level=logging.WARNING, error=type(error).__name__)
    return problem_response(Code.UNAVAILABLE, "the server cannot do this now; try again", headers={"Retry-After": "1"})


def handle_fault(_: Request[Any, Any, Any], error: Exception) -> Response[ProblemDetails]:
    """Answer a fault of ours. The log gets the kind and the place, never the text: it may hold somebody's data."""
    event(logger, "request.failed", level=logging.ERROR, error=type(error).__name__, where=where(error))
    return problem_response(Code.INTERNAL, "the server failed; it has been logged")


UNDECODABLE: Final = (UnicodeDecodeError, RecursionError)
"""What msgspec raises beside its own errors, for bytes that are not what they should be."""

DATABASE_AWAY: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # how a connection that was cut in the middle of something shows itself
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    ConnectionError,
    TimeoutError,
)
"""What a database that is away, stopping, or full raises."""


def _validation_detail(error: ValidationException) -> str:
    if not isinstance(error.extra, list):
        return TITLES[Code.MALFORMED]
    parts = [f"{part.get('key', 'body')}: {part.get('message', '')}" for part in error.extra if isinstance(part, dict)]
    return "; ".join(parts) or TITLES[Code.MALFORMED]
