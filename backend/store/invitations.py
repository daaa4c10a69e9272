"""Invitations: single-use codes that let somebody register an account."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from backend import limits
from backend.errors import ProblemError
from backend.tables import Invitations
from protocol.codes import Code
from protocol.limits import INVITATION_CODE_BYTES


async def create(now: int) -> bytes:
    """Make a code of 16 random bytes, good once within a lifetime from `now` (Unix seconds). Only its hash is kept."""
    code = secrets.token_bytes(INVITATION_CODE_BYTES)
    await Invitations.delete().where(Invitations.expires_at_s <= now)
    await Invitations.insert(Invitations(code_hash=_hash(code), expires_at_s=now + limits.INVITATION_LIFETIME_S))
    return code


async def consume(connection: Any, code: bytes, now: int) -> None:
    """Use a code up, inside the caller's transaction. Raises `ProblemError` invitation_invalid."""
    query = "DELETE FROM invitations WHERE code_hash = $1 AND expires_at_s > $2 RETURNING 1"
    if await connection.fetchval(query, _hash(code), now) is None:
        raise ProblemError(Code.INVITATION_INVALID, "the invitation is unknown, used or expired; ask for a new one")


def _hash(code: bytes) -> bytes:
    return hashlib.sha256(code).digest()
