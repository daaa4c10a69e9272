"""Attachments: streamed both ways, for members only, whole or not at all."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from protocol import api, limits
from tests.backend.people import WAIT_S, Device, people, rows
from tests.conftest import Server

OCTETS = {"Content-Type": "application/octet-stream"}


def path_of(chat: bytes, attachment_id: bytes) -> str:
    return f"/v1/chats/{chat.hex()}/attachments/{attachment_id.hex()}"


def stored_files(server: Server) -> list[Path]:
    return [path for path in (server.settings.data_folder / "attachments").rglob("*") if path.is_file()]


async def upload(device: Device, path: str, content: bytes) -> tuple[int, bytes]:
    status, _, body = await device.request("PUT", path, content, OCTETS)
    return status, body


async def test_members_share_a_file_and_others_do_not_see_it(shared_server: Server) -> None:
    async with people(shared_server, 3) as (alice, bob, mallory):
        chat = await alice.create_chat()
        await alice.commit(chat, 0, added=[bob])
        path, content = path_of(chat, os.urandom(16)), os.urandom(700_001)
        assert await upload(alice, path, content) == (201, b'{"size":700001}')
        status, headers, body = await bob.request("GET", path)
        assert (status, headers["Content-Length"], headers["Content-Type"]) == (
            200,
            "700001",
            "application/octet-stream",
        )
        assert body == content
        assert (await mallory.request("GET", path))[0] == 404
        assert (await upload(mallory, path_of(chat, os.urandom(16)), b"x"))[0] == 404
        assert (await bob.request("GET", path_of(chat, os.urandom(16))))[0] == 404


async def test_an_attachment_is_stored_once(shared_server: Server) -> None:
    async with people(shared_server, 1) as (alice,):
        chat = await alice.create_chat()
        path = path_of(chat, os.urandom(16))
        before = len(stored_files(shared_server))
        contents = [os.urandom(300_000) for _ in range(4)]
        answers = await asyncio.gather(*(upload(alice, path, content) for content in contents))
        assert sorted(status for status, _ in answers) == [201, 409, 409, 409]
        winner = contents[[status for status, _ in answers].index(201)]
        assert (await alice.request("GET", path))[2] == winner
        assert (await upload(alice, path, b"later"))[0] == 409
        assert len(stored_files(shared_server)) == before + 1


async def test_an_interrupted_upload_leaves_nothing_and_can_be_repeated(shared_server: Server) -> None:
    async with people(shared_server, 1) as (alice,):
        chat = await alice.create_chat()
        attachment_id, content = os.urandom(16), os.urandom(12_000_000)
        path, before = path_of(chat, attachment_id), stored_files(shared_server)
        reader, writer = await asyncio.open_connection("127.0.0.1", shared_server.settings.port)
        head = f"PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {alice.token}\r\n"
        head += f"Content-Type: application/octet-stream\r\nContent-Length: {len(content)}\r\n\r\n"
        writer.write(head.encode() + content[:9_000_000])
        await writer.drain()
        async with asyncio.timeout(WAIT_S):
            while stored_files(shared_server) == before:  # its first part is there
                await alice.request("GET", "/health/live")
        writer.transport.abort()
        del reader
        async with asyncio.timeout(WAIT_S):
            while stored_files(shared_server) != before:
                await alice.request("GET", "/health/live")
        assert await rows(shared_server, "SELECT 1 FROM attachments WHERE chat_id = $1", chat) == []
        assert (await upload(alice, path, content))[0] == 201
        assert (await alice.request("GET", path))[2] == content


async def test_the_length_is_required_and_enforced(shared_server: Server) -> None:
    async with people(shared_server, 1) as (alice,):
        chat = await alice.create_chat()
        path = path_of(chat, os.urandom(16))

        async def chunked() -> AsyncIterator[bytes]:
            yield b"x"

        headers = {**OCTETS, "Authorization": f"Bearer {alice.token}"}
        async with alice.http.put(shared_server.url + path, data=chunked(), headers=headers) as response:
            problem = await response.json(content_type="application/problem+json")
            assert (response.status, problem["code"]) == (411, "length_required")
        too_large = str(limits.ATTACHMENT_BYTES_MAX + 1)
        for length, status, code in ((too_large, 413, "too_large"), ("0", 400, "malformed"), ("x", 400, "")):
            answer = await raw_put(shared_server, path, alice.token, length)
            assert answer.startswith(f"HTTP/1.1 {status} ")
            assert f'"code":"{code}"' in answer or not code
        assert await rows(shared_server, "SELECT 1 FROM attachments WHERE chat_id = $1", chat) == []


async def raw_put(server: Server, path: str, token: str, length: str) -> str:
    """A PUT whose Content-Length an HTTP library would not send; nothing follows the head."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.settings.port)
    head = f"PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n"
    head += f"Content-Type: application/octet-stream\r\nContent-Length: {length}\r\n\r\n"
    writer.write(head.encode())
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer.decode()


async def test_another_media_type_is_refused(shared_server: Server) -> None:
    async with people(shared_server, 1) as (alice,):
        chat = await alice.create_chat()
        status, _, _ = await alice.request("PUT", path_of(chat, os.urandom(16)), b"x", {"Content-Type": "text/plain"})
        assert status == 415


async def test_a_large_file_passes_in_constant_memory(shared_server: Server) -> None:
    async with people(shared_server, 1) as (alice,):
        chat = await alice.create_chat()
        path, size = path_of(chat, os.urandom(16)), 120_000_000
        chunk = os.urandom(1_000_000)

        async def content() -> AsyncIterator[bytes]:
            for _ in range(size // len(chunk)):
                yield chunk

        before = peak_resident_bytes(shared_server)
        headers = {**OCTETS, "Authorization": f"Bearer {alice.token}", "Content-Length": str(size)}
        async with alice.http.put(shared_server.url + path, data=content(), headers=headers) as response:
            assert await response.json() == {"size": size}
        digest, received = hashlib.sha256(), 0
        async with alice.http.get(shared_server.url + path, headers=headers_of(alice)) as response:
            async for part in response.content.iter_chunked(1 << 20):
                digest.update(part)
                received += len(part)
        assert received == size
        assert digest.digest() == hashlib.sha256(chunk * (size // len(chunk))).digest()
        assert peak_resident_bytes(shared_server) - before < 60_000_000


def headers_of(device: Device) -> dict[str, str]:
    return {"Authorization": f"Bearer {device.token}"}


def peak_resident_bytes(server: Server) -> int:
    assert server.process is not None
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


async def test_a_download_that_is_given_up_hurts_nobody(shared_server: Server) -> None:
    async with people(shared_server, 1) as (alice,):
        chat = await alice.create_chat()
        path, content = path_of(chat, os.urandom(16)), os.urandom(20_000_000)
        assert (await upload(alice, path, content))[0] == 201
        async with alice.http.get(shared_server.url + path, headers=headers_of(alice)) as response:
            assert content.startswith(await response.content.read(1000))
            response.close()
        assert (await alice.request("GET", path))[2] == content
        assert (await alice.call("GET", "/v1/chats", None, api.Chats)).chats != []
