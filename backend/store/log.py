"""The logs' one way in: a batch of requests, one transaction (group commit).

Runs on the writer's own connection; `WRITER_SETTINGS` are made for it. The order of locks, here and in `store.chats`:
new chats by id, existing chats by id, members by chat and device: no two transactions wait for each other in a circle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from backend.ordering import ChatState, Entry, Plan, Snapshot, plan
from protocol.frames import Commit, CreateChat

WRITER_SETTINGS: Final = {
    # Every query here is a handful of index look-ups. A generic plan made while the tables were small would read them
    # whole, and stay; planning anew for each batch would cost more than the batch.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}

_CREATE = """INSERT INTO chats (chat_id, kind, create_message_id, created_at_s, epoch, head)
    SELECT chat_id, kind, message_id, $4, 0, 0 FROM unnest($1::bytea[], $2::varchar[], $3::bytea[])
        t (chat_id, kind, message_id)
    ON CONFLICT (chat_id) DO NOTHING RETURNING chat_id"""

_LOCK = """SELECT chat_id, kind, epoch, head, create_message_id, first_account_id, second_account_id FROM chats
    WHERE chat_id = ANY($1::bytea[]) ORDER BY chat_id FOR NO KEY UPDATE"""

_READ = """SELECT r.chat_id, r.message_id, r.device_id, m.position, m.request_hash, EXISTS (
        SELECT 1 FROM chat_members s WHERE s.chat_id = r.chat_id AND s.device_id = r.device_id AND s.removed_at IS NULL)
    FROM unnest($1::bytea[], $2::bytea[], $3::bytea[]) r (chat_id, device_id, message_id)
    LEFT JOIN messages m ON m.chat_id = r.chat_id AND m.message_id = r.message_id"""

_READ_MEMBERS = """SELECT s.chat_id, s.device_id FROM unnest($1::bytea[], $2::bytea[]) r (chat_id, device_id)
    JOIN chat_members s ON s.chat_id = r.chat_id AND s.device_id = r.device_id WHERE s.removed_at IS NULL"""

_COUNT_MEMBERS = """SELECT chat_id, count(*) FROM chat_members WHERE chat_id = ANY($1::bytea[]) AND removed_at IS NULL
    GROUP BY chat_id"""

_READ_DEVICES = """SELECT d.account_id, d.device_id FROM unnest($1::bytea[], $2::bytea[]) r (account_id, device_id)
    JOIN devices d ON d.device_id = r.device_id AND d.account_id = r.account_id"""

_WRITE = """WITH moved AS (
        UPDATE chats c SET head = t.head, epoch = t.epoch, first_account_id = t.first, second_account_id = t.second
        FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bytea[])
            t (chat_id, head, epoch, first, second) WHERE c.chat_id = t.chat_id)
    INSERT INTO messages (chat_id, position, message_id, request_hash, received_at_ms, message)
    SELECT * FROM unnest($6::bytea[], $7::bigint[], $8::bytea[], $9::bytea[], $10::bigint[], $11::bytea[])"""

# A batch can remove, add and remove a device again: each stay ends with the first removal after its beginning.
_REMOVE = """UPDATE chat_members s SET removed_at = ended.position
    FROM (SELECT s.chat_id, s.device_id, s.added_at, min(t.position) AS position
          FROM unnest($1::bytea[], $2::bytea[], $3::bigint[]) t (chat_id, device_id, position)
          JOIN chat_members s ON s.chat_id = t.chat_id AND s.device_id = t.device_id
          WHERE s.removed_at IS NULL AND s.added_at < t.position GROUP BY s.chat_id, s.device_id, s.added_at) ended
    WHERE s.chat_id = ended.chat_id AND s.device_id = ended.device_id AND s.added_at = ended.added_at"""

_LOCK_MEMBERS = """SELECT 1 FROM chat_members s JOIN unnest($1::bytea[], $2::bytea[]) t (chat_id, device_id)
    USING (chat_id, device_id) ORDER BY s.chat_id, s.device_id, s.added_at FOR UPDATE OF s"""

_ADD = """INSERT INTO chat_members (chat_id, device_id, account_id, added_at, position)
    SELECT chat_id, device_id, account_id, position, position
    FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::bigint[]) t (chat_id, device_id, account_id, position)"""

_ADD_WELCOMES = """INSERT INTO welcomes (chat_id, position, welcome)
    SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bytea[])"""

_ADD_INBOX = """INSERT INTO device_inbox (device_id, kind, chat_id, position)
    SELECT device_id, 'welcome', chat_id, position
    FROM unnest($1::bytea[], $2::bytea[], $3::bigint[]) t (device_id, chat_id, position)"""


async def append(connection: Any, batch: Sequence[Entry], now_ms: int) -> Plan:
    """Decide and write a batch, durably when this returns. An error has written nothing."""
    async with connection.transaction():
        snapshot = await _snapshot(connection, batch, now_ms)
        decided = plan(batch, snapshot, now_ms)
        await _write(connection, decided)
    return decided


async def _snapshot(connection: Any, batch: Sequence[Entry], now_ms: int) -> Snapshot:
    created = await _create_chats(connection, batch, now_ms // 1000)
    rows = await connection.fetch(_LOCK, list({entry.request.chat_id for entry in batch}))
    chats = {row["chat_id"]: _state(row, created) for row in rows}
    # After the locks, in statements of their own: these see what the transactions that we waited for have committed.
    rows = await connection.fetch(
        _READ,
        [entry.request.chat_id for entry in batch],
        [entry.device_id for entry in batch],
        [entry.request.message_id for entry in batch],
    )
    snapshot = Snapshot(
        chats=chats,
        members={(chat_id, device_id) for chat_id, _, device_id, _, _, member in rows if member},
        earlier={(row[0], row[1]): (row[3], row[4]) for row in rows if row[3] is not None},
    )
    commits = [entry.request for entry in batch if isinstance(entry.request, Commit)]
    pairs = {(commit.chat_id, device_id) for commit in commits for device_id in commit.removed}
    pairs |= {(commit.chat_id, device.device_id) for commit in commits for device in commit.added}
    if pairs:
        await _read_members(connection, commits, pairs, snapshot)
    return snapshot


def _state(row: Any, created: set[bytes]) -> ChatState:
    _, kind, epoch, head, create_message_id, first, second = row
    return ChatState(kind, epoch, head, create_message_id, first, second, created_now=row["chat_id"] in created)


async def _create_chats(connection: Any, batch: Sequence[Entry], now: int) -> set[bytes]:
    wanted = {e.request.chat_id: e.request for e in reversed(batch) if isinstance(e.request, CreateChat)}
    if not wanted:
        return set()
    ordered = sorted(wanted)
    rows = await connection.fetch(
        _CREATE, ordered, [wanted[c].kind for c in ordered], [wanted[c].message_id for c in ordered], now
    )
    return {row[0] for row in rows}


async def _read_members(
    connection: Any, commits: Sequence[Commit], pairs: set[tuple[bytes, bytes]], snapshot: Snapshot
) -> None:
    rows = await connection.fetch(_READ_MEMBERS, [pair[0] for pair in pairs], [pair[1] for pair in pairs])
    snapshot.members.update((row[0], row[1]) for row in rows)
    added = {(device.account_id, device.device_id) for commit in commits for device in commit.added}
    if added:
        rows = await connection.fetch(_READ_DEVICES, [pair[0] for pair in added], [pair[1] for pair in added])
        snapshot.known_devices.update((row[0], row[1]) for row in rows)
        chats = list({commit.chat_id for commit in commits if commit.added})
        snapshot.member_counts.update({row[0]: row[1] for row in await connection.fetch(_COUNT_MEMBERS, chats)})


async def _write(connection: Any, decided: Plan) -> None:
    if decided.touched or decided.messages:
        messages = [message for message, _ in decided.messages]
        states = decided.touched.values()
        await connection.execute(
            _WRITE,
            list(decided.touched),
            [state.head for state in states],
            [state.epoch for state in states],
            [state.first_account_id for state in states],
            [state.second_account_id for state in states],
            [message.chat_id for message in messages],
            [message.position for message in messages],
            [message.message_id for message in messages],
            [request_hash for _, request_hash in decided.messages],
            [message.received_at_ms for message in messages],
            [message.message for message in messages],
        )
    if decided.added:
        await connection.execute(
            _ADD,
            [chat_id for chat_id, _, _ in decided.added],
            [device.device_id for _, device, _ in decided.added],
            [device.account_id for _, device, _ in decided.added],
            [position for _, _, position in decided.added],
        )
    if decided.removed:
        columns = [list(column) for column in zip(*decided.removed, strict=True)]
        await connection.execute(_LOCK_MEMBERS, *columns[:2])
        await connection.execute(_REMOVE, *columns)
    if decided.welcomes:
        await connection.execute(_ADD_WELCOMES, *[list(column) for column in zip(*decided.welcomes, strict=True)])
        joined = [(device.device_id, chat_id, position) for chat_id, device, position in decided.added if position > 0]
        await connection.execute(_ADD_INBOX, *[list(column) for column in zip(*joined, strict=True)])
