"""Changes that keep to the structure: take the input apart, change one part, put it together with lengths that fit.

A flipped bit mostly breaks a length, and the decoder refuses it at once. These get behind the decoder.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from enum import IntEnum
from typing import Any

from crypto.errors import DecodeError, UsageError
from crypto.secret import Secret
from crypto.wire import decode_as, encode_as
from tests.fuzzing.target import Target
from tests.fuzzing.values import parts, with_part

Mutate = Callable[[bytes, int], bytes]
"""The fuzzer's own change of bytes, which knows the constants that comparisons have met; and the most that may come."""

INTEGERS = (0, 1, 2, 3, 0xFF, 0x0A0A, 0xFFFF, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
MANY = 300
"""More items than most lists may have."""


def mutate(target: Target, data: bytes, size_max: int, seed: int, mutate_bytes: Mutate) -> bytes:
    """The next input to try after `data`."""
    drawn = random.Random(seed)
    if len(data) < 2 or drawn.random() < 0.25:
        return mutate_bytes(data, size_max)
    shape = target.way_of(data).shape
    try:
        value = decode_as(shape, data[1:]) if shape is not None else data[1:]
    except DecodeError:
        return mutate_bytes(data, size_max)
    for _ in range(drawn.choice((1, 1, 1, 2, 4))):
        value = _changed(value, drawn, mutate_bytes)
    try:
        encoded = encode_as(shape, value) if shape is not None else value
    except (AttributeError, KeyError, TypeError, UsageError, ValueError):  # a part that may not stand there
        return mutate_bytes(data, size_max)
    return (data[:1] + encoded)[:size_max]


def _changed(value: Any, drawn: random.Random, mutate_bytes: Mutate) -> Any:
    """The value with one part changed, or replaced by another part of its type."""
    every = list(parts(value))
    place, part = drawn.choice(every)
    alike = [other for _, other in every if type(other) is type(part) and other is not part]
    if alike and drawn.random() < 0.25:
        return with_part(value, place, drawn.choice(alike))
    match part:
        case IntEnum():
            part = drawn.choice(list(type(part)))
        case int():
            part = drawn.choice((*INTEGERS, part + 1, max(0, part - 1)))
        case Secret():
            part = Secret(_changed_bytes(part.reveal(), drawn, mutate_bytes))
        case bytes():
            part = _changed_bytes(part, drawn, mutate_bytes)
        case tuple():
            part = _changed_items(part, drawn)
        case None:
            part = drawn.choice(every)[1]
        case _:
            part = None  # an optional struct may be left out
    return with_part(value, place, part)


def _changed_bytes(part: bytes, drawn: random.Random, mutate_bytes: Mutate) -> bytes:
    match drawn.randrange(8):
        case 0:
            return b""
        case 3:
            return part + part[-1:] * drawn.choice((MANY, 5_000))
        case 1:
            return part[: drawn.randrange(len(part) + 1)]
        case 2:
            return part + drawn.randbytes(drawn.randrange(1, 33))
        case _:
            return mutate_bytes(part, len(part) + 32)


def _changed_items(items: tuple[Any, ...], drawn: random.Random) -> tuple[Any, ...]:
    if not items:
        return items
    place = drawn.randrange(len(items))
    match drawn.randrange(5):
        case 0:
            return items[:place] + items[place + 1 :]
        case 1:
            return (*items[:place], items[place], *items[place:])
        case 2:
            return items[::-1]
        case 3:
            return items + (items[place],) * drawn.choice((2, MANY))
        case _:
            return ()
