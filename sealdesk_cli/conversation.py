"""Talking: `chats`, `send`, `listen`."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from argparse import Namespace
from pathlib import Path

from client_lib import Client, Message, Status, TrustError
from client_lib.events import Offline
from sealdesk_cli import output
from sealdesk_cli.errors import CommandError, Exit
from sealdesk_cli.records import (
    Saved,
    chat_line,
    chat_record,
    event_line,
    event_record,
    message_head,
    message_record,
    saved_lines,
    short,
)
from sealdesk_cli.session import catch_up, chat_with, message_of, opened

CONSUMER = "listen"
"""The name under which the store remembers how far `listen` has come in each chat."""

SENT_S = 10.0
"""How long `send` waits for the server to take a message."""


async def chats(options: Namespace) -> None:
    """`sealdesk chats`."""
    async with opened(options) as client:
        await catch_up(client)
        for chat in client.chats:
            if options.json:
                output.record(chat_record(chat))
            else:
                output.line(chat_line(chat, client.me))
        if not client.chats:
            output.note("There are no chats yet: `sealdesk send` opens one.")


async def send(options: Namespace) -> None:
    """`sealdesk send`."""
    text = await asyncio.to_thread(_read_text, options.text)
    files = [_checked_file(name) for name in options.attach]
    if not text and not files:
        raise CommandError("there is nothing to send: give a text, or --attach a file", Exit.USAGE)
    async with opened(options) as client:
        online = await catch_up(client)
        if files and not online:
            raise CommandError("nothing was sent: a file goes out only while the server answers", Exit.UNREACHABLE)
        chat = await chat_with(client, options.to)
        answered = message_of([chat], options.reply_to) if options.reply_to is not None else None
        sent = await chat.send(text, attach=files, reply_to=answered)
        if online:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(client.flush(), SENT_S)
        sent = next(message for message in chat.history() if message.id == sent.id)
    _report(sent, options.json)


async def listen(options: Namespace) -> None:
    """`sealdesk listen`."""
    folder = Path(options.save) if options.save is not None else None
    async with opened(options) as client:
        telling = asyncio.create_task(_tell_events(client, options.json, options.once))
        try:
            if options.once:
                await catch_up(client)
            async for message in client.unhandled(CONSUMER) if options.once else client.follow(CONSUMER):
                await _show(message, folder, options.json)
        finally:
            telling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await telling


async def save(options: Namespace) -> None:
    """`sealdesk save`."""
    async with opened(options) as client:
        message = message_of(client.chats, options.message)
        if not message.attachments:
            raise CommandError("no file came with this message")
        saved = await _save(message, Path(options.folder))
        if options.json:
            output.record(message_record(message, saved))
        for line in saved_lines(message, saved) if not options.json else ():
            output.line(line)


async def _show(message: Message, folder: Path | None, as_json: bool) -> None:
    """Save the files first: if that fails for now, the message has not been shown and comes again the next time."""
    saved: Saved | None = await _save(message, folder) if folder is not None else None
    if as_json:
        output.record(message_record(message, saved))
        return
    output.line(message_head(message))
    output.body(message.shown)
    for line in saved_lines(message, saved) if saved is not None else ():
        output.body(line)


async def _save(message: Message, folder: Path) -> Saved:
    saved: dict[int, Path | str] = {}
    for number, attachment in enumerate(message.attachments):
        try:
            saved[number] = await attachment.save(folder)
        except TrustError as error:  # trying again would not help, and must not keep what follows from being shown
            output.complain(str(error))
            saved[number] = str(error)
    return saved


async def _tell_events(client: Client, as_json: bool, once: bool) -> None:
    async for event in client.events():
        chats = {chat.chat_id: chat for chat in client.chats}
        if as_json:
            record = event_record(chats, event)
            if record is not None:
                output.record(record)
        else:
            line = event_line(chats, event)
            if line is not None and not (once and isinstance(event, Offline)):  # `catch_up` says that
                output.note(line)


def _report(message: Message, as_json: bool) -> None:
    if as_json:
        output.record(message_record(message))
    if message.status is Status.FAILED:
        raise CommandError(f"the message was refused for good: {message.reason}")
    if message.status is Status.SENDING:
        output.note("Not sent yet: it is kept, and goes out with the next command that reaches the server.")
    elif not as_json and message.id is not None:
        output.line(f"Sent: message {short(message.id.hex())} in {message.chat.kind} chat {short(message.chat.id)}.")


def _read_text(given: str) -> str:
    if given == "-":
        given = sys.stdin.read().removesuffix("\n")
    if not _is_text(given):
        raise CommandError("the text is not valid in this terminal's encoding: send it as a file", Exit.USAGE)
    return given


def _checked_file(name: str) -> Path:
    if not _is_text(Path(name).name):
        raise CommandError("a file's name is not valid UTF-8: rename it first", Exit.USAGE)
    if not Path(name).is_file():
        raise CommandError(f"there is no file {name}: check the path")
    return Path(name)


def _is_text(given: str) -> bool:
    """Whether it can be encoded; what the terminal sent in another encoding stands in it as lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in given)
