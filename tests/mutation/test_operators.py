"""What the operators make of small sources, and that each mutant of the real modules is code on the same lines."""

from __future__ import annotations

import pytest

from tests.mutation import report
from tests.mutation.operators import KINDS, MODULE, find_mutants
from tests.mutation.targets import PROJECT, RULES, all_mutants


def changes(source: str, *, rules: bool = True) -> list[tuple[str, str, str]]:
    return [(mutant.kind, mutant.before, mutant.after) for mutant in find_mutants("module.py", source, rules=rules)]


def inside(body: str) -> str:
    return "def rule(a, b, c):\n" + "".join(f"    {line}\n" for line in body.splitlines())


@pytest.mark.parametrize(
    "body, kind, expected",
    [
        ("rules.l3_requirements(a)", "call", [("rules.l3_requirements(a)", "pass")]),
        ("if a:\n    raise Refused(b)", "raise", [("raise Refused(b)", "pass")]),
        ("if a:\n    raise Refused(b)", "never", []),
        ("if a:\n    b = 1", "never", [("a", "False")]),
        ("return a if b else c", "branch", [("a if b else c", "a"), ("a if b else c", "c")]),
        ("return a < b", "compare", [("a < b", "a <= b")]),
        ("return a < b <= c", "compare", [("a < b <= c", "a <= b <= c"), ("a < b <= c", "a < b < c")]),
        ("return a != b", "compare", [("a != b", "a == b")]),
        ("return len(a) != b", "compare", [("len(a) != b", "len(a) < b"), ("len(a) != b", "len(a) > b")]),
        ("return len(set(a)) != len(a)", "compare", [("len(set(a)) != len(a)", "len(set(a)) == len(a)")]),
        ("return a not in b", "compare", [("a not in b", "a in b")]),
        ("return a is None", "compare", [("a is None", "a is not None")]),
        ("return a and b", "connect", [("a and b", "a or b")]),
        ("return a or b or c", "operand", [("a or b or c", f"{left}") for left in ("b or c", "a or c", "a or b")]),
        ("return not a", "not", [("not a", "a")]),
        ("return all(a)", "quantifier", [("all(a)", "any(a)")]),
        ("return max(a, b)", "quantifier", [("max(a, b)", "min(a, b)")]),
        (
            "return isinstance(a, B | C)",
            "alternative",
            [("isinstance(a, B | C)", "isinstance(a, C)"), ("isinstance(a, B | C)", "isinstance(a, B)")],
        ),
        ("return isinstance(a, B)", "alternative", []),
        (
            "return (a, b) != c",
            "element",
            [("(a, b) != c", "((c)[0], b) != c"), ("(a, b) != c", "(a, (c)[1]) != c")],
        ),
        ("return {a, b}", "element", [("{a, b}", "{b}"), ("{a, b}", "{a}")]),
        ("return [a for a in b if c]", "filter", [("c", "True")]),
        ("a = True", "flag", [("a = True", "a = False")]),
        ("return a > 7", "number", [("a > 7", "a > 8"), ("a > 7", "a > 6")]),
        ("return a[7]", "number", []),
    ],
)
def test_a_kind_of_change(body: str, kind: str, expected: list[tuple[str, str]]) -> None:
    assert [(before, after) for found, before, after in changes(inside(body)) if found == kind] == expected


def test_every_kind_is_found_somewhere() -> None:
    assert {mutant.kind for mutant in all_mutants()} == set(KINDS)


@pytest.mark.parametrize(
    "body",
    [
        '"""Not a < b."""',
        "assert a < b, c",
        'raise AssertionError(f"{a < b}")',
        'f"{a < b}"',
        "assert_never(a)",
        "a: b < c = a",
    ],
)
def test_what_is_left_alone(body: str) -> None:
    assert changes(inside(body)) == []


def test_annotations_and_defaults_are_left_alone() -> None:
    assert changes("def rule(a: x < y = b < c) -> x < y:\n    return a\n") == []


