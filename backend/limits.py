"""Every maximum that is the server's own business. What clients must know too is in `protocol.limits`."""

from __future__ import annotations

from typing import Final

from protocol import limits as wire

# Bodies over HTTP. Base64 makes three bytes four; a body holds a few short fields beside the large ones.
_ENVELOPE_BYTES: Final = 4_096


def _as_base64(size_bytes: int) -> int:
    return 4 * -(-size_bytes // 3) + _ENVELOPE_BYTES


BODY_BYTES_MAX: Final = _as_base64(wire.DEVICE_LIST_BYTES_MAX + 3 * wire.CERTIFICATE_BYTES_MAX)
KEY_PACKAGES_BODY_BYTES_MAX: Final = _as_base64(
    (wire.KEY_PACKAGES_PER_UPLOAD_MAX + 1) * (wire.KEY_PACKAGE_BYTES_MAX + 8)
)
MESSAGE_BODY_BYTES_MAX: Final = _as_base64(wire.MESSAGE_BYTES_MAX)
COMMIT_BODY_BYTES_MAX: Final = _as_base64(
    wire.COMMIT_BYTES_MAX + wire.WELCOME_BYTES_MAX + wire.MEMBERS_PER_COMMIT_MAX * 120
)

# Sessions.
CHALLENGE_LIFETIME_S: Final = 60
CHALLENGES_MAX: Final = 20_000
"""Open challenges of everybody. Anybody may ask for a challenge, so what nobody answers must not pile up; a newer one
takes the oldest one's place. To push one out before it is answered takes this many requests within a round trip."""
SESSION_LIFETIME_S: Final = 30 * 24 * 3600
SESSIONS_PER_DEVICE_MAX: Final = 8
"""A ninth session ends the oldest one: a client that loses its token on every start cannot fill the table."""

# Key packages.
CLAIMED_KEY_PACKAGES_PER_DEVICE_MAX: Final = 2_000
"""References of packages that were given out, remembered against repeated uploads; beyond it the oldest go."""

# Invitations.
INVITATION_LIFETIME_S: Final = 7 * 24 * 3600

# Group commit: what one transaction takes, and what may wait for the next ones.
BATCH_ITEMS_MAX: Final = 500
BATCH_BYTES_MAX: Final = 32 * 1024 * 1024
WRITER_WAITING_MAX: Final = 20_000
WRITER_WAITING_BYTES_MAX: Final = 128 * 1024 * 1024
TRANSACTION_TRIES_MAX: Final = 3

# The stream, for each socket.
STREAM_BUFFER_BYTES_MAX: Final = 2 * 1024 * 1024
"""Above this much unsent, live messages are no longer queued: the socket reads them from the log when it has room."""
STREAM_BATCH_BYTES: Final = 1024 * 1024
"""What is joined into one WebSocket message. A single frame may be larger."""
STREAM_UNANSWERED_MAX: Final = 2_000
STREAM_UNANSWERED_BYTES_MAX: Final = 16 * 1024 * 1024
"""Requests of one socket that are not answered yet. Above either number the socket is not read."""
STREAM_SEND_TIMEOUT_S: Final = 30
"""A socket that takes nothing for this long is closed; the device connects again and goes on where it was."""
STREAM_CLOSE_GRACE_S: Final = 1
"""What a socket that we close has for what is queued, and then again for the close frame; then it is dropped."""
STREAM_PAGE_ENTRIES: Final = 200
STREAM_PAGE_BYTES: Final = 1024 * 1024
STREAM_INBOX_ITEMS: Final = 16
STREAM_SEEN_ITEMS_MAX: Final = 1_000

# Pages over HTTP: entries are counted by `protocol.limits`; a page also ends after this many bytes.
PAGE_BYTES: Final = 8 * 1024 * 1024
INBOX_ITEMS_PER_PAGE: Final = 16

# Attachments.
ATTACHMENT_CHUNK_BYTES: Final = 256 * 1024
OBJECT_PART_BYTES: Final = 5 * 1024 * 1024
"""A part of a multipart upload: the smallest that S3 takes."""
OBJECT_PARTS_AT_ONCE: Final = 2
ATTACHMENT_IDLE_TIMEOUT_S: Final = 60
"""An upload or download that moves no byte for this long is given up."""
ATTACHMENTS_PER_CHAT_MAX: Final = 100_000

# Connections that the kernel holds until we accept them.
CONNECTIONS_WAITING_MAX: Final = 2_048

# Database.
DATABASE_CONNECTIONS_MAX: Final = 10
DATABASE_COMMAND_TIMEOUT_S: Final = 30
READY_TIMEOUT_S: Final = 3
