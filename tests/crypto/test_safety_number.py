"""Safety numbers and codes: the same from both sides, different for everybody else."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.errors import DecodeError, IdentityError
from crypto.identity.safety_number import (
    CODE_VERSION,
    ITERATIONS,
    SafetyCode,
    Verdict,
    compare_safety_code,
    format_safety_number,
    safety_code,
    safety_number,
)
from crypto.wire import decode, encode
from tests.crypto.identities import account

ALICE, BOB, MALLORY = (account(name).root.public for name in ("alice", "bob", "mallory"))
keys = st.binary(min_size=32, max_size=32)


def test_both_sides_see_the_same_number() -> None:
    number = safety_number(ALICE, BOB)
    assert number == safety_number(BOB, ALICE)
    assert len(number) == 60
    assert number.isascii()
    assert number.isdigit()


@settings(max_examples=20, deadline=None)
@given(keys, keys, keys)
def test_a_number_is_of_two_keys_and_of_no_others(one: bytes, other: bytes, third: bytes) -> None:
    if len({one, other, third}) == 3:
        assert safety_number(one, other) == safety_number(other, one)
        assert len({safety_number(one, other), safety_number(one, third), safety_number(other, third)}) == 3


def test_a_person_keeps_her_half_with_everybody() -> None:
    """So two numbers of one person share 30 digits, as in Signal."""
    one, other = safety_number(ALICE, BOB), safety_number(ALICE, MALLORY)
    assert {one[:30], one[30:]} & {other[:30], other[30:]} != set()


def test_the_number_is_signals_construction_over_our_label() -> None:
    def half(key: bytes) -> str:
        digest = b"Sealdesk 1.0 safety number" + key
        for _ in range(5_200):
            digest = hashlib.sha512(digest + key).digest()
        chunks = [digest[0:5], digest[5:10], digest[10:15], digest[15:20], digest[20:25], digest[25:30]]
        return "".join(str(int(chunk.hex(), 16) % 100_000).rjust(5, "0") for chunk in chunks)

    assert ITERATIONS == 5_200
    first, second = sorted([half(ALICE), half(BOB)])
    assert safety_number(ALICE, BOB) == first + second


def test_the_number_stays_as_it_is() -> None:
    assert safety_number(bytes(32), bytes(range(32))) == VECTOR


VECTOR = "002352317806133935480907848274017733515704245305926520203822"


def test_the_number_is_shown_in_groups_of_five() -> None:
    shown = format_safety_number(safety_number(ALICE, BOB))
    groups = shown.split()
    assert [len(line.split(" ")) for line in shown.split("\n")] == [4, 4, 4]
    assert [len(group) for group in groups] == [5] * 12
    assert "".join(groups) == safety_number(ALICE, BOB)


@pytest.mark.parametrize("text", ["", "1" * 59, "1" * 61, "a" * 60, "\u0661" * 60])
def test_only_sixty_digits_are_a_number(text: str) -> None:
    with pytest.raises(DecodeError, match="60 digits"):
        format_safety_number(text)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_keys_of_other_sizes_are_refused(size: int) -> None:
    for one, other in ((bytes(size), ALICE), (ALICE, bytes(size))):
        with pytest.raises(DecodeError, match="32 bytes"):
            safety_number(one, other)
        with pytest.raises(DecodeError, match="32 bytes"):
            safety_code(one, other)
        with pytest.raises(DecodeError, match="32 bytes"):
            compare_safety_code(safety_code(ALICE, BOB), one, other)


def test_nobody_compares_with_herself() -> None:
    for use in (safety_number, safety_code):
        with pytest.raises(IdentityError, match="two people"):
            use(ALICE, ALICE)


def test_a_code_that_matches() -> None:
    assert compare_safety_code(safety_code(BOB, ALICE), own=ALICE, other=BOB) is Verdict.MATCH
    assert compare_safety_code(safety_code(ALICE, BOB), own=BOB, other=ALICE) is Verdict.MATCH


def test_a_code_of_somebody_else_and_one_for_somebody_else() -> None:
    assert compare_safety_code(safety_code(MALLORY, ALICE), own=ALICE, other=BOB) is Verdict.SOMEBODY_ELSE
    assert compare_safety_code(safety_code(BOB, MALLORY), own=ALICE, other=BOB) is Verdict.SEES_SOMEBODY_ELSE
    assert compare_safety_code(safety_code(MALLORY, BOB), own=ALICE, other=BOB) is Verdict.SOMEBODY_ELSE


def test_our_own_code_in_a_mirror_is_no_match() -> None:
    assert compare_safety_code(safety_code(ALICE, BOB), own=ALICE, other=BOB) is Verdict.SOMEBODY_ELSE


def test_a_code_of_another_version_says_so_whatever_it_holds() -> None:
    code = safety_code(BOB, ALICE)
    later = code[:8] + bytes([CODE_VERSION + 1]) + b"who knows"
    assert compare_safety_code(later, own=ALICE, other=BOB) is Verdict.OTHER_VERSION


@given(st.integers(min_value=0), st.integers(min_value=0, max_value=7))
def test_no_bit_of_a_code_can_change(place: int, bit: int) -> None:
    code = bytearray(safety_code(BOB, ALICE))
    code[place % len(code)] ^= 1 << bit
    try:
        assert compare_safety_code(bytes(code), own=ALICE, other=BOB) is not Verdict.MATCH
    except DecodeError:
        assert place % len(code) < 8


@pytest.mark.parametrize("scanned", [b"", b"sealsafe", b"https://example.org/", safety_code(BOB, ALICE)[:-1]])
def test_what_is_no_code(scanned: bytes) -> None:
    with pytest.raises(DecodeError):
        compare_safety_code(scanned, own=ALICE, other=BOB)


def test_bytes_after_a_code_are_refused() -> None:
    with pytest.raises(DecodeError):
        compare_safety_code(safety_code(BOB, ALICE) + b"\0", own=ALICE, other=BOB)


def test_the_code_stays_as_it_is() -> None:
    code = safety_code(ALICE, BOB)
    assert code == b"sealsafe\x01" + ALICE + BOB
    assert encode(decode(SafetyCode, code)) == code
