"""The rules that are no function of this folder: where each of them holds, and how. Data for `docs/mls-rules.md`.

A rule that is one function stands beside its kind and speaks for itself. Here are those that hold because of how
something is built, those that are a step of an algorithm, those that the application judges, and those that nobody
checks, with the reason.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class How(Enum):
    """In what way a rule holds."""

    STEP = "a step of the algorithm, which refuses"
    BUILT_IN = "by construction: nothing else can be said, or kept"
    APPLICATION = "judged by the application"
    NOT_YET = "not checked"


class Elsewhere(NamedTuple):
    """One rule: its id, what must hold, the section of RFC 9420 ("own" without one), how it holds and where.

    `where` names functions or classes by their full names. `why` says what is not plain from that. A rule that is a
    function, too, may have a row for what the function's docstring cannot say; `holds` is then empty or goes before it.
    """

    id: str
    holds: str
    section: str
    how: How
    where: tuple[str, ...]
    why: str = ""


ELSEWHERE = (
    # U: a commit's path, and the way into the next epoch
    Elsewhere(
        "U2",
        "One node of the path for each node of the filtered direct path.",
        "§7.6",
        How.STEP,
        ("crypto.mls.treekem.place_path", "crypto.mls.treekem.decrypt_path"),
    ),
)
"""In the order of the sections; `docs/mls-rules.md` sorts."""
