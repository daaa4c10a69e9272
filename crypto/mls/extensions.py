"""Extensions (RFC 9420 §13, §17.3): opaque to the codec, given a meaning here."""

from __future__ import annotations

import os
from enum import IntEnum
from typing import Annotated

from crypto.mls.credentials import Credential
from crypto.wire import Max, Uint16, decode_as, struct


class ExtensionType(IntEnum):
    """Registered extension types (§17.3, and `last_resort_key_package` of the MLS extensions draft)."""

    APPLICATION_ID = 1
    RATCHET_TREE = 2
    REQUIRED_CAPABILITIES = 3
    EXTERNAL_PUB = 4
    EXTERNAL_SENDERS = 5
    LAST_RESORT_KEY_PACKAGE = 10


DEFAULT_EXTENSION_TYPES = frozenset({1, 2, 3, 4, 5})
DEFAULT_PROPOSAL_TYPES = frozenset({1, 2, 3, 4, 5, 6, 7})
"""Types that every client supports and that capabilities never list (§7.2)."""


GREASE = tuple(range(0x0A0A, 0xEAEB, 0x1010))
"""Values that mean nothing, so that who cannot ignore what it does not know is found out early (§13.5)."""


@struct
class Extension:
    """One extension (§13). Types that we do not know are carried through untouched."""

    extension_type: Uint16
    extension_data: bytes


EXTENSIONS_MAX = 256
"""How many extensions stand in one list, and how many types in a list of capabilities."""

Extensions = Annotated[tuple[Extension, ...], Max(EXTENSIONS_MAX)]


Types = Annotated[tuple[Uint16, ...], Max(EXTENSIONS_MAX)]
"""A list of types that a client supports, or must."""


@struct
class RequiredCapabilities:
    """What every member must support, in the GroupContext (§11.1)."""

    extension_types: Types
    proposal_types: Types
    credential_types: Types


@struct
class ExternalSender:
    """Someone outside the group who may send proposals (§12.1.8.1)."""

    signature_key: bytes
    credential: Credential


ExternalSenders = Annotated[tuple[ExternalSender, ...], Max(EXTENSIONS_MAX)]
"""The `external_senders` extension (§12.1.8.1)."""


@struct
class ExternalPub:
    """To whom a client encrypts that joins by itself, in a GroupInfo (§12.4.3.2)."""

    external_pub: bytes


def external_senders(extensions: tuple[Extension, ...]) -> tuple[ExternalSender, ...]:
    """Who, outside the group, may send proposals (§12.1.8.1). Raises `DecodeError`."""
    data = find_extension(extensions, ExtensionType.EXTERNAL_SENDERS)
    found: tuple[ExternalSender, ...] = () if data is None else decode_as(ExternalSenders, data)
    return found


def generate_grease() -> int:
    """One of the values for GREASE (§13.5). Which one is no secret, so the draw may be a little uneven."""
    return GREASE[os.urandom(1)[0] % len(GREASE)]


def generate_grease_extension() -> Extension:
    """An extension that every receiver ignores, with up to 15 bytes of noise (§13.5)."""
    drawn = os.urandom(16)
    return Extension(generate_grease(), drawn[: drawn[0] & 15])


def find_extension(extensions: tuple[Extension, ...], extension_type: int) -> bytes | None:
    """The data of the extension of that type, or None. Lists hold each type at most once (§13.4)."""
    for extension in extensions:
        if extension.extension_type == extension_type:
            return extension.extension_data
    return None
