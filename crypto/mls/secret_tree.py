"""The secret tree (RFC 9420 §9): one key for each message of each sender.

`SecretTree` is a value. Taking a key gives a new tree that can no longer give that key, nor anything that it was
derived from (§9.2); the old tree stays as it was, so a message that turns out to be forged costs nothing: its tree is
dropped. The two share all but the path from the root to the sender's leaf.

A subtree is one of three things, and so holds a secret only while nothing below it has been used::

    Secret          not used yet: the RFC's tree_node_secret
    Split           a key below has been taken: two subtrees, and the secret is gone
    LeafRatchets    a leaf that has been used: where its two ratchets stand

Does not know which leaves are blank: the caller checks that the sender's leaf is occupied.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from operator import attrgetter
from typing import NamedTuple, NewType

from crypto.errors import DecodeError, GenerationTooFar, GenerationUsed, RuleViolation, UsageError
from crypto.mls.tree_nodes import LeafIndex
from crypto.secret import Secret
from crypto.suites import AEAD_NONCE_SIZE, CipherSuite
from crypto.wire import Uint32, Uint64, decode, encode, struct

Generation = NewType("Generation", int)
"""The place of a message in its sender's ratchet: 0, 1, 2, … (§9.1)."""

GENERATION_MAX = 2**32 - 1
"""SenderData has 32 bits for a generation."""

SKIP_MAX = 1_000
"""How many generations one message may skip: bounds the work that a message can cause (§15.3)."""

SKIPPED_KEYS_MAX = 1_000
"""How many keys of skipped messages one ratchet keeps; the oldest go first (§15.3)."""


class RatchetKind(Enum):
    """The two ratchets of a leaf, by the label under which they start (§9)."""

    HANDSHAKE = "handshake"
    APPLICATION = "application"


class MessageKey(NamedTuple):
    """What protects one message: AEAD.Nk and AEAD.Nn bytes. The nonce still needs the reuse guard (§6.3.1)."""

    key: Secret
    nonce: Secret


@struct
class SkippedKey:
    """The key of a message that has not arrived yet, though a later one has."""

    generation: Uint32
    key: Secret
    nonce: Secret


@struct
class Ratchet:
    """Where a ratchet stands: `secret` is ratchet_secret_[N]_[generation], the next one to be used (§9.1).

    `generation` runs to 2**32, which stands for a ratchet that has come to its end. `skipped` ascends by generation.
    """

    secret: Secret
    generation: Uint64
    skipped: tuple[SkippedKey, ...]


@struct
class LeafRatchets:
    """The two ratchets of a leaf."""

    handshake: Ratchet
    application: Ratchet


class Split(NamedTuple):
    """A parent whose secret has been consumed: its two subtrees."""

    left: Secret | Split | LeafRatchets
    right: Secret | Split | LeafRatchets


Subtree = Secret | Split | LeafRatchets


