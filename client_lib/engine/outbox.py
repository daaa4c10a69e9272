"""What goes out of a chat, in the order in which it was asked for.

One rule: `pump` walks the outbox from its start and makes everything that may go out now. Messages go at once; a change
of members (our commit) goes alone, and what was asked for after it waits until its epoch has begun, so a message meant
for a new member is readable by it.

The log decides. A commit of ours is adopted when it comes back in the log (`receive`); a message made for an epoch that
ended before it was in the log was certainly refused, and is made again for the new epoch. The server's answers are
needed for one thing only: refusals that trying again does not mend (`refused`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

import msgspec

from client_lib import content as mimi
from client_lib.engine.draft import Draft, with_entry, without_entry
from client_lib.engine.identity import Identity
from client_lib.engine.state import Change, Chat, Create, Entry, Outgoing, Pending
from client_lib.engine.trust import account_of, check_kind, device_of
from client_lib.errors import ClientError
from client_lib.events import ChangeDone, ChangeFailed, ChatStuck, MessageFailed
from client_lib.store.model import AddMessage, Direction, Status, StoredMessage
from crypto.errors import CommitFirst, CryptoError
from crypto.mls.group import Member, PendingCommit
from crypto.mls.verified_key_package import verify_key_package
from protocol.codes import Code
from protocol.frames import Accepted, ChatDevice, Commit, CreateChat, Message, Refused, Send
from protocol.limits import COMMIT_BYTES_MAX, MEMBERS_PER_COMMIT_MAX, WELCOME_BYTES_MAX

RETRIED = frozenset({Code.STALE_EPOCH, Code.UNAVAILABLE, Code.INTERNAL, Code.TOO_MANY, Code.UNAUTHENTICATED})
"""Refusals that the log or the next connection mends. Every other one is final."""


def generate_message_id() -> bytes:
    """The idempotency key of one thing sent: 16 random bytes."""
    return os.urandom(16)


def create(draft: Draft, chat: Chat) -> Chat:
    """Start a chat of which we are the only member so far, and tell the server."""
    chat = draft.keep(with_entry(draft.keep(chat), chat.next_entry_number, Create(generate_message_id())))
    resend(draft, chat)
    return chat


def send(draft: Draft, identity: Identity, chat: Chat, message_id: bytes, content: mimi.Content) -> Chat:
    """Queue a message, write it to the history, and make what may go out."""
    encoded = mimi.encode(content)
    uris = {"sender_uri": mimi.account_uri(identity.account_id), "room_uri": mimi.chat_uri(chat.chat_id)}
    entry = Outgoing(
        message_id=message_id,
        content_id=mimi.message_id(content, encoded, **uris),
        content=encoded,
        sent_at_ms=draft.now_ms,
    )
    draft.writes.append(AddMessage(history_entry(identity, chat.chat_id, entry, Status.SENDING)))
    return pump(draft, identity, with_entry(chat, chat.next_entry_number, entry))


def history_entry(
    identity: Identity, chat_id: bytes, entry: Outgoing, status: Status, placed: Message | None = None, reason: str = ""
) -> StoredMessage:
    """A message of ours as the history shows it; `placed` is its entry in the chat's log, once it has one."""
    return StoredMessage(
        chat_id=chat_id,
        position=placed.position if placed is not None else None,
        transport_id=placed.message_id if placed is not None else None,
        message_id=entry.content_id,
        sender_account_id=identity.account_id,
        sender_device_id=identity.device_id,
        sent_at_ms=entry.sent_at_ms,
        received_at_ms=placed.received_at_ms if placed is not None else None,
        direction=Direction.OUT,
        status=status,
        reason=reason,
        content=entry.content,
    )


def change(
    draft: Draft,
    identity: Identity,
    chat: Chat,
    change_id: bytes,
    key_packages: Sequence[bytes] = (),
    removes: Sequence[bytes] = (),
) -> Chat:
    """Queue a change of members and make what may go out."""
    entry = Change(message_id=change_id, key_packages=tuple(key_packages), removes=tuple(removes))
    return pump(draft, identity, with_entry(chat, chat.next_entry_number, entry))


def pump(draft: Draft, identity: Identity, chat: Chat) -> Chat:
    """Make and send everything at the start of the outbox that may go out now; returns the chat as it is kept.

    A change that cannot be made (any more) is said to have failed, and what comes after it waits for the next step.
    """
    for number, entry in sorted(chat.outbox.items()):
        group = chat.group
        if chat.status != "active" or group is None or chat.pending is not None:
            break
        match entry:
            case Create():
                break
            case Change():
                try:
                    chat = _commit(draft, chat, number, entry)
                except (CryptoError, ClientError) as error:
                    chat = _give_up(draft, identity, chat, number, entry, str(error))
                    break
            case Outgoing() if entry.message is None:
                try:
                    chat = _seal(draft, chat, number, entry)
                except CommitFirst:  # RFC 9420 §12.4: what was proposed is decided before more is said; or §15.2
                    return pump(draft, identity, _commit_first(chat))
                except CryptoError as error:
                    draft.events.append(ChatStuck(chat.chat_id, str(error)))
                    chat = replace(chat, status="stuck", reason=str(error))
            case Outgoing():
                continue
            case _:
                assert_never(entry)
    return draft.keep(chat)


def resend(draft: Draft, chat: Chat) -> None:
    """After a connection was lost: send again all that has no answer yet. The server knows repeats by their ids."""
    for entry in chat.outbox.values():
        if isinstance(entry, Create):
            draft.frames.append(CreateChat(entry.message_id, chat.chat_id, chat.kind))
        elif isinstance(entry, Outgoing) and entry.message is not None:
            draft.frames.append(Send(entry.message_id, chat.chat_id, entry.message))
    if chat.pending is not None:
        draft.frames.append(chat.pending.commit)


