"""Messages through the real server: server, its PostgreSQL and the load each in processes of their own.

Everything is on: sessions, membership checks, limits, one durable transaction before a message is accepted. Every chat
has two members, each with a stream; every message goes to both, its sender included, as it does in life.
"""

from __future__ import annotations

import msgspec

from benchmarks.crypto_figures import Say
from benchmarks.figures import Figures
from benchmarks.load import Outcome, Scenario, Task
from benchmarks.machine import filesystem_of
from benchmarks.processes import Program, RunningServer, running_server
from benchmarks.timing import rounded

MESSAGE_BYTES = 1_331
"""1.3 KiB: what a page of text is when it is padded and encrypted."""

OFFERED_PER_S = 1_000

_SETTINGS = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "wal_sync_method", "shared_buffers")


def scenarios(*, quick: bool) -> list[Scenario]:
    """What is measured, in this order. Names are the keys of the results."""
    seconds, chats = (0.3, 2) if quick else (6, 10)
    return [
        Scenario(name="msgs_per_s", kind="saturate", seconds=seconds, chats=chats, window=100),
        Scenario(name="hot_chat_msgs_per_s", kind="saturate", seconds=seconds, chats=1, senders=2, window=400),
        Scenario(name="http_msgs_per_s", kind="post", seconds=seconds, chats=chats, window=32),
        Scenario(name="at_1000", kind="offer", seconds=seconds * 1.5, chats=chats, senders=2, per_second=OFFERED_PER_S),
    ]


def measure(figures: Figures, *, quick: bool, say: Say) -> None:
    """Fill in `server`, and what PostgreSQL says of itself."""
    wanted = scenarios(quick=quick)
    say("server: start it, register the members", 0)
    with running_server() as server:
        task = Task(
            url=server.url,
            invitations=server.invite(2 * max(scenario.chats for scenario in wanted)),
            message_bytes=MESSAGE_BYTES,
            server_pid=server.pid,
            scenarios=wanted,
        )
        with Program("benchmarks.load") as load:
            load.tell(msgspec.json.encode(task))
            for scenario in wanted:
                load.hear()
                say(f"server: {scenario.name}", 0)
                _put_down(figures, scenario, msgspec.json.decode(load.hear(), type=Outcome))
        _describe_database(figures, server)


def _put_down(figures: Figures, scenario: Scenario, outcome: Outcome) -> None:
    figures.cores[outcome.name] = outcome.cores
    if scenario.kind != "offer":
        figures.rate(outcome.name, outcome.per_second)
        return
    for share, milliseconds in outcome.deliver_ms.items():
        figures.server[f"{share}_ms_{outcome.name}"] = rounded(milliseconds)
    for share, milliseconds in outcome.accept_ms.items():
        figures.server[f"accept_{share}_ms_{outcome.name}"] = rounded(milliseconds)
    figures.server["offered_per_s"] = scenario.per_second
    figures.server["load_late_p99_ms"] = rounded(outcome.load_late_ms)


def _describe_database(figures: Figures, server: RunningServer) -> None:
    columns = ", ".join(f"current_setting('{name}') AS {name}" for name in _SETTINGS)
    figures.postgres = {**server.query(f"SELECT {columns}"), "filesystem": filesystem_of(server.folder)}
    sizes = server.query(
        f"""SELECT avg(pg_column_size(m.*))::int, pg_total_relation_size('messages') / count(*)
        FROM messages m WHERE length(message) = {MESSAGE_BYTES}"""  # noqa: S608  a number of ours
    )
    figures.size("stored_message_row_bytes", "server", sizes[0])
    figures.size("stored_message_with_indexes_bytes", "server", sizes[1])
