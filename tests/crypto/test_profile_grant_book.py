"""The owner's record and revocation: who was shown what, who is to be shown it anew, and what cannot be undone."""

from __future__ import annotations

import dataclasses

import pytest

from crypto.errors import AccessWithdrawn, DecodeError, UsageError
from crypto.profile import (
    AnyAudience,
    Chat,
    GrantBook,
    GrantRecord,
    Person,
    Revocation,
    RoleInChat,
    accept_grant,
    make_grants,
    open_granted,
    revoke,
)
from crypto.profile import grant_book as module
from crypto.wire import decode, encode
from tests.crypto.identities import NOW
from tests.crypto.profiles import Owner, owner, scan, text

BOB, CAROL, DAVE = b"b" * 20, b"c" * 20, b"d" * 20
CHAT, OTHER_CHAT = Chat(b"1" * 32), Chat(b"2" * 32)
WORKERS = RoleInChat(CHAT.chat_id, 1)


def alice_with(*names: str) -> Owner:
    alice = owner("alice")
    for name in names:
        alice.set(name, f"value of {name}")
    return alice


def grant(alice: Owner, name: str, audience: AnyAudience, *accounts: bytes, now: int = NOW) -> None:
    alice.book = alice.book.add(alice.keys.field(name), audience, frozenset(accounts), now)


def revoked(alice: Owner, name: str, audience: AnyAudience) -> Revocation:
    return revoke(alice.keys, alice.book, alice.newest, alice.sealed(name), audience, NOW + 9)


def test_the_book_says_who_was_granted_what_and_when() -> None:
    alice = alice_with("A", "B")
    grant(alice, "A", Person(BOB), BOB)
    grant(alice, "A", CHAT, CAROL, BOB, now=NOW + 1)
    grant(alice, "B", WORKERS, CAROL, now=NOW + 2)
    a, b = alice.keys.field("A").field_id, alice.keys.field("B").field_id
    assert alice.book.standing() == (
        GrantRecord(a, b"A", Person(BOB), BOB, NOW, None),
        GrantRecord(a, b"A", CHAT, BOB, NOW + 1, None),
        GrantRecord(a, b"A", CHAT, CAROL, NOW + 1, None),
        GrantRecord(b, b"B", WORKERS, CAROL, NOW + 2, None),
    )
    assert alice.book.audiences(a) == (Person(BOB), CHAT)
    assert alice.book.readers(a) == alice.book.seen_by(a) == {BOB, CAROL}
    assert alice.book.standing(b) == alice.book.records[3:]
    assert alice.book.readers(bytes(16)) == frozenset()


def test_granting_again_records_newcomers_only() -> None:
    alice = alice_with("A")
    grant(alice, "A", CHAT, BOB)
    grant(alice, "A", CHAT, BOB, CAROL, now=NOW + 5)
    assert [(record.account_id, record.granted_at) for record in alice.book.records] == [(BOB, NOW), (CAROL, NOW + 5)]
    grant(alice, "A", OTHER_CHAT, BOB, now=NOW + 6)
    assert len(alice.book.records) == 3


def test_what_was_seen_stays_in_the_book() -> None:
    alice = alice_with("A")
    grant(alice, "A", CHAT, BOB)
    a = alice.keys.field("A").field_id
    book = alice.book.revoke(a, CHAT, NOW + 9)
    assert book.records == (GrantRecord(a, b"A", CHAT, BOB, NOW, NOW + 9),)
    assert not book.records[0].stands
    assert book.standing() == ()
    assert book.audiences(a) == ()
    assert book.readers(a) == frozenset()
    assert book.seen_by(a) == {BOB}
    again = book.add(alice.keys.field("A"), CHAT, frozenset({BOB}), NOW + 10)
    assert [record.stands for record in again.records] == [False, True]
    assert again.revoke(a, CHAT, NOW + 11).records[0].revoked_at == NOW + 9


def test_a_person_is_one_account() -> None:
    alice = alice_with("A")
    for accounts in ((), (CAROL,), (BOB, CAROL)):
        with pytest.raises(UsageError, match="one account"):
            grant(alice, "A", Person(BOB), *accounts)


def test_what_was_not_granted_cannot_be_revoked() -> None:
    alice = alice_with("A", "B")
    grant(alice, "A", CHAT, BOB)
    for name, audience in (("B", CHAT), ("A", OTHER_CHAT), ("A", WORKERS), ("A", Person(BOB))):
        with pytest.raises(UsageError, match="nothing was granted"):
            revoked(alice, name, audience)
    alice.book = revoked(alice, "A", CHAT).book
    with pytest.raises(UsageError, match="nothing was granted"):
        revoked(alice, "A", CHAT)


