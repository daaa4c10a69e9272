"""Rule W11: a group that continues another, or is a branch of it, is what its members were promised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from crypto.errors import UsageError
from crypto.mls import commit as commit_module
from crypto.mls.config import GroupConfig
from crypto.mls.group import PendingCommit, VerifiedKeyPackage, branch, create_group, reinitialise
from crypto.mls.headers import ProtocolVersion
from crypto.mls.proposals import ReInit
from crypto.mls.rules import welcome as rules
from crypto.suites import CipherSuite, suite_of
from tests.crypto.forge import Rule, assert_refused, by_value, changed_state, follow, forged_commit, off
from tests.crypto.matrix import every_group, groups_of
from tests.crypto.offers import NEW_EXTENSIONS, NEW_ID, Offers, branched, continued
from tests.crypto.test_linked_groups import ended_world
from tests.crypto.world import LIFETIME, NOW, World, person, won

MAKER = "person 0"
both_links = pytest.mark.parametrize("usage", ["reinit", "branch"])


def promise(belongs: CipherSuite) -> ReInit:
    return ReInit(NEW_ID, ProtocolVersion.MLS10, belongs.id, NEW_EXTENSIONS)


def end(world: World, next_suite: CipherSuite | None = None) -> Offers:
    """The group is reinitialised, and all its members make key packages for the next."""
    belongs = next_suite or world.suite
    reinit = by_value(world[MAKER], promise(belongs))
    follow(world, MAKER, forged_commit(world[MAKER], [reinit]))
    return Offers(world, belongs, [someone.name for someone in world.members])


def linked(world: World, usage: str) -> tuple[Offers, Callable[[], PendingCommit]]:
    """How person 0 makes the group that continues this one, or a branch of itself and the receiver."""
    if usage == "reinit":
        offers = end(world)
        return offers, lambda: continued(world, offers, offers.verified(MAKER), MAKER)
    offers = Offers(world, world.suite, [world.receiver])
    return offers, lambda: branched(world, offers.verified(), MAKER)


def assert_w11(world: World, offers: Offers, welcome: bytes | None, check: Rule, **options: Any) -> None:
    """The receiver refuses a Welcome by one function of rule W11, and accepts it without that function."""
    assert_refused("W11", lambda: offers.accept(world, world.receiver, welcome, **options))
    with off(check):
        offers.accept(world, world.receiver, welcome, **options)


def assert_w11_elsewhere(world: World, usage: str, changes: dict[str, Any], check: Rule) -> None:
    """The receiver knows the PSK, but what it takes for the former group has another context."""
    offers, make = linked(world, usage)
    old = world[world.receiver]
    elsewhere = changed_state(old, context=replace(old.state.context, **changes))
    options: dict[str, Any] = {"previous": elsewhere, "find_psk": lambda _: old.resumption_psk}
    assert_w11(world, offers, make().welcome, check, **options)


def lying(world: World, offers: Offers, adds: list[VerifiedKeyPackage], **changes: Any) -> bytes | None:
    """The Welcome of a group whose maker believes in another promise than the one that was made."""
    promised = world[MAKER].reinitialised_to
    assert promised is not None
    maker, someone = changed_state(world[MAKER], reinit=replace(promised, **changes)), world.people[MAKER]
    with off(rules.w11_each_is_among):
        return reinitialise(maker, adds, someone.credential, offers.signers[MAKER], lifetime=LIFETIME, now=NOW).welcome


@every_group
@both_links
def test_w11_what_is_right_is_accepted(world: World, usage: str) -> None:
    offers, make = linked(world, usage)
    pending = make()
    group = offers.accept(world, world.receiver, pending.welcome)
    assert group.epoch_authenticator == won(pending).epoch_authenticator


@every_group
@pytest.mark.parametrize("changes", [{"group_id": b"another"}, {"extensions": ()}], ids=lambda each: next(iter(each)))
def test_w11_the_new_group_is_as_promised(world: World, changes: dict[str, Any]) -> None:
    offers = end(world)
    welcome = lying(world, offers, offers.verified(MAKER), **changes)
    assert_w11(world, offers, welcome, rules.w11_as_promised)


@every_group
def test_w11_the_suite_is_as_promised(world: World) -> None:
    """Suite 7 was promised, suite 3 is made."""
    end(world, suite_of(7))
    offers = Offers(world, suite_of(3), [someone.name for someone in world.members])
    welcome = lying(world, offers, offers.verified(MAKER), cipher_suite=3)
    assert_w11(world, offers, welcome, rules.w11_as_promised)


@groups_of(5, 9, 33, why="a third member is left out")
def test_w11_everybody_of_the_old_group_is_in_the_new(world: World) -> None:
    offers = end(world)
    some = offers.verified(MAKER, world.bystander)
    assert_w11(world, offers, lying(world, offers, some), rules.w11_each_is_among)
    assert_refused("W11", lambda: continued(world, offers, some, MAKER), world[MAKER])


@every_group
def test_w11_a_reinitialised_group_may_have_more_members(world: World) -> None:
    end(world)
    offers = Offers(world, world.suite, [*[someone.name for someone in world.members], "newcomer"])
    offers.accept(world, world.receiver, continued(world, offers, offers.verified(MAKER), MAKER).welcome)


@every_group
def test_w11_a_group_that_goes_on_has_no_successor(world: World) -> None:
    offers = Offers(world, world.suite, [someone.name for someone in world.members])
    maker, someone = changed_state(world[MAKER], reinit=promise(world.suite)), world.people[MAKER]
    adds = offers.verified(MAKER)
    pending = reinitialise(maker, adds, someone.credential, someone.signer, lifetime=LIFETIME, now=NOW)
    assert_w11(world, offers, pending.welcome, rules.w11_as_promised)
    with pytest.raises(UsageError):
        reinitialise(world[MAKER], adds, someone.credential, someone.signer, lifetime=LIFETIME, now=NOW)


@every_group
@pytest.mark.parametrize("changes", [{"epoch": 99}, {"group_id": b"another"}], ids=lambda each: next(iter(each)))
def test_w11_the_psk_is_of_the_last_epoch(world: World, changes: dict[str, Any]) -> None:
    assert_w11_elsewhere(world, "reinit", changes, rules.w11_as_promised)


@every_group
@both_links
def test_w11_a_group_that_nobody_expected(world: World, usage: str) -> None:
    """Without the group that it follows from, the PSK is unknown, or the link cannot be judged."""
    offers, make = linked(world, usage)
    kept, welcome = world[world.receiver].resumption_psk, make().welcome
    accept = lambda **options: offers.accept(world, world.receiver, welcome, previous=None, **options)  # noqa: E731  # twice the same
    assert_refused("W3", accept)
    assert_refused("W11", lambda: accept(find_psk=lambda _: kept))


@every_group
@both_links
@pytest.mark.parametrize("epoch", [0, 2])
def test_w11_the_first_epoch(world: World, usage: str, epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows from another group has one commit behind it, not none and not two; we make no other ourselves."""
    offers, make = linked(world, usage)
    honest = commit_module.provisional_context
    monkeypatch.setattr(
        commit_module, "provisional_context", lambda *arguments: replace(honest(*arguments), epoch=epoch)
    )
    assert_refused("W11", make, world[MAKER])
    with off(rules.w11_first_epoch):
        pending = make()
    assert_w11(world, offers, pending.welcome, rules.w11_first_epoch)


