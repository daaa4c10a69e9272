"""Requests and answers: every HTTP endpoint of the server as a typed method, and attachments as streams of bytes.

Owns sessions (a challenge answered by the device key, renewed once when the server says 401), the mapping of problem
details to `ServerError` and of connection trouble to `TransportError`. Retries nothing else: what may be sent again,
and when, is for the caller to say. Redirects are not followed, since a session token belongs to one server.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Self, TypeVar

import aiohttp
import msgspec

from client_lib.errors import ServerError, TransportError
from client_lib.transport.address import ServerAddress
from protocol import api, frames
from protocol.codes import Code

ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
"""No JSON answer is larger; a server cannot fill our memory."""
CHUNK_BYTES: Final = 64 * 1024
CONNECT_TIMEOUT_S: Final = 10.0
ANSWER_TIMEOUT_S: Final = 60.0
"""For a whole JSON exchange, and for each pause within an attachment's stream."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Login:
    """A device that can open sessions. `answer` signs a challenge with the device key, for this server's URL."""

    device_id: bytes
    answer: Callable[[bytes], bytes]


class HttpTransport:
    """One server over HTTP, for one device. Close it, or use it as an async context manager.

    Every method raises `ServerError` when the server refuses, `TransportError` when it cannot be reached or talks
    nonsense. Without a `login` only `register_account` and `ready` work.
    """

    def __init__(self, server_url: str, login: Login | None = None) -> None:
        self.address = ServerAddress.parse(server_url)
        self.tls = self.address.tls()
        self._login = login
        self._token: str | None = None
        self._session_lock = asyncio.Lock()
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections. The session at the server stays; see `close_session`."""
        if self._http is not None:
            await self._http.close()
            self._http = None

    # Accounts and sessions

    async def register_account(self, account: api.RegisterAccount) -> api.Account:
        """Make an account with its first device; uses up the invitation."""
        return await self._anonymous("POST", "/v1/accounts", api.Account, account)

    async def account(self, account_id: bytes) -> api.Account:
        """An account's signed objects; the caller verifies them."""
        return await self._call("GET", f"/v1/accounts/{account_id.hex()}", api.Account)

    async def token(self) -> str:
        """The session token; opens a session if there is none yet."""
        return self._token or await self.renew_token(None)

    async def renew_token(self, stale: str | None) -> str:
        """Open a new session in the place of the stale one; many callers at once share one."""
        async with self._session_lock:
            if self._token is not None and self._token != stale:
                return self._token
            if self._login is None:
                raise TransportError("this client has no device key: register or open a store first", retryable=False)
            device_id = self._login.device_id
            challenge = await self._anonymous(
                "POST", "/v1/sessions/challenges", api.Challenge, api.ChallengeRequest(device_id)
            )
            answer = api.OpenSession(device_id, challenge.challenge, self._login.answer(challenge.challenge))
            session = await self._anonymous("POST", "/v1/sessions", api.Session, answer)
            self._token = session.token
            return session.token

    async def close_session(self) -> None:
        """Revoke the session, if there is one."""
        if self._token is not None:
            await self._authorised("DELETE", "/v1/sessions/current")
            self._token = None

    # Key packages

    async def upload_key_packages(self, packages: api.UploadKeyPackages) -> api.KeyPackageCount:
        """Add one-time key packages, and replace the last-resort one."""
        return await self._call("POST", "/v1/key_packages", api.KeyPackageCount, packages)

    async def key_package_count(self) -> api.KeyPackageCount:
        """How many one-time key packages the server still holds for this device."""
        return await self._call("GET", "/v1/key_packages", api.KeyPackageCount)

    async def claim_key_packages(self, account_id: bytes) -> api.Claims:
        """One key package for each device of an account. Not to be retried lightly: each claim uses some up."""
        return await self._call("POST", f"/v1/accounts/{account_id.hex()}/key_packages/claims", api.Claims)

    # Chats: the same as the stream, for those who cannot hold a socket

    async def chats(self) -> api.Chats:
        """Every chat of this device."""
        return await self._call("GET", "/v1/chats", api.Chats)

    async def create_chat(self, chat: frames.CreateChat) -> frames.Accepted:
        """Open a chat with this device as its only member."""
        return await self._call("POST", "/v1/chats", frames.Accepted, chat)

    async def send(self, message: frames.Send) -> frames.Accepted:
        """Append a message to a chat's log."""
        return await self._call("POST", f"/v1/chats/{message.chat_id.hex()}/messages", frames.Accepted, message)

    async def commit(self, commit: frames.Commit) -> frames.Accepted:
        """Append a commit to a chat's log."""
        return await self._call("POST", f"/v1/chats/{commit.chat_id.hex()}/commits", frames.Accepted, commit)

    async def messages(self, chat_id: bytes, *, after: int, limit: int) -> api.Messages:
        """A page of a chat's log, after a position."""
        query = f"?after={after}&limit={limit}"
        return await self._call("GET", f"/v1/chats/{chat_id.hex()}/messages{query}", api.Messages)

    async def ack_position(self, chat_id: bytes, position: int) -> None:
        """Say that the log up to and including a position is persisted."""
        await self._authorised("PUT", f"/v1/chats/{chat_id.hex()}/position", api.AckPosition(position))

    async def inbox(self) -> api.Inbox:
        """The oldest items that wait for this device."""
        return await self._call("GET", "/v1/inbox", api.Inbox)

    async def delete_inbox_item(self, item_id: int) -> None:
        """Say that an inbox item is persisted."""
        await self._authorised("DELETE", f"/v1/inbox/{item_id}")

    # Attachments

    async def upload_attachment(
        self, chat_id: bytes, attachment_id: bytes, chunks: AsyncIterable[bytes], size: int
    ) -> api.Attachment:
        """Upload ciphertext of `size` bytes as it comes, in constant memory. Interrupted, it leaves nothing.

        To try again, encrypt under a new key: a file that changed meanwhile must not meet the same key twice.
        """
        # A stream cannot be sent twice after a 401; a small request renews the session first where it has to be.
        await self.key_package_count()
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        path = _attachment_path(chat_id, attachment_id)
        token = await self.token()
        body = _Body(chunks, size)
        try:
            async with self._exchange("PUT", path, token, headers=headers, data=body.chunks()) as response:
                return _decoded(await _read(response), api.Attachment)
        except TransportError:
            # aiohttp reports a fault of the source as one of the connection.
            if body.failure is not None:
                raise body.failure from None
            raise

    async def download_attachment(self, chat_id: bytes, attachment_id: bytes) -> AsyncGenerator[bytes, None]:
        """Download ciphertext in pieces of at most 64 KiB. TransportError if it ends too early; close it when done."""
        path = _attachment_path(chat_id, attachment_id)
        token = await self.token()
        for attempt in (1, 2):
            try:
                async with self._exchange("GET", path, token, headers={}, data=None) as response:
                    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                        yield chunk
                return
            except ServerError as error:
                # The server refuses before the first byte, so nothing has been handed out yet.
                if error.code is not Code.UNAUTHENTICATED or attempt == 2:
                    raise
                token = await self.renew_token(token)

    # Health

    async def ready(self) -> api.Health:
        """Whether the server can take requests; ServerError `unavailable` if not."""
        return await self._anonymous("GET", "/health/ready", api.Health)

    async def _call(self, method: str, path: str, answer: type[T], body: msgspec.Struct | None = None) -> T:
        return _decoded(await self._authorised(method, path, body), answer)

    async def _anonymous(self, method: str, path: str, answer: type[T], body: msgspec.Struct | None = None) -> T:
        return _decoded(await self._once(method, path, None, body), answer)

    async def _authorised(self, method: str, path: str, body: msgspec.Struct | None = None) -> bytes:
        """A request with the session; renews it once when the server says that it is no longer good."""
        token = await self.token()
        try:
            return await self._once(method, path, token, body)
        except ServerError as error:
            if error.code is not Code.UNAUTHENTICATED:
                raise
        return await self._once(method, path, await self.renew_token(token), body)

    async def _once(self, method: str, path: str, token: str | None, body: msgspec.Struct | None) -> bytes:
        data = None if body is None else msgspec.json.encode(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S)
        async with self._exchange(method, path, token, headers=headers, data=data, timeout=timeout) as response:
            return await _read(response)

    @asynccontextmanager
    async def _exchange(
        self,
        method: str,
        path: str,
        token: str | None,
        *,
        headers: dict[str, str],
        data: bytes | AsyncIterable[bytes] | None,
        timeout: aiohttp.ClientTimeout | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request and its answer, which is a good one: the others become ServerError or TransportError."""
        if token is not None:
            headers = headers | {"Authorization": f"Bearer {token}"}
        if self._http is None:
            self._http = aiohttp.ClientSession(auto_decompress=False)
        pauses = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=ANSWER_TIMEOUT_S)
        try:
            async with self._http.request(
                method,
                self.address.url + path,
                headers=headers,
                data=data,
                ssl=self.tls or True,
                allow_redirects=False,
                timeout=timeout or pauses,
            ) as response:
                if response.status >= 300:
                    raise refusal(self.address, response.status, await _read(response))
                yield response
        except ssl.SSLCertVerificationError as error:
            raise untrusted(self.address) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise unreachable(self.address) from error


def unreachable(address: ServerAddress) -> TransportError:
    """The error for a connection that failed or broke off."""
    return TransportError(f"{address.url} does not answer: check the network and the server")


def untrusted(address: ServerAddress) -> TransportError:
    """The error for a certificate that does not hold. Not retried: somebody may be in between."""
    text = f"{address.url} did not prove who it is (TLS): check the URL and the server's certificate"
    return TransportError(text, retryable=False)


def refusal(address: ServerAddress, status: int, body: bytes) -> ServerError | TransportError:
    """The error that an answer of 300 or above stands for: ServerError if it is the server's own (RFC 9457)."""
    try:
        problem = msgspec.json.decode(body, type=api.ProblemDetails)
    except (msgspec.DecodeError, UnicodeDecodeError):
        if status == 401:
            return ServerError(Code.UNAUTHENTICATED, status, "the session is not good")
        text = f"{address.url} answered {status}, not as a Sealdesk server does: check the URL and what is before it"
        return TransportError(text, retryable=status >= 500 or status == 429)
    return ServerError(problem.code, problem.status, problem.detail, problem.head)


def _attachment_path(chat_id: bytes, attachment_id: bytes) -> str:
    return f"/v1/chats/{chat_id.hex()}/attachments/{attachment_id.hex()}"


def _decoded(content: bytes, answer: type[T]) -> T:
    try:
        return msgspec.json.decode(content, type=answer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TransportError("the server's answer is not understood: update Sealdesk", retryable=False) from error


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The whole body, within `ANSWER_BYTES_MAX`."""
    content = bytearray()
    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
        content += chunk
        if len(content) > ANSWER_BYTES_MAX:
            raise TransportError("the server's answer is too large: drop it and check the server", retryable=False)
    return bytes(content)


class _Body:
    """The chunks of an upload, which must be exactly as many bytes as was said; remembers what went wrong in them."""

    def __init__(self, source: AsyncIterable[bytes], size: int) -> None:
        self._source = source
        self._size = size
        self.failure: Exception | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        sent = 0
        try:
            async for chunk in self._source:
                sent += len(chunk)
                if sent > self._size:
                    break
                yield chunk
            if sent != self._size:
                raise ValueError(f"the attachment is not {self._size} bytes long, as was said")
        except Exception as failure:
            self.failure = failure
            raise
