"""Who comes first: the rules by which requests enter a chat's log. Pure; the database is in `backend.store.log`.

`plan` takes what the database said of the chats, under their locks, and a batch of requests in the order they
came. It answers each and says what to write. Invariants:
- positions of a chat are 1, 2, 3, ... without gaps;
- every entry is of the epoch that the commits before it made: a request of another epoch is refused, so the first
  commit of an epoch wins and clients never need the keys of an epoch that the log has left;
- a request that was accepted before is answered as then, whatever has changed since, and writes nothing;
- a refused request writes nothing and changes nothing for its neighbours.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

import msgspec

from backend import checks
from backend.errors import ProblemError
from crypto.public import ContentType
from protocol import limits
from protocol.codes import Code
from protocol.frames import Accepted, ChatDevice, ChatKind, Commit, CreateChat, Message, Refused, Send

Request = CreateChat | Send | Commit
Answer = Accepted | Refused

_encoder = msgspec.msgpack.Encoder()


@dataclass(frozen=True, slots=True)
class Entry:
    """A request whose bytes are checked; what remains depends on the state of its chat."""

    account_id: bytes
    device_id: bytes
    request: Request
    request_hash: bytes
    epoch: int
    size_bytes: int


@dataclass(slots=True)
class ChatState:
    """A chat's row, locked. `first_account_id` and `second_account_id` are a private chat's only accounts, ever."""

    kind: ChatKind
    epoch: int
    head: int
    create_message_id: bytes
    first_account_id: bytes | None
    second_account_id: bytes | None
    created_now: bool = False


@dataclass(slots=True)
class Snapshot:
    """What the database says, as far as the batch needs it. `plan` keeps it up to date as it goes."""

    chats: dict[bytes, ChatState]
    members: set[tuple[bytes, bytes]]
    """(chat_id, device_id) of current members, of all pairs that the batch names."""
    earlier: dict[tuple[bytes, bytes], tuple[int, bytes]]
    """(chat_id, message_id) that are in the log: position and request hash."""
    member_counts: dict[bytes, int] = field(default_factory=dict)
    """Current members of chats that the batch adds to."""
    known_devices: set[tuple[bytes, bytes]] = field(default_factory=set)
    """(account_id, device_id) that exist, of those that the batch adds."""


@dataclass(slots=True)
class Plan:
    """Answers in the order of the batch, and what to write. `touched` are the chats whose row changes."""

    answers: list[Answer] = field(default_factory=list)
    messages: list[tuple[Message, bytes]] = field(default_factory=list)
    welcomes: list[tuple[bytes, int, bytes]] = field(default_factory=list)
    added: list[tuple[bytes, ChatDevice, int]] = field(default_factory=list)
    removed: list[tuple[bytes, bytes, int]] = field(default_factory=list)
    touched: dict[bytes, ChatState] = field(default_factory=dict)

    def entries_by_chat(self) -> Mapping[bytes, Sequence[Message]]:
        """New log entries of each chat, in position order."""
        by_chat: dict[bytes, list[Message]] = defaultdict(list)
        for message, _ in self.messages:
            by_chat[message.chat_id].append(message)
        return by_chat


def check(account_id: bytes, device_id: bytes, request: Request) -> Entry:
    """Check what a request's bytes alone can tell. Raises `ProblemError` invalid_object or malformed."""
    size_bytes, epoch = 0, 0
    match request:
        case CreateChat():
            pass
        case Send(message=message):
            epoch = _check_header(request.chat_id, message, {ContentType.APPLICATION, ContentType.PROPOSAL})
            size_bytes = len(message)
        case Commit(message=message, welcome=welcome):
            epoch = _check_header(request.chat_id, message, {ContentType.COMMIT})
            _check_membership_lists(request, device_id)
            size_bytes = len(message) + len(welcome or b"")
        case _:
            assert_never(request)
    digest = hashlib.sha256(_encoder.encode(request)).digest()
    return Entry(account_id, device_id, request, digest, epoch, size_bytes)


def plan(batch: Iterable[Entry], snapshot: Snapshot, now_ms: int) -> Plan:
    """Decide a batch. `snapshot` holds every chat, pair and message id that the batch names, as far as they exist."""
    result = Plan()
    for entry in batch:
        request = entry.request
        try:
            position = _decide(entry, snapshot, now_ms, result)
        except ProblemError as error:
            member = (request.chat_id, entry.device_id) in snapshot.members
            head = snapshot.chats[request.chat_id].head if member else 0
            result.answers.append(refusal(request, error, head))
        else:
            result.answers.append(Accepted(request.message_id, request.chat_id, position))
    return result


def refusal(request: Request, error: ProblemError, head: int = 0) -> Refused:
    """The stream's form of a refusal. `head` is the chat's newest position, 0 if the device may not know it."""
    return Refused(
        message_id=request.message_id, chat_id=request.chat_id, code=error.code, detail=error.detail, head=head
    )


