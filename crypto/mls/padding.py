"""Padding of messages to buckets (RFC 9420 §15.1), so that a length tells little about the content."""

from __future__ import annotations

SIZE_MIN = 256
"""Bytes; anything shorter is padded to this."""


def padded_size(size: int) -> int:
    """The bucket of a content of `size` bytes: at least 256, and less than 12 % above `size` from there on.

    The Padmé rule: a size of e+1 bits keeps its top bits and has its last e - s bits zero, where s is the number of
    bits of e. So there are O(log log size) bits of size left to see.
    """
    if size <= SIZE_MIN:
        return SIZE_MIN
    exponent = size.bit_length() - 1
    step = 1 << (exponent - exponent.bit_length())
    return -(-size // step) * step
