"""The secret tree as RFC 9420 §9 tells it: every key by recursion from the root, and which of them is still there.

An oracle for `crypto.mls.secret_tree`. It shares with it the labelled functions of the cipher suite only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from crypto.errors import GenerationTooFar, GenerationUsed, MLSError
from crypto.mls.secret_tree import SKIP_MAX, SKIPPED_KEYS_MAX, MessageKey, RatchetKind
from crypto.secret import Secret
from crypto.suites import CipherSuite


class NaiveSecretTree:
    """Every secret of an epoch, each derived from its parent when asked for; nothing is ever erased.

    A node is named by its level above the leaves and its number from the left: of four leaves, G is (2, 0), E and F
    are (1, 0) and (1, 1).
    """

    def __init__(self, suite: CipherSuite, leaf_count: int, encryption_secret: Secret) -> None:
        self.suite, self.leaf_count, self.encryption_secret = suite, leaf_count, encryption_secret
        self.depth = leaf_count.bit_length() - 1
        self.tree_node_secret = cache(self._tree_node_secret)
        self.ratchet_secret = cache(self._ratchet_secret)

    def _tree_node_secret(self, level: int, number: int) -> Secret:
        """tree_node_secret_[N], §9: the root's is the epoch's, a child's comes from its parent's."""
        if level == self.depth:
            return self.encryption_secret
        above = self.tree_node_secret(level + 1, number // 2)
        side = b"right" if number % 2 else b"left"
        return self.suite.expand_with_label(above, "tree", side, self.suite.hash_size)

    def _ratchet_secret(self, leaf: int, kind: RatchetKind, generation: int) -> Secret:
        """ratchet_secret_[N]_[generation], §9 and §9.1."""
        if generation == 0:
            return self.suite.expand_with_label(self.tree_node_secret(0, leaf), kind.value, b"", self.suite.hash_size)
        before = self.ratchet_secret(leaf, kind, generation - 1)
        return self._derive_tree_secret(before, "secret", generation - 1, self.suite.hash_size)

    def key(self, leaf: int, kind: RatchetKind, generation: int) -> MessageKey:
        """ratchet_key and ratchet_nonce, §9.1."""
        secret = self.ratchet_secret(leaf, kind, generation)
        return MessageKey(
            self._derive_tree_secret(secret, "key", generation, self.suite.aead_key_size),
            self._derive_tree_secret(secret, "nonce", generation, 12),
        )

    def _derive_tree_secret(self, secret: Secret, label: str, generation: int, length: int) -> Secret:
        """DeriveTreeSecret, §9.1."""
        return self.suite.expand_with_label(secret, label, generation.to_bytes(4, "big"), length)

    def path_secrets(self, leaf: int) -> list[Secret]:
        """What the first message of a leaf consumes: the secrets of the leaf and of all above it (§9.2)."""
        return [self.tree_node_secret(level, leaf >> level) for level in range(self.depth + 1)]


@dataclass
class Window:
    """Which generations of one ratchet a receiver can still open (§9.2, §15.3): a list, and what comes next."""

    skip_max: int = SKIP_MAX
    kept_max: int = SKIPPED_KEYS_MAX
    following: int = 0
    waiting: list[int] = field(default_factory=list)

    def refusal(self, generation: int) -> type[MLSError] | None:
        """How a message of a generation fails, if it does."""
        if generation < self.following:
            return None if generation in self.waiting else GenerationUsed
        return GenerationTooFar if generation > self.following + self.skip_max else None

    def take(self, generation: int) -> None:
        """A message of this generation, which is not refused, is opened."""
        if generation < self.following:
            self.waiting.remove(generation)
            return
        self.waiting += range(self.following, generation)
        self.waiting = self.waiting[-self.kept_max :]
        self.following = generation + 1
