"""Sizes that client and server must agree on.

A limit that only the server needs (rates, buffers, timeouts) is in `backend.limits`. Units are in the names.
"""

from __future__ import annotations

from typing import Final

# Identifiers. Accounts and devices are truncated SHA-256 hashes of public keys, the rest is random.
ACCOUNT_ID_BYTES: Final = 20
DEVICE_ID_BYTES: Final = 20
CHAT_ID_BYTES: Final = 32
MESSAGE_ID_BYTES: Final = 16
ATTACHMENT_ID_BYTES: Final = 16
INVITATION_CODE_BYTES: Final = 16
SESSION_TOKEN_BYTES: Final = 32
CHALLENGE_BYTES: Final = 32

# Signed identity objects. A certificate is a few keys and a signature; a device list grows by 20 bytes a device.
CERTIFICATE_BYTES_MAX: Final = 1_024
DEVICE_LIST_BYTES_MAX: Final = 4_096
SIGNATURE_BYTES_MAX: Final = 256
DEVICES_PER_ACCOUNT_MAX: Final = 64

# Key packages. An X-Wing key package is about 3.2 kB: two KEM keys of 1,216 bytes, the credential, two signatures.
KEY_PACKAGE_BYTES_MAX: Final = 8_192
KEY_PACKAGES_PER_UPLOAD_MAX: Final = 100
KEY_PACKAGES_PER_DEVICE_MAX: Final = 200
KEY_PACKAGES_LOW: Final = 20
"""The server says `KeyPackages` when a claim leaves a device with fewer one-time key packages than this."""

# Chats. A Welcome of 1,000 X-Wing members holds a ratchet tree of about 3.3 MB and 1.2 kB for each device it adds.
MESSAGE_BYTES_MAX: Final = 256 * 1024
COMMIT_BYTES_MAX: Final = 4 * 1024 * 1024
WELCOME_BYTES_MAX: Final = 8 * 1024 * 1024
MEMBERS_PER_COMMIT_MAX: Final = 1_000
MEMBERS_PER_CHAT_MAX: Final = 5_000
PRIVATE_CHAT_ACCOUNTS_MAX: Final = 2
POSITION_MAX: Final = 2**62

# Attachments: ciphertext bytes of one object.
ATTACHMENT_BYTES_MAX: Final = 5 * 1024 * 1024 * 1024

# One page of GET /v1/chats/{chat_id}/messages.
MESSAGES_PER_PAGE_MAX: Final = 200
MESSAGES_PER_PAGE_DEFAULT: Final = 100

# The stream.
STREAM_BYTES_MAX: Final = 16 * 1024 * 1024
"""Largest WebSocket message either way: one commit with its Welcome, and their framing, fit."""
STREAM_FRAMES_MAX: Final = 1_000
"""Most frames in one WebSocket message from a client."""
DETAIL_CHARACTERS_MAX: Final = 500
