"""The command line: every command, its arguments, and an example of each.

argparse, because it is there: it starts in no time, and the one-line errors below are one method. Abbreviated options
are off, so that a script does not break when an option is added.
"""

from __future__ import annotations

import argparse
from importlib.metadata import PackageNotFoundError, version
from shutil import get_terminal_size
from textwrap import fill
from typing import Any, NoReturn

from sealdesk_cli.errors import CommandError, Exit

COLUMNS_MAX = 100

OVERVIEW = """\
Two terminals are enough to talk. In the first:

  sealdesk init
  sealdesk serve

In the second:

  sealdesk invite                                 prints a link; one for each account
  sealdesk register alice.sealdesk LINK           shows 24 words to write down, and Alice's address
  sealdesk register bob.sealdesk ANOTHER_LINK
  sealdesk contact alice.sealdesk ADDRESS bob     from now on, Alice can say bob
  sealdesk send alice.sealdesk bob "Good morning"
  sealdesk listen bob.sealdesk
"""

CONVENTIONS = """\
STORE is a file: everything one person has, encrypted. One command at a time can use it: stop
`listen` (Ctrl-C) to send.
WHO is an address (32 characters) or the name that you gave it with `sealdesk contact`.
CHAT is the id of a chat, or its first 6 digits or more; `sealdesk chats` lists them.

Environment: SEALDESK_PASSPHRASE opens a store that has no key file; SEALDESK_DEBUG=1 adds a
traceback to an error. The server's settings are variables too, see docs/settings.md.

Exit codes: 0 done; 1 refused or not possible; 2 the command line is not understood; 3 the server
was not reached, try again later; 4 the store is in use, locked or damaged; 5 something is not what
it claims to be; 70 a fault of Sealdesk; 130 Ctrl-C; 141 the reader of the output went away.
"""


