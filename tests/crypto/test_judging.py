"""The chat's policy over real commits: what a group stages, judged, adopted or refused, and the attacks on it.

Where an attack is refused, MLS has accepted the commit: nothing but the policy stands in the way.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from crypto.errors import CryptoError, PolicyViolation
from crypto.identity.chat_policy import (
    POLICY_EXTENSION,
    ChatKind,
    HistoryRule,
    LeafOwner,
    Rank,
    check_commit,
    check_founded,
    policy_in,
    with_policy,
)
from crypto.mls.extensions import Extension, ExtensionType, ExternalSender, ExternalSenders, RequiredCapabilities
from crypto.mls.group import (
    Group,
    KeptPSKs,
    PendingCommit,
    PendingJoin,
    StagedCommit,
    external_join,
    join,
    propose_as_external_sender,
    propose_own_addition,
    reinitialise,
    verify_group_info,
)
from crypto.mls.proposals import Remove
from crypto.mls.psk import ExternalPSK, ResumptionPSK, ResumptionPSKUsage
from crypto.mls.tree_nodes import LeafIndex
from crypto.secret import Secret
from crypto.suites import SUITES, X_WING, suite_of
from crypto.wire import encode, encode_as
from tests.crypto.chats import OPEN, SUPPORTED, Chat, DevicePerson, account_of, chat_of, id_of, whose
from tests.crypto.forge import path_leaf
from tests.crypto.world import LIFETIME, NOW, won

both_suites = pytest.mark.parametrize("suite", [suite_of(1), X_WING], ids=["classical", "hybrid"])


def leaf_of(name: str) -> LeafOwner:
    account = account_of(name)
    return LeafOwner(account.account_id, account.devices[int(name.partition("/")[2] or 0)].device_id)


def appointed(chat: Chat, **ranks: Rank) -> Chat:
    """The same chat after its owner has given ranks."""
    chat.accept("ann", chat.change("ann", policy=chat.after("ann", ranks={id_of(name): ranks[name] for name in ranks})))
    return chat


@both_suites
def test_a_chat_lives_by_its_policy(suite: Any) -> None:
    chat = chat_of("ann", "ann/1", "bob", suite=suite)
    appointed(chat, bob=Rank.MODERATOR)
    chat.accept("bob", chat.change("bob", adds=["cay"]))
    chat.accept("cay", chat.change("cay", adds=["cay/1", "ann/2"]))
    chat.accept("cay/1", chat.change("cay/1", removes=["cay"]))
    chat.accept("bob", chat.change("bob"))
    chat.accept("ann/1", chat.change("ann/1", removes=["bob"]))
    assert chat.policy("cay/1").ranks == {id_of("ann"): Rank.OWNER, id_of("cay"): Rank.MEMBER}
    assert chat.policy("cay/1").version == 4
    chat.goes_on()


def test_what_a_commit_does_is_told_with_who_wanted_it() -> None:
    chat = chat_of("ann", "bob", "cay")
    chat.deliver_proposal("ann", chat["ann"].propose_add(chat.person("dan").offer(), now=NOW))
    chat.deliver_proposal("cay", chat["cay"].propose_remove(chat.leaf("cay"), now=NOW))
    policy = chat.after("bob", ["dan"], ["cay"])
    pending = chat.change("bob", policy=policy)
    judged = chat.judged("ann", chat.stage("ann", pending.message))
    assert (judged.committer, judged.policy_by, judged.is_external) == (id_of("bob"), id_of("bob"), False)
    assert [(each.leaf, each.by) for each in judged.added] == [(leaf_of("dan"), id_of("ann"))]
    assert [(each.leaf, each.by, each.is_listed) for each in judged.removed] == [(leaf_of("cay"), id_of("cay"), True)]
    assert [(each.before, each.after) for each in judged.updated] == [(leaf_of("bob"), leaf_of("bob"))]
    assert judged.accounts_after == {id_of("ann"), id_of("bob"), id_of("dan")}
    assert (judged.policy, judged.changed_extensions, judged.reinit) == (policy, frozenset(), None)
    assert (judged.suite_id, judged.proves_former_epoch) == (1, False)
    chat.people["cay"].group = None
    chat.accept("bob", pending)
    chat.goes_on()


def test_the_last_owner_leaves_and_the_chat_has_another() -> None:
    chat = appointed(chat_of("ann", "bob", "cay"), cay=Rank.MODERATOR)
    chat.deliver_proposal("ann", chat["ann"].propose_remove(chat.leaf("ann"), now=NOW))
    chat.refuse(chat.change("bob", policy=chat.policy("bob")).message, "still named", but="bob")
    chat.accept("bob", chat.change("bob", policy=chat.after("bob", removes=["ann"])))
    assert chat.policy("bob").ranks == {id_of("bob"): Rank.MEMBER, id_of("cay"): Rank.OWNER}
    chat.goes_on()


def test_a_lost_device_is_put_back_by_anybody() -> None:
    chat = chat_of("ann", "bob", "cay")
    former = chat["cay"]
    pending = chat.change("bob", adds=["cay"], removes=["cay"], policy=chat.policy("bob"))
    for name in ("ann",):
        check_commit(chat.policy(name), chat.judged(name, chat.stage(name, pending.message)))
    staged = former.receive(pending.message, NOW)
    assert isinstance(staged, StagedCommit)
    assert staged.removes_us
    check_commit(policy_in(former.extensions), chat.judged("cay", staged))
    chat.win("bob", pending)
    chat.goes_on()


def test_a_device_that_left_its_list_goes_and_its_account_stays_named() -> None:
    """A stolen phone, the only device of its owner: anybody puts it out, and puts her new one in."""
    chat = chat_of("ann", "bob", "cay")
    chat.refuse(chat.change("cay", removes=["ann"], policy=chat.policy("cay")).message, "without the right", but="cay")
    chat.unlisted.add(leaf_of("ann").device_id)
    chat.accept("cay", chat.change("cay", removes=["ann"]))
    assert id_of("ann") in chat.policy("bob").ranks
    chat.accept("bob", chat.change("bob", adds=["ann/1"]))
    chat.accept("ann/1", chat.change("ann/1", policy=chat.after("ann/1", history=HistoryRule.SHARED)))
    chat.goes_on()


def test_a_private_chat_gains_nobody() -> None:
    chat = chat_of("ann", "bob", kind=ChatKind.PRIVATE)
    chat.accept("bob", chat.change("bob", adds=["ann/1"]))
    three = chat.change("ann", adds=["cay"], policy=chat.policy("ann"))
    chat.refuse(three.message, "another person into a private chat", but="ann")
    chat.refuse(chat.change("ann", removes=["bob"], policy=chat.policy("ann")).message, "without the right", but="ann")
    chat.goes_on()


def rejoin(chat: Chat, name: str, place: str | None, *, by: str = "ann", **options: Any) -> PendingJoin:
    """`name` comes in by itself, in the place of the device `place`."""
    someone = chat.person(name)
    verified = verify_group_info(chat[by].group_info(), now=NOW)
    removes = None if place is None else chat_leaf(chat, by, place)
    return external_join(
        verified,
        someone.credential,
        someone.signer,
        removes=removes,
        supported_extensions=SUPPORTED,
        config=chat.config,
        **options,
    )


def chat_leaf(chat: Chat, by: str, name: str) -> LeafIndex:
    return next(leaf for leaf, owner in chat.owners(by).items() if owner == leaf_of(name))


def former_psk(group: Group) -> tuple[ResumptionPSK, KeptPSKs]:
    psk = ResumptionPSK(ResumptionPSKUsage.APPLICATION, group.group_id, group.epoch)
    return psk, KeptPSKs(4).remember(group.group_id, group.epoch, group.resumption_psk)


@both_suites
def test_a_device_that_lost_its_state_comes_back_by_itself(suite: Any) -> None:
    chat = chat_of("ann", "bob", "cay", suite=suite)
    psk, kept = former_psk(chat["cay"])
    chat.accept("ann", chat.change("ann"))
    chat.people["cay"].group = None
    pending = rejoin(chat, "cay", "cay", psks=[psk], find_psk=kept.find)
    for someone in chat.members:
        staged = chat.stage(someone.name, pending.message, find_psk=kept.find)
        judged = chat.judged(someone.name, staged)
        assert judged.proves_former_epoch
        assert [each.by for each in (*judged.added, *judged.removed)] == [id_of("cay")] * 2
        check_commit(chat.policy(someone.name), judged)
        someone.group = someone.view.adopt(staged)
    chat.people["cay"].group = pending.next_group
    chat.goes_on()


PAPER = ExternalPSK(b"paper")


@pytest.mark.parametrize("what", ["nothing", "an external key", "another chat's epoch"])
def test_a17_who_comes_back_without_proof_is_refused(what: str) -> None:
    """The thief of a device's keys, without the state of any epoch."""
    chat = chat_of("ann", "bob", "cay")
    psk = ResumptionPSK(ResumptionPSKUsage.APPLICATION, b"another chat", 1)
    psks = {"nothing": [], "an external key": [PAPER], "another chat's epoch": [psk]}[what]
    chat.people["cay"].group = None
    lookup = {"find_psk": lambda _: Secret(b"known to everybody")}
    pending = rejoin(chat, "cay", "cay", psks=psks, **lookup)
    chat.refuse(pending.message, "without proof", but="cay", **lookup)
    chat.people.pop("cay")


