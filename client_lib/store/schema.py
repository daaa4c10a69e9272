"""The tables of a store, and how an older store becomes a newer one.

`PRAGMA user_version` counts the migrations that a file has seen. Each runs once, in its own transaction, forward only.
A migration that was released is never edited; a change is a new one at the end.
"""

from __future__ import annotations

from typing import Final

import apsw

from client_lib.errors import StoreError

APPLICATION_ID: Final = 0x5EA1DE5C
"""`PRAGMA application_id`: says that the file is a Sealdesk store, and not another encrypted database."""

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    CREATE TABLE items (
        space TEXT NOT NULL,
        key BLOB NOT NULL,
        value BLOB NOT NULL,
        PRIMARY KEY (space, key)
    ) STRICT;

    CREATE TABLE messages (
        number INTEGER PRIMARY KEY,  -- the order in which they were added; unsent messages sort by it
        chat_id BLOB NOT NULL,
        position INTEGER CHECK (position >= 1),
        transport_id BLOB,
        message_id BLOB,
        sender_account_id BLOB,
        sender_device_id BLOB,
        sent_at_ms INTEGER NOT NULL,
        received_at_ms INTEGER,
        direction TEXT NOT NULL,
        status TEXT NOT NULL,
        reason TEXT NOT NULL,
        content BLOB NOT NULL,
        CHECK ((position IS NULL) = (status IN ('sending', 'failed'))),
        UNIQUE (chat_id, position)
    ) STRICT;

    CREATE UNIQUE INDEX own_messages ON messages (chat_id, message_id) WHERE direction = 'out';
    """,
)


def migrate(connection: apsw.Connection) -> None:
    """Bring a store to the newest version. Raises StoreError if it is not ours, or newer than this program."""
    version = _pragma(connection, "user_version")
    if version and _pragma(connection, "application_id") != APPLICATION_ID:
        raise StoreError("the file is a database, but not a Sealdesk store: check the path")
    if version > len(MIGRATIONS):
        raise StoreError(f"the store was made by a newer Sealdesk (store version {version}): update this one")
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        # A pragma takes no parameters; both values are integers of ours.
        stamp = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {number}"
        with connection:
            connection.execute(f"{script}; {stamp}")


def _pragma(connection: apsw.Connection, name: str) -> int:
    return int(connection.pragma(name))
