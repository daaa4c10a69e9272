"""How chats, messages and what happens look: to people, and as JSON with field names that stay.

JSON: `event` says what a line is, ids are hex, times are Unix milliseconds, and what is not known is null. `text` is
exactly what was written; `shown` is the same made harmless for a terminal, with files named in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from client_lib import Attachment, Chat, Message, Person, Status
from client_lib.events import Alert, ChatJoined, ChatLeft, ChatStuck, Event, MembersChanged, MessageFailed, Offline
from sealdesk_cli.output import SHORT_ID, when

Saved = Mapping[int, Path | str]
"""Where the attachments of a message were saved, by number from 0; a text instead says why one was not."""


def short(identifier: str) -> str:
    """An id as people see it; every command takes it in place of the whole."""
    return identifier[:SHORT_ID]


def person_record(person: Person | None) -> dict[str, object] | None:
    """JSON of a person."""
    return {"address": person.address, "name": person.name} if person is not None else None


def chat_record(chat: Chat) -> dict[str, object]:
    """JSON of a chat."""
    return {
        "chat": chat.id,
        "kind": chat.kind,
        "is_active": chat.is_active,
        "closed_because": chat.closed_because,
        "epoch": chat.epoch,
        "members": [person_record(member) for member in chat.members],
    }


def chat_line(chat: Chat, me: Person) -> str:
    """A chat on one line."""
    others = ", ".join(member.name for member in chat.members if member != me) or "nobody else"
    closed = f"  closed: {chat.closed_because}" if not chat.is_active else ""
    return f"{short(chat.id)}  {chat.kind:<7}  {others}{closed}"


def message_record(message: Message, saved: Saved | None = None) -> dict[str, object]:
    """JSON of a message."""
    return {
        "event": "message",
        "chat": message.chat.id,
        "kind": message.chat.kind,
        "message": message.id.hex() if message.id is not None else None,
        "position": message.position,
        "sender": person_record(message.sender),
        "is_ours": message.is_ours,
        "sent_at_ms": message.sent_at_ms,
        "status": str(message.status),
        "reason": message.reason,
        "text": message.text,
        "shown": message.shown,
        "reply_to": message.reply_to.hex() if message.reply_to is not None else None,
        "attachments": [
            _attachment_record(attachment, None if saved is None else saved[number])
            for number, attachment in enumerate(message.attachments)
        ],
    }


def message_head(message: Message) -> str:
    """Who, where and when, on one line; the text goes below it, indented."""
    sender = "you" if message.is_ours else message.sender.name if message.sender is not None else "unknown sender"
    words = [when(message.sent_at_ms), sender]
    words.append(f"{message.chat.kind} chat {short(message.chat.id)}")
    if message.id is not None:
        words.append(f"message {short(message.id.hex())}")
    if message.reply_to is not None:
        words.append(f"reply to {short(message.reply_to.hex())}")
    if message.status in (Status.SENDING, Status.FAILED):
        words.append(f"{message.status}{': ' if message.reason else ''}{message.reason}")
    return "  ".join(words)


def saved_lines(message: Message, saved: Saved) -> Iterator[str]:
    """Where the files of a message are now."""
    for number, attachment in enumerate(message.attachments):
        place = saved[number]
        yield f"saved as {place}" if isinstance(place, Path) else f"{attachment.filename} was not saved: {place}"


def event_record(chats: Mapping[bytes, Chat], event: Event) -> dict[str, object] | None:
    """JSON of something other than a message that happened; None for what a person need not know."""
    match event:
        case ChatJoined(chat_id):
            return {"event": "joined", "chat": chat_id.hex(), "kind": chats[chat_id].kind}
        case MembersChanged(chat_id):
            members = [person_record(member) for member in chats[chat_id].members]
            return {"event": "members", "chat": chat_id.hex(), "members": members}
        case ChatLeft(chat_id):
            return {"event": "left", "chat": chat_id.hex()}
        case ChatStuck(chat_id, reason):
            return {"event": "stuck", "chat": chat_id.hex(), "reason": reason}
        case MessageFailed(chat_id, _, reason):
            return {"event": "failed", "chat": chat_id.hex(), "reason": reason}
        case Alert(chat_id, text):
            return {"event": "alert", "chat": chat_id.hex() if chat_id is not None else None, "reason": text}
        case Offline(reason):
            return {"event": "offline", "reason": reason}
        case _:
            return None


def event_line(chats: Mapping[bytes, Chat], event: Event) -> str | None:
    """The same on one line."""
    match event:
        case ChatJoined(chat_id):
            return f"You are in {chats[chat_id].kind} chat {short(chat_id.hex())} now."
        case MembersChanged(chat_id):
            names = ", ".join(member.name for member in chats[chat_id].members)
            return f"In chat {short(chat_id.hex())} there are now: {names}."
        case ChatLeft(chat_id):
            return f"You are no longer in chat {short(chat_id.hex())}; what was said stays readable."
        case ChatStuck(chat_id, reason):
            return f"Chat {short(chat_id.hex())} cannot go on here: {reason}. Ask a member to remove and add you."
        case MessageFailed(chat_id, _, reason):
            return f"A message to chat {short(chat_id.hex())} was refused for good: {reason}"
        case Alert(_, text):
            return text
        case Offline(reason):
            return f"No connection now: {reason}"
        case _:
            return None


def _attachment_record(attachment: Attachment, place: Path | str | None) -> dict[str, object]:
    return {
        "filename": attachment.filename,
        "media_type": attachment.media_type,
        "size": attachment.size,
        "path": str(place) if isinstance(place, Path) else None,
        "problem": place if isinstance(place, str) else None,
    }
