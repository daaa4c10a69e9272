"""One step of the engine: what it would change, collected until the store has it.

A flow (`send`, `receive`, `join`, `commit`) works on a `Draft`. If it raises, the draft is dropped and nothing has
happened. If it ends, the client writes `writes` in one transaction, then calls `adopt`, then sends `frames` and emits
`events`. That order is the durability rule of the client: nothing leaves before it is on disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import msgspec

from client_lib.engine.state import (
    Chat,
    ChatRow,
    Entry,
    OwnKeyPackage,
    PendingRow,
    State,
    encode_key_package,
    group_space,
    outbox_space,
)
from client_lib.events import Event
from client_lib.store.model import Delete, Put, Write
from crypto.identity.device_list import VerifiedDeviceList
from crypto.mls import snapshot
from crypto.mls.group import Group
from protocol.frames import ClientFrame


class Draft:
    """The changes of one step, over a state that stays untouched until `adopt`."""

    def __init__(self, state: State, now_ms: int, fresh: frozenset[bytes] = frozenset()) -> None:
        self.now_ms = now_ms
        self.fresh = fresh
        """Accounts whose device list was fetched for this very step: what is not on it now is not believed."""
        self.frames: list[ClientFrame] = []
        self.events: list[Event] = []
        self.writes: list[Write] = []
        self._state = state
        self._chats: dict[bytes, Chat] = {}
        self._key_packages: dict[bytes, OwnKeyPackage | None] = {}
        self._device_lists: dict[bytes, VerifiedDeviceList] = {}

    @property
    def now(self) -> int:
        """The time of this step, Unix seconds."""
        return self.now_ms // 1000

    def chat(self, chat_id: bytes) -> Chat | None:
        """The chat as this step sees it."""
        return self._chats.get(chat_id) or self._state.chats.get(chat_id)

    @property
    def key_packages(self) -> dict[bytes, OwnKeyPackage]:
        """Our key packages by reference, as this step sees them."""
        merged = self._state.key_packages | self._key_packages
        return {reference: own for reference, own in merged.items() if own is not None}

    def device_list(self, account_id: bytes) -> VerifiedDeviceList | None:
        """The newest device list that we have seen of an account."""
        return self._device_lists.get(account_id) or self._state.device_lists.get(account_id)

    def keep(self, after: Chat) -> Chat:
        """Make `after` the chat's value, and write what differs from before."""
        before = self.chat(after.chat_id)
        if before is None or _row(before) != _row(after):
            self.put("chats", after.chat_id, msgspec.msgpack.encode(_row(after)))
        self._keep_group(group_space(after.chat_id), before.group if before else None, after.group)
        self._keep_outbox(outbox_space(after.chat_id), before.outbox if before else {}, after.outbox)
        self._keep_pending(before, after)
        self._chats[after.chat_id] = after
        return after

    def put(self, space: str, key: bytes, value: bytes) -> None:
        """Write a row."""
        self.writes.append(Put(space, key, value))

    def delete(self, space: str, key: bytes) -> None:
        """Delete a row."""
        self.writes.append(Delete(space, key))

    def keep_key_package(self, own: OwnKeyPackage) -> None:
        """Write a key package of ours with its private part."""
        self.put("key_packages", own.bundle.reference, encode_key_package(own))
        self._key_packages[own.bundle.reference] = own

    def forget_key_package(self, reference: bytes) -> None:
        """Erase the private part of a used key package."""
        self.delete("key_packages", reference)
        self._key_packages[reference] = None

    def keep_account(self, verified: VerifiedDeviceList, row: bytes) -> None:
        """Write an account's verified certificate and device list."""
        self.put("accounts", verified.account_id, row)
        self._device_lists[verified.account_id] = verified

    def adopt(self) -> None:
        """Make this step the present. Call it once, after the store has taken `writes`."""
        self._state.chats.update(self._chats)
        self._state.device_lists.update(self._device_lists)
        self._state.key_packages = self.key_packages

    def _keep_group(self, space: str, before: Group | None, after: Group | None) -> None:
        if before is after:
            return
        changes: dict[str, bytes | None]
        if after is not None:
            changes = snapshot.difference(before, after)
        else:
            changes = dict.fromkeys(snapshot.rows(before)) if before is not None else {}
        for name, value in changes.items():
            if value is None:
                self.delete(space, name.encode())
            else:
                self.put(space, name.encode(), value)

    def _keep_outbox(self, space: str, before: Mapping[int, Entry], after: Mapping[int, Entry]) -> None:
        for number in before.keys() - after.keys():
            self.delete(space, number.to_bytes(8, "big"))
        for number, entry in after.items():
            if before.get(number) is not entry:
                self.put(space, number.to_bytes(8, "big"), msgspec.msgpack.encode(entry))

    def _keep_pending(self, before: Chat | None, after: Chat) -> None:
        """Write our commit as the rows in which its state differs from the present one; so both must be up to date."""
        if before is not None and (before.pending, before.group) == (after.pending, after.group):
            return
        if after.pending is not None:
            assert after.group is not None, "what is pending is left behind with the group"
            rows = snapshot.pending_difference(after.group, after.pending.next_epoch)
            row = PendingRow(msgspec.msgpack.encode(after.pending.commit), rows)
            self.put("pending", after.chat_id, msgspec.msgpack.encode(row))
        elif before is not None and before.pending is not None:
            self.delete("pending", after.chat_id)


def _row(chat: Chat) -> ChatRow:
    return ChatRow(chat.kind, chat.position, chat.status, chat.reason, chat.former_epoch)


def without_entry(chat: Chat, number: int) -> Chat:
    """The chat without one entry of its outbox."""
    return replace(chat, outbox={other: entry for other, entry in chat.outbox.items() if other != number})


def with_entry(chat: Chat, number: int, entry: Entry) -> Chat:
    """The chat with one entry of its outbox added or replaced; entries stay in the order of their numbers."""
    return replace(chat, outbox=dict(sorted({**chat.outbox, number: entry}.items())))
