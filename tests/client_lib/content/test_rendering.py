"""What people see of a message, and that foreign text cannot steer, reverse or hide anything."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_lib import content
from client_lib.content import PartSemantics

SALT = bytes(16)
SCAN = content.ExternalPart(content_type="application/pdf", url="u", size=12_345, filename="scan.pdf")


def _plain(body: content.Part) -> str:
    return content.plain_text(content.Content(salt=SALT, body=body))


def _single(text: str, content_type: str = content.TEXT_PLAIN) -> content.SinglePart:
    return content.SinglePart(content_type, text.encode("utf-8"))


def test_a_text_with_attachments_reads_as_both() -> None:
    message = content.text("My contract:", salt=SALT, attachments=[SCAN, SCAN])
    assert content.plain_text(message) == "My contract:\n[scan.pdf, 12 kB]\n[scan.pdf, 12 kB]"
    assert content.body_text(message) == "My contract:"
    assert content.attachments(message) == (SCAN, SCAN)


def test_an_attachment_alone_needs_no_multipart() -> None:
    message = content.text("", salt=SALT, attachments=[SCAN])
    assert message.body == SCAN
    assert content.body_text(message) == ""


def test_a_message_of_nothing_is_a_bug() -> None:
    with pytest.raises(ValueError, match="needs a text or an attachment"):
        content.text("", salt=SALT)


def test_markdown_is_marked_and_shown_as_written() -> None:
    message = content.text("**Hi**", salt=SALT, markdown=True)
    assert isinstance(message.body, content.SinglePart)
    assert message.body.content_type == content.TEXT_MARKDOWN
    assert content.plain_text(message) == "**Hi**"


def test_a_deleted_message_is_empty() -> None:
    assert _plain(content.NullPart()) == ""


@pytest.mark.parametrize(
    "semantics, expected",
    [
        (PartSemantics.CHOOSE_ONE, "Hello"),
        (PartSemantics.SINGLE_UNIT, "[text/html, 5 B]\nHello"),
        (PartSemantics.PROCESS_ALL, "[text/html, 5 B]\nHello"),
    ],
)
def test_part_semantics_say_what_is_shown(semantics: PartSemantics, expected: str) -> None:
    parts = (_single("<b>Hi", "text/html"), _single("Hello", "Text/Plain ; charset=UTF-8"))
    assert _plain(content.MultiPart(semantics, parts)) == expected


def test_of_alternatives_none_of_which_can_be_shown_the_first_is_named() -> None:
    parts = (_single("<b>Hi", "text/html"), _single("{}", "application/json"))
    assert _plain(content.MultiPart(PartSemantics.CHOOSE_ONE, parts)) == "[text/html, 5 B]"


def test_a_unit_with_an_unknown_part_gives_way_to_an_alternative_that_can_be_shown() -> None:
    unit = content.MultiPart(PartSemantics.SINGLE_UNIT, (_single("a"), _single("x", "image/png")))
    some = content.MultiPart(PartSemantics.PROCESS_ALL, (_single("b"), _single("x", "image/png")))
    assert _plain(content.MultiPart(PartSemantics.CHOOSE_ONE, (unit, some))) == "b\n[image/png, 1 B]"


@pytest.mark.parametrize(
    "size, shown",
    [(0, ""), (999, ", 999 B"), (1000, ", 1.0 kB"), (12_345, ", 12 kB"), (7_000_000_000, ", 7.0 GB"), (2**63, " TB")],
)
def test_sizes_are_shown_for_people(size: int, shown: str) -> None:
    part = content.ExternalPart(content_type="a/b", url="u", size=size, filename="f")
    assert _plain(part).endswith(f"{shown}]")


def test_a_nameless_attachment_is_named_by_what_there_is() -> None:
    assert _plain(content.ExternalPart(content_type="", url="u", description="The\nscan")) == "[The scan]"
    assert _plain(content.ExternalPart(content_type="image/png", url="u")) == "[image/png]"
    assert _plain(content.ExternalPart(content_type="", url="u")) == "[file]"


@pytest.mark.parametrize(
    "hostile",
    [
        "\x1b[2J",  # clears the screen
        "\x1b]0;title\x07",
        "\x9b31m",  # the one-byte form of ESC [
        "\x08\x7f",
        "\u202egpj.exe",  # reads as exe.jpg
        "\u2066\u2067\u2068\u2069\u202a\u202b\u202c\u202d",
        "\u200b\u2060\ufeff\u3164",  # invisible
        "\U000e0041",  # tag characters carry hidden text
        "\ue000",
    ],
)
def test_a32_what_steers_reverses_or_hides_is_replaced(hostile: str) -> None:
    shown = _plain(_single(f"a{hostile}b"))
    assert shown.startswith("a\N{REPLACEMENT CHARACTER}")
    assert not any(unicodedata.category(character) in {"Cc", "Cf", "Co"} for character in shown)


@pytest.mark.parametrize(
    "kept",
    ["\N{FAMILY}\u200d\N{WOMAN}", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u05d0\u200f1", "é\u0301"],
)
def test_marks_that_scripts_need_stay(kept: str) -> None:
    assert _plain(_single(kept)) == kept


def test_line_ends_become_newlines_and_none_overwrites_a_line() -> None:
    assert _plain(_single("a\r\nb\rc\u2028d\x85e\tf")) == "a\nb\nc\nd\ne    f"


def test_text_that_is_not_utf8_is_shown_with_marks() -> None:
    assert _plain(content.SinglePart("text/plain;charset=latin1", b"caf\xe9")) == "caf\N{REPLACEMENT CHARACTER}"


def test_a_hostile_media_type_or_file_name_is_neutralised_too() -> None:
    assert "\x1b" not in _plain(_single("x", "\x1b[2J/y"))
    assert "\x1b" not in _plain(content.ExternalPart(content_type="a/b", url="u", filename="\x1b[2J"))


@pytest.mark.parametrize(
    "suggested, saved",
    [
        ("scan.pdf", "scan.pdf"),
        ("../../.bashrc", "_.._.bashrc"),
        ("/etc/passwd", "_etc_passwd"),
        ("C:\\Windows\\x", "C__Windows_x"),
        (".hidden", "hidden"),
        ("..", "attachment"),
        ("", "attachment"),
        ("nul.txt", "_nul.txt"),
        ("a\x00b\nc.txt", "a_b c.txt"),
        ("\u202egpj.exe", "_gpj.exe"),
    ],
)
def test_a_suggested_file_name_stays_in_its_folder(suggested: str, saved: str) -> None:
    assert content.safe_filename(suggested) == saved


@given(st.text(max_size=300))
def test_any_suggestion_gives_a_usable_name(suggested: str) -> None:
    name = content.safe_filename(suggested)
    assert 1 <= len(name.encode("utf-8")) <= 210
    assert not set(name) & set("/\\:\x00\n")
    assert name not in {".", ".."}


def test_a_long_name_keeps_its_suffix() -> None:
    name = content.safe_filename("ä" * 300 + ".pdf")
    assert name.endswith("ä.pdf")
    assert len(name.encode("utf-8")) <= 200
