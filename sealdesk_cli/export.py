"""`export`: the history in the clear, on request."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path

from client_lib import Chat, Message
from sealdesk_cli import output
from sealdesk_cli.errors import CommandError
from sealdesk_cli.records import chat_line, message_head, message_record
from sealdesk_cli.session import catch_up, chat_of, opened

PAGE = 200
"""Messages read from the store at once."""


async def export(options: Namespace) -> None:
    """`sealdesk export`."""
    path = Path(options.output)
    count = 0
    async with opened(options) as client:
        await catch_up(client)
        chats = [chat_of(client, options.chat)] if options.chat is not None else client.chats
        with _new_private_file(path) as file:
            for chat in chats:
                if not options.json:
                    file.write(output.one_line(chat_line(chat, client.me)) + "\n\n")
                for message in _history(chat):
                    count += 1
                    file.write(output.to_json(message_record(message)) + "\n" if options.json else _text(message))
    output.note(f"{count} messages written to {path} as PLAINTEXT, readable by you only: keep it safe, or delete it.")


def _history(chat: Chat) -> Iterator[Message]:
    """All of it, page by page, with what is unsent at the end."""
    position = 0
    while True:
        page = chat.history(after=position, limit=PAGE)
        yield from page
        placed = [message.position for message in page if message.position is not None]
        if len(page) < PAGE or len(placed) < len(page):
            return
        position = placed[-1]


def _text(message: Message) -> str:
    lines = [output.one_line(message_head(message)), *output.indented(message.shown, None), ""]
    return "\n".join(lines) + "\n"


@contextmanager
def _new_private_file(path: Path) -> Iterator[TextIOWrapper]:
    """A new file of mode 0600, on disk when the block ends and gone if it fails. Nothing is ever overwritten."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise CommandError(f"{path} exists already: name a file that does not") from error
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from error
    try:
        with TextIOWrapper(os.fdopen(descriptor, "wb"), "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink()
        raise CommandError(f"cannot write {path}: {error.strerror}") from error
    except BaseException:
        path.unlink()
        raise
