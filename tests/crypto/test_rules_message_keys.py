"""Section R of the rules: one key for each message, in groups that talk. `test_secret_tree` breaks them at the tree."""

from __future__ import annotations

from typing import Any

import pytest

from crypto.errors import GenerationTooFar, GenerationUsed, PastEpoch, UsageError
from crypto.mls import protection, secret_tree
from crypto.mls.framing import AnyContent, SenderData
from crypto.mls.group import ApplicationMessage, Group, ReceivedProposal
from crypto.mls.rules import message as message_rules
from crypto.mls.secret_tree import (
    GENERATION_MAX,
    SKIP_MAX,
    Generation,
    LeafRatchets,
    MessageKey,
    Ratchet,
    RatchetKind,
    SecretTree,
    Split,
)
from crypto.mls.snapshot import load, rows
from crypto.mls.tree_nodes import LeafIndex
from crypto.secret import Secret
from tests.crypto.forge import (
    assert_not_authentic,
    assert_refused,
    assert_refused_with,
    changed_state,
    forged_message,
    off,
)
from tests.crypto.forge_messages import HELLO, PROPOSAL, private_body, said, sender_data
from tests.crypto.matrix import every_group
from tests.crypto.world import NOW, World

KINDS = pytest.mark.parametrize(
    "content, kind",
    [(HELLO, RatchetKind.APPLICATION), (PROPOSAL, RatchetKind.HANDSHAKE)],
    ids=["application", "handshake"],
)


def taken_in(group: Group, message: bytes) -> Group:
    received = group.receive(message, NOW)
    assert isinstance(received, ApplicationMessage | ReceivedProposal)
    return received.group


def ahead(group: Group, kind: RatchetKind, generation: int) -> Group:
    """A member who has sent `generation` messages of a kind, none of which anybody has seen."""
    if generation == 0:
        return group
    tree, _ = group.state.secret_tree.key_for(group.own_leaf, kind, Generation(generation - 1))
    return changed_state(group, secret_tree=tree)


def message_key(group: Group, leaf: LeafIndex, kind: RatchetKind, generation: int) -> MessageKey:
    return group.state.secret_tree.key_for(leaf, kind, Generation(generation))[1]


@every_group
@KINDS
def test_r1_a_message_opens_once(world: World, content: AnyContent, kind: RatchetKind) -> None:
    """Its key is gone: there is no accepting it again, not after a restart and not in the next epoch."""
    sender, receiver = world["person 0"], world[world.receiver]
    late = forged_message(sender, content)
    message = forged_message(ahead(sender, kind, 2), content)
    after = taken_in(receiver, message)
    for group in (after, load(rows(after), after.state.signer)):
        assert_refused_with(GenerationUsed, lambda group=group: group.receive(message, NOW), group)
        skipped = taken_in(group, late)  # the key of a message that was passed over is kept, and for one message too
        assert_refused_with(GenerationUsed, lambda skipped=skipped: skipped.receive(late, NOW), skipped)
    world.people[world.receiver].group = receiver
    world.commit("person 0")
    assert_refused_with(PastEpoch, lambda: world[world.receiver].receive(message, NOW), world[world.receiver])


