"""Fenced blocks of the documents: what they are, and how the ones that are commands or code are run.

Every fence has an info string. Its first word is the language:

- `console`: lines that start with `$ ` are commands; the lines below one are what it prints. All blocks of a document
  run in order in one temporary folder. A command that ends in ` &` goes on in the background until the document ends;
  the next one starts when its lines have come.
- `python`: a program, run in the same folder. With `file=NAME` it is written there under that name instead, for a
  command to use.
- `json`, `toml`, `yaml`: must parse.
- `text`, `mermaid`, `ini`: shown, not run.

`illustrative: REASON` behind the language says why a block of the first three kinds is not run.
In expected output `...` stands for any text, and a line of `...` alone for any lines.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

RUN = {"console", "python"}
PARSED = {"json", "toml", "yaml"}
SHOWN = {"text", "mermaid", "ini"}


class DocumentError(Exception):
    """A document has a block that cannot be understood. The text names the line."""


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block. `line` is where its content starts, counted from 1."""

    document: str
    line: int
    language: str
    options: str
    text: str

    @property
    def reason(self) -> str:
        """Why the block is not run; empty if it is."""
        return self.options.removeprefix("illustrative:").strip() if self.options.startswith("illustrative:") else ""

    @property
    def file(self) -> str:
        """The name under which a program is written into the folder; empty if it is run at once."""
        return self.options.removeprefix("file=") if self.options.startswith("file=") else ""


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a console block, with the lines that the document shows under it."""

    line: int
    text: str
    expected: tuple[str, ...]
    background: bool


def blocks(path: Path) -> Iterator[Block]:
    """Every fenced block of a document. Raises `DocumentError`."""
    lines = path.read_text("utf-8").splitlines()
    start = None
    fence = info = ""
    for number, line in enumerate(lines, 1):
        opening = re.match(r"\s*(`{3,}|~{3,})\s*(.*)$", line)
        if start is None and opening:
            fence, info, start = opening[1], opening[2].strip(), number
        elif start is not None and line.strip() == fence:
            yield _block(path.name, start + 1, info, "\n".join(lines[start : number - 1]))
            start = None
    if start is not None:
        raise DocumentError(f"{path.name}:{start}: this block has no end")


def _block(document: str, line: int, info: str, text: str) -> Block:
    language, _, options = info.partition(" ")
    block = Block(document, line, language, options.strip(), text)
    if language not in RUN | PARSED | SHOWN:
        raise DocumentError(f"{document}:{line}: {language or 'a block without a language'} is neither run nor listed")
    if block.options and not (block.reason or (block.file and language == "python")):
        raise DocumentError(f"{document}:{line}: cannot read {block.options!r}")
    return block


def commands(block: Block) -> Iterator[Command]:
    """The commands of a console block in order. Raises `DocumentError` for output that belongs to none."""
    text: list[str] = []
    expected: list[str] = []
    started = 0
    for number, line in enumerate(block.text.splitlines(), block.line):
        if text and text[-1].endswith("\\"):
            text.append(line)
        elif line.startswith("$ "):
            if text:
                yield _command(started, text, expected)
            text, expected, started = [line[2:]], [], number
        elif text:
            expected.append(line)
        else:
            raise DocumentError(f"{block.document}:{number}: output before the first command")
    if text:
        yield _command(started, text, expected)


def _command(line: int, text: list[str], expected: list[str]) -> Command:
    whole = "\n".join(text).rstrip()
    background = whole.endswith(" &")
    while expected and not expected[-1].strip():
        expected = expected[:-1]
    return Command(line, whole.removesuffix(" &"), tuple(expected), background)


def pattern(expected: tuple[str, ...]) -> re.Pattern[str]:
    """A pattern for a command's whole output. Space at the end of a line does not count."""
    parts = []
    for line in expected:
        if line.strip() == "...":
            parts.append(r"(?:[^\n]*\n)*?")
        else:
            parts.append(re.escape(line.rstrip()).replace(r"\.\.\.", r"[^\n]*") + r"[^\S\n]*\n")
    return re.compile("".join(parts))


def matches(expected: tuple[str, ...], output: str) -> bool:
    """Tell whether a command printed what the document shows."""
    return pattern(expected).fullmatch(output if output.endswith("\n") or not output else output + "\n") is not None


def begins(expected: tuple[str, ...], output: str) -> bool:
    """Tell whether a background command has by now printed what the document shows."""
    return pattern(expected).match(output) is not None
