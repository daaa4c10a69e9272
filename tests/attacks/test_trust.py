"""A server, or a member, that lies about who is who: refused in words, the keys untouched, and the chat goes on.

The attacks are made at the engine's door, where what a server sends comes in.
"""

from __future__ import annotations

import msgspec
import pytest

from client_lib.engine import generate_message_id
from client_lib.errors import TrustError
from client_lib.events import Alert, ChangeFailed, ChatJoined, ChatStuck, MessageFailed
from client_lib.store import Status
from crypto.identity.accounts import DeviceChain, certify_device, device_id_of, generate_signature_key_pair
from crypto.identity.device_list import sign_device_list
from crypto.mls import snapshot
from crypto.mls.credentials import BasicCredential
from crypto.mls.group import generate_key_package
from crypto.mls.mls_message import encode_message
from crypto.mls.tree_nodes import Lifetime
from crypto.mls.verified_key_package import verify_key_package
from crypto.suites import SUITES, X_WING
from crypto.wire import encode
from protocol import frames
from protocol.api import Account, ClaimedKeyPackage
from tests.client_lib.engine.world import NOW_MS, Person, Relay, settle
from tests.crypto.matrix import without_group

NOW = NOW_MS // 1000
LIFETIME = Lifetime(NOW - 3600, NOW + 3600)


@pytest.fixture
def people() -> tuple[Person, Person, Person]:
    relay = Relay()
    return Person(relay, 1), Person(relay, 2), Person(relay, 3)


def claim_of(person: Person) -> ClaimedKeyPackage:
    return ClaimedKeyPackage(person.device_id, person.relay.packages[person.account_id].popleft(), last_resort=False)


def learn(person: Person, other: Person, account: Account | None = None) -> None:
    person.apply(
        person.engine.learn_account(other.account_id, account or other.relay.accounts[other.account_id], NOW_MS)
    )


def account_with_list(person: Person, version: int, *device_ids: bytes) -> Account:
    """The account with another device list, signed as its owner would."""
    identity = person.identity
    devices = frozenset({person.device_id, *device_ids})
    signed = sign_device_list(identity.signing_key, identity.signing_key_certificate, version, devices, NOW)
    return msgspec.structs.replace(person.relay.accounts[person.account_id], device_list=encode(signed))


def keys_of(person: Person, chat: bytes) -> dict[str, bytes]:
    group = person.engine.chats[chat].group
    assert group is not None
    return snapshot.rows(group)


@pytest.mark.breaks("L1", "K8")
def test_a09_a_key_package_of_somebody_else_is_refused(people: tuple[Person, Person, Person]) -> None:
    alice, bob, mallory = people
    learn(alice, bob)
    learn(alice, mallory)
    swapped = ClaimedKeyPackage(bob.device_id, claim_of(mallory).key_package, last_resort=False)
    with pytest.raises(TrustError, match="does not hold"):
        alice.engine.judge_claims(bob.account_id, [swapped], NOW_MS)


@pytest.mark.breaks("K8")
def test_a10_a_key_package_of_another_device_is_refused(people: tuple[Person, Person, Person]) -> None:
    alice, bob, _ = people
    learn(alice, bob)
    renamed = ClaimedKeyPackage(bytes(20), claim_of(bob).key_package, last_resort=False)
    with pytest.raises(TrustError, match="another device"):
        alice.engine.judge_claims(bob.account_id, [renamed], NOW_MS)


@pytest.mark.breaks("K8")
def test_a_device_that_the_server_leaves_out_is_noticed(people: tuple[Person, Person, Person]) -> None:
    alice, bob, _ = people
    learn(alice, bob, account_with_list(bob, 2, bytes(range(20))))
    with pytest.raises(TrustError, match="every device"):
        alice.engine.judge_claims(bob.account_id, [claim_of(bob)], NOW_MS)


def test_a13_an_expired_key_package_is_refused(people: tuple[Person, Person, Person]) -> None:
    alice, bob, _ = people
    learn(alice, bob)
    with pytest.raises(TrustError, match="does not hold"):
        alice.engine.judge_claims(bob.account_id, [claim_of(bob)], NOW_MS + 400 * 24 * 3600 * 1000)


