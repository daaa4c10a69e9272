"""What is tested by mutation: the rules, and whatever in `crypto` calls them or holds one itself."""

from __future__ import annotations

from pathlib import Path

from tests.mutation.operators import Mutant, find_mutants
from tests.mutation.runner import Project

ROOT = Path(__file__).resolve().parent.parent.parent

RULES = tuple(
    path.relative_to(ROOT).as_posix()
    for path in sorted((ROOT / "crypto/mls/rules").glob("[a-z]*.py"))
    if not path.name.startswith(("elsewhere", "how"))  # data for a page
)
"""Here every value counts, those that the module itself assigns too."""

CALLERS = (
    "crypto/codecs.py",
    "crypto/mls/commit.py",
    "crypto/mls/external.py",
    "crypto/mls/former_epochs.py",
    "crypto/mls/group_info.py",
    "crypto/mls/joining.py",
    "crypto/mls/key_package.py",
    "crypto/mls/linked_groups.py",
    "crypto/mls/messages.py",
    "crypto/mls/parent_hashes.py",
    "crypto/mls/proposal_list.py",
    "crypto/mls/proposing.py",
    "crypto/mls/protection.py",
    "crypto/mls/psk.py",
    "crypto/mls/psk_lookup.py",
    "crypto/mls/ratchet_tree.py",
    "crypto/mls/secret_tree.py",
    "crypto/mls/treekem.py",
    "crypto/mls/verified_key_package.py",
    "crypto/wire.py",
)

PROJECT = Project(ROOT, (*RULES, *CALLERS), ("tests/crypto", "tests/attacks"))


def all_mutants(modules: tuple[str, ...] = PROJECT.modules) -> list[Mutant]:
    """The mutants of these modules."""
    return [
        mutant for module in modules for mutant in find_mutants(module, PROJECT.source(module), rules=module in RULES)
    ]
