"""mls-rs (Rust, OpenSSL) through its UniFFI binding."""

from __future__ import annotations

from mls_rs_uniffi import (
    CipherSuite,
    Client,
    ClientConfig,
    CommitOutput,
    EpochRecord,
    Error,
    GroupStateStorage,
    Message,
    SigningIdentity,
    generate_signature_keypair,
)

from crypto.mls.credentials import BasicCredential
from crypto.mls.group import Group, Member
from crypto.mls.tree_nodes import RatchetTreeNodes
from crypto.wire import encode_as
from tests.interop.peers import Received, Sent


class Storage(GroupStateStorage):
    """One group in memory, with its former epochs.

    mls-rs keeps them by number, and processes no commit after a gap: whoever joins again has to erase what is left of
    its first stay.
    """

    def __init__(self) -> None:
        self.erase()

    def erase(self) -> None:
        self.stored: bytes | None = None
        self.epochs: dict[int, bytes] = {}

    def state(self, group_id: bytes) -> bytes | None:
        return self.stored

    def epoch(self, group_id: bytes, epoch_id: int) -> bytes | None:
        return self.epochs.get(epoch_id)

    def write(
        self, group_id: bytes, group_state: bytes, epoch_inserts: list[EpochRecord], epoch_updates: list[EpochRecord]
    ) -> None:
        self.stored = group_state
        self.epochs |= {record.id: record.data for record in (*epoch_inserts, *epoch_updates)}

    def max_epoch_id(self, group_id: bytes) -> int | None:
        return max(self.epochs, default=None)


class MlsRsPeer:
    """A client of mls-rs.

    The binding names members by opaque objects that come with their messages: whoever has said nothing to this peer
    cannot be removed by it (`knows`).
    """

    implementation: str = "mls-rs"
    refusal: type[Exception] = Error

    def __init__(self, name: str) -> None:
        self.identity = name.encode()
        keys = generate_signature_keypair(CipherSuite.CURVE25519_AES128)
        self.storage = Storage()
        config = ClientConfig(group_state_storage=self.storage, use_ratchet_tree_extension=True)
        self.client = Client(self.identity, keys, config)
        self.known: dict[bytes, SigningIdentity] = {}

    def key_package(self) -> bytes:
        return bytes(self.client.generate_key_package_message().to_bytes())

    def create(self) -> None:
        self.group = self.client.create_group(None)

    def join(self, welcome: bytes) -> None:
        self.known = {}
        self.storage.erase()
        self.group = self.client.join_group(None, Message.from_bytes(welcome)).group

    def process(self, message: bytes, sender: bytes) -> Received:
        received = self.group.process_incoming_message(Message.from_bytes(message))
        if received.is_COMMIT():
            self.known[sender] = received.committer
            return Received("removal" if received.effect.is_REMOVED() else "commit")
        self.known[sender] = received.sender
        if received.is_RECEIVED_PROPOSAL():
            return Received("proposal")
        assert received.is_APPLICATION_MESSAGE()
        return Received("data", bytes(received.data))

    def knows(self, member: Member) -> bool:
        """Whether it can name this member."""
        return _identity(member) in self.known

    def add(self, key_packages: list[bytes]) -> Sent:
        return self._adopt(self.group.add_members(list(map(Message.from_bytes, key_packages))))

    def remove(self, member: Member) -> Sent:
        return self._adopt(self.group.remove_members([self.known[_identity(member)]]))

    def commit(self) -> Sent:
        return self._adopt(self.group.commit())

    def commit_in_vain(self, key_package: bytes) -> bytes:
        """It drops the pending commit once it processes another."""
        return bytes(self.group.add_members([Message.from_bytes(key_package)]).commit_message.to_bytes())

    def propose_add(self, key_package: bytes) -> bytes:
        (message,) = self.group.propose_add_members([Message.from_bytes(key_package)])
        return bytes(message.to_bytes())

    def propose_remove(self, member: Member) -> bytes:
        (message,) = self.group.propose_remove_members([self.known[_identity(member)]])
        return bytes(message.to_bytes())

    def send(self, data: bytes) -> bytes:
        return bytes(self.group.encrypt_application_message(data).to_bytes())

    def export(self, label: str, context: bytes, length: int) -> bytes:
        return bytes(self.group.export_secret(label.encode(), context, length))

    def restart(self, group_id: bytes) -> None:
        self.group.write_to_storage()
        self.group = self.client.load_group(group_id)

    def assert_agrees(self, ours: Group) -> None:
        """The exporter, and the whole public tree byte for byte."""
        assert self.export("interop", b"context", 40) == ours.export("interop", b"context", 40).reveal()
        assert self.group.export_tree().bytes == encode_as(RatchetTreeNodes, ours.state.tree.export())

    def _adopt(self, output: CommitOutput) -> Sent:
        self.group.process_incoming_message(output.commit_message)
        welcome = output.welcome_message
        return Sent(bytes(output.commit_message.to_bytes()), () if welcome is None else (bytes(welcome.to_bytes()),))


def _identity(member: Member) -> bytes:
    assert isinstance(member.credential, BasicCredential)
    return member.credential.identity
