"""In which groups a rule is broken: classical and hybrid, of 2, 5, 9 and 33 members that have lived.

`@every_group` runs a test in all eight, as its argument `world`; `@groups_of(5, 9, 33, why=…)` in fewer, and says why;
`@without_group(why)` marks one that needs none. `docs/mls-rules.md` shows which of the three a rule has. A world is
copied from one that was made before: groups are values, so a test cannot spoil it.

Who is who in a group of n: "person 0" founded it and sends, `world.receiver` (the last leaf) judges, `world.bystander`
is a third member where there is one. The tree is partly filled: two members have committed since all were added.
"""

from __future__ import annotations

import copy
import functools

import pytest

from crypto.mls.config import DEFAULT_CONFIG, GroupConfig
from crypto.suites import SUITES
from tests.crypto.world import SIZES, World, world_of
from tests.crypto.world import SUITES as TWO_SUITES


def groups_of(*sizes: int, why: str, config: GroupConfig = DEFAULT_CONFIG) -> pytest.MarkDecorator:
    """Run a test in groups of these sizes only, in both suites."""
    assert why, "a size that is left out has a reason"
    return _groups(sizes, config)


def open_groups(config: GroupConfig, *sizes: int) -> pytest.MarkDecorator:
    """Run a test in every group, whose members accept what `config` says."""
    return _groups(sizes or SIZES, config)


def without_group(why: str) -> pytest.MarkDecorator:
    """A rule that is judged without any group, so that its size makes no difference."""
    assert why
    return pytest.mark.without_group


def _groups(sizes: tuple[int, ...], config: GroupConfig) -> pytest.MarkDecorator:
    made = [
        pytest.param((belongs.id, size, config), id=f"{size} members, suite {belongs.id:#06x}")
        for belongs in TWO_SUITES
        for size in sizes
    ]
    return pytest.mark.parametrize("world", made, indirect=True)


every_group = _groups(SIZES, DEFAULT_CONFIG)


def lived_world(suite_id: int, size: int, config: GroupConfig = DEFAULT_CONFIG) -> World:
    """A fresh copy of a group of `size` members in which two have committed."""
    original = _made(suite_id, size, config)
    return World(original.suite, {name: copy.copy(who) for name, who in original.people.items()}, original.config)


@functools.cache
def _made(suite_id: int, size: int, config: GroupConfig) -> World:
    world = world_of(SUITES[suite_id], size, config)
    for committer in dict.fromkeys((world.receiver, f"person {size // 2}")):
        world.commit(committer)
    return world