def _decide(entry: Entry, snapshot: Snapshot, now_ms: int, result: Plan) -> int:
    request = entry.request
    earlier = snapshot.earlier.get((request.chat_id, request.message_id))
    if earlier is not None and earlier[1] == entry.request_hash:
        return earlier[0]
    chat = snapshot.chats.get(request.chat_id)
    if isinstance(request, CreateChat):
        return _create(entry, request, chat, snapshot, result)
    if chat is None or (request.chat_id, entry.device_id) not in snapshot.members:
        raise ProblemError(Code.NOT_FOUND, "there is no such chat, or this device is not in it")
    if earlier is not None or chat.create_message_id == request.message_id:
        raise ProblemError(Code.MESSAGE_ID_REUSED, "this message id was used for other bytes")
    if entry.epoch != chat.epoch:
        raise ProblemError(Code.STALE_EPOCH, f"the chat is in epoch {chat.epoch}")
    if isinstance(request, Commit):
        _check_change(request, chat, snapshot)
    position = chat.head + 1
    chat.head = position
    if isinstance(request, Commit):
        chat.epoch += 1
        _change_members(request, chat, position, snapshot, result)
    message = Message(
        chat_id=request.chat_id,
        position=position,
        message_id=request.message_id,
        received_at_ms=now_ms,
        message=request.message,
    )
    result.messages.append((message, entry.request_hash))
    result.touched[request.chat_id] = chat
    snapshot.earlier[request.chat_id, request.message_id] = (position, entry.request_hash)
    return position


def _create(entry: Entry, request: CreateChat, chat: ChatState | None, snapshot: Snapshot, result: Plan) -> int:
    assert chat is not None  # the caller has inserted the row of every chat that the batch creates
    if chat.create_message_id != request.message_id or chat.kind != request.kind:
        raise ProblemError(Code.ALREADY_EXISTS, "a chat with this id exists already")
    if chat.created_now:
        chat.created_now = False
        if chat.kind == "private":
            chat.first_account_id = entry.account_id
        device = ChatDevice(entry.account_id, entry.device_id)
        result.added.append((request.chat_id, device, 0))
        result.touched[request.chat_id] = chat
        snapshot.members.add((request.chat_id, entry.device_id))
        snapshot.member_counts[request.chat_id] = 1
    return 0


def _check_header(chat_id: bytes, message: bytes, allowed: set[ContentType]) -> int:
    header = checks.message_header(message)
    if header.group_id != chat_id:
        raise ProblemError(Code.INVALID_OBJECT, "the message is of another group than the chat")
    if header.content_type not in allowed:
        raise ProblemError(Code.INVALID_OBJECT, "commits go as commits, everything else as messages")
    return header.epoch


def _check_membership_lists(request: Commit, device_id: bytes) -> None:
    added = {device.device_id for device in request.added}
    if len(added) != len(request.added) or len(set(request.removed)) != len(request.removed):
        raise ProblemError(Code.INVALID_OBJECT, "a device is named twice")
    if device_id in request.removed or device_id in added:
        raise ProblemError(Code.INVALID_OBJECT, "a device cannot add or remove itself")
    if (request.welcome is None) != (not added):
        raise ProblemError(Code.INVALID_OBJECT, "a Welcome and the devices that it is for come together")
    if request.welcome is not None and checks.welcome_count(request.welcome) != len(added):
        raise ProblemError(Code.INVALID_OBJECT, "the Welcome is for another number of devices")


def _check_change(request: Commit, chat: ChatState, snapshot: Snapshot) -> None:
    removed = set(request.removed)
    for device_id in removed:
        if (request.chat_id, device_id) not in snapshot.members:
            raise ProblemError(Code.INVALID_OBJECT, "a removed device is not a member")
    for device in request.added:
        if (request.chat_id, device.device_id) in snapshot.members and device.device_id not in removed:
            raise ProblemError(Code.INVALID_OBJECT, "an added device is a member already")
        if (device.account_id, device.device_id) not in snapshot.known_devices:
            raise ProblemError(Code.INVALID_OBJECT, "an added device is not known, or not of that account")
    if chat.kind == "private":
        accounts = {device.account_id for device in request.added}
        accounts |= {a for a in (chat.first_account_id, chat.second_account_id) if a is not None}
        if len(accounts) > limits.PRIVATE_CHAT_ACCOUNTS_MAX:
            raise ProblemError(Code.PRIVATE_CHAT_FULL, "a private chat never holds a third account")
    if request.added:
        count = snapshot.member_counts.get(request.chat_id, 0) + len(request.added) - len(removed)
        if count > limits.MEMBERS_PER_CHAT_MAX:
            raise ProblemError(Code.TOO_MANY, f"a chat may have {limits.MEMBERS_PER_CHAT_MAX} devices")


def _change_members(request: Commit, chat: ChatState, position: int, snapshot: Snapshot, result: Plan) -> None:
    chat_id = request.chat_id
    for device_id in request.removed:
        result.removed.append((chat_id, device_id, position))
        snapshot.members.discard((chat_id, device_id))
    for device in request.added:
        result.added.append((chat_id, device, position))
        snapshot.members.add((chat_id, device.device_id))
        if chat.kind == "private" and device.account_id != chat.first_account_id:
            chat.second_account_id = device.account_id
    if request.welcome is not None:
        result.welcomes.append((chat_id, position, request.welcome))
    if chat_id in snapshot.member_counts:
        snapshot.member_counts[chat_id] += len(request.added) - len(request.removed)
