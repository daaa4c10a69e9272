"""How a rule holds that is no function of this folder: the form of the rows in `elsewhere`."""

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
