"""The chapter on cryptography of `report.md`: ours with its targets, beside the peers, and against the primitives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from benchmarks.primitives import FORMULAS, SYMBOLS
from benchmarks.tables import cell, in_order, number, parsed, ratio, size, table

OURS: Final = {"ours": "suite 0x0001", "ours_xwing": "X-Wing"}
OPERATIONS: Final = {
    "encrypt_1k": "encrypt 1 KiB",
    "decrypt_1k": "decrypt 1 KiB",
    "key_package": "key package",
    "create": "create, adds in one commit, Welcome",
    "join": "join by Welcome",
    "commit": "commit with path, full tree",
    "process_commit": "process it, at the committer's neighbour",
    "process_commit_far": "process it, on the other side of the tree",
    "state": "group state in memory",
}
TARGETS: Final = {
    "ours": {
        "encrypt_1k_us": 100,
        "decrypt_1k_us": 130,
        "key_package_us": 200,
        "create_1000_ms": 500,
        "join_100_ms": 10,
        "join_1000_ms": 100,
        "commit_1000_ms": 5,
        "process_commit_100_ms": 1,
        "process_commit_1000_ms": 2,
    },
    "ours_xwing": {"create_100_ms": 80, "join_100_ms": 15, "commit_100_ms": 5, "process_commit_100_ms": 2},
}
"""What we hold ourselves to, in the unit of the key."""

CHART: Final = "crypto.svg"


def as_markdown(content: Mapping[str, Any]) -> str:
    """The chapter."""
    parts = ["## Cryptography", _own(content), f"![Cost against group size, on logarithmic scales]({CHART})"]
    if content["peers"]:
        parts.append(_peers(content))
    parts.append(_bounds(content))
    return "\n\n".join(parts)


def _own(content: Mapping[str, Any]) -> str:
    note = (
        "One process, one thread. Medians, with the quartiles in brackets. Bytes in, bytes out; every commit "
        "and message is on a state that has not seen it before. `n` is the number of members."
    )
    measured = content["crypto"]
    names = [name for name in OURS if any(name in found for found in measured.values())]
    rows = []
    for key in in_order(measured, OPERATIONS):
        what, members, unit = parsed(key)
        row = [OPERATIONS[what], size(members), unit]
        for name in names:
            target = TARGETS[name].get(key)
            spread = content["spread"].get(f"crypto.{key}.{name}")
            row += [cell(measured[key].get(name), spread), "" if target is None else f"≤ {target}"]
        rows.append(row)
    titles = [title for name in names for title in (OURS[name], "target")]
    return f"{note}\n\n" + table(("", "n", "unit", *titles), rows)


def _peers(content: Mapping[str, Any]) -> str:
    peers, measured = content["peers"], content["crypto"]
    note = (
        "Suite 0x0001, each library in turns with ours in the same process, at the same trees: we make the groups that "
        "all join, and in a full tree members of each library take the places of the first, second and last leaf. "
        "Beside each library stands ours in parts of it, commits in the same wire format: below 1 (**bold**) ours is "
        "faster or smaller. Memory is "
        "counted by tracemalloc where it holds objects of Python, by malloc where not. For empty cells see the notes."
    )
    rows = []
    for key in in_order(measured, OPERATIONS):
        what, members, unit = parsed(key)
        found = measured[key]
        row = [OPERATIONS[what], size(members), unit, cell(found.get("ours"), None)]
        for name, peer in peers.items():
            own = found.get(peer["beside"], found.get("ours"))
            row += [cell(found.get(name), None), ratio(own, found.get(name))]
        rows.append(row)
    titles = [title for peer in peers.values() for title in (peer["title"], "ours / it")]
    notes = [f"- {peer['title']} {peer['version']}: {'; '.join(peer['notes'])}." for peer in peers.values()]
    return "\n\n".join(
        ("### Beside other libraries", note, table(("", "n", "unit", "ours", *titles), rows), "\n".join(notes))
    )


def _bounds(content: Mapping[str, Any]) -> str:
    note = (
        "What would an operation cost if only its primitives cost anything? Measured in the same run, they give a "
        "bound that nobody over the same libraries can be below; ours is given in parts of it. `n` is the number of "
        "members, `d` the length of a path, log2 of n, rounded up."
    )
    primitives, bounds, measured = content["primitives"], content["bounds"], content["crypto"]
    names = [name for name in OURS if name in primitives]
    costs = [
        (symbol, meaning, *(number(primitives[name][symbol]) for name in names)) for symbol, meaning in SYMBOLS.items()
    ]
    formulas = {parsed(form.format(2) if "{}" in form else form)[0]: formula for form, formula in FORMULAS.items()}
    rows = []
    for key in in_order(bounds, OPERATIONS):
        what, members, unit = parsed(key)
        row = [OPERATIONS[what], f"`{formulas[what]}`", size(members), unit]
        for name in names:
            bound, ours = bounds[key].get(name), measured[key].get(name)
            over = f"{ours / bound:.2f}" if bound is not None and ours is not None else ""
            row += ["" if bound is None else number(bound), over]
        rows.append(row)
    titles = [title for name in names for title in (f"bound, {OURS[name]}", "ours / bound")]
    return "\n\n".join(
        (
            "### Against the primitives",
            note,
            table(("", "µs each", *(OURS[name] for name in names)), costs),
            table(("", "bound", "n", "unit", *titles), rows),
        )
    )
