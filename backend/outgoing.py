"""One socket's unsent frames: a bounded buffer of encoded frames, joined into as few WebSocket messages as fit."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from backend import limits


class _Part(NamedTuple):
    encoded: bytes
    frames: int
    answered_bytes: int  # size of the request that this frame answers
    answers: int


class Outgoing:
    """Frames in the order of sending. Entries are refused when it is full; answers are bounded by their requests."""

    def __init__(self) -> None:
        self._parts: deque[_Part] = deque()
        self.size_bytes = 0

    def __bool__(self) -> bool:
        return bool(self._parts)

    @property
    def has_room(self) -> bool:
        """Whether more entries may be queued."""
        return self.size_bytes < limits.STREAM_BUFFER_BYTES_MAX

    def add(self, encoded: bytes, frames: int) -> None:
        """Queue `frames` frames, encoded end to end."""
        self._append(_Part(encoded, frames, 0, 0))

    def add_answer(self, encoded: bytes, request_bytes: int) -> None:
        """Queue the answer to a request."""
        self._append(_Part(encoded, 1, request_bytes, 1))

    def take(self) -> tuple[bytes, int, int]:
        """One WebSocket message (a msgpack array), how many answers are in it, and the bytes of their requests."""
        parts: list[bytes] = []
        frames = size_bytes = answers = answered_bytes = 0
        while self._parts and (not parts or size_bytes + len(self._parts[0].encoded) <= limits.STREAM_BATCH_BYTES):
            part = self._parts.popleft()
            parts.append(part.encoded)
            size_bytes += len(part.encoded)
            frames += part.frames
            answers += part.answers
            answered_bytes += part.answered_bytes
        self.size_bytes -= size_bytes
        return b"".join([_array_header(frames), *parts]), answers, answered_bytes

    def _append(self, part: _Part) -> None:
        self._parts.append(part)
        self.size_bytes += len(part.encoded)


def _array_header(count: int) -> bytes:
    """The msgpack header of an array of `count` items, whose encodings follow it."""
    if count < 16:
        return bytes([0x90 | count])
    if count < 1 << 16:
        return b"\xdc" + count.to_bytes(2, "big")
    return b"\xdd" + count.to_bytes(4, "big")
