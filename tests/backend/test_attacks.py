"""Attacks on the server that once succeeded: by members, by those who were removed, by anybody without an account."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from backend import database, limits, objects, postgres, postgres_files
from backend.errors import ProblemError
from backend.hub import Hub
from backend.postgres_files import PostgresError
from backend.settings import Settings
from backend.store import attachments, sessions
from backend.store.sessions import Caller
from backend.stream import Relay, Stream
from protocol import api, frames
from tests.backend.people import (
    COMMIT,
    Device,
    Refusal,
    commit_request,
    people,
    private_message,
    rows,
    vector,
)
from tests.conftest import Server

OCTETS = {"Content-Type": "application/octet-stream"}


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    """The pool that the store's functions take."""
    pool = await database.open_pool(url)
    try:
        yield pool
    finally:
        await database.close_pool(pool)


def new_path(chat: bytes) -> str:
    return f"/v1/chats/{chat.hex()}/attachments/{os.urandom(16).hex()}"


async def test_a_device_added_and_removed_in_one_batch_gets_nothing_live(shared_server: Server) -> None:
    async with people(shared_server, 3) as (alice, mallory, outsider):
        chat = await alice.create_chat()
        await alice.commit(chat, 0, added=[mallory])
        async with mallory.stream() as accomplice, outsider.stream() as stream:
            await accomplice.until(frames.CaughtUp)
            await stream.until(frames.CaughtUp)
            add, remove = commit_request(chat, 1, added=[outsider]), commit_request(chat, 2, removed=[outsider])
            await accomplice.send(add, remove)  # one WebSocket message: one batch
            await accomplice.until_accepted(remove.message_id)
            await stream.until_position(chat, 3)
            await stream.send(frames.Ack(chat, 3))
            while await _stays(shared_server, chat, outsider):
                await outsider.request("GET", "/health/live")
            await alice.send(chat, 3)
            other = await outsider.create_chat()  # its first entry comes after whatever was sent before
            mark = await outsider.send(other, 0)
            await stream.until_position(other, mark.position)
            assert stream.positions(chat) == [3]


async def _stays(server: Server, chat: bytes, device: Device) -> list[Any]:
    query = "SELECT 1 FROM chat_members WHERE chat_id = $1 AND device_id = $2"
    return await rows(server, query, chat, device.device_id)


async def test_a_device_removed_added_and_removed_in_one_batch_reads_up_to_the_last(shared_server: Server) -> None:
    async with people(shared_server, 2) as (alice, bob):
        chat = await alice.create_chat()
        await alice.commit(chat, 0, added=[bob])
        async with alice.stream() as here, bob.stream() as there:
            await there.until(frames.CaughtUp)
            batch = [
                commit_request(chat, 1, removed=[bob]),
                commit_request(chat, 2, added=[bob]),
                commit_request(chat, 3, removed=[bob]),
            ]
            await here.send(*batch)
            await here.until_accepted(batch[-1].message_id)
            assert await there.until_position(chat, 4) == [2, 4]
            await alice.send(chat, 4)
            other = await bob.create_chat()
            mark = await bob.send(other, 0)
            await there.until_position(other, mark.position)
            assert there.positions(chat) == [2, 4]


async def test_a_removed_member_neither_uploads_nor_fetches_files(shared_server: Server) -> None:
    """Also if it never acknowledges its removal."""
    async with people(shared_server, 2) as (alice, mallory):
        chat = await alice.create_chat()
        await alice.commit(chat, 0, added=[mallory])
        old, new = new_path(chat), new_path(chat)
        assert (await alice.request("PUT", old, b"before the removal", OCTETS))[0] == 201
        assert (await mallory.request("GET", old))[2] == b"before the removal"
        await alice.commit(chat, 1, removed=[mallory])
        assert (await alice.request("PUT", new, b"after the removal", OCTETS))[0] == 201
        for path in (old, new):
            assert (await mallory.request("GET", path))[0] == 404
        assert (await mallory.request("PUT", new_path(chat), b"x" * 1_000, OCTETS))[0] == 404


