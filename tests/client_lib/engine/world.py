"""Engines and a relay in one memory: the same rules as the server, without sockets or time, and crashes at will.

`Relay` follows the log rules of the real server (`backend`): gap-free positions, one commit for each epoch, idempotent
by message id, a Welcome together with its commit. The real server is tested against the same engine end to end; here
every step can be cut, repeated and reordered, thousands of times a second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from client_lib import content as mimi
from client_lib.engine import Draft, Engine, encode_identity, generate_chat_id, generate_identity, generate_message_id
from client_lib.engine.identity import Identity
from client_lib.events import Event
from client_lib.store import MemoryStore, Put, StoredMessage
from crypto.identity.accounts import derive_recovery_phrase
from crypto.mls.mls_message import encode_message
from crypto.public import parse_message_header
from crypto.secret import Secret
from crypto.wire import encode
from protocol import frames
from protocol.api import Account, ClaimedKeyPackage
from protocol.codes import Code

NOW_MS = 1_800_000_000_000


@dataclass
class RelayChat:
    """One chat as the server has it."""

    kind: frames.ChatKind
    epoch: int = 0
    log: list[frames.Message] = field(default_factory=list)
    joined_at: dict[bytes, int] = field(default_factory=dict)
    left_at: dict[bytes, int] = field(default_factory=dict)
    acknowledged: dict[bytes, int] = field(default_factory=dict)

    def readable(self, device_id: bytes) -> list[frames.Message]:
        """What the device has not acknowledged and may read."""
        if device_id not in self.joined_at:
            return []
        end = self.left_at.get(device_id, len(self.log))
        return self.log[self.acknowledged[device_id] : end]

    def may_write(self, device_id: bytes) -> bool:
        """Whether the device is a member now."""
        return device_id in self.joined_at and device_id not in self.left_at


class Relay:
    """The server's rules."""

    def __init__(self) -> None:
        self.chats: dict[bytes, RelayChat] = {}
        self.inbox: dict[bytes, dict[int, frames.InboxItem]] = {}
        self.accounts: dict[bytes, Account] = {}
        self.packages: dict[bytes, deque[bytes]] = {}
        self._answers: dict[tuple[bytes, bytes], tuple[frames.ClientFrame, frames.Accepted]] = {}
        self._items = 0

    def handle(self, device_id: bytes, frame: frames.ClientFrame) -> frames.Accepted | frames.Refused | None:
        """Take one frame; acknowledgements have no answer."""
        if isinstance(frame, frames.Ack):
            chat = self.chats[frame.chat_id]
            chat.acknowledged[device_id] = max(chat.acknowledged.get(device_id, 0), frame.position)
            return None
        if isinstance(frame, frames.InboxAck):
            self.inbox[device_id].pop(frame.item_id, None)
            return None
        known = self._answers.get((device_id, frame.message_id))
        if known is not None:
            sent, first_answer = known
            return first_answer if sent == frame else self._refuse(frame, Code.MESSAGE_ID_REUSED)
        answer = self._append(device_id, frame)
        if isinstance(answer, frames.Accepted):
            self._answers[device_id, frame.message_id] = (frame, answer)
        return answer

    def waiting(self, device_id: bytes) -> list[frames.ServerFrame]:
        """What a device is given when it connects."""
        items: list[frames.ServerFrame] = list(self.inbox.get(device_id, {}).values())
        for chat in self.chats.values():
            items += chat.readable(device_id)
        return [*items, frames.CaughtUp()]

    def _append(
        self, device_id: bytes, frame: frames.CreateChat | frames.Send | frames.Commit
    ) -> frames.Accepted | frames.Refused:
        if isinstance(frame, frames.CreateChat):
            chat = self.chats[frame.chat_id] = RelayChat(frame.kind)
            chat.joined_at[device_id] = chat.acknowledged[device_id] = 0
            return frames.Accepted(frame.message_id, frame.chat_id, 0)
        chat = self.chats[frame.chat_id]
        if not chat.may_write(device_id):
            return self._refuse(frame, Code.NOT_FOUND)
        if parse_message_header(frame.message).epoch != chat.epoch:
            return self._refuse(frame, Code.STALE_EPOCH)
        position = len(chat.log) + 1
        chat.log.append(
            frames.Message(
                chat_id=frame.chat_id,
                position=position,
                message_id=frame.message_id,
                received_at_ms=NOW_MS,
                message=frame.message,
            )
        )
        if isinstance(frame, frames.Commit):
            self._apply(chat, frame, position)
        return frames.Accepted(frame.message_id, frame.chat_id, position)

    def _apply(self, chat: RelayChat, frame: frames.Commit, position: int) -> None:
        chat.epoch += 1
        for device_id in frame.removed:
            chat.left_at[device_id] = position
        for added in frame.added:
            assert frame.welcome is not None
            chat.left_at.pop(added.device_id, None)
            chat.joined_at[added.device_id] = chat.acknowledged[added.device_id] = position
            self._items += 1
            self.inbox.setdefault(added.device_id, {})[self._items] = frames.InboxItem(
                item_id=self._items,
                kind="welcome",
                chat_id=frame.chat_id,
                chat_kind=chat.kind,
                position=position,
                message=frame.welcome,
            )

    def _refuse(self, frame: frames.CreateChat | frames.Send | frames.Commit, code: Code) -> frames.Refused:
        chat = self.chats.get(frame.chat_id)
        head = len(chat.log) if chat is not None else 0
        return frames.Refused(
            message_id=frame.message_id, chat_id=frame.chat_id, code=code, detail="refused", head=head
        )


