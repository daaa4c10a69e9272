"""`SQLiteStore`: everything a device keeps, in one encrypted SQLite file.

SQLite3 Multiple Ciphers in its SQLCipher scheme: AES-256-CBC with an HMAC for each page. The first 16 bytes of the file
are its random salt, in the clear; passphrases are stretched over it, so the file needs nothing beside it to be opened.

Invariants: a transaction is on disk when `apply` returns (WAL with synchronous=FULL; NORMAL could roll a ratchet back
on power loss); one process at a time has the store open; deleted content is overwritten (secure_delete), and is out of
the WAL too after `erase_deleted`; a store is made whole or not at all; opening never makes one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self, assert_never

import apsw

from client_lib.errors import StoreError
from client_lib.store import schema
from client_lib.store.lock import StoreLock
from client_lib.store.model import (
    AddMessage,
    Delete,
    Direction,
    Put,
    Status,
    StoredMessage,
    Write,
)
from client_lib.store.vault import SALT_BYTES, KeySource
from crypto.secret import Secret

# Exclusive before the first read: then the WAL needs no shared memory file. FULL: see the invariants.
_SETTINGS: Final = (
    "locking_mode = EXCLUSIVE",
    "journal_mode = WAL",
    "synchronous = FULL",
    "secure_delete = ON",
    "temp_store = MEMORY",
)
_COLUMNS: Final = (
    "chat_id, position, transport_id, message_id, sender_account_id, sender_device_id, sent_at_ms, received_at_ms, "
    "direction, status, reason, content"
)
_MARKS: Final = "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?"
_INSERT: Final = f"INSERT INTO messages ({_COLUMNS}) VALUES ({_MARKS})"  # noqa: S608  # our own column names
_UPDATE: Final = f"UPDATE messages SET ({_COLUMNS}) = ({_MARKS}) WHERE number = ?"  # noqa: S608  # likewise
_SELECT: Final = (
    f"SELECT {_COLUMNS} FROM messages WHERE chat_id = ? AND (position > ? OR position IS NULL) "  # noqa: S608  # likewise
    "ORDER BY position IS NULL, position, number LIMIT ?"
)
_GIVES_WAY: Final = (
    "SELECT number FROM messages WHERE chat_id = :chat_id AND ((position = :position AND status = 'undecryptable') "
    "OR (:direction = 'out' AND direction = 'out' AND position IS NULL AND message_id = :message_id)) ORDER BY number"
)


class SQLiteStore:
    """A `Store` on disk. Make one with `create` or `open`; usable from any thread, one call at a time."""

    def __init__(self, path: Path, connection: apsw.Connection, lock: StoreLock) -> None:
        self.path = path
        self._connection = connection
        self._store_lock = lock
        self._lock = threading.Lock()

    @classmethod
    def create(cls, path: str | Path, key_source: KeySource) -> Self:
        """Make a new store and open it. Raises StoreError: something is there already, or no space or permission.

        The file appears under its name only when it is complete, so a crash on the way leaves no half store.
        """
        path = Path(path)
        lock = StoreLock(path)
        try:
            if path.exists():
                raise StoreError(f"{path} exists already: open it, or choose another path")
            key_source.prepare()
            salt = os.urandom(SALT_BYTES)
            key = key_source.key(salt)
            _write_new(path, key, salt)
            return cls(path, _connect(path, key, salt), lock)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def open(cls, path: str | Path, key_source: KeySource) -> Self:
        """Open a store. Raises StoreError: not there, in use, wrong key, damaged, or made by a newer version."""
        path = Path(path)
        # Looked at first, so that a mistyped path leaves no lock file behind.
        if path.is_dir():
            raise StoreError(f"{path} is a folder: give the path of the store inside it")
        if not path.exists():
            raise StoreError(f"there is no store at {path}: check the path, or make one with `sealdesk register`")
        lock = StoreLock(path)
        try:
            salt = _read_salt(path)
            return cls(path, _connect(path, key_source.key(salt), salt), lock)
        except BaseException:
            lock.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"SQLiteStore({str(self.path)!r})"

    def apply(self, writes: Sequence[Write]) -> None:
        with self._lock, _translated(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                for write in writes:
                    self._write(write)
                self._connection.execute("COMMIT")
            except BaseException:
                # SQLite has rolled back by itself where the disk was full.
                if not self._connection.get_autocommit():
                    self._connection.execute("ROLLBACK")
                raise

    def load(self, space: str) -> dict[bytes, bytes]:
        rows = self._rows("SELECT key, value FROM items WHERE space = ? ORDER BY key", (space,))
        return dict(rows)

    def spaces(self) -> tuple[str, ...]:
        return tuple(space for (space,) in self._rows("SELECT DISTINCT space FROM items ORDER BY space", ()))

    def messages(self, chat_id: bytes, after: int | None = None, limit: int | None = None) -> tuple[StoredMessage, ...]:
        rows = self._rows(_SELECT, (chat_id, after or 0, -1 if limit is None else limit))
        return tuple(_message(row) for row in rows)

    def erase_deleted(self) -> None:
        with self._lock, _translated(self.path):
            (busy, _, _) = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0]
            if busy:
                raise StoreError(f"deleted keys are still in {self.path}-wal: try again")

    def close(self) -> None:
        with self._lock:
            try:
                with _translated(self.path):
                    self._connection.close()
            finally:
                self._store_lock.release()

    def _rows(self, sql: str, values: tuple[object, ...]) -> list[Any]:
        with self._lock, _translated(self.path):
            return list(self._connection.execute(sql, values))

    def _write(self, write: Write) -> None:
        match write:
            case Put(space, key, value):
                self._connection.execute(
                    "INSERT INTO items VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
                    (space, key, value),
                )
            case Delete(space, key):
                self._connection.execute("DELETE FROM items WHERE space = ? AND key = ?", (space, key))
            case AddMessage(message):
                self._add_message(message)
            case _:
                assert_never(write)

    def _add_message(self, message: StoredMessage) -> None:
        identity = {
            "chat_id": message.chat_id,
            "position": message.position,
            "direction": str(message.direction),
            "message_id": message.message_id,
        }
        giving_way = [number for (number,) in self._connection.execute(_GIVES_WAY, identity)]
        for number in giving_way[1:]:
            self._connection.execute("DELETE FROM messages WHERE number = ?", (number,))
        try:
            if giving_way:
                self._connection.execute(_UPDATE, (*_values(message), giving_way[0]))
            else:
                self._connection.execute(_INSERT, _values(message))
        except apsw.ConstraintError as error:
            taken = (
                "SELECT 1 FROM messages WHERE chat_id = :chat_id AND position = :position AND status <> 'undecryptable'"
            )
            if self._connection.execute(taken, identity).fetchall():
                text = f"position {message.position} of this chat holds a message already: read the log after it"
            else:
                text = "this message of ours has its position already: do not add it again"
            raise StoreError(text) from error


def _write_new(path: Path, key: Secret, salt: bytes) -> None:
    new = path.with_name(path.name + ".new")
    try:
        new.unlink(missing_ok=True)
        os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with _translated(path):
            connection = apsw.Connection(str(new), flags=apsw.SQLITE_OPEN_READWRITE)
            try:
                _unlock(connection, key, salt)
                connection.execute("PRAGMA synchronous = FULL")
                schema.migrate(connection)
            finally:
                connection.close()
        new.rename(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise StoreError(f"cannot make the store {path}: {error.strerror}") from error


def _sync_folder(folder: Path) -> None:
    """Make a rename durable. Windows cannot open folders, and its file systems journal the rename."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_salt(path: Path) -> bytes:
    try:
        # For writing too, as SQLite would open a read-only file and fail much later.
        with path.open("r+b") as file:
            salt = file.read(SALT_BYTES)
    except OSError as error:
        raise StoreError(f"cannot open the store {path} for writing: {error.strerror}") from error
    if len(salt) < SALT_BYTES:
        raise StoreError(f"the store {path} is cut off: put back a backup")
    return salt