@dataclass(frozen=True, slots=True)
class SecretTree:
    """All message keys of an epoch that have not been used.

    A new tree is made of the epoch's `encryption_secret`, which is its root: `SecretTree(suite, leaf_count, secret)`.
    `leaf_count` is the full width of the ratchet tree, a power of two.
    """

    suite: CipherSuite
    leaf_count: int
    root: Subtree

    def next_key(self, leaf: LeafIndex, kind: RatchetKind) -> tuple[SecretTree, Generation, MessageKey]:
        """The key for the next message that the member at `leaf`, ourselves, sends, and its generation.

        Raises `UsageError` after 2**32 messages: a commit starts over.
        """
        splits, ratchets = self._descend(leaf)
        generation = Generation(_ratchet(ratchets, kind).generation)
        if generation > GENERATION_MAX:
            raise UsageError("no generation is left in this epoch: commit first")
        advanced, key = _take(self.suite, _ratchet(ratchets, kind), generation)
        return self._ascend(leaf, splits, _with_ratchet(ratchets, kind, advanced)), generation, key

    def key_for(self, leaf: LeafIndex, kind: RatchetKind, generation: Generation) -> tuple[SecretTree, MessageKey]:
        """The key of a received message.

        Adopt the returned tree once the message is known to be authentic, and not before. Raises `GenerationUsed` for
        a key that was given out or dropped before, `GenerationTooFar` for one more than `SKIP_MAX` ahead, and
        `RuleViolation` F4 for a leaf outside the tree.
        """
        splits, ratchets = self._descend(leaf)
        advanced, key = _take(self.suite, _ratchet(ratchets, kind), generation)
        return self._ascend(leaf, splits, _with_ratchet(ratchets, kind, advanced)), key

    def rows(self) -> dict[str, bytes]:
        """The tree as rows for a store: one for each unused subtree, one for each leaf that was used."""
        return _rows(self.root, 0, self.leaf_count)

    def changed_rows(self, before: SecretTree) -> dict[str, bytes | None]:
        """What to write, and with None what to delete, to get from the rows of `before` to those of this tree.

        A message changes one row; the first one of a sender a row for each level of the tree.
        """
        if before.leaf_count != self.leaf_count:  # another epoch: nothing is shared
            return dict.fromkeys(before.rows()) | self.rows()
        return _changed_rows(before.root, self.root, 0, self.leaf_count)

    @staticmethod
    def of_rows(suite: CipherSuite, leaf_count: int, rows: Mapping[str, bytes]) -> SecretTree:
        """The tree that `rows()` described. Raises `DecodeError` if a row is missing, malformed or left over."""
        unread = dict(rows)
        root = _of_rows(suite, unread, 0, leaf_count)
        if unread:
            raise DecodeError(f"{len(unread)} rows of a secret tree left over")
        return SecretTree(suite, leaf_count, root)

    def _descend(self, leaf: LeafIndex) -> tuple[list[Split], LeafRatchets]:
        """The splits from the root down to a leaf, and its ratchets. Secrets on the way are expanded (§9)."""
        if not 0 <= leaf < self.leaf_count:
            raise RuleViolation("F4", "the sender is not in the tree")
        splits = []
        subtree, width = self.root, self.leaf_count
        while width > 1:
            split = _split(self.suite, subtree) if isinstance(subtree, Secret) else subtree
            assert isinstance(split, Split)
            splits.append(split)
            width //= 2
            subtree = split.right if leaf & width else split.left
        ratchets = _start_ratchets(self.suite, subtree) if isinstance(subtree, Secret) else subtree
        assert isinstance(ratchets, LeafRatchets)
        return splits, ratchets

    def _ascend(self, leaf: LeafIndex, splits: list[Split], ratchets: LeafRatchets) -> SecretTree:
        """The tree with new ratchets at a leaf, and new splits above it."""
        subtree: Subtree = ratchets
        width = 1
        for split in reversed(splits):
            subtree = Split(split.left, subtree) if leaf & width else Split(subtree, split.right)
            width *= 2
        return SecretTree(self.suite, self.leaf_count, subtree)


def derive_tree_secret(suite: CipherSuite, secret: Secret, label: str, generation: int, length: int) -> Secret:
    """A ratchet's key, nonce or next secret.

    DeriveTreeSecret, §9.1. `secret` is KDF.Nh bytes, `length` is in bytes.
    """
    return suite.expand_with_label(secret, label, generation.to_bytes(4, "big"), length)


def _split(suite: CipherSuite, secret: Secret) -> Split:
    """The secrets of a parent's children (§9)."""
    size = suite.hash_size
    return Split(
        suite.expand_with_label(secret, "tree", b"left", size), suite.expand_with_label(secret, "tree", b"right", size)
    )


def _start_ratchets(suite: CipherSuite, secret: Secret) -> LeafRatchets:
    """The two ratchets of a leaf at generation 0 (§9)."""
    size = suite.hash_size
    handshake = suite.expand_with_label(secret, RatchetKind.HANDSHAKE.value, b"", size)
    application = suite.expand_with_label(secret, RatchetKind.APPLICATION.value, b"", size)
    return LeafRatchets(Ratchet(handshake, 0, ()), Ratchet(application, 0, ()))


def _ratchet(ratchets: LeafRatchets, kind: RatchetKind) -> Ratchet:
    return ratchets.handshake if kind is RatchetKind.HANDSHAKE else ratchets.application


def _with_ratchet(ratchets: LeafRatchets, kind: RatchetKind, ratchet: Ratchet) -> LeafRatchets:
    if kind is RatchetKind.HANDSHAKE:
        return LeafRatchets(ratchet, ratchets.application)
    return LeafRatchets(ratchets.handshake, ratchet)


