"""`make demo` is true: it plays, finds nothing and leaves nothing; it fails when its search is blind or finds."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from examples import demo, search
from examples.search import BlindSearch, Finding, Marker, Place, dump_places, find, folder_places, windows
from examples.stage import Stage
from examples.telling import Telling
from tests.conftest import ROOT

SECRET = "the spare key lies under the blue flowerpot, 42 €".encode()


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A TMPDIR of the demo's own, which PostgreSQL can enter as nobody."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with tempfile.TemporaryDirectory(prefix="demo-") as path:
        os.chmod(path, 0o711)
        yield Path(path)


def processes_in(folder: Path) -> list[str]:
    """The command lines of processes that work in a folder or were given something in it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:  # it has ended, or is not ours
            continue
        if bytes(folder) in told and int(process.name) != os.getpid():
            found.append(told.decode(errors="replace"))
    return found


@pytest.mark.slow
def test_the_demo_plays_finds_nothing_and_leaves_nothing(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.demo", "--json"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    told = [json.loads(line) for line in done.stdout.splitlines()]
    check_story(told)
    assert list(folder.iterdir()) == []
    assert processes_in(folder) == []


def check_story(told: list[dict[str, Any]]) -> None:
    assert [event["role"] for event in told if event["event"] == "account"] == ["customer", "worker", "bot"]
    messages = [event for event in told if event["event"] == "message"]
    assert [event["writer"] for event in messages] == ["Clara", "Wim", "Clara", "Triage", "Clara"]
    assert all(event["read"] == event["wrote"] for event in messages)
    assert len({event["server"]["chat"] for event in messages}) == 2
    for event in messages:
        server = event["server"]
        assert server["position"] >= 1
        assert server["size"] > len(event["wrote"].encode())
        assert server["first_bytes"].startswith("00010002")  # MLS 1.0, PrivateMessage
    assert [event["file"]["name"] for event in messages if "file" in event] == ["receipt-4711.pdf", "front-brake.png"]
    assert [event["what"] for event in told if event["event"] == "members"] == ["added the bot", "removed the bot"]
    (searched,) = [event for event in told if event["event"] == "search"]
    assert (searched["found"], searched["markers_found"]) == ([], 6)
    assert searched["plaintexts"] == 5 + 2 * 2 + 4 + 3
    assert {"database dump", "database dump, bytes", "server log", "PostgreSQL log"} <= set(searched["places"])
    assert (told[-1]["event"], told[-1]["good"], told[-1]["found"]) == ("end", True, 0)


def short_story(monkeypatch: pytest.MonkeyPatch, leak: str) -> list[Path]:
    """In place of the story: one plaintext, one chat, and a server that keeps `leak`.

    Returns a list that then holds the folders of the embedded PostgreSQL.
    """
    folders: list[Path] = []

    def introduce(stage: Stage, telling: Telling) -> demo.Cast:
        clara = stage.person("Clara")
        return demo.Cast(stage, telling, clara, clara, clara, {"message": [SECRET]})

    def play(cast: demo.Cast) -> str:
        if cast.stage.settings.database_url is None:
            folders.extend([cast.stage._cluster.folder, cast.stage._cluster.sockets])
            assert all(path.is_dir() for path in folders)
        chat = "c0ffee" * 8
        statement = f"CREATE TABLE kept AS SELECT decode('{chat}', 'hex') AS chat, '{leak}' AS text"
        asyncio.run(cast.stage._query(statement))
        return chat

    monkeypatch.setattr(demo, "introduce", introduce)
    monkeypatch.setattr(demo, "play", play)
    return folders


def play_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return demo.main(["--json"])


def test_a_search_that_is_blind_fails_the_demo(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.chmod(0o700)  # as root, PostgreSQL has to live elsewhere then
    used = short_story(monkeypatch, "nothing")
    monkeypatch.setattr(search, "find", lambda *_: iter(()))
    assert play_in(folder, monkeypatch) == 1
    assert len(used) == 2
    assert not any(path.exists() for path in used)
    assert all(path.is_relative_to(folder) for path in used) or os.geteuid() == 0
    said = capsys.readouterr()
    assert "do not believe it" in said.err
    assert "found" not in said.out
    assert list(folder.iterdir()) == []


def test_a_server_that_keeps_a_plaintext_fails_the_demo(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short_story(monkeypatch, base64.b64encode(b"x" + SECRET).decode())
    assert play_in(folder, monkeypatch) == 1
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    # One byte stands before it, so a group of three starts at its third byte.
    places = ("database dump", "database dump, bytes")
    assert told[-2]["found"] == [["message", place, "base64, shifted by 2"] for place in places]
    assert (told[-1]["good"], told[-1]["found"]) == (False, 2)
    assert list(folder.iterdir()) == []


async def databases_and_tables(url: str) -> tuple[list[Any], list[Any]]:
    connection = await asyncpg.connect(url)
    try:
        databases = await connection.fetch("SELECT datname FROM pg_database ORDER BY 1")
        return databases, await connection.fetch("SELECT relname, reltuples FROM pg_class ORDER BY 1")
    finally:
        await connection.close()


def test_a_database_of_your_own_is_used_and_left_as_it_was(
    folder: Path, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = asyncio.run(databases_and_tables(database_url))
    short_story(monkeypatch, "nothing")
    monkeypatch.setenv("DATABASE_URL", database_url)
    assert play_in(folder, monkeypatch) == 0
    places = json.loads(capsys.readouterr().out.splitlines()[-2])["places"]
    assert "PostgreSQL log" not in places
    assert places["database dump"] > 1000
    assert asyncio.run(databases_and_tables(database_url)) == before
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("before", [b"", b"x", b"xy", b"xyz"])
@pytest.mark.parametrize(
    "keep",
    [
        lambda data: data,
        lambda data: data.hex().encode(),
        lambda data: data.hex().upper().encode(),
        base64.b64encode,
        base64.urlsafe_b64encode,
        lambda data: data.decode().encode("utf-16-le"),
        lambda data: json.dumps(data.decode()).encode(),
    ],
    ids=["raw", "hex", "HEX", "base64", "base64url", "utf-16", "json"],
)
def test_a_plaintext_is_found_in_every_form_and_at_every_offset(keep: Any, before: bytes) -> None:
    place = Place("disk", os.urandom(999) + keep(before + SECRET + b"after") + os.urandom(999))
    assert list(find({"message": [SECRET]}, [place]))
    assert not list(find({"message": [SECRET[::-1]]}, [place]))


def test_a_dump_is_searched_for_what_its_escapes_stand_for() -> None:
    escaped = b"".join(b"\\\\%03o" % byte if not 32 <= byte < 127 else bytes([byte]) for byte in b"\0\xff" + SECRET)
    places = dump_places(b"COPY messages FROM stdin;\n1\t" + escaped + b"\tback\\\\\\\\slash\n")
    assert [finding.place for finding in find({"m": [SECRET]}, places)] == ["database dump, bytes"]
    assert b"\0\xff" + SECRET + b"\tback\\slash\n" in places[1].data


def test_a_part_of_a_file_is_enough_and_names_count(tmp_path: Path) -> None:
    content = os.urandom(100_000)
    pieces = windows(content)
    assert len(pieces) == search.WINDOWS
    assert (pieces[0], pieces[-1]) == (content[:24], content[-24:])
    (tmp_path / "ab").mkdir()
    (tmp_path / "ab" / "front-brake.png").write_bytes(content[-500:])
    plaintexts = {"content": pieces, "name": [b"front-brake.png"]}
    found = list(find(plaintexts, folder_places("attachments", tmp_path)))
    assert found == [
        Finding("content", "attachments: front-brake.png", "as it is"),
        Finding("name", "attachments: names", "as it is"),
    ]


def test_a_short_file_is_searched_for_whole() -> None:
    assert windows(b"short file") == [b"short file"]


def test_what_would_be_found_by_chance_is_refused() -> None:
    with pytest.raises(ValueError, match="by chance"):
        list(find({"name": [b"Wim"]}, []))


@pytest.mark.parametrize(
    "marker",
    [
        Marker("log", "as it is", b"not there"),
        Marker("log", "hex", b"server.ready"),
        Marker("disk", "as it is", b"x" * 9),
    ],
)
def test_a_marker_that_is_missed_makes_the_search_worthless(marker: Marker) -> None:
    places = [Place("log", b"info server.ready"), Place("disk", SECRET)]
    seen = Marker("log", "as it is", b"server.ready")
    assert search.search({"message": [SECRET]}, places, [seen]) == [Finding("message", "disk", "as it is")]
    with pytest.raises(BlindSearch, match=marker.place):
        search.search({"message": [SECRET]}, places, [seen, marker])


def test_the_story_is_told_to_people_in_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with Telling(as_json=False) as telling:
        telling.progress("Starting")
        telling.chapter("A private chat")
        telling.event("message", [("Clara wrote", "[bold]42 €[/]"), ("server", "478 bytes")], wrote="42 €")
        telling.verdict("0 found", good=True)
    lines = [line.strip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines == ["A private chat", "Clara wrote  [bold]42 €[/]", "server  478 bytes", "0 found"]


def test_the_files_of_the_story_are_what_they_are_called() -> None:
    pdf, png = demo.make_pdf("Receipt"), demo.make_png(300)
    start = int(pdf.rsplit(b"startxref\n", 1)[1].split()[0])
    assert pdf[start:].startswith(b"xref")
    first = int(pdf[start:].split(b"\n")[3].split()[0])
    assert pdf[first:].startswith(b"1 0 obj")
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(png) > 65_536
    assert io.BytesIO(png).read()[-8:-4] == b"IEND"


def test_the_bot_fits_on_one_screen() -> None:
    assert len((ROOT / "examples" / "triage_bot.py").read_text("utf-8").splitlines()) <= 30
