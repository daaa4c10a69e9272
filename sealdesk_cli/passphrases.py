"""Secrets from people: the passphrase of a store and the recovery phrase. Never from the command line.

Other users of a machine can read every command line, and shells write them to a file. So a passphrase is typed at the
terminal or comes in SEALDESK_PASSPHRASE; without either, a store's key is in the key file beside it.
"""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path

from client_lib.store import Passphrase, default_key_file
from client_lib.store.vault import PASSPHRASE_CHARACTERS_MIN
from sealdesk_cli.errors import CommandError, Exit

VARIABLE = "SEALDESK_PASSPHRASE"


def for_new_store(wanted: bool) -> str | None:
    """The passphrase of a store that is being made, typed twice; None for a key file."""
    given = os.environ.get(VARIABLE)
    if given:
        Passphrase(given).prepare()
    if given or not wanted:
        return given or None
    first = _ask(f"New passphrase, at least {PASSPHRASE_CHARACTERS_MIN} characters: ")
    Passphrase(first).prepare()
    if first != _ask("The same again: "):
        raise CommandError("the two passphrases differ, nothing was made: start again")
    return first


def for_store(store: Path) -> str | None:
    """The passphrase of a store that exists; None if it has a key file. What does not exist needs none to be told."""
    if not store.is_file() or default_key_file(store).path.exists():
        return None
    return os.environ.get(VARIABLE) or _ask(f"Passphrase of {store}: ")


def ask_phrase() -> str:
    """The 24 words again: typed at the terminal, or piped in."""
    if not sys.stdin.isatty():
        return sys.stdin.readline()
    return _ask("Its 24 words: ")


def _ask(prompt: str) -> str:
    if not sys.stdin.isatty():
        raise CommandError(f"there is no terminal to ask for the passphrase: set {VARIABLE}", Exit.STORE)
    try:
        return getpass.getpass(prompt, sys.stderr)
    except EOFError as error:
        raise CommandError("no passphrase was given: start again", Exit.STORE) from error
