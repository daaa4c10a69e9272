"""Ids in paths are lowercase hex; these types say so in the OpenAPI and refuse everything else as malformed."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request
from litestar.params import PathParameter

HTTPRequest = Request[Any, Any, Any]

AccountIdHex = Annotated[
    str, PathParameter(description="Account id: 20 bytes in lowercase hex.", pattern="^[0-9a-f]{40}$")
]
ChatIdHex = Annotated[str, PathParameter(description="Chat id: 32 bytes in lowercase hex.", pattern="^[0-9a-f]{64}$")]
AttachmentIdHex = Annotated[
    str,
    PathParameter(
        description="Attachment id: 16 bytes in lowercase hex, made at random by the uploader.",
        pattern="^[0-9a-f]{32}$",
    ),
]
ItemIdNumber = Annotated[int, PathParameter(description="Id of an inbox item.", ge=1, le=2**63 - 1)]
