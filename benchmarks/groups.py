"""Groups to measure: members with real credentials, added in one commit, their tree then filled by real commits.

A tree after one large commit is mostly blank, and a commit in it encrypts to nearly every member. Groups that live do
not look like that: each member that ever committed has filled its path. `full` makes such a group, with every parent
node in use, without keeping a thousand members up to date: whoever commits borrows the first member's view of the
epoch, with a seat, a signature key and a leaf key of its own, which is all that a committer needs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import MappingProxyType

from client_lib.engine import Identity, generate_identity
from crypto.identity.accounts import generate_recovery_phrase
from crypto.mls.group import (
    Group,
    PendingCommit,
    StagedCommit,
    create_group,
    generate_key_package,
    join,
    verify_key_package,
)
from crypto.mls.key_package import KeyPackageBundle
from crypto.mls.tree_math import node_of
from crypto.mls.tree_nodes import LeafIndex, Lifetime
from crypto.suites import CipherSuite

_LIFETIME_S = 90 * 86_400
_BACKDATED_S = 3_600


@dataclass(frozen=True, slots=True)
class Candidate:
    """Somebody who is or will be in a group; `package` is what they published."""

    identity: Identity
    bundle: KeyPackageBundle
    package: bytes


@dataclass(frozen=True, slots=True)
class Views:
    """One epoch of one group, as three of its members see it."""

    committer: Group
    """Leaf 0."""
    near: Group
    """Leaf 1, whose path meets that of leaf 0 first thing: it derives every secret of the path."""
    far: Group
    """The last leaf, on the other side of the root: it derives one secret. In a group of two the same as `near`."""

    def receive(self, message: bytes, now: int) -> Views:
        """The next epoch, after another member's commit."""
        return Views(*(merged(view, message, now) for view in (self.committer, self.near, self.far)))


def clock() -> int:
    """Unix seconds."""
    return int(time.time())


def lifetime(now: int) -> Lifetime:
    """A lifetime as clients set it."""
    return Lifetime(now - _BACKDATED_S, now + _LIFETIME_S)


def generate_candidates(suite: CipherSuite, count: int, now: int) -> list[Candidate]:
    """`count` accounts with one device and one key package each."""
    identities = (generate_identity(generate_recovery_phrase(), "http://localhost", now) for _ in range(count))
    return [candidate(suite, identity, now) for identity in identities]


def candidate(suite: CipherSuite, identity: Identity, now: int) -> Candidate:
    """Somebody with a fresh key package."""
    bundle = generate_key_package(suite, identity.credential, identity.device_key, lifetime=lifetime(now))
    return Candidate(identity, bundle, bundle.message())


def create(suite: CipherSuite, candidates: list[Candidate], now: int) -> PendingCommit:
    """A group of everybody, made by the first: key packages of the others in, commit and Welcome out, all as bytes."""
    creator = candidates[0].identity
    group = create_group(suite, os.urandom(32), creator.credential, creator.device_key, lifetime=lifetime(now), now=now)
    others = [verify_key_package(candidate.package, now) for candidate in candidates[1:]]
    return group.commit(others, now=now)


def enter(welcome: bytes, joiner: Candidate, now: int) -> Group:
    """Join by a Welcome."""
    bundles = {joiner.bundle.reference: joiner.bundle}
    return join(welcome, bundles, joiner.identity.device_key, now=now).accept()


def merged(group: Group, message: bytes, now: int) -> Group:
    """The next epoch, from a commit as bytes."""
    staged = group.receive(message, now)
    assert isinstance(staged, StagedCommit)
    return staged.merge()


def full(created: PendingCommit, candidates: list[Candidate], now: int, step: Callable[[float], None]) -> Views:
    """A group in which no parent node is blank: every second member has committed once.

    `step` is told the share that is done, for a progress bar.
    """
    assert created.welcome is not None
    views = Views(
        created.next_group, enter(created.welcome, candidates[1], now), enter(created.welcome, candidates[-1], now)
    )
    committers = list(_spread_out(len(candidates)))
    for done, leaf in enumerate(committers):
        if leaf == 0:
            pending = views.committer.commit(now=now)
            following = [merged(view, pending.message, now) for view in (views.near, views.far)]
            views = Views(pending.next_group, *following)
        else:
            pending = _seated(views.committer, leaf, candidates[leaf]).commit(now=now)
            views = views.receive(pending.message, now)
        step((done + 1) / len(committers))
    return views


def _seated(view: Group, leaf: LeafIndex, candidate: Candidate) -> Group:
    """The same epoch as seen by the member at `leaf` that has not committed yet."""
    own_keys = MappingProxyType({node_of(leaf): candidate.bundle.encryption_private})
    signer = candidate.identity.device_key
    return Group(replace(view.state, own_leaf=leaf, signer=signer, private_keys=own_keys))


def _spread_out(members: int) -> Iterator[LeafIndex]:
    """Every second leaf, each as far from the former ones as can be: so blank subtrees shrink quickly.

    The last leaf is followed by `Views.far` and therefore left out; its sibling, if it has one, fills the path.
    """
    bits = (members - 1).bit_length()
    for number in range(1 << bits):
        leaf = int(f"{number:0{bits}b}"[::-1], 2)
        if leaf % 2 == 0 and leaf < members - 1:
            yield LeafIndex(leaf)
