"""What people say to each other about profiles: grants, requests and answers, as the content of messages in a chat.

MLS gives these their secrecy and their sender; sending them is the client's part. They are variants of one union, so
that none of them reads as another, and none says who sent it: that is the leaf's credential.
"""

from __future__ import annotations

import os
from enum import IntEnum
from typing import Annotated

from crypto.errors import DecodeError, IdentityError
from crypto.identity.signing import Id
from crypto.profile.fields import FieldId, FieldType, check_field_key, check_field_name
from crypto.profile.manifest import FIELDS_MAX
from crypto.secret import Secret
from crypto.texts import decode_line
from crypto.wire import Fixed, Max, Select, Uint, Uint32, decode_as, encode_as, struct, variant

REQUESTED_MAX = 16
"""Most fields in one request: as many as a person reads before answering."""

REASON_BYTES_MAX = 300

RequestId = Annotated[bytes, Fixed(16)]


@struct
class FieldGrant:
    """One field shown: its key, and the least that the receiver may take for it.

    `version` is the field's, and the versions of signing key and manifest tell which manifest it was taken from. Name
    and type are the owner's words.
    """

    account_id: Id
    field_id: FieldId
    version: Uint32
    key: Secret
    name: bytes
    type: Annotated[FieldType, Uint(1)]
    signing_key_version: Uint32
    manifest_version: Uint32

    def __post_init__(self) -> None:
        check_field_key(self.key)
        check_field_name(self.name)

    @property
    def moment(self) -> tuple[int, int]:
        """Versions of signing key and manifest, to be compared with `VerifiedManifest.moment`."""
        return self.signing_key_version, self.manifest_version


@variant(1)
class GrantMessage:
    """Fields shown to everybody who reads this message."""

    grants: Annotated[tuple[FieldGrant, ...], Max(FIELDS_MAX)]


@struct
class RequestedField:
    """A field that somebody asks for, in the words of who asks."""

    name: bytes
    type: Annotated[FieldType, Uint(1)]

    def __post_init__(self) -> None:
        check_field_name(self.name)


@variant(2)
class FieldRequest:
    """The sender asks `account_id`, a member of the chat, for some fields. `reason` is one line, and may be empty."""

    request_id: RequestId
    account_id: Id
    reason: bytes
    fields: Annotated[tuple[RequestedField, ...], Max(REQUESTED_MAX)]

    def __post_init__(self) -> None:
        decode_line(self.reason, REASON_BYTES_MAX)
        if not 1 <= len(self.fields) <= REQUESTED_MAX:
            raise DecodeError(f"a request asks for 1 to {REQUESTED_MAX} fields")
        if len({field.name for field in self.fields}) != len(self.fields):
            raise DecodeError("a request asks for one field twice")


class Answer(IntEnum):
    """What was said to one field of a request. A yes comes with a grant, in a message of its own."""

    NO = 0
    YES = 1


@variant(3)
class FieldAnswer:
    """The answers to a request, in the order of its fields."""

    request_id: RequestId
    answers: Annotated[tuple[Annotated[Answer, Uint(1)], ...], Max(REQUESTED_MAX)]


AnyProfileMessage = GrantMessage | FieldRequest | FieldAnswer
ProfileMessage = Annotated[AnyProfileMessage, Select(1)]


def encode_profile_message(message: AnyProfileMessage) -> Secret:
    """The content of a message in a chat; secret, because a grant's keys are in it."""
    return Secret(encode_as(ProfileMessage, message))


def decode_profile_message(content: bytes) -> AnyProfileMessage:
    """What a member said. Raises `DecodeError`."""
    message: AnyProfileMessage = decode_as(ProfileMessage, content)
    return message


def generate_request_id() -> bytes:
    """16 random bytes that an answer names."""
    return os.urandom(16)


def check_request(request: FieldRequest, account_id: bytes) -> None:
    """Raise `IdentityError` unless this account is the one that is asked."""
    if request.account_id != account_id:
        raise IdentityError("the request asks somebody else")


def accepted_fields(request: FieldRequest, answer: FieldAnswer, sender_account_id: bytes) -> tuple[RequestedField, ...]:
    """The fields of our request to which its receiver said yes. `sender_account_id` is of the answer's verified leaf.

    Raises `IdentityError` for an answer by somebody else, and `DecodeError` for one that does not fit the request.
    """
    if sender_account_id != request.account_id:
        raise IdentityError("the answer comes from somebody who was not asked")
    if answer.request_id != request.request_id or len(answer.answers) != len(request.fields):
        raise DecodeError("the answer does not fit the request")
    return tuple(field for field, said in zip(request.fields, answer.answers, strict=True) if said is Answer.YES)
