"""docs/settings.md is written from the settings themselves, so neither can drift from the other."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields

from backend.settings import Settings
from tests.contracts import settings_table
from tests.contracts.tree import ROOT, modules

PREFIX = "SEALDESK_"


def test_the_page_is_what_the_settings_say() -> None:
    assert settings_table.PAGE.read_text("utf-8") == settings_table.render(), "run `make surface`"


def test_every_setting_names_its_variable_and_says_what_it_does() -> None:
    for setting in fields(Settings):
        variable = setting.metadata["variable"]
        assert variable == "DATABASE_URL" or variable.startswith(PREFIX)
        assert setting.metadata["meaning"].endswith(".")


def variables_read(module: ast.Module) -> Iterator[str]:
    """Names that a module looks up with `os.getenv`, `os.environ[...]` or `os.environ.get`."""
    for node in ast.walk(module):
        if (
            isinstance(node, ast.Subscript)
            and isinstance(node.ctx, ast.Load)
            and ast.unparse(node.value) == "os.environ"
        ):
            yield ast.unparse(node.slice)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("os.getenv", "os.environ.get"):
            yield ast.unparse(node.args[0])


def test_the_server_reads_no_variable_that_is_not_a_setting() -> None:
    known = {repr(setting.metadata["variable"]) for setting in fields(Settings)}
    read = {variable for module in modules("backend", "migrations").values() for variable in variables_read(module)}
    assert read <= known


def test_a_read_variable_is_found() -> None:
    source = "import os\nos.getenv('A')\nos.environ['B']\nos.environ.get('C', '')"
    assert sorted(variables_read(ast.parse(source))) == ["'A'", "'B'", "'C'"]


def test_importing_the_settings_needs_no_environment() -> None:
    code = "from backend.settings import Settings; Settings.from_environment({})"
    environment = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, timeout=60)
