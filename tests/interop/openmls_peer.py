"""OpenMLS (Rust) through gbp-stack, which wraps it for audio calls: it sends no application data as MLS messages."""

from __future__ import annotations

import hmac
import json
import re
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from gbp_stack import MlsContext
from gbp_stack.sframe_session import SFrameSession

from crypto.mls.group import Group, Member
from crypto.secret import Secret
from tests.interop.peers import Received, Sent

KEY_PACKAGE_HEADER = bytes.fromhex("00010005")
"""Version and wire format of an MLSMessage; the binding gives and takes key packages without it."""

FRAME_LABEL = "interop"


class OpenMlsPeer:
    """A client of OpenMLS.

    A context has one key package and so one group: who comes back does so as a new context. The binding refuses to
    remove a leaf whose index is not below the number of members, which blanks make possible.
    """

    implementation: str = "OpenMLS"
    refusal: type[Exception] = OSError

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
        """What its exporter yields, and the secrets of the epoch as it stores them."""
        assert self.view.epoch == ours.epoch
        assert self.view.group_id == ours.group_id
        assert _open_frame(self._frame(b"a frame"), ours) == b"a frame"
        secrets = _entry(self.view.export_state(), b"EpochSecrets", ours.group_id)
        assert _secret(secrets, "epoch_authenticator").reveal() == ours.epoch_authenticator
        assert _secret(secrets, "external_secret") == ours.state.secrets.external_secret

    def _frame(self, data: bytes) -> bytes:
        """A media frame of the calls that the binding is for: the only thing that it makes with the exporter."""
        session = SFrameSession.create(self.view, FRAME_LABEL)
        encryptor = session.create_encryptor(self.view, leaf_index=0, label=FRAME_LABEL)
        return encryptor.encrypt(data)


def _open_frame(frame: bytes, ours: Group) -> bytes:
    """Decrypt a frame under a key of our exporter (SFrame, RFC 9605 §4.3 and §4.4, suite AES_128_GCM_SHA256_128)."""
    key_id, at = _header_number(frame, 1, frame[0] >> 4)
    counter, at = _header_number(frame, at, frame[0] & 15)
    base_key = ours.export(FRAME_LABEL, ours.epoch.to_bytes(8, "big"), 32).reveal()
    secret = hmac.digest(bytes(32), base_key, "sha256")
    key, salt = (
        hmac.digest(secret, b"SFrame 1.0 Secret " + name + key_id.to_bytes(8, "big") + b"\x00\x04\x01", "sha256")
        for name in (b"key ", b"salt ")
    )
    nonce = (int.from_bytes(salt[:12], "big") ^ counter).to_bytes(12, "big")
    return AESGCM(key[:16]).decrypt(nonce, frame[at:], frame[:at])


def _header_number(frame: bytes, at: int, field: int) -> tuple[int, int]:
    """A number of the header, and where the next one begins: small ones stand in the first byte."""
    if field < 8:
        return field, at
    end = at + field - 7
    return int.from_bytes(frame[at:end], "big"), end


def _entry(stored: bytes, name: bytes, group_id: bytes) -> Any:
    """What a stored state says of a group: under key and version (2 bytes), length (4 bytes) and JSON."""
    key = b'%s{"value":{"vec":[%s]}}' % (name, ",".join(map(str, group_id)).encode())
    (found,) = re.finditer(rb"(?<![A-Za-z])" + re.escape(key) + rb"\x00\x01(.{4})", stored, re.DOTALL)
    length = int.from_bytes(found[1], "little")
    return json.loads(stored[found.end() : found.end() + length])


def _secret(secrets: dict[str, Any], name: str) -> Secret:
    return Secret(bytes(secrets[name]["secret"]["value"]["vec"]))
