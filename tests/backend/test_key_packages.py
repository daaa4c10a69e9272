"""Key packages: each one-time package goes to one taker, then the last-resort one to all."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

from protocol import api, frames, limits
from tests.backend.people import Device, Refusal, people, rows
from tests.conftest import Server


async def claim(taker: Device, target: Device) -> api.ClaimedKeyPackage:
    path = f"/v1/accounts/{target.account_id.hex()}/key_packages/claims"
    (claimed,) = (await taker.call("POST", path, None, api.Claims)).claims
    return claimed


async def test_a_hundred_takers_get_each_package_once_and_then_the_last_resort(shared_server: Server) -> None:
    async with people(shared_server, 5) as (target, *takers):
        assert await target.publish(60, last_resort=True) == 60
        claimed = await asyncio.gather(*(claim(taker, target) for taker in takers for _ in range(25)))
        assert {one.device_id for one in claimed} == {target.device_id}
        one_time = Counter(one.key_package for one in claimed if not one.last_resort)
        last_resort = Counter(one.key_package for one in claimed if one.last_resort)
        assert (len(one_time), set(one_time.values())) == (60, {1})
        assert list(last_resort.values()) == [40]
        assert (await target.call("GET", "/v1/key_packages", None, api.KeyPackageCount)).one_time_left == 0


async def test_first_published_first_given(shared_server: Server) -> None:
    async with people(shared_server, 2) as (target, taker):
        packages = [target.key_package() for _ in range(3)]
        await target.call("POST", "/v1/key_packages", api.UploadKeyPackages(packages), api.KeyPackageCount)
        assert [(await claim(taker, target)).key_package for _ in range(3)] == packages


async def test_without_any_package_nothing_is_given(shared_server: Server) -> None:
    async with people(shared_server, 2) as (target, taker):
        with pytest.raises(Refusal) as refusal:
            await claim(taker, target)
        assert (refusal.value.status, refusal.value.code) == (409, "key_packages_exhausted")


async def test_the_last_resort_one_is_replaced(shared_server: Server) -> None:
    async with people(shared_server, 2) as (target, taker):
        await target.publish(0, last_resort=True)
        first = await claim(taker, target)
        await target.publish(0, last_resort=True)
        second = await claim(taker, target)
        assert first.last_resort
        assert second.last_resort
        assert first.key_package != second.key_package


async def test_a_resent_upload_counts_once(shared_server: Server) -> None:
    async with people(shared_server, 1) as (target,):
        body = api.UploadKeyPackages([target.key_package() for _ in range(5)], target.key_package(last_resort=True))
        for _ in range(2):
            count = await target.call("POST", "/v1/key_packages", body, api.KeyPackageCount)
            assert count.one_time_left == 5


async def test_a_device_publishes_its_own_valid_packages_only(shared_server: Server) -> None:
    async with people(shared_server, 2) as (alice, bob):
        good = alice.key_package()
        forged = good[:-1] + bytes([good[-1] ^ 1])
        wrong = [
            api.UploadKeyPackages([good, bob.key_package()]),
            api.UploadKeyPackages([good, forged]),
            api.UploadKeyPackages([good, b"\x00\x01\x00\x05"]),
            api.UploadKeyPackages([good, alice.key_package(not_after_s=-2 * 86_400)]),
            api.UploadKeyPackages([good, alice.key_package(not_after_s=400 * 86_400)]),
            api.UploadKeyPackages([good, alice.key_package(last_resort=True)]),
            api.UploadKeyPackages([good], alice.key_package()),
        ]
        for body in wrong:
            with pytest.raises(Refusal) as refusal:
                await alice.call("POST", "/v1/key_packages", body, api.KeyPackageCount)
            assert (refusal.value.status, refusal.value.code) == (422, "invalid_object")
        assert await rows(shared_server, "SELECT 1 FROM key_packages WHERE device_id = $1", alice.device_id) == []


async def test_an_expired_package_is_not_given(shared_server: Server) -> None:
    async with people(shared_server, 2) as (target, taker):
        await target.publish(2)
        query = "UPDATE key_packages SET not_after_s = $1 WHERE device_id = $2"
        await rows(shared_server, query, int(time.time()) - 1, target.device_id)
        with pytest.raises(Refusal) as refusal:
            await claim(taker, target)
        assert refusal.value.code == "key_packages_exhausted"
        assert await target.publish(1) == 1


async def test_a_device_holds_a_limited_number(shared_server: Server) -> None:
    async with people(shared_server, 1) as (target,):
        for _ in range(limits.KEY_PACKAGES_PER_DEVICE_MAX // limits.KEY_PACKAGES_PER_UPLOAD_MAX):
            held = await target.publish(limits.KEY_PACKAGES_PER_UPLOAD_MAX)
        assert held == limits.KEY_PACKAGES_PER_DEVICE_MAX
        with pytest.raises(Refusal) as refusal:
            await target.publish(1)
        assert (refusal.value.status, refusal.value.code) == (429, "too_many")
        counted = await target.call("GET", "/v1/key_packages", None, api.KeyPackageCount)
        assert counted.one_time_left == limits.KEY_PACKAGES_PER_DEVICE_MAX


async def test_a_device_is_told_when_it_runs_low(shared_server: Server) -> None:
    async with people(shared_server, 2) as (target, taker):
        await target.publish(limits.KEY_PACKAGES_LOW + 1, last_resort=True)
        async with target.stream() as stream:
            await stream.until(frames.CaughtUp)
            await claim(taker, target)
            await claim(taker, target)
            told = await stream.until(frames.KeyPackages)
            assert told.one_time_left == limits.KEY_PACKAGES_LOW - 1


async def test_the_claiming_device_is_left_out(shared_server: Server) -> None:
    async with people(shared_server, 1) as (alice,):
        await alice.publish(1)
        path = f"/v1/accounts/{alice.account_id.hex()}/key_packages/claims"
        assert (await alice.call("POST", path, None, api.Claims)).claims == []
        assert (await alice.call("GET", "/v1/key_packages", None, api.KeyPackageCount)).one_time_left == 1
