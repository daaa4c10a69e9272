"""Processes that die in the middle: nothing acknowledged is lost, nothing is shown twice.

The server is killed with SIGKILL under a running conversation; clients run as processes of their own and are killed at
random moments. `tests/client_lib/engine` cuts the same flows at every single step.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from client_lib import Chat, Client, ClientError, TransportError, generate_recovery_phrase
from client_lib.transport import HttpTransport
from protocol.api import RegisterAccount
from tests.conftest import ROOT, Server
from tests.end_to_end.people import in_chat, registered, texts, until

Invite = Callable[[], bytes]

MESSAGES = 60
SERVER_KILLS = 3
QUESTIONS = 18


async def test_r01_kill_9_of_the_server_mid_conversation_loses_and_repeats_nothing(
    server: Server, invitation: Invite, tmp_path: Path
) -> None:
    async with registered(server, invitation, tmp_path, "alice", "bob", "carol") as (alice, bob, carol):
        chat = await alice.group_chat(bob.me.address)
        await until(lambda: in_chat(bob, chat) is not None)
        bobs = in_chat(bob, chat)
        assert bobs is not None
        added = asyncio.create_task(_add_later(chat, carol))
        for number in range(MESSAGES):
            await chat.send(f"alice {number}")
            await bobs.send(f"bob {number}")
            if number % (MESSAGES // SERVER_KILLS) == 7:
                await asyncio.to_thread(server.kill9)
                await asyncio.to_thread(server.start)
        await added
        await chat.send("carol is here")  # carol may have come after everything else
        wanted = [f"{name} {number}" for name in ("alice", "bob") for number in range(MESSAGES)]
        wanted = sorted([*wanted, "carol is here"])
        await until(lambda: sorted(texts(alice, chat)) == wanted and sorted(texts(bob, chat)) == wanted, 60)
        await until(lambda: {message.status for message in chat.history()} <= {"sent", "received"})
        assert texts(alice, chat) == texts(bob, chat)  # and all in one order
        await until(lambda: "carol is here" in texts(carol, chat))
        assert texts(carol, chat) == texts(alice, chat)[-len(texts(carol, chat)) :]


async def test_registering_again_after_a_lost_answer_takes_up_where_it_was(
    server: Server, invitation: Invite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, phrase = await asyncio.to_thread(invitation), generate_recovery_phrase()

    async def lose_the_answer(http: HttpTransport, account: RegisterAccount) -> None:
        await register(http, account)
        raise TransportError("the answer is lost")

    register = HttpTransport.register_account
    with monkeypatch.context() as patch:
        patch.setattr(HttpTransport, "register_account", lose_the_answer)
        with pytest.raises(TransportError):
            await Client.register(tmp_path / "alice.sealdesk", server.url, code, phrase)
    with pytest.raises(ClientError, match="another recovery phrase"):
        await Client.register(tmp_path / "alice.sealdesk", server.url, code, generate_recovery_phrase())
    async with (
        await Client.register(tmp_path / "alice.sealdesk", server.url, code, phrase) as alice,
        registered(server, invitation, tmp_path, "bob") as (bob,),
    ):
        await (await bob.private_chat(alice.me.address)).send("there you are")
        await until(lambda: any(chat.history() for chat in alice.chats))


async def _add_later(chat: Chat, carol: Client) -> None:
    await asyncio.sleep(0.5)
    for _ in range(20):
        try:
            await chat.add(carol.me.address)
        except ClientError:  # the server is down just now; the person tries again
            await asyncio.sleep(0.3)
        else:
            return


ECHO = """
import asyncio, sys
from client_lib import Bot
bot = Bot(sys.argv[1])

@bot.message
async def echo(message):
    await message.reply("first: " + message.text)
    await message.reply("second: " + message.text)

bot.run()
"""


async def test_r30_kill_9_of_a_bot_at_random_moments_answers_everything_exactly_once(
    server: Server, invitation: Invite, tmp_path: Path
) -> None:
    """A bot process is killed again and again while questions come in: each gets its two answers, once, in order."""
    chance = random.Random(20)
    async with registered(server, invitation, tmp_path, "alice") as (alice,):
        async with registered(server, invitation, tmp_path, "bot") as (bot,):
            address = bot.me.address
        chat = await alice.private_chat(address)
        process = _start_bot(tmp_path)
        try:
            for number in range(QUESTIONS):
                await chat.send(f"question {number}")
                if number % 3 == 2:
                    await asyncio.sleep(chance.uniform(0.3, 1.6))
                    process.kill()
                    process.wait()
                    process = _start_bot(tmp_path)
            await chat.send(f"question {QUESTIONS}")  # the last process has surely started once it answers this
            wanted = {f"{which}: question {number}" for which in ("first", "second") for number in range(QUESTIONS + 1)}
            await until(lambda: wanted <= set(texts(alice, chat)), 60)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 20) == 0
        finally:
            process.kill()
            process.wait()
        answers = [message.text for message in chat.history() if not message.is_ours]
        assert len(answers) == len(wanted)
        assert answers == [
            f"{which}: question {number}" for number in range(QUESTIONS + 1) for which in ("first", "second")
        ]


def _start_bot(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", ECHO, str(folder / "bot.sealdesk")],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=folder,
    )


async def test_a_fault_of_ours_is_told_and_the_client_closes_all_the_same(
    server: Server, invitation: Invite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client never goes deaf in silence: whoever waits gets an error, and the store is released."""
    async with registered(server, invitation, tmp_path, "alice", "bob") as (alice, bob):
        chat = await alice.private_chat(bob.me.address)
        monkeypatch.setattr(bob._runtime.engine, "receive", lambda *_: 1 / 0)
        await chat.send("this breaks bob")
        with pytest.raises(ClientError, match="internal error"):
            async for _ in bob.follow("test"):
                pass
        with pytest.raises(ClientError, match="internal error"):
            await bob.group_chat(alice.me.address)
    async with await Client.open(tmp_path / "bob.sealdesk") as bob:  # as good as new
        await until(lambda: any(texts(bob, own) == ["this breaks bob"] for own in bob.chats))
