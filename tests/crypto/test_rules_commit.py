"""Section U of the rules: commits and their paths."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from crypto.kem import HPKEKeyPair
from crypto.mls import commit as commit_module
from crypto.mls import treekem
from crypto.mls.group import StagedCommit
from crypto.mls.key_schedule import verify_confirmation_tag
from crypto.mls.proposals import Add, Remove
from crypto.mls.rules import commit as commit_rules
from crypto.mls.tree_math import node_of
from crypto.secret import Secret
from crypto.suites import CipherSuite
from tests.crypto.forge import (
    assert_not_authentic,
    assert_refused,
    by_value,
    changed_state,
    forged_commit,
    off,
)
from tests.crypto.matrix import every_group, groups_of
from tests.crypto.world import NOW, World


@groups_of(5, 9, 33, why="somebody else than committer and receiver is updated or removed")
@pytest.mark.parametrize("what", ["nothing", "remove", "update", "extensions"])
def test_u1_what_needs_a_path(world: World, what: str) -> None:
    world.deliver_proposal("person 1", world["person 1"].propose_update(now=NOW))
    if what == "nothing":
        covered = []
    elif what == "update":
        covered = list(world["person 0"].pending_proposals)
    elif what == "remove":
        covered = [by_value(world["person 0"], Remove(2))]
    else:
        group, _ = world["person 0"].propose_extensions((), now=NOW)
        covered = [replace(group.pending_proposals[-1], reference=None)]

    original = commit_module.apply_proposals

    def apply_without_path(*arguments: Any) -> Any:
        return replace(original(*arguments), path_required=False)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commit_module, "apply_proposals", apply_without_path)
        pending = forged_commit(world["person 0"], covered, with_path=False)
    receiver = world[world.receiver]
    assert_refused("U1", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(commit_rules.u1_path_present):
        staged = receiver.receive(pending.message, NOW)
    assert isinstance(staged, StagedCommit)
    assert staged.merge().epoch_authenticator == pending.next_group.epoch_authenticator


@every_group
def test_u1_what_needs_none(world: World) -> None:
    pending = forged_commit(
        world["person 0"], [by_value(world["person 0"], Add(world.person("new").offer().key_package))], with_path=False
    )
    staged = world[world.receiver].receive(pending.message, NOW)
    assert isinstance(staged, StagedCommit)
    assert staged.updated == ()


@every_group
def test_u8_a_path_that_keeps_the_committers_key(world: World) -> None:
    sender = world["person 0"]
    old = HPKEKeyPair(
        sender.state.private_keys[node_of(sender.own_leaf)], sender.state.leaf(sender.own_leaf).encryption_key
    )

    def generate_path(*arguments: Any) -> treekem.NewPath:
        return treekem.derive_path(*arguments, old, world.suite.generate_secret())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commit_module, "generate_path", generate_path)
        pending = forged_commit(sender, [])
    receiver = world[world.receiver]
    assert_refused("U8", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(commit_rules.u8_committer_key_changes):
        assert_refused("U9", lambda: receiver.receive(pending.message, NOW), receiver)  # it is in the tree, too


@groups_of(5, 9, 33, why="in a group of two the receiver derives every key of the path, and would notice by U5")
@pytest.mark.parametrize("key", ["low order", "short"])
def test_c8_a_path_key_that_nobody_can_encrypt_to(world: World, key: str) -> None:
    """The lowest node of the path is not above the receiver, who cannot derive it."""
    original = treekem._node_key_pair
    made: list[HPKEKeyPair] = []

    def first_is_bad(suite_: CipherSuite, path_secret: Secret) -> HPKEKeyPair:
        pair = original(suite_, path_secret)
        bad = pair.public[:-32] + bytes(32) if key == "low order" else pair.public[:-1]
        made.append(pair if made else HPKEKeyPair(pair.private, bad))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(treekem, "_node_key_pair", first_is_bad)
        pending = forged_commit(world["person 0"], [])
    receiver = world[world.receiver]
    assert_refused("C8", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(commit_rules.c8_path_keys):
        receiver.receive(pending.message, NOW)


@every_group
@pytest.mark.parametrize("tag", [b"", b"1", bytes(31), bytes(32), bytes(33)], ids=lambda tag: f"{len(tag)} bytes")
def test_u11_a_wrong_confirmation_tag(world: World, tag: bytes) -> None:

    def wrong(created: commit_module.CreatedCommit) -> commit_module.CreatedCommit:
        auth = replace(created.authenticated.auth, confirmation_tag=tag)
        return replace(created, authenticated=replace(created.authenticated, auth=auth))

    pending = forged_commit(world["person 0"], [], change=wrong)
    receiver = world[world.receiver]
    assert_not_authentic(lambda: receiver.receive(pending.message, NOW), receiver)
    with off(verify_confirmation_tag):
        receiver.receive(pending.message, NOW)


@every_group
def test_u13_the_last_epoch(world: World) -> None:
    last = {
        name: changed_state(world[name], context=replace(world[name].state.context, epoch=2**64 - 1))
        for name in ("person 0", "person 1")
    }
    assert_refused("U13", lambda: last["person 0"].commit(now=NOW), last["person 0"])
