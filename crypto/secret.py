"""`Secret`: key material that cannot leak by accident.

Owns nothing but the wrapper. It prints as `Secret(redacted)`, formatted or not, compares in constant time, and cannot
be hashed or pickled. `.reveal()` is the only way to the bytes; searching for it lists every use. Python cannot promise
that the bytes are wiped from memory (SECURITY.md says so).
"""

from __future__ import annotations

import hmac
from typing import NoReturn, final


@final
class Secret:
    """Bytes that must not be shown."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """The bytes themselves; call this only beside the primitive or the store that needs them."""
        return self._value

    def __len__(self) -> int:
        return len(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value, other._value)

    __hash__ = None  # type: ignore[assignment]  # a hash of a secret in a dict or log is a leak

    def __repr__(self) -> str:
        return "Secret(redacted)"

    def __format__(self, _spec: str) -> str:
        return "Secret(redacted)"

    def __getstate__(self) -> NoReturn:
        raise TypeError("a Secret has no state to show; `.reveal()` is the only way to its bytes")

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("a Secret cannot be pickled or copied; pass the object itself")
