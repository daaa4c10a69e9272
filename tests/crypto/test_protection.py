"""Protecting messages: the official vectors both ways, and rules F4 to F13, F22 and R1 to R9 broken one at a time."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

import pytest

from crypto import wire
from crypto.errors import (
    AuthenticationError,
    DecodeError,
    GenerationTooFar,
    GenerationUsed,
    RuleViolation,
    UsageError,
)
from crypto.mls.framing import (
    AnyContent,
    AnySender,
    ApplicationContent,
    AuthenticatedContent,
    CommitAuth,
    ContentAuth,
    ContentType,
    ExternalSenderIndex,
    FramedContent,
    MemberSender,
    NewMemberCommitSender,
    NewMemberProposalSender,
    PrivateContentAAD,
    PrivateMessage,
    ProposalContent,
    PublicMessage,
    SenderData,
    SenderDataAAD,
    WireFormat,
    content_type,
    decode_message,
    encode_message,
)
from crypto.mls.key_schedule import GroupContext
from crypto.mls.proposals import Add, Commit, Proposal, Remove
from crypto.mls.protection import (
    generate_reuse_guard,
    open_private,
    open_sender_data,
    private_content_size,
    protect_private,
    protect_public,
    seal_private,
    sender_data_key_nonce,
    sign_content,
    unprotect_public,
    verify_signature,
    with_confirmation_tag,
)
from crypto.mls.secret_tree import SKIP_MAX, Generation, RatchetKind, SecretTree
from crypto.mls.tree_nodes import LeafIndex, ProtocolVersion
from crypto.secret import Secret
from crypto.suites import SUITES, CipherSuite, SignatureKeyPair, suite
from tests.vectors import Case, cases, each

EVERY_SUITE = pytest.mark.parametrize("chosen", SUITES.values(), ids=[str(suite_id) for suite_id in SUITES])
NOT_AUTHENTIC = r"^the message is not authentic$"
SENDER = LeafIndex(1)
MEMBER = MemberSender(SENDER)
CONFIRMATION_TAG = b"confirmation tag"
APPLICATION, REMOVE, COMMIT = ApplicationContent(b"application data"), ProposalContent(Remove(3)), Commit((), None)
EVERY_CONTENT = pytest.mark.parametrize(
    "content", [APPLICATION, REMOVE, COMMIT], ids=["application", "proposal", "commit"]
)
HANDSHAKES = pytest.mark.parametrize("content", [REMOVE, COMMIT], ids=["proposal", "commit"])


@dataclass(frozen=True)
class World:
    """What the members of a group of four share in an epoch, and the signature keys of two of them."""

    suite: CipherSuite
    signer: SignatureKeyPair
    other_signer: SignatureKeyPair
    tree: SecretTree
    sender_data_secret: Secret
    membership_key: Secret
    context: bytes

    def signed(
        self,
        content: AnyContent,
        wire_format: WireFormat = WireFormat.PRIVATE_MESSAGE,
        sender: AnySender = MEMBER,
        signer: SignatureKeyPair | None = None,
    ) -> AuthenticatedContent:
        framed = FramedContent(b"group", 7, sender, b"authenticated data", content)
        signed = sign_content(self.suite, signer or self.signer, wire_format, framed, self.context)
        return with_confirmation_tag(signed, CONFIRMATION_TAG) if isinstance(content, Commit) else signed

    def private(self, content: AnyContent, padded_size: int = 256) -> tuple[SecretTree, PrivateMessage]:
        signed = self.signed(content)
        return protect_private(self.suite, signed, self.tree, self.sender_data_secret, padded_size=padded_size)

    def public(self, content: AnyContent, sender: AnySender = MEMBER) -> PublicMessage:
        signed = self.signed(content, WireFormat.PUBLIC_MESSAGE, sender)
        return protect_public(self.suite, signed, self.context, self.membership_key)

    def unprotect(
        self, message: PrivateMessage, tree: SecretTree | None = None
    ) -> tuple[SecretTree, AuthenticatedContent]:
        """All three gates: the group's keys, then the signature of the sender."""
        sender_data = open_sender_data(self.suite, message, self.sender_data_secret)
        after, opened = open_private(self.suite, message, sender_data, tree or self.tree)
        verify_signature(self.suite, opened, self.signer.public, self.context)
        return after, opened

    def unprotect_public(self, message: PublicMessage) -> AuthenticatedContent:
        opened = unprotect_public(self.suite, message, self.context, self.membership_key)
        verify_signature(self.suite, opened, self.signer.public, self.context)
        return opened

    def sealed_by_hand(
        self,
        plaintext: bytes,
        kind: ContentType = ContentType.APPLICATION,
        *,
        ratchet: RatchetKind = RatchetKind.APPLICATION,
        generation: int = 0,
        sender_data: bytes | None = None,
        sender_data_aad: SenderDataAAD | None = None,
    ) -> PrivateMessage:
        """What a member can make who keeps to no rule: any plaintext and sender data, under the right keys."""
        _, key = self.tree.key_for(SENDER, ratchet, Generation(generation))
        aad = wire.encode(PrivateContentAAD(b"group", 7, kind, b"authenticated data"))
        ciphertext = self.suite.aead_seal(key.key, key.nonce.reveal(), aad, plaintext)
        data_key, nonce = sender_data_key_nonce(self.suite, self.sender_data_secret, ciphertext)
        if sender_data is None:
            sender_data = wire.encode(SenderData(SENDER, generation, bytes(4)))
        data_aad = wire.encode(sender_data_aad or SenderDataAAD(b"group", 7, kind))
        sealed = self.suite.aead_seal(data_key, nonce, data_aad, sender_data)
        return PrivateMessage(b"group", 7, kind, b"authenticated data", sealed, ciphertext)

    def plaintext(self, content: AnyContent) -> bytes:
        signed = self.signed(content)
        return wire.encode(signed.content.content) + wire.encode(signed.auth)

    def refuses(self, message: PrivateMessage, error: type[Exception], rule: str | None = None) -> None:
        """Nothing is wrong with `message` but one thing, and refusing it uses up no key."""
        rows = self.tree.rows()
        with pytest.raises(error) as raised:
            self.unprotect(message)
        assert raised.type is error
        assert getattr(raised.value, "rule", None) == rule
        assert self.tree.rows() == rows
        after, message = self.private(APPLICATION)
        assert self.unprotect(message)[0] == after  # the real message of that generation still opens


