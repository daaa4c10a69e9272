"""HTTP bodies (JSON; `bytes` are base64 with padding). The routes are listed in the server's OpenAPI, at /schema."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from protocol import limits
from protocol.codes import Code
from protocol.frames import AccountId, ChatId, ChatKind, DeviceId, InboxItem, Message, Position

Certificate = Annotated[bytes, Meta(min_length=1, max_length=limits.CERTIFICATE_BYTES_MAX)]
KeyPackageBytes = Annotated[
    bytes, Meta(min_length=1, max_length=limits.KEY_PACKAGE_BYTES_MAX, description="MLSMessage with a KeyPackage.")
]
UnixSeconds = Annotated[int, Meta(ge=0, le=2**62, description="Server's clock, Unix seconds.")]


def _redacted(struct: Struct) -> str:
    """The `repr` of what opens doors to whoever reads it in a log or a traceback."""
    return f"{type(struct).__name__}(redacted)"


def _redacted_for_rich(_: Struct) -> list[tuple[str, Any]]:
    """The same for `rich`, which asks for the fields first: msgspec would give them all."""
    return [("redacted", True)]


class RegisterAccount(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A new account with its first device. The invitation is used up by it."""

    invitation: Annotated[
        bytes,
        Meta(
            min_length=limits.INVITATION_CODE_BYTES,
            max_length=limits.INVITATION_CODE_BYTES,
            description="Invitation code, 16 bytes (people type it as base32).",
        ),
    ]
    signing_key_certificate: Annotated[Certificate, Meta(description="SigningKeyCertificate, signed by the root key.")]
    device_certificate: Annotated[Certificate, Meta(description="DeviceCertificate, signed by the signing key.")]
    device_list: Annotated[
        bytes,
        Meta(
            min_length=1,
            max_length=limits.DEVICE_LIST_BYTES_MAX,
            description="DeviceList naming this device, signed by the signing key.",
        ),
    ]

    __repr__ = _redacted
    __rich_repr__ = _redacted_for_rich


class Account(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the server shows of an account: signed objects, which the reader must verify itself."""

    account_id: AccountId
    signing_key_certificate: Annotated[Certificate, Meta(description="SigningKeyCertificate, signed by the root key.")]
    device_certificates: Annotated[
        list[Certificate],
        Meta(max_length=limits.DEVICES_PER_ACCOUNT_MAX, description="DeviceCertificate of every device, oldest first."),
    ]
    device_list: Annotated[bytes, Meta(max_length=limits.DEVICE_LIST_BYTES_MAX, description="The newest DeviceList.")]


class ChallengeRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Ask for a challenge to sign. Any device id gets one, known or not."""

    device_id: DeviceId


class Challenge(Struct, frozen=True, forbid_unknown_fields=True):
    """Sign this with the device key, together with the server's public URL. Good once, until `expires_at`."""

    challenge: Annotated[
        bytes,
        Meta(min_length=limits.CHALLENGE_BYTES, max_length=limits.CHALLENGE_BYTES, description="Random, 32 bytes."),
    ]
    expires_at: UnixSeconds


class OpenSession(Struct, frozen=True, forbid_unknown_fields=True):
    """The answer to a challenge."""

    device_id: DeviceId
    challenge: Annotated[
        bytes,
        Meta(
            min_length=limits.CHALLENGE_BYTES, max_length=limits.CHALLENGE_BYTES, description="The challenge, as given."
        ),
    ]
    signature: Annotated[
        bytes,
        Meta(
            min_length=1,
            max_length=limits.SIGNATURE_BYTES_MAX,
            description="Device key's signature over server URL and challenge.",
        ),
    ]

    __repr__ = _redacted
    __rich_repr__ = _redacted_for_rich


class Session(Struct, frozen=True, forbid_unknown_fields=True):
    """Send `token` as `Authorization: Bearer TOKEN`. The server keeps only its hash."""

    token: Annotated[
        str, Meta(min_length=43, max_length=43, description="32 random bytes in base64url without padding.")
    ]
    expires_at: UnixSeconds

    __repr__ = _redacted
    __rich_repr__ = _redacted_for_rich


class UploadKeyPackages(Struct, frozen=True, forbid_unknown_fields=True):
    """One-time key packages to add, and the last-resort one to put in place of the former."""

    key_packages: Annotated[
        list[KeyPackageBytes],
        Meta(
            max_length=limits.KEY_PACKAGES_PER_UPLOAD_MAX,
            description="One-time key packages; one that is held already is left as it is.",
        ),
    ] = []
    last_resort: KeyPackageBytes | None = None


class KeyPackageCount(Struct, frozen=True, forbid_unknown_fields=True):
    """How many one-time key packages the server holds for the calling device."""

    one_time_left: Annotated[int, Meta(ge=0, description="One-time key packages that are not yet given out.")]


class ClaimedKeyPackage(Struct, frozen=True, forbid_unknown_fields=True):
    """One device's key package, given to nobody else unless it is the last-resort one."""

    device_id: DeviceId
    key_package: KeyPackageBytes
    last_resort: Annotated[bool, Meta(description="True when no one-time key package was left.")]


class Claims(Struct, frozen=True, forbid_unknown_fields=True):
    """One key package for each device of the account, the calling device left out."""

    claims: Annotated[list[ClaimedKeyPackage], Meta(max_length=limits.DEVICES_PER_ACCOUNT_MAX)]


class Chat(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A chat as the calling device stands in it."""

    chat_id: ChatId
    kind: ChatKind
    epoch: Annotated[int, Meta(ge=0, le=limits.POSITION_MAX, description="Number of commits accepted so far.")]
    head: Annotated[Position, Meta(description="Newest position that this device may read.")]
    position: Annotated[Position, Meta(description="What this device has acknowledged.")]


class Chats(Struct, frozen=True, forbid_unknown_fields=True):
    """Every chat that the calling device is in, or was removed from and has not acknowledged so."""

    chats: list[Chat]


class Messages(Struct, frozen=True, forbid_unknown_fields=True):
    """One page of a chat's log, in position order."""

    messages: Annotated[list[Message], Meta(max_length=limits.MESSAGES_PER_PAGE_MAX)]


class AckPosition(Struct, frozen=True, forbid_unknown_fields=True):
    """The device has persisted the chat's log up to and including `position`."""

    position: Position


class Inbox(Struct, frozen=True, forbid_unknown_fields=True):
    """The oldest items that wait for the calling device; delete what you have persisted and ask again."""

    items: list[InboxItem]


class Attachment(Struct, frozen=True, forbid_unknown_fields=True):
    """An attachment that is stored in full."""

    size: Annotated[int, Meta(ge=0, le=limits.ATTACHMENT_BYTES_MAX, description="Ciphertext bytes.")]


class Health(Struct, frozen=True, forbid_unknown_fields=True):
    """The server's state, in one word."""

    status: Annotated[str, Meta(description="`live`, or `ready`.")]


class ProblemDetails(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """RFC 9457 problem details, media type application/problem+json."""

    type: Annotated[str, Meta(description="`urn:sealdesk:problem:` and the code.")]
    title: Annotated[str, Meta(description="The kind of problem, the same for every problem of its code.")]
    status: Annotated[int, Meta(ge=400, le=599, description="HTTP status.")]
    detail: Annotated[
        str, Meta(max_length=limits.DETAIL_CHARACTERS_MAX, description="This problem, for people; may change.")
    ]
    code: Code
    head: Annotated[
        Position | None, Meta(description="The chat's newest position, where a newer log is the reason.")
    ] = None
