"""Rows of a group: they come back as the same group, few of them change, and damage is noticed."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from crypto.errors import DecodeError, GenerationUsed, UsageError
from crypto.mls.config import GroupConfig
from crypto.mls.group import Group, PendingCommit
from crypto.mls.snapshot import (
    VERSION,
    decode_bundle,
    difference,
    encode_bundle,
    load,
    load_pending,
    pending_difference,
    rows,
)
from crypto.secret import Secret
from crypto.suites import CipherSuite, suite_of
from tests.crypto.forge import changed_state
from tests.crypto.world import NOW, World, every_suite, world_of


def apply(stored: dict[str, bytes], changes: dict[str, bytes | None]) -> dict[str, bytes]:
    """What a store does with a difference."""
    after = dict(stored)
    for name, row in changes.items():
        if row is None:
            after.pop(name, None)
        else:
            after[name] = row
    return after


def assert_row_for_row(before: Group | None, after: Group) -> dict[str, bytes | None]:
    changes = difference(before, after)
    assert apply({} if before is None else rows(before), changes) == rows(after)
    return changes


def reloaded(world: World, name: str) -> None:
    """`name` goes on from what was stored."""
    someone = world.people[name]
    someone.group = load(rows(someone.view), someone.signer, someone.config)


@every_suite
@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_a_group_goes_on_from_its_rows(belongs: CipherSuite, size: int) -> None:
    world = world_of(belongs, size)
    for number in range(size):
        reloaded(world, f"person {number}")
    assert assert_row_for_row(None, world["person 0"]) == rows(world["person 0"])
    world.commit("person 0", adds=["newcomer"])
    for someone in world.members:
        reloaded(world, someone.name)
    world.say("newcomer", b"hello")
    world.deliver_proposal("newcomer", world["newcomer"].propose_update(now=NOW))
    world.deliver_proposal("newcomer", world["newcomer"].propose_add(world.person("third").offer(), now=NOW))
    for someone in world.members:
        reloaded(world, someone.name)
    world.commit("person 0")
    world.say("third", b"hello")


@every_suite
def test_differences_add_up_to_the_rows(belongs: CipherSuite) -> None:
    world = world_of(belongs, 9)
    seen: dict[str, Group] = {}

    def watch() -> None:
        for someone in world.members:
            assert_row_for_row(seen.get(someone.name), someone.view)
            seen[someone.name] = someone.view

    watch()
    world.say("person 3", b"hello")
    watch()
    world.deliver_proposal("person 4", world["person 4"].propose_update(now=NOW))
    watch()
    world.commit("person 5", removes=["person 8", "person 7", "person 6"])
    watch()
    world.commit("person 0", removes=["person 2", "person 3", "person 4", "person 5"])  # the tree is cut to a half
    watch()
    world.commit("person 1", adds=["a", "b", "c", "d", "e", "f", "g", "h"])
    watch()
    world.say("a", b"hello")
    watch()


def test_a_message_changes_one_row_and_a_commit_a_path() -> None:
    world = world_of(suite_of(1), 33)
    sender, receiver = world["person 0"], world["person 20"]
    world.say("person 0", b"first")
    first = assert_row_for_row(receiver, world["person 20"])
    assert len(first) <= 9  # the secrets on the way to the sender's leaf
    sender, receiver = world["person 0"], world["person 20"]
    world.say("person 0", b"second")
    assert list(assert_row_for_row(receiver, world["person 20"])) == ["ratchets/0"]
    assert list(assert_row_for_row(sender, world["person 0"])) == ["ratchets/0"]
    receiver = world["person 20"]
    world.commit("person 7")
    changes = assert_row_for_row(receiver, world["person 20"])
    height = 6
    assert sum(name.startswith("node/") for name in changes) <= height + 1
    assert sum(name.startswith("key/") for name in changes) <= height
    assert len(changes) <= 4 * height


def test_nothing_happened() -> None:
    group = world_of(suite_of(1), 3)["person 0"]
    assert difference(group, group) == {}
    assert difference(group, load(rows(group), group.state.signer)).keys() <= {"group", *rows(group)}


@every_suite
def test_a_pending_epoch_comes_back_from_its_rows(belongs: CipherSuite) -> None:
    pending = world_of(belongs, 3)["person 0"].commit(now=NOW)
    group = pending.group
    stored = apply(rows(group), pending_difference(group, pending.next_epoch))
    loaded = load_pending(stored, group)
    del stored["follows"]
    assert rows(group.adopt(loaded)) == rows(group.adopt(pending.next_epoch)) == stored
    with pytest.raises(UsageError):
        group.adopt(pending.next_epoch).adopt(loaded)


def test_two_groups_have_no_difference() -> None:
    group = world_of(suite_of(1), 2)["person 0"]
    world = world_of(suite_of(1), 2)
    other = world["person 0"]
    renamed = changed_state(other, context=replace(other.state.context, group_id=b"another"))
    with pytest.raises(UsageError):
        difference(group, renamed)


def test_rows_hold_no_signature_key() -> None:
    world = world_of(suite_of(1), 2)
    stored = b"".join(rows(world["person 0"]).values())
    assert world.people["person 0"].signer.private.reveal() not in stored


def test_a_signer_of_another_leaf_is_a_mistake() -> None:
    world = world_of(suite_of(1), 2)
    with pytest.raises(UsageError):
        load(rows(world["person 0"]), world.people["person 1"].signer)


def test_each_missing_row_is_noticed_or_makes_no_difference() -> None:
    world = world_of(suite_of(1), 5)
    world.say("person 2", b"hello")
    world.deliver_proposal("person 1", world["person 1"].propose_update(now=NOW))
    group, signer = world["person 0"], world.people["person 0"].signer
    stored = rows(group)
    optional = {"proposal/0"} | {name for name in stored if name.startswith("key/") and name != "key/0"}
    for name in stored.keys() - optional:
        with pytest.raises(DecodeError):
            load({other: row for other, row in stored.items() if other != name}, signer)


def test_each_damaged_row_is_noticed() -> None:
    world = world_of(suite_of(1), 5)
    world.say("person 2", b"hello")
    world.deliver_proposal("person 0", world["person 0"].propose_update(now=NOW))
    stored, signer = rows(world["person 0"]), world.people["person 0"].signer
    for name, row in stored.items():
        for damaged in (b"", b"\2" + row[1:], *([row[:1], row + b"\0"] if name.startswith("key/") else [])):
            with pytest.raises(DecodeError):
                load(stored | {name: damaged}, signer)
        if not name.startswith(("key/", "secret/")):  # the rest of these is a secret of any value
            for damaged in (row[:-1], row + b"\0"):
                with pytest.raises((DecodeError, UsageError)):
                    load(stored | {name: damaged}, signer)


@pytest.mark.parametrize(
    "name",
    [
        *["node/", "node/x", "node/01", "node/²", "node/-1", "node/99999999999", "key/1e3", "strange", "secret/999"],
        pytest.param(f"node/{'9' * 5_000}", id="more digits than int() takes"),
    ],
)
def test_rows_of_no_known_name(name: str) -> None:
    world = world_of(suite_of(1), 2)
    stored, signer = rows(world["person 0"]), world.people["person 0"].signer
    with pytest.raises(DecodeError):
        load(stored | {name: stored["node/0"]}, signer)


def test_rows_that_do_not_belong_together() -> None:
    world = world_of(suite_of(1), 4)
    signer = world.people["person 0"].signer
    old = rows(world["person 0"])
    world.commit("person 1")
    new = rows(world["person 0"])
    with pytest.raises(DecodeError):
        load(new | {"node/2": old["node/2"]}, signer)  # another leaf than the tree hash names
    with pytest.raises(DecodeError):
        load(new | {"node/1": new["node/2"]}, signer)  # a leaf in a parent's place
    blank_own = {name: row for name, row in new.items() if name != "node/0"}
    with pytest.raises(DecodeError):
        load(blank_own, signer)


def test_our_own_leaf_must_be_there() -> None:
    world = world_of(suite_of(1), 4)
    signer = world.people["person 0"].signer
    strange = changed_state(world["person 0"], own_leaf=9)
    with pytest.raises(DecodeError):
        load(rows(strange), signer)


def test_a_suite_that_is_gone() -> None:
    world = world_of(suite_of(1), 2)
    group = world["person 0"]
    strange = changed_state(group, context=replace(group.state.context, cipher_suite=8))
    with pytest.raises(DecodeError):
        load(rows(strange), world.people["person 0"].signer)


def test_random_damage_never_gives_another_error() -> None:
    world = world_of(suite_of(1), 5)
    stored, signer = rows(world["person 0"]), world.people["person 0"].signer
    source = random.Random(7)
    for _ in range(400):
        name = source.choice(sorted(stored))
        row = bytearray(stored[name])
        row[source.randrange(len(row))] ^= 1 << source.randrange(8)
        try:
            load(stored | {name: bytes(row)}, signer)
        except (DecodeError, UsageError):
            continue
        assert name.startswith(("key/", "secret/", "group"))  # values that nothing else repeats


@pytest.mark.parametrize("size", [0, 1, 31, 33])
def test_private_keys_of_another_size_do_not_load(size: int) -> None:
    """libsodium would read past the end of a short one."""
    world = world_of(suite_of(1), 2)
    stored, signer = rows(world["person 1"]), world.people["person 1"].signer
    with pytest.raises(DecodeError, match="private key"):
        load(stored | {"key/2": VERSION + bytes(size)}, signer)
    bundle = world.people["person 1"].bundle
    assert bundle is not None
    for changed in (
        replace(bundle, init_private=Secret(bytes(size))),
        replace(bundle, encryption_private=Secret(bytes(size))),
    ):
        with pytest.raises(DecodeError, match="private key"):
            decode_bundle(encode_bundle(changed))


def test_an_update_of_ours_without_its_private_key_does_not_load() -> None:
    world = world_of(suite_of(1), 2)
    world.deliver_proposal("person 1", world["person 1"].propose_update(now=NOW))
    stored, signer = rows(world["person 1"]), world.people["person 1"].signer
    del stored["update/0"]
    with pytest.raises(DecodeError, match="without its private key"):
        load(stored, signer)
    assert load(rows(world["person 0"]), world.people["person 0"].signer).pending_proposals  # others do not have it


@pytest.mark.parametrize("bound", [0, 1, 2, 3])
def test_d3_a_lower_bound_takes_the_keys_of_former_epochs_from_the_store(bound: int) -> None:
    """With the next epoch: what `load` left out would stay in the store for ever."""
    world = world_of(suite_of(1), 2, GroupConfig(former_epochs_max=3))
    for _ in range(3):
        world.commit("person 0")
    stored, someone = rows(world["person 1"]), world.people["person 1"]
    before = someone.group = load(stored, someone.signer, GroupConfig(former_epochs_max=bound))
    world.commit("person 0")
    stored = apply(stored, difference(before, world["person 1"]))
    kept = {int(name.split("/")[1]) for name in stored if name.startswith("former/")}
    assert kept == set(range(5 - bound, 5))
    assert stored == rows(world["person 1"])


KEEPING = GroupConfig(former_epochs_max=2)


def stored_with_pending(world: World) -> tuple[dict[str, bytes], PendingCommit]:
    pending = world["person 0"].commit(now=NOW)
    return apply(rows(pending.group), pending_difference(pending.group, pending.next_epoch)), pending


@pytest.mark.parametrize("who_won", ["ours", "another"])
def test_r1_a_pending_commit_does_not_load_into_a_later_epoch(who_won: str) -> None:
    """A store that did not lose its rows would else bring back the beginning of an epoch, or the fork that lost."""
    world = world_of(suite_of(1), 3)
    stored, pending = stored_with_pending(world)
    assert load_pending(stored, world["person 0"]).members == pending.next_epoch.members
    if who_won == "ours":
        world.win("person 0", pending)
    else:
        world.people["person 0"].group = pending.group
        world.commit("person 1")
    with pytest.raises(DecodeError, match="do not follow"):
        load_pending(stored, world["person 0"])


def test_a_pending_commit_of_another_group_does_not_load() -> None:
    world = world_of(suite_of(1), 2)
    stored, _ = stored_with_pending(world)
    with pytest.raises(DecodeError, match="do not follow"):
        load_pending(stored, world_of(suite_of(1), 2)["person 0"])
    with pytest.raises(DecodeError, match="do not follow"):
        load_pending(rows(world["person 0"]), world["person 0"])


def test_r4_a_pending_commit_brings_no_used_key_back() -> None:
    world = world_of(suite_of(1), 3, KEEPING)
    pending = world["person 0"].commit(now=NOW)
    world.people["person 0"].group = pending.group
    message = world.say("person 1", b"once")
    group = world["person 0"]
    stored = apply(rows(group), pending_difference(group, pending.next_epoch))
    with pytest.raises(GenerationUsed):
        Group(load_pending(stored, group).state).receive(message, NOW)


@every_suite
@pytest.mark.parametrize("change", [-1, 1])
def test_a_secret_of_the_secret_tree_has_the_size_of_the_hash(belongs: CipherSuite, change: int) -> None:
    world = world_of(belongs, 3)
    stored, signer = rows(world["person 1"]), world.people["person 1"].signer
    name = next(name for name in stored if name.startswith("secret/"))
    stored[name] = stored[name][:-1] if change < 0 else stored[name] + b"\0"
    with pytest.raises(DecodeError, match="secret tree of the wrong size"):
        load(stored, signer)