async def test_an_upload_that_outlasts_its_senders_membership_leaves_nothing(shared_server: Server) -> None:
    async with people(shared_server, 2) as (alice, mallory):
        chat = await alice.create_chat()
        await alice.commit(chat, 0, added=[mallory])
        removed = asyncio.Event()

        async def body() -> AsyncIterator[bytes]:
            yield bytes(12_000_000)
            await removed.wait()
            yield bytes(500_000)

        async def upload() -> int:
            headers = {**OCTETS, "Authorization": f"Bearer {mallory.token}", "Content-Length": "12500000"}
            url = shared_server.url + new_path(chat)
            async with mallory.http.put(url, data=body(), headers=headers) as response:
                return response.status

        before = _stored_files(shared_server)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(upload())
            async with asyncio.timeout(10):
                while _stored_files(shared_server) == before:  # past the check at the upload's beginning
                    await alice.request("GET", "/health/live")
            await alice.commit(chat, 1, removed=[mallory])
            removed.set()
        assert task.result() == 404
        assert _stored_files(shared_server) == before


def _stored_files(server: Server) -> set[Path]:
    return {path for path in (server.settings.data_folder / "attachments").rglob("*") if path.is_file()}


async def test_a_claimed_key_package_does_not_come_back_by_a_repeated_upload(shared_server: Server) -> None:
    async with people(shared_server, 3) as (target, alice, bob):
        body = api.UploadKeyPackages([target.key_package(), target.key_package()], None)
        path = f"/v1/accounts/{target.account_id.hex()}/key_packages/claims"
        given = []
        for taker, left in ((alice, 2), (bob, 1)):
            answer = await target.call("POST", "/v1/key_packages", body, api.KeyPackageCount)
            assert answer.one_time_left == left
            (claim,) = (await taker.call("POST", path, None, api.Claims)).claims
            given.append(claim.key_package)
        assert given == body.key_packages
        assert (await target.call("POST", "/v1/key_packages", body, api.KeyPackageCount)).one_time_left == 0
        with pytest.raises(Refusal) as refusal:
            await alice.call("POST", path, None, api.Claims)
        assert refusal.value.code == "key_packages_exhausted"
        # What is remembered is the reference, and not for longer than the package would have been good.
        query = "SELECT key_package FROM key_packages WHERE device_id = $1"
        assert [row[0] for row in await rows(shared_server, query, target.device_id)] == [None, None]
        await rows(shared_server, "UPDATE key_packages SET not_after_s = 1 WHERE device_id = $1", target.device_id)
        assert await target.publish(1) == 1
        assert len(await rows(shared_server, query, target.device_id)) == 1


async def test_challenges_that_a_stranger_asks_for_lock_nobody_out(shared_server: Server) -> None:
    async with people(shared_server, 1) as (victim,):
        stranger = Device(shared_server, victim.http)
        asked = api.ChallengeRequest(victim.device_id)
        victims = await victim.challenge()
        for _ in range(200):
            await stranger.call("POST", "/v1/sessions/challenges", asked, api.Challenge)
        await victim.answer(victims)
        await victim.open_session()


