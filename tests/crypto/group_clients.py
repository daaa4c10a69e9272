"""Clients for the random life of a group: after every step each goes on from its stored rows.

Beside its state a client has what the tests know about it: which messages it has taken in, which keys it can still
have. From that, and never from the state, they say in advance what it accepts and how it refuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

from crypto.kem import HPKEKeyPair
from crypto.mls import tree_math
from crypto.mls.config import GroupConfig
from crypto.mls.credentials import BasicCredential
from crypto.mls.framing import PublicMessage
from crypto.mls.group import (
    Group,
    KeptPSKs,
    KeyPackageBundle,
    NextEpoch,
    VerifiedGroupInfo,
    VerifiedKeyPackage,
    generate_key_package,
    verify_key_package,
)
from crypto.mls.key_schedule import KeptSecrets
from crypto.mls.mls_message import decode_message, encode_message
from crypto.mls.psk import ExternalPSK, ResumptionPSK
from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.secret_tree import Subtree
from crypto.mls.snapshot import difference, load, rows
from crypto.mls.tree_nodes import LeafIndex, ParentNode
from crypto.secret import Secret
from crypto.suites import CipherSuite, SignatureKeyPair
from tests.crypto.naive_secret_tree import Window
from tests.crypto.world import LIFETIME, NOW

AnyPSK = ExternalPSK | ResumptionPSK

KEPT_PSKS = 3
"""Of how many former epochs a client keeps the resumption PSK."""


@dataclass(frozen=True)
class Post:
    """An application message, and what its receiver must find in it."""

    group_id: bytes
    epoch: int
    sender: str
    leaf: LeafIndex
    generation: int
    data: bytes
    message: bytes


@dataclass(frozen=True, eq=False)
class Handshake:
    """A proposal or a commit, and what the tests know about it."""

    group_id: bytes
    epoch: int
    sender: str
    message: bytes
    by_member: bool = True
    next_group: Group | None = None
    """Of a commit, the epoch to which it leads, as its sender sees it."""
    next_epoch: NextEpoch | None = None
    """The same, not entered yet; of a member's commit."""
    covers: frozenset[bytes] = frozenset()
    """References of the proposals that a commit must cover."""
    psks: tuple[AnyPSK, ...] = ()
    comes: frozenset[str] = frozenset()
    goes: frozenset[str] = frozenset()
    refusal: str = ""
    """How everybody refuses it; empty for what is valid."""

    @cached_property
    def is_public(self) -> bool:
        return isinstance(decode_message(self.message).body, PublicMessage)


@dataclass(frozen=True)
class EpochRecord:
    """All that the members of an epoch must agree on when they enter it."""

    encoded_context: bytes
    interim_transcript_hash: bytes
    confirmation_tag: bytes
    secrets: KeptSecrets
    exported: Secret
    tree: RatchetTree
    encryption_secret: Subtree

    @classmethod
    def of(cls, group: Group) -> Self:
        state = group.state
        return cls(
            state.encoded_context,
            state.interim_transcript_hash,
            state.confirmation_tag,
            state.secrets,
            group.export("a use of the tests", b"context", 40),
            state.tree,
            state.secret_tree.root,
        )

    @property
    def names(self) -> dict[str, LeafIndex]:
        return {leaf.credential.identity.decode(): leaf_index for leaf_index, leaf in self.tree.occupied()}


def names_in(seen: Group | VerifiedGroupInfo) -> dict[str, LeafIndex]:
    """The members by name, in the order of their leaves."""
    return {member.credential.identity.decode(): member.leaf_index for member in seen.members}


def check_private_keys(group: Group) -> None:
    """A member holds the keys of its leaf and of the ancestors that do not list it as unmerged, no others (§4.2)."""
    state = group.state
    own_node = tree_math.node_of(state.own_leaf)
    due = {own_node}
    for index in tree_math.direct_path(own_node, state.tree.leaf_count):
        parent = state.tree.node(index)
        if isinstance(parent, ParentNode) and state.own_leaf not in parent.unmerged_leaves:
            due.add(index)
    assert set(state.private_keys) == due
    for index, private in state.private_keys.items():
        node = state.tree.node(index)
        assert node is not None
        keys = HPKEKeyPair(private, node.encryption_key)
        sealed = state.suite.encrypt_with_label(keys.public, "test", b"", b"for whoever holds the key")
        assert state.suite.decrypt_with_label(keys, "test", b"", sealed).reveal() == b"for whoever holds the key"


