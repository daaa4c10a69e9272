"""Key packages: publish one's own, count them, claim another account's."""

from __future__ import annotations

import asyncio
import time

from litestar import get, post
from litestar.params import JSONBody

from backend import checks, limits
from backend.auth import caller_of, require_json, require_session
from backend.errors import ProblemError, problems
from backend.routes.parameters import AccountIdHex, HTTPRequest
from backend.services import services_of
from backend.store import accounts, key_packages
from crypto.public import KeyPackageHeader
from protocol.api import Claims, KeyPackageCount, UploadKeyPackages
from protocol.codes import Code
from protocol.limits import KEY_PACKAGES_LOW


@post(
    "/v1/key_packages",
    guards=[require_session, require_json],
    request_max_body_size=limits.KEY_PACKAGES_BODY_BYTES_MAX,
    summary="Publish key packages",
    description="Adds one-time key packages of the calling device and replaces its last-resort one, all or none.",
    responses=problems(
        Code.UNAUTHENTICATED, Code.INVALID_OBJECT, Code.TOO_MANY, Code.TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE
    ),
    security=[{"session": []}],
    tags=["key packages"],
)
async def publish_key_packages(data: JSONBody[UploadKeyPackages], request: HTTPRequest) -> KeyPackageCount:
    """Check every package against the device's certificate, then store them."""
    pool, caller, now = services_of(request).pool, caller_of(request), int(time.time())
    certificate = await accounts.device_certificate(pool, caller.device_id)
    # Signature checks of a full upload take tens of milliseconds: not on the event loop.
    packages = await asyncio.to_thread(_verified, data, certificate, now)
    return KeyPackageCount(await key_packages.publish(pool, caller.device_id, packages, now))


@get(
    "/v1/key_packages",
    guards=[require_session],
    summary="Count key packages",
    description="How many one-time key packages of the calling device are left.",
    responses=problems(Code.UNAUTHENTICATED),
    security=[{"session": []}],
    tags=["key packages"],
)
async def count_key_packages(request: HTTPRequest) -> KeyPackageCount:
    """What is left."""
    device_id = caller_of(request).device_id
    return KeyPackageCount(await key_packages.count(services_of(request).pool, device_id, int(time.time())))


@post(
    "/v1/accounts/{account_id:str}/key_packages/claims",
    guards=[require_session],
    summary="Claim key packages",
    description="One for each device of the account, the calling device left out; each one-time package is given out "
    "once, after the last of them the last-resort one. If one device has none, nothing is given out.",
    responses=problems(Code.UNAUTHENTICATED, Code.NOT_FOUND, Code.KEY_PACKAGES_EXHAUSTED),
    security=[{"session": []}],
    tags=["key packages"],
)
async def claim_key_packages(account_id: AccountIdHex, request: HTTPRequest) -> Claims:
    """Take the packages, and tell devices that run low."""
    services = services_of(request)
    claimer = caller_of(request).device_id
    claims, left = await key_packages.claim(services.pool, bytes.fromhex(account_id), claimer, int(time.time()))
    for device_id, one_time_left in left.items():
        if one_time_left < KEY_PACKAGES_LOW:
            services.relay.hub.key_packages(device_id, one_time_left)
    return Claims(claims)


def _verified(data: UploadKeyPackages, certificate: bytes, now: int) -> list[tuple[KeyPackageHeader, bytes]]:
    packages = [(checks.key_package(package, certificate, now), package) for package in data.key_packages]
    if any(header.last_resort for header, _ in packages):
        raise ProblemError(Code.INVALID_OBJECT, "a last-resort key package is among the one-time ones")
    if data.last_resort is not None:
        header = checks.key_package(data.last_resort, certificate, now)
        if not header.last_resort:
            raise ProblemError(Code.INVALID_OBJECT, "the last-resort key package does not say that it is one")
        packages.append((header, data.last_resort))
    return packages
