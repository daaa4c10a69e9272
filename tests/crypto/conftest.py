"""Settings of the property tests, and the groups in which rules are broken."""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.crypto.matrix import lived_world
from tests.crypto.world import World

# Without a deadline: a slow moment of a shared machine is not a bug, and pytest has a time limit of its own.
settings.register_profile("sealdesk", deadline=None, max_examples=60)
settings.load_profile("sealdesk")


@pytest.fixture
def world(request: pytest.FixtureRequest) -> World:
    """The group that `tests.crypto.matrix` has chosen: a copy of its own for each test."""
    return lived_world(*request.param)
