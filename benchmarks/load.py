"""The clients' side of the server's figures, in a process of its own: reads a `Task`, writes `Outcome`s, one per line.

- `saturate`: each sender has `window` messages under way and follows each accepted one with another. What is counted is
  accepted by the server, which is when it is on disk, and has reached the other member's socket.
- `offer`: so many messages a second, whatever the server makes of them. Times count from the moment when a message is
  given to the socket; how late the load itself was, which is not the server's fault, is said separately.
- `post`: messages over HTTP, some requests at a time; the members' streams are open and get them.

All messages are waited for in the end: a figure in which one is missing is an error.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import Sequence
from itertools import cycle, islice
from typing import Literal

import aiohttp
import msgspec

from benchmarks.machine import ProcessTimes
from benchmarks.processes import BenchmarkError
from benchmarks.sockets import Ledger, Member, open_chat, register
from benchmarks.timing import percentile

WARM_S = 1.0
STRETCH_S = 1.0
DRAIN_TIMEOUT_S = 30.0


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement. `chats` of the prepared ones are used, by `senders` of the two members of each."""

    name: str
    kind: Literal["saturate", "offer", "post"]
    seconds: float
    chats: int
    senders: int = 1
    window: int = 0
    """Messages under way for each sender; requests under way in all, for `post`."""
    per_second: int = 0


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What to do. There is a chat of two for every two invitations."""

    url: str
    invitations: list[bytes]
    message_bytes: int
    server_pid: int
    scenarios: list[Scenario]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a scenario: rates of each stretch, times in milliseconds by percentile, processor cores in use."""

    name: str
    per_second: list[float] = []
    accept_ms: dict[str, float] = {}
    deliver_ms: dict[str, float] = {}
    load_late_ms: float = 0
    cores: dict[str, float] = {}


class Load:
    """The members, connected."""

    def __init__(self, task: Task, session: aiohttp.ClientSession) -> None:
        self._task = task
        self._session = session
        self._ledger = Ledger()
        self._chats: list[list[Member]] = []

    async def connect(self) -> None:
        """Register everybody, open the chats and the streams."""
        invitations = self._task.invitations
        members = [await register(self._task.url, invitation, self._ledger) for invitation in invitations]
        for pair in zip(members[::2], members[1::2], strict=True):
            await open_chat(pair, self._task.message_bytes)
            self._chats.append(list(pair))
        for member in members:
            await member.connect(self._session)
            await member.http.close()

    async def run(self, scenario: Scenario) -> Outcome:
        """Measure."""
        self._ledger = ledger = Ledger()
        chats = self._chats[: scenario.chats]
        for member in (member for chat in self._chats for member in chat):
            member.ledger = ledger
        senders = [member for chat in chats for member in chat[: scenario.senders]]
        share, own = ProcessTimes(self._task.server_pid), time.process_time()
        started = time.perf_counter()
        rates, late = [], 0.0
        match scenario.kind:
            case "saturate":
                rates = await self._saturate(scenario, senders)
            case "offer":
                late = await self._offer(scenario, senders)
            case "post":
                rates = await self._post(scenario, senders)
        server, database = share.shares()
        clients = (time.process_time() - own) / (time.perf_counter() - started)
        await self._drain()
        return Outcome(
            name=scenario.name,
            per_second=rates,
            accept_ms=_percentiles(ledger.accept_s),
            deliver_ms=_percentiles(ledger.deliver_s),
            load_late_ms=late * 1e3,
            cores={"server": server, "database": database, "load": round(clients, 2)},
        )

    async def listen(self) -> None:
        """Read every stream, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for member in (member for chat in self._chats for member in chat):
                group.create_task(member.read())

    async def _saturate(self, scenario: Scenario, senders: Sequence[Member]) -> list[float]:
        self._ledger.is_open = True
        for sender in senders:
            await sender.send(scenario.window)
        return await self._count(scenario.seconds)

    async def _count(self, seconds: float) -> list[float]:
        """Messages a second in each stretch of `seconds`, after a while to get warm. Then no more are sent."""
        stretch = min(STRETCH_S, seconds)
        await asyncio.sleep(min(WARM_S, seconds))
        rates = []
        for _ in range(int(seconds / stretch)):
            before, started = self._ledger.settled, time.perf_counter()
            await asyncio.sleep(stretch)
            rates.append((self._ledger.settled - before) / (time.perf_counter() - started))
        self._ledger.is_open = False
        return rates

    async def _offer(self, scenario: Scenario, senders: Sequence[Member]) -> float:
        """Send at a fixed rate; returns how late 99 of 100 messages were at most, in seconds."""
        late = []
        count = int(scenario.per_second * scenario.seconds)
        started = time.perf_counter()
        for number, sender in enumerate(islice(cycle(senders), count)):
            due = started + number / scenario.per_second
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            late.append(max(0.0, time.perf_counter() - due))
            await sender.send(1)
        return percentile(late, 0.99)

    async def _post(self, scenario: Scenario, senders: Sequence[Member]) -> list[float]:
        self._ledger.is_open = True
        workers = [asyncio.create_task(self._poster(s)) for s in islice(cycle(senders), scenario.window)]
        rates = await self._count(scenario.seconds)
        await asyncio.gather(*workers)
        return rates

    async def _poster(self, sender: Member) -> None:
        url = f"{self._task.url}/v1/chats/{sender.chat_id.hex()}/messages"
        headers = {"Authorization": f"Bearer {sender.token}", "Content-Type": "application/json"}
        while self._ledger.is_open:
            send = sender.make()
            body = msgspec.json.encode(send)
            sender.sent([send])
            async with self._session.post(url, data=body, headers=headers) as response:
                if response.status != 201:
                    raise BenchmarkError(f"the server answered a message with {response.status}")
                await response.read()
            self._ledger.accept_s.append(time.perf_counter() - self._ledger.to_accept.pop(send.message_id))

    async def _drain(self) -> None:
        deadline = time.monotonic() + DRAIN_TIMEOUT_S
        while not self._ledger.all_settled:
            if time.monotonic() > deadline:
                left = len(self._ledger.to_accept), len(self._ledger.to_deliver)
                raise BenchmarkError(f"{left[0]} messages were not accepted and {left[1]} not delivered")
            await asyncio.sleep(0.05)


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    return {f"p{share}": percentile(seconds, share / 100) * 1e3 for share in (50, 95, 99)}


async def run(task: Task) -> None:
    """Do a task, and say so line by line."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        load = Load(task, session)
        await load.connect()
        gc.freeze()
        listening = asyncio.create_task(load.listen())
        for scenario in task.scenarios:
            print(msgspec.json.encode(Outcome(name=f"start {scenario.name}")).decode(), flush=True)
            measuring = asyncio.create_task(load.run(scenario))
            await asyncio.wait({listening, measuring}, return_when=asyncio.FIRST_COMPLETED)
            if listening.done():
                listening.result()
            print(msgspec.json.encode(measuring.result()).decode(), flush=True)
        listening.cancel()


def main() -> None:
    """Read a task from the standard input and do it."""
    asyncio.run(run(msgspec.json.decode(sys.stdin.buffer.readline(), type=Task)))


if __name__ == "__main__":
    main()
