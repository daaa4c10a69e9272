"""Targets for what members send, and those who become some: private and public messages.

A hostile member holds the group's keys, so the fuzzer does too. What it made is signed, tagged and sealed as that
member would do it, and what lies behind all authentication has to stand up to it. Ada sends, Bob receives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

import pytest

from crypto.errors import CryptoError, GenerationUsed, InvalidMessage, RuleViolation, SequenceError, Unsupported
from crypto.mls import commit as commit_module
from crypto.mls import messages
from crypto.mls.commit import create_commit
from crypto.mls.framing import (
    AnyContent,
    ApplicationContent,
    CommitAuth,
    FramedContent,
    PrivateContentAAD,
    PrivateMessage,
    ProposalContent,
    PublicMessage,
    SenderData,
    SenderDataAAD,
)
from crypto.mls.group import (
    ApplicationMessage,
    Group,
    Received,
    ReceivedProposal,
    StagedCommit,
)
from crypto.mls.headers import (
    ContentType,
    ExternalSenderIndex,
    MemberSender,
    NewMemberCommitSender,
    NewMemberProposalSender,
    WireFormat,
)
from crypto.mls.joining import create_welcome
from crypto.mls.mls_message import MLSMessage, encode_message
from crypto.mls.proposal_list import apply_proposals, check_proposal
from crypto.mls.proposals import (
    Add,
    AnyProposal,
    CheckedProposal,
    Commit,
    Proposal,
    ProposalByValue,
    Remove,
)
from crypto.mls.protection import protect_public, sender_data_key_nonce, sign_framed_content
from crypto.mls.psk_lookup import own_psks_first
from crypto.mls.secret_tree import Generation, RatchetKind
from crypto.mls.snapshot import rows
from crypto.mls.tree_nodes import LeafIndex
from crypto.suites import SignatureKeyPair
from crypto.wire import Select, Uint, encode, encode_as, struct
from tests.crypto.tree_samples import with_removed
from tests.crypto.world import NOW, won
from tests.fuzzing import samples
from tests.fuzzing.target import Target, Way, accepted, decoded
from tests.fuzzing.values import signed_anew
from tests.fuzzing.welcomes import assert_can_be_stored, join_by
from tests.fuzzing.world import SUITE, find_psk, world

REFUSALS = (InvalidMessage, SequenceError, Unsupported)
Proposals = tuple[Proposal, ...]


def receive(message: bytes) -> Received:
    """Bob takes a message in. If he refuses it he is as he was; if not, he can go on."""
    bob = world().bob
    before = rows(bob)
    try:
        received = bob.receive(message, NOW, find_psk)
    except CryptoError:
        assert rows(bob) == before
        raise
    with accepted():
        _go_on(bob, received, message)
    return received


def _go_on(bob: Group, received: Received, message: bytes) -> None:
    """A message is not taken twice, a proposal stops nobody from committing, a commit leads to the next epoch."""
    match received:
        case ApplicationMessage(group=group):
            with pytest.raises(GenerationUsed):
                group.receive(message, NOW, find_psk)
        case ReceivedProposal(group=group):
            assert won(group.commit(now=NOW, find_psk=find_psk)).epoch == bob.epoch + 1
        case StagedCommit(removes_us=True):
            return
        case StagedCommit():
            group = bob.adopt(received)
            assert group.epoch == bob.epoch + 1
    assert_can_be_stored(group)


def receive_unconfirmed(message: bytes) -> Received:
    """The same, and the confirmation tag of a commit is not looked at: for what was changed, none can be made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commit_module, "verify_confirmation_tag", lambda *_: None)
        return receive(message)


# Private messages


@struct
class Said:
    """What a member says, before it is signed and sealed."""

    authenticated_data: bytes
    content: Annotated[AnyContent, Select(1)]


@struct
class Sealed:
    """What a member seals that keeps to no rule."""

    content_type: Annotated[ContentType, Uint(1)]
    sender_data: SenderData
    plaintext: bytes


TAG = b"a confirmation tag, not looked at"


def _receive_content(data: bytes) -> None:
    """Any content, signed and sealed by Ada."""
    said, state = decoded(Said, data), world().ada.state
    content = _signed_inside(said.content)
    signed = messages.sign(state, WireFormat.PRIVATE_MESSAGE, content, said.authenticated_data)
    if isinstance(content, Commit):
        signed = replace(signed, auth=CommitAuth(signed.auth.signature, TAG))
    receive_unconfirmed(messages.protect(state, signed)[1])


def _signed_inside(content: Any, leaf_index: LeafIndex | None = None) -> Any:
    ada = world().ada
    return signed_anew(content, world().keyring, ada.group_id, ada.own_leaf if leaf_index is None else leaf_index)


