"""What the demo plays on: a real server, people who run `sealdesk` commands, a bot, and a look into the database.

Everything is a process of its own and everything it writes is in one temporary folder. `Stage` ends what it started, by
process id and in order, and removes what it made, also what PostgreSQL put elsewhere because it could not reach the
folder. With DATABASE_URL it makes a database of its own on that server and drops it again; no other one is touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import asyncpg

from backend import operator, postgres
from backend.settings import Settings
from examples.search import Marker, Place, dump_places, folder_places, generate_marker

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 60.0
COMMAND_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0


class StageError(Exception):
    """The demo cannot go on; the text says why."""


@dataclass(frozen=True, slots=True)
class Held:
    """What the server holds of something: its size in bytes, the first and the last of them."""

    size: int
    first: bytes
    last: bytes

    @classmethod
    def of(cls, data: bytes) -> Self:
        """What there is to see of some bytes."""
        return cls(len(data), data[:12], data[-12:])


class Stage:
    """A server on a free loopback port, from entering to leaving."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sealdesk-demo-"))
        if os.geteuid() == 0:
            self.folder.chmod(0o711)  # PostgreSQL then runs as nobody, and has to get to its own folder in this one
        self.log = self.folder / "server.log"
        self._children: list[subprocess.Popen[bytes]] = []
        self._files_seen: set[str] = set()
        given = Settings.from_environment()
        self._given_url = given.database_url
        # A new name on the given server: what is in the given database is neither read nor written.
        self._database = f"sealdesk_demo_{secrets.token_hex(6)}"
        self.settings = Settings(
            data_folder=self.folder / "server",
            database_url=_with_database(given.database_url, self._database) if given.database_url else None,
            postgres_bin=given.postgres_bin,
            port=_free_port(),
        )

    def __enter__(self) -> Self:
        try:
            self._start_server()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def environment(self) -> dict[str, str]:
        """The variables of every process: ours, without any setting of Sealdesk's but the demo's own."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name == "SEALDESK_POSTGRES_BIN" or not (name.startswith("SEALDESK_") or name == "DATABASE_URL")
        }
        demo = {
            "SEALDESK_DATA": str(self.settings.data_folder),
            "SEALDESK_PORT": str(self.settings.port),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        }
        if self.settings.database_url is not None:
            demo["DATABASE_URL"] = self.settings.database_url
        return inherited | demo

    def person(self, name: str) -> Person:
        """Somebody with a folder of their own."""
        folder = self.folder / name.lower()
        folder.mkdir(mode=0o700)
        return Person(name, self, folder / f"{name.lower()}.sealdesk")

    def sealdesk(self, *arguments: str) -> list[dict[str, Any]]:
        """Run one `sealdesk` command with --json; what it prints. Raises StageError with its one line of complaint."""
        command = [sys.executable, "-m", "sealdesk_cli", *arguments, "--json"]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            raise StageError(f"`sealdesk {arguments[0]}` ended with {done.returncode}: {done.stderr.decode().strip()}")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def start(self, *command: str, log: Path) -> subprocess.Popen[bytes]:
        """Start a Python module as a process of its own, which is ended with the stage, or with us (Linux)."""
        child = [sys.executable, "-I", str(ROOT / "backend" / "postgres_child.py"), "-", "-", str(os.getpid())]
        with log.open("ab") as stream:
            process = subprocess.Popen(
                [*child, sys.executable, "-m", *command],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,  # Ctrl-C is for us; we end the others in order
            )
        self._children.append(process)
        return process

    def end(self, process: subprocess.Popen[bytes]) -> int:
        """Ask a process to end, wait for it, and return its exit status."""
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()
        finally:
            self._children.remove(process)

    def held_message(self, chat: str, position: int) -> Held:
        """Look one message up in the database."""
        query = "SELECT message FROM messages WHERE chat_id = $1 AND position = $2"
        (row,) = asyncio.run(self._query(query, bytes.fromhex(chat), position))
        return Held.of(row["message"])

    def newest_position(self, chat: str) -> int:
        """How long a chat's log is."""
        ((head,),) = asyncio.run(self._query("SELECT head FROM chats WHERE chat_id = $1", bytes.fromhex(chat)))
        return int(head)

    def held_file(self, chat: str) -> Held:
        """Look up the attachment of a chat that was not looked up before."""
        query = "SELECT object_id FROM attachments WHERE chat_id = $1"
        names = {row["object_id"].hex() for row in asyncio.run(self._query(query, bytes.fromhex(chat)))}
        (name,) = names - self._files_seen
        self._files_seen.add(name)
        return Held.of((self._attachments / name[:2] / name).read_bytes())

    def places(self, chat: str) -> tuple[list[Place], list[Marker]]:
        """Everything that the server keeps, and what must be found in it; called while the server still runs."""
        planted = generate_marker()
        asyncio.run(self._plant(planted))
        (self._attachments / "marker").write_bytes(planted)
        dump = operator.dump(self.settings).read_bytes()
        logs = [Place("server log", self.log.read_bytes())]
        if self.settings.database_url is None:
            logs.append(Place("PostgreSQL log", (self._cluster.folder / "postgres.log").read_bytes()))
        markers = [
            Marker("database dump, bytes", "as it is", planted),
            Marker("database dump, bytes", "as it is", bytes.fromhex(chat)),
            Marker("database dump", "hex", planted),
            Marker("database dump", "base64, shifted by 0", planted),
            Marker("attachments: marker", "as it is", planted),
            Marker("server log", "as it is", b"server.ready"),
        ]
        return [*dump_places(dump), *folder_places("attachments", self._attachments), *logs], markers

    def close(self) -> None:
        """End what was started, last first, and leave nothing behind. Ctrl-C does not stop it half-way."""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            for process in reversed(self._children.copy()):
                self.end(process)
            if self._given_url is not None:
                asyncio.run(self._drop_database(self._given_url))
            elif self.settings.data_folder.exists():
                for elsewhere in (self._cluster.sockets, self._cluster.folder):
                    if elsewhere.exists() and not elsewhere.is_relative_to(self.folder):
                        shutil.rmtree(elsewhere)
        finally:
            shutil.rmtree(self.folder)
            signal.signal(signal.SIGINT, before)

    def _start_server(self) -> None:
        process = self.start("sealdesk_cli", "serve", log=self.log)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                last = self.log.read_text("utf-8", "replace").strip().rpartition("\n")[2]
                raise StageError(f"the server did not start: {last}")
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        try:
            # The URL is our own: a loopback port.
            with urllib.request.urlopen(f"{self.settings.url}/health/ready", timeout=5) as answer:  # noqa: S310  see above
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    @property
    def _attachments(self) -> Path:
        return self.settings.data_folder / "attachments"

    @property
    def _cluster(self) -> postgres.Cluster:
        """Where the embedded PostgreSQL lives."""
        return postgres.locate(self.settings.data_folder, self.settings.postgres_bin)

    async def _query(self, statement: str, *values: object) -> list[Any]:
        connection = await asyncpg.connect(self.settings.database_url or self._cluster.url())
        try:
            return list(await connection.fetch(statement, *values))
        finally:
            await connection.close()

    async def _plant(self, marker: bytes) -> None:
        """Put something to be found into the demo's own database."""
        await self._query("CREATE TABLE demo_marker (raw bytea, hex text, base64 text)")
        await self._query(
            "INSERT INTO demo_marker VALUES ($1, encode($1, 'hex'), translate(encode($1, 'base64'), E'\\n', ''))",
            marker,
        )

    async def _drop_database(self, url: str) -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(f"DROP DATABASE IF EXISTS {self._database} WITH (FORCE)")
        finally:
            await connection.close()


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a store, who talks by running `sealdesk` commands: each is a process, as in a terminal."""

    name: str
    stage: Stage
    store: Path

    def sealdesk(self, command: str, *arguments: str) -> list[dict[str, Any]]:
        """Run a command on this person's store."""
        words = command.split()
        return self.stage.sealdesk(*words, str(self.store), *arguments)

    def register(self, link: str) -> dict[str, Any]:
        """Make the account."""
        return self.sealdesk("register", link)[0]

    def send(self, to: str, text: str, *options: str) -> dict[str, Any]:
        """Send a message; the record of it."""
        return self.sealdesk("send", to, text, *options)[0]

    def listen(self) -> list[dict[str, Any]]:
        """What others have written since the last time; files are saved into `inbox` beside the store."""
        heard = self.sealdesk("listen", "--once", "--save", str(self.store.parent / "inbox"))
        return [record for record in heard if record["event"] == "message"]

    def wait_for_message(self) -> dict[str, Any]:
        """Listen again and again until somebody has written."""
        deadline = time.monotonic() + COMMAND_TIMEOUT_S
        while time.monotonic() < deadline:
            heard = self.listen()
            if heard:
                return heard[-1]
        raise StageError(f"{self.name} heard nothing for {COMMAND_TIMEOUT_S:.0f} s")


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM end us as Ctrl-C does: through every `finally`."""

    def stop(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _with_database(url: str, database: str) -> str:
    return urlsplit(url)._replace(path=f"/{database}").geturl()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
