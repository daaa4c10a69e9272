"""The engine's flows in a world without time: talk, change members, lose races, die at every step."""

from __future__ import annotations

import pytest

from client_lib.engine.state import Change
from client_lib.events import ChangeDone, ChatJoined, ChatLeft, MembersChanged
from client_lib.store import Status
from crypto.mls.group import Group
from crypto.mls.rules import message as message_rules
from tests.client_lib.engine.world import Person, Relay, settle
from tests.crypto.matrix import without_group


@pytest.fixture
def people() -> tuple[Person, Person, Person]:
    relay = Relay()
    return Person(relay, 1), Person(relay, 2), Person(relay, 3)


def groups_of(chat: bytes, *people: Person) -> list[Group]:
    groups = [person.engine.chats[chat].group for person in people]
    assert None not in groups
    return [group for group in groups if group is not None]


def test_two_people_talk(people: tuple[Person, Person, Person]) -> None:
    alice, bob, _ = people
    chat = alice.create_chat("private", bob)
    alice.say(chat, "hello")
    settle(alice, bob)
    bob.say(chat, "hello yourself")
    settle(alice, bob)
    assert alice.texts(chat) == bob.texts(chat) == ["hello", "hello yourself"]
    assert [stored.status for stored in alice.history(chat)] == [Status.SENT, Status.RECEIVED]
    assert ChatJoined(chat, alice.account_id) in bob.events


def test_a_message_queued_behind_an_addition_reaches_the_new_member(people: tuple[Person, Person, Person]) -> None:
    alice, bob, carol = people
    chat = alice.create_chat("group", bob)
    settle(alice, bob)
    alice.say(chat, "before")
    alice.add(chat, carol)
    alice.say(chat, "welcome, all")
    settle(alice, bob, carol)
    assert carol.texts(chat) == ["welcome, all"]
    assert bob.texts(chat) == ["before", "welcome, all"]
    assert MembersChanged(chat, (carol.account_id,), (), alice.account_id) in bob.events


def test_two_commits_at_once_end_in_one_epoch_with_both_done(people: tuple[Person, Person, Person]) -> None:
    alice, bob, carol = people
    dave = Person(alice.relay, 4)
    chat = alice.create_chat("group", bob)
    settle(alice, bob)
    alice.add(chat, carol)
    bob.add(chat, dave)  # made for the same epoch: one of the two loses and is made again
    settle(alice, bob, carol, dave)
    groups = groups_of(chat, alice, bob, carol, dave)
    assert len({group.epoch_authenticator for group in groups}) == 1
    assert len(groups[0].members) == 4
    assert sum(isinstance(event, ChangeDone) for event in alice.events + bob.events) == 3


def test_a_message_that_lost_to_a_commit_is_sent_again_once(people: tuple[Person, Person, Person]) -> None:
    alice, bob, carol = people
    chat = alice.create_chat("group", bob)
    settle(alice, bob)
    bob.say(chat, "just before the epoch ends")
    alice.add(chat, carol)
    while alice.outgoing:
        alice.transmit()  # alice's commit wins the epoch that bob's message was made for
    settle(alice, bob, carol)
    assert alice.texts(chat) == carol.texts(chat) == bob.texts(chat) == ["just before the epoch ends"]


def test_a_removed_member_is_told_and_sees_nothing_more(people: tuple[Person, Person, Person]) -> None:
    alice, bob, carol = people
    chat = alice.create_chat("group", bob, carol)
    alice.say(chat, "all three")
    settle(*people)
    alice.remove(chat, carol)
    settle(*people)
    alice.say(chat, "just two")
    settle(*people)
    assert carol.texts(chat) == ["all three"]
    assert bob.texts(chat) == ["all three", "just two"]
    assert ChatLeft(chat, alice.account_id) in carol.events
    assert carol.engine.chats[chat].group is None
    assert not [space for space in carol.store.spaces() if space.startswith("group/")]  # the keys are gone


def test_a_removed_member_can_come_back(people: tuple[Person, Person, Person]) -> None:
    alice, bob, carol = people
    chat = alice.create_chat("group", bob, carol)
    settle(*people)
    alice.remove(chat, carol)
    settle(*people)
    alice.say(chat, "without carol")
    alice.add(chat, carol)
    alice.say(chat, "with carol")
    settle(*people)
    assert carol.texts(chat) == ["with carol"]


@without_group("two clients and a relay")
def test_r8_an_epoch_that_bears_no_more_messages_ends_and_the_talk_goes_on(
    people: tuple[Person, Person, Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob, _ = people
    chat = alice.create_chat("private", bob)
    settle(alice, bob)
    (before,) = groups_of(chat, alice)
    monkeypatch.setattr(message_rules, "EPOCH_MESSAGES_MAX", 2)
    for number in range(5):
        alice.say(chat, str(number))
    settle(alice, bob)
    assert bob.texts(chat) == alice.texts(chat) == ["0", "1", "2", "3", "4"]
    assert [group.epoch - before.epoch for group in groups_of(chat, alice, bob)] == [2, 2]


class Fate:
    """Counts everybody's steps, and lets the one whose number is up die at it."""

    def __init__(self, step: int | None, moment: str) -> None:
        self.count = 0
        self.step, self.moment = step, moment

    def __call__(self) -> str | None:
        self.count += 1
        return self.moment if self.count - 1 == self.step else None


def converse(fate: Fate) -> None:
    """One conversation of three with a change of members; whoever dies at a step of it loses nothing."""
    relay = Relay()
    alice, bob, carol = people = Person(relay, 1), Person(relay, 2), Person(relay, 3)
    for person in people:
        person.fate = fate
    chat, added = None, False
    while chat is None:  # whoever dies here tries again, as a person would
        alice.create_chat("group", bob)
        chat = next(iter(alice.engine.chats), None)
    for text in ("one", "two"):
        while text not in alice.texts(chat):
            alice.say(chat, text)
        while not added:
            alice.add(chat, carol)
            changes = [entry for entry in alice.engine.chats[chat].outbox.values() if isinstance(entry, Change)]
            added = len(changes) == 2
    for _ in range(200):
        for person in people:
            person.fetch_news()
            if person.outgoing:
                person.transmit()
            if person.incoming:
                person.process()
        if chat in bob.engine.chats and "three" not in bob.texts(chat):
            bob.say(chat, "three")
    for person in people:
        person.fate = lambda: None
    settle(*people)
    assert sorted(alice.texts(chat)) == ["one", "three", "two"]
    assert alice.texts(chat) == bob.texts(chat)
    assert carol.texts(chat) == alice.texts(chat)[-len(carol.texts(chat)) :]
    assert "two" in carol.texts(chat)
    assert len({group.epoch_authenticator for group in groups_of(chat, *people)}) == 1


def script_steps() -> int:
    fate = Fate(None, "")
    converse(fate)
    return fate.count


@without_group("three clients and a relay")
@pytest.mark.breaks("R7")
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", range(script_steps()))
def test_r30_a_client_that_dies_at_any_step_goes_on_after_its_restart(moment: str, step: int) -> None:
    fate = Fate(step, moment)
    converse(fate)
    assert fate.count > step, "nobody died"
