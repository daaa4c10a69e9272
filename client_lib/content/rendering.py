"""Showing content to people: plain text for terminals, with nothing in it that could lie or do harm there.

What a sender wrote is untrusted: escape sequences steer a terminal, bidirectional overrides make a name read backwards,
invisible characters hide text, and a file name may try to leave its folder.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Final, assert_never

from client_lib.content.model import Content, ExternalPart, MultiPart, NullPart, Part, PartSemantics, SinglePart

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
FILENAME_BYTES_MAX: Final = 200

_SHOWN_TYPES: Final = frozenset({"text/plain", "text/markdown"})
_LINE_ENDS: Final = {"\r\n": "\n", "\r": "\n", "\x85": "\n", "\u2028": "\n", "\u2029": "\n", "\t": "    "}
# Needed to write Persian, Indic scripts and joined emoji, and to order Hebrew or Arabic beside digits. The marks sway
# only what stands next to them; the embeddings, overrides and isolates, which are not here, turn whole lines.
_HARMLESS_FORMAT: Final = frozenset("\u200c\u200d\u200e\u200f\u061c\u00ad")
# Control, format, surrogate, private use. Unassigned stays: it may be an emoji younger than this Python.
_REPLACED_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Co"})
_TAG_PLANE: Final = range(0xE0000, 0xE1000)
# Blank in every font though they count as letters or symbols: names and links can be faked with them.
_INVISIBLE: Final = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f\u17b4\u17b5")
_SIZE_UNITS: Final = ("kB", "MB", "GB", "TB")
_RESERVED_IN_FILENAMES: Final = frozenset('/\\:*?"<>|')
# Devices on Windows, whatever the suffix.
_DEVICE_NAMES: Final = frozenset(
    {"CON", "PRN", "AUX", "NUL"} | {f"{port}{number}" for port in ("COM", "LPT") for number in range(10)}
)


def plain_text(content: Content) -> str:
    """The message as text for a terminal: line ends and tabs normalised, every other control neutralised.

    Of alternatives, the first that a terminal can show. What it cannot show is named in brackets with its size. A
    NullPart (a deleted message) is the empty string. Markdown stays as it was written.
    """
    return neutralise("\n".join(_lines(content.body)))


def body_text(content: Content) -> str:
    """The text alone, exactly as sent, for programs; empty if there is none. Do not print it: see `plain_text`."""
    texts = (
        part.content.decode("utf-8", "replace")
        for part in _chosen(content.body)
        if isinstance(part, SinglePart) and media_type(part) in _SHOWN_TYPES
    )
    return "\n".join(texts)


def attachments(content: Content) -> tuple[ExternalPart, ...]:
    """Every external part of the message, in order, alternatives included."""
    return tuple(_externals(content.body))


def neutralise(text: str) -> str:
    """Make foreign text safe to print: a replacement character stands for what could steer a terminal or hide."""
    for sequence, plain in _LINE_ENDS.items():
        text = text.replace(sequence, plain)
    return "".join(character if _is_harmless(character) else REPLACEMENT for character in text)


def safe_filename(filename: str, default: str = "attachment") -> str:
    """A sender's suggestion turned into a bare name for one folder: no path, no controls, no hidden or device name."""
    if len(filename) > FILENAME_BYTES_MAX:  # the start and the suffix; what follows looks at each character
        filename = filename[: FILENAME_BYTES_MAX // 2] + filename[-FILENAME_BYTES_MAX // 2 :]
    bare = neutralise(filename).replace("\n", " ").replace(REPLACEMENT, "_")
    bare = "".join("_" if character in _RESERVED_IN_FILENAMES else character for character in bare)
    bare = bare.strip(" .")
    while len(bare.encode("utf-8")) > FILENAME_BYTES_MAX:
        stem, dot, suffix = bare.rpartition(".")
        bare = stem[:-1] + dot + suffix if len(stem) > 1 and len(suffix) < 16 else bare[:-1]
    if bare.split(".")[0].upper() in _DEVICE_NAMES:
        bare = "_" + bare
    return bare or default


def media_type(part: SinglePart | ExternalPart) -> str:
    """The media type without parameters, in lowercase."""
    return part.content_type.partition(";")[0].strip().lower()


def _is_harmless(character: str) -> bool:
    if character == "\n" or character in _HARMLESS_FORMAT:
        return True
    if character in _INVISIBLE or ord(character) in _TAG_PLANE:
        return False
    return unicodedata.category(character) not in _REPLACED_CATEGORIES


def _lines(part: Part) -> Iterator[str]:
    for leaf in _chosen(part):
        match leaf:
            case NullPart():
                continue
            case SinglePart():
                if media_type(leaf) in _SHOWN_TYPES:
                    yield leaf.content.decode("utf-8", "replace")
                else:
                    yield f"[{_one_line(media_type(leaf)) or 'data'}, {_size(len(leaf.content))}]"
            case ExternalPart():
                name = _one_line(leaf.filename or leaf.description or media_type(leaf)) or "file"
                yield f"[{name}, {_size(leaf.size)}]" if leaf.size else f"[{name}]"
            case _:
                assert_never(leaf)


def _chosen(part: Part) -> Iterator[NullPart | SinglePart | ExternalPart]:
    """The leaves that stay when every choice is made: the first alternative that we can show, else the first."""
    if not isinstance(part, MultiPart):
        yield part
        return
    parts = part.parts
    if part.semantics is PartSemantics.CHOOSE_ONE:
        parts = (next((inner for inner in parts if _can_show(inner)), parts[0]),)
    for inner in parts:
        yield from _chosen(inner)


def _can_show(part: Part) -> bool:
    match part:
        case NullPart() | ExternalPart():
            return True
        case SinglePart():
            return media_type(part) in _SHOWN_TYPES
        case MultiPart(semantics=PartSemantics.SINGLE_UNIT):
            return all(_can_show(inner) for inner in part.parts)
        case MultiPart():
            return any(_can_show(inner) for inner in part.parts)
        case _:
            assert_never(part)


def _externals(part: Part) -> Iterator[ExternalPart]:
    if isinstance(part, ExternalPart):
        yield part
    elif isinstance(part, MultiPart):
        for inner in part.parts:
            yield from _externals(inner)


def _one_line(text: str) -> str:
    return " ".join(neutralise(text).split())


def _size(size: int) -> str:
    if size < 1000:
        return f"{size} B"
    value, unit = size / 1000, 0
    while value >= 1000 and unit < len(_SIZE_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {_SIZE_UNITS[unit]}" if value >= 10 else f"{value:.1f} {_SIZE_UNITS[unit]}"
