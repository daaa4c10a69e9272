"""What Piccolo cannot declare: composite primary keys, identities, indexes, foreign keys, storage.

Backwards undoes the forwards steps in reverse order, so that the tables are again as the first migration made them.
"""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.table import Table

ID = "2026-11-23T08:30:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "Composite keys, identities, indexes, foreign keys"

# table: (the column that Piccolo made the primary key, the real primary key)
PRIMARY_KEYS = {
    "signing_keys": ("account_id", "account_id, version"),
    "device_lists": ("account_id", "account_id, version"),
    "key_packages": ("device_id", "device_id, reference"),
    "chat_members": ("chat_id", "chat_id, device_id, added_at"),
    "messages": ("chat_id", "chat_id, position"),
    "welcomes": ("chat_id", "chat_id, position"),
    "device_inbox": ("device_id", "device_id, item_id"),
    "attachments": ("chat_id", "chat_id, attachment_id"),
}

# forwards step, backwards step
STEPS = [
    (
        f"ALTER TABLE {table} DROP CONSTRAINT {table}_pkey, ADD CONSTRAINT {table}_pkey PRIMARY KEY ({real})",
        f"ALTER TABLE {table} DROP CONSTRAINT {table}_pkey, ADD CONSTRAINT {table}_pkey PRIMARY KEY ({declared})",
    )
    for table, (declared, real) in PRIMARY_KEYS.items()
]

# Piccolo writes DEFAULT null for columns without a default; an identity column may have none.
for identity_table, identity_column in (("key_packages", "number"), ("device_inbox", "item_id")):
    STEPS += [
        (
            f"ALTER TABLE {identity_table} ALTER COLUMN {identity_column} DROP DEFAULT",
            f"ALTER TABLE {identity_table} ALTER COLUMN {identity_column} SET DEFAULT null",
        ),
        (
            f"ALTER TABLE {identity_table} ALTER COLUMN {identity_column} ADD GENERATED ALWAYS AS IDENTITY",
            f"ALTER TABLE {identity_table} ALTER COLUMN {identity_column} DROP IDENTITY",
        ),
    ]

for child, parent, column in (
    ("signing_keys", "accounts", "account_id"),
    ("device_lists", "accounts", "account_id"),
    ("devices", "accounts", "account_id"),
    ("key_packages", "devices", "device_id"),
    ("sessions", "devices", "device_id"),
):
    STEPS.append(
        (
            (
                f"ALTER TABLE {child} ADD CONSTRAINT {child}_{column}_fkey "
                f"FOREIGN KEY ({column}) REFERENCES {parent} ON DELETE CASCADE"
            ),
            f"ALTER TABLE {child} DROP CONSTRAINT {child}_{column}_fkey",
        )
    )

STEPS += [
    (f"CREATE {kind} {name} ON {target}", f"DROP INDEX {name}")
    for kind, name, target in (
        ("UNIQUE INDEX", "messages_chat_id_message_id", "messages (chat_id, message_id)"),
        ("INDEX", "chat_members_device_id", "chat_members (device_id)"),
        ("INDEX", "devices_account_id", "devices (account_id)"),
        ("INDEX", "sessions_device_id", "sessions (device_id)"),
        ("INDEX", "sessions_expires_at_s", "sessions (expires_at_s)"),
        ("INDEX", "session_challenges_device_id", "session_challenges (device_id)"),
        ("INDEX", "session_challenges_expires_at_s", "session_challenges (expires_at_s)"),
        ("INDEX", "key_packages_device_id_number", "key_packages (device_id, number) WHERE NOT last_resort"),
        ("UNIQUE INDEX", "key_packages_device_id_last_resort", "key_packages (device_id) WHERE last_resort"),
        ("INDEX", "device_inbox_chat_id_position", "device_inbox (chat_id, position)"),
    )
]

# Ciphertext does not compress; EXTERNAL saves trying. An acknowledgement rewrites a row: leave room for it on its page.
STEPS += [
    (
        "ALTER TABLE messages ALTER COLUMN message SET STORAGE EXTERNAL",
        "ALTER TABLE messages ALTER COLUMN message SET STORAGE EXTENDED",
    ),
    (
        "ALTER TABLE welcomes ALTER COLUMN welcome SET STORAGE EXTERNAL",
        "ALTER TABLE welcomes ALTER COLUMN welcome SET STORAGE EXTENDED",
    ),
    ("ALTER TABLE chat_members SET (fillfactor = 80)", "ALTER TABLE chat_members RESET (fillfactor)"),
    ("ALTER TABLE chats SET (fillfactor = 70)", "ALTER TABLE chats RESET (fillfactor)"),
    (
        "ALTER TABLE chats ADD CONSTRAINT chats_kind CHECK (kind IN ('private', 'group'))",
        "ALTER TABLE chats DROP CONSTRAINT chats_kind",
    ),
]


class Raw(Table):
    """Only a handle for raw SQL."""


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="backend", description=DESCRIPTION)

    async def run():
        for step, _ in STEPS:
            await Raw.raw(step)

    async def run_backwards():
        for _, step in reversed(STEPS):
            await Raw.raw(step)

    manager.add_raw(run)
    manager.add_raw_backwards(run_backwards)
    return manager
