"""Migrations forwards, backwards and forwards again; no drift; several processes at once."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest
from piccolo.apps.migrations.commands.backwards import BackwardsMigrationManager

from backend import database
from backend.postgres import EmbeddedPostgres
from backend.tables import TABLES
from tests.conftest import ROOT, run_async

SCHEMA = """
    SELECT 'column', table_name, column_name, data_type, is_nullable, column_default, is_identity
        FROM information_schema.columns WHERE table_schema = 'public'
    UNION ALL SELECT 'index', tablename, indexname, indexdef, '', '', '' FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), '', '', ''
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT 'storage', attrelid::regclass::text, attname, attstorage::text, '', '', '' FROM pg_attribute
        WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r')
          AND attnum > 0 AND NOT attisdropped
    UNION ALL SELECT 'options', oid::regclass::text, '', array_to_string(reloptions, ','), '', '', '' FROM pg_class
        WHERE relnamespace = 'public'::regnamespace
    ORDER BY 1, 2, 3, 4
"""


@pytest.fixture
def empty_database(postgres: EmbeddedPostgres) -> Iterator[str]:
    name = f"empty_{uuid.uuid4().hex}"
    run_async(_execute(postgres.url("postgres"), f"CREATE DATABASE {name}"))
    yield postgres.url(name)
    run_async(_execute(postgres.url("postgres"), f"DROP DATABASE {name} WITH (FORCE)"))


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(statement)
    await connection.close()


async def _fetch(url: str, query: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(url)
    found = [tuple(row) for row in await connection.fetch(query)]
    await connection.close()
    return found


def test_there_and_back_and_there_again_gives_one_schema(empty_database: str) -> None:
    assert run_async(database.migrate(empty_database)) == 3
    there = run_async(_fetch(empty_database, SCHEMA))
    run_async(database.unmigrate(empty_database))
    left = run_async(_fetch(empty_database, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
    assert left == [("migration",)]
    assert run_async(database.migrate(empty_database)) == 3
    assert run_async(_fetch(empty_database, SCHEMA)) == there
    assert run_async(database.migrate(empty_database)) == 0


@pytest.mark.parametrize("first_undone, undone", [("2026-11-23T10:30:00:000000", 1), ("2026-11-23T08:30:00:000000", 2)])
def test_some_steps_back_and_forth_give_one_schema(empty_database: str, first_undone: str, undone: int) -> None:
    """The raw steps alone, each undone in the reverse order."""
    run_async(database.migrate(empty_database))
    there = run_async(_fetch(empty_database, SCHEMA))
    back = BackwardsMigrationManager(app_name="backend", migration_id=first_undone, auto_agree=True)
    run_async(database._run(empty_database, back))
    assert run_async(_fetch(empty_database, SCHEMA)) != there
    assert run_async(database.migrate(empty_database)) == undone
    assert run_async(_fetch(empty_database, SCHEMA)) == there


def test_the_tables_and_the_migrations_say_the_same(database_url: str) -> None:
    """Piccolo compares its tables with its migrations: no changes."""
    environment = os.environ | {
        "PICCOLO_CONF": "backend.piccolo_conf",
        "DATABASE_URL": database_url,
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "piccolo.main", "migrations", "new", "backend", "--auto"]
    before = set((ROOT / "migrations").iterdir())
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    made = set((ROOT / "migrations").glob("*.py")) - before
    for path in made:
        path.unlink()
    assert made == set()
    assert "No changes detected" in done.stdout + done.stderr, done.stdout + done.stderr


def test_the_database_has_the_columns_that_the_tables_declare(database_url: str) -> None:
    query = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
    held = {row for row in run_async(_fetch(database_url, query)) if row[0] != "migration"}
    declared = {(t._meta.tablename, column._meta.name) for t in TABLES for column in t._meta.columns}
    assert held == declared


def test_processes_that_migrate_at_once_all_succeed(empty_database: str) -> None:
    code = "import asyncio, sys; from backend import database; print(asyncio.run(database.migrate(sys.argv[1])))"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, empty_database], env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    printed = sorted(process.communicate(timeout=60)[0].strip() for process in processes)
    assert printed == ["0", "0", "3"]
    assert [process.returncode for process in processes] == [0, 0, 0]


def test_every_key_of_a_large_table_holds_the_chat(database_url: str) -> None:
    """So that chats can be spread over machines (the distribution key is part of every unique key)."""
    query = """SELECT indrelid::regclass::text, array_agg(attname::text ORDER BY attname) FROM pg_index
        JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY(indkey) WHERE indisunique
        AND indrelid::regclass::text IN ('messages', 'chat_members', 'welcomes', 'attachments', 'chats')
        GROUP BY indexrelid, indrelid"""
    found = run_async(_fetch(database_url, query))
    assert len(found) == 6
    assert all("chat_id" in columns for _, columns in found)


def test_no_table_says_who_sent_a_message(database_url: str) -> None:
    query = "SELECT column_name FROM information_schema.columns WHERE table_name = 'messages'"
    columns = {name for (name,) in run_async(_fetch(database_url, query))}
    assert columns == {"chat_id", "position", "message_id", "request_hash", "received_at_ms", "message"}