def _take(suite: CipherSuite, ratchet: Ratchet, generation: Generation) -> tuple[Ratchet, MessageKey]:
    """The key of a generation, and the ratchet without it. Keys of generations in between are kept for later."""
    if generation < ratchet.generation:
        return _take_skipped(ratchet, generation)
    if generation - ratchet.generation > SKIP_MAX or generation > GENERATION_MAX:
        raise GenerationTooFar(f"generation {generation} where {ratchet.generation} comes next")
    secret = ratchet.secret
    passed = []
    for earlier in range(ratchet.generation, generation):
        passed.append(SkippedKey(earlier, *_message_key(suite, secret, earlier)))
        secret = derive_tree_secret(suite, secret, "secret", earlier, suite.hash_size)
    key = _message_key(suite, secret, generation)
    following = derive_tree_secret(suite, secret, "secret", generation, suite.hash_size)
    skipped = (*ratchet.skipped, *passed)[-SKIPPED_KEYS_MAX:] if passed else ratchet.skipped
    return Ratchet(following, generation + 1, skipped), key


def _take_skipped(ratchet: Ratchet, generation: Generation) -> tuple[Ratchet, MessageKey]:
    place = bisect_left(ratchet.skipped, generation, key=attrgetter("generation"))
    if place == len(ratchet.skipped) or ratchet.skipped[place].generation != generation:
        raise GenerationUsed(f"the key of generation {generation} is gone")
    found = ratchet.skipped[place]
    left = ratchet.skipped[:place] + ratchet.skipped[place + 1 :]
    return Ratchet(ratchet.secret, ratchet.generation, left), MessageKey(found.key, found.nonce)


def _message_key(suite: CipherSuite, secret: Secret, generation: int) -> MessageKey:
    """ratchet_key and ratchet_nonce of a generation (§9.1)."""
    return MessageKey(
        derive_tree_secret(suite, secret, "key", generation, suite.aead_key_size),
        derive_tree_secret(suite, secret, "nonce", generation, AEAD_NONCE_SIZE),
    )


def _secret_row(first_leaf: int, width: int) -> str:
    """The key of the row of an unused subtree, by the index of its node in the array of Appendix C."""
    return f"secret/{2 * first_leaf + width - 1}"


def _ratchets_row(leaf: int) -> str:
    return f"ratchets/{leaf}"


def _rows(subtree: Subtree, first_leaf: int, width: int) -> dict[str, bytes]:
    """The rows of the subtree over the leaves from `first_leaf` on, `width` of them."""
    if isinstance(subtree, Secret):
        return {_secret_row(first_leaf, width): subtree.reveal()}
    if isinstance(subtree, LeafRatchets):
        return {_ratchets_row(first_leaf): encode(subtree)}
    half = width // 2
    return _rows(subtree.left, first_leaf, half) | _rows(subtree.right, first_leaf + half, half)


def _changed_rows(before: Subtree, after: Subtree, first_leaf: int, width: int) -> dict[str, bytes | None]:
    if before is after:
        return {}
    if isinstance(before, Split) and isinstance(after, Split):
        half = width // 2
        left = _changed_rows(before.left, after.left, first_leaf, half)
        return left | _changed_rows(before.right, after.right, first_leaf + half, half)
    gone: dict[str, bytes | None] = dict.fromkeys(_rows(before, first_leaf, width))
    return gone | _rows(after, first_leaf, width)


def _of_rows(suite: CipherSuite, unread: dict[str, bytes], first_leaf: int, width: int) -> Subtree:
    secret = unread.pop(_secret_row(first_leaf, width), None)
    if secret is not None:
        if len(secret) != suite.hash_size:
            raise DecodeError("a secret of a secret tree of the wrong size")
        return Secret(secret)
    if width > 1:
        half = width // 2
        left = _of_rows(suite, unread, first_leaf, half)
        return Split(left, _of_rows(suite, unread, first_leaf + half, half))
    ratchets = unread.pop(_ratchets_row(first_leaf), None)
    if ratchets is None:
        raise DecodeError(f"a secret tree without a row for leaf {first_leaf}")
    return decode(LeafRatchets, ratchets)
