"""The page of permissions is what the table says."""

from crypto.identity.permissions import Action, Role
from tests.contracts.permissions import PAGE, render


def test_the_page_is_what_the_table_says() -> None:
    assert PAGE.read_text("utf-8") == render(), "make rules"


def test_the_page_has_a_row_for_each_action_and_a_column_for_each_role() -> None:
    rows = [line.strip("|").split("|") for line in render().splitlines() if line.startswith("| ")]
    assert [cell.strip().upper() for cell in rows[0][1:]] == [role.name for role in Role]
    assert [row[0].strip() for row in rows[1:]] == [action.value for action in Action]
    assert {len(row) for row in rows} == {1 + len(Role)}
