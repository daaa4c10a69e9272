"""Looking for plaintext in everything that a server keeps: its database, its attachments, its logs.

A search that finds nothing proves something only if it can find. So `search` looks first for a marker that was planted
in every place and every form, and raises if it misses one.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

NEEDLE_BYTES_MIN = 8
"""A shorter text would turn up in ciphertext by chance."""

WINDOW_BYTES = 24
WINDOWS = 16
"""Of a file's content, so many pieces of this size are looked for: a server may have kept a part of it."""

_ESCAPED = re.compile(rb"\\\\(?:([0-7]{3})|\\\\)")


class BlindSearch(Exception):
    """The search missed what was put there to be found. What it says is worth nothing."""


@dataclass(frozen=True, slots=True)
class Place:
    """Something to search: a name for people, and its bytes."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Finding:
    """A plaintext that the server holds: what it is, where, and in which form."""

    what: str
    place: str
    form: str


@dataclass(frozen=True, slots=True)
class Marker:
    """Something that is known to be in a place, in a form of `forms`."""

    place: str
    form: str
    plaintext: bytes


def generate_marker() -> bytes:
    """Something to plant. Random, so that nothing else looks like it; not ASCII, as that is harder to find."""
    return f"märker-{secrets.token_hex(12)}".encode()


def forms(plaintext: bytes) -> dict[str, bytes]:
    """How a plaintext can lie in bytes or in text. In base64 it may start anywhere in a group of three."""
    found = {"as it is": plaintext, "hex": plaintext.hex().encode(), "HEX": plaintext.hex().upper().encode()}
    for skipped in range(3):
        inner = plaintext[skipped : skipped + (len(plaintext) - skipped) // 3 * 3]
        found[f"base64, shifted by {skipped}"] = base64.b64encode(inner)
        found[f"base64url, shifted by {skipped}"] = base64.urlsafe_b64encode(inner)
    try:
        text = plaintext.decode()
    except UnicodeDecodeError:
        return found
    found["UTF-16"] = text.encode("utf-16-le")
    found["JSON"] = "".join(c if c.isascii() else f"\\u{ord(c):04x}" for c in text).encode()
    return found


def windows(content: bytes) -> list[bytes]:
    """Pieces of a file to look for, from its first bytes to its last."""
    last = max(len(content) - WINDOW_BYTES, 0)
    return list(dict.fromkeys(content[last * n // (WINDOWS - 1) :][:WINDOW_BYTES] for n in range(WINDOWS)))


def dump_places(dump: bytes) -> list[Place]:
    """A dump whose `bytea` is in the escape format: as it is, and with every value turned back into its bytes."""

    def unescape(match: re.Match[bytes]) -> bytes:
        return bytes([int(match[1], 8)]) if match[1] else b"\\"

    return [Place("database dump", dump), Place("database dump, bytes", _ESCAPED.sub(unescape, dump))]


def folder_places(name: str, folder: Path) -> list[Place]:
    """Every file below a folder, and the names of them all."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = "\n".join(str(path.relative_to(folder)) for path in files).encode()
    return [Place(f"{name}: names", names), *(Place(f"{name}: {path.name}", path.read_bytes()) for path in files)]


def find(plaintexts: Mapping[str, Sequence[bytes]], places: Sequence[Place]) -> Iterator[Finding]:
    """Every form of every plaintext in every place. `plaintexts`: what it is → pieces of it, 8 bytes or more each."""
    for what, pieces in plaintexts.items():
        for piece in pieces:
            if len(piece) < NEEDLE_BYTES_MIN:
                raise ValueError(f"{what}: a piece of {len(piece)} bytes would be found by chance")
            # The same bytes under two names are one form: the first.
            names = {needle: form for form, needle in reversed(forms(piece).items())}
            for needle, form in names.items():
                yield from (Finding(what, place.name, form) for place in places if needle in place.data)


def search(
    plaintexts: Mapping[str, Sequence[bytes]], places: Sequence[Place], markers: Sequence[Marker]
) -> list[Finding]:
    """Find plaintexts, after every marker was found where it is. Raises BlindSearch if one was not."""
    for marker in markers:
        found = find({"marker": [marker.plaintext]}, [place for place in places if place.name == marker.place])
        if marker.form not in {finding.form for finding in found}:
            text = f"the search did not find what was put into the {marker.place} ({marker.form}): do not believe it"
            raise BlindSearch(text)
    return list(find(plaintexts, places))
