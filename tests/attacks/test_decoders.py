"""Random and mutated bytes at everything that decodes: only the documented errors come out, whatever goes in.

The samples are real: what two people's clients really said to each other, mutated at random places. What `crypto` takes
in is attacked further, guided by coverage and with the keys of a hostile member, in `tests/fuzzing`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client_lib import content as mimi
from client_lib.errors import ContentError
from crypto import public
from crypto.attachments import AttachmentOpener, AttachmentSealer
from crypto.errors import CryptoError
from crypto.identity.accounts import DeviceCertificate, DeviceChain, SigningKeyCertificate, verify_chain
from crypto.identity.chat_policy import POLICY_EXTENSION, ChatKind, founding_policy, policy_in
from crypto.identity.device_list import DeviceList, verify_device_list
from crypto.identity.epoch_statements import EpochStatement, state_epoch
from crypto.identity.link_codes import format_link_code, parse_link_code, parse_link_scan
from crypto.identity.linking import (
    LinkContents,
    LinkOffer,
    LinkPackage,
    certify_link,
    confirm_scanned,
    generate_link_offer,
    open_link_package,
    read_link_offer,
)
from crypto.identity.organisation import Argon2Cost, OrganisationKeyFile, read_key_file, seal_key_file
from crypto.identity.revocations import RevocationStatement
from crypto.identity.roles import ROLE_EXTENSION, RoleChain, role_of_leaf
from crypto.identity.safety_number import compare_safety_code, safety_code
from crypto.mls import snapshot
from crypto.mls.credentials import BasicCredential
from crypto.mls.extensions import Extension
from crypto.mls.group import GroupConfig, external_join, join, verify_group_info
from crypto.mls.mls_message import decode_message, encode_message
from crypto.mls.tree_nodes import RatchetTreeNodes
from crypto.mls.verified_key_package import verify_key_package
from crypto.profile import (
    Answer,
    FieldAnswer,
    FieldRequest,
    GrantBook,
    Person,
    ProfileManifest,
    RequestedField,
    SealedField,
    decode_profile_keys,
    decode_profile_message,
    encode_profile_keys,
    encode_profile_message,
    make_grants,
    open_own_profile,
    verify_manifest,
)
from crypto.secret import Secret
from crypto.wire import decode, decode_as, encode, encode_as
from protocol import api, frames
from protocol.invitations import format_invitation, parse_invitation
from tests.client_lib.engine import world
from tests.client_lib.engine.world import NOW_MS, Relay, settle
from tests.crypto import identities, organisations
from tests.crypto.profiles import Owner, owner, scan

NOW = NOW_MS // 1000
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError)
"""What msgspec raises for bytes that are not what was asked for; both sides of the stream catch the two."""


@dataclass(frozen=True)
class Decoder:
    """Something that takes bytes from outside, a real sample for it, and the errors that it may raise."""

    name: str
    decode: Callable[[bytes], Any]
    sample: bytes
    errors: tuple[type[Exception], ...] = (CryptoError,)


@cache
def decoders() -> dict[str, Decoder]:
    relay = Relay()
    alice, bob = world.Person(relay, 1), world.Person(relay, 2)
    chat = alice.create_chat("private", bob)
    settle(alice, bob)
    group = bob.engine.chats[chat].group  # before the two messages below
    assert group is not None
    alice.say(chat, "a sample of real content")
    alice.apply(alice.engine.change_members(chat, bytes(16), (), (), NOW_MS))
    settle(alice, bob)
    log = relay.chats[chat].log
    application, commit_message = log[-2].message, log[-1].message
    own = next(iter(bob.engine.unpublished_key_packages))
    package, identity = encode_message(own.bundle.key_package), bob.identity
    certificate = identity.device_certificate
    content = next(stored.content for stored in bob.history(chat))
    rows = snapshot.rows(group)
    bundles = {bundle.bundle.reference: bundle.bundle for bundle in bob.engine.unpublished_key_packages}
    welcome = _welcome(relay, alice, bob)
    account = relay.accounts[bob.account_id]

    def load_with(name: str) -> Callable[[bytes], Any]:
        return lambda data: snapshot.load(rows | {name: data}, bob.identity.device_key)

    key_file = seal_key_file(organisations.ORGANISATION, "a passphrase", bytes(16), Argon2Cost(1, 1, 8))
    role, statement = encode(organisations.worker_chain()), encode(organisations.revocations("a", "b").statement)
    desk, worker_id = organisations.ORGANISATION.public, organisations.WORKER.account_id
    current, roles_now = organisations.revocations(), identities.NOW
    key = Secret(bytes(32))
    sealer = AttachmentSealer(key)
    sealed = sealer.seal(b"the whole file", last=True)
    client_frames = msgspec.msgpack.encode([frames.Send(bytes(16), chat, application)])
    server_frames = msgspec.msgpack.encode([log[1]])
    json_account = msgspec.json.encode(account)
    open_group = snapshot.load(rows, bob.identity.device_key, GroupConfig(accept_external_commits=True))
    joining = external_join(
        verify_group_info(group.group_info(), now=NOW), BasicCredential(b"joiner"), group.suite.signature.generate()
    )
    policy = founding_policy(ChatKind.GROUP, bytes(20), [bytes([1]) * 20])
    known = [
        Decoder("MLSMessage, private", decode_message, application),
        Decoder("MLSMessage, commit", decode_message, commit_message),
        Decoder("MLSMessage, Welcome", decode_message, welcome),
        Decoder("MLSMessage, key package", decode_message, package),
        Decoder("ratchet tree", lambda data: decode_as(RatchetTreeNodes, data), _tree(group)),
        Decoder("SigningKeyCertificate", _struct(SigningKeyCertificate), encode(identity.signing_key_certificate)),
        Decoder("DeviceCertificate", _struct(DeviceCertificate), encode(certificate)),
        Decoder("DeviceList", _struct(DeviceList), encode(identity.device_list)),
        Decoder("DeviceChain", _struct(DeviceChain), identity.credential.identity),
        Decoder("verify_chain", verify_chain, identity.credential.identity),
        Decoder("RoleChain", _struct(RoleChain), role),
        Decoder("ChatPolicy", lambda data: policy_in((Extension(POLICY_EXTENSION, data),)), encode(policy)),
        Decoder("EpochStatement", _struct(EpochStatement), encode(state_epoch(identity.device_key, b"chat", 1, b"it"))),
        Decoder(
            "safety code",
            lambda data: compare_safety_code(data, bytes(32), bytes([1]) * 32),
            safety_code(bytes([1]) * 32, bytes(32)),
        ),
        Decoder("RevocationStatement", _struct(RevocationStatement), statement),
        Decoder("OrganisationKeyFile", _struct(OrganisationKeyFile), key_file),
        Decoder("read_key_file", read_key_file, key_file),
        Decoder("public.verify_role", lambda data: public.verify_role(data, desk, worker_id, current, roles_now), role),
        Decoder(
            "public.verify_revocations", lambda data: public.verify_revocations(data, desk, None, roles_now), statement
        ),
        Decoder(
            "role_of_leaf",
            lambda data: role_of_leaf((Extension(ROLE_EXTENSION, data),), desk, worker_id, current, roles_now),
            role,
        ),
        Decoder("public.parse_message_header", public.parse_message_header, application),
        Decoder("public.parse_welcome", public.parse_welcome, welcome),
        Decoder("public.parse_device_certificate", public.parse_device_certificate, encode(certificate)),
        Decoder("public.verify_key_package", lambda data: public.verify_key_package(data, certificate, NOW), package),
        Decoder(
            "public.verify_account",
            lambda data: public.verify_account(data, account.device_certificates, account.device_list),
            account.signing_key_certificate,
        ),
        Decoder("verify_key_package", lambda data: verify_key_package(data, NOW), package),
        Decoder("join", lambda data: join(data, bundles, bob.identity.device_key, now=NOW), welcome),
        Decoder("verify_group_info", lambda data: verify_group_info(data, now=NOW), group.group_info()),
        Decoder("Group.receive, external commit", lambda data: open_group.receive(data, NOW), joining.message),
        Decoder("Group.receive, message", lambda data: group.receive(data, NOW), application),
        Decoder("Group.receive, commit", lambda data: group.receive(data, NOW), commit_message),
        *(Decoder(f"snapshot row {name}", load_with(name), row) for name, row in rows.items()),
        Decoder("snapshot bundle", snapshot.decode_bundle, snapshot.encode_bundle(own.bundle)),
        Decoder("MIMI content", mimi.decode, content, (ContentError,)),
        Decoder("attachment", lambda data: AttachmentOpener(key, sealer.content_hash).open(data, last=True), sealed),
        Decoder("client frames", _msgpack(frames.ClientFrames), client_frames, UNREADABLE),
        Decoder("server frames", _msgpack(frames.ServerFrames), server_frames, UNREADABLE),
        Decoder("JSON account", _json(api.Account), json_account, UNREADABLE),
        Decoder(
            "invitation",
            lambda data: parse_invitation(data.decode("latin-1")),
            format_invitation(bytes(range(16))).encode(),
            (ValueError,),
        ),
        *_profile_decoders(),
    ]
    known += _linking(bob)
    return {decoder.name: decoder for decoder in known}


def _linking(bob: world.Person) -> list[Decoder]:
    """What passes between two devices of which one is linked, by screen and by server."""
    identity, url = bob.identity, bob.identity.server_url
    pending = generate_link_offer(url, NOW)
    offer, code = encode(pending.offer), pending.code
    scan = parse_link_scan(pending.qr_text, url)
    devices = verify_device_list(identity.device_list, identity.signing_key_certificate, previous=None)
    contents = LinkContents(Secret(b"profile"), Secret(b"contacts"))
    confirmed = confirm_scanned(read_link_offer(offer, code, url, NOW), scan)
    made = certify_link(confirmed, identity.signing_key, devices, contents, NOW)
    package = LinkPackage(
        proof=pending.pairing.proof,
        signing_seed=identity.signing_key.private,
        signing_key_certificate=made.device_list.certificate,
        device_certificate=made.device_certificate,
        device_list=made.device_list.device_list,
        profile_keys=contents.profile_keys,
        contacts=contents.contacts,
        history=None,
        padding=bytes(8),
    )
    return [
        Decoder("LinkOffer", _struct(LinkOffer), offer),
        Decoder("read_link_offer", lambda data: read_link_offer(data, code, url, NOW), offer),
        Decoder("LinkPackage", _struct(LinkPackage), encode(package)),
        Decoder("open_link_package", lambda data: open_link_package(pending, data, NOW), made.sealed_package),
        Decoder("link code", lambda data: parse_link_code(data.decode("latin-1")), format_link_code(code).encode()),
        Decoder("link QR code", lambda data: parse_link_scan(data.decode("latin-1"), url), pending.qr_text.encode()),
    ]


def _profile_decoders() -> list[Decoder]:
    alice = owner("alice")
    alice.set("Passport number", "C01X00T47")
    alice.set("Passport", scan())
    name, field = "Passport number", alice.sealed("Passport number")
    book = GrantBook().add(alice.keys.field(name), Person(bytes(20)), frozenset({bytes(20)}), NOW)
    request = FieldRequest(bytes(16), bytes(20), b"for your contract", (RequestedField(b"A", scan().type),))
    said = {
        "grants": make_grants(alice.keys, alice.newest, [name, "Passport"]),
        "request": request,
        "answer": FieldAnswer(bytes(16), (Answer.YES,)),
    }
    return [
        Decoder(
            "verify_manifest",
            lambda data: verify_manifest(decode(ProfileManifest, data), alice.signing_key, alice.manifest),
            encode(alice.newest.manifest),
        ),
        Decoder("open_own_profile", lambda data: _open_profile(alice, decode(SealedField, data)), encode(field)),
        Decoder(
            "profile keys", lambda data: decode_profile_keys(Secret(data)), encode_profile_keys(alice.keys).reveal()
        ),
        Decoder("grant book", _struct(GrantBook), encode(book)),
        *(
            Decoder(f"profile message, {kind}", decode_profile_message, encode_profile_message(message).reveal())
            for kind, message in said.items()
        ),
    ]


def _open_profile(alice: Owner, field: SealedField) -> None:
    open_own_profile(alice.keys, alice.newest, [field, alice.sealed("Passport")])


def _welcome(relay: Relay, alice: world.Person, bob: world.Person) -> bytes:
    """A Welcome to bob that nobody has used yet."""
    alice.create_chat("group", bob)
    while alice.outgoing or alice.incoming:
        if alice.outgoing:
            alice.transmit()
        if alice.incoming:
            alice.process()
    (item,) = relay.inbox[bob.device_id].values()
    return item.message


def _tree(group: Any) -> bytes:
    return encode_as(RatchetTreeNodes, group.state.tree.export())


def _struct(cls: type) -> Callable[[bytes], Any]:
    return lambda data: decode(cls, data)


def _msgpack(kind: Any) -> Callable[[bytes], Any]:
    return msgspec.msgpack.Decoder(kind).decode


def _json(kind: Any) -> Callable[[bytes], Any]:
    return msgspec.json.Decoder(kind).decode


NAMES = sorted(decoders())


@st.composite
def mutated(draw: st.DrawFn, sample: bytes) -> bytes:
    """The sample with a few bytes changed, cut, doubled or put in; or something else altogether."""
    data = bytearray(sample)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.sampled_from(["flip", "set", "cut", "insert", "truncate", "append", "noise"])):
            case "flip" if data:
                data[place] ^= 1 << draw(st.integers(0, 7))
            case "set" if data:
                data[place] = draw(st.sampled_from([0, 1, 0x3F, 0x40, 0x7F, 0x80, 0xBF, 0xC0, 0xFF]))
            case "cut":
                del data[place : place + draw(st.integers(1, 64))]
            case "insert":
                data[place:place] = draw(st.binary(min_size=1, max_size=16))
            case "truncate":
                del data[place:]
            case "append":
                data += draw(st.binary(min_size=1, max_size=16))
            case _:
                return draw(st.binary(max_size=200))
    return bytes(data)


@pytest.mark.parametrize("name", NAMES)
def test_the_sample_itself_is_good(name: str) -> None:
    """A mutation says something only if the sample is accepted."""
    decoder = decoders()[name]
    decoder.decode(decoder.sample)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_bad_bytes_raise_only_documented_errors(name: str, data: st.DataObject) -> None:
    decoder = decoders()[name]
    with contextlib.suppress(*decoder.errors):
        decoder.decode(data.draw(mutated(decoder.sample)))
