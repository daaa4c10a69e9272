"""The chat's policy as a value: founded, followed, found among extensions, and refused where it cannot be."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import DecodeError, PolicyViolation, UsageError
from crypto.identity.chat_policy import (
    ACCOUNTS_MAX,
    POLICY_EXTENSION,
    ChatKind,
    ChatPolicy,
    HistoryRule,
    PolicyMember,
    Rank,
    check_added,
    check_commit,
    check_founded,
    check_policy,
    check_removed,
    founding_policy,
    next_policy,
    policy_extension,
    policy_in,
    with_policy,
)
from crypto.mls.extensions import Extension
from crypto.wire import decode, encode
from tests.crypto.test_chat_policy import (
    ALL,
    ANN,
    BOB,
    CAY,
    DAN,
    EVE,
    GROUP,
    MEMBER,
    MODERATOR,
    OWNER,
    PRIVATE,
    added,
    commit,
    following,
    leaf,
    person,
    policy_of,
    removed,
)


def test_a_founder_owns_a_group_and_shares_a_private_chat() -> None:
    group = founding_policy(ChatKind.GROUP, CAY, [ANN, BOB], HistoryRule.SHARED)
    assert group == ChatPolicy(
        1,
        ChatKind.GROUP,
        HistoryRule.SHARED,
        (PolicyMember(ANN, MEMBER), PolicyMember(BOB, MEMBER), PolicyMember(CAY, OWNER)),
    )
    assert founding_policy(ChatKind.PRIVATE, BOB, [ANN]) == PRIVATE
    assert founding_policy(ChatKind.GROUP, ANN, [ANN]).ranks == {ANN: OWNER}
    with pytest.raises(PolicyViolation, match="two people"):
        founding_policy(ChatKind.PRIVATE, ANN, [BOB, CAY])


def test_next_policy_says_what_changes_and_nothing_else() -> None:
    assert next_policy(GROUP, ALL) is GROUP
    assert next_policy(GROUP, {ANN}) is GROUP, "who has no leaf at present stays"
    assert following(ALL | {EVE}).ranks == GROUP.ranks | {EVE: MEMBER}
    assert following(ALL | {EVE}, ranks={EVE: MODERATOR}).ranks == GROUP.ranks | {EVE: MODERATOR}
    assert following(history=HistoryRule.SHARED) == replace(GROUP, version=2, history=HistoryRule.SHARED)
    assert following(history=HistoryRule.NOTHING) is GROUP
    with pytest.raises(PolicyViolation, match="not in the chat"):
        following(ranks={EVE: OWNER})
    with pytest.raises(PolicyViolation, match="no owner"):
        following(ranks={ANN: MEMBER})
    with pytest.raises(PolicyViolation, match="no owner"):
        next_policy(GROUP, (), gone=ALL)


def test_succession_is_the_same_for_everybody() -> None:
    """Highest rank first, then who has a leaf before who has none, then the lowest id."""
    left = {BOB: MODERATOR, CAY: MODERATOR, DAN: MEMBER}
    before = policy_of({ANN: OWNER} | left)
    assert next_policy(before, left, gone={ANN}).ranks == left | {BOB: OWNER}
    assert next_policy(before, {CAY, DAN}, gone={ANN}).ranks == left | {CAY: OWNER}
    assert next_policy(before, {DAN}, gone={ANN}).ranks == left | {BOB: OWNER}, "being away costs nobody its rank"
    assert next_policy(before, left, gone={ANN}, ranks={DAN: OWNER}).ranks == left | {DAN: OWNER}
    assert next_policy(before, (), gone={ANN}).ranks == left | {BOB: OWNER}


@given(st.dictionaries(st.binary(min_size=20, max_size=20), st.sampled_from(Rank)), st.binary(min_size=20, max_size=20))
def test_rank_finds_every_account_and_no_other(ranks: dict[bytes, Rank], other: bytes) -> None:
    policy = policy_of(ranks)
    assert policy.ranks == ranks
    assert {account_id: policy.rank(account_id) for account_id in ranks} == ranks
    assert policy.rank(other) == ranks.get(other)


MALFORMED = {
    "counts its changes": replace(GROUP, version=0),
    "strictly ascending": replace(GROUP, members=GROUP.members[::-1]),
    "no owner": replace(GROUP, members=()),
    "two people": policy_of({ANN: OWNER, BOB: OWNER, CAY: OWNER}, ChatKind.PRIVATE),
    "the same rights": policy_of({ANN: OWNER, BOB: MEMBER}, ChatKind.PRIVATE),
}


@pytest.mark.parametrize("text", MALFORMED)
def test_a_policy_that_cannot_be(text: str) -> None:
    with pytest.raises(PolicyViolation, match=text):
        check_policy(MALFORMED[text])
    with pytest.raises(PolicyViolation, match=text):
        policy_in((policy_extension(MALFORMED[text]),))
    with pytest.raises(PolicyViolation, match=text):
        check_founded(MALFORMED[text], [])
    with pytest.raises(PolicyViolation):
        check_commit(GROUP, commit(ANN, policy=MALFORMED[text], policy_by=ANN))


def test_no_account_is_named_twice() -> None:
    with pytest.raises(PolicyViolation, match="strictly ascending"):
        check_policy(replace(GROUP, members=(GROUP.members[0], *GROUP.members)))


def test_a_policy_is_found_among_extensions() -> None:
    other = Extension(0xF5E0, b"other")
    extensions = (policy_extension(GROUP), other)
    assert extensions[0].extension_type == POLICY_EXTENSION
    assert policy_in(extensions) == GROUP
    assert with_policy(extensions, PRIVATE) == (other, policy_extension(PRIVATE))
    with pytest.raises(PolicyViolation, match="says nothing"):
        policy_in((other,))
    with pytest.raises(DecodeError):
        policy_in((Extension(POLICY_EXTENSION, b"\x00"),))


def test_the_accounts_of_a_policy_are_bounded() -> None:
    most = founding_policy(ChatKind.GROUP, person(0), [number.to_bytes(20, "big") for number in range(1, ACCOUNTS_MAX)])
    encoded = encode(most)
    assert len(most.members) == ACCOUNTS_MAX
    assert decode(ChatPolicy, encoded) == most
    one_more = replace(most, members=(*most.members, PolicyMember(b"\xff" * 20, MEMBER)))
    with pytest.raises(UsageError):
        encode(one_more)


def test_the_encoding_stays_as_it_is() -> None:
    assert encode(PRIVATE).hex() == "00000001" + "00" + "00" + "2a" + "01" * 20 + "02" + "02" * 20 + "02"
    for place, unknown in ((4, 2), (5, 2), (27, 3)):
        changed = bytearray(encode(PRIVATE))
        changed[place] = unknown
        with pytest.raises(DecodeError):
            decode(ChatPolicy, bytes(changed))


def test_a17_a_welcome_to_a_chat_that_hides_somebody_is_refused() -> None:
    check_founded(GROUP, [leaf(account_id) for account_id in ALL])
    check_founded(GROUP, [leaf(ANN), leaf(ANN, 1)])
    with pytest.raises(PolicyViolation, match="without being named"):
        check_founded(GROUP, [leaf(ANN), leaf(EVE)])


def test_a_proposal_is_judged_before_it_is_kept() -> None:
    check_added(GROUP, added(EVE, BOB))
    check_removed(GROUP, removed(CAY, CAY))
    with pytest.raises(PolicyViolation, match="without being a moderator"):
        check_added(GROUP, added(EVE, CAY))
    with pytest.raises(PolicyViolation, match="without the right"):
        check_removed(GROUP, removed(DAN, CAY))
