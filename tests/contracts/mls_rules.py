"""`docs/mls-rules.md`, from the code: each rule with its section, its function and the tests that break it.

Rules are functions of `crypto.mls.rules` that are named after their id, and the rows of `crypto.mls.rules.elsewhere`.
Tests are found by their names (`test_l13_…`) or by the mark `breaks("L13", …)`, all without running any.
`python -m tests.contracts.mls_rules` writes the page.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

from crypto.mls import rules
from crypto.mls.rules.elsewhere import ELSEWHERE, How
from sealdesk_cli.errors import while_read
from tests.contracts.tree import ROOT

PAGE = ROOT / "docs" / "mls-rules.md"

SECTIONS = {
    "C": ("Codec", 11),
    "F": ("Framing and authentication", 22),
    "L": ("Leaf nodes, at each place where one appears", 21),
    "K": ("Key packages", 11),
    "T": ("The ratchet tree", 13),
    "P": ("Single proposals", 11),
    "Q": ("The list of a member's commit", 13),
    "U": ("Paths, and the way into the next epoch", 17),
    "X": ("External commits", 10),
    "W": ("Welcome and GroupInfo", 15),
    "S": ("Key schedule and pre-shared keys", 7),
    "R": ("Message keys", 10),
    "D": ("The life of a group", 8),
}
"""Each section's letter, title and number of rules."""

RULE_NAME = re.compile(r"((?:[cflktpquxwsrd]\d+_)+)")

HEAD = """# The rules of MLS, one by one

What a member must check (RFC 9420), and where we do. Written from the code by `make rules`; a test holds it current.

A rule that is a function of `crypto/mls/rules` is named after its id, and so are its tests. Where a rule can be
broken, a test sends what breaks it and nothing else, signed, MACed and encrypted anew, and wants just this refusal;
where it holds by construction, a test shows that. Others of that name hold limits to the last unit. A state is a frozen
value, so a refusal cannot go half way: that the receiver's stored rows are as they were, which the tests look at too,
says only that nothing inside was changed in place. What the tests are worth shows `make mutants`, which takes the
checks away. "Groups" says in which groups a rule was broken: *all* are those of 2, 5, 9 and 33 members, in suite
0x0001 and in X-Wing. Where that makes no difference it says so.
"""


@dataclass
class Row:
    """A rule as the page shows it."""

    id: str
    holds: str
    section: str
    how: str
    places: list[str]
    tests: list[Test] = field(default_factory=list)
    checked: bool = True


@dataclass(frozen=True)
class Test:
    """A test function: its file, its name and in which groups it runs."""

    path: str
    name: str
    groups: str


def all_ids() -> list[str]:
    """Every rule there is, in order."""
    return [f"{letter}{number}" for letter, (_, count) in SECTIONS.items() for number in range(1, count + 1)]


def rows() -> dict[str, Row]:
    """What the code says of each rule, with the tests that break it."""
    found: dict[str, Row] = {}
    for rule, function in rule_functions():
        text, section = _docstring(function)
        place = f"{function.__module__}.{function.__name__}"
        if rule in found:
            found[rule].places.append(place)
        else:
            found[rule] = Row(rule, text, section, "", [place])
    for item in ELSEWHERE:
        how = item.how.value + (f". {item.why}" if item.why else "")
        if item.id in found:
            row = found[item.id]
            row.holds, row.section = item.holds or row.holds, item.section or row.section
            row.how = (f"{item.how.value}. " if item.how is How.APPLICATION else "") + item.why
            row.places += [place for place in item.where if place not in row.places]
        else:
            checked = item.how in {How.STEP, How.BUILT_IN}
            found[item.id] = Row(item.id, item.holds, item.section, how, [*item.where], checked=checked)
    for rule, test in tests():
        if rule in found:
            found[rule].tests.append(test)
    return found


