"""The permission matrix: every question has its one answer, written here a second time as sentences."""

from __future__ import annotations

import itertools

import pytest

from crypto.errors import PolicyViolation, UsageError
from crypto.identity.permissions import TABLE, Action, Alone, Role, Towards, check_permission, may

C, W, A, B = Role.CLIENT, Role.WORKER, Role.ADMIN, Role.BOT

ALONE = {
    Action.CREATE_GROUP: {W, A},
    Action.INVITE: {W, A},
    Action.ERASE_OWN_ACCOUNT: {C, W, A},
}
TOWARDS = {
    Action.OPEN_CHAT: {(C, W), (C, A), (C, B), (B, C), (B, W), (B, A), *itertools.product((W, A), Role)},
    Action.ADD_TO_GROUP: set(itertools.product((W, A), Role)),
    Action.CERTIFY: {(A, C), (A, W), (A, B)},
    Action.SEE_IN_DIRECTORY: {(C, W), (C, A), (C, B), *itertools.product((W, A), Role)},
    Action.ERASE_ACCOUNT: {(A, C), (A, W), (A, B)},
}


def test_every_action_is_in_the_table_and_in_this_test() -> None:
    assert set(TABLE) == set(Action) == {*ALONE, *TOWARDS}
    assert {action for action, permission in TABLE.items() if isinstance(permission, Alone)} == set(ALONE)
    assert all(set(permission.whom) == set(Role) for permission in TABLE.values() if isinstance(permission, Towards))


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("action", ALONE)
def test_a27_what_a_role_may_do_by_itself(action: Action, role: Role) -> None:
    assert may(role, action) == (role in ALONE[action])
    if role in ALONE[action]:
        check_permission(role, action)
    else:
        with pytest.raises(PolicyViolation, match=f"{role.name.lower()} may not {action.value}$"):
            check_permission(role, action)


@pytest.mark.parametrize("role, other", list(itertools.product(Role, Role)))
@pytest.mark.parametrize("action", TOWARDS)
def test_a27_what_a_role_may_do_to_others(action: Action, role: Role, other: Role) -> None:
    assert may(role, action, other) == ((role, other) in TOWARDS[action])
    if (role, other) in TOWARDS[action]:
        check_permission(role, action, other)
    else:
        with pytest.raises(
            PolicyViolation, match=rf"{role.name.lower()} may not {action.value} an? {other.name.lower()}$"
        ):
            check_permission(role, action, other)


@pytest.mark.parametrize("role", Role)
def test_a_question_that_misses_the_point_is_an_error_and_not_a_no(role: Role) -> None:
    for action in ALONE:
        with pytest.raises(UsageError, match="does not fit the question"):
            may(role, action, Role.CLIENT)
    for action in TOWARDS:
        with pytest.raises(UsageError, match="does not fit the question"):
            check_permission(role, action)


def test_an_account_without_a_certificate_has_the_least() -> None:
    """A worker or an admin gains nothing by leaving its certificate out of its leaf."""
    for action, pairs in TOWARDS.items():
        for other in Role:
            for role in (W, A):
                assert may(role, action, other) or (C, other) not in pairs
    for action, roles in ALONE.items():
        assert all(may(role, action) for role in (W, A)) or C not in roles


def test_numbers_of_the_roles_stay_as_they_are() -> None:
    assert [(role.name, int(role)) for role in Role] == [("CLIENT", 0), ("WORKER", 1), ("ADMIN", 2), ("BOT", 3)]
