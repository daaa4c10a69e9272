"""Two people and `sealdesk`: real processes, a real server, nothing else."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from backend import operator
from sealdesk_cli import main
from sealdesk_cli.errors import Exit
from sealdesk_cli.links import Invitation, format_link
from tests.conftest import ROOT, Server, run_in_thread

TIMEOUT_S = 40
HOSTILE = "\x1b[31mred\x1b[0m \u202eesrever\u202c\r\x07 end"
HOSTILE_NAME = "\x1b[2J\u202efdp.exe"
STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one command."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    def failed(self, code: Exit, *words: str) -> bool:
        """Whether it ended with one line of complaint that has these words."""
        return (
            (self.code, self.out) == (code, "")
            and self.err.count("\n") == 1
            and self.err.startswith("sealdesk: ")
            and all(word in self.err for word in words)
        )


@dataclass(slots=True)
class Desk:
    """A folder with stores in it, and a server to talk through."""

    server: Server
    folder: Path
    addresses: dict[str, str] = field(default_factory=dict)

    def environment(self, passphrase: str | None = None) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SEALDESK_")}
        given = {"SEALDESK_PASSPHRASE": passphrase} if passphrase is not None else {}
        return {**inherited, "PYTHONPATH": str(ROOT), **given}

    def run(self, *arguments: str, typed: str = "", passphrase: str | None = None) -> Result:
        """One command, from its start to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "sealdesk_cli", *arguments],
            cwd=self.folder,
            env=self.environment(passphrase),
            input=typed,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=TIMEOUT_S,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Result(done.returncode, done.stdout, done.stderr)

    def json(self, *arguments: str, passphrase: str | None = None) -> list[dict[str, Any]]:
        """The records that a command prints, which has to succeed."""
        result = self.run(*arguments, "--json", passphrase=passphrase)
        assert result.code == 0, result.err
        return result.records

    def hear(self, who: str, *options: str, passphrase: str | None = None) -> list[dict[str, Any]]:
        """The messages that somebody has not heard yet."""
        heard = self.json("listen", f"{who}.sealdesk", "--once", *options, passphrase=passphrase)
        return [record for record in heard if record["event"] == "message"]

    def link(self) -> str:
        code = run_in_thread(lambda: operator.invite(self.server.settings))
        return format_link(Invitation(self.server.url, code))

    def register(self, *names: str, passphrase: str | None = None) -> None:
        for name in names:
            (record,) = self.json("register", f"{name}.sealdesk", self.link(), passphrase=passphrase)
            self.addresses[name] = record["address"]

    @contextlib.contextmanager
    def listening(self, who: str) -> Iterator[subprocess.Popen[str]]:
        """A `listen` that runs; it is ended, if the test has not done it."""
        command = [sys.executable, "-m", "sealdesk_cli", "listen", f"{who}.sealdesk", "--json"]
        with subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()


