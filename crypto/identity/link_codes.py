"""What stands on the screens while a device is linked: the typed code, the text in the QR code, the short string.

The typed code is ten characters, shown as two groups of five::

    mailbox (4) || secret (5) || check (1)

The mailbox says where the offer lies, and the server knows it. The secret, 25 bits, goes from screen to person to
keyboard and through no server. The alphabet is Crockford's base32, without I, L, O and U; whoever types I, L or O is
understood. The check is a sum over GF(32): every single wrong character, and every two that changed places, are
noticed before anything is sent. The QR code holds the same code, the server's URL and the hash of the offer.

Owns texts, not what they prove: that is for `linking`.
"""

from __future__ import annotations

import base64
import os
import re
import unicodedata
from dataclasses import dataclass
from typing import Annotated

from crypto.errors import DecodeError, IdentityError, Unsupported
from crypto.secret import Secret
from crypto.wire import Fixed, Uint8, decode, encode, struct

LINK_VERSION = 1
"""Of the offer and of the QR code: what a device of another version says is not understood."""

MAILBOX_SIZE = 4
"""Characters of a mailbox: 20 bits, enough that the few offers of ten minutes seldom meet."""

SECRET_SIZE = 5
"""Characters of a code's secret: 25 bits, for one guess per offer (see `linking`)."""

CODE_SIZE = MAILBOX_SIZE + SECRET_SIZE + 1
"""Characters of a whole code, without the hyphen."""

SHORT_STRING_SIZE = 8
"""Characters of a short string, without the hyphen: 40 bits."""

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_MISTAKEN = str.maketrans("ILO", "110")
_BETWEEN = re.compile(r"[\s\u2010-\u2015-]")
_TYPED_MAX = 100
_QR_PREFIX = "SEALDESK-LINK:"
_QR_MAX = 1_000


@dataclass(frozen=True, slots=True)
class LinkCode:
    """A code that adds up. `mailbox` is 4 characters; `secret` 5, in ASCII."""

    mailbox: str
    secret: Secret


@struct
class LinkScan:
    """What the QR code says: the server's public URL, the whole code in ASCII, and the hash of the offer."""

    version: Uint8
    server_url: bytes
    code: Secret
    offer_hash: Annotated[bytes, Fixed(32)]

    @property
    def link_code(self) -> LinkCode:
        """The code, which `parse_link_scan` has found to add up."""
        return parse_link_code(self.code.reveal().decode())


def generate_link_code() -> LinkCode:
    """A fresh code. Whether its mailbox is free the server says; if not, take another code and another offer."""
    drawn = "".join(_ALPHABET[byte & 31] for byte in os.urandom(MAILBOX_SIZE + SECRET_SIZE))
    return _split(drawn)


def format_link_code(code: LinkCode) -> str:
    """The code as people see it: two groups of five. It is secret: on the new device's screen and nowhere else."""
    whole = _whole(code)
    return f"{whole[:5]}-{whole[5:]}"


def parse_link_code(text: str) -> LinkCode:
    """What a person typed; capitals, spaces and hyphens do not matter. Raises `IdentityError` and repeats nothing."""
    typed = normalise_typed(text)
    if len(typed) != CODE_SIZE:
        raise IdentityError(f"a code has {CODE_SIZE} characters: look at the new device again")
    if not set(typed) <= set(_ALPHABET):
        raise IdentityError("a code has no such character: look at the new device again")
    if _checksum(typed) != 0:
        raise IdentityError("the code does not add up: look at the new device again")
    return _split(typed)


def format_link_scan(server_url: str, code: LinkCode, offer_hash: bytes) -> str:
    """The text of the QR code, in the characters of its compact mode. It is secret as the code is."""
    scan = LinkScan(LINK_VERSION, server_url.encode(), Secret(_whole(code).encode()), offer_hash)
    return _QR_PREFIX + base64.b32encode(encode(scan)).decode().rstrip("=")


def parse_link_scan(text: str, server_url: str) -> LinkScan:
    """What the camera read, on a device of an account at the server of that public URL.

    Raises `DecodeError` for another kind of QR code, `Unsupported` for another version's, and `IdentityError` if the
    new device speaks with another server.
    """
    if len(text) > _QR_MAX or not text.startswith(_QR_PREFIX):
        raise DecodeError("not the QR code of a device that is to be linked")
    spelled = text.removeprefix(_QR_PREFIX)
    try:
        encoded = base64.b32decode(spelled + "=" * (-len(spelled) % 8))
    except ValueError:
        raise DecodeError("not the QR code of a device that is to be linked") from None
    check_link_version(encoded)
    scan = decode(LinkScan, encoded)
    check_server(scan.server_url, server_url)
    try:
        parse_link_code(scan.code.reveal().decode("ascii"))
    except UnicodeDecodeError:
        raise DecodeError("the QR code holds no code") from None
    return scan


def format_short_string(bits: bytes) -> str:
    """40 bits as people compare them: two groups of four."""
    number = int.from_bytes(bits, "big")
    characters = "".join(_ALPHABET[number >> 5 * place & 31] for place in reversed(range(SHORT_STRING_SIZE)))
    return f"{characters[:4]}-{characters[4:]}"


def normalise_typed(text: str) -> str:
    """What was meant by what was typed: capitals, no spaces or hyphens, the digits for the letters like them."""
    if len(text) > _TYPED_MAX:
        return ""
    return _BETWEEN.sub("", unicodedata.normalize("NFKC", text)).upper().translate(_MISTAKEN)


def check_link_version(encoded: bytes) -> None:
    """Raise `Unsupported` if the first byte says that another version made this, so that the person is told to update.

    To be called before decoding: another version may have other fields.
    """
    if encoded[:1] not in (b"", bytes([LINK_VERSION])):
        raise Unsupported("the two devices have different versions of Sealdesk: update both")


def check_server(named: bytes, server_url: str) -> None:
    """Raise `IdentityError` unless both devices speak with one server."""
    if named != server_url.encode():
        raise IdentityError("the new device speaks with another server than this one")


def _whole(code: LinkCode) -> str:
    first = code.mailbox + code.secret.reveal().decode()
    return first + _ALPHABET[_times_alpha(_checksum(first))]


def _split(characters: str) -> LinkCode:
    secret = characters[MAILBOX_SIZE : MAILBOX_SIZE + SECRET_SIZE]
    return LinkCode(characters[:MAILBOX_SIZE], Secret(secret.encode()))


def _checksum(characters: str) -> int:
    """The sum of character times alpha^place, from the last place, over GF(32): zero for a whole code.

    alpha has 31 different powers, so no single change and no exchange of two characters keeps the sum.
    """
    total = 0
    for character in characters:
        total = _times_alpha(total) ^ _ALPHABET.index(character)
    return total


def _times_alpha(element: int) -> int:
    """Multiply by alpha, a root of x^5 + x^2 + 1."""
    doubled = element << 1
    return doubled ^ 0b100101 if doubled & 0b100000 else doubled
