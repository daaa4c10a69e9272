"""Messages that are wrong in one place and right in all others: signed, MACed and encrypted anew by a member's keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from crypto.mls import messages, protection
from crypto.mls.config import GroupConfig
from crypto.mls.framing import (
    AnyContent,
    ApplicationContent,
    FramedContent,
    PrivateMessage,
    ProposalContent,
    PublicMessage,
)
from crypto.mls.group import Group
from crypto.mls.headers import AnySender, WireFormat
from crypto.mls.mls_message import decode_message
from crypto.mls.proposals import Commit, GroupContextExtensions
from crypto.mls.rules import message as message_rules
from crypto.suites import CipherSuite, SignatureKeyPair
from tests.crypto.forge import off

PUBLIC = GroupConfig(accept_public_handshakes=True)
"""Members send in private, and take what is public too."""

FORMATS = pytest.mark.parametrize(
    "wire_format", [WireFormat.PRIVATE_MESSAGE, WireFormat.PUBLIC_MESSAGE], ids=["private", "public"]
)

HELLO = ApplicationContent(b"hello")
PROPOSAL = ProposalContent(GroupContextExtensions(()))
"""A proposal that is valid in every group."""


def signed_by(
    group: Group, signer: SignatureKeyPair, sender: AnySender, content: AnyContent, context: bytes | None = None
) -> PublicMessage:
    """A public message of anybody, whether or not such a sender may send such a content; a commit has some tag."""
    state = group.state
    framed = FramedContent(group.group_id, group.epoch, sender, b"", content)
    signed = protection.sign_framed_content(state.suite, signer, WireFormat.PUBLIC_MESSAGE, framed, context)
    if isinstance(content, Commit):
        signed = protection.with_confirmation_tag(signed, bytes(state.suite.hash_size))
    with off(message_rules.f5_application_data_is_private, message_rules.f13_sender_may_send):
        return protection.protect_public(state.suite, signed, state.encoded_context, state.secrets.membership_key)


@contextmanager
def plaintext(change: Callable[[bytes], bytes]) -> Iterator[None]:
    """Private messages made meanwhile hold something else than what was signed: `change` of content and proof."""
    original = protection._private_content
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protection, "_private_content", lambda authenticated: change(original(authenticated)))
        yield


@contextmanager
def sender_data(**other: int) -> Iterator[None]:
    """Private messages made meanwhile name another `leaf_index` or `generation` than the one whose key they use."""
    honest = protection.SenderData
    with pytest.MonkeyPatch.context() as patch:

        def made(leaf_index: int, generation: int, reuse_guard: bytes) -> Any:
            return honest(**{"leaf_index": leaf_index, "generation": generation, "reuse_guard": reuse_guard} | other)

        patch.setattr(protection, "SenderData", made)
        yield


@contextmanager
def another_label() -> Iterator[None]:
    """Signatures made meanwhile are for another purpose, by their label."""
    honest = CipherSuite.sign_with_label
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            CipherSuite, "sign_with_label", lambda suite, signer, _, content: honest(suite, signer, "Other", content)
        )
        yield


def private_body(message: bytes) -> PrivateMessage:
    body = decode_message(message).body
    assert isinstance(body, PrivateMessage)
    return body


def public_body(message: bytes) -> PublicMessage:
    body = decode_message(message).body
    assert isinstance(body, PublicMessage)
    return body


def said(group: Group, data: bytes = b"hello", authenticated_data: bytes = b"") -> PrivateMessage:
    """Application data of a member, as it travels."""
    return private_body(group.protect(data, authenticated_data)[1])


def opened(group: Group, message: bytes) -> messages.OpenedMessage:
    """An authentic message, before anybody asks what it means."""
    return messages.open_message(group.state, message)
