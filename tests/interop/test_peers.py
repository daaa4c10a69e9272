"""What is said of the peers is what they are."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from tests.interop import peers
from tests.interop.peers import IMPLEMENTATIONS

OPERATIONS = {
    "commit",
    "propose_add",
    "propose_remove",
    "propose_update",
    "send",
    "export",
    "group_info",
    "join_externally",
    "come_back",
}
PAGE = Path(__file__).parents[2] / "docs" / "interop.md"


@pytest.mark.parametrize("name", [pytest.param(name, marks=peers.needs(name)) for name in IMPLEMENTATIONS])
def test_a_peer_has_the_operations_that_it_names_and_no_others(name: str) -> None:
    module, _, adapter = IMPLEMENTATIONS[name].adapter.partition(":")
    has = {operation for operation in OPERATIONS if hasattr(getattr(import_module(module), adapter), operation)}
    assert has == IMPLEMENTATIONS[name].abilities.operations


def test_no_peer_is_missing_where_it_can_be_installed() -> None:
    """Or every test with it would be skipped, and the run green."""
    assert peers.expected_here() <= set(peers.versions())


def test_the_page_for_auditors_names_the_versions_that_ran() -> None:
    page = PAGE.read_text("utf-8")
    assert [name for name, version in peers.versions().items() if f"`{name}` {version}" not in page] == []


@pytest.mark.parametrize("name", [name for name in IMPLEMENTATIONS if name != "ours"])
def test_the_page_for_auditors_names_what_each_can_do(name: str) -> None:
    operations = ", ".join(f"`{operation}`" for operation in sorted(IMPLEMENTATIONS[name].abilities.operations))
    assert f"| {name} | {operations or 'none'} |" in PAGE.read_text("utf-8")
