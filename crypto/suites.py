"""Cipher suites (RFC 9420 §5.1, §5.2): one table, and the labelled functions that every chapter uses.

Owns the choice of primitives and nothing else. All functions are deterministic but signing with ECDSA, sealing under a
public key, and `generate_*`. Labels are given without the prefix "MLS 1.0 ", which is added here
(but for `ref_hash`, as in the RFC).
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

import nacl.bindings
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from nacl.exceptions import CryptoError as NaClError

from crypto import kem
from crypto.errors import AuthenticationError, Unsupported
from crypto.hpke import HPKE, hpke
from crypto.kem import HPKEKeyPair, Kem
from crypto.secret import Secret
from crypto.wire import encode_opaque, struct

AEAD_NONCE_SIZE = 12
"""AEAD.Nn of every suite, in bytes."""


@dataclass(frozen=True, slots=True)
class SignatureKeyPair:
    """A signature key pair. Ed25519, Ed448: `private` is the seed of 32 or 57 bytes; ECDSA: the scalar, big-endian."""

    private: Secret
    public: bytes


@dataclass(frozen=True, slots=True)
class SignatureScheme:
    """How a suite signs: sizes in bytes, and functions over serialised keys."""

    name: str
    public_key_size: int
    generate: Callable[[], SignatureKeyPair]
    sign: Callable[[SignatureKeyPair, bytes], bytes]
    verify: Callable[[bytes, bytes, bytes], None]


@struct
class HPKECiphertext:
    """What `encrypt_with_label` makes (RFC 9420 §7.6)."""

    kem_output: bytes
    ciphertext: bytes


@dataclass(frozen=True, slots=True, eq=False)
class CipherSuite:
    """The primitives of one row of the table, under the names of RFC 9420 §5.1."""

    id: int
    name: str
    hash_name: str
    hash_size: int
    """KDF.Nh, bytes."""
    aead_key_size: int
    """AEAD.Nk, bytes."""
    hpke: HPKE
    signature: SignatureScheme
    aead: type[AESGCM] | type[ChaCha20Poly1305]

    def hash(self, data: bytes) -> bytes:
        """Hash(data), `hash_size` bytes."""
        return hashlib.new(self.hash_name, data).digest()

    def ref_hash(self, label: str, value: bytes) -> bytes:
        """RefHash(label, value), RFC 9420 §5.2; `label` is given whole."""
        return self.hash(encode_opaque(label.encode()) + encode_opaque(value))

    def mac(self, key: Secret, data: bytes) -> bytes:
        """MAC(key, data): HMAC with the suite's hash, `hash_size` bytes."""
        return hmac.digest(key.reveal(), data, self.hash_name)

    def verify_mac(self, key: Secret, data: bytes, tag: bytes) -> None:
        """Raise `AuthenticationError` unless `tag` is the whole MAC; compares in constant time."""
        if not hmac.compare_digest(self.mac(key, data), tag):  # a short or empty tag differs in length
            raise AuthenticationError

    def extract(self, salt: Secret, key: Secret) -> Secret:
        """KDF.Extract(salt, ikm)."""
        return Secret(hmac.digest(salt.reveal(), key.reveal(), self.hash_name))

    def expand_with_label(self, secret: Secret, label: str, context: bytes, length: int) -> Secret:
        """ExpandWithLabel(Secret, Label, Context, Length), RFC 9420 §8; `length` in bytes."""
        info = _kdf_label(label, length) + encode_opaque(context)
        return Secret(kem.hkdf_expand(self.hash_name, secret.reveal(), info, length))

    def derive_secret(self, secret: Secret, label: str) -> Secret:
        """DeriveSecret(Secret, Label), RFC 9420 §8."""
        return self.expand_with_label(secret, label, b"", self.hash_size)

    @property
    def zero_secret(self) -> Secret:
        """The all-zero input that stands for an absent secret (RFC 9420 §8)."""
        return Secret(bytes(self.hash_size))

    def aead_seal(self, key: Secret, nonce: bytes, aad: bytes, plaintext: bytes) -> bytes:
        """AEAD.Seal: the ciphertext with its 16-byte tag."""
        return self.aead(key.reveal()).encrypt(nonce, plaintext, aad)

    def aead_open(self, key: Secret, nonce: bytes, aad: bytes, ciphertext: bytes) -> bytes:
        """AEAD.Open. Raises `AuthenticationError`."""
        try:
            return self.aead(key.reveal()).decrypt(nonce, ciphertext, aad)
        except (InvalidTag, ValueError) as error:  # ValueError: shorter than a tag
            raise AuthenticationError from error

    def sign_with_label(self, signer: SignatureKeyPair, label: str, content: bytes) -> bytes:
        """SignWithLabel(SignatureKey, Label, Content), RFC 9420 §5.1.2."""
        return self.signature.sign(signer, encode_sign_content("MLS 1.0 " + label, content))

    def verify_with_label(self, public_key: bytes, label: str, content: bytes, signature: bytes) -> None:
        """VerifyWithLabel, RFC 9420 §5.1.2. Raises `AuthenticationError`."""
        self.signature.verify(public_key, encode_sign_content("MLS 1.0 " + label, content), signature)

    def encrypt_with_label(self, public_key: bytes, label: str, context: bytes, plaintext: bytes) -> HPKECiphertext:
        """EncryptWithLabel, RFC 9420 §5.1.3. Raises `DecodeError` for a bad public key."""
        (sealed,) = self.encrypt_each_with_label(label, context, [(public_key, plaintext)])
        return sealed

    def encrypt_each_with_label(
        self, label: str, context: bytes, addressed: Iterable[tuple[bytes, bytes]]
    ) -> list[HPKECiphertext]:
        """EncryptWithLabel of each (public key, plaintext) under one context, which is hashed once."""
        sealed = self.hpke.seal_each(_encrypt_context(label, context), addressed)
        return [HPKECiphertext(*each) for each in sealed]

    def decrypt_with_label(self, keys: HPKEKeyPair, label: str, context: bytes, sealed: HPKECiphertext) -> Secret:
        """DecryptWithLabel, RFC 9420 §5.1.3. Raises `AuthenticationError`."""
        info = _encrypt_context(label, context)
        return Secret(self.hpke.open(keys, info, sealed.kem_output, sealed.ciphertext))

    def derive_key_pair(self, secret: Secret) -> HPKEKeyPair:
        """KEM.DeriveKeyPair(secret), RFC 9180 §4; `secret` is at least as long as a private key."""
        return self.hpke.kem.derive_key_pair(secret)

    def generate_hpke_key_pair(self) -> HPKEKeyPair:
        """A fresh KEM key pair, from the operating system's randomness."""
        return self.derive_key_pair(Secret(os.urandom(max(self.hpke.kem.private_key_size, self.hash_size))))

    def generate_secret(self) -> Secret:
        """A fresh secret of KDF.Nh bytes."""
        return Secret(os.urandom(self.hash_size))


