"""Devices for the server's tests: real accounts and signatures; of MLS bytes only the header that the server reads."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import aiohttp
import asyncpg
import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from crypto.identity.accounts import DeviceChain, certify_device, certify_signing_key, generate_signature_key_pair
from crypto.identity.device_list import sign_device_list
from crypto.identity.sessions import answer_challenge
from crypto.mls.credentials import BasicCredential
from crypto.mls.group import generate_key_package
from crypto.mls.mls_message import encode_message
from crypto.mls.tree_nodes import Lifetime
from crypto.public import account_id_of, device_id_of
from crypto.suites import suite_of
from crypto.wire import encode
from protocol import api, frames
from tests.conftest import Server

T = TypeVar("T")
SUITE = suite_of(1)
APPLICATION, PROPOSAL, COMMIT = 1, 2, 3
WAIT_S = 10.0


def vector(data: bytes) -> bytes:
    """opaque<V> of RFC 9420 §2.1.2."""
    if len(data) < 64:
        return len(data).to_bytes(1, "big") + data
    if len(data) < 1 << 14:
        return (len(data) | 0x4000).to_bytes(2, "big") + data
    return (len(data) | 0x8000_0000).to_bytes(4, "big") + data


def private_message(chat_id: bytes, epoch: int, content_type: int = APPLICATION, ciphertext: bytes = b"") -> bytes:
    """An MLSMessage with a PrivateMessage, its ciphertext random unless given."""
    body = vector(chat_id) + epoch.to_bytes(8, "big") + bytes([content_type]) + vector(b"")
    return b"\x00\x01\x00\x02" + body + vector(os.urandom(28)) + vector(ciphertext or os.urandom(64))


def welcome(count: int) -> bytes:
    """An MLSMessage with a Welcome for `count` new members."""
    secrets = b"".join(vector(os.urandom(32)) + vector(os.urandom(32)) + vector(os.urandom(48)) for _ in range(count))
    return b"\x00\x01\x00\x03\x00\x01" + vector(secrets) + vector(os.urandom(100))


class Refusal(AssertionError):
    """The server answered with a problem."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        super().__init__(f"{status} {problem}")
        self.status = status
        self.code = problem["code"]
        self.head = problem.get("head")


