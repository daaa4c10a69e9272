"""The `sealdesk` command: a server, and a person's side of a conversation, from a terminal.

Owns words: parsing, prompting, printing, exit codes. What is done is `client_lib`'s and `backend`'s; this package alone
knows both. Nothing that somebody else wrote reaches the terminal but through `output`.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sealdesk_cli.errors import CommandError, Exit
from sealdesk_cli.parser import build_parser

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit code (`errors.Exit`); prints at most one line about what went wrong."""
    try:
        try:
            options = build_parser().parse_args(arguments)
        finally:
            sys.stdout.flush()  # what --help has printed
        # Only now the libraries: help and a mistyped command need none of them.
        runner: ModuleType = importlib.import_module("sealdesk_cli.runner")
    except CommandError as error:
        sys.stderr.write(f"sealdesk: {error}\n")
        return error.code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the end of Python has nothing to flush
        return Exit.BROKEN_PIPE
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    code: int = runner.run(options)
    return code
