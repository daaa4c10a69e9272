"""What is printed cannot break a terminal, whoever wrote it."""

import io
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from sealdesk_cli import output, runner
from sealdesk_cli.errors import CommandError, Exit
from sealdesk_cli.parser import build_parser

HOSTILE = "\x1b[2J\x1b]0;title\x07\u202eright to left\u2066\u200b\x9b31m\r\b\x00\x7f\U000e0041\u2028"
ANY_TEXT = st.text(st.one_of(st.characters(), st.sampled_from(sorted(HOSTILE))), max_size=200)


def is_harmless(text: str) -> bool:
    return not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or c in "\u202e\u2066\u2028\u200b\U000e0041" for c in text)


@given(ANY_TEXT)
def test_one_line_is_one_harmless_line(text: str) -> None:
    assert is_harmless(output.one_line(text))


@given(ANY_TEXT, st.one_of(st.none(), st.integers(1, 100)))
def test_a_body_cannot_look_like_a_line_of_ours(text: str, width: int | None) -> None:
    for line in output.indented(text, width):
        assert is_harmless(line)
        assert not line.strip() or line.startswith(" " * output.INDENT)


@given(ANY_TEXT, st.integers(40, 100))
def test_a_body_is_folded_where_the_terminal_would_fold_it(text: str, width: int) -> None:
    assert all(cell_len(line) <= width for line in output.indented(text, width))


def test_folding_loses_no_word_and_cuts_what_has_no_spaces() -> None:
    folded = list(output.indented("one two three four five six seven " + "x" * 70, 40))
    assert " ".join(" ".join(folded).split()).replace(" ", "") == "onetwothreefourfivesixseven" + "x" * 70
    assert folded[0].strip() == "one two three four five six seven"


@given(ANY_TEXT)
def test_json_is_ascii_exact_and_one_line(text: str) -> None:
    line = output.to_json({"text": text})
    assert json.loads(line)["text"] == text
    assert all(32 <= ord(c) < 127 for c in line)


@pytest.mark.parametrize("moment", [-(2**62), -1, 0, 2**31, 2**53, 2**62, 10**30])
def test_a_time_that_is_none_shows_as_such(moment: int) -> None:
    assert is_harmless(output.when(moment))


def test_a_terminal_that_lacks_a_letter_gets_its_escape(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    output.prepare()
    output.line("grün 💚")
    assert stream.buffer.getvalue() == b"gr\\xfcn \\U0001f49a\n"


@pytest.mark.parametrize(
    "program",
    [
        "runner._call = lambda _: [output.line('x' * 1000) for _ in range(1000)]\nprogram = lambda: runner.run(None)",
        "program = lambda: [Console().print('x' * 1000) for _ in range(1000)]",
    ],
    ids=["ours", "rich"],
)
def test_a_reader_that_goes_away_is_no_error(program: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    code = f"import sys\nfrom rich.console import Console\nfrom sealdesk_cli import errors, output, runner\n{program}\n"
    code += "sys.exit(errors.while_read(program))\n"
    done = subprocess.run([sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (Exit.BROKEN_PIPE, b"")


def run_raising(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    def call(options: object) -> None:
        raise error

    monkeypatch.setattr(runner, "_call", call)
    return runner.run(build_parser().parse_args(["chats", "a.sealdesk"]))


def test_an_error_is_one_line_that_cannot_steer_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_raising(CommandError(f"first\nsecond {HOSTILE}", Exit.TRUST), monkeypatch) == Exit.TRUST
    said = capsys.readouterr().err
    assert said.startswith("sealdesk: first second")
    assert is_harmless(said[:-1])
    assert said.endswith("\n")


def test_a_bug_is_one_line_without_what_was_in_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_raising(ValueError("the text of a message"), monkeypatch) == Exit.BUG
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "ValueError at test_output.py:" in said
    assert "the text of a message" not in said


def test_a_bug_shows_where_on_request(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SEALDESK_DEBUG", "1")
    assert run_raising(ValueError("details"), monkeypatch) == Exit.BUG
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_is_silent(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_raising(KeyboardInterrupt(), monkeypatch) == Exit.INTERRUPTED
    assert capsys.readouterr() == ("", "")
