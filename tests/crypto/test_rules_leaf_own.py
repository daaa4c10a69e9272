"""Section L of the rules on our own sending side: what a caller puts into our leaf, or adds, is refused before it goes.

No member would take it; better that the caller hears of it than that the group does.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from crypto.errors import UsageError
from crypto.mls.config import DAY_S
from crypto.mls.credentials import X509Credential
from crypto.mls.extensions import (
    DEFAULT_EXTENSION_TYPES,
    DEFAULT_PROPOSAL_TYPES,
    EXTENSIONS_MAX,
    Extension,
    ExtensionType,
)
from crypto.mls.group import create_group, external_join, generate_key_package
from crypto.mls.proposals import ProposalType
from crypto.mls.rules import extensions as extension_rules
from crypto.mls.rules import leaf as rules
from crypto.mls.rules import welcome as welcome_rules
from crypto.mls.tree_nodes import Lifetime
from crypto.suites import SUITES, CipherSuite
from tests.crypto.forge import REQUIRED, UNLISTED, Rule, assert_refused, assert_refused_with, off
from tests.crypto.matrix import every_group, without_group
from tests.crypto.outside import seen
from tests.crypto.world import LIFETIME, NOW, Person, World, every_suite, person, world_of

Extensions = tuple[Extension, ...]

BREACHES: dict[str, tuple[str, Rule, Extensions]] = {
    "unlisted": ("L6", rules.l6_own_extensions, (UNLISTED,)),
    "of another place": ("L17", extension_rules.l17_leaf_extensions, (Extension(ExtensionType.RATCHET_TREE, b""),)),
    "twice": ("L18", extension_rules.l18_extension_types_unique, (Extension(1, b"1"), Extension(1, b"2"))),
}
every_breach = pytest.mark.parametrize("rule, check, extensions", BREACHES.values(), ids=BREACHES)


def offered(world: World, someone: Person, extensions: Extensions) -> object:
    return generate_key_package(
        world.suite, someone.credential, someone.signer, lifetime=LIFETIME, leaf_extensions=extensions
    )


def founded(world: World, someone: Person, extensions: Extensions) -> object:
    return create_group(
        world.suite,
        b"another group",
        someone.credential,
        someone.signer,
        lifetime=LIFETIME,
        now=NOW,
        leaf_extensions=extensions,
    )


def committed(world: World, someone: Person, extensions: Extensions) -> object:
    return someone.view.commit(now=NOW, leaf_extensions=extensions)


def updated(world: World, someone: Person, extensions: Extensions) -> object:
    return someone.view.propose_update(now=NOW, leaf_extensions=extensions)


def joined(world: World, someone: Person, extensions: Extensions) -> object:
    stranger = world.person("joiner")
    return external_join(seen(someone.view), stranger.credential, stranger.signer, leaf_extensions=extensions)


@every_group
@every_breach
@pytest.mark.parametrize("way", [offered, founded, committed, updated, joined])
@pytest.mark.breaks("L6", "L17", "L18")
def test_our_leaf_takes_only_what_it_may_hold(
    world: World,
    way: Callable[[World, Person, Extensions], object],
    rule: str,
    check: Rule,
    extensions: Extensions,
) -> None:
    someone = world.people["person 0"]
    assert_refused(rule, lambda: way(world, someone, extensions), someone.view)
    with off(check):
        way(world, someone, extensions)


@without_group("the literal ids of the mark above")
def test_the_ids_are_those_of_the_table() -> None:
    (mark,) = [m for m in test_our_leaf_takes_only_what_it_may_hold.pytestmark if m.name == "breaks"]  # type: ignore[attr-defined]  # pytest puts it there
    assert mark.args == tuple(rule for rule, _, _ in BREACHES.values())


@without_group("it is about to be made")
@every_suite
@pytest.mark.parametrize(
    "rule, check, options",
    [
        ("W12", welcome_rules.w12_we_support, {"extensions": (UNLISTED,)}),
        ("L9", rules.l9_lifetime_of_sent_leaf, {"lifetime": Lifetime(NOW + 2 * 3600, NOW + DAY_S)}),
        ("L9", rules.l9_lifetime_of_sent_leaf, {"lifetime": Lifetime(NOW - DAY_S, NOW - 2 * 3600)}),
        ("L11", rules.l11_total_lifetime, {"lifetime": Lifetime(NOW - 1, 2**64 - 1)}),
        (
            "L17",
            extension_rules.l17_group_context_extensions,
            {"extensions": (Extension(ExtensionType.EXTERNAL_PUB, b""),)},
        ),
        ("L18", extension_rules.l18_extension_types_unique, {"extensions": REQUIRED * 2}),
    ],
)
@pytest.mark.breaks("W12", "L9", "L11", "L17", "L18")
def test_a_group_that_we_create(belongs: CipherSuite, rule: str, check: Rule, options: dict[str, object]) -> None:
    founder = person("founder", belongs)

    def create() -> object:
        chosen = {"lifetime": LIFETIME, "now": NOW} | options
        return create_group(belongs, b"id", founder.credential, founder.signer, **chosen)  # type: ignore[arg-type]  # as a caller that does not look

    assert_refused(rule, create)
    with off(check):
        create()


@without_group("it is about to be made, or joined")
def test_l5_our_leaf_has_a_credential_of_a_type_that_we_list() -> None:
    suite, signer, unlisted = SUITES[1], SUITES[1].signature.generate(), X509Credential((b"certificate",))
    theirs = seen(world_of(suite, 1)["person 0"])

    def found() -> object:
        return create_group(suite, b"id", unlisted, signer, lifetime=LIFETIME, now=NOW)

    def join() -> object:
        return external_join(theirs, unlisted, signer)

    for way in (found, join):
        assert_refused("L5", way)
        with off(rules.l5_own_credential_type, rules.l4_credential_types):
            way()


TYPES = tuple(range(0xF000, 0xF000 + EXTENSIONS_MAX + 1))


@without_group("a group of two: the codec knows none")
@pytest.mark.parametrize("way", [offered, founded, committed, updated, joined])
def test_c10_our_leaf_holds_no_more_than_others_read(way: Callable[[World, Person, Extensions], object]) -> None:
    world = world_of(SUITES[1], 2)
    someone, extensions = world.people["person 0"], tuple(Extension(each, b"") for each in TYPES)
    with off(rules.l6_own_extensions):
        way(world, someone, extensions[:-1])
        assert_refused_with(UsageError, lambda: way(world, someone, extensions), someone.view)


@without_group("it is about to be made, or joined")
def test_c10_our_leaf_lists_no_more_types_than_others_read() -> None:
    suite, us = SUITES[1], person("someone", SUITES[1])
    theirs = seen(world_of(suite, 1)["person 0"])

    def offer(types: tuple[int, ...]) -> object:
        return generate_key_package(suite, us.credential, us.signer, lifetime=LIFETIME, supported_extensions=types)

    def found(types: tuple[int, ...]) -> object:
        return create_group(
            suite, b"id", us.credential, us.signer, lifetime=LIFETIME, now=NOW, supported_extensions=types
        )

    def join(types: tuple[int, ...]) -> object:
        return external_join(theirs, us.credential, us.signer, supported_extensions=types)

    for way in (offer, found, join):
        way(TYPES[3:])  # the mark of a last resort and a value for GREASE are listed besides
        with pytest.raises(UsageError, match="more than 256 items"):
            way(TYPES[2:])


@without_group("a list of numbers")
@pytest.mark.breaks("L19")
def test_default_types_are_the_registered_ones() -> None:
    assert set(ProposalType) == DEFAULT_PROPOSAL_TYPES
    assert set(ExtensionType) - {ExtensionType.LAST_RESORT_KEY_PACKAGE} == DEFAULT_EXTENSION_TYPES
