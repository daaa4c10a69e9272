"""Which tests judge a mutant, and who runs them: two processes that fork, see `session`.

A mutant is judged by the tests that run its lines, and by no others. First those that ended a mutant of the same
function, then those named after the rule that is missing, then those in the module's own test file; one case of each
test before its other cases, and the fastest first. The first that fails ends it.
"""

from __future__ import annotations

import ast
import hashlib
import json
import math
import re
import shlex
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

from tests.mutation.operators import MODULE, Mutant
from tests.mutation.session import KILLED, NOT_IN_FORCE, SURVIVED, TIMED_OUT, seconds_max

HERE = Path(__file__).resolve().parent.parent.parent
NOT_COVERED = "not covered"


@dataclass(frozen=True, slots=True)
class Project:
    """What is tested: `modules` below `root`, by the tests in `tests`."""

    root: Path
    modules: tuple[str, ...]
    tests: tuple[str, ...]

    def source(self, module: str) -> str:
        return (self.root / module).read_text("utf-8")


@dataclass(frozen=True, slots=True)
class LineMap:
    """Which tests run a line, and how long each takes."""

    tests: tuple[tuple[str, float], ...]
    lines: Mapping[str, Mapping[int, frozenset[int]]]

    def of(self, module: str, lines: Iterable[int]) -> set[int]:
        """The places in `tests` of those that run any of these lines; -1 stands for what is run before all tests."""
        known = self.lines[module]
        return set().union(*[known.get(line, frozenset()) for line in lines])


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant. `by` is the test that ended it, `judges` how many ran its line."""

    mutant: Mutant
    outcome: str
    by: str | None
    judges: int


@dataclass
class Memory:
    """Which tests have ended mutants, of which functions; kept from run to run."""

    path: Path
    killers: dict[str, str] = field(default_factory=dict)
    """A mutant's key and the test that ended it."""
    by_function: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    @staticmethod
    def of(path: Path) -> Memory:
        memory = Memory(path)
        if path.exists():
            memory.killers = json.loads(path.read_text("utf-8"))
        return memory

    def note(self, verdict: Verdict) -> None:
        if verdict.outcome == KILLED and verdict.by is not None:
            self.killers[verdict.mutant.key] = verdict.by
            self.by_function[f"{verdict.mutant.module} {verdict.mutant.function}"][verdict.by] += 1

    def save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.killers, indent=0, sort_keys=True), "utf-8")


def map_lines(project: Project, cache: Path) -> LineMap:
    """Run all tests once under coverage, unless that was done for these very sources."""
    digest = hashlib.sha256(repr((project.modules, project.tests)).encode())
    for path in sorted(project.root.glob("**/*.py")):
        if ".venv" not in path.parts and path.parent != Path(__file__).parent:
            digest.update(path.as_posix().encode() + path.read_bytes())
    kept = cache / f"lines-{digest.hexdigest()[:16]}.json"
    if not kept.exists():
        order = {"root": str(project.root), "tests": project.tests, "modules": project.modules}
        with _session("lines", order) as process:
            assert process.stdout is not None
            found = process.stdout.readline()
        assert found, "the process that runs the tests has ended"
        failed = json.loads(found).get("failed")
        see = shlex.join(["python", "-m", "pytest", "-n", "0", *([failed] if failed else project.tests)])
        assert failed is None, f"the tests must pass before they are tested, but see: {see}"
        cache.mkdir(parents=True, exist_ok=True)
        for old in cache.glob("lines-*.json"):
            old.unlink()
        kept.write_text(found, "utf-8")
    read = json.loads(kept.read_text("utf-8"))
    return LineMap(
        tuple((test, seconds) for test, seconds in read["tests"]),
        {
            module: {int(line): frozenset(tests) for line, tests in lines.items()}
            for module, lines in read["lines"].items()
        },
    )


def judge(
    project: Project,
    mutants: Sequence[Mutant],
    line_map: LineMap,
    memory: Memory,
    *,
    workers: int,
    progress: Callable[[Verdict], None],
    seconds_max: float = math.inf,
) -> list[Verdict]:
    """Judge all mutants, in their order; by the first of its tests that together take `seconds_max`."""
    uses = _lines_that_use_constants(project)
    own = threading.local()
    servers: list[Server] = []

    def start() -> None:
        own.server = Server(project)
        servers.append(own.server)

    def one(mutant: Mutant) -> Verdict:
        judges = _judges(mutant, line_map, uses)
        # What is run at import only may matter to any test.
        places = range(len(line_map.tests)) if judges == {-1} else judges - {-1}
        tests = _in_order(mutant, [line_map.tests[place] for place in places], memory, seconds_max)
        verdict = _judge(project, mutant, tests, own.server, imported=-1 in judges)
        memory.note(verdict)
        progress(verdict)
        return verdict

    pool = ThreadPoolExecutor(workers, initializer=start)
    try:
        return list(pool.map(one, mutants))
    finally:
        pool.shutdown(cancel_futures=True)  # whoever interrupts a run need not wait for the rest of it
        for server in servers:
            server.close()
        memory.save()


