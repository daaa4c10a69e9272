"""How the figures of a run are written down: `latest.json` for programs, `report.md` for people.

A number is found by area and key, and where several implementations have it, by name: `crypto.encrypt_1k_us.ours`. The
chapter on cryptography stands in `crypto_report`, its figure in `chart`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from benchmarks import crypto_report
from benchmarks.crypto_report import OURS
from benchmarks.figures import Figures
from benchmarks.server_figures import MESSAGE_BYTES
from benchmarks.tables import cell, in_order, number, parsed, size, table

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
        "peers": figures.peers,
        "primitives": figures.primitives,
        "bounds": figures.bounds,
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
        parts.append(crypto_report.as_markdown(content))
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
    page = "## Machine\n\n" + table(("", ""), rows)
    if machine["load_average"] > QUIET_LOAD:
        page += (
            f"\n\n**The machine was busy with other work** (load average {machine['load_average']} before the run): "
        )
        page += "rates are lower and times longer than it can do."
    return page


def _sizes(sizes: Mapping[str, Mapping[str, int]]) -> str:
    names = [name for name in OURS if any(name in found for found in sizes.values())]
    rows = []
    for key in in_order(sizes, _SIZES):
        what, members, _ = parsed(key)
        found = sizes[key]
        cells = [f"{found[name]:,}" if name in found else "" for name in (*names, "server")]
        rows.append((_SIZES[what], size(members), *cells))
    return "## Sizes in bytes\n\n" + table(("", "n", *(OURS[name] for name in names), "server"), rows)


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
        rows.append((title, cell(server[key], content["spread"].get(f"server.{key}")), in_use))
    return f"## Server\n\n{note}\n\n" + table(("", "", "cores in use"), rows)


def _client(client: Mapping[str, float]) -> str:
    note = (
        "Two people with the whole client library, each in a process of its own, and the server between them: encrypt, "
        "store, send, deliver, decrypt, store, hand over. Texts of 1 KiB; latencies at "
        f"{client['paced_per_s']} texts a second."
    )
    return f"## Client to client\n\n{note}\n\n" + table(
        ("", ""), [(title, number(client[key])) for key, title in _CLIENT.items()]
    )
