"""Padding: the bounds that it promises, and what a message's length shows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crypto.mls.padding import SIZE_MIN, padded_size
from crypto.suites import suite_of
from tests.crypto.world import world_of


@given(st.integers(0, 2**26))
def test_a_bucket_holds_its_content_and_little_more(size: int) -> None:
    bucket = padded_size(size)
    assert bucket >= max(size, SIZE_MIN)
    assert bucket <= max(SIZE_MIN, size * 1.12)
    assert padded_size(bucket) == bucket


def test_there_are_few_buckets() -> None:
    assert len({padded_size(size) for size in range(64 * 1024)}) <= 130


def test_short_messages_look_alike() -> None:
    group = world_of(suite_of(1), 2)["person 0"]
    assert len({len(group.protect(b"x" * size)[1]) for size in range(0, 180, 20)}) == 1
