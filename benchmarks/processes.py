"""The other processes of a measurement: the real server with a database of its own, and Python programs of ours.

Everything lives in one temporary folder and ends with the block that started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import asyncpg

from backend import database, postgres
from backend.store import invitations

ROOT: Final = Path(__file__).resolve().parents[1]
START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 30.0


class BenchmarkError(Exception):
    """A measurement failed. The text says at what."""


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that takes requests at `url`. `folder` holds its data, and whatever its clients want to keep."""

    url: str
    database_url: str
    folder: Path
    pid: int

    def invite(self, count: int) -> list[bytes]:
        """Make invitations, 16 bytes each."""
        return asyncio.run(_invite(self.database_url, count))

    def query(self, text: str) -> asyncpg.Record:
        """The one row that a query gives."""
        return asyncio.run(_query(self.database_url, text))


@contextlib.contextmanager
def running_server() -> Iterator[RunningServer]:
    """`sealdesk serve` on a free port of this machine, with an embedded PostgreSQL as it comes."""
    with tempfile.TemporaryDirectory(prefix="sealdesk-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # started as root, the database runs as another user, who must be able to enter
        port = _free_port()
        data, log = folder / "server", folder / "server.log"
        command = [sys.executable, "-m", "sealdesk_cli", "serve", "--port", str(port), "--data", str(data)]
        with log.open("wb") as output:
            server = subprocess.Popen(command, cwd=ROOT, env=_environment(), stdout=output, stderr=output)
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_ready(url, server, log)
            with postgres.attach_or_start(data) as running:
                yield RunningServer(url, running.url(), folder, server.pid)
        finally:
            _stop(server)


class Program:
    """A module of ours that runs in a process of its own, reads lines and writes lines."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=ROOT,
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def tell(self, line: bytes) -> None:
        """Write it a line."""
        stdin = self._pipe(self._process.stdin)
        stdin.write(line + b"\n")
        stdin.flush()

    def hear(self) -> bytes:
        """The next line that it writes. Raises `BenchmarkError` if it ended instead."""
        line = self._pipe(self._process.stdout).readline()
        if not line:
            raise BenchmarkError(f"{self._module} ended early; what it said of it stands above")
        return line

    def __enter__(self) -> Program:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._pipe(self._process.stdin).close()
        if kind is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_TIMEOUT_S)
        _stop(self._process)
        self._pipe(self._process.stdout).close()

    def _pipe(self, pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None
        return pipe


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _environment() -> dict[str, str]:
    """Ours without what would lead the server to somebody's own database, folder or address."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SEALDESK_", "DATABASE_URL"))}
    return {**kept, "SEALDESK_LOG_LEVEL": "WARNING"}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        with contextlib.suppress(OSError):  # nobody listens yet, or nobody answers yet
            urllib.request.urlopen(f"{url}/health/ready", timeout=2).close()  # noqa: S310  our own http URL
            return
        if server.poll() is not None or time.monotonic() > deadline:
            raise BenchmarkError(f"the server did not start: {log.read_text(errors='replace').strip()[-500:]}")
        time.sleep(0.05)


async def _invite(url: str, count: int) -> list[bytes]:
    pool = await database.open_pool(url)
    try:
        return [await invitations.create(int(time.time())) for _ in range(count)]
    finally:
        await database.close_pool(pool)


async def _query(url: str, text: str) -> asyncpg.Record:
    connection = await asyncpg.connect(url)
    try:
        row = await connection.fetchrow(text)
        assert row is not None
        return row
    finally:
        await connection.close()
