"""What a group holds in memory: Python's objects as Python counts them, those of native libraries as malloc does."""

from __future__ import annotations

import ctypes
import gc
import tracemalloc
from collections.abc import Callable
from typing import Final

MIB: Final = 2**20


class _MallInfo2(ctypes.Structure):
    """`struct mallinfo2` of glibc."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    )  # fmt: skip


def traced(make: Callable[[], object]) -> int:
    """Bytes of Python's own objects that are still held after something was made."""
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        made = make()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    del made
    return after - before


def allocated() -> int | None:
    """Bytes that malloc has given out and not taken back, the counterpart for native code; None but with glibc 2.33.

    Python's small objects are not among them.
    """
    try:
        read = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        return None
    read.restype = _MallInfo2
    counted = read()
    return int(counted.uordblks) + int(counted.hblkhd)
