"""Registration, invitations, sessions and their challenges."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import time
from collections.abc import Callable

import aiohttp
import pytest

from backend import limits
from crypto.identity.device_list import sign_device_list
from crypto.identity.sessions import answer_challenge
from crypto.wire import encode
from protocol import api
from protocol.invitations import format_invitation, parse_invitation
from tests.backend.people import Device, Refusal, digest, insert_invitation, people, rows
from tests.conftest import Server


async def test_an_invitation_registers_one_account(server: Server, invitation: Callable[[], bytes]) -> None:
    code = invitation()
    assert parse_invitation(format_invitation(code)) == code
    async with aiohttp.ClientSession() as http:
        alice, bob = Device(server, http), Device(server, http)
        account = await alice.call("POST", "/v1/accounts", alice.registration(code), api.Account)
        assert account.account_id == alice.account_id
        before = await digest(server)
        with pytest.raises(Refusal) as refusal:
            await bob.call("POST", "/v1/accounts", bob.registration(code), api.Account)
        assert (refusal.value.status, refusal.value.code) == (403, "invitation_invalid")
        assert await digest(server) == before
        await alice.open_session()
        assert await alice.call("GET", f"/v1/accounts/{alice.account_id.hex()}", None, api.Account) == account


async def test_of_many_with_one_invitation_one_registers(shared_server: Server) -> None:
    async with aiohttp.ClientSession() as http:
        code = await insert_invitation(shared_server)
        devices = [Device(shared_server, http) for _ in range(10)]
        answers = await asyncio.gather(*(d.request("POST", "/v1/accounts", d.registration(code)) for d in devices))
        assert sorted(status for status, _, _ in answers) == [201] + [403] * 9


async def test_a_refused_registration_does_not_use_the_invitation_up(shared_server: Server) -> None:
    async with people(shared_server, 1) as (alice,):
        code = await insert_invitation(shared_server)
        device_ids = frozenset({alice.device_id})
        other = sign_device_list(alice.signing, alice.signing_certificate, 1, device_ids, issued_at=1)
        alice.device_list = other
        with pytest.raises(Refusal) as refusal:
            await alice.call("POST", "/v1/accounts", alice.registration(code), api.Account)
        assert (refusal.value.status, refusal.value.code) == (409, "already_exists")
        bob = Device(shared_server, alice.http)
        await bob.call("POST", "/v1/accounts", bob.registration(code), api.Account)


async def test_a_registration_repeated_after_a_lost_answer_is_answered_again(shared_server: Server) -> None:
    async with aiohttp.ClientSession() as http:
        alice = Device(shared_server, http)
        request = alice.registration(await insert_invitation(shared_server))
        first = await alice.call("POST", "/v1/accounts", request, api.Account)
        before = await digest(shared_server)
        assert await alice.call("POST", "/v1/accounts", request, api.Account) == first
        assert await digest(shared_server) == before


async def test_an_expired_invitation_is_refused(shared_server: Server) -> None:
    async with aiohttp.ClientSession() as http:
        device, code = Device(shared_server, http), await insert_invitation(shared_server)
        await rows(shared_server, "UPDATE invitations SET expires_at_s = $1", int(time.time()) - 1)
        with pytest.raises(Refusal) as refusal:
            await device.call("POST", "/v1/accounts", device.registration(code), api.Account)
        assert refusal.value.code == "invitation_invalid"


async def test_objects_that_do_not_hold_together_register_nobody(shared_server: Server) -> None:
    async with aiohttp.ClientSession() as http:
        alice, bob = Device(shared_server, http), Device(shared_server, http)
        good = alice.registration(await insert_invitation(shared_server))
        theirs = bob.registration(good.invitation)
        forged = encode(dataclasses.replace(alice.certificate, signature=bytes(64)))
        wrong = [
            {"signing_key_certificate": theirs.signing_key_certificate},
            {"device_certificate": theirs.device_certificate},
            {"device_list": theirs.device_list},
            {"device_certificate": forged},
            {"device_list": good.device_list + b"\x00"},
            {"signing_key_certificate": good.device_list},
        ]
        before = await digest(shared_server)
        for change in wrong:
            fields = {name: getattr(good, name) for name in good.__struct_fields__}
            with pytest.raises(Refusal) as refusal:
                await alice.call("POST", "/v1/accounts", api.RegisterAccount(**{**fields, **change}), api.Account)
            assert (refusal.value.status, refusal.value.code) == (422, "invalid_object"), change
        assert await digest(shared_server) == before


async def test_an_unknown_account_is_not_found(shared_server: Server) -> None:
    async with people(shared_server, 1) as (alice,):
        for path in (f"/v1/accounts/{bytes(20).hex()}", f"/v1/accounts/{bytes(20).hex()}/key_packages/claims"):
            status, _, _ = await alice.request("POST" if path.endswith("claims") else "GET", path)
            assert status == 404


async def test_a_challenge_is_good_once(shared_server: Server) -> None:
    async with people(shared_server, 1) as (alice,):
        challenge = (await alice.challenge()).challenge
        body = api.OpenSession(alice.device_id, challenge, answer_challenge(alice.keys, shared_server.url, challenge))
        assert len((await alice.call("POST", "/v1/sessions", body, api.Session)).token) == 43
        await _refused(alice, body)


async def test_a_wrong_answer_uses_the_challenge_up(shared_server: Server) -> None:
    async with people(shared_server, 1) as (alice,):
        challenge = (await alice.challenge()).challenge
        await _refused(alice, api.OpenSession(alice.device_id, challenge, bytes(64)))
        right = answer_challenge(alice.keys, shared_server.url, challenge)
        await _refused(alice, api.OpenSession(alice.device_id, challenge, right))


async def test_only_the_challenged_device_answers_and_only_for_this_server(shared_server: Server) -> None:
    async with people(shared_server, 2) as (alice, mallory):
        url = shared_server.url
        challenge = (await alice.challenge()).challenge
        await _refused(
            mallory, api.OpenSession(mallory.device_id, challenge, answer_challenge(mallory.keys, url, challenge))
        )
        challenge = (await alice.challenge()).challenge
        await _refused(
            alice, api.OpenSession(alice.device_id, challenge, answer_challenge(mallory.keys, url, challenge))
        )
        challenge = (await alice.challenge()).challenge
        elsewhere = answer_challenge(alice.keys, "https://elsewhere.example", challenge)
        await _refused(alice, api.OpenSession(alice.device_id, challenge, elsewhere))
        invented = os.urandom(32)
        await _refused(alice, api.OpenSession(alice.device_id, invented, answer_challenge(alice.keys, url, invented)))


async def test_a_challenge_expires(shared_server: Server) -> None:
    async with people(shared_server, 1) as (alice,):
        before = int(time.time())
        challenge = await alice.challenge()
        assert before <= challenge.expires_at - limits.CHALLENGE_LIFETIME_S <= time.time()
        await rows(shared_server, "UPDATE session_challenges SET expires_at_s = $1", int(time.time()) - 1)
        answer = answer_challenge(alice.keys, shared_server.url, challenge.challenge)
        await _refused(alice, api.OpenSession(alice.device_id, challenge.challenge, answer))


async def test_an_unknown_device_looks_like_a_known_one(shared_server: Server) -> None:
    async with aiohttp.ClientSession() as http:
        stranger = Device(shared_server, http)
        challenge = (await stranger.challenge()).challenge
        await _refused(
            stranger,
            api.OpenSession(
                stranger.device_id, challenge, answer_challenge(stranger.keys, shared_server.url, challenge)
            ),
        )


async def test_a_session_ends_when_it_expires_or_is_closed(shared_server: Server) -> None:
    async with people(shared_server, 2) as (alice, bob):
        await rows(
            shared_server,
            "UPDATE sessions SET expires_at_s = $1 WHERE device_id = $2",
            int(time.time()) - 1,
            alice.device_id,
        )
        await bob.call("DELETE", "/v1/sessions/current", None, type(None))
        for device in (alice, bob):
            status, headers, _ = await device.request("GET", "/v1/chats")
            assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")


async def test_the_oldest_session_gives_way(shared_server: Server) -> None:
    async with people(shared_server, 1) as (alice,):
        first = alice.token
        for _ in range(limits.SESSIONS_PER_DEVICE_MAX):
            await alice.open_session()
        assert (await alice.request("GET", "/v1/chats"))[0] == 200
        alice.token = first
        assert (await alice.request("GET", "/v1/chats"))[0] == 401


async def test_neither_tokens_nor_codes_nor_challenges_answered_are_in_the_database(shared_server: Server) -> None:
    async with people(shared_server, 1) as (alice,):
        code = await insert_invitation(shared_server)
        tables = await rows(
            shared_server, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
        )
        text = ""
        for (table,) in tables:
            text += "".join(row[0] for row in await rows(shared_server, f"SELECT t::text FROM {table} t"))
        assert alice.device_id.hex() in text
        assert code.hex() not in text
        assert alice.token not in text


async def _refused(device: Device, body: api.OpenSession) -> None:
    with pytest.raises(Refusal) as refusal:
        await device.call("POST", "/v1/sessions", body, api.Session)
    assert (refusal.value.status, refusal.value.code) == (401, "unauthenticated")


def test_an_invitation_can_be_read_from_what_people_type() -> None:
    code = bytes(range(16))
    text = format_invitation(code)
    assert len(text) == 26
    for typed in (text, text.upper(), f" {text[:8]}-{text[8:16]} {text[16:]}\n"):
        assert parse_invitation(typed) == code
    for wrong in ("", text[:-1], text + "a", "0" + text[1:], "é" * 26):
        with pytest.raises(ValueError, match="an invitation code has"):
            parse_invitation(wrong)
