"""Limits to the last unit: what is just allowed is accepted, one more is refused. Numbers stand as they are meant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from crypto.errors import DecodeError, GenerationTooFar, RuleViolation, UsageError
from crypto.mls.config import DEFAULT_CONFIG, GroupConfig
from crypto.mls.framing import PrivateMessage
from crypto.mls.group import StagedCommit
from crypto.mls.headers import ContentType
from crypto.mls.mls_message import encode_message
from crypto.mls.proposals import ReInit
from crypto.mls.psk import ExternalPSK, PreSharedKeyID, ResumptionPSK, ResumptionPSKUsage, derive_psk_secret
from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.rules import commit as commit_rules
from crypto.mls.rules import leaf as leaf_rules
from crypto.mls.rules import welcome as welcome_rules
from crypto.mls.rules.message import r8_epoch_bears_more
from crypto.mls.rules.tree import check_structure
from crypto.mls.secret_tree import Generation, LeafRatchets, Ratchet, RatchetKind, SecretTree
from crypto.mls.tree_nodes import LeafIndex, Lifetime, NodeIndex, ParentNode
from crypto.secret import Secret
from crypto.suites import suite_of
from crypto.wire import Uint8, decode_as, encode_as, encode_length
from tests.crypto.forge import assert_refused, assert_refused_with
from tests.crypto.tree_samples import client, grown, with_added, with_removed, with_updated
from tests.crypto.world import NOW, world_of

SUITE = suite_of(1)
LEAF = client(SUITE, "client").leaf
LIFETIME = Lifetime(1_000, 2_000)
TOLERANT = replace(
    DEFAULT_CONFIG, clock_behind_max_s=10, receive_tolerance_s=20, join_tolerance_s=30, lifetime_max_s=500
)

LifetimeRule = Callable[[Lifetime, GroupConfig, int], None]


def refused(rule: str, action: Callable[[], object]) -> None:
    with pytest.raises(RuleViolation) as caught:
        action()
    assert caught.value.rule == rule


@pytest.mark.parametrize(
    "check, rule, first, last",
    [
        (leaf_rules.l9_lifetime_of_sent_leaf, "L9", 990, 2_000),
        (leaf_rules.l10_lifetime_of_received_leaf, "L10", 980, 2_020),
        (leaf_rules.l10_lifetime_of_standing_leaf, "L10", 970, 2_030),
    ],
)
def test_l9_l10_a_lifetime_holds_to_its_last_second(check: LifetimeRule, rule: str, first: int, last: int) -> None:
    check(LIFETIME, TOLERANT, first)
    check(LIFETIME, TOLERANT, last)
    refused(rule, lambda: check(LIFETIME, TOLERANT, first - 1))
    refused(rule, lambda: check(LIFETIME, TOLERANT, last + 1))


@pytest.mark.parametrize("length_s", [0, 500])
def test_a_lifetime_may_be_an_instant_or_the_longest_there_is(length_s: int) -> None:
    leaf_rules.l11_total_lifetime(Lifetime(1_000, 1_000 + length_s), TOLERANT)


@pytest.mark.parametrize("length_s", [-1, 501])
def test_l11_a_lifetime_is_neither_less_than_an_instant_nor_longer(length_s: int) -> None:
    refused("L11", lambda: leaf_rules.l11_total_lifetime(Lifetime(1_000, 1_000 + length_s), TOLERANT))


def test_u13_the_last_epoch_but_one_has_a_successor() -> None:
    commit_rules.u13_epoch_can_grow(2**64 - 2)
    refused("U13", lambda: commit_rules.u13_epoch_can_grow(2**64 - 1))


def test_u13_nobody_follows_a_commit_out_of_the_last_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    world = world_of(SUITE, 2)
    pending, receiver = world["person 0"].commit(now=NOW), world["person 1"]
    with monkeypatch.context() as patch:
        patch.setattr(commit_rules, "EPOCH_MAX", receiver.epoch)
        assert_refused("U13", lambda: receiver.receive(pending.message, NOW), receiver)
    assert isinstance(receiver.receive(pending.message, NOW), StagedCommit)


def test_w3_two_psks_that_we_know_are_two_all_the_same() -> None:
    reinit, branch = (
        PreSharedKeyID(ResumptionPSK(usage, b"old group", 3), bytes(32))
        for usage in (ResumptionPSKUsage.REINIT, ResumptionPSKUsage.BRANCH)
    )
    application = PreSharedKeyID(ResumptionPSK(ResumptionPSKUsage.APPLICATION, b"old group", 3), bytes(32))
    assert welcome_rules.w3_reinit_or_branch_alone([application, reinit, application]) == reinit.psk
    assert welcome_rules.w3_reinit_or_branch_alone([application, application]) is None
    for pair in ([reinit, branch], [branch, branch]):
        with pytest.raises(RuleViolation, match="rule W3"):
            welcome_rules.w3_reinit_or_branch_alone(pair)


@pytest.mark.parametrize("other", [{"psk_group_id": b"another group"}, {"psk_epoch": 7}], ids=str)
def test_w11_a_psk_names_both_the_group_and_its_last_epoch(other: dict[str, Any]) -> None:
    context = world_of(SUITE, 2)["person 0"].state.context
    promised = ReInit(context.group_id, context.version, context.cipher_suite, context.extensions)
    psk = ResumptionPSK(ResumptionPSKUsage.REINIT, context.group_id, context.epoch)
    welcome_rules.w11_as_promised(psk, context, context, promised)
    refused("W11", lambda: welcome_rules.w11_as_promised(replace(psk, **other), context, context, promised))


def test_w11_the_first_epoch_is_the_one_after_the_first_commit() -> None:
    context = world_of(SUITE, 2)["person 0"].state.context
    welcome_rules.w11_first_epoch(replace(context, epoch=1))
    refused("W11", lambda: welcome_rules.w11_first_epoch(replace(context, epoch=0)))
    refused("W11", lambda: welcome_rules.w11_first_epoch(replace(context, epoch=2)))


def ratchet_at(generation: int) -> SecretTree:
    root = Secret(bytes(32))
    return SecretTree(SUITE, 1, LeafRatchets(Ratchet(root, 0, ()), Ratchet(root, generation, ())))


def test_r10_thirty_two_bits_of_generations_and_not_one_more() -> None:
    tree, generation, _ = ratchet_at(2**32 - 1).next_key(LeafIndex(0), RatchetKind.APPLICATION)
    assert generation == 2**32 - 1
    with pytest.raises(UsageError):
        tree.next_key(LeafIndex(0), RatchetKind.APPLICATION)


def test_r2_a_thousand_generations_may_be_skipped_and_not_one_more() -> None:
    tree = ratchet_at(7)
    with pytest.raises(GenerationTooFar):
        tree.key_for(LeafIndex(0), RatchetKind.APPLICATION, Generation(7 + 1_001))
    after, _ = tree.key_for(LeafIndex(0), RatchetKind.APPLICATION, Generation(7 + 1_000))
    assert isinstance(after.root, LeafRatchets)
    kept = [skipped.generation for skipped in after.root.application.skipped]
    assert kept == list(range(7, 7 + 1_000))
    further, _ = after.key_for(LeafIndex(0), RatchetKind.APPLICATION, Generation(7 + 1_002))
    assert isinstance(further.root, LeafRatchets)
    assert [skipped.generation for skipped in further.root.application.skipped] == [*kept[1:], 7 + 1_001]


# Trees


def test_t11_a_tree_of_65_536_members_is_full() -> None:
    tree = RatchetTree.of_nodes(SUITE, [*[LEAF, None] * 65_535, LEAF])
    assert tree.leaf_count == 65_536
    refused("T11", tree.with_room)
    refused("T11", lambda: with_added(tree, LEAF))


def test_t11_a_tree_of_one_member_has_no_right_half_that_could_be_blank() -> None:
    check_structure(RatchetTree.of_leaf(SUITE, LEAF))


def test_t11_a_tree_that_ends_in_a_parent_is_as_wide_as_that_parent_says() -> None:
    tree = RatchetTree.of_nodes(SUITE, [LEAF, ParentNode(SUITE.generate_hpke_key_pair().public, b"", ())])
    assert tree.leaf_count == 2
    refused("T11", lambda: check_structure(tree))


def test_t11_a_right_half_with_a_parent_and_no_member_should_have_been_truncated() -> None:
    parent = ParentNode(SUITE.generate_hpke_key_pair().public, b"", ())
    tree = RatchetTree.of_nodes(SUITE, [LEAF, None, LEAF, None, None, parent])
    refused("T11", lambda: check_structure(tree))


@pytest.mark.parametrize("node", [-1, 3])
def test_beside_a_tree_all_is_blank(node: int) -> None:
    assert grown(SUITE, 2).tree.node(NodeIndex(node)) is None


@pytest.mark.parametrize("leaf", [-1, 2])
def test_c9_there_is_no_path_from_beside_a_tree(leaf: int) -> None:
    refused("C9", lambda: grown(SUITE, 2).tree.filtered_direct_path(LeafIndex(leaf)))


@pytest.mark.parametrize("leaf", [-1, 2])
def test_p2_p3_nobody_is_changed_beside_a_tree(leaf: int) -> None:
    refused("P2", lambda: with_updated(grown(SUITE, 2).tree, LeafIndex(leaf), LEAF))
    refused("P3", lambda: with_removed(grown(SUITE, 2).tree, LeafIndex(leaf)))


def test_the_first_place_is_a_place_like_any_other() -> None:
    tree = with_removed(grown(SUITE, 2).tree, LeafIndex(0))
    assert tree.with_room() == (tree, LeafIndex(0))
    assert with_added(tree, LEAF)[1] == LeafIndex(0)


# Sizes and counts


def test_c4_an_input_of_64_mib_is_the_largest() -> None:
    largest = encode_length(2**26 - 4) + bytes(2**26 - 4)
    assert len(decode_as(bytes, largest)) == 2**26 - 4
    with pytest.raises(DecodeError, match="larger than"):
        decode_as(bytes, largest + b"\0")


def test_c4_a_message_of_64_mib_is_the_largest_that_we_make() -> None:
    def sized(size: int) -> bytes:
        return encode_message(PrivateMessage(b"", 0, ContentType.APPLICATION, b"", b"", bytes(size - 20)))

    assert len(sized(2**26)) == 2**26
    with pytest.raises(UsageError, match="larger than"):
        sized(2**26 + 1)


def test_c4_what_is_too_large_to_be_read_uses_up_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    group = world_of(SUITE, 1)["person 0"]
    monkeypatch.setattr(SecretTree, "next_key", lambda *_: pytest.fail("a key was drawn"))
    assert_refused_with(UsageError, lambda: group.protect(bytes(2**26 + 1)), group)


def test_c10_a_vector_of_65_536_items_is_the_longest() -> None:
    assert len(decode_as(tuple[Uint8, ...], encode_length(65_536) + bytes(65_536))) == 65_536
    assert len(encode_as(tuple[Uint8, ...], (0,) * 65_536)) == 4 + 65_536
    with pytest.raises(UsageError, match="more than 65536 items"):
        encode_as(tuple[Uint8, ...], (0,) * 65_537)
    with pytest.raises(DecodeError, match="more than 65536 items"):
        decode_as(tuple[Uint8, ...], encode_length(65_537) + bytes(65_537))


@pytest.mark.parametrize("length, size", [(63, 1), (64, 2), (2**14 - 1, 2), (2**14, 4), (2**30 - 1, 4)])
def test_c2_a_length_takes_as_few_bytes_as_it_can(length: int, size: int) -> None:
    assert len(encode_length(length)) == size


def test_c4_a_length_of_31_bits_has_no_encoding() -> None:
    with pytest.raises(UsageError, match="do not fit a vector"):
        encode_length(2**30)


def test_c10_a_commit_counts_1_024_psks() -> None:
    one = (PreSharedKeyID(ExternalPSK(b"name"), bytes(32)), Secret(bytes(32)))
    assert len(derive_psk_secret(SUITE, [one] * 1_024)) == 32


def test_r8_a_member_sends_1_048_576_messages_in_an_epoch() -> None:
    r8_epoch_bears_more(1_048_575)
    refused("R8", lambda: r8_epoch_bears_more(1_048_576))
