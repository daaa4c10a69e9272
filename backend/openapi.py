"""The OpenAPI description and its viewer, served whole from this server: the page loads nothing from anywhere else."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

from litestar import Request, Response, get
from litestar.enums import MediaType
from litestar.openapi import OpenAPIConfig
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin, OpenAPIRenderPlugin
from litestar.openapi.spec import Components, OpenAPIMediaType, Operation, RequestBody, Schema, SecurityScheme
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType
from litestar.params import KwargDefinition
from litestar.plugins import OpenAPISchemaPlugin
from litestar.typing import FieldDefinition

from backend.errors import not_found, problem_response
from protocol.codes import Code
from protocol.limits import ATTACHMENT_BYTES_MAX

_ASSETS: Final = {
    "swagger-ui.css": ("swagger_style.css", "text/css"),
    "swagger-ui.js": ("swagger_bundle.js", "text/javascript"),
}
_START: Final = b"""window.onload = () => SwaggerUIBundle({
  url: "/schema/openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null,
});
"""
_PAGE: Final = b"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sealdesk server API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/schema/assets/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/schema/assets/swagger-ui.js"></script>
<script src="/schema/assets/start.js"></script>
</body>
</html>
"""
# The browser holds the page to its promise: nothing from other hosts, no inline script.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'"
)


class BytesAsBase64(OpenAPISchemaPlugin):
    """Say of `bytes` what is on the wire: a base64 string, its length counted in characters."""

    def is_plugin_supported_field(self, field_definition: FieldDefinition) -> bool:
        """Whether a field is plain `bytes`, with or without limits."""
        return field_definition.annotation is bytes

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: Any) -> Schema:
        """The string that stands for a `bytes` field."""
        del schema_creator
        limits = field_definition.kwarg_definition
        assert limits is None or isinstance(limits, KwargDefinition)  # a body's field is no dependency
        schema = Schema(type=OpenAPIType.STRING, content_encoding="base64")
        if limits is not None and limits.min_length is not None:
            schema.min_length = _base64_characters(limits.min_length)
        if limits is not None and limits.max_length is not None:
            schema.max_length = _base64_characters(limits.max_length)
        if limits is not None and limits.description is not None:
            schema.description = limits.description
        return schema


def octet_body() -> type[Operation]:
    """OpenAPI: the kind of operation whose request body is raw bytes, which the handler streams."""

    @dataclass
    class OctetBody(Operation):
        def __post_init__(self) -> None:
            content = OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY))
            self.request_body = RequestBody(
                content={"application/octet-stream": content},
                required=True,
                description=f"The ciphertext, at most {ATTACHMENT_BYTES_MAX} bytes.",
            )

    return OctetBody


def octet_response() -> ResponseSpec:
    """OpenAPI: an answer of raw bytes."""
    return ResponseSpec(
        bytes, generate_examples=False, description="The ciphertext.", media_type="application/octet-stream"
    )


class OfflineViewer(OpenAPIRenderPlugin):
    """Swagger UI at /schema."""

    def __init__(self) -> None:
        super().__init__(path="/", favicon="", style="")

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """The page; it fetches the description itself."""
        del request, openapi_schema
        return _PAGE


@get("/schema/assets/{name:str}", include_in_schema=False, sync_to_thread=False)
def get_asset(name: str) -> Response[bytes]:
    """A file of the viewer, from the package that carries it."""
    if name == "start.js":
        return Response(_START, media_type="text/javascript")
    if name not in _ASSETS:
        raise not_found()
    content, media_type = _asset(name)
    return Response(content, media_type=media_type, headers={"Cache-Control": "max-age=86400"})


async def after_request(response: Response[Any]) -> Response[Any]:
    """Send the content policy with the viewer's page, the only HTML that this server has.

    Litestar answers an unknown path below /schema with a page of its own, which is replaced by our problem details.
    """
    if response.media_type == MediaType.HTML and response.status_code == 404:
        return problem_response(Code.NOT_FOUND, "there is no such page")
    if response.media_type == MediaType.HTML:
        response.headers["Content-Security-Policy"] = _POLICY
    return response


def openapi_config(version: str) -> OpenAPIConfig:
    """The description's head."""
    return OpenAPIConfig(
        title="Sealdesk server",
        version=version,
        description="Relays and stores end-to-end encrypted messages. Every body that people wrote is ciphertext here. "
        "`bytes` are base64; ids in paths are lowercase hex. Errors are RFC 9457 problem details with a stable `code`.",
        path="/schema",
        use_handler_docstrings=False,
        create_examples=False,
        components=Components(
            security_schemes={
                "session": SecurityScheme(
                    type="http", scheme="bearer", description="The token that POST /v1/sessions gave."
                )
            }
        ),
        render_plugins=[OfflineViewer(), JsonRenderPlugin()],
    )


def _base64_characters(size_bytes: int) -> int:
    return 4 * -(-size_bytes // 3)


@cache
def _asset(name: str) -> tuple[bytes, str]:
    file, media_type = _ASSETS[name]
    # Not by importing the package: it would read every viewer it has into memory.
    package = resources.files("offapi")
    return package.joinpath(file).read_bytes(), media_type
