"""A turn: the handling of one message by a program, which may be cut off at any point and run again.

What a handler sends gets ids that follow from the message it handles and from how many were sent before. A turn that is
run again after a crash therefore repeats nothing that it has already said: the same ids are in the history.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class Turn:
    """Which message is being handled, by whom (`consumer`), and how many messages it has led to so far."""

    consumer: str
    chat_id: bytes
    position: int
    sent: int = 0

    def next_name(self) -> bytes:
        """What names the next message of this turn, the same whenever the turn is run."""
        self.sent += 1
        return f"{self.consumer}/{self.chat_id.hex()}/{self.position}/{self.sent}".encode()


_turn: ContextVar[Turn | None] = ContextVar("turn", default=None)


@contextmanager
def turn(consumer: str, chat_id: bytes, position: int) -> Iterator[None]:
    """Handle the message at `position` of a chat's log."""
    token = _turn.set(Turn(consumer, chat_id, position))
    try:
        yield
    finally:
        _turn.reset(token)


def current() -> Turn | None:
    """The turn that the caller runs in, if any."""
    return _turn.get()