def world_of(chosen: CipherSuite) -> World:
    signer, other = chosen.signature.generate(), chosen.signature.generate()
    tree = SecretTree(chosen, 4, chosen.generate_secret())
    context = GroupContext(ProtocolVersion.MLS10, chosen.id, b"group", 7, b"tree", b"transcript", ())
    secrets = chosen.generate_secret(), chosen.generate_secret()
    return World(chosen, signer, other, tree, *secrets, wire.encode(context))


@pytest.fixture(params=SUITES.values(), ids=[str(suite_id) for suite_id in SUITES])
def world(request: pytest.FixtureRequest) -> World:
    return world_of(request.param)


def flips(data: bytes) -> list[bytes]:
    """`data` with each byte changed in turn."""
    return [data[:place] + bytes([byte ^ 1]) + data[place + 1 :] for place, byte in enumerate(data)]


# The official vectors, both ways


def _published(case: Case) -> tuple[World, dict[str, AnyContent]]:
    chosen = suite(case["cipher_suite"])

    def read(name: str) -> bytes:
        return bytes.fromhex(case[name])

    hashes = read("tree_hash"), read("confirmed_transcript_hash")
    context = GroupContext(ProtocolVersion.MLS10, chosen.id, read("group_id"), case["epoch"], *hashes, ())
    signer = SignatureKeyPair(Secret(read("signature_priv")), read("signature_pub"))
    tree = SecretTree(chosen, 2, Secret(read("encryption_secret")))
    secrets = Secret(read("sender_data_secret")), Secret(read("membership_key"))
    world = World(chosen, signer, signer, tree, *secrets, wire.encode(context))
    return world, {
        "application": ApplicationContent(read("application")),
        "proposal": ProposalContent(wire.decode_as(Proposal, read("proposal"))),
        "commit": wire.decode(Commit, read("commit")),
    }


