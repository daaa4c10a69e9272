"""The organisation's key: the root of all roles. It lies with an admin, encrypted, and never on the server.

The id is a hash of the public key, so it is its fingerprint too: an invitation carries it and thereby pins the key, and
people compare it by eye or by telephone. What a server shows as the organisation's key is believed if it has the id
that was pinned, and for no other reason.

The key file holds the private key under a passphrase::

    key    = Argon2id(passphrase in NFC, UTF-8; salt, cost)                      32 bytes
    sealed = ChaCha20-Poly1305(key, nonce = 0, private key, aad = label || everything before `sealed`)

The nonce may be fixed because the salt is drawn anew for each file, so a key seals once. The cost stands in the file,
so that it can grow; what a file may ask for is bounded, or a planted one would fill the memory of whoever opens it.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import unicodedata
from typing import Annotated

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from crypto.errors import DecodeError, IdentityError
from crypto.identity.signing import ID_SIZE, PublicKey
from crypto.secret import Secret
from crypto.suites import SignatureKeyPair, derive_ed25519_key_pair, generate_ed25519_key_pair
from crypto.wire import Fixed, Uint32, decode, encode, struct

SALT_SIZE = 16
PASSPHRASE_CHARACTERS_MIN = 12
"""A passphrase for a new key file is no shorter: whoever copies the file may guess for as long as he likes."""

ITERATIONS_MAX = 16
LANES_MAX = 16
MEMORY_KIB_MAX = 1024 * 1024
"""Most that a key file may ask of Argon2id: 1 GiB."""

_KEY_FILE_LABEL = b"Sealdesk 1.0 OrganisationKeyFile"
_KEY_FILE_BYTES_MAX = 256
_SEED_SIZE = 32
_TAG_SIZE = 16
_NONCE = bytes(12)
_FINGERPRINT_TEXT = re.compile(r"[a-z2-7]{32}")


@struct
class Argon2Cost:
    """What one guess of the passphrase costs (RFC 9106 §3.1)."""

    iterations: Uint32
    lanes: Uint32
    memory_kib: Uint32


DEFAULT_COST = Argon2Cost(iterations=4, lanes=4, memory_kib=256 * 1024)
"""Four times the memory of a client's store: this key is opened a few times a year, and is worth more to a thief."""


@struct
class KeyFileHeader:
    """What stands in the clear in a key file, and is authenticated with it."""

    organisation_key: PublicKey
    salt: Annotated[bytes, Fixed(SALT_SIZE)]
    cost: Argon2Cost


@struct
class OrganisationKeyFile:
    """The organisation's key under a passphrase."""

    header: KeyFileHeader
    sealed: Annotated[bytes, Fixed(_SEED_SIZE + _TAG_SIZE)]


def generate_organisation_key() -> SignatureKeyPair:
    """A fresh Ed25519 key pair, for the one time when an organisation is founded."""
    return generate_ed25519_key_pair()


def organisation_id_of(organisation_key: bytes) -> bytes:
    """The id of the organisation with this public key, 20 bytes; it is the key's fingerprint too."""
    return hashlib.sha256(b"Sealdesk 1.0 organisation" + organisation_key).digest()[:ID_SIZE]


def check_organisation_key(organisation_key: bytes, pinned_id: bytes) -> None:
    """Raise `IdentityError` unless this is the key that an invitation, or a person, pinned by its id."""
    if organisation_id_of(organisation_key) != pinned_id:
        raise IdentityError("this is not the organisation that the invitation came from: its key is another one")


def format_fingerprint(organisation_id: bytes) -> str:
    """The id as people compare it: eight groups of four, each of a to z or 2 to 7 (base32, RFC 4648)."""
    text = base64.b32encode(organisation_id).decode().lower()
    return " ".join(text[place : place + 4] for place in range(0, len(text), 4))


