"""What a store holds and what one transaction may change: the `Store` protocol.

Two kinds of data. *Items* are bytes under a key in a named space (MLS state, outbox, chats, key packages, directory):
the engine gives them a meaning. *Messages* are the history of the chats, in log order, for people to read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class Direction(StrEnum):
    """Whether this device sent a message or received it. Another device of the same account counts as received."""

    OUT = "out"
    IN = "in"


class Status(StrEnum):
    """How far a message has come. `SENDING` and `FAILED` have no position; the others have one."""

    SENDING = "sending"
    """Ours, on its way: the outbox still holds it."""
    FAILED = "failed"
    """Ours, refused for good; `reason` says why."""
    SENT = "sent"
    """Ours, and durable at the server."""
    RECEIVED = "received"
    """From somebody else, decrypted."""
    UNDECRYPTABLE = "undecryptable"
    """In the log, but not readable; `reason` says why, `content` holds the bytes as they came, for a later try."""


PLACED = frozenset({Status.SENT, Status.RECEIVED, Status.UNDECRYPTABLE})
"""The statuses of messages that have a position in the chat's log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """One message of a chat's history.

    `chat_id` 32 bytes; `position` 1, 2, 3, ... in the chat's log, None while unsent. `message_id`: 32 bytes, the hash-
    derived id that replies refer to; None where it is unknown. `transport_id`: 16 bytes, the message id of the frame;
    None while unsent, as each attempt has its own. The sender ids (20 bytes each) are None where nobody could be
    authenticated. `sent_at_ms`: our clock for our own messages, the server's for all others (content carries no time).
    `received_at_ms`: the server's clock, None while unsent. Both are Unix milliseconds. `content`: encoded MIMI content
    without padding; the bytes as they came for an undecryptable message.

    Raises ValueError if these do not go together: a bug in the calling code.
    """

    chat_id: bytes
    position: int | None
    transport_id: bytes | None
    message_id: bytes | None
    sender_account_id: bytes | None
    sender_device_id: bytes | None
    sent_at_ms: int
    received_at_ms: int | None
    direction: Direction
    status: Status
    reason: str = ""
    content: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        placed = self.status in PLACED
        for value in (self.position, self.received_at_ms, self.transport_id):
            if (value is not None) != placed:
                raise ValueError(f"a {self.status} message {'needs' if placed else 'has no'} position, time and frame")
        if self.position is not None and self.position < 1:
            raise ValueError("positions start at 1")
        if self.status is not Status.UNDECRYPTABLE:
            if (self.status is Status.RECEIVED) != (self.direction is Direction.IN):
                raise ValueError("what we sent is not received, and what we received is not sent")
            if self.message_id is None:
                raise ValueError("a message whose content is known has a message id")


@dataclass(frozen=True, slots=True)
class Put:
    """Set an item."""

    space: str
    key: bytes
    value: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove an item; nothing happens if it is not there."""

    space: str
    key: bytes


@dataclass(frozen=True, slots=True)
class AddMessage:
    """Add a message to the history, or give one that was not final its next state.

    Two kinds are not final and give way: ours that is still unsent, to the same chat and message id with a later state;
    and the undecryptable one at a position, to what was decrypted there. Nothing else is ever overwritten: StoreError
    if the position holds another message, or our message of this id has a position already. So a server that repeats a
    position or an id cannot change what was shown.
    """

    message: StoredMessage


Write = Put | Delete | AddMessage


class Store(Protocol):
    """One device's durable data. Every method may be called from any thread, and raises StoreError."""

    def apply(self, writes: Sequence[Write]) -> None:
        """Do all writes in order, in one transaction that is on disk on return; if it raises, none was done."""

    def load(self, space: str) -> dict[bytes, bytes]:
        """Every item of a space, in key order; empty for an unknown space."""

    def spaces(self) -> tuple[str, ...]:
        """The names of the spaces that hold an item, sorted."""

    def messages(self, chat_id: bytes, after: int | None = None, limit: int | None = None) -> tuple[StoredMessage, ...]:
        """A chat's history by position, unsent messages last in the order they were added.

        `after`: only what comes after this position. `limit`: only so many, from the beginning.
        """

    def erase_deleted(self) -> None:
        """Leave no copy of deleted or replaced items on disk; call it before telling anybody that keys are gone."""

    def close(self) -> None:
        """Release the store. Every later call but `close` raises StoreError."""
