"""External commits (RFC 9420 §12.4.3.2): clients that join by themselves, and clients that come back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from crypto.errors import AuthenticationError, DecodeError, PastEpoch, RuleViolation
from crypto.mls import external
from crypto.mls.config import GroupConfig
from crypto.mls.extensions import Extension, ExtensionType, ExternalPub
from crypto.mls.framing import (
    decode_message,
    encode_message,
)
from crypto.mls.group import (
    Group,
    StagedCommit,
    create_group,
    external_join,
    verify_group_info,
)
from crypto.mls.group_info import sign_group_info
from crypto.mls.psk import ExternalPSK, ResumptionPSK, ResumptionPSKUsage
from crypto.mls.rules import message as message_rules
from crypto.mls.snapshot import load, rows
from crypto.mls.tree_nodes import LeafIndex
from crypto.mls.welcome import GroupInfo
from crypto.secret import Secret
from crypto.suites import SUITES, CipherSuite, suite
from crypto.wire import encode
from tests.crypto.forge import UNLISTED, Change, assert_refused, changed_state, off
from tests.crypto.outside import OPEN, joining, open_world, seen, win
from tests.crypto.world import LIFETIME, NOW, SIZES, World, every_suite, world_of


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
    world = open_world(suite(1), 3)
    someone = world.people["person 2"]
    lost = someone.view
    pending = joining(world, someone, removes=lost.own_leaf)
    staged = lost.receive(pending.message, NOW)
    assert isinstance(staged, StagedCommit)
    assert staged.removes_us


@every_suite
def test_x9_a_joiner_takes_the_leftmost_blank_leaf(belongs: CipherSuite) -> None:
    world = open_world(belongs, 9)
    world.commit("person 0", removes=["person 3", "person 5"])
    joiner = world.person("joiner")
    win(world, joiner, joining(world, joiner))
    assert world["joiner"].own_leaf == 3
    another = world.person("another")
    win(world, another, joining(world, another, by="joiner"))
    assert world["another"].own_leaf == 5
    third = world.person("third")
    win(world, third, joining(world, third))
    assert world["third"].own_leaf == 9


def test_x9_a_joiner_at_another_place() -> None:
    """Its leaf is signed for that place, and its path made for it."""
    world = open_world(suite(1), 5)
    world.commit("person 0", removes=["person 1", "person 3"])
    honest = external._make_room

    def other_place(*arguments: Any) -> Any:
        tree, roster, _ = honest(*arguments)
        return tree, roster, LeafIndex(3)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(external, "_make_room", other_place)
        pending = joining(world, world.person("joiner"))
    for name in ("person 0", "person 4"):
        with pytest.raises(AuthenticationError):
            world[name].receive(pending.message, NOW)


def test_external_commits_are_refused_by_default() -> None:
    """Rule F20."""
    world = world_of(suite(1), 3)
    pending = joining(world, world.person("joiner"))
    receiver = world["person 1"]
    assert_refused("F20", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(message_rules.f20_public_allowed):
        receiver.receive(pending.message, NOW)
    members_public = changed_state(receiver, config=GroupConfig(accept_public_handshakes=True))
    assert_refused("F20", lambda: members_public.receive(pending.message, NOW), members_public)


@every_suite
def test_psks_prove_what_the_members_ask_for(belongs: CipherSuite) -> None:
    """Rule X10: the application sees who comes, who goes and what was proved."""
    world = open_world(belongs, 4)
    someone = world.people["person 3"]
    former = ResumptionPSK(ResumptionPSKUsage.APPLICATION, someone.view.group_id, someone.view.epoch)
    known = {former: someone.view.resumption_psk, ExternalPSK(b"paper"): Secret(b"paper" * 8)}
    world.commit("person 0")
    leaf = world.leaf("person 3")
    pending = joining(world, someone, removes=leaf, psks=tuple(known), find_psk=known.get)
    receiver = world["person 1"]
    assert_refused("U10", lambda: receiver.receive(pending.message, NOW), receiver)
    with pytest.raises(AuthenticationError):
        receiver.receive(pending.message, NOW, lambda _: Secret(b"another"))
    someone.group = None
    staged = win(world, someone, pending, known.get)
    assert all(each.psks == tuple(known) for each in staged)
    with pytest.raises(RuleViolation, match="U10"):
        joining(world, world.person("joiner"), psks=(ExternalPSK(b"unknown"),))


def reissued(group: Group, change: Change) -> bytes:
    """A GroupInfo with a change, signed again by its member."""
    body = decode_message(group.group_info()).body
    assert isinstance(body, GroupInfo)
    return encode_message(sign_group_info(group.suite, group.state.signer, change(body)))


def with_external_pub(key: bytes | None) -> Change:
    def change(group_info: GroupInfo) -> GroupInfo:
        others = [each for each in group_info.extensions if each.extension_type != ExtensionType.EXTERNAL_PUB]
        if key is not None:
            others.append(Extension(ExtensionType.EXTERNAL_PUB, encode(ExternalPub(key))))
        return replace(group_info, extensions=tuple(others))

    return change


@every_suite
@pytest.mark.parametrize("key", [None, b"", b"short", bytes(32), bytes(1216)])
def test_x7_no_external_key_to_join_by(belongs: CipherSuite, key: bytes | None) -> None:
    world = open_world(belongs, 2)
    joiner = world.person("joiner")
    verified = verify_group_info(reissued(world["person 0"], with_external_pub(key)), now=NOW)
    assert_refused("X7", lambda: external_join(verified, joiner.credential, joiner.signer))


@every_suite
def test_x7_a_key_swapped_by_the_server(belongs: CipherSuite) -> None:
    """The member's signature covers it; and where a member swapped it, the others find the epoch to be another."""
    world = open_world(belongs, 3)
    joiner = world.person("joiner")
    other_key = with_external_pub(belongs.generate_hpke_key_pair().public)
    body = decode_message(world["person 0"].group_info()).body
    assert isinstance(body, GroupInfo)
    with pytest.raises(AuthenticationError):
        verify_group_info(encode_message(other_key(body)), now=NOW)
    verified = verify_group_info(reissued(world["person 0"], other_key), now=NOW)
    pending = external_join(verified, joiner.credential, joiner.signer)
    with pytest.raises(AuthenticationError):
        world["person 1"].receive(pending.message, NOW)


