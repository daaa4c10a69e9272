"""Stable error codes: the same words in problem details over HTTP and in `Refused` and `Problem` on the stream.

A code never changes its meaning and never goes away; a client may branch on it. Texts beside it may change.
"""

from __future__ import annotations

from enum import StrEnum


class Code(StrEnum):
    """What went wrong, for programs. Each member's comment says what the caller should do."""

    MALFORMED = "malformed"
    """The bytes do not decode, or do not fit the declared shape. Fix the caller; a retry gives the same answer."""
    INVALID_OBJECT = "invalid_object"
    """It decodes, but a signature, a binding or a rule does not hold. Changed nothing; do not retry."""
    UNAUTHENTICATED = "unauthenticated"
    """No session, an expired or revoked one, or a challenge answered wrongly. Open a new session."""
    FORBIDDEN = "forbidden"
    """The session is good but may not do this."""
    NOT_FOUND = "not_found"
    """There is no such thing, or it is not yours: the server does not tell which."""
    METHOD_NOT_ALLOWED = "method_not_allowed"
    """The path exists, this method on it does not."""
    STALE_EPOCH = "stale_epoch"
    """The chat is in another epoch. Read the log up to `head`, apply it, make the message again."""
    MESSAGE_ID_REUSED = "message_id_reused"
    """This device already sent other bytes under this message id. Make a new id."""
    PRIVATE_CHAT_FULL = "private_chat_full"
    """A private chat never holds a third account. Make a group chat."""
    ALREADY_EXISTS = "already_exists"
    """Something with this id is there already. For an attachment: the upload of before is complete."""
    LENGTH_REQUIRED = "length_required"
    """An upload must say its size in Content-Length."""
    TOO_LARGE = "too_large"
    """Above a size limit. Send less; a retry gives the same answer."""
    TOO_MANY = "too_many"
    """Above a count or rate limit. Wait, or free what you hold."""
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    """The Content-Type is not what this route takes."""
    UPGRADE_REQUIRED = "upgrade_required"
    """This path is a WebSocket. Ask for the upgrade."""
    INVITATION_INVALID = "invitation_invalid"
    """The invitation is unknown, used or expired. Ask for a new one."""
    KEY_PACKAGES_EXHAUSTED = "key_packages_exhausted"
    """A device of that account has no key package left to give. Try again when it was online."""
    UNAVAILABLE = "unavailable"
    """The server cannot do it now (starting, stopping, database gone). Retry with the same id."""
    INTERNAL = "internal"
    """A fault of the server. Retry later with the same id."""
