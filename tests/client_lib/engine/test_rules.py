"""Rules of `crypto/mls/rules` that the client keeps, where no other test of it breaks them."""

from __future__ import annotations

import msgspec
import pytest

from client_lib.engine import generate_chat_id
from client_lib.events import Alert
from crypto.mls.group import Group
from protocol import frames
from tests.client_lib.engine.world import NOW_MS, Person, Relay, settle
from tests.crypto.matrix import without_group

NOW = NOW_MS // 1000


@pytest.fixture
def people() -> tuple[Person, Person, Person]:
    relay = Relay()
    return Person(relay, 1), Person(relay, 2), Person(relay, 3)


def group_of(person: Person, chat: bytes) -> Group:
    group = person.engine.chats[chat].group
    assert group is not None
    return group


@without_group("two clients and a relay")
def test_d1_a_proposal_is_decided_before_more_is_said(people: tuple[Person, Person, Person]) -> None:
    alice, bob, _ = people
    chat = alice.create_chat("group", bob)
    settle(*people)
    before = group_of(alice, chat)
    _, proposal = group_of(bob, chat).propose_update(now=NOW)
    position = len(alice.relay.chats[chat].log) + 1
    entry = frames.Message(
        chat_id=chat, position=position, message_id=bytes(16), received_at_ms=NOW_MS, message=proposal
    )
    alice.relay.chats[chat].log.append(entry)
    alice.fetch_news()
    while alice.incoming:
        alice.process()
    assert group_of(alice, chat).pending_proposals
    alice.say(chat, "after it")
    assert [type(frame) for frame in alice.outgoing if not isinstance(frame, frames.Ack)] == [frames.Commit]
    settle(alice)
    assert group_of(alice, chat).epoch == before.epoch + 1
    assert alice.texts(chat) == ["after it"]


@without_group("the client draws it before there is a group")
def test_s5_a_chats_id_is_drawn_here_and_as_long_as_the_hash() -> None:
    drawn = {generate_chat_id() for _ in range(64)}
    assert len(drawn) == 64
    assert {len(chat_id) for chat_id in drawn} == {32}


@without_group("two clients and a relay")
def test_s5_a_server_gives_no_chat_another_id(people: tuple[Person, Person, Person]) -> None:
    alice, bob, _ = people
    chat = alice.create_chat("group", bob)
    settle(alice)
    (number, item), *_ = alice.relay.inbox[bob.device_id].items()
    alice.relay.inbox[bob.device_id][number] = msgspec.structs.replace(item, chat_id=generate_chat_id())
    bob.fetch_news()
    while bob.incoming:
        bob.process()
    assert bob.engine.chats == {}
    assert any(isinstance(event, Alert) and "another chat" in event.text for event in bob.events)
    assert chat in alice.engine.chats


@without_group("two clients and a relay")
def test_f21_the_sender_shown_is_the_leaf_and_not_who_delivered(people: tuple[Person, Person, Person]) -> None:
    """The envelope of a message names nobody: there is no field that a server could swap."""
    assert {field.name for field in msgspec.structs.fields(frames.Message)} == {
        "chat_id", "position", "message_id", "received_at_ms", "message",
    }  # fmt: skip
    alice, bob, _ = people
    chat = alice.create_chat("group", bob)
    alice.say(chat, "from alice")
    settle(*people)
    (stored,) = bob.history(chat)
    assert (stored.sender_account_id, stored.sender_device_id) == (alice.account_id, alice.device_id)
