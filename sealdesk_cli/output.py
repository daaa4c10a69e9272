"""Everything that is printed. Foreign text is neutralised here, whatever its caller did.

Standard output is for what was asked for, standard error for what is said about it. JSON is ASCII: control and
bidirectional characters are escaped in it, so it is exact and harmless at once.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from io import TextIOWrapper

from rich.cells import cell_len

from client_lib.content import neutralise

INDENT = 7
"""Columns before a message's text, on every line of it: nothing that a sender writes can look like a line of ours."""

SHORT_ID = 12
"""Hex digits of an id as people see it. Every command takes them in place of the whole."""


def prepare() -> None:
    """Print what the terminal's encoding lacks as an escape, and never fail for it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def line(text: str = "") -> None:
    """One line of what was asked for."""
    sys.stdout.write(one_line(text) + "\n")
    sys.stdout.flush()


def body(text: str) -> None:
    """Foreign text of any length, indented."""
    for part in indented(text, _width()):
        sys.stdout.write(part + "\n")
    sys.stdout.flush()


def record(fields: Mapping[str, object]) -> None:
    """One JSON object on one line."""
    sys.stdout.write(to_json(fields) + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """One line about what is going on."""
    sys.stderr.write(one_line(text) + "\n")
    sys.stderr.flush()


def complain(text: str) -> None:
    """The one line of an error."""
    note(f"sealdesk: {text}")


def to_json(fields: Mapping[str, object]) -> str:
    """JSON in ASCII, on one line."""
    return json.dumps(fields, ensure_ascii=True, separators=(", ", ": "))


def one_line(text: str) -> str:
    """Foreign text on one line, harmless."""
    return neutralise(text).replace("\n", " ")


def indented(text: str, width: int | None) -> Iterator[str]:
    """The lines of a text, harmless, each indented, and folded where `width` columns would not hold it."""
    margin = " " * INDENT
    for whole in neutralise(text).split("\n"):
        for part in _folded(whole, None if width is None else max(width - INDENT, 20)):
            yield (margin + part).rstrip()


def when(unix_ms: int) -> str:
    """A time for people, local. A server may say any number: what is no time shows as such."""
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(unix_ms / 1000))
    except (OverflowError, ValueError, OSError):
        return "no valid time "


def _width() -> int | None:
    """Columns of the terminal; None if the output goes elsewhere and stays as it is."""
    return os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else None


def _folded(text: str, columns: int | None) -> Iterator[str]:
    """Cut a line into pieces of at most so many terminal columns, at spaces where there are any."""
    if columns is None:
        yield text
        return
    while cell_len(text) > columns:
        end, used = 0, 0
        while (used := used + cell_len(text[end])) <= columns:
            end += 1
        end = max(end, 1)
        space = text.rfind(" ", 1, end + 1)
        cut = space if space > 0 else end
        yield text[:cut]
        text = text[cut:].lstrip(" ") if space > 0 else text[cut:]
    yield text
