"""Personal information: encrypted profile fields, each shown to whom its owner chooses.

- `fields`: the types, what they may hold, and a field sealed under its own key;
- `manifest`: which fields a profile has at which version, signed;
- `own`: the owner's keys, and every change of a field;
- `messages`: grants, requests and answers as the content of messages;
- `grants`: showing a field, and opening what was shown;
- `grant_book`: the owner's record of who was shown what, and revocation.

The server stores sealed fields of one size under opaque ids, with versions and a signed manifest. It learns how many
fields there are and when they change, and nothing else of them.
"""

from __future__ import annotations

from crypto.profile.fields import (
    FIELD_NAME_BYTES_MAX,
    FILE_BYTES_MAX,
    SEALED_FIELD_SIZE,
    TEXT_BYTES_MAX,
    AnyFieldValue,
    FieldType,
    FileValue,
    SealedField,
    TextValue,
    encode_field_name,
    text_value,
)
from crypto.profile.grant_book import (
    AnyAudience,
    Chat,
    GrantBook,
    GrantRecord,
    Person,
    Revocation,
    RoleInChat,
    revoke,
)
from crypto.profile.grants import AcceptedGrant, accept_grant, make_grants, newer_grant, open_granted
from crypto.profile.manifest import (
    FIELDS_MAX,
    FieldEntry,
    ProfileManifest,
    VerifiedManifest,
    check_field,
    check_profile,
    sign_manifest,
    verify_manifest,
)
from crypto.profile.messages import (
    REASON_BYTES_MAX,
    REQUESTED_MAX,
    Answer,
    FieldAnswer,
    FieldGrant,
    FieldRequest,
    GrantMessage,
    RequestedField,
    accepted_fields,
    check_request,
    decode_profile_message,
    encode_profile_message,
    generate_request_id,
)
from crypto.profile.own import (
    FieldKey,
    OwnField,
    ProfileKeys,
    decode_profile_keys,
    encode_profile_keys,
    open_own_profile,
    remove_field,
    rotate_field,
    set_field,
)

__all__ = [
    "FIELDS_MAX",
    "FIELD_NAME_BYTES_MAX",
    "FILE_BYTES_MAX",
    "REASON_BYTES_MAX",
    "REQUESTED_MAX",
    "SEALED_FIELD_SIZE",
    "TEXT_BYTES_MAX",
    "AcceptedGrant",
    "Answer",
    "AnyAudience",
    "AnyFieldValue",
    "Chat",
    "FieldAnswer",
    "FieldEntry",
    "FieldGrant",
    "FieldKey",
    "FieldRequest",
    "FieldType",
    "FileValue",
    "GrantBook",
    "GrantMessage",
    "GrantRecord",
    "OwnField",
    "Person",
    "ProfileKeys",
    "ProfileManifest",
    "RequestedField",
    "Revocation",
    "RoleInChat",
    "SealedField",
    "TextValue",
    "VerifiedManifest",
    "accept_grant",
    "accepted_fields",
    "check_field",
    "check_profile",
    "check_request",
    "decode_profile_keys",
    "decode_profile_message",
    "encode_field_name",
    "encode_profile_keys",
    "encode_profile_message",
    "generate_request_id",
    "make_grants",
    "newer_grant",
    "open_granted",
    "open_own_profile",
    "remove_field",
    "revoke",
    "rotate_field",
    "set_field",
    "sign_manifest",
    "text_value",
    "verify_manifest",
]
