"""A pytest plugin that writes down what each test with a published vector, and each test of a rule, came to.

`python -m tests.audit` runs pytest with it; `SEALDESK_AUDIT` names the file that it writes at the end.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest


class Recorder:
    """Outcomes by test: passed, failed or skipped, with the reason for the last."""

    def __init__(self) -> None:
        self.outcomes: dict[str, str] = {}
        self.skipped: dict[str, str] = {}
        self.cases: dict[str, dict[str, list[str]]] = {}
        """By file of vectors and number of the case: the tests that used it."""

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            for mark in item.iter_markers("vectors"):
                name, number = mark.args
                self.cases.setdefault(name, {}).setdefault(str(number), []).append(item.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            self.outcomes[report.nodeid] = report.outcome
            if report.skipped and isinstance(report.longrepr, tuple):
                self.skipped[report.nodeid] = report.longrepr[2].removeprefix("Skipped: ")

    def pytest_sessionfinish(self) -> None:
        found = {"outcomes": self.outcomes, "skipped": self.skipped, "cases": self.cases}
        Path(os.environ["SEALDESK_AUDIT"]).write_text(json.dumps(found), "utf-8")


def pytest_configure(config: pytest.Config) -> None:
    """Register the recorder."""
    config.pluginmanager.register(Recorder(), "sealdesk-audit")