@both_suites
def test_a17_a_ghost_that_joins_by_itself_is_refused(suite: Any) -> None:
    """The server gives a GroupInfo to its own client, or to a new device of a member: MLS alone would let it in."""
    chat = chat_of("ann", "bob", suite=suite)
    psk, kept = former_psk(chat["bob"])
    for ghost in ("eve", "bob/1"):
        pending = rejoin(chat, ghost, None, psks=[psk], find_psk=kept.find)
        chat.refuse(pending.message, "who was not in the chat", but=ghost, find_psk=kept.find)
    chat.goes_on()


def test_a17_a_ghost_in_a_welcome_is_refused() -> None:
    """Ann's server adds a ghost that the policy does not name; who is welcomed into that sees it at once."""
    chat = chat_of("ann", "bob")
    pending = chat.change("ann", adds=["cay", "eve"], policy=chat.after("ann", ["cay"]))
    cay = chat.people["cay"]
    assert cay.bundle is not None
    assert pending.welcome is not None
    staged = join(pending.welcome, {cay.bundle.reference: cay.bundle}, cay.signer, now=NOW, config=cay.config)
    with pytest.raises(PolicyViolation, match="without being named"):
        check_founded(policy_in(staged.extensions), map(whose, staged.members))
    chat.refuse(pending.message, "without being named", but="ann")
    honest = chat.change("ann", adds=["cay"])
    chat.accept("ann", honest)
    check_founded(chat.policy("cay"), map(whose, chat["cay"].members))
    chat.goes_on()


