"""Every refusal is RFC 9457 problem details with a stable code, and changes nothing."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any

import asyncpg
import msgspec
import pytest
from litestar import Request
from litestar.exceptions import InternalServerException

from backend import limits
from backend.errors import (
    DATABASE_AWAY,
    STATUS,
    TITLES,
    handle_fault,
    handle_http,
    handle_unavailable,
    problem_details,
)
from backend.logs import EventFormatter, event
from backend.settings import Settings, SettingsError
from protocol import api, frames
from protocol.codes import Code
from tests.backend.people import digest, people, send_request
from tests.conftest import Server

JSON = {"Content-Type": "application/json"}
HEX20, HEX32, HEX16 = "0" * 40, "0" * 64, "0" * 32

# method, path, headers, body, status, code
REFUSED: list[tuple[str, str, dict[str, str], bytes, int, str]] = [
    ("GET", "/", {}, b"", 404, "not_found"),
    ("GET", "/v1/nothing", {}, b"", 404, "not_found"),
    ("GET", "/schema/assets/nothing", {}, b"", 404, "not_found"),
    ("DELETE", "/v1/chats", {}, b"", 405, "method_not_allowed"),
    ("GET", "/v1/stream", {}, b"", 426, "upgrade_required"),
    ("GET", f"/v1/accounts/{HEX20[1:]}", {}, b"", 400, "malformed"),
    ("GET", f"/v1/accounts/{'A' * 40}", {}, b"", 400, "malformed"),
    ("GET", f"/v1/chats/{HEX32}/messages?after=-1", {}, b"", 400, "malformed"),
    ("GET", f"/v1/chats/{HEX32}/messages?after=x", {}, b"", 400, "malformed"),
    ("GET", f"/v1/chats/{HEX32}/messages?after=1e99", {}, b"", 400, "malformed"),
    ("GET", f"/v1/chats/{HEX32}/messages?limit=0", {}, b"", 400, "malformed"),
    ("GET", f"/v1/chats/{HEX32}/messages?limit=201", {}, b"", 400, "malformed"),
    ("GET", f"/v1/chats/{HEX32}/messages?after={10**30}", {}, b"", 400, "malformed"),
    ("GET", f"/v1/chats/{HEX32}/messages", {}, b"", 404, "not_found"),
    ("DELETE", "/v1/inbox/0", {}, b"", 400, "malformed"),
    ("DELETE", f"/v1/inbox/{10**30}", {}, b"", 400, "malformed"),
    ("DELETE", "/v1/inbox/9223372036854775807", {}, b"", 404, "not_found"),
    ("POST", "/v1/chats", {}, b"{}", 415, "unsupported_media_type"),
    ("POST", "/v1/chats", {"Content-Type": "text/plain"}, b"{}", 415, "unsupported_media_type"),
    ("POST", "/v1/chats", JSON, b"", 400, "malformed"),
    ("POST", "/v1/chats", JSON, b"{", 400, "malformed"),
    ("POST", "/v1/chats", JSON, b"[]", 400, "malformed"),
    ("POST", "/v1/chats", JSON, b'"\xff"', 400, "malformed"),
    ("POST", "/v1/chats", JSON, b"[" * 100_00, 400, "malformed"),
    ("POST", "/v1/chats", JSON, b'{"message_id":"AAAA"}', 400, "malformed"),
    ("POST", "/v1/chats", JSON, b" " * (limits.BODY_BYTES_MAX + 1), 413, "too_large"),
    ("POST", "/v1/sessions/challenges", JSON, b'{"device_id":1}', 400, "malformed"),
    ("POST", "/v1/sessions/challenges", JSON, b'{"device_id":"AAAA"}', 400, "malformed"),
    ("POST", "/v1/sessions/challenges", JSON, b'{"device_id":"%s","x":1}' % (b"A" * 27 + b"="), 400, "malformed"),
    ("PUT", f"/v1/chats/{HEX32}/attachments/{HEX16}", JSON, b"x", 415, "unsupported_media_type"),
    ("PUT", f"/v1/chats/{HEX32}/position", JSON, b'{"position":-1}', 400, "malformed"),
    ("PUT", f"/v1/chats/{HEX32}/position", JSON, b'{"position":1.5}', 400, "malformed"),
]

NEED_A_SESSION = [
    ("GET", "/v1/chats"),
    ("POST", "/v1/chats"),
    ("GET", f"/v1/chats/{HEX32}/messages"),
    ("POST", f"/v1/chats/{HEX32}/messages"),
    ("POST", f"/v1/chats/{HEX32}/commits"),
    ("PUT", f"/v1/chats/{HEX32}/position"),
    ("PUT", f"/v1/chats/{HEX32}/attachments/{HEX16}"),
    ("GET", f"/v1/chats/{HEX32}/attachments/{HEX16}"),
    ("GET", "/v1/inbox"),
    ("DELETE", "/v1/inbox/1"),
    ("GET", "/v1/key_packages"),
    ("POST", "/v1/key_packages"),
    ("GET", f"/v1/accounts/{HEX20}"),
    ("POST", f"/v1/accounts/{HEX20}/key_packages/claims"),
    ("DELETE", "/v1/sessions/current"),
]


def check_problem(status: int, headers: dict[str, str], body: bytes, code: str | None = None) -> None:
    assert headers["Content-Type"] == "application/problem+json", body
    problem = msgspec.json.decode(body, type=api.ProblemDetails)
    assert problem.status == status == STATUS[problem.code]
    assert problem.type == f"urn:sealdesk:problem:{problem.code}"
    assert problem.title == TITLES[problem.code]
    assert problem.code == code or code is None


async def test_what_is_refused_says_why(shared_server: Server) -> None:
    async with people(shared_server, 1) as (alice,):
        before = await digest(shared_server)
        for method, path, headers, body, status, code in REFUSED:
            answer = await alice.request(method, path, body, headers)
            assert answer[0] == status, (method, path, body[:40], answer)
            check_problem(*answer, code)
        assert await digest(shared_server) == before


async def test_every_route_but_the_open_ones_needs_a_session(shared_server: Server) -> None:
    async with people(shared_server, 1) as (alice,):
        good = alice.token
        for method, path in NEED_A_SESSION:
            for token in ("", "A" * 43, good[:-1], good + "A", "é", good.swapcase()):
                alice.token = ""
                headers = {"Authorization": f"Bearer {token}"} if token else {}
                answer = await alice.request(method, path, b"{}", {**JSON, **headers})
                assert answer[0] == 401, (method, path, token)
                check_problem(*answer, "unauthenticated")
                assert answer[1]["WWW-Authenticate"] == "Bearer"


async def test_a_405_says_what_is_allowed(shared_server: Server) -> None:
    async with people(shared_server, 1) as (alice,):
        _, headers, _ = await alice.request("DELETE", "/v1/chats")
        assert set(headers["Allow"].split(", ")) >= {"GET", "POST"}


async def test_large_bodies_are_cut_off_where_they_are_too_large(shared_server: Server) -> None:
    async with people(shared_server, 1) as (alice,):
        chat = await alice.create_chat()
        path = f"/v1/chats/{chat.hex()}/messages"
        status, headers, body = await alice.request("POST", path, b" " * (limits.MESSAGE_BODY_BYTES_MAX + 1), JSON)
        assert status == 413
        check_problem(status, headers, body, "too_large")
        largest = send_request(chat, 0, ciphertext=os.urandom(250 * 1024))
        assert (await alice.call("POST", path, largest, frames.Accepted)).position == 1


async def test_a_slow_or_endless_head_hurts_nobody(shared_server: Server) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", shared_server.settings.port)
    writer.write(b"GET /v1/chats HTTP/1.1\r\nX: " + b"x" * 1_000_000)
    await writer.drain()
    async with asyncio.timeout(10):
        answer = await reader.read(1000)
    assert answer.startswith(b"HTTP/1.1 4")
    writer.close()
    async with people(shared_server, 1) as (alice,):
        assert (await alice.request("GET", "/health/live"))[0] == 200


def request() -> Request[Any, Any, Any]:
    return Request({"type": "http"})  # type: ignore[typeddict-item,arg-type]  # no handler looks into it


def test_a_fault_tells_neither_the_caller_nor_the_log_its_text(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError("somebody's secret")
    except ValueError as error:
        response = handle_fault(request(), error)
    assert (response.status_code, response.content.code) == (500, Code.INTERNAL)
    (record,) = caplog.records
    line = EventFormatter().format(record)
    assert "error=ValueError where=test_problems.py:" in line
    assert "secret" not in line + response.content.detail
    assert handle_http(request(), InternalServerException("secret")).content.code is Code.INTERNAL


def test_a_database_that_is_away_is_a_503() -> None:
    for error in (asyncpg.ConnectionDoesNotExistError("x"), asyncpg.DiskFullError("x"), ConnectionRefusedError()):
        assert isinstance(error, DATABASE_AWAY)
        response = handle_unavailable(request(), error)
        assert (response.status_code, response.headers["Retry-After"]) == (503, "1")


def test_every_code_has_a_status_and_a_title() -> None:
    assert set(STATUS) == set(TITLES) == set(Code)
    for code in Code:
        assert code == code.lower()
        assert problem_details(code, "x" * 9_999).status == STATUS[code]


def test_logs_of_libraries_and_exceptions_are_reduced() -> None:
    record = logging.LogRecord("uvicorn.error", logging.ERROR, "f", 1, "an id: %s", ("abcdef",), None)
    assert EventFormatter().format(record).endswith("error library logger=uvicorn.error")
    try:
        raise LookupError("an id: abcdef")
    except LookupError as error:
        record = logging.LogRecord("asyncio", logging.ERROR, "f", 1, "abcdef", (), (LookupError, error, None))
    assert "abcdef" not in EventFormatter().format(record)
    assert "error=LookupError" in EventFormatter().format(record)


def test_an_event_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    event(
        logging.getLogger("backend.test"), "thing.happened", level=logging.WARNING, count=3, duration_ms=1.26, a="b c"
    )
    line = EventFormatter().format(caplog.records[0])
    assert line.endswith("warning thing.happened count=3 duration_ms=1.3 a='b c'")


async def test_the_servers_log_names_nobody(shared_server: Server) -> None:
    async with people(shared_server, 1) as (alice,), alice.stream() as stream:
        chat = await alice.create_chat()
        await stream.ask(send_request(chat, 0))
        await stream.ask(send_request(chat, 7))
        text = shared_server.log_path.read_text()
        for name in (alice.device_id, alice.account_id, chat):
            assert name.hex() not in text
        assert alice.token not in text
        assert "127.0.0.1" not in text


def test_settings_are_read_and_checked() -> None:
    settings = Settings.from_environment({"SEALDESK_PORT": "9000", "SEALDESK_HOST": "::1", "SEALDESK_PUBLIC_URL": ""})
    assert (settings.port, settings.host, settings.public_url) == (9000, "::1", None)
    assert Settings.from_environment({"SEALDESK_PUBLIC_URL": "https://chat.example/"}).url == "https://chat.example"
    assert Settings.from_environment({}).url == "http://127.0.0.1:8440"
    for variable, value in (
        ("SEALDESK_PORT", "70000"),
        ("SEALDESK_PORT", "x"),
        ("SEALDESK_STOP_TIMEOUT_S", "0"),
        ("SEALDESK_LOG_LEVEL", "LOUD"),
        ("SEALDESK_PUBLIC_URL", "chat.example"),
        ("DATABASE_URL", "mysql://root:secret@host/name"),
    ):
        with pytest.raises(SettingsError, match=variable) as error:
            Settings.from_environment({variable: value})
        assert "secret" not in str(error.value)