@each("mls/message-protection.json")
@pytest.mark.parametrize("name", ["application", "proposal", "commit"])
def test_published_private_messages(case: Case, name: str) -> None:
    world, contents = _published(case)
    theirs = decode_message(bytes.fromhex(case[f"{name}_priv"])).body
    assert isinstance(theirs, PrivateMessage)
    assert (theirs.group_id.hex(), theirs.epoch) == (case["group_id"], case["epoch"])
    _, opened = world.unprotect(theirs)
    assert opened.content.content == contents[name]
    assert opened.content.sender == MemberSender(SENDER)

    framed = replace(opened.content, authenticated_data=b"ours")
    signed = sign_content(world.suite, world.signer, WireFormat.PRIVATE_MESSAGE, framed, world.context)
    if name == "commit":
        signed = with_confirmation_tag(signed, CONFIRMATION_TAG)
    sent, ours = protect_private(world.suite, signed, world.tree, world.sender_data_secret, padded_size=0)
    received, opened = world.unprotect(ours)
    assert (received, opened) == (sent, signed)


@each("mls/message-protection.json")
@pytest.mark.parametrize("name", ["proposal", "commit"])
def test_published_public_messages(case: Case, name: str) -> None:
    world, contents = _published(case)
    theirs = decode_message(bytes.fromhex(case[f"{name}_pub"])).body
    assert isinstance(theirs, PublicMessage)
    opened = world.unprotect_public(theirs)
    assert opened.content.content == contents[name]
    assert opened.content.sender == MemberSender(SENDER)

    signed = sign_content(world.suite, world.signer, WireFormat.PUBLIC_MESSAGE, opened.content, world.context)
    if isinstance(opened.auth, CommitAuth):
        signed = with_confirmation_tag(signed, opened.auth.confirmation_tag)
    ours = protect_public(world.suite, signed, world.context, world.membership_key)
    assert world.unprotect_public(ours) == signed
    if world.suite.signature.name == "Ed25519":  # deterministic, so ours is theirs to the byte
        assert encode_message(ours).hex() == case[f"{name}_pub"]


def test_published_application_data_cannot_be_public() -> None:
    tried = 0
    for case in cases("mls/message-protection.json"):
        if case["cipher_suite"] in SUITES:
            world, contents = _published(case)
            with pytest.raises(RuleViolation, match="F5"):
                world.public(contents["application"])
            tried += 1
    assert tried == 7


# What is protected comes back


@EVERY_CONTENT
def test_a_private_message_comes_back(world: World, content: AnyContent) -> None:
    sent, message = world.private(content)
    decoded = decode_message(encode_message(message)).body
    assert decoded == message
    assert isinstance(decoded, PrivateMessage)
    received, opened = world.unprotect(decoded)
    assert received == sent != world.tree
    assert opened == replace(world.signed(content), auth=opened.auth)


@HANDSHAKES
def test_a_public_message_comes_back(world: World, content: AnyContent) -> None:
    message = world.public(content)
    decoded = decode_message(encode_message(message)).body
    assert decoded == message
    opened = world.unprotect_public(message)
    assert opened == AuthenticatedContent(WireFormat.PUBLIC_MESSAGE, message.content, message.auth)
    assert len(message.membership_tag or b"") == world.suite.hash_size


@pytest.mark.parametrize("padded_size", [0, 1, 200, 256, 1000, 5000])
def test_padding_fills_up_to_the_size_and_larger_content_stays(world: World, padded_size: int) -> None:
    signed = world.signed(APPLICATION)
    size = private_content_size(signed)
    assert size == len(wire.encode(APPLICATION)) + len(wire.encode(signed.auth))
    sent = protect_private(world.suite, signed, world.tree, world.sender_data_secret, padded_size=padded_size)
    assert len(sent[1].ciphertext) == max(size, padded_size) + 16
    assert world.unprotect(sent[1])[1] == signed


def test_a_given_reuse_guard_makes_a_given_message(world: World) -> None:
    signed, guard = world.signed(APPLICATION), b"\x01\x20\x03\xff"
    arguments: Any = (world.suite, signed, world.tree, world.sender_data_secret)
    _, message = seal_private(*arguments, padded_size=300, reuse_guard=guard)
    assert seal_private(*arguments, padded_size=300, reuse_guard=guard)[1] == message

    _, key = world.tree.key_for(SENDER, RatchetKind.APPLICATION, Generation(0))
    nonce = key.nonce.reveal()
    guarded = bytes(a ^ b for a, b in zip(nonce, guard + bytes(8), strict=True))
    aad = wire.encode(PrivateContentAAD(b"group", 7, ContentType.APPLICATION, b"authenticated data"))
    plaintext = world.suite.aead_open(key.key, guarded, aad, message.ciphertext)
    assert plaintext == (wire.encode(APPLICATION) + wire.encode(signed.auth)).ljust(300, b"\0")
    assert open_sender_data(world.suite, message, world.sender_data_secret) == SenderData(SENDER, 0, guard)


