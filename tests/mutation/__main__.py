"""`python -m tests.mutation`: take each check away in turn, and see that a test turns red."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sealdesk_cli.errors import while_read
from tests.mutation import report
from tests.mutation.operators import KINDS
from tests.mutation.runner import Memory, Verdict, judge, map_lines
from tests.mutation.targets import PROJECT, ROOT, all_mutants

CACHE = ROOT / "build" / "mutants"
RESULTS = ROOT / "docs" / "mutants.json"
QUICK_SECONDS = 3

KINDS_TEXT = "\n".join(f"  {kind:12} {text}" for kind, text in KINDS.items())

HELP = f"""
Mutation testing of the rules. A mutant is the code with one check taken away or made a little weaker; it is killed
when a test fails, and it survives when all tests pass that run the changed line: then a test is missing, or the change
makes no difference to anybody.

The first run in a tree takes two minutes more, for it notes which test runs which line. Then a mutant takes a
fraction of a second, and a survivor as long as all tests that run its line.

What can be changed (`--kind`):
{KINDS_TEXT}

What to do with a survivor:
  1. write the test that tells it from the original, in the file that docs/crypto.md names;
  2. or, if nobody can tell them apart, say why in tests/mutation/equivalent.toml;
  3. or, if the check is made elsewhere as well, remove it.

Exit status: 0 if nothing survives but what equivalent.toml lists, else 1.
A run over all modules writes {RESULTS.relative_to(ROOT)}.

examples:
  python -m tests.mutation
  python -m tests.mutation --module crypto/mls/rules/leaf.py --module crypto/mls/treekem.py
  python -m tests.mutation --match l13_ --list
"""


NOTHING: dict[str, dict[str, object]] = {"modules": {}, "survivors": {}}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutation", description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--module", action="append", metavar="PATH", help="only this module; may be repeated")
    parser.add_argument(
        "--kind", action="append", choices=KINDS, metavar="KIND", help="only changes of this kind; may be repeated"
    )
    parser.add_argument("--match", default="", metavar="TEXT", help="only mutants whose line below holds this text")
    parser.add_argument("--list", action="store_true", help="say what would be changed, and run nothing")
    parser.add_argument("--json", action="store_true", help="write the result to standard output as JSON, not a table")
    parser.add_argument(
        "--equivalent", action="store_true", help="also run what equivalent.toml lists, to see that the list is right"
    )
    parser.add_argument(
        "--quick", action="store_true", help=f"try each mutant for {QUICK_SECONDS} seconds only: survivors may be false"
    )
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes that run tests (default: 2)")
    return parser.parse_args()


def main() -> int:
    chosen = parse()
    console = Console(stderr=chosen.json)
    modules = tuple(Path(module).as_posix() for module in chosen.module or PROJECT.modules)
    if unknown := set(modules).difference(PROJECT.modules):
        console.print(f"not among the modules that are tested: {', '.join(sorted(unknown))}")
        console.print(f"these are: {', '.join(PROJECT.modules)}")
        return 2
    mutants = [
        mutant
        for mutant in all_mutants(modules)
        if chosen.match in mutant.key and (not chosen.kind or mutant.kind in chosen.kind)
    ]
    if chosen.list:
        for mutant in mutants:
            print(f"{mutant.line:4} {mutant.key}")
        return 0

    if not mutants:
        console.print("nothing to change matches that: see --list")
        return 2
    listed = report.equivalents()
    listed = {mutant.key: listed[mutant.key] for mutant in mutants if mutant.key in listed}
    to_run = [mutant for mutant in mutants if chosen.equivalent or mutant.key not in listed]
    with console.status("finding out which test runs which line"):
        line_map = map_lines(PROJECT, CACHE)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("mutants", total=len(to_run))

        def advance(verdict: Verdict) -> None:
            progress.advance(task)
            report.write_survivors(progress.console, report.open_verdicts([verdict], listed))

        memory = Memory.of(CACHE / "killers.json")
        seconds_max = QUICK_SECONDS if chosen.quick else math.inf
        verdicts = judge(
            PROJECT, to_run, line_map, memory, workers=chosen.workers, progress=advance, seconds_max=seconds_max
        )

    rows = report.summary(mutants, verdicts, listed)
    survivors, wrong = report.open_verdicts(verdicts, listed), report.wrongly_listed(verdicts, listed)
    result = report.result(rows, survivors, listed)
    if chosen.json:
        print(report.as_json(result), end="")
    else:
        report.write_table(console, rows)
        report.write_survivors(console, survivors)
    for verdict in wrong:
        console.print(f"listed as equivalent, but {verdict.by} tells it apart: {verdict.mutant.key}", markup=False)
    if not (chosen.kind or chosen.match or chosen.quick):
        before = json.loads(RESULTS.read_text("utf-8")) if chosen.module and RESULTS.is_file() else NOTHING
        RESULTS.write_text(report.as_json(report.recorded(before, result)), "utf-8")
    return 1 if survivors or wrong else 0


if __name__ == "__main__":
    sys.exit(while_read(main))