def _formatter(prog: str) -> argparse.HelpFormatter:
    """Lines of 100 columns at most, on a wider terminal too: longer ones are hard to read."""
    return argparse.RawDescriptionHelpFormatter(prog, width=min(get_terminal_size().columns, COLUMNS_MAX) - 2)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line, and repeat nothing that may be a secret."""

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("formatter_class", _formatter)
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        """Raise CommandError."""
        if message.startswith("argument --passphrase"):
            message = "--passphrase takes no value: it makes me ask for one"
        elif message.startswith("unrecognized arguments"):
            # Not repeated: somebody may have put a passphrase there.
            message = (
                "there is an argument too many; a text with spaces needs quotes, one that starts with - needs -- before"
            )
        raise CommandError(f"{message} (`{self.prog} --help` shows how)", Exit.USAGE)


def build_parser() -> Parser:
    """The parser. `run` of its result is `module:function`, which takes the parsed options."""
    parser = Parser(
        prog="sealdesk",
        description="End-to-end encrypted messages: a server, and a person's side of a conversation.\n\n" + OVERVIEW,
        epilog=CONVENTIONS,
    )
    parser.add_argument("--version", action="version", version=f"sealdesk {_version()}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_server(commands)
    _add_account(commands)
    _add_conversation(commands)
    _add_group(commands)
    return parser


def _add_server(commands: Any) -> None:
    init = _command(
        commands,
        "init",
        "server:init",
        "make the server's database ready",
        "Makes the data folder and the database in it, or brings an existing one up to date. Running it again does "
        "no harm. With DATABASE_URL set, it uses your own PostgreSQL.",
        "sealdesk init\n  DATABASE_URL=postgresql://sealdesk@/sealdesk sealdesk init",
    )
    serve = _command(
        commands,
        "serve",
        "server:serve",
        "run the server until Ctrl-C",
        "Listens on loopback unless told otherwise. Put a proxy that ends TLS before it and name the URL that clients "
        "use: it stands in invitations, and clients refuse plain http to any other machine.",
        "sealdesk serve\n  sealdesk serve --port 9000\n  sealdesk serve --public-url https://chat.example.org",
    )
    invite = _command(
        commands,
        "invite",
        "server:invite",
        "print an invitation link",
        "Prints a link that lets one account register. Run it where the server's data is; the server may be running.",
        "sealdesk invite",
    )
    for command in (init, serve, invite):
        command.add_argument("--data", metavar="FOLDER", help="the server's folder (SEALDESK_DATA)")
    for command in (serve, invite):
        command.add_argument("--host", help="address to listen on (SEALDESK_HOST)")
        command.add_argument("--port", help="port to listen on (SEALDESK_PORT)")
        command.add_argument("--public-url", metavar="URL", help="what clients call this server (SEALDESK_PUBLIC_URL)")
    _add_json(invite)


def _add_account(commands: Any) -> None:
    register = _command(
        commands,
        "register",
        "people:register",
        "make an account and its store",
        "Makes a new account, shows its 24 words once, and prints its address, which others need "
        "to write to it. If it fails on the way, run it again: it takes up where it was, and asks for the words. "
        "Without a passphrase, the store's key goes to STORE.key: whoever has both files can read everything.",
        "sealdesk register alice.sealdesk http://127.0.0.1:8440/#k5f6c3ynwlq2rvyfz6dq3tnhiu",
    )
    _add_store(register)
    register.add_argument("link", metavar="LINK", help="what `sealdesk invite` printed")
    register.add_argument(
        "--passphrase", action="store_true", help="ask for a passphrase (or take SEALDESK_PASSPHRASE)"
    )
    _add_json(register)

    contact = _command(
        commands,
        "contact",
        "people:contact",
        "give an address a name, or list the names",
        "Names stay in your store: nobody else sees them. Without an address, lists yours and all that have names.",
        "sealdesk contact alice.sealdesk mb4q...7aya bob\n  sealdesk contact alice.sealdesk",
    )
    _add_store(contact)
    contact.add_argument("address", metavar="ADDRESS", nargs="?", help="32 characters")
    contact.add_argument("name", metavar="NAME", nargs="?", help="what you call it")
    _add_json(contact)


def _add_conversation(commands: Any) -> None:
    chats = _command(
        commands,
        "chats",
        "conversation:chats",
        "list the chats of a store",
        "Fetches what is new and lists every chat with its members.",
        "sealdesk chats alice.sealdesk",
    )
    _add_store(chats)
    _add_json(chats)

    send = _command(
        commands,
        "send",
        "conversation:send",
        "send a message or a file",
        "Sends to a person (opening a private chat if there is none) or to a chat. A text that cannot go out now is "
        "kept, and goes out with the next command that reaches the server; a file needs the server. Other users of a "
        "machine can see command lines: with - as the text, it is read from standard input.",
        'sealdesk send alice.sealdesk bob "The contract" --attach contract.pdf\n'
        "  sealdesk send alice.sealdesk 3fa94c - < letter.txt",
    )
    _add_store(send)
    send.add_argument("to", metavar="TO", help="WHO or CHAT")
    send.add_argument("text", metavar="TEXT", nargs="?", default="", help="the message; - reads standard input")
    send.add_argument(
        "--attach", metavar="FILE", action="append", default=[], help="a file to send along; may be repeated"
    )
    send.add_argument("--reply-to", metavar="ID", help="the message that this one answers; `listen` shows ids")
    _add_json(send)

    listen = _command(
        commands,
        "listen",
        "conversation:listen",
        "show messages as they come",
        "Shows what others have sent since the last time, then what comes, until Ctrl-C.",
        "sealdesk listen bob.sealdesk\n  sealdesk listen bob.sealdesk --once --save inbox",
    )
    _add_store(listen)
    listen.add_argument("--save", metavar="FOLDER", help="save attached files here, under names that are free")
    listen.add_argument("--once", action="store_true", help="show what is there and end")
    _add_json(listen)

    save = _command(
        commands,
        "save",
        "conversation:save",
        "save the files of a message",
        "Downloads and decrypts what came with a message, also one that `listen` has shown already.",
        "sealdesk save bob.sealdesk 01c4f2 inbox",
    )
    _add_store(save)
    save.add_argument("message", metavar="ID", help="the message's id, or how it starts; `listen` shows ids")
    save.add_argument("folder", metavar="FOLDER", help="where the files go, under names that are free")
    _add_json(save)

    export = _command(
        commands,
        "export",
        "export:export",
        "write the history to a file, decrypted",
        "Writes every message that the store holds to a new file that only you can read. It is PLAINTEXT: nothing "
        "protects it but the disk it is on. Attached files are named in it, not contained.",
        "sealdesk export alice.sealdesk --output history.txt\n"
        "  sealdesk export alice.sealdesk --chat 3fa94c --json --output history.jsonl",
    )
    _add_store(export)
    export.add_argument("--chat", metavar="CHAT", help="this chat only")
    export.add_argument("--output", metavar="FILE", required=True, help="a file that does not exist yet")
    export.add_argument(
        "--json", action="store_true", help="write JSON, one message a line, as `listen --json` prints it"
    )


def _add_group(commands: Any) -> None:
    group = Parser(add_help=False)
    _add_store(group)
    _add_json(group)
    chat = Parser(add_help=False)
    chat.add_argument("chat", metavar="CHAT", help="the group chat")
    who = Parser(add_help=False)
    who.add_argument("who", metavar="WHO", nargs="+", help="name or address")

    parser = commands.add_parser(
        "group",
        help="open a group chat, add and remove people",
        description="Group chats. Whoever is added reads what is sent from then on; whoever is removed, no more.",
        epilog="example:\n  sealdesk group new alice.sealdesk bob carol\n",
    )
    actions = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, parents, about, example in (
        ("new", [group, who], "open a group chat with these people", "sealdesk group new alice.sealdesk bob carol"),
        ("add", [group, chat, who], "add people", "sealdesk group add alice.sealdesk 3fa94c dave"),
        ("remove", [group, chat, who], "remove people", "sealdesk group remove alice.sealdesk 3fa94c dave"),
    ):
        _command(actions, name, f"group:{name}", about, about.capitalize() + ".", example, parents)


def _command(
    commands: Any, name: str, run: str, about: str, description: str, example: str, parents: list[Parser] | None = None
) -> Parser:
    command: Parser = commands.add_parser(
        name, help=about, description=fill(description, 88), epilog=f"example:\n  {example}\n", parents=parents or []
    )
    command.set_defaults(run=run)
    return command


def _add_store(command: Parser) -> None:
    command.add_argument("store", metavar="STORE", help="the store's file, for example alice.sealdesk")


def _add_json(command: Parser) -> None:
    command.add_argument("--json", action="store_true", help="print JSON, one value a line")


def _version() -> str:
    try:
        return version("sealdesk")
    except PackageNotFoundError:
        return "from a checkout"