# F5, F7, F8, F13: public messages


def _maced(world: World, signed: AuthenticatedContent) -> PublicMessage:
    """A PublicMessage with a right membership tag, whatever it holds (§6.2)."""
    covered = b"\x00\x01\x00\x01" + wire.encode(signed.content) + world.context + wire.encode(signed.auth)
    return PublicMessage(signed.content, signed.auth, world.suite.mac(world.membership_key, covered))


def refuses_public(world: World, message: PublicMessage, error: type[Exception], rule: str | None = None) -> None:
    with pytest.raises(error) as raised:
        unprotect_public(world.suite, message, world.context, world.membership_key)
    assert raised.type is error
    assert getattr(raised.value, "rule", None) == rule


@HANDSHAKES
def test_our_hand_made_public_message_is_right(world: World, content: AnyContent) -> None:
    signed = world.signed(content, WireFormat.PUBLIC_MESSAGE)
    assert world.unprotect_public(_maced(world, signed)) == signed


def test_f5_application_data_in_a_public_message_is_refused(world: World) -> None:
    signed = world.signed(APPLICATION, WireFormat.PUBLIC_MESSAGE)
    refuses_public(world, _maced(world, signed), RuleViolation, "F5")
    with pytest.raises(RuleViolation, match="F5"):
        protect_public(world.suite, signed, world.context, world.membership_key)


def test_f7_a_membership_tag_is_there_for_members_only(world: World) -> None:
    refuses_public(world, replace(world.public(REMOVE), membership_tag=None), RuleViolation, "F7")
    external = world.public(REMOVE, ExternalSenderIndex(0))
    assert external.membership_tag is None
    refuses_public(world, replace(external, membership_tag=bytes(world.suite.hash_size)), RuleViolation, "F7")


@HANDSHAKES
def test_f8_a_membership_tag_counts_only_whole(world: World, content: AnyContent) -> None:
    message = world.public(content)
    tag = message.membership_tag
    assert tag is not None
    for wrong in [*flips(tag), *(tag[:size] for size in range(len(tag))), tag + b"\0", bytes(len(tag))]:
        refuses_public(world, replace(message, membership_tag=wrong), AuthenticationError)


def test_f8_a_membership_tag_covers_content_proofs_and_context(world: World) -> None:
    message = world.public(COMMIT)
    assert isinstance(message.auth, CommitAuth)
    for changed in (
        replace(message, content=replace(message.content, epoch=8)),
        replace(message, content=replace(message.content, authenticated_data=b"")),
        replace(message, content=replace(message.content, sender=MemberSender(2))),
        replace(message, auth=CommitAuth(message.auth.signature + b"\0", CONFIRMATION_TAG)),
        replace(message, auth=CommitAuth(message.auth.signature, b"another tag")),
    ):
        refuses_public(world, changed, AuthenticationError)
    refuses_public(replace(world, context=world.context[:-1] + b"\1"), message, AuthenticationError)
    refuses_public(replace(world, membership_key=world.suite.zero_secret), message, AuthenticationError)


def _add() -> ProposalContent:
    return ProposalContent(wire.decode(Add, bytes.fromhex(cases("mls/messages.json")[0]["add_proposal"])))


SENDERS: list[AnySender] = [
    MEMBER,
    ExternalSenderIndex(0),
    NewMemberProposalSender(),
    NewMemberCommitSender(),
]