def encode_sign_content(label: str, content: bytes) -> bytes:
    """SignContent (RFC 9420 §5.1.2) with the whole label: what every signature of Sealdesk is made over."""
    return encode_opaque(label.encode()) + encode_opaque(content)


@lru_cache(maxsize=128)
def _kdf_label(label: str, length: int) -> bytes:
    """KDFLabel (RFC 9420 §8) without its context: a handful of them serve nearly all derivations."""
    return length.to_bytes(2, "big") + encode_opaque(b"MLS 1.0 " + label.encode())


def _encrypt_context(label: str, context: bytes) -> bytes:
    return encode_opaque(b"MLS 1.0 " + label.encode()) + encode_opaque(context)


def derive_ed25519_key_pair(seed: Secret) -> SignatureKeyPair:
    """The Ed25519 key pair of a 32-byte seed (RFC 8032 §5.1.5)."""
    public, _ = nacl.bindings.crypto_sign_seed_keypair(seed.reveal())
    return SignatureKeyPair(seed, public)


def generate_ed25519_key_pair() -> SignatureKeyPair:
    """A fresh Ed25519 key pair."""
    return derive_ed25519_key_pair(Secret(os.urandom(32)))


def sign_ed25519(signer: SignatureKeyPair, message: bytes) -> bytes:
    """A 64-byte Ed25519 signature."""
    return nacl.bindings.crypto_sign(message, signer.private.reveal() + signer.public)[:64]


