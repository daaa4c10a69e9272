"""A world whose members accept clients that join by themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from crypto.mls import external
from crypto.mls.config import GroupConfig
from crypto.mls.extensions import Extension, ExtensionType, ExternalPub
from crypto.mls.framing import CommitAuth, PublicMessage
from crypto.mls.group import (
    Group,
    PendingJoin,
    StagedCommit,
    VerifiedGroupInfo,
    external_join,
    verify_group_info,
)
from crypto.mls.group_info import sign_group_info
from crypto.mls.headers import WireFormat
from crypto.mls.mls_message import decode_message, encode_message
from crypto.mls.proposals import Commit, ProposalByReference, ProposalByValue
from crypto.mls.welcome import GroupInfo
from crypto.suites import CipherSuite
from crypto.wire import encode
from tests.crypto.forge import Change
from tests.crypto.world import NOW, Person, World, world_of

OPEN = GroupConfig(accept_external_commits=True)


def open_world(belongs: CipherSuite, count: int, config: GroupConfig = OPEN) -> World:
    return world_of(belongs, count, config)


def seen(group: Group, now: int = NOW) -> VerifiedGroupInfo:
    """What a client outside learns of a group."""
    return verify_group_info(group.group_info(), now=now)


def joining(world: World, someone: Person, by: str = "person 0", **options: Any) -> PendingJoin:
    options = {"config": world.config} | options
    return external_join(seen(world[by]), someone.credential, someone.signer, **options)


def win(world: World, someone: Person, pending: PendingJoin, find_psk: Any = lambda _: None) -> list[StagedCommit]:
    """The delivery service accepts the commit: all members adopt it, and the joiner is in."""
    staged = []
    for member in world.members:
        if member is someone:
            continue
        received = member.view.receive(pending.message, NOW, find_psk)
        assert isinstance(received, StagedCommit)
        staged.append(received)
        member.group = None if received.removes_us else member.view.adopt(received)
    someone.group = pending.next_group
    world.assert_agreement()
    return staged


def forged(world: World, someone: Person, change: Callable[[list[Any]], list[Any]], **options: Any) -> bytes:
    """An external commit whose list of proposals was changed before anything was signed or derived."""

    def changed(proposals: list[Any]) -> Any:
        return tuple(
            proposal if isinstance(proposal, ProposalByReference) else ProposalByValue(proposal)
            for proposal in change(proposals)
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(external, "Commit", lambda named, path: Commit(changed([each.proposal for each in named]), path))
        return joining(world, someone, **options).message


def resigned(world: World, someone: Person, message: bytes, change: Callable[[Commit], Commit]) -> bytes:
    """A joiner's message with another commit, signed again; its confirmation tag stays, as nobody gets that far."""
    body = decode_message(message).body
    assert isinstance(body, PublicMessage)
    assert isinstance(body.content.content, Commit)
    assert isinstance(body.auth, CommitAuth)
    content = replace(body.content, content=change(body.content.content))
    signed = external.sign_framed_content(
        world.suite, someone.signer, WireFormat.PUBLIC_MESSAGE, content, world["person 0"].state.encoded_context
    )
    return encode_message(PublicMessage(content, CommitAuth(signed.auth.signature, body.auth.confirmation_tag), None))


def reissued(group: Group, change: Change) -> bytes:
    """A GroupInfo with a change, signed again by its member."""
    body = decode_message(group.group_info()).body
    assert isinstance(body, GroupInfo)
    return encode_message(sign_group_info(group.suite, group.state.signer, change(body)))


def with_external_pub(key: bytes | None) -> Change:
    """The change to another external key, or to none."""

    def change(group_info: GroupInfo) -> GroupInfo:
        others = [each for each in group_info.extensions if each.extension_type != ExtensionType.EXTERNAL_PUB]
        if key is not None:
            others.append(Extension(ExtensionType.EXTERNAL_PUB, encode(ExternalPub(key))))
        return replace(group_info, extensions=tuple(others))

    return change
