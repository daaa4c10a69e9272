"""Chat policy: who may change what in a chat. Every member applies it to every commit before it adopts it.

The policy is a GroupContext extension, so all members of an epoch agree on it, and a Welcome brings it along. It names
each account of the chat with its rank:

- anyone adds devices of accounts that are in the chat, removes devices of its own account or such as its account's
  device list no longer names, and puts a device that is lost back in the place of its former self;
- a moderator also adds accounts, and removes those of ordinary members; an owner removes anybody;
- an owner also gives ranks, says what newcomers may see, and may move the chat to another suite (never a weaker one);
- a private chat is between two owners: it gains no account, and neither removes the other;
- who joins by itself replaces its own leaf, of the same device, and proves that it was there before;
- nobody outside the chat has a say, and what else the GroupContext holds stays as it is.

A change counts as that of the member who *wanted* it, whoever commits it: a committer covers what others proposed, and
must lend its rank to nobody. An account that has a leaf is in the policy (nobody is there unseen), and who left is not.
An account whose last device was taken off its device list (a stolen phone) stays, without a leaf until it comes back.

Owns the verdict over one commit. Whose a leaf is, and whether it may have its role, is for others to say; `judging`
makes a `JudgedCommit` from what a group has staged.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from types import MappingProxyType
from typing import Annotated, NamedTuple

from crypto.errors import PolicyViolation
from crypto.identity.signing import Id
from crypto.mls.extensions import Extension, find_extension
from crypto.suites import X_WING_SUITE_ID
from crypto.wire import Max, Uint, Uint32, decode, encode, struct

POLICY_EXTENSION = 0xF5E2
"""The GroupContext extension that holds the encoded `ChatPolicy`; in the private range (RFC 9420 §17.3)."""

ACCOUNTS_MAX = 5_000
"""Most accounts of one chat. Their names take 105 kB, in the GroupContext and in each commit that changes them."""

SUITE_STRENGTH: Mapping[int, int] = MappingProxyType({1: 0, 3: 0, X_WING_SUITE_ID: 1})
"""The suites that chats use. The hybrid one is stronger than the classical ones: no chat goes back from it (A14)."""

NO_RANKS: Mapping[bytes, Rank] = MappingProxyType({})


class Rank(IntEnum):
    """What an account may do in a chat; each higher one includes the lower."""

    MEMBER = 0
    MODERATOR = 1
    OWNER = 2


class ChatKind(IntEnum):
    """A private chat has two accounts for ever; a group is open to more."""

    PRIVATE = 0
    GROUP = 1


class HistoryRule(IntEnum):
    """What a newcomer may be given of the time before it came; members can hand on what they read, this says if to."""

    NOTHING = 0
    SHARED = 1


@struct
class PolicyMember:
    """An account of the chat."""

    account_id: Id
    rank: Annotated[Rank, Uint(1)]


@struct
class ChatPolicy:
    """What the extension holds. `version` counts its changes from 1; accounts ascend. See `check_policy`."""

    version: Uint32
    kind: Annotated[ChatKind, Uint(1)]
    history: Annotated[HistoryRule, Uint(1)]
    members: Annotated[tuple[PolicyMember, ...], Max(ACCOUNTS_MAX)]

    def rank(self, account_id: bytes) -> Rank | None:
        """The rank of an account; None if it is not in the chat."""
        place = bisect_left(self.members, account_id, key=lambda member: member.account_id)
        found = self.members[place : place + 1]
        return found[0].rank if found and found[0].account_id == account_id else None

    @property
    def ranks(self) -> dict[bytes, Rank]:
        """All accounts with their rank, ascending."""
        return {member.account_id: member.rank for member in self.members}


class LeafOwner(NamedTuple):
    """Whose a leaf is, as the Authentication Service has found."""

    account_id: bytes
    device_id: bytes


@dataclass(frozen=True, slots=True)
class AddedLeaf:
    """A leaf that a commit brings. `by` is the account that wanted it; None: somebody outside the chat."""

    leaf: LeafOwner
    by: bytes | None


@dataclass(frozen=True, slots=True)
class RemovedLeaf:
    """A leaf that a commit takes away. `is_listed`: its account's newest device list still names the device."""

    leaf: LeafOwner
    by: bytes | None
    is_listed: bool


