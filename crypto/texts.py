"""Texts inside signed objects: what a name may be made of, so that what people read is what was signed.

A signature does not make a text honest to the eye: control characters steer a terminal, bidirectional overrides make a
name read backwards, invisible characters make two names look alike. Such a text is refused, not repaired: its bytes are
signed. Letters of different scripts that look alike are beyond this; that somebody signed the text is the answer there.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from crypto.errors import DecodeError

# Control, format, surrogate, private use, line and paragraph separators. Unassigned stays: it may be younger than us.
_REFUSED_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
# Joiners that Persian, Indic scripts and joined emoji are written with; between letters they turn nothing round.
_JOINERS: Final = frozenset("\u200c\u200d")
# Blank in every font though they count as letters or symbols.
_INVISIBLE: Final = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f\u17b4\u17b5")


def encode_line(text: str, bytes_max: int) -> bytes:
    """One line of text in its signed form: UTF-8, composed (NFC). Raises `DecodeError` for what `decode_line` does."""
    encoded = unicodedata.normalize("NFC", text).encode("utf-8", "surrogatepass")
    decode_line(encoded, bytes_max)
    return encoded


def decode_line(encoded: bytes, bytes_max: int) -> str:
    """The text of one line, which may be empty.

    Raises `DecodeError` for more than `bytes_max` bytes, for what is not UTF-8 or not composed (one text, one
    encoding), for space at an end, and for characters that steer, reverse or hide.
    """
    if len(encoded) > bytes_max:
        raise DecodeError(f"a text of {len(encoded)} bytes, more than {bytes_max}")
    try:
        text = encoded.decode("utf-8")
    except UnicodeDecodeError:
        raise DecodeError("a text that is not UTF-8") from None
    if unicodedata.normalize("NFC", text) != text:
        raise DecodeError("a text that is not composed (NFC)")
    if text != text.strip():
        raise DecodeError("a text that begins or ends with space")
    if not all(map(_is_harmless, text)):
        raise DecodeError("a text with characters that steer, reverse or hide")
    return text


def _is_harmless(character: str) -> bool:
    if character in _JOINERS:
        return True
    return character not in _INVISIBLE and unicodedata.category(character) not in _REFUSED_CATEGORIES
