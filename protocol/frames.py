"""Frames of the stream (GET /v1/stream).

One binary WebSocket message is one msgpack array of frames, both ways. A frame is a msgpack map whose key `t` holds its
type. `CreateChat`, `Send` and `Commit` are also the JSON bodies of these requests over HTTP; there `t` may be missing.

Order on one connection: per chat, `Message` frames come in position order without gaps and without repeats; a Welcome
comes before the first message of its chat that the new member can read. Across chats there is no order.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from protocol import limits
from protocol.codes import Code

AccountId = Annotated[
    bytes,
    Meta(min_length=limits.ACCOUNT_ID_BYTES, max_length=limits.ACCOUNT_ID_BYTES, description="Account id, 20 bytes."),
]
DeviceId = Annotated[
    bytes,
    Meta(min_length=limits.DEVICE_ID_BYTES, max_length=limits.DEVICE_ID_BYTES, description="Device id, 20 bytes."),
]
ChatId = Annotated[
    bytes,
    Meta(
        min_length=limits.CHAT_ID_BYTES,
        max_length=limits.CHAT_ID_BYTES,
        description="Chat id, 32 bytes: the MLS group id, made at random by the device that creates the chat.",
    ),
]
MessageId = Annotated[
    bytes,
    Meta(
        min_length=limits.MESSAGE_ID_BYTES,
        max_length=limits.MESSAGE_ID_BYTES,
        description="Made at random by the sender, 16 bytes: the idempotency key of what it sends in one chat.",
    ),
]
Position = Annotated[
    int,
    Meta(
        ge=0, le=limits.POSITION_MAX, description="Place in the chat's log: 1, 2, 3, ... without gaps; 0 is before it."
    ),
]
ChatKind = Annotated[
    Literal["private", "group"],
    Meta(description="A private chat never holds more than two accounts; a group chat may."),
]
MLSBytes = Annotated[
    bytes,
    Meta(
        min_length=1,
        max_length=limits.MESSAGE_BYTES_MAX,
        description="MLSMessage with a PrivateMessage of content type application or proposal.",
    ),
]
CommitBytes = Annotated[
    bytes,
    Meta(
        min_length=1,
        max_length=limits.COMMIT_BYTES_MAX,
        description="MLSMessage with a PrivateMessage of content type commit.",
    ),
]
WelcomeBytes = Annotated[
    bytes, Meta(min_length=1, max_length=limits.WELCOME_BYTES_MAX, description="MLSMessage with a Welcome.")
]
LogBytes = Annotated[
    bytes, Meta(max_length=limits.COMMIT_BYTES_MAX, description="The MLSMessage as its sender gave it.")
]
ItemId = Annotated[int, Meta(ge=1, le=2**63 - 1, description="Id of an inbox item, unique for the device.")]


class ChatDevice(Struct, frozen=True, forbid_unknown_fields=True):
    """A device and the account it belongs to."""

    account_id: AccountId
    device_id: DeviceId


class CreateChat(Struct, frozen=True, forbid_unknown_fields=True, tag_field="t", tag="create_chat"):
    """Open a chat at epoch 0 with the calling device as its only member."""

    message_id: MessageId
    chat_id: ChatId
    kind: ChatKind


class Send(Struct, frozen=True, forbid_unknown_fields=True, tag_field="t", tag="send"):
    """Append an application message or a proposal to the chat's log."""

    message_id: MessageId
    chat_id: ChatId
    message: MLSBytes


class Commit(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="t", tag="commit"):
    """Append a commit; the first one of an epoch wins. Members and Welcomes change with it or not at all."""

    message_id: MessageId
    chat_id: ChatId
    message: CommitBytes
    welcome: WelcomeBytes | None = None
    added: Annotated[
        list[ChatDevice],
        Meta(
            max_length=limits.MEMBERS_PER_COMMIT_MAX,
            description="Devices this commit adds; each finds the Welcome in its inbox.",
        ),
    ] = []
    removed: Annotated[
        list[DeviceId],
        Meta(
            max_length=limits.MEMBERS_PER_COMMIT_MAX,
            description="Devices this commit removes; it is the last entry they get.",
        ),
    ] = []


class Ack(Struct, frozen=True, forbid_unknown_fields=True, tag_field="t", tag="ack"):
    """The device has persisted everything of the chat up to and including `position`."""

    chat_id: ChatId
    position: Position


class InboxAck(Struct, frozen=True, forbid_unknown_fields=True, tag_field="t", tag="inbox_ack"):
    """The device has persisted the inbox item; the server forgets it."""

    item_id: ItemId


class Accepted(Struct, frozen=True, forbid_unknown_fields=True, tag_field="t", tag="accepted"):
    """Durable on disk. A resend of the same request gets the same answer. `position` is 0 for `CreateChat`."""

    message_id: MessageId
    chat_id: ChatId
    position: Position


class Refused(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="t", tag="refused"):
    """Nothing changed. `head` is the chat's newest position, 0 if the device may not know it."""

    message_id: MessageId
    chat_id: ChatId
    code: Code
    detail: Annotated[str, Meta(max_length=limits.DETAIL_CHARACTERS_MAX, description="For people; may change.")]
    head: Position


class Message(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="t", tag="message"):
    """One entry of a chat's log. Every member device gets every entry, its own included."""

    chat_id: ChatId
    position: Position
    message_id: MessageId
    received_at_ms: Annotated[int, Meta(ge=0, le=2**63 - 1, description="Server's clock, Unix milliseconds.")]
    message: LogBytes


class InboxItem(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="t", tag="inbox_item"):
    """Something for this device alone. A Welcome: the device's log of that chat starts after `position`."""

    item_id: ItemId
    kind: Annotated[Literal["welcome"], Meta(description="What `message` is.")]
    chat_id: ChatId
    chat_kind: ChatKind
    position: Position
    message: WelcomeBytes


class KeyPackages(Struct, frozen=True, forbid_unknown_fields=True, tag_field="t", tag="key_packages"):
    """How many one-time key packages the server still holds for this device: upload more when it runs low."""

    one_time_left: Annotated[int, Meta(ge=0, description="One-time key packages that are not yet given out.")]


class CaughtUp(Struct, frozen=True, forbid_unknown_fields=True, tag_field="t", tag="caught_up"):
    """Sent once: everything that waited when the device connected has been sent before this frame."""


class Problem(Struct, frozen=True, forbid_unknown_fields=True, tag_field="t", tag="problem"):
    """The server could not understand a frame; it closes the socket (1008) after this one."""

    code: Code
    detail: Annotated[str, Meta(max_length=limits.DETAIL_CHARACTERS_MAX, description="For people; may change.")]


ClientFrame = CreateChat | Send | Commit | Ack | InboxAck
ServerFrame = Accepted | Refused | Message | InboxItem | KeyPackages | CaughtUp | Problem
ClientFrames = Annotated[list[ClientFrame], Meta(max_length=limits.STREAM_FRAMES_MAX)]
ServerFrames = list[ServerFrame]
