"""Section F of the rules: private messages, each part of which is authenticated (F6, F9, F11, F16, F18, F22)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from crypto.errors import AuthenticationError
from crypto.mls import messages, protection
from crypto.mls.framing import PrivateMessage, SenderDataAAD
from crypto.mls.group import ApplicationMessage, ReceivedProposal, StagedCommit
from crypto.mls.headers import ContentType, ExternalSenderIndex, MemberSender, WireFormat
from crypto.mls.mls_message import encode_message
from crypto.mls.rules import message as message_rules
from crypto.mls.snapshot import rows
from crypto.suites import CipherSuite
from crypto.wire import encode_opaque
from tests.crypto.forge import (
    assert_not_authentic,
    assert_refused,
    forged_commit,
    forged_message,
    off,
)
from tests.crypto.forge_messages import (
    HELLO,
    PROPOSAL,
    opened,
    plaintext,
    said,
    signed_by,
)
from tests.crypto.matrix import every_group
from tests.crypto.world import NOW, World

CONTENTS = ["application data", "a proposal", "a commit"]


def sent(world: World, content: str) -> tuple[bytes, type]:
    """A private message of person 0 with such a content, and what a receiver makes of it."""
    sender = world["person 0"]
    if content == "a commit":
        return forged_commit(sender, []).message, StagedCommit
    return (
        (forged_message(sender, HELLO), ApplicationMessage)
        if content == "application data"
        else (forged_message(sender, PROPOSAL), ReceivedProposal)
    )


# F9, F16: what there is no place for


@every_group
def test_f9_a_private_commit_without_a_confirmation_tag(world: World) -> None:
    """What is read in its place is the padding: an empty tag, which rule U11 refuses."""
    receiver = world[world.receiver]
    size = len(encode_opaque(bytes(world.suite.hash_size)))
    with plaintext(lambda whole: whole[:-size] + bytes(size)):
        message = forged_commit(world["person 0"], []).message
    assert_not_authentic(lambda: receiver.receive(message, NOW), receiver)


@every_group
def test_f9_a_private_proposal_with_a_confirmation_tag(world: World) -> None:
    """It stands where padding belongs."""
    receiver = world[world.receiver]
    with plaintext(lambda whole: whole + encode_opaque(bytes(world.suite.hash_size))):
        message = forged_message(world["person 0"], PROPOSAL)
    assert_refused("F11", lambda: receiver.receive(message, NOW), receiver)


@every_group
def test_f16_a_private_message_shows_no_sender_but_a_leaf(world: World) -> None:
    """What an external sender signs cannot be sealed; what is sealed by its name opens under a leaf's and fails."""
    sender, receiver = world["person 0"], world[world.receiver]
    outsider = world.suite.signature.generate()
    public = signed_by(sender, outsider, ExternalSenderIndex(0), PROPOSAL)
    signed = messages.sign(sender.state, WireFormat.PRIVATE_MESSAGE, PROPOSAL, b"")
    forged = replace(signed, auth=public.auth)
    message = messages.protect(sender.state, forged)[1]
    assert_not_authentic(lambda: receiver.receive(message, NOW), receiver)
    with off(protection.verify_framed_content):
        found = opened(receiver, message).authenticated.content.sender
    assert found == MemberSender(sender.own_leaf)


# F6, F11, F18, F22: what is sealed


def sealed_changes(message: PrivateMessage) -> dict[str, list[PrivateMessage]]:
    """Each part of a message changed: every byte of the small parts, the ciphertext here and there, its whole tag."""

    def flipped(name: str, places: Any) -> list[PrivateMessage]:
        data: bytes = getattr(message, name)
        return [
            replace(message, **{name: data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]}) for place in places
        ]

    size = len(message.ciphertext)
    kinds = [kind for kind in ContentType if kind is not message.content_type]
    return {
        "header": [replace(message, group_id=b"another group"), replace(message, epoch=message.epoch + 1)]
        + [replace(message, content_type=kind) for kind in kinds],
        "authenticated data": [replace(message, authenticated_data=data) for data in (b"", b"other", b"data\0")],
        "sender data": flipped("encrypted_sender_data", range(len(message.encrypted_sender_data))),
        "ciphertext": flipped("ciphertext", range(0, size - 16, 29)),
        "tag": flipped("ciphertext", range(size - 16, size)),
        "length": [
            replace(message, ciphertext=message.ciphertext[:-1]),
            replace(message, ciphertext=message.ciphertext + b"\0"),
            replace(message, ciphertext=message.ciphertext[:15]),
            replace(message, ciphertext=b""),
            replace(message, encrypted_sender_data=message.encrypted_sender_data[:-1]),
            replace(message, encrypted_sender_data=b""),
        ],
    }


