"""Tables in Markdown, and how the names of figures read in them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def parsed(key: str) -> tuple[str, int | None, str]:
    """`commit_1000_ms` is the operation `commit`, n = 1,000, in ms."""
    found = re.fullmatch(r"(?P<what>.+?)(?:_(?P<members>\d+))?_(?P<unit>us|ms|mib|bytes)", key)
    assert found is not None, key
    unit = {"us": "µs", "mib": "MiB"}.get(found["unit"], found["unit"])
    return found["what"], int(found["members"]) if found["members"] else None, unit


def in_order(keys: Iterable[str], titles: Mapping[str, str]) -> list[str]:
    """Keys by operation as `titles` lists them, then by group size; those without a title are left out."""
    order = list(titles)
    known = [(key, *parsed(key)[:2]) for key in keys]
    ranked = [(order.index(what), members or 0, key) for key, what, members in known if what in titles]
    return [key for _, _, key in sorted(ranked)]


def size(members: int | None) -> str:
    """A group size."""
    return "" if members is None else f"{members:,}"


def number(value: float) -> str:
    """Three significant digits, and whole numbers from a thousand on."""
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.3g}"


def cell(value: float | None, spread: Mapping[str, float] | None) -> str:
    """A median with its quartiles; empty if it was not measured."""
    if value is None:
        return ""
    if spread is None or spread["lower"] == spread["upper"]:
        return number(value)
    return f"{number(value)} ({number(spread['lower'])} to {number(spread['upper'])})"


def ratio(value: float | None, other: float | None) -> str:
    """One figure in parts of another, emphasised where it is the smaller one."""
    if value is None or other is None:
        return ""
    shown = f"{value / other:.2f}"
    return f"**{shown}**" if value < other else shown
