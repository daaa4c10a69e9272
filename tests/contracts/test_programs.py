"""The programs that make targets run: their help helps and does nothing else, and a wrong word ends them clearly."""

import os
import subprocess
import sys

import pytest

from sealdesk_cli.errors import Exit
from tests.conftest import ROOT
from tests.contracts import mls_rules, permissions, settings_table, surface

PROGRAMS = (
    "benchmarks",
    "examples.demo",
    "sealdesk_cli",
    "tests.audit",
    "tests.contracts.mls_rules",
    "tests.contracts.permissions",
    "tests.contracts.surface",
    "tests.fuzzing",
    "tests.mutation",
)
WRITTEN = (mls_rules.PAGE, permissions.PAGE, surface.LISTING, settings_table.PAGE)


def run(*arguments: str, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    # Unbuffered, argparse itself would swallow what goes wrong.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_helps_and_writes_nothing(program: str) -> None:
    before = [path.stat().st_mtime_ns for path in WRITTEN]
    done = run(program, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: ")
    assert [path.stat().st_mtime_ns for path in WRITTEN] == before


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_reader_that_goes_away_ends_a_program_without_a_word(program: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = run(program, "--help", stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (Exit.BROKEN_PIPE, "")


@pytest.mark.parametrize("named", ["tests/no_such_file.py", "tests/contracts/test_limits.py::test_no_such_test"])
def test_a_test_that_is_not_there_is_named_in_the_last_lines(named: str) -> None:
    done = run("pytest", "-n", "2", "-p", "no:cacheprovider", named)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "not found: " in done.stderr
    assert named in done.stderr
