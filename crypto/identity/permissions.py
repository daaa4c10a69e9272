"""Who may do what: one table for all roles, which the server and the members of a chat both enforce.

A role is proven by a certificate (`roles`), never by what a server says of an account. `TABLE` is the whole of it:
docs/permissions.md is written from it, and nothing else in the code says what a role may do. What an account may do
inside one chat (owner, moderator, member) is the chat's policy and comes on top; it never gives what this table denies.

Three things are for no role and therefore have no row: reading a chat without being a member that all others see,
certifying admins, and revoking. The first cannot be granted, the others need the organisation's key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum, unique

from crypto.errors import PolicyViolation, UsageError


class Role(IntEnum):
    """What an account is to the organisation. An account without a certificate is a client."""

    CLIENT = 0
    WORKER = 1
    ADMIN = 2
    BOT = 3


@unique
class Action(Enum):
    """Everything that not everybody may do; the value says it as in "a client may …"."""

    OPEN_CHAT = "open a private chat with"
    CREATE_GROUP = "create a group"
    ADD_TO_GROUP = "bring into a group"
    INVITE = "invite new customers"
    CERTIFY = "certify as"
    SEE_IN_DIRECTORY = "see in the directory"
    ERASE_OWN_ACCOUNT = "erase its own account"
    ERASE_ACCOUNT = "erase the account of"


@dataclass(frozen=True, slots=True)
class Alone:
    """An action that concerns nobody else: the roles that may do it."""

    who: frozenset[Role]


@dataclass(frozen=True, slots=True)
class Towards:
    """An action upon another account: for each role, the roles of those it may do it to."""

    whom: Mapping[Role, frozenset[Role]]


_NOBODY: frozenset[Role] = frozenset()
_EVERYBODY = frozenset(Role)
_STAFF = frozenset({Role.WORKER, Role.ADMIN})

TABLE: Mapping[Action, Alone | Towards] = {
    # Customers of an organisation are strangers to each other, and bots that answer bots never end.
    Action.OPEN_CHAT: Towards(
        {
            Role.CLIENT: _STAFF | {Role.BOT},
            Role.WORKER: _EVERYBODY,
            Role.ADMIN: _EVERYBODY,
            Role.BOT: _STAFF | {Role.CLIENT},
        }
    ),
    Action.CREATE_GROUP: Alone(_STAFF),
    # A bot brings nobody in: its key lies on a machine where nobody watches. Nor does a customer bring in strangers.
    Action.ADD_TO_GROUP: Towards(
        {Role.CLIENT: _NOBODY, Role.WORKER: _EVERYBODY, Role.ADMIN: _EVERYBODY, Role.BOT: _NOBODY}
    ),
    Action.INVITE: Alone(_STAFF),
    # Never an admin: that takes the organisation's key.
    Action.CERTIFY: Towards(
        {
            Role.CLIENT: _NOBODY,
            Role.WORKER: _NOBODY,
            Role.ADMIN: frozenset({Role.CLIENT, Role.WORKER, Role.BOT}),
            Role.BOT: _NOBODY,
        }
    ),
    Action.SEE_IN_DIRECTORY: Towards(
        {Role.CLIENT: _STAFF | {Role.BOT}, Role.WORKER: _EVERYBODY, Role.ADMIN: _EVERYBODY, Role.BOT: _NOBODY}
    ),
    # A bot is the organisation's, so its account is not its own to erase.
    Action.ERASE_OWN_ACCOUNT: Alone(frozenset({Role.CLIENT, Role.WORKER, Role.ADMIN})),
    # One admin does not erase another: first the organisation's key takes the role away.
    Action.ERASE_ACCOUNT: Towards(
        {
            Role.CLIENT: _NOBODY,
            Role.WORKER: _NOBODY,
            Role.ADMIN: frozenset({Role.CLIENT, Role.WORKER, Role.BOT}),
            Role.BOT: _NOBODY,
        }
    ),
}


def may(role: Role, action: Action, other: Role | None = None) -> bool:
    """Whether an account of `role` may do this; `other` is the role of the account that it is done to.

    Raises `UsageError` if `other` is missing where the action is upon somebody, or given where it is not.
    """
    match TABLE[action], other:
        case Alone(who), None:
            return role in who
        case Towards(whom), Role():
            return other in whom[role]
        case _:
            raise UsageError(f"whether {action.name} is upon somebody else does not fit the question")


def check_permission(role: Role, action: Action, other: Role | None = None) -> None:
    """Raise `PolicyViolation` unless an account of `role` may do this; else as `may`."""
    if not may(role, action, other):
        upon = "" if other is None else f" {_named(other)}"
        raise PolicyViolation(f"{_named(role)} may not {action.value}{upon}")


def _named(role: Role) -> str:
    return f"{'an' if role is Role.ADMIN else 'a'} {role.name.lower()}"
