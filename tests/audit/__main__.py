"""`make audit`: run what shows that `crypto` is right, count it, print the kit and write it to `docs/audit.json`.

Takes some minutes, and writes the kit only if nothing is wrong. The figures of `make mutants` and `make fuzz`, which
take longer, are those of their last runs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from sealdesk_cli.errors import while_read
from tests.audit import kit
from tests.contracts.tree import ROOT

PAGE = ROOT / "docs" / "audit.json"
TESTS = (
    "tests/crypto",
    "tests/interop",
    "tests/fuzzing",
    "tests/attacks/test_decoders.py",
    "tests/contracts/test_mls_rules.py",
)


def main() -> int:
    """Exit code 1 if a test failed, or something is neither tested nor covered."""
    options = _parser().parse_args()
    console = Console(stderr=options.json)
    with tempfile.TemporaryDirectory() as folder:
        recorded, coverage = _run(Path(folder), console)
    found = kit.kit(recorded, coverage)
    written = json.dumps(found, indent=1) + "\n"
    if options.json:
        sys.stdout.write(written)
    else:
        _show(console, found)
    said = kit.problems(found)
    for problem in said:
        console.print(f"[red]{problem}[/red]")
    if not said:
        PAGE.write_text(written, "utf-8")
        console.print(f"written: {PAGE.relative_to(ROOT)}")
    return 1 if said else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.audit", description=__doc__, allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help="print the kit as JSON in place of tables")
    return parser


def _run(folder: Path, console: Console) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run the tests under coverage in one process; what the recorder and coverage wrote."""
    record, data, report = folder / "record.json", folder / "coverage", folder / "coverage.json"
    environment = os.environ | {"SEALDESK_AUDIT": str(record), "COVERAGE_FILE": str(data)}
    coverage = [sys.executable, "-m", "coverage"]
    pytest = ["-m", "pytest", "-q", "-p", "tests.audit.recorder", "-o", "addopts=--import-mode=importlib -rs", *TESTS]
    console.print(f"Running {', '.join(TESTS)} with branch coverage of crypto: some minutes.")
    ended = subprocess.run(
        [*coverage, "run", "--parallel-mode", "--source=crypto", "--branch", *pytest],
        cwd=ROOT,
        env=environment,
        stdout=sys.stderr,
        check=False,
    )
    if ended.returncode not in {0, 1}:
        sys.exit(f"pytest ended with {ended.returncode}")
    subprocess.run([*coverage, "combine", "--quiet"], cwd=ROOT, env=environment, check=True)
    subprocess.run([*coverage, "json", "--quiet", "-o", str(report)], cwd=ROOT, env=environment, check=True)
    return json.loads(record.read_text("utf-8")), json.loads(report.read_text("utf-8"))


def _show(console: Console, found: kit.Kit) -> None:
    table = Table("Published vectors", "passed", "skipped", "failed", title="Vectors")
    for name, counts in found["vectors"].items():
        table.add_row(name, str(counts["passed"]), str(counts["skipped"]), str(counts["failed"]))
    for name, count in found["wycheproof"].items():
        table.add_row(f"wycheproof/{name}", str(count["decided"]), str(sum(count["left_out"].values())), "0")
    console.print(table)
    rules, coverage = found["rules"], found["coverage"]
    table = Table("", "", title="crypto")
    table.add_row("tests", ", ".join(f"{count:,} {outcome}" for outcome, count in found["tests"].items()))
    table.add_row("rules listed", str(rules["listed"]))
    table.add_row("hold in crypto", str(rules["checked"]))
    table.add_row("broken by a test", str(rules["tested"]))
    table.add_row("statements", f"{coverage['statements']:,}, of which {coverage['statements_missed']} did not run")
    table.add_row("branches", f"{coverage['branches']:,}, of which {coverage['branches_missed']} were not taken")
    table.add_row("lines left out with a reason", str(coverage["left_out_on_purpose"]))
    if found["mutation"]:
        table.add_row("mutants", json.dumps(found["mutation"]["modules"]["all"]))
    if found["fuzzing"]:
        table.add_row("fuzzed targets", str(len(found["fuzzing"]["targets"])))
    for name, version in found["interop"]["peers"].items():
        table.add_row(f"peer {name}", version)
    table.add_row("dependencies, pinned with hashes", str(len(found["dependencies"])))
    console.print(table)


if __name__ == "__main__":
    sys.exit(while_read(main))
