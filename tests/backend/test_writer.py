"""Group commit against a real database: what fails fails alone, nothing is half written, everybody gets an answer."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from backend import limits
from backend.hub import Hub
from backend.ordering import Answer, Entry, check
from backend.writer import Writer
from protocol import frames
from protocol.codes import Code
from tests.backend.people import COMMIT, private_message, send_request, welcome

ACCOUNT, DEVICE = b"a" * 20, b"d" * 20


@asynccontextmanager
async def writer_on(url: str) -> AsyncIterator[tuple[Writer, asyncpg.Connection]]:
    writer = Writer(url, Hub())
    await writer.start()
    connection = await asyncpg.connect(url)
    try:
        yield writer, connection
    finally:
        await writer.stop()
        await connection.close()


async def new_chat(writer: Writer) -> bytes:
    request = frames.CreateChat(os.urandom(16), os.urandom(32), "group")
    assert isinstance(await writer.ask(check(ACCOUNT, DEVICE, request)), frames.Accepted)
    return request.chat_id


def entry(chat: bytes, epoch: int = 0) -> Entry:
    return check(ACCOUNT, DEVICE, send_request(chat, epoch))


async def ask_together(writer: Writer, entries: list[Entry]) -> list[Answer]:
    return list(await asyncio.gather(*(writer.ask(one) for one in entries)))


async def test_what_arrives_together_is_one_transaction(database_url: str) -> None:
    async with writer_on(database_url) as (writer, _):
        chat = await new_chat(writer)
        before = writer.batches
        answers = await ask_together(writer, [entry(chat) for _ in range(limits.BATCH_ITEMS_MAX)])
        assert [answer.position for answer in answers if isinstance(answer, frames.Accepted)] == list(
            range(1, limits.BATCH_ITEMS_MAX + 1)
        )
        assert writer.batches == before + 1


async def test_one_request_that_the_database_cannot_take_fails_alone(database_url: str) -> None:
    async with writer_on(database_url) as (writer, connection):
        chat = await new_chat(writer)
        request = frames.Send(os.urandom(16), chat, "no bytes")  # type: ignore[arg-type]  # what a check let through
        bad = Entry(ACCOUNT, DEVICE, request, os.urandom(32), 0, 10)
        answers = await ask_together(writer, [entry(chat), bad, entry(chat)])
        assert [type(answer) for answer in answers] == [frames.Accepted, frames.Refused, frames.Accepted]
        assert isinstance(answers[1], frames.Refused)
        assert answers[1].code is Code.INTERNAL
        positions = [row[0] for row in await connection.fetch("SELECT position FROM messages ORDER BY 1")]
        assert positions == [1, 2]
        assert await connection.fetchval("SELECT head FROM chats WHERE chat_id = $1", chat) == 2


async def test_a_commit_whose_welcome_cannot_be_written_is_not_written(database_url: str) -> None:
    async with writer_on(database_url) as (writer, connection):
        chat = await new_chat(writer)
        account, device = os.urandom(20), os.urandom(20)
        await connection.execute("INSERT INTO accounts VALUES ($1, 1)", account)
        await connection.execute("INSERT INTO devices VALUES ($1, $2, $3, $3, 1)", device, account, b"x")
        await connection.execute("ALTER TABLE welcomes ADD CONSTRAINT small CHECK (length(welcome) < 50)")
        commit = frames.Commit(
            message_id=os.urandom(16),
            chat_id=chat,
            message=private_message(chat, 0, COMMIT),
            welcome=welcome(1),
            added=[frames.ChatDevice(account, device)],
        )
        answers = await ask_together(writer, [check(ACCOUNT, DEVICE, commit), entry(chat)])
        assert isinstance(answers[0], frames.Refused)
        assert answers[0].code is Code.INTERNAL
        assert answers[1] == frames.Accepted(answers[1].message_id, chat, 1)
        state = await connection.fetchrow("SELECT epoch, head FROM chats WHERE chat_id = $1", chat)
        assert tuple(state) == (0, 1)
        assert await connection.fetchval("SELECT count(*) FROM chat_members WHERE chat_id = $1", chat) == 1
        assert await connection.fetchval("SELECT count(*) FROM device_inbox") == 0


async def _fail(connection: asyncpg.Connection, code: str, times: int) -> None:
    """Let the next `times` inserts of a message fail with an SQLSTATE."""
    await connection.execute(
        f"""CREATE SEQUENCE failures;
            CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF nextval('failures') <= {times} THEN RAISE EXCEPTION 'planned' USING ERRCODE = '{code}'; END IF;
                RETURN NULL; END $$;
            CREATE TRIGGER fail AFTER INSERT ON messages FOR EACH STATEMENT EXECUTE FUNCTION fail()"""
    )


async def test_r11_a_deadlock_or_a_serialization_failure_is_tried_again(database_url: str) -> None:
    async with writer_on(database_url) as (writer, connection):
        chat = await new_chat(writer)
        await _fail(connection, "40P01", 2)
        answers = await ask_together(writer, [entry(chat), entry(chat)])
        assert [answer.position for answer in answers if isinstance(answer, frames.Accepted)] == [1, 2]


async def test_r07_a_full_disk_refuses_and_recovers(database_url: str) -> None:
    async with writer_on(database_url) as (writer, connection):
        chat = await new_chat(writer)
        await _fail(connection, "53100", limits.TRANSACTION_TRIES_MAX)
        entries = [entry(chat), entry(chat)]
        refused = await ask_together(writer, entries)
        assert [answer.code for answer in refused if isinstance(answer, frames.Refused)] == [Code.UNAVAILABLE] * 2
        assert await connection.fetchval("SELECT count(*) FROM messages") == 0
        accepted = await ask_together(writer, entries)
        assert [answer.position for answer in accepted if isinstance(answer, frames.Accepted)] == [1, 2]


async def test_r09_a_commit_whose_answer_was_lost_is_answered_by_the_log(database_url: str) -> None:
    """The connection goes after COMMIT and before its answer: the second try finds the entry and says where it is."""
    async with writer_on(database_url) as (writer, connection):
        chat = await new_chat(writer)
        real = writer._connection

        class LosesTheFirstAnswer:
            """Lets the transaction commit, then behaves as a connection that is gone."""

            def __getattr__(self, name: str) -> object:
                return getattr(real, name)

            @asynccontextmanager
            async def transaction(self) -> AsyncIterator[None]:
                async with real.transaction():
                    yield
                raise asyncpg.ConnectionDoesNotExistError("gone")

        writer._connection = LosesTheFirstAnswer()
        answer = await writer.ask(entry(chat))
        assert isinstance(answer, frames.Accepted)
        assert answer.position == 1
        assert await connection.fetchval("SELECT count(*) FROM messages") == 1


async def test_what_waits_is_limited_and_a_stopping_writer_finishes(database_url: str) -> None:
    async with writer_on(database_url) as (writer, connection):
        chat = await new_chat(writer)
        entries = [entry(chat) for _ in range(30)]
        waiting = [asyncio.create_task(writer.ask(one)) for one in entries]
        await asyncio.sleep(0)
        await writer.stop()
        answers = await asyncio.gather(*waiting)
        assert all(isinstance(answer, frames.Accepted) for answer in answers)
        assert await connection.fetchval("SELECT count(*) FROM messages") == 30
        late = await writer.ask(entry(chat))
        assert isinstance(late, frames.Refused)
        assert late.code is Code.UNAVAILABLE


async def test_too_much_waiting_is_refused_at_once(database_url: str) -> None:
    async with writer_on(database_url) as (writer, _):
        chat = await new_chat(writer)
        request = send_request(chat, 0)
        big = Entry(ACCOUNT, DEVICE, request, os.urandom(32), 0, limits.WRITER_WAITING_BYTES_MAX)
        answers = await ask_together(writer, [big, entry(chat)])
        assert isinstance(answers[0], frames.Accepted)
        assert isinstance(answers[1], frames.Refused)
        assert answers[1].code is Code.UNAVAILABLE
        assert isinstance(await writer.ask(entry(chat)), frames.Accepted)


async def test_a_device_that_comes_and_goes_within_one_batch_has_its_stays(database_url: str) -> None:
    async with writer_on(database_url) as (writer, connection):
        chat = await new_chat(writer)
        account, device = os.urandom(20), os.urandom(20)
        await connection.execute("INSERT INTO accounts VALUES ($1, 1)", account)
        await connection.execute("INSERT INTO devices VALUES ($1, $2, $3, $3, 1)", device, account, b"x")

        def commit(epoch: int, adds: bool, removes: bool) -> Entry:
            request = frames.Commit(
                message_id=os.urandom(16),
                chat_id=chat,
                message=private_message(chat, epoch, COMMIT),
                welcome=welcome(1) if adds else None,
                added=[frames.ChatDevice(account, device)] if adds else [],
                removed=[device] if removes else [],
            )
            return check(ACCOUNT, DEVICE, request)

        steps = [(True, False), (False, True), (True, False), (True, True), (False, True)]
        before = writer.batches
        answers = await ask_together(writer, [commit(epoch, *step) for epoch, step in enumerate(steps)])
        assert writer.batches == before + 1
        assert all(isinstance(answer, frames.Accepted) for answer in answers)
        query = "SELECT added_at, removed_at FROM chat_members WHERE device_id = $1 ORDER BY added_at"
        assert [tuple(row) for row in await connection.fetch(query, device)] == [(1, 2), (3, 4), (4, 5)]


async def test_a_fault_in_the_writer_answers_everybody_and_is_seen(database_url: str) -> None:
    """A bug must not leave senders waiting for ever: they get an answer, and readiness fails."""

    class Broken:
        def transaction(self) -> object:
            raise ArithmeticError("a bug of ours")

    async with writer_on(database_url) as (writer, _):
        chat = await new_chat(writer)
        real, writer._connection = writer._connection, Broken()
        assert writer._task is not None
        answers = await ask_together(writer, [entry(chat), entry(chat)])
        assert [answer.code for answer in answers if isinstance(answer, frames.Refused)] == [Code.UNAVAILABLE] * 2
        assert not writer.alive
        late = await writer.ask(entry(chat))
        assert isinstance(late, frames.Refused)
        writer._connection = real
        assert isinstance(writer._task.exception(), ArithmeticError)
