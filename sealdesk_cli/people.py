"""Accounts and names: `register`, `contact`."""

from __future__ import annotations

import asyncio
from argparse import Namespace

from client_lib import Client, ServerError, generate_recovery_phrase
from client_lib.store import default_key_file
from client_lib.transport import HttpTransport
from sealdesk_cli import output, passphrases
from sealdesk_cli.errors import CommandError, Exit
from sealdesk_cli.links import parse_link
from sealdesk_cli.session import check_name, check_new_store, opened, store_path

_COLUMNS = 4


async def register(options: Namespace) -> None:
    """`sealdesk register`."""
    invitation = parse_link(options.link)
    store = store_path(options)
    # If the server is not there, nothing is made and nothing shown.
    async with HttpTransport(invitation.server_url) as http:
        await http.ready()
    if store.exists():
        output.note(f"{store} was begun before: this goes on with it.")
        passphrase = await asyncio.to_thread(passphrases.for_store, store)
        phrase = (await asyncio.to_thread(passphrases.ask_phrase)).strip()
    else:
        check_new_store(store)
        passphrase = await asyncio.to_thread(passphrases.for_new_store, options.passphrase)
        phrase = generate_recovery_phrase()
        if not options.json:
            _show_phrase(phrase)
    # Shown before anything is sent: an account whose words nobody has seen could not be recovered.
    try:
        client = await Client.register(store, invitation.server_url, invitation.code, phrase, passphrase=passphrase)
    except ServerError as error:
        raise CommandError(
            f"{error}; {store} and its 24 words are kept: run this again with a new link, or remove the store"
        ) from error
    async with client:
        address = client.me.address
    if options.json:
        output.record({"address": address, "store": str(store), "recovery_phrase": phrase})
        return
    output.line(f"Registered. The address of this account, for others to write to: {address}")
    if passphrase is None:
        output.note(f"The key of {store} is in {default_key_file(store).path}: keep both where only you can read them.")


async def contact(options: Namespace) -> None:
    """`sealdesk contact`."""
    if options.address is not None and options.name is None:
        raise CommandError("a name is missing: sealdesk contact STORE ADDRESS NAME", Exit.USAGE)
    async with opened(options) as client:
        if options.address is not None:
            check_name(client, options.address, options.name)
            await client.name(options.address, options.name)
        people = [client.me, *client.contacts]
        me = client.me.address
    for person in people:
        is_me = person.address == me
        if options.json:
            output.record({"address": person.address, "name": person.name, "is_me": is_me})
        else:
            output.line(f"{person.address}  {'(you)' if is_me else person.name}")


def _show_phrase(phrase: str) -> None:
    words = phrase.split()
    output.line("These 24 words are the account. Write them down on paper now: they are shown once, and kept nowhere.")
    output.line("Whoever has them can speak for you. Getting an account back with them comes in a later version.")
    output.line()
    rows = len(words) // _COLUMNS
    for row in range(rows):
        output.line("".join(f"{i + 1:4}. {words[i]:<12}" for i in range(row, len(words), rows)).rstrip())
    output.line()
