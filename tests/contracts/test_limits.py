"""Sizes that more than one package states agree, and what one package makes fits what another takes."""

from __future__ import annotations

import base64
import os

import msgspec

from client_lib.content.codec import CONTENT_BYTES_MAX
from client_lib.engine import generate_chat_id, generate_message_id
from crypto.identity import sessions, signing
from crypto.identity.accounts import (
    account_id_of,
    certify_device,
    certify_signing_key,
    device_id_of,
    generate_signature_key_pair,
)
from crypto.identity.device_list import DEVICES_MAX, sign_device_list
from crypto.profile import grant_book
from crypto.profile.fields import ATTACHMENT_ID_SIZE, FILE_BYTES_MAX
from crypto.wire import INPUT_BYTES_MAX, encode
from protocol import api, limits

FAR_FUTURE_S = 2**40


def test_the_sizes_of_ids_and_challenges_are_the_same_everywhere() -> None:
    assert limits.ACCOUNT_ID_BYTES == limits.DEVICE_ID_BYTES == signing.ID_SIZE
    assert len(account_id_of(bytes(32))) == limits.ACCOUNT_ID_BYTES
    assert len(device_id_of(bytes(32))) == limits.DEVICE_ID_BYTES
    assert limits.CHALLENGE_BYTES == sessions.CHALLENGE_SIZE
    assert len(generate_chat_id()) == limits.CHAT_ID_BYTES
    assert ATTACHMENT_ID_SIZE == limits.ATTACHMENT_ID_BYTES
    assert FILE_BYTES_MAX <= limits.ATTACHMENT_BYTES_MAX
    assert grant_book.CHAT_ID_SIZE == limits.CHAT_ID_BYTES
    assert len(generate_message_id()) == limits.MESSAGE_ID_BYTES


def test_an_account_has_as_many_devices_for_the_server_as_for_its_signed_list() -> None:
    assert limits.DEVICES_PER_ACCOUNT_MAX == DEVICES_MAX


def test_the_largest_signed_objects_fit_their_fields() -> None:
    root, signing_key, device = (generate_signature_key_pair() for _ in range(3))
    certificate = certify_signing_key(root, signing_key.public, 2**32 - 1)
    device_certificate = certify_device(signing_key, certificate, device.public, FAR_FUTURE_S)
    device_ids = frozenset(os.urandom(signing.ID_SIZE) for _ in range(DEVICES_MAX))
    device_list = sign_device_list(signing_key, certificate, 2**32 - 1, device_ids, FAR_FUTURE_S)
    assert len(encode(certificate)) <= limits.CERTIFICATE_BYTES_MAX
    assert len(encode(device_certificate)) <= limits.CERTIFICATE_BYTES_MAX
    assert len(encode(device_list)) <= limits.DEVICE_LIST_BYTES_MAX
    answer = sessions.answer_challenge(device, "https://chat.example", bytes(sessions.CHALLENGE_SIZE))
    assert len(answer) <= limits.SIGNATURE_BYTES_MAX


def test_whatever_the_server_relays_can_be_decoded() -> None:
    assert max(limits.COMMIT_BYTES_MAX, limits.WELCOME_BYTES_MAX, limits.MESSAGE_BYTES_MAX) <= INPUT_BYTES_MAX
    assert CONTENT_BYTES_MAX < limits.MESSAGE_BYTES_MAX


def test_a_token_has_the_length_that_its_field_takes() -> None:
    token = base64.urlsafe_b64encode(bytes(limits.SESSION_TOKEN_BYTES)).rstrip(b"=")
    assert msgspec.convert({"token": token.decode(), "expires_at": 0}, api.Session).token == token.decode()
