"""Profile fields: what each type may hold, and a field sealed under its own key.

A value is checked when it is made and again when it is opened, by the same code. It is padded to one size, whatever it
is, and sealed::

    cipher key (32) || commitment (32) = HKDF-SHA256(salt, key, info = FieldContext)
    sealed = salt (32) || commitment (32) || ChaCha20-Poly1305(cipher key, nonce = 0, padded value)

The context names account, field and version, so a field of another account, another field or an older version does not
open as this one. The salt is random, so a cipher key seals once, also if two devices seal the same version at the same
time. The commitment makes a sealed field open under one key only: the cipher alone would let its owner make one that
shows different values to two readers with different keys.

Personal information is held in a `Secret`, like keys: it is in no repr, log or pickle. Pictures and scans are
attachments (`crypto.attachments`); their field holds what opens them.
"""

from __future__ import annotations

import hmac
import os
import re
from enum import IntEnum
from typing import Annotated

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from crypto.errors import AuthenticationError, DecodeError
from crypto.identity.signing import Id
from crypto.secret import Secret
from crypto.texts import decode_line, encode_line
from crypto.wire import Fixed, Select, Uint, Uint32, Uint64, decode_prefix, encode, encode_as, struct, variant

SEALED_FIELD_SIZE = 4096
"""Bytes of every sealed field, whatever its type and length."""

TEXT_BYTES_MAX = 3_900
"""Bytes of the longest text; what is longer is a document."""

FILE_BYTES_MAX = 256 * 1024 * 1024
"""Bytes of the largest picture or scan."""

FIELD_NAME_BYTES_MAX = 60
FIELD_ID_SIZE = 16
FIELD_KEY_SIZE = 32
ATTACHMENT_ID_SIZE = 16

_SALT_SIZE = 32
_COMMITMENT_SIZE = 32
_TAG_SIZE = 16
_PADDED_SIZE = SEALED_FIELD_SIZE - _SALT_SIZE - _COMMITMENT_SIZE - _TAG_SIZE
_LABEL = b"Sealdesk 1.0 ProfileField"
_NONCE = bytes(12)  # the key seals once

_NAME_BYTES_MAX = 200
_ADDRESS_BYTES_MAX = 500
_EMAIL_BYTES_MAX = 254
_MEDIA_TYPE_BYTES_MAX = 100
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s.]+(\.[^@\s.]+)+")
_PICTURE_TYPE = re.compile(rb"image/[a-z0-9][a-z0-9.+-]*")
_SCAN_TYPE = re.compile(rb"image/[a-z0-9][a-z0-9.+-]*|application/pdf")

FieldId = Annotated[bytes, Fixed(FIELD_ID_SIZE)]


class FieldType(IntEnum):
    """What a field holds; it stays the same for the field's life."""

    NAME = 1
    TEXT = 2
    DATE = 3
    PHONE = 4
    EMAIL = 5
    ADDRESS = 6
    PICTURE = 7
    DOCUMENT_SCAN = 8


@variant(1)
class TextValue:
    """A value of one of the types that are text; `utf8` is its one form. Raises `DecodeError`, also when made."""

    type: Annotated[FieldType, Uint(1)]
    utf8: Secret

    def __post_init__(self) -> None:
        _check_text(self.type, self.utf8.reveal())

    @property
    def text(self) -> str:
        """The value, to be shown."""
        return self.utf8.reveal().decode()


@variant(2)
class FileValue:
    """A picture or a scan: the attachment that holds it. Raises `DecodeError`, also when made.

    `size` is its plaintext's, `content_hash` its ciphertext's SHA-256, as `crypto.attachments` wants them.
    """

    type: Annotated[FieldType, Uint(1)]
    attachment_id: Annotated[bytes, Fixed(ATTACHMENT_ID_SIZE)]
    key: Secret
    content_hash: Annotated[bytes, Fixed(32)]
    size: Uint64
    media_type: bytes

    def __post_init__(self) -> None:
        if len(self.key) != FIELD_KEY_SIZE:
            raise DecodeError(f"an attachment key is {FIELD_KEY_SIZE} bytes, not {len(self.key)}")
        if not 1 <= self.size <= FILE_BYTES_MAX:
            raise DecodeError(f"a picture or scan has 1 to {FILE_BYTES_MAX} bytes")
        _check_media_type(self.type, self.media_type)


AnyFieldValue = TextValue | FileValue
FieldValue = Annotated[AnyFieldValue, Select(1)]


@struct
class FieldContext:
    """What a sealed field is bound to."""

    label: bytes
    account_id: Id
    field_id: FieldId
    version: Uint32


@struct
class SealedField:
    """A field as the server stores it. Nothing in it is authentic before `manifest.check_field` has seen it."""

    field_id: FieldId
    version: Uint32
    sealed: Annotated[bytes, Fixed(SEALED_FIELD_SIZE)]


def text_value(field_type: FieldType, text: str) -> TextValue:
    """A value from what a person typed: composed (NFC), without space around its lines.

    Raises `DecodeError` with a text for that person: it says what the type wants.
    """
    lines = (encode_line(line.strip(), TEXT_BYTES_MAX) for line in text.strip().splitlines())
    return TextValue(field_type, Secret(b"\n".join(lines)))


def encode_field_name(name: str) -> bytes:
    """A field's name in its one form. Raises `DecodeError`."""
    encoded = encode_line(name.strip(), FIELD_NAME_BYTES_MAX)
    check_field_name(encoded)
    return encoded


