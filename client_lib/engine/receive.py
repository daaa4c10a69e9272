"""What comes in: the entries of a chat's log, one by one, in order.

Owns the way of an entry from ciphertext to a new state: our own come back and are adopted, a message is opened and
written to the history, a commit is staged, judged (`trust`) and adopted. What is not acceptable changes no keys. A
message that does not open is kept with its reason and the log goes on; a commit of the present epoch that is not
acceptable stops the chat, since everything after it depends on it, and the user is told.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from client_lib import content as mimi
from client_lib.engine import outbox, trust
from client_lib.engine.draft import Draft, without_entry
from client_lib.engine.identity import Identity
from client_lib.engine.state import Change, Chat, Outgoing
from client_lib.errors import ContentError, TrustError
from client_lib.events import (
    Alert,
    ChangeDone,
    ChatLeft,
    ChatStuck,
    MembersChanged,
    MessageSent,
    MessageStored,
)
from client_lib.store.model import AddMessage, Direction, Status, StoredMessage
from crypto.errors import CryptoError, InvalidMessage
from crypto.mls.group import ApplicationMessage, Group, ReceivedProposal, StagedCommit
from crypto.mls.headers import ContentType
from crypto.public import parse_message_header
from protocol.frames import Ack, Message


class LogGap(Exception):
    """The server skipped an entry of a log: connect again; it sends from the last acknowledged one."""

    def __init__(self) -> None:
        super().__init__("the server skipped a message")


def log_entry(draft: Draft, identity: Identity, entry: Message) -> None:
    """Process one entry of a chat's log. Raises `LogGap` and `trust.NeedAccounts`, both having changed nothing."""
    chat = draft.chat(entry.chat_id)
    if chat is None or chat.status != "active" or chat.group is None:
        return
    if entry.position <= chat.position:  # sent again after a lost connection
        draft.frames.append(Ack(chat.chat_id, chat.position))
        return
    if entry.position != chat.position + 1:
        raise LogGap
    try:
        after = _process(draft, identity, chat, chat.group, entry)
    except (CryptoError, TrustError) as error:
        after = _refuse(draft, chat, entry, error)
    if after.status != "stuck":
        after = replace(after, position=entry.position)
        draft.frames.append(Ack(chat.chat_id, entry.position))
    outbox.pump(draft, identity, draft.keep(after))


def _process(draft: Draft, identity: Identity, chat: Chat, group: Group, entry: Message) -> Chat:
    if chat.pending is not None and entry.message_id == chat.pending.commit.message_id:
        return _adopt_own_commit(draft, identity, chat, entry)
    for number, waiting in chat.outbox.items():
        if isinstance(waiting, Outgoing) and waiting.message_id == entry.message_id:
            return _own_message(draft, identity, chat, number, waiting, entry)
    match group.receive(entry.message, draft.now):
        case ApplicationMessage() as message:
            return _message(draft, replace(chat, group=message.group), message, entry)
        case ReceivedProposal() as proposal:
            trust.judge_proposal(draft, chat.kind, group.members, proposal)
            return replace(chat, group=proposal.group)
        case StagedCommit() as staged:
            return _commit(draft, identity, chat, group, staged)


def _adopt_own_commit(draft: Draft, identity: Identity, chat: Chat, entry: Message) -> Chat:
    """Our commit won its epoch: its state becomes the group's."""
    assert chat.pending is not None
    if entry.message != chat.pending.commit.message:
        raise TrustError("the server changed our own commit on its way back")
    before = chat.group
    assert before is not None
    after = before.adopt(chat.pending.next_epoch)
    number, change = next((number, e) for number, e in chat.outbox.items() if isinstance(e, Change))
    _tell_members(draft, chat.chat_id, before, after, identity.account_id)
    draft.events.append(ChangeDone(chat.chat_id, change.message_id))
    return outbox.unseal(without_entry(replace(chat, group=after), number))


def _own_message(draft: Draft, identity: Identity, chat: Chat, number: int, ours: Outgoing, entry: Message) -> Chat:
    """A message of ours has its place in the log."""
    if entry.message != ours.message:
        if chat.group is None or _ends_epoch(entry, chat.group.epoch):
            raise TrustError("the server filed somebody's commit as our message")
        reason = "the server changed our message: nobody can read it"
        outbox.fail(draft, identity, chat, ours, reason)
        draft.events.append(Alert(chat.chat_id, reason))
        return without_entry(chat, number)
    draft.writes.append(AddMessage(outbox.history_entry(identity, chat.chat_id, ours, Status.SENT, entry)))
    draft.events.append(MessageSent(chat.chat_id, ours.message_id, entry.position))
    return without_entry(chat, number)


