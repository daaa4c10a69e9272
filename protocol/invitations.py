"""Invitation codes as people see them: base32 in lower case, 26 characters for the 16 bytes."""

from __future__ import annotations

import base64

from protocol.limits import INVITATION_CODE_BYTES


def format_invitation(code: bytes) -> str:
    """The text of a code, to be shown or sent to a person."""
    return base64.b32encode(code).decode().rstrip("=").lower()


def parse_invitation(text: str) -> bytes:
    """The code of a text; capitals, spaces and hyphens do not matter. Raises `ValueError` for anything else."""
    compact = "".join(text.split()).replace("-", "").upper()
    try:
        code = base64.b32decode(compact + "=" * (-len(compact) % 8))
    except ValueError:
        raise ValueError("an invitation code has the letters a to z and the digits 2 to 7 only") from None
    if len(code) != INVITATION_CODE_BYTES:
        raise ValueError("an invitation code has 26 characters")
    return code
