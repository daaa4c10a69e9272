"""How the demo is told: to people with colours and progress, or to programs as JSON, one value a line."""

from __future__ import annotations

import json
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.table import Table
from rich.text import Text

Row = tuple[str, str]
"""Who or what, and what they saw or hold."""


class Telling:
    """Tells the story as it happens. Every event has a name and fields; people get lines made of them."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._console = Console(highlight=False)
        self._status = self._console.status("")

    def __enter__(self) -> Self:
        if not self._as_json:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._status.stop()

    def progress(self, doing: str) -> None:
        """What is being done now; seen while it lasts, on a terminal."""
        self._status.update(Text(f"{doing} …"))

    def chapter(self, title: str) -> None:
        """A new part of the story."""
        if not self._as_json:
            self._console.print(Text(f"\n{title}", style="bold"))

    def event(self, name: str, rows: list[Row], **fields: object) -> None:
        """Something happened. Rows whose label starts with `server` are what the server knows of it."""
        if self._as_json:
            print(json.dumps({"event": name, **fields}), flush=True)
            return
        table = Table.grid(padding=(0, 2))
        table.add_column(width=12, justify="right", no_wrap=True)
        table.add_column(overflow="fold")
        for label, text in rows:
            of_server = label.startswith("server")
            table.add_row(
                Text(label, style="red" if of_server else "cyan"), Text(text, style="dim" if of_server else "")
            )
        self._console.print(table)

    def verdict(self, text: str, good: bool, **fields: object) -> None:
        """The last line."""
        self._status.stop()
        if self._as_json:
            print(json.dumps({"event": "end", "good": good, **fields}), flush=True)
        else:
            self._console.print(Text(f"\n{text}", style="bold green" if good else "bold red"))
