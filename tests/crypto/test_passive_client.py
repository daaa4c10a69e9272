"""Published scenarios: a client joins by Welcome and follows the group, with the secrets that the authors computed."""

from __future__ import annotations

from typing import Any

import pytest

from crypto.errors import AuthenticationError
from crypto.kem import HPKEKeyPair
from crypto.mls.config import GroupConfig
from crypto.mls.credentials import BasicCredential
from crypto.mls.group import Group, ReceivedProposal, StagedCommit, create_group, join, verify_key_package
from crypto.mls.key_package import KeyPackage, KeyPackageBundle
from crypto.mls.mls_message import MLSMessage
from crypto.mls.psk import ExternalPSK, ResumptionPSK
from crypto.mls.psk_lookup import PSKLookup
from crypto.mls.snapshot import load, rows
from crypto.mls.tree_nodes import Lifetime
from crypto.mls.verified_key_package import lifetime_of_leaf
from crypto.secret import Secret
from crypto.suites import CipherSuite, SignatureKeyPair, suite_of
from crypto.wire import decode
from tests.vectors import Case, each

CONFIG = GroupConfig(accept_public_handshakes=True, lifetime_max_s=2**64)
"""The authors send public handshake messages, and key packages that live for ever."""

NOW = 1_715_000_000
"""A day in May 2024, inside every lifetime of the vectors."""


@each("mls/passive-client-welcome.json")
def test_joins_as_published(case: Case) -> None:
    follow(case)


@each("mls/passive-client-handling-commit.json")
def test_follows_commits_of_every_kind(case: Case) -> None:
    follow(case)


@each("mls/passive-client-random.json")
def test_follows_a_random_history(case: Case) -> None:
    follow(case)


@each("mls/passive-client-welcome.json")
def test_a_published_client_joins_a_group_of_ours(case: Case) -> None:
    """The other direction: we add the client by its published key package, and with its keys it follows us."""
    bundle, signer = client(case)
    belongs, founder_key = suite_of(case["cipher_suite"]), suite_of(case["cipher_suite"]).signature.generate()
    psks = [ExternalPSK(bytes.fromhex(psk["psk_id"])) for psk in case["external_psks"]]
    find_psk = lookup(case, {})
    sent = lifetime_of_leaf(bundle.key_package.leaf_node).not_before  # when the package was fresh
    lifetime = Lifetime(sent, sent + 86400)
    ours = create_group(
        belongs, b"ours", BasicCredential(b"founder"), founder_key, lifetime=lifetime, now=sent, config=CONFIG
    )
    offer = verify_key_package(bytes.fromhex(case["key_package"]), sent, CONFIG)
    assert offer.reference == bundle.reference
    pending = ours.commit([offer], now=sent, psks=psks, find_psk=find_psk)
    assert pending.welcome is not None
    bundles = {bundle.reference: bundle}
    theirs = join(pending.welcome, bundles, signer, now=sent, find_psk=find_psk, config=CONFIG).accept()
    ours = ours.adopt(pending.next_epoch)
    assert theirs.epoch_authenticator == ours.epoch_authenticator
    for _ in range(2):
        ours, theirs = enter_next(ours, theirs)
        theirs, ours = enter_next(theirs, ours)


def enter_next(committer: Group, other: Group) -> tuple[Group, Group]:
    pending = committer.commit(now=NOW)
    staged = other.receive(pending.message, NOW)
    assert isinstance(staged, StagedCommit)
    after = other.adopt(staged)
    ours = committer.adopt(pending.next_epoch)
    assert after.epoch_authenticator == ours.epoch_authenticator
    return ours, after


def follow(case: Case) -> None:
    bundle, signer = client(case)
    resumption_psks: dict[tuple[bytes, int], Secret] = {}
    find_psk = lookup(case, resumption_psks)
    tree = case["ratchet_tree"]
    staged = join(
        bytes.fromhex(case["welcome"]),
        {bundle.reference: bundle},
        signer,
        now=NOW,
        ratchet_tree=None if tree is None else bytes.fromhex(tree),
        find_psk=find_psk,
        config=CONFIG,
    )
    assert staged.used_reference == bundle.reference
    group = staged.accept()
    assert group.epoch_authenticator.hex() == case["initial_epoch_authenticator"]
    for epoch in case["epochs"]:
        resumption_psks[group.group_id, group.epoch] = group.resumption_psk
        group = enter_epoch(group, epoch, find_psk)
        assert group.epoch_authenticator.hex() == epoch["epoch_authenticator"]
    assert rows(load(rows(group), signer, CONFIG)) == rows(group)


def enter_epoch(group: Group, epoch: Any, find_psk: PSKLookup) -> Group:
    for message in epoch["proposals"]:
        proposal = group.receive(bytes.fromhex(message), NOW)
        assert isinstance(proposal, ReceivedProposal)
        group = proposal.group
    commit = group.receive(bytes.fromhex(epoch["commit"]), NOW, find_psk)
    assert isinstance(commit, StagedCommit)
    return group.adopt(commit)


def client(case: Case) -> tuple[KeyPackageBundle, SignatureKeyPair]:
    """The joiner's key package and keys; that they belong together is part of the vector."""
    key_package = decode(MLSMessage, bytes.fromhex(case["key_package"])).body
    assert isinstance(key_package, KeyPackage)
    belongs = suite_of(case["cipher_suite"])
    size = belongs.hpke.kem.private_key_size  # some are published without the zeros in front, against RFC 9180 §7.1.2
    init_private = Secret(bytes.fromhex(case["init_priv"]).rjust(size, b"\0"))
    encryption_private = Secret(bytes.fromhex(case["encryption_priv"]).rjust(size, b"\0"))
    signer = SignatureKeyPair(secret(case["signature_priv"]), key_package.leaf_node.signature_key)
    assert_hpke_pair(belongs, init_private, key_package.init_key)
    assert_hpke_pair(belongs, encryption_private, key_package.leaf_node.encryption_key)
    signature = belongs.sign_with_label(signer, "Test", b"")
    belongs.verify_with_label(signer.public, "Test", b"", signature)
    return KeyPackageBundle(key_package, init_private, encryption_private), signer


def assert_hpke_pair(belongs: CipherSuite, private: Secret, public: bytes) -> None:
    sealed = belongs.encrypt_with_label(public, "Test", b"", b"text")
    assert belongs.decrypt_with_label(HPKEKeyPair(private, public), "Test", b"", sealed).reveal() == b"text"


def lookup(case: Case, resumption_psks: dict[tuple[bytes, int], Secret]) -> PSKLookup:
    """The keys that the application holds: those of the vector, and those of former epochs."""
    known = {bytes.fromhex(psk["psk_id"]): secret(psk["psk"]) for psk in case["external_psks"]}

    def find(psk: ExternalPSK | ResumptionPSK) -> Secret | None:
        if isinstance(psk, ExternalPSK):
            return known.get(psk.psk_id)
        return resumption_psks.get((psk.psk_group_id, psk.psk_epoch))

    return find


def secret(text: str) -> Secret:
    return Secret(bytes.fromhex(text))


def test_keys_that_do_not_belong_together_are_noticed() -> None:
    one, other = suite_of(1).generate_hpke_key_pair(), suite_of(1).generate_hpke_key_pair()
    with pytest.raises(AuthenticationError):
        assert_hpke_pair(suite_of(1), one.private, other.public)
