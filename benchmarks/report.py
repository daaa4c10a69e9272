"""How the figures of a run are written down: `latest.json` for programs, `report.md` for people.

A number is found by area and key, and where several implementations have it, by name: `crypto.encrypt_1k_us.ours`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.figures import Figures
from benchmarks.server_figures import MESSAGE_BYTES

_COLUMNS = {"ours": "suite 0x0001", "ours_xwing": "X-Wing"}
_OPERATIONS = {
    "encrypt_1k": "encrypt 1 KiB",
    "decrypt_1k": "decrypt 1 KiB",
    "key_package": "key package",
    "create": "create, adds in one commit, Welcome",
    "join": "join by Welcome",
    "commit": "commit with path, full tree",
    "process_commit": "process it, at the committer's neighbour",
    "process_commit_far": "process it, on the other side of the tree",
    "state": "group state in memory",
}
_SIZES = {
    "message_1k": "message of 1 KiB on the wire",
    "key_package": "key package",
    "welcome": "Welcome with ratchet tree",
    "commit": "commit with path, full tree",
    "stored_message_row": f"stored message of {MESSAGE_BYTES:,} bytes: its row",
    "stored_message_with_indexes": f"stored message of {MESSAGE_BYTES:,} bytes: with indexes and pages",
}
_SERVER = {
    "msgs_per_s": "messages a second, in chats of two, accepted and delivered",
    "hot_chat_msgs_per_s": "the same in one single chat",
    "http_msgs_per_s": "sent over HTTP, delivered on streams",
    "p50_ms_at_1000": "delivery, p50, ms",
    "p95_ms_at_1000": "delivery, p95, ms",
    "p99_ms_at_1000": "delivery, p99, ms",
    "accept_p50_ms_at_1000": "acceptance, p50, ms",
    "accept_p95_ms_at_1000": "acceptance, p95, ms",
    "accept_p99_ms_at_1000": "acceptance, p99, ms",
    "load_late_p99_ms": "the load itself was late by, p99, ms",
}
_CLIENT = {
    "msgs_per_s": "texts a second, as fast as they go",
    "p50_ms": "from app to app, p50, ms",
    "p95_ms": "from app to app, p95, ms",
    "p99_ms": "from app to app, p99, ms",
}

QUIET_LOAD = 0.5
"""Load average before a run above which its figures are not what the machine can do."""


def results(machine: Mapping[str, object], figures: Figures) -> dict[str, Any]:
    """Everything, as `latest.json` holds it. Areas that were not measured are empty."""
    return {
        "machine": {**machine, "postgres": figures.postgres},
        "crypto": figures.crypto,
        "sizes": figures.sizes,
        "server": figures.server,
        "client": figures.client,
        "cores": figures.cores,
        "spread": {name: asdict(found) for name, found in sorted(figures.spreads.items())},
    }


def as_json(content: Mapping[str, Any]) -> str:
    """`latest.json`."""
    return json.dumps(content, indent=2) + "\n"


def as_markdown(content: Mapping[str, Any]) -> str:
    """`report.md`: what `results` gave, in tables."""
    parts = ["# Benchmarks\n\nWritten by `make bench`; `latest.json` beside it holds the same for programs."]
    parts.append(_machine(content["machine"]))
    if content["crypto"]:
        parts.append(_crypto(content))
    if content["sizes"]:
        parts.append(_sizes(content["sizes"]))
    if content["server"]:
        parts.append(_server(content))
    if content["client"]:
        parts.append(_client(content["client"]))
    return "\n\n".join(parts) + "\n"


def _machine(machine: Mapping[str, Any]) -> str:
    plain = {name: value for name, value in machine.items() if not isinstance(value, dict)}
    groups = {name: value for name, value in machine.items() if isinstance(value, dict) and value}
    rows = [(name.replace("_", " "), str(value)) for name, value in plain.items()]
    rows += [(name, ", ".join(f"{key} {value}" for key, value in found.items())) for name, found in groups.items()]
    page = "## Machine\n\n" + _table(("", ""), rows)
    if machine["load_average"] > QUIET_LOAD:
        page += (
            f"\n\n**The machine was busy with other work** (load average {machine['load_average']} before the run): "
        )
        page += "rates are lower and times longer than it can do."
    return page


def _crypto(content: Mapping[str, Any]) -> str:
    note = (
        "One process. Medians, with the quartiles in brackets. Bytes in, bytes out; every commit and message is on a "
        "state that has not seen it before. `n` is the number of members."
    )
    names = _names(content["crypto"])
    rows = []
    for key, found in content["crypto"].items():
        what, members, unit = _parsed(key)
        cells = [_cell(found.get(name), content["spread"].get(f"crypto.{key}.{name}")) for name in names]
        rows.append((_OPERATIONS[what], members, unit, *cells))
    return f"## Cryptography\n\n{note}\n\n" + _table(("", "n", "unit", *_titles(names)), _in_order(rows, _OPERATIONS))


def _sizes(sizes: Mapping[str, Mapping[str, int]]) -> str:
    names = [name for name in _names(sizes) if name != "server"]
    rows = []
    for key, found in sizes.items():
        what, members, _ = _parsed(key)
        at_server = found.get("server")
        cells = [f"{found[name]:,}" if name in found else "" for name in names]
        rows.append((_SIZES[what], members, *cells, f"{at_server:,}" if at_server is not None else ""))
    return "## Sizes in bytes\n\n" + _table(("", "n", *_titles(names), "server"), _in_order(rows, _SIZES))


def _server(content: Mapping[str, Any]) -> str:
    server, cores = content["server"], content["cores"]
    note = (
        f"Messages of {MESSAGE_BYTES:,} bytes in chats of two; every message goes to both members' streams. Server, "
        "its PostgreSQL and the load are processes of one machine and share its cores. Accepted means on disk. Rates "
        "are medians over stretches of a second. Latencies are from the sender's socket, at "
        f"{server['offered_per_s']:,} messages a second offered."
    )
    rows = []
    for key, title in _SERVER.items():
        used = cores.get(key, cores.get("at_1000", {}) if key == "p50_ms_at_1000" else {})
        in_use = ", ".join(f"{who} {share}" for who, share in used.items())
        rows.append((title, _cell(server[key], content["spread"].get(f"server.{key}")), in_use))
    return f"## Server\n\n{note}\n\n" + _table(("", "", "cores in use"), rows)


def _client(client: Mapping[str, float]) -> str:
    note = (
        "Two people with the whole client library, each in a process of its own, and the server between them: encrypt, "
        "store, send, deliver, decrypt, store, hand over. Texts of 1 KiB; latencies at "
        f"{client['paced_per_s']} texts a second."
    )
    return f"## Client to client\n\n{note}\n\n" + _table(
        ("", ""), [(title, _number(client[key])) for key, title in _CLIENT.items()]
    )


def _parsed(key: str) -> tuple[str, str, str]:
    """`commit_1000_ms` is the operation `commit`, n = 1,000, in ms."""
    found = re.fullmatch(r"(?P<what>.+?)(?:_(?P<members>\d+))?_(?P<unit>us|ms|mib|bytes)", key)
    assert found is not None, key
    members = found["members"]
    unit = {"us": "µs", "mib": "MiB"}.get(found["unit"], found["unit"])
    return found["what"], f"{int(members):,}" if members else "", unit


def _names(area: Mapping[str, Mapping[str, float]]) -> list[str]:
    return list(dict.fromkeys(name for found in area.values() for name in found))


def _titles(names: Iterable[str]) -> list[str]:
    return [_COLUMNS.get(name, name) for name in names]


def _in_order(rows: Sequence[tuple[str, ...]], titles: Mapping[str, str]) -> list[tuple[str, ...]]:
    order = list(titles.values())
    return sorted(rows, key=lambda row: order.index(row[0]))  # stable: group sizes stay in their order


def _cell(value: float | None, spread: Mapping[str, float] | None) -> str:
    if value is None:
        return ""
    if spread is None or spread["lower"] == spread["upper"]:
        return _number(value)
    return f"{_number(value)} ({_number(spread['lower'])} to {_number(spread['upper'])})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.3g}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
