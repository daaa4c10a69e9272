"""The description is complete, true to the wire, and its page loads nothing from anywhere else."""

from __future__ import annotations

import re
import urllib.request
from typing import Any

import msgspec
import pytest
from litestar.handlers import HTTPRouteHandler

from backend.app import HANDLERS
from protocol import api, frames, limits
from protocol.codes import Code
from tests.conftest import Server

OPEN = {"/v1/accounts", "/v1/sessions", "/v1/sessions/challenges", "/health/live", "/health/ready"}


def fetch(server: Server, path: str) -> tuple[dict[str, str], bytes]:
    with urllib.request.urlopen(server.url + path, timeout=10) as response:
        return {name.lower(): value for name, value in response.headers.items()}, response.read()


@pytest.fixture(scope="module")
def description(shared_server: Server) -> dict[str, Any]:
    return dict(msgspec.json.decode(fetch(shared_server, "/schema/openapi.json")[1]))


def operations(description: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation
        for path, item in description["paths"].items()
        for method, operation in item.items()
    }


def test_every_route_is_described(description: dict[str, Any]) -> None:
    described = set(operations(description))
    routes = {
        (method, re.sub(r":\w+}", "}", path))
        for handler in HANDLERS
        if isinstance(handler, HTTPRouteHandler) and handler.include_in_schema is not False
        for path in handler.paths
        for method in handler.http_methods
    }
    assert described == routes
    assert len(described) == 21


def test_every_operation_lists_its_refusals(description: dict[str, Any]) -> None:
    for (_method, path), operation in operations(description).items():
        assert operation["summary"]
        assert operation["description"]
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                assert list(response["content"]) == ["application/problem+json"], path
                assert "with code `" in response["description"]
        assert ("401" in operation["responses"]) == (path not in OPEN or path == "/v1/sessions")
        assert bool(operation.get("security")) == (path not in OPEN)


def test_every_code_is_listed_somewhere(description: dict[str, Any]) -> None:
    schema = description["components"]["schemas"]["Code"]
    assert set(schema["enum"]) == set(Code)
    text = "".join(
        response["description"] for o in operations(description).values() for response in o["responses"].values()
    )
    general = {Code.FORBIDDEN, Code.METHOD_NOT_ALLOWED}
    assert {code for code in Code if f"`{code}`" not in text} == general


def test_bytes_are_base64_and_counted_in_characters(description: dict[str, Any]) -> None:
    schemas = description["components"]["schemas"]
    chat_id = schemas["Send"]["properties"]["chat_id"]
    assert chat_id["type"] == "string"
    assert chat_id["contentEncoding"] == "base64"
    assert chat_id["minLength"] == chat_id["maxLength"] == 44
    assert schemas["Send"]["properties"]["message"]["maxLength"] == 4 * -(-limits.MESSAGE_BYTES_MAX // 3)
    text = msgspec.json.encode(description).decode()
    assert '"contentEncoding":"utf-8"' not in text
    example = msgspec.json.decode(msgspec.json.encode(frames.Send(bytes(16), bytes(32), b"x")))
    assert len(example["chat_id"]) == 44


def test_every_field_of_every_struct_is_described(description: dict[str, Any]) -> None:
    """The properties of each schema are the fields of its struct, each with a type, a reference or a choice."""
    schemas = description["components"]["schemas"]
    for name, schema in schemas.items():
        struct = getattr(api, name, None) or getattr(frames, name, None)
        if schema.get("type") != "object":
            continue
        assert struct is not None, name
        assert set(schema["properties"]) - {"t"} == set(struct.__struct_fields__), name
        for field, described in schema["properties"].items():
            assert {"type", "$ref", "oneOf", "allOf", "const", "enum"} & set(described), (name, field)


def test_raw_bodies_are_described(description: dict[str, Any]) -> None:
    item = description["paths"]["/v1/chats/{chat_id}/attachments/{attachment_id}"]
    assert list(item["put"]["requestBody"]["content"]) == ["application/octet-stream"]
    assert "application/octet-stream" in item["get"]["responses"]["200"]["content"]
    assert "101" in description["paths"]["/v1/stream"]["get"]["responses"]


def test_the_page_loads_nothing_from_other_hosts(shared_server: Server) -> None:
    headers, page = fetch(shared_server, "/schema")
    assert headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "http" not in headers["content-security-policy"]
    links = re.findall(rb'(?:src|href)="([^"]*)"', page)
    assert len(links) == 4
    for link in links:
        assert link.startswith(b"/schema/assets/") or link == b"data:,"
    for link in links[1:]:
        _, content = fetch(shared_server, link.decode())
        assert len(content) > 100
    style = fetch(shared_server, "/schema/assets/swagger-ui.css")[1]
    assert not re.findall(rb"url\(\s*(?!['\"]?data:)[^)]{0,40}", style)
    start = fetch(shared_server, "/schema/assets/start.js")[1]
    assert b"validatorUrl: null" in start
    assert b"http" not in start
