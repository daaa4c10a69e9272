"""rfc9420, a library in Python.

It leaves it to the caller to make key packages, so those of ours serve. Its commits are not measured: the committer's
new leaf goes out unsigned, which no other library takes, so there is nothing to compare.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from benchmarks import groups
from benchmarks.libraries.interface import Library, module
from client_lib.engine import generate_identity
from crypto.identity.accounts import generate_recovery_phrase
from crypto.suites import suite_of

rfc9420 = module("rfc9420")
_packages = module("rfc9420.messages.key_packages")
_structs = module("rfc9420.messages.data_structures")
_messages = module("rfc9420.messages.messages")

_HEAD_BYTES = 4
"""Version and wire format of an MLSMessage: this library wants what is inside."""
_SMALL = range(2, 101)


class Rfc9420Member:
    """A group of rfc9420. Without the signing key it would send messages that nobody signed."""

    def __init__(self, group: Any, signing_key: bytes) -> None:
        self._group = group
        self._signing_key = signing_key

    def commit(self) -> bytes:
        raise rfc9420.RFC9420Error("its commits are no valid ones")

    def process(self, commit: bytes) -> None:
        raise rfc9420.RFC9420Error("nobody sends it commits here")

    def encrypt(self, data: bytes) -> bytes:
        message: bytes = self._group.protect(data, self._signing_key).serialize()
        return message

    def decrypt(self, message: bytes) -> bytes:
        data: bytes = self._group.unprotect(_messages.MLSCiphertext.deserialize(message))[1]
        return data

    def renewed(self) -> Rfc9420Member:
        return self

    def fingerprint(self) -> bytes:
        secret: bytes = self._group.export_secret(b"benchmark", b"", 16)
        return secret


class Rfc9420Client:
    """A client of rfc9420, with keys made by us."""

    def __init__(self) -> None:
        now = groups.clock()
        identity = generate_identity(generate_recovery_phrase(), "http://localhost", now)
        self._made = groups.candidate(suite_of(1), identity, now)
        self._signing_key = identity.device_key.private.reveal()[:32]
        self._provider = rfc9420.DefaultCryptoProvider()

    def key_package(self) -> bytes:
        return self._made.package

    def key_package_for_all(self) -> bytes:
        return self._made.package

    def create(self, key_packages: Sequence[bytes]) -> tuple[Rfc9420Member, bytes]:
        own = _packages.KeyPackage.deserialize(self._made.package[_HEAD_BYTES:])
        group = rfc9420.ProtocolMLSGroup.create(os.urandom(32), own, self._provider)
        for package in key_packages:
            added = _packages.KeyPackage.deserialize(package[_HEAD_BYTES:])
            group.process_proposal(group.create_add_proposal(added, self._signing_key), rfc9420.Sender(0))
        pending = group.create_commit(self._signing_key)
        pending.commit_message.serialize()
        welcome: bytes = pending.welcomes[0].serialize()
        group.apply_own_commit(pending)
        return Rfc9420Member(group, self._signing_key), bytes.fromhex("00010003") + welcome

    def join(self, welcome: bytes) -> Rfc9420Member:
        group = rfc9420.ProtocolMLSGroup.from_welcome(
            _structs.Welcome.deserialize(welcome[_HEAD_BYTES:]),
            self._made.bundle.init_private.reveal(),
            self._provider,
            key_package=_packages.KeyPackage.deserialize(self._made.package[_HEAD_BYTES:]),
            encryption_private_key=self._made.bundle.encryption_private.reveal(),
        )
        return Rfc9420Member(group, self._signing_key)


def load() -> Library | None:
    """rfc9420, if it is installed."""
    if rfc9420 is None:
        return None
    return Library(
        name="rfc9420",
        title="rfc9420 (Python)",
        version=version("rfc9420"),
        suite=suite_of(1),
        generate_client=Rfc9420Client,
        sizes={"messages": _SMALL, "create": _SMALL, "join": _SMALL},
        notes=(
            "leaves it to its caller to make key packages, so those of ours serve",
            "sends commits whose leaf is not signed, which no other library takes: not measured",
            "takes more than a second from n = 1,000: not measured there",
        ),
        in_python=True,
        errors=(rfc9420.RFC9420Error,),
    )
