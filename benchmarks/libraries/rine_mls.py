"""mls-rs (Rust) with the RustCrypto primitives, by the wheel `rine-mls`.

It has no empty commit: the one measured removes leaf 2, whose sibling stays, so that it seals to exactly as many nodes
as an empty one. The members are loaded again for each round. With each commit it makes a GroupInfo with the tree, and
it writes the private half of each key package to a folder, which is in memory here where the machine has one.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.libraries.interface import ANY_SIZE, IN_THE_CLEAR, Library, module
from crypto.suites import suite_of

rine_mls = module("rine_mls")

REMOVED_LEAF = 2
_IN_MEMORY = Path("/dev/shm")  # noqa: S108  a folder of our own is made in it


class RineMember:
    """A group of rine."""

    def __init__(self, client: Any, group: Any) -> None:
        self._client = client
        self._group = group
        self._saved = False

    def commit(self) -> bytes:
        message: bytes = self._group.remove_member(REMOVED_LEAF).commit
        return message

    def process(self, commit: bytes) -> None:
        self._group.apply_commit(commit)

    def encrypt(self, data: bytes) -> bytes:
        message: bytes = self._group.encrypt_application_message(data)
        return message

    def decrypt(self, message: bytes) -> bytes:
        data: bytes = self._group.decrypt_application_message(message).envelope
        return data

    def renewed(self) -> RineMember:
        if not self._saved:
            self._group.save()
        again = RineMember(self._client, self._client.load_group(self._group.group_id()))
        again._saved = True
        return again

    def fingerprint(self) -> bytes:
        return bytes(self._group.group_id()) + int(self._group.epoch()).to_bytes(8, "big")


class RineClient:
    """A client of rine with a folder of its own."""

    def __init__(self) -> None:
        folder = tempfile.mkdtemp(dir=_folder().name)
        self._client = rine_mls.MlsClient(folder, os.urandom(32), rine_mls.CIPHER_SUITE_CLASSICAL)

    def key_package(self) -> bytes:
        message: bytes = self._client.generate_key_package()
        return message

    def key_package_for_all(self) -> bytes:
        return self.key_package()

    def create(self, key_packages: Sequence[bytes]) -> tuple[RineMember, bytes]:
        group = self._client.create_group_with_members(os.urandom(16), list(key_packages))
        return RineMember(self._client, group), group.last_commit().welcomes[0]

    def join(self, welcome: bytes) -> RineMember:
        return RineMember(self._client, self._client.join_from_welcome(welcome))


def load() -> Library | None:
    """rine-mls, if it is installed."""
    if rine_mls is None:
        return None
    return Library(
        name="rine_mls",
        title="mls-rs by rine",
        version=version("rine-mls"),
        suite=suite_of(1),
        generate_client=RineClient,
        sizes={
            "key_package": ANY_SIZE,
            "messages": ANY_SIZE,
            "create": range(2, 1_001),
            "join": ANY_SIZE,
            "commit": range(8, ANY_SIZE.stop),
        },
        notes=(
            "by rine-mls: mls-rs with RustCrypto; key packages include writing the private half to a file in memory",
            "keeps a copy of the last 256 messages that it sends, which is part of encrypting",
            "makes one Welcome per new member, which at n = 10,000 would be tens of gigabytes: not created there",
            "has no empty commit: its commit removes leaf 2, which seals to as many nodes, and includes a GroupInfo",
        ),
        beside=IN_THE_CLEAR,
        errors=(rine_mls.RineMlsError,),
    )


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Where the clients of this process keep things; removed when the process ends."""
    return tempfile.TemporaryDirectory(prefix="sealdesk-bench-", dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None)
