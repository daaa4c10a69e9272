"""Fuzz every way by which bytes come into `crypto`.

::

    python -m tests.fuzzing                                    ten minutes a target, two targets at a time
    python -m tests.fuzzing --seconds 30 --target welcome      less of it
    python -m tests.fuzzing --target welcome --replay FILE     what one input does, with its traceback
    python -m tests.fuzzing --keep                             afterwards, take what reaches new code into the corpus

A crash ends the run of its target. Its input is kept, and the command that replays it is shown.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sealdesk_cli.errors import while_read
from tests.fuzzing.campaign import ROOT, Result, Run, keep, start
from tests.fuzzing.targets import TARGETS

RECORD = ROOT / "docs" / "fuzzing.json"
PROGRESS_SECONDS = 30.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, show, record. Returns 1 if anything crashed."""
    parser = _parser()
    options = parser.parse_args(arguments)
    targets = options.target or list(TARGETS)
    if options.seconds < 1 or options.jobs < 1:
        parser.error("--seconds and --jobs are at least 1")
    if options.replay is not None:
        if not options.replay.is_file():
            parser.error(f"there is no file {options.replay}")
        return _replay(targets, options.replay)
    if importlib.util.find_spec("atheris") is None:
        parser.error("the fuzzer, atheris, is not installed: it exists for Linux on x86-64; --replay works without")
    results = sorted(_run_all(targets, options.seconds, options.jobs), key=lambda result: targets.index(result.target))
    record = _record(options.seconds, results)
    print(json.dumps(record, indent=2) if options.json else _table(results))
    if options.record:
        RECORD.write_text(json.dumps(record, indent=2) + "\n", "utf-8")
    if options.keep:
        for target in targets:
            print(f"{target}: {keep(target)} inputs beside the samples", file=sys.stderr)
    crashes = [(result.target, crash) for result in results for crash in result.crashes]
    for target, crash in crashes:
        print(f"crash: python -m tests.fuzzing --target {target} --replay {shlex.quote(crash)}", file=sys.stderr)
    return 1 if crashes else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing", description="Fuzz what comes into crypto.")
    parser.add_argument("--seconds", type=int, default=600, help="time for each target (default: 600)")
    parser.add_argument("--target", action="append", choices=list(TARGETS), help="only this one; may be repeated")
    parser.add_argument("--jobs", type=int, default=2, help="targets at a time (default: 2)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--record", action="store_true", help="write the result to docs/fuzzing.json")
    parser.add_argument("--keep", action="store_true", help="take what reaches new code into the corpus")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run one input, without fuzzing")
    return parser


def _replay(targets: Sequence[str], path: Path) -> int:
    """Needs no fuzzer: a crash is an exception, with its traceback."""
    for target in targets:
        TARGETS[target](path.read_bytes())
        print(f"{target}: no crash")
    return 0


def _run_all(targets: Sequence[str], seconds: int, jobs: int) -> Iterator[Result]:
    """Run the targets, some at a time, each as soon as there is room."""
    waiting = list(targets)
    running: dict[str, tuple[Run, float]] = {}
    told = time.monotonic()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                target = waiting.pop(0)
                running[target] = start(target, f"-max_total_time={seconds}"), time.monotonic()
            time.sleep(0.2)
            for target, (run, since) in list(running.items()):
                if run.process.poll() is not None:
                    del running[target]
                    result = run.result(time.monotonic() - since)
                    print(f"{target}: done, {_outcome(result)}", file=sys.stderr)
                    yield result
            if time.monotonic() - told >= PROGRESS_SECONDS:
                told = time.monotonic()
                _tell(running, len(waiting))
    finally:
        for run, _ in running.values():  # interrupted: leave nothing behind that goes on
            run.process.terminate()
            run.process.wait()


def _tell(running: dict[str, tuple[Run, float]], waiting: int) -> None:
    for target, (run, since) in running.items():
        status = run.status()
        if status is not None:
            spent = time.monotonic() - since
            print(f"{target}: {spent:.0f} s, {status.executions:,} executions, {status.edges} edges", file=sys.stderr)
    print(f"{waiting} targets wait", file=sys.stderr)


def _outcome(result: Result) -> str:
    return f"{len(result.crashes)} crashes" if result.crashes else "no crash"


def _record(seconds: int, results: Sequence[Result]) -> dict[str, Any]:
    return {
        "seconds_per_target": seconds,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "atheris": version("atheris"),
        "cryptography": version("cryptography"),
        "pynacl": version("pynacl"),
        "executions": sum(result.executions for result in results),
        "crashes": sum(len(result.crashes) for result in results),
        "targets": [asdict(result) for result in results],
    }


def _table(results: Sequence[Result]) -> str:
    lines = [f"{'target':<16} {'executions':>12} {'per second':>11} {'edges':>6} {'inputs':>7} {'crashes':>8}"]
    lines += [
        f"{result.target:<16} {result.executions:>12,} {result.executions_per_s:>11,} {result.edges:>6} "
        f"{result.inputs:>7} {len(result.crashes):>8}"
        for result in results
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the runs that it began end with it
    sys.exit(while_read(main))
