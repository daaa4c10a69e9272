"""Answers to a server's challenge."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import AuthenticationError, DecodeError
from crypto.identity.sessions import SessionAnswer, answer_challenge, verify_session_answer
from crypto.identity.signing import SignedLabel, sign_object
from tests.crypto.identities import key_pair, secret

VECTORS = json.loads((Path(__file__).parent / "data" / "identity.json").read_text())
URL = "https://desk.example.org"
DEVICE = key_pair("vector device")
CHALLENGE = secret("challenge").reveal()


@given(st.text(max_size=100), st.binary(min_size=32, max_size=32))
def test_an_answer_holds_for_its_server_and_challenge(url: str, challenge: bytes) -> None:
    signature = answer_challenge(DEVICE, url, challenge)
    assert len(signature) == 64
    verify_session_answer(DEVICE.public, url, challenge, signature)


@pytest.mark.parametrize(
    "device, url, challenge",
    [
        (key_pair("another device").public, URL, CHALLENGE),
        (DEVICE.public, "https://evil.example.org", CHALLENGE),
        (DEVICE.public, URL + "/", CHALLENGE),
        (DEVICE.public, "", CHALLENGE),
        (DEVICE.public, URL, secret("another challenge").reveal()),
        (b"", URL, CHALLENGE),
        (DEVICE.public[:31], URL, CHALLENGE),
    ],
)
def test_a33_an_answer_holds_for_no_other_key_server_or_challenge(device: bytes, url: str, challenge: bytes) -> None:
    with pytest.raises(AuthenticationError):
        verify_session_answer(device, url, challenge, answer_challenge(DEVICE, URL, CHALLENGE))


def test_answer_that_names_another_device_is_refused() -> None:
    """The right key over another device's id: what a server with two records of one key would be shown."""
    unsigned = SessionAnswer(URL.encode(), bytes(20), CHALLENGE, b"")
    forged = sign_object(DEVICE, SignedLabel.SESSION_ANSWER, unsigned).signature
    with pytest.raises(AuthenticationError):
        verify_session_answer(DEVICE.public, URL, CHALLENGE, forged)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_challenges_of_other_sizes_are_neither_answered_nor_taken(size: int) -> None:
    with pytest.raises(DecodeError, match="32 bytes"):
        answer_challenge(DEVICE, URL, bytes(size))
    with pytest.raises(DecodeError, match="32 bytes"):
        verify_session_answer(DEVICE.public, URL, bytes(size), bytes(64))


@pytest.mark.parametrize("size", [0, 1, 63, 65, 128])
def test_a42_signatures_of_other_sizes_are_refused(size: int) -> None:
    signature = (answer_challenge(DEVICE, URL, CHALLENGE) * 2)[:size]
    with pytest.raises(AuthenticationError):
        verify_session_answer(DEVICE.public, URL, CHALLENGE, signature)


@given(st.binary(max_size=128))
def test_random_signatures_are_refused(signature: bytes) -> None:
    with pytest.raises(AuthenticationError):
        verify_session_answer(DEVICE.public, URL, CHALLENGE, signature)


def test_signature_stays_as_it_is() -> None:
    assert answer_challenge(DEVICE, URL, CHALLENGE).hex() == VECTORS["session_answer"]
