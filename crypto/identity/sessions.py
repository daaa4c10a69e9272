"""Device sessions: a device proves to a server that it holds its key, for one challenge of that server.

The signature covers the server's public URL, so that an evil server cannot pass another server's challenge on and log
in there with the answer; the device's id, so that an answer stands for one device; and the challenge, which the server
takes once. Owns the signature only; that a challenge is fresh and used once is the server's part.
"""

from __future__ import annotations

from typing import Annotated

from crypto.errors import DecodeError
from crypto.identity.accounts import device_id_of
from crypto.identity.signing import Id, Signature, SignedLabel, sign_object, verify_object
from crypto.suites import SignatureKeyPair
from crypto.wire import Fixed, struct

CHALLENGE_SIZE = 32
"""Bytes of a challenge, drawn at random by the server."""


@struct
class SessionAnswer:
    """What the device signs. Only the signature travels: the server knows the rest."""

    server_url: bytes
    device_id: Id
    challenge: Annotated[bytes, Fixed(CHALLENGE_SIZE)]
    signature: Signature


def answer_challenge(device: SignatureKeyPair, server_url: str, challenge: bytes) -> bytes:
    """Sign a challenge for the server at `server_url`: 64 bytes.

    `server_url` is what the client was told to connect to, never what a server says of itself; it counts to the
    letter, so both sides write it without a slash at the end. Raises `DecodeError` unless the challenge is 32 bytes.
    """
    return sign_object(device, SignedLabel.SESSION_ANSWER, _answer(device.public, server_url, challenge, b"")).signature


def verify_session_answer(device_key: bytes, server_url: str, challenge: bytes, signature: bytes) -> None:
    """Raise `AuthenticationError` unless the device answered this challenge for this server.

    Raises `DecodeError` if the challenge is not 32 bytes.
    """
    verify_object(device_key, SignedLabel.SESSION_ANSWER, _answer(device_key, server_url, challenge, signature))


def _answer(device_key: bytes, server_url: str, challenge: bytes, signature: bytes) -> SessionAnswer:
    if len(challenge) != CHALLENGE_SIZE:
        raise DecodeError(f"a challenge is {CHALLENGE_SIZE} bytes, not {len(challenge)}")
    return SessionAnswer(server_url.encode(), device_id_of(device_key), challenge, signature)
