"""`MemoryStore`: the store's twin for tests, with the same answers and nothing on disk."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Self, assert_never

from client_lib.errors import StoreError
from client_lib.store.model import AddMessage, Delete, Direction, Put, Status, StoredMessage, Write


class MemoryStore:
    """A `Store` that forgets everything when it goes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._items: dict[tuple[str, bytes], bytes] = {}
        self._messages: tuple[StoredMessage, ...] = ()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def apply(self, writes: Sequence[Write]) -> None:
        with self._lock:
            self._check_open()
            items, messages = dict(self._items), self._messages
            for write in writes:
                match write:
                    case Put(space, key, value):
                        items[space, key] = value
                    case Delete(space, key):
                        items.pop((space, key), None)
                    case AddMessage(message):
                        messages = _add(messages, message)
                    case _:
                        assert_never(write)
            self._items, self._messages = items, messages

    def load(self, space: str) -> dict[bytes, bytes]:
        with self._lock:
            self._check_open()
            return {key: value for (name, key), value in sorted(self._items.items()) if name == space}

    def spaces(self) -> tuple[str, ...]:
        with self._lock:
            self._check_open()
            return tuple(sorted({space for space, _ in self._items}))

    def messages(self, chat_id: bytes, after: int | None = None, limit: int | None = None) -> tuple[StoredMessage, ...]:
        with self._lock:
            self._check_open()
            found = [message for message in self._messages if message.chat_id == chat_id]
        placed = [message for message in found if message.position is not None and message.position > (after or 0)]
        placed.sort(key=lambda message: message.position or 0)
        unsent = [message for message in found if message.position is None]
        return tuple((placed + unsent)[:limit])

    def erase_deleted(self) -> None:
        with self._lock:
            self._check_open()

    def close(self) -> None:
        with self._lock:
            self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("the store is closed: open it again")


def _add(messages: tuple[StoredMessage, ...], new: StoredMessage) -> tuple[StoredMessage, ...]:
    kept = [message for message in messages if not _gives_way(message, new)]
    here = [message for message in kept if message.chat_id == new.chat_id]
    if new.position is not None and new.position in {message.position for message in here}:
        raise StoreError(f"position {new.position} of this chat holds a message already: read the log after it")
    if new.direction is Direction.OUT and new.message_id is not None:
        ours = {message.message_id for message in here if message.direction is Direction.OUT}
        if new.message_id in ours:
            raise StoreError("this message of ours has its position already: do not add it again")
    # The first that gives way leaves its place in the order.
    place = next((index for index, message in enumerate(messages) if _gives_way(message, new)), len(kept))
    kept.insert(place, new)
    return tuple(kept)


def _gives_way(message: StoredMessage, new: StoredMessage) -> bool:
    if message.chat_id != new.chat_id:
        return False
    if message.status is Status.UNDECRYPTABLE:
        return message.position == new.position
    same = new.direction is Direction.OUT and message.message_id == new.message_id
    return message.position is None and same
