"""Wake-ups inside one process: which sockets are there, and what they should know after a transaction.

Everything here is a hint. A socket that missed one reads the same from the database later; what it must not miss, the
end of a membership, reaches it before the entries that follow. Owns no tasks and does no I/O.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from backend.ordering import Plan
from protocol.frames import Message

_encoder = msgspec.msgpack.Encoder()


class Listener(Protocol):
    """What the hub needs of a socket. Every method returns at once."""

    device_id: bytes
    token_hash: bytes

    def push(self, chat_id: bytes, first: int, last: int, encoded: bytes) -> None:
        """Entries `first` to `last` of a chat are in the log; `encoded` are their frames, end to end."""

    def changed(self, chat_id: bytes) -> None:
        """There is something new in a chat: read it from the database."""

    def joined(self, chat_id: bytes, position: int) -> None:
        """The device became a member at `position`."""

    def left(self, chat_id: bytes, position: int) -> None:
        """The device is a member no longer; the entry at `position` is its last."""

    def inbox(self) -> None:
        """Something is in the device's inbox."""

    def key_packages(self, one_time_left: int) -> None:
        """The device's one-time key packages run low."""

    def close(self, code: int, reason: str) -> None:
        """End the connection soon."""


class Hub:
    """The sockets of this process, by device and by chat."""

    def __init__(self) -> None:
        self._devices: dict[bytes, Listener] = {}
        self._rooms: defaultdict[bytes, set[Listener]] = defaultdict(set)
        self._loading: dict[Listener, set[bytes]] = {}

    def __len__(self) -> int:
        return len(self._devices)

    def connect(self, listener: Listener) -> None:
        """A device's socket is open. An older one of the same device is closed: the newest connection counts."""
        older = self._devices.get(listener.device_id)
        if older is not None:
            older.close(4000, "replaced by a newer connection of this device")
        self._devices[listener.device_id] = listener

    def disconnect(self, listener: Listener, chats: Iterable[bytes]) -> None:
        """A socket is gone."""
        if self._devices.get(listener.device_id) is listener:
            del self._devices[listener.device_id]
        for chat_id in chats:
            self.unsubscribe(listener, chat_id)

    def subscribe(self, listener: Listener, chat_id: bytes) -> None:
        """Send this chat's entries to this socket."""
        self._rooms[chat_id].add(listener)

    def unsubscribe(self, listener: Listener, chat_id: bytes) -> None:
        """Send it no more."""
        room = self._rooms.get(chat_id)
        if room is not None:
            room.discard(listener)
            if not room:
                del self._rooms[chat_id]

    def begin_loading(self, listener: Listener) -> None:
        """Note, from now on, every chat in which something happens: the socket is about to read where it stands."""
        self._loading[listener] = set()

    def end_loading(self, listener: Listener) -> set[bytes]:
        """The chats in which something happened since `begin_loading`."""
        return self._loading.pop(listener, set())

    def publish(self, plan: Plan) -> None:
        """Tell the sockets what a transaction has committed."""
        for position, is_added, chat_id, device_id in _membership_changes(plan):
            listener = self._devices.get(device_id)
            if listener is None:
                continue
            if not is_added:
                listener.left(chat_id, position)
                continue
            listener.joined(chat_id, position)
            if position > 0:
                listener.inbox()
        for chat_id, messages in plan.entries_by_chat().items():
            self._note(chat_id)
            room = tuple(self._rooms.get(chat_id, ()))
            if room:
                encoded = encode_frames(messages)
                for member in room:
                    member.push(chat_id, messages[0].position, messages[-1].position, encoded)

    def refresh(self, chat_ids: Iterable[bytes], device_ids: Iterable[bytes]) -> None:
        """Something may have happened in these chats and inboxes: look."""
        for chat_id in chat_ids:
            self._note(chat_id)
            for member in tuple(self._rooms.get(chat_id, ())):
                member.changed(chat_id)
        for device_id in device_ids:
            if (listener := self._devices.get(device_id)) is not None:
                listener.inbox()

    def key_packages(self, device_id: bytes, one_time_left: int) -> None:
        """Tell a device that its one-time key packages run low."""
        if (listener := self._devices.get(device_id)) is not None:
            listener.key_packages(one_time_left)

    def end_session(self, device_id: bytes, token_hash: bytes) -> None:
        """Close the socket that a session opened."""
        listener = self._devices.get(device_id)
        if listener is not None and listener.token_hash == token_hash:
            listener.close(1008, "the session has ended")

    def listeners(self) -> Sequence[Listener]:
        """Every open socket."""
        return tuple(self._devices.values())

    def _note(self, chat_id: bytes) -> None:
        for noted in self._loading.values():
            noted.add(chat_id)


def _membership_changes(plan: Plan) -> list[tuple[int, bool, bytes, bytes]]:
    """(position, added or removed, chat_id, device_id) in log order; a commit removes before it adds.

    A batch can add a device and remove it again: out of order, a device that is no member would stay subscribed.
    """
    changes = [(position, False, chat_id, device_id) for chat_id, device_id, position in plan.removed]
    changes += [(position, True, chat_id, device.device_id) for chat_id, device, position in plan.added]
    return sorted(changes)


def encode_frames(frames: Iterable[Message]) -> bytes:
    """Encode frames end to end, without the array's header: encoded once, whoever receives them."""
    return b"".join([_encoder.encode(frame) for frame in frames])
