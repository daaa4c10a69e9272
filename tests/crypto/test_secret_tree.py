"""The secret tree: the official vectors, a naive oracle, the deletion schedule, and rules R1, R2, R3, R5, R9, R10."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.errors import DecodeError, GenerationTooFar, GenerationUsed, MLSError, RuleViolation, UsageError
from crypto.mls import secret_tree
from crypto.mls.protection import sender_data_key_nonce
from crypto.mls.secret_tree import (
    GENERATION_MAX,
    SKIP_MAX,
    SKIPPED_KEYS_MAX,
    Generation,
    LeafRatchets,
    MessageKey,
    Ratchet,
    RatchetKind,
    SecretTree,
)
from crypto.mls.tree_nodes import LeafIndex
from crypto.secret import Secret
from crypto.suites import SUITES, CipherSuite, suite_of
from tests.crypto.matrix import without_group
from tests.crypto.naive_secret_tree import NaiveSecretTree, Window
from tests.vectors import Case, each

ONE = SUITES[1]
HANDSHAKE, APPLICATION = RatchetKind.HANDSHAKE, RatchetKind.APPLICATION
ROOT = Secret(bytes(range(32)))
EVERY_SUITE = pytest.mark.parametrize("chosen", SUITES.values(), ids=[str(suite_id) for suite_id in SUITES])


def new_tree(leaf_count: int = 8, chosen: CipherSuite = ONE) -> SecretTree:
    return SecretTree(chosen, leaf_count, Secret(bytes(range(chosen.hash_size))))


def key_for(tree: SecretTree, leaf: int, kind: RatchetKind, generation: int) -> tuple[SecretTree, MessageKey]:
    return tree.key_for(LeafIndex(leaf), kind, Generation(generation))


def is_used(tree: SecretTree, leaf: int, kind: RatchetKind, generation: int) -> bool:
    try:
        key_for(tree, leaf, kind, generation)
    except GenerationUsed:
        return True
    return False


@each("mls/secret-tree.json")
def test_published_keys(case: Case) -> None:
    chosen, leaves = suite_of(case["cipher_suite"]), case["leaves"]
    tree = SecretTree(chosen, len(leaves), Secret(bytes.fromhex(case["encryption_secret"])))
    for leaf, generations in enumerate(leaves):
        for published in generations:
            for kind in RatchetKind:
                tree, found = key_for(tree, leaf, kind, published["generation"])
                assert found.key.reveal().hex() == published[f"{kind.value}_key"]
                assert found.nonce.reveal().hex() == published[f"{kind.value}_nonce"]


@each("mls/secret-tree.json")
def test_published_sender_data_keys(case: Case) -> None:
    published = case["sender_data"]
    secret, ciphertext = (bytes.fromhex(published[name]) for name in ("sender_data_secret", "ciphertext"))
    key, nonce = sender_data_key_nonce(suite_of(case["cipher_suite"]), Secret(secret), ciphertext)
    assert (key.reveal().hex(), nonce.hex()) == (published["key"], published["nonce"])


def _take(
    tree: SecretTree, leaf: int, kind: RatchetKind, generation: int
) -> tuple[SecretTree, MessageKey | type[MLSError]]:
    try:
        return key_for(tree, leaf, kind, generation)
    except (GenerationUsed, GenerationTooFar) as error:
        return tree, type(error)


@settings(max_examples=300)
@given(
    leaf_count=st.sampled_from([1, 2, 4, 8, 64]),
    deliveries=st.lists(
        st.tuples(
            st.integers(0, 63),
            st.sampled_from(RatchetKind),
            st.integers(0, 39),
            st.sampled_from(["", "forged", "restart"]),
        ),
        max_size=60,
    ),
)
def test_any_order_of_messages_losses_and_replays_gives_what_the_oracle_gives(
    leaf_count: int, deliveries: list[tuple[int, RatchetKind, int, str]]
) -> None:
    with mock.patch.multiple(secret_tree, SKIP_MAX=9, SKIPPED_KEYS_MAX=12):
        tree, naive = SecretTree(ONE, leaf_count, ROOT), NaiveSecretTree(ONE, leaf_count, ROOT)
        windows: defaultdict[tuple[int, RatchetKind], Window] = defaultdict(lambda: Window(9, 12))
        stored = tree.rows()
        for leaf, kind, generation, event in deliveries:
            leaf %= leaf_count
            if event == "forged":  # its tree is dropped, so nothing has happened
                _take(tree, leaf, kind, generation)
                assert tree.rows() == stored
                continue
            before = tree
            tree, found = _take(tree, leaf, kind, generation)
            window = windows[leaf, kind]
            refusal = window.refusal(generation)
            assert found == (refusal or naive.key(leaf, kind, generation))
            if refusal is None:
                window.take(generation)
            for name, row in tree.changed_rows(before).items():
                if row is None:
                    del stored[name]
                else:
                    stored[name] = row
            assert stored == tree.rows()
            if event == "restart":
                assert SecretTree.of_rows(ONE, leaf_count, stored) == tree
                tree = SecretTree.of_rows(ONE, leaf_count, stored)


@EVERY_SUITE
@pytest.mark.parametrize("leaf_count", [1, 2, 8, 64])
def test_every_key_is_what_recursion_gives(chosen: CipherSuite, leaf_count: int) -> None:
    root = Secret(bytes(range(chosen.hash_size)))
    tree, naive = SecretTree(chosen, leaf_count, root), NaiveSecretTree(chosen, leaf_count, root)
    places = [(leaf, kind, number) for leaf in range(leaf_count) for kind in RatchetKind for number in range(4)]
    random.Random(leaf_count).shuffle(places)
    for leaf, kind, generation in places:
        tree, found = key_for(tree, leaf, kind, generation)
        assert found == naive.key(leaf, kind, generation)


@EVERY_SUITE
def test_sender_and_receivers_agree(chosen: CipherSuite) -> None:
    sending = receiving = new_tree(4, chosen)
    for expected in range(5):
        for kind in RatchetKind:
            sending, generation, sent = sending.next_key(LeafIndex(2), kind)
            receiving, received = receiving.key_for(LeafIndex(2), kind, generation)
            assert (generation, sent) == (expected, received)
            assert (len(sent.key), len(sent.nonce)) == (chosen.aead_key_size, 12)
    assert sending == receiving


def test_keys_of_all_leaves_kinds_and_generations_differ() -> None:
    """R9 among them: a handshake key is never an application key."""
    tree = new_tree(8)
    keys = []
    for leaf in range(8):
        for kind in RatchetKind:
            for generation in range(4):
                tree, found = key_for(tree, leaf, kind, generation)
                keys += [found.key.reveal(), found.nonce.reveal()]
    assert len(set(keys)) == 8 * 2 * 4 * 2


# The deletion schedule, §9.2


def _all_bytes(tree: SecretTree) -> bytes:
    return b"|".join(tree.rows().values())


def test_the_example_of_the_rfc() -> None:
    """§9.2: D, the last of four members, is heard with generation 1 before generation 0."""
    naive = NaiveSecretTree(ONE, 4, ROOT)
    d, f, g = naive.path_secrets(3)
    c, e = naive.tree_node_secret(0, 2), naive.tree_node_secret(1, 0)
    application = [naive.ratchet_secret(3, APPLICATION, generation) for generation in range(3)]
    k0, k1 = naive.key(3, APPLICATION, 0), naive.key(3, APPLICATION, 1)

    tree, found = key_for(SecretTree(ONE, 4, ROOT), 3, APPLICATION, 1)
    assert found == k1
    left = _all_bytes(tree)
    for consumed in (g, f, d, application[0], application[1], k1.key, k1.nonce):
        assert consumed.reveal() not in left
    for retained in (e, c, k0.key, k0.nonce, application[2], naive.ratchet_secret(3, HANDSHAKE, 0)):
        assert retained.reveal() in left
    assert set(tree.rows()) == {"secret/1", "secret/4", "ratchets/3"}

    tree, found = key_for(tree, 3, APPLICATION, 0)
    assert found == k0
    assert k0.key.reveal() not in _all_bytes(tree)
    assert k0.nonce.reveal() not in _all_bytes(tree)


@pytest.mark.parametrize("leaf_count", [1, 2, 16])
def test_what_was_consumed_is_nowhere_in_the_tree(leaf_count: int) -> None:
    naive = NaiveSecretTree(ONE, leaf_count, ROOT)
    tree = SecretTree(ONE, leaf_count, ROOT)
    for leaf in range(leaf_count):
        for generation in (3, 0, 5):
            tree, key = key_for(tree, leaf, HANDSHAKE, generation)
            left = _all_bytes(tree)
            passed = [naive.ratchet_secret(leaf, HANDSHAKE, before) for before in range(max(3, generation) + 1)]
            consumed = [*naive.path_secrets(leaf), *passed, key.key, key.nonce]
            assert not [secret for secret in consumed if secret.reveal() in left]


# R1, R5: one message for each key; a forgery costs nothing


@without_group("the secret tree alone")
@EVERY_SUITE
def test_r1_a_generation_opens_one_message(chosen: CipherSuite) -> None:
    tree = new_tree(4, chosen)
    for generation in (0, 5, 3):
        tree, _ = key_for(tree, 1, APPLICATION, generation)
        before = tree.rows()
        with pytest.raises(GenerationUsed, match=f"generation {generation} is gone"):
            key_for(tree, 1, APPLICATION, generation)
        with pytest.raises(GenerationUsed):
            key_for(SecretTree.of_rows(chosen, 4, before), 1, APPLICATION, generation)
        assert tree.rows() == before
    assert [is_used(tree, 1, APPLICATION, n) for n in range(8)] == [True, False, False, True, False, True, False, False]
    assert not any(is_used(tree, 1, HANDSHAKE, n) or is_used(tree, 2, APPLICATION, n) for n in range(8))


@without_group("the secret tree alone")
def test_r1_our_own_sending_uses_up_the_receiving_key() -> None:
    tree, generation, _ = new_tree().next_key(LeafIndex(3), APPLICATION)
    assert is_used(tree, 3, APPLICATION, generation)


@without_group("the secret tree alone")
def test_r5_a_tree_that_is_not_adopted_changes_nothing() -> None:
    tree, _ = key_for(new_tree(), 2, APPLICATION, 4)
    before = tree.rows()
    for generation in (0, 4, 5, 900, 5000):
        _take(tree, 2, APPLICATION, generation)
        _take(tree, 7, HANDSHAKE, generation)
    assert tree.rows() == before
    assert key_for(tree, 2, APPLICATION, 5)[1] == NaiveSecretTree(ONE, 8, ROOT).key(2, APPLICATION, 5)


# R2, R3, R10: bounds


@without_group("the secret tree alone")
@pytest.mark.parametrize("start", [0, 7])
def test_r2_a_message_may_skip_a_thousand_generations_and_not_one_more(start: int) -> None:
    tree = new_tree()
    for generation in range(start):
        tree, _ = key_for(tree, 0, APPLICATION, generation)
    before = tree.rows()
    for generation in (start + SKIP_MAX + 1, 2 * SKIP_MAX, GENERATION_MAX, GENERATION_MAX + 1):
        with pytest.raises(GenerationTooFar):
            key_for(tree, 0, APPLICATION, generation)
    assert tree.rows() == before
    tree, _ = key_for(tree, 0, APPLICATION, start + SKIP_MAX)
    assert not any(is_used(tree, 0, APPLICATION, n) for n in (start, start + SKIP_MAX - 1))


@without_group("the secret tree alone")
def test_r2_refusing_a_far_generation_takes_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    tree, _ = key_for(new_tree(), 0, APPLICATION, 0)
    derived: list[str] = []
    monkeypatch.setattr(secret_tree, "derive_tree_secret", lambda *arguments: derived.append(arguments[2]))
    for generation in (SKIP_MAX + 2, GENERATION_MAX):
        with pytest.raises(GenerationTooFar):
            key_for(tree, 0, APPLICATION, generation)
    assert derived == []


@without_group("the secret tree alone")
def test_r3_ten_thousand_gaps_keep_a_bounded_number_of_keys() -> None:
    tree = new_tree(1)
    for generation in range(1, 20_001, 2):
        tree, _ = key_for(tree, 0, APPLICATION, generation)
    assert isinstance(tree.root, LeafRatchets)
    kept = [skipped.generation for skipped in tree.root.application.skipped]
    assert kept == list(range(18_000, 20_000, 2))
    assert len(kept) == SKIPPED_KEYS_MAX
    assert is_used(tree, 0, APPLICATION, kept[0] - 2)
    assert not is_used(tree, 0, APPLICATION, kept[0])


def _ratchet_at(generation: int) -> SecretTree:
    start = Ratchet(ROOT, 0, ())
    return SecretTree(ONE, 1, LeafRatchets(start, Ratchet(ROOT, generation, ())))


@without_group("the secret tree alone")
def test_r10_the_last_generation_is_the_last() -> None:
    tree = _ratchet_at(GENERATION_MAX)
    sent, generation, key = tree.next_key(LeafIndex(0), APPLICATION)
    received, same = key_for(tree, 0, APPLICATION, GENERATION_MAX)
    assert (generation, key, sent) == (GENERATION_MAX, same, received)
    before = sent.rows()
    assert SecretTree.of_rows(ONE, 1, before) == sent
    with pytest.raises(UsageError, match="no generation is left"):
        sent.next_key(LeafIndex(0), APPLICATION)
    with pytest.raises(GenerationTooFar):
        key_for(sent, 0, APPLICATION, GENERATION_MAX + 1)
    assert is_used(sent, 0, APPLICATION, 0)
    assert is_used(sent, 0, APPLICATION, GENERATION_MAX)
    assert sent.rows() == before
    sent.next_key(LeafIndex(0), HANDSHAKE)  # the other ratchet goes on


@without_group("the secret tree alone")
@pytest.mark.parametrize("leaf", [-1, 8, 2**24, 2**32 - 1])
def test_f4_a_leaf_outside_the_tree_is_refused(leaf: int) -> None:
    tree = new_tree(8)
    with pytest.raises(RuleViolation) as raised:
        key_for(tree, leaf, APPLICATION, 0)
    assert raised.value.rule == "F4"
    assert tree == new_tree(8)


# Rows


def test_a_message_changes_one_row_and_the_first_of_a_sender_one_for_each_level() -> None:
    tree = new_tree(1024)
    assert list(tree.rows()) == ["secret/1023"]
    first, _ = key_for(tree, 77, APPLICATION, 0)
    changed = first.changed_rows(tree)
    assert len(changed) == 1 + 10 + 1  # the root's row goes; ten copath secrets and the leaf's ratchets come
    assert changed["secret/1023"] is None
    second, _ = key_for(first, 77, APPLICATION, 1)
    assert list(second.changed_rows(first)) == ["ratchets/77"]
    neighbour, _ = key_for(second, 76, HANDSHAKE, 0)
    assert neighbour.changed_rows(second) == {"secret/152": None, "ratchets/76": neighbour.rows()["ratchets/76"]}
    assert neighbour.changed_rows(neighbour) == {}


SMALL, FRESH, USED = new_tree(2), new_tree(8), key_for(new_tree(8), 5, APPLICATION, 0)[0]


@pytest.mark.parametrize(
    "before, after", [(SMALL, USED), (FRESH, USED), (USED, FRESH)], ids=["another epoch", "on", "back"]
)
def test_changed_rows_lead_from_any_tree_to_any_other(before: SecretTree, after: SecretTree) -> None:
    stored: dict[str, bytes | None] = before.rows() | after.changed_rows(before)
    assert {name: row for name, row in stored.items() if row is not None} == after.rows()


def _damaged_rows() -> Iterator[dict[str, bytes]]:
    rows = key_for(new_tree(4), 2, APPLICATION, 3)[0].rows()
    yield {}
    for name in rows:
        yield {key: row for key, row in rows.items() if key != name}
    yield rows | {"secret/0": bytes(32)}
    yield rows | {"ratchets/9": rows["ratchets/2"]}
    yield rows | {"other": b""}
    yield rows | {"ratchets/2": rows["ratchets/2"][:-1]}
    yield rows | {"ratchets/2": rows["ratchets/2"] + b"\0"}


@pytest.mark.parametrize("rows", list(_damaged_rows()))
def test_rows_that_are_missing_left_over_or_malformed_are_refused(rows: dict[str, bytes]) -> None:
    with pytest.raises(DecodeError):
        SecretTree.of_rows(ONE, 4, rows)
