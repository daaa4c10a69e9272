"""`make bench` measures what it promises. Tested is that the figures are there, never how large they are."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from benchmarks import crypto_figures, server_figures
from benchmarks.report import as_json, as_markdown
from benchmarks.timing import Effort, percentile, repeated, spread, streak
from tests.contracts.tree import ROOT

RESULTS = ROOT / "benchmarks" / "results"
IMPLEMENTATIONS = {"ours", "ours_xwing"}
SERVER = {
    "msgs_per_s",
    "hot_chat_msgs_per_s",
    "http_msgs_per_s",
    "offered_per_s",
    "p50_ms_at_1000",
    "p95_ms_at_1000",
    "p99_ms_at_1000",
    "accept_p50_ms_at_1000",
    "accept_p95_ms_at_1000",
    "accept_p99_ms_at_1000",
    "load_late_p99_ms",
}
CLIENT = {"msgs_per_s", "p50_ms", "p95_ms", "p99_ms", "paced_per_s"}


def crypto_keys(members: tuple[int, ...]) -> set[str]:
    of_size = ("create_{}_ms", "join_{}_ms", "commit_{}_ms", "process_commit_{}_ms", "process_commit_far_{}_ms")
    keys = {form.format(n) for form in (*of_size, "state_{}_mib") for n in members}
    return keys | {"encrypt_1k_us", "decrypt_1k_us", "key_package_us"}


def size_keys(members: tuple[int, ...]) -> set[str]:
    keys = {form.format(n) for form in ("welcome_{}_bytes", "commit_{}_bytes") for n in members}
    return keys | {"message_1k_bytes", "key_package_bytes"}


def written() -> Mapping[str, bytes]:
    return {path.name: path.read_bytes() for path in RESULTS.glob("*")} if RESULTS.exists() else {}


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from numbers(item)
    else:
        yield value


@pytest.fixture(scope="module")
def content() -> Any:
    """A run that only shows that everything runs: real groups, a real server, two real clients."""
    before = written()
    command = [sys.executable, "-m", "benchmarks", "--quick", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert written() == before, "a quick run has no figures worth keeping"
    return json.loads(done.stdout)


pytestmark = pytest.mark.timeout(300)


@pytest.mark.slow
def test_every_figure_is_there_and_positive(content: Any) -> None:
    members = crypto_figures.MEMBERS_QUICK
    assert set(content["crypto"]) == crypto_keys(members)
    assert all(set(found) == IMPLEMENTATIONS for found in content["crypto"].values())
    stored = {"stored_message_row_bytes", "stored_message_with_indexes_bytes"}
    assert set(content["sizes"]) == size_keys(members) | stored
    assert all(set(content["sizes"][key]) == IMPLEMENTATIONS for key in size_keys(members))
    assert set(content["server"]) == SERVER
    assert set(content["client"]) == CLIENT
    areas = [content[area] for area in ("crypto", "sizes", "client")]
    assert min(number for area in areas for number in numbers(area)) > 0
    assert min(number for key, number in content["server"].items() if key != "load_late_p99_ms") > 0


@pytest.mark.slow
def test_medians_come_with_their_spread(content: Any) -> None:
    medians = {f"crypto.{key}.{name}" for key in crypto_keys((2, 8)) if "mib" not in key for name in IMPLEMENTATIONS}
    medians |= {f"server.{key}" for key in ("msgs_per_s", "hot_chat_msgs_per_s", "http_msgs_per_s")}
    assert set(content["spread"]) == medians
    assert all(found["lower"] <= found["median"] <= found["upper"] for found in content["spread"].values())


@pytest.mark.slow
def test_the_machine_is_described(content: Any) -> None:
    machine = content["machine"]
    assert set(machine) >= {"date", "cpu", "cores", "memory_mib", "kernel", "python", "libraries", "postgres"}
    assert all(machine.values())
    assert set(machine["libraries"]) >= {"cryptography", "pynacl", "litestar", "asyncpg", "websockets"}
    # A server that does not wait for its disk is faster and loses messages.
    assert (machine["postgres"]["fsync"], machine["postgres"]["synchronous_commit"]) == ("on", "on")


@pytest.mark.slow
def test_the_report_shows_what_the_json_holds(content: Any) -> None:
    page = as_markdown(content)
    shown = {line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| ")}
    assert {"cpu", "postgres", "encrypt 1 KiB", "join by Welcome", "delivery, p99, ms"} <= shown
    assert f"| key package |  | {content['sizes']['key_package_bytes']['ours']} |" in page
    assert page.count("| commit with path, full tree |") == 4  # times and sizes, in two groups
    assert json.loads(as_json(content)) == content


def test_a_whole_run_measures_what_was_asked_for() -> None:
    whole = crypto_figures.plan(quick=False)
    assert tuple(whole.members) == (2, 100, 1_000)
    assert [tuple(sizes) for _, _, sizes in whole.parts()] == [(2, 100, 1_000)] * 2
    (offered,) = [scenario for scenario in server_figures.scenarios(quick=False) if scenario.kind == "offer"]
    assert (offered.name, offered.per_second) == ("at_1000", 1_000)


def test_the_clock() -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.0
    assert percentile([1.0, 2.0], 0.99) == 2.0
    assert (spread([3.0]).lower, spread([3.0]).upper) == (3.0, 3.0)
    found = spread([1.0, 2.0, 3.0, 4.0, 100.0])
    assert (found.lower, found.median, found.upper, found.samples) == (2.0, 3.0, 4.0, 5)
    runs: list[int] = []
    assert len(repeated(lambda: runs.append(1), Effort(0, 3))) == 3
    assert len(runs) == 4
    seconds, results = streak(lambda: len(runs), 5)
    assert (len(seconds), results) == (5, [4] * 5)
    assert min(seconds) >= 0