def test_x7_an_old_group_info_leads_to_an_old_epoch() -> None:
    world = open_world(suite(1), 3)
    old = seen(world["person 0"])
    world.commit("person 1")
    joiner = world.person("joiner")
    pending = external_join(old, joiner.credential, joiner.signer)
    assert old.epoch == world["person 0"].epoch - 1
    with pytest.raises(PastEpoch):
        world["person 2"].receive(pending.message, NOW)


def test_w12_a_joiner_supports_what_the_group_asks_for() -> None:
    world = World(suite(1), config=OPEN)
    founder = world.person("founder")
    founder.group = create_group(
        suite(1),
        b"a group of this test",
        founder.credential,
        founder.signer,
        lifetime=LIFETIME,
        now=NOW,
        extensions=(UNLISTED,),
        supported_extensions=(UNLISTED.extension_type,),
        config=OPEN,
    )
    joiner = world.person("joiner")
    assert_refused("W12", lambda: joining(world, joiner, by="founder"))
    win(world, joiner, joining(world, joiner, by="founder", supported_extensions=(UNLISTED.extension_type,)))


def test_what_is_no_group_info() -> None:
    world = open_world(suite(1), 2)
    _, message = world["person 0"].protect(b"hello")
    with pytest.raises(DecodeError):
        verify_group_info(message, now=NOW)


def test_a_group_info_may_leave_out_the_tree() -> None:
    world = open_world(suite(1), 3)
    message = world["person 0"].group_info(ratchet_tree=False)
    assert_refused("W7", lambda: verify_group_info(message, now=NOW))
    whole = decode_message(world["person 0"].group_info()).body
    assert isinstance(whole, GroupInfo)
    tree = next(each.extension_data for each in whole.extensions if each.extension_type == ExtensionType.RATCHET_TREE)
    verified = verify_group_info(message, now=NOW, ratchet_tree=tree)
    assert verified.signer == world["person 0"].member(world["person 0"].own_leaf)
    assert (verified.group_id, verified.extensions) == (world["person 0"].group_id, ())


def test_w4_a_group_info_is_signed_by_the_member_that_it_names() -> None:
    world = open_world(suite(1), 3)

    def by(signer: int) -> bytes:
        return reissued(world["person 0"], lambda group_info: replace(group_info, signer=signer))

    with pytest.raises(AuthenticationError):
        verify_group_info(by(1), now=NOW)
    assert_refused("W4", lambda: verify_group_info(by(3), now=NOW))
