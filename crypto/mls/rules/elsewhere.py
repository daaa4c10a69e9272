"""The rules that are no function of this folder: where each of them holds, and how. Data for `docs/mls-rules.md`.

A rule that is one function stands beside its kind and speaks for itself. Here are those that hold because of how
something is built, those that are a step of an algorithm, those that the application judges, and those that nobody
checks, with the reason.
"""

from __future__ import annotations

from crypto.mls.rules.elsewhere_groups import COMMITS, EXTERNAL_COMMITS, PROPOSALS, WELCOMES
from crypto.mls.rules.elsewhere_messages import CODEC, FRAMING, KEY_SCHEDULE, LIFE, MESSAGE_KEYS
from crypto.mls.rules.elsewhere_trees import KEY_PACKAGES, LEAVES, TREES
from crypto.mls.rules.how import Elsewhere, How

__all__ = ["ELSEWHERE", "Elsewhere", "How"]

ELSEWHERE = (
    *CODEC,
    *FRAMING,
    *LEAVES,
    *KEY_PACKAGES,
    *TREES,
    *PROPOSALS,
    *COMMITS,
    *EXTERNAL_COMMITS,
    *WELCOMES,
    *KEY_SCHEDULE,
    *MESSAGE_KEYS,
    *LIFE,
)
"""In the order of the sections; `docs/mls-rules.md` sorts."""
