"""What the engine knows, and the rows that hold it.

Owns the values and their encoding in the store; decides nothing. Spaces of the store:

=====================  ==========================  ==============================================
space                  key                         value
=====================  ==========================  ==============================================
`identity`             `account`                   `IdentityRow`: our certificates and private keys
`chats`                chat id                     `ChatRow`
`group/<chat hex>`     name of a snapshot row      the group's state (`crypto.mls.snapshot`)
`pending`              chat id                     `PendingRow`: our commit that is not yet in the log
`outbox/<chat hex>`    entry number, 8 bytes       an `Entry`, in the order it must go out
`key_packages`         reference                   private part of a key package that we published
`accounts`             account id                  `protocol.api.Account`, verified, never older than before
`names`                account id                  the name that the user gave an account
`cursors`              chat id, consumer's name    how far it has handled the chat's history
=====================  ==========================  ==============================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from crypto.identity.device_list import VerifiedDeviceList
from crypto.mls import snapshot
from crypto.mls.group import Group, NextEpoch
from crypto.mls.key_package import KeyPackageBundle
from crypto.mls.tree_nodes import KeyPackageSource
from crypto.suites import SignatureKeyPair
from protocol.frames import ChatKind, Commit

ChatStatus = Literal["active", "left", "stuck"]


class Create(msgspec.Struct, frozen=True, tag=True):
    """Tell the server of a new chat."""

    message_id: bytes


class Outgoing(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """A message of ours on its way. `message` is its ciphertext, made for the epoch that the chat is in, or None."""

    message_id: bytes
    content_id: bytes
    content: bytes
    sent_at_ms: int
    message: bytes | None = None

    def __repr__(self) -> str:
        return "Outgoing(redacted)"


class Change(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """A change of members that we want: key packages to add, accounts to remove; neither: fresh keys for our leaf.

    `message_id` is that of our commit, each time that it is made.
    """

    message_id: bytes
    key_packages: tuple[bytes, ...] = ()
    removes: tuple[bytes, ...] = ()
    is_for_proposals: bool = False
    """Made by ourselves, because others have proposed something or the epoch bears no more messages (rules D1, R8)."""


Entry = Create | Outgoing | Change


class ChatRow(msgspec.Struct, frozen=True):
    """The part of a chat that is neither keys nor outbox."""

    kind: ChatKind
    position: int
    status: ChatStatus
    reason: str
    former_epoch: int = -1


class PendingRow(msgspec.Struct, frozen=True):
    """Our commit on its way, and how the group's rows change if it wins."""

    commit: bytes
    rows: dict[str, bytes | None]

    def __repr__(self) -> str:
        return "PendingRow(redacted)"


class KeyPackageRow(msgspec.Struct, frozen=True):
    """An `OwnKeyPackage` in the (encrypted) store."""

    bundle: bytes
    is_last_resort: bool
    is_published: bool
    is_used: bool = False

    def __repr__(self) -> str:
        return "KeyPackageRow(redacted)"


@dataclass(frozen=True, slots=True, eq=False)
class Pending:
    """Our commit on its way, for the first entry of the outbox, and the epoch to which it leads."""

    commit: Commit = field(repr=False)
    next_epoch: NextEpoch


@dataclass(frozen=True, slots=True, eq=False)
class Chat:
    """One chat: how far its log is processed, its keys, and what waits to go out (numbered, ascending)."""

    chat_id: bytes
    kind: ChatKind
    position: int
    group: Group | None
    status: ChatStatus = "active"
    reason: str = ""
    former_epoch: int = -1
    """The last epoch that we were in before we left: no Welcome leads back to it (its keys have been used)."""
    outbox: Mapping[int, Entry] = field(default_factory=dict, repr=False)
    pending: Pending | None = None

    @property
    def next_entry_number(self) -> int:
        """The number of the next entry: one above all that wait, with room below for what must go first."""
        return max(self.outbox, default=2**32) + 1


@dataclass(frozen=True, slots=True)
class OwnKeyPackage:
    """A key package of ours with its private part.

    `is_published`: the server has it. `is_used`: a Welcome has come for it, which only a last-resort one outlives.
    """

    bundle: KeyPackageBundle
    is_last_resort: bool
    is_published: bool
    is_used: bool = False

    @property
    def not_after(self) -> int:
        """When it expires, Unix seconds."""
        source = self.bundle.key_package.leaf_node.source
        assert isinstance(source, KeyPackageSource)
        return source.lifetime.not_after


@dataclass(slots=True)
class State:
    """Everything in memory. It changes in one place only: `Draft.adopt`, after the store has taken the writes."""

    chats: dict[bytes, Chat] = field(default_factory=dict)
    key_packages: dict[bytes, OwnKeyPackage] = field(default_factory=dict)
    """By reference."""
    device_lists: dict[bytes, VerifiedDeviceList] = field(default_factory=dict)
    """By account id."""


Space = Mapping[bytes, bytes]


def load_chat(chat_id: bytes, row: bytes, spaces: Mapping[str, Space], signer: SignatureKeyPair) -> Chat:
    """A chat from its rows."""
    read = msgspec.msgpack.decode(row, type=ChatRow)
    group_rows = {name.decode(): value for name, value in spaces.get(group_space(chat_id), {}).items()}
    group = snapshot.load(group_rows, signer) if group_rows else None
    outbox: dict[int, Entry] = {
        int.from_bytes(number, "big"): msgspec.msgpack.decode(entry, type=Entry)
        for number, entry in sorted(spaces.get(outbox_space(chat_id), {}).items())
    }
    pending = None
    pending_row = spaces.get("pending", {}).get(chat_id)
    if pending_row is not None:
        assert group is not None, "a group that goes takes its pending commit with it, in one transaction"
        change = msgspec.msgpack.decode(pending_row, type=PendingRow)
        next_rows = {name: value for name, value in (group_rows | change.rows).items() if value is not None}
        pending = Pending(msgspec.msgpack.decode(change.commit, type=Commit), snapshot.load_pending(next_rows, group))
    return Chat(chat_id, read.kind, read.position, group, read.status, read.reason, read.former_epoch, outbox, pending)


def group_space(chat_id: bytes) -> str:
    """The space of a chat's group."""
    return f"group/{chat_id.hex()}"


def outbox_space(chat_id: bytes) -> str:
    """The space of a chat's outbox."""
    return f"outbox/{chat_id.hex()}"


def encode_key_package(own: OwnKeyPackage) -> bytes:
    """The row of a key package of ours."""
    return msgspec.msgpack.encode(
        KeyPackageRow(snapshot.encode_bundle(own.bundle), own.is_last_resort, own.is_published, own.is_used)
    )


def decode_key_package(row: bytes) -> OwnKeyPackage:
    """A key package of ours from its row."""
    read = msgspec.msgpack.decode(row, type=KeyPackageRow)
    return OwnKeyPackage(snapshot.decode_bundle(read.bundle), read.is_last_resort, read.is_published, read.is_used)
