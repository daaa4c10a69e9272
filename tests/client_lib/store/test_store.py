"""What every store promises: the same tests run on the file and on its twin in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client_lib.errors import StoreError
from client_lib.store import (
    AddMessage,
    Delete,
    Direction,
    KeyFile,
    MemoryStore,
    Put,
    SQLiteStore,
    Status,
    Store,
    StoredMessage,
    Write,
)

CHAT = b"c" * 32
OTHER_CHAT = b"d" * 32


@pytest.fixture(params=["sqlite", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        with MemoryStore() as memory:
            yield memory
    else:
        with SQLiteStore.create(tmp_path / "a.sealdesk", KeyFile(tmp_path / "a.key")) as sqlite:
            yield sqlite


def received(position: int, text: bytes = b"hello", chat_id: bytes = CHAT) -> StoredMessage:
    return StoredMessage(
        chat_id=chat_id,
        position=position,
        transport_id=position.to_bytes(16),
        message_id=b"\x01" + position.to_bytes(31),
        sender_account_id=b"a" * 20,
        sender_device_id=b"b" * 20,
        sent_at_ms=1_700_000_000_000 + position,
        received_at_ms=1_700_000_000_000 + position,
        direction=Direction.IN,
        status=Status.RECEIVED,
        content=text,
    )


def sending(number: int, text: bytes = b"my answer") -> StoredMessage:
    return dataclasses.replace(
        received(1, text),
        position=None,
        transport_id=None,
        received_at_ms=None,
        message_id=b"\x01" + b"s" * 30 + bytes([number]),
        direction=Direction.OUT,
        status=Status.SENDING,
    )


def sent(message: StoredMessage, position: int) -> StoredMessage:
    place = received(position)
    return dataclasses.replace(
        message,
        status=Status.SENT,
        position=position,
        transport_id=place.transport_id,
        received_at_ms=place.received_at_ms,
    )


def undecryptable(position: int) -> StoredMessage:
    return dataclasses.replace(
        received(position, b"ciphertext"),
        status=Status.UNDECRYPTABLE,
        reason="the key is not here yet",
        message_id=None,
        sender_account_id=None,
        sender_device_id=None,
    )


def test_items_are_put_replaced_and_deleted_in_order(store: Store) -> None:
    store.apply([Put("chats", b"b", b"1"), Put("chats", b"a", b"2"), Put("outbox", b"a", b"3")])
    store.apply([Put("chats", b"b", b"4"), Delete("outbox", b"a"), Delete("outbox", b"never there")])
    assert list(store.load("chats").items()) == [(b"a", b"2"), (b"b", b"4")]
    assert store.load("outbox") == store.load("unknown") == {}
    assert store.spaces() == ("chats",)


def test_the_last_write_of_a_transaction_wins(store: Store) -> None:
    store.apply(
        [Put("s", b"k", b"1"), Delete("s", b"k"), Put("s", b"k", b"2"), Put("s", b"gone", b""), Delete("s", b"gone")]
    )
    assert store.load("s") == {b"k": b"2"}


def test_an_empty_transaction_changes_nothing(store: Store) -> None:
    store.apply([])
    assert store.spaces() == ()


def test_empty_keys_and_values_are_kept(store: Store) -> None:
    store.apply([Put("", b"", b"")])
    assert store.load("") == {b"": b""}


def test_history_is_in_log_order_with_unsent_messages_last(store: Store) -> None:
    first, second = sending(1), sending(2)
    store.apply([AddMessage(first), AddMessage(received(3)), AddMessage(received(1)), AddMessage(second)])
    store.apply([AddMessage(received(2)), AddMessage(received(9, chat_id=OTHER_CHAT))])
    assert store.messages(CHAT) == (received(1), received(2), received(3), first, second)
    assert store.messages(OTHER_CHAT) == (received(9, chat_id=OTHER_CHAT),)
    assert store.messages(b"e" * 32) == ()


def test_history_comes_in_pages(store: Store) -> None:
    store.apply([AddMessage(received(position)) for position in range(1, 8)] + [AddMessage(sending(1))])
    assert [message.position for message in store.messages(CHAT, limit=3)] == [1, 2, 3]
    assert [message.position for message in store.messages(CHAT, after=3, limit=2)] == [4, 5]
    assert [message.position for message in store.messages(CHAT, after=6)] == [7, None]
    assert store.messages(CHAT, limit=0) == ()


def test_a_message_of_ours_moves_to_its_position_once(store: Store) -> None:
    ours = sending(1)
    store.apply([AddMessage(ours), AddMessage(received(1))])
    store.apply([AddMessage(sent(ours, 2))])
    assert store.messages(CHAT) == (received(1), sent(ours, 2))
    for again in (ours, sent(ours, 3)):
        with pytest.raises(StoreError, match="has its position already"):
            store.apply([AddMessage(again)])
    assert store.messages(CHAT) == (received(1), sent(ours, 2))


def test_our_message_is_not_given_a_second_position_over_an_undecryptable_one(store: Store) -> None:
    ours = sent(sending(1), 1)
    store.apply([AddMessage(ours), AddMessage(undecryptable(2))])
    with pytest.raises(StoreError, match="has its position already"):
        store.apply([AddMessage(sent(sending(1), 2))])
    assert store.messages(CHAT) == (ours, undecryptable(2))


def test_a_refused_message_of_ours_keeps_its_place_among_the_unsent(store: Store) -> None:
    first, second = sending(1), sending(2)
    failed = dataclasses.replace(first, status=Status.FAILED, reason="you are no longer a member")
    store.apply([AddMessage(first), AddMessage(second)])
    store.apply([AddMessage(failed)])
    assert store.messages(CHAT) == (failed, second)


def test_an_undecryptable_message_gives_way_to_its_decryption(store: Store) -> None:
    store.apply([AddMessage(undecryptable(1)), AddMessage(received(2))])
    assert store.messages(CHAT)[0] == undecryptable(1)
    store.apply([AddMessage(received(1))])
    assert store.messages(CHAT) == (received(1), received(2))


def test_our_message_replaces_both_its_unsent_form_and_an_undecryptable_echo(store: Store) -> None:
    ours = sending(1)
    store.apply([AddMessage(undecryptable(1)), AddMessage(ours)])
    store.apply([AddMessage(sent(ours, 1))])
    assert store.messages(CHAT) == (sent(ours, 1),)


def test_what_was_shown_is_never_overwritten(store: Store) -> None:
    store.apply([AddMessage(received(1)), AddMessage(sending(1))])
    before = store.messages(CHAT)
    for usurper in (received(1, b"forged"), undecryptable(1), sent(sending(1), 1), sent(sending(2), 1)):
        with pytest.raises(StoreError, match="position 1"):
            store.apply([AddMessage(usurper)])
    assert store.messages(CHAT) == before


def test_a_foreign_message_may_repeat_our_ids_without_touching_ours(store: Store) -> None:
    ours = sending(1)
    foreign = dataclasses.replace(received(1), message_id=ours.message_id)
    store.apply([AddMessage(ours), AddMessage(foreign)])
    assert store.messages(CHAT) == (foreign, ours)


def test_the_same_ids_in_another_chat_are_another_message(store: Store) -> None:
    ours = sending(1)
    elsewhere = dataclasses.replace(ours, chat_id=OTHER_CHAT)
    store.apply([AddMessage(ours), AddMessage(elsewhere)])
    store.apply([AddMessage(sent(ours, 1))])
    assert store.messages(OTHER_CHAT) == (elsewhere,)


def test_a_refused_transaction_leaves_nothing_behind(store: Store) -> None:
    store.apply([Put("s", b"k", b"before"), AddMessage(received(1))])
    with pytest.raises(StoreError):
        store.apply([Put("s", b"k", b"after"), Delete("s", b"k"), AddMessage(received(2)), AddMessage(received(1))])
    assert store.load("s") == {b"k": b"before"}
    assert store.messages(CHAT) == (received(1),)
    store.apply([Put("s", b"k", b"later")])
    assert store.load("s") == {b"k": b"later"}


def test_a_closed_store_says_so(store: Store) -> None:
    store.close()
    store.close()
    for use in (
        lambda: store.apply([]),
        lambda: store.load("s"),
        store.spaces,
        lambda: store.messages(CHAT),
        store.erase_deleted,
    ):
        with pytest.raises(StoreError, match="closed"):
            use()


def test_reprs_show_no_content() -> None:
    assert "marker" not in repr([received(1, b"marker"), Put("s", b"k", b"marker")])


@pytest.mark.parametrize(
    "change",
    [
        {"position": None},
        {"received_at_ms": None},
        {"transport_id": None},
        {"position": 0},
        {"status": Status.SENDING},
        {"status": Status.SENT},
        {"direction": Direction.OUT},
        {"message_id": None},
    ],
)
def test_a_message_that_contradicts_itself_is_a_bug(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"message|positions|received"):
        dataclasses.replace(received(1), **change)


_keys = st.binary(max_size=2)
_spaces = st.sampled_from(["a", "b"])
_messages = st.one_of(
    st.builds(received, st.integers(1, 4)),
    st.builds(undecryptable, st.integers(1, 4)),
    st.builds(sending, st.integers(1, 3)),
    st.builds(lambda number, position: sent(sending(number), position), st.integers(1, 3), st.integers(1, 4)),
)
_writes: st.SearchStrategy[Write] = st.one_of(
    st.builds(Put, _spaces, _keys, st.binary(max_size=4)),
    st.builds(Delete, _spaces, _keys),
    st.builds(AddMessage, _messages),
)


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SQLiteStore]:
    folder = tmp_path_factory.mktemp("twins")
    with SQLiteStore.create(folder / "a.sealdesk", KeyFile(folder / "a.key")) as sqlite:
        yield sqlite


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(transactions=st.lists(st.lists(_writes, max_size=5), max_size=8))
def test_the_file_and_its_twin_answer_alike(shared_store: SQLiteStore, transactions: list[list[Write]]) -> None:
    _empty(shared_store)
    twin = MemoryStore()
    for writes in transactions:
        answers = [_apply(store, writes) for store in (shared_store, twin)]
        assert answers[0] == answers[1]
    assert shared_store.spaces() == twin.spaces()
    for space in ("a", "b"):
        assert list(shared_store.load(space).items()) == list(twin.load(space).items())
    assert shared_store.messages(CHAT) == twin.messages(CHAT)


def _apply(store: Store, writes: list[Write]) -> str:
    try:
        store.apply(writes)
    except StoreError as error:
        return str(error)
    return "done"


def _empty(store: SQLiteStore) -> None:
    store._connection.execute("DELETE FROM items; DELETE FROM messages")