def verify_ed25519(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Raise `AuthenticationError` unless the signature holds. Bad sizes and low-order keys do not hold either."""
    if len(public_key) != 32 or len(signature) != 64:
        raise AuthenticationError
    try:
        nacl.bindings.crypto_sign_open(signature + message, public_key)
    except NaClError as error:
        raise AuthenticationError from error


def _generate_ed448_key_pair() -> SignatureKeyPair:
    key = ed448.Ed448PrivateKey.generate()
    return SignatureKeyPair(Secret(key.private_bytes_raw()), key.public_key().public_bytes_raw())


def _sign_ed448(signer: SignatureKeyPair, message: bytes) -> bytes:
    return ed448.Ed448PrivateKey.from_private_bytes(signer.private.reveal()).sign(message)


def _verify_ed448(public_key: bytes, message: bytes, signature: bytes) -> None:
    if public_key in _ED448_LOW_ORDER:
        raise AuthenticationError
    try:
        ed448.Ed448PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError) as error:  # ValueError: not a public key
        raise AuthenticationError from error


_ED448_P = 2**448 - 2**224 - 1
_ED448_LOW_ORDER = frozenset(
    (y + (sign << 455)).to_bytes(57, "little") for y in (0, 1, _ED448_P - 1, _ED448_P, _ED448_P + 1) for sign in (0, 1)
)
"""The points of order at most 4, whatever their encoding: under such a key one signature holds for many messages."""


def _ecdsa(curve: ec.EllipticCurve, algorithm: hashes.HashAlgorithm) -> SignatureScheme:
    size = (curve.key_size + 7) // 8
    encoding, form = serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint

    def generate() -> SignatureKeyPair:
        key = ec.generate_private_key(curve)
        scalar = key.private_numbers().private_value.to_bytes(size, "big")
        return SignatureKeyPair(Secret(scalar), key.public_key().public_bytes(encoding, form))

    def sign(signer: SignatureKeyPair, message: bytes) -> bytes:
        key = ec.derive_private_key(int.from_bytes(signer.private.reveal(), "big"), curve)
        return key.sign(message, ec.ECDSA(algorithm))

    def verify(public_key: bytes, message: bytes, signature: bytes) -> None:
        if len(public_key) != 1 + 2 * size:  # a compressed point would be a second name for the same key (§5.1.1)
            raise AuthenticationError
        try:
            key = ec.EllipticCurvePublicKey.from_encoded_point(curve, public_key)
            key.verify(signature, message, ec.ECDSA(algorithm))
        except (InvalidSignature, ValueError) as error:  # ValueError: not a point of the curve
            raise AuthenticationError from error

    return SignatureScheme(f"ECDSA {curve.name}", 1 + 2 * size, generate, sign, verify)


ED25519 = SignatureScheme("Ed25519", 32, generate_ed25519_key_pair, sign_ed25519, verify_ed25519)
ED448 = SignatureScheme("Ed448", 57, _generate_ed448_key_pair, _sign_ed448, _verify_ed448)
_P256 = _ecdsa(ec.SECP256R1(), hashes.SHA256())
_P384 = _ecdsa(ec.SECP384R1(), hashes.SHA384())
_P521 = _ecdsa(ec.SECP521R1(), hashes.SHA512())

X_WING_SUITE_ID = 0xF647
"""The hybrid suite has no final code point yet; ours stands in the private range (RFC 9420 §17.1)."""

_TABLE = (
    # id, name, hash, Nh, AEAD, Nk, KEM, signature
    (1, "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519", "sha256", 32, AESGCM, 16, kem.X25519, ED25519),
    (2, "MLS_128_DHKEMP256_AES128GCM_SHA256_P256", "sha256", 32, AESGCM, 16, kem.P256, _P256),
    (3, "MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519", "sha256", 32, ChaCha20Poly1305, 32, kem.X25519, ED25519),
    (4, "MLS_256_DHKEMX448_AES256GCM_SHA512_Ed448", "sha512", 64, AESGCM, 32, kem.X448, ED448),
    (5, "MLS_256_DHKEMP521_AES256GCM_SHA512_P521", "sha512", 64, AESGCM, 32, kem.P521, _P521),
    (6, "MLS_256_DHKEMX448_CHACHA20POLY1305_SHA512_Ed448", "sha512", 64, ChaCha20Poly1305, 32, kem.X448, ED448),
    (7, "MLS_256_DHKEMP384_AES256GCM_SHA384_P384", "sha384", 48, AESGCM, 32, kem.P384, _P384),
    (X_WING_SUITE_ID, "MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519", "sha256", 32, AESGCM, 16, kem.X_WING, ED25519),
)


def _suite(
    suite_id: int,
    name: str,
    hash_name: str,
    hash_size: int,
    aead: type[AESGCM] | type[ChaCha20Poly1305],
    aead_key_size: int,
    kem_of_suite: Kem,
    signature: SignatureScheme,
) -> CipherSuite:
    """One row of the table: HPKE takes the suite's own hash and AEAD (RFC 9420 §5.1)."""
    box = hpke(kem_of_suite, hash_name, aead, aead_key_size)
    return CipherSuite(suite_id, name, hash_name, hash_size, aead_key_size, box, signature, aead)


SUITES = {row[0]: _suite(*row) for row in _TABLE}
"""Every suite that we implement, by code point: all seven of RFC 9420 §17.1, and the hybrid."""

X_WING = SUITES[X_WING_SUITE_ID]
"""The default: post-quantum hybrid (draft-ietf-mls-pq-ciphersuites)."""


def suite_of(suite_id: int) -> CipherSuite:
    """The suite of a code point. Raises `Unsupported`."""
    found = SUITES.get(suite_id)
    if found is None:
        raise Unsupported(f"cipher suite 0x{suite_id:04x} is not implemented")
    return found