@dataclass(eq=False, repr=False)
class Client:
    """One device: its keys, its rows, its place in the log."""

    name: str
    signer: SignatureKeyPair
    config: GroupConfig
    group: Group | None = None
    stored: dict[str, bytes] = field(default_factory=dict)
    bundles: dict[bytes, KeyPackageBundle] = field(default_factory=dict)
    position: int = 0
    papers: set[bytes] = field(default_factory=set)
    told: dict[tuple[bytes, int], Secret] = field(default_factory=dict)
    kept_psks: KeptPSKs = field(default_factory=lambda: KeptPSKs(KEPT_PSKS))
    last_epoch: int = -1
    """The newest epoch that it was ever in: no Welcome leads back."""
    kept_since: int = 0
    """The first epoch of which it may have kept message keys."""
    taken: set[bytes] = field(default_factory=set)
    """Private handshake messages of this epoch whose keys are used up."""
    windows: dict[tuple[int, LeafIndex], Window] = field(default_factory=dict)
    inbox: list[Post] = field(default_factory=list)
    opened: list[Post] = field(default_factory=list)
    """The application messages that it has opened last."""
    spoken: dict[int, int] = field(default_factory=dict)
    """How many application messages it has sent in each epoch."""
    is_fresh: bool = False
    """Whether the state is the one that was loaded last."""

    def __repr__(self) -> str:
        return self.name

    @property
    def view(self) -> Group:
        assert self.group is not None, f"{self.name} is not in the group"
        return self.group

    @property
    def credential(self) -> BasicCredential:
        return BasicCredential(self.name.encode())

    def offer(self, suite: CipherSuite) -> VerifiedKeyPackage:
        """A fresh key package, as whoever adds this client sees it."""
        return verify_key_package(encode_message(self.offer_bundle(suite).key_package), NOW)

    def offer_bundle(self, suite: CipherSuite) -> KeyPackageBundle:
        bundle = generate_key_package(suite, self.credential, self.signer, lifetime=LIFETIME)
        self.bundles[bundle.reference] = bundle
        return bundle

    def find_psk(self, psk: AnyPSK) -> Secret | None:
        """The application's lookup: what it was told, and the resumption PSKs of the last epochs."""
        if isinstance(psk, ExternalPSK):
            return Secret(b"secret of " + psk.psk_id) if psk.psk_id in self.papers else None
        return self.kept_psks.find(psk) or self.told.get((psk.psk_group_id, psk.psk_epoch))

    def knows_as_member(self, psk: AnyPSK) -> bool:
        """Whether it finds a PSK in its present epoch, whose own resumption PSK a member knows anyway."""
        present = (self.view.group_id, self.view.epoch)
        if isinstance(psk, ResumptionPSK) and (psk.psk_group_id, psk.psk_epoch) == present:
            return True
        return self.find_psk(psk) is not None

    def kept_epochs(self) -> range:
        """The former epochs whose application messages it can open (§15.3)."""
        epoch = self.view.epoch
        return range(max(self.kept_since, epoch - self.config.former_epochs_max), epoch)

    def window(self, post: Post) -> Window:
        return self.windows.setdefault((post.epoch, post.leaf), Window())

    def leave(self) -> None:
        """Forget the group: removed, or its state is lost."""
        self.group, self.stored = None, {}
        self.windows, self.spoken = {}, {}

    def store(self, after: Group) -> None:
        """Write what changes, as a store would."""
        if self.group is None or self.group.epoch != after.epoch:
            self.taken = set()
        if self.group is None:
            self.kept_since = after.epoch
        elif self.group.epoch != after.epoch:
            self.kept_psks = self.kept_psks.remember(after.group_id, self.group.epoch, self.group.resumption_psk)
        for name, row in difference(self.group, after).items():
            if row is None:
                self.stored.pop(name, None)
            else:
                self.stored[name] = row
        self.group = after
        self.last_epoch = max(self.last_epoch, after.epoch)
        self.is_fresh = False

    def restart(self) -> None:
        """Go on from what is stored, if anything has happened since the last time."""
        if self.group is None or self.is_fresh:
            return
        assert self.stored == rows(self.group)
        before = self.group.state.roster
        self.group = load(self.stored, self.signer, self.config)
        after = self.group.state.roster
        assert (before.kinds, before.signature_keys) == (after.kinds, after.signature_keys)
        self.is_fresh = True


def spoiled(message: bytes) -> bytes:
    """A message whose last byte, of a tag or a signature in every wire format, is another."""
    return message[:-1] + bytes([message[-1] ^ 1])


def unknown_to(client: Client, psks: Sequence[AnyPSK]) -> list[AnyPSK]:
    """The PSKs that a client does not find as it joins."""
    return [psk for psk in psks if client.find_psk(psk) is None]