@dataclass(frozen=True, slots=True)
class UpdatedLeaf:
    """A leaf that a commit replaces in its place, by an Update or by the committer's path."""

    before: LeafOwner
    after: LeafOwner


@dataclass(frozen=True, slots=True)
class JudgedReinit:
    """The group in whose favour a commit ends this one: its suite and policy, and other extensions that differ."""

    by: bytes | None
    suite_id: int
    policy: ChatPolicy
    changed_extensions: frozenset[int]


@dataclass(frozen=True, slots=True)
class JudgedCommit:
    """What a commit does, in the words of this module. Made by `judging.judge`."""

    committer: bytes
    """The account whose device made it."""
    is_external: bool
    proves_former_epoch: bool
    """Whether it mixes in a resumption PSK of this chat, which only those know who were there."""
    suite_id: int
    added: tuple[AddedLeaf, ...]
    removed: tuple[RemovedLeaf, ...]
    updated: tuple[UpdatedLeaf, ...]
    accounts_after: frozenset[bytes]
    """Every account that has a leaf after the commit."""
    policy: ChatPolicy
    """The policy after the commit."""
    policy_by: bytes | None
    """Who wanted the GroupContext's extensions replaced; None: nobody did, or somebody outside."""
    changed_extensions: frozenset[int]
    """Types of GroupContext extensions, the policy's apart, that came, went or changed."""
    reinit: JudgedReinit | None


def founding_policy(
    kind: ChatKind, founder: bytes, others: Iterable[bytes], history: HistoryRule = HistoryRule.NOTHING
) -> ChatPolicy:
    """The policy of a new chat, for epoch 0: it names everybody whom the first commit adds.

    The founder of a group is its owner; in a private chat both are. Raises `PolicyViolation`.
    """
    others_rank = Rank.OWNER if kind is ChatKind.PRIVATE else Rank.MEMBER
    ranks = dict.fromkeys(others, others_rank) | {founder: Rank.OWNER}
    return check_policy(ChatPolicy(1, kind, history, _members_of(ranks)))


def next_policy(
    before: ChatPolicy,
    present: Collection[bytes],
    *,
    gone: Collection[bytes] = (),
    ranks: Mapping[bytes, Rank] = NO_RANKS,
    history: HistoryRule | None = None,
) -> ChatPolicy:
    """The policy that a commit must carry after which the accounts in `present` have a leaf.

    `gone` are those who leave or are removed; who is new comes as an ordinary member. `ranks` and `history` are an
    owner's changes. When all owners have gone, the member of highest rank takes over; among equals one who has a leaf,
    then the lowest id. The same policy if nothing changes. Raises `PolicyViolation`.
    """
    after = {account: rank for account, rank in before.ranks.items() if account not in gone}
    owners = [account for account, rank in after.items() if rank is Rank.OWNER]
    after |= {account: Rank.MEMBER for account in present if account not in after}
    if ranks.keys() - after.keys():
        raise PolicyViolation("a rank is given to somebody who is not in the chat")
    after |= ranks
    if after and not owners and Rank.OWNER not in after.values():
        after[min(after, key=lambda account: (-after[account], account not in present, account))] = Rank.OWNER
    changed = replace(before, history=before.history if history is None else history, members=_members_of(after))
    return before if changed == before else check_policy(replace(changed, version=before.version + 1))


def policy_extension(policy: ChatPolicy) -> Extension:
    """The policy as a GroupContext extension."""
    return Extension(POLICY_EXTENSION, encode(policy))


def with_policy(extensions: tuple[Extension, ...], policy: ChatPolicy) -> tuple[Extension, ...]:
    """The GroupContext's extensions with this policy in place of the one that is there."""
    others = tuple(each for each in extensions if each.extension_type != POLICY_EXTENSION)
    return (*others, policy_extension(policy))


