"""What a device keeps: its state and its history, in one encrypted file.

Owns the `Store` protocol, the SQLite store, its key, its lock and its schema, and a twin in memory. Does not own what
the items mean: that is the engine's.
"""

from __future__ import annotations

from client_lib.store.memory import MemoryStore
from client_lib.store.model import (
    AddMessage,
    Delete,
    Direction,
    Put,
    Status,
    Store,
    StoredMessage,
    Write,
)
from client_lib.store.sqlite import SQLiteStore
from client_lib.store.vault import KeyFile, KeySource, Passphrase, default_key_file

__all__ = [
    "AddMessage",
    "Delete",
    "Direction",
    "KeyFile",
    "KeySource",
    "MemoryStore",
    "Passphrase",
    "Put",
    "SQLiteStore",
    "Status",
    "Store",
    "StoredMessage",
    "Write",
    "default_key_file",
]