def check_field_name(name: bytes) -> None:
    """Raise `DecodeError` unless this is one line of 1 to 60 bytes that may be shown."""
    if not decode_line(name, FIELD_NAME_BYTES_MAX):
        raise DecodeError("a field without a name")


def check_field_key(key: Secret) -> None:
    """Raise `DecodeError` unless this is the size of a field's key."""
    if len(key) != FIELD_KEY_SIZE:
        raise DecodeError(f"a field's key is {FIELD_KEY_SIZE} bytes, not {len(key)}")


def generate_field_id() -> bytes:
    """An id that says nothing: 16 random bytes, for the field's life."""
    return os.urandom(FIELD_ID_SIZE)


def generate_field_key() -> Secret:
    """A fresh key, 32 bytes: for a new field, and whenever somebody shall read no further."""
    return Secret(os.urandom(FIELD_KEY_SIZE))


def generate_field_salt() -> bytes:
    """32 random bytes, for one sealing."""
    return os.urandom(_SALT_SIZE)


def seal_field(
    key: Secret, account_id: bytes, field_id: bytes, version: int, value: AnyFieldValue, salt: bytes
) -> SealedField:
    """Seal a value as this version of this field of this account. `salt` is fresh: see `generate_field_salt`."""
    encoded = encode_as(FieldValue, value)
    cipher, commitment = _derive(key, FieldContext(_LABEL, account_id, field_id, version), salt)
    ciphertext = cipher.encrypt(_NONCE, encoded.ljust(_PADDED_SIZE, b"\0"), None)
    return SealedField(field_id, version, salt + commitment + ciphertext)


def open_field(key: Secret, account_id: bytes, sealed: SealedField) -> AnyFieldValue:
    """Open a field of this account. That it is the newest and its owner's, `manifest.check_field` tells.

    Raises `AuthenticationError` under another key, id or version, and `DecodeError` for a value that nobody may make.
    """
    salt, rest = sealed.sealed[:_SALT_SIZE], sealed.sealed[_SALT_SIZE:]
    context = FieldContext(_LABEL, account_id, sealed.field_id, sealed.version)
    cipher, commitment = _derive(key, context, salt)
    if not hmac.compare_digest(rest[:_COMMITMENT_SIZE], commitment):
        raise AuthenticationError
    try:
        padded = cipher.decrypt(_NONCE, rest[_COMMITMENT_SIZE:], None)
    except InvalidTag as error:
        raise AuthenticationError from error
    value: AnyFieldValue
    value, size = decode_prefix(FieldValue, padded)
    if padded.count(0, size) != len(padded) - size:
        raise DecodeError("the padding of a field is not zero")
    return value


def _derive(key: Secret, context: FieldContext, salt: bytes) -> tuple[ChaCha20Poly1305, bytes]:
    check_field_key(key)
    size = FIELD_KEY_SIZE + _COMMITMENT_SIZE
    derived = HKDF(algorithm=SHA256(), length=size, salt=salt, info=encode(context)).derive(key.reveal())
    return ChaCha20Poly1305(derived[:FIELD_KEY_SIZE]), derived[FIELD_KEY_SIZE:]


def _check_text(field_type: FieldType, utf8: bytes) -> None:
    """The errors say what a type wants and never repeat the value."""
    match field_type:
        case FieldType.NAME:
            text = decode_line(utf8, _NAME_BYTES_MAX)
        case FieldType.TEXT:
            text = _decode_lines(utf8, TEXT_BYTES_MAX)
        case FieldType.ADDRESS:
            text = _decode_lines(utf8, _ADDRESS_BYTES_MAX)
        case FieldType.DATE:
            text = decode_line(utf8, 10)
            _check_date(text)
        case FieldType.PHONE:
            text = decode_line(utf8, 16)
            if not _PHONE.fullmatch(text):
                raise DecodeError("a phone number is written as + and 7 to 15 digits, country code first")
        case FieldType.EMAIL:
            text = decode_line(utf8, _EMAIL_BYTES_MAX)
            if not _EMAIL.fullmatch(text):
                raise DecodeError("an e-mail address is written as name@domain")
        case _:
            raise DecodeError("a picture or scan is a file, not a text")
    if not text:
        raise DecodeError("a field is not empty: remove it instead")


def _decode_lines(utf8: bytes, bytes_max: int) -> str:
    if len(utf8) > bytes_max:
        raise DecodeError(f"a text of {len(utf8)} bytes, more than {bytes_max}")
    lines = [decode_line(line, bytes_max) for line in utf8.split(b"\n")]
    if not lines[0] or not lines[-1]:
        raise DecodeError("a text that is empty, or begins or ends with an empty line")
    return "\n".join(lines)


def _check_date(text: str) -> None:
    """A day of the calendar that ISO 8601 uses, `YYYY-MM-DD`, years 0001 to 9999."""
    found = _DATE.fullmatch(text)
    if not found:
        raise DecodeError("a date is written as YYYY-MM-DD")
    year, month, day = map(int, found.groups())
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    days = (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    if year == 0 or not 1 <= month <= 12 or not 1 <= day <= days[month - 1]:
        raise DecodeError("there is no such day")


def _check_media_type(field_type: FieldType, media_type: bytes) -> None:
    match field_type:
        case FieldType.PICTURE:
            known = _PICTURE_TYPE
        case FieldType.DOCUMENT_SCAN:
            known = _SCAN_TYPE
        case _:
            raise DecodeError("a file is a picture or a document scan")
    if len(media_type) > _MEDIA_TYPE_BYTES_MAX or not known.fullmatch(media_type):
        raise DecodeError("a picture's media type is image/..., a scan's also application/pdf")