def test_limits_are_changed_and_other_constants_of_a_module_are_not() -> None:
    source = "ITEMS_MAX = 2**16\nFORMAT = 5\n"
    assert changes(source, rules=False) == [
        ("number", "ITEMS_MAX = 2 ** 16", "ITEMS_MAX = (2 ** 16) + 1"),
        ("number", "ITEMS_MAX = 2 ** 16", "ITEMS_MAX = (2 ** 16) - 1"),
    ]
    (mutant, _) = find_mutants("module.py", source, rules=False)
    assert (mutant.function, mutant.target) == (MODULE, "ITEMS_MAX")


def test_the_sets_of_a_module_count_in_a_rule_module_only() -> None:
    source = "ALLOWED = frozenset({a, b})\n"
    assert changes(source, rules=True) == [("element", "{a, b}", "{b}"), ("element", "{a, b}", "{a}")]
    assert changes(source, rules=False) == []


def test_all_else_stays_on_its_line() -> None:
    source = inside("if (\n    a\n    and b\n):\n    rules.check(\n        a,\n        b,\n    )  # why\nreturn a")
    for mutant in find_mutants("module.py", source, rules=True):
        lines = mutant.apply(source).splitlines()
        assert len(lines) == len(source.splitlines())
        assert lines[-1] == "    return a"


def test_a_change_knows_the_lines_that_a_test_must_run() -> None:
    source = inside("if (\n    a\n    and b\n):\n    rules.check(\n        a\n    )")
    spans = {(mutant.kind, mutant.line, mutant.last_line) for mutant in find_mutants("m.py", source, rules=True)}
    assert spans == {("never", 2, 5), ("connect", 2, 5), ("operand", 2, 5), ("call", 6, 8)}


@pytest.mark.parametrize(
    "source, rule",
    [
        ("def l13_key_unique(a):\n    return a < b\n", "l13"),
        ("def check(a):\n    rules.l13_key_unique(a)\n", "l13"),
        ('def check(a):\n    if a < b:\n        raise RuleViolation("L13", "twice")\n', "l13"),
        ("def check(a):\n    return a < b\n", ""),
    ],
)
def test_a_change_knows_its_rule(source: str, rule: str) -> None:
    assert {mutant.rule for mutant in find_mutants("m.py", source, rules=True)} == {rule}


def test_a_fingerprint_tells_whether_a_module_still_has_the_mutants_that_were_run() -> None:
    def of(source: str) -> str:
        return report.fingerprint(find_mutants("module.py", source, rules=True))

    before = 'def rule(a, b):\n    """Docs."""\n    return a < b\n'
    assert of(before) == of(before.replace("Docs", "Other docs").replace("return", "# why\n    return"))
    assert of(before) != of(before.replace("<", "<="))


def test_the_same_change_twice_in_a_function_has_two_names() -> None:
    source = inside("check(a)\ncheck(a)")
    keys = [mutant.key for mutant in find_mutants("m.py", source, rules=True)]
    assert keys == ["m.py rule call: check(a) -> pass", "m.py rule call: check(a) -> pass (no. 2)"]
    moved = [mutant.key for mutant in find_mutants("m.py", "\n\n" + source, rules=True)]
    assert moved == keys


@pytest.mark.parametrize("module", PROJECT.modules)
def test_a_mutant_is_other_code_on_the_same_lines(module: str) -> None:
    """One of each kind in each module."""
    source = PROJECT.source(module)
    original = compile(source, module, "exec", dont_inherit=True)
    by_kind = {mutant.kind: mutant for mutant in find_mutants(module, source, rules=module in RULES)}
    for mutant in by_kind.values():
        changed = mutant.apply(source)
        assert changed.count("\n") == source.count("\n"), mutant.key
        assert compile(changed, module, "exec", dont_inherit=True) != original, mutant.key


def test_what_is_listed_as_equivalent_is_a_mutant_and_has_a_reason() -> None:
    listed = report.equivalents()
    keys = {mutant.key for mutant in all_mutants()}
    assert [key for key in listed if key not in keys] == []
    assert [key for key, reason in listed.items() if len(reason.split()) < 5 or not reason.endswith(".")] == []
