"""Our implementation as a peer."""

from __future__ import annotations

import os
from typing import assert_never

from crypto.errors import MLSError
from crypto.mls.config import DAY_S, HOUR_S, GroupConfig
from crypto.mls.credentials import BasicCredential
from crypto.mls.group import (
    ApplicationMessage,
    Group,
    Member,
    PendingCommit,
    ReceivedProposal,
    StagedCommit,
    create_group,
    external_join,
    generate_key_package,
    join,
    verify_group_info,
    verify_key_package,
)
from crypto.mls.key_package import KeyPackageBundle
from crypto.mls.mls_message import encode_message
from crypto.mls.snapshot import load, rows
from crypto.mls.tree_nodes import LeafIndex, Lifetime
from crypto.suites import suite_of
from tests.interop.peers import Received, Sent, now

SUITE = suite_of(1)


class OurPeer:
    """A client of ours, by the public interface. If `public`, it sends handshakes as PublicMessage; it accepts both."""

    implementation: str = "ours"
    refusal: type[Exception] = MLSError

    def __init__(self, name: str, *, public: bool = False) -> None:
        self.identity = name.encode()
        self.credential = BasicCredential(self.identity)
        self.config = GroupConfig(
            send_public_handshakes=public, accept_public_handshakes=True, accept_external_commits=True
        )
        self.signer = SUITE.signature.generate()
        self.bundles: dict[bytes, KeyPackageBundle] = {}
        self.group: Group | None = None

    @property
    def view(self) -> Group:
        assert self.group is not None, f"{self.identity!r} is in no group"
        return self.group

    def key_package(self) -> bytes:
        bundle = self._bundle()
        self.bundles[bundle.reference] = bundle
        return encode_message(bundle.key_package)

    def create(self) -> None:
        self.group = create_group(
            SUITE, os.urandom(16), self.credential, self.signer, lifetime=lifetime(), now=now(), config=self.config
        )

    def join(self, welcome: bytes) -> None:
        staged = join(welcome, self.bundles, self.signer, now=now(), config=self.config)
        del self.bundles[staged.used_reference]
        self.group = staged.accept()

    def process(self, message: bytes, sender: bytes) -> Received:
        received = self.view.receive(message, now())
        assert received.sender.credential == BasicCredential(sender)
        match received:
            case ApplicationMessage(group=group, data=data):
                self.group = group
                return Received("data", data)
            case ReceivedProposal(group=group):
                self.group = group
                return Received("proposal")
            case StagedCommit(removes_us=True):
                self.group = None
                return Received("removal")
            case StagedCommit():
                self.group = self.view.adopt(received)
                return Received("commit")
            case _:
                assert_never(received)

    def add(self, key_packages: list[bytes]) -> Sent:
        return self.change(key_packages, [])

    def remove(self, member: Member) -> Sent:
        return self.change([], [member.leaf_index])

    def commit(self) -> Sent:
        return self.change([], [])

    def change(self, key_packages: list[bytes], gone: list[LeafIndex], *, with_path: bool = True) -> Sent:
        """Commit Adds and Removes at once, and what has been proposed."""
        return self._adopt(self.pending(key_packages, gone, with_path=with_path))

    def pending(self, key_packages: list[bytes], gone: list[LeafIndex], *, with_path: bool = True) -> PendingCommit:
        """A commit that we do not adopt yet."""
        adds = [verify_key_package(message, now()) for message in key_packages]
        return self.view.commit(adds, gone, now=now(), with_path=with_path)

    def commit_in_vain(self, key_package: bytes) -> bytes:
        pending = self.pending([key_package], [])
        self.group = pending.group
        return pending.message

    def propose_add(self, key_package: bytes) -> bytes:
        self.group, message = self.view.propose_add(verify_key_package(key_package, now()), now=now())
        return message

    def propose_remove(self, member: Member) -> bytes:
        self.group, message = self.view.propose_remove(member.leaf_index, now=now())
        return message

    def propose_update(self) -> bytes:
        self.group, message = self.view.propose_update(now=now())
        return message

    def send(self, data: bytes) -> bytes:
        self.group, message = self.view.protect(data)
        return message

    def export(self, label: str, context: bytes, length: int) -> bytes:
        return self.view.export(label, context, length).reveal()

    def group_info(self) -> bytes:
        return self.view.group_info()

    def join_externally(self, group_info: bytes) -> Sent:
        return self._join_externally(group_info, None)

    def come_back(self, group_info: bytes) -> Sent:
        return self._join_externally(group_info, self.view.own_leaf)

    def restart(self, group_id: bytes) -> None:
        self.group = load(rows(self.view), self.signer, self.config)

    def assert_agrees(self, ours: Group) -> None:
        view = self.view
        assert view.group_id == ours.group_id
        assert view.epoch == ours.epoch
        assert view.epoch_authenticator == ours.epoch_authenticator
        assert view.members == ours.members
        assert self.export("interop", b"context", 40) == ours.export("interop", b"context", 40).reveal()

    def _bundle(self) -> KeyPackageBundle:
        return generate_key_package(SUITE, self.credential, self.signer, lifetime=lifetime())

    def _adopt(self, pending: PendingCommit) -> Sent:
        self.group = self.view.adopt(pending.next_epoch)
        return Sent(pending.message, () if pending.welcome is None else (pending.welcome,))

    def _join_externally(self, group_info: bytes, removed: LeafIndex | None) -> Sent:
        verified = verify_group_info(group_info, now=now())
        pending = external_join(verified, self.credential, self.signer, removes=removed, config=self.config)
        self.group = pending.next_group
        return Sent(pending.message)


def lifetime() -> Lifetime:
    """Set back by an hour, for others' clocks, and because OpenMLS wants it to have begun before now."""
    return Lifetime(now() - HOUR_S, now() + 90 * DAY_S)
