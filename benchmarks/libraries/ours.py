"""Sealdesk behind the interface: each operation, and the next state kept."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

from benchmarks import groups
from benchmarks.libraries.interface import ANY_SIZE, IN_THE_CLEAR, Library, Row
from client_lib.engine import generate_identity
from crypto.identity.accounts import generate_recovery_phrase
from crypto.mls.config import DEFAULT_CONFIG
from crypto.mls.group import ApplicationMessage, Group, GroupConfig
from crypto.suites import CipherSuite, suite_of


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

    def __init__(self, suite: CipherSuite, config: GroupConfig) -> None:
        now = groups.clock()
        self._suite = suite
        self._config = config
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
        return OurMember(groups.enter(welcome, self._candidate, now, self._config), now)


def library(name: str, title: str, suite: CipherSuite) -> Library:
    """Sealdesk in one cipher suite."""
    return _library(name, title, suite, DEFAULT_CONFIG, ("key_package", "messages", "create", "join", "commit"), ())


def library_in_the_clear() -> Library:
    """Ours with commits as PublicMessage, as most peers send them: what those are to be compared with."""
    config = GroupConfig(send_public_handshakes=True, accept_public_handshakes=True)
    note = "our own commits sent as PublicMessage, to stand beside libraries that send no others"
    return _library(IN_THE_CLEAR, "ours, PublicMessage", suite_of(1), config, ("commit",), (note,))


def _library(
    name: str, title: str, suite: CipherSuite, config: GroupConfig, rows: Sequence[Row], notes: tuple[str, ...]
) -> Library:
    return Library(
        name=name,
        title=title,
        version=version("sealdesk"),
        suite=suite,
        generate_client=lambda: OurClient(suite, config),
        sizes=dict.fromkeys(rows, ANY_SIZE),
        notes=notes,
        in_python=True,
    )