@every_group
@pytest.mark.parametrize("part", ["header", "authenticated data", "sender data", "ciphertext", "tag", "length"])
def test_f6_a_change_to_any_part_of_a_private_message(world: World, part: str) -> None:
    """Rules F1 and F2 are off, so that group and epoch reach the AEAD. There is no accepting what it refuses."""
    receiver = world[world.receiver]
    message = said(world["person 0"], authenticated_data=b"data")
    before = rows(receiver)
    with off(message_rules.f1_our_group, message_rules.f2_f3_current_epoch):
        for changed in sealed_changes(message)[part]:
            with pytest.raises(AuthenticationError):
                receiver.receive(encode_message(changed), NOW)
    assert rows(receiver) == before
    received = receiver.receive(encode_message(message), NOW)
    assert isinstance(received, ApplicationMessage)
    assert received.data == b"hello"


@every_group
@pytest.mark.parametrize("foreign", [b"", b"another id", b"the message's id\0"])
def test_f18_authenticated_data_is_that_of_its_message(world: World, foreign: bytes) -> None:
    """What the application binds to it, ids and order, is compared there: see `client_lib.engine.receive`."""
    receiver = world[world.receiver]
    message = said(world["person 0"], authenticated_data=b"the message's id")
    moved = encode_message(replace(message, authenticated_data=foreign))
    assert_not_authentic(lambda: receiver.receive(moved, NOW), receiver)
    received = receiver.receive(encode_message(message), NOW)
    assert isinstance(received, ApplicationMessage)
    assert received.authenticated_data == b"the message's id"


@every_group
@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize(
    "padding", [b"\1", bytes(200) + b"\1", b"\1" + bytes(200), bytes(9) + b"\x80" + bytes(9)],
    ids=["only", "last", "first", "in between"],
)  # fmt: skip
def test_f11_padding_that_is_not_zero(world: World, content: str, padding: bytes) -> None:
    receiver = world[world.receiver]
    with plaintext(lambda whole: whole + padding):
        message, kind = sent(world, content)
    assert_refused("F11", lambda: receiver.receive(message, NOW), receiver)
    with off(message_rules.f11_padding_is_zero):
        assert isinstance(receiver.receive(message, NOW), kind)


BINDINGS: dict[str, Callable[[SenderDataAAD], SenderDataAAD]] = {
    "group": lambda aad: replace(aad, group_id=b"another group"),
    "epoch": lambda aad: replace(aad, epoch=aad.epoch - 1),
    "content type": lambda aad: replace(aad, content_type=ContentType.COMMIT),
}


def assert_both_must_agree(world: World, name: str, wrong: Any) -> None:
    """A sender that takes something else for `name` is refused; a receiver that made the same mistake would accept."""
    sender, receiver = world["person 0"], world[world.receiver]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protection, name, wrong)
        message = forged_message(sender, HELLO)
    assert_not_authentic(lambda: receiver.receive(message, NOW), receiver)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protection, name, wrong)
        assert isinstance(receiver.receive(message, NOW), ApplicationMessage)


@every_group
@pytest.mark.parametrize("what", BINDINGS)
def test_f22_sender_data_is_bound_to_its_message(world: World, what: str) -> None:
    assert_both_must_agree(world, "SenderDataAAD", lambda *fields: BINDINGS[what](SenderDataAAD(*fields)))


@every_group
@pytest.mark.parametrize("sample", [0, 16, 31, 33])
def test_f22_sender_data_keys_come_from_the_whole_sample(world: World, sample: int) -> None:
    def wrong(suite: CipherSuite, secret: Any, ciphertext: bytes) -> Any:
        assert sample != suite.hash_size
        key = suite.expand_with_label(secret, "key", ciphertext[:sample], suite.aead_key_size)
        return key, suite.expand_with_label(secret, "nonce", ciphertext[:sample], 12).reveal()

    assert_both_must_agree(world, "sender_data_key_nonce", wrong)