async def test_above_the_limit_the_oldest_challenge_gives_way(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CHALLENGES_MAX", 3)
    held = []
    async with connected(database_url) as pool:
        for now in range(1, 6):
            await sessions.create_challenge(pool, b"d" * 20, now)
            query = "SELECT expires_at_s FROM session_challenges ORDER BY 1"
            held.append([row[0] - limits.CHALLENGE_LIFETIME_S for row in await pool.fetch(query)])
    assert held == [[1], [1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]]


async def test_a_displaced_sessions_stream_is_closed(shared_server: Server) -> None:
    async with people(shared_server, 1) as (alice,), alice.stream() as stream:
        await stream.until(frames.CaughtUp)
        for _ in range(limits.SESSIONS_PER_DEVICE_MAX):
            await alice.open_session()
        assert await stream.closed() == 1008


async def test_a_session_that_ends_while_its_stream_opens_gets_nothing(database_url: str) -> None:
    """Between the check at the door and the hub's knowing of the socket, nobody could close it."""
    sent: list[dict[str, Any]] = []

    async def receive() -> None:
        await asyncio.Event().wait()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    caller = Caller(b"a" * 20, b"d" * 20, os.urandom(32), int(time.time()) + 3_600)
    async with connected(database_url) as pool, asyncio.timeout(10):
        unused = cast("Any", None)  # a stream that only listens hands nothing to the writer
        await Stream(Relay(pool, Hub(), unused, unused), caller, receive, send, lambda: None).run()
    assert sent == [{"type": "websocket.close", "code": 1008, "reason": "the session has ended"}]


async def test_a_full_inbox_costs_its_reader_a_page_of_memory(server: Server) -> None:
    """Sixteen Welcomes of 8 MB in one inbox, and many who read it at once."""
    async with people(server, 2) as (mallory, second):
        secrets = vector(vector(os.urandom(32)) + vector(os.urandom(32)) + vector(os.urandom(48)))
        large = b"\x00\x01\x00\x03\x00\x01" + secrets + vector(os.urandom(8 * 1024 * 1024 - 400))
        async with mallory.stream() as stream:
            for _ in range(16):
                chat = os.urandom(32)
                await stream.ask(frames.CreateChat(os.urandom(16), chat, "group"))
                commit = frames.Commit(
                    message_id=os.urandom(16),
                    chat_id=chat,
                    message=private_message(chat, 0, COMMIT),
                    welcome=large,
                    added=[second.member],
                )
                assert isinstance(await stream.ask(commit), frames.Accepted)
        before = _peak_mb(server)
        pages = await asyncio.gather(*(second.inbox() for _ in range(8)))
        assert [len(page) for page in pages] == [1] * 8
        async with second.stream() as stream:
            await stream.until(frames.CaughtUp)
            items = {frame.item_id for frame in stream.received if isinstance(frame, frames.InboxItem)}
        assert len(items) == 16
        assert _peak_mb(server) - before < 200


def _peak_mb(server: Server) -> int:
    assert server.process is not None
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{server.process.pid}/status").read_text())
    assert found is not None
    return int(found[1]) // 1024


async def test_other_local_users_do_not_see_the_attachments(tmp_path: Path) -> None:
    usual = os.umask(0o022)
    try:
        store = objects.open_store(Settings(data_folder=tmp_path / "data"))
        await objects.put(store, bytes(16), _chunks(b"ciphertext"), 10)
    finally:
        os.umask(usual)
    # The files in it have the usual permissions; who cannot enter the folder sees neither them nor their sizes.
    assert stat.S_IMODE((tmp_path / "data" / "attachments").stat().st_mode) == 0o700


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def test_an_upload_that_kill_9_cut_off_is_gone_after_the_next_start(server: Server) -> None:
    async with people(server, 1) as (alice,):
        chat = await alice.create_chat()
        whole = new_path(chat)
        assert (await alice.request("PUT", whole, b"whole", OCTETS))[0] == 201
        kept = _stored_files(server)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.settings.port)
        head = f"PUT {new_path(chat)} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {alice.token}\r\n"
        head += "Content-Type: application/octet-stream\r\nContent-Length: 90000000\r\n\r\n"
        writer.write(head.encode() + bytes(20_000_000))
        async with asyncio.timeout(10):
            while _stored_files(server) == kept:
                await alice.request("GET", "/health/live")
        server.kill9()
        writer.transport.abort()
        del reader
        assert _stored_files(server) > kept
        server.start()
        assert _stored_files(server) == kept
        assert (await alice.request("GET", whole))[2] == b"whole"


