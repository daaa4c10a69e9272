"""Who is in a group: a member as the application sees it, and what all members have in common.

Owns `Roster`, which answers what the rules ask of all members at once without looking at all leaves. It never disagrees
with the tree: both change together, and it is built anew from the tree when a group is joined or loaded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

from crypto.mls.credentials import AnyCredential, credential_type
from crypto.mls.extensions import Extension
from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.tree_nodes import Capabilities, LeafIndex, LeafNode

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Member:
    """A member as the application sees it."""

    leaf_index: LeafIndex
    credential: AnyCredential
    signature_key: bytes
    extensions: tuple[Extension, ...]
    """What its leaf carries, such as a role; types that nobody knows among them (§13.5)."""


def member_of(leaf_index: LeafIndex, leaf: LeafNode) -> Member:
    """The member at a leaf."""
    return Member(leaf_index, leaf.credential, leaf.signature_key, leaf.extensions)


def member_at(tree: RatchetTree, leaf_index: LeafIndex) -> Member | None:
    """Who sits at a leaf; None where it is blank."""
    leaf = tree.leaf(leaf_index)
    return None if leaf is None else member_of(leaf_index, leaf)


@dataclass(frozen=True, slots=True)
class Kind:
    """What many members share: the type of their credential, and what they support."""

    credential_type: int
    capabilities: Capabilities


@dataclass(frozen=True, slots=True, eq=False)
class Roster:
    """What the rules ask of all members at once."""

    kinds: MappingProxyType[Kind, int]
    """How many members are of each kind. Most groups have a handful of kinds, so the rules may scan them all."""
    signature_keys: MappingProxyType[bytes, int]
    """How many members have a signature key: one, if the tree is valid (rule L12)."""

    def credential_types(self) -> frozenset[int]:
        """The credential types in use."""
        return frozenset(kind.credential_type for kind in self.kinds)

    def replace(self, gone: Sequence[LeafNode], come: Sequence[LeafNode]) -> Roster:
        """The roster without the leaves that go and with those that come; the same object if that is no difference."""
        if list(map(_facts_of, gone)) == list(map(_facts_of, come)):  # a path changes none of these
            return self
        kinds = _recount(self.kinds, map(_kind_of, gone), map(_kind_of, come))
        keys = _recount(
            self.signature_keys, [leaf.signature_key for leaf in gone], [leaf.signature_key for leaf in come]
        )
        return Roster(kinds, keys)


def roster_of(leaves: Sequence[LeafNode]) -> Roster:
    """The roster of a whole tree."""
    return Roster(MappingProxyType({}), MappingProxyType({})).replace((), leaves)


def _kind_of(leaf: LeafNode) -> Kind:
    return Kind(int(credential_type(leaf.credential)), leaf.capabilities)


def _facts_of(leaf: LeafNode) -> tuple[int, Capabilities, bytes]:
    return credential_type(leaf.credential), leaf.capabilities, leaf.signature_key


def _recount(counts: MappingProxyType[T, int], gone: Iterable[T], come: Iterable[T]) -> MappingProxyType[T, int]:
    """`counts` after some went and some came; the same object if that makes no difference."""
    difference = Counter(come)
    difference.subtract(Counter(gone))
    if not any(difference.values()):
        return counts
    recounted = counts.copy()
    for item, by in difference.items():
        recounted[item] = recounted.get(item, 0) + by
        if recounted[item] == 0:
            del recounted[item]
    return MappingProxyType(recounted)
