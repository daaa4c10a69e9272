"""The store as a file: keys, locks, damage, full disks, older and newer versions, and what is left on the disk."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from client_lib.errors import StoreError
from client_lib.store import KeyFile, Passphrase, Put, SQLiteStore, default_key_file, schema, vault
from client_lib.store.model import Delete
from tests.crypto.matrix import without_group

MARKER = b"plaintext marker 7c1e"
PAGE_BYTES = 4096
RESERVED_BYTES = 80  # SQLCipher: 16 of initialisation vector, 64 of HMAC
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "alice.sealdesk"


@pytest.fixture
def key_file(path: Path) -> KeyFile:
    return default_key_file(path)


@pytest.fixture
def store(path: Path, key_file: KeyFile) -> Iterator[SQLiteStore]:
    with SQLiteStore.create(path, key_file) as created:
        yield created


def _child(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run code in another process, where the library is importable."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=REPOSITORY,
        check=False,
    )


_OPEN = """
import sys
from pathlib import Path
from client_lib.errors import StoreError
from client_lib.store import KeyFile, SQLiteStore
try:
    SQLiteStore.open(sys.argv[1], KeyFile(Path(sys.argv[2])))
    print("opened")
except StoreError as error:
    print(error)
"""


def test_a_store_is_one_private_file_once_it_is_closed(path: Path, key_file: KeyFile) -> None:
    with SQLiteStore.create(path, key_file) as store:
        store.apply([Put("s", b"k", MARKER)])
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, path.name + ".key", path.name + ".lock"]
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (path.parent / (path.name + ".lock")).stat().st_size < 20
    # The salt is in the file itself: a copy of the file alone opens with the passphrase or key.
    moved = path.with_name("moved.sealdesk")
    path.rename(moved)
    with SQLiteStore.open(moved, key_file) as store:
        assert store.load("s") == {b"k": MARKER}


def test_a_passphrase_opens_the_store_and_no_other_does(path: Path) -> None:
    SQLiteStore.create(path, Passphrase("correct horse")).close()
    SQLiteStore.open(path, Passphrase("correct horse")).close()
    with pytest.raises(StoreError, match="check the passphrase"):
        SQLiteStore.open(path, Passphrase("Correct horse"))
    # A failed attempt leaves neither a lock nor a change.
    SQLiteStore.open(path, Passphrase("correct horse")).close()


def test_a_passphrase_is_the_same_in_composed_and_decomposed_form(path: Path) -> None:
    SQLiteStore.create(path, Passphrase("Sch\u00f6ne Gr\u00fc\u00dfe")).close()
    SQLiteStore.open(path, Passphrase("Scho\u0308ne Gru\u0308\u00dfe")).close()


def test_the_same_passphrase_gives_each_store_another_key() -> None:
    passphrase = Passphrase("correct horse")
    assert passphrase.key(bytes(16)) == passphrase.key(bytes(16))
    assert passphrase.key(bytes(16)) != passphrase.key(bytes(15) + b"\x01")


def test_a_short_passphrase_is_refused_for_a_new_store(path: Path) -> None:
    with pytest.raises(StoreError, match="at least 8 characters"):
        SQLiteStore.create(path, Passphrase("1234567"))
    assert not path.exists()


def test_secrets_are_not_in_reprs_or_errors(path: Path, key_file: KeyFile, store: SQLiteStore) -> None:
    key = key_file.path.read_text().strip()
    store.close()
    shown = [repr(Passphrase("correct horse")), repr(key_file), repr(store), str(store)]
    with pytest.raises(StoreError) as wrong:
        SQLiteStore.open(path, Passphrase("correct horse"))
    shown += [str(wrong.value), repr(wrong.value), repr(wrong.value.__cause__)]
    assert not [text for text in shown if "correct horse" in text or key in text]


def test_another_key_file_does_not_open_the_store(path: Path, store: SQLiteStore) -> None:
    store.close()
    other = KeyFile(path.with_name("other.key"))
    other.prepare()
    with pytest.raises(StoreError, match="does not open with this key"):
        SQLiteStore.open(path, other)


def test_a_key_file_that_is_there_already_is_used_and_kept(path: Path, key_file: KeyFile) -> None:
    key_file.prepare()
    before = key_file.path.read_bytes()
    SQLiteStore.create(path, key_file).close()
    assert key_file.path.read_bytes() == before


@pytest.mark.parametrize("text", ["", "00" * 31, "00" * 33, "zz" * 32, "\u00e4" * 64])
def test_a_damaged_key_file_is_refused(path: Path, key_file: KeyFile, text: str) -> None:
    key_file.path.write_text(text, encoding="utf-8")
    key_file.path.chmod(0o600)
    with pytest.raises(StoreError, match="key file"):
        SQLiteStore.create(path, key_file)
    assert not path.exists()


def test_a_key_file_that_cannot_be_written_leaves_no_store(path: Path) -> None:
    with pytest.raises(StoreError, match="cannot write the key file"):
        SQLiteStore.create(path, KeyFile(path.parent / "nowhere" / "a.key"))
    assert not path.exists()


def test_a_missing_key_file_is_not_made_anew_for_an_old_store(
    path: Path, key_file: KeyFile, store: SQLiteStore
) -> None:
    store.close()
    key_file.path.unlink()
    with pytest.raises(StoreError, match="is missing: put it back"):
        SQLiteStore.open(path, key_file)
    assert not key_file.path.exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_file_that_others_may_read_is_refused(
    path: Path, key_file: KeyFile, store: SQLiteStore, mode: int
) -> None:
    store.close()
    key_file.path.chmod(mode)
    with pytest.raises(StoreError, match="chmod 600"):
        SQLiteStore.open(path, key_file)


def test_opening_never_makes_a_store(path: Path, key_file: KeyFile) -> None:
    key_file.prepare()
    with pytest.raises(StoreError, match="there is no store"):
        SQLiteStore.open(path, key_file)
    assert list(path.parent.iterdir()) == [key_file.path]


def test_creating_never_replaces_a_store(path: Path, key_file: KeyFile, store: SQLiteStore) -> None:
    store.apply([Put("s", b"k", b"v")])
    store.close()
    with pytest.raises(StoreError, match="exists already"):
        SQLiteStore.create(path, key_file)
    with SQLiteStore.open(path, key_file) as again:
        assert again.load("s") == {b"k": b"v"}


def test_what_a_crash_during_creation_leaves_is_no_obstacle(path: Path, key_file: KeyFile) -> None:
    path.with_name(path.name + ".new").write_bytes(b"half a store")
    SQLiteStore.create(path, key_file).close()
    assert not path.with_name(path.name + ".new").exists()


def test_a_folder_is_refused(path: Path, key_file: KeyFile) -> None:
    key_file.prepare()
    path.mkdir()
    with pytest.raises(StoreError, match="is a folder"):
        SQLiteStore.open(path, key_file)
    with pytest.raises(StoreError, match="exists already"):
        SQLiteStore.create(path, key_file)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file or directory"):
        SQLiteStore.create(tmp_path / "nowhere" / "a.sealdesk", Passphrase("correct horse"))


@pytest.mark.parametrize("content", [b"", b"short", b"not a database" * 1000])
def test_a_file_that_is_no_store_is_refused(path: Path, key_file: KeyFile, content: bytes) -> None:
    key_file.prepare()
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"cut off|damaged"):
        SQLiteStore.open(path, key_file)
    assert path.read_bytes() == content


@without_group("a client's store")
@pytest.mark.breaks("D7")
def test_damage_in_the_middle_is_noticed_and_says_what_to_do(path: Path, key_file: KeyFile, store: SQLiteStore) -> None:
    store.apply([Put("s", bytes([number]), bytes(2000)) for number in range(200)])
    store.close()
    data = bytearray(path.read_bytes())
    for place in range(PAGE_BYTES * 2, len(data), PAGE_BYTES):
        data[place + 100] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreError, match="put back a backup"), SQLiteStore.open(path, key_file) as damaged:
        damaged.load("s")


@pytest.mark.skipif(os.name != "posix", reason="the permissions of POSIX")
@pytest.mark.parametrize("file_mode, folder_mode", [(0o400, 0o700), (0o600, 0o500)], ids=["file", "folder"])
def test_a_store_without_permission_is_refused(
    path: Path, key_file: KeyFile, store: SQLiteStore, file_mode: int, folder_mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.close()
    # The lock file is made again, which needs the folder's permission.
    path.with_name(path.name + ".lock").unlink()
    monkeypatch.chdir(path.parent)
    path.chmod(file_mode)
    path.parent.chmod(folder_mode)
    with _unprivileged(path.parent), pytest.raises(StoreError, match="Permission denied"):
        SQLiteStore.open(path.name, key_file)


@contextmanager
def _unprivileged(folder: Path) -> Iterator[None]:
    """Give a folder to a user without rights, and act as that user; a test that is not root is one already."""
    nobody, is_root = 65_534, os.geteuid() == 0
    if is_root:
        for file in (folder, *folder.iterdir()):
            os.chown(file, nobody, nobody)
        os.seteuid(nobody)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o700)


@without_group("a client's store")
@pytest.mark.breaks("D7")
def test_r34_a_second_process_is_refused_and_told_who_has_the_store(
    path: Path, key_file: KeyFile, store: SQLiteStore
) -> None:
    answer = _child(_OPEN, path, key_file.path)
    holder = f"{path} is in use by process {os.getpid()}"
    assert answer.stdout.strip() == f"{holder}, one at a time may use it: stop that one (Ctrl-C) and try again"
    store.close()
    assert _child(_OPEN, path, key_file.path).stdout.strip() == "opened"


def test_a_backup_copy_made_by_the_same_process_does_not_let_a_second_one_in(
    path: Path, key_file: KeyFile, store: SQLiteStore
) -> None:
    # Opening and closing the file drops the POSIX locks that SQLite holds on it.
    path.read_bytes()
    assert "is in use by process" in _child(_OPEN, path, key_file.path).stdout
    assert store.spaces() == ()


def test_a_second_store_object_in_one_process_is_refused(path: Path, key_file: KeyFile, store: SQLiteStore) -> None:
    with pytest.raises(StoreError, match=f"in use by process {os.getpid()}"):
        SQLiteStore.open(path, key_file)
    with pytest.raises(StoreError, match="in use"):
        SQLiteStore.create(path, key_file)
    store.apply([Put("s", b"k", b"v")])


def test_another_program_with_the_database_open_is_named(path: Path, key_file: KeyFile, store: SQLiteStore) -> None:
    store.close()
    salt = path.read_bytes()[:16]
    other = apsw.Connection(str(path))
    other.execute("PRAGMA cipher = 'sqlcipher'")
    other.execute(f"PRAGMA key = \"x'{key_file.path.read_text().strip()}{salt.hex()}'\"")
    other.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(StoreError, match="in use by another program"):
            SQLiteStore.open(path, key_file)
    finally:
        other.close()


def test_any_thread_may_use_the_store(store: SQLiteStore) -> None:
    def write(number: int) -> None:
        for count in range(20):
            store.apply([Put("s", bytes([number, count]), bytes([number]))])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.load("s")) == 80


def test_r38_a_full_disk_refuses_the_transaction_and_keeps_the_store_usable(store: SQLiteStore) -> None:
    store.apply([Put("s", b"k", b"before")])
    pages = store._connection.pragma("page_count")
    store._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StoreError, match="no space left"):
        store.apply([Put("s", b"k", b"after"), Put("s", b"big", bytes(100_000))])
    assert store.load("s") == {b"k": b"before"}
    store._connection.execute("PRAGMA max_page_count = 1000000")
    store.apply([Put("s", b"k", b"after")])
    assert store.load("s") == {b"k": b"after"}


def test_settings_that_durability_rests_on_are_in_force(store: SQLiteStore) -> None:
    in_force = {name: store._connection.pragma(name) for name in ("journal_mode", "synchronous", "secure_delete")}
    assert in_force == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1}
    assert store._connection.pragma("cipher") == "sqlcipher"


def test_no_plaintext_is_in_any_file(path: Path, store: SQLiteStore) -> None:
    for number in range(50):
        store.apply([Put("s", bytes([number]), MARKER * 100), Put("name-" + MARKER.decode(), b"k", b"v")])
    names = {file.name for file in path.parent.iterdir()}
    assert path.name + "-wal" in names
    _assert_no_plaintext(path.parent)
    store.erase_deleted()
    _assert_no_plaintext(path.parent)
    store.close()
    _assert_no_plaintext(path.parent)


def _assert_no_plaintext(folder: Path) -> None:
    for file in folder.iterdir():
        data = file.read_bytes()
        assert MARKER not in data
        assert b"SQLite format 3" not in data
        assert b"CREATE TABLE" not in data


@without_group("a client's store")
@pytest.mark.breaks("R4")
def test_deleted_and_replaced_values_are_gone_from_the_disk_after_erase_deleted(
    path: Path, key_file: KeyFile, store: SQLiteStore
) -> None:
    key = bytes.fromhex(key_file.path.read_text())
    other, kept = b"replaced marker 93aa", b"kept marker 51d0"
    store.apply([Put("s", b"deleted", MARKER * 300), Put("s", b"replaced", other), Put("s", b"kept", kept)])
    store.apply([Delete("s", b"deleted"), Put("s", b"replaced", b"new value")])
    # The control: the WAL still has the pages of before, so this way of looking finds them.
    assert {marker for marker in (MARKER, other, kept) if marker in _decrypted(path, key)} == {MARKER, other, kept}
    store.erase_deleted()
    left = _decrypted(path, key)
    assert kept in left
    assert MARKER not in left
    assert other not in left


def test_without_secure_delete_the_deleted_value_would_still_be_there(
    path: Path, key_file: KeyFile, store: SQLiteStore
) -> None:
    store._connection.execute("PRAGMA secure_delete = OFF")
    store.apply([Put("s", b"deleted", MARKER)])
    store.apply([Delete("s", b"deleted")])
    store.erase_deleted()
    assert MARKER in _decrypted(path, bytes.fromhex(key_file.path.read_text()))


def _decrypted(path: Path, key: bytes) -> bytes:
    """Every page of the database and of every frame in its WAL, decrypted by hand, free space included."""
    database = path.read_bytes()
    pages = [database[start : start + PAGE_BYTES] for start in range(0, len(database), PAGE_BYTES)]
    wal = path.with_name(path.name + "-wal").read_bytes()
    frame_bytes = 24 + PAGE_BYTES
    pages += [wal[start + 24 : start + frame_bytes] for start in range(32, len(wal), frame_bytes)]
    return b"".join(_decrypted_page(page, key) for page in pages)


def _decrypted_page(page: bytes, key: bytes) -> bytes:
    end = PAGE_BYTES - RESERVED_BYTES
    decryptor = Cipher(algorithms.AES256(key), modes.CBC(page[end : end + 16])).decryptor()
    # Page 1 begins with 16 bytes of salt; a page that is not page 1 merely shows one wrong block here.
    return decryptor.update(page[:end]) + b"\n" + _first_page(page, key, end)


def _first_page(page: bytes, key: bytes, end: int) -> bytes:
    return Cipher(algorithms.AES256(key), modes.CBC(page[end : end + 16])).decryptor().update(page[16:end])


def test_an_older_store_is_migrated_once_and_keeps_its_content(
    path: Path, key_file: KeyFile, store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.apply([Put("s", b"k", b"v")])
    store.close()
    newer = (*schema.MIGRATIONS, "CREATE TABLE notes (text TEXT NOT NULL) STRICT; INSERT INTO notes VALUES ('once')")
    monkeypatch.setattr(schema, "MIGRATIONS", newer)
    for _ in range(2):
        with SQLiteStore.open(path, key_file) as migrated:
            assert migrated.load("s") == {b"k": b"v"}
            assert migrated._connection.execute("SELECT text FROM notes").fetchall() == [("once",)]
            assert migrated._connection.pragma("user_version") == len(newer)


def test_a_migration_that_fails_leaves_the_store_as_it_was(
    path: Path, key_file: KeyFile, store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.apply([Put("s", b"k", b"v")])
    store.close()
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "DELETE FROM items; DELETE FROM no_such_table"))
        with pytest.raises(apsw.SQLError):
            SQLiteStore.open(path, key_file)
    with SQLiteStore.open(path, key_file) as again:
        assert again.load("s") == {b"k": b"v"}


@without_group("a client's store")
@pytest.mark.breaks("D7")
def test_a_newer_store_and_a_foreign_database_are_refused(path: Path, key_file: KeyFile, store: SQLiteStore) -> None:
    store._connection.execute("PRAGMA user_version = 99")
    store.close()
    with pytest.raises(StoreError, match="newer Sealdesk"):
        SQLiteStore.open(path, key_file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "APPLICATION_ID", 1)
        with pytest.raises(StoreError, match="not a Sealdesk store"):
            SQLiteStore.open(path, key_file)


def test_the_argon2id_parameters_are_those_that_stores_were_made_with() -> None:
    # A fixed input and its key: a change here would lock every passphrase store.
    assert vault.Passphrase("correct horse").key(bytes(range(16))).reveal().hex() == ARGON2ID_KEY


ARGON2ID_KEY = "577f1ff37e9a3e52c97d39f8e83891c1b73b0e87ffe0429cee8ede2fb005fe44"