def accepted(draft: Draft, identity: Identity, answer: Accepted) -> None:
    """The server has taken something. Only a new chat's creation matters here: the rest comes back in the log."""
    chat = draft.chat(answer.chat_id)
    if chat is None:
        return
    for number, entry in chat.outbox.items():
        if isinstance(entry, Create) and entry.message_id == answer.message_id:
            pump(draft, identity, without_entry(chat, number))
            return


def refused(draft: Draft, identity: Identity, answer: Refused) -> None:
    """The server has refused something of ours; a final refusal takes it out of the outbox and says so."""
    chat = draft.chat(answer.chat_id)
    if chat is None or answer.code in RETRIED:
        return
    for number, entry in chat.outbox.items():
        if entry.message_id == answer.message_id:
            pump(draft, identity, _give_up(draft, identity, chat, number, entry, f"{answer.detail} ({answer.code})"))
            return


def unseal(chat: Chat) -> Chat:
    """Take back what was made for an epoch that has ended: messages are made again, our lost commit too."""
    outbox = {
        number: msgspec.structs.replace(entry, message=None) if isinstance(entry, Outgoing) else entry
        for number, entry in chat.outbox.items()
    }
    return replace(chat, outbox=outbox, pending=None)


def _give_up(draft: Draft, identity: Identity, chat: Chat, number: int, entry: Entry, reason: str) -> Chat:
    """Take an entry out of the outbox that will never go out, and say so."""
    chat = without_entry(chat, number)
    if not isinstance(entry, Change):
        fail(draft, identity, chat, entry, reason)
        return chat
    chat = replace(chat, pending=None)
    if not entry.is_for_proposals:
        fail(draft, identity, chat, entry, reason)
        return chat
    # Nothing may be said in this epoch before the proposals are decided (rule D1), and they cannot be.
    reason = f"what a member proposed cannot be put into force: {reason}"
    draft.events.append(ChatStuck(chat.chat_id, reason))
    return replace(chat, status="stuck", reason=reason)


def abandon(draft: Draft, identity: Identity, chat: Chat, reason: str) -> Chat:
    """Give up all that waits: we are no longer in the chat."""
    for entry in chat.outbox.values():
        fail(draft, identity, chat, entry, reason)
    return replace(chat, outbox={}, pending=None)


def _seal(draft: Draft, chat: Chat, number: int, entry: Outgoing) -> Chat:
    assert chat.group is not None
    # The id under which the server files the message is authenticated, so it cannot file it under another (rule F18).
    group, message = chat.group.protect(entry.content, authenticated_data=entry.message_id)
    draft.frames.append(Send(entry.message_id, chat.chat_id, message))
    return with_entry(replace(chat, group=group), number, msgspec.structs.replace(entry, message=message))


def _commit(draft: Draft, chat: Chat, number: int, entry: Change) -> Chat:
    """Make our commit for a change, or find that the group is as wanted already."""
    assert chat.group is not None
    present = {device_of(member) for member in chat.group.members}
    packages = [verify_key_package(package, draft.now) for package in entry.key_packages]
    adds = [package for package in packages if device_of(package.leaf) not in present]
    removes = [member for member in chat.group.members if account_of(member) in entry.removes]
    is_update = not entry.key_packages and not entry.removes
    if not adds and not removes and not is_update:
        draft.events.append(ChangeDone(chat.chat_id, entry.message_id))
        return without_entry(chat, number)
    made = chat.group.commit(adds, [member.leaf_index for member in removes], now=draft.now)
    check_kind(chat.kind, made.next_epoch.members)
    if max(len(adds), len(removes)) > MEMBERS_PER_COMMIT_MAX or _is_too_large(made):
        raise ClientError("the change is too large for one step: add or remove fewer at once")
    commit = Commit(
        message_id=entry.message_id,
        chat_id=chat.chat_id,
        message=made.message,
        welcome=made.welcome,
        added=_devices_gained(chat.group.members, made.next_epoch.members),
        removed=_devices_lost(chat.group.members, made.next_epoch.members),
    )
    draft.frames.append(commit)
    return replace(chat, group=made.group, pending=Pending(commit, made.next_epoch))


def _is_too_large(made: PendingCommit) -> bool:
    return len(made.message) > COMMIT_BYTES_MAX or len(made.welcome or b"") > WELCOME_BYTES_MAX


def _devices_gained(before: Sequence[Member], after: Sequence[Member]) -> list[ChatDevice]:
    known = {device_of(member) for member in before}
    return [ChatDevice(account_of(member), device_of(member)) for member in after if device_of(member) not in known]


def _devices_lost(before: Sequence[Member], after: Sequence[Member]) -> list[bytes]:
    staying = {device_of(member) for member in after}
    return [device_of(member) for member in before if device_of(member) not in staying]


def _commit_first(chat: Chat) -> Chat:
    """Put a commit of what others proposed, or of nothing but fresh keys, in front of everything that waits."""
    return with_entry(chat, min(chat.outbox) - 1, Change(message_id=generate_message_id(), is_for_proposals=True))


def fail(draft: Draft, identity: Identity, chat: Chat, entry: Entry, reason: str) -> None:
    """Say that something of ours will not go out, and why; the caller takes it out of the outbox."""
    if isinstance(entry, Outgoing):
        failed = history_entry(identity, chat.chat_id, entry, Status.FAILED, reason=reason)
        draft.writes.append(AddMessage(failed))
        draft.events.append(MessageFailed(chat.chat_id, entry.message_id, reason))
    else:
        draft.events.append(ChangeFailed(chat.chat_id, entry.message_id, reason))
