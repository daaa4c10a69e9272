"""Sealdesk behind the interface: each operation, and the next state kept."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

from benchmarks import groups
from benchmarks.libraries.interface import ANY_SIZE, Library
from client_lib.engine import generate_identity
from crypto.identity.accounts import generate_recovery_phrase
from crypto.mls.group import ApplicationMessage, Group
from crypto.suites import CipherSuite


class OurMember:
    """A group of ours."""

    def __init__(self, group: Group, now: int) -> None:
        self.group = group
        self._now = now

    def commit(self) -> bytes:
        pending = self.group.commit(now=self._now)
        self.group = self.group.adopt(pending.next_epoch)
        return pending.message

    def process(self, commit: bytes) -> None:
        self.group = groups.merged(self.group, commit, self._now)

    def encrypt(self, data: bytes) -> bytes:
        self.group, message = self.group.protect(data)
        return message

    def decrypt(self, message: bytes) -> bytes:
        received = self.group.receive(message, self._now)
        assert isinstance(received, ApplicationMessage)
        self.group = received.group
        return received.data

    def renewed(self) -> OurMember:
        return self

    def fingerprint(self) -> bytes:
        return self.group.epoch_authenticator


class OurClient:
    """A device of an account."""

    def __init__(self, suite: CipherSuite) -> None:
        now = groups.clock()
        self._suite = suite
        self.identity = generate_identity(generate_recovery_phrase(), "http://localhost", now)
        self._candidate: groups.Candidate | None = None

    def key_package(self) -> bytes:
        self._candidate = groups.candidate(self._suite, self.identity, groups.clock())
        return self._candidate.package

    def key_package_for_all(self) -> bytes:
        self._candidate = groups.candidate(self._suite, self.identity, groups.clock())
        return self._candidate.package

    def create(self, key_packages: Sequence[bytes]) -> tuple[OurMember, bytes]:
        now = groups.clock()
        pending = groups.create(self._suite, self.identity, key_packages, now)
        assert pending.welcome is not None
        return OurMember(pending.group.adopt(pending.next_epoch), now), pending.welcome

    def join(self, welcome: bytes) -> OurMember:
        now = groups.clock()
        assert self._candidate is not None
        return OurMember(groups.enter(welcome, self._candidate, now), now)


def library(name: str, title: str, suite: CipherSuite) -> Library:
    """Sealdesk in one cipher suite."""
    return Library(
        name=name,
        title=title,
        version=version("sealdesk"),
        suite=suite,
        generate_client=lambda: OurClient(suite),
        sizes=dict.fromkeys(("key_package", "messages", "create", "join", "commit"), ANY_SIZE),
        in_python=True,
    )
