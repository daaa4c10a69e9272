"""One member's part of the load: an account, a session, a stream, and messages that only look encrypted.

The server reads the header of a PrivateMessage and nothing behind it, so the rest may be random: making real ones would
take the load's processor longer than the server needs for them. Accounts, sessions, chats and commits are real.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle

import aiohttp
import msgspec

from benchmarks import groups
from benchmarks.processes import BenchmarkError
from client_lib.engine import Identity, generate_identity
from client_lib.transport import HttpTransport, Login
from crypto import suites
from crypto.identity.accounts import generate_recovery_phrase
from crypto.identity.sessions import answer_challenge
from crypto.mls.framing import PrivateMessage
from crypto.mls.headers import ContentType
from crypto.mls.mls_message import encode_message
from crypto.wire import encode
from protocol import limits
from protocol.api import RegisterAccount
from protocol.frames import (
    Accepted,
    Ack,
    CaughtUp,
    ChatDevice,
    Commit,
    CreateChat,
    InboxAck,
    InboxItem,
    Message,
    Refused,
    Send,
    ServerFrames,
)

EPOCH = 1
"""Of every chat: each has seen the commit that added its second member."""
_CIPHERTEXTS = 64
_SENDER_DATA_BYTES = 28

_decoder = msgspec.msgpack.Decoder(ServerFrames)
_encoder = msgspec.msgpack.Encoder()


@dataclass(slots=True)
class Ledger:
    """What was sent and what became of it, over all members. Times are of `time.perf_counter`, in seconds."""

    is_open: bool = False
    """While it is, every accepted message is followed by another one."""
    to_accept: dict[bytes, float] = field(default_factory=dict)
    to_deliver: dict[bytes, float] = field(default_factory=dict)
    accept_s: list[float] = field(default_factory=list)
    """From sending to `Accepted`."""
    deliver_s: list[float] = field(default_factory=list)
    """From sending to the other member's `Message`."""

    @property
    def settled(self) -> int:
        """Messages that are accepted and, as many, delivered."""
        return min(len(self.accept_s), len(self.deliver_s))

    @property
    def all_settled(self) -> bool:
        """Whether nothing is under way."""
        return not self.to_accept and not self.to_deliver


