"""`make bench` measures what it promises. Tested is that the figures are there, never how large they are."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from benchmarks import chart, crypto_figures, group_figures, groups, primitives, server_figures
from benchmarks.crypto_report import TARGETS
from benchmarks.figures import Figures
from benchmarks.group_figures import Amount, Contest
from benchmarks.libraries import installed_peers
from benchmarks.libraries.interface import ANY_SIZE, IN_THE_CLEAR, Library
from benchmarks.libraries.rine_mls import REMOVED_LEAF
from benchmarks.report import as_json, as_markdown
from benchmarks.timing import Effort, by_turns, interleaved, percentile, spread, streak
from crypto import suites
from crypto.mls import tree_math
from crypto.mls.tree_nodes import LeafIndex
from tests.contracts.tree import ROOT
from tests.crypto.tree_samples import with_removed

RESULTS = ROOT / "benchmarks" / "results"
IMPLEMENTATIONS = {"ours", "ours_xwing"}
PEERS = {IN_THE_CLEAR, *(library.name for library in installed_peers())}
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
    of_size = ("create_{}_ms", "join_{}_ms", "commit_{}_ms", "process_commit_{}_ms")
    keys = {form.format(n) for form in (*of_size, "state_{}_mib") for n in members}
    keys |= {f"process_commit_far_{n}_ms" for n in members if n > 2}
    return keys | {"encrypt_1k_us", "decrypt_1k_us", "key_package_us"}


def promised(library: Library, members: tuple[int, ...]) -> set[str]:
    """The keys that a library says it can be measured for."""
    keys = {"key_package": {"key_package_us"}, "messages": {"encrypt_1k_us", "decrypt_1k_us"}}
    found = {key for row, of_row in keys.items() if library.measures(row, 2) for key in of_row}
    for n in members:
        found |= {f"create_{n}_ms"} if library.measures("create", n) else set()
        found |= {f"join_{n}_ms"} if library.measures("join", n) else set()
        if library.measures("commit", n):
            found |= {f"commit_{n}_ms", f"process_commit_{n}_ms"}
            found |= {f"process_commit_far_{n}_ms"} if n > 2 else set()
    return found


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
    assert all(IMPLEMENTATIONS <= set(found) <= IMPLEMENTATIONS | PEERS for found in content["crypto"].values())
    stored = {"stored_message_row_bytes", "stored_message_with_indexes_bytes"}
    assert set(content["sizes"]) == size_keys(members) | stored
    assert all(set(content["sizes"][key]) == IMPLEMENTATIONS for key in size_keys(members))
    assert set(content["server"]) == SERVER
    assert set(content["client"]) == CLIENT
    areas = [content[area] for area in ("crypto", "sizes", "client")]
    assert min(number for area in areas for number in numbers(area)) > 0
    assert min(number for key, number in content["server"].items() if key != "load_late_p99_ms") > 0


@pytest.mark.slow
def test_every_peer_is_measured_where_it_takes_part(content: Any) -> None:
    assert set(content["peers"]) == PEERS
    for library in installed_peers():
        failed = [note for note in content["peers"][library.name]["notes"] if "failed" in note]
        assert failed == [], library.name
        measured = {key for key, found in content["crypto"].items() if library.name in found and "mib" not in key}
        assert measured == promised(library, crypto_figures.MEMBERS_QUICK), library.name


@pytest.mark.slow
def test_medians_come_with_their_spread(content: Any) -> None:
    medians = {f"crypto.{key}.{name}" for key, found in content["crypto"].items() for name in found if "mib" not in key}
    medians |= {f"server.{key}" for key in ("msgs_per_s", "hot_chat_msgs_per_s", "http_msgs_per_s")}
    assert set(content["spread"]) == medians
    assert all(found["lower"] <= found["median"] <= found["upper"] for found in content["spread"].values())


@pytest.mark.slow
def test_every_time_of_ours_stands_beside_what_its_primitives_cost(content: Any) -> None:
    assert set(content["primitives"]) == IMPLEMENTATIONS
    assert all(set(costs) == set(primitives.SYMBOLS) for costs in content["primitives"].values())
    times = {key for key in content["crypto"] if "mib" not in key}
    assert set(content["bounds"]) == times
    assert all(set(found) == IMPLEMENTATIONS for found in content["bounds"].values())
    assert min(numbers(content["bounds"])) > 0


@pytest.mark.slow
def test_the_figure_draws_every_library_and_is_the_same_for_the_same_figures(content: Any) -> None:
    assert set(chart.STYLES) >= set(content["peers"]) | IMPLEMENTATIONS
    drawn = chart.as_svg(content)
    assert drawn == chart.as_svg(content)
    assert b"<dc:date>" not in drawn
    assert drawn != chart.as_svg({**content, "bounds": {}})


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
    # Two group sizes each: our times, beside others, against the primitives, and the sizes in bytes.
    assert page.count("| commit with path, full tree |") == 2 * 4
    assert "](crypto.svg)" in page
    assert all(f"- {peer['title']} {peer['version']}: " in page for peer in content["peers"].values())
    assert json.loads(as_json(content)) == content


def test_a_whole_run_measures_what_was_asked_for() -> None:
    whole = crypto_figures.plan(quick=False)
    assert tuple(whole.amounts) == (2, 10, 100, 1_000, 10_000)
    assert [libraries[0].name for libraries in whole.parts()] == ["ours", "ours_xwing"]
    assert all(set(targets) <= crypto_keys(tuple(whole.amounts)) for targets in TARGETS.values())
    (offered,) = [scenario for scenario in server_figures.scenarios(quick=False) if scenario.kind == "offer"]
    assert (offered.name, offered.per_second) == ("at_1000", 1_000)


def test_a_commit_in_a_full_tree_seals_once_per_level_with_and_without_the_removal() -> None:
    """So an empty commit is comparable with the smallest one of those peers that have no empty commits."""
    suite, now = suites.suite_of(1), groups.clock()
    tree = groups.full_tree(suite, groups.generate_candidates(suite, 10, now), now, lambda _share: None)
    newcomers = groups.generate_candidates(suite, 3, now)
    welcome = tree.newcomers([newcomer.package for newcomer in newcomers], now)
    entered = [groups.enter(welcome, newcomer, now) for newcomer in newcomers]
    assert [group.own_leaf for group in entered] == [0, 1, 9]
    public, own_node = entered[0].state.tree, tree_math.node_of(LeafIndex(0))
    for seen in (public, with_removed(public, LeafIndex(REMOVED_LEAF))):
        path = seen.filtered_direct_path(LeafIndex(0))
        assert [len(seen.resolution(tree_math.copath_child(node, own_node))) for node in path] == [1, 1, 1, 1]


def test_a_bound_is_its_formula() -> None:
    costs = dict.fromkeys(primitives.SYMBOLS, 1000.0) | {"V": 2_000.0}
    found = primitives.bounds(costs, (2, 9))
    assert found["encrypt_1k_us"] == 9_000.0
    assert found["create_9_ms"] == 8 * (2 * 2 + 1) + 4 * (1 + 2) + 3 + 3 * 9
    assert found["commit_2_ms"] == 4 + 2 + 3 + 25
    assert "process_commit_far_2_ms" not in found


def test_a_peer_that_is_not_installed_is_left_out() -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('mls_rs_uniffi', 'rine_mls', 'gbp_stack', 'rfc9420')))\n"
        "from benchmarks.libraries import installed_peers; print(installed_peers())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    assert done.stdout == b"[]\n"


def test_what_a_peer_fails_at_leaves_a_remark_and_goes_on() -> None:
    class Refusing:
        def create(self, key_packages: Sequence[bytes]) -> Any:
            raise OSError("not today")

    peer = Library(
        name="peer",
        title="Peer",
        version="1",
        suite=suites.suite_of(1),
        generate_client=Refusing,
        sizes={"messages": ANY_SIZE, "create": ANY_SIZE},
        errors=(OSError,),
    )
    figures = Figures()
    ours = crypto_figures.plan(quick=True).parts()[0][0]
    contest = Contest(figures, [ours, peer], lambda _what, _share: None)
    group_figures.measure(contest, 2, Amount(Effort(0, 1), joins=1, commits=1))
    assert {name for found in figures.crypto.values() for name in found} == {"ours"}
    assert contest.remarks == {"ours": [], "peer": ["create at n = 2 failed: OSError('not today')"]}


def test_a_peer_is_not_waited_for_at_the_next_size() -> None:
    ours, *_ = crypto_figures.plan(quick=True).parts()[0]
    peer = replace(ours, name="peer")
    contest = Contest(Figures(), [ours, peer], lambda _what, _share: None)
    for library in (ours, peer):
        contest.took(library, "create", 100, 2.0)
    assert contest.taking_part("create", 200) == [ours, peer]
    assert contest.taking_part("create", 1_000) == [ours]
    assert contest.remarks["peer"] == ["create at n = 1,000 is left out: 2.0 s at n = 100 lets expect minutes"]


def test_the_clock() -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.0
    assert percentile([1.0, 2.0], 0.99) == 2.0
    assert (spread([3.0]).lower, spread([3.0]).upper) == (3.0, 3.0)
    found = spread([1.0, 2.0, 3.0, 4.0, 100.0])
    assert (found.lower, found.median, found.upper, found.samples) == (2.0, 3.0, 4.0, 5)
    runs: list[int] = []
    assert {name: len(found) for name, found in interleaved({"a": lambda: runs.append(1)}, Effort(0, 3)).items()} == {
        "a": 3
    }
    order: list[str] = []

    def work(name: str) -> Iterator[float]:
        for _ in range(2):
            order.append(name)
            yield 1.0

    by_turns({"a": work("a"), "b": work("b")})
    assert order == ["a", "b", "a", "b"]
    assert len(runs) == 3
    seconds, results = streak(lambda: len(runs), 5)
    assert (len(seconds), results) == (5, [3] * 5)
    assert min(seconds) >= 0
