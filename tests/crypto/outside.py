"""A world whose members accept clients that join by themselves."""

from __future__ import annotations

from typing import Any

from crypto.mls.config import GroupConfig
from crypto.mls.group import (
    Group,
    PendingJoin,
    StagedCommit,
    VerifiedGroupInfo,
    external_join,
    verify_group_info,
)
from crypto.suites import CipherSuite
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
    """The delivery service accepts the commit: all members merge it, and the joiner is in."""
    staged = []
    for member in world.members:
        if member is someone:
            continue
        received = member.view.receive(pending.message, NOW, find_psk)
        assert isinstance(received, StagedCommit)
        staged.append(received)
        member.group = None if received.removes_us else received.merge()
    someone.group = pending.next_group
    world.assert_agreement()
    return staged
