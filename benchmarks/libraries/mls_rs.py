"""mls-rs (Rust), by the wheel `agentvault-mls-rs-uniffi`.

The generated binding copies what goes into the library byte by byte in Python, about 0.2 µs each: a tree of a thousand
members would cost 0.1 s before the library sees it. That one copy is a memmove here, in this process only, so that the
library is timed and not its binding.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from benchmarks.libraries.interface import ANY_SIZE, IN_THE_CLEAR, Library, module
from crypto.suites import suite_of

mls_rs_uniffi = module("mls_rs_uniffi")


class MlsRsMember:
    """A group of mls-rs."""

    def __init__(self, group: Any) -> None:
        self._group = group

    def commit(self) -> bytes:
        output = self._group.commit()
        self._group.process_incoming_message(output.commit_message)
        message: bytes = output.commit_message.to_bytes()
        return message

    def process(self, commit: bytes) -> None:
        self._group.process_incoming_message(mls_rs_uniffi.Message.from_bytes(commit))

    def encrypt(self, data: bytes) -> bytes:
        message: bytes = self._group.encrypt_application_message(data).to_bytes()
        return message

    def decrypt(self, message: bytes) -> bytes:
        data: bytes = self._group.process_incoming_message(mls_rs_uniffi.Message.from_bytes(message)).data
        return data

    def renewed(self) -> MlsRsMember:
        return self

    def fingerprint(self) -> bytes:
        secret: bytes = self._group.export_secret(b"benchmark", b"", 16)
        return secret


class MlsRsClient:
    """A client of mls-rs, which keeps its key packages and groups in memory."""

    def __init__(self) -> None:
        keys = mls_rs_uniffi.generate_signature_keypair(mls_rs_uniffi.CipherSuite.CURVE25519_AES128)
        self._client = mls_rs_uniffi.Client(os.urandom(16), keys, mls_rs_uniffi.client_config_default())

    def key_package(self) -> bytes:
        message: bytes = self._client.generate_key_package_message().to_bytes()
        return message

    def key_package_for_all(self) -> bytes:
        return self.key_package()

    def create(self, key_packages: Sequence[bytes]) -> tuple[MlsRsMember, bytes]:
        group = self._client.create_group(None)
        output = group.add_members([mls_rs_uniffi.Message.from_bytes(package) for package in key_packages])
        output.commit_message.to_bytes()
        welcome: bytes = output.welcome_message.to_bytes()
        group.process_incoming_message(output.commit_message)
        return MlsRsMember(group), welcome

    def join(self, welcome: bytes) -> MlsRsMember:
        return MlsRsMember(self._client.join_group(None, mls_rs_uniffi.Message.from_bytes(welcome)).group)


def load() -> Library | None:
    """mls-rs, if it is installed."""
    if mls_rs_uniffi is None:
        return None
    _copy_at_once()
    return Library(
        name="mls_rs",
        title="mls-rs",
        version=version("agentvault-mls-rs-uniffi"),
        suite=suite_of(1),
        generate_client=MlsRsClient,
        sizes=dict.fromkeys(("key_package", "messages", "create", "join", "commit"), ANY_SIZE),
        notes=(
            "by agentvault-mls-rs-uniffi; the binding's copy of input bytes, a loop in Python, is a memmove here",
            "verifies in a pool of threads, which has one thread here, so that cores are compared with cores",
            "sends commits as PublicMessage, so what it does with them stands beside ours as PublicMessage",
        ),
        beside=IN_THE_CLEAR,
        errors=(mls_rs_uniffi.Error,),
    )


def _copy_at_once() -> None:
    builder = mls_rs_uniffi.mls_rs_uniffi._UniffiRustBufferBuilder

    def write(self: Any, value: bytes) -> None:
        with self._reserve(len(value)):
            start = ctypes.cast(self.rbuf.data, ctypes.c_void_p).value
            ctypes.memmove(start + self.rbuf.len, bytes(value), len(value))

    builder.write = write