def policy_in(extensions: tuple[Extension, ...]) -> ChatPolicy:
    """The policy among a GroupContext's extensions. Raises `DecodeError`, or `PolicyViolation` if there is none."""
    data = find_extension(extensions, POLICY_EXTENSION)
    if data is None:
        raise PolicyViolation("the chat says nothing about who may do what in it")
    return check_policy(decode(ChatPolicy, data))


def check_policy(policy: ChatPolicy) -> ChatPolicy:
    """Judge a policy by itself; returns it. Raises `PolicyViolation`."""
    if policy.version == 0:
        raise PolicyViolation("a chat's policy counts its changes from 1")
    if any(first.account_id >= second.account_id for first, second in itertools.pairwise(policy.members)):
        raise PolicyViolation("the accounts of a chat's policy are not strictly ascending")
    if all(member.rank is not Rank.OWNER for member in policy.members):
        raise PolicyViolation("the chat would have no owner")
    if policy.kind is ChatKind.PRIVATE:
        if len(policy.members) > 2:
            raise PolicyViolation("a private chat has two people, not more")
        if any(member.rank is not Rank.OWNER for member in policy.members):
            raise PolicyViolation("both sides of a private chat have the same rights")
    return policy


def check_founded(policy: ChatPolicy, leaves: Iterable[LeafOwner]) -> None:
    """Judge a chat that we are brought into by a Welcome: nobody is there whom its policy hides (A17, A37).

    Also for a chat that we found, branch or reinitialise, on the epoch after the first commit. Who is named and has no
    leaf lost its devices, or was never added: show it. Raises `PolicyViolation`.
    """
    check_policy(policy)
    _check_nobody_hidden(policy, {leaf.account_id for leaf in leaves})


def check_commit(before: ChatPolicy, commit: JudgedCommit) -> ChatPolicy:
    """Judge a commit by the policy of the epoch that it ends; returns that of the epoch that it begins.

    Raises `PolicyViolation`: then the commit is as good as not there, and the next one of its epoch may win.
    """
    if commit.is_external:
        _check_return(commit)
    if commit.changed_extensions:
        raise PolicyViolation("somebody changed settings of the chat that nobody may change")
    for updated in commit.updated:
        if updated.before != updated.after:
            raise PolicyViolation("somebody handed the place of a device to another device")
    for added in commit.added:
        check_added(before, added)
    readded = frozenset(added.leaf for added in commit.added)
    for removed in commit.removed:
        check_removed(before, removed, readded)
    _check_policy_change(before, commit)
    if commit.reinit is not None:
        _check_reinit(before, commit.suite_id, commit.reinit)
    return commit.policy


def check_added(before: ChatPolicy, added: AddedLeaf) -> None:
    """Judge an addition: also a proposal of one, before it is kept. Raises `PolicyViolation`."""
    rank = _rank_of_who_wants(before, added.by)
    if before.rank(added.leaf.account_id) is not None:
        return
    if before.kind is ChatKind.PRIVATE:
        raise PolicyViolation("somebody tried to bring another person into a private chat")
    if rank < Rank.MODERATOR:
        raise PolicyViolation("somebody added a person without being a moderator")


def check_removed(before: ChatPolicy, removed: RemovedLeaf, readded: Collection[LeafOwner] = ()) -> None:
    """Judge a removal: also a proposal of one, before it is kept. Raises `PolicyViolation`.

    A device that the same commit adds again (it is in `readded`) lost its state, and any member may help it.
    """
    _rank_of_who_wants(before, removed.by)
    if removed.leaf.account_id == removed.by or not removed.is_listed or removed.leaf in readded:
        return
    if not _outranks(before, removed.by, removed.leaf.account_id):
        raise PolicyViolation("somebody removed a person without the right to")


def _check_return(commit: JudgedCommit) -> None:
    """Judge who joins by itself (RFC 9420 §12.4.3.2, rule X10).

    By the device, not only by the account: or else a stolen device that was removed could come back in the place of
    its owner's other one, with the keys of an epoch from before, as long as a server withholds the new device list.
    """
    if [each.leaf for each in commit.removed] != [each.leaf for each in commit.added]:
        raise PolicyViolation("somebody joined by itself who was not in the chat")
    if not commit.proves_former_epoch:
        raise PolicyViolation("somebody joined by itself without proof that it was in the chat before")


