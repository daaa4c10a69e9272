"""A39: what is signed as one kind of object verifies as no other, neither ours nor one of MLS."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from crypto.errors import AuthenticationError
from crypto.identity import accounts, device_list, epoch_statements, linking, revocations, roles, sessions
from crypto.identity.accounts import certify_device, certify_signing_key, verify_device, verify_signing_key
from crypto.identity.device_list import sign_device_list, verify_device_list
from crypto.identity.epoch_statements import KnownEpochs, check_epoch_statement, state_epoch
from crypto.identity.link_codes import LinkCode
from crypto.identity.linking import derive_link_offer, read_link_offer
from crypto.identity.revocations import sign_revocations, verify_revocations
from crypto.identity.roles import Role, RoleChain, RoleGrant, certify_role, verify_role
from crypto.identity.sessions import SessionAnswer, verify_session_answer
from crypto.identity.signing import SignedLabel
from crypto.mls.key_package import verify_key_package_signature
from crypto.mls.tree_nodes import LeafIndex, leaf_node_tbs, verify_leaf_node
from crypto.profile import manifest as profile_manifest
from crypto.profile import sign_manifest, verify_manifest
from crypto.secret import Secret
from crypto.suites import SUITES, X_WING, encode_sign_content, sign_ed25519
from crypto.wire import encode, encode_unsigned
from tests.crypto.identities import NOW, Device, key_package, key_pair, secret
from tests.crypto.links import cheap_argon2id

KEYS = key_pair("one key in every role")  # so that nothing but the label tells the kinds apart
URL, CHALLENGE = "https://desk.example.org", secret("challenge").reveal()
SUITE = SUITES[1]
CODE = LinkCode("7K2Q", Secret(b"M9XA4"))


@dataclass(frozen=True)
class Kind:
    """A kind of signed object: an example's signed content, and the check that it must pass."""

    label: str
    content: bytes
    verify: Callable[[bytes], object]


