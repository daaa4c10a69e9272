"""The key of a store: from a passphrase, or from a key file for programs without a person at hand.

A store is encrypted under a 32-byte key. `Passphrase` stretches what a person types with Argon2id over the store's salt
(the file's first 16 bytes); `KeyFile` reads random bytes from `<store>.key`, which nobody else may read. Neither shows
its secret in a repr or an error.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from pathlib import Path
from typing import Final, Protocol

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from client_lib.errors import StoreError
from crypto.secret import Secret

KEY_BYTES: Final = 32
SALT_BYTES: Final = 16
PASSPHRASE_CHARACTERS_MIN: Final = 8

# The second recommended option of RFC 9106 §4, for memory-constrained environments; 0.1 s on the machine it was
# measured on. Changing one locks everybody out: a new choice needs a new store version.
ARGON2ID_ITERATIONS: Final = 3
ARGON2ID_LANES: Final = 4
ARGON2ID_MEMORY_KIB: Final = 64 * 1024


class KeySource(Protocol):
    """Where a store's key comes from."""

    def prepare(self) -> None:
        """Make sure that a key can be had for a new store. Raises StoreError."""

    def key(self, salt: bytes) -> Secret:
        """The store's key, 32 bytes. `salt`: the store's, 16 bytes. Raises StoreError."""


class Passphrase:
    """A key from what a person remembers. The text is taken in Unicode's composed form (NFC), so keyboards agree."""

    __slots__ = ("_passphrase",)

    def __init__(self, passphrase: str) -> None:
        self._passphrase = Secret(unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogatepass"))

    def prepare(self) -> None:
        """Refuse a passphrase that is too short for a new store."""
        if len(self._passphrase.reveal().decode("utf-8", "surrogatepass")) < PASSPHRASE_CHARACTERS_MIN:
            raise StoreError(f"the passphrase is too short: take at least {PASSPHRASE_CHARACTERS_MIN} characters")

    def key(self, salt: bytes) -> Secret:
        """Argon2id over passphrase and salt (RFC 9106)."""
        argon2id = Argon2id(
            salt=salt,
            length=KEY_BYTES,
            iterations=ARGON2ID_ITERATIONS,
            lanes=ARGON2ID_LANES,
            memory_cost=ARGON2ID_MEMORY_KIB,
        )
        return Secret(argon2id.derive(self._passphrase.reveal()))

    def __repr__(self) -> str:
        return "Passphrase(redacted)"


class KeyFile:
    """A random key in a file of its own: 64 hex digits, readable by its owner only. Whoever has both files has all."""

    __slots__ = ("path",)

    def __init__(self, path: Path) -> None:
        self.path = path

    def prepare(self) -> None:
        """Write a new random key, unless the file is there already."""
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return
        except OSError as error:
            raise StoreError(f"cannot write the key file {self.path}: {error.strerror}") from error
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(generate_key().reveal().hex() + "\n")
            file.flush()
            os.fsync(file.fileno())

    def key(self, salt: bytes) -> Secret:
        """The key in the file; the salt is not needed, as the key is random."""
        del salt
        try:
            with self.path.open(encoding="ascii") as file:
                mode = os.fstat(file.fileno()).st_mode
                text = file.read(2 * KEY_BYTES + 2).strip()
        except FileNotFoundError as error:
            raise StoreError(f"the key file {self.path} is missing: put it back, or give the passphrase") from error
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError(f"cannot read the key file {self.path}: check that it is the right file") from error
        if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
            raise StoreError(f"others may read the key file {self.path}: run `chmod 600 {self.path}`")
        try:
            key = bytes.fromhex(text)
        except ValueError:
            key = b""
        if len(key) != KEY_BYTES:
            raise StoreError(f"the key file {self.path} is damaged: put back the one that was made with the store")
        return Secret(key)

    def __repr__(self) -> str:
        return f"KeyFile({str(self.path)!r})"


def generate_key() -> Secret:
    """A random key, 32 bytes."""
    return Secret(os.urandom(KEY_BYTES))


def default_key_file(store: Path) -> KeyFile:
    """The key file that belongs to a store: `<store>.key` beside it."""
    return KeyFile(store.with_name(store.name + ".key"))
