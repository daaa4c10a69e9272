"""Texts inside signed objects: what is refused, and that what is taken has one encoding."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import DecodeError
from crypto.texts import decode_line, encode_line

PERSIAN = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"  # with the joiner that its spelling needs


@pytest.mark.parametrize("text", ["", "Dr. Weber", "Приёмная", PERSIAN, "診療所 2", "👩\u200d⚕️", "a\xa0b"])
def test_names_of_people_in_any_script_are_taken(text: str) -> None:
    assert decode_line(encode_line(text, 120), 120) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize(
    "text",
    [
        "a\nb", "a\tb", "a\x00b", "a\x1b[2Jb", "a\x7fb", "a\x9bb",
        "a\u202eb", "a\u2066b", "a\u200eb", "a\u061cb", "a\u200bb", "a\u2060b", "a\ufeffb", "a\xadb",
        "a\u2028b", "a\u2029b", "a\ue000b", "a\U000e0041b", "a\u3164b", "a\u2800b",
        " a", "a ", "\u3000a", " ", "\ud800",
    ],
    ids=ascii,
)  # fmt: skip
def test_a32_what_steers_reverses_or_hides_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        encode_line(text, 120)
    with pytest.raises(DecodeError):
        decode_line(text.encode("utf-8", "surrogatepass"), 120)


@pytest.mark.parametrize("encoded", [b"\xff", b"a\xc3", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80"])
def test_what_is_not_utf_8_is_refused(encoded: bytes) -> None:
    with pytest.raises(DecodeError, match="not UTF-8") as caught:
        decode_line(encoded, 120)
    assert caught.value.__suppress_context__


def test_the_size_counts_in_bytes() -> None:
    assert decode_line("é".encode() * 60, 120) == "é" * 60
    with pytest.raises(DecodeError, match="121 bytes, more than 120"):
        encode_line("a" + "é" * 60, 120)


def test_a_text_has_one_encoding() -> None:
    assert encode_line("e\u0301", 120) == "é".encode()
    with pytest.raises(DecodeError, match="not composed"):
        decode_line("e\u0301".encode(), 120)


@given(st.binary(max_size=60) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_a_text_or_a_decode_error(encoded: bytes) -> None:
    try:
        text = decode_line(encoded, 120)
    except DecodeError:
        return
    assert encode_line(text, 120) == encoded