class Device:
    """One account with one device."""

    def __init__(self, server: Server, http: aiohttp.ClientSession) -> None:
        self.server = server
        self.http = http
        self.root, self.signing, self.keys = (generate_signature_key_pair() for _ in range(3))
        self.signing_certificate = certify_signing_key(self.root, self.signing.public, 1)
        now = int(time.time())
        self.certificate = certify_device(self.signing, self.signing_certificate, self.keys.public, now)
        self.account_id = account_id_of(self.root.public)
        self.device_id = device_id_of(self.keys.public)
        self.device_list = sign_device_list(self.signing, self.signing_certificate, 1, frozenset({self.device_id}), now)
        self.token = ""

    @property
    def member(self) -> frames.ChatDevice:
        return frames.ChatDevice(self.account_id, self.device_id)

    def registration(self, invitation: bytes) -> api.RegisterAccount:
        return api.RegisterAccount(
            invitation=invitation,
            signing_key_certificate=encode(self.signing_certificate),
            device_certificate=encode(self.certificate),
            device_list=encode(self.device_list),
        )

    async def register(self) -> None:
        """Register with a fresh invitation."""
        code = await insert_invitation(self.server)
        await self.call("POST", "/v1/accounts", self.registration(code), api.Account)

    async def challenge(self) -> api.Challenge:
        return await self.call("POST", "/v1/sessions/challenges", api.ChallengeRequest(self.device_id), api.Challenge)

    async def open_session(self) -> None:
        await self.answer(await self.challenge())

    async def answer(self, challenge: api.Challenge) -> None:
        signature = answer_challenge(self.keys, self.server.url, challenge.challenge)
        body = api.OpenSession(self.device_id, challenge.challenge, signature)
        self.token = (await self.call("POST", "/v1/sessions", body, api.Session)).token

    async def request(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """One request: `body` a struct (JSON), bytes (as they are) or nothing. Status, headers, body."""
        every = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        data: Any = io.BytesIO(body) if isinstance(body, bytes) else body
        if isinstance(body, msgspec.Struct):
            data = msgspec.json.encode(body)
            every["Content-Type"] = "application/json"
        every |= headers or {}
        async with self.http.request(method, self.server.url + path, data=data, headers=every) as response:
            return response.status, dict(response.headers), await response.read()

    async def call(self, method: str, path: str, body: object, answer: type[T]) -> T:
        """A request that succeeds. Raises `Refusal` for a problem."""
        status, headers, content = await self.request(method, path, body)
        if status >= 400:
            assert headers["Content-Type"] == "application/problem+json", (status, content)
            raise Refusal(status, msgspec.json.decode(content))
        return msgspec.json.decode(content, type=answer) if answer is not type(None) else None  # type: ignore[return-value]  # the caller names the type

    async def create_chat(self, kind: frames.ChatKind = "group") -> bytes:
        chat_id = os.urandom(32)
        await self.call("POST", "/v1/chats", frames.CreateChat(os.urandom(16), chat_id, kind), frames.Accepted)
        return chat_id

    async def send(self, chat_id: bytes, epoch: int, content_type: int = APPLICATION) -> frames.Accepted:
        request = send_request(chat_id, epoch, content_type)
        return await self.call("POST", f"/v1/chats/{chat_id.hex()}/messages", request, frames.Accepted)

    async def commit(
        self, chat_id: bytes, epoch: int, added: Sequence[Device] = (), removed: Sequence[Device] = ()
    ) -> frames.Accepted:
        request = commit_request(chat_id, epoch, added, removed)
        return await self.call("POST", f"/v1/chats/{chat_id.hex()}/commits", request, frames.Accepted)

    async def messages(self, chat_id: bytes, after: int = 0, limit: int = 200) -> list[frames.Message]:
        path = f"/v1/chats/{chat_id.hex()}/messages?after={after}&limit={limit}"
        return (await self.call("GET", path, None, api.Messages)).messages

    async def inbox(self) -> list[frames.InboxItem]:
        return (await self.call("GET", "/v1/inbox", None, api.Inbox)).items

    def key_package(self, last_resort: bool = False, not_after_s: int = 86_400) -> bytes:
        credential = BasicCredential(encode(DeviceChain(self.signing_certificate, self.certificate)))
        now = int(time.time())
        lifetime = Lifetime(min(now, now + not_after_s) - 3_600, now + not_after_s)
        return encode_message(
            generate_key_package(SUITE, credential, self.keys, lifetime=lifetime, last_resort=last_resort).key_package
        )

    async def publish(self, count: int, last_resort: bool = False) -> int:
        body = api.UploadKeyPackages(
            [self.key_package() for _ in range(count)], self.key_package(last_resort=True) if last_resort else None
        )
        return (await self.call("POST", "/v1/key_packages", body, api.KeyPackageCount)).one_time_left

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[StreamClient]:
        headers = {"Authorization": f"Bearer {self.token}"}
        url = self.server.url.replace("http://", "ws://") + "/v1/stream"
        async with connect(
            url, additional_headers=headers, max_size=None, compression=None, proxy=None, close_timeout=1
        ) as socket:
            yield StreamClient(socket)


class StreamClient:
    """The device's end of a stream."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.received: list[frames.ServerFrame] = []
        self._ready: deque[frames.ServerFrame] = deque()

    async def send(self, *outgoing: frames.ClientFrame) -> None:
        await self.socket.send(msgspec.msgpack.encode(outgoing))

    async def next(self) -> frames.ServerFrame:
        """The next frame, whichever it is."""
        while not self._ready:
            async with asyncio.timeout(WAIT_S):
                data = await self.socket.recv()
            assert isinstance(data, bytes)
            self._ready.extend(msgspec.msgpack.decode(data, type=frames.ServerFrames))
        frame = self._ready.popleft()
        self.received.append(frame)
        return frame

    async def until(self, wanted: type[T], matches: Callable[[T], bool] = lambda _: True) -> T:
        """Read on to the first frame of a type."""
        while True:
            frame = await self.next()
            if isinstance(frame, wanted) and matches(frame):
                return frame

    async def until_accepted(self, message_id: bytes) -> None:
        """Read on to the answer of a request."""
        await self.until(frames.Accepted, lambda answer: answer.message_id == message_id)

    async def until_position(self, chat_id: bytes, position: int) -> list[int]:
        """Read on to an entry of a chat; every position of that chat seen on this connection, in order."""
        if max(self.positions(chat_id), default=0) < position:
            await self.until(frames.Message, lambda m: m.chat_id == chat_id and m.position >= position)
        return self.positions(chat_id)

    def positions(self, chat_id: bytes) -> list[int]:
        return [f.position for f in self.received if isinstance(f, frames.Message) and f.chat_id == chat_id]

    async def ask(self, request: frames.CreateChat | frames.Send | frames.Commit) -> frames.Accepted | frames.Refused:
        """Send a request and read on to its answer."""
        await self.send(request)
        while True:
            frame = await self.next()
            if isinstance(frame, frames.Accepted | frames.Refused) and frame.message_id == request.message_id:
                return frame

    async def closed(self) -> int | None:
        """Read to the end; the close code."""
        self.received.extend(self._ready)
        self._ready.clear()
        async with asyncio.timeout(WAIT_S):
            with contextlib.suppress(ConnectionClosed):
                while True:
                    data = await self.socket.recv()
                    assert isinstance(data, bytes)
                    self.received.extend(msgspec.msgpack.decode(data, type=frames.ServerFrames))
        return self.socket.close_code


def send_request(chat_id: bytes, epoch: int, content_type: int = APPLICATION, ciphertext: bytes = b"") -> frames.Send:
    return frames.Send(os.urandom(16), chat_id, private_message(chat_id, epoch, content_type, ciphertext))


def commit_request(
    chat_id: bytes, epoch: int, added: Sequence[Device] = (), removed: Sequence[Device] = ()
) -> frames.Commit:
    return frames.Commit(
        message_id=os.urandom(16),
        chat_id=chat_id,
        message=private_message(chat_id, epoch, COMMIT),
        welcome=welcome(len(added)) if added else None,
        added=[device.member for device in added],
        removed=[device.device_id for device in removed],
    )


async def insert_invitation(server: Server) -> bytes:
    """As `backend.store.invitations.create`, without its pool."""
    code = os.urandom(16)
    connection = await asyncpg.connect(server.settings.database_url)
    digest, expires_at_s = hashlib.sha256(code).digest(), int(time.time()) + 3_600
    await connection.execute("INSERT INTO invitations (code_hash, expires_at_s) VALUES ($1, $2)", digest, expires_at_s)
    await connection.close()
    return code


@asynccontextmanager
async def people(server: Server, count: int) -> AsyncIterator[list[Device]]:
    """`count` registered accounts with open sessions."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http:
        devices = [Device(server, http) for _ in range(count)]
        for device in devices:
            await device.register()
            await device.open_session()
        yield devices


async def rows(server: Server, query: str, *arguments: object) -> list[Any]:
    """Look into the server's database."""
    connection = await asyncpg.connect(server.settings.database_url)
    found = await connection.fetch(query, *arguments)
    await connection.close()
    return list(found)


async def digest(server: Server) -> str:
    """A hash over every row of every table: equal when nothing has changed."""
    connection = await asyncpg.connect(server.settings.database_url)
    tables = await connection.fetch(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'migration' ORDER BY 1"
    )
    total = hashlib.sha256()
    for (table,) in tables:
        content = await connection.fetchval(f"SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} t")
        total.update(f"{table}:{content};".encode())
    await connection.close()
    return total.hexdigest()
