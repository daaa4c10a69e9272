"""Random commits judged twice: by `check_commit`, and by an oracle that says the same rules in the plainest way."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from hypothesis import event, given, settings
from hypothesis import strategies as st

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
    check_policy,
    next_policy,
)
from crypto.suites import X_WING_SUITE_ID

PEOPLE = [bytes([number]) * 20 for number in range(1, 6)]
DEVICES = [bytes([number]) * 20 for number in range(3)]


@dataclass(frozen=True)
class Case:
    """A chat with its leaves, and a commit."""

    before: ChatPolicy
    leaves: frozenset[LeafOwner]
    commit: JudgedCommit


def random_case(luck: random.Random) -> Case:
    """A chat as it may be, and a commit that is often nearly right."""
    kind = luck.choice([ChatKind.PRIVATE, ChatKind.GROUP, ChatKind.GROUP])
    named = luck.sample(PEOPLE, luck.randint(1, 2 if kind is ChatKind.PRIVATE else 4))
    ranks = {each: Rank.OWNER if kind is ChatKind.PRIVATE else luck.choice(list(Rank)) for each in named}
    ranks[luck.choice(named)] = Rank.OWNER
    before = check_policy(policy_of(kind, luck.choice(list(HistoryRule)), 7, ranks))
    leaves = {LeafOwner(each, device) for each in named for device in DEVICES if luck.random() < 0.5}
    leaves.add(LeafOwner(luck.choice(named), DEVICES[0]))
    return Case(before, frozenset(leaves), random_commit(luck, before, leaves))


def policy_of(kind: ChatKind, history: HistoryRule, version: int, ranks: dict[bytes, Rank]) -> ChatPolicy:
    return ChatPolicy(version, kind, history, tuple(PolicyMember(each, ranks[each]) for each in sorted(ranks)))


def random_commit(luck: random.Random, before: ChatPolicy, leaves: set[LeafOwner]) -> JudgedCommit:
    committer = luck.choice(sorted(leaves))

    def somebody() -> bytes | None:
        return luck.choice(
            [committer.account_id] * 4 + [owner.account_id for owner in leaves] + [luck.choice(PEOPLE), None]
        )

    gone = luck.sample(sorted(leaves), luck.choice([0, 0, 1, 1, 2]) % (len(leaves) + 1))
    removed = tuple(RemovedLeaf(each, luck.choice([somebody(), each.account_id]), luck.random() < 0.7) for each in gone)
    free = sorted({LeafOwner(each, device) for each in PEOPLE for device in DEVICES} - leaves) + gone
    added = tuple(AddedLeaf(each, somebody()) for each in luck.sample(free, luck.choice([0, 0, 1, 2])))
    is_external = luck.random() < 0.15
    if is_external:
        comes = luck.choice([committer, luck.choice(free)])
        added = (AddedLeaf(comes, comes.account_id),)
        back = luck.choice([comes, committer, luck.choice(sorted(leaves))])
        removed = (RemovedLeaf(back, comes.account_id, True),) if back in leaves and luck.random() < 0.9 else ()
        committer = comes
    renewed = luck.choice(sorted(leaves))
    other = luck.choice([renewed] * 9 + [luck.choice(free)])
    updated = () if is_external or luck.random() < 0.5 else (UpdatedLeaf(renewed, other),)
    after = (leaves - {each.leaf for each in removed}) | {each.leaf for each in added}
    accounts = frozenset(each.account_id for each in after)
    return JudgedCommit(
        committer=committer.account_id,
        is_external=is_external,
        proves_former_epoch=luck.random() < 0.8,
        suite_id=luck.choice([1, X_WING_SUITE_ID]),
        added=added,
        removed=removed,
        updated=updated,
        accounts_after=accounts,
        policy=random_policy(luck, before, removed, accounts),
        policy_by=somebody(),
        changed_extensions=frozenset({3}) if luck.random() < 0.03 else frozenset(),
        reinit=None if luck.random() < 0.9 else random_reinit(luck, before, somebody()),
    )


def random_policy(
    luck: random.Random, before: ChatPolicy, removed: tuple[RemovedLeaf, ...], accounts: frozenset[bytes]
) -> ChatPolicy:
    """The policy that follows, or one that is changed in some place."""
    lost = {each.leaf.account_id for each in removed if each.is_listed} - accounts
    try:
        after = next_policy(before, accounts, gone=lost)
    except PolicyViolation:
        after = before
    if luck.random() < 0.6:
        return after
    ranks = after.ranks
    version = after.version
    kind, history = after.kind, after.history
    match luck.randrange(6):
        case 0:
            ranks[luck.choice(sorted(ranks))] = luck.choice(list(Rank))
        case 1:
            del ranks[luck.choice(sorted(ranks))]
        case 2:
            ranks[luck.choice(PEOPLE)] = luck.choice(list(Rank))
        case 3:
            kind = luck.choice(list(ChatKind))
        case 4:
            history = luck.choice(list(HistoryRule))
        case _:
            return before
    return policy_of(kind, history, luck.choice([before.version + 1] * 5 + [version, before.version + 2]), ranks)


def random_reinit(luck: random.Random, before: ChatPolicy, by: bytes | None) -> JudgedReinit:
    return JudgedReinit(
        by,
        luck.choice([1, 2, 3, X_WING_SUITE_ID, X_WING_SUITE_ID]),
        random_policy(luck, before, (), frozenset(before.ranks)),
        frozenset({3}) if luck.random() < 0.1 else frozenset(),
    )


def complaints(case: Case) -> Iterator[str]:
    """Everything that is wrong with a commit, rule by rule, each said alone."""
    before, leaves, commit = case.before, case.leaves, case.commit
    had, has = {m.account_id: m.rank for m in before.members}, {m.account_id: m.rank for m in commit.policy.members}
    gone, come = [each.leaf for each in commit.removed], [each.leaf for each in commit.added]
    there = {owner.account_id for owner in (set(leaves) - set(gone)) | set(come)}

    def may_remove(by: bytes | None, account_id: bytes) -> bool:
        if before.kind is ChatKind.PRIVATE or by not in had:
            return False
        return had[by] is Rank.OWNER or (had[by] is Rank.MODERATOR and had.get(account_id) is Rank.MEMBER)

    if commit.is_external and not (commit.proves_former_epoch and len(gone) == 1 and gone == come):
        yield "an external commit is for coming back"
    if commit.changed_extensions:
        yield "other extensions stay"
    if any(each.before != each.after for each in commit.updated):
        yield "a leaf stays its device's"
    for add in commit.added:
        if add.by not in had:
            yield "outsiders do not add"
        elif add.leaf.account_id not in had and (before.kind is ChatKind.PRIVATE or had[add.by] is Rank.MEMBER):
            yield "who is new is added by moderators, and to groups"
    for remove in commit.removed:
        own, dropped, back = remove.by == remove.leaf.account_id, not remove.is_listed, remove.leaf in come
        if remove.by not in had:
            yield "outsiders do not remove"
        elif not (own or dropped or back or may_remove(remove.by, remove.leaf.account_id)):
            yield "not anybody removes anybody"
    yield from policy_complaints(before, commit.policy)
    if not there <= set(has):
        yield "who is there is named"
    if any(account_id not in had and account_id not in there for account_id in has):
        yield "who is newly named is there"
    removed_for_good = {each.leaf.account_id for each in commit.removed if each.is_listed} - there
    if removed_for_good & set(has):
        yield "who was removed is not named"
    for account_id in set(had) - set(has) - removed_for_good:
        if not may_remove(commit.policy_by, account_id):
            yield "who lost its devices stays"
    yield from said_complaints(before, commit.policy, commit.policy_by, there)
    if commit.reinit is not None:
        yield from reinit_complaints(before, commit.suite_id, commit.reinit)


def policy_complaints(before: ChatPolicy, after: ChatPolicy) -> Iterator[str]:
    if after.kind is not before.kind:
        yield "the kind stays"
    ranks = [member.rank for member in after.members]
    if Rank.OWNER not in ranks:
        yield "somebody owns the chat"
    if after.kind is ChatKind.PRIVATE and (len(ranks) > 2 or set(ranks) != {Rank.OWNER}):
        yield "a private chat is of two equals"


def said_complaints(before: ChatPolicy, after: ChatPolicy, by: bytes | None, there: set[bytes]) -> Iterator[str]:
    if after == before:
        return
    had, has = before.ranks, after.ranks
    if after.version != before.version + 1:
        yield "each change counts"
    if by not in had:
        yield "outsiders say nothing"
    elif had[by] is not Rank.OWNER:
        expected = {account_id: had.get(account_id, Rank.MEMBER) for account_id in has}
        if has and not any(had[account_id] is Rank.OWNER for account_id in set(had) & set(has)):
            heirs = sorted(has, key=lambda each: (expected[each], each in there, [-byte for byte in each]))
            expected[heirs[-1]] = Rank.OWNER
        if has != expected or after.history is not before.history or set(had) == set(has):
            yield "owners say ranks and rules"


def reinit_complaints(before: ChatPolicy, suite_id: int, reinit: JudgedReinit) -> Iterator[str]:
    if before.ranks.get(reinit.by or b"") is not Rank.OWNER:
        yield "owners move a chat"
    if reinit.suite_id not in {1, 3, X_WING_SUITE_ID} or (suite_id == X_WING_SUITE_ID != reinit.suite_id):
        yield "not down"
    if reinit.changed_extensions:
        yield "other extensions stay"
    yield from policy_complaints(before, reinit.policy)
    if set(before.ranks) != set(reinit.policy.ranks):
        yield "all move"
    if reinit.policy != before and reinit.policy.version != before.version + 1:
        yield "each change counts"


def accepted(case: Case) -> bool:
    try:
        return check_commit(case.before, case.commit) == case.commit.policy
    except PolicyViolation:
        return False


@settings(max_examples=2_000, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_oracle_and_the_check_agree(luck: random.Random) -> None:
    case = random_case(luck)
    wrong = list(complaints(case))
    event("refused" if wrong else "accepted")
    assert accepted(case) is not bool(wrong), (wrong, case)


def test_each_rule_is_what_refuses_now_and_then() -> None:
    """Each complaint of the oracle stands alone in some cases: then nothing else would have caught it."""
    alone: Counter[str] = Counter()
    good = 0
    for seed in range(30_000):
        case = random_case(random.Random(seed))
        wrong = set(complaints(case))
        assert accepted(case) is not bool(wrong), (wrong, case)
        good += not wrong
        if len(wrong) == 1:
            alone.update(wrong)
    assert good > 3_000
    assert len(alone) == 20, alone
    assert min(alone.values()) >= 5, alone


def test_a_refused_commit_can_be_made_right() -> None:
    """With the policy that follows, and wanted by an owner, every commit of members that is refused for less passes."""
    mended = 0
    for seed in range(3_000):
        case = random_case(random.Random(seed))
        owner = next(each.account_id for each in case.before.members if each.rank is Rank.OWNER)
        commit = case.commit
        if commit.is_external or case.before.kind is ChatKind.PRIVATE or not commit.accounts_after:
            continue
        lost = {each.leaf.account_id for each in commit.removed if each.is_listed} - commit.accounts_after
        right = replace(
            commit,
            added=tuple(replace(each, by=owner) for each in commit.added),
            removed=tuple(replace(each, by=owner) for each in commit.removed),
            updated=(),
            policy=next_policy(case.before, commit.accounts_after, gone=lost),
            policy_by=owner,
            changed_extensions=frozenset(),
            reinit=None,
        )
        assert check_commit(case.before, right) == right.policy
        mended += not accepted(case)
    assert mended > 300