@pytest.mark.parametrize("sender", SENDERS, ids=lambda sender: type(sender).__name__)
@pytest.mark.parametrize("kind", ["application", "remove", "add", "commit"])
def test_f13_the_matrix_of_senders_and_contents(sender: AnySender, kind: str) -> None:
    world = world_of(SUITES[1])
    contents: dict[str, AnyContent] = {"application": APPLICATION, "remove": REMOVE, "commit": COMMIT}
    content = _add() if kind == "add" else contents[kind]
    allowed = {
        MemberSender: {"remove", "add", "commit"},
        ExternalSenderIndex: {"remove", "add"},
        NewMemberProposalSender: {"add"},
        NewMemberCommitSender: {"commit"},
    }
    signed = world.signed(content, WireFormat.PUBLIC_MESSAGE, sender)
    by_hand = (
        _maced(world, signed) if isinstance(sender, MemberSender) else PublicMessage(signed.content, signed.auth, None)
    )
    if kind in allowed[type(sender)]:
        assert world.unprotect_public(by_hand) == signed
        assert protect_public(world.suite, signed, world.context, world.membership_key) == by_hand
    else:
        rule = "F5" if kind == "application" else "F13"
        refuses_public(world, by_hand, RuleViolation, rule)
        with pytest.raises(RuleViolation, match=rule):
            protect_public(world.suite, signed, world.context, world.membership_key)


# F10: signatures


@pytest.mark.parametrize("wire_format", [WireFormat.PUBLIC_MESSAGE, WireFormat.PRIVATE_MESSAGE])
@HANDSHAKES
def test_f10_a_signature_holds_for_one_key_context_and_message(
    world: World, content: AnyContent, wire_format: WireFormat
) -> None:
    signed = world.signed(content, wire_format)
    verify_signature(world.suite, signed, world.signer.public, world.context)
    other_format = WireFormat(3 - wire_format)
    other_label = replace(signed, auth=ContentAuth(world.suite.sign_with_label(
        world.signer, "FramedContentTBM",
        b"\x00\x01" + wire_format.to_bytes(2, "big") + wire.encode(signed.content) + world.context,
    )))  # fmt: skip
    other_context = wire.decode(GroupContext, world.context)
    wrong: list[tuple[AuthenticatedContent, bytes, bytes]] = [
        (signed, world.other_signer.public, world.context),
        (signed, world.signer.public, wire.encode(replace(other_context, group_id=b"grouq"))),
        (signed, world.signer.public, wire.encode(replace(other_context, epoch=8))),
        (signed, world.signer.public, wire.encode(replace(other_context, tree_hash=b"another"))),
        (signed, world.signer.public, b""),
        (other_label, world.signer.public, world.context),
        (replace(signed, wire_format=other_format), world.signer.public, world.context),
        (world.signed(content, wire_format, signer=world.other_signer), world.signer.public, world.context),
        (replace(signed, auth=ContentAuth(b"")), world.signer.public, world.context),
        *[
            (replace(signed, content=replace(signed.content, **change)), world.signer.public, world.context)
            for change in (
                {"group_id": b"grouq"},
                {"epoch": 8},
                {"sender": MemberSender(2)},
                {"sender": NewMemberCommitSender()},
                {"authenticated_data": b""},
                {"content": ProposalContent(Remove(4))},
            )
        ],
    ]
    for changed, key, context in wrong:
        with pytest.raises(AuthenticationError, match=NOT_AUTHENTIC):
            verify_signature(world.suite, changed, key, context)


@pytest.mark.parametrize("sender", SENDERS, ids=lambda sender: type(sender).__name__)
def test_f10_members_and_joiners_sign_the_group_context_and_outsiders_do_not(sender: AnySender) -> None:
    world = world_of(SUITES[1])
    framed = FramedContent(b"group", 7, sender, b"", COMMIT)
    signed = sign_content(world.suite, world.signer, WireFormat.PUBLIC_MESSAGE, framed, world.context)
    if isinstance(sender, MemberSender | NewMemberCommitSender):
        with pytest.raises(AuthenticationError):
            verify_signature(world.suite, signed, world.signer.public, b"another context")
        with pytest.raises(UsageError, match="covers the group context"):
            verify_signature(world.suite, signed, world.signer.public, None)
        with pytest.raises(UsageError, match="covers the group context"):
            sign_content(world.suite, world.signer, WireFormat.PUBLIC_MESSAGE, framed, None)
    else:
        for context in (None, b"another context"):
            verify_signature(world.suite, signed, world.signer.public, context)
            assert sign_content(world.suite, world.signer, WireFormat.PUBLIC_MESSAGE, framed, context) == signed