class DeskHere(Desk):
    """The same, with the commands run in this process: starting one takes longer than most of them do."""

    def run(self, *arguments: str, typed: str = "", passphrase: str | None = None) -> Result:
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            patch.object(sys, "stdin", io.StringIO(typed)),
            patch.dict(os.environ, self.environment(passphrase), clear=True),
        ):
            code = main(arguments)
        return Result(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def desk(shared_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Alice and Bob, who know each other by name."""
    desk = Desk(shared_server, tmp_path_factory.mktemp("desk"))
    desk.register("alice", "bob")
    assert desk.run("contact", "alice.sealdesk", desk.addresses["bob"], "bob").code == 0
    assert desk.run("contact", "bob.sealdesk", desk.addresses["alice"], "alice").code == 0
    return desk


@pytest.fixture
def here(desk: Desk) -> DeskHere:
    """Alice and Bob again."""
    return DeskHere(desk.server, desk.folder, desk.addresses)


def test_two_people_talk_and_files_and_replies_arrive(desk: Desk) -> None:
    said = desk.run("send", "alice.sealdesk", "bob", "Good morning")
    assert said.code == 0
    assert re.fullmatch(r"Sent: message [0-9a-f]{12} in private chat [0-9a-f]{12}\.\n", said.out)

    (heard,) = desk.hear("bob")
    assert heard == {
        "event": "message",
        "chat": heard["chat"],
        "kind": "private",
        "message": heard["message"],
        "position": 2,
        "sender": {"address": desk.addresses["alice"], "name": "alice"},
        "is_ours": False,
        "sent_at_ms": heard["sent_at_ms"],
        "status": "received",
        "reason": "",
        "text": "Good morning",
        "shown": "Good morning",
        "reply_to": None,
        "attachments": [],
    }
    assert abs(heard["sent_at_ms"] / 1000 - time.time()) < 60

    contract = desk.folder / "contract.pdf"
    contract.write_bytes(os.urandom(150_000))
    (answer,) = desk.json(
        "send", "bob.sealdesk", heard["chat"][:6], "Here it is", "--attach", "contract.pdf",
        "--reply-to", heard["message"][:12],
    )  # fmt: skip
    assert (answer["status"], answer["is_ours"], answer["reply_to"]) == ("sent", True, heard["message"])

    (got,) = desk.hear("alice", "--save", "inbox")
    assert (got["text"], got["reply_to"], got["sender"]["name"]) == ("Here it is", heard["message"], "bob")
    (file,) = got["attachments"]
    assert file == {
        "filename": "contract.pdf",
        "media_type": "application/pdf",
        "size": 150_000,
        "path": "inbox/contract.pdf",
        "problem": None,
    }
    assert (desk.folder / "inbox" / "contract.pdf").read_bytes() == contract.read_bytes()
    (again,) = desk.json("save", "alice.sealdesk", got["message"][:12], "later")  # also after it was shown
    assert again["attachments"][0]["path"] == "later/contract.pdf"
    assert (desk.folder / "later" / "contract.pdf").read_bytes() == contract.read_bytes()
    nothing = desk.run("save", "bob.sealdesk", heard["message"][:12], "later")
    assert nothing.failed(Exit.FAILED, "no file")
    assert desk.hear("alice") == []


def test_listen_is_live_alone_on_its_store_and_goes_on_where_it_stopped(desk: Desk) -> None:
    with desk.listening("bob") as process:
        assert desk.run("send", "alice.sealdesk", "bob", "-", typed="while you listen\n").code == 0
        assert process.stdout is not None
        heard = json.loads(process.stdout.readline())
        while heard["event"] != "message":
            heard = json.loads(process.stdout.readline())
        assert heard["text"] == "while you listen"
        second = desk.run("listen", "bob.sealdesk", "--once")
        assert second.failed(Exit.STORE, "in use", str(process.pid), "Ctrl-C")
        assert desk.run("send", "bob.sealdesk", "alice", "while I listen").failed(Exit.STORE, "in use", "Ctrl-C")
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT_S) == Exit.INTERRUPTED
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()

    desk.run("send", "alice.sealdesk", "bob", "while you were away")
    assert [record["text"] for record in desk.hear("bob")] == ["while you were away"]
    assert desk.hear("bob") == []


def test_a_hostile_text_and_file_name_do_not_reach_the_terminal(here: DeskHere) -> None:
    (here.folder / HOSTILE_NAME).write_bytes(b"not a picture")
    sent = here.run("send", "alice.sealdesk", "bob", HOSTILE, "--attach", HOSTILE_NAME)
    assert sent.code == 0
    shown = here.run("listen", "bob.sealdesk", "--once", "--save", "saved")
    assert "red" in shown.out
    assert STEERING.findall(shown.out + shown.err) == []
    assert shown.out.splitlines()[0].startswith("20")
    assert all(line.startswith("       ") for line in shown.out.splitlines()[1:])
    (saved,) = (here.folder / "saved").iterdir()
    assert STEERING.findall(saved.name) == []
    assert saved.read_bytes() == b"not a picture"

    exported = here.run("export", "bob.sealdesk", "--output", "hostile.txt")
    assert STEERING.findall((here.folder / "hostile.txt").read_text("utf-8") + exported.err) == []


def test_a_group_gains_and_loses_members(here: DeskHere) -> None:
    here.register("carol", passphrase="correct horse battery")
    here.run("contact", "alice.sealdesk", here.addresses["carol"], "carol")
    (chat,) = here.json("group", "new", "alice.sealdesk", "bob")
    assert (chat["kind"], chat["is_active"], chat["closed_because"]) == ("group", True, "")
    assert here.run("send", "alice.sealdesk", chat["chat"], "not for Carol yet").code == 0
    (after,) = here.json("group", "add", "alice.sealdesk", chat["chat"][:8], "carol")
    assert {member["name"] for member in after["members"]} == {here.addresses["alice"], "bob", "carol"}
    assert here.run("group", "add", "alice.sealdesk", chat["chat"], "carol").failed(Exit.FAILED, "carol", "already")

    assert here.run("send", "alice.sealdesk", chat["chat"], "welcome").code == 0
    heard = here.hear("carol", passphrase="correct horse battery")
    assert [record["text"] for record in heard] == ["welcome"]
    assert [record["text"] for record in here.hear("bob")] == ["not for Carol yet", "welcome"]

    wrong = here.run("listen", "carol.sealdesk", passphrase="correct hearse battery")
    assert wrong.failed(Exit.STORE, "passphrase")
    assert here.run("listen", "carol.sealdesk").failed(Exit.STORE, "SEALDESK_PASSPHRASE")

    removed = here.run("group", "remove", "alice.sealdesk", chat["chat"], "carol")
    assert removed.code == 0
    assert "carol" not in removed.out
    assert here.run("send", "alice.sealdesk", chat["chat"], "not for Carol any more").code == 0
    (left,) = here.json("chats", "carol.sealdesk", passphrase="correct horse battery")
    assert (left["chat"], left["is_active"], left["members"]) == (chat["chat"], False, [])
    assert "removed" in left["closed_because"]
    assert here.hear("carol", passphrase="correct horse battery") == []
    assert [record["text"] for record in here.hear("bob")] == ["not for Carol any more"]


def test_the_history_is_exported_for_its_owner_alone(here: DeskHere) -> None:
    assert here.run("send", "alice.sealdesk", "bob", "for the file").code == 0
    done = here.run("export", "alice.sealdesk", "--json", "--output", "history.jsonl")
    path = here.folder / "history.jsonl"
    assert (done.code, done.out) == (0, "")
    assert "PLAINTEXT" in done.err
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "for the file" in [json.loads(line)["text"] for line in path.read_text("ascii").splitlines()]

    before = path.read_bytes()
    assert here.run("export", "alice.sealdesk", "--output", path.name).failed(Exit.FAILED, "exists already")
    assert path.read_bytes() == before
    (chat, *_) = [chat for chat in here.json("chats", "alice.sealdesk") if chat["kind"] == "private"]
    assert here.run("export", "alice.sealdesk", "--chat", chat["chat"][:6], "--output", "chat.txt").code == 0
    assert "\n       for the file\n" in (here.folder / "chat.txt").read_text("utf-8")


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        (("chats", "nobody.sealdesk"), Exit.STORE, ("no store at nobody.sealdesk",)),
        (("chats", "."), Exit.STORE, ("folder",)),
        (("send", "alice.sealdesk", "mallory", "hi"), Exit.FAILED, ("mallory", "sealdesk contact")),
        (("send", "alice.sealdesk", "a" * 32, "hi"), Exit.FAILED, ("not_found",)),
        (("send", "alice.sealdesk", "bob"), Exit.USAGE, ("nothing to send",)),
        (("send", "alice.sealdesk", "bob", "see", "--attach", "missing.pdf"), Exit.FAILED, ("missing.pdf",)),
        (("send", "alice.sealdesk", "bob", "yes", "--reply-to", "0123456789"), Exit.FAILED, ("sealdesk listen",)),
        (("group", "add", "alice.sealdesk", "0" * 64, "bob"), Exit.FAILED, ("sealdesk chats",)),
        (("group", "new", "alice.sealdesk", "mallory"), Exit.FAILED, ("mallory",)),
        (("export", "alice.sealdesk", "--output", "no/such/folder"), Exit.FAILED, ("no/such/folder",)),
        (("contact", "alice.sealdesk", "b" * 32), Exit.USAGE, ("name is missing",)),
        (("contact", "alice.sealdesk", "short", "dave"), Exit.USAGE, ("32 characters",)),
        (("contact", "alice.sealdesk", "c" * 32, "bob"), Exit.FAILED, ("bob is somebody else",)),
        (("contact", "alice.sealdesk", "c" * 32, "\x1b[31m"), Exit.USAGE, ("visible characters",)),
        (("contact", "alice.sealdesk", "c" * 32, "3fa94c"), Exit.USAGE, ("taken for",)),
        (("register", "new.sealdesk", "https://example.org"), Exit.USAGE, ("invitation link",)),
        (("register", "new.sealdesk", "http://192.0.2.1/#" + "a" * 26), Exit.FAILED, ("https",)),
        (("register", "new.sealdesk", "http://127.0.0.1:1/#" + "a" * 26), Exit.UNREACHABLE, ("does not answer",)),
        (("register", ".", "http://127.0.0.1:1/#" + "a" * 26), Exit.STORE, ("folder",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_an_error_is_one_line_that_says_what_to_do(
    arguments: tuple[str, ...], code: Exit, words: tuple[str, ...], here: DeskHere
) -> None:
    before = sorted(here.folder.iterdir())
    result = here.run(*arguments)
    assert result.failed(code, *words), result
    assert sorted(here.folder.iterdir()) == before


def test_names_are_listed_with_ours_first(here: DeskHere) -> None:
    assert here.json("contact", "bob.sealdesk") == [
        {"address": here.addresses["bob"], "name": here.addresses["bob"], "is_me": True},
        {"address": here.addresses["alice"], "name": "alice", "is_me": False},
    ]


def test_registering_shows_the_words_and_goes_on_after_a_refusal(here: DeskHere) -> None:
    refused = here.run("register", "dave.sealdesk", f"{here.server.url}/#{'a' * 26}")
    assert refused.code == Exit.FAILED
    assert "invitation_invalid" in refused.err
    words = dict(re.findall(r"(\d+)\. ([a-z]+)", refused.out))
    assert list(map(int, sorted(words, key=int))) == list(range(1, 25))
    phrase = " ".join(words[str(number)] for number in range(1, 25))
    assert "shown once" in refused.out

    registered = here.run("register", "dave.sealdesk", here.link(), typed=f"{phrase}\n")
    assert registered.code == 0
    assert re.search(r": [a-z2-7]{32}$", registered.out.strip())
    assert phrase.split()[0] not in registered.out
    assert here.run("chats", "dave.sealdesk").code == 0


def test_a_message_sent_while_the_server_is_away_goes_out_when_it_is_back(server: Server, tmp_path: Path) -> None:
    desk = Desk(server, tmp_path)
    desk.register("alice", "bob")
    assert desk.run("send", "alice.sealdesk", desk.addresses["bob"], "first").code == 0
    server.stop()

    kept = desk.run("send", "alice.sealdesk", desk.addresses["bob"], "second", "--json")
    assert (kept.code, kept.records[0]["status"]) == (0, "sending")
    away = f"No connection now: {server.url} does not answer: check the network and the server\n"
    later = "Not sent yet: it is kept, and goes out with the next command that reaches the server.\n"
    assert kept.err == away + later
    (tmp_path / "file").write_bytes(b"content")
    attached = desk.run("send", "alice.sealdesk", desk.addresses["bob"], "third", "--attach", "file")
    assert (attached.code, attached.out) == (Exit.UNREACHABLE, "")
    assert attached.err == f"{away}sealdesk: nothing was sent: a file goes out only while the server answers\n"
    for change in (("new", "alice.sealdesk"), ("remove", "alice.sealdesk", kept.records[0]["chat"])):
        changed = desk.run("group", *change, desk.addresses["bob"])
        assert (changed.code, changed.out) == (Exit.UNREACHABLE, "")
        assert changed.err == f"{away}sealdesk: nothing was changed: try again when the server answers\n"
    listed = desk.run("chats", "alice.sealdesk")
    assert listed.out.startswith(kept.records[0]["chat"][:12])
    assert listed.err == desk.run("listen", "alice.sealdesk", "--once").err == away

    server.start()
    assert desk.run("chats", "alice.sealdesk").code == 0
    assert [record["text"] for record in desk.hear("bob")] == ["first", "second"]