@both_suites
def test_a27_what_a_member_may_not_commit_is_refused_by_every_client(suite: Any) -> None:
    chat = appointed(chat_of("ann", "bob", "cay", suite=suite), bob=Rank.MODERATOR)
    chat.refuse(chat.change("cay", adds=["dan"]).message, "without being a moderator", but="cay")
    chat.refuse(chat.change("cay", removes=["bob"]).message, "without the right", but="cay")
    chat.refuse(chat.change("bob", removes=["ann"]).message, "without the right", but="bob")
    ranks = chat.after("bob", ranks={id_of("bob"): Rank.OWNER})
    chat.refuse(chat.change("bob", policy=ranks).message, "without being an owner", but="bob")
    no_owner = replace(chat.policy("ann"), version=9, members=chat.policy("ann").members[:0])
    chat.refuse(chat.change("ann", policy=no_owner).message, "no owner", but="ann")
    chat.goes_on()


def test_a27_a_moderator_does_not_lend_its_rank_to_a_proposal() -> None:
    """A member proposes an addition; the moderator's client would commit whatever is valid in MLS."""
    chat = appointed(chat_of("ann", "bob", "cay"), bob=Rank.MODERATOR)
    before = {someone.name: someone.view for someone in chat.members}
    chat.deliver_proposal("cay", chat["cay"].propose_add(chat.person("dan").offer(), now=NOW))
    pending = chat.change("bob", policy=chat.after("bob", ["dan"]))
    chat.refuse(pending.message, "without being a moderator", but="bob")
    for name, view in before.items():  # each drops the proposal, too
        chat.people[name].group = view
    chat.goes_on()


