"""The engine's flows in a world without time: talk, change members, lose races, die at every step."""

from __future__ import annotations

import pytest

from client_lib.events import ChangeDone, ChatJoined, ChatLeft, MembersChanged
from client_lib.store import Status
from crypto.mls.group import Group
from tests.client_lib.engine.world import Person, Relay, settle


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


SCRIPT_STEPS = 60


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", range(SCRIPT_STEPS))
def test_r30_a_client_that_dies_at_any_step_goes_on_after_its_restart(moment: str, step: int) -> None:
    """Run one conversation, killing each person at its `step`-th transmission or processing; nothing is lost."""
    relay = Relay()
    alice, bob, carol = Person(relay, 1), Person(relay, 2), Person(relay, 3)
    chat = alice.create_chat("group", bob)
    alice.say(chat, "one")
    alice.add(chat, carol)
    alice.say(chat, "two")
    count = 0

    def next_death() -> str | None:
        nonlocal count
        count += 1
        return moment if count == step + 1 else None

    bob_answered = False
    for _ in range(200):
        for person in (alice, bob, carol):
            person.fetch_news()
            if person.outgoing:
                person.transmit(die=next_death())
            if person.incoming:
                person.process(die=next_death())
        if not bob_answered and chat in bob.engine.chats:
            bob_answered = bob.say(chat, "three", die=next_death()) or "three" in bob.texts(chat)
    settle(alice, bob, carol)
    assert sorted(alice.texts(chat)) == sorted(bob.texts(chat)) == ["one", "three", "two"]
    assert alice.texts(chat) == bob.texts(chat)
    assert carol.texts(chat)[-1:] in (["two"], ["three"])
    assert len({group.epoch_authenticator for group in groups_of(chat, alice, bob, carol)}) == 1
