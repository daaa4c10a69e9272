"""External commits (RFC 9420 §12.4.3.2): clients that join by themselves, and clients that come back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crypto.errors import DecodeError
from crypto.mls.extensions import ExtensionType
from crypto.mls.group import (
    StagedCommit,
    verify_group_info,
)
from crypto.mls.mls_message import decode_message
from crypto.mls.rules import leaf as leaf_rules
from crypto.mls.rules import proposal_list as list_rules
from crypto.mls.rules import welcome as welcome_rules
from crypto.mls.snapshot import load, rows
from crypto.mls.welcome import GroupInfo
from crypto.suites import SUITES, CipherSuite, suite_of
from tests.crypto.forge import UNLISTED, assert_not_authentic, assert_refused, follow, off
from tests.crypto.matrix import every_group, open_groups
from tests.crypto.outside import OPEN, joining, open_world, reissued, seen, win
from tests.crypto.world import NOW, SIZES, World, every_suite


@every_suite
@pytest.mark.parametrize("size", [1, *SIZES])
def test_a_client_joins_by_itself(belongs: CipherSuite, size: int) -> None:
    world = open_world(belongs, size)
    joiner = world.person("joiner")
    epoch = world["person 0"].epoch
    pending = joining(world, joiner)
    assert [member.credential for member in seen(world["person 0"]).members] == [
        someone.credential for someone in world.members
    ]
    staged = win(world, joiner, pending)
    assert world["joiner"].epoch == epoch + 1
    for each in staged:
        assert each.is_external
        assert each.sender == world["joiner"].member(world["joiner"].own_leaf)
        assert each.added == (each.sender,)
        assert (each.removed, each.updated, each.psks, each.removes_us) == ((), (), (), False)
    joiner.group = load(rows(joiner.view), joiner.signer, joiner.config)
    world.say("joiner", b"here I am")
    world.say("person 0", b"welcome")
    world.commit("joiner", adds=["another"])
    world.commit("person 0")
    world.say("another", b"so am I")


@pytest.mark.parametrize("belongs", SUITES.values(), ids=lambda each: f"suite {each.id:#06x}")
def test_every_suite_has_external_commits(belongs: CipherSuite) -> None:
    world = open_world(belongs, 3)
    joiner = world.person("joiner")
    win(world, joiner, joining(world, joiner))
    world.say("joiner", b"here I am")


@every_suite
@pytest.mark.parametrize("size", [2, 5, 9])
def test_a_client_comes_back_in_place_of_its_former_self(belongs: CipherSuite, size: int) -> None:
    world = open_world(belongs, size)
    last = world.people[f"person {size - 1}"]
    lost = last.view
    last.group = None
    staged = win(world, last, joining(world, last, removes=lost.own_leaf))
    assert last.view.own_leaf == lost.own_leaf
    for each in staged:
        assert [member.credential for member in each.removed] == [last.credential]
        assert [member.credential for member in each.added] == [last.credential]
    world.say(last.name, b"back again")
    world.commit("person 0")


def test_the_former_self_of_who_comes_back_learns_that_it_is_out() -> None:
    world = open_world(suite_of(1), 3)
    someone = world.people["person 2"]
    lost = someone.view
    pending = joining(world, someone, removes=lost.own_leaf)
    staged = lost.receive(pending.message, NOW)
    assert isinstance(staged, StagedCommit)
    assert staged.removes_us


def test_what_is_no_group_info() -> None:
    world = open_world(suite_of(1), 2)
    _, message = world["person 0"].protect(b"hello")
    with pytest.raises(DecodeError):
        verify_group_info(message, now=NOW)


@every_group
def test_w7_a_group_info_may_leave_out_the_tree_but_then_it_must_come(world: World) -> None:
    group = world["person 0"]
    message = group.group_info(ratchet_tree=False)
    assert_refused("W7", lambda: verify_group_info(message, now=NOW))
    whole = decode_message(group.group_info()).body
    assert isinstance(whole, GroupInfo)
    tree = next(each.extension_data for each in whole.extensions if each.extension_type == ExtensionType.RATCHET_TREE)
    verified = verify_group_info(message, now=NOW, ratchet_tree=tree)
    assert verified.signer == group.member(group.own_leaf)
    assert (verified.group_id, verified.extensions, verified.members) == (group.group_id, (), group.members)


@every_group
def test_w4_a_group_info_is_signed_by_the_member_that_it_names(world: World) -> None:
    """There is no such member, or it is another than the one who signed."""
    group, nobodys = world["person 0"], len(world.members)

    def by(signer: int) -> bytes:
        return reissued(group, lambda group_info: replace(group_info, signer=signer))

    assert_not_authentic(lambda: verify_group_info(by(1), now=NOW))
    for signer in (nobodys, 2**32 - 1):
        assert_refused("W4", lambda signer=signer: verify_group_info(by(signer), now=NOW))
    assert verify_group_info(by(0), now=NOW).signer == group.member(group.own_leaf)


@open_groups(OPEN)
def test_w12_a_joiner_supports_what_the_group_asks_for(world: World) -> None:
    """The group came to an extension that nobody supports, which is for others to refuse."""
    joiner = world.person("joiner")
    with off(leaf_rules.l3_requirements, list_rules.p8_members_support_extensions):
        follow(world, "person 0", world["person 0"].commit(extensions=(UNLISTED,), now=NOW))
        assert_refused("W12", lambda: joining(world, joiner))
        pending = joining(world, joiner, supported_extensions=(UNLISTED.extension_type,))
        with off(welcome_rules.w12_we_support):
            joining(world, joiner)
    receiver = world[world.receiver]
    staged = receiver.receive(pending.message, NOW)
    assert isinstance(staged, StagedCommit)
    assert receiver.adopt(staged).epoch_authenticator == pending.next_group.epoch_authenticator
