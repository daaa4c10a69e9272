"""The application: only wiring."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

from litestar import Litestar
from litestar.datastructures import State
from litestar.exceptions import HTTPException

from backend import limits
from backend.database import DatabaseError
from backend.errors import (
    DATABASE_AWAY,
    UNDECODABLE,
    ProblemError,
    handle_fault,
    handle_http,
    handle_problem,
    handle_unavailable,
    handle_undecodable,
)
from backend.openapi import BytesAsBase64, after_request, get_asset, openapi_config
from backend.routes import accounts, attachments, chats, health, key_packages, sessions, stream
from backend.services import open_services
from backend.settings import Settings

HANDLERS = [
    accounts.register_account,
    accounts.get_account,
    sessions.create_challenge,
    sessions.open_session,
    sessions.close_session,
    key_packages.publish_key_packages,
    key_packages.count_key_packages,
    key_packages.claim_key_packages,
    chats.list_chats,
    chats.create_chat,
    chats.send_message,
    chats.send_commit,
    chats.read_messages,
    chats.acknowledge_position,
    chats.read_inbox,
    chats.acknowledge_item,
    attachments.upload_attachment,
    attachments.download_attachment,
    stream.open_stream,
    stream.stream_without_upgrade,
    health.live,
    health.ready,
    get_asset,
]


def create_app(settings: Settings) -> Litestar:
    """The server of `settings`, whose `database_url` names a migrated database. It connects when it starts."""

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        try:
            async with open_services(settings) as services:
                app.state["services"] = services
                yield
        except DatabaseError as error:
            app.state["failure"] = str(error)  # for whoever runs the server: uvicorn says only that it failed
            raise

    return Litestar(
        route_handlers=HANDLERS,
        lifespan=[lifespan],
        state=State(),
        exception_handlers={
            ProblemError: handle_problem,
            HTTPException: handle_http,
            **dict.fromkeys(UNDECODABLE, handle_undecodable),
            **dict.fromkeys(DATABASE_AWAY, handle_unavailable),
            Exception: handle_fault,
        },
        after_request=after_request,
        openapi_config=openapi_config(_version()),
        plugins=[BytesAsBase64()],
        request_max_body_size=limits.BODY_BYTES_MAX,
        logging_config=None,  # ours is set by the process; Litestar's would log exception texts
        debug=False,
    )


def _version() -> str:
    try:
        return version("sealdesk")
    except PackageNotFoundError:  # run from a checkout
        return "0"
