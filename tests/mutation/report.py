"""What a run has found: the table, the survivors, and docs/mutants.json."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.mutation.operators import Mutant
from tests.mutation.runner import NOT_COVERED, Verdict
from tests.mutation.session import KILLED, SURVIVED, TIMED_OUT

EQUIVALENT = "equivalent"
EQUIVALENTS = Path(__file__).parent / "equivalent.toml"
COLUMNS = (KILLED, TIMED_OUT, SURVIVED, NOT_COVERED, EQUIVALENT)


def equivalents(path: Path = EQUIVALENTS) -> dict[str, str]:
    """The mutants that no test can tell from the original, each with the reason."""
    entries = tomllib.loads(path.read_text("utf-8")).get("mutant", [])
    return {
        f"{entry['module']} {entry['function']} {entry['kind']}: {entry['change']}": entry["reason"]
        for entry in entries
    }


def open_verdicts(verdicts: Sequence[Verdict], listed: Mapping[str, str]) -> list[Verdict]:
    """What a run is to fail for: mutants that nothing has ended and that are not known as equivalent."""
    return [
        verdict
        for verdict in verdicts
        if verdict.outcome in (SURVIVED, NOT_COVERED) and verdict.mutant.key not in listed
    ]


def wrongly_listed(verdicts: Sequence[Verdict], listed: Mapping[str, str]) -> list[Verdict]:
    """Mutants that are listed as equivalent and that a test has told from the original."""
    return [verdict for verdict in verdicts if verdict.outcome == KILLED and verdict.mutant.key in listed]


def summary(
    mutants: Sequence[Mutant], verdicts: Sequence[Verdict], listed: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Counts and score by module. The score is the share that was ended, of those that can be."""
    outcomes = {verdict.mutant.key: verdict.outcome for verdict in verdicts}
    counts: dict[str, Counter[str]] = {}
    for mutant in mutants:
        outcome = EQUIVALENT if mutant.key in listed else outcomes[mutant.key]
        counts.setdefault(mutant.module, Counter())[outcome] += 1
    rows = {
        module: _row(counted) | {"of": fingerprint([each for each in mutants if each.module == module])}
        for module, counted in counts.items()
    }
    return rows | ({"all": _together(rows)} if len(rows) > 1 else {})


def fingerprint(mutants: Sequence[Mutant]) -> str:
    """Tells one list of mutants from another: whether a module still has those that were run."""
    return hashlib.sha256("\n".join(mutant.key for mutant in mutants).encode()).hexdigest()[:16]


def _together(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The row of all modules."""
    return _row(Counter({column: sum(row[column] for row in rows.values()) for column in COLUMNS}))


def recorded(before: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """What docs/mutants.json holds after a run over some modules: theirs anew, of the others what stood there."""
    ran = {module: row for module, row in new["modules"].items() if module != "all"}
    rows = {module: row for module, row in before["modules"].items() if module != "all"} | ran
    rows = dict(sorted(rows.items()))
    kept = {key: said for key, said in before["survivors"].items() if key.split()[0] not in ran}
    survivors = dict(sorted((kept | new["survivors"]).items()))
    return {"modules": rows | {"all": _together(rows)}, "survivors": survivors}


def _row(counted: Counter[str]) -> dict[str, Any]:
    possible = counted.total() - counted[EQUIVALENT]
    ended = counted[KILLED] + counted[TIMED_OUT]
    score = round(100 * ended / possible, 1) if possible else 100.0
    return {"mutants": counted.total()} | {column: counted[column] for column in COLUMNS} | {"score": score}


def write_table(console: Console, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """The counts, a line for each module."""
    table = Table()
    table.add_column("module")
    for name in ("mutants", *COLUMNS, "score"):
        table.add_column(name, justify="right")
    for module, row in rows.items():
        if module == "all":
            table.add_section()
        table.add_row(module, *[str(row[name]) for name in ("mutants", *COLUMNS)], f"{row['score']} %")
    console.print(table)


def write_survivors(console: Console, verdicts: Sequence[Verdict]) -> None:
    """Each with its place and its change, as `equivalent.toml` would name it."""
    for verdict in verdicts:
        mutant = verdict.mutant
        ran = f"{verdict.judges} tests run it" if verdict.judges else "no test runs it"
        console.print(f"{mutant.module}:{mutant.line} {mutant.function}, {mutant.kind}; {ran}", markup=False)
        console.print(f"  - {mutant.before}", style="red", markup=False, highlight=False, soft_wrap=True)
        console.print(f"  + {mutant.after}", style="green", markup=False, highlight=False, soft_wrap=True)


def result(
    rows: Mapping[str, Mapping[str, Any]], open_ones: Sequence[Verdict], listed: Mapping[str, str]
) -> dict[str, Any]:
    """The same for a file, without line numbers, which would change with every edit."""
    survivors = {verdict.mutant.key: f"{verdict.outcome}: wants a test" for verdict in open_ones}
    known = {key: f"equivalent: {reason}" for key, reason in listed.items()}
    return {"modules": rows, "survivors": survivors | known}


def as_json(content: Mapping[str, Any]) -> str:
    """As it is printed and recorded."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