# F6, F22, R9: every part of a private message is authenticated


def test_our_hand_made_private_message_is_right(world: World) -> None:
    plaintext = world.plaintext(APPLICATION)
    assert world.unprotect(world.sealed_by_hand(plaintext))[1].content.content == APPLICATION
    plaintext = world.plaintext(COMMIT) + bytes(9)
    message = world.sealed_by_hand(plaintext, ContentType.COMMIT, ratchet=RatchetKind.HANDSHAKE, generation=3)
    assert world.unprotect(message)[1].content.content == COMMIT


def test_f6_a_change_anywhere_is_refused(world: World) -> None:
    _, message = world.private(APPLICATION, padded_size=0)
    changes: list[dict[str, Any]] = [
        {"group_id": b"grouq"},
        {"group_id": b""},
        {"epoch": 8},
        {"epoch": 0},
        {"authenticated_data": b""},
        {"authenticated_data": message.authenticated_data + b"\0"},
        *({"encrypted_sender_data": changed} for changed in flips(message.encrypted_sender_data)),
        *({"encrypted_sender_data": message.encrypted_sender_data[:size]} for size in range(28)),
        {"encrypted_sender_data": message.encrypted_sender_data + b"\0"},
        *({"ciphertext": changed} for changed in flips(message.ciphertext)),
        *({"ciphertext": message.ciphertext[:size]} for size in (0, 1, 15, 16, 17, 31, 33, 60)),
        {"ciphertext": message.ciphertext + b"\0"},
    ]
    assert len(message.encrypted_sender_data) == 12 + 16
    rows = world.tree.rows()
    for change in changes:
        with pytest.raises(AuthenticationError, match=NOT_AUTHENTIC):
            world.unprotect(replace(message, **change))
    assert world.tree.rows() == rows
    world.unprotect(message)


def test_f6_other_secrets_open_nothing(world: World) -> None:
    _, message = world.private(APPLICATION)
    other = world.suite.generate_secret()
    for wrong in (replace(world, sender_data_secret=other), replace(world, tree=SecretTree(world.suite, 4, other))):
        with pytest.raises(AuthenticationError, match=NOT_AUTHENTIC):
            wrong.unprotect(message)


def test_f22_sender_data_is_bound_to_group_epoch_and_content_type(world: World) -> None:
    plaintext = world.plaintext(APPLICATION)
    for wrong in (
        SenderDataAAD(b"grouq", 7, ContentType.APPLICATION),
        SenderDataAAD(b"group", 8, ContentType.APPLICATION),
        SenderDataAAD(b"group", 7, ContentType.COMMIT),
    ):
        world.refuses(world.sealed_by_hand(plaintext, sender_data_aad=wrong), AuthenticationError)


@pytest.mark.parametrize("size", [2, 3, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65])
def test_f22_the_sample_of_a_short_ciphertext_is_all_of_it(world: World, size: int) -> None:
    """No message with a signature is as short as KDF.Nh, so this one has an empty one, and fails on that alone."""
    message = world.sealed_by_hand(
        wire.encode(ApplicationContent(b"")) + wire.encode(ContentAuth(b"")) + bytes(size - 2)
    )
    assert len(message.ciphertext) == size + 16
    key, nonce = sender_data_key_nonce(world.suite, world.sender_data_secret, message.ciphertext)
    sample = message.ciphertext[: min(world.suite.hash_size, size + 16)]
    expand = world.suite.expand_with_label
    assert key == expand(world.sender_data_secret, "key", sample, world.suite.aead_key_size)
    assert Secret(nonce) == expand(world.sender_data_secret, "nonce", sample, 12)
    sender_data = open_sender_data(world.suite, message, world.sender_data_secret)
    assert sender_data == SenderData(SENDER, 0, bytes(4))
    _, opened = open_private(world.suite, message, sender_data, world.tree)
    assert opened.auth == ContentAuth(b"")
    world.refuses(message, AuthenticationError)


@EVERY_CONTENT
def test_r9_a_message_is_not_of_another_content_type(world: World, content: AnyContent) -> None:
    _, message = world.private(content)
    for kind in set(ContentType) - {content_type(content)}:
        world.refuses(replace(message, content_type=kind), AuthenticationError)