@every_group
@KINDS
def test_r2_a_jump_ahead_is_bounded(
    world: World, content: AnyContent, kind: RatchetKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender, receiver = world["person 0"], world[world.receiver]
    just_so, too_far = (forged_message(ahead(sender, kind, generation), content) for generation in (4, 5))
    monkeypatch.setattr(secret_tree, "SKIP_MAX", 4)
    taken_in(receiver, just_so)
    assert_refused_with(GenerationTooFar, lambda: receiver.receive(too_far, NOW), receiver)
    monkeypatch.setattr(secret_tree, "SKIP_MAX", SKIP_MAX)
    taken_in(receiver, too_far)


@every_group
@pytest.mark.parametrize("generation", [SKIP_MAX + 1, 2**31, 2**32 - 1])
def test_r2_a_generation_that_nobody_can_have_reached(world: World, generation: int) -> None:
    """The sender data is authentic; its generation costs no work."""
    receiver = world[world.receiver]
    with sender_data(generation=generation):
        message = forged_message(world["person 0"], HELLO)
    derived: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(secret_tree, "derive_tree_secret", lambda *arguments: derived.append(arguments))
        assert_refused_with(GenerationTooFar, lambda: receiver.receive(message, NOW), receiver)
    assert derived == []


@every_group
@KINDS
def test_r3_keys_of_messages_that_do_not_come_are_bounded_in_number_and_end_with_their_epoch(
    world: World, content: AnyContent, kind: RatchetKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender, receiver = world["person 0"], world[world.receiver]
    monkeypatch.setattr(secret_tree, "SKIPPED_KEYS_MAX", 3)
    early = {generation: forged_message(ahead(sender, kind, generation), content) for generation in (4, 5)}
    for generation in (2, 5, 8):
        receiver = taken_in(receiver, forged_message(ahead(sender, kind, generation), content))
    ratchets = ratchets_of(receiver, sender.own_leaf)
    ratchet = ratchets.handshake if kind is RatchetKind.HANDSHAKE else ratchets.application
    assert [skipped.generation for skipped in ratchet.skipped] == [4, 6, 7]
    assert_refused_with(GenerationUsed, lambda: receiver.receive(early[5], NOW), receiver)
    assert_refused_with(
        GenerationUsed, lambda: receiver.receive(forged_message(ahead(sender, kind, 3), content), NOW), receiver
    )
    taken_in(receiver, early[4])
    kept = [skipped.key.reveal() for skipped in ratchet.skipped]
    assert all(key in b"".join(rows(receiver).values()) for key in kept)
    staged = receiver.receive(ahead(sender, RatchetKind.HANDSHAKE, 9).commit(now=NOW).message, NOW)
    assert not any(key in b"".join(rows(receiver.adopt(staged)).values()) for key in kept)  # type: ignore[arg-type]  # a commit


def ratchets_of(group: Group, leaf: LeafIndex) -> LeafRatchets:
    subtree, width = group.state.secret_tree.root, group.state.secret_tree.leaf_count
    while isinstance(subtree, Split):
        width //= 2
        subtree = subtree.right if leaf & width else subtree.left
    assert isinstance(subtree, LeafRatchets)
    return subtree


def secrets_above(group: Group, leaf: LeafIndex) -> list[Secret]:
    """What a leaf's keys come from: the secrets from the root down to it, as far as they are there."""
    tree = group.state.secret_tree
    subtree, width, found = tree.root, tree.leaf_count, []
    while not isinstance(subtree, LeafRatchets):
        if isinstance(subtree, Secret):
            found.append(subtree)
            if width == 1:
                break
            subtree = secret_tree._split(tree.suite, subtree)
        width //= 2
        subtree = subtree.right if leaf & width else subtree.left
    return found


@every_group
@KINDS
@pytest.mark.parametrize("whose", ["the receiver's", "the sender's"])
def test_r4_a_used_key_and_all_that_it_came_from_are_erased(
    world: World, content: AnyContent, kind: RatchetKind, whose: str
) -> None:
    """Erased from the state that is stored with the plaintext; `client_lib` takes it off the disk."""
    sender, receiver = world["person 0"], world[world.receiver]
    used = message_key(sender, sender.own_leaf, kind, 0)
    before = receiver if whose == "the receiver's" else sender
    consumed = [used.key, used.nonce, *secrets_above(before, sender.own_leaf)]
    assert len(consumed) > 2
    if whose == "the receiver's":
        after = taken_in(receiver, forged_message(sender, content))
    elif content is HELLO:
        after, _ = sender.protect(b"hello")
    else:
        after, _ = sender.propose_extensions((), now=NOW)
    stored = b"|".join(rows(after).values())
    assert not [secret for secret in consumed if secret.reveal() in stored]
    assert any(secret.reveal() in b"|".join(rows(before).values()) for secret in consumed)


@every_group
@KINDS
def test_r5_forgeries_by_an_outsider_and_by_an_insider_use_nothing_up(
    world: World, content: AnyContent, kind: RatchetKind
) -> None:
    sender, receiver = world["person 0"], world[world.receiver]
    strange_tree = SecretTree(world.suite, sender.state.secret_tree.leaf_count, world.suite.generate_secret())
    by_outsider = forged_message(changed_state(sender, secret_tree=strange_tree), content)
    by_insider = forged_message(changed_state(sender, signer=world.suite.signature.generate()), content)
    real = forged_message(sender, content)
    for forged in (by_outsider, by_insider):
        assert_not_authentic(lambda forged=forged: receiver.receive(forged, NOW), receiver)
    with off(protection.verify_framed_content):
        taken_in(receiver, by_insider)  # of that generation, and right but for the signature
    assert_refused_with(GenerationUsed, lambda: taken_in(taken_in(receiver, real), real))


@every_group
def test_r6_every_message_has_a_reuse_guard_of_its_own(world: World) -> None:
    sender, secret = world["person 0"], world["person 0"].state.secrets.sender_data_secret
    guards = set()
    for _ in range(64):  # all of one generation, as after a restored backup
        found = protection.open_sender_data(world.suite, said(sender), secret)
        assert found.generation == 0
        guards.add(found.reuse_guard)
    assert len(guards) > 60
    assert all(len(guard) == 4 for guard in guards)


@every_group
@pytest.mark.parametrize("place", range(4))
def test_r6_the_reuse_guard_is_in_the_nonce(world: World, place: int) -> None:
    receiver = world[world.receiver]
    honest = protection.SenderData

    def other_guard(leaf_index: int, generation: int, guard: bytes) -> SenderData:
        return honest(leaf_index, generation, guard[:place] + bytes([guard[place] ^ 1]) + guard[place + 1 :])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protection, "SenderData", other_guard)
        message = forged_message(world["person 0"], HELLO)
    assert_not_authentic(lambda: receiver.receive(message, NOW), receiver)
    taken_in(receiver, forged_message(world["person 0"], HELLO))


@every_group
def test_r7_the_state_that_goes_with_a_message_never_gives_its_generation_again(world: World) -> None:
    """What `crypto` does for the rule: state and message come together. `client_lib` stores the one, then sends."""
    sender, secret = world["person 0"], world["person 0"].state.secrets.sender_data_secret
    generations = []
    for _ in range(4):
        sender, message = sender.protect(b"hello")
        generations.append(protection.open_sender_data(world.suite, private_body(message), secret).generation)
        sender = load(rows(sender), sender.state.signer)
    assert generations == [0, 1, 2, 3]


@every_group
def test_r8_an_epoch_carries_so_many_messages_of_a_member_and_then_a_commit_comes_first(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_rules, "EPOCH_MESSAGES_MAX", 2)
    for _ in range(2):
        world.say("person 0", b"hello")
    sender, receiver = world["person 0"], world[world.receiver]
    assert_refused("R8", lambda: sender.protect(b"one too many"), sender)
    with off(message_rules.r8_epoch_bears_more):
        taken_in(receiver, sender.protect(b"one too many")[1])
    sender.propose_update(now=NOW)  # handshake messages go on: they are what ends the epoch
    world.say(world.receiver, b"others have sent less")
    world.commit("person 0")
    world.say("person 0", b"in the next epoch")


@every_group
@KINDS
def test_r9_keys_of_one_kind_protect_nothing_of_the_other(world: World, content: AnyContent, kind: RatchetKind) -> None:
    """A receiver that mixed them up as the sender does would accept it."""
    receiver = world[world.receiver]
    other = next(each for each in RatchetKind if each is not kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protection, "_ratchet_kind", lambda _: other)
        message = forged_message(world["person 0"], content)
    assert_not_authentic(lambda: receiver.receive(message, NOW), receiver)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protection, "_ratchet_kind", lambda _: other)
        taken_in(receiver, message)


