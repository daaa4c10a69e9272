"""OpenMLS (Rust) through gbp-stack, which wraps it for audio calls: no application data leaves it as MLS messages."""

from __future__ import annotations

import json
import re
from typing import Any

from gbp_stack import MlsContext

from crypto.mls import key_schedule
from crypto.mls.group import Group, Member
from crypto.secret import Secret
from tests.interop.peers import Received, Sent

KEY_PACKAGE_HEADER = bytes.fromhex("00010005")
"""Version and wire format of an MLSMessage; the binding gives and takes key packages without it."""


class OpenMlsPeer:
    """A client of OpenMLS.

    A context has one key package and so one group: who comes back does so as a new context. The binding refuses to
    remove a leaf whose index is not below the number of members, which blanks make possible.
    """

    implementation = "OpenMLS"
    refusal = OSError

    def __init__(self, name: str) -> None:
        self.identity = name.encode()
        self.context: MlsContext | None = None
        self.offered: MlsContext | None = None

    def key_package(self) -> bytes:
        self.offered = MlsContext.create(self.identity.decode())
        return KEY_PACKAGE_HEADER + self.offered.export_key_package()

    def create(self) -> None:
        self.context = MlsContext.create(self.identity.decode())

    def join(self, welcome: bytes) -> None:
        assert self.offered is not None
        self.offered.accept_welcome(welcome)
        self.context, self.offered = self.offered, None

    @property
    def view(self) -> MlsContext:
        assert self.context is not None, f"{self.identity!r} is in no group"
        return self.context

    def process(self, message: bytes, sender: bytes) -> Received:
        match self.view.process_message(message):
            case "commit":
                self.view.finalize_commit()
                state = _entry(self.view.export_state(), b"GroupState", self.view.group_id)
                return Received("commit" if state == "Operational" else "removal")
            case "application":
                return Received("data")
            case kind:
                assert kind == "proposal"
                return Received("proposal")

    def add(self, key_packages: list[bytes]) -> Sent:
        (key_package,) = key_packages
        commit, welcome = self.view.invite_full(key_package.removeprefix(KEY_PACKAGE_HEADER))
        self.view.finalize_commit()
        return Sent(commit, (welcome,))

    def remove(self, member: Member) -> Sent:
        commit = self.view.remove_member(member.leaf_index)
        self.view.finalize_commit()
        return Sent(commit)

    def commit_in_vain(self, key_package: bytes) -> bytes:
        commit, _ = self.view.invite_full(key_package.removeprefix(KEY_PACKAGE_HEADER))
        self.view.clear_pending_commit()
        return commit

    def restart(self, group_id: bytes) -> None:
        stored = self.view.export_state()
        self.context = MlsContext.restore_state(stored, self.identity.decode())

    def assert_agrees(self, ours: Group) -> None:
        """The secrets of the epoch as OpenMLS stores them: the binding has no exporter of its own."""
        assert self.view.epoch == ours.epoch
        assert self.view.group_id == ours.group_id
        secrets = _entry(self.view.export_state(), b"EpochSecrets", ours.group_id)
        assert _secret(secrets, "epoch_authenticator").reveal() == ours.epoch_authenticator
        exported = key_schedule.export(ours.suite, _secret(secrets, "exporter_secret"), "interop", b"context", 40)
        assert exported == ours.export("interop", b"context", 40)
        assert _secret(secrets, "external_secret") == ours.state.secrets.external_secret


def _entry(stored: bytes, name: bytes, group_id: bytes) -> Any:
    """What a stored state says of a group: under key and version (2 bytes), length (4 bytes) and JSON."""
    key = b'%s{"value":{"vec":[%s]}}' % (name, ",".join(map(str, group_id)).encode())
    (found,) = re.finditer(rb"(?<![A-Za-z])" + re.escape(key) + rb"\x00\x01(.{4})", stored, re.DOTALL)
    length = int.from_bytes(found[1], "little")
    return json.loads(stored[found.end() : found.end() + length])


def _secret(secrets: dict[str, Any], name: str) -> Secret:
    return Secret(bytes(secrets[name]["secret"]["value"]["vec"]))
