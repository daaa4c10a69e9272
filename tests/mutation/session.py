"""What runs inside a pytest process: which test runs which line, and one mutant after another.

Three programs, started by `runner` (see `main`):

`lines`   runs all tests once and writes which of them run which line, and how long each takes.
`serve`   collects all tests once, then forks for each mutant that it is given. The child gives the functions in memory
          their mutated code, runs the tests that it was told, and ends at the first that fails. What is imported and
          collected is shared with the parent, so a mutant costs a few milliseconds and its tests.
`once`    for a change that is in force only when a module is imported: a new process, which imports the module from the
          mutated source.

A test's time is counted in seconds of CPU, so that a busy machine is not taken for an endless loop.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import resource
import select
import signal
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest
from coverage import Coverage

HYPOTHESIS_EXAMPLES = 25
MEMORY_BYTES_MAX = 4 * 1024**3
"""What a child may fill: a mutant that loops may also hoard."""
START_SECONDS_MAX = 300
"""CPU that a process may take to import and collect, before each test has a limit of its own."""

KILLED, SURVIVED, TIMED_OUT, NOT_IN_FORCE = "killed", "survived", "timed out", "not in force"

Job = dict[str, Any]
"""`path` and `source` of a module, and `tests`: pairs of a test's id and its limit in seconds of CPU."""
Functions = dict[tuple[str, str, int], list[FunctionType]]


class Settings:
    """Property tests try the same few examples each time, and no test is ended by a clock on the wall."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """After `conftest.py`, which has a profile of its own, and before the tests are imported."""
        from hypothesis import settings  # noqa: PLC0415 - its pytest plugin must be the first to import it

        settings.register_profile(
            "mutants", settings(), max_examples=HYPOTHESIS_EXAMPLES, derandomize=True, database=None, deadline=None
        )
        settings.load_profile("mutants")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """A limit in a test's own marker goes before `--timeout=0`, and lines take longer under coverage."""
        for item in items:
            item.add_marker(pytest.mark.timeout(0), append=False)


class Failures:
    """Remembers the first test that failed."""

    first: str | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and self.first is None:
            self.first = report.nodeid


class Lines:
    """Asks coverage for the lines of each test, and of what is run before the first."""

    def __init__(self, coverage: Coverage) -> None:
        self.coverage = coverage
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.coverage.switch_context(item.nodeid)
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration


class Loop:
    """Takes pytest's place once the tests are collected: `run` decides what becomes of them."""

    def __init__(self, run: Callable[[pytest.Session], None]) -> None:
        self.run = run

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.run(session)
        return True


def lines(root: Path, arguments: Sequence[str], modules: Sequence[str]) -> dict[str, Any]:
    """Run all tests. Of each line of `modules`, the tests that run it, by their places in `tests`.

    If they do not pass, `failed` says which was the first; empty if none could be run.
    """
    paths = [str(root / module) for module in modules]
    coverage = Coverage(data_file=None, include=paths, config_file=False)
    watch, failures = Lines(coverage), Failures()
    coverage.start()
    status = pytest.main([*arguments], plugins=[Settings(), failures, watch])
    coverage.stop()
    if status != 0:
        return {"failed": failures.first or ""}
    tests = sorted(watch.seconds)
    places = {test: place for place, test in enumerate(tests)}
    data = coverage.get_data()
    found = {
        module: {
            line: sorted(places.get(context, -1) for context in contexts)  # -1: before the first test
            for line, contexts in data.contexts_by_lineno(path).items()
        }
        for module, path in zip(modules, paths, strict=True)
    }
    return {"tests": [(test, watch.seconds[test]) for test in tests], "lines": found}


def serve(arguments: Sequence[str], jobs: Iterator[str], answer: Callable[[Any], None]) -> None:
    """Answer each job, after a first word that says that all is collected."""

    def loop(session: pytest.Session) -> None:
        items = {item.nodeid: item for item in session.items}
        functions = _functions_in_memory()
        gc.freeze()
        answer("ready")
        for line in jobs:
            answer(_in_child(json.loads(line), items, functions, failures))

    failures = Failures()
    pytest.main([*arguments], plugins=[Settings(), failures, Loop(loop)])


def once(arguments: Sequence[str], job: Job) -> tuple[str, str | None]:
    """Do one job in this process. A module that cannot be imported any more is noticed, too."""
    outcome: list[str | None] = ["collection"]

    def loop(session: pytest.Session) -> None:
        outcome[0] = "collection" if session.testsfailed else _first_failure(job, session.items, failures)

    failures = Failures()
    signal.setitimer(signal.ITIMER_PROF, START_SECONDS_MAX)
    _import_from(Path(job["path"]), job["source"], job["name"])
    files = dict.fromkeys(test.partition("::")[0] for test, _ in job["tests"])
    pytest.main([*arguments, *files], plugins=[Settings(), failures, Loop(loop)])
    return (SURVIVED, None) if outcome[0] is None else (KILLED, outcome[0])