class Server:
    """A process that has collected all tests and forks for each mutant."""

    def __init__(self, project: Project) -> None:
        self.process = _session("serve", {"root": str(project.root), "tests": project.tests})
        assert self._read() == "ready"

    def do(self, job: Mapping[str, Any]) -> tuple[str, str | None]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        outcome, by = self._read()
        return outcome, by

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self.process.kill()
        self.process.communicate()

    def _read(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the process that runs the tests has ended"
        return json.loads(line)


def _session(program: str, order: Mapping[str, Any]) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.mutation.session", program],
        cwd=HERE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(order) + "\n")
    process.stdin.flush()
    return process


def _judge(
    project: Project, mutant: Mutant, tests: Sequence[tuple[str, float]], server: Server, *, imported: bool
) -> Verdict:
    """Run the tests against a mutant. `imported`: its line is run before all tests, too."""
    if not tests:
        return Verdict(mutant, NOT_COVERED, None, 0)
    job = {
        "path": str(project.root / mutant.module),
        "source": mutant.apply(project.source(mutant.module)),
        "name": mutant.module.removesuffix(".py").replace("/", "."),
        "tests": [(test, 1 + 10 * seconds) for test, seconds in tests],
    }
    outcome, by = (NOT_IN_FORCE, None) if mutant.function == MODULE else server.do(job)
    if outcome == NOT_IN_FORCE or (outcome == SURVIVED and imported):
        outcome, by = _once(project, job)
    return Verdict(mutant, outcome, by, len(tests))


def _once(project: Project, job: dict[str, Any]) -> tuple[str, str | None]:
    """A process of its own for a change that is in force only from the import on."""
    with _session("once", {"root": str(project.root), "job": job}) as process:
        try:
            written, _ = process.communicate(timeout=seconds_max(job))
        except subprocess.TimeoutExpired:
            process.kill()
            return TIMED_OUT, None
    if not written:
        return TIMED_OUT, None
    outcome, by = json.loads(written)
    return outcome, by


def _judges(mutant: Mutant, line_map: LineMap, uses: Mapping[str, Mapping[str, set[int]]]) -> set[int]:
    if mutant.function != MODULE:
        return line_map.of(mutant.module, range(mutant.line, mutant.last_line + 1))
    found: set[int] = set()
    for module, lines in uses.get(mutant.target, {}).items():
        found |= line_map.of(module, lines)
    return found


def _in_order(
    mutant: Mutant, tests: Sequence[tuple[str, float]], memory: Memory, seconds_max: float
) -> list[tuple[str, float]]:
    """Those that are likely to fail first, then the fastest."""
    known = memory.killers.get(mutant.key)
    killers = memory.by_function[f"{mutant.module} {mutant.function}"].copy()
    named = f"::test_{mutant.rule}_" if mutant.rule else "::"
    own_file = re.compile(rf"/test_(rules_)?{Path(mutant.module).stem}")
    cases: Counter[str] = Counter()
    ranked = []
    for test, seconds in sorted(tests, key=lambda test: test[1]):
        function = test.partition("[")[0]
        likely = (test != known, -killers[test], named not in test, own_file.search(test) is None)
        ranked.append((*likely, cases[function], seconds, test))
        cases[function] += 1
    ordered = [(test, seconds) for *_, seconds, test in sorted(ranked)]
    used = accumulate(seconds for _, seconds in ordered)
    return [test for test, until in zip(ordered, used, strict=True) if until <= seconds_max or test[0] == known]


def _lines_that_use_constants(project: Project) -> dict[str, dict[str, set[int]]]:
    """Of each name that a module assigns, the lines of functions that use it, by name, module and line.

    By way of other names, too: what is assigned from a constant stands for it.
    """
    found: dict[str, dict[str, set[int]]] = {}
    aliases: dict[str, set[str]] = {}
    for module in project.modules:
        tree = ast.parse(project.source(module))
        for statement in tree.body:
            if isinstance(statement, ast.Assign):
                for used in _names(statement.value):
                    aliases.setdefault(used, set()).update(_names(statement.targets[0]))
            else:
                for node in ast.walk(statement):
                    if isinstance(node, ast.Name):
                        found.setdefault(node.id, {}).setdefault(module, set()).add(node.lineno)
    for name, others in aliases.items():
        for other in others:
            for module, lines in found.get(other, {}).items():
                found.setdefault(name, {}).setdefault(module, set()).update(lines)
    return found


def _names(node: ast.expr) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