@without_group("a client's engine")
@pytest.mark.breaks("S6", "S7")
def test_a14_a_classical_key_package_in_place_of_the_hybrid_one_is_refused(
    people: tuple[Person, Person, Person],
) -> None:
    alice, bob, _ = people
    learn(alice, bob)
    classical = generate_key_package(SUITES[1], bob.identity.credential, bob.identity.device_key, lifetime=LIFETIME)
    claim = ClaimedKeyPackage(bob.device_id, encode_message(classical.key_package), last_resort=False)
    with pytest.raises(TrustError, match="cipher suite"):
        alice.engine.judge_claims(bob.account_id, [claim], NOW_MS)


def test_a16_an_older_device_list_is_refused(people: tuple[Person, Person, Person]) -> None:
    alice, bob, _ = people
    learn(alice, bob, account_with_list(bob, 2))
    with pytest.raises(TrustError, match="older"):
        learn(alice, bob)
    assert alice.engine._state.device_lists[bob.account_id].version == 2


def test_another_account_than_the_one_asked_for_is_refused(people: tuple[Person, Person, Person]) -> None:
    alice, bob, mallory = people
    with pytest.raises(TrustError, match="another account"):
        learn(alice, bob, bob.relay.accounts[mallory.account_id])
    assert bob.account_id not in alice.engine._state.device_lists


def stuck_reason(someone: Person) -> str:
    """`someone` reads everything; one chat stops by that, and says why."""
    someone.fetch_news()
    while someone.incoming:
        someone.process()
    (stuck,) = [event for event in someone.events if isinstance(event, ChatStuck)]
    return stuck.reason


@pytest.mark.breaks("L1")
def test_a15_a_ghost_device_that_a_member_adds_stops_the_chat_in_words(people: tuple[Person, Person, Person]) -> None:
    """Even with carol's stolen signing key: the device is not on her list, so nobody lets it in."""
    alice, bob, carol = people
    chat = alice.create_chat("group", bob)
    settle(*people)
    before = keys_of(bob, chat)
    ghost = generate_signature_key_pair()
    certificate = carol.identity.signing_key_certificate
    chain = DeviceChain(certificate, certify_device(carol.identity.signing_key, certificate, ghost.public, NOW))
    package = generate_key_package(X_WING, BasicCredential(encode(chain)), ghost, lifetime=LIFETIME)
    group = alice.engine.chats[chat].group
    assert group is not None
    made = group.commit([verify_key_package(encode_message(package.key_package), NOW)], now=NOW)
    added = [frames.ChatDevice(carol.account_id, device_id_of(ghost.public))]
    alice.relay.handle(
        alice.device_id,
        frames.Commit(
            message_id=generate_message_id(), chat_id=chat, message=made.message, welcome=made.welcome, added=added
        ),
    )
    assert "device" in stuck_reason(bob)
    assert keys_of(bob, chat) == before


def test_a_third_account_in_a_private_chat_is_refused_by_the_other_member(
    people: tuple[Person, Person, Person],
) -> None:
    """Alice's client is modified and the server plays along; bob's is the one that holds."""
    alice, bob, carol = people
    chat = alice.create_chat("private", bob)
    settle(*people)
    group = alice.engine.chats[chat].group
    assert group is not None
    made = group.commit([verify_key_package(alice.claim(carol)[0], NOW)], now=NOW)
    commit = frames.Commit(message_id=generate_message_id(), chat_id=chat, message=made.message)
    assert isinstance(alice.relay.handle(alice.device_id, commit), frames.Accepted)
    assert stuck_reason(bob) == "a third account was brought into a private chat"


def test_our_own_client_makes_no_private_chat_of_three(people: tuple[Person, Person, Person]) -> None:
    alice, bob, carol = people
    chat = alice.create_chat("private", bob)
    settle(*people)
    alice.add(chat, carol)
    assert any(isinstance(event, ChangeFailed) and "third account" in event.reason for event in alice.events)


def test_a17_a_welcome_to_a_private_chat_of_three_is_refused(people: tuple[Person, Person, Person]) -> None:
    alice, bob, carol = people
    chat = alice.create_chat("group", bob, carol)
    alice.transmit()
    alice.relay.chats[chat].kind = "private"  # what the server tells those who are invited
    settle(*people)
    assert chat not in carol.engine.chats
    assert any(isinstance(event, Alert) and "third account" in event.text for event in carol.events)


