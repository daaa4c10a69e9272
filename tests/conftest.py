"""Fixtures that every part uses: a real PostgreSQL, a fresh database for each test, a real server process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import pytest

from backend import database, operator, postgres
from backend.postgres import EmbeddedPostgres
from backend.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = "sealdesk_template"
START_TIMEOUT_S = 30.0

T = TypeVar("T")


def run_in_thread(work: Callable[[], T]) -> T:
    """Run blocking work that makes an event loop of its own, also from inside a running loop."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(work).result()


def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    return run_in_thread(lambda: asyncio.run(coroutine))


class Server:
    """A server process on loopback. `url`, `log_path` and `settings` stay the same over a restart."""

    def __init__(self, folder: Path, database_url: str) -> None:
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.log_path = folder / "server.log"
        self.settings = Settings(data_folder=folder / "data", database_url=database_url, port=port)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until it is ready."""
        assert self.process is None
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SEALDESK_")}
        environment |= {
            "SEALDESK_DATA": str(self.settings.data_folder),
            "SEALDESK_PORT": str(self.settings.port),
            "DATABASE_URL": str(self.settings.database_url),
            "PYTHONPATH": str(ROOT),
        }
        code = "from backend.operator import serve\nfrom backend.settings import Settings\n"
        code += "serve(Settings.from_environment(), lambda: None)\n"
        # The launcher of the embedded PostgreSQL ends a child with its parent: a killed test run leaves no server.
        launcher = [sys.executable, "-I", str(ROOT / "backend" / "postgres_child.py"), "-", "-", str(os.getpid())]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*launcher, sys.executable, "-c", code], env=environment, cwd=ROOT, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._ready():
            assert self.process.poll() is None, self.log_path.read_text()
            assert time.monotonic() < deadline, self.log_path.read_text()
            time.sleep(0.02)

    def stop(self, timeout_s: float = 20) -> int:
        """SIGTERM, and the exit status. Nothing if it is not running."""
        return self._end(signal.SIGTERM, timeout_s)

    def kill9(self) -> None:
        """SIGKILL: as a power cut, for the process."""
        self._end(signal.SIGKILL, 5)

    def restart(self) -> None:
        """Stop if it runs, start again on the same port and database."""
        self.stop()
        self.start()

    def signal(self, number: int) -> None:
        """Send a signal and do not wait."""
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, timeout_s: float = 20) -> int:
        """Wait for its end; the exit status."""
        assert self.process is not None
        status = self.process.wait(timeout_s)
        self.process = None
        return status

    def _end(self, number: int, timeout_s: float) -> int:
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait(timeout_s)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health/ready", timeout=5) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False


@pytest.fixture(scope="session", name="postgres")
def postgres_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """An embedded PostgreSQL for the whole run, with a migrated template database."""
    # pytest's folders are closed to others, and as root PostgreSQL runs as nobody: a folder of our own.
    folder = Path(tempfile.mkdtemp(prefix="sealdesk-tests-"))
    folder.chmod(0o711)
    try:
        with postgres.start(folder / "data", durable=False) as running:
            run_async(_create_database(running, TEMPLATE, None))
            run_async(database.migrate(running.url(TEMPLATE)))
            yield running
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A fresh, migrated database for one test."""
    with _fresh_database(postgres) as url:
        yield url


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[Server]:
    """A server process of its own on a fresh database."""
    yield from _running(Server(tmp_path, database_url))


@pytest.fixture(scope="session")
def shared_server(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that neither stop it nor count what is in it."""
    with _fresh_database(postgres) as url:
        yield from _running(Server(tmp_path_factory.mktemp("server"), url))


@pytest.fixture
def invitation(server: Server) -> Callable[[], bytes]:
    """Makes an invitation to `server`: `invitation()` is its 16 bytes."""
    return lambda: run_in_thread(lambda: operator.invite(server.settings))


def _running(server: Server) -> Iterator[Server]:
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def _fresh_database(postgres: EmbeddedPostgres) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex}"
    run_async(_create_database(postgres, name, TEMPLATE))
    yield postgres.url(name)
    run_async(_drop_database(postgres, name))


async def _create_database(running: EmbeddedPostgres, name: str, template: str | None) -> None:
    connection = await asyncpg.connect(running.url("postgres"))
    like = f" TEMPLATE {template} STRATEGY wal_log" if template else ""
    await connection.execute(f"CREATE DATABASE {name}{like}")
    await connection.close()


async def _drop_database(running: EmbeddedPostgres, name: str) -> None:
    connection = await asyncpg.connect(running.url("postgres"))
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture
def unused_port() -> int:
    """A loopback port on which nothing listens."""
    return _free_port()


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """A path or name that is not there: pytest-xdist's workers keep what pytest says of it to themselves."""
    try:
        return (yield)
    except pytest.UsageError as error:
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["refused"] = list(error.args)
        raise


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """So that the first of them ends the run with pytest's own words."""
    refused = getattr(node, "workeroutput", {}).get("refused")
    if refused:
        raise pytest.UsageError(*refused)
