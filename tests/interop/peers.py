"""Who takes part in live interop: what a peer is, which there are, and what each can do.

A `Peer` is one client, of whichever implementation, with at most one group. Bytes go in and come out, as on the wire.
What all can do is in `Peer`; the rest is named in `Abilities.operations`, and a peer that lacks an operation has no
method of that name (`test_peers` compares the two). Each implementation is one module, which imports it; nothing else
does, so a machine without it still collects all tests and skips those that need it.

What no binding lets us reach, and so no test here shows: external PSKs, joining a group that continues another or is a
branch of it, proposals from outside, and credentials other than `basic`.
"""

from __future__ import annotations

import platform
import sys
import time
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, Literal, Protocol

import pytest

from crypto.mls.group import Group, Member
from crypto.mls.headers import WireFormat

PUBLIC, PRIVATE = WireFormat.PUBLIC_MESSAGE, WireFormat.PRIVATE_MESSAGE
UNLIMITED = 1_000_000


@dataclass(frozen=True, slots=True)
class Sent:
    """A commit that its sender has adopted, and the Welcomes for those whom it adds."""

    commit: bytes
    welcomes: tuple[bytes, ...] = ()

    def welcome(self, place: int) -> bytes:
        """The Welcome of the newcomer whose key package was at `place`: some peers make one for all, some one each."""
        return self.welcomes[place if len(self.welcomes) > 1 else 0]


@dataclass(frozen=True, slots=True)
class Received:
    """What a peer made of a message. `data` is None where the peer says that it is authentic but does not show it."""

    kind: Literal["commit", "removal", "proposal", "data"]
    data: bytes | None = None


class Peer(Protocol):
    """One client."""

    implementation: str
    refusal: type[Exception]
    """What it raises when it refuses a message."""
    identity: bytes
    """What its `basic` credential says."""

    def key_package(self) -> bytes:
        """A fresh key package as an MLSMessage."""

    def create(self) -> None:
        """Found a group, alone."""

    def join(self, welcome: bytes) -> None:
        """Enter by the last key package."""

    def process(self, message: bytes, sender: bytes) -> Received:
        """Take in a message of the member `sender`, and adopt it if it is a commit."""

    def add(self, key_packages: list[bytes]) -> Sent:
        """Commit Adds by value."""

    def remove(self, member: Member) -> Sent:
        """Commit a Remove by value."""

    def commit_in_vain(self, key_package: bytes) -> bytes:
        """Commit an Add that loses against another commit of the epoch."""

    def restart(self, group_id: bytes) -> None:
        """Store everything, forget everything, load it again."""

    def assert_agrees(self, ours: Group) -> None:
        """Compare its view of the epoch with `ours`, as far as it lets us look."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What an implementation can do through its Python binding."""

    operations: frozenset[str]
    """Optional methods: `commit` (of what is proposed, or empty), `propose_add`, `propose_remove`, `propose_update`,
    `send` (application data), `export`, `group_info`, `join_externally`, `come_back` (external commit that removes
    the old leaf)."""
    adds_max: int
    """How many Adds fit one commit."""
    handshakes_sent: WireFormat
    handshakes_accepted: frozenset[WireFormat]
    keeps_proposals: bool
    """Whether it takes in the proposals of others, which it needs to process a commit that refers to them."""
    shows_data: bool
    """Whether it hands out the application data that it decrypts."""


@dataclass(frozen=True, slots=True)
class Implementation:
    """Where a peer comes from."""

    adapter: str
    """Module and class."""
    abilities: Abilities
    distribution: str = ""
    """On PyPI; empty for ours."""
    module: str = ""


_BOTH = frozenset({PUBLIC, PRIVATE})

IMPLEMENTATIONS = {
    "ours": Implementation(
        "tests.interop.our_peer:OurPeer",
        Abilities(
            frozenset({
                "commit", "propose_add", "propose_remove", "propose_update", "send", "export", "group_info",
                "join_externally", "come_back",
            }),
            UNLIMITED, PRIVATE, _BOTH, keeps_proposals=True, shows_data=True,
        ),
    ),
    "mls-rs": Implementation(
        "tests.interop.mls_rs_peer:MlsRsPeer",
        Abilities(
            frozenset({"commit", "propose_add", "propose_remove", "send", "export"}),
            UNLIMITED, PUBLIC, _BOTH, keeps_proposals=True, shows_data=True,
        ),
        "agentvault-mls-rs-uniffi", "mls_rs_uniffi",
    ),
    "rine": Implementation(
        "tests.interop.rine_peer:RinePeer",
        Abilities(
            frozenset({"send", "group_info", "join_externally", "come_back"}),
            UNLIMITED, PUBLIC, _BOTH, keeps_proposals=False, shows_data=True,
        ),
        "rine-mls", "rine_mls",
    ),
    "OpenMLS": Implementation(
        "tests.interop.openmls_peer:OpenMlsPeer",
        Abilities(
            frozenset(),
            1, PRIVATE, frozenset({PRIVATE}), keeps_proposals=False, shows_data=False,
        ),
        "gbp-stack", "gbp_stack",
    ),
}  # fmt: skip
"""By name. What ours send is the default; `OurPeer(public=True)` sends the other."""

RFC9420 = "rfc9420"
"""Not a peer: see `test_faults_of_rfc9420`."""


def new(implementation: str, name: str) -> Any:
    """A client of that implementation, with what it does by default."""
    module, _, adapter = IMPLEMENTATIONS[implementation].adapter.partition(":")
    return getattr(import_module(module), adapter)(name)


def abilities(peer: Peer) -> Abilities:
    """What a peer can do."""
    return IMPLEMENTATIONS[peer.implementation].abilities


def can(peer: Peer, operation: str) -> bool:
    return operation in abilities(peer).operations


def versions() -> dict[str, str]:
    """Distribution name and version of each peer that is installed."""
    found = {}
    for name in (*(each.distribution for each in IMPLEMENTATIONS.values() if each.distribution), RFC9420):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue  # the machine has no wheel of it; `reason_to_skip` says so where it matters
    return found


def expected_here() -> set[str]:
    """Distributions that pyproject.toml asks for on this machine: rfc9420 is pure Python, the others are binaries."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return {RFC9420}
    binaries = {each.distribution for each in IMPLEMENTATIONS.values() if each.distribution}
    return {RFC9420, *binaries} - (set() if sys.version_info[:2] == (3, 11) else {"gbp-stack"})


def reason_to_skip(implementation: str) -> str:
    """Why an implementation cannot run here; empty if it can."""
    wanted = IMPLEMENTATIONS[implementation]
    if not wanted.module or find_spec(wanted.module):
        return ""
    python = " and CPython 3.11" if implementation == "OpenMLS" else ""
    return f"{wanted.distribution} ({implementation}) is a binary for Linux on x86-64{python} only"


def needs(*implementations: str) -> pytest.MarkDecorator:
    """Skip a test, with the reason, where one of these is missing."""
    reasons = [reason for reason in map(reason_to_skip, implementations) if reason]
    return pytest.mark.skipif(bool(reasons), reason="; ".join(reasons))


def mix(*implementations: str) -> Any:
    """Parameter of a test: these implementations in one group."""
    return pytest.param(implementations, id=" + ".join(implementations), marks=needs(*implementations))


def now() -> int:
    """Unix seconds: the peers read the clock, so here we do too."""
    return int(time.time())
