"""The `sealdesk` command: a server, and a person's side of a conversation, from a terminal.

Owns words: parsing, prompting, printing, exit codes. What is done is `client_lib`'s and `backend`'s; this package alone
knows both. Nothing that somebody else wrote reaches the terminal but through `output`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sealdesk_cli.errors import CommandError, Exit, while_read
from sealdesk_cli.parser import build_parser

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit code (`errors.Exit`); prints at most one line about what went wrong."""
    return while_read(lambda: _run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    try:
        options = build_parser().parse_args(arguments)
        # Only now the libraries: help and a mistyped command need none of them.
        runner: ModuleType = importlib.import_module("sealdesk_cli.runner")
    except CommandError as error:
        sys.stderr.write(f"sealdesk: {error}\n")
        return error.code
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    code: int = runner.run(options)
    return code
