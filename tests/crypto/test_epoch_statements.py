"""Epoch statements: what a device says of its history, and what a split chat looks like to its members."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import AuthenticationError, CryptoError, DecodeError, ForkDetected, FutureEpoch, IdentityError
from crypto.identity.epoch_statements import (
    EpochStatement,
    KnownEpochs,
    Standing,
    check_epoch_statement,
    digest_of,
    state_epoch,
)
from crypto.identity.signing import SignedLabel, sign_object
from crypto.mls.framing import PrivateMessage
from crypto.mls.group import Group
from crypto.mls.mls_message import decode_message
from crypto.wire import decode, encode
from tests.crypto.chats import Chat, account_of, chat_of
from tests.crypto.identities import key_pair
from tests.crypto.world import NOW, won

KEYS = key_pair("a device")
CHAT = b"a chat"
KNOWN = KnownEpochs(CHAT, 3).remember(4, b"four").remember(5, b"five").remember(6, b"six")


def said(epoch: int, authenticator: bytes, chat: bytes = CHAT) -> EpochStatement:
    return state_epoch(KEYS, chat, epoch, authenticator)


def test_where_a_device_stands() -> None:
    assert check_epoch_statement(said(6, b"six"), KEYS.public, KNOWN) is Standing.WITH_US
    assert check_epoch_statement(said(4, b"four"), KEYS.public, KNOWN) is Standing.BEHIND
    assert check_epoch_statement(said(3, b"three"), KEYS.public, KNOWN) is Standing.UNKNOWN
    assert check_epoch_statement(said(7, b"seven"), KEYS.public, KNOWN) is Standing.AHEAD
    assert check_epoch_statement(said(0, b""), KEYS.public, KnownEpochs(CHAT, 3)) is Standing.AHEAD


@pytest.mark.parametrize("epoch", [4, 5, 6])
def test_another_history_of_an_epoch_is_a_fork(epoch: int) -> None:
    with pytest.raises(ForkDetected, match="split"):
        check_epoch_statement(said(epoch, b"another"), KEYS.public, KNOWN)


def test_a_statement_is_judged_again_once_we_are_there() -> None:
    ahead = said(7, b"another")
    assert check_epoch_statement(ahead, KEYS.public, KNOWN) is Standing.AHEAD
    with pytest.raises(ForkDetected):
        check_epoch_statement(ahead, KEYS.public, KNOWN.remember(7, b"seven"))


def test_what_is_remembered_is_bounded() -> None:
    later = KNOWN.remember(7, b"seven")
    assert [epoch for epoch, _ in later.kept] == [5, 6, 7]
    assert KnownEpochs(CHAT, 0).remember(7, b"seven").kept == ()


def test_a_statement_without_its_signature_alarms_nobody() -> None:
    """Or else a server could raise the alarm, and hide a real one among false ones."""
    with pytest.raises(AuthenticationError):
        check_epoch_statement(replace(said(6, b"six"), digest=bytes(32)), KEYS.public, KNOWN)
    other = key_pair("another device")
    with pytest.raises(IdentityError, match="another device"):
        check_epoch_statement(said(6, b"another"), other.public, KNOWN)
    forged = sign_object(other, SignedLabel.EPOCH_STATEMENT, said(6, b"another"))
    with pytest.raises(AuthenticationError):
        check_epoch_statement(forged, KEYS.public, KNOWN)


def test_a_statement_about_another_chat_alarms_nobody() -> None:
    with pytest.raises(IdentityError, match="another chat"):
        check_epoch_statement(said(6, b"another", b"other chat"), KEYS.public, KNOWN)


@given(st.integers(min_value=0), st.integers(min_value=0, max_value=7))
def test_no_bit_of_a_statement_can_change(place: int, bit: int) -> None:
    encoded = bytearray(encode(said(6, b"six")))
    encoded[place % len(encoded)] ^= 1 << bit
    with pytest.raises((DecodeError, AuthenticationError, IdentityError)):
        check_epoch_statement(decode(EpochStatement, bytes(encoded)), KEYS.public, KNOWN)


@pytest.mark.parametrize("size", [0, 63, 65])
def test_a42_signatures_of_other_sizes_are_refused(size: int) -> None:
    made = said(6, b"six")
    signature = (made.signature * 2)[:size]
    with pytest.raises(AuthenticationError):
        check_epoch_statement(replace(made, signature=signature), KEYS.public, KNOWN)
    with pytest.raises(DecodeError):
        decode(EpochStatement, encode(made)[:-64] + signature)


def test_a_digest_is_of_one_chat_one_epoch_and_one_history() -> None:
    digests = {digest_of(b"c", 1, b"a"), digest_of(b"d", 1, b"a"), digest_of(b"c", 2, b"a"), digest_of(b"c", 1, b"b")}
    assert len(digests) == 4
    assert {len(digest) for digest in digests} == {32}
    assert digest_of(b"c", 1, b"a").hex() == VECTOR


VECTOR = "5f55d44a6f1dc641db4e83c76f3db39bf8639265479e0927e2842465c5edd17c"


def known(group: Group) -> KnownEpochs:
    return KnownEpochs(group.group_id, 8).remember(group.epoch, group.epoch_authenticator)


def grown(before: KnownEpochs, group: Group) -> KnownEpochs:
    return before.remember(group.epoch, group.epoch_authenticator)


def statement(chat: Chat, name: str) -> EpochStatement:
    group = chat[name]
    return state_epoch(account_of(name).devices[0].keys, group.group_id, group.epoch, group.epoch_authenticator)


def statement_beside(message: bytes) -> EpochStatement:
    """What whoever gets a message can read of it without any key."""
    body = decode_message(message).body
    assert isinstance(body, PrivateMessage)
    return decode(EpochStatement, body.authenticated_data)


def key_of(chat: Chat, reader: str, statement: EpochStatement) -> bytes:
    """The key of a leaf in the reader's tree, by the device's id."""
    leaf_index = next(leaf for leaf, owner in chat.owners(reader).items() if owner.device_id == statement.device_id)
    member = chat[reader].member(leaf_index)
    assert member is not None
    return member.signature_key


def send(chat: Chat, name: str, data: bytes) -> bytes:
    chat.people[name].group, message = chat[name].protect(data, encode(statement(chat, name)))
    return message


def test_a05_a_fork_is_noticed_at_the_next_message() -> None:
    """The server gives two halves of a chat two commits of one epoch.

    The halves no longer read each other, and the statement that comes with the first message says why; without it the
    message could as well be garbage.
    """
    chat = chat_of("ann", "bob", "cay", "dan")
    histories = {name: known(chat[name]) for name in ("ann", "bob", "cay", "dan")}
    one, other = chat.change("ann"), chat.change("cay")
    chat.people["ann"].group, chat.people["cay"].group = won(one), won(other)
    chat.people["bob"].group = chat["bob"].adopt(chat.stage("bob", one.message))
    chat.people["dan"].group = chat["dan"].adopt(chat.stage("dan", other.message))
    histories = {name: grown(histories[name], chat[name]) for name in histories}
    message = send(chat, "bob", b"hello")
    heard = statement_beside(message)
    assert chat["ann"].receive(message, NOW) is not None
    assert check_epoch_statement(heard, key_of(chat, "ann", heard), histories["ann"]) is Standing.WITH_US
    for name in ("cay", "dan"):
        before = chat[name]
        with pytest.raises(AuthenticationError):
            before.receive(message, NOW)
        with pytest.raises(ForkDetected, match="split"):
            check_epoch_statement(heard, key_of(chat, name, heard), histories[name])
    chat.people["ann"].group = chat.people["bob"].group = None
    chat.say("cay", b"each half goes on by itself")


def test_a05_a_fork_is_noticed_in_another_chat_when_no_message_crosses() -> None:
    chat = chat_of("ann", "bob")
    private = chat_of("ann", "bob")
    history = known(chat["bob"])
    chat.people["ann"].group = won(chat.change("ann"))
    chat.people["bob"].group = won(chat.change("bob"))
    told = encode(statement(chat, "ann"))
    private.say("ann", told)
    heard = decode(EpochStatement, told)
    with pytest.raises(ForkDetected):
        check_epoch_statement(heard, key_of(chat, "bob", heard), grown(history, chat["bob"]))


def test_a06_who_was_not_shown_a_removal_is_behind() -> None:
    """Cay is removed; the server hides that from bob, who goes on writing to cay.

    His next message shows the others that he stands where they stood before.
    """
    chat = chat_of("ann", "bob", "cay")
    history = known(chat["ann"])
    removal = chat.change("ann", removes=["cay"])
    chat.people["ann"].group = won(removal)
    history = grown(history, chat["ann"])
    message = send(chat, "bob", b"cay still reads this")
    with pytest.raises(CryptoError):
        chat["ann"].receive(message, NOW)
    heard = statement_beside(message)
    assert check_epoch_statement(heard, key_of(chat, "ann", heard), history) is Standing.BEHIND
    with pytest.raises(FutureEpoch):
        chat["bob"].receive(send(chat, "ann", b"bob learns that he lacks something"), NOW)
    chat.people["cay"].group = None
    chat.people["bob"].group = chat["bob"].adopt(chat.stage("bob", removal.message))
    chat.goes_on()


def test_a06_a_removal_replaced_by_another_commit_is_a_fork() -> None:
    chat = chat_of("ann", "bob", "cay")
    history = known(chat["bob"])
    removal, other = chat.change("ann", removes=["cay"]), chat.change("cay")
    chat.people["ann"].group = won(removal)
    chat.people["bob"].group = chat["bob"].adopt(chat.stage("bob", other.message))
    heard = statement_beside(send(chat, "ann", b"only bob is left"))
    with pytest.raises(ForkDetected):
        check_epoch_statement(heard, key_of(chat, "bob", heard), grown(history, chat["bob"]))