def test_r9_handshake_keys_open_no_application_data_and_the_other_way_round(world: World) -> None:
    plaintext = world.plaintext(APPLICATION)
    message = world.sealed_by_hand(plaintext, ratchet=RatchetKind.HANDSHAKE)
    world.refuses(message, AuthenticationError)
    plaintext = world.plaintext(REMOVE)
    message = world.sealed_by_hand(plaintext, ContentType.PROPOSAL, ratchet=RatchetKind.APPLICATION)
    world.refuses(message, AuthenticationError)


# F4, F9, F11, F12: what only a member can do wrong


@pytest.mark.parametrize("leaf", [4, 2**24, 2**32 - 1])
def test_f4_a_sender_outside_the_tree_is_refused(world: World, leaf: int) -> None:
    message = world.sealed_by_hand(world.plaintext(APPLICATION), sender_data=wire.encode(SenderData(leaf, 0, bytes(4))))
    world.refuses(message, RuleViolation, "F4")


def test_f12_another_members_index_does_not_open(world: World) -> None:
    for leaf in (0, 2, 3):
        sender_data = wire.encode(SenderData(leaf, 0, bytes(4)))
        world.refuses(world.sealed_by_hand(world.plaintext(APPLICATION), sender_data=sender_data), AuthenticationError)


@pytest.mark.parametrize("size", [0, 1, 11, 13, 40])
def test_f12_what_is_no_sender_data_is_refused(world: World, size: int) -> None:
    world.refuses(world.sealed_by_hand(world.plaintext(APPLICATION), sender_data=bytes(size)), DecodeError)


def test_f12_only_members_send_private_messages(world: World) -> None:
    for sender in SENDERS[1:]:
        signed = world.signed(COMMIT, sender=sender)
        with pytest.raises(UsageError, match="only members"):
            protect_private(world.suite, signed, world.tree, world.sender_data_secret, padded_size=0)


@EVERY_CONTENT
@pytest.mark.parametrize(
    "padding", [b"\1", b"\0\1", b"\1\0", bytes(99) + b"\1", b"\1" + bytes(99), bytes(50) + b"\x80" + bytes(49)]
)
def test_f11_padding_that_is_not_zero_is_refused(world: World, content: AnyContent, padding: bytes) -> None:
    kind = content_type(content)
    ratchet = RatchetKind.APPLICATION if kind is ContentType.APPLICATION else RatchetKind.HANDSHAKE
    message = world.sealed_by_hand(world.plaintext(content) + padding, kind, ratchet=ratchet)
    world.refuses(message, RuleViolation, "F11")


def test_f9_a_private_commit_without_and_a_proposal_with_a_tag_are_refused(world: World) -> None:
    handshake = RatchetKind.HANDSHAKE
    commit = world.plaintext(COMMIT).removesuffix(wire.encode_opaque(CONFIRMATION_TAG))
    world.refuses(world.sealed_by_hand(commit, ContentType.COMMIT, ratchet=handshake), DecodeError)
    proposal = world.plaintext(REMOVE) + wire.encode_opaque(CONFIRMATION_TAG)
    world.refuses(world.sealed_by_hand(proposal, ContentType.PROPOSAL, ratchet=handshake), RuleViolation, "F11")


def test_an_authentic_plaintext_that_is_no_content_is_refused(world: World) -> None:
    for plaintext in (b"", b"\xff", world.plaintext(APPLICATION)[:-1]):
        world.refuses(world.sealed_by_hand(plaintext), DecodeError)


# R1, R2, R5, R6


def test_r1_a_message_opens_once(world: World) -> None:
    _, message = world.private(APPLICATION)
    after, _ = world.unprotect(message)
    rows = after.rows()
    for tree in (after, SecretTree.of_rows(world.suite, 4, rows)):
        with pytest.raises(GenerationUsed):
            world.unprotect(message, tree)
    assert after.rows() == rows


def test_r2_a_generation_too_far_ahead_is_refused(world: World) -> None:
    sender_data = wire.encode(SenderData(SENDER, SKIP_MAX + 1, bytes(4)))
    world.refuses(world.sealed_by_hand(world.plaintext(APPLICATION), sender_data=sender_data), GenerationTooFar)


