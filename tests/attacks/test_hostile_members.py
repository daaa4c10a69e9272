"""Members with a modified client, and servers that replay: what their proposals and Welcomes cannot do to us."""

from __future__ import annotations

import msgspec
import pytest

from client_lib import content as mimi
from client_lib.engine import generate_message_id
from client_lib.events import Alert, ChangeFailed, ChatLeft, ChatStuck
from client_lib.store import Status
from crypto.identity.accounts import device_id_of, generate_signature_key_pair
from crypto.mls import proposing
from crypto.mls.credentials import AnyCredential, BasicCredential
from crypto.mls.group import Group, generate_key_package
from crypto.mls.mls_message import encode_message
from crypto.mls.proposals import CheckedProposal, Update
from crypto.mls.secret_tree import MessageKey, RatchetKind, SecretTree
from crypto.mls.tree_nodes import LeafIndex, LeafNode, Lifetime, UpdateSource
from crypto.mls.verified_key_package import verify_key_package
from crypto.suites import X_WING, SignatureKeyPair
from protocol import frames
from protocol.codes import Code
from tests.client_lib.engine.world import NOW_MS, Person, Relay, settle
from tests.crypto.identities import signed_leaf

NOW = NOW_MS // 1000
DAY_MS = 24 * 3600 * 1000


@pytest.fixture
def people() -> tuple[Person, Person, Person]:
    relay = Relay()
    return Person(relay, 1), Person(relay, 2), Person(relay, 3)


def group_of(person: Person, chat: bytes) -> Group:
    group = person.engine.chats[chat].group
    assert group is not None
    return group


def send_raw(person: Person, chat: bytes, message: bytes) -> None:
    """Send what a modified client has made."""
    answer = person.relay.handle(person.device_id, frames.Send(generate_message_id(), chat, message))
    assert isinstance(answer, frames.Accepted)


def read(person: Person) -> None:
    """Process what has come in, without sending anything."""
    person.fetch_news()
    while person.incoming:
        person.process()


def propose_ghost(mallory: Person, chat: bytes, credential: AnyCredential) -> SignatureKeyPair:
    """Propose to add a device that nobody has certified."""
    ghost = generate_signature_key_pair()
    package = generate_key_package(X_WING, credential, ghost, lifetime=Lifetime(NOW - 3600, NOW + 3600))
    verified = verify_key_package(encode_message(package.key_package), NOW)
    _, message = group_of(mallory, chat).propose_add(verified, now=NOW)
    send_raw(mallory, chat, message)
    return ghost


@pytest.mark.breaks("L1")
def test_a_member_cannot_take_anothers_name_by_a_proposal(people: tuple[Person, Person, Person]) -> None:
    """An Update with the victim's public certificates and the attacker's key is refused where it arrives."""
    alice, mallory, victim = people
    chat = alice.create_chat("private", mallory)
    settle(alice, mallory)
    state = group_of(mallory, chat).state
    old, pair = state.leaf(state.own_leaf), state.suite.generate_hpke_key_pair()
    unsigned = LeafNode(
        pair.public,
        old.signature_key,
        victim.identity.credential,
        old.capabilities,
        UpdateSource(),
        old.extensions,
        b"",
    )
    leaf = signed_leaf(state.suite, state.signer, unsigned, state.context.group_id, state.own_leaf)
    _, message = proposing.propose(state, CheckedProposal(Update(leaf), state.own_leaf, None))
    send_raw(mallory, chat, message)
    read(alice)
    assert not group_of(alice, chat).pending_proposals
    alice.say(chat, "hello mallory")
    settle(alice, mallory)
    assert any(isinstance(event, Alert) for event in alice.events)
    assert {member.credential for member in group_of(alice, chat).members} == {
        alice.identity.credential,
        mallory.identity.credential,
    }


@pytest.mark.breaks("L1")
@pytest.mark.parametrize("kind", ["public chain of another", "garbage", "third account of a private chat"])
def test_a_proposed_ghost_is_refused_and_the_chat_goes_on(people: tuple[Person, Person, Person], kind: str) -> None:
    alice, mallory, victim = people
    chat = alice.create_chat("private", mallory)
    settle(alice, mallory)
    if kind == "third account of a private chat":
        verified = verify_key_package(mallory.claim(victim)[0], NOW)
        _, message = group_of(mallory, chat).propose_add(verified, now=NOW)
        send_raw(mallory, chat, message)
        ghost_id = victim.device_id
    else:
        garbage = BasicCredential(b"not a device chain")
        credential = garbage if kind == "garbage" else victim.identity.credential
        ghost_id = device_id_of(propose_ghost(mallory, chat, credential).public)
    read(alice)
    assert any(isinstance(event, Alert) for event in alice.events)
    alice.say(chat, "only for us two")
    read(alice)
    commits = [frame for frame in alice.outgoing if isinstance(frame, frames.Commit)]
    assert commits == []
    assert ghost_id not in {device_id_of(member.signature_key) for member in group_of(alice, chat).members}