def parse_fingerprint(text: str) -> bytes:
    """The 20 bytes of a fingerprint as somebody typed it: capitals, spaces and hyphens do not matter.

    Raises `IdentityError` for anything that is not 32 characters of the alphabet.
    """
    bare = re.sub(r"[ -]", "", text).lower()
    if not _FINGERPRINT_TEXT.fullmatch(bare):
        raise IdentityError("a fingerprint of an organisation is 32 characters, each one of a to z or 2 to 7")
    return base64.b32decode(bare.upper())


def generate_key_file(organisation: SignatureKeyPair, passphrase: str, cost: Argon2Cost = DEFAULT_COST) -> bytes:
    """The organisation's key, encrypted for a file. Raises `IdentityError` if the passphrase is too short."""
    return seal_key_file(organisation, passphrase, os.urandom(SALT_SIZE), cost)


def seal_key_file(organisation: SignatureKeyPair, passphrase: str, salt: bytes, cost: Argon2Cost) -> bytes:
    """The key file with this salt, 16 bytes, drawn for this file alone. Raises `IdentityError`, `DecodeError`."""
    _check_cost(cost)
    if len(unicodedata.normalize("NFC", passphrase)) < PASSPHRASE_CHARACTERS_MIN:
        raise IdentityError(f"the passphrase is too short: take at least {PASSPHRASE_CHARACTERS_MIN} characters")
    header = KeyFileHeader(organisation.public, salt, cost)
    cipher = _cipher(passphrase, header)
    return encode(OrganisationKeyFile(header, cipher.encrypt(_NONCE, organisation.private.reveal(), _aad(header))))


def read_key_file(key_file: bytes) -> bytes:
    """The public key that a key file says it holds, 32 bytes, without the passphrase. Raises `DecodeError`.

    Not authentic before the file is opened: good for naming the file, not for pinning.
    """
    return _decode(key_file).header.organisation_key


def open_key_file(key_file: bytes, passphrase: str) -> SignatureKeyPair:
    """The organisation's key pair. Takes as long as the file's cost says.

    Raises `DecodeError` for what is no key file or asks for too much, and `IdentityError` if the passphrase does not
    open it: no detail, for nobody can tell a wrong passphrase from a changed file.
    """
    decoded = _decode(key_file)
    try:
        seed = _cipher(passphrase, decoded.header).decrypt(_NONCE, decoded.sealed, _aad(decoded.header))
    except InvalidTag:
        raise IdentityError("the passphrase does not open this key file, or the file was changed") from None
    opened = derive_ed25519_key_pair(Secret(seed))
    # The cipher does not commit to its key: a file made on purpose could open under two passphrases, to two seeds.
    if opened.public != decoded.header.organisation_key:
        raise IdentityError("the key file holds another key than it says")
    return opened


def _decode(key_file: bytes) -> OrganisationKeyFile:
    if len(key_file) > _KEY_FILE_BYTES_MAX:
        raise DecodeError("too large for a key file of an organisation")
    decoded = decode(OrganisationKeyFile, key_file)
    _check_cost(decoded.header.cost)
    return decoded


def _check_cost(cost: Argon2Cost) -> None:
    """Bounds from both sides: ours above, Argon2id's own below (RFC 9106 §3.1: 8 KiB for each lane)."""
    if not (1 <= cost.iterations <= ITERATIONS_MAX and 1 <= cost.lanes <= LANES_MAX):
        raise DecodeError("the key file asks for more passes or lanes of Argon2id than it may")
    if not 8 * cost.lanes <= cost.memory_kib <= MEMORY_KIB_MAX:
        raise DecodeError("the key file asks for more memory of Argon2id than it may, or for less than there is")


def _cipher(passphrase: str, header: KeyFileHeader) -> ChaCha20Poly1305:
    argon2id = Argon2id(
        salt=header.salt,
        length=32,
        iterations=header.cost.iterations,
        lanes=header.cost.lanes,
        memory_cost=header.cost.memory_kib,
    )
    typed = unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogatepass")
    return ChaCha20Poly1305(argon2id.derive(typed))


def _aad(header: KeyFileHeader) -> bytes:
    return _KEY_FILE_LABEL + encode(header)
