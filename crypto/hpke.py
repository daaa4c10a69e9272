"""Hybrid public key encryption (RFC 9180), base mode: the KEMs of our cipher suites.

`cryptography` seals and opens; this module adds the one thing that it lacks and TreeKEM needs, `DeriveKeyPair`, and
hides how each KEM writes its keys. Keys are bytes in RFC 9180's serialisation (a private key is a `Secret`); loading
them checks them: a point off the curve or an ML-KEM key that fails the modulus check is a `DecodeError`.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import nacl.bindings
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x25519
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from crypto.errors import AuthenticationError, DecodeError
from crypto.secret import Secret


@dataclass(frozen=True, slots=True)
class HPKEKeyPair:
    """A KEM key pair, serialised."""

    private: Secret
    public: bytes


@dataclass(frozen=True, slots=True)
class Kem:
    """One KEM: its sizes in bytes (RFC 9180 §7.1), and how to derive and load its keys."""

    id: int
    public_key_size: int
    output_size: int
    private_key_size: int
    primitive: KEM
    derive_key_pair: Callable[[Secret], HPKEKeyPair]
    load_public: Callable[[bytes], Any]
    load_private: Callable[[Secret], Any]


@dataclass(frozen=True, slots=True)
class HPKE:
    """A KEM with its KDF and AEAD."""

    kem: Kem
    suite: Suite

    def seal(self, public_key: bytes, info: bytes, plaintext: bytes) -> tuple[bytes, bytes]:
        """Encrypt to a public key: SealBase with empty AAD (RFC 9180 §6.1). Returns KEM output and ciphertext.

        Raises `DecodeError` for a bad public key.
        """
        try:
            sealed = self.suite.encrypt(plaintext, self._load_public(public_key), info)
        except ValueError as error:  # a point of low order: the shared secret is all zero (RFC 9180 §7.1.4)
            raise DecodeError("not an HPKE public key") from error
        return sealed[: self.kem.output_size], sealed[self.kem.output_size :]

    def open(self, private_key: Secret, info: bytes, kem_output: bytes, ciphertext: bytes) -> bytes:
        """Decrypt: OpenBase with empty AAD (RFC 9180 §6.1). Raises `AuthenticationError` whatever is wrong."""
        if len(kem_output) != self.kem.output_size:
            raise AuthenticationError
        try:
            return self.suite.decrypt(kem_output + ciphertext, self.kem.load_private(private_key), info)
        except (InvalidTag, ValueError) as error:
            raise AuthenticationError from error

    def check_public_key(self, public_key: bytes) -> None:
        """Raise `DecodeError` unless the bytes are a public key of this KEM."""
        self._load_public(public_key)

    def _load_public(self, public_key: bytes) -> Any:
        if len(public_key) != self.kem.public_key_size:
            raise DecodeError("HPKE public key of the wrong size")
        try:
            return self.kem.load_public(public_key)
        except ValueError as error:
            raise DecodeError("not an HPKE public key") from error


def _labeled_extract(hash_name: str, suite_id: bytes, label: bytes, key: bytes) -> bytes:
    """LabeledExtract with an empty salt (RFC 9180 §4)."""
    zeros = bytes(hash_size(hash_name))
    return hmac.digest(zeros, b"HPKE-v1" + suite_id + label + key, hash_name)


def _labeled_expand(hash_name: str, suite_id: bytes, secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
    """LabeledExpand (RFC 9180 §4)."""
    info = length.to_bytes(2, "big") + b"HPKE-v1" + suite_id + label + context
    return hkdf_expand(hash_name, secret, info, length)


def hkdf_expand(hash_name: str, secret: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand (RFC 5869 §2.3)."""
    block = output = hmac.digest(secret, info + b"\x01", hash_name)
    counter = 2
    while len(output) < length:
        block = hmac.digest(secret, block + info + counter.to_bytes(1, "big"), hash_name)
        output += block
        counter += 1
    return output[:length]


def hash_size(hash_name: str) -> int:
    """Output bytes of a hash (KDF.Nh)."""
    return {"sha256": 32, "sha384": 48, "sha512": 64}[hash_name]


def _derive_x25519(secret: Secret) -> HPKEKeyPair:
    """DeriveKeyPair of DHKEM(X25519) (RFC 9180 §7.1.3)."""
    suite_id = b"KEM" + (0x0020).to_bytes(2, "big")
    extracted = _labeled_extract("sha256", suite_id, b"dkp_prk", secret.reveal())
    private = _labeled_expand("sha256", suite_id, extracted, b"sk", b"", 32)
    return HPKEKeyPair(Secret(private), nacl.bindings.crypto_scalarmult_base(private))


