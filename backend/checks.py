"""The server's checks on what clients publish, from `crypto.public`, with its errors turned into refusals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from backend.errors import ProblemError
from crypto import public
from protocol.codes import Code


@contextmanager
def _refused(what: str) -> Iterator[None]:
    try:
        yield
    except public.CryptoError as error:
        # These texts speak of structure and rules; what they judge is public.
        raise ProblemError(Code.INVALID_OBJECT, f"{what}: {error}") from error


def message_header(message: bytes) -> public.MessageHeader:
    """Group id, epoch and content type of a PrivateMessage. Raises `ProblemError` invalid_object."""
    with _refused("message"):
        return public.parse_message_header(message)


def welcome_count(welcome: bytes) -> int:
    """How many new members a Welcome is for. Raises `ProblemError` invalid_object."""
    with _refused("welcome"):
        return len(public.parse_welcome(welcome).key_package_refs)


def account(
    signing_key_certificate: bytes, device_certificates: Sequence[bytes], device_list: bytes
) -> public.VerifiedAccount:
    """An account's chain from root to devices. Raises `ProblemError` invalid_object."""
    with _refused("account"):
        return public.verify_account(signing_key_certificate, device_certificates, device_list)


def key_package(message: bytes, certificate: bytes, now: int) -> public.KeyPackageHeader:
    """A key package of the device that `certificate` is about. Raises `ProblemError` invalid_object."""
    with _refused("key package"):
        return public.verify_key_package(message, public.parse_device_certificate(certificate), now)


def session_answer(device_key: bytes, server_url: str, challenge: bytes, signature: bytes) -> None:
    """The device's signature over our URL and challenge. Raises `ProblemError` unauthenticated."""
    try:
        public.verify_session_answer(device_key, server_url, challenge, signature)
    except public.CryptoError as error:
        raise ProblemError(Code.UNAUTHENTICATED, "the challenge is not answered by this device") from error
