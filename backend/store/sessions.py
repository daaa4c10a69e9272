"""Session challenges and sessions. A token is known to its device only; here is its hash."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any

from backend import limits
from backend.errors import ProblemError
from backend.tables import Sessions
from protocol.codes import Code
from protocol.limits import CHALLENGE_BYTES


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose session a request came with. `expires_at_s` is Unix seconds."""

    account_id: bytes
    device_id: bytes
    token_hash: bytes
    expires_at_s: int


async def create_challenge(pool: Any, device_id: bytes, now: int) -> tuple[bytes, int]:
    """A fresh challenge and its end (Unix seconds). Any device id gets one: the answer shows who it is.

    Nobody is refused, and there is no limit for one device: whoever asks in its name would lock it out. Above
    `CHALLENGES_MAX` everybody's oldest go, which are those that nobody is about to answer.
    """
    challenge, expires_at_s = secrets.token_bytes(CHALLENGE_BYTES), now + limits.CHALLENGE_LIFETIME_S
    async with pool.acquire() as connection, connection.transaction():
        # SKIP LOCKED: those who clean up at the same time do not wait for one another.
        await connection.execute(
            """DELETE FROM session_challenges WHERE challenge IN (
                   SELECT challenge FROM session_challenges WHERE expires_at_s <= $1 FOR UPDATE SKIP LOCKED)""",
            now,
        )
        await connection.execute(
            """DELETE FROM session_challenges WHERE challenge IN (
                   SELECT challenge FROM session_challenges ORDER BY expires_at_s
                   LIMIT greatest(0, 1 + (SELECT count(*) FROM session_challenges) - $1) FOR UPDATE SKIP LOCKED)""",
            limits.CHALLENGES_MAX,
        )
        await connection.execute(
            "INSERT INTO session_challenges (challenge, device_id, expires_at_s) VALUES ($1, $2, $3)",
            challenge,
            device_id,
            expires_at_s,
        )
    return challenge, expires_at_s


async def take_challenge(pool: Any, device_id: bytes, challenge: bytes, now: int) -> bytes:
    """Use a challenge up and return the device's public key. A wrong answer has used it up too.

    Raises `ProblemError` unauthenticated, the same for an unknown device as for an unknown challenge.
    """
    device_key: bytes | None = await pool.fetchval(
        """WITH taken AS (
               DELETE FROM session_challenges WHERE challenge = $1 AND device_id = $2 RETURNING expires_at_s)
           SELECT device_key FROM devices, taken WHERE devices.device_id = $2 AND expires_at_s > $3""",
        challenge,
        device_id,
        now,
    )
    if device_key is None:
        raise ProblemError(Code.UNAUTHENTICATED, "the challenge is not answered by this device")
    return device_key


async def open_session(pool: Any, device_id: bytes, now_ms: int) -> tuple[bytes, int, list[bytes]]:
    """A new session: its token (32 random bytes) and its end (Unix seconds). A device's oldest ones beyond 8 end.

    The third are the token hashes of those that ended so: their streams are to be closed.
    """
    token, now = secrets.token_bytes(32), now_ms // 1000
    expires_at_s = now + limits.SESSION_LIFETIME_S
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("DELETE FROM sessions WHERE expires_at_s <= $1", now)
        await connection.execute(
            """INSERT INTO sessions (token_hash, device_id, account_id, created_at_ms, expires_at_s)
               SELECT $1, device_id, account_id, $3, $4 FROM devices WHERE device_id = $2""",
            _hash(token),
            device_id,
            now_ms,
            expires_at_s,
        )
        ended = await connection.fetch(
            """DELETE FROM sessions WHERE token_hash IN (
                   SELECT token_hash FROM sessions WHERE device_id = $1
                   ORDER BY created_at_ms DESC, (token_hash = $2) DESC OFFSET $3) RETURNING token_hash""",
            device_id,
            _hash(token),
            limits.SESSIONS_PER_DEVICE_MAX,
        )
    return token, expires_at_s, [row["token_hash"] for row in ended]


async def find(pool: Any, token: bytes, now: int) -> Caller:
    """Whose token this is. Raises `ProblemError` unauthenticated."""
    row = await pool.fetchrow(
        "SELECT account_id, device_id, expires_at_s FROM sessions WHERE token_hash = $1 AND expires_at_s > $2",
        _hash(token),
        now,
    )
    if row is None:
        raise _ended()
    account_id, device_id, expires_at_s = row
    return Caller(account_id, device_id, _hash(token), expires_at_s)


async def require_open(pool: Any, token_hash: bytes) -> None:
    """Raise `ProblemError` unauthenticated unless the session is still there."""
    if await pool.fetchval("SELECT 1 FROM sessions WHERE token_hash = $1", token_hash) is None:
        raise _ended()


async def close_session(token_hash: bytes) -> None:
    """End a session; it is good for nothing from now on."""
    await Sessions.delete().where(Sessions.token_hash == token_hash)


def _ended() -> ProblemError:
    return ProblemError(Code.UNAUTHENTICATED, "the session is unknown, ended or expired; open a new one")


def _hash(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