@every_group
def test_w11_nobody_new_is_in_a_branch(world: World) -> None:
    offers = Offers(world, world.suite, [world.receiver, "stranger"])
    assert_refused("W11", lambda: branched(world, offers.verified(), MAKER), world[MAKER])
    with off(rules.w11_each_is_among):
        pending = branched(world, offers.verified(), MAKER)
    assert_w11(world, offers, pending.welcome, rules.w11_each_is_among)


@every_group
@pytest.mark.parametrize("changes", [{"group_id": b"another"}, {"cipher_suite": 3}], ids=lambda each: next(iter(each)))
def test_w11_a_branch_is_of_this_group_and_of_its_suite(world: World, changes: dict[str, Any]) -> None:
    assert_w11_elsewhere(world, "branch", changes, rules.w11_same_parameters)


@every_group
def test_w11_the_application_knows_who_is_one_client(world: World) -> None:
    offers = Offers(world, world.suite, [world.receiver, "person 0/second device"])

    def same_person(old: Any, new: Any) -> bool:
        return bool(old.identity.startswith(new.identity[:8]))

    trusting = GroupConfig(same_client=same_person)
    maker = changed_state(world[MAKER], config=trusting)
    pending = branch(maker, b"a branch", offers.verified(), lifetime=LIFETIME, now=NOW)
    offers.accept(world, world.receiver, pending.welcome, config=trusting)
    assert_refused("W11", lambda: offers.accept(world, world.receiver, pending.welcome))


@every_group
def test_w11_a_branch_does_not_take_the_place_of_what_was_promised(world: World) -> None:
    """The group is at its end; one of its members invites into a branch of it all the same."""
    offers = end(world)
    welcome = branched(world, offers.verified(MAKER), MAKER).welcome
    assert_w11(world, offers, welcome, rules.w11_link_present)


@every_group
def test_w11_a_stranger_cannot_make_the_group_that_follows(world: World) -> None:
    """It knows all that the ReInit promises, and not the PSK of the group before."""
    world = ended_world(world.suite, 2)
    offers = Offers(world, world.suite, ["person 0"])
    stranger = person("stranger", world.suite)
    forged = create_group(
        world.suite, NEW_ID, stranger.credential, stranger.signer, lifetime=LIFETIME, now=NOW, extensions=NEW_EXTENSIONS
    )
    welcome = forged.commit(offers.verified(), now=NOW).welcome
    previous = world["person 0"]
    assert_refused("W11", lambda: offers.accept(world, "person 0", welcome, previous=previous), previous)
    with off(rules.w11_link_present):
        offers.accept(world, "person 0", welcome, previous=previous)