def _message(draft: Draft, chat: Chat, message: ApplicationMessage, entry: Message) -> Chat:
    """Write an opened message to the history. Its sender is the leaf's, whatever the envelope says (rule F21)."""
    account_id = trust.account_of(message.sender)
    try:
        content_id, reason = _content_id(message, account_id, chat.chat_id, entry), ""
    except ContentError as error:
        content_id, reason = None, str(error)
    _remember(
        draft,
        entry,
        message_id=content_id,
        sender_account_id=account_id,
        sender_device_id=trust.device_of(message.sender),
        status=Status.UNDECRYPTABLE if reason else Status.RECEIVED,
        reason=reason,
        content=message.data,
    )
    return chat


def _remember(draft: Draft, entry: Message, **what: Any) -> None:
    message = StoredMessage(
        chat_id=entry.chat_id,
        position=entry.position,
        transport_id=entry.message_id,
        sent_at_ms=entry.received_at_ms,
        received_at_ms=entry.received_at_ms,
        direction=Direction.IN,
        **what,
    )
    draft.writes.append(AddMessage(message))
    draft.events.append(MessageStored(entry.chat_id))


def _content_id(message: ApplicationMessage, account_id: bytes, chat_id: bytes, entry: Message) -> bytes:
    """The message's id, once its content decodes and is bound to this sender, chat and log entry (rule F18)."""
    if message.authenticated_data != entry.message_id:
        raise ContentError("the server filed this message under another id than its sender gave it")
    content = mimi.decode(message.data)
    uris = {"sender_uri": mimi.account_uri(account_id), "room_uri": mimi.chat_uri(chat_id)}
    mimi.verify_origin(content, **uris)
    return mimi.message_id(content, message.data, **uris)


def _commit(draft: Draft, identity: Identity, chat: Chat, before: Group, staged: StagedCommit) -> Chat:
    """Judge a commit of somebody else and adopt it. What we made for the old epoch is made again."""
    trust.judge_commit(draft, chat.kind, before.members, staged)
    by = trust.account_of(staged.sender)
    if staged.removes_us:
        draft.events.append(ChatLeft(chat.chat_id, by))
        reason = "we were removed from it"
        left = outbox.abandon(draft, identity, chat, reason)
        return replace(left, group=None, status="left", reason=reason, former_epoch=before.epoch)
    after = before.adopt(staged)
    _tell_members(draft, chat.chat_id, before, after, by)
    return outbox.unseal(replace(chat, group=after))


def _tell_members(draft: Draft, chat_id: bytes, before: Group, after: Group, by: bytes) -> None:
    were, are = (tuple(dict.fromkeys(map(trust.account_of, group.members))) for group in (before, after))
    added = tuple(account for account in are if account not in were)
    removed = tuple(account for account in were if account not in are)
    if added or removed:
        draft.events.append(MembersChanged(chat_id, added, removed, by))


def _refuse(draft: Draft, chat: Chat, entry: Message, error: Exception) -> Chat:
    """An entry is not acceptable. Only a commit stops the chat: without it, nothing that follows can be read."""
    reason = str(error)
    if chat.group is None or _ends_epoch(entry, chat.group.epoch):
        draft.events.append(ChatStuck(chat.chat_id, reason))
        return replace(chat, status="stuck", reason=reason)
    _remember(
        draft,
        entry,
        message_id=None,
        sender_account_id=None,
        sender_device_id=None,
        status=Status.UNDECRYPTABLE,
        reason=reason,
        content=entry.message,
    )
    draft.events.append(Alert(chat.chat_id, f"message {entry.position} cannot be read: {reason}"))
    return chat


def _ends_epoch(entry: Message, epoch: int) -> bool:
    """Whether the entry is a commit of this epoch or a later one; one of an earlier epoch is a repeat, and harmless."""
    try:
        header = parse_message_header(entry.message)
    except InvalidMessage:
        return False
    return header.content_type == ContentType.COMMIT and header.epoch >= epoch
