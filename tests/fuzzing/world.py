"""The world that the targets of the fuzzer live in: one group, its members, and a client that is about to join.

It comes out the same in every process, so what was found once can be replayed: all its randomness is a stream of one
seed.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from crypto.identity.accounts import DeviceChain, certify_device, certify_signing_key, device_id_of
from crypto.identity.device_list import DeviceList, sign_device_list
from crypto.mls.config import GroupConfig
from crypto.mls.credentials import BasicCredential
from crypto.mls.extensions import Extension, ExtensionType, ExternalSender, ExternalSenders
from crypto.mls.group import Group, KeyPackageBundle, PendingCommit, branch
from crypto.mls.psk import ExternalPSK, ResumptionPSK
from crypto.secret import Secret
from crypto.suites import SUITES, SignatureKeyPair, derive_ed25519_key_pair
from crypto.wire import encode_as
from tests.crypto.world import LIFETIME, NOW, Person, World

SUITE = SUITES[1]
OPEN = GroupConfig(
    accept_public_handshakes=True,
    accept_external_commits=True,
    accept_external_proposals=True,
    former_epochs_max=1,
)
"""Nothing is refused for the way it came, so every check behind that is within reach."""

KNOWN_PSK = ExternalPSK(b"a known key")


@contextmanager
def drawn_from(seed: bytes) -> Iterator[None]:
    """All randomness is a stream of `seed`."""
    counter = itertools.count()

    def urandom(size: int) -> bytes:
        return hashlib.shake_256(seed + next(counter).to_bytes(8, "big")).digest(size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "urandom", urandom)
        yield


def find_psk(psk: ExternalPSK | ResumptionPSK) -> Secret | None:
    """The one key that everybody has been given."""
    return Secret(bytes(32)) if psk == KNOWN_PSK else None


@dataclass(frozen=True)
class Account:
    """A person with one device, all keys at hand."""

    root: SignatureKeyPair
    signing: SignatureKeyPair
    device: SignatureKeyPair
    chain: DeviceChain
    device_list: DeviceList


@dataclass(frozen=True)
class Invitation:
    """A Welcome, and what the client has that it is for."""

    welcome: bytes
    bundle: KeyPackageBundle
    signer: SignatureKeyPair
    previous: Group | None
    """The group of which the new one is a branch."""


@dataclass(frozen=True)
class FuzzWorld:
    """Ada sends, Bob receives; Gil has been added by a commit of Ada's that Bob has not seen."""

    people: World
    keyring: dict[bytes, SignatureKeyPair]
    """Every signature key of the world by its public half: what signs anew what the fuzzer has changed."""
    external_sender: SignatureKeyPair
    adding: PendingCommit
    invitation: Invitation
    """Of Gil, by that commit."""
    branching: Invitation
    """Of Bob, into a group of him and Ada."""
    account: Account
    late: bytes
    """An application message of Ada's from the epoch before."""

    @property
    def ada(self) -> Group:
        return self.people["ada"]

    @property
    def bob(self) -> Group:
        return self.people["bob"]

    @property
    def eve(self) -> Group:
        """Has an Update of hers pending, which everybody knows."""
        return self.people["eve"]

    @property
    def gil(self) -> SignatureKeyPair:
        return self.people.person("gil").signer

    @property
    def joiner(self) -> KeyPackageBundle:
        return self.invitation.bundle


@functools.cache
def world() -> FuzzWorld:
    with drawn_from(b"the world of the fuzzer"):
        return _made()


def _made() -> FuzzWorld:
    external = key_pair(b"external sender")
    people = World(SUITE, config=OPEN)
    people.found("ada", (external_senders(external),))
    people.commit("ada", adds=["bob", "cleo", "dan", "eve", "fay"])
    people.commit("cleo")
    people.commit("bob", removes=["dan"])  # a blank leaf
    _, late = people["ada"].protect(b"a message that comes late")
    people.commit("eve", adds=["hal"], with_path=False)  # an unmerged leaf
    people.deliver_proposal("eve", people["eve"].propose_update(now=NOW))
    adding = people.pending("ada", adds=["gil"], find_psk=find_psk, psks=[KNOWN_PSK])
    pair = branch(people["ada"], b"a branch", [people.person("bob").offer()], lifetime=LIFETIME, now=NOW)
    keyring = {someone.signer.public: someone.signer for someone in people.people.values()}
    account = _account()
    for signer in (external, account.root, account.signing, account.device):
        keyring[signer.public] = signer
    invitation = _invitation(people.person("gil"), adding, None)
    branching = _invitation(people.person("bob"), pair, people["bob"])
    return FuzzWorld(people, keyring, external, adding, invitation, branching, account, late)


def _invitation(invited: Person, commit: PendingCommit, previous: Group | None) -> Invitation:
    assert commit.welcome is not None
    assert invited.bundle is not None
    return Invitation(commit.welcome, invited.bundle, invited.signer, previous)


def key_pair(name: bytes) -> SignatureKeyPair:
    """An Ed25519 key pair that is always the same."""
    return derive_ed25519_key_pair(Secret(hashlib.sha256(name).digest()))


def external_senders(external: SignatureKeyPair) -> Extension:
    """The extension that lets one outsider propose."""
    listed = (ExternalSender(external.public, BasicCredential(b"outsider")),)
    return Extension(ExtensionType.EXTERNAL_SENDERS, encode_as(ExternalSenders, listed))


def _account() -> Account:
    root, signing, device = key_pair(b"root"), key_pair(b"signing"), key_pair(b"device")
    certificate = certify_signing_key(root, signing.public, 2)
    chain = DeviceChain(certificate, certify_device(signing, certificate, device.public, NOW))
    device_ids = frozenset({device_id_of(device.public)})
    return Account(root, signing, device, chain, sign_device_list(signing, certificate, 3, device_ids, NOW))
