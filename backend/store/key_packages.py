"""Key packages: published by devices, each given out once, then the last-resort one.

A one-time package that was given out leaves its reference behind until it expires: an upload that is repeated because
its answer was lost does not bring it back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from backend import limits
from backend.errors import ProblemError, not_found
from crypto.public import KeyPackageHeader
from protocol.api import ClaimedKeyPackage
from protocol.codes import Code
from protocol.limits import KEY_PACKAGES_PER_DEVICE_MAX

_COUNT = """SELECT count(*) FROM key_packages
    WHERE device_id = $1 AND NOT last_resort AND key_package IS NOT NULL AND not_after_s >= $2"""

_FORGET_OLDEST = """DELETE FROM key_packages WHERE device_id = $1 AND key_package IS NULL AND number <= (
    SELECT number FROM key_packages WHERE device_id = $1 AND key_package IS NULL
    ORDER BY number DESC LIMIT 1 OFFSET $2)"""


async def publish(pool: Any, device_id: bytes, packages: Sequence[tuple[KeyPackageHeader, bytes]], now: int) -> int:
    """Add a device's verified key packages; a last-resort one takes the place of the former. Returns `count`.

    One that is held or was given out already stays as it is, so a resend is harmless. Raises `ProblemError` too_many.
    """
    async with pool.acquire() as connection, connection.transaction():
        # One publisher of a device at a time, or two could pass the limit together.
        await connection.execute("SELECT 1 FROM devices WHERE device_id = $1 FOR UPDATE", device_id)
        await connection.execute("DELETE FROM key_packages WHERE device_id = $1 AND not_after_s < $2", device_id, now)
        await connection.execute(_FORGET_OLDEST, device_id, limits.CLAIMED_KEY_PACKAGES_PER_DEVICE_MAX)
        if any(header.last_resort for header, _ in packages):
            await connection.execute("DELETE FROM key_packages WHERE device_id = $1 AND last_resort", device_id)
        for header, package in packages:
            await connection.execute(
                """INSERT INTO key_packages (device_id, reference, cipher_suite, last_resort, not_after_s, key_package)
                   VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (device_id, reference) DO NOTHING""",
                device_id,
                header.reference,
                header.cipher_suite,
                header.last_resort,
                header.not_after,
                package,
            )
        held: int = await connection.fetchval(_COUNT, device_id, now)
        if held > KEY_PACKAGES_PER_DEVICE_MAX:
            raise ProblemError(Code.TOO_MANY, f"a device may have {KEY_PACKAGES_PER_DEVICE_MAX} one-time key packages")
    return held


async def count(pool: Any, device_id: bytes, now: int) -> int:
    """How many one-time key packages of a device are left and still valid."""
    held: int = await pool.fetchval(_COUNT, device_id, now)
    return held


async def claim(
    pool: Any, account_id: bytes, claimer: bytes, now: int
) -> tuple[list[ClaimedKeyPackage], dict[bytes, int]]:
    """Take one key package of each device of an account, the claiming device left out: all of them or none.

    Returns the claims, and how many one-time ones each of those devices has left. Raises `ProblemError` not_found for
    an unknown account, key_packages_exhausted when a device has none to give.
    """
    async with pool.acquire() as connection, connection.transaction():
        if await connection.fetchval("SELECT 1 FROM accounts WHERE account_id = $1", account_id) is None:
            raise not_found()
        devices = await connection.fetch(
            "SELECT device_id FROM devices WHERE account_id = $1 AND device_id <> $2 ORDER BY device_id",
            account_id,
            claimer,
        )
        # SKIP LOCKED: takers at the same time pick different rows instead of waiting for one another.
        rows = await connection.fetch(
            """WITH picked AS (
                   SELECT k.* FROM unnest($1::bytea[]) d (device_id) CROSS JOIN LATERAL (
                       SELECT device_id, reference, key_package FROM key_packages p
                       WHERE p.device_id = d.device_id AND NOT p.last_resort AND p.key_package IS NOT NULL
                           AND p.not_after_s >= $2
                       ORDER BY p.number LIMIT 1 FOR UPDATE SKIP LOCKED) k)
               UPDATE key_packages k SET key_package = NULL FROM picked
               WHERE k.device_id = picked.device_id AND k.reference = picked.reference
               RETURNING picked.device_id, picked.key_package""",
            [row["device_id"] for row in devices],
            now,
        )
        taken = {row["device_id"]: (row["key_package"], False) for row in rows}
        without = [row["device_id"] for row in devices if row["device_id"] not in taken]
        for row in await connection.fetch(
            """SELECT device_id, key_package FROM key_packages
               WHERE device_id = ANY($1) AND last_resort AND not_after_s >= $2""",
            without,
            now,
        ):
            taken[row["device_id"]] = (row["key_package"], True)
        if len(taken) < len(devices):
            raise ProblemError(Code.KEY_PACKAGES_EXHAUSTED, "a device of this account has no key package left")
        left = await connection.fetch(
            """SELECT d.device_id, (SELECT count(*) FROM key_packages p
                   WHERE p.device_id = d.device_id AND NOT p.last_resort AND p.key_package IS NOT NULL
                       AND p.not_after_s >= $2) AS one_time_left
               FROM unnest($1::bytea[]) d (device_id)""",
            list(taken),
            now,
        )
    claims = [ClaimedKeyPackage(device_id, *taken[device_id]) for device_id in sorted(taken)]
    return claims, {row["device_id"]: row["one_time_left"] for row in left}
