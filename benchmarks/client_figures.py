"""From one app to another: the whole client library on both ends, and the real server between them.

Encrypt, write to the encrypted store, send, order, commit, push, decrypt, check, write to the store, hand over. Writer,
reader and server are processes of their own. A reader who looks at each message costs its app time as well: the clock
runs until the text is in the app's hands.
"""

from __future__ import annotations

import msgspec

from benchmarks.crypto_figures import Say
from benchmarks.figures import Figures
from benchmarks.processes import Program, running_server
from benchmarks.talk import Reading, Role
from benchmarks.timing import percentile, rounded

PACED_PER_S = 20


def measure(figures: Figures, *, quick: bool, say: Say) -> None:
    """Fill in `client`."""
    rush, paced = (10, 3) if quick else (1_000, 200)
    say("client: two people register and open a chat", 0)
    with running_server() as server, Program("benchmarks.talk") as reader, Program("benchmarks.talk") as writer:
        first, second = server.invite(2)
        reads = Role(
            role="reader",
            server_url=server.url,
            invitation=first,
            store=str(server.folder / "reader.sealdesk"),
            rush=rush,
            paced=paced,
            paced_per_second=PACED_PER_S,
        )
        reader.tell(msgspec.json.encode(reads))
        writes = msgspec.structs.replace(
            reads,
            role="writer",
            invitation=second,
            store=str(server.folder / "writer.sealdesk"),
            address=msgspec.json.decode(reader.hear(), type=str),
        )
        writer.tell(msgspec.json.encode(writes))
        say("client: they talk", 0)
        reading = msgspec.json.decode(reader.hear(), type=Reading)
    figures.client = {
        "msgs_per_s": rounded(rush / reading.rush_s),
        "p50_ms": rounded(percentile(reading.paced_s, 0.5) * 1e3),
        "p95_ms": rounded(percentile(reading.paced_s, 0.95) * 1e3),
        "p99_ms": rounded(percentile(reading.paced_s, 0.99) * 1e3),
        "paced_per_s": PACED_PER_S,
    }
