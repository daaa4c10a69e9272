"""The command line: it teaches, it refuses in one line, and it never repeats what may be a secret."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import pytest

from sealdesk_cli import main
from sealdesk_cli.errors import Exit
from sealdesk_cli.parser import Parser, build_parser


def commands(parser: Parser, words: str = "sealdesk") -> Iterator[tuple[str, Parser]]:
    """Every command, those that stand for others among them, with its parser."""
    inner = [action.choices for action in parser._actions if isinstance(action.choices, dict)]
    yield words, parser
    for choices in inner:
        for name, command in choices.items():
            yield from commands(command, f"{words} {name}")


ALL = dict(commands(build_parser()))
COMMANDS = {words: parser for words, parser in ALL.items() if words not in ("sealdesk", "sealdesk group")}


def test_the_commands_are_these() -> None:
    names = "init serve invite register contact chats send listen save export"
    expected = [*names.split(), "group new", "group add", "group remove"]
    assert list(COMMANDS) == [f"sealdesk {name}" for name in expected]


@pytest.mark.parametrize("columns", ["80", "200"])
@pytest.mark.parametrize("command", ALL)
def test_the_help_of_a_command_explains_it_and_shows_an_example_that_parses(
    command: str, columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    text = ALL[command].format_help()
    assert ALL[command].description
    assert max(map(len, text.splitlines())) <= 100
    examples = [line.strip() for line in text.splitlines() if line.startswith("  sealdesk ")]
    assert examples
    for example in examples:
        words = shlex.split(re.split(r" {3,}| < ", example.strip())[0])
        build_parser().parse_args(words[1:])


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_names_a_function_that_exists(command: str) -> None:
    module, _, function = str(COMMANDS[command].get_default("run")).partition(":")
    assert callable(getattr(__import__(f"sealdesk_cli.{module}", fromlist=[function]), function))


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["talk"],
        ["send"],
        ["send", "a.sealdesk"],
        ["send", "a.sealdesk", "bob", "two", "texts"],
        ["send", "a.sealdesk", "bob", "-ouch"],
        ["listen", "a.sealdesk", "--on"],
        ["export", "a.sealdesk"],
        ["group"],
        ["group", "add", "a.sealdesk", "3fa94c"],
        ["register", "a.sealdesk"],
        ["serve", "--port"],
    ],
)
def test_a_command_line_that_is_not_understood_gets_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == Exit.USAGE
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith("sealdesk: ")
    assert "--help` shows how" in said.err


@pytest.mark.parametrize(
    "arguments", [["--passphrase=hunter22"], ["--passphrase", "hunter22"], ["hunter22"], ["--password=hunter22"]]
)
def test_a_passphrase_on_the_command_line_is_refused_and_not_repeated(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["register", "a.sealdesk", "http://localhost/#aaaaaaaaaaaaaaaaaaaaaaaaaa", *arguments]) == Exit.USAGE
    assert "hunter22" not in capsys.readouterr().err


def test_help_needs_none_of_the_libraries() -> None:
    code = "import sys, sealdesk_cli\ntry:\n    sealdesk_cli.main(['--help'])\nexcept SystemExit: pass\n"
    code += "assert not {'client_lib', 'backend', 'crypto', 'aiohttp', 'litestar'} & set(sys.modules)\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Two terminals are enough" in done.stdout
    for code in ("130 Ctrl-C", "2 the command line is not understood"):
        assert code in " ".join(done.stdout.split())


def test_every_exit_code_that_a_person_meets_is_in_the_help() -> None:
    text = " ".join(build_parser().format_help().split())
    silent = {Exit.BROKEN_PIPE}
    assert [code for code in Exit if code not in silent and f" {code.value} " not in text] == []
