"""What a server checks: headers, key packages, accounts. Every forgery is refused with its class."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto import public
from crypto.errors import (
    AuthenticationError,
    DecodeError,
    IdentityError,
    InvalidMessage,
    PolicyViolation,
    RuleViolation,
)
from crypto.identity.accounts import certify_device
from crypto.mls.credentials import BasicCredential, X509Credential
from crypto.mls.extensions import Extension
from crypto.mls.framing import ApplicationContent, ContentAuth, FramedContent, PrivateMessage, PublicMessage
from crypto.mls.headers import ContentType, MemberSender
from crypto.mls.key_package import KeyPackage
from crypto.mls.tree_nodes import CommitSource, LeafNode, Lifetime, UpdateSource
from crypto.mls.verified_key_package import verify_key_package as mls_verify_key_package
from crypto.mls.welcome import EncryptedGroupSecrets, Welcome
from crypto.suites import SUITES, X_WING, HPKECiphertext
from crypto.wire import encode
from tests.crypto.identities import DAY_S, NOW, Account, Device, account, device, key_package, key_pair, message, secret
from tests.crypto.organisations import ORGANISATION, WORKER, revocations, worker_chain

VECTORS = json.loads((Path(__file__).parent / "data" / "identity.json").read_text())
CHATS = [SUITES[1], SUITES[3], X_WING]
SUITE = SUITES[1]
ALICE, BOB = account("alice", devices=3), account("bob")
DEVICE = ALICE.devices[0]

PRIVATE = PrivateMessage(b"g" * 32, 7, ContentType.COMMIT, b"data", b"sender", b"ciphertext" * 9)
SEALED = HPKECiphertext(b"kem output", b"ciphertext")
WELCOME = Welcome(1, (EncryptedGroupSecrets(b"r" * 32, SEALED), EncryptedGroupSecrets(b"s" * 32, SEALED)), b"info")
FRAMED = FramedContent(b"g", 1, MemberSender(0), b"", ApplicationContent(b"hello"))
PUBLIC = PublicMessage(FRAMED, ContentAuth(b"signature"), b"tag")


def verify(package: KeyPackage, now: int = NOW) -> public.KeyPackageHeader:
    return public.verify_key_package(message(package), DEVICE.certificate, now)


def published(person: Account) -> tuple[bytes, list[bytes], bytes]:
    """What an account's owner registers with a server."""
    certificates = [encode(each.certificate) for each in person.devices]
    return encode(person.certificate), certificates, encode(person.device_list(2))


@pytest.mark.parametrize("content_type", ContentType)
def test_header_of_a_private_message(content_type: ContentType) -> None:
    header = public.parse_message_header(message(dataclasses.replace(PRIVATE, content_type=content_type)))
    assert header == public.MessageHeader(b"g" * 32, 7, content_type)


@given(st.binary(max_size=300), st.integers(0, 2**64 - 1), st.sampled_from(ContentType), st.binary(max_size=300))
def test_header_of_any_private_message(group_id: bytes, epoch: int, content_type: ContentType, rest: bytes) -> None:
    sent = message(PrivateMessage(group_id, epoch, content_type, rest, rest, rest))
    assert public.parse_message_header(sent) == public.MessageHeader(group_id, epoch, content_type)


@pytest.mark.parametrize("body", [PUBLIC, WELCOME, key_package(SUITE, DEVICE)])
def test_only_private_messages_have_a_header(body: object) -> None:
    with pytest.raises(DecodeError, match="not a PrivateMessage"):
        public.parse_message_header(message(body))


