"""The client: one account on one device, open on its store and connected to its server.

::

    async with await Client.open("alice.sealdesk") as alice:
        chat = await alice.private_chat(worker_address)
        await chat.send("My contract number?", attach=["scan.pdf"])
        async for message in chat.messages():
            print(message.sender.name, message.shown)

People are named by their address, the 32 characters of their account id. Whatever is sent is on disk first; it goes out
when the server can be reached, also after a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from client_lib.chats import Chat, Message, Person, parse_address, person
from client_lib.engine import Engine, encode_identity, generate_chat_id, generate_identity, generate_message_id
from client_lib.engine.identity import Identity, decode_identity
from client_lib.engine.trust import account_of
from client_lib.errors import ClientError
from client_lib.events import Event
from client_lib.runtime import Runtime, now_ms
from client_lib.store import KeySource, Passphrase, SQLiteStore, Store, default_key_file
from client_lib.store.model import Put
from client_lib.transport import HttpTransport, Login
from crypto.errors import IdentityError
from crypto.identity.accounts import derive_root_key
from crypto.identity.sessions import answer_challenge
from crypto.wire import encode
from protocol.api import RegisterAccount
from protocol.frames import ChatKind

PAGE = 100
"""Messages read from the history at once."""

FLUSH_S = 5.0
"""How long closing waits for what is still on its way; the rest goes out the next time."""


class Client:
    """Made by `register` once, by `open` ever after. Only one process can have a store open."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    @classmethod
    async def register(
        cls, path: str | Path, server_url: str, invitation: bytes, phrase: str, *, passphrase: str | None = None
    ) -> Self:
        """Make an account and its store, tell the server, and open it.

        `phrase`: 24 words of `generate_recovery_phrase`, which the user has written down; they are not kept here.
        `invitation`: 16 bytes, from the operator. Without `passphrase`, the store's key goes to a file beside it. If
        this fails on the way, call it again with the same path: it takes up where it was. Raises `ClientError`.
        """
        store = await asyncio.to_thread(_open_or_create, Path(path), _key_source(path, passphrase))
        try:
            try:
                identity = _load_or_generate_identity(store, phrase, server_url)
            except IdentityError as error:
                raise ClientError(f"{error}: give the 24 words as they were shown") from error
            async with HttpTransport(identity.server_url) as http:
                await http.register_account(
                    RegisterAccount(
                        invitation=invitation,
                        signing_key_certificate=encode(identity.signing_key_certificate),
                        device_certificate=encode(identity.device_certificate),
                        device_list=encode(identity.device_list),
                    )
                )
        except BaseException:
            store.close()
            raise
        client = cls._start(store)
        try:
            await client._runtime.fill_key_packages()
        except BaseException:
            await client.close()
            raise
        return client

    @classmethod
    async def open(cls, path: str | Path, *, passphrase: str | None = None) -> Self:
        """Open a store and connect in the background. Raises `StoreError`."""
        source = _key_source(path, passphrase)
        return cls._start(await asyncio.to_thread(SQLiteStore.open, Path(path), source))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let what is on its way out go, for a few seconds, and close the store. Closing twice does no harm."""
        try:
            if self._runtime.is_connected:
                with contextlib.suppress(TimeoutError, ClientError):
                    await asyncio.wait_for(self.flush(), FLUSH_S)
        finally:
            await self._runtime.stop()

    @property
    def me(self) -> Person:
        """Our own account."""
        return person(self._runtime, self._runtime.engine.identity.account_id)

    @property
    def chats(self) -> tuple[Chat, ...]:
        """Every chat in the store, also those that are closed here."""
        return tuple(Chat(chat_id, self._runtime) for chat_id in self._runtime.engine.chats)

    async def private_chat(self, address: str) -> Chat:
        """The chat with one other person; opened if there is none yet. Raises `ClientError`."""
        account_id = parse_address(address)
        if account_id == self._runtime.engine.identity.account_id:
            raise ClientError("that is your own address: a private chat needs somebody else")
        for chat_id, chat in sorted(self._runtime.engine.chats.items()):
            members = chat.group.members if chat.group is not None and chat.status == "active" else ()
            if chat.kind == "private" and account_id in map(account_of, members):
                return Chat(chat_id, self._runtime)
        return await self._create("private", [address])

    async def group_chat(self, *addresses: str) -> Chat:
        """Open a new group chat with these people. Raises `ClientError`."""
        return await self._create("group", list(addresses))

    @property
    def contacts(self) -> tuple[Person, ...]:
        """Everybody to whom a name was given, by name."""
        people = (person(self._runtime, account_id) for account_id in self._runtime.names)
        return tuple(sorted(people, key=lambda contact: contact.name))

    async def name(self, address: str, name: str) -> None:
        """Give an account a name of your own; it stays on this device."""
        await self._runtime.set_name(parse_address(address), name)

    async def follow(self, consumer: str, until: asyncio.Event | None = None) -> AsyncIterator[Message]:
        """Everybody else's messages in all chats, each once for each `consumer`, across restarts.

        A message counts as handled when the next one is asked for, or the iteration ends because `until` is set.
        """
        stop = until if until is not None else asyncio.Event()
        with self._runtime.listen() as events:
            while True:
                async for message in self.unhandled(consumer, stop):
                    yield message
                if await _first_of(self._runtime.next_event(events), stop.wait()):
                    return

    async def unhandled(self, consumer: str, until: asyncio.Event | None = None) -> AsyncIterator[Message]:
        """What is in the store and `consumer` has not handled; like `follow`, but ends where that would wait."""
        for chat in self.chats:
            while page := chat.history(after=self._runtime.cursor(consumer, chat.chat_id), limit=PAGE):
                for message in page:
                    if until is not None and until.is_set():
                        return
                    if message.position is None:  # what is unsent stands at the end
                        break
                    if not message.is_ours:
                        yield message
                    await self._runtime.move_cursor(consumer, chat.chat_id, message.position)
                if page[-1].position is None:
                    break

    async def events(self) -> AsyncIterator[Event]:
        """What happens from now on (`client_lib.events`)."""
        with self._runtime.listen() as events:
            while True:
                yield await self._runtime.next_event(events)

    async def flush(self) -> None:
        """Wait until the server has answered everything that we have sent."""
        with self._runtime.listen() as events:
            while any(chat.outbox for chat in self._runtime.engine.chats.values() if chat.status == "active"):
                await self._runtime.next_event(events)

    async def _create(self, kind: ChatKind, addresses: list[str]) -> Chat:
        runtime = self._runtime
        packages = [package for address in addresses for package in await runtime.key_packages(parse_address(address))]
        chat_id, change_id = generate_chat_id(), generate_message_id()
        await runtime.perform_change(
            change_id, lambda: runtime.engine.create_chat(chat_id, kind, change_id, packages, now_ms())
        )
        return Chat(chat_id, runtime)

    @classmethod
    def _start(cls, store: Store) -> Self:
        try:
            engine = Engine.load({space: store.load(space) for space in store.spaces()})
        except BaseException:
            store.close()
            raise
        identity = engine.identity
        login = Login(
            identity.device_id,
            lambda challenge: answer_challenge(identity.device_key, identity.server_url, challenge),
        )
        runtime = Runtime(engine, store, HttpTransport(identity.server_url, login))
        runtime.start()
        return cls(runtime)


async def _first_of(event: Coroutine[Any, Any, Event], stop: Coroutine[Any, Any, bool]) -> bool:
    """Wait for either; says whether it was `stop`."""
    waiting = {asyncio.ensure_future(event), asyncio.ensure_future(stop)}
    try:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        return any(task.result() is True for task in done)
    finally:
        for task in waiting:
            task.cancel()


def _load_or_generate_identity(store: Store, phrase: str, server_url: str) -> Identity:
    row = store.load("identity").get(b"account")
    if row is None:
        identity = generate_identity(phrase, server_url.rstrip("/"), now_ms() // 1000)
        store.apply([Put("identity", b"account", encode_identity(identity))])
        return identity
    identity = decode_identity(row)
    if derive_root_key(phrase).public != identity.signing_key_certificate.root_key:
        raise ClientError("this store was made with another recovery phrase: give that one, or choose another path")
    return identity


def _key_source(path: str | Path, passphrase: str | None) -> KeySource:
    return Passphrase(passphrase) if passphrase is not None else default_key_file(Path(path))


def _open_or_create(path: Path, source: KeySource) -> SQLiteStore:
    return SQLiteStore.open(path, source) if path.exists() else SQLiteStore.create(path, source)
