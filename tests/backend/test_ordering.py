"""The rules of the log, without a database: any batch in any state keeps them."""

from __future__ import annotations

import os

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.ordering import ChatState, Entry, Snapshot, check, plan
from backend.outgoing import Outgoing
from protocol import frames
from protocol.codes import Code
from tests.backend.people import COMMIT, private_message, welcome

CHATS = [bytes([number]) * 32 for number in range(2)]
DEVICES = [bytes([100 + number]) * 20 for number in range(4)]
ACCOUNTS = [bytes([200 + number]) * 20 for number in range(4)]
MESSAGE_IDS = [bytes([number]) * 16 for number in range(6)]


@st.composite
def requests(draw: st.DrawFn) -> Entry:
    """A request of some device to some chat, often of a wrong epoch, a used id, or a wrong member."""
    sender, chat = draw(st.integers(0, 3)), draw(st.sampled_from(CHATS))
    message_id, epoch = draw(st.sampled_from(MESSAGE_IDS)), draw(st.integers(0, 3))
    ciphertext = draw(st.sampled_from([b"one", b"two"]))
    request: frames.Send | frames.Commit
    if draw(st.booleans()):
        request = frames.Send(message_id, chat, private(chat, epoch, 1, ciphertext))
    else:
        others = [number for number in range(4) if number != sender]
        added = draw(st.lists(st.sampled_from(others), max_size=2, unique=True))
        removed = draw(st.lists(st.sampled_from(others), max_size=2, unique=True))
        request = frames.Commit(
            message_id=message_id,
            chat_id=chat,
            message=private(chat, epoch, COMMIT, ciphertext),
            welcome=welcome(len(added)) if added else None,
            added=[frames.ChatDevice(ACCOUNTS[number], DEVICES[number]) for number in added],
            removed=[DEVICES[number] for number in removed],
        )
    return check(ACCOUNTS[sender], DEVICES[sender], request)


def private(chat: bytes, epoch: int, content_type: int, ciphertext: bytes) -> bytes:
    """The same bytes for the same arguments, so that resends happen."""
    message = private_message(chat, epoch, content_type, ciphertext)
    return message[: -28 - 1 - 1 - len(ciphertext)] + b"\x1c" + bytes(28) + message[-1 - len(ciphertext) :]


def fresh_snapshot() -> Snapshot:
    kinds: list[frames.ChatKind] = ["group", "private"]
    return Snapshot(
        chats={
            chat: ChatState(kind, 0, 0, b"c" * 16, ACCOUNTS[0] if kind == "private" else None, None)
            for chat, kind in zip(CHATS, kinds, strict=True)
        },
        members={(chat, DEVICES[0]) for chat in CHATS},
        earlier={},
        member_counts=dict.fromkeys(CHATS, 1),
        known_devices=set(zip(ACCOUNTS, DEVICES, strict=True)),
    )


@settings(max_examples=300, deadline=None)
@given(st.lists(requests(), max_size=30))
def test_any_batch_keeps_the_rules(batch: list[Entry]) -> None:
    snapshot = fresh_snapshot()
    result = plan(batch, snapshot, now_ms=1)
    assert len(result.answers) == len(batch)
    for answer, entry in zip(result.answers, batch, strict=True):
        assert answer.message_id == entry.request.message_id
    for chat in CHATS:
        log = [message for message, _ in result.messages if message.chat_id == chat]
        assert [message.position for message in log] == list(range(1, len(log) + 1))
        assert snapshot.chats[chat].head == len(log)
        assert len({message.message_id for message in log}) == len(log)
        check_epochs(chat, batch, {message.message_id: message.message for message in log}, log)
        check_members(chat, batch, result.answers, log)
    # The same bytes under the same id are answered alike; a batch and its items one by one give the same log.
    again = fresh_snapshot()
    singles = [plan([entry], again, now_ms=1) for entry in batch]
    assert [one.answers[0] for one in singles] == result.answers
    assert again == snapshot


def check_epochs(chat: bytes, batch: list[Entry], held: dict[bytes, bytes], log: list[frames.Message]) -> None:
    """Replay the log as a client would: every entry is of the epoch that the commits before it made."""
    epoch = 0
    for message in log:
        assert int.from_bytes(message.message[4 + 1 + 32 :][:8], "big") == epoch
        epoch += message.message[4 + 1 + 32 + 8] == COMMIT
    assert set(held) <= {entry.request.message_id for entry in batch if entry.request.chat_id == chat}


def check_members(
    chat: bytes,
    batch: list[Entry],
    answers: list[frames.Accepted | frames.Refused],
    log: list[frames.Message],
) -> None:
    """Whoever wrote an entry was a member then, and a private chat saw two accounts at most."""
    members, accounts, done = {DEVICES[0]}, {ACCOUNTS[0]}, set()
    for entry, answer in zip(batch, answers, strict=True):
        request = entry.request
        if request.chat_id != chat or not isinstance(answer, frames.Accepted) or answer.position in done:
            continue
        assert entry.device_id in members
        done.add(answer.position)
        if isinstance(request, frames.Commit):
            members -= set(request.removed)
            members |= {device.device_id for device in request.added}
            accounts |= {device.account_id for device in request.added}
    assert len(done) == len(log)
    assert chat != CHATS[1] or len(accounts) <= 2


def test_refusals_name_their_code() -> None:
    snapshot = fresh_snapshot()
    outsider = check(ACCOUNTS[3], DEVICES[3], frames.Send(os.urandom(16), CHATS[0], private(CHATS[0], 0, 1, b"x")))
    unknown = check(ACCOUNTS[0], DEVICES[0], frames.Send(os.urandom(16), b"u" * 32, private(b"u" * 32, 0, 1, b"x")))
    early = check(ACCOUNTS[0], DEVICES[0], frames.Send(os.urandom(16), CHATS[0], private(CHATS[0], 1, 1, b"x")))
    reused = check(ACCOUNTS[0], DEVICES[0], frames.Send(b"c" * 16, CHATS[0], private(CHATS[0], 0, 1, b"x")))
    codes = [answer.code for answer in plan([outsider, unknown, early, reused], snapshot, 1).answers]  # type: ignore[union-attr]  # all four are refused
    assert codes == [Code.NOT_FOUND, Code.NOT_FOUND, Code.STALE_EPOCH, Code.MESSAGE_ID_REUSED]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 70_000), min_size=1, max_size=6))
def test_outgoing_joins_frames_into_arrays(counts: list[int]) -> None:
    outgoing = Outgoing()
    frame = msgspec.msgpack.encode(frames.CaughtUp())
    counts = [min(count, 3_000 if index else count) for index, count in enumerate(counts)]
    for count in counts:
        outgoing.add(frame * count, count)
    received = 0
    while outgoing:
        data, answers, _ = outgoing.take()
        assert answers == 0
        received += len(msgspec.msgpack.decode(data, type=frames.ServerFrames))
    assert (received, outgoing.size_bytes) == (sum(counts), 0)
