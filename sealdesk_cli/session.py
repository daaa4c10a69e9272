"""One command's client: the store, opened and caught up, and the words for people, chats and messages."""

from __future__ import annotations

import asyncio
import os
import re
from argparse import Namespace
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from client_lib import Chat, Client, Message
from client_lib.events import CaughtUp, Offline
from sealdesk_cli import output, passphrases
from sealdesk_cli.errors import CommandError, Exit

CATCH_UP_S = 10.0
"""How long a command waits for a server that takes the connection and then says nothing."""

PREFIX_MIN = 6
"""Fewest characters of an id in place of the whole."""

_ADDRESS = re.compile(r"[a-z2-7]{32}")
_HEX = re.compile(rf"[0-9a-f]{{{PREFIX_MIN},64}}")


@asynccontextmanager
async def opened(options: Namespace) -> AsyncIterator[Client]:
    """The client of `options.store`, open. Raises StoreError."""
    store = store_path(options)
    async with await Client.open(store, passphrase=passphrases.for_store(store)) as client:
        yield client


def store_path(options: Namespace) -> Path:
    """STORE. Raises CommandError if it can be no file."""
    store = Path(options.store)
    if not store.name or store.is_dir():
        raise CommandError(f"{options.store!r} is a folder: name a file in it, such as alice.sealdesk", Exit.STORE)
    return store


async def catch_up(client: Client) -> bool:
    """Wait until everything that the server holds for us is here; False, with a note, if it cannot be had now."""
    try:
        async with asyncio.timeout(CATCH_UP_S):
            async for event in client.events():
                match event:
                    case CaughtUp():
                        return True
                    case Offline(reason):
                        output.note(f"No connection now: {reason}")
                        return False
                    case _:
                        continue
    except TimeoutError:
        output.note(f"The server has not said what is new within {CATCH_UP_S:.0f} s.")
    return False


async def reach_server(client: Client, otherwise: str) -> None:
    """The same, for what is nothing without the server. Raises CommandError: `otherwise`, what did not happen."""
    if not await catch_up(client):
        raise CommandError(f"{otherwise}: try again when the server answers", Exit.UNREACHABLE)


def address_of(client: Client, who: str) -> str:
    """The address behind a name or an address. Raises CommandError."""
    found = [known.address for known in client.contacts if known.name == who]
    if found:
        return found[0]
    if _ADDRESS.fullmatch(who):
        return who
    raise CommandError(f"nobody is called {who!r} here: `sealdesk contact` gives an address (32 characters) a name")


def chat_of(client: Client, text: str) -> Chat:
    """The chat with this id, or the only one whose id starts so. Raises CommandError."""
    found = _starting(client.chats, text)
    if len(found) != 1:
        raise CommandError(
            f"{len(found) or 'no'} chats have an id that starts with {text!r}: `sealdesk chats` lists them"
        )
    return found[0]


async def chat_with(client: Client, to: str) -> Chat:
    """The chat that TO means: a name, an address, or a chat's id, in this order. Raises CommandError, ClientError."""
    if to not in {known.name for known in client.contacts} and _HEX.fullmatch(to) and _starting(client.chats, to):
        return chat_of(client, to)
    return await client.private_chat(address_of(client, to))


def message_of(chats: Sequence[Chat], text: str) -> Message:
    """The message of these chats with this id, or the only one whose id starts so. Raises CommandError."""
    history = (message for chat in chats for message in chat.history())
    found = [message for message in history if message.id is not None and message.id.hex().startswith(text)]
    if not _HEX.fullmatch(text) or len(found) != 1:
        raise CommandError(f"no single message here has an id that starts with {text!r}: `sealdesk listen` shows ids")
    return found[0]


def check_new_store(store: Path) -> None:
    """See that a store can be made there, before anything is shown that belongs to it. Raises CommandError."""
    if not store.parent.is_dir():
        raise CommandError(f"there is no folder {store.parent}: make it first, or choose another path", Exit.STORE)
    if not os.access(store.parent, os.W_OK | os.X_OK):
        raise CommandError(f"you may not write into {store.parent.absolute()}: choose another path", Exit.STORE)


def check_name(client: Client, address: str, name: str) -> None:
    """A name must be one that TO can mean and a terminal can show. Raises CommandError."""
    if not _ADDRESS.fullmatch(address):
        raise CommandError("an address has 32 characters, a to z and 2 to 7: copy it from its owner", Exit.USAGE)
    if not name.strip() or name != output.one_line(name) or name != name.strip() or len(name) > 64:
        raise CommandError("a name is one line of at most 64 visible characters", Exit.USAGE)
    if _ADDRESS.fullmatch(name) or _HEX.fullmatch(name):
        raise CommandError("this name could be taken for an address or an id: choose another", Exit.USAGE)
    if any(known.name == name and known.address != address for known in client.contacts):
        raise CommandError(f"{name} is somebody else already: choose another name")


def _starting(chats: Sequence[Chat], text: str) -> list[Chat]:
    return [chat for chat in chats if chat.id.startswith(text)] if _HEX.fullmatch(text) else []
