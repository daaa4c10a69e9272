"""What an operator is told when something cannot be done: one line, and in it what to do next."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backend import operator, postgres, postgres_files
from backend.logs import EventFormatter
from backend.operator import OperatorError
from backend.postgres import EmbeddedPostgres
from backend.postgres_files import PostgresError
from backend.settings import Settings
from tests.conftest import run_in_thread


def refusal(work: Callable[[], object], advice: str) -> str:
    """The text of the error that `work` raises: one line whose second half says what to do."""
    with pytest.raises((OperatorError, PostgresError)) as error:
        run_in_thread(work)
    text = str(error.value)
    assert "\n" not in text
    assert advice in text.partition("; ")[2], text
    return text


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that `nobody` can enter, as pytest's cannot be."""
    folder = Path(tempfile.mkdtemp(prefix="sealdesk-operator-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def binaries_that_say(folder: Path, text: str) -> Path:
    """An installation whose programs fail with `text`."""
    binaries = folder / "pginstall" / "bin"
    binaries.mkdir(parents=True)
    for name in ("postgres", "initdb", "pg_dump"):
        (binaries / name).write_text(f"#!/bin/sh\nprintf '%s' '{text}' >&2\nexit 1\n")
        (binaries / name).chmod(0o755)
    return binaries


def test_a_database_that_cannot_be_reached(tmp_path: Path, unused_port: int) -> None:
    for host in ("127.0.0.1", "localhost"):
        settings = Settings(data_folder=tmp_path, database_url=f"postgresql://u:hidden@{host}:{unused_port}/d")
        for work in (operator.init, operator.invite):
            assert "hidden" not in refusal(lambda work=work, settings=settings: work(settings), "DATABASE_URL")


def test_a_socket_that_is_not_there(tmp_path: Path) -> None:
    settings = Settings(data_folder=tmp_path, database_url=f"postgresql://u:p@/d?host={tmp_path}")
    refusal(lambda: operator.init(settings), "DATABASE_URL")


def test_a_database_that_refuses(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    url = postgres.url("postgres")
    _, _, password = url.partition("://")[2].partition("@")[0].partition(":")
    wrong = Settings(data_folder=tmp_path, database_url=url.replace(password, "guess"))
    refusal(lambda: operator.init(wrong), "DATABASE_URL")
    other = Settings(data_folder=tmp_path, database_url=postgres.url("template0"))  # takes no connections
    assert "hidden" not in refusal(lambda: operator.init(other), "DATABASE_URL")


def test_a_data_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "data"):
        settings = Settings(data_folder=folder)
        assert str(tmp_path / "file") in refusal(lambda settings=settings: operator.init(settings), "SEALDESK_DATA")


def test_an_initdb_that_fails(open_folder: Path) -> None:
    said = "creating directory ...\ninitdb: error: could not write: No space left on device\ninitdb: removing it"
    settings = Settings(data_folder=open_folder / "data", postgres_bin=binaries_that_say(open_folder, said))
    assert "No space left on device" in refusal(lambda: operator.init(settings), "SEALDESK_DATA")


def test_a_postgres_that_does_not_come_up(open_folder: Path) -> None:
    binaries = binaries_that_say(open_folder, "first line\nFATAL:  could not map anonymous shared memory")
    cluster = postgres_files.locate(open_folder / "data", binaries)
    cluster.data.mkdir()
    (cluster.data / "PG_VERSION").write_text("18")
    settings = Settings(data_folder=open_folder / "data", postgres_bin=binaries)
    assert "shared memory" in refusal(lambda: operator.init(settings), "postgres.log")


def test_a_dump_that_fails(tmp_path: Path) -> None:
    said = "pg_dump: error: aborting because of server version mismatch\npg_dump: detail: server version: 19"
    settings = Settings(
        data_folder=tmp_path / "data", database_url="postgresql://h/d", postgres_bin=binaries_that_say(tmp_path, said)
    )
    assert "version mismatch" in refusal(lambda: operator.dump(settings), "SEALDESK_POSTGRES_BIN")
    assert settings.postgres_bin is not None
    (settings.postgres_bin / "pg_dump").unlink()
    refusal(lambda: operator.dump(settings), "SEALDESK_POSTGRES_BIN")


def test_binaries_that_are_not_there(tmp_path: Path) -> None:
    refusal(lambda: operator.init(Settings(data_folder=tmp_path, postgres_bin=tmp_path)), "folder that has them")


def test_a_database_in_use_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "START_TIMEOUT_S", 0.1)
    with (tmp_path / "postgres.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refusal(lambda: operator.init(Settings(data_folder=tmp_path)), "stop")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_the_log_says_that_the_database_is_elsewhere_and_not_where(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    folder = postgres_files.locate(closed / "data").folder
    try:
        (record,) = caplog.records
        line = EventFormatter().format(record)
        assert record.levelno == logging.WARNING
        assert "postgres.folder_elsewhere" in line
        assert "named_in=postgres-folder" in line
        assert "/" not in line
    finally:
        shutil.rmtree(folder)
