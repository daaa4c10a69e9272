"""Accounts: the recovery phrase, the root key, and the certificates that lead from it to a device.

::

    24 words ─ derive_root_key ─► root key ─ SigningKeyCertificate ─► signing key ─ DeviceCertificate ─► device key
                                  account_id                          version n                          MLS leaf

The root key is used to enrol and to recover and is not kept on devices. The signing key is on the account's devices; a
certificate with a higher version replaces it. The device key is the MLS signature key: the basic credential of a leaf
is the encoded `DeviceChain`. An account's id is a hash of its root public key, so nobody can put other keys under it.

Owns what certificates say and whether they hold by themselves. Whether a device still belongs to its account is for
`device_list`: a thief of the signing key can certify devices, and only the list shows that he did.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import re
import unicodedata
from dataclasses import dataclass

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from mnemonic import Mnemonic

from crypto.errors import IdentityError
from crypto.identity.signing import ID_SIZE, Id, PublicKey, Signature, SignedLabel, sign_object, verify_object
from crypto.secret import Secret
from crypto.suites import SignatureKeyPair, derive_ed25519_key_pair, generate_ed25519_key_pair
from crypto.wire import Uint32, Uint64, decode, struct

PHRASE_WORDS = 24
"""Words of a recovery phrase: 256 bits of entropy and 8 of checksum (BIP-39)."""

_ENTROPY_SIZE = 32
_ROOT_KEY_INFO = b"Sealdesk 1.0 root key"
_ACCOUNT_ID_TEXT = re.compile(r"[a-z2-7]{32}")


@struct
class SigningKeyCertificate:
    """The root says: `signing_key` speaks for this account; the highest `version` counts. Signed by `root_key`."""

    root_key: PublicKey
    signing_key: PublicKey
    version: Uint32
    signature: Signature


@struct
class DeviceCertificate:
    """The account's signing key says: `device_key` is a device of this account.

    `issued_at` is Unix seconds, shown to people; no check depends on it.
    """

    account_id: Id
    signing_key_version: Uint32
    device_key: PublicKey
    issued_at: Uint64
    signature: Signature


@struct
class DeviceChain:
    """From root to device: the `identity` of a leaf's basic credential (RFC 9420 §5.3) is this struct, encoded."""

    signing_key_certificate: SigningKeyCertificate
    device_certificate: DeviceCertificate


@dataclass(frozen=True, slots=True)
class CertifiedSigningKey:
    """A signing key whose certificate holds. Made by `verify_signing_key` only."""

    account_id: bytes
    root_key: bytes
    signing_key: bytes
    version: int


@dataclass(frozen=True, slots=True)
class CertifiedDevice:
    """A device whose certificates hold. Made by `verify_chain` and `verify_device` only.

    It may have been taken off the account's device list, or never been on it: `device_list.verify_listed` tells.
    """

    account_id: bytes
    device_id: bytes
    device_key: bytes
    root_key: bytes
    certificate: DeviceCertificate


def generate_recovery_phrase() -> str:
    """24 English words, separated by single spaces. Show them once; whoever has them is the account."""
    return derive_recovery_phrase(Secret(os.urandom(_ENTROPY_SIZE)))


def derive_recovery_phrase(entropy: Secret) -> str:
    """The words of 32 bytes of entropy (BIP-39)."""
    return _word_list().to_mnemonic(entropy.reveal())


def derive_root_key(phrase: str) -> SignatureKeyPair:
    """The root key of a recovery phrase; case, width and spacing of the words do not matter.

    seed = HKDF-SHA256(salt = none, key = the phrase's 32 bytes of BIP-39 entropy, info = "Sealdesk 1.0 root key").
    BIP-39's own PBKDF2 seed is not used: 256 random bits need no stretching, the result would depend on how words are
    spelt and normalised and not only on the entropy, and it is the very seed from which a wallet derives its keys,
    should somebody use one phrase for both.

    Raises `IdentityError` for anything but 24 words of the list with a correct checksum; it never repeats a word.
    """
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=_ROOT_KEY_INFO)
    return derive_ed25519_key_pair(Secret(key.derive(_entropy_of(phrase).reveal())))


def generate_signature_key_pair() -> SignatureKeyPair:
    """A fresh Ed25519 key pair for a signing key or a device."""
    return generate_ed25519_key_pair()


def account_id_of(root_key: bytes) -> bytes:
    """The id of the account with this root public key, 20 bytes.

    Two root keys with one id cost their owner 2^80 hashes and gain nothing: `device_list` holds on to the first key.
    """
    return hashlib.sha256(b"Sealdesk 1.0 account" + root_key).digest()[:ID_SIZE]


