"""Chats over plain HTTP: the same requests as on the stream, for those who cannot hold a socket."""

from __future__ import annotations

from typing import Annotated

from litestar import delete, get, post, put
from litestar.params import JSONBody, QueryParameter

from backend import limits
from backend.auth import caller_of, require_json, require_session
from backend.errors import ProblemError, not_found, problems
from backend.ordering import Request, check
from backend.routes.parameters import ChatIdHex, HTTPRequest, ItemIdNumber
from backend.services import services_of
from backend.store import chats, inbox
from protocol import limits as wire
from protocol.api import AckPosition, Chats, Inbox, Messages
from protocol.codes import Code
from protocol.frames import Accepted, Commit, CreateChat, Refused, Send

_WRITE = (Code.UNAUTHENTICATED, Code.INVALID_OBJECT, Code.TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE)
_APPEND = (*_WRITE, Code.NOT_FOUND, Code.STALE_EPOCH, Code.MESSAGE_ID_REUSED)


@get(
    "/v1/chats",
    guards=[require_session],
    summary="List chats",
    description="Every chat of the calling device, oldest first, and how far it is.",
    responses=problems(Code.UNAUTHENTICATED),
    security=[{"session": []}],
    tags=["chats"],
)
async def list_chats(request: HTTPRequest) -> Chats:
    """The calling device's chats."""
    return Chats(await chats.of_device(services_of(request).pool, caller_of(request).device_id))


@post(
    "/v1/chats",
    guards=[require_session, require_json],
    request_max_body_size=limits.BODY_BYTES_MAX,
    summary="Create a chat",
    description="The calling device becomes the only member, at epoch 0. A resend gets the same answer.",
    responses=problems(*_WRITE, Code.ALREADY_EXISTS),
    security=[{"session": []}],
    tags=["chats"],
)
async def create_chat(data: JSONBody[CreateChat], request: HTTPRequest) -> Accepted:
    """Hand the request to the writer."""
    return await _append(request, data)


@post(
    "/v1/chats/{chat_id:str}/messages",
    guards=[require_session, require_json],
    request_max_body_size=limits.MESSAGE_BODY_BYTES_MAX,
    summary="Send a message",
    description="Appends an application message or a proposal of the chat's epoch. A resend gets the same answer.",
    responses=problems(*_APPEND),
    security=[{"session": []}],
    tags=["chats"],
)
async def send_message(chat_id: ChatIdHex, data: JSONBody[Send], request: HTTPRequest) -> Accepted:
    """Hand the request to the writer."""
    return await _append(request, data, chat_id)


@post(
    "/v1/chats/{chat_id:str}/commits",
    guards=[require_session, require_json],
    request_max_body_size=limits.COMMIT_BODY_BYTES_MAX,
    summary="Send a commit",
    description="The first commit of an epoch wins, the others get 409 stale_epoch with the log position they lack. "
    "Members change and the Welcome reaches the added devices' inboxes together with the log entry.",
    responses=problems(*_APPEND, Code.PRIVATE_CHAT_FULL, Code.TOO_MANY),
    security=[{"session": []}],
    tags=["chats"],
)
async def send_commit(chat_id: ChatIdHex, data: JSONBody[Commit], request: HTTPRequest) -> Accepted:
    """Hand the request to the writer."""
    return await _append(request, data, chat_id)


@get(
    "/v1/chats/{chat_id:str}/messages",
    guards=[require_session],
    summary="Read a chat's log",
    description="Entries after a position, in order. A page can be shorter than asked for; an empty one is the end.",
    responses=problems(Code.UNAUTHENTICATED, Code.NOT_FOUND),
    security=[{"session": []}],
    tags=["chats"],
)
async def read_messages(
    chat_id: ChatIdHex,
    request: HTTPRequest,
    after: Annotated[int, QueryParameter(ge=0, le=wire.POSITION_MAX, description="Position to start behind.")] = 0,
    limit: Annotated[
        int, QueryParameter(ge=1, le=wire.MESSAGES_PER_PAGE_MAX, description="Most entries.")
    ] = wire.MESSAGES_PER_PAGE_DEFAULT,
) -> Messages:
    """One page of what the calling device may read."""
    pool, device_id, chat = services_of(request).pool, caller_of(request).device_id, bytes.fromhex(chat_id)
    await chats.require_member(pool, chat, device_id)
    return Messages(await chats.read(pool, chat, device_id, after, limit, limits.PAGE_BYTES))


@put(
    "/v1/chats/{chat_id:str}/position",
    guards=[require_session, require_json],
    request_max_body_size=limits.BODY_BYTES_MAX,
    status_code=204,
    summary="Acknowledge a position",
    description="The device has persisted the log up to there; it never goes back. Acknowledging one's removal ends "
    "the membership.",
    responses=problems(Code.UNAUTHENTICATED, Code.NOT_FOUND, Code.TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE),
    security=[{"session": []}],
    tags=["chats"],
)
async def acknowledge_position(chat_id: ChatIdHex, data: JSONBody[AckPosition], request: HTTPRequest) -> None:
    """Move the calling device's position."""
    pool, device_id, chat = services_of(request).pool, caller_of(request).device_id, bytes.fromhex(chat_id)
    await chats.require_member(pool, chat, device_id)
    await chats.acknowledge(pool, [(chat, device_id, data.position)])


@get(
    "/v1/inbox",
    guards=[require_session],
    summary="Read the inbox",
    description="The oldest items that wait for the calling device, as many as fit into a page. Delete them when they "
    "are persisted; an empty page is the end.",
    responses=problems(Code.UNAUTHENTICATED),
    security=[{"session": []}],
    tags=["inbox"],
)
async def read_inbox(request: HTTPRequest) -> Inbox:
    """The calling device's items."""
    device_id = caller_of(request).device_id
    pool = services_of(request).pool
    return Inbox(await inbox.waiting(pool, device_id, [], limits.INBOX_ITEMS_PER_PAGE, limits.PAGE_BYTES))


@delete(
    "/v1/inbox/{item_id:int}",
    guards=[require_session],
    summary="Acknowledge an inbox item",
    description="The device has persisted it; the server forgets it.",
    responses=problems(Code.UNAUTHENTICATED, Code.NOT_FOUND),
    security=[{"session": []}],
    tags=["inbox"],
)
async def acknowledge_item(item_id: ItemIdNumber, request: HTTPRequest) -> None:
    """Forget one item of the calling device."""
    if not await inbox.acknowledge(services_of(request).pool, [(caller_of(request).device_id, item_id)]):
        raise not_found()


async def _append(request: HTTPRequest, data: Request, chat_id: str | None = None) -> Accepted:
    if chat_id is not None and data.chat_id.hex() != chat_id:
        raise ProblemError(Code.MALFORMED, "the body is for another chat than the path")
    caller = caller_of(request)
    answer = await services_of(request).relay.writer.ask(check(caller.account_id, caller.device_id, data))
    if isinstance(answer, Refused):
        raise ProblemError(answer.code, answer.detail, answer.head or None)
    return answer
