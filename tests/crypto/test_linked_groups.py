"""Reinitialising a group and branching from it (RFC 9420 §11.2, §11.3)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from crypto.errors import UsageError
from crypto.mls import linked_groups
from crypto.mls.config import GroupConfig
from crypto.mls.extensions import Extension, ExtensionType
from crypto.mls.group import (
    Group,
    KeptPSKs,
    KeyPackageBundle,
    PendingCommit,
    StagedCommit,
    VerifiedKeyPackage,
    branch,
    generate_key_package,
    join,
    reinitialise,
    verify_key_package,
)
from crypto.mls.proposals import ReInit
from crypto.mls.psk import ExternalPSK, ResumptionPSK, ResumptionPSKUsage
from crypto.mls.rules import leaf as leaf_rules
from crypto.mls.rules import welcome as welcome_rules
from crypto.mls.tree_nodes import ProtocolVersion
from crypto.suites import X_WING, CipherSuite, SignatureKeyPair, suite
from tests.crypto.forge import (
    UNLISTED,
    assert_refused,
    by_value,
    changed_state,
    forged_commit,
    forged_proposal,
    off,
    requiring,
)
from tests.crypto.world import LIFETIME, NOW, World, every_suite, world_of

NEW_ID = b"the group that follows"
NEW_EXTENSIONS = requiring(ExtensionType.LAST_RESORT_KEY_PACKAGE)


class Offers:
    """A fresh key package of each person for another group, and the keys that belong to it."""

    def __init__(self, world: World, belongs: CipherSuite, names: list[str]) -> None:
        self.bundles: dict[str, KeyPackageBundle] = {}
        self.signers: dict[str, SignatureKeyPair] = {}
        for name in names:
            someone = world.person(name)
            self.signers[name] = someone.signer if belongs is world.suite else belongs.signature.generate()
            self.bundles[name] = generate_key_package(
                belongs, someone.credential, self.signers[name], lifetime=LIFETIME
            )

    def verified(self, *but: str) -> list[VerifiedKeyPackage]:
        return [verify_key_package(each.message(), NOW) for name, each in self.bundles.items() if name not in but]

    def accept(self, world: World, name: str, welcome: bytes | None, **options: Any) -> Group:
        assert welcome is not None
        bundle = self.bundles[name]
        options = {"previous": world.people[name].group} | options
        return join(welcome, {bundle.reference: bundle}, self.signers[name], now=NOW, **options).accept()


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


def continued(world: World, offers: Offers, adds: list[VerifiedKeyPackage], by: str = "person 2") -> PendingCommit:
    someone = world.people[by]
    return reinitialise(someone.view, adds, someone.credential, offers.signers[by], lifetime=LIFETIME, now=NOW)


@pytest.mark.parametrize(
    "before, after", [(suite(1), X_WING), (X_WING, X_WING), (X_WING, suite(3)), (suite(1), suite(7))]
)
@pytest.mark.parametrize("size", [3, 5, 9])
def test_a_group_goes_on_with_other_parameters(before: CipherSuite, after: CipherSuite, size: int) -> None:
    world = ended_world(before, size, after)
    names = [someone.name for someone in world.members]
    offers = Offers(world, after, names)
    pending = continued(world, offers, offers.verified("person 2"))
    joined = {name: offers.accept(world, name, pending.welcome) for name in names if name != "person 2"}
    for group in joined.values():
        assert group.epoch_authenticator == pending.next_group.epoch_authenticator
        assert (group.group_id, group.suite, group.extensions, group.epoch) == (NEW_ID, after, NEW_EXTENSIONS, 1)
    group, message = pending.next_group.protect(b"here we are")
    assert joined["person 0"].receive(message, NOW).data == b"here we are"  # type: ignore[union-attr]  # application data
    assert group.reinitialised_to is None


def test_a_reinit_by_value_needs_no_path() -> None:
    world = world_of(suite(1), 4)
    reinit = by_value(world["person 0"], ReInit(NEW_ID, ProtocolVersion.MLS10, 1, ()))
    pending = forged_commit(world["person 0"], [reinit], with_path=False)
    staged = world["person 3"].receive(pending.message, NOW)
    assert isinstance(staged, StagedCommit)
    assert staged.reinit == reinit.proposal
    assert staged.updated == ()
    assert staged.merge().reinitialised_to == reinit.proposal


def test_a_committer_prefers_everything_else_to_a_reinit() -> None:
    """§12.2."""
    world = world_of(suite(1), 5)
    for name in ("person 1", "person 2"):
        world.deliver_proposal(name, world[name].propose_reinit(name.encode(), suite(1), (), now=NOW))
    world.deliver_proposal("person 1", world["person 1"].propose_update(now=NOW))
    staged = world.pending("person 0")
    assert staged.next_group.reinitialised_to is None
    wanted = world.pending("person 1")  # its own Update is not for it to commit: nothing is left but the ReInits
    assert wanted.next_group.reinitialised_to is not None
    assert wanted.next_group.reinitialised_to.group_id == b"person 1"
    assert world.pending("person 1", adds=["newcomer"]).next_group.reinitialised_to is None


@pytest.mark.parametrize("rule", ["L17", "L18"])
def test_the_extensions_of_a_reinit_are_those_of_a_group_context(rule: str) -> None:
    world = world_of(suite(1), 3)
    extensions = (Extension(ExtensionType.RATCHET_TREE, b""),) if rule == "L17" else (UNLISTED, UNLISTED)
    message = forged_proposal(world["person 0"], ReInit(NEW_ID, ProtocolVersion.MLS10, 1, extensions))
    receiver = world["person 1"]
    assert_refused(rule, lambda: receiver.receive(message, NOW), receiver)
    function = leaf_rules.l17_group_context_extensions if rule == "L17" else leaf_rules.l18_extension_types_unique
    with off(function):
        receiver.receive(message, NOW)


# Rule W11, reinitialised


def assert_w11(world: World, offers: Offers, welcome: bytes | None, function: Any, **options: Any) -> None:
    """`person 0` refuses a Welcome by one function of rule W11, and accepts it without that function."""
    assert_refused("W11", lambda: offers.accept(world, "person 0", welcome, **options))
    with off(function):
        offers.accept(world, "person 0", welcome, **options)


def made_wrong(world: World, offers: Offers, change: Any, adds: list[VerifiedKeyPackage] | None = None) -> bytes | None:
    """A successor group made by a member who promises one thing and does another."""
    maker = world["person 2"]
    promised = maker.reinitialised_to
    assert promised is not None
    lying = changed_state(maker, reinit=change(promised))
    someone = world.people["person 2"]
    with off(welcome_rules.w11_each_is_among):
        pending = reinitialise(
            lying,
            offers.verified("person 2") if adds is None else adds,
            someone.credential,
            offers.signers["person 2"],
            lifetime=LIFETIME,
            now=NOW,
        )
    return pending.welcome


@every_suite
@pytest.mark.parametrize("field", ["group_id", "extensions"])
def test_w11_the_new_group_is_as_promised(belongs: CipherSuite, field: str) -> None:
    world = ended_world(belongs, 4)
    offers = Offers(world, belongs, [someone.name for someone in world.members])
    other: dict[str, Any] = {"group_id": b"another", "extensions": ()}
    welcome = made_wrong(world, offers, lambda reinit: replace(reinit, **{field: other[field]}))
    assert_w11(world, offers, welcome, welcome_rules.w11_as_promised)


def test_w11_the_suite_is_as_promised() -> None:
    world = ended_world(suite(1), 4, X_WING)
    offers = Offers(world, suite(3), [someone.name for someone in world.members])
    welcome = made_wrong(world, offers, lambda reinit: replace(reinit, cipher_suite=3))
    assert_w11(world, offers, welcome, welcome_rules.w11_as_promised)


def test_w11_everybody_of_the_old_group_is_in_the_new() -> None:
    world = ended_world(suite(1), 4)
    offers = Offers(world, suite(1), [someone.name for someone in world.members])
    welcome = made_wrong(world, offers, lambda same: same, offers.verified("person 2", "person 3"))
    assert_w11(world, offers, welcome, welcome_rules.w11_each_is_among)
    assert_refused("W11", lambda: continued(world, offers, offers.verified("person 2", "person 3")))


def test_w11_a_reinitialised_group_may_have_more_members() -> None:
    world = ended_world(suite(1), 3)
    offers = Offers(world, suite(1), ["person 0", "person 1", "person 2", "newcomer"])
    pending = continued(world, offers, offers.verified("person 2"))
    offers.accept(world, "person 0", pending.welcome)


def test_w11_a_group_that_goes_on_has_no_successor() -> None:
    world = world_of(suite(1), 3)
    offers = Offers(world, suite(1), ["person 0", "person 1", "person 2"])
    ended = changed_state(world["person 2"], reinit=ReInit(NEW_ID, ProtocolVersion.MLS10, 1, ()))
    someone = world.people["person 2"]
    adds = offers.verified("person 2")
    pending = reinitialise(ended, adds, someone.credential, someone.signer, lifetime=LIFETIME, now=NOW)
    assert_w11(world, offers, pending.welcome, welcome_rules.w11_as_promised)
    with pytest.raises(UsageError):
        reinitialise(world["person 2"], adds, someone.credential, someone.signer, lifetime=LIFETIME, now=NOW)


def test_w11_the_psk_is_of_the_last_epoch() -> None:
    world = ended_world(suite(1), 3)
    offers = Offers(world, suite(1), ["person 0", "person 1", "person 2"])
    pending = continued(world, offers, offers.verified("person 2"))
    elsewhen = changed_state(
        world["person 0"], context=replace(world["person 0"].state.context, epoch=world["person 0"].epoch + 1)
    )
    kept = world["person 0"].resumption_psk
    assert_w11(
        world,
        offers,
        pending.welcome,
        welcome_rules.w11_as_promised,
        previous=elsewhen,
        find_psk=lambda _: kept,
    )


@pytest.mark.parametrize("usage", ["reinit", "branch"])
def test_w11_a_group_that_nobody_expected(usage: str) -> None:
    """Without the group that it follows from, the PSK is unknown, or the link cannot be judged."""
    world = ended_world(suite(1), 3) if usage == "reinit" else world_of(suite(1), 3)
    offers = Offers(world, suite(1), ["person 0", "person 1", "person 2"])
    adds = offers.verified("person 2")
    pending = continued(world, offers, adds) if usage == "reinit" else branched(world, adds)
    kept = world["person 0"].resumption_psk
    assert_refused("W3", lambda: offers.accept(world, "person 0", pending.welcome, previous=None))
    assert_refused(
        "W11",
        lambda: offers.accept(world, "person 0", pending.welcome, previous=None, find_psk=lambda _: kept),
    )


@pytest.mark.parametrize("usage", ["reinit", "branch"])
def test_w11_the_first_epoch(usage: str) -> None:
    world = ended_world(suite(1), 3) if usage == "reinit" else world_of(suite(1), 3)
    offers = Offers(world, suite(1), ["person 0", "person 1", "person 2"])
    adds = offers.verified("person 2")
    honest = linked_groups.create_commit

    def one_epoch_on(new: Any, *arguments: Any, **options: Any) -> Any:
        context = replace(new.context, epoch=1)
        return honest(replace(new, context=context), *arguments, **options)

    with pytest.MonkeyPatch.context() as patch, off(welcome_rules.w11_first_epoch):
        patch.setattr(linked_groups, "create_commit", one_epoch_on)
        pending = continued(world, offers, adds) if usage == "reinit" else branched(world, adds)
    assert_w11(world, offers, pending.welcome, welcome_rules.w11_first_epoch)


# Branching


def branched(world: World, adds: list[VerifiedKeyPackage], by: str = "person 2") -> PendingCommit:
    return branch(world[by], b"a branch", adds, lifetime=LIFETIME, now=NOW)


@every_suite
@pytest.mark.parametrize("size", [3, 5, 9])
def test_some_members_branch_off(belongs: CipherSuite, size: int) -> None:
    world = world_of(belongs, size)
    offers = Offers(world, belongs, ["person 0", "person 1"])
    pending = branched(world, offers.verified())
    for name in ("person 0", "person 1"):
        group = offers.accept(world, name, pending.welcome)
        assert group.epoch_authenticator == pending.next_group.epoch_authenticator
        assert {member.credential.identity for member in group.members} == {b"person 0", b"person 1", b"person 2"}
    world.say("person 0", b"the old group goes on")
    alone = branch(world["person 1"], b"a group of one", [], lifetime=LIFETIME, now=NOW)
    assert alone.welcome is None
    assert alone.next_group.epoch == 1


def test_a_branch_of_an_epoch_that_is_over_needs_the_kept_psk() -> None:
    """Rule S3: the application keeps resumption PSKs, and how many is bounded."""
    world = world_of(suite(1), 4)
    kept = KeptPSKs(2)
    before = world["person 0"]
    kept = kept.remember(before.group_id, before.epoch, before.resumption_psk)
    offers = Offers(world, suite(1), ["person 0", "person 1"])
    pending = branched(world, offers.verified())
    world.commit("person 3")
    assert_refused("W3", lambda: offers.accept(world, "person 0", pending.welcome))
    assert offers.accept(world, "person 0", pending.welcome, find_psk=kept.find).epoch == 1


def test_w11_nobody_new_is_in_a_branch() -> None:
    world = world_of(suite(1), 4)
    offers = Offers(world, suite(1), ["person 0", "stranger"])
    assert_refused("W11", lambda: branched(world, offers.verified()))
    with off(welcome_rules.w11_each_is_among):
        pending = branched(world, offers.verified())
    assert_w11(world, offers, pending.welcome, welcome_rules.w11_each_is_among)


def test_w11_a_branch_of_another_group() -> None:
    world = world_of(suite(1), 4)
    offers = Offers(world, suite(1), ["person 0", "person 1"])
    pending = branched(world, offers.verified())
    kept = world["person 0"].resumption_psk
    state = world["person 0"].state
    other = changed_state(world["person 0"], context=replace(state.context, group_id=b"another"))
    assert_w11(
        world, offers, pending.welcome, welcome_rules.w11_same_parameters, previous=other, find_psk=lambda _: kept
    )


def test_w11_a_branch_of_another_suite() -> None:
    world = world_of(suite(1), 4)
    offers = Offers(world, suite(1), ["person 0", "person 1"])
    pending = branched(world, offers.verified())
    kept = world["person 0"].resumption_psk
    state = world["person 0"].state
    other = changed_state(world["person 0"], context=replace(state.context, cipher_suite=3))
    assert_w11(
        world, offers, pending.welcome, welcome_rules.w11_same_parameters, previous=other, find_psk=lambda _: kept
    )


def test_w11_the_application_knows_who_is_one_client() -> None:
    world = world_of(suite(1), 4)
    offers = Offers(world, suite(1), ["person 0", "person 1/second device"])

    def same_person(old: Any, new: Any) -> bool:
        return bool(old.identity.startswith(new.identity[:8]))

    trusting = GroupConfig(same_client=same_person)
    maker = changed_state(world["person 2"], config=trusting)
    pending = branch(maker, b"a branch", offers.verified(), lifetime=LIFETIME, now=NOW)
    offers.accept(world, "person 0", pending.welcome, config=trusting)
    assert_refused("W11", lambda: offers.accept(world, "person 0", pending.welcome))


def test_psks_that_are_kept() -> None:
    kept = KeptPSKs(2)
    group = world_of(suite(1), 1)["person 0"]
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