def rule_functions() -> Iterator[tuple[str, object]]:
    """The functions of `crypto.mls.rules` that are named after a rule, each with its ids."""
    for module_info in pkgutil.iter_modules(rules.__path__):
        module = importlib.import_module(f"{rules.__name__}.{module_info.name}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__:
                for rule in ids_in(name):
                    yield rule, function


def ids_in(name: str) -> list[str]:
    """The rules that a function's name begins with: `f2_f3_current_epoch`, `test_l13_…`."""
    match = RULE_NAME.match(name.removeprefix("test_"))
    return [] if match is None else [part.upper() for part in match[1].strip("_").split("_")]


def tests() -> Iterator[tuple[str, Test]]:
    """Every test that breaks a rule, once for each of its rules."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                test = Test(path.relative_to(ROOT).as_posix(), node.name, _groups(node))
                for rule in dict.fromkeys([*ids_in(node.name), *_marked(node)]):
                    yield rule, test


def _marked(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """The arguments of `@pytest.mark.breaks("L3", …)`."""
    return [
        argument.value
        for call in _calls(node, "breaks")
        for argument in call.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    ]


def _groups(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """In which groups a test runs, as its decorators say."""
    names = {ast.unparse(decorator).split("(")[0].rsplit(".", 1)[-1] for decorator in node.decorator_list}
    if "every_group" in names:
        return "all"
    for call in _calls(node, "open_groups"):
        sizes = [ast.literal_eval(argument) for argument in call.args[1:]]
        return ", ".join(map(str, sizes)) if sizes else "all"
    for call in _calls(node, "groups_of"):
        reason = next(ast.literal_eval(keyword.value) for keyword in call.keywords if keyword.arg == "why")
        return f"{', '.join(ast.unparse(argument) for argument in call.args)}: {reason}"
    for call in _calls(node, "without_group"):
        return f"none: {ast.literal_eval(call.args[0])}"
    return ""


def _calls(node: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> Iterator[ast.Call]:
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).rsplit(".", 1)[-1] == name:
            yield decorator


def _docstring(function: object) -> tuple[str, str]:
    """What must hold, and the sections, from a rule's docstring: "The init key is …, §10.1."."""
    text = " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())
    sections = re.findall(r"§[\d.]*\d|App\. [A-Z]", text)
    holds = re.sub(r",? §[\d.]*\d", "", text).strip()
    return holds if holds.endswith(".") else f"{holds}.", ", ".join(dict.fromkeys(sections)) or "own"


def page() -> str:
    """The page as text."""
    found = rows()
    parts = [HEAD, _summary(found)]
    for letter, (title, _) in SECTIONS.items():
        table = ["| Rule | What must hold | RFC 9420 | Where | Broken by | Groups |", "|---|---|---|---|---|---|"]
        table += [_line(found[rule]) for rule in all_ids() if rule[0] == letter and rule in found]
        parts.append(f"## {letter}: {title}\n\n" + "\n".join(table) + "\n")
    return "\n".join(parts)


def _summary(found: dict[str, Row]) -> str:
    checked = [row for row in found.values() if row.checked]
    broken = sum(bool(row.tests) for row in checked)
    return (
        f"{len(found)} rules: {len(checked)} hold in `crypto`, and {broken} of these have tests; "
        f"{len(found) - len(checked)} are the application's, or checked by nobody, each with its reason.\n"
    )


def _line(row: Row) -> str:
    where = "<br>".join(f"`{place.removeprefix('crypto.mls.')}`" for place in row.places)
    where += f"<br>{row.how}" if row.how and where else row.how
    broken_by = "<br>".join(f"[`{test.name}`](../{test.path})" for test in row.tests)
    groups = "<br>".join(dict.fromkeys(test.groups for test in row.tests if test.groups))
    return f"| {row.id} | {row.holds} | {row.section} | {where} | {broken_by} | {groups} |".replace("||", "| |")


def main() -> int:
    """Write the page."""
    argparse.ArgumentParser(
        prog="python -m tests.contracts.mls_rules",
        description="Write docs/mls-rules.md again: every rule of MLS with its section, its function and the tests "
        "that break it. Run it after a rule or such a test was added, renamed or removed, and commit what changes; "
        "a test fails while the page is out of date.",
    ).parse_args()
    PAGE.write_text(page(), "utf-8")
    print(f"written: {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(while_read(main))
