"""Reinitialising a group and branching from it (RFC 9420 §11.2, §11.3)."""

from __future__ import annotations

import pytest

from crypto.mls.extensions import Extension, ExtensionType
from crypto.mls.group import (
    KeptPSKs,
    StagedCommit,
    branch,
)
from crypto.mls.headers import ProtocolVersion
from crypto.mls.proposals import ReInit
from crypto.mls.psk import ExternalPSK, ResumptionPSK, ResumptionPSKUsage
from crypto.mls.rules import extensions as extension_rules
from crypto.suites import X_WING, CipherSuite, suite_of
from tests.crypto.forge import (
    UNLISTED,
    assert_refused,
    by_value,
    forged_commit,
    forged_proposal,
    off,
)
from tests.crypto.offers import NEW_EXTENSIONS, NEW_ID, Offers, branched, continued
from tests.crypto.world import LIFETIME, NOW, World, every_suite, won, world_of


def ended_world(belongs: CipherSuite, count: int, next_suite: CipherSuite | None = None) -> World:
    """A group that was reinitialised."""
    world = world_of(belongs, count)
    sent = world["person 1"].propose_reinit(NEW_ID, next_suite or belongs, NEW_EXTENSIONS, now=NOW)
    world.deliver_proposal("person 1", sent)
    staged = world.commit("person 0")
    promised = ReInit(NEW_ID, ProtocolVersion.MLS10, (next_suite or belongs).id, NEW_EXTENSIONS)
    assert all(each.reinit == promised for each in staged.values())
    assert all(someone.view.reinitialised_to == promised for someone in world.members)
    return world


@pytest.mark.parametrize(
    "before, after", [(suite_of(1), X_WING), (X_WING, X_WING), (X_WING, suite_of(3)), (suite_of(1), suite_of(7))]
)
@pytest.mark.parametrize("size", [3, 5, 9])
def test_a_group_goes_on_with_other_parameters(before: CipherSuite, after: CipherSuite, size: int) -> None:
    world = ended_world(before, size, after)
    names = [someone.name for someone in world.members]
    offers = Offers(world, after, names)
    pending = continued(world, offers, offers.verified("person 2"), by="person 2")
    joined = {name: offers.accept(world, name, pending.welcome) for name in names if name != "person 2"}
    for group in joined.values():
        assert group.epoch_authenticator == won(pending).epoch_authenticator
        assert (group.group_id, group.suite, group.extensions, group.epoch) == (NEW_ID, after, NEW_EXTENSIONS, 1)
    group, message = won(pending).protect(b"here we are")
    assert joined["person 0"].receive(message, NOW).data == b"here we are"  # type: ignore[union-attr]  # application data
    assert group.reinitialised_to is None


def test_a_reinit_by_value_needs_no_path() -> None:
    world = world_of(suite_of(1), 4)
    reinit = by_value(world["person 0"], ReInit(NEW_ID, ProtocolVersion.MLS10, 1, ()))
    pending = forged_commit(world["person 0"], [reinit], with_path=False)
    staged = world["person 3"].receive(pending.message, NOW)
    assert isinstance(staged, StagedCommit)
    assert staged.reinit == reinit.proposal
    assert staged.updated == ()
    assert world["person 3"].adopt(staged).reinitialised_to == reinit.proposal


def test_a_committer_prefers_everything_else_to_a_reinit() -> None:
    """§12.2."""
    world = world_of(suite_of(1), 5)
    for name in ("person 1", "person 2"):
        world.deliver_proposal(name, world[name].propose_reinit(name.encode(), suite_of(1), (), now=NOW))
    world.deliver_proposal("person 1", world["person 1"].propose_update(now=NOW))
    staged = world.pending("person 0")
    assert won(staged).reinitialised_to is None
    wanted = world.pending("person 1")  # its own Update is not for it to commit: nothing is left but the ReInits
    assert won(wanted).reinitialised_to is not None
    assert won(wanted).reinitialised_to.group_id == b"person 1"
    assert won(world.pending("person 1", adds=["newcomer"])).reinitialised_to is None


@pytest.mark.parametrize("rule", ["L17", "L18"])
def test_the_extensions_of_a_reinit_are_those_of_a_group_context(rule: str) -> None:
    world = world_of(suite_of(1), 3)
    extensions = (Extension(ExtensionType.RATCHET_TREE, b""),) if rule == "L17" else (UNLISTED, UNLISTED)
    message = forged_proposal(world["person 0"], ReInit(NEW_ID, ProtocolVersion.MLS10, 1, extensions))
    receiver = world["person 1"]
    assert_refused(rule, lambda: receiver.receive(message, NOW), receiver)
    function = (
        extension_rules.l17_group_context_extensions if rule == "L17" else extension_rules.l18_extension_types_unique
    )
    with off(function):
        receiver.receive(message, NOW)


# Branching


@every_suite
@pytest.mark.parametrize("size", [3, 5, 9])
def test_some_members_branch_off(belongs: CipherSuite, size: int) -> None:
    world = world_of(belongs, size)
    offers = Offers(world, belongs, ["person 0", "person 1"])
    pending = branched(world, offers.verified(), by="person 2")
    for name in ("person 0", "person 1"):
        group = offers.accept(world, name, pending.welcome)
        assert group.epoch_authenticator == won(pending).epoch_authenticator
        assert {member.credential.identity for member in group.members} == {b"person 0", b"person 1", b"person 2"}
    world.say("person 0", b"the old group goes on")
    alone = branch(world["person 1"], b"a group of one", [], lifetime=LIFETIME, now=NOW)
    assert alone.welcome is None
    assert won(alone).epoch == 1


def test_a_branch_of_an_epoch_that_is_over_needs_the_kept_psk() -> None:
    """Rule S3: the application keeps resumption PSKs, and how many is bounded."""
    world = world_of(suite_of(1), 4)
    kept = KeptPSKs(2)
    before = world["person 0"]
    kept = kept.remember(before.group_id, before.epoch, before.resumption_psk)
    offers = Offers(world, suite_of(1), ["person 0", "person 1"])
    pending = branched(world, offers.verified(), by="person 2")
    world.commit("person 3")
    assert_refused("W3", lambda: offers.accept(world, "person 0", pending.welcome))
    assert offers.accept(world, "person 0", pending.welcome, find_psk=kept.find).epoch == 1


def test_psks_that_are_kept() -> None:
    kept = KeptPSKs(2)
    group = world_of(suite_of(1), 1)["person 0"]
    for epoch in range(1000):
        kept = kept.remember(b"group", epoch, group.resumption_psk)
    assert len(kept.kept) == 2
    kept = kept.remember(b"group", 999, group.resumption_psk)
    assert [epoch for _, epoch, _ in kept.kept] == [998, 999]

    def named(group_id: bytes, epoch: int) -> ResumptionPSK:
        return ResumptionPSK(ResumptionPSKUsage.APPLICATION, group_id, epoch)

    assert kept.find(named(b"group", 998)) == group.resumption_psk
    assert kept.find(named(b"group", 997)) is None
    assert kept.find(named(b"other", 998)) is None
    assert kept.find(ExternalPSK(b"group")) is None
    assert KeptPSKs(0).remember(b"group", 1, group.resumption_psk).kept == ()