def _receive_late_content(data: bytes) -> None:
    """Application data in the epoch before, of which Bob has kept the keys."""
    state, former = world().ada.state, world().ada.state.former[-1]
    sender = MemberSender(state.own_leaf)
    framed = FramedContent(state.context.group_id, former.epoch, sender, data[:1], ApplicationContent(data[1:]))
    signed = sign_framed_content(SUITE, state.signer, WireFormat.PRIVATE_MESSAGE, framed, former.encoded_context)
    then = replace(
        state,
        secret_tree=former.secret_tree,
        secrets=replace(state.secrets, sender_data_secret=former.sender_data_secret),
    )
    receive(messages.protect(then, signed)[1])


def _receive_plaintext(data: bytes) -> None:
    """Any plaintext and any sender data, under the right keys as far as there are some."""
    sealed = decoded(Sealed, data)
    receive_unconfirmed(_seal(sealed.content_type, encode(sealed.sender_data), sealed.plaintext, sealed.sender_data))


def _receive_sender_data(data: bytes) -> None:
    """Bytes that need be no sender data."""
    _, plaintext = _opened(world().ada.state.own_leaf)
    receive(_seal(ContentType.APPLICATION, data, plaintext, None))


def _seal(kind: ContentType, encoded_sender_data: bytes, plaintext: bytes, sender_data: SenderData | None) -> bytes:
    state = world().bob.state
    group_id, epoch = state.context.group_id, state.context.epoch
    ratchet = RatchetKind.APPLICATION if kind is ContentType.APPLICATION else RatchetKind.HANDSHAKE
    claimed = sender_data or SenderData(world().ada.own_leaf, 0, bytes(4))
    try:
        _, key = state.secret_tree.key_for(LeafIndex(claimed.leaf_index), ratchet, Generation(claimed.generation))
    except CryptoError:  # there is no such key: Bob has to find that out
        _, key = state.secret_tree.key_for(world().ada.own_leaf, ratchet, Generation(0))
    nonce = bytes(a ^ b for a, b in zip(key.nonce.reveal(), claimed.reuse_guard.ljust(12, b"\0"), strict=True))
    aad = encode(PrivateContentAAD(group_id, epoch, kind, b""))
    ciphertext = SUITE.aead_seal(key.key, nonce, aad, plaintext)
    data_key, data_nonce = sender_data_key_nonce(SUITE, state.secrets.sender_data_secret, ciphertext)
    data_aad = encode(SenderDataAAD(group_id, epoch, kind))
    encrypted = SUITE.aead_seal(data_key, data_nonce, data_aad, encoded_sender_data)
    return encode_message(PrivateMessage(group_id, epoch, kind, b"", encrypted, ciphertext))


def _opened(sender: LeafIndex) -> tuple[SenderData, bytes]:
    """Sender data and plaintext of an application message."""
    signed = _signed(WireFormat.PRIVATE_MESSAGE, ApplicationContent(b"hello"))
    return SenderData(sender, 0, bytes(4)), encode(ApplicationContent(b"hello")) + encode(signed.auth) + bytes(20)


def _signed(wire_format: WireFormat, content: AnyContent) -> Any:
    return messages.sign(world().ada.state, wire_format, content, b"")


# Commits: what one member may commit, the others accept


def _commit(data: bytes) -> None:
    _assert_all_follow(_proposals(data), with_path=True)


def _commit_without_path(data: bytes) -> None:
    _assert_all_follow(_proposals(data), with_path=False)


def _commit_with_pending(data: bytes) -> None:
    _assert_all_follow([*world().ada.pending_proposals, *_proposals(data)], with_path=True)


def _proposals(data: bytes) -> list[CheckedProposal]:
    state = world().ada.state
    proposals: Sequence[AnyProposal] = _signed_inside(decoded(Proposals, data))
    return [check_proposal(state, proposal, state.own_leaf, None, NOW) for proposal in proposals]


def _assert_all_follow(proposals: Sequence[CheckedProposal], *, with_path: bool) -> None:
    """Refused by Ada already, or taken by Bob, by Eve, and by Gil if he is added."""
    state = world().ada.state
    created = create_commit(
        state,
        apply_proposals(state, state.own_leaf, proposals),
        with_path=with_path,
        wire_format=WireFormat.PRIVATE_MESSAGE,
        authenticated_data=b"",
        find_psk=own_psks_first(state, find_psk),
    )
    _, message = messages.protect(state, created.authenticated)
    with accepted():
        expected = Group(created.next_state)
        assert_can_be_stored(expected)
        _assert_agrees(world().bob, receive(message), expected)
        _assert_agrees(world().eve, world().eve.receive(message, NOW, find_psk), expected)
        joiner_knows_keys = all(find_psk(psk_id.psk) is not None for psk_id in created.changes.psk_ids)
        if world().joiner.key_package in created.changes.added.values() and joiner_knows_keys:
            assert join_by(encode_message(create_welcome(created))).epoch_authenticator == expected.epoch_authenticator


