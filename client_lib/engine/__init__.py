"""The engine: commands and server frames in, a `Draft` of the next step out. No I/O, no clock.

::

    command ─┐                 ┌─ writes   one store transaction, first
             ├─► Engine ► Draft┼─ frames   to the server, after the writes are on disk
    frame  ──┘                 └─ events   to the app, last

Each method makes one `Draft` and leaves the engine as it was; the client applies the writes and calls `Draft.adopt`.
Where `receive` names missing accounts: fetch them, `learn_account` each, and give it the rest with them as `fresh`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, assert_never

from client_lib import content as mimi
from client_lib.engine import join, outbox, receive, trust
from client_lib.engine.draft import Draft
from client_lib.engine.identity import Identity, decode_identity, encode_identity, generate_identity
from client_lib.engine.outbox import generate_message_id
from client_lib.engine.receive import LogGap
from client_lib.engine.state import Chat, OwnKeyPackage, Space, State, decode_key_package, load_chat
from client_lib.engine.trust import NeedAccounts
from client_lib.errors import ClientError, StoreError
from client_lib.events import CaughtUp
from crypto import suites
from crypto.mls.group import create_group
from protocol import frames
from protocol.api import Account, ClaimedKeyPackage
from protocol.frames import ChatKind, ServerFrame

KEY_PACKAGES_TARGET = 50
"""One-time key packages that the server should hold for us."""

SUITE = suites.X_WING
"""The cipher suite of new chats."""

__all__ = [
    "Chat",
    "Draft",
    "Engine",
    "Identity",
    "LogGap",
    "NeedAccounts",
    "OwnKeyPackage",
    "encode_identity",
    "generate_chat_id",
    "generate_identity",
    "generate_message_id",
]


def generate_chat_id() -> bytes:
    """A new chat's id: random, as long as the suite's hash (rule S5)."""
    return os.urandom(SUITE.hash_size)


class Received(NamedTuple):
    """What became of some frames: a draft of all before the first that needs accounts, the rest, and those accounts."""

    draft: Draft
    rest: Sequence[ServerFrame]
    missing: frozenset[bytes]


class Engine:
    """One device's part in all its chats."""

    def __init__(self, identity: Identity, state: State) -> None:
        self.identity = identity
        self._state = state

    @classmethod
    def load(cls, spaces: Mapping[str, Space]) -> Engine:
        """The engine as the store has it. Raises `StoreError` if the store holds no identity yet."""
        row = spaces.get("identity", {}).get(b"account")
        if row is None:
            raise StoreError("this store has no account yet: make one with `sealdesk register`")
        identity = decode_identity(row)
        chats = {
            chat_id: load_chat(chat_id, chat_row, spaces, identity.device_key)
            for chat_id, chat_row in spaces.get("chats", {}).items()
        }
        key_packages = {ref: decode_key_package(row) for ref, row in spaces.get("key_packages", {}).items()}
        device_lists = {account: trust.load_account(row) for account, row in spaces.get("accounts", {}).items()}
        return cls(identity, State(chats, key_packages, device_lists))

    @property
    def chats(self) -> Mapping[bytes, Chat]:
        """Every chat that the store knows, by id; also those that we have left."""
        return self._state.chats

    @property
    def unpublished_key_packages(self) -> list[OwnKeyPackage]:
        """Key packages that are on disk and not known to be at the server."""
        return [own for own in self._state.key_packages.values() if not own.is_published]

    def create_chat(
        self, chat_id: bytes, kind: ChatKind, change_id: bytes, key_packages: Sequence[bytes], now_ms: int
    ) -> Draft:
        """Make a chat and add the devices of `key_packages` (from `judge_claims`) by its first commit."""
        draft = Draft(self._state, now_ms)
        credential, signer = self.identity.credential, self.identity.device_key
        group = create_group(SUITE, chat_id, credential, signer, lifetime=join.lifetime(draft.now), now=draft.now)
        chat = outbox.create(draft, Chat(chat_id, kind, 0, group))
        outbox.change(draft, self.identity, chat, change_id, key_packages)
        return draft

    def send(self, chat_id: bytes, message_id: bytes, content: mimi.Content, now_ms: int) -> Draft:
        """Queue a message to a chat. Raises `ClientError` if we are not in it."""
        draft = Draft(self._state, now_ms)
        outbox.send(draft, self.identity, self._active(chat_id), message_id, content)
        return draft

    def change_members(
        self, chat_id: bytes, change_id: bytes, key_packages: Sequence[bytes], removes: Sequence[bytes], now_ms: int
    ) -> Draft:
        """Queue a change: devices to add, accounts to remove; neither: fresh keys for our leaf."""
        draft = Draft(self._state, now_ms)
        outbox.change(draft, self.identity, self._active(chat_id), change_id, key_packages, removes)
        return draft

    def receive(self, incoming: Sequence[ServerFrame], now_ms: int, fresh: frozenset[bytes] = frozenset()) -> Received:
        """Process frames of the server in their order, up to the first that cannot be judged yet. Raises `LogGap`."""
        draft = Draft(self._state, now_ms, fresh)
        for index, frame in enumerate(incoming):
            try:
                self._receive(draft, frame)
            except NeedAccounts as need:
                return Received(draft, incoming[index:], need.account_ids)
        return Received(draft, (), frozenset())

    def connected(self, now_ms: int) -> Draft:
        """A new connection: send again whatever has no answer yet."""
        draft = Draft(self._state, now_ms)
        for chat in self._state.chats.values():
            outbox.resend(draft, chat)
        return draft

    def published(self, references: Sequence[bytes], now_ms: int) -> Draft:
        """The server has taken these key packages of ours."""
        draft = Draft(self._state, now_ms)
        for reference in references:
            own = draft.key_packages.get(reference)
            if own is not None:
                draft.keep_key_package(replace(own, is_published=True))
        return draft

    def learn_account(self, account_id: bytes, account: Account, now_ms: int) -> Draft:
        """Verify and keep what the server shows of an account. Raises `TrustError`."""
        draft = Draft(self._state, now_ms)
        trust.learn_account(draft, account_id, account)
        return draft

    def judge_claims(self, account_id: bytes, claims: Sequence[ClaimedKeyPackage], now_ms: int) -> list[bytes]:
        """The key packages to add an account by. Raises `TrustError`, and `NeedAccounts` if it is not learnt."""
        return trust.judge_claims(Draft(self._state, now_ms), account_id, claims, SUITE.id)

    def _receive(self, draft: Draft, frame: ServerFrame) -> None:
        match frame:
            case frames.Message():
                receive.log_entry(draft, self.identity, frame)
            case frames.InboxItem():
                join.welcome(draft, self.identity, frame)
            case frames.Accepted():
                outbox.accepted(draft, self.identity, frame)
            case frames.Refused():
                outbox.refused(draft, self.identity, frame)
            case frames.CaughtUp():
                draft.events.append(CaughtUp())
            case frames.KeyPackages():
                missing = max(0, KEY_PACKAGES_TARGET - frame.one_time_left - len(self.unpublished_key_packages))
                join.generate_key_packages(draft, self.identity, SUITE, missing)
            case frames.Problem():
                raise ClientError(f"the server did not understand us ({frame.code}): {frame.detail}")
            case _:
                assert_never(frame)

    def _active(self, chat_id: bytes) -> Chat:
        chat = self._state.chats.get(chat_id)
        if chat is None:
            raise ClientError("there is no such chat in this store: `sealdesk chats` lists them")
        if chat.status != "active":
            raise ClientError(f"this chat is closed here: {chat.reason}")
        return chat
