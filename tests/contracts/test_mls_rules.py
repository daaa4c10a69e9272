"""The page of rules is that of the code, complete, and every rule that holds in `crypto` is broken by a test."""

from __future__ import annotations

import importlib
import importlib.util
from collections import Counter
from functools import reduce

from crypto.mls.rules.elsewhere import ELSEWHERE, How
from tests.contracts.mls_rules import PAGE, all_ids, page, rows, rule_functions


def test_the_page_is_current() -> None:
    assert PAGE.read_text("utf-8") == page(), "make rules"


def test_every_rule_is_listed_once() -> None:
    assert sorted(rows()) == sorted(all_ids())
    assert len({item.id for item in ELSEWHERE}) == len(ELSEWHERE)
    assert len(all_ids()) == 169


def test_whoever_checks_a_rule_is_there() -> None:
    for item in ELSEWHERE:
        for name in item.where:
            assert _named(name) is not None, f"{item.id}: {name}"


def _named(name: str) -> object:
    """What a full name stands for: a module's function or class, or something inside a class."""
    parts = name.split(".")
    for end in range(len(parts) - 1, 0, -1):
        if importlib.util.find_spec(parts[0]) and _is_module(".".join(parts[:end])):
            return reduce(getattr, parts[end:], importlib.import_module(".".join(parts[:end])))
    raise AssertionError(f"{name} is in no module")


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # its parent is a module, not a package
        return False


def test_every_rule_that_holds_in_crypto_is_broken_by_a_test_that_says_in_which_groups() -> None:
    assert [row.id for row in rows().values() if row.checked and not row.tests] == []
    silent = [row.id for row in rows().values() if row.checked and not any(test.groups for test in row.tests)]
    assert silent == []


def test_a_rule_of_several_functions_says_what_they_hold_together() -> None:
    functions = Counter(rule for rule, _ in rule_functions())
    told = {item.id for item in ELSEWHERE if item.holds and item.section}
    assert {rule for rule, count in functions.items() if count > 1} - told == set()


def test_what_nobody_checks_has_its_reason() -> None:
    assert [item.id for item in ELSEWHERE if item.how is How.NOT_YET and not item.why] == []
    assert [item.id for item in ELSEWHERE if item.how is How.APPLICATION and not item.where] == []
