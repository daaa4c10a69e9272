"""What documents claim can be looked up: tests exist, the server's columns are all listed, no module is left out."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from backend.tables import TABLES
from tests.contracts.tree import ROOT, texts

NAMED_TEST = re.compile(r"\b(tests/[\w/]+\.py)::(\w+)")

# The ids that docs/proof.md accounts for: attacks, then faults. Ids are never reused, and there is no A38, R05 or R08.
ATTACKS = [f"A{number:02}" for number in range(1, 43) if number != 38]
FAULTS = [f"R{number:02}" for number in (*range(1, 24), *range(30, 45)) if number not in (5, 8)]


@cache
def functions_in(path: str) -> frozenset[str]:
    """Names of the test functions of a file; none for a file that is not there."""
    if not (ROOT / path).is_file():
        return frozenset()
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(function.name for function in functions if function.name.startswith("test_"))


def missing_tests(text: str) -> list[str]:
    return [f"{path}::{name}" for path, name in NAMED_TEST.findall(text) if name not in functions_in(path)]


def rows_of(text: str, heading: str) -> list[list[str]]:
    """The cells of every table row below a heading, up to the next heading of the same or a higher level."""
    level = heading.split(" ", maxsplit=1)[0]
    _, found, rest = text.partition(f"\n{heading}\n")
    assert found, f"no heading {heading!r}"
    section = re.split(rf"^#{{1,{len(level)}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in section.splitlines() if line.startswith("|") and not line.startswith("|---")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def page(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


@pytest.mark.parametrize("path", [path for path, _ in texts() if path.suffix == ".md"], ids=str)
def test_every_test_that_a_document_names_exists(path: Path) -> None:
    assert missing_tests(page(path.as_posix())) == []


def test_a_test_that_does_not_exist_is_found() -> None:
    here = "tests/contracts/test_security_claims.py"
    named = f"{here}::test_a_test_that_does_not_exist_is_found, {here}::test_nothing, tests/no_such.py::test_it"
    assert missing_tests(named) == [f"{here}::test_nothing", "tests/no_such.py::test_it"]


def test_every_security_claim_names_a_test() -> None:
    rows = [row for row in rows_of(page("SECURITY.md"), "## Against whom") if row[0] != "It cannot"]
    assert len(rows) >= 20
    assert [row[0] for row in rows if len(row) != 2 or not NAMED_TEST.search(row[1])] == []


def test_the_servers_columns_are_all_listed() -> None:
    head, *rows = rows_of(page("SECURITY.md"), "## What the server knows")
    assert len(head) == 3
    listed = [(row[0].strip("`"), row[1].strip("`")) for row in rows]
    columns = [(table._meta.tablename, column._meta.name) for table in TABLES for column in table._meta.columns]
    assert listed == columns
    assert [row for row in rows if len(row) != 3 or not row[2]] == []


def proof_rows() -> dict[str, list[str]]:
    text = page("docs/proof.md")
    rows = rows_of(text, "## Attacks") + rows_of(text, "## Faults")
    numbered = [row for row in rows if re.fullmatch(r"[AR]\d\d", row[0])]
    assert len(numbered) == len({row[0] for row in numbered}), "an id stands twice"
    return {row[0]: row for row in numbered}


def test_every_id_of_the_proof_has_a_row() -> None:
    assert list(proof_rows()) == [*ATTACKS, *FAULTS]


def test_a_row_of_the_proof_names_a_test_or_says_open() -> None:
    rows = proof_rows()
    assert [key for key, row in rows.items() if bool(NAMED_TEST.search(row[2])) == row[2].startswith("open")] == []


def test_an_id_that_a_test_carries_is_not_called_open() -> None:
    """Below tests/crypto, `test_r1_` and its like are rules of the secret tree and the ratchets, not faults."""
    carried = {
        name[5:8].upper()
        for path, _ in texts()
        if path.parts[0] == "tests" and path.suffix == ".py"
        for name in functions_in(path.as_posix())
        if re.match(r"test_(a\d\d|r\d\d)_", name) and not (path.parts[1] == "crypto" and name.startswith("test_r"))
    }
    rows = proof_rows()
    assert sorted(key for key in carried if key not in rows or rows[key][2].startswith("open")) == []


def test_the_guide_to_crypto_holds_every_module_and_names_tests_that_exist() -> None:
    text = page("docs/crypto.md")
    modules = {
        path.relative_to(ROOT / "crypto").as_posix()
        for path in (ROOT / "crypto").rglob("*.py")
        if path.name != "__init__.py" and path.parent.name != "rules"
    }
    assert sorted(name for name in modules if f"`{name}`" not in text) == []
    patterns = re.findall(r"`(test_[\w*]+\.py)`", text)
    found = {pattern: {path.name for path in (ROOT / "tests" / "crypto").glob(pattern)} for pattern in patterns}
    assert sorted(pattern for pattern, names in found.items() if not names) == []
    unnamed = {path.name for path in (ROOT / "tests" / "crypto").glob("test_*.py")} - set().union(*found.values())
    assert unnamed == set()
