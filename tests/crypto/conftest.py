"""Settings of the property tests."""

from __future__ import annotations

from hypothesis import settings

# Without a deadline: a slow moment of a shared machine is not a bug, and pytest has a time limit of its own.
settings.register_profile("sealdesk", deadline=None, max_examples=60)
settings.load_profile("sealdesk")
