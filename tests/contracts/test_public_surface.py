"""The listing of public names is what the code says: changing a signature changes a file that is reviewed."""

import importlib
from types import ModuleType

import pytest

from tests.contracts.surface import LISTING, PUBLIC, public_names, render


def test_the_listing_is_what_the_code_says() -> None:
    assert LISTING.read_text("utf-8") == render(), "run `make surface` and look at what changed"


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_module_says_what_it_is_for(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    assert [public for public in getattr(module, "__all__", ()) if not hasattr(module, public)] == []


def test_imported_and_private_names_are_not_public() -> None:
    module = ModuleType("sample")
    exec("from os import path\ndef shown(a: int) -> str: ...\ndef _hidden(): ...\nLIMIT = 3", vars(module))
    assert public_names(module) == ["LIMIT", "shown"]
