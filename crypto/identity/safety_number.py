"""Safety numbers: two people compare their root keys, by 60 digits read aloud or by a code that one scans.

An account's id is a hash of its root key, so nobody can put another key under an id; but nothing tells a person that
an *id* is her doctor's. Comparing does, once for a person and all her devices, over a channel that no server carries.

The number is Signal's construction over our root keys. Each key is hashed 5,200 times with SHA-512, of which 30 digits
are shown: a look-alike costs 10^30 keys of 5,200 hashes each, 2^112 hashes. Both halves are sorted, so both sides see
the same number. The code holds the two keys themselves: nothing is cut short there, and each side is told apart.
"""

from __future__ import annotations

import hashlib
import hmac
from enum import Enum
from typing import Annotated

from crypto.errors import DecodeError, IdentityError
from crypto.identity.signing import PublicKey
from crypto.wire import Fixed, Uint8, decode, decode_prefix, encode, struct

ITERATIONS = 5_200
"""Hashes for one half of a safety number, as in Signal: 12 bits on top of its 30 digits, for some milliseconds."""

ROOT_KEY_SIZE = 32
CODE_VERSION = 1

_LABEL = b"Sealdesk 1.0 safety number"
_CODE_MARK = b"sealsafe"
_GROUPS = 12
_GROUP_DIGITS = 5
_CodeHead = Annotated[bytes, Fixed(len(_CODE_MARK) + 1)]


@struct
class SafetyCode:
    """What a safety code (QR) holds: the root keys of who shows it, and of who is to scan it."""

    mark: Annotated[bytes, Fixed(len(_CODE_MARK))]
    version: Uint8
    shown_by: PublicKey
    shown_to: PublicKey


class Verdict(Enum):
    """What a scanned code says about the person who shows it."""

    MATCH = "match"
    """It is the person whom we know by this account, and it knows us by ours."""
    SOMEBODY_ELSE = "somebody else"
    """It is not the account that we talk to as this person: somebody else, or somebody stands between."""
    SEES_SOMEBODY_ELSE = "sees somebody else"
    """It is the account that we talk to, but the code is for another account than ours: its owner is deceived about us,
    or shows the code of another conversation."""
    OTHER_VERSION = "other version"
    """The code is of another version of Sealdesk: update, or compare the digits."""


def safety_number(one: bytes, other: bytes) -> str:
    """The safety number of two accounts by their root keys, 32 bytes each, in any order: 60 digits.

    Raises `DecodeError` for a key of another size, `IdentityError` if both are the same.
    """
    _check_keys(one, other)
    return "".join(sorted((_half(one), _half(other))))


def format_safety_number(number: str) -> str:
    """The number as people read it: 12 groups of 5 digits, four to a line. Raises `DecodeError` for anything else."""
    digits = _GROUPS * _GROUP_DIGITS
    if not (len(number) == digits and number.isascii() and number.isdigit()):
        raise DecodeError(f"a safety number has {digits} digits")
    groups = [number[start : start + _GROUP_DIGITS] for start in range(0, digits, _GROUP_DIGITS)]
    return "\n".join(" ".join(groups[start : start + 4]) for start in range(0, _GROUPS, 4))


def safety_code(own: bytes, other: bytes) -> bytes:
    """What the owner of root key `own` shows to the owner of `other`, as the payload of a QR code: 73 bytes.

    Raises `DecodeError` for a key of another size, `IdentityError` if both are the same.
    """
    _check_keys(own, other)
    return encode(SafetyCode(_CODE_MARK, CODE_VERSION, own, other))


def compare_safety_code(scanned: bytes, own: bytes, other: bytes) -> Verdict:
    """Compare a scanned code with what we know: our root key, and the one of the person who shows it.

    The keys are compared in constant time. Raises `DecodeError` for what is no safety code, and what `safety_code`
    raises for the keys.
    """
    _check_keys(own, other)
    head, _ = decode_prefix(_CodeHead, scanned)
    if head[:-1] != _CODE_MARK:
        raise DecodeError("not a safety code")
    if head[-1] != CODE_VERSION:
        return Verdict.OTHER_VERSION
    code = decode(SafetyCode, scanned)
    shown_by_them = hmac.compare_digest(code.shown_by, other)
    shown_to_us = hmac.compare_digest(code.shown_to, own)
    if not shown_by_them:
        return Verdict.SOMEBODY_ELSE
    return Verdict.MATCH if shown_to_us else Verdict.SEES_SOMEBODY_ELSE


def _half(root_key: bytes) -> str:
    """The 30 digits of one key: 30 bytes of the hash, five at a time, each modulo 100,000."""
    digest = _LABEL + root_key
    for _ in range(ITERATIONS):
        digest = hashlib.sha512(digest + root_key).digest()
    parts = (int.from_bytes(digest[start : start + 5], "big") for start in range(0, 30, 5))
    return "".join(f"{part % 10**_GROUP_DIGITS:0{_GROUP_DIGITS}}" for part in parts)


def _check_keys(one: bytes, other: bytes) -> None:
    if len(one) != ROOT_KEY_SIZE or len(other) != ROOT_KEY_SIZE:
        raise DecodeError(f"a root key is {ROOT_KEY_SIZE} bytes")
    if one == other:
        raise IdentityError("both keys are of one account: a safety number is for two people")
