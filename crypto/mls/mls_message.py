"""MLSMessage (RFC 9420 §6): the envelope of everything that goes over the wire."""

from __future__ import annotations

from typing import Annotated

from crypto.errors import UsageError
from crypto.mls.framing import PrivateMessage, PublicMessage
from crypto.mls.headers import ProtocolVersion, Version
from crypto.mls.key_package import KeyPackage
from crypto.mls.welcome import GroupInfo, Welcome
from crypto.wire import INPUT_BYTES_MAX, Select, decode, encode, struct

AnyBody = PublicMessage | PrivateMessage | Welcome | GroupInfo | KeyPackage


@struct
class MLSMessage:
    """The version, and a body behind its wire format (§6)."""

    version: Version
    body: Annotated[AnyBody, Select(2)]


def encode_message(body: AnyBody) -> bytes:
    """The bytes that go over the wire: `body` in its MLSMessage (§6). Raises `UsageError` for what is too large."""
    encoded = encode(MLSMessage(ProtocolVersion.MLS10, body))
    if len(encoded) > INPUT_BYTES_MAX:
        raise UsageError(f"larger than the {INPUT_BYTES_MAX} bytes that others read")
    return encoded


def decode_message(data: bytes) -> MLSMessage:
    """Take an MLSMessage apart (§6). Raises `DecodeError`."""
    return decode(MLSMessage, data)