def device_id_of(device_key: bytes) -> bytes:
    """The id of the device with this public key, 20 bytes."""
    return hashlib.sha256(b"Sealdesk 1.0 device" + device_key).digest()[:ID_SIZE]


def format_account_id(account_id: bytes) -> str:
    """The id as people see it: 32 characters of lowercase base32 (RFC 4648), which 20 bytes fill exactly."""
    return base64.b32encode(account_id).decode().lower()


def parse_account_id(text: str) -> bytes:
    """The 20 bytes of an id in its one text form. Raises `IdentityError`, also for capitals and spaces."""
    if not _ACCOUNT_ID_TEXT.fullmatch(text):
        raise IdentityError("an account id is 32 characters, each one of a to z or 2 to 7")
    return base64.b32decode(text.upper())


def certify_signing_key(root: SignatureKeyPair, signing_key: bytes, version: int) -> SigningKeyCertificate:
    """Make `signing_key` (public, 32 bytes) the account's, in place of all with lower versions.

    The first has version 1; `recovery.next_version` says which one follows.
    """
    unsigned = SigningKeyCertificate(root.public, signing_key, version, signature=b"")
    return sign_object(root, SignedLabel.SIGNING_KEY_CERTIFICATE, unsigned)


def certify_device(
    signer: SignatureKeyPair, certificate: SigningKeyCertificate, device_key: bytes, issued_at: int
) -> DeviceCertificate:
    """Certify `device_key` (public, 32 bytes) with the signing key that `certificate` is about."""
    account_id = account_id_of(certificate.root_key)
    unsigned = DeviceCertificate(account_id, certificate.version, device_key, issued_at, signature=b"")
    return sign_object(signer, SignedLabel.DEVICE_CERTIFICATE, unsigned)


def verify_signing_key(certificate: SigningKeyCertificate) -> CertifiedSigningKey:
    """Check the root's signature. Which account that root is, the result says. Raises `AuthenticationError`."""
    verify_object(certificate.root_key, SignedLabel.SIGNING_KEY_CERTIFICATE, certificate)
    account_id = account_id_of(certificate.root_key)
    return CertifiedSigningKey(account_id, certificate.root_key, certificate.signing_key, certificate.version)


def verify_device(signing_key: CertifiedSigningKey, certificate: DeviceCertificate) -> CertifiedDevice:
    """Check that a device certificate is of this account and signed by this signing key.

    Raises `AuthenticationError`, and `IdentityError` if it names another account or another version of the key.
    """
    check_signed_for(signing_key, certificate.account_id, certificate.signing_key_version)
    verify_object(signing_key.signing_key, SignedLabel.DEVICE_CERTIFICATE, certificate)
    return CertifiedDevice(
        account_id=signing_key.account_id,
        device_id=device_id_of(certificate.device_key),
        device_key=certificate.device_key,
        root_key=signing_key.root_key,
        certificate=certificate,
    )


def check_signed_for(signing_key: CertifiedSigningKey, account_id: bytes, version: int) -> None:
    """Raise `IdentityError` unless an object that names its account and its signing key's version names these."""
    if account_id != signing_key.account_id:
        raise IdentityError("the object is of another account than the certificate")
    if version != signing_key.version:
        raise IdentityError("the object is signed by another version of the signing key than the certificate's")


def verify_chain(identity: bytes) -> CertifiedDevice:
    """Check an encoded `DeviceChain` by itself, from the root down.

    Raises `DecodeError`, `AuthenticationError` or `IdentityError`.
    """
    chain = decode(DeviceChain, identity)
    return verify_device(verify_signing_key(chain.signing_key_certificate), chain.device_certificate)


def _entropy_of(phrase: str) -> Secret:
    words = unicodedata.normalize("NFKD", phrase).lower().split()
    if len(words) != PHRASE_WORDS:
        raise IdentityError(f"a recovery phrase has {PHRASE_WORDS} words, this one has {len(words)}")
    word_list = _word_list()
    known = frozenset(word_list.wordlist)
    unknown = [str(place) for place, word in enumerate(words, 1) if word not in known]
    if unknown:
        raise IdentityError(f"not in the word list: word {', '.join(unknown)}")
    try:
        return Secret(bytes(word_list.to_entropy(words)))
    except ValueError:
        # The words are all known, so it is the checksum. Without the cause: a traceback must not carry the words.
        raise IdentityError("the recovery phrase does not add up: a word is wrong or out of place") from None


@functools.cache
def _word_list() -> Mnemonic:
    """The English list of BIP-39; reading it from its package is the one file access of `crypto`."""
    return Mnemonic("english")
