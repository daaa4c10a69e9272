"""The log over HTTP: positions, idempotency, epochs, members, the inbox."""

from __future__ import annotations

import asyncio
import os

import pytest

from protocol import api, frames
from tests.backend.people import COMMIT, PROPOSAL, Refusal, commit_request, people, private_message, rows, send_request
from tests.conftest import Server


async def test_positions_have_no_gap_under_concurrent_senders(shared_server: Server) -> None:
    async with people(shared_server, 4) as devices:
        chat = await devices[0].create_chat()
        await devices[0].commit(chat, 0, added=devices[1:])
        answers = await asyncio.gather(*(device.send(chat, 1) for device in devices for _ in range(50)))
        assert sorted(answer.position for answer in answers) == list(range(2, 202))
        log = [m.position for m in await devices[0].messages(chat)]
        assert log == list(range(1, 201))
        assert [m.position for m in await devices[0].messages(chat, after=200)] == [201]


async def test_a_resend_gets_the_first_answer_and_writes_nothing(shared_server: Server) -> None:
    async with people(shared_server, 2) as (alice, bob):
        chat_request = frames.CreateChat(os.urandom(16), os.urandom(32), "group")
        chat, path = chat_request.chat_id, f"/v1/chats/{chat_request.chat_id.hex()}"
        for _ in range(2):
            accepted = await alice.call("POST", "/v1/chats", chat_request, frames.Accepted)
            assert accepted == frames.Accepted(chat_request.message_id, chat, 0)
        send, commit = send_request(chat, 0), commit_request(chat, 0, added=[bob])
        for _ in range(2):
            assert (await alice.call("POST", f"{path}/messages", send, frames.Accepted)).position == 1
        assert (await alice.call("POST", f"{path}/commits", commit, frames.Accepted)).position == 2
        # Both are of an epoch that is gone by now; the answer is still the first one.
        assert (await alice.call("POST", f"{path}/commits", commit, frames.Accepted)).position == 2
        assert (await alice.call("POST", f"{path}/messages", send, frames.Accepted)).position == 1
        assert [m.position for m in await alice.messages(chat)] == [1, 2]
        assert len(await bob.inbox()) == 1


async def test_a_resend_at_the_same_time_is_written_once(shared_server: Server) -> None:
    async with people(shared_server, 1) as (alice,):
        chat = await alice.create_chat()
        send = send_request(chat, 0)
        path = f"/v1/chats/{chat.hex()}/messages"
        answers = await asyncio.gather(*(alice.call("POST", path, send, frames.Accepted) for _ in range(20)))
        assert {answer.position for answer in answers} == {1}
        assert len(await alice.messages(chat)) == 1


async def test_a_message_id_with_other_bytes_is_refused(shared_server: Server) -> None:
    async with people(shared_server, 1) as (alice,):
        chat = await alice.create_chat()
        first = send_request(chat, 0)
        path = f"/v1/chats/{chat.hex()}/messages"
        await alice.call("POST", path, first, frames.Accepted)
        other = frames.Send(first.message_id, chat, private_message(chat, 0))
        with pytest.raises(Refusal) as refusal:
            await alice.call("POST", path, other, frames.Accepted)
        assert (refusal.value.status, refusal.value.code, refusal.value.head) == (409, "message_id_reused", 1)
        assert len(await alice.messages(chat)) == 1


async def test_one_of_two_commits_of_an_epoch_wins(shared_server: Server) -> None:
    async with people(shared_server, 2) as (alice, bob):
        chat = await alice.create_chat()
        await alice.commit(chat, 0, added=[bob])
        results = await asyncio.gather(alice.commit(chat, 1), bob.commit(chat, 1), return_exceptions=True)
        (refusal,) = [result for result in results if isinstance(result, Refusal)]
        (accepted,) = [result for result in results if isinstance(result, frames.Accepted)]
        assert (refusal.status, refusal.code, refusal.head) == (409, "stale_epoch", accepted.position)
        (listed,) = (await bob.call("GET", "/v1/chats", None, api.Chats)).chats
        assert (listed.epoch, listed.head) == (2, 2)


async def test_every_message_is_of_the_chats_epoch(shared_server: Server) -> None:
    async with people(shared_server, 1) as (alice,):
        chat = await alice.create_chat()
        await alice.commit(chat, 0)
        for epoch in (0, 2):
            for content_type in (1, PROPOSAL):
                with pytest.raises(Refusal) as refusal:
                    await alice.send(chat, epoch, content_type)
                assert (refusal.value.status, refusal.value.code, refusal.value.head) == (409, "stale_epoch", 1)
        assert (await alice.send(chat, 1, PROPOSAL)).position == 2