class Member:
    """One device in one chat, on its stream."""

    def __init__(self, identity: Identity, ledger: Ledger, http: HttpTransport, token: str) -> None:
        self.identity = identity
        self.http = http
        self.token = token
        self.chat_id = b""
        self.ledger = ledger
        self._ciphertexts = cycle([b""])
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._own: set[bytes] = set()  # messages of ours that have not come back yet
        self._position = 0
        self._caught_up = False

    async def connect(self, session: aiohttp.ClientSession) -> None:
        """Open the stream and read it up to the present."""
        self._socket = await session.ws_connect(
            self.http.address.stream_url,
            headers={"Authorization": f"Bearer {self.token}"},
            max_msg_size=limits.STREAM_BYTES_MAX,
            compress=0,
        )
        while not self._caught_up:
            await self._take(await self._socket.receive_bytes())

    async def read(self) -> None:
        """Take what comes, until cancelled. Raises `BenchmarkError` if the server ends the connection."""
        assert self._socket is not None
        async for message in self._socket:
            await self._take(message.data)
        raise BenchmarkError(f"the server closed a stream ({self._socket.close_code})")

    async def send(self, count: int) -> None:
        """Send some messages in one frame."""
        assert self._socket is not None
        sends = [self.make() for _ in range(count)]
        data = _encoder.encode(sends)
        self.sent(sends)
        await self._socket.send_bytes(data)

    def make(self) -> Send:
        """A message with an id of its own."""
        return Send(os.urandom(limits.MESSAGE_ID_BYTES), self.chat_id, next(self._ciphertexts))

    def sent(self, sends: Sequence[Send]) -> None:
        """Messages are sent as of now."""
        now = time.perf_counter()
        for each in sends:
            self.ledger.to_accept[each.message_id] = self.ledger.to_deliver[each.message_id] = now
            self._own.add(each.message_id)

    def enter(self, chat_id: bytes, message_bytes: int) -> None:
        """Be in a chat, with messages of this size to send."""
        self.chat_id = chat_id
        overhead = len(_private_message(chat_id, b"")) + 1  # from 64 on, a length takes two bytes
        self._ciphertexts = cycle(
            [_private_message(chat_id, os.urandom(message_bytes - overhead)) for _ in range(_CIPHERTEXTS)]
        )

    async def _take(self, data: bytes) -> None:
        now, accepted, position = time.perf_counter(), 0, self._position
        ledger = self.ledger
        answers: list[Ack | InboxAck] = []
        for frame in _decoder.decode(data):
            match frame:
                case Accepted(message_id=message_id):
                    ledger.accept_s.append(now - ledger.to_accept.pop(message_id))
                    accepted += 1
                case Message():
                    if position and frame.position != position + 1:
                        raise BenchmarkError(f"position {frame.position} came after {position}")
                    position = frame.position
                    self._delivered(frame, now)
                case CaughtUp():
                    self._caught_up = True
                case InboxItem(item_id=item_id):
                    answers.append(InboxAck(item_id))
                case Refused():
                    raise BenchmarkError(f"the server refused a message: {frame.detail}")
                case _:
                    continue
        if position != self._position:
            self._position = position
            answers.append(Ack(self.chat_id, position))
        assert self._socket is not None
        if answers:
            await self._socket.send_bytes(_encoder.encode(answers))
        if accepted and ledger.is_open:
            await self.send(accepted)

    def _delivered(self, entry: Message, now: float) -> None:
        """Count an entry at the other member; a sender's own comes back to it too."""
        if entry.message_id in self._own:
            self._own.discard(entry.message_id)
            return
        sent = self.ledger.to_deliver.pop(entry.message_id, None)
        if sent is not None:
            self.ledger.deliver_s.append(now - sent)


async def register(url: str, invitation: bytes, ledger: Ledger) -> Member:
    """Make an account with one device, and open a session."""
    identity = generate_identity(generate_recovery_phrase(), url, groups.clock())
    login = Login(identity.device_id, lambda challenge: answer_challenge(identity.device_key, url, challenge))
    http = HttpTransport(url, login)
    await http.register_account(
        RegisterAccount(
            invitation=invitation,
            signing_key_certificate=encode(identity.signing_key_certificate),
            device_certificate=encode(identity.device_certificate),
            device_list=encode(identity.device_list),
        )
    )
    return Member(identity, ledger, http, await http.token())


async def open_chat(members: Sequence[Member], message_bytes: int) -> None:
    """A chat of these members: the first makes it and adds the others by a real commit."""
    suite, now = suites.suite_of(1), groups.clock()
    packages = [groups.candidate(suite, member.identity, now).package for member in members[1:]]
    created = groups.create(suite, members[0].identity, packages, now)
    creator, chat_id = members[0], created.group.group_id
    await creator.http.create_chat(CreateChat(os.urandom(limits.MESSAGE_ID_BYTES), chat_id, "private"))
    await creator.http.commit(
        Commit(
            message_id=os.urandom(limits.MESSAGE_ID_BYTES),
            chat_id=chat_id,
            message=created.message,
            welcome=created.welcome,
            added=[ChatDevice(member.identity.account_id, member.identity.device_id) for member in members[1:]],
        )
    )
    for member in members:
        member.enter(chat_id, message_bytes)


def _private_message(chat_id: bytes, ciphertext: bytes) -> bytes:
    message_id = os.urandom(limits.MESSAGE_ID_BYTES)  # clients put it there; the server does not compare
    sender_data = os.urandom(_SENDER_DATA_BYTES)
    return encode_message(PrivateMessage(chat_id, EPOCH, ContentType.APPLICATION, message_id, sender_data, ciphertext))