def test_a27_nobody_outside_has_a_say() -> None:
    """A chat that lists an external sender, and a client that proposes its own addition: an owner commits for them."""
    keys = suite_of(1).signature.generate()
    sender = ExternalSender(keys.public, account_of("eve").devices[0].credential)
    others = (Extension(ExtensionType.EXTERNAL_SENDERS, encode_as(ExternalSenders, (sender,))),)
    chat = chat_of("ann", "bob", "cay", others=others)
    eve = chat.person("eve")
    eve.offer()
    assert eve.bundle is not None
    group_id, epoch = chat["ann"].group_id, chat["ann"].epoch
    asked = propose_own_addition(eve.bundle, eve.signer, group_id, epoch)
    ordered = propose_as_external_sender(suite_of(1), group_id, epoch, 0, keys, Remove(chat.leaf("cay")))
    for message, policy in ((asked, chat.after("ann", ["eve"])), (ordered, chat.after("ann", [], ["cay"]))):
        before = {someone.name: someone.view for someone in chat.members}
        for someone in chat.members:
            received = someone.view.receive(message, NOW)
            assert not isinstance(received, StagedCommit)
            someone.group = received.group
        chat.refuse(chat.change("ann", policy=policy).message, "outside the chat", but="ann")
        for name, view in before.items():
            chat.people[name].group = view
    chat.goes_on()


@pytest.mark.parametrize("other", ["bob/1", "cay"])
def test_a_leaf_does_not_change_hands(other: str) -> None:
    """Bob's device renews its leaf as his other device, or as somebody else's: MLS leaves that to the application."""
    chat = chat_of("ann", "bob")
    device = account_of(other).devices[int(other == "bob/1")]
    with path_leaf(
        lambda leaf: replace(leaf, credential=device.credential, signature_key=device.keys.public), device.keys
    ):
        pending = chat.change("bob")
    chat.refuse(pending.message, "handed the place", but="bob")
    chat.goes_on()


def test_other_extensions_of_the_chat_stay() -> None:
    required = RequiredCapabilities((POLICY_EXTENSION,), (), ())
    others = (
        Extension(ExtensionType.REQUIRED_CAPABILITIES, encode(required)),
        Extension(0xF5E0, b"something of ours"),
    )
    chat = chat_of("ann", "bob", others=others)
    policy = chat.policy("ann")
    lists = {
        "dropped": with_policy((others[0],), policy),
        "required capabilities dropped": with_policy((others[1],), policy),
        "changed": with_policy((others[0], Extension(0xF5E0, b"something else")), policy),
        "added": with_policy(
            (*others, Extension(ExtensionType.EXTERNAL_SENDERS, encode_as(ExternalSenders, ()))), policy
        ),
    }
    for extensions in lists.values():
        chat.refuse(chat.change("ann", extensions=extensions).message, "nobody may change", but="ann")
    chat.refuse(chat.change("ann", extensions=others).message, "says nothing", but="ann")
    chat.accept("ann", chat.change("ann", extensions=with_policy(others[::-1], policy)))
    chat.goes_on()


@both_suites
def test_a36_a_removed_member_with_its_whole_state_does_not_come_back(suite: Any) -> None:
    """The server gives it the GroupInfo of each epoch. It has every key of the epochs that it was in."""
    chat = chat_of("ann", "bob", "cay", "dan", suite=suite)
    psk, kept = former_psk(chat["cay"])
    cay = chat["cay"]
    chat.accept("ann", chat.change("ann", removes=["cay"]))
    assert chat.people["cay"].group is None
    pending = rejoin(chat, "cay", None, psks=[psk], find_psk=kept.find)
    chat.refuse(pending.message, "who was not in the chat", but="cay", find_psk=kept.find)
    with pytest.raises(CryptoError):
        cay.receive(chat.say("ann", b"without cay"), NOW)
    chat.goes_on()


def test_a36_a_stolen_device_does_not_come_back_in_its_owners_place() -> None:
    """It has the epoch's keys and its account is in the chat; a server withholds the list that no longer names it."""
    chat = chat_of("ann", "bob", "bob/1")
    psk, kept = former_psk(chat["bob/1"])
    chat.accept("bob", chat.change("bob", removes=["bob/1"]))
    pending = rejoin(chat, "bob/1", "bob", psks=[psk], find_psk=kept.find)
    chat.refuse(pending.message, "who was not in the chat", but="bob/1", find_psk=kept.find)
    chat.goes_on()


