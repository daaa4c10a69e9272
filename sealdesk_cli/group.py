"""Group chats: `group new`, `group add`, `group remove`."""

from __future__ import annotations

from argparse import Namespace

from client_lib import Chat, Person
from sealdesk_cli import output
from sealdesk_cli.errors import CommandError
from sealdesk_cli.records import chat_line, chat_record
from sealdesk_cli.session import address_of, chat_of, opened, reach_server


async def new(options: Namespace) -> None:
    """`sealdesk group new`."""
    async with opened(options) as client:
        await reach_server(client, "nothing was changed")
        chat = await client.group_chat(*_distinct([address_of(client, who) for who in options.who]))
        _report(chat, client.me, options.json)


async def add(options: Namespace) -> None:
    """`sealdesk group add`."""
    async with opened(options) as client:
        await reach_server(client, "nothing was changed")
        chat = _group(chat_of(client, options.chat))
        addresses = _distinct([address_of(client, who) for who in options.who])
        present = [member.name for member in chat.members if member.address in addresses]
        if present:
            raise CommandError(f"{', '.join(present)} is in this chat already")
        await chat.add(*addresses)
        _report(chat, client.me, options.json)


async def remove(options: Namespace) -> None:
    """`sealdesk group remove`."""
    async with opened(options) as client:
        await reach_server(client, "nothing was changed")
        chat = _group(chat_of(client, options.chat))
        addresses = _distinct([address_of(client, who) for who in options.who])
        if client.me.address in addresses:
            raise CommandError("nobody can remove themselves: ask another member to do it")
        members = {member.address for member in chat.members}
        absent = [who for who in options.who if address_of(client, who) not in members]
        if absent:
            raise CommandError(f"{', '.join(absent)} is not in this chat: `sealdesk chats` lists who is")
        await chat.remove(*addresses)
        _report(chat, client.me, options.json)


def _group(chat: Chat) -> Chat:
    if chat.kind != "group":
        raise CommandError("a private chat keeps its two people: open a group chat with `sealdesk group new`")
    return chat


def _distinct(addresses: list[str]) -> list[str]:
    return list(dict.fromkeys(addresses))


def _report(chat: Chat, me: Person, as_json: bool) -> None:
    if as_json:
        output.record(chat_record(chat))
    else:
        output.line(chat_line(chat, me))
