"""Every table, as Piccolo declares it.

What Piccolo cannot say is in the raw steps of the migrations: composite primary keys, indexes, foreign keys, storage.
Where the column marked as primary key is only a part of it, the table says so.

The server holds what it needs to relay, and nothing else. There is no column for who sent a message: a resend is
recognised by its random message id and the hash of the request, and MLS hides the sender in the ciphertext. Times are
the server's clock: `_s` Unix seconds, `_ms` Unix milliseconds. Large tables have `chat_id` in every key, so that chats
can be spread over machines.
"""

from __future__ import annotations

from piccolo.columns import BigInt, Boolean, Bytea, Integer, Varchar
from piccolo.table import Table


class Accounts(Table, tablename="accounts"):
    """An account: the hash of a root key that the server has never seen signed anything but the signing key."""

    account_id = Bytea(primary_key=True, default=None)
    created_at_s = BigInt(default=None)


class SigningKeys(Table, tablename="signing_keys"):
    """Signing key certificates, by version; the highest one counts. Primary key: account_id, version."""

    account_id = Bytea(primary_key=True, default=None)
    version = BigInt(default=None)
    certificate = Bytea(default=None)


class DeviceLists(Table, tablename="device_lists"):
    """Signed device lists, by version; the highest one counts. Primary key: account_id, version."""

    account_id = Bytea(primary_key=True, default=None)
    version = BigInt(default=None)
    device_list = Bytea(default=None)


class Devices(Table, tablename="devices"):
    """A device and its certificate."""

    device_id = Bytea(primary_key=True, default=None)
    account_id = Bytea(default=None)
    device_key = Bytea(default=None)
    certificate = Bytea(default=None)
    created_at_s = BigInt(default=None)


class KeyPackages(Table, tablename="key_packages"):
    """One-time key packages, and at most one last-resort one per device. Primary key: device_id, reference."""

    device_id = Bytea(primary_key=True, default=None)
    reference = Bytea(default=None)
    number = BigInt(default=None)  # an identity: first in, first out
    cipher_suite = Integer(default=None)
    last_resort = Boolean(default=False)
    not_after_s = BigInt(default=None)
    key_package = Bytea(null=True, default=None)  # null: given out; the row stays until it expires, against resends


class Chats(Table, tablename="chats"):
    """One gap-free log: `head` is its newest position, `epoch` the number of commits in it.

    A private chat remembers the only two accounts that it may ever hold; in a group chat both are null.
    """

    chat_id = Bytea(primary_key=True, default=None)
    kind = Varchar(length=16, default=None)
    epoch = BigInt(default=0)
    head = BigInt(default=0)
    create_message_id = Bytea(default=None)
    first_account_id = Bytea(null=True, default=None)
    second_account_id = Bytea(null=True, default=None)
    created_at_s = BigInt(default=None)


class ChatMembers(Table, tablename="chat_members"):
    """One stay of one device in a chat: it reads the positions after `added_at`, up to `removed_at` if that is set.

    A device that is removed and added again has two stays until it acknowledged the end of the first.
    Primary key: chat_id, device_id, added_at.
    """

    chat_id = Bytea(primary_key=True, default=None)
    device_id = Bytea(default=None)
    account_id = Bytea(default=None)
    added_at = BigInt(default=None)
    position = BigInt(default=None)  # acknowledged up to here
    removed_at = BigInt(null=True, default=None)


class Messages(Table, tablename="messages"):
    """The logs. Primary key: chat_id, position; unique: chat_id, message_id."""

    chat_id = Bytea(primary_key=True, default=None)
    position = BigInt(default=None)
    message_id = Bytea(default=None)
    request_hash = Bytea(default=None)
    received_at_ms = BigInt(default=None)
    message = Bytea(default=None)


class Welcomes(Table, tablename="welcomes"):
    """The Welcome of a commit, held once for all the devices it adds. Primary key: chat_id, position."""

    chat_id = Bytea(primary_key=True, default=None)
    position = BigInt(default=None)
    welcome = Bytea(default=None)


class DeviceInbox(Table, tablename="device_inbox"):
    """What waits for one device alone; a Welcome's bytes are in `welcomes`. Primary key: device_id, item_id."""

    device_id = Bytea(primary_key=True, default=None)
    item_id = BigInt(default=None)  # an identity
    kind = Varchar(length=16, default=None)
    chat_id = Bytea(default=None)
    position = BigInt(default=None)


class Attachments(Table, tablename="attachments"):
    """Attachments that are stored in full. Primary key: chat_id, attachment_id."""

    chat_id = Bytea(primary_key=True, default=None)
    attachment_id = Bytea(default=None)
    object_id = Bytea(default=None)  # its name in the object store, new for each upload
    size_bytes = BigInt(default=None)
    stored_at_s = BigInt(default=None)


class Invitations(Table, tablename="invitations"):
    """Invitations not yet used, by the SHA-256 of their code."""

    code_hash = Bytea(primary_key=True, default=None)
    expires_at_s = BigInt(default=None)


class Sessions(Table, tablename="sessions"):
    """Open sessions, by the SHA-256 of their token."""

    token_hash = Bytea(primary_key=True, default=None)
    device_id = Bytea(default=None)
    account_id = Bytea(default=None)
    created_at_ms = BigInt(default=None)
    expires_at_s = BigInt(default=None)


class SessionChallenges(Table, tablename="session_challenges"):
    """Challenges that are not answered yet."""

    challenge = Bytea(primary_key=True, default=None)
    device_id = Bytea(default=None)
    expires_at_s = BigInt(default=None)


TABLES: list[type[Table]] = [
    Accounts,
    SigningKeys,
    DeviceLists,
    Devices,
    KeyPackages,
    Chats,
    ChatMembers,
    Messages,
    Welcomes,
    DeviceInbox,
    Attachments,
    Invitations,
    Sessions,
    SessionChallenges,
]
