"""People of the end-to-end tests: real clients on real stores against a real server process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from client_lib import Chat, Client, generate_recovery_phrase
from tests.conftest import Server

WAIT_S = 30.0


@asynccontextmanager
async def registered(
    server: Server, invitation: Callable[[], bytes], folder: Path, *names: str
) -> AsyncIterator[list[Client]]:
    """A registered, connected client for each name; its store is `folder/<name>.sealdesk`."""
    async with AsyncExitStack() as stack:
        clients = []
        for name in names:
            code = await asyncio.to_thread(invitation)
            client = await Client.register(folder / f"{name}.sealdesk", server.url, code, generate_recovery_phrase())
            clients.append(await stack.enter_async_context(client))
        yield clients


async def until(condition: Callable[[], bool], timeout_s: float = WAIT_S) -> None:
    """Wait until something is so; bounded."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110  # what is waited for happens in stores and other processes
            await asyncio.sleep(0.02)


def texts(client: Client, chat: Chat) -> list[str]:
    """What a person sees in a chat, in order."""
    return [message.shown for own in client.chats if own.id == chat.id for message in own.history()]


def in_chat(client: Client, chat: Chat) -> Chat | None:
    """The same chat as another client has it."""
    return next((own for own in client.chats if own.id == chat.id), None)