def near_the_end(group: Group, leaf: LeafIndex) -> Group:
    """A member for whom the ratchets at `leaf` have come to their last generation."""
    started = group.state.secret_tree.key_for(leaf, RatchetKind.APPLICATION, Generation(0))[0]
    last = Ratchet(group.suite.zero_secret, GENERATION_MAX, ())
    stored = started.rows() | {f"ratchets/{leaf}": secret_tree.encode(LeafRatchets(last, last))}
    return changed_state(group, secret_tree=SecretTree.of_rows(group.suite, group.state.secret_tree.leaf_count, stored))


@every_group
@KINDS
def test_r10_the_last_generation_is_the_last(world: World, content: AnyContent, kind: RatchetKind) -> None:
    leaf = world.leaf("person 0")
    sender, receiver = near_the_end(world["person 0"], leaf), near_the_end(world[world.receiver], leaf)
    with off(message_rules.r8_epoch_bears_more):
        message = forged_message(sender, content)
    receiver = taken_in(receiver, message)
    assert_refused_with(GenerationUsed, lambda: receiver.receive(message, NOW), receiver)
    tree, generation, _ = sender.state.secret_tree.next_key(leaf, kind)
    assert generation == GENERATION_MAX
    at_the_end = changed_state(sender, secret_tree=tree)
    assert_refused_with(UsageError, lambda: forged_message(at_the_end, content), at_the_end)
