"""Attachments: ciphertext of any size, streamed both ways."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator

from litestar import get, put
from litestar.exceptions import HTTPException
from litestar.response import Stream

from backend import objects
from backend.auth import caller_of, require_octets, require_session
from backend.errors import ProblemError, problems
from backend.openapi import octet_body, octet_response
from backend.routes.parameters import AttachmentIdHex, ChatIdHex, HTTPRequest
from backend.services import services_of
from backend.store import attachments
from protocol import limits as wire
from protocol.api import Attachment
from protocol.codes import Code


@put(
    "/v1/chats/{chat_id:str}/attachments/{attachment_id:str}",
    guards=[require_session, require_octets],
    request_max_body_size=None,  # the size is checked before and while it streams
    status_code=201,
    operation_class=octet_body(),
    summary="Upload an attachment",
    description="The ciphertext as it is; Content-Length is required. An upload that ends early leaves nothing and can "
    "be repeated; one that is complete is answered with 409 already_exists when it is repeated.",
    responses=problems(
        Code.UNAUTHENTICATED,
        Code.NOT_FOUND,
        Code.ALREADY_EXISTS,
        Code.LENGTH_REQUIRED,
        Code.TOO_LARGE,
        Code.TOO_MANY,
        Code.UNSUPPORTED_MEDIA_TYPE,
    ),
    security=[{"session": []}],
    tags=["attachments"],
)
async def upload_attachment(chat_id: ChatIdHex, attachment_id: AttachmentIdHex, request: HTTPRequest) -> Attachment:
    """Stream the body into an object of its own, then record it; a lost race leaves the winner's."""
    services, chat, attachment = services_of(request), bytes.fromhex(chat_id), bytes.fromhex(attachment_id)
    device_id = caller_of(request).device_id
    await attachments.require_room(services.pool, chat, device_id, attachment)
    size_bytes = _content_length(request)
    object_id = secrets.token_bytes(16)
    await objects.put(services.objects, object_id, _body(request), size_bytes)
    recorded = False
    try:
        await attachments.add(services.pool, chat, device_id, attachment, object_id, size_bytes, int(time.time()))
        recorded = True
    finally:
        if not recorded:
            await objects.delete(services.objects, object_id)
    return Attachment(size_bytes)


@get(
    "/v1/chats/{chat_id:str}/attachments/{attachment_id:str}",
    guards=[require_session],
    summary="Download an attachment",
    description="The ciphertext as it was uploaded, for members; a removed device gets 404 not_found.",
    responses={200: octet_response(), **problems(Code.UNAUTHENTICATED, Code.NOT_FOUND)},
    security=[{"session": []}],
    tags=["attachments"],
)
async def download_attachment(chat_id: ChatIdHex, attachment_id: AttachmentIdHex, request: HTTPRequest) -> Stream:
    """Stream the object out."""
    services, chat, attachment = services_of(request), bytes.fromhex(chat_id), bytes.fromhex(attachment_id)
    device_id = caller_of(request).device_id
    object_id, size_bytes = await attachments.find(services.pool, chat, device_id, attachment)
    headers = {"Content-Length": str(size_bytes), "Cache-Control": "no-store"}
    chunks = await objects.get(services.objects, object_id)
    return Stream(chunks, media_type="application/octet-stream", headers=headers)


def _content_length(request: HTTPRequest) -> int:
    text = request.headers.get("content-length", "")
    if not text.isdecimal() or len(text) > 20:
        raise ProblemError(Code.LENGTH_REQUIRED, "an upload says its size in Content-Length")
    size_bytes = int(text)
    if size_bytes == 0:
        raise ProblemError(Code.MALFORMED, "an attachment is never empty: even no plaintext has a tag")
    if size_bytes > wire.ATTACHMENT_BYTES_MAX:
        raise ProblemError(Code.TOO_LARGE, f"an attachment has at most {wire.ATTACHMENT_BYTES_MAX} bytes")
    return size_bytes


async def _body(request: HTTPRequest) -> AsyncIterator[bytes]:
    try:
        async for chunk in request.stream():
            yield chunk
    except HTTPException as error:  # Litestar's way to say that the other side is gone
        raise ProblemError(Code.MALFORMED, "the upload ended early") from error
