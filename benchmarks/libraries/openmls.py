"""OpenMLS (Rust, RustCrypto), by the wheel `gbp-stack`, which is for CPython 3.11 only.

The wheel shows a part of OpenMLS: joining, commits that add or remove one member, and processing. There is no empty
commit: the one measured removes leaf 2, whose sibling stays, so that it seals to exactly as many nodes as an empty one.
The members are restored for each round.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from benchmarks.libraries.interface import ANY_SIZE, Library, module
from benchmarks.libraries.rine_mls import REMOVED_LEAF
from crypto.suites import suite_of

gbp_stack = module("gbp_stack")

_MLS_MESSAGE_KEY_PACKAGE = bytes.fromhex("00010005")
"""Version and wire format: the wheel's key packages are bare."""


class OpenMlsMember:
    """A context of the wheel, in a group."""

    def __init__(self, context: Any, saved: bytes | None = None) -> None:
        self._context = context
        self._saved = saved

    def commit(self) -> bytes:
        message: bytes = self._context.remove_member(REMOVED_LEAF)
        self._context.finalize_commit()
        return message

    def process(self, commit: bytes) -> None:
        kind = self._context.process_message(commit)
        assert kind == "commit"
        self._context.finalize_commit()

    def encrypt(self, data: bytes) -> bytes:
        raise OSError("the wheel has no application messages of MLS")

    def decrypt(self, message: bytes) -> bytes:
        raise OSError("the wheel has no application messages of MLS")

    def renewed(self) -> OpenMlsMember:
        saved = self._saved or self._context.export_state()
        return OpenMlsMember(gbp_stack.MlsContext.restore_state(saved), saved)

    def fingerprint(self) -> bytes:
        return bytes(self._context.group_id) + int(self._context.epoch).to_bytes(8, "big")


class OpenMlsClient:
    """A context of the wheel: it makes its one key package when it is made."""

    def __init__(self) -> None:
        self._context = gbp_stack.MlsContext.create(os.urandom(8).hex())

    def key_package(self) -> bytes:
        bare: bytes = self._context.export_key_package()
        return _MLS_MESSAGE_KEY_PACKAGE + bare

    def key_package_for_all(self) -> bytes:
        return self.key_package()

    def create(self, key_packages: Sequence[bytes]) -> tuple[OpenMlsMember, bytes]:
        raise OSError("the wheel adds one member per commit")

    def join(self, welcome: bytes) -> OpenMlsMember:
        self._context.accept_welcome(welcome)
        return OpenMlsMember(self._context)


def load() -> Library | None:
    """OpenMLS, if it is installed."""
    if gbp_stack is None:
        return None
    return Library(
        name="openmls",
        title="OpenMLS",
        version=version("gbp-stack"),
        suite=suite_of(1),
        generate_client=OpenMlsClient,
        sizes={"join": ANY_SIZE, "commit": range(8, ANY_SIZE.stop)},
        notes=(
            "by gbp-stack, which has no application messages of MLS and makes key packages only together with a group",
            "adds one member per commit: a group of n is not created in one",
            "has no empty commit: its commit removes leaf 2, which seals to as many nodes",
        ),
        errors=(OSError,),
    )
