"""Writes docs/settings.md from `backend.settings`."""

from dataclasses import fields

from backend.settings import Settings
from tests.contracts.tree import ROOT

PAGE = ROOT / "docs" / "settings.md"

_HEAD = """# Settings of the server

Each setting is one environment variable, read once when the server starts. This page is written by `make surface` from
`backend/settings.py`; a test fails where the two differ. Limits (sizes, counts, rates) are not settings: they are in
`protocol/limits.py` and `backend/limits.py`.

| Variable | Default | Meaning |
|---|---|---|
"""


def render() -> str:
    """The whole page."""
    rows = []
    for setting in fields(Settings):
        default = "not set" if setting.default is None else f"`{setting.default}`"
        meaning = setting.metadata["meaning"].replace("|", "\\|")
        rows.append(f"| `{setting.metadata['variable']}` | {default} | {meaning} |\n")
    return _HEAD + "".join(rows)
