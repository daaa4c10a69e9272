"""What happened, told to the app: small frozen values, emitted only after they are on disk.

Messages are not in the events but in the store's history: an event says that there is one, so a slow reader loses
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MessageStored:
    """A message of somebody else is in the history of the chat (also one that could not be opened)."""

    chat_id: bytes


@dataclass(frozen=True, slots=True)
class MessageSent:
    """Our message has its place in the chat's log."""

    chat_id: bytes
    message_id: bytes
    position: int


@dataclass(frozen=True, slots=True)
class MessageFailed:
    """The server refused our message for good; `reason` is one line for people."""

    chat_id: bytes
    message_id: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class ChatJoined:
    """We are in a new chat. `inviter` is the account that added us, None where we made the chat."""

    chat_id: bytes
    inviter: bytes | None


@dataclass(frozen=True, slots=True)
class MembersChanged:
    """Accounts came or went by the commit of `by` (account ids)."""

    chat_id: bytes
    added: tuple[bytes, ...]
    removed: tuple[bytes, ...]
    by: bytes


@dataclass(frozen=True, slots=True)
class ChangeDone:
    """A membership change that we asked for is in force (or was already)."""

    chat_id: bytes
    change_id: bytes


@dataclass(frozen=True, slots=True)
class ChangeFailed:
    """A membership change that we asked for was refused for good."""

    chat_id: bytes
    change_id: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class ChatLeft:
    """We are no longer in the chat; its history stays readable."""

    chat_id: bytes
    by: bytes | None


@dataclass(frozen=True, slots=True)
class ChatStuck:
    """The chat cannot go on here: its next log entry is not acceptable. Nothing of it was believed."""

    chat_id: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that the user should know of the server or of another member."""

    chat_id: bytes | None
    text: str


@dataclass(frozen=True, slots=True)
class Offline:
    """There is no connection to the server now, and why. It is tried again for as long as the client is open."""

    reason: str


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """Everything that waited at the server when we connected has been processed."""


Event = (
    MessageStored
    | MessageSent
    | MessageFailed
    | ChatJoined
    | MembersChanged
    | ChangeDone
    | ChangeFailed
    | ChatLeft
    | ChatStuck
    | Alert
    | Offline
    | CaughtUp
)