def test_proposals_that_the_server_never_lets_in_stop_the_chat_in_words(people: tuple[Person, Person, Person]) -> None:
    """Nothing may be said before they are decided, and they cannot be: no endless round, the user is told."""
    alice, mallory, carol = people
    chat = alice.create_chat("group", mallory)
    settle(alice, mallory)
    verified = verify_key_package(mallory.claim(carol)[0], NOW)
    _, message = group_of(mallory, chat).propose_add(verified, now=NOW)
    send_raw(mallory, chat, message)
    alice.apply(alice.engine.learn_account(carol.account_id, carol.relay.accounts[carol.account_id], NOW_MS))
    read(alice)
    alice.say(chat, "hello")
    refusals = 0
    while any(isinstance(frame, frames.Commit) for frame in alice.outgoing):
        frame = alice.outgoing.popleft()
        if isinstance(frame, frames.Commit):
            refusals += 1
            alice.incoming.append(
                frames.Refused(message_id=frame.message_id, chat_id=chat, code=Code.INVALID_OBJECT, detail="no", head=2)
            )
            alice.process()
    assert refusals == 1
    (stuck,) = [event for event in alice.events if isinstance(event, ChatStuck)]
    assert "proposed" in stuck.reason


def test_a_change_that_cannot_be_made_fails_in_words_and_the_client_goes_on(
    people: tuple[Person, Person, Person],
) -> None:
    """A key package that expires while it waits in the outbox: the change fails, also after a restart."""
    alice, mallory, second = people
    chat = alice.create_chat("group", mallory)
    settle(alice, mallory)
    identity = second.identity
    short = generate_key_package(
        X_WING, identity.credential, identity.device_key, lifetime=Lifetime(NOW - 3600, NOW + 60)
    )
    second.relay.packages[second.account_id].appendleft(encode_message(short.key_package))
    alice.add(chat, second)
    mallory.apply(mallory.engine.change_members(chat, generate_message_id(), (), (), NOW_MS))
    mallory.transmit()  # mallory's commit wins, and alice hears of it a day later
    alice.restart()
    entries = [frame for frame in alice.incoming if isinstance(frame, frames.Message)]
    alice.apply(alice.engine.receive(entries, NOW_MS + DAY_MS).draft)
    assert any(isinstance(event, ChangeFailed) for event in alice.events)
    assert not alice.engine.chats[chat].outbox
    alice.restart()
    alice.say(chat, "on we go")
    settle(alice, mallory)
    assert mallory.texts(chat) == ["on we go"]


def test_removing_oneself_fails_in_words(people: tuple[Person, Person, Person]) -> None:
    alice, bob, _ = people
    chat = alice.create_chat("group", bob)
    settle(alice, bob)
    alice.remove(chat, alice)
    (failed,) = [event for event in alice.events if isinstance(event, ChangeFailed)]
    assert "removes itself" in failed.reason
    assert not alice.engine.chats[chat].outbox


def join_by_last_resort(people: tuple[Person, Person, Person]) -> tuple[bytes, frames.InboxItem]:
    """Bob is invited by his last-resort package; returns the chat and the Welcome that waits for him."""
    alice, bob, carol = people
    chat = alice.create_chat("group", carol)
    settle(alice, carol)
    own = next(own for own in bob.engine._state.key_packages.values() if own.is_last_resort)
    packages = alice.relay.packages[bob.account_id]
    packages.clear()
    packages.append(encode_message(own.bundle.key_package))
    alice.add(chat, bob)
    alice.transmit()
    (item,) = alice.relay.inbox[bob.device_id].values()
    read(alice)
    return chat, item


