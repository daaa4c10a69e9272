"""Rules L9 to L11: the lifetimes of leaves that we send on, that we receive, and that stand in a tree which we enter.

Three policies: whoever adds looks closely, whoever reads of it comes to the same verdict as others did weeks before,
and a silent member keeps nobody from joining.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from crypto.mls.config import DAY_S, DEFAULT_CONFIG, HOUR_S, GroupConfig
from crypto.mls.group import ReceivedProposal, branch, join, verify_group_info, verify_key_package
from crypto.mls.mls_message import encode_message
from crypto.mls.rules import leaf as rules
from crypto.mls.tree_nodes import KeyPackageSource, Lifetime
from tests.crypto.forge import (
    assert_enters,
    assert_refused,
    changed_state,
    forged_commit,
    forged_proposal,
    off,
    offered_with,
    values,
)
from tests.crypto.matrix import every_group
from tests.crypto.world import LIFETIME, NOW, World, won

BEFORE, AFTER = LIFETIME.not_before, LIFETIME.not_after


def edges(early_s: int, late_s: int) -> pytest.MarkDecorator:
    """The last second that is still inside a lifetime, and the first that is not, at both ends."""
    return pytest.mark.parametrize(
        "inside, outside",
        [(AFTER + late_s, AFTER + late_s + 1), (BEFORE - early_s, BEFORE - early_s - 1)],
        ids=["expired", "not yet valid"],
    )


@every_group
@edges(HOUR_S, 0)
def test_l9_a_leaf_that_we_send_is_valid_now(world: World, inside: int, outside: int) -> None:
    """Wherever we send it: as we fetch it, propose it, commit it, and take it into a group of our own."""
    assert DEFAULT_CONFIG.clock_behind_max_s == HOUR_S
    offer = world.person("newcomer").offer()
    member = world.people[world.receiver].offer()
    message, sender = encode_message(offer.key_package), world["person 0"]
    long = Lifetime(outside - DAY_S, outside + DAY_S)
    ways = [
        lambda now: verify_key_package(message, now),
        lambda now: sender.propose_add(offer, now=now),
        lambda now: sender.commit([offer], now=now),
        lambda now: branch(sender, b"a branch", [member], lifetime=long, now=now),
    ]
    for way in ways:
        way(inside)
        assert_refused("L9", lambda way=way: way(outside), sender)
        with off(rules.l9_lifetime_of_sent_leaf):
            way(outside)


@every_group
@edges(HOUR_S, 0)
def test_l9_we_commit_no_proposed_add_that_has_expired(world: World, inside: int, outside: int) -> None:
    """It is left out: whoever proposed it may have done so in time."""
    offer = world.person("newcomer").offer()
    sender, _ = world["person 0"].propose_add(offer, now=NOW)
    assert sender.commit(now=inside).welcome is not None
    assert sender.commit(now=outside).welcome is None
    with off(rules.l9_lifetime_of_sent_leaf):
        assert sender.commit(now=outside).welcome is not None


@every_group
@edges(90 * DAY_S, 90 * DAY_S)
def test_l10_an_added_leaf_may_have_expired_a_while_ago_but_not_long_ago(
    world: World, inside: int, outside: int
) -> None:
    """By value and by reference: a member that was away keeps up with the others."""
    assert DEFAULT_CONFIG.receive_tolerance_s == 90 * DAY_S
    receiver = world[world.receiver]
    pending = world.pending("person 0", adds=["newcomer"])
    _, proposed = world["person 0"].propose_add(world.person("another").offer(), now=NOW)
    for message in (pending.message, proposed):
        receiver.receive(message, inside)
        assert_refused("L10", lambda message=message: receiver.receive(message, outside), receiver)
        with off(rules.l10_lifetime_of_received_leaf):
            receiver.receive(message, outside)


@every_group
@edges(366 * DAY_S, 366 * DAY_S)
def test_l10_t10_a_leaf_in_a_tree_may_have_expired_up_to_a_year_ago(world: World, inside: int, outside: int) -> None:
    """Entered by Welcome, and seen in a GroupInfo."""
    assert DEFAULT_CONFIG.join_tolerance_s == 366 * DAY_S
    newcomer = world.person("newcomer")
    pending = world.pending("person 0", adds=["newcomer"])
    group_info = won(pending).group_info()
    assert newcomer.bundle is not None
    assert pending.welcome is not None
    bundles, welcome = {newcomer.bundle.reference: newcomer.bundle}, pending.welcome
    ways = [
        lambda now: join(welcome, bundles, newcomer.signer, now=now),
        lambda now: verify_group_info(group_info, now=now),
    ]
    for way in ways:
        way(inside)
        assert_refused("L10", lambda way=way: way(outside))
        with off(rules.l10_lifetime_of_standing_leaf):
            way(outside)


@every_group
@pytest.mark.parametrize(
    "lifetime",
    [
        Lifetime(NOW - 1, 2**64 - 1),
        Lifetime(NOW - 1, NOW - 1 + 366 * DAY_S + 1),
        Lifetime(NOW + 3, NOW + 1),
    ],
    ids=["endless", "a second too long", "negative"],
)
def test_l11_t10_a_lifetime_is_neither_too_long_nor_negative(world: World, lifetime: Lifetime) -> None:
    """Fetched, proposed, committed, and in the tree of a group that one enters in either way."""
    assert DEFAULT_CONFIG.lifetime_max_s == 366 * DAY_S
    newcomer, receiver = world.person("newcomer"), world[world.receiver]
    add = offered_with(newcomer, leaf=lambda leaf: replace(leaf, source=KeyPackageSource(lifetime)))
    proposed = forged_proposal(world["person 0"], add)
    pending = forged_commit(world["person 0"], values(world, add))
    group_info = won(pending).group_info()
    assert_refused("L11", lambda: verify_key_package(encode_message(add.key_package), NOW))
    assert_refused("L11", lambda: receiver.receive(proposed, NOW), receiver)
    assert_refused("L11", lambda: receiver.receive(pending.message, NOW), receiver)
    assert_refused("L11", lambda: newcomer.accept(pending.welcome))
    assert_refused("L11", lambda: verify_group_info(group_info, now=NOW))
    with off(rules.l11_total_lifetime):
        verify_key_package(encode_message(add.key_package), NOW)
        assert isinstance(receiver.receive(proposed, NOW), ReceivedProposal)
        assert_enters(receiver, pending.message, won(pending))
        newcomer.accept(pending.welcome)
        verify_group_info(group_info, now=NOW)


@every_group
def test_l11_the_longest_lifetime_is_fine(world: World) -> None:
    longest = Lifetime(NOW - 1, NOW - 1 + 366 * DAY_S)
    newcomer = world.person("newcomer")
    add = offered_with(newcomer, leaf=lambda leaf: replace(leaf, source=KeyPackageSource(longest)))
    verified = verify_key_package(encode_message(add.key_package), NOW)
    pending = world["person 0"].commit([verified], now=NOW)
    assert_enters(world[world.receiver], pending.message, won(pending))
    newcomer.accept(pending.welcome)
    shorter = GroupConfig(lifetime_max_s=366 * DAY_S - 1)
    assert_refused("L11", lambda: verify_key_package(encode_message(add.key_package), NOW, shorter))
    stricter = changed_state(world["person 0"], config=shorter)
    assert_refused("L11", lambda: stricter.propose_add(verified, now=NOW), stricter)
    assert_refused("L11", lambda: stricter.commit([verified], now=NOW), stricter)