def kinds() -> dict[str, Kind]:
    certificate = certify_signing_key(KEYS, KEYS.public, 1)
    signing_key = verify_signing_key(certificate)
    device_certificate = certify_device(KEYS, certificate, KEYS.public, NOW)
    chain = accounts.DeviceChain(certificate, device_certificate)
    devices = sign_device_list(KEYS, certificate, 1, frozenset({bytes(20)}), NOW)
    profile = sign_manifest(KEYS, certificate, None, [], frozenset(), NOW)
    answer = SessionAnswer(URL.encode(), accounts.device_id_of(KEYS.public), CHALLENGE, b"")
    epoch = state_epoch(KEYS, b"chat", 1, b"authenticator")
    grant = RoleGrant(accounts.account_id_of(KEYS.public), Role.ADMIN, "", NOW, NOW + 1, signing_key_version=1)
    role = certify_role(KEYS, grant, bytes(16)).certificate
    statement = sign_revocations(KEYS, 1, NOW, NOW + 1, frozenset())
    current = verify_revocations(encode(statement), KEYS.public, None, NOW)
    with cheap_argon2id():
        offer = derive_link_offer(URL, NOW, CODE, KEYS, X_WING.derive_key_pair(secret("offer"))).offer
    package = key_package(SUITE, Device(KEYS, device_certificate, chain))
    leaf = package.leaf_node

    def signed(example: object, signature: bytes) -> object:
        return dataclasses.replace(example, signature=signature)  # type: ignore[type-var]  # one helper for all signed structs

    def mls(label: str, content: bytes) -> Kind:
        return Kind(f"MLS 1.0 {label}", content, lambda s: SUITE.verify_with_label(KEYS.public, label, content, s))

    return {
        "SigningKeyCertificate": Kind(
            SignedLabel.SIGNING_KEY_CERTIFICATE,
            encode_unsigned(certificate),
            lambda s: verify_signing_key(signed(certificate, s)),  # type: ignore[arg-type]  # one helper for all signed structs
        ),
        "DeviceCertificate": Kind(
            SignedLabel.DEVICE_CERTIFICATE,
            encode_unsigned(device_certificate),
            lambda s: verify_device(signing_key, signed(device_certificate, s)),  # type: ignore[arg-type]  # one helper for all signed structs
        ),
        "DeviceList": Kind(
            SignedLabel.DEVICE_LIST,
            encode_unsigned(devices),
            lambda s: verify_device_list(signed(devices, s), certificate, None),  # type: ignore[arg-type]  # one helper for all signed structs
        ),
        "ProfileManifest": Kind(
            SignedLabel.PROFILE_MANIFEST,
            encode_unsigned(profile),
            lambda s: verify_manifest(signed(profile, s), signing_key, None),  # type: ignore[arg-type]  # one helper for all signed structs
        ),
        "SessionAnswer": Kind(
            SignedLabel.SESSION_ANSWER,
            encode_unsigned(answer),
            lambda s: verify_session_answer(KEYS.public, URL, CHALLENGE, s),
        ),
        "EpochStatement": Kind(
            SignedLabel.EPOCH_STATEMENT,
            encode_unsigned(epoch),
            lambda s: check_epoch_statement(signed(epoch, s), KEYS.public, KnownEpochs(b"chat", 1)),  # type: ignore[arg-type]  # one helper for all signed structs
        ),
        "RoleCertificate": Kind(
            SignedLabel.ROLE_CERTIFICATE,
            encode_unsigned(role),
            lambda s: verify_role(
                encode(RoleChain(None, signed(role, s))),  # type: ignore[arg-type]  # one helper for all signed structs
                KEYS.public,
                role.account_id,
                current,
                NOW,
            ),
        ),
        "RevocationStatement": Kind(
            SignedLabel.REVOCATION_STATEMENT,
            encode_unsigned(statement),
            lambda s: verify_revocations(encode(signed(statement, s)), KEYS.public, None, NOW),
        ),
        "LinkOffer": Kind(
            SignedLabel.LINK_OFFER,
            encode_unsigned(offer),
            lambda s: read_link_offer(encode(signed(offer, s)), CODE, URL, NOW),
        ),
        "LeafNode": Kind(
            "MLS 1.0 LeafNodeTBS",
            leaf_node_tbs(leaf, b"", LeafIndex(0)),
            lambda s: verify_leaf_node(SUITE, signed(leaf, s), b"", LeafIndex(0)),  # type: ignore[arg-type]  # one helper for all signed structs
        ),
        "KeyPackage": Kind(
            "MLS 1.0 KeyPackageTBS",
            encode_unsigned(package),
            lambda s: verify_key_package_signature(SUITE, signed(package, s)),  # type: ignore[arg-type]  # one helper for all signed structs
        ),
        "FramedContent": mls("FramedContentTBS", b"content"),
        "GroupInfo": mls("GroupInfoTBS", b"content"),
    }


KINDS = kinds()


def signature_of(label: str, content: bytes) -> bytes:
    return sign_ed25519(KEYS, encode_sign_content(label, content))


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_verifies_under_its_own_label(kind: str) -> None:
    KINDS[kind].verify(signature_of(KINDS[kind].label, KINDS[kind].content))


@pytest.mark.parametrize("made, asked", list(itertools.permutations(KINDS, 2)))
def test_a39_no_kind_verifies_as_another(made: str, asked: str) -> None:
    """The content is that of the kind asked for, the key is right: only the label under which it was signed is not.

    Then the plain replay: the signature of an object of the one kind on an object of the other.
    """
    for content in (KINDS[asked].content, KINDS[made].content):
        with pytest.raises(AuthenticationError):
            KINDS[asked].verify(signature_of(KINDS[made].label, content))


@pytest.mark.parametrize("kind", KINDS)
def test_signature_without_a_label_verifies_as_nothing(kind: str) -> None:
    with pytest.raises(AuthenticationError):
        KINDS[kind].verify(sign_ed25519(KEYS, KINDS[kind].content))


def test_every_label_is_tested_and_names_its_struct_and_version() -> None:
    assert {label.value for label in SignedLabel} == {kind.label for kind in KINDS.values() if "Sealdesk" in kind.label}
    for label in SignedLabel:
        owner, version, name = label.split(" ")
        assert (owner, version) == ("Sealdesk", "1.0")
        homes = (accounts, device_list, epoch_statements, linking, profile_manifest, revocations, roles, sessions)
        assert any(hasattr(module, name) for module in homes)
