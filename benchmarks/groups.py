"""Groups to measure: members with real credentials, added in one commit, their tree then filled by real commits.

A tree after one large commit is mostly blank, and a commit in it encrypts to nearly every member. Groups that live do
not look like that: each member that ever committed has filled its path. `full_tree` makes such a group, with every
parent node in use, without keeping ten thousand members up to date: all that a committer needs is somebody's view of
the epoch, a seat and a signature key. Nobody could follow that group, so its places are given to `newcomers`: the
first two and the last, of whichever library is measured.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from client_lib.engine import Identity, generate_identity
from crypto.identity.accounts import generate_recovery_phrase
from crypto.mls.commit import create_commit
from crypto.mls.config import DEFAULT_CONFIG
from crypto.mls.group import (
    Group,
    GroupConfig,
    PendingCommit,
    StagedCommit,
    create_group,
    generate_key_package,
    join,
    verify_key_package,
)
from crypto.mls.headers import WireFormat
from crypto.mls.key_package import KeyPackageBundle
from crypto.mls.mls_message import encode_message
from crypto.mls.proposal_list import checked_add, choose_proposals
from crypto.mls.psk_lookup import no_psks
from crypto.mls.tree_nodes import LeafIndex, Lifetime
from crypto.suites import CipherSuite

_LIFETIME_S = 90 * 86_400
_BACKDATED_S = 3_600
_TO_RUN_IN_S = 1.1
"""How old a key package must be before all libraries take it: OpenMLS wants its lifetime to have begun before now,
in whole seconds."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Somebody who is or will be in a group; `package` is what they published."""

    identity: Identity
    bundle: KeyPackageBundle
    package: bytes


def clock() -> int:
    """Unix seconds."""
    return int(time.time())


def wait_until_valid() -> None:
    """Let key packages that were made just now become valid for the strictest of the libraries."""
    time.sleep(_TO_RUN_IN_S)


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
    return Candidate(identity, bundle, encode_message(bundle.key_package))


def create(suite: CipherSuite, creator: Identity, packages: Sequence[bytes], now: int) -> PendingCommit:
    """A group of the creator and all others: their key packages in, commit and Welcome out, all as bytes."""
    others = [verify_key_package(package, now) for package in packages]
    return _founded(suite, creator, now).commit(others, now=now)


def enter(welcome: bytes, joiner: Candidate, now: int, config: GroupConfig = DEFAULT_CONFIG) -> Group:
    """Join by a Welcome."""
    bundles = {joiner.bundle.reference: joiner.bundle}
    return join(welcome, bundles, joiner.identity.device_key, now=now, config=config).accept()


def merged(group: Group, message: bytes, now: int) -> Group:
    """The next epoch, from a commit as bytes."""
    staged = group.receive(message, now)
    assert isinstance(staged, StagedCommit)
    return group.adopt(staged)


@dataclass(frozen=True, slots=True)
class FullTree:
    """A group in which no parent node is blank, as a view of its last epoch that belongs to nobody."""

    view: Group
    candidates: Sequence[Candidate]
    """The members, by leaf."""

    def newcomers(self, packages: Sequence[bytes], now: int) -> bytes:
        """The Welcome for three clients in place of leaf 0, leaf 1 and the last leaf.

        The neighbour of the last leaf commits, and thereby fills the path that they share; the paths of leaves 0 and 1,
        which nothing is encrypted to when one of the two commits, are filled by their first commit.
        """
        last = LeafIndex(len(self.candidates) - 1)
        places = (LeafIndex(0), LeafIndex(1), last)
        verified = [verify_key_package(package, now) for package in packages]
        pending = _seated(self.view, LeafIndex(last - 1), self.candidates).commit(verified, places, now=now)
        assert pending.welcome is not None
        return pending.welcome


def full_tree(suite: CipherSuite, candidates: Sequence[Candidate], now: int, step: Callable[[float], None]) -> FullTree:
    """A group in which every second member has committed once, and has so filled its path.

    The number of members is even. `step` is told the share that is done, for a progress bar.
    """
    assert len(candidates) % 2 == 0
    view = _assembled(suite, candidates, now)
    committers = list(_spread_out(len(candidates)))
    for done, leaf in enumerate(committers):
        seated = _seated(view, leaf, candidates)
        view = seated.adopt(seated.commit(now=now).next_epoch)
        step((done + 1) / len(committers))
    return FullTree(view, candidates)


def _assembled(suite: CipherSuite, candidates: Sequence[Candidate], now: int) -> Group:
    """A group of everybody after one commit, which nobody is welcomed to: sealing for all takes the longest."""
    state = _founded(suite, candidates[0].identity, now).state
    others = [verify_key_package(other.package, now) for other in candidates[1:]]
    adds = [checked_add(state, verified, now) for verified in others]
    created = create_commit(
        state,
        choose_proposals(state, adds, no_psks, now),
        with_path=True,
        wire_format=WireFormat.PRIVATE_MESSAGE,
        authenticated_data=b"",
        find_psk=no_psks,
    )
    return Group(created.next_state)


def _founded(suite: CipherSuite, creator: Identity, now: int) -> Group:
    """A group of one."""
    group_id = os.urandom(suite.hash_size)
    return create_group(suite, group_id, creator.credential, creator.device_key, lifetime=lifetime(now), now=now)


def _seated(view: Group, leaf: LeafIndex, candidates: Sequence[Candidate]) -> Group:
    """The same epoch as seen by the member at `leaf`, so far as a committer needs it."""
    return Group(replace(view.state, own_leaf=leaf, signer=candidates[leaf].identity.device_key))


def _spread_out(members: int) -> Iterator[LeafIndex]:
    """Every second leaf, each as far from the former ones as can be: so blank subtrees shrink quickly."""
    bits = (members - 1).bit_length()
    for number in range(1 << bits):
        leaf = int(f"{number:0{bits}b}"[::-1], 2)
        if leaf % 2 == 0 and leaf < members:
            yield LeafIndex(leaf)