def test_a_welcome_replayed_after_our_removal_shows_nothing_twice_and_reuses_no_key(
    people: tuple[Person, Person, Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob, _ = people
    chat, item = join_by_last_resort(people)
    used: list[tuple[str, int, bytes]] = []
    take = SecretTree.next_key

    def record(tree: SecretTree, leaf: LeafIndex, kind: RatchetKind) -> tuple[SecretTree, int, MessageKey]:
        after, generation, key = take(tree, leaf, kind)
        used.append((kind.value, generation, key.key.reveal()))
        return after, generation, key

    monkeypatch.setattr(SecretTree, "next_key", record)
    alice.say(chat, "pay carol 100")
    settle(*people)
    first = next(entry for entry in alice.relay.chats[chat].log if entry.position == item.position + 1)
    alice.remove(chat, bob)
    settle(*people)
    assert any(isinstance(event, ChatLeft) for event in bob.events)
    before = bob.texts(chat)
    top = len(alice.relay.chats[chat].log) + 10
    bob.incoming.append(msgspec.structs.replace(item, item_id=99, position=top))
    bob.incoming.append(msgspec.structs.replace(first, position=top + 1))
    while bob.incoming:
        bob.process()
    assert bob.texts(chat) == before
    assert len(set(used)) == len(used)


def test_k10_a_used_last_resort_package_is_replaced_at_once_and_erased_in_time(
    people: tuple[Person, Person, Person],
) -> None:
    _, bob, _ = people
    old = next(own for own in bob.engine._state.key_packages.values() if own.is_last_resort)
    join_by_last_resort(people)
    settle(*people)
    fresh = [own for own in bob.engine.unpublished_key_packages if own.is_last_resort and not own.is_used]
    assert len(fresh) == 1
    assert fresh[0].bundle.reference != old.bundle.reference
    for days in (61, 121):
        bob.apply(bob.engine.receive([frames.KeyPackages(50)], NOW_MS + days * DAY_MS).draft)
    held = [own for own in bob.engine._state.key_packages.values() if own.is_last_resort]
    assert old.bundle.reference not in {own.bundle.reference for own in held}
    assert any(not own.is_used and own.not_after > NOW + 121 * 24 * 3600 for own in held)
    bob.restart()
    assert {own.bundle.reference for own in bob.engine._state.key_packages.values()} >= {
        own.bundle.reference for own in held
    }


def test_a_server_cannot_fill_our_store_with_key_packages(people: tuple[Person, Person, Person]) -> None:
    alice, _, _ = people
    for _ in range(10):
        alice.apply(alice.engine.receive([frames.KeyPackages(0)], NOW_MS).draft)
        references = [own.bundle.reference for own in alice.engine.unpublished_key_packages]
        alice.apply(alice.engine.published(references, NOW_MS))
    assert len(alice.engine._state.key_packages) <= 201


def test_somebody_elses_commit_filed_under_our_messages_id_stops_the_chat(
    people: tuple[Person, Person, Person],
) -> None:
    """Stepping over it would leave us in an epoch that a removed member still reads."""
    alice, bob, carol = people
    chat = alice.create_chat("group", bob, carol)
    settle(*people)
    alice.say(chat, "in flight")
    (sent,) = [frame for frame in alice.outgoing if isinstance(frame, frames.Send)]
    alice.outgoing.clear()
    bob.remove(chat, carol)
    bob.transmit()
    entry = alice.relay.chats[chat].log[-1]
    alice.incoming.append(msgspec.structs.replace(entry, message_id=sent.message_id))
    alice.process()
    assert alice.engine.chats[chat].status == "stuck"
    assert any(isinstance(event, ChatStuck) for event in alice.events)


def test_a32_a_long_file_name_costs_no_more_than_a_short_one(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[int] = []
    neutralise = mimi.neutralise
    monkeypatch.setattr(
        "client_lib.content.rendering.neutralise", lambda text: looked_at.append(len(text)) or neutralise(text)
    )
    assert len(mimi.safe_filename("é" * 110_000).encode()) <= 200
    assert max(looked_at) <= 200


def test_an_undecryptable_message_keeps_its_place(people: tuple[Person, Person, Person]) -> None:
    alice, bob, _ = people
    chat = alice.create_chat("group", bob)
    settle(alice, bob)
    group = group_of(bob, chat)
    message_id = generate_message_id()
    _, message = group.protect(b"no MIMI content", authenticated_data=message_id)
    assert isinstance(alice.relay.handle(bob.device_id, frames.Send(message_id, chat, message)), frames.Accepted)
    read(alice)
    (stored,) = alice.history(chat)
    assert stored.status is Status.UNDECRYPTABLE
    assert stored.position == 2
