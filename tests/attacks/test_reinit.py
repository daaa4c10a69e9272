"""A member wants to end a chat in favour of another (ReInit), which clients cannot follow: that chat alone stops."""

from __future__ import annotations

import pytest

from client_lib.engine import generate_message_id
from crypto.mls.headers import ProtocolVersion
from crypto.mls.proposals import ReInit
from crypto.suites import X_WING
from protocol import frames
from tests.attacks.test_hostile_members import NOW, group_of, read, send_raw
from tests.client_lib.engine.world import Person, Relay, settle
from tests.crypto.forge import by_value, forged_commit


def three_in_two_chats() -> tuple[Relay, Person, Person, Person, bytes, bytes]:
    relay = Relay()
    alice, mallory, carol = Person(relay, 1), Person(relay, 2), Person(relay, 3)
    other, chat = alice.create_chat("group", carol), alice.create_chat("group", mallory)
    settle(alice, mallory, carol)
    return relay, alice, mallory, carol, other, chat


def assert_goes_on(alice: Person, carol: Person, other: bytes) -> None:
    """Whatever became of the chat with Mallory, whose log may have more that nobody takes."""
    alice.say(other, "still here")
    for _ in range(10):
        for person in (alice, carol):
            person.fetch_news()
            while person.outgoing:
                person.transmit()
            while person.incoming:
                person.process()
    assert carol.texts(other) == ["still here"]


def test_u15_a_reinit_that_is_proposed_is_not_kept() -> None:
    """Kept, we would commit it ourselves with the next message. The chat goes on, too."""
    _, alice, mallory, carol, other, chat = three_in_two_chats()
    _, message = group_of(mallory, chat).propose_reinit(b"elsewhere", X_WING, (), now=NOW)
    send_raw(mallory, chat, message)
    read(alice)
    assert group_of(alice, chat).pending_proposals == ()
    alice.say(chat, "hello")
    settle(alice, mallory)
    assert mallory.texts(chat)[-1] == "hello"
    assert_goes_on(alice, carol, other)


@pytest.mark.parametrize("restarts", [False, True])
def test_u15_a_reinit_that_is_committed_stops_its_chat_alone(restarts: bool) -> None:
    relay, alice, mallory, carol, other, chat = three_in_two_chats()
    group = group_of(mallory, chat)
    reinit = by_value(group, ReInit(b"elsewhere", ProtocolVersion.MLS10, X_WING.id, ()))
    pending = forged_commit(group, [reinit], with_path=False)
    commit = frames.Commit(
        message_id=generate_message_id(), chat_id=chat, message=pending.message, welcome=None, added=[], removed=[]
    )
    assert isinstance(relay.handle(mallory.device_id, commit), frames.Accepted)
    alice.fetch_news()
    alice.say(chat, "hello")  # made for the epoch that has ended already
    while alice.incoming:
        alice.process()
    if restarts:
        alice.restart()
    assert_goes_on(alice, carol, other)
