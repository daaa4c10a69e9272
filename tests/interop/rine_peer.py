"""rine: mls-rs again, with RustCrypto in place of OpenSSL, and with what the other binding leaves out."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from typing import Any

import rine_mls

from crypto.mls.credentials import BasicCredential
from crypto.mls.extensions import ExtensionType, find_extension
from crypto.mls.group import Group, Member
from crypto.mls.mls_message import decode_message
from crypto.mls.welcome import GroupInfo
from tests.interop.peers import Received, Sent

DATA_TAG = bytes([rine_mls.APP_MESSAGE_TAG])
"""Stands before an application message, outside MLS."""


class RinePeer:
    """A client of rine. Its name is its signature key, whatever it is called here."""

    implementation: str = "rine"
    refusal: type[Exception] = rine_mls.RineMlsError

    def __init__(self, _name: str) -> None:
        folder = tempfile.mkdtemp(prefix="rine-")
        weakref.finalize(self, shutil.rmtree, folder)
        self.client = rine_mls.MlsClient(folder, os.urandom(32), rine_mls.CIPHER_SUITE_CLASSICAL)
        self.identity = self.client.public_key()
        self.group: Any = None

    def key_package(self) -> bytes:
        return self.client.generate_key_package()

    def create(self) -> None:
        self.group = self.client.create_group(os.urandom(16))

    def join(self, welcome: bytes) -> None:
        self._erase()
        self.group = self.client.join_from_welcome(welcome)

    def process(self, message: bytes, sender: bytes) -> Received:
        if _is_data(message):
            received = self.group.decrypt_application_message(DATA_TAG + message)
            names = {member.index: member.identity for member in self.group.member_identities()}
            assert names[received.sender_index] == sender
            return Received("data", received.envelope)
        self.group.apply_commit(message)
        return Received("commit" if self.group.is_active() else "removal")

    def add(self, key_packages: list[bytes]) -> Sent:
        made = self.group.add_members(key_packages)
        return Sent(made.commit, tuple(made.welcomes))

    def remove(self, member: Member) -> Sent:
        return Sent(self.group.remove_member(member.leaf_index).commit)

    def commit_in_vain(self, key_package: bytes) -> bytes:
        """It adopts its commits at once: to take one back is to go on from what was stored before."""
        group_id = self.group.group_id()
        self.group.save()
        message = self.add([key_package]).commit
        self.group = self.client.load_group(group_id)
        return message

    def send(self, data: bytes) -> bytes:
        message = self.group.encrypt_application_message(data)
        assert message.startswith(DATA_TAG)
        return message.removeprefix(DATA_TAG)

    def group_info(self) -> bytes:
        return self.group.group_info()

    def join_externally(self, group_info: bytes) -> Sent:
        self._erase()
        self.group = self.client.join_by_external_commit(group_info)
        return self._last_commit()

    def come_back(self, group_info: bytes) -> Sent:
        leaf = self.group.current_member_index()
        self._erase()
        self.group = self.client.resync_by_external_commit(group_info, leaf)
        return self._last_commit()

    def restart(self, group_id: bytes) -> None:
        self.group.save()
        self.group = self.client.load_group(group_id)

    def assert_agrees(self, ours: Group) -> None:
        """What its GroupInfo says; the external key in it comes from the epoch secret, as the exporter does."""
        assert self.group.is_active()
        assert self.group.epoch() == ours.epoch
        identities = {BasicCredential(member.identity) for member in self.group.member_identities()}
        assert identities == {member.credential for member in ours.members}
        theirs, own = _group_info(self.group_info()), _group_info(ours.group_info())
        assert theirs.group_context == own.group_context
        assert theirs.confirmation_tag == own.confirmation_tag
        for extension in (ExtensionType.EXTERNAL_PUB, ExtensionType.RATCHET_TREE):
            found = find_extension(theirs.extensions, extension)
            assert found is not None
            assert found == find_extension(own.extensions, extension)

    def _erase(self) -> None:
        """What is left of a former stay: see `mls_rs_peer.Storage`."""
        if self.group is not None:
            self.client.delete_group_state(self.group.group_id())

    def _last_commit(self) -> Sent:
        made = self.group.last_commit()
        assert made is not None
        return Sent(made.commit)


def _is_data(message: bytes) -> bool:
    """Whether a PrivateMessage holds application data: its content type stands in clear (§6.3)."""
    body = decode_message(message).body
    return getattr(body, "content_type", None) == 1


def _group_info(message: bytes) -> GroupInfo:
    body = decode_message(message).body
    assert isinstance(body, GroupInfo)
    return body