def _connect(path: Path, key: Secret, salt: bytes) -> apsw.Connection:
    with _translated(path):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            _unlock(connection, key, salt)
            for setting in _SETTINGS:
                connection.execute(f"PRAGMA {setting}").fetchall()
            schema.migrate(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def _unlock(connection: apsw.Connection, key: Secret, salt: bytes) -> None:
    # 96 hex digits: a raw key, and the salt that becomes (or is) the first 16 bytes of the file.
    connection.execute("PRAGMA cipher = 'sqlcipher'")
    connection.execute(f"PRAGMA key = \"x'{key.reveal().hex()}{salt.hex()}'\"")


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into one line that says what to do."""
    try:
        yield
    except apsw.NotADBError as error:
        raise StoreError(
            f"{path} does not open with this key: check the passphrase or key file; if it is right, the file is "
            "damaged, so put back a backup"
        ) from error
    except apsw.BusyError as error:
        raise StoreError(f"{path} is in use by another program: stop it first") from error
    except apsw.FullError as error:
        raise StoreError(f"no space left for {path}: free some; nothing of the last change was kept") from error
    except (apsw.CorruptError, apsw.IOError) as error:
        raise StoreError(f"{path} cannot be read or written: check the disk, or put back a backup") from error
    except (apsw.CantOpenError, apsw.ReadOnlyError, apsw.PermissionsError) as error:
        raise StoreError(f"{path} cannot be opened for writing: check its permissions and its folder's") from error
    except apsw.ConnectionClosedError as error:
        raise StoreError("the store is closed: open it again") from error


def _values(message: StoredMessage) -> tuple[object, ...]:
    return (
        message.chat_id,
        message.position,
        message.transport_id,
        message.message_id,
        message.sender_account_id,
        message.sender_device_id,
        message.sent_at_ms,
        message.received_at_ms,
        str(message.direction),
        str(message.status),
        message.reason,
        message.content,
    )


def _message(row: tuple[Any, ...]) -> StoredMessage:
    *start, direction, status, reason, content = row
    chat_id, position, transport_id, message_id, account_id, device_id, sent_at_ms, received_at_ms = start
    return StoredMessage(
        chat_id=chat_id,
        position=position,
        transport_id=transport_id,
        message_id=message_id,
        sender_account_id=account_id,
        sender_device_id=device_id,
        sent_at_ms=sent_at_ms,
        received_at_ms=received_at_ms,
        direction=Direction(direction),
        status=Status(status),
        reason=reason,
        content=content,
    )
