"""Protecting messages: the official vectors both ways, and rules F4 to F13, F22 and R1 to R9 broken one at a time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crypto import wire
from crypto.errors import (
    AuthenticationError,
    RuleViolation,
    UsageError,
)
from crypto.mls import protection
from crypto.mls.framing import (
    AnyContent,
    ApplicationContent,
    AuthenticatedContent,
    CommitAuth,
    ContentAuth,
    FramedContent,
    PrivateContentAAD,
    PrivateMessage,
    ProposalContent,
    PublicMessage,
    SenderData,
)
from crypto.mls.headers import (
    AnySender,
    ContentType,
    ExternalSenderIndex,
    MemberSender,
    NewMemberCommitSender,
    NewMemberProposalSender,
    ProtocolVersion,
    WireFormat,
)
from crypto.mls.key_schedule import GroupContext
from crypto.mls.mls_message import decode_message, encode_message
from crypto.mls.padding import padded_size
from crypto.mls.proposals import Add, Commit, Proposal, Remove
from crypto.mls.protection import (
    open_sender_data,
    protect_private,
    protect_public,
    sign_framed_content,
    unprotect_public,
    verify_framed_content,
    with_confirmation_tag,
)
from crypto.mls.secret_tree import Generation, RatchetKind, SecretTree
from crypto.secret import Secret
from crypto.suites import SUITES, SignatureKeyPair, suite_of
from tests.crypto.matrix import without_group
from tests.crypto.protection_world import (
    APPLICATION,
    COMMIT,
    CONFIRMATION_TAG,
    EVERY_CONTENT,
    HANDSHAKES,
    NOT_AUTHENTIC,
    REMOVE,
    SENDER,
    SENDERS,
    SharedEpoch,
    flips,
    world_of,
)
from tests.vectors import Case, cases, each

# The official vectors, both ways


def _published(case: Case) -> tuple[SharedEpoch, dict[str, AnyContent]]:
    chosen = suite_of(case["cipher_suite"])

    def read(name: str) -> bytes:
        return bytes.fromhex(case[name])

    hashes = read("tree_hash"), read("confirmed_transcript_hash")
    context = GroupContext(ProtocolVersion.MLS10, chosen.id, read("group_id"), case["epoch"], *hashes, ())
    signer = SignatureKeyPair(Secret(read("signature_priv")), read("signature_pub"))
    tree = SecretTree(chosen, 2, Secret(read("encryption_secret")))
    secrets = Secret(read("sender_data_secret")), Secret(read("membership_key"))
    world = SharedEpoch(chosen, signer, signer, tree, *secrets, wire.encode(context))
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
    signed = sign_framed_content(world.suite, world.signer, WireFormat.PRIVATE_MESSAGE, framed, world.context)
    if name == "commit":
        signed = with_confirmation_tag(signed, CONFIRMATION_TAG)
    sent, ours = protect_private(world.suite, signed, world.tree, world.sender_data_secret)
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

    signed = sign_framed_content(world.suite, world.signer, WireFormat.PUBLIC_MESSAGE, opened.content, world.context)
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


@pytest.fixture(params=SUITES.values(), ids=[str(suite_id) for suite_id in SUITES])
def world(request: pytest.FixtureRequest) -> SharedEpoch:
    return world_of(request.param)


# What is protected comes back


@EVERY_CONTENT
def test_a_private_message_comes_back(world: SharedEpoch, content: AnyContent) -> None:
    sent, message = world.private(content)
    decoded = decode_message(encode_message(message)).body
    assert decoded == message
    assert isinstance(decoded, PrivateMessage)
    received, opened = world.unprotect(decoded)
    assert received == sent != world.tree
    assert opened == replace(world.signed(content), auth=opened.auth)


@HANDSHAKES
def test_a_public_message_comes_back(world: SharedEpoch, content: AnyContent) -> None:
    message = world.public(content)
    decoded = decode_message(encode_message(message)).body
    assert decoded == message
    opened = world.unprotect_public(message)
    assert opened == AuthenticatedContent(WireFormat.PUBLIC_MESSAGE, message.content, message.auth)
    assert len(message.membership_tag or b"") == world.suite.hash_size


@pytest.mark.parametrize("size", [0, 180, 181, 182, 183, 1000, 5000])
def test_padding_fills_up_to_the_bucket(world: SharedEpoch, size: int) -> None:
    content = ApplicationContent(bytes(size))
    _, message = world.private(content)
    opened = world.unprotect(message)[1]
    assert opened.content.content == content
    assert len(message.ciphertext) == padded_size(len(wire.encode(content) + wire.encode(opened.auth))) + 16


def test_a_given_reuse_guard_makes_a_given_message(world: SharedEpoch, monkeypatch: pytest.MonkeyPatch) -> None:
    signed, guard = world.signed(APPLICATION), b"\x01\x20\x03\xff"
    monkeypatch.setattr(protection, "generate_reuse_guard", lambda: guard)
    _, message = protect_private(world.suite, signed, world.tree, world.sender_data_secret)
    assert protect_private(world.suite, signed, world.tree, world.sender_data_secret)[1] == message

    _, key = world.tree.key_for(SENDER, RatchetKind.APPLICATION, Generation(0))
    nonce = key.nonce.reveal()
    guarded = bytes(a ^ b for a, b in zip(nonce, guard + bytes(8), strict=True))
    aad = wire.encode(PrivateContentAAD(b"group", 7, ContentType.APPLICATION, b"authenticated data"))
    plaintext = world.suite.aead_open(key.key, guarded, aad, message.ciphertext)
    assert plaintext == (wire.encode(APPLICATION) + wire.encode(signed.auth)).ljust(256, b"\0")
    assert open_sender_data(world.suite, message, world.sender_data_secret) == SenderData(SENDER, 0, guard)


# F5, F7, F8, F13: public messages


def _maced(world: SharedEpoch, signed: AuthenticatedContent) -> PublicMessage:
    """A PublicMessage with a right membership tag, whatever it holds (§6.2)."""
    covered = b"\x00\x01\x00\x01" + wire.encode(signed.content) + world.context + wire.encode(signed.auth)
    return PublicMessage(signed.content, signed.auth, world.suite.mac(world.membership_key, covered))


def refuses_public(world: SharedEpoch, message: PublicMessage, error: type[Exception], rule: str | None = None) -> None:
    with pytest.raises(error) as raised:
        unprotect_public(world.suite, message, world.context, world.membership_key)
    assert raised.type is error
    assert getattr(raised.value, "rule", None) == rule


@HANDSHAKES
def test_our_hand_made_public_message_is_right(world: SharedEpoch, content: AnyContent) -> None:
    signed = world.signed(content, WireFormat.PUBLIC_MESSAGE)
    assert world.unprotect_public(_maced(world, signed)) == signed


@without_group("one epoch made by hand, in every suite there is")
def test_f5_application_data_in_a_public_message_is_refused(world: SharedEpoch) -> None:
    signed = world.signed(APPLICATION, WireFormat.PUBLIC_MESSAGE)
    refuses_public(world, _maced(world, signed), RuleViolation, "F5")
    with pytest.raises(RuleViolation, match="F5"):
        protect_public(world.suite, signed, world.context, world.membership_key)


@without_group("one epoch made by hand, in every suite there is")
def test_f7_a_membership_tag_is_there_for_members_only(world: SharedEpoch) -> None:
    refuses_public(world, replace(world.public(REMOVE), membership_tag=None), RuleViolation, "F7")
    external = world.public(REMOVE, ExternalSenderIndex(0))
    assert external.membership_tag is None
    refuses_public(world, replace(external, membership_tag=bytes(world.suite.hash_size)), RuleViolation, "F7")


@without_group("one epoch made by hand, in every suite there is")
@HANDSHAKES
def test_f8_a_membership_tag_counts_only_whole(world: SharedEpoch, content: AnyContent) -> None:
    message = world.public(content)
    tag = message.membership_tag
    assert tag is not None
    for wrong in [*flips(tag), *(tag[:size] for size in range(len(tag))), tag + b"\0", bytes(len(tag))]:
        refuses_public(world, replace(message, membership_tag=wrong), AuthenticationError)


@without_group("one epoch made by hand, in every suite there is")
def test_f8_a_membership_tag_covers_content_proofs_and_context(world: SharedEpoch) -> None:
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


@without_group("one epoch made by hand, in every suite there is")
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


@without_group("one epoch made by hand, in every suite there is")
@pytest.mark.parametrize("wire_format", [WireFormat.PUBLIC_MESSAGE, WireFormat.PRIVATE_MESSAGE])
@HANDSHAKES
def test_f10_a_signature_holds_for_one_key_context_and_message(
    world: SharedEpoch, content: AnyContent, wire_format: WireFormat
) -> None:
    signed = world.signed(content, wire_format)
    verify_framed_content(world.suite, signed, world.signer.public, world.context)
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
            verify_framed_content(world.suite, changed, key, context)


@without_group("one epoch made by hand, in every suite there is")
@pytest.mark.parametrize("sender", SENDERS, ids=lambda sender: type(sender).__name__)
def test_f10_members_and_joiners_sign_the_group_context_and_outsiders_do_not(sender: AnySender) -> None:
    world = world_of(SUITES[1])
    framed = FramedContent(b"group", 7, sender, b"", COMMIT)
    signed = sign_framed_content(world.suite, world.signer, WireFormat.PUBLIC_MESSAGE, framed, world.context)
    if isinstance(sender, MemberSender | NewMemberCommitSender):
        with pytest.raises(AuthenticationError):
            verify_framed_content(world.suite, signed, world.signer.public, b"another context")
        with pytest.raises(UsageError, match="covers the group context"):
            verify_framed_content(world.suite, signed, world.signer.public, None)
        with pytest.raises(UsageError, match="covers the group context"):
            sign_framed_content(world.suite, world.signer, WireFormat.PUBLIC_MESSAGE, framed, None)
    else:
        for context in (None, b"another context"):
            verify_framed_content(world.suite, signed, world.signer.public, context)
            assert sign_framed_content(world.suite, world.signer, WireFormat.PUBLIC_MESSAGE, framed, context) == signed