async def test_a_header_must_fit_its_request(shared_server: Server) -> None:
    async with people(shared_server, 1) as (alice,):
        chat = await alice.create_chat()
        path = f"/v1/chats/{chat.hex()}"
        bad = [
            ("messages", frames.Send(os.urandom(16), chat, private_message(chat, 0, COMMIT))),
            ("messages", frames.Send(os.urandom(16), chat, private_message(os.urandom(32), 0))),
            ("messages", frames.Send(os.urandom(16), chat, b"\x00\x01\x00\x01" + os.urandom(40))),
            ("messages", frames.Send(os.urandom(16), chat, private_message(chat, 0) + b"\x00")),
            ("commits", frames.Commit(message_id=os.urandom(16), chat_id=chat, message=private_message(chat, 0))),
        ]
        for kind, body in bad:
            with pytest.raises(Refusal) as refusal:
                await alice.call("POST", f"{path}/{kind}", body, frames.Accepted)
            assert (refusal.value.status, refusal.value.code) == (422, "invalid_object")
        assert await alice.messages(chat) == []


async def test_membership_lists_are_checked(shared_server: Server) -> None:
    async with people(shared_server, 3) as (alice, bob, carol):
        chat = await alice.create_chat()
        await alice.commit(chat, 0, added=[bob])
        good = commit_request(chat, 1, added=[carol])
        stranger = frames.ChatDevice(os.urandom(20), os.urandom(20))
        mixed = frames.ChatDevice(alice.account_id, carol.device_id)
        changed = [
            {"welcome": None},
            {"added": []},
            {"added": [carol.member, carol.member]},
            {"added": [bob.member]},
            {"added": [alice.member]},
            {"added": [stranger]},
            {"added": [mixed]},
            {"removed": [alice.device_id]},
            {"removed": [carol.device_id]},
            {"removed": [bob.device_id, bob.device_id]},
            {"added": [carol.member, stranger]},
        ]
        for change in changed:
            fields = {name: getattr(good, name) for name in ("chat_id", "message", "welcome", "added", "removed")}
            body = frames.Commit(message_id=os.urandom(16), **{**fields, **change})
            with pytest.raises(Refusal) as refusal:
                await alice.call("POST", f"/v1/chats/{chat.hex()}/commits", body, frames.Accepted)
            assert (refusal.value.status, refusal.value.code) == (422, "invalid_object"), change
        assert await carol.inbox() == []
        assert (await alice.commit(chat, 1, added=[carol])).position == 2


async def test_a_welcome_is_there_with_its_commit_and_never_without(shared_server: Server) -> None:
    async with people(shared_server, 3) as (alice, bob, carol):
        chat = await alice.create_chat()
        first, second = commit_request(chat, 0, added=[bob]), commit_request(chat, 0, added=[carol])
        path = f"/v1/chats/{chat.hex()}/commits"
        await alice.call("POST", path, first, frames.Accepted)
        with pytest.raises(Refusal):
            await alice.call("POST", path, second, frames.Accepted)
        assert await carol.inbox() == []
        (item,) = await bob.inbox()
        assert (item.kind, item.chat_id, item.chat_kind, item.position) == ("welcome", chat, "group", 1)
        assert item.message == first.welcome
        # Bob's log starts behind the commit that added him.
        await alice.send(chat, 1)
        assert [m.position for m in await bob.messages(chat)] == [2]
        with pytest.raises(Refusal) as refusal:  # another device's item is not there for Alice
            await alice.call("DELETE", f"/v1/inbox/{item.item_id}", None, type(None))
        assert refusal.value.status == 404
        await bob.call("DELETE", f"/v1/inbox/{item.item_id}", None, type(None))
        assert await bob.inbox() == []
        assert await rows(shared_server, "SELECT 1 FROM welcomes WHERE chat_id = $1", chat) == []


async def test_a_welcome_for_many_stays_until_the_last_has_it(shared_server: Server) -> None:
    async with people(shared_server, 3) as (alice, bob, carol):
        chat = await alice.create_chat()
        await alice.commit(chat, 0, added=[bob, carol])
        (bobs,), (carols,) = await bob.inbox(), await carol.inbox()
        assert bobs.message == carols.message
        await bob.call("DELETE", f"/v1/inbox/{bobs.item_id}", None, type(None))
        assert len(await carol.inbox()) == 1
        await carol.call("DELETE", f"/v1/inbox/{carols.item_id}", None, type(None))
        assert await rows(shared_server, "SELECT 1 FROM welcomes WHERE chat_id = $1", chat) == []


async def test_a_removed_device_reads_its_removal_and_then_nothing(shared_server: Server) -> None:
    async with people(shared_server, 2) as (alice, bob):
        chat = await alice.create_chat()
        await alice.commit(chat, 0, added=[bob])
        await alice.send(chat, 1)
        await alice.commit(chat, 1, removed=[bob])
        await alice.send(chat, 2)
        assert [m.position for m in await bob.messages(chat)] == [2, 3]
        (listed,) = (await bob.call("GET", "/v1/chats", None, api.Chats)).chats
        assert (listed.head, listed.position) == (3, 1)
        with pytest.raises(Refusal) as refusal:
            await bob.send(chat, 2)
        assert (refusal.value.status, refusal.value.code, refusal.value.head) == (404, "not_found", None)
        path = f"/v1/chats/{chat.hex()}/position"
        await bob.call("PUT", path, api.AckPosition(99), type(None))
        assert (await bob.call("GET", "/v1/chats", None, api.Chats)).chats == []
        with pytest.raises(Refusal) as refusal:
            await bob.messages(chat)
        assert refusal.value.status == 404