def test_r5_forgeries_use_up_no_key(world: World) -> None:
    outsider = replace(world, tree=SecretTree(world.suite, 4, world.suite.generate_secret()))
    world.refuses(outsider.sealed_by_hand(world.plaintext(APPLICATION)), AuthenticationError)
    insider = replace(world, signer=world.other_signer)  # knows every key of the group but the signature key
    forged = insider.sealed_by_hand(insider.plaintext(APPLICATION))
    sender_data = open_sender_data(world.suite, forged, world.sender_data_secret)
    open_private(world.suite, forged, sender_data, world.tree)  # opens; the signature is what fails
    world.refuses(forged, AuthenticationError)
    world.refuses(insider.private(APPLICATION)[1], AuthenticationError)


def _guards_of(world: World, count: int) -> list[bytes]:
    guards = []
    signed, tree = world.signed(APPLICATION), world.tree
    for _ in range(count):
        tree, message = protect_private(world.suite, signed, tree, world.sender_data_secret, padded_size=0)
        guards.append(open_sender_data(world.suite, message, world.sender_data_secret).reuse_guard)
    return guards


def test_r6_ten_thousand_messages_have_fresh_reuse_guards() -> None:
    guards = _guards_of(world_of(SUITES[1]), 10_000)
    assert len(set(guards)) > 9_990  # a pair of equal ones among 2**32 is to be expected now and then
    for place in range(4):
        assert len({guard[place] for guard in guards}) == 256


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_r6_a_forked_process_draws_other_reuse_guards() -> None:
    assert len(generate_reuse_guard()) == 4
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, b"".join(generate_reuse_guard() for _ in range(8)))
        os._exit(0)
    drawn = b"".join(generate_reuse_guard() for _ in range(8))
    os.waitpid(child, 0)
    theirs = os.read(reading, 64)
    os.close(reading)
    os.close(writing)
    assert len(theirs) == 32
    assert theirs != drawn


def test_the_same_message_twice_shares_neither_key_nor_guard(world: World) -> None:
    signed = world.signed(APPLICATION)
    tree, first = protect_private(world.suite, signed, world.tree, world.sender_data_secret, padded_size=0)
    _, second = protect_private(world.suite, signed, tree, world.sender_data_secret, padded_size=0)
    _, again = protect_private(world.suite, signed, world.tree, world.sender_data_secret, padded_size=0)
    assert len({first.ciphertext, second.ciphertext, again.ciphertext}) == 3


# What only our own code can get wrong


def test_a_message_travels_the_way_that_it_was_signed_for(world: World) -> None:
    with pytest.raises(UsageError, match="another wire format"):
        protect_public(world.suite, world.signed(REMOVE), world.context, world.membership_key)
    signed = world.signed(REMOVE, WireFormat.PUBLIC_MESSAGE)
    with pytest.raises(UsageError, match="another wire format"):
        protect_private(world.suite, signed, world.tree, world.sender_data_secret, padded_size=0)


def test_a_confirmation_tag_is_for_commits_and_each_has_one(world: World) -> None:
    with pytest.raises(UsageError, match="only a commit"):
        with_confirmation_tag(world.signed(REMOVE), CONFIRMATION_TAG)
    for content, auth in ((COMMIT, ContentAuth(b"signature")), (REMOVE, CommitAuth(b"signature", CONFIRMATION_TAG))):
        public = replace(world.signed(content, WireFormat.PUBLIC_MESSAGE), auth=auth)
        with pytest.raises(UsageError, match="confirmation tag"):
            protect_public(world.suite, public, world.context, world.membership_key)
        private = replace(world.signed(content), auth=auth)
        with pytest.raises(UsageError, match="confirmation tag"):
            protect_private(world.suite, private, world.tree, world.sender_data_secret, padded_size=0)


def test_a_members_public_message_needs_context_and_key(world: World) -> None:
    signed = world.signed(REMOVE, WireFormat.PUBLIC_MESSAGE)
    with pytest.raises(UsageError, match="membership key"):
        protect_public(world.suite, signed, world.context, None)
    with pytest.raises(UsageError, match="group context"):
        protect_public(world.suite, signed, None, world.membership_key)
    external = world.signed(REMOVE, WireFormat.PUBLIC_MESSAGE, ExternalSenderIndex(0))
    assert protect_public(world.suite, external, None, None).membership_tag is None
