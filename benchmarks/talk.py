"""One of two people who talk, with the whole client library, in a process of its own. Reads and writes lines of JSON.

The writer sends texts that begin with the time of sending; the reader takes that from the time when it has the text,
which is when it is decrypted, checked, on disk and handed to the app. Both clocks are the same monotonic one.

- `rush`: the writer sends as fast as its library takes texts;
- `paced`: so many a second, far below that.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Literal

import msgspec

from benchmarks.processes import BenchmarkError
from client_lib import Client
from client_lib.events import ChatJoined
from crypto.identity.accounts import generate_recovery_phrase

TEXT_CHARACTERS = 1_024
_LAST = "last"


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """Who to be. `address` is the reader's, for the writer."""

    role: Literal["reader", "writer"]
    server_url: str
    invitation: bytes
    store: str
    rush: int
    paced: int
    paced_per_second: int
    address: str = ""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What the reader saw: the time from the first text sent to the last one read, and from each sent to it read."""

    rush_s: float
    paced_s: list[float]


async def write(role: Role) -> None:
    """Open a chat and send."""
    async with await _register(role) as client:
        chat = await client.private_chat(role.address)
        await chat.send(_text("warm"))
        await client.flush()
        for _ in range(role.rush):
            await chat.send(_text("rush"))
        await client.flush()
        started = time.monotonic()
        for number in range(role.paced):
            await asyncio.sleep(max(0.0, started + number / role.paced_per_second - time.monotonic()))
            await chat.send(_text("paced"))
        await chat.send(_text(_LAST))
        await client.flush()


async def read(role: Role) -> Reading:
    """Wait for the chat, and read until the last text."""
    async with await _register(role) as client:
        print(msgspec.json.encode(client.me.address).decode(), flush=True)
        async for event in client.events():
            if isinstance(event, ChatJoined):
                break
        (chat,) = client.chats
        sent: dict[str, list[float]] = {"warm": [], "rush": [], "paced": []}
        seen: dict[str, list[float]] = {"warm": [], "rush": [], "paced": []}
        async for message in chat.messages(after=0):
            now = time.monotonic()
            phase, _, rest = message.text.partition(" ")
            if phase == _LAST:
                break
            seen[phase].append(now)
            sent[phase].append(float(rest.partition(" ")[0]))
        if (len(seen["rush"]), len(seen["paced"])) != (role.rush, role.paced):
            raise BenchmarkError(f"{role.rush + role.paced} texts were sent and {sum(map(len, seen.values()))} read")
        return Reading(
            rush_s=seen["rush"][-1] - sent["rush"][0],
            paced_s=[there - here for here, there in zip(sent["paced"], seen["paced"], strict=True)],
        )


def main() -> None:
    """Read a role from the standard input and play it."""
    role = msgspec.json.decode(sys.stdin.buffer.readline(), type=Role)
    if role.role == "writer":
        asyncio.run(write(role))
        return
    print(msgspec.json.encode(asyncio.run(read(role))).decode(), flush=True)


async def _register(role: Role) -> Client:
    return await Client.register(role.store, role.server_url, role.invitation, generate_recovery_phrase())


def _text(phase: str) -> str:
    return f"{phase} {time.monotonic():.6f} ".ljust(TEXT_CHARACTERS, "x")


if __name__ == "__main__":
    main()
