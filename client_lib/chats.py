"""What apps hold in their hands: people, chats, messages and attachments. Thin views over the runtime's state."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from client_lib import attachments as files
from client_lib import content as mimi
from client_lib import turns
from client_lib.engine import Chat as ChatState
from client_lib.engine import generate_message_id
from client_lib.engine.state import Outgoing
from client_lib.engine.trust import account_of
from client_lib.errors import ClientError
from client_lib.runtime import Runtime, now_ms
from client_lib.store.model import AddMessage, Direction, Status, StoredMessage
from crypto.errors import IdentityError
from crypto.identity.accounts import format_account_id, parse_account_id
from protocol.frames import ChatKind


@dataclass(frozen=True, slots=True)
class Person:
    """An account. `address` is its id as people see it; `name` is the one that you gave it, else its address."""

    address: str
    name: str


def person(runtime: Runtime, account_id: bytes) -> Person:
    """The person of an account id (20 bytes)."""
    address = format_account_id(account_id)
    return Person(address, runtime.names.get(account_id, address))


def parse_address(address: str) -> bytes:
    """The account id of an address, 20 bytes. Raises `ClientError`."""
    try:
        return parse_account_id(address)
    except IdentityError as error:
        raise ClientError(f"{mimi.neutralise(address[:64])!r} is no address: {error}") from error


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file in a message. `size` is the plaintext's, in bytes."""

    filename: str
    media_type: str
    size: int
    _part: mimi.ExternalPart = field(repr=False)
    _chat: Chat = field(repr=False)

    async def save(self, folder: str | Path) -> Path:
        """Download and decrypt the file into `folder`; returns its path.

        The file appears under its name only once every byte has been checked. Raises `ClientError`.
        """
        return await files.download(self._chat.runtime.http, self._chat.chat_id, self._part, Path(folder))


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat's history.

    `sender` is who MLS has authenticated; None where that failed, and then `reason` says why. `position` is its place
    in the chat's log, None while unsent. `sent_at_ms`: Unix milliseconds. `text` is exactly what was written; print
    `shown`, which is safe for a terminal.
    """

    chat: Chat = field(repr=False)
    id: bytes | None
    position: int | None
    sender: Person | None
    is_ours: bool
    sent_at_ms: int
    status: Status
    reason: str
    text: str = field(repr=False)
    shown: str = field(repr=False)
    reply_to: bytes | None
    attachments: tuple[Attachment, ...] = field(repr=False)

    async def reply(self, text: str, attach: Iterable[str | Path] = ()) -> Message:
        """Send a message that refers to this one."""
        return await self.chat.send(text, attach=attach, reply_to=self)


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat of this client. All of its content is read from the store, so two values of one chat are alike."""

    chat_id: bytes
    runtime: Runtime = field(repr=False)

    @property
    def id(self) -> str:
        """The chat's id in hex."""
        return self.chat_id.hex()

    @property
    def kind(self) -> ChatKind:
        """`private` or `group`."""
        return self._state.kind

    @property
    def is_active(self) -> bool:
        """Whether we can send and read here; if not, `closed_because` says why."""
        return self._state.status == "active"

    @property
    def closed_because(self) -> str:
        """Why the chat is closed here; empty while it is active."""
        return self._state.reason

    @property
    def epoch(self) -> int | None:
        """How many commits the chat has seen; None once we have left."""
        return self._state.group.epoch if self._state.group is not None else None

    @property
    def members(self) -> tuple[Person, ...]:
        """The people in the chat, ourselves included, each once."""
        group = self._state.group
        accounts = dict.fromkeys(account_of(member) for member in group.members) if group is not None else {}
        return tuple(person(self.runtime, account_id) for account_id in accounts)

    async def send(self, text: str, *, attach: Iterable[str | Path] = (), reply_to: Message | None = None) -> Message:
        """Send a message; returns once it is safe on disk. It goes out as soon as the server can be reached.

        Files are encrypted and uploaded first. Raises `ClientError`.
        """
        parts = [await files.upload(self.runtime.http, self.chat_id, Path(path)) for path in attach]
        if reply_to is not None and reply_to.id is None:
            raise ClientError("this message cannot be replied to: it could not be read")
        content = mimi.text(
            text,
            reply_to.id if reply_to is not None else None,
            salt=mimi.generate_salt(),
            attachments=parts,
        )
        turn = turns.current()
        if turn is None or turn.chat_id != self.chat_id:
            message_id = generate_message_id()
        else:
            message_id = self.runtime.engine.identity.derive_message_id(turn.next_name())
            said = self._said(message_id, turn.position)
            if said is not None:  # before a crash; the turn is run again
                return self._message(said)
        draft = await self.runtime.perform(
            lambda: self.runtime.engine.send(self.chat_id, message_id, content, now_ms())
        )
        return self._message(next(write.message for write in draft.writes if isinstance(write, AddMessage)))

    async def add(self, *addresses: str) -> None:
        """Add people with all their devices; returns when the change is in force. Raises `ClientError`."""
        packages = [
            package for address in addresses for package in await self.runtime.key_packages(parse_address(address))
        ]
        await self._change(packages, ())

    async def remove(self, *addresses: str) -> None:
        """Remove people with all their devices; returns when the change is in force. Raises `ClientError`."""
        await self._change((), [parse_address(address) for address in addresses])

    async def refresh_keys(self) -> None:
        """Replace our keys in the chat, so that a thief of the old ones is shut out (RFC 9420 §16.6)."""
        await self._change((), ())

    def history(self, after: int | None = None, limit: int | None = None) -> list[Message]:
        """Messages in the order of the chat's log, unsent ones last. `after`: a position."""
        return [self._message(stored) for stored in self.runtime.store.messages(self.chat_id, after, limit)]

    async def messages(self, after: int | None = None) -> AsyncIterator[Message]:
        """Everybody else's messages as they come, from now on, or from a position on. Ends when the chat is closed."""
        position = self._state.position if after is None else after
        with self.runtime.listen() as events:
            while True:
                for message in self.history(after=position):
                    if message.position is not None:
                        position = message.position
                        if not message.is_ours:
                            yield message
                if not self.is_active:
                    return
                await self.runtime.next_event(events)

    def _said(self, message_id: bytes, after: int) -> StoredMessage | None:
        """Our message with this id, sent or still waiting, after a position of the log."""
        waiting = {
            entry.content_id
            for entry in self._state.outbox.values()
            if isinstance(entry, Outgoing) and entry.message_id == message_id
        }
        stored = self.runtime.store.messages(self.chat_id, after)
        return next((own for own in stored if own.transport_id == message_id or own.message_id in waiting), None)

    @property
    def _state(self) -> ChatState:
        return self.runtime.engine.chats[self.chat_id]

    async def _change(self, packages: Sequence[bytes], removes: Sequence[bytes]) -> None:
        change_id = generate_message_id()
        await self.runtime.perform_change(
            change_id,
            lambda: self.runtime.engine.change_members(self.chat_id, change_id, packages, removes, now_ms()),
        )

    def _message(self, stored: StoredMessage) -> Message:
        readable = stored.status is not Status.UNDECRYPTABLE
        content = mimi.decode(stored.content) if readable else None
        parts = mimi.attachments(content) if content is not None else ()
        account_id = stored.sender_account_id
        return Message(
            chat=self,
            id=stored.message_id,
            position=stored.position,
            sender=person(self.runtime, account_id) if account_id is not None else None,
            is_ours=stored.direction is Direction.OUT,
            sent_at_ms=stored.sent_at_ms,
            status=stored.status,
            reason=stored.reason,
            text=mimi.body_text(content) if content is not None else "",
            shown=mimi.plain_text(content) if content is not None else f"[cannot be read: {stored.reason}]",
            reply_to=content.in_reply_to if content is not None else None,
            attachments=tuple(
                Attachment(mimi.safe_filename(part.filename), part.content_type, part.size, part, self)
                for part in parts
            ),
        )