def test_a18_a_welcome_into_a_chat_that_we_hold_changes_nothing(people: tuple[Person, Person, Person]) -> None:
    alice, bob, _ = people
    chat = alice.create_chat("group", bob)
    while alice.outgoing or alice.incoming:
        if alice.outgoing:
            alice.transmit()
        if alice.incoming:
            alice.process()
    (item,) = alice.relay.inbox[bob.device_id].values()
    settle(*people)
    before = keys_of(bob, chat)
    bob.incoming.append(item)
    bob.process()
    assert keys_of(bob, chat) == before
    alice.say(chat, "still here")
    settle(*people)
    assert bob.texts(chat) == ["still here"]


def test_a07_an_old_commit_replayed_by_the_server_is_skipped_and_the_chat_goes_on(
    people: tuple[Person, Person, Person],
) -> None:
    alice, bob, _ = people
    chat = alice.create_chat("group", bob)
    settle(*people)
    alice.apply(alice.engine.change_members(chat, generate_message_id(), (), (), NOW_MS))
    settle(*people)
    log = alice.relay.chats[chat].log
    log.append(msgspec.structs.replace(log[-1], position=len(log) + 1, message_id=generate_message_id()))
    settle(*people)
    alice.say(chat, "as if nothing had happened")
    settle(*people)
    assert bob.texts(chat)[-1] == alice.texts(chat)[-1] == "as if nothing had happened"
    assert any(isinstance(event, Alert) for event in bob.events)


@without_group("a client's engine")
@pytest.mark.breaks("R1")
def test_a04_a_replayed_message_is_shown_once(people: tuple[Person, Person, Person]) -> None:
    alice, bob, _ = people
    chat = alice.create_chat("group", bob)
    alice.say(chat, "once")
    settle(*people)
    log = alice.relay.chats[chat].log
    for message_id in (log[-1].message_id, generate_message_id()):
        log.append(msgspec.structs.replace(log[-1], position=len(log) + 1, message_id=message_id))
    settle(*people)
    bob.restart()
    settle(*people)
    assert [stored.status for stored in bob.history(chat)] == [Status.RECEIVED, *2 * [Status.UNDECRYPTABLE]]


@without_group("a client's engine")
@pytest.mark.breaks("F18", "F19")
def test_a22_a_message_filed_under_another_id_is_not_shown(people: tuple[Person, Person, Person]) -> None:
    alice, bob, _ = people
    chat = alice.create_chat("group", bob)
    settle(*people)
    alice.say(chat, "mine")
    alice.transmit()
    log = alice.relay.chats[chat].log
    log[-1] = msgspec.structs.replace(log[-1], message_id=generate_message_id())
    bob.fetch_news()
    while bob.incoming:
        bob.process()
    (stored,) = bob.history(chat)
    assert stored.status is Status.UNDECRYPTABLE
    assert "another id" in stored.reason


def test_our_own_message_that_the_server_changed_is_said_to_have_failed(people: tuple[Person, Person, Person]) -> None:
    alice, _, _ = people
    chat = alice.create_chat("group", people[1])
    settle(*people)
    alice.say(chat, "original")
    alice.transmit()
    log = alice.relay.chats[chat].log
    log[-1] = msgspec.structs.replace(log[-1], message=log[-1].message[:-1] + b"\0")
    settle(alice)
    assert [stored.status for stored in alice.history(chat)] == [Status.FAILED]
    assert any(isinstance(event, MessageFailed) for event in alice.events)
    assert not alice.engine.chats[chat].outbox


@without_group("a client's engine")
@pytest.mark.breaks("D5")
def test_a_chat_that_a_damaged_commit_has_stopped_heals_when_a_member_adds_us_again(
    people: tuple[Person, Person, Person],
) -> None:
    alice, bob, _ = people
    chat = alice.create_chat("group", bob)
    settle(*people)
    alice.apply(alice.engine.change_members(chat, generate_message_id(), (), (), NOW_MS))
    alice.transmit()
    entry = alice.relay.chats[chat].log[-1]
    bob.incoming.append(msgspec.structs.replace(entry, message=entry.message[:-1] + b"\0"))
    bob.process()
    assert bob.engine.chats[chat].status == "stuck"
    alice.remove(chat, bob)
    alice.add(chat, bob)
    alice.say(chat, "welcome back")
    settle(alice)
    bob.fetch_news()
    while bob.incoming:
        bob.process()
    settle(*people)
    assert ChatJoined(chat, alice.account_id) in bob.events
    assert bob.texts(chat) == ["welcome back"]