async def test_a_device_that_comes_back_reads_both_of_its_stays(shared_server: Server) -> None:
    async with people(shared_server, 2) as (alice, bob):
        chat = await alice.create_chat()
        await alice.commit(chat, 0, added=[bob])  # 1
        await alice.commit(chat, 1, removed=[bob])  # 2
        await alice.send(chat, 2)  # 3
        await alice.commit(chat, 2, added=[bob])  # 4
        await alice.send(chat, 3)  # 5
        assert [m.position for m in await bob.messages(chat)] == [2, 5]
        await bob.call("PUT", f"/v1/chats/{chat.hex()}/position", api.AckPosition(2), type(None))
        assert [m.position for m in await bob.messages(chat)] == [5]
        assert (await bob.send(chat, 3)).position == 6
        (listed,) = (await bob.call("GET", "/v1/chats", None, api.Chats)).chats
        assert (listed.head, listed.position) == (6, 4)


async def test_one_commit_replaces_a_device(shared_server: Server) -> None:
    """Remove and add of the same device in one commit, as a device that lost its state comes back."""
    async with people(shared_server, 2) as (alice, bob):
        chat = await alice.create_chat()
        await alice.commit(chat, 0, added=[bob])
        await alice.commit(chat, 1, added=[bob], removed=[bob])
        await alice.send(chat, 2)
        assert [m.position for m in await bob.messages(chat)] == [2, 3]
        assert [item.position for item in await bob.inbox()] == [1, 2]


async def test_a_private_chat_never_gains_a_third_account(shared_server: Server) -> None:
    async with people(shared_server, 3) as (alice, bob, carol):
        chat = await alice.create_chat("private")
        with pytest.raises(Refusal) as refusal:
            await alice.commit(chat, 0, added=[bob, carol])
        assert (refusal.value.status, refusal.value.code) == (409, "private_chat_full")
        await alice.commit(chat, 0, added=[bob])
        await alice.commit(chat, 1, removed=[bob])
        with pytest.raises(Refusal) as refusal:  # not even in the place of one that left
            await alice.commit(chat, 2, added=[carol])
        assert (refusal.value.code, refusal.value.head) == ("private_chat_full", 2)
        assert (await alice.commit(chat, 2, added=[bob])).position == 3


async def test_a_foreign_chat_looks_like_no_chat(shared_server: Server) -> None:
    async with people(shared_server, 2) as (alice, mallory):
        chat = await alice.create_chat()
        answers = []
        for target in (chat, os.urandom(32)):
            path = f"/v1/chats/{target.hex()}"
            answers.append(
                [
                    await mallory.request("GET", f"{path}/messages"),
                    await mallory.request("POST", f"{path}/messages", send_request(target, 0)),
                    await mallory.request("POST", f"{path}/commits", commit_request(target, 0)),
                    await mallory.request("PUT", f"{path}/position", api.AckPosition(1)),
                    await mallory.request("GET", f"{path}/attachments/{bytes(16).hex()}"),
                ]
            )
        foreign, missing = ([(status, body) for status, _, body in answer] for answer in answers)
        assert [status for status, _ in foreign] == [404] * 5
        assert foreign == missing


async def test_a_chat_id_is_taken_once(shared_server: Server) -> None:
    async with people(shared_server, 2) as (alice, bob):
        chat = await alice.create_chat()
        request = frames.CreateChat(os.urandom(16), chat, "group")
        for device in (alice, bob):
            with pytest.raises(Refusal) as refusal:
                await device.call("POST", "/v1/chats", request, frames.Accepted)
            assert (refusal.value.status, refusal.value.code) == (409, "already_exists")


async def test_positions_never_go_back_nor_past_the_log(shared_server: Server) -> None:
    async with people(shared_server, 1) as (alice,):
        chat = await alice.create_chat()
        await alice.send(chat, 0)
        await alice.send(chat, 0)
        for asked, held in ((1, 1), (9, 2), (1, 2)):
            await alice.call("PUT", f"/v1/chats/{chat.hex()}/position", api.AckPosition(asked), type(None))
            (listed,) = (await alice.call("GET", "/v1/chats", None, api.Chats)).chats
            assert listed.position == held


async def test_the_body_and_the_path_name_one_chat(shared_server: Server) -> None:
    async with people(shared_server, 1) as (alice,):
        chat, other = await alice.create_chat(), await alice.create_chat()
        with pytest.raises(Refusal) as refusal:
            await alice.call("POST", f"/v1/chats/{chat.hex()}/messages", send_request(other, 0), frames.Accepted)
        assert (refusal.value.status, refusal.value.code) == (400, "malformed")
