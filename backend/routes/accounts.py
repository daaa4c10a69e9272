"""Accounts: register one, look one up."""

from __future__ import annotations

import time

from litestar import get, post
from litestar.params import JSONBody

from backend import checks, limits
from backend.auth import require_json, require_session
from backend.errors import ProblemError, problems
from backend.routes.parameters import AccountIdHex, HTTPRequest
from backend.services import services_of
from backend.store import accounts
from protocol.api import Account, RegisterAccount
from protocol.codes import Code


@post(
    "/v1/accounts",
    guards=[require_json],
    request_max_body_size=limits.BODY_BYTES_MAX,
    summary="Register an account",
    description="A new account with its first device. No session; the invitation is used up.",
    responses=problems(
        Code.INVITATION_INVALID,
        Code.ALREADY_EXISTS,
        Code.INVALID_OBJECT,
        Code.TOO_LARGE,
        Code.UNSUPPORTED_MEDIA_TYPE,
    ),
    tags=["accounts"],
)
async def register_account(data: JSONBody[RegisterAccount], request: HTTPRequest) -> Account:
    """Check the account's chain, then store it and use up the invitation in one transaction."""
    verified = checks.account(data.signing_key_certificate, [data.device_certificate], data.device_list)
    if len(verified.devices) != 1:
        raise ProblemError(Code.INVALID_OBJECT, "a new account has one device")
    await accounts.register(services_of(request).pool, data, verified, int(time.time()))
    return Account(
        account_id=verified.account_id,
        signing_key_certificate=data.signing_key_certificate,
        device_certificates=[data.device_certificate],
        device_list=data.device_list,
    )


@get(
    "/v1/accounts/{account_id:str}",
    guards=[require_session],
    summary="Look an account up",
    description="The signed objects of an account. Verify them: the server could lie.",
    responses=problems(Code.UNAUTHENTICATED, Code.NOT_FOUND),
    security=[{"session": []}],
    tags=["accounts"],
)
async def get_account(account_id: AccountIdHex, request: HTTPRequest) -> Account:
    """The newest objects of an account."""
    return await accounts.get(services_of(request).pool, bytes.fromhex(account_id))