@pytest.mark.parametrize(
    "damage", [lambda m: m + b"\x00", lambda m: m[:-1], lambda m: b"", lambda m: b"\x00\x02" + m[2:]]
)
def test_envelope_is_decoded_to_its_last_byte(damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(DecodeError):
        public.parse_message_header(damage(message(PRIVATE)))
    with pytest.raises(DecodeError):
        public.parse_welcome(damage(message(WELCOME)))


def test_unknown_content_type_is_refused() -> None:
    sent = bytearray(message(PRIVATE))
    sent[4 + 1 + 32 + 8] = 4
    with pytest.raises(DecodeError, match="ContentType has no value 4"):
        public.parse_message_header(bytes(sent))


def test_references_of_a_welcome() -> None:
    assert public.parse_welcome(message(WELCOME)).key_package_refs == (b"r" * 32, b"s" * 32)
    with pytest.raises(DecodeError, match="not a Welcome"):
        public.parse_welcome(message(PRIVATE))


@pytest.mark.parametrize("suite", CHATS, ids=lambda suite: suite.name)
def test_key_package_of_each_suite_that_chats_use(suite: Any) -> None:
    package = key_package(suite, DEVICE)
    reference = suite.ref_hash("MLS 1.0 KeyPackage Reference", encode(package))
    assert verify(package) == public.KeyPackageHeader(reference, suite.id, NOW + 30 * DAY_S, last_resort=False)


def test_last_resort_package_says_so() -> None:
    assert verify(key_package(SUITE, DEVICE, last_resort=True)).last_resort


@pytest.mark.parametrize("suite_id", [2, 4, 5, 6, 7])
def test_key_package_of_a_suite_that_chats_do_not_use_is_refused(suite_id: int) -> None:
    """A good package in every way, but its signatures are not Ed25519."""
    suite = SUITES[suite_id]
    package = key_package(suite, Device(suite.signature.generate(), DEVICE.certificate, DEVICE.chain))
    mls_verify_key_package(message(package), NOW)
    with pytest.raises(RuleViolation, match="rule S7"):
        verify(package)


@pytest.mark.parametrize("suite_id", [0, 8, 0x0A0A, 0xFFFF])
def test_key_package_of_an_unknown_suite_is_refused(suite_id: int) -> None:
    package = key_package(SUITE, DEVICE, change=lambda p: dataclasses.replace(p, cipher_suite=suite_id))
    with pytest.raises(RuleViolation, match="rule S7"):
        verify(package)


@pytest.mark.parametrize(
    "lifetime, rule",
    [
        (Lifetime(NOW - 30 * DAY_S, NOW - DAY_S), "L9"),
        (Lifetime(NOW + DAY_S, NOW + 30 * DAY_S), "L9"),
        (Lifetime(NOW - DAY_S, 2**64 - 1), "L11"),
        (Lifetime(NOW + DAY_S, NOW - DAY_S), "L11"),
        (Lifetime(0, 0), "L9"),
    ],
)
def test_a13_expired_future_and_endless_packages_are_refused(lifetime: Lifetime, rule: str) -> None:
    with pytest.raises(RuleViolation, match=f"rule {rule}"):
        verify(key_package(SUITE, DEVICE, lifetime=lifetime))


def test_a13_package_expires_as_time_goes_by() -> None:
    package = key_package(SUITE, DEVICE)
    verify(package, now=NOW + 29 * DAY_S)
    with pytest.raises(RuleViolation, match="rule L9"):
        verify(package, now=NOW + 31 * DAY_S)


@pytest.mark.parametrize("person", [account("alice", devices=3), BOB], ids=["same account", "another account"])
def test_a10_package_of_another_device_is_refused(person: Account) -> None:
    package = key_package(SUITE, person.devices[-1])
    with pytest.raises(IdentityError, match="of another device"):
        verify(package)


def test_a10_package_with_an_older_certificate_of_the_device_is_refused() -> None:
    """One key certified twice: what counts is the certificate that the server holds."""
    newer = certify_device(ALICE.signing, ALICE.certificate, DEVICE.keys.public, NOW + 1)
    with pytest.raises(IdentityError, match="of another device"):
        public.verify_key_package(message(key_package(SUITE, DEVICE)), newer, NOW)


def test_a09_attackers_key_under_the_victims_name_is_refused() -> None:
    """Mallory's package carries Alice's chain: the signatures hold, under a key that the chain is not about."""
    mallory = device(ALICE.certificate, key_pair("mallory signing"), "mallory")
    package = key_package(
        SUITE, mallory, change_leaf=lambda leaf: dataclasses.replace(leaf, credential=DEVICE.credential)
    )
    with pytest.raises(IdentityError, match="another key than the leaf's"):
        verify(package)


def test_a09_attackers_own_certificate_for_the_victims_account_is_refused() -> None:
    mallory = device(ALICE.certificate, key_pair("mallory signing"), "mallory")
    with pytest.raises(AuthenticationError):
        verify(key_package(SUITE, mallory))


def test_a33_another_account_cannot_use_a_devices_key() -> None:
    """Bob certifies the public key of Alice's device as his own, and that chain holds.

    The key package that he would need is signed by the device, with the device's own chain in it.
    """
    claimed = device(BOB.certificate, BOB.signing, "alice device 0")
    assert claimed.keys == DEVICE.keys
    stolen = key_package(SUITE, DEVICE)
    with pytest.raises(IdentityError, match="of another device"):
        public.verify_key_package(message(stolen), claimed.certificate, NOW)
    leaf = dataclasses.replace(stolen.leaf_node, credential=claimed.credential)
    with pytest.raises(AuthenticationError):
        public.verify_key_package(message(dataclasses.replace(stolen, leaf_node=leaf)), claimed.certificate, NOW)


def test_a09_swapped_keys_break_the_signatures() -> None:
    package, other = key_package(SUITE, DEVICE), SUITE.derive_key_pair(secret("mallory")).public
    with pytest.raises(AuthenticationError):
        verify(dataclasses.replace(package, init_key=other))
    leaf = dataclasses.replace(package.leaf_node, encryption_key=other)
    with pytest.raises(AuthenticationError):
        verify(dataclasses.replace(package, leaf_node=leaf))
    with pytest.raises(AuthenticationError):
        verify(key_package(SUITE, DEVICE, change=lambda p: dataclasses.replace(p, leaf_node=leaf)))


@pytest.mark.parametrize("credential", [BasicCredential(b"alice"), BasicCredential(b"")])
def test_credential_that_is_no_chain_is_refused(credential: BasicCredential) -> None:
    with pytest.raises(DecodeError):
        verify(key_package(SUITE, DEVICE, change_leaf=lambda leaf: dataclasses.replace(leaf, credential=credential)))


def test_x509_credential_is_refused() -> None:
    def change(leaf: LeafNode) -> LeafNode:
        capabilities = dataclasses.replace(leaf.capabilities, credentials=(1, 2))
        return dataclasses.replace(leaf, credential=X509Credential((b"der",)), capabilities=capabilities)

    with pytest.raises(IdentityError, match="not a Sealdesk device chain"):
        verify(key_package(SUITE, DEVICE, change_leaf=change))


@pytest.mark.parametrize("source", [UpdateSource(), CommitSource(b"")])
def test_leaf_from_elsewhere_is_refused(source: UpdateSource | CommitSource) -> None:
    with pytest.raises(RuleViolation, match="rule L8"):
        verify(key_package(SUITE, DEVICE, change_leaf=lambda leaf: dataclasses.replace(leaf, source=source)))


@pytest.mark.parametrize("suite", CHATS, ids=lambda suite: suite.name)
@pytest.mark.parametrize("key", [b"", b"short", bytes(2000), bytes(32)])
def test_keys_that_nobody_can_encrypt_to_are_refused(suite: Any, key: bytes) -> None:
    with pytest.raises(RuleViolation, match="rule L20"):
        verify(key_package(suite, DEVICE, change=lambda p: dataclasses.replace(p, init_key=key)))
    with pytest.raises(RuleViolation, match="rule L20"):
        verify(key_package(suite, DEVICE, change_leaf=lambda leaf: dataclasses.replace(leaf, encryption_key=key)))


def test_one_key_in_two_roles_is_refused() -> None:
    with pytest.raises(RuleViolation, match="rule K4"):
        verify(key_package(SUITE, DEVICE, change=lambda p: dataclasses.replace(p, init_key=p.leaf_node.encryption_key)))


def test_doubled_extension_is_refused() -> None:
    doubled = (Extension(10, b""), Extension(10, b""))
    with pytest.raises(RuleViolation, match="rule L18"):
        verify(key_package(SUITE, DEVICE, change=lambda p: dataclasses.replace(p, extensions=doubled)))


@pytest.mark.parametrize("size", [0, 1, 63, 65, 128])
def test_a42_signatures_of_other_sizes_are_refused(size: int) -> None:
    package = key_package(SUITE, DEVICE)
    with pytest.raises(AuthenticationError):
        verify(dataclasses.replace(package, signature=(package.signature * 2)[:size]))
    short_leaf = dataclasses.replace(package.leaf_node, signature=(package.leaf_node.signature * 2)[:size])
    with pytest.raises(AuthenticationError):
        verify(key_package(SUITE, DEVICE, change=lambda p: dataclasses.replace(p, leaf_node=short_leaf)))


def test_other_messages_are_no_key_package() -> None:
    with pytest.raises(DecodeError, match="not a key package"):
        public.verify_key_package(message(PRIVATE), DEVICE.certificate, NOW)


def test_account_and_its_devices() -> None:
    certificate, devices, device_list = published(ALICE)
    verified = public.verify_account(certificate, devices, device_list)
    assert verified.account_id == ALICE.account_id == public.account_id_of(verified.root_key)
    assert verified.root_key == ALICE.root.public
    assert verified.signing_key == ALICE.signing.public
    assert verified.signing_key_version == 1
    assert verified.device_list_version == 2
    found = [(each.device_id, each.device_key) for each in verified.devices]
    assert found == sorted((each.device_id, each.keys.public) for each in ALICE.devices)
    assert public.verify_account(certificate, devices[::-1], device_list) == verified


def test_stored_certificate_is_parsed_again() -> None:
    assert public.parse_device_certificate(encode(DEVICE.certificate)) == DEVICE.certificate
    with pytest.raises(DecodeError):
        public.parse_device_certificate(encode(DEVICE.certificate) + b"\x00")


def test_each_listed_device_needs_one_certificate() -> None:
    certificate, devices, device_list = published(ALICE)
    ghost = encode(device(ALICE.certificate, ALICE.signing, "ghost").certificate)
    for wrong in ([], devices[:-1], [*devices, devices[0]], [*devices, ghost]):
        with pytest.raises(IdentityError, match="not one certificate for each"):
            public.verify_account(certificate, wrong, device_list)
    for wrong in ([*devices[:-1], devices[0]], [*devices[:-1], ghost]):
        with pytest.raises(IdentityError, match="not those of the devices on the list"):
            public.verify_account(certificate, wrong, device_list)


def test_a09_parts_of_two_accounts_do_not_mix() -> None:
    certificate, devices, device_list = published(account("alice"))
    bobs_certificate, bobs_devices, bobs_device_list = published(BOB)
    for mixed in (
        (bobs_certificate, devices, device_list),
        (certificate, bobs_devices, device_list),
        (certificate, devices, bobs_device_list),
    ):
        with pytest.raises(IdentityError, match="another account"):
            public.verify_account(*mixed)


def test_parts_of_two_signing_keys_do_not_mix() -> None:
    certificate, devices, device_list = published(account("alice"))
    newer_certificate, newer_devices, newer_device_list = published(account("alice", signing_key_version=2))
    for mixed in (
        (newer_certificate, devices, device_list),
        (certificate, newer_devices, device_list),
        (certificate, devices, newer_device_list),
    ):
        with pytest.raises(IdentityError, match="another version"):
            public.verify_account(*mixed)


@given(st.data())
def test_no_bit_of_an_account_can_change(data: st.DataObject) -> None:
    certificate, devices, device_list = published(BOB)
    parts = [bytearray(certificate), bytearray(devices[0]), bytearray(device_list)]
    part = data.draw(st.sampled_from(parts))
    part[data.draw(st.integers(0, len(part) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises((InvalidMessage, IdentityError)):
        public.verify_account(bytes(parts[0]), [bytes(parts[1])], bytes(parts[2]))


@given(st.binary(max_size=300), st.lists(st.binary(max_size=300), max_size=3), st.binary(max_size=300))
def test_random_bytes_are_no_account(certificate: bytes, devices: list[bytes], device_list: bytes) -> None:
    with pytest.raises(DecodeError):
        public.verify_account(certificate, devices, device_list)


PARSERS: dict[str, Callable[[bytes], object]] = {
    "header": public.parse_message_header,
    "welcome": public.parse_welcome,
    "key package": lambda data: public.verify_key_package(data, DEVICE.certificate, NOW),
    "certificate": public.parse_device_certificate,
    "role": lambda data: public.verify_role(data, ORGANISATION.public, WORKER.account_id, revocations(), NOW),
    "revocations": lambda data: public.verify_revocations(data, ORGANISATION.public, None, NOW),
    "stored revocations": lambda data: public.load_revocations(data, ORGANISATION.public),
}
GOOD = [*map(message, (PRIVATE, WELCOME, PUBLIC, key_package(SUITE, DEVICE))), encode(DEVICE.certificate)]
GOOD += [encode(worker_chain()), encode(revocations("a", "b").statement)]
SIGNED_WHOLE = {"key package", "role", "revocations", "stored revocations"}


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A good input with some bytes replaced, then perhaps a piece cut out, doubled or put in."""
    data = bytearray(draw(st.sampled_from(GOOD)))
    for _ in range(draw(st.integers(0, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    start = draw(st.integers(0, len(data)))
    stop = draw(st.integers(start, min(start + 40, len(data))))
    data[start:stop] = draw(st.sampled_from([data[start:stop], b"", data[start:stop] * 2, bytes(8), b"\xff" * 8]))
    return bytes(data)


@pytest.mark.parametrize("name", PARSERS)
@given(data=st.binary(max_size=500) | mutated())
def test_any_bytes_are_taken_or_refused_by_our_errors(name: str, data: bytes) -> None:
    """Nothing but `InvalidMessage` and `IdentityError` comes out; any other exception fails this test."""
    try:
        PARSERS[name](data)
    except (InvalidMessage, IdentityError):
        return
    assert data in GOOD or name not in SIGNED_WHOLE  # signatures cover the whole


@given(st.integers(min_value=0), st.integers(0, 7))
def test_no_bit_of_a_key_package_can_change(place: int, bit: int) -> None:
    data = bytearray(message(key_package(SUITE, DEVICE)))
    data[place % len(data)] ^= 1 << bit
    with pytest.raises((InvalidMessage, IdentityError)):
        public.verify_key_package(bytes(data), DEVICE.certificate, NOW)


@given(st.binary(max_size=64), st.text(max_size=50), st.binary(max_size=64), st.binary(max_size=128))
def test_random_session_answers_are_refused(key: bytes, url: str, challenge: bytes, signature: bytes) -> None:
    with pytest.raises(InvalidMessage):
        public.verify_session_answer(key, url, challenge, signature)


def test_a21_the_server_asks_certificates_too() -> None:
    """It judges by the same table, and by nothing that it keeps of an account."""
    role = public.verify_role(encode(worker_chain()), ORGANISATION.public, WORKER.account_id, revocations(), NOW).role
    assert public.may(role, public.Action.CREATE_GROUP)
    with pytest.raises(PolicyViolation, match="a worker may not certify as a worker"):
        public.check_permission(role, public.Action.CERTIFY, public.Role.WORKER)
    with pytest.raises(IdentityError, match="another account"):
        public.verify_role(encode(worker_chain()), ORGANISATION.public, ALICE.account_id, revocations(), NOW)


def test_the_servers_view_takes_and_gives_no_secret() -> None:
    for name in public.__all__:
        offered = getattr(public, name)
        if inspect.isfunction(offered) or dataclasses.is_dataclass(offered):
            signature = str(inspect.signature(offered))
            assert "Secret" not in signature, name
            assert "KeyPair" not in signature, name


def test_reference_and_header_stay_as_they_are() -> None:
    header = verify(key_package(SUITE, DEVICE, last_resort=True))
    assert header.reference.hex() == VECTORS["key_package_reference"]
