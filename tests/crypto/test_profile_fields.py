"""Fields: what each type takes, and that a sealed field opens as itself alone and shows nothing of itself."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import hmac
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_aead_chacha20poly1305_ietf_encrypt

from crypto.errors import AuthenticationError, DecodeError
from crypto.profile import FILE_BYTES_MAX, SEALED_FIELD_SIZE, TEXT_BYTES_MAX, FieldType, SealedField, TextValue
from crypto.profile import fields as module
from crypto.profile.fields import (
    AnyFieldValue,
    FieldValue,
    FileValue,
    encode_field_name,
    generate_field_id,
    generate_field_key,
    generate_field_salt,
    open_field,
    seal_field,
    text_value,
)
from crypto.secret import Secret
from crypto.wire import decode, decode_as, encode, encode_as
from tests.crypto.identities import secret
from tests.crypto.profiles import scan

VECTORS = json.loads((Path(__file__).parent / "data" / "profile.json").read_text())
KEY, SALT = secret("field key"), secret("salt").reveal()
ALICE, BOB = b"a" * 20, b"b" * 20
FIELD, OTHER = b"f" * 16, b"o" * 16

GOOD = {
    FieldType.NAME: ["Ada", "Ada Lovelace", "毛利 蘭", "ب\u200cن", "n" * 200],
    FieldType.TEXT: ["x", "two\nlines", "with\n\na gap", "t" * TEXT_BYTES_MAX],
    FieldType.DATE: ["1990-01-31", "2000-02-29", "2024-02-29", "0001-01-01", "9999-12-31", "2025-04-30"],
    FieldType.PHONE: ["+4915112345678", "+1234567", "+123456789012345"],
    FieldType.EMAIL: ["a@b.de", "ada.lovelace+x@mail.example.org", "é@exämple.org", "l" * 64 + "@example.org"],
    FieldType.ADDRESS: ["1 High Street\nLondon", "a" * 500],
}
BAD = {
    FieldType.NAME: ["", "two\nlines", "n" * 201, "\u202egnirts", "\u3164", "a\x00"],
    FieldType.TEXT: ["", "t" * (TEXT_BYTES_MAX + 1), "a\x1b[2J", "line\nturned \u2066round", "\ue000"],
    FieldType.DATE: [
        "", "31.01.1990", "1990-1-31", "1990-00-01", "1990-13-01", "1990-01-00", "1990-01-32", "1990-04-31",
        "1900-02-29", "2023-02-29", "0000-01-01", "1990-01-31x", "1990-01-\uff11",
    ],
    FieldType.PHONE: ["", "004915112345678", "+0123456789", "+123456", "+1234567890123456", "+49 151 123",
                      "+49-1511234"],
    FieldType.EMAIL: ["", "ada", "@b.de", "a@", "a@b", "a@b@c.de", "a b@c.de", "a@b..de", "a@.de", "a@b.de.",
                      "l" * 65 + "@example.org", "a@" + "d" * 250 + ".de"],
    FieldType.ADDRESS: ["", "a" * 501, "1 High Street\n\u202enodnoL"],
}  # fmt: skip


def sealed(value: AnyFieldValue, version: int = 3) -> SealedField:
    return seal_field(KEY, ALICE, FIELD, version, value, SALT)


@pytest.mark.parametrize("field_type, text", [(t, text) for t, texts in GOOD.items() for text in texts])
def test_a_good_value_comes_back_as_it_was(field_type: FieldType, text: str) -> None:
    value = text_value(field_type, text)
    assert value.text == text
    assert open_field(KEY, ALICE, sealed(value)) == value


@pytest.mark.parametrize("field_type, text", [(t, text) for t, texts in BAD.items() for text in texts])
def test_a_bad_value_is_refused_when_made_and_when_opened(
    field_type: FieldType, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DecodeError) as refusal:
        text_value(field_type, text)
    assert not text or text not in str(refusal.value), "the error repeats the value"
    with monkeypatch.context() as unchecked:
        unchecked.setattr(module, "_check_text", lambda *_: None)
        planted = sealed(TextValue(field_type, Secret(text.encode())))
    with pytest.raises(DecodeError):
        open_field(KEY, ALICE, planted)


def test_what_a_person_types_is_brought_into_the_one_form() -> None:
    assert text_value(FieldType.TEXT, "  e\u0301 \r\n b ").text == "é\nb"
    assert encode_field_name(" Passport ") == b"Passport"


@pytest.mark.parametrize("utf8", [b"\xff", "e\u0301".encode(), b" Ada", b"Ada ", b"\ned", b"\xed\xa0\x80"])
def test_bytes_in_another_form_are_refused(utf8: bytes) -> None:
    for field_type in (FieldType.NAME, FieldType.TEXT):
        with pytest.raises(DecodeError):
            TextValue(field_type, Secret(utf8))


@pytest.mark.parametrize("text", ["\nabc", "abc\n", "\n"])
def test_a_text_has_no_empty_line_at_an_end(text: str) -> None:
    with pytest.raises(DecodeError, match="empty line"):
        TextValue(FieldType.TEXT, Secret(text.encode()))


@given(st.dates())
def test_every_day_of_the_calendar_is_a_date(day: datetime.date) -> None:
    assert text_value(FieldType.DATE, day.isoformat()).text == day.isoformat()


@given(st.integers(0, 9999), st.integers(0, 13), st.integers(0, 32))
def test_no_other_day_is_a_date(year: int, month: int, day: int) -> None:
    text = f"{year:04}-{month:02}-{day:02}"
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        with pytest.raises(DecodeError, match="no such day"):
            text_value(FieldType.DATE, text)
    else:
        assert text_value(FieldType.DATE, text).text == text


@pytest.mark.parametrize("field_type", [FieldType.PICTURE, FieldType.DOCUMENT_SCAN])
def test_a_file_is_no_text_and_a_text_no_file(field_type: FieldType) -> None:
    with pytest.raises(DecodeError, match="not a text"):
        text_value(field_type, "scan.png")
    with pytest.raises(DecodeError, match="a picture or a document scan"):
        dataclasses.replace(scan(), type=FieldType.NAME)


@pytest.mark.parametrize("field_type", [FieldType.PICTURE, FieldType.DOCUMENT_SCAN])
@pytest.mark.parametrize("size", [1, FILE_BYTES_MAX])
def test_a_file_comes_back_as_it_was(field_type: FieldType, size: int) -> None:
    value = dataclasses.replace(scan(), type=field_type, size=size)
    assert open_field(KEY, ALICE, sealed(value)) == value


@pytest.mark.parametrize(
    "change",
    [
        {"key": Secret(bytes(31))},
        {"key": Secret(bytes(33))},
        {"size": 0},
        {"size": FILE_BYTES_MAX + 1},
        {"media_type": b""},
        {"media_type": b"text/html"},
        {"media_type": b"image/"},
        {"media_type": b"image/PNG"},
        {"media_type": b"image/png; a=b"},
        {"media_type": b"application/pdf", "type": FieldType.PICTURE},
        {"media_type": b"image/" + b"p" * 95},
    ],
)
def test_a_bad_file_is_refused_when_made_and_when_decoded(change: dict[str, object]) -> None:
    with pytest.raises(DecodeError):
        dataclasses.replace(scan(), **change)  # type: ignore[arg-type]  # fields by name
    forged = object.__new__(FileValue)
    for each in dataclasses.fields(FileValue):
        object.__setattr__(forged, each.name, change.get(each.name, getattr(scan(), each.name)))
    with pytest.raises(DecodeError):
        decode_as(FieldValue, encode_as(FieldValue, forged))


def test_media_types_to_the_last_byte() -> None:
    for media_type in (b"image/" + b"p" * 94, b"image/svg+xml", b"application/pdf"):
        assert dataclasses.replace(scan(), media_type=media_type).media_type == media_type


def test_every_field_has_one_size_and_shows_nothing() -> None:
    longest = [text_value(field_type, texts[-1]) for field_type, texts in GOOD.items()]
    for value in [text_value(FieldType.TEXT, "marker-0123"), text_value(FieldType.NAME, "x"), scan(), *longest]:
        made = sealed(value)
        assert len(made.sealed) == SEALED_FIELD_SIZE
        assert b"marker" not in encode(made)


def test_no_value_is_in_a_repr() -> None:
    shown = repr([text_value(FieldType.TEXT, "marker-0123"), scan()])
    assert "marker" not in shown
    assert repr(scan().key.reveal()) not in shown


def test_a20_a_field_opens_in_no_other_place() -> None:
    """Of another account, under another id, as another version, under another key: to the cipher all are the same."""
    made = sealed(text_value(FieldType.NAME, "Ada"))
    with pytest.raises(AuthenticationError):
        open_field(KEY, BOB, made)
    for moved in (dataclasses.replace(made, field_id=OTHER), *(dataclasses.replace(made, version=v) for v in (2, 4))):
        with pytest.raises(AuthenticationError):
            open_field(KEY, ALICE, moved)
    with pytest.raises(AuthenticationError):
        open_field(secret("another key"), ALICE, made)


@given(st.integers(0, SEALED_FIELD_SIZE - 1), st.integers(1, 255))
def test_no_byte_of_a_sealed_field_can_change(place: int, change: int) -> None:
    made = sealed(text_value(FieldType.NAME, "Ada"))
    changed = bytearray(made.sealed)
    changed[place] ^= change
    with pytest.raises(AuthenticationError):
        open_field(KEY, ALICE, dataclasses.replace(made, sealed=bytes(changed)))


def test_a39_a_field_sealed_under_another_label_does_not_open(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as other:
        other.setattr(module, "_LABEL", b"Sealdesk 1.0 LinkPackage")
        made = sealed(text_value(FieldType.NAME, "Ada"))
    with pytest.raises(AuthenticationError):
        open_field(KEY, ALICE, made)


def test_a_sealed_field_is_bound_to_one_key() -> None:
    """The ciphertext of one key with the commitment of another: the tag holds, and it is refused all the same."""
    value = text_value(FieldType.NAME, "Ada")
    mine, other = sealed(value), seal_field(secret("other"), ALICE, FIELD, 3, value, SALT)
    mixed = mine.sealed[:32] + other.sealed[32:64] + mine.sealed[64:]
    for key in (KEY, secret("other")):
        with pytest.raises(AuthenticationError):
            open_field(key, ALICE, dataclasses.replace(mine, sealed=mixed))


@pytest.mark.parametrize("padding", [b"\x01", b"\x00\x01", b"\x00" * 50 + b"x"])
def test_padding_is_zero(padding: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    value = text_value(FieldType.NAME, "Ada")
    with monkeypatch.context() as loose:
        loose.setattr(module, "encode_as", lambda *_: encode_as(FieldValue, value) + padding)
        made = sealed(value)
    with pytest.raises(DecodeError, match="padding"):
        open_field(KEY, ALICE, made)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_has_its_size(size: int) -> None:
    with pytest.raises(DecodeError, match="32 bytes"):
        open_field(Secret(bytes(size)), ALICE, sealed(text_value(FieldType.NAME, "Ada")))


@pytest.mark.parametrize("size", [0, SEALED_FIELD_SIZE - 1, SEALED_FIELD_SIZE + 1])
def test_a42_sealed_fields_of_other_sizes_are_refused(size: int) -> None:
    made = encode(sealed(text_value(FieldType.NAME, "Ada")))
    with pytest.raises(DecodeError):
        decode(SealedField, (made * 2)[: 20 + size])


@pytest.mark.parametrize("name", ["", " ", "n" * 61, "two\nlines", "\u202egnirts"])
def test_bad_names_of_fields_are_refused(name: str) -> None:
    with pytest.raises(DecodeError):
        encode_field_name(name)


def test_ids_keys_and_salts_are_new_each_time() -> None:
    assert len({generate_field_id() for _ in range(50)}) == 50
    assert len({generate_field_key().reveal() for _ in range(50)}) == 50
    assert len({generate_field_salt() for _ in range(50)}) == 50


def test_a_sealed_field_is_what_its_description_says() -> None:
    """HKDF (RFC 5869) spelled out, and libsodium's ChaCha20-Poly1305 in place of OpenSSL's."""
    value = text_value(FieldType.NAME, "Ada Lovelace")
    info = b"\x19Sealdesk 1.0 ProfileField" + ALICE + FIELD + b"\0\0\0\3"
    pseudorandom_key = hmac.digest(SALT, KEY.reveal(), "sha256")
    cipher_key = hmac.digest(pseudorandom_key, info + b"\x01", "sha256")
    commitment = hmac.digest(pseudorandom_key, cipher_key + info + b"\x02", "sha256")
    plaintext = (b"\x01\x01\x0cAda Lovelace").ljust(4096 - 80, b"\0")
    ciphertext = crypto_aead_chacha20poly1305_ietf_encrypt(plaintext, None, bytes(12), cipher_key)
    assert sealed(value) == SealedField(FIELD, 3, SALT + commitment + ciphertext)


def test_a_sealed_field_stays_as_it_is() -> None:
    """Our own vector: another result means that stored profiles no longer open."""
    made = sealed(text_value(FieldType.NAME, "Ada Lovelace"))
    assert hashlib.sha256(encode(made)).hexdigest() == VECTORS["sealed_field_sha256"]
