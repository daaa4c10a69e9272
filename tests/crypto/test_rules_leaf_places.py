"""Section L of the rules: each breach at each place where a leaf appears."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crypto.mls.extensions import Extension, ExtensionType
from crypto.mls.group import verify_key_package
from crypto.mls.proposals import Add, Update
from crypto.mls.rules import leaf as rules
from crypto.suites import CipherSuite, suite
from tests.crypto.forge import (
    GREASE,
    REQUIRED,
    UNLISTED,
    Breach,
    Rule,
    assert_refused,
    by_value,
    capabilities,
    changed_key_package,
    changed_update,
    forged_commit,
    forged_proposal,
    off,
    path_leaf,
)
from tests.crypto.world import NOW, World, every_suite, world_of

BREACHES: dict[str, tuple[str, tuple[Rule, ...], Breach]] = {
    "lacks a required extension": ("L3", (rules.l3_requirements,), capabilities(extensions=())),
    "claims it by GREASE only": ("L3", (rules.l3_requirements,), capabilities(extensions=(GREASE,))),
    "does not list its credential type": (
        "L5",
        (rules.l5_own_credential_type, rules.l4_credential_types),
        capabilities(credentials=(2, GREASE)),
    ),
    "does not list its extension": (
        "L6",
        (rules.l6_own_extensions,),
        lambda leaf: replace(leaf, extensions=(UNLISTED,)),
    ),
    "does not list the version": ("L7", (rules.l7_version_and_suite,), capabilities(versions=(2,))),
    "does not list the suite": ("L7", (rules.l7_version_and_suite,), capabilities(cipher_suites=(0x0002, GREASE))),
    "holds a ratchet tree": (
        "L17",
        (rules.l17_leaf_extensions,),
        lambda leaf: replace(leaf, extensions=(Extension(ExtensionType.RATCHET_TREE, b""),)),
    ),
    "holds required capabilities": (
        "L17",
        (rules.l17_leaf_extensions,),
        lambda leaf: replace(leaf, extensions=(Extension(ExtensionType.REQUIRED_CAPABILITIES, b"\0\0\0"),)),
    ),
    "is marked as a last-resort package": (
        "L17",
        (rules.l17_leaf_extensions,),
        lambda leaf: replace(leaf, extensions=(Extension(ExtensionType.LAST_RESORT_KEY_PACKAGE, b""),)),
    ),
    "holds two extensions of a type": (
        "L18",
        (rules.l18_extension_types_unique,),
        lambda leaf: replace(leaf, extensions=(Extension(ExtensionType.APPLICATION_ID, b"1"),) * 2),
    ),
}


every_breach = pytest.mark.parametrize("name", BREACHES)


def demanding_world(belongs: CipherSuite, count: int) -> World:
    """A group that requires the one extension that our clients list."""
    world = world_of(belongs, count)
    world.commit("person 0", extensions=REQUIRED)
    return world


@every_suite
@every_breach
def test_in_a_key_package_that_we_fetch(belongs: CipherSuite, name: str) -> None:
    rule, functions, breach = BREACHES[name]
    if rule == "L3":
        pytest.skip("what a group requires is known only in the group")
    someone = World(belongs).person("someone")
    someone.offer()
    assert someone.bundle is not None
    message = changed_key_package(someone, someone.bundle, leaf=breach).message()
    assert_refused(rule, lambda: verify_key_package(message, NOW))
    with off(*functions):
        verify_key_package(message, NOW)


@every_suite
@every_breach
def test_in_an_add(belongs: CipherSuite, name: str) -> None:
    rule, functions, breach = BREACHES[name]
    world = demanding_world(belongs, 5)
    newcomer = world.person("newcomer")
    newcomer.offer()
    assert newcomer.bundle is not None
    proposal = by_value(world["person 0"], Add(changed_key_package(newcomer, newcomer.bundle, leaf=breach).key_package))
    with off(*functions):
        pending = forged_commit(world["person 0"], [proposal])
    receiver = world["person 3"]
    assert_refused(rule, lambda: receiver.receive(pending.message, NOW), receiver)
    with off(*functions):
        assert receiver.receive(pending.message, NOW).merge().epoch == pending.next_group.epoch  # type: ignore[union-attr]  # a commit


@every_suite
@every_breach
def test_in_an_update(belongs: CipherSuite, name: str) -> None:
    rule, functions, breach = BREACHES[name]
    world = demanding_world(belongs, 5)
    leaf = changed_update(world, "person 1", breach)
    message = forged_proposal(world["person 1"], Update(leaf))
    receiver = world["person 3"]
    if rule == "L3":  # judged when it is committed, as the same commit may change what is required
        with off(*functions):
            world.people["person 0"].group = world["person 0"].receive(message, NOW).group  # type: ignore[union-attr]  # the message is of that kind
            pending = world.pending("person 0")
        receiver = receiver.receive(message, NOW).group  # type: ignore[union-attr]  # the message is of that kind
        message = pending.message
    assert_refused(rule, lambda: receiver.receive(message, NOW), receiver)
    with off(*functions):
        receiver.receive(message, NOW)


@every_suite
@every_breach
def test_in_the_path_of_a_commit(belongs: CipherSuite, name: str) -> None:
    rule, functions, breach = BREACHES[name]
    world = demanding_world(belongs, 5)
    with off(*functions), path_leaf(breach):
        pending = forged_commit(world["person 0"], [])
    receiver = world["person 3"]
    assert_refused(rule, lambda: receiver.receive(pending.message, NOW), receiver)
    with off(*functions):
        receiver.receive(pending.message, NOW)


@every_suite
@every_breach
def test_in_the_tree_of_a_group_that_we_join(belongs: CipherSuite, name: str) -> None:
    rule, functions, breach = BREACHES[name]
    world = demanding_world(belongs, 5)
    newcomer = world.person("newcomer")
    offer = newcomer.offer()
    with off(*functions):
        with path_leaf(breach):
            pending = forged_commit(world["person 4"], [])
        world.win("person 4", pending)
        welcome = world["person 0"].commit([offer], now=NOW).welcome
    assert_refused(rule, lambda: newcomer.accept(welcome))
    with off(*functions):
        newcomer.accept(welcome)


def test_grease_breaks_nothing() -> None:
    """Rule L19."""
    world = world_of(suite(1), 3)
    grease = capabilities(cipher_suites=(GREASE, 1), extensions=(GREASE,), proposals=(GREASE,), credentials=(GREASE, 1))
    carrying = lambda leaf: replace(grease(leaf), extensions=(Extension(GREASE, b"anything"),))  # noqa: E731  # a breach is one line
    with path_leaf(carrying):
        world.commit("person 0")
    newcomer = world.person("newcomer")
    newcomer.offer()
    assert newcomer.bundle is not None
    newcomer.bundle = changed_key_package(newcomer, newcomer.bundle, leaf=carrying)
    world.win("person 1", world["person 1"].commit([verify_key_package(newcomer.bundle.message(), NOW)], now=NOW))