class Person:
    """One account on one device: an engine over a store, and what is on its way to and from the relay."""

    def __init__(self, relay: Relay, number: int) -> None:
        phrase = derive_recovery_phrase(Secret(number.to_bytes(32, "big")))
        self.identity: Identity = generate_identity(phrase, "http://relay.test", NOW_MS // 1000)
        self.relay = relay
        self.fate: Callable[[], str | None] = lambda: None
        """Asked at every step: None to live on, or the moment to die at."""
        self.store = MemoryStore()
        self.store.apply([Put("identity", b"account", encode_identity(self.identity))])
        self.events: list[Event] = []
        self.outgoing: deque[frames.ClientFrame] = deque()
        self.incoming: deque[frames.ServerFrame] = deque()
        relay.accounts[self.account_id] = Account(
            account_id=self.account_id,
            signing_key_certificate=encode(self.identity.signing_key_certificate),
            device_certificates=[encode(self.identity.device_certificate)],
            device_list=encode(self.identity.device_list),
        )
        self.restart()
        self.apply(self.engine.receive([frames.KeyPackages(40)], NOW_MS).draft)
        relay.packages[self.account_id] = deque(
            encode_message(own.bundle.key_package)
            for own in self.engine.unpublished_key_packages
            if not own.is_last_resort
        )

    @property
    def account_id(self) -> bytes:
        return self.identity.account_id

    @property
    def device_id(self) -> bytes:
        return self.identity.device_id

    def restart(self) -> None:
        """The process died and starts again: memory and everything on its way is gone, the store is what it was."""
        self.engine = Engine.load({space: self.store.load(space) for space in self.store.spaces()})
        self.reconnect()

    def reconnect(self) -> None:
        """The connection broke and is there again."""
        self.outgoing.clear()
        self.incoming.clear()
        self.outgoing.extend(self.engine.connected(NOW_MS).frames)
        self.incoming.extend(self.relay.waiting(self.device_id))

    def apply(self, draft: Draft) -> bool:
        """See a draft through, or die `before` or `after` its writes are on disk. Returns whether we still live."""
        die = self.fate()
        if die == "before":
            self.restart()
            return False
        self.store.apply(draft.writes)
        if die == "after":
            self.restart()
            return False
        draft.adopt()
        self.outgoing.extend(draft.frames)
        self.events.extend(draft.events)
        return True

    def transmit(self) -> None:
        """Send the oldest frame; die `before`: it is lost with us, `after`: the relay has it and we die unknowing."""
        frame, die = self.outgoing.popleft(), self.fate()
        if die == "before":
            self.restart()
            return
        answer = self.relay.handle(self.device_id, frame)
        if die == "after":
            self.restart()
            return
        if answer is not None:
            self.incoming.append(answer)

    def process(self) -> None:
        """Process the oldest frame that has come in."""
        frame = self.incoming.popleft()
        received = self.engine.receive([frame], NOW_MS)
        while received.missing:
            for account_id in received.missing:
                if not self.apply(self.engine.learn_account(account_id, self.relay.accounts[account_id], NOW_MS)):
                    return
            received = self.engine.receive(received.rest, NOW_MS, received.missing)
        self.apply(received.draft)

    def fetch_news(self) -> None:
        """What the log holds and was not given to us yet comes in."""
        known = {(frame.chat_id, frame.position) for frame in self.incoming if isinstance(frame, frames.Message)}
        items = {frame.item_id for frame in self.incoming if isinstance(frame, frames.InboxItem)}
        for frame in self.relay.waiting(self.device_id):
            if isinstance(frame, frames.InboxItem) and frame.item_id not in items:
                self.incoming.append(frame)
            if isinstance(frame, frames.Message) and (frame.chat_id, frame.position) not in known:
                self.incoming.append(frame)

    def claim(self, other: Person) -> list[bytes]:
        """Key packages to add somebody by."""
        while not self.apply(
            self.engine.learn_account(other.account_id, self.relay.accounts[other.account_id], NOW_MS)
        ):
            continue
        package = self.relay.packages[other.account_id].popleft()
        claims = [ClaimedKeyPackage(other.device_id, package, last_resort=False)]
        return self.engine.judge_claims(other.account_id, claims, NOW_MS)

    def create_chat(self, kind: frames.ChatKind, *others: Person) -> bytes:
        chat_id = generate_chat_id()
        packages = [package for other in others for package in self.claim(other)]
        self.apply(self.engine.create_chat(chat_id, kind, generate_message_id(), packages, NOW_MS))
        return chat_id

    def say(self, chat_id: bytes, text: str) -> bool:
        content = mimi.text(text, salt=mimi.generate_salt())
        return self.apply(self.engine.send(chat_id, generate_message_id(), content, NOW_MS))

    def add(self, chat_id: bytes, other: Person) -> None:
        draft = self.engine.change_members(chat_id, generate_message_id(), self.claim(other), (), NOW_MS)
        self.apply(draft)

    def remove(self, chat_id: bytes, other: Person) -> None:
        draft = self.engine.change_members(chat_id, generate_message_id(), (), [other.account_id], NOW_MS)
        self.apply(draft)

    def history(self, chat_id: bytes) -> tuple[StoredMessage, ...]:
        return self.store.messages(chat_id)

    def texts(self, chat_id: bytes) -> list[str]:
        """What this person sees in a chat, in order; a message that could not be read as its reason."""
        return [
            mimi.body_text(mimi.decode(stored.content)) if not stored.reason else f"[{stored.reason}]"
            for stored in self.history(chat_id)
        ]


def settle(*people: Person) -> None:
    """Let everything on its way arrive, until nothing moves. Bounded: the world must come to rest."""
    for _ in range(500):
        for person in people:
            person.fetch_news()
            while person.outgoing:
                person.transmit()
            while person.incoming:
                person.process()
        if not any(person.outgoing or person.incoming for person in people) and not any(
            chat.readable(person.device_id) for person in people for chat in person.relay.chats.values()
        ):
            return
    raise AssertionError("the world does not come to rest")
