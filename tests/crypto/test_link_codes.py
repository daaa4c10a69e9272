"""What is typed, scanned and compared while a device is linked."""

from __future__ import annotations

import base64
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import CryptoError, DecodeError, IdentityError, Unsupported
from crypto.identity.link_codes import (
    CODE_SIZE,
    LinkCode,
    LinkScan,
    format_link_code,
    format_link_scan,
    format_short_string,
    generate_link_code,
    normalise_typed,
    parse_link_code,
    parse_link_scan,
)
from crypto.secret import Secret
from crypto.wire import encode
from tests.crypto.links import CODE, URL

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
HASH = bytes(range(32))
CODES = st.builds(
    lambda mailbox, secret: LinkCode(mailbox, Secret(secret.encode())),
    st.text(ALPHABET, min_size=4, max_size=4),
    st.text(ALPHABET, min_size=5, max_size=5),
)


def qr_of(scan: LinkScan) -> str:
    return "SEALDESK-LINK:" + base64.b32encode(encode(scan)).decode().rstrip("=")


@given(CODES)
def test_a_code_is_read_back_from_what_is_shown(code: LinkCode) -> None:
    shown = format_link_code(code)
    assert (len(shown), shown[5]) == (CODE_SIZE + 1, "-")
    assert parse_link_code(shown) == code


def test_a_code_stays_as_it_is() -> None:
    assert format_link_code(CODE) == "7K2QM-9XA46"


def test_codes_are_drawn_anew() -> None:
    codes = [generate_link_code() for _ in range(50)]
    assert len({code.secret.reveal() for code in codes}) > 45
    assert len({code.mailbox for code in codes}) > 45
    assert {len(format_link_code(code)) for code in codes} == {CODE_SIZE + 1}


def test_what_people_mean_is_understood() -> None:
    code = LinkCode("0101", Secret(b"1A0B1"))
    shown = format_link_code(code)
    full_width = "".join(chr(ord(letter) + 0xFEE0) for letter in shown.replace("-", ""))
    for typed in (
        shown.lower(),
        f"  {shown} ",
        shown.replace("-", " "),
        shown.replace("-", "\u2013"),
        shown.replace("0", "O").replace("1", "I"),
        shown.replace("0", "o").replace("1", "l"),
        full_width,
    ):
        assert parse_link_code(typed) == code


@given(CODES, st.data())
def test_every_wrong_character_and_every_exchange_is_noticed(code: LinkCode, data: st.DataObject) -> None:
    characters = list(normalise_typed(format_link_code(code)))
    one, other = data.draw(st.sampled_from(list(itertools.combinations(range(CODE_SIZE), 2))))
    wrong = data.draw(st.sampled_from([c for c in ALPHABET if c != characters[one]]))
    mistyped = [*characters[:one], wrong, *characters[one + 1 :]]
    exchanged = characters.copy()
    exchanged[one], exchanged[other] = exchanged[other], exchanged[one]
    for typed in (mistyped, exchanged):
        if typed != characters:
            with pytest.raises(IdentityError, match="does not add up"):
                parse_link_code("".join(typed))


@pytest.mark.parametrize(
    "typed, text",
    [
        ("", "10 characters"),
        ("7K2QM-9XA4", "10 characters"),
        ("7K2QM-9XA466", "10 characters"),
        ("7K2QM-9XA46" + 100 * " ", "10 characters"),
        ("7K2QM-9XA4U", "no such character"),
        ("7K2QM-9XA4\u00e4", "no such character"),
    ],
)
def test_what_is_no_code_is_said_without_repeating_it(typed: str, text: str) -> None:
    with pytest.raises(IdentityError, match=text) as caught:
        parse_link_code(typed)
    assert "7K2" not in str(caught.value)


@given(st.text(max_size=120))
def test_any_text_is_a_code_or_an_identity_error(text: str) -> None:
    with pytest.raises(IdentityError):
        parse_link_code("U" + text)


@given(CODES, st.binary(min_size=32, max_size=32))
def test_a_qr_code_says_server_code_and_hash(code: LinkCode, offer_hash: bytes) -> None:
    scan = parse_link_scan(format_link_scan(URL, code, offer_hash), URL)
    assert (scan.server_url.decode(), scan.link_code, scan.offer_hash) == (URL, code, offer_hash)


def test_a_qr_code_stays_in_its_compact_mode() -> None:
    assert set(format_link_scan(URL, CODE, HASH)) <= set("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:")


def test_secrets_of_code_and_scan_are_not_shown() -> None:
    scan = parse_link_scan(format_link_scan(URL, CODE, HASH), URL)
    assert "M9XA4" not in f"{CODE!r} {scan!r}"


def test_a_qr_code_of_another_server_is_refused() -> None:
    with pytest.raises(IdentityError, match="another server"):
        parse_link_scan(format_link_scan("https://evil.example.org", CODE, HASH), URL)


def test_a_qr_code_of_another_version_says_what_to_do() -> None:
    with pytest.raises(Unsupported, match="update"):
        parse_link_scan(qr_of(LinkScan(2, URL.encode(), Secret(b"7K2QM9XA46"), HASH)), URL)


@pytest.mark.parametrize("code", [b"", b"7K2QM9XA4D", b"7K2QM9XA467", b"7K2QM9XA4\xff"])
def test_a_qr_code_without_a_whole_code_is_refused(code: bytes) -> None:
    with pytest.raises(CryptoError):
        parse_link_scan(qr_of(LinkScan(1, URL.encode(), Secret(code), HASH)), URL)


@pytest.mark.parametrize(
    "text",
    ["", "https://desk.example.org", "SEALDESK-LINK:", "SEALDESK-LINK:1", "SEALDESK-LINK:\u00e4", "SEALDESK-LINK:AE"],
)
def test_another_qr_code_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        parse_link_scan(text, URL)


def test_an_endless_qr_code_is_refused_unread() -> None:
    with pytest.raises(DecodeError, match="not the QR code"):
        parse_link_scan("SEALDESK-LINK:" + 1_000 * "A", URL)


@given(st.text(max_size=200))
def test_any_text_is_a_qr_code_or_a_named_error(text: str) -> None:
    with pytest.raises(CryptoError):
        parse_link_scan(text, URL)
    with pytest.raises(CryptoError):
        parse_link_scan("SEALDESK-LINK:" + text, URL)


def test_a_short_string_is_40_bits_in_two_groups_of_four() -> None:
    assert format_short_string(bytes(5)) == "0000-0000"
    assert format_short_string(b"\xff" * 5) == "ZZZZ-ZZZZ"
    assert format_short_string((1).to_bytes(5, "big")) == "0000-0001"
    assert format_short_string((31 << 35).to_bytes(5, "big")) == "Z000-0000"
