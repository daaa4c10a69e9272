"""The rules that are no function of this folder: where each of them holds, and how. Data for `docs/mls-rules.md`.

A rule that is one function stands beside its kind and speaks for itself. Here are those that hold because of how
something is built, those that are a step of an algorithm, those that the application judges, and those that nobody
checks, with the reason.
"""

from __future__ import annotations

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
    *KEY_SCHEDULE,
    *MESSAGE_KEYS,
    *LIFE,
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
