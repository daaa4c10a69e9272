"""The operator's commands: `init`, `invite` and `serve`, in this process and on a real database."""

import json
import socket
from pathlib import Path

import pytest

from backend import operator
from sealdesk_cli import main, server
from sealdesk_cli.errors import Exit
from sealdesk_cli.links import parse_link


@pytest.fixture(autouse=True)
def _settings(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("SEALDESK_HOST", "SEALDESK_PORT", "SEALDESK_PUBLIC_URL"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("SEALDESK_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DATABASE_URL", database_url)


def invited(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """The URL that an invitation leads to."""
    assert main(["invite", "--json", *options]) == Exit.OK
    record = json.loads(capsys.readouterr().out)
    assert sorted(record) == ["expires_at", "link", "server_url"]
    assert parse_link(record["link"]).server_url == record["server_url"]
    return str(record["server_url"])


def test_init_can_be_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    assert [main(["init"]), main(["init"])] == [Exit.OK, Exit.OK]
    assert capsys.readouterr().out.count("is ready") == 2


def test_an_invitation_is_one_line_to_paste(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["invite"]) == Exit.OK
    said = capsys.readouterr()
    assert parse_link(said.out).server_url == "http://127.0.0.1:8440"
    assert said.out.count("\n") == 1
    assert "7 days" in said.err


def test_an_invitation_leads_to_where_the_server_was_last_started(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator, "serve", lambda settings, on_ready: on_ready())
    assert invited(capsys) == "http://127.0.0.1:8440"
    assert main(["serve", "--port", "9000"]) == Exit.OK
    assert "http://127.0.0.1:9000" in capsys.readouterr().out
    assert invited(capsys) == "http://127.0.0.1:9000"
    assert main(["serve", "--public-url", "https://chat.example.org/desk/"]) == Exit.OK
    capsys.readouterr()
    assert invited(capsys) == "https://chat.example.org/desk"
    assert invited(capsys, "--port", "9001") == "http://127.0.0.1:9001"


def test_a_server_that_cannot_start_changes_no_invitation(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert invited(capsys) == "http://127.0.0.1:8440"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["serve", "--port", port, "--public-url", "https://wrong.example"]) == Exit.FAILED
    said = capsys.readouterr()
    assert said.out == ""
    assert "in use" in said.err
    assert invited(capsys) == "http://127.0.0.1:8440"


def test_an_invitation_where_no_server_is_makes_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL")
    elsewhere = tmp_path / "elsewhere"
    assert main(["invite", "--data", str(elsewhere)]) == Exit.FAILED
    assert "there is no server in" in capsys.readouterr().err
    assert not elsewhere.exists()


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        (["serve", "--port", "no"], Exit.USAGE, "SEALDESK_PORT"),
        (["serve", "--public-url", "chat.example.org"], Exit.USAGE, "SEALDESK_PUBLIC_URL"),
        (["invite", "--host", "0.0.0.0"], Exit.FAILED, "SEALDESK_PUBLIC_URL"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(
    arguments: list[str], code: Exit, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == code
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert words in said.err


def test_a_database_that_is_away_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://nobody:secret-word@127.0.0.1:{unused_port}/none")
    assert main(["init"]) == Exit.FAILED
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert "secret-word" not in said.err


def test_a_folder_that_cannot_be_written_is_no_reason_not_to_serve(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a database and an object store elsewhere, the server needs no folder."""
    monkeypatch.setattr(operator, "serve", lambda settings, on_ready: on_ready())
    (tmp_path / "data").write_text("a file")
    assert main(["serve"]) == Exit.OK
    assert server.PUBLIC_URL_FILE not in capsys.readouterr().out
