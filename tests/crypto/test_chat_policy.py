"""The chat's policy by itself: what it says, how it goes on, and each of its rules broken alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from crypto.errors import PolicyViolation
from crypto.identity.chat_policy import (
    AddedLeaf,
    ChatKind,
    ChatPolicy,
    HistoryRule,
    JudgedCommit,
    JudgedReinit,
    LeafOwner,
    PolicyMember,
    Rank,
    RemovedLeaf,
    UpdatedLeaf,
    check_commit,
    next_policy,
)
from crypto.suites import X_WING_SUITE_ID

OWNER, MODERATOR, MEMBER = Rank.OWNER, Rank.MODERATOR, Rank.MEMBER


def person(number: int) -> bytes:
    return bytes([number]) * 20


ANN, BOB, CAY, DAN, EVE = (person(number) for number in range(1, 6))


def leaf(account_id: bytes, device: int = 0) -> LeafOwner:
    return LeafOwner(account_id, bytes([device]) * 20)


def policy_of(ranks: dict[bytes, Rank], kind: ChatKind = ChatKind.GROUP, version: int = 1) -> ChatPolicy:
    members = tuple(PolicyMember(account_id, ranks[account_id]) for account_id in sorted(ranks))
    return ChatPolicy(version, kind, HistoryRule.NOTHING, members)


GROUP = policy_of({ANN: OWNER, BOB: MODERATOR, CAY: MEMBER, DAN: MEMBER})
PRIVATE = policy_of({ANN: OWNER, BOB: OWNER}, ChatKind.PRIVATE)
ALL = frozenset({ANN, BOB, CAY, DAN})


def added(account_id: bytes, by: bytes | None, device: int = 0) -> AddedLeaf:
    return AddedLeaf(leaf(account_id, device), by)


def removed(account_id: bytes, by: bytes | None, device: int = 0, *, is_listed: bool = True) -> RemovedLeaf:
    return RemovedLeaf(leaf(account_id, device), by, is_listed)


def commit(committer: bytes, **what: Any) -> JudgedCommit:
    """A commit that changes nothing, but for what is said."""
    nothing = JudgedCommit(
        committer=committer,
        is_external=False,
        proves_former_epoch=False,
        suite_id=X_WING_SUITE_ID,
        added=(),
        removed=(),
        updated=(),
        accounts_after=ALL,
        policy=GROUP,
        policy_by=None,
        changed_extensions=frozenset(),
        reinit=None,
    )
    return replace(nothing, **what)


def reinit(by: bytes | None = ANN, **what: Any) -> JudgedCommit:
    move = JudgedReinit(by, X_WING_SUITE_ID, GROUP, frozenset())
    suite_id = what.pop("from_suite", X_WING_SUITE_ID)
    return commit(CAY, reinit=replace(move, **what), suite_id=suite_id)


def following(present: frozenset[bytes] = ALL, before: ChatPolicy = GROUP, **what: Any) -> ChatPolicy:
    return next_policy(before, present, **what)


# What is allowed: the commit, by the policy before it.
ALLOWED: dict[str, tuple[ChatPolicy, JudgedCommit]] = {
    "a member renews its leaf": (GROUP, commit(CAY, updated=(UpdatedLeaf(leaf(CAY), leaf(CAY)),))),
    "a member adds a device of somebody": (GROUP, commit(CAY, added=(added(DAN, CAY, 1),))),
    "a moderator adds a person": (
        GROUP,
        commit(BOB, added=(added(EVE, BOB),), accounts_after=ALL | {EVE}, policy=following(ALL | {EVE}), policy_by=BOB),
    ),
    "a member commits what a moderator proposed": (
        GROUP,
        commit(CAY, added=(added(EVE, BOB),), accounts_after=ALL | {EVE}, policy=following(ALL | {EVE}), policy_by=CAY),
    ),
    "a moderator removes a member": (
        GROUP,
        commit(
            BOB,
            removed=(removed(DAN, BOB),),
            accounts_after=ALL - {DAN},
            policy=following(ALL - {DAN}, gone={DAN}),
            policy_by=BOB,
        ),
    ),
    "a moderator removes one device of a member": (GROUP, commit(BOB, removed=(removed(DAN, BOB, 1),))),
    "an owner removes a moderator": (
        GROUP,
        commit(
            ANN,
            removed=(removed(BOB, ANN),),
            accounts_after=ALL - {BOB},
            policy=following(ALL - {BOB}, gone={BOB}),
            policy_by=ANN,
        ),
    ),
    "a member removes a device of its own": (GROUP, commit(CAY, removed=(removed(CAY, CAY, 1),))),
    "a member leaves, another commits it": (
        GROUP,
        commit(
            DAN,
            removed=(removed(CAY, CAY),),
            accounts_after=ALL - {CAY},
            policy=following(ALL - {CAY}, gone={CAY}),
            policy_by=DAN,
        ),
    ),
    "the only owner leaves, and the moderator follows": (
        GROUP,
        commit(
            DAN,
            removed=(removed(ANN, ANN),),
            accounts_after=ALL - {ANN},
            policy=policy_of({BOB: OWNER, CAY: MEMBER, DAN: MEMBER}, version=2),
            policy_by=DAN,
        ),
    ),
    "the only owner leaves, having named who follows": (
        GROUP,
        commit(
            DAN,
            removed=(removed(ANN, ANN),),
            accounts_after=ALL - {ANN},
            policy=policy_of({BOB: MODERATOR, CAY: OWNER, DAN: MEMBER}, version=2),
            policy_by=ANN,
        ),
    ),
    "a member removes a device that is no longer listed": (
        GROUP,
        commit(CAY, removed=(removed(ANN, CAY, is_listed=False),), accounts_after=ALL - {ANN}),
    ),
    "who lost its last device comes back with another": (
        GROUP,
        commit(CAY, added=(added(ANN, CAY, 1),)),
    ),
    "a member puts a lost device back": (GROUP, commit(CAY, added=(added(ANN, CAY),), removed=(removed(ANN, CAY),))),
    "a moderator strikes out a member without devices": (
        GROUP,
        commit(BOB, accounts_after=ALL - {DAN}, policy=following(ALL - {DAN}, gone={DAN}), policy_by=BOB),
    ),
    "an owner gives ranks": (GROUP, commit(ANN, policy=following(ranks={CAY: OWNER, ANN: MEMBER}), policy_by=ANN)),
    "an owner opens the history": (
        GROUP,
        commit(ANN, policy=following(history=HistoryRule.SHARED), policy_by=ANN),
    ),
    "who comes back replaces its leaf": (
        GROUP,
        commit(DAN, is_external=True, proves_former_epoch=True, added=(added(DAN, DAN),), removed=(removed(DAN, DAN),)),
    ),
    "an owner moves the chat": (GROUP, reinit()),
    "an owner moves the chat to the hybrid suite": (GROUP, reinit(from_suite=1)),
    "an owner moves the chat between classical suites": (GROUP, reinit(from_suite=1, suite_id=3)),
    "an owner moves the chat and gives ranks": (GROUP, reinit(policy=following(ranks={CAY: OWNER}))),
    "one side leaves a private chat": (
        PRIVATE,
        commit(
            BOB,
            removed=(removed(ANN, ANN),),
            accounts_after=frozenset({BOB}),
            policy=policy_of({BOB: OWNER}, ChatKind.PRIVATE, 2),
            policy_by=BOB,
        ),
    ),
    "a device of a private chat": (
        PRIVATE,
        commit(BOB, added=(added(ANN, BOB, 1),), accounts_after=frozenset({ANN, BOB}), policy=PRIVATE),
    ),
}

# What is refused: the text that says so, the policy before, and the commit.
REFUSED: dict[str, tuple[str, ChatPolicy, JudgedCommit]] = {
    "a member adds a person": (
        "without being a moderator",
        GROUP,
        commit(CAY, added=(added(EVE, CAY),), accounts_after=ALL | {EVE}, policy=following(ALL | {EVE}), policy_by=CAY),
    ),
    "a moderator commits what a member proposed": (
        "without being a moderator",
        GROUP,
        commit(BOB, added=(added(EVE, CAY),), accounts_after=ALL | {EVE}, policy=following(ALL | {EVE}), policy_by=BOB),
    ),
    "somebody outside proposes a device": ("outside the chat", GROUP, commit(BOB, added=(added(DAN, None, 1),))),
    "an account that is not in the chat adds": ("outside the chat", GROUP, commit(EVE, added=(added(DAN, EVE, 1),))),
    "somebody outside proposes a removal": ("outside the chat", GROUP, commit(BOB, removed=(removed(DAN, None, 1),))),
    "an account that is not in the chat removes its device": (
        "outside the chat",
        GROUP,
        commit(BOB, removed=(removed(EVE, EVE),)),
    ),
    "a third person in a private chat": (
        "another person into a private chat",
        PRIVATE,
        commit(
            ANN,
            added=(added(CAY, ANN),),
            accounts_after=frozenset({ANN, BOB, CAY}),
            policy=policy_of({ANN: OWNER, BOB: OWNER, CAY: OWNER}, ChatKind.PRIVATE, 2),
            policy_by=ANN,
        ),
    ),
    "a second person after one has left a private chat": (
        "another person into a private chat",
        policy_of({ANN: OWNER}, ChatKind.PRIVATE),
        commit(
            ANN,
            added=(added(CAY, ANN),),
            accounts_after=frozenset({ANN, CAY}),
            policy=policy_of({ANN: OWNER, CAY: OWNER}, ChatKind.PRIVATE, 2),
            policy_by=ANN,
        ),
    ),
    "one side removes the other from a private chat": (
        "removed a person without the right",
        PRIVATE,
        commit(
            ANN,
            removed=(removed(BOB, ANN),),
            accounts_after=frozenset({ANN}),
            policy=policy_of({ANN: OWNER}, ChatKind.PRIVATE, 2),
            policy_by=ANN,
        ),
    ),
    "one side strikes the other out of a private chat": (
        "struck out",
        PRIVATE,
        commit(
            ANN, accounts_after=frozenset({ANN}), policy=policy_of({ANN: OWNER}, ChatKind.PRIVATE, 2), policy_by=ANN
        ),
    ),
    "a private chat becomes a group": (
        "stays private",
        PRIVATE,
        commit(
            ANN,
            accounts_after=frozenset({ANN, BOB}),
            policy=policy_of({ANN: OWNER, BOB: OWNER}, version=2),
            policy_by=ANN,
        ),
    ),
    "a member removes a member": (
        "removed a person without the right",
        GROUP,
        commit(
            CAY,
            removed=(removed(DAN, CAY),),
            accounts_after=ALL - {DAN},
            policy=following(ALL - {DAN}, gone={DAN}),
            policy_by=CAY,
        ),
    ),
    "a member removes one device of another": (
        "removed a person without the right",
        GROUP,
        commit(CAY, removed=(removed(DAN, CAY, 1),)),
    ),
    "a member puts another device in place of one": (
        "removed a person without the right",
        GROUP,
        commit(CAY, added=(added(DAN, CAY, 1),), removed=(removed(DAN, CAY),)),
    ),
    "a moderator removes an owner": (
        "removed a person without the right",
        GROUP,
        commit(
            BOB,
            removed=(removed(ANN, BOB),),
            accounts_after=ALL - {ANN},
            policy=following(ALL - {ANN}, gone={ANN}),
            policy_by=BOB,
        ),
    ),
    "a moderator removes a moderator": (
        "removed a person without the right",
        policy_of({ANN: OWNER, BOB: MODERATOR, CAY: MODERATOR, DAN: MEMBER}),
        commit(BOB, removed=(removed(CAY, BOB, 1),)),
    ),
    "a leaf changes hands inside an account": (
        "handed the place",
        GROUP,
        commit(CAY, updated=(UpdatedLeaf(leaf(CAY), leaf(CAY, 1)),)),
    ),
    "a leaf changes hands between accounts": (
        "handed the place",
        GROUP,
        commit(CAY, updated=(UpdatedLeaf(leaf(CAY), LeafOwner(DAN, leaf(CAY).device_id)),)),
    ),
    "an added person is not named": (
        "without being named",
        GROUP,
        commit(ANN, added=(added(EVE, ANN),), accounts_after=ALL | {EVE}),
    ),
    "who is there is struck out": (
        "without being named",
        GROUP,
        commit(ANN, policy=following(gone={DAN}, present=ALL - {DAN}), policy_by=ANN),
    ),
    "a person is named and not added": (
        "not added",
        GROUP,
        commit(ANN, policy=following(ALL | {EVE}), policy_by=ANN),
    ),
    "a removed person is still named": (
        "still named",
        GROUP,
        commit(ANN, removed=(removed(DAN, ANN),), accounts_after=ALL - {DAN}),
    ),
    "who left is still named": (
        "still named",
        GROUP,
        commit(ANN, removed=(removed(DAN, DAN), removed(DAN, ANN, 1, is_listed=False)), accounts_after=ALL - {DAN}),
    ),
    "a member strikes out who lost its devices": (
        "struck out",
        GROUP,
        commit(
            CAY,
            removed=(removed(DAN, CAY, is_listed=False),),
            accounts_after=ALL - {DAN},
            policy=following(ALL - {DAN}, gone={DAN}),
            policy_by=CAY,
        ),
    ),
    "a moderator strikes out an owner without devices": (
        "struck out",
        policy_of({ANN: OWNER, BOB: MODERATOR, EVE: OWNER}),
        commit(
            BOB,
            accounts_after=frozenset({ANN, BOB}),
            policy=policy_of({ANN: OWNER, BOB: MODERATOR}, version=2),
            policy_by=BOB,
        ),
    ),
    "somebody outside strikes out": (
        "struck out",
        GROUP,
        commit(CAY, accounts_after=ALL - {DAN}, policy=following(ALL - {DAN}, gone={DAN})),
    ),
    "a moderator makes itself an owner": (
        "ranks or rules",
        GROUP,
        commit(BOB, policy=following(ranks={BOB: OWNER}), policy_by=BOB),
    ),
    "a moderator makes a newcomer a moderator": (
        "ranks or rules",
        GROUP,
        commit(
            BOB,
            added=(added(EVE, BOB),),
            accounts_after=ALL | {EVE},
            policy=following(ALL | {EVE}, ranks={EVE: MODERATOR}),
            policy_by=BOB,
        ),
    ),
    "a moderator opens the history": (
        "ranks or rules",
        GROUP,
        commit(BOB, policy=following(history=HistoryRule.SHARED), policy_by=BOB),
    ),
    "somebody outside gives ranks": ("outside the chat", GROUP, commit(ANN, policy=following(ranks={CAY: OWNER}))),
    "the committer makes itself the successor": (
        "ranks or rules",
        GROUP,
        commit(
            DAN,
            removed=(removed(ANN, ANN),),
            accounts_after=ALL - {ANN},
            policy=policy_of({BOB: MODERATOR, CAY: MEMBER, DAN: OWNER}, version=2),
            policy_by=DAN,
        ),
    ),
    "the only owner leaves and nobody follows": (
        "no owner",
        GROUP,
        commit(
            DAN,
            removed=(removed(ANN, ANN),),
            accounts_after=ALL - {ANN},
            policy=policy_of({BOB: MODERATOR, CAY: MEMBER, DAN: MEMBER}, version=2),
            policy_by=DAN,
        ),
    ),
    "the only owner steps down": (
        "no owner",
        GROUP,
        commit(
            ANN, policy=policy_of({ANN: MEMBER, BOB: MODERATOR, CAY: MEMBER, DAN: MEMBER}, version=2), policy_by=ANN
        ),
    ),
    "the version stays": (
        "version",
        GROUP,
        commit(ANN, policy=replace(following(ranks={CAY: OWNER}), version=1), policy_by=ANN),
    ),
    "the version jumps": (
        "version",
        GROUP,
        commit(ANN, policy=replace(following(ranks={CAY: OWNER}), version=3), policy_by=ANN),
    ),
    "a member raises the version": (
        "ranks or rules",
        GROUP,
        commit(CAY, policy=replace(GROUP, version=2), policy_by=CAY),
    ),
    "an owner changes another extension": ("nobody may change", GROUP, commit(ANN, changed_extensions=frozenset({3}))),
    "a stranger joins by itself": (
        "who was not in the chat",
        GROUP,
        commit(EVE, is_external=True, proves_former_epoch=True, added=(added(EVE, EVE),), accounts_after=ALL | {EVE}),
    ),
    "a second device joins by itself": (
        "who was not in the chat",
        GROUP,
        commit(DAN, is_external=True, proves_former_epoch=True, added=(added(DAN, DAN, 1),)),
    ),
    "a device takes the place of another of its account": (
        "who was not in the chat",
        GROUP,
        commit(
            DAN, is_external=True, proves_former_epoch=True, added=(added(DAN, DAN, 1),), removed=(removed(DAN, DAN),)
        ),
    ),
    "who comes back proves nothing": (
        "without proof",
        GROUP,
        commit(DAN, is_external=True, added=(added(DAN, DAN),), removed=(removed(DAN, DAN),)),
    ),
    "a moderator moves the chat": ("moved the chat", GROUP, reinit(BOB)),
    "somebody outside moves the chat": ("outside the chat", GROUP, reinit(None)),
    "an owner moves the chat to a classical suite": ("weaker", GROUP, reinit(suite_id=1)),
    "an owner moves a classical chat to a suite that chats do not use": (
        "weaker",
        GROUP,
        reinit(from_suite=1, suite_id=2),
    ),
    "a suite that nobody knows is no reason to move to one": ("weaker", GROUP, reinit(from_suite=99, suite_id=99)),
    "a move that changes an extension": ("nobody may change", GROUP, reinit(changed_extensions=frozenset({5}))),
    "a move that leaves somebody behind": (
        "keeps its kind and its people",
        GROUP,
        reinit(policy=following(ALL - {DAN}, gone={DAN})),
    ),
    "a move that brings somebody": ("keeps its kind and its people", GROUP, reinit(policy=following(ALL | {EVE}))),
    "a move to another kind": (
        "keeps its kind and its people",
        PRIVATE,
        replace(
            reinit(policy=policy_of({ANN: OWNER, BOB: OWNER}, version=2)),
            accounts_after=frozenset({ANN, BOB}),
            policy=PRIVATE,
        ),
    ),
    "a move with a version that does not follow": ("version", GROUP, reinit(policy=replace(GROUP, version=5))),
    "a move to a policy without an owner": (
        "no owner",
        GROUP,
        reinit(policy=policy_of(dict.fromkeys(ALL, MEMBER), version=2)),
    ),
}


@pytest.mark.parametrize("what", ALLOWED)
def test_what_a_chats_policy_allows(what: str) -> None:
    before, judged = ALLOWED[what]
    assert check_commit(before, judged) == judged.policy


@pytest.mark.parametrize("what", REFUSED)
def test_what_a_chats_policy_refuses(what: str) -> None:
    text, before, judged = REFUSED[what]
    with pytest.raises(PolicyViolation, match=text):
        check_commit(before, judged)
