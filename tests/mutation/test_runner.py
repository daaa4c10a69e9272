"""The real runner on a small project: what is killed, what survives, what hangs, what nobody runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutation import report
from tests.mutation.operators import find_mutants
from tests.mutation.runner import NOT_COVERED, LineMap, Memory, Project, Verdict, judge, map_lines
from tests.mutation.session import KILLED, SURVIVED, TIMED_OUT

RULES = '''\
"""Toy rules."""

ITEMS_MAX = 3


def largest(first, second):
    return first if first > second else second


LARGEST = largest(5, 2)


def bounded(items):
    if len(items) > ITEMS_MAX:
        raise ValueError("too many")


def positive(number):
    if number < 0:
        raise ValueError("negative")


def halved(number):
    steps = 0
    while number > 0:
        number //= 2
        steps += 1
    return steps


def nobody_calls_this(number):
    if number > 1:
        raise ValueError("never seen")
'''

TESTS = """\
import pathlib

import pytest

import toy


@pytest.mark.parametrize("size", [3, 4])
def test_bounded(size):
    if size > 3:
        with pytest.raises(ValueError, match="too many"):
            toy.bounded(range(size))
    else:
        toy.bounded(range(size))


def test_positive():
    toy.positive(1)
    with pytest.raises(ValueError, match="negative"):
        toy.positive(-1)


def test_largest():
    assert toy.LARGEST == 5


def test_that_fails_every_other_time():
    count = pathlib.Path(__file__).with_name("count")
    runs = int(count.read_text()) + 1 if count.exists() else 1
    count.write_text(str(runs))
    toy.positive(1)
    assert runs % 2 == 1


def test_halved():
    assert toy.halved(6) == 3


"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "toy.py").write_text(RULES, "utf-8")
    (tmp_path / "test_toy.py").write_text(TESTS, "utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", "utf-8")
    return Project(tmp_path, ("toy.py",), ("test_toy.py",))


def run(project: Project, line_map: LineMap) -> dict[str, Verdict]:
    mutants = find_mutants("toy.py", project.source("toy.py"), rules=True)
    memory = Memory.of(project.root / "killers.json")
    seen: list[Verdict] = []
    verdicts = judge(project, mutants, line_map, memory, workers=1, progress=seen.append)
    assert [verdict.mutant for verdict in verdicts] == mutants
    assert sorted(verdict.mutant.key for verdict in seen) == sorted(mutant.key for mutant in mutants)
    return {verdict.mutant.key.removeprefix("toy.py "): verdict for verdict in verdicts}


def test_what_becomes_of_mutants(project: Project, tmp_path: Path) -> None:
    line_map = map_lines(project, tmp_path / "cache")
    found = run(project, line_map)
    outcomes = {key: verdict.outcome for key, verdict in found.items()}
    assert outcomes == {
        # A change of the module itself is in force from the import on.
        "<module> number: ITEMS_MAX = 3 -> ITEMS_MAX = (3) + 1": KILLED,
        "<module> number: ITEMS_MAX = 3 -> ITEMS_MAX = (3) - 1": KILLED,
        "bounded compare: len(items) > ITEMS_MAX -> len(items) >= ITEMS_MAX": KILLED,
        # Only the import runs this.
        "largest branch: first if first > second else second -> first": SURVIVED,
        "largest branch: first if first > second else second -> second": KILLED,
        "largest compare: first > second -> first >= second": SURVIVED,
        'bounded raise: raise ValueError("too many") -> pass': KILLED,
        # No test tries 0, and one that fails every other time is no witness.
        "positive compare: number < 0 -> number <= 0": SURVIVED,
        "positive number: number < 0 -> number < 1": SURVIVED,
        "positive number: number < 0 -> number < -1": KILLED,
        'positive raise: raise ValueError("negative") -> pass': KILLED,
        "halved compare: number > 0 -> number >= 0": TIMED_OUT,
        "halved number: number > 0 -> number > 1": KILLED,
        "halved number: number > 0 -> number > -1": TIMED_OUT,
        "nobody_calls_this compare: number > 1 -> number >= 1": NOT_COVERED,
        "nobody_calls_this number: number > 1 -> number > 2": NOT_COVERED,
        "nobody_calls_this number: number > 1 -> number > 0": NOT_COVERED,
        'nobody_calls_this raise: raise ValueError("never seen") -> pass': NOT_COVERED,
    }
    assert (
        found["bounded compare: len(items) > ITEMS_MAX -> len(items) >= ITEMS_MAX"].by == "test_toy.py::test_bounded[3]"
    )
    assert found["positive compare: number < 0 -> number <= 0"].judges == 2

    # A second run knows the lines and the tests that killed.
    assert map_lines(project, tmp_path / "cache") == line_map
    assert Memory.of(tmp_path / "killers.json").killers['toy.py bounded raise: raise ValueError("too many") -> pass']


