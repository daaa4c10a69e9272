"""Bots: programs with an account and keys of their own.

::

    bot = Bot("triage.sealdesk")

    @bot.command("status")
    async def status(message, chat):
        await message.reply("Open since Monday.")

    bot.run()

A handler is called once for each message, in the order of each chat. If the process dies in between, the handler runs
again after the restart, and what it had sent is not sent twice (`client_lib.turns`). Handlers take what they name:
`message`, `chat`, `client`, and `arguments`, the text after the command.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from client_lib import turns
from client_lib.chats import Message
from client_lib.client import Client
from client_lib.hardening import forbid_core_dumps

Handler = Callable[..., Awaitable[None]]

CONSUMER = "bot"
PARAMETERS = frozenset({"message", "chat", "client", "arguments"})

log = logging.getLogger("sealdesk.bot")


class Bot:
    """A bot over the store at `path`; its key comes from the key file beside it, or from `passphrase`."""

    def __init__(self, path: str | Path, *, passphrase: str | None = None) -> None:
        self._path = path
        self._passphrase = passphrase
        self._commands: dict[str, Handler] = {}
        self._fallback: Handler | None = None

    def command(self, name: str) -> Callable[[Handler], Handler]:
        """Call the decorated function for messages that start with `/name`."""

        def register(handler: Handler) -> Handler:
            if name in self._commands:
                raise ValueError(f"the command /{name} has a handler already")
            self._commands[name] = _checked(handler)
            return handler

        return register

    def message(self, handler: Handler) -> Handler:
        """Call the decorated function for every message that is no known command."""
        if self._fallback is not None:
            raise ValueError("there is a handler for messages already")
        self._fallback = _checked(handler)
        return handler

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM; the message being handled is finished first.

        Says so on standard error, or where the program sends its log.
        """
        forbid_core_dumps()
        logging.basicConfig(format="%(message)s")
        log.setLevel(logging.INFO)
        asyncio.run(self.serve())

    async def serve(self) -> None:
        """The same as `run`, inside a running event loop."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        async with await Client.open(self._path, passphrase=self._passphrase) as client:
            log.info("Listening as %s; Ctrl-C or SIGTERM stops it.", client.me.address)
            async for message in client.follow(CONSUMER, until=stop):
                assert message.position is not None
                with turns.turn(CONSUMER, message.chat.chat_id, message.position):
                    await self._handle(client, message)

    async def _handle(self, client: Client, message: Message) -> None:
        handler, arguments = self._choose(message)
        if handler is None:
            return
        offered = {"message": message, "chat": message.chat, "client": client, "arguments": arguments}
        wanted = inspect.signature(handler).parameters
        try:
            await handler(**{name: offered[name] for name in wanted})
        except Exception:  # the handler is foreign code: one message must not stop the bot
            log.exception("a handler failed; the bot goes on with the next message")

    def _choose(self, message: Message) -> tuple[Handler | None, str]:
        word, _, arguments = message.text.partition(" ")
        if word.startswith("/") and word[1:] in self._commands:
            return self._commands[word[1:]], arguments.strip()
        return self._fallback, message.text


def _checked(handler: Handler) -> Handler:
    unknown = set(inspect.signature(handler).parameters) - PARAMETERS
    if unknown:
        names: Any = ", ".join(sorted(unknown))
        raise TypeError(f"a handler may name {', '.join(sorted(PARAMETERS))}, not {names}")
    return handler