def _x25519_private(private: Secret) -> x25519.X25519PrivateKey:
    return x25519.X25519PrivateKey.from_private_bytes(private.reveal())


def _nist_kem(kem_id: int, curve: ec.EllipticCurve, hash_name: str, primitive: KEM) -> Kem:
    size = (curve.key_size + 7) // 8
    top_bits = 0xFF >> (8 * size - curve.key_size)

    def derive(secret: Secret) -> HPKEKeyPair:
        """DeriveKeyPair of DHKEM over a NIST curve: draw candidates until one is a scalar (RFC 9180 §7.1.3)."""
        suite_id = b"KEM" + kem_id.to_bytes(2, "big")
        extracted = _labeled_extract(hash_name, suite_id, b"dkp_prk", secret.reveal())
        for counter in range(256):
            label_context = counter.to_bytes(1, "big")
            drawn = _labeled_expand(hash_name, suite_id, extracted, b"candidate", label_context, size)
            candidate = Secret(bytes([drawn[0] & top_bits]) + drawn[1:])
            try:
                key = load_private(candidate)
            except ValueError:  # zero, or not below the order
                continue
            return HPKEKeyPair(candidate, _uncompressed_point(key.public_key()))
        raise AssertionError("256 candidates outside the field: not a hash function")

    def load_private(private: Secret) -> ec.EllipticCurvePrivateKey:
        return ec.derive_private_key(int.from_bytes(private.reveal(), "big"), curve)

    def load_public(public: bytes) -> ec.EllipticCurvePublicKey:
        return ec.EllipticCurvePublicKey.from_encoded_point(curve, public)

    return Kem(kem_id, 1 + 2 * size, 1 + 2 * size, size, primitive, derive, load_public, load_private)


def _uncompressed_point(public_key: ec.EllipticCurvePublicKey) -> bytes:
    encoding, form = serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    return public_key.public_bytes(encoding, form)


def _shake256(data: bytes, length: int) -> bytes:
    return hashlib.shake_256(data).digest(length)


def _derive_x_wing(secret: Secret) -> HPKEKeyPair:
    """DeriveKeyPair of X-Wing as draft-ietf-hpke-pq has it: SHAKE256.LabeledDerive to the 32-byte seed."""
    label = b"DeriveKeyPair"
    labelled = b"HPKE-v1" + b"KEM" + (0x647A).to_bytes(2, "big")
    labelled += len(label).to_bytes(2, "big") + label + (32).to_bytes(2, "big")
    seed = Secret(_shake256(secret.reveal() + labelled, 32))
    ml_kem, scalar = _x_wing_parts(seed)
    public = ml_kem.public_key().public_bytes_raw() + nacl.bindings.crypto_scalarmult_base(scalar)
    return HPKEKeyPair(seed, public)


def _x_wing_parts(seed: Secret) -> tuple[mlkem.MLKEM768PrivateKey, bytes]:
    """expandDecapsulationKey: the ML-KEM key (d || z) and the X25519 scalar (draft-connolly-cfrg-xwing-kem §5.2)."""
    expanded = _shake256(seed.reveal(), 96)
    return mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:64]), expanded[64:]


def _x_wing_private(seed: Secret) -> MLKEM768X25519PrivateKey:
    ml_kem, scalar = _x_wing_parts(seed)
    return MLKEM768X25519PrivateKey(ml_kem, x25519.X25519PrivateKey.from_private_bytes(scalar))


def _x_wing_public(public: bytes) -> MLKEM768X25519PublicKey:
    ml_kem = mlkem.MLKEM768PublicKey.from_public_bytes(public[:1184])
    return MLKEM768X25519PublicKey(ml_kem, x25519.X25519PublicKey.from_public_bytes(public[1184:]))


X25519 = Kem(0x0020, 32, 32, 32, KEM.X25519, _derive_x25519, x25519.X25519PublicKey.from_public_bytes, _x25519_private)
P256 = _nist_kem(0x0010, ec.SECP256R1(), "sha256", KEM.P256)
P384 = _nist_kem(0x0011, ec.SECP384R1(), "sha384", KEM.P384)
P521 = _nist_kem(0x0012, ec.SECP521R1(), "sha512", KEM.P521)
X_WING = Kem(0x647A, 1216, 1120, 32, KEM.MLKEM768_X25519, _derive_x_wing, _x_wing_public, _x_wing_private)


def hpke(kem: Kem, kdf: KDF, aead: AEAD) -> HPKE:
    """Put a KEM, a KDF and an AEAD together."""
    return HPKE(kem, Suite(kem.primitive, kdf, aead))
