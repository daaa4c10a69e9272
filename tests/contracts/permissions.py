"""`docs/permissions.md`, from `crypto.identity.permissions`: who may do what, for people.

`python -m tests.contracts.permissions` (`make rules`) writes the page.
"""

from __future__ import annotations

import argparse
import sys
from typing import assert_never

from crypto.identity.permissions import TABLE, Action, Alone, Role, Towards
from sealdesk_cli.errors import while_read
from tests.contracts.tree import ROOT

PAGE = ROOT / "docs" / "permissions.md"
NO = "no"

HEAD = """# Who may do what

Written from the table in `crypto/identity/permissions.py` by `make rules`; a test holds it current. The server and the
members of a chat ask this one table, each by itself, and both know a role from its certificate alone: see
[decision 10](decisions/0010-roles.md). An account without a certificate is a client.

A row reads: *a client may open a private chat with a worker, an admin or a bot*. Where an action is upon nobody, the
cell says yes. What an account may do inside one chat (owner, moderator, member) is that chat's policy and comes on top;
it gives nothing that is denied here.
"""

FOOT = """
For no role: reading a chat without being a member that all others see, which cannot be granted; certifying an admin
and revoking a certificate, which take the organisation's key.
"""


def render() -> str:
    """The whole page."""
    lines = ["| | " + " | ".join(role.name.lower() for role in Role) + " |", "|---|" + "---|" * len(Role)]
    lines += [f"| {action.value} | {' | '.join(_cell(action, role) for role in Role)} |" for action in Action]
    return f"{HEAD}\n" + "\n".join(lines) + f"\n{FOOT}"


def _cell(action: Action, role: Role) -> str:
    permission = TABLE[action]
    match permission:
        case Alone(who):
            return "yes" if role in who else NO
        case Towards(whom):
            if whom[role] == frozenset(Role):
                return "anybody"
            return ", ".join(other.name.lower() for other in Role if other in whom[role]) or NO
        case _:
            assert_never(permission)


def main() -> int:
    """Write the page."""
    argparse.ArgumentParser(
        prog="python -m tests.contracts.permissions",
        description="Write docs/permissions.md again from the table of permissions. Run it after the table has "
        "changed, read what differs, and commit it; a test fails while the page is out of date.",
    ).parse_args()
    PAGE.write_text(render(), "utf-8")
    print(f"written: {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(while_read(main))
