"""Where a passphrase comes from: the terminal or a variable, never the command line; else a key file."""

import io
import sys
from pathlib import Path

import pytest

from sealdesk_cli import passphrases
from sealdesk_cli.errors import CommandError, Exit


class Terminal(io.StringIO):
    """Standard input with a person at it."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(passphrases.VARIABLE, raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))


def typing(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    """Answer the prompts; returns the prompts that were shown."""
    asked: list[str] = []
    waiting = list(answers)

    def answer(prompt: str, _stream: object) -> str:
        asked.append(prompt)
        if not waiting:
            raise EOFError
        return waiting.pop(0)

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", answer)
    return asked


def test_a_new_store_has_a_key_file_unless_a_passphrase_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert passphrases.for_new_store(wanted=False) is None
    asked = typing(monkeypatch, "correct horse", "correct horse")
    assert passphrases.for_new_store(wanted=True) == "correct horse"
    assert len(asked) == 2


def test_two_different_passphrases_make_no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    typing(monkeypatch, "correct horse", "correct hearse")
    with pytest.raises(CommandError, match="differ") as refusal:
        passphrases.for_new_store(wanted=True)
    assert "correct h" not in str(refusal.value)


@pytest.mark.parametrize("wanted", [True, False])
def test_the_variable_goes_before_the_prompt(wanted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(passphrases.VARIABLE, "from the variable")
    assert passphrases.for_new_store(wanted=wanted) == "from the variable"


def test_a_store_with_a_key_file_needs_no_passphrase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "a.sealdesk"
    store.touch()
    (tmp_path / "a.sealdesk.key").touch()
    monkeypatch.setenv(passphrases.VARIABLE, "of another store")
    assert passphrases.for_store(store) is None


def test_a_store_without_one_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "a.sealdesk"
    store.touch()
    typing(monkeypatch, "correct horse")
    assert passphrases.for_store(store) == "correct horse"


def test_a_store_that_is_not_there_is_not_asked_about(tmp_path: Path) -> None:
    assert passphrases.for_store(tmp_path / "a.sealdesk") is None


def test_without_a_terminal_it_says_which_variable_to_set(tmp_path: Path) -> None:
    store = tmp_path / "a.sealdesk"
    store.touch()
    with pytest.raises(CommandError, match=passphrases.VARIABLE) as refusal:
        passphrases.for_store(store)
    assert refusal.value.code == Exit.STORE


def test_ctrl_d_at_the_prompt_is_an_answer_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "a.sealdesk"
    store.touch()
    typing(monkeypatch)
    with pytest.raises(CommandError, match="no passphrase was given"):
        passphrases.for_store(store)


def test_the_words_may_be_piped_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("one two three\nnot this\n"))
    assert passphrases.ask_phrase() == "one two three\n"
