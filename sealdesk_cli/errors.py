"""How a command ends: exit codes, and the error that carries one."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes. They tell a script what to do next; `sealdesk --help` lists them."""

    OK = 0
    FAILED = 1
    """Refused, or not possible: the line on standard error says what to change."""
    USAGE = 2
    """The command line is not understood; nothing was done."""
    UNREACHABLE = 3
    """The server was not reached: try the same again later."""
    STORE = 4
    """The store is in use, locked, damaged or not there."""
    TRUST = 5
    """Something is not what it claims to be (a signature, a file, a server): do not just try again."""
    BUG = 70
    """A fault of Sealdesk."""
    INTERRUPTED = 130
    """Ctrl-C."""
    BROKEN_PIPE = 141
    """The reader of our output went away."""


class CommandError(Exception):
    """A command cannot go on. The text is one line that says what to do next."""

    def __init__(self, text: str, code: Exit = Exit.FAILED) -> None:
        super().__init__(text)
        self.code = code