async def test_the_count_of_attachments_is_checked_again_when_one_is_complete(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ATTACHMENTS_PER_CHAT_MAX", 1)
    chat, device = os.urandom(32), os.urandom(20)
    uploads = [os.urandom(16), os.urandom(16)]
    async with connected(database_url) as pool:
        await pool.execute(
            "INSERT INTO chat_members (chat_id, device_id, account_id, added_at, position) VALUES ($1, $2, $2, 0, 0)",
            chat,
            device,
        )
        for attachment in uploads:  # both begin while there is room
            await attachments.require_room(pool, chat, device, attachment)
        await attachments.add(pool, chat, device, uploads[0], os.urandom(16), 1, 0)
        with pytest.raises(ProblemError, match="too many attachments"):
            await attachments.add(pool, chat, device, uploads[1], os.urandom(16), 1, 0)


STRANGER = 1
"""Another local user's id."""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")


@pytest.fixture
def shared_place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that everybody can enter, and in it `tmp`, which stands for /tmp: everybody can write there."""
    place = Path(tempfile.mkdtemp(prefix="sealdesk-shared-"))
    place.chmod(0o755)
    (place / "tmp").mkdir()
    (place / "tmp").chmod(0o1777)
    monkeypatch.setattr(tempfile, "tempdir", str(place / "tmp"))
    yield place
    shutil.rmtree(place)


@as_root
def test_a_link_where_the_socket_folder_should_be_is_not_followed(shared_place: Path) -> None:
    treasure = shared_place / "treasure"
    treasure.mkdir(mode=0o700)
    data = shared_place / ("d" * 90)  # too long for a socket's path: the socket's folder is in /tmp
    link = postgres_files.locate(data).sockets
    assert link.parent == shared_place / "tmp"
    link.symlink_to(treasure)
    os.lchown(link, STRANGER, STRANGER)
    with pytest.raises(PostgresError, match="is a link or belongs to somebody else"):
        postgres.start(data, durable=False)
    assert treasure.stat().st_uid == 0
    assert list(treasure.iterdir()) == []


@as_root
def test_a_socket_folder_of_another_user_is_not_used(shared_place: Path) -> None:
    data = shared_place / ("d" * 90)
    folder = postgres_files.locate(data).sockets
    folder.mkdir(mode=0o700)
    os.chown(folder, STRANGER, STRANGER)
    with pytest.raises(PostgresError, match="is a link or belongs to somebody else"):
        postgres.start(data, durable=False)
    assert folder.stat().st_uid == STRANGER


@as_root
@pytest.mark.parametrize("planted", ["folder", "link"])
def test_a_database_folder_that_another_user_made_first_is_not_used(
    shared_place: Path, monkeypatch: pytest.MonkeyPatch, planted: str
) -> None:
    closed, trap = shared_place / "closed", shared_place / "trap"
    closed.mkdir(mode=0o700)
    trap.mkdir(mode=0o711)
    # As where /var/lib cannot be used: the folder that `nobody` can reach is in /tmp.
    monkeypatch.setattr(os, "access", lambda path, _: path != Path("/var/lib"))
    folder = postgres_files.locate(closed / "data").folder
    assert folder.parent == shared_place / "tmp"
    for first in (False, True):  # after a reboot that emptied /tmp, and before the first start
        if folder.is_symlink():
            folder.unlink()
        else:
            shutil.rmtree(folder)
        if planted == "link":
            folder.symlink_to(trap)
        else:
            folder.mkdir(mode=0o711)
        os.lchown(folder, STRANGER, STRANGER)
        if first:
            (closed / "data" / "postgres-folder").unlink()
        with pytest.raises(PostgresError, match="is a link or belongs to somebody else"):
            postgres.start(closed / "data", durable=False)
    assert not (closed / "data" / "postgres-folder").exists()
    assert list(trap.iterdir()) == []
