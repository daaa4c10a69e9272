"""What an operator does with a server: make one, invite somebody, serve, dump the database. The commands' functions.

Each is plain and blocking, and works whether or not the server of this data folder is running, except that only one can
serve. Errors that an operator can do something about are `OperatorError`, one line each.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import uvicorn
from litestar import Litestar

from backend import database, limits, logs, postgres, postgres_files
from backend.app import create_app
from backend.logs import event
from backend.services import Services
from backend.settings import Settings
from backend.store import invitations
from backend.websockets import AbortableProtocol
from protocol.limits import STREAM_BYTES_MAX

logger = logging.getLogger(__name__)


class OperatorError(Exception):
    """Something the operator can put right. The text says what and how."""


def init(settings: Settings) -> None:
    """Make the data folder, the database and its tables; bring older tables up to date. Harmless when repeated.

    Raises `OperatorError`.
    """
    with _one_line_errors(), _running_database(settings) as url:
        asyncio.run(_prepare(url))


def invite(settings: Settings) -> bytes:
    """Make an invitation: a code of 16 bytes, good for one registration within `limits.INVITATION_LIFETIME_S`.

    `protocol.invitations.format_invitation` gives its text. Raises `OperatorError`.
    """

    async def create(url: str) -> bytes:
        await _prepare(url)
        pool = await database.open_pool(url)
        try:
            return await invitations.create(int(time.time()))
        finally:
            await database.close_pool(pool)

    with _one_line_errors(), _running_database(settings) as url:
        return asyncio.run(create(url))


def serve(settings: Settings, on_ready: Callable[[], None]) -> None:
    """Run the server until SIGTERM or SIGINT, then drain and stop. Call it in the main thread.

    `on_ready` is called once, when it takes requests.

    Starts the embedded PostgreSQL unless `settings.database_url` is set, and brings the tables up to date. Raises
    `OperatorError` if it cannot start.
    """
    logs.configure(settings.log_level)
    with _one_line_errors(), contextlib.ExitStack() as stack:
        listener = stack.enter_context(_listen(settings.host, settings.port))
        url = settings.database_url
        if url is None:
            url = stack.enter_context(postgres.start(settings.data_folder, settings.postgres_bin)).url()
        asyncio.run(_serve(replace(settings, database_url=url), listener, on_ready))


def dump(settings: Settings) -> Path:
    """Write the whole database as SQL text into the data folder and return the file.

    `bytea` values are in the escape format: printable bytes as they are, so that a search of the file finds what people
    could read. Raises `OperatorError`.
    """
    path = settings.data_folder.absolute() / f"dump-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}.sql"
    with _one_line_errors(), contextlib.ExitStack() as stack:
        settings.data_folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        output = stack.enter_context(open(descriptor, "wb"))
        if settings.database_url is None:
            running = stack.enter_context(postgres.attach_or_start(settings.data_folder, settings.postgres_bin))
            url, binaries = running.url(), running.cluster.binaries
        else:
            url, binaries = settings.database_url, postgres_files.find_binaries(settings.postgres_bin)
        postgres.dump(url, binaries, output)
    return path


@contextlib.contextmanager
def _running_database(settings: Settings) -> Iterator[str]:
    if settings.database_url is not None:
        yield settings.database_url
        return
    with postgres.attach_or_start(settings.data_folder, settings.postgres_bin) as running:
        yield running.url()


@contextlib.contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except (postgres_files.PostgresError, database.DatabaseError) as error:
        raise OperatorError(str(error)) from error
    except asyncpg.InvalidPasswordError as error:
        raise OperatorError("the database refuses this user or password; correct DATABASE_URL") from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        # Not its text, which may quote what is in the tables.
        reason = f"the database refuses ({type(error).__name__})"
        raise OperatorError(f"{reason}; read its log, check DATABASE_URL and its user's rights") from error
    except OSError as error:
        raise OperatorError(_advice_on(error)) from error


def _advice_on(error: OSError) -> str:
    reason = error.strerror or str(error) or type(error).__name__  # several addresses: no strerror; a timeout: no text
    if error.filename is not None:
        return f"{error.filename}: {reason}; make it usable for this user, or set SEALDESK_DATA to another folder"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{reason}; make room, or set SEALDESK_DATA to a folder on another disk"
    # What is left names no file: it is the socket to the database.
    return f"cannot reach the database ({reason}); start it, or correct DATABASE_URL"


async def _prepare(url: str) -> None:
    """Make the database that `url` names, if it is missing, and migrate it."""
    name = urlsplit(url).path.removeprefix("/")
    try:
        connection = await asyncpg.connect(url)
    except asyncpg.InvalidCatalogNameError:
        connection = await asyncpg.connect(urlsplit(url)._replace(path="/postgres").geturl())
        try:
            quoted = name.replace('"', '""')
            with contextlib.suppress(asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
                await connection.execute(f'CREATE DATABASE "{quoted}"')
        finally:
            await connection.close()
    else:
        await connection.close()
    await database.migrate(url)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # With the protocol named: asyncio sets TCP_NODELAY only then, and without it each small answer waits 40 ms.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        with contextlib.ExitStack() as until_it_listens:
            until_it_listens.enter_context(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(limits.CONNECTIONS_WAITING_MAX)
            until_it_listens.pop_all()
    except OSError as error:
        reason = f"cannot listen on {host}:{port}: {error.strerror}; set SEALDESK_HOST or SEALDESK_PORT"
        raise OperatorError(reason) from error
    return listener


async def _serve(settings: Settings, listener: socket.socket, on_ready: Callable[[], None]) -> None:
    assert settings.database_url is not None
    await _prepare(settings.database_url)
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="on",
        server_header=False,
        ws=AbortableProtocol,
        ws_max_size=STREAM_BYTES_MAX,
        ws_per_message_deflate=False,  # ciphertext does not compress
        timeout_graceful_shutdown=settings.stop_timeout_s,
    )
    await _Server(config, app, settings.stop_timeout_s, on_ready).serve(sockets=[listener])


class _Server(uvicorn.Server):
    """uvicorn's server, which on its way down first lets the sockets' requests become durable and be answered."""

    def __init__(
        self, config: uvicorn.Config, app: Litestar, stop_timeout_s: int, on_ready: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._app = app
        self._stop_timeout_s = stop_timeout_s
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say in the log that it serves, or why it cannot."""
        try:
            await super().startup(sockets)
        except SystemExit as error:  # uvicorn's way to say that the application did not start
            failure = self._app.state.get("failure", "the server could not start; the log says where")
            raise OperatorError(failure) from error
        event(logger, "server.ready")
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, drain and close the sockets, then end."""
        event(logger, "server.stopping")
        for server in self.servers:
            server.close()
        services: Services = self._app.state["services"]
        try:
            async with asyncio.timeout(self._stop_timeout_s):
                await services.drain()
        except TimeoutError:
            event(logger, "server.drain_timeout", level=logging.WARNING, sockets=len(services.relay.hub))
        await super().shutdown(sockets)
        event(logger, "server.stopped")

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Like uvicorn's, but without raising the signal again at the end: the embedded PostgreSQL is still to stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
