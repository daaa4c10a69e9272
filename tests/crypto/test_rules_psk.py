"""Section S of the rules: the key schedule and its pre-shared keys, in living groups.

What a suite is at least, and who chooses it and the group's id, is the application's: `tests/attacks/test_trust.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from crypto.errors import AuthenticationError, UsageError
from crypto.mls import commit as commit_module
from crypto.mls import joining
from crypto.mls import psk as psk_module
from crypto.mls.group import KeptPSKs, StagedCommit, join
from crypto.mls.proposals import Add, PreSharedKey
from crypto.mls.psk import ExternalPSK, PreSharedKeyID, ResumptionPSK, ResumptionPSKUsage
from crypto.secret import Secret
from crypto.suites import CipherSuite
from tests.crypto.forge import assert_not_authentic, assert_refused, by_value, forged_commit
from tests.crypto.matrix import every_group, without_group
from tests.crypto.world import NOW, World, won

PAPER, STONE = ExternalPSK(b"paper"), ExternalPSK(b"stone")


def find(psk: ExternalPSK | ResumptionPSK) -> Secret | None:
    return Secret(b"key of " + psk.psk_id) if isinstance(psk, ExternalPSK) else None


def reversed_derivation(suite: CipherSuite, psks: Sequence[tuple[PreSharedKeyID, Secret]]) -> Secret:
    """Whoever has the order wrong."""
    return psk_module.derive_psk_secret(suite, [*reversed(psks)])


def assert_same_mistake_agrees(world: World, pending: Any, patch: pytest.MonkeyPatch) -> None:
    """The commit is refused by a receiver that does it right, and accepted by one that has `patch` too."""
    receiver = world[world.receiver]
    staged = receiver.receive(pending.message, NOW, find)
    assert isinstance(staged, StagedCommit)
    assert receiver.adopt(staged).epoch_authenticator == won(pending).epoch_authenticator
    patch.undo()
    assert_not_authentic(lambda: receiver.receive(pending.message, NOW, find), receiver)


# S1, S2: what enters the schedule


@every_group
def test_s1_the_order_of_the_proposals_is_that_of_the_derivation(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit_module, "derive_psk_secret", reversed_derivation)
    pending = world["person 0"].commit(psks=[PAPER, STONE], now=NOW, find_psk=find)
    assert_same_mistake_agrees(world, pending, monkeypatch)


@every_group
def test_s1_the_order_of_a_welcome_is_that_of_the_derivation(world: World) -> None:
    """The joiner knows no proposals: the order in its Welcome is all that it has."""
    sender, newcomer = world["person 0"], world.person("newcomer")
    add = Add(newcomer.offer().key_package)
    named = [PreSharedKeyID(psk, world.suite.generate_secret().reveal()) for psk in (PAPER, STONE)]
    listed = [by_value(sender, proposal) for proposal in (add, *map(PreSharedKey, named))]

    def swapped(created: Any) -> Any:
        return replace(created, changes=replace(created.changes, psk_ids=created.changes.psk_ids[::-1]))

    with pytest.MonkeyPatch.context() as patch:  # a forged commit looks up no PSKs by itself
        patch.setattr(commit_module, "find_psks", lambda _rule, ids, _: [(psk_id, find(psk_id.psk)) for psk_id in ids])
        right, wrong = forged_commit(sender, listed), forged_commit(sender, listed, change=swapped)
    assert newcomer.bundle is not None
    assert wrong.welcome is not None
    bundles = {newcomer.bundle.reference: newcomer.bundle}
    newcomer.accept(right.welcome, find)
    with pytest.raises(AuthenticationError):
        join(wrong.welcome, bundles, newcomer.signer, now=NOW, find_psk=find)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joining, "derive_psk_secret", reversed_derivation)
        joined = join(wrong.welcome, bundles, newcomer.signer, now=NOW, find_psk=find).accept()
    assert joined.epoch_authenticator == won(wrong).epoch_authenticator


@every_group
def test_s2_every_use_of_a_psk_has_a_fresh_nonce(world: World) -> None:
    group = world["person 0"]
    seen = set()
    for _ in range(3):
        pending = group.commit(psks=[PAPER, PAPER], now=NOW, find_psk=find)
        staged = world[world.receiver].receive(pending.message, NOW, find)
        assert isinstance(staged, StagedCommit)
        seen |= {checked.proposal.psk.psk_nonce for checked in staged.proposals}  # type: ignore[union-attr]  # both are PSKs
    proposed, _ = group.propose_psk(STONE, now=NOW)
    seen |= {checked.proposal.psk.psk_nonce for checked in proposed.pending_proposals}  # type: ignore[union-attr]  # a PSK
    assert len(seen) == 7
    assert {len(nonce) for nonce in seen} == {world.suite.hash_size}


@every_group
def test_s2_without_a_psk_the_input_is_all_zero(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Secret(b"\1" * world.suite.hash_size)
    monkeypatch.setattr(commit_module, "derive_psk_secret", lambda *_: one)
    assert_same_mistake_agrees(world, world["person 0"].commit(now=NOW), monkeypatch)


@every_group
def test_s2_without_a_path_the_commit_secret_is_all_zero(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    one, honest = Secret(b"\1" * world.suite.hash_size), commit_module._without_path
    monkeypatch.setattr(commit_module, "_without_path", lambda *them: replace(honest(*them), commit_secret=one))
    pending = world["person 0"].commit([world.person("newcomer").offer()], with_path=False, now=NOW)
    assert_same_mistake_agrees(world, pending, monkeypatch)


# S3: resumption PSKs


@every_group
def test_s3_resumption_psks_are_kept_for_a_bounded_number_of_epochs(world: World) -> None:
    """Who has kept one can use it; a receiver for whom it is gone refuses (rule U10)."""
    kept = {name: KeptPSKs(bound) for name, bound in (("person 0", 4), (world.receiver, 2))}
    first = world["person 0"].epoch
    for _ in range(4):
        for name, of_before in tuple(kept.items()):
            group = world[name]
            kept[name] = of_before.remember(group.group_id, group.epoch, group.resumption_psk)
        world.commit("person 0")
    assert [epoch for _, epoch, _ in kept[world.receiver].kept] == [first + 2, first + 3]
    sender, receiver, theirs = world["person 0"], world[world.receiver], kept[world.receiver].find
    for epoch, known in ((first, False), (first + 1, False), (first + 2, True), (first + 3, True)):
        psk = ResumptionPSK(ResumptionPSKUsage.APPLICATION, sender.group_id, epoch)
        message = sender.commit(psks=[psk], now=NOW, find_psk=kept["person 0"].find).message
        if known:
            assert isinstance(receiver.receive(message, NOW, theirs), StagedCommit)
        else:
            assert_refused("U10", lambda message=message: receiver.receive(message, NOW, theirs), receiver)


@without_group("a value of its own")
def test_s3_after_a_thousand_epochs_there_are_as_many_as_the_bound() -> None:
    kept = KeptPSKs(8)
    for epoch in range(1_000):
        kept = kept.remember(b"group", epoch, Secret(epoch.to_bytes(4, "big")))
    assert [epoch for _, epoch, _ in kept.kept] == list(range(992, 1_000))
    assert KeptPSKs(0).remember(b"group", 1, Secret(b"key")).kept == ()
    assert kept.find(ResumptionPSK(ResumptionPSKUsage.APPLICATION, b"group", 991)) is None
    assert kept.find(ResumptionPSK(ResumptionPSKUsage.APPLICATION, b"group", 992)) is not None
    again = kept.remember(b"group", 992, Secret(b"once"))
    assert len(again.kept) == 8


# S4: the exporter


@every_group
@pytest.mark.parametrize("length", [-1, 255 * 32 + 1, 65_536, 2**32])
def test_s4_an_export_is_no_longer_than_the_kdf_can_give(world: World, length: int) -> None:
    group = world["person 0"]
    assert world.suite.hash_size == 32
    with pytest.raises(UsageError, match="up to 8160 bytes"):
        group.export("label", b"", length)
    assert len(group.export("label", b"", 255 * 32)) == 255 * 32


@every_group
def test_s4_each_label_context_and_epoch_has_an_export_of_its_own(world: World) -> None:
    """What two features that share a label would share; that no two do is the application's."""
    seen = set()
    for _ in range(2):
        exports = [
            [world[name].export(label, context, 32).reveal() for name in ("person 0", world.receiver)]
            for label in ("one", "other")
            for context in (b"", b"context")
        ]
        assert all(ours == theirs for ours, theirs in exports)
        seen |= {ours for ours, _ in exports}
        world.commit("person 0")
    assert len(seen) == 8
