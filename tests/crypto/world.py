"""An in-memory world of clients for tests of groups: people, a delivery service that keeps order, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from crypto.mls.config import DEFAULT_CONFIG, GroupConfig
from crypto.mls.credentials import BasicCredential
from crypto.mls.extensions import Extension
from crypto.mls.group import (
    ApplicationMessage,
    Group,
    PendingCommit,
    ReceivedProposal,
    StagedCommit,
    create_group,
    generate_key_package,
    join,
    verify_key_package,
)
from crypto.mls.key_package import KeyPackageBundle
from crypto.mls.mls_message import encode_message
from crypto.mls.psk_lookup import PSKLookup, no_psks
from crypto.mls.tree_nodes import LeafIndex, Lifetime
from crypto.mls.verified_key_package import VerifiedKeyPackage
from crypto.suites import X_WING, CipherSuite, SignatureKeyPair, suite_of

NOW = 1_800_000_000
LIFETIME = Lifetime(NOW - 3600, NOW + 90 * 86400)
SUITES = (suite_of(1), X_WING)
SIZES = (2, 5, 9, 33)

every_suite = pytest.mark.parametrize("belongs", SUITES, ids=lambda each: f"suite {each.id:#06x}")


@dataclass
class Person:
    """A client with one device, and its view of the one group of the world."""

    name: str
    suite: CipherSuite
    signer: SignatureKeyPair
    config: GroupConfig = DEFAULT_CONFIG
    bundle: KeyPackageBundle | None = None
    group: Group | None = None

    @property
    def view(self) -> Group:
        assert self.group is not None, f"{self.name} is not in the group"
        return self.group

    def offer(self) -> VerifiedKeyPackage:
        """A fresh key package, as whoever adds this person sees it."""
        self.bundle = generate_key_package(self.suite, self.credential, self.signer, lifetime=LIFETIME)
        return verify_key_package(encode_message(self.bundle.key_package), NOW)

    @property
    def credential(self) -> BasicCredential:
        return BasicCredential(self.name.encode())

    def offer_bytes(self) -> bytes:
        """The same as the bytes that go to the server."""
        self.offer()
        assert self.bundle is not None
        return encode_message(self.bundle.key_package)

    def accept(self, welcome: bytes | None, find_psk: PSKLookup = no_psks) -> None:
        """Join by the key package that was offered last."""
        assert welcome is not None
        assert self.bundle is not None
        bundles = {self.bundle.reference: self.bundle}
        staged = join(welcome, bundles, self.signer, now=NOW, find_psk=find_psk, config=self.config)
        assert staged.used_reference == self.bundle.reference
        self.group = staged.accept()


def person(name: str, belongs: CipherSuite, config: GroupConfig = DEFAULT_CONFIG) -> Person:
    return Person(name, belongs, belongs.signature.generate(), config)


def won(pending: PendingCommit) -> Group:
    """Where a committer is once its commit has won."""
    return pending.group.adopt(pending.next_epoch)


@dataclass
class World:
    """People in one group. Whatever is sent reaches everybody else at once and in order."""

    suite: CipherSuite
    people: dict[str, Person] = field(default_factory=dict)
    config: GroupConfig = DEFAULT_CONFIG

    def person(self, name: str) -> Person:
        """The person of that name; a new one if there is none."""
        if name not in self.people:
            self.people[name] = person(name, self.suite, self.config)
        return self.people[name]

    def __getitem__(self, name: str) -> Group:
        return self.people[name].view

    @property
    def members(self) -> list[Person]:
        return [someone for someone in self.people.values() if someone.group is not None]

    @property
    def receiver(self) -> str:
        """Who judges: the member at the last leaf."""
        return self.members[-1].name

    @property
    def bystander(self) -> str:
        """A member who neither sends nor judges; in a group of two the one who judges."""
        return self.members[1].name

    def leaf(self, name: str) -> LeafIndex:
        return self[name].own_leaf

    def found(self, name: str, extensions: tuple[Extension, ...] = ()) -> None:
        """`name` creates the group."""
        founder = self.person(name)
        founder.group = create_group(
            self.suite,
            b"a group of this test",
            founder.credential,
            founder.signer,
            lifetime=LIFETIME,
            now=NOW,
            extensions=extensions,
            config=self.config,
        )

    def pending(
        self, committer: str, *, adds: Iterable[str] = (), removes: Iterable[str] = (), **options: Any
    ) -> PendingCommit:
        """A commit of `committer` that nobody has seen yet."""
        offers = [self.person(name).offer() for name in adds]
        leaves = [self.leaf(name) for name in removes]
        return self[committer].commit(offers, leaves, now=NOW, **options)

    def win(self, committer: str, pending: PendingCommit) -> dict[str, StagedCommit]:
        """The delivery service accepts a commit: all members adopt it, the added join."""
        before = self.members
        staged: dict[str, StagedCommit] = {}
        for someone in before:
            if someone.name == committer:
                continue
            received = someone.view.receive(pending.message, NOW)
            assert isinstance(received, StagedCommit)
            staged[someone.name] = received
            someone.group = None if received.removes_us else someone.view.adopt(received)
        self.people[committer].group = won(pending)
        present = {member.credential for member in won(pending).members}
        for someone in self.people.values():
            if someone.group is None and someone.credential in present:
                someone.accept(pending.welcome)
        self.assert_agreement()
        return staged

    def commit(self, committer: str, **options: Any) -> dict[str, StagedCommit]:
        """`committer` commits and wins."""
        return self.win(committer, self.pending(committer, **options))

    def deliver_proposal(self, sender: str, sent: tuple[Group, bytes]) -> None:
        """`sender` adopts its new state, everybody else takes the proposal in."""
        self.people[sender].group = sent[0]
        for someone in self.members:
            if someone.name != sender:
                received = someone.view.receive(sent[1], NOW)
                assert isinstance(received, ReceivedProposal)
                assert received.sender.credential == self.people[sender].credential
                someone.group = received.group

    def say(self, sender: str, data: bytes, authenticated_data: bytes = b"") -> bytes:
        """`sender` sends application data; everybody reads it. Returns the message."""
        self.people[sender].group, message = self[sender].protect(data, authenticated_data)
        for someone in self.members:
            if someone.name != sender:
                received = someone.view.receive(message, NOW)
                assert isinstance(received, ApplicationMessage)
                assert received.data == data
                assert received.authenticated_data == authenticated_data
                assert received.sender.credential == self.people[sender].credential
                someone.group = received.group
        return message

    def assert_agreement(self) -> None:
        """All members are in one state: same epoch, same secrets, same people."""
        views = [someone.view for someone in self.members]
        assert len({view.epoch for view in views}) == 1
        assert len({view.epoch_authenticator for view in views}) == 1
        assert len({view.export("test", b"context", 40).reveal() for view in views}) == 1
        assert len({view.members for view in views}) == 1
        assert {member.credential for member in views[0].members} == {someone.credential for someone in self.members}
        assert all(view.member(view.own_leaf) in view.members for view in views)


def names(count: int) -> list[str]:
    return [f"person {number}" for number in range(count)]


def world_of(belongs: CipherSuite, count: int, config: GroupConfig = DEFAULT_CONFIG) -> World:
    """A group of `count` people that the first one made by adding all others in one commit."""
    world = World(belongs, config=config)
    everybody: Sequence[str] = names(count)
    world.found(everybody[0])
    if count > 1:
        world.commit(everybody[0], adds=everybody[1:])
    return world