def seconds_max(job: Job) -> float:
    """When a job is given up by the clock on the wall: not before its tests may be through.

    Earlier, a mutant that survives many tests would pass for one that loops, and so for one that was noticed.
    """
    return START_SECONDS_MAX + sum(limit_s for _, limit_s in job["tests"])


def _first_failure(job: Job, collected: Sequence[pytest.Item], failures: Failures) -> str | None:
    """The first test that fails, and fails again: one that fails now and then tells nothing about a mutant."""
    items = {item.nodeid: item for item in collected}
    chosen = [(items[test], limit_s) for test, limit_s in job["tests"] if test in items]
    for place, (item, limit_s) in enumerate(chosen):
        # The default action of this timer's signal ends the process.
        following = chosen[place + 1][0] if place + 1 < len(chosen) else None
        for _ in range(2):
            failures.first = None
            signal.setitimer(signal.ITIMER_PROF, limit_s)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if failures.first is None:
                break
        else:
            return item.nodeid
    return None


def _in_child(
    job: Job, items: dict[str, pytest.Item], functions: Functions, failures: Failures
) -> tuple[str, str | None]:
    """Fork, change the functions, run the tests."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        answer: tuple[str, str | None] = (KILLED, "crash")
        try:
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
            if _swap(Path(job["path"]), job["source"], functions):
                failed = _first_failure(job, [items[test] for test, _ in job["tests"]], failures)
                answer = (SURVIVED, None) if failed is None else (KILLED, failed)
            else:
                answer = (NOT_IN_FORCE, None)
        finally:  # whatever happens, a child never returns to its parent's work
            os.write(writing, json.dumps(answer).encode())
            os._exit(0)
    os.close(writing)
    ready, _, _ = select.select([reading], [], [], seconds_max(job))
    if not ready:
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reading, "rb") as pipe:
        written = pipe.read()
    _, status = os.waitpid(child, 0)
    if written:
        outcome, failed = json.loads(written)
        return outcome, failed
    return (KILLED, "crash") if ready and os.waitstatus_to_exitcode(status) != -signal.SIGPROF else (TIMED_OUT, None)


def _functions_in_memory() -> Functions:
    """Every function that is alive, by file, qualified name and first line."""
    found: Functions = defaultdict(list)
    for value in gc.get_objects():
        if isinstance(value, FunctionType):
            code = value.__code__
            found[code.co_filename, code.co_qualname, code.co_firstlineno].append(value)
    return found


def _swap(path: Path, source: str, functions: Functions) -> bool:
    """Give the functions in memory the code of `source`; False where that cannot bring the change into force."""
    old, new = _codes(path, path.read_text("utf-8")), _codes(path, source)
    swapped = False
    for key, code in new.items():
        if code != old.get(key):
            for function in functions.get((str(path), *key), ()):
                if function.__code__.co_freevars != code.co_freevars:
                    return False
                function.__code__ = code
                swapped = True
    return swapped


def _codes(path: Path, source: str) -> dict[tuple[str, int], CodeType]:
    """All code of a module, nested ones too, by qualified name and first line."""
    found: dict[tuple[str, int], CodeType] = {}
    pending = [compile(source, str(path), "exec", dont_inherit=True)]
    while pending:
        code = pending.pop()
        found[code.co_qualname, code.co_firstlineno] = code
        pending += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return found


def _import_from(path: Path, source: str, name: str) -> None:
    """From now on, the module `name` is imported from this source."""

    class Loader(SourceFileLoader):
        def get_code(self, fullname: str) -> CodeType:
            return compile(source, str(path), "exec", dont_inherit=True)

    class Finder:
        @staticmethod
        def find_spec(fullname: str, where: Any, target: ModuleType | None = None) -> ModuleSpec | None:
            if fullname != name:
                return None
            return importlib.util.spec_from_file_location(fullname, path, loader=Loader(fullname, str(path)))

    sys.meta_path.insert(0, Finder)


def main(program: str, order: dict[str, Any]) -> None:
    """Do what `order` says, in a process of its own. Answers are lines of JSON on what was standard output."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # pytest's own talk

    def answer(value: Any) -> None:
        print(json.dumps(value), file=answers, flush=True)

    sys.dont_write_bytecode = True
    root = Path(order["root"])
    os.chdir(root)
    sys.path.insert(0, str(root))
    arguments = ["-q", "-s", "-p", "no:cacheprovider", "-p", "no:xdist", "--timeout=0", f"--rootdir={root}"]
    arguments += ["--assert=plain", "--tb=native"]  # nobody reads why a test failed, and telling takes longer than it
    match program:
        case "lines":
            answer(lines(root, [*arguments, *order["tests"]], order["modules"]))
        case "serve":
            serve([*arguments, *order["tests"]], iter(sys.stdin.readline, ""), answer)
        case "once":
            answer(once(arguments, order["job"]))
        case _:
            raise ValueError(program)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.stdin.readline()))