def _assert_agrees(receiver: Group, staged: Received, expected: Group) -> None:
    assert isinstance(staged, StagedCommit)
    if not staged.removes_us:
        assert receiver.adopt(staged).epoch_authenticator == expected.epoch_authenticator


# Public messages


def _receive_framed(data: bytes) -> None:
    """Any content of any sender, with all that such a sender can give it."""
    w, framed = world(), decoded(FramedContent, data)
    framed = replace(framed, content=_signed_inside(framed.content, _leaf_of(framed)))
    state = w.ada.state
    signed = sign_framed_content(SUITE, _signer(framed), WireFormat.PUBLIC_MESSAGE, framed, state.encoded_context)
    if isinstance(framed.content, Commit):
        signed = replace(signed, auth=CommitAuth(signed.auth.signature, TAG))
    try:
        message = protect_public(SUITE, signed, state.encoded_context, state.secrets.membership_key)
    except RuleViolation:  # Ada's own check; Bob's has to find the same
        tag = TAG if isinstance(framed.sender, MemberSender) else None
        message = PublicMessage(framed, signed.auth, tag)
    receive_unconfirmed(encode_message(message))


def _leaf_of(framed: FramedContent) -> LeafIndex:
    """The leaf that a path is for: the sender's, or the one that is free for who joins."""
    if isinstance(framed.sender, MemberSender):
        return LeafIndex(framed.sender.leaf_index)
    tree = world().bob.state.tree
    if isinstance(framed.content, Commit):
        for named in framed.content.proposals:
            match named:
                case ProposalByValue(proposal=Remove(removed=removed)) if tree.leaf(LeafIndex(removed)) is not None:
                    tree = with_removed(tree, LeafIndex(removed))
    return tree.with_room()[1]


def _signer(framed: FramedContent) -> SignatureKeyPair:
    """Whoever such a sender is."""
    w = world()
    match framed.sender, framed.content:
        case ExternalSenderIndex(), _:
            return w.external_sender
        case NewMemberProposalSender(), ProposalContent(proposal=Add(key_package=key_package)):
            return w.keyring.get(key_package.leaf_node.signature_key, w.gil)
        case NewMemberCommitSender(), Commit(path=path) if path is not None:
            return w.keyring.get(path.leaf_node.signature_key, w.gil)
        case MemberSender(leaf_index=leaf_index), _:
            member = w.ada.member(LeafIndex(leaf_index))
            return w.ada.state.signer if member is None else w.keyring[member.signature_key]
        case _:
            return w.gil


def _proposal_lists() -> list[bytes]:
    """Each kind alone, and those that go together."""
    every = samples.proposals()
    lists: list[Proposals] = [tuple(every[:6]), *((proposal,) for proposal in every)]
    return [encode_as(Proposals, proposals) for proposals in lists]


def _lists_without_path() -> list[bytes]:
    """Additions and keys: what a commit without a path may cover."""
    every = samples.proposals()
    return [encode_as(Proposals, (every[0],)), encode_as(Proposals, (every[2], every[3]))]


def _lists_beside_pending() -> list[bytes]:
    return [encode_as(Proposals, ()), encode_as(Proposals, tuple(samples.proposals()[:3]))]


def _said() -> list[bytes]:
    return [encode(Said(b"readable", content)) for content in samples.contents()]


def _sealed() -> list[bytes]:
    sender_data, plaintext = _opened(world().ada.own_leaf)
    return [encode(Sealed(ContentType.APPLICATION, sender_data, plaintext))]


def _sender_data() -> list[bytes]:
    return [encode(_opened(world().ada.own_leaf)[0])]


PRIVATE_MESSAGE = Target(
    "private_message",
    (
        Way("as it is", receive, REFUSALS, samples.private_messages, MLSMessage),
        Way("content", _receive_content, REFUSALS, _said, Said),
        Way("late content", _receive_late_content, REFUSALS, lambda: [b"readable"]),
        Way("plaintext", _receive_plaintext, REFUSALS, _sealed, Sealed),
        Way("sender data", _receive_sender_data, REFUSALS, _sender_data, SenderData),
    ),
)

COMMIT = Target(
    "commit",
    (
        Way("with a path", _commit, REFUSALS, _proposal_lists, Proposals),
        Way("without a path", _commit_without_path, REFUSALS, _lists_without_path, Proposals),
        Way("with what is pending", _commit_with_pending, REFUSALS, _lists_beside_pending, Proposals),
    ),
)

PUBLIC_MESSAGE = Target(
    "public_message",
    (
        Way("as it is", receive, REFUSALS, samples.public_messages, MLSMessage),
        Way(
            "content",
            _receive_framed,
            REFUSALS,
            lambda: [encode(framed) for framed in samples.framed_contents()],
            FramedContent,
        ),
    ),
)