def test_a_revocation_rotates_the_key_and_says_whom_to_grant_anew() -> None:
    alice = alice_with("A", "B")
    grant(alice, "A", CHAT, BOB, CAROL)
    grant(alice, "A", Person(DAVE), DAVE)
    grant(alice, "B", CHAT, BOB, CAROL)
    old_grant = accept_grant(make_grants(alice.keys, alice.newest, ["A"]).grants[0], alice.account_id)
    change = revoked(alice, "A", CHAT)
    assert change.grant_again == (Person(DAVE),)
    assert change.seen_by == {BOB, CAROL}
    assert change.still_reached == frozenset()
    assert change.book.readers(alice.keys.field("A").field_id) == {DAVE}
    assert change.book.readers(alice.keys.field("B").field_id) == {BOB, CAROL}
    assert change.keys.field("B") == alice.keys.field("B")
    alice.publish(change.keys, change.field)
    with pytest.raises(AccessWithdrawn):
        open_granted(old_grant, alice.newest, alice.sealed("A"))
    (new_grant,) = make_grants(alice.keys, alice.newest, ["A"]).grants
    assert open_granted(accept_grant(new_grant, alice.account_id), alice.newest, alice.sealed("A")) == text(
        "value of A"
    )


def test_a_revocation_says_who_reads_on_as_part_of_another_audience() -> None:
    alice = alice_with("A")
    grant(alice, "A", Person(BOB), BOB)
    grant(alice, "A", CHAT, BOB, CAROL)
    change = revoked(alice, "A", Person(BOB))
    assert change.grant_again == (CHAT,)
    assert change.seen_by == change.still_reached == {BOB}


def test_a_revoked_scan_is_replaced_by_one_under_another_key() -> None:
    alice = owner("alice")
    alice.set("Passport", scan("first"))
    grant(alice, "Passport", Person(BOB), BOB)
    with pytest.raises(UsageError, match="seal the attachment under a new key first"):
        revoked(alice, "Passport", Person(BOB))
    field = alice.sealed("Passport")
    change = revoke(alice.keys, alice.book, alice.newest, field, Person(BOB), NOW, scan("second"))
    assert change.book.standing() == ()


def test_who_leaves_a_chat_loses_what_came_by_it_alone() -> None:
    alice = alice_with("A", "B", "C", "D")
    grant(alice, "A", CHAT, BOB, CAROL)
    grant(alice, "B", WORKERS, BOB)
    grant(alice, "C", OTHER_CHAT, BOB)
    grant(alice, "D", CHAT, BOB)
    grant(alice, "D", Person(BOB), BOB)
    a, b, c, d = (alice.keys.field(name).field_id for name in "ABCD")
    book, to_rotate = alice.book.leave(CHAT.chat_id, BOB, NOW + 9)
    assert to_rotate == {a, b}
    assert (book.readers(a), book.readers(b), book.readers(c), book.readers(d)) == ({CAROL}, set(), {BOB}, {BOB})
    assert (book.audiences(a), book.audiences(d)) == ((CHAT,), (Person(BOB),))
    assert book.seen_by(a) == {BOB, CAROL}
    assert book.leave(CHAT.chat_id, BOB, NOW + 10) == (book, frozenset())
    assert book.leave(CHAT.chat_id, DAVE, NOW + 10) == (book, frozenset())


def test_the_book_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert module.RECORDS_MAX == 65_536
    monkeypatch.setattr(module, "RECORDS_MAX", 2)
    alice = alice_with("A")
    grant(alice, "A", CHAT, BOB, CAROL)
    grant(alice, "A", CHAT, BOB, CAROL)
    with pytest.raises(UsageError, match="room for 2 records"):
        grant(alice, "A", CHAT, DAVE)


def test_the_book_is_stored_and_read_back() -> None:
    alice = alice_with("A")
    for audience, account in ((Person(BOB), BOB), (CHAT, CAROL), (WORKERS, DAVE)):
        grant(alice, "A", audience, account)
    book = alice.book.revoke(alice.keys.field("A").field_id, CHAT, NOW + 1)
    assert decode(GrantBook, encode(book)) == book
    assert decode(GrantBook, encode(GrantBook())) == GrantBook()
    with pytest.raises(DecodeError):
        decode(GrantBook, encode(book)[:-1])
    with pytest.raises(DecodeError):
        dataclasses.replace(book.records[0], name=b"")