def test_a37_a_shadow_account_is_seen_or_refused() -> None:
    """An owner adds an account and does not name it: refused. It names it: every member has it before it sends."""
    chat = chat_of("ann", "bob", "cay")
    chat.refuse(chat.change("ann", adds=["eve"], policy=chat.policy("ann")).message, "without being named", but="ann")
    pending = chat.change("ann", adds=["eve"])
    for name in ("bob", "cay"):
        judged = chat.judged(name, chat.stage(name, pending.message))
        assert check_commit(chat.policy(name), judged).ranks.keys() - chat.policy(name).ranks.keys() == {id_of("eve")}
    chat.accept("ann", pending)
    chat.goes_on()


def reinit(chat: Chat, name: str, suite_id: int, extensions: tuple[Extension, ...] | None = None) -> PendingCommit:
    """`name` commits the end of the chat in favour of another."""
    kept = chat[name].extensions if extensions is None else extensions
    after, message = chat[name].propose_reinit(b"the chat that follows", SUITES[suite_id], kept, now=NOW)
    chat.people[name].group = after
    for someone in chat.members:
        if someone.name != name:
            received = someone.view.receive(message, NOW)
            assert not isinstance(received, StagedCommit)
            someone.group = received.group
    return after.commit(now=NOW)


def test_a14_a_chat_does_not_go_back_to_a_classical_suite() -> None:
    chat = chat_of("ann", "bob", suite=X_WING)
    before = {someone.name: someone.view for someone in chat.members}
    for suite_id in (1, 3, 2):
        chat.refuse(reinit(chat, "ann", suite_id).message, "weaker encryption", but="ann")
        for name, view in before.items():
            chat.people[name].group = view
    chat.goes_on()


def test_a_member_does_not_move_the_chat() -> None:
    chat = appointed(chat_of("ann", "bob", "cay"), bob=Rank.MODERATOR)
    chat.refuse(reinit(chat, "bob", X_WING.id).message, "without being an owner", but="bob")


def test_an_owner_moves_a_chat_to_the_hybrid_suite() -> None:
    chat = chat_of("ann", "bob")
    policy = chat.after("ann", history=HistoryRule.SHARED)
    pending = reinit(chat, "ann", X_WING.id, with_policy(chat["ann"].extensions, policy))
    chat.accept("ann", pending)
    ann, bob = (DevicePerson(name, X_WING, account_of(name).devices[0].keys, OPEN) for name in ("ann", "bob"))
    made = reinitialise(
        chat["ann"],
        [bob.offer()],
        ann.credential,
        ann.signer,
        lifetime=LIFETIME,
        now=NOW,
        supported_extensions=SUPPORTED,
    )
    assert bob.bundle is not None
    assert made.welcome is not None
    bundles = {bob.bundle.reference: bob.bundle}
    staged = join(made.welcome, bundles, bob.signer, now=NOW, previous=chat["bob"], config=OPEN)
    assert policy_in(staged.extensions) == policy
    check_founded(policy, map(whose, staged.members))
    assert staged.accept().epoch_authenticator == won(made).epoch_authenticator


def test_a31_the_first_valid_commit_in_the_logs_order_wins_for_all() -> None:
    """A member's bad commit stands first in the log, garbage second, two good ones after: all choose the same one.

    What a refusal leaves behind is nothing, so the members need not agree on anything but the log.
    """
    chat = chat_of("ann", "bob", "cay", "dan")
    log = [
        chat.change("dan", adds=["eve"]).message,
        b"garbage",
        chat.change("dan", removes=["cay"], policy=chat.policy("dan")).message,
        chat.change("ann").message,
        chat.change("ann", adds=["eve"]).message,
    ]
    winners = {name: first_valid(chat, name, log) for name in ("bob", "cay")}
    assert winners["bob"][0] == winners["cay"][0] == 3
    assert winners["bob"][1].epoch_authenticator == winners["cay"][1].epoch_authenticator


def first_valid(chat: Chat, name: str, log: list[bytes]) -> tuple[int, Group]:
    """The rule of order, as a member follows it: the position that wins, and where it leads."""
    for position, message in enumerate(log):
        try:
            staged = chat.stage(name, message)
            check_commit(chat.policy(name), chat.judged(name, staged))
        except CryptoError:
            continue
        return position, chat[name].adopt(staged)
    raise AssertionError("no commit is valid")
