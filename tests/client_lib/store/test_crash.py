"""kill -9 in the middle of writing: all that `apply` returned for is there, and nothing is half there."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from client_lib.store import KeyFile, SQLiteStore, default_key_file
from tests.client_lib.store.test_store import CHAT

REPOSITORY = Path(__file__).parents[3]

_WRITER = """
import sys
from pathlib import Path
from client_lib.store import AddMessage, Delete, Put, SQLiteStore, default_key_file
from tests.client_lib.store.test_store import received

path = Path(sys.argv[1])
with SQLiteStore.open(path, default_key_file(path)) as store:
    number = len(store.messages(b"c" * 32))
    print("ready", flush=True)
    while True:
        number += 1
        store.apply([
            Put("ratchet", b"generation", number.to_bytes(8)),
            Put("keys", number.to_bytes(8), bytes(3000)),
            Delete("keys", (number - 1).to_bytes(8)),
            AddMessage(received(number, b"x" * 2000)),
        ])
        print(number, flush=True)
        if number % 7 == 0:
            store.erase_deleted()
"""


@pytest.mark.parametrize("seed", range(8))
def test_r30_kill_9_loses_nothing_acknowledged_and_leaves_nothing_half(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "a.sealdesk"
    SQLiteStore.create(path, default_key_file(path)).close()
    delays = random.Random(seed)
    acknowledged = 0
    for _ in range(3):
        acknowledged = max(acknowledged, _write_until_killed(path, delays.uniform(0, 0.15)))
        _check_whole(path, acknowledged)
    assert acknowledged > 0


def _write_until_killed(path: Path, delay_s: float) -> int:
    """Let a child write, kill it, and return the last transaction that it said was done."""
    child = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(delay_s)
        child.send_signal(signal.SIGKILL)
        said = child.stdout.read().split("\n")
    # The last piece may be cut off; what stands before a newline was said in full.
    return max((int(number) for number in said[:-1]), default=0)


def _check_whole(path: Path, acknowledged: int) -> None:
    with SQLiteStore.open(path, KeyFile(path.with_name(path.name + ".key"))) as store:
        positions = [message.position for message in store.messages(CHAT)]
        count = len(positions)
        assert count >= acknowledged
        assert positions == list(range(1, count + 1))
        if count:
            assert store.load("ratchet") == {b"generation": count.to_bytes(8)}
            assert store.load("keys") == {count.to_bytes(8): bytes(3000)}