def _check_policy_change(before: ChatPolicy, commit: JudgedCommit) -> None:
    """Judge the policy after a commit, by the leaves that it changes and by who wanted it."""
    after = check_policy(commit.policy)
    if after.kind is not before.kind:
        raise PolicyViolation("a private chat stays private, and a group a group")
    _check_nobody_hidden(after, commit.accounts_after)
    if after.ranks.keys() - before.ranks.keys() - commit.accounts_after:
        raise PolicyViolation("somebody named a person who was not added")
    _check_who_is_gone(before, commit)
    _check_what_is_said(before, after, commit.policy_by, commit.accounts_after)


def _check_who_is_gone(before: ChatPolicy, commit: JudgedCommit) -> None:
    """Who lost its last leaf is gone from the policy, unless all that happened is that its device list dropped it."""
    named = commit.policy.ranks
    leaving = {each.leaf.account_id for each in commit.removed if each.is_listed} - commit.accounts_after
    if leaving & named.keys():
        raise PolicyViolation("somebody was removed and is still named as a member")
    for account in before.ranks.keys() - named.keys() - leaving:
        if not _outranks(before, commit.policy_by, account):
            raise PolicyViolation("somebody struck out a person without the right to")


def _check_what_is_said(before: ChatPolicy, after: ChatPolicy, by: bytes | None, present: Collection[bytes]) -> None:
    """Judge ranks, history and version: an owner says, others carry over what follows from who comes and goes."""
    if after == before:
        return
    if _rank_of_who_wants(before, by) is Rank.OWNER:
        if after.version != before.version + 1:
            raise PolicyViolation("the version of the chat's policy does not follow the one before")
    elif after != next_policy(before, present, gone=before.ranks.keys() - after.ranks.keys()):
        raise PolicyViolation("somebody changed ranks or rules of the chat without being an owner")


def _check_reinit(before: ChatPolicy, suite_id: int, reinit: JudgedReinit) -> None:
    """Judge a move to another group (RFC 9420 §11.2): the same people, under a policy that an owner may set."""
    if _rank_of_who_wants(before, reinit.by) is not Rank.OWNER:
        raise PolicyViolation("somebody moved the chat without being an owner")
    if SUITE_STRENGTH.get(reinit.suite_id, -1) < SUITE_STRENGTH.get(suite_id, 0):
        raise PolicyViolation("somebody tried to move the chat to weaker encryption")
    if reinit.changed_extensions:
        raise PolicyViolation("somebody changed settings of the chat that nobody may change")
    after = check_policy(reinit.policy)
    if after.kind is not before.kind or after.ranks.keys() != before.ranks.keys():
        raise PolicyViolation("a chat that moves keeps its kind and its people")
    _check_what_is_said(before, after, reinit.by, before.ranks.keys())


def _check_nobody_hidden(policy: ChatPolicy, present: Collection[bytes]) -> None:
    if not policy.ranks.keys() >= set(present):
        raise PolicyViolation("somebody is in the chat without being named as a member")


def _rank_of_who_wants(policy: ChatPolicy, by: bytes | None) -> Rank:
    rank = None if by is None else policy.rank(by)
    if rank is None:
        raise PolicyViolation("somebody outside the chat tried to change it")
    return rank


def _outranks(policy: ChatPolicy, by: bytes | None, account_id: bytes) -> bool:
    """Whether `by` may remove that account: an owner anybody, a moderator ordinary members, in a group."""
    if policy.kind is ChatKind.PRIVATE or by is None:
        return False
    rank = policy.rank(by)
    return rank is Rank.OWNER or (rank is Rank.MODERATOR and policy.rank(account_id) is Rank.MEMBER)


def _members_of(ranks: Mapping[bytes, Rank]) -> tuple[PolicyMember, ...]:
    return tuple(PolicyMember(account_id, ranks[account_id]) for account_id in sorted(ranks))
