"""Section L of the rules on our own sending side: what a caller puts into our leaf, or adds, is refused before it goes.

No member would take it; better that the caller hears of it than that the group does.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from crypto.mls.config import DAY_S
from crypto.mls.extensions import DEFAULT_EXTENSION_TYPES, DEFAULT_PROPOSAL_TYPES, Extension, ExtensionType
from crypto.mls.group import create_group, external_join, generate_key_package
from crypto.mls.proposals import ProposalType
from crypto.mls.rules import extensions as extension_rules
from crypto.mls.rules import leaf as rules
from crypto.mls.tree_nodes import Lifetime
from crypto.suites import CipherSuite
from tests.crypto.forge import REQUIRED, UNLISTED, Rule, assert_refused, off
from tests.crypto.matrix import every_group, without_group
from tests.crypto.outside import seen
from tests.crypto.world import LIFETIME, NOW, Person, World, every_suite, person

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
        ("L3", rules.l3_requirements, {"extensions": (UNLISTED,)}),
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
@pytest.mark.breaks("L3", "L9", "L11", "L17", "L18")
def test_a_group_that_we_create(belongs: CipherSuite, rule: str, check: Rule, options: dict[str, object]) -> None:
    founder = person("founder", belongs)

    def create() -> object:
        chosen = {"lifetime": LIFETIME, "now": NOW} | options
        return create_group(belongs, b"id", founder.credential, founder.signer, **chosen)  # type: ignore[arg-type]  # as a caller that does not look

    assert_refused(rule, create)
    with off(check):
        create()


@without_group("a list of numbers")
@pytest.mark.breaks("L19")
def test_default_types_are_the_registered_ones() -> None:
    assert set(ProposalType) == DEFAULT_PROPOSAL_TYPES
    assert set(ExtensionType) - {ExtensionType.LAST_RESORT_KEY_PACKAGE} == DEFAULT_EXTENSION_TYPES