def test_tests_that_fail_are_no_judges(project: Project, tmp_path: Path) -> None:
    (tmp_path / "test_toy.py").write_text("def test_nothing():\n    assert False\n", "utf-8")
    with pytest.raises(AssertionError, match=r"must pass .* -n 0 test_toy.py::test_nothing"):
        map_lines(project, tmp_path / "cache")


def test_no_clock_ends_a_test(project: Project, tmp_path: Path) -> None:
    slow = "import time\nimport pytest\n\n@pytest.mark.timeout(0.05)\ndef test_slow():\n    time.sleep(0.2)\n"
    (tmp_path / "test_toy.py").write_text(slow, "utf-8")
    assert [test for test, _ in map_lines(project, tmp_path / "cache").tests] == ["test_toy.py::test_slow"]


def test_the_list_of_equivalents_is_read_and_held_to(tmp_path: Path) -> None:
    source = "def rule(a):\n    return a < 5\n"
    killed, listed, wrong, survivor = (
        Verdict(mutant, outcome, None, 1)
        for mutant, outcome in zip(
            [*find_mutants("m.py", source, rules=True), *find_mutants("n.py", source, rules=True)],
            (KILLED, SURVIVED, KILLED, SURVIVED),
            strict=False,
        )
    )
    path = tmp_path / "equivalent.toml"
    path.write_text(
        "".join(
            f'[[mutant]]\nmodule = "{v.mutant.module}"\nfunction = "rule"\nkind = "{v.mutant.kind}"\n'
            f'change = "{v.mutant.before} -> {v.mutant.after}"\nreason = "Nobody can tell."\n'
            for v in (listed, wrong)
        ),
        "utf-8",
    )
    reasons = report.equivalents(path)
    verdicts = [killed, listed, wrong, survivor]
    assert report.open_verdicts(verdicts, reasons) == [survivor]
    assert report.wrongly_listed(verdicts, reasons) == [wrong]
    rows = report.summary([verdict.mutant for verdict in verdicts], verdicts, reasons)
    assert len({row["of"] for module, row in rows.items() if module != "all"}) == len(rows) - 1
    assert rows["all"] == {
        "mutants": 4, KILLED: 1, TIMED_OUT: 0, SURVIVED: 1, NOT_COVERED: 0, report.EQUIVALENT: 2, "score": 50.0
    }  # fmt: skip


def test_a_run_over_one_module_renews_its_rows_alone() -> None:
    row = {"mutants": 2, "killed": 1, "timed out": 0, "survived": 1, "not covered": 0, "equivalent": 0, "score": 50.0}
    better = row | {"killed": 2, "survived": 0, "score": 100.0}
    before = {
        "modules": {"a.py": row, "b.py": row},
        "survivors": {"a.py f: x": "wants a test", "b.py g: y": "wants one"},
    }
    after = report.recorded(before, {"modules": {"a.py": better}, "survivors": {}})
    assert after["modules"]["a.py"] == better
    assert after["modules"]["b.py"] == row
    assert (after["modules"]["all"]["killed"], after["modules"]["all"]["score"]) == (3, 75.0)
    assert after["survivors"] == {"b.py g: y": "wants one"}
