"""External commits (RFC 9420 §12.4.3.2): clients that come in by themselves, into our groups and into theirs."""

from __future__ import annotations

import pytest

from crypto.errors import RuleViolation
from crypto.mls.config import GroupConfig
from crypto.mls.group import external_join, verify_group_info
from tests.interop.mixed_world import MixedWorld, world_of
from tests.interop.peers import mix, needs, now


@needs("rine")
def test_they_come_into_our_group_and_come_back() -> None:
    world, (us, bystander) = world_of("ours", "ours", allowed=("ours", "rine"))
    them = world.client("rine")
    world.join_externally(them, us)
    world.say(them, b"here I am")
    for vouching in (us, bystander):
        leaf = world.seat(them).leaf_index
        world.come_back(them, vouching)
        assert world.seat(them).leaf_index == leaf
        world.say(them, b"back again")
        world.say(us, b"so we see")
    world.add(them, world.client("rine"))


@needs("rine")
def test_we_come_into_their_group_and_come_back() -> None:
    world = MixedWorld(("ours", "rine"))
    founder, them, us = world.client("rine"), world.client("rine"), world.client("ours")
    world.found(founder)
    world.join_externally(us, founder)
    world.say(us, b"here we are")
    world.add(us, them)
    for vouching in (them, founder):
        world.come_back(us, vouching)
        world.say(us, b"back again")
        world.say(them, b"so I see")
    world.renew(us)


@pytest.mark.parametrize("founding", [mix("ours", "mls-rs"), mix("ours", "OpenMLS"), mix("ours", "mls-rs", "rine")])
def test_all_others_follow_when_one_of_ours_comes_by_itself(founding: tuple[str, ...]) -> None:
    """The binding of mls-rs makes no external commit, and neither does that of OpenMLS; both process one."""
    world, (us, *_, them) = world_of(*founding)
    newcomer = world.client("ours")
    world.join_externally(newcomer, us)
    world.say(newcomer, b"here I am")
    world.come_back(us, newcomer)
    world.come_back(newcomer, us)
    world.say(us, b"back again")
    world.add(them, world.client("ours"))


@needs("rine", "OpenMLS")
def test_openmls_follows_when_rine_comes_by_itself() -> None:
    world, (us, _) = world_of("ours", "OpenMLS", allowed=("ours", "OpenMLS", "rine"))
    them = world.client("rine")
    world.join_externally(them, us)
    world.come_back(them, us)
    world.say(them, b"back again")


@needs("mls-rs", "rine")
def test_all_refuse_a_stranger_in_the_place_of_a_member() -> None:
    """Rule X2. mls-rs compares identities, as we do; OpenMLS leaves it to the application."""
    world, (us, *others) = world_of("ours", "mls-rs", "rine")
    stranger = world.client("ours")
    pending = external_join(
        verify_group_info(us.group_info(), now=now()),
        stranger.credential,
        stranger.signer,
        removes=world.seat(others[0]).leaf_index,
        config=GroupConfig(same_client=lambda _former, _new: True),
    )
    with pytest.raises(RuleViolation, match="X2"):
        us.process(pending.message, stranger.identity)
    for other in others:
        with pytest.raises(other.refusal):
            other.process(pending.message, stranger.identity)
    world.renew(us)
