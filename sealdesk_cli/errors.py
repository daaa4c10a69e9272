"""How a command ends: exit codes, the error that carries one, and what happens when nobody reads any more."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
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


def while_read(program: Callable[[], int]) -> int:
    """Run a program, and end it without a word when the reader of its output goes away, as `head` does.

    Returns its exit code, or 141: what a shell says of a program that ended for this reason.
    """
    try:
        try:
            return program()
        finally:
            sys.stdout.flush()  # now, not at the end of Python, where it would be a complaint
    except BrokenPipeError:
        pass
    except SystemExit as ending:  # rich's way of ending for the same reason
        if not isinstance(ending.__context__, BrokenPipeError):
            raise
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in the buffer goes nowhere
    return Exit.BROKEN_PIPE
