"""What the kit counts: vectors, rules, mutants, coverage, peers, dependencies. Pure: from files and test outcomes."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.contracts import mls_rules
from tests.contracts.tree import ROOT
from tests.crypto.test_wycheproof import wycheproof_counts
from tests.interop import peers
from tests.mutation.report import fingerprint
from tests.mutation.targets import PROJECT, all_mutants

Kit = dict[str, Any]

MUTANTS = ROOT / "docs" / "mutants.json"
FUZZING = ROOT / "docs" / "fuzzing.json"
LONG_RUNS = {MUTANTS: "make mutants, half an hour", FUZZING: 'make fuzz ARGS="--record", two hours'}
VECTOR_FILES = 16
"""How many files of published MLS vectors there are; Wycheproof's are counted by their own test."""


def kit(recorded: Mapping[str, Any], coverage: Mapping[str, Any]) -> Kit:
    """Everything, from what the recorder and `coverage json` wrote."""
    outcomes = recorded["outcomes"]
    return {
        "tests": dict(Counter(outcomes.values())),
        "vectors": vectors(recorded["cases"], outcomes),
        "wycheproof": wycheproof(),
        "rules": rules(outcomes),
        "coverage": branch_coverage(coverage),
        "mutation": _written(MUTANTS),
        "fuzzing": _written(FUZZING),
        "interop": {"peers": peers.versions(), "tests": _outcomes_below(outcomes, "tests/interop/")},
        "skipped": dict(Counter(recorded["skipped"].values())),
        "dependencies": dependencies(),
    }


def vectors(cases: Mapping[str, Mapping[str, list[str]]], outcomes: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """For each file, how many cases passed every test that uses them, and how many were skipped or failed."""
    found = {}
    for name, by_case in sorted(cases.items()):
        verdicts: Counter[str] = Counter()
        for used_by in by_case.values():
            came_to = {outcomes.get(test, "not run") for test in used_by}
            verdicts[
                "passed" if came_to == {"passed"} else "skipped" if came_to <= {"passed", "skipped"} else "failed"
            ] += 1
        found[name] = {verdict: verdicts[verdict] for verdict in ("passed", "skipped", "failed")}
    return found


def wycheproof() -> dict[str, dict[str, Any]]:
    """For each file of Wycheproof, how many cases are decided, and how many left out for which reason."""
    return {name: {"decided": count.decided, "left_out": count.left_out} for name, count in wycheproof_counts().items()}


def rules(outcomes: Mapping[str, str]) -> dict[str, Any]:
    """How many rules there are, hold in `crypto`, and were broken by a test that passed; and which were not."""
    passed = {test.split("[")[0] for test, outcome in outcomes.items() if outcome == "passed"}
    rows = mls_rules.rows()
    checked = [row for row in rows.values() if row.checked]
    tested = [row.id for row in checked if any(f"{test.path}::{test.name}" in passed for test in row.tests)]
    return {
        "listed": len(rows),
        "checked": len(checked),
        "tested": len(tested),
        "checked_without_a_test": sorted({row.id for row in checked} - set(tested)),
        "of_the_application_or_not_checked": {row.id: row.how for row in rows.values() if not row.checked},
    }


def branch_coverage(report: Mapping[str, Any]) -> dict[str, Any]:
    """Statements and branches of `crypto`, and what is left out with `pragma: no cover`."""
    totals = report["totals"]
    return {
        "statements": totals["num_statements"],
        "statements_missed": totals["missing_lines"],
        "branches": totals["num_branches"],
        "branches_missed": totals["missing_branches"],
        "left_out_on_purpose": totals["excluded_lines"],
        "incomplete": {
            name: {"lines": found["missing_lines"], "branches": found["missing_branches"]}
            for name, found in report["files"].items()
            if found["missing_lines"] or found["missing_branches"]
        },
    }


def dependencies() -> dict[str, dict[str, Any]]:
    """Everything that is installed at run time: version and the hashes that are accepted."""
    found = {}
    text = (ROOT / "requirements.txt").read_text("utf-8")
    for entry in re.split(r"\n(?=[a-z0-9])", text.strip()):
        name, version = re.match(r"([a-z0-9-]+)==([^ ;\\]+)", entry).groups()  # type: ignore[union-attr]  # a test holds the lock's form
        found[name] = {"version": version, "sha256": re.findall(r"--hash=sha256:([0-9a-f]{64})", entry)}
    return found


def problems(found: Kit) -> list[str]:
    """What keeps the kit from being clean, in words."""
    coverage = found["coverage"]
    said = [f"{count} tests failed" for outcome, count in found["tests"].items() if outcome == "failed"]
    said += [
        f"vectors not all passed: {name}"
        for name, counts in found["vectors"].items()
        if counts["failed"] or counts["skipped"]
    ]
    said += [] if len(found["vectors"]) >= VECTOR_FILES else ["published vectors are missing: set SEALDESK_VECTORS"]
    said += [f"peer {name} is missing" for name in sorted(peers.expected_here() - set(found["interop"]["peers"]))]
    said += [f"rule {rule} has no test that passed" for rule in found["rules"]["checked_without_a_test"]]
    if coverage["statements_missed"] or coverage["branches_missed"]:
        said.append(f"not all of crypto ran: {', '.join(coverage['incomplete'])}")
    said += [f"{path.name} is missing: {how}" for path, how in LONG_RUNS.items() if not path.is_file()]
    ran = found["mutation"]["modules"] if found["mutation"] else {}
    said += [
        f"the mutants of {module} have not been run since it changed: make mutants"
        for module in PROJECT.modules
        if ran.get(module, {}).get("of") != fingerprint(all_mutants((module,)))
    ]
    return said


def _outcomes_below(outcomes: Mapping[str, str], folder: str) -> dict[str, int]:
    return dict(Counter(outcome for test, outcome in outcomes.items() if test.startswith(folder)))


def _written(path: Path) -> Any:
    """What a long run wrote down the last time: `make mutants`, `make fuzz`."""
    return json.loads(path.read_text("utf-8")) if path.is_file() else None
