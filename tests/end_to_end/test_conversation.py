"""People talk through a real server: text, files, groups, and two who change a group at once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from client_lib import Client, ClientError, StoreError, TrustError
from client_lib.events import Alert
from tests.conftest import Server
from tests.crypto.matrix import without_group
from tests.end_to_end.people import in_chat, registered, texts, until

Invite = Callable[[], bytes]


async def test_a_private_conversation_with_a_file_and_a_reply(
    server: Server, invitation: Invite, tmp_path: Path
) -> None:
    scan = tmp_path / "scan.pdf"
    scan.write_bytes(os.urandom(200_000))
    async with registered(server, invitation, tmp_path, "alice", "bob") as (alice, bob):
        chat = await alice.private_chat(bob.me.address)
        await chat.send("Here is my contract.", attach=[scan])
        await until(lambda: texts(bob, chat) == ["Here is my contract.\n[scan.pdf, 200 kB]"])
        theirs = in_chat(bob, chat)
        assert theirs is not None
        (message,) = theirs.history()
        assert message.sender is not None
        assert message.sender.address == alice.me.address
        saved = await message.attachments[0].save(tmp_path / "bob")
        assert saved.read_bytes() == scan.read_bytes()
        await message.reply("Thank you.")
        await until(lambda: len(chat.history()) == 2)
        assert chat.history()[1].reply_to == chat.history()[0].id
        assert (await alice.private_chat(bob.me.address)).id == chat.id  # opened once
        assert (await bob.private_chat(alice.me.address)).id == chat.id


async def test_a_group_gains_and_loses_a_member(server: Server, invitation: Invite, tmp_path: Path) -> None:
    async with registered(server, invitation, tmp_path, "alice", "bob", "carol") as (alice, bob, carol):
        chat = await alice.group_chat(bob.me.address)
        await chat.send("one")
        await chat.add(carol.me.address)
        await chat.send("two")
        await until(lambda: texts(carol, chat) == ["two"])
        assert {person.address for person in chat.members} == {c.me.address for c in (alice, bob, carol)}
        await chat.remove(carol.me.address)
        await chat.send("three")
        await until(lambda: texts(bob, chat) == ["one", "two", "three"])
        await until(lambda: (left := in_chat(carol, chat)) is not None and not left.is_active)
        assert texts(carol, chat) == ["two"]


async def test_two_clients_that_commit_at_once_end_in_one_epoch_with_both_intents_done(
    server: Server, invitation: Invite, tmp_path: Path
) -> None:
    names = ("alice", "bob", "carol", "dave")
    async with registered(server, invitation, tmp_path, *names) as (alice, bob, carol, dave):
        chat = await alice.group_chat(bob.me.address)
        await until(lambda: in_chat(bob, chat) is not None)
        bobs = in_chat(bob, chat)
        assert bobs is not None
        await asyncio.gather(chat.add(carol.me.address), bobs.add(dave.me.address), chat.send("a"), bobs.send("b"))
        everyone = {client.me.address for client in (alice, bob, carol, dave)}

        def agree() -> bool:
            chats = [in_chat(client, chat) for client in (alice, bob, carol, dave)]
            return all(own is not None and {p.address for p in own.members} == everyone for own in chats)

        await until(agree)
        groups = [client._runtime.engine.chats[chat.chat_id].group for client in (alice, bob, carol, dave)]
        assert len({group.epoch_authenticator for group in groups if group is not None}) == 1
        assert sorted(texts(alice, chat)) == sorted(texts(bob, chat)) == ["a", "b"]


async def test_messages_sent_while_the_server_is_down_go_out_when_it_is_back(
    server: Server, invitation: Invite, tmp_path: Path
) -> None:
    async with registered(server, invitation, tmp_path, "alice", "bob") as (alice, bob):
        chat = await alice.private_chat(bob.me.address)
        await asyncio.to_thread(server.stop)
        await chat.send("into the dark")
        assert [message.status for message in chat.history()] == ["sending"]
        await asyncio.to_thread(server.start)
        await until(lambda: texts(bob, chat) == ["into the dark"], 60)


async def test_a_swapped_attachment_is_refused_and_leaves_no_file(
    server: Server, invitation: Invite, tmp_path: Path
) -> None:
    letter = tmp_path / "letter.txt"
    letter.write_bytes(b"signed and sealed " * 10_000)
    async with registered(server, invitation, tmp_path, "alice", "bob") as (alice, bob):
        chat = await alice.private_chat(bob.me.address)
        await chat.send("", attach=[letter])
        await until(lambda: len(texts(bob, chat)) == 1)
        stored = [path for path in (server.settings.data_folder).rglob("*") if path.is_file()]
        blob = max(stored, key=lambda path: path.stat().st_size)
        data = bytearray(blob.read_bytes())
        data[100_000] ^= 1
        blob.write_bytes(data)
        theirs = in_chat(bob, chat)
        assert theirs is not None
        with pytest.raises(TrustError, match="damaged or swapped"):
            await theirs.history()[0].attachments[0].save(tmp_path / "bob")
        assert list((tmp_path / "bob").iterdir()) == []


async def test_a_second_process_on_a_store_is_refused(server: Server, invitation: Invite, tmp_path: Path) -> None:
    async with registered(server, invitation, tmp_path, "alice"):
        with pytest.raises(StoreError, match="in use by process"):
            await Client.open(tmp_path / "alice.sealdesk")


@without_group("two clients and a server")
@pytest.mark.breaks("R4")
async def test_used_keys_are_off_the_disk_soon_after_a_message(
    server: Server, invitation: Invite, tmp_path: Path
) -> None:
    async with registered(server, invitation, tmp_path, "alice", "bob") as (alice, bob):
        chat = await alice.private_chat(bob.me.address)
        await chat.send("read and burn")
        await until(lambda: texts(bob, chat) == ["read and burn"])
        await until(lambda: (tmp_path / "bob.sealdesk-wal").stat().st_size == 0, timeout_s=10)


async def test_whoever_waits_is_told_when_the_client_is_closed(
    server: Server, invitation: Invite, tmp_path: Path
) -> None:
    async with registered(server, invitation, tmp_path, "alice", "bob") as (alice, bob):
        chat = await alice.private_chat(bob.me.address)

        async def wait_for_a_message() -> None:
            async for _ in chat.messages():
                raise AssertionError("nobody has written")

        async def wait_for_an_event() -> None:
            async for event in alice.events():
                assert isinstance(event, Alert)

        waiting = [asyncio.create_task(wait_for_a_message()), asyncio.create_task(wait_for_an_event())]
        await asyncio.sleep(0)
        await alice.close()
        done = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 5)
        assert [str(error) for error in done] == ["the client is closed: open it again"] * 2
        await alice.close()  # again, as `async with` does
        with pytest.raises(ClientError, match="closed"):
            await chat.send("too late")


async def test_fresh_keys_replace_ours_and_the_chat_goes_on(server: Server, invitation: Invite, tmp_path: Path) -> None:
    async with registered(server, invitation, tmp_path, "alice", "bob") as (alice, bob):
        chat = await alice.private_chat(bob.me.address)
        group = alice._runtime.engine.chats[chat.chat_id].group
        assert group is not None
        before = group.state.leaf(group.own_leaf).encryption_key
        await chat.refresh_keys()
        group = alice._runtime.engine.chats[chat.chat_id].group
        assert group is not None
        assert group.state.leaf(group.own_leaf).encryption_key != before
        await chat.send("with new keys")
        await until(lambda: texts(bob, chat) == ["with new keys"])


async def test_a_bad_address_or_phrase_is_said_in_one_line(server: Server, invitation: Invite, tmp_path: Path) -> None:
    async with registered(server, invitation, tmp_path, "alice") as (alice,):
        for address in ("bob", "A" * 32, alice.me.address):
            with pytest.raises(ClientError) as refused:
                await alice.private_chat(address)
            assert "\n" not in str(refused.value)
    code = await asyncio.to_thread(invitation)
    with pytest.raises(ClientError, match="24 words"):
        await Client.register(tmp_path / "bob.sealdesk", server.url, code, "only three words")
