"""What a benchmark asks of a library of MLS: bytes in, bytes out, as a transport would see them.

Libraries that cannot do an operation leave its row out of `sizes`. What is odd about one stands in its `notes`, which
the report prints.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from crypto.suites import CipherSuite

Row = str
"""What is measured: `key_package`, `messages`, `create`, `join` or `commit`."""


def module(name: str) -> Any:
    """A module of a peer, or None where there is no package of it: most are wheels for some machines only."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


IN_THE_CLEAR: Final = "ours_public"
"""The name of ours with commits as PublicMessage."""

ANY_SIZE: Final = range(2, 1_000_000)


class Member(Protocol):
    """One member's group; it changes with what it is told."""

    def commit(self) -> bytes:
        """End the epoch with a new path of our own, and enter the next."""

    def process(self, commit: bytes) -> None:
        """Enter the epoch that another member's commit begins."""

    def encrypt(self, data: bytes) -> bytes:
        """Application data as a message to the group."""

    def decrypt(self, message: bytes) -> bytes:
        """Application data of another member."""

    def renewed(self) -> Member:
        """The member for the next round: itself, unless its commits take members out of the group and are undone."""

    def fingerprint(self) -> bytes:
        """Equal at all members who are in the same epoch of the same group."""


class Client(Protocol):
    """Somebody with a signature key, who is or will be in a group."""

    def key_package(self) -> bytes:
        """A fresh key package, as an MLSMessage."""

    def key_package_for_all(self) -> bytes:
        """The same, without whatever one of the other libraries is known to refuse."""

    def create(self, key_packages: Sequence[bytes]) -> tuple[Member, bytes]:
        """A group of us and all others, added in one commit, and a Welcome for the first of them."""

    def join(self, welcome: bytes) -> Member:
        """Enter a group by the key package made last. The ratchet tree is in the Welcome."""


class MakesClients(Protocol):
    """How to get somebody new."""

    def __call__(self) -> Client:
        """A client with keys of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """A library, and how far it takes part."""

    name: str
    """In the results."""
    title: str
    """In the report."""
    version: str
    suite: CipherSuite
    generate_client: MakesClients
    sizes: Mapping[Row, range]
    """The group sizes that a row is measured for; a row that is not here is beyond the library."""
    notes: tuple[str, ...] = ()
    beside: str = "ours"
    """Which of ours its commits stand beside: the one that sends them in the same wire format."""
    in_python: bool = False
    """Whether its groups are objects of Python: their size is then counted in another way."""
    errors: tuple[type[Exception], ...] = ()
    """What its operations raise: such a failure leaves a cell empty and is told in the report."""

    def measures(self, row: Row, members: int) -> bool:
        """Whether a row is measured at a group size."""
        return members in self.sizes.get(row, range(0))
