"""Accounts and their devices, as the signed objects that clients verify."""

from __future__ import annotations

from typing import Any

import asyncpg

from backend.errors import ProblemError, not_found
from backend.store import invitations
from crypto.public import VerifiedAccount
from protocol.api import Account, RegisterAccount
from protocol.codes import Code


async def register(pool: Any, request: RegisterAccount, verified: VerifiedAccount, now: int) -> None:
    """Store a new account with its first device and use up the invitation, together or not at all.

    The same objects again are taken as what they are, a repeat after a lost answer, whatever became of the invitation.
    `verified` is what `crypto.public` found in the request's objects. Raises `ProblemError` invitation_invalid or
    already_exists.
    """
    (device,) = verified.devices
    async with pool.acquire() as connection:
        if await _is_registered(connection, request, verified):
            return
        try:
            async with connection.transaction():
                await invitations.consume(connection, request.invitation, now)
                await connection.execute("INSERT INTO accounts VALUES ($1, $2)", verified.account_id, now)
                await connection.execute(
                    "INSERT INTO signing_keys VALUES ($1, $2, $3)",
                    verified.account_id,
                    verified.signing_key_version,
                    request.signing_key_certificate,
                )
                await connection.execute(
                    "INSERT INTO device_lists VALUES ($1, $2, $3)",
                    verified.account_id,
                    verified.device_list_version,
                    request.device_list,
                )
                await connection.execute(
                    """INSERT INTO devices (device_id, account_id, device_key, certificate, created_at_s)
                       VALUES ($1, $2, $3, $4, $5)""",
                    device.device_id,
                    verified.account_id,
                    device.device_key,
                    request.device_certificate,
                    now,
                )
        except asyncpg.UniqueViolationError as error:
            raise ProblemError(Code.ALREADY_EXISTS, "this account or device is registered already") from error


async def _is_registered(connection: Any, request: RegisterAccount, verified: VerifiedAccount) -> bool:
    """Whether the account stands as this very request would have it."""
    (device,) = verified.devices
    found: bool = await connection.fetchval(
        """SELECT EXISTS (SELECT FROM signing_keys WHERE account_id = $1 AND version = $2 AND certificate = $3)
              AND EXISTS (SELECT FROM device_lists WHERE account_id = $1 AND version = $4 AND device_list = $5)
              AND EXISTS (SELECT FROM devices WHERE account_id = $1 AND device_id = $6 AND certificate = $7)""",
        verified.account_id,
        verified.signing_key_version,
        request.signing_key_certificate,
        verified.device_list_version,
        request.device_list,
        device.device_id,
        request.device_certificate,
    )
    return found


async def get(pool: Any, account_id: bytes) -> Account:
    """The newest signed objects of an account. Raises `ProblemError` not_found."""
    row = await pool.fetchrow(
        """SELECT (SELECT certificate FROM signing_keys WHERE account_id = $1 ORDER BY version DESC LIMIT 1),
                  (SELECT device_list FROM device_lists WHERE account_id = $1 ORDER BY version DESC LIMIT 1),
                  ARRAY(SELECT certificate FROM devices WHERE account_id = $1 ORDER BY created_at_s, device_id)
           FROM accounts WHERE account_id = $1""",
        account_id,
    )
    if row is None:
        raise not_found()
    certificate, device_list, device_certificates = row
    return Account(
        account_id=account_id,
        signing_key_certificate=certificate,
        device_certificates=device_certificates,
        device_list=device_list,
    )


async def device_certificate(pool: Any, device_id: bytes) -> bytes:
    """The certificate that a device was registered with. Raises `ProblemError` not_found."""
    certificate: bytes | None = await pool.fetchval("SELECT certificate FROM devices WHERE device_id = $1", device_id)
    if certificate is None:
        raise not_found()
    return certificate
