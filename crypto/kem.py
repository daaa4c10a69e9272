"""The KEMs of our cipher suites (RFC 9180 §4.1, §7.1; X-Wing: draft-connolly-cfrg-xwing-kem): keys and shared secrets.

`cryptography` seals and opens with most of them; this module adds what it lacks and MLS needs: `DeriveKeyPair` for
TreeKEM, and `Encap` and `Decap` for the exporter and for X448. Keys are bytes in RFC 9180's serialisation (a private
key is a `Secret`). Loading checks them: a point off the curve, a point of low order, or an ML-KEM key that fails the
modulus check is a `ValueError`, which `hpke` makes a `DecodeError`.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import nacl.bindings
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x448, x25519
from cryptography.hazmat.primitives.hpke import KEM, MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey

from crypto.secret import Secret


@dataclass(frozen=True, slots=True)
class HPKEKeyPair:
    """A KEM key pair, serialised."""

    private: Secret
    public: bytes


@dataclass(frozen=True, slots=True)
class Kem:
    """One KEM: its sizes in bytes (RFC 9180 §7.1), and its functions over serialised keys."""

    id: int
    public_key_size: int
    output_size: int
    private_key_size: int
    primitive: KEM | None
    """The same in `cryptography`; None where it has none."""
    derive_key_pair: Callable[[Secret], HPKEKeyPair]
    load_public: Callable[[bytes], Any]
    load_private: Callable[[Secret], Any]
    encapsulate: Callable[[bytes], tuple[Secret, bytes]]
    """Encap(pkR): the shared secret and the KEM output. Raises `ValueError` for a bad public key."""
    decapsulate: Callable[[Secret, bytes], Secret]
    """Decap(enc, skR), the private key first. Raises `ValueError` for a bad KEM output."""


def labeled_extract(hash_name: str, suite_id: bytes, label: bytes, key: bytes, salt: bytes = b"") -> bytes:
    """LabeledExtract(salt, label, ikm) (RFC 9180 §4)."""
    return hmac.digest(salt or bytes(hash_size(hash_name)), b"HPKE-v1" + suite_id + label + key, hash_name)


def labeled_expand(hash_name: str, suite_id: bytes, secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
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


def generate_ephemeral_secret(size: int) -> Secret:
    """What an ephemeral key pair is made of, for one encapsulation."""
    return Secret(os.urandom(size))


def _dhkem(
    kem_id: int,
    hash_name: str,
    public_key_size: int,
    private_key_size: int,
    primitive: KEM | None,
    derive: Callable[[Secret], HPKEKeyPair],
    load_public: Callable[[bytes], Any],
    load_private: Callable[[Secret], Any],
    exchange: Callable[[Any, Any], bytes],
) -> Kem:
    """DHKEM (RFC 9180 §4.1) over a group with the Diffie-Hellman function `exchange`. Nsecret is KDF.Nh."""
    suite_id = b"KEM" + kem_id.to_bytes(2, "big")

    def extract_and_expand(shared: bytes, kem_output: bytes, public_key: bytes) -> Secret:
        extracted = labeled_extract(hash_name, suite_id, b"eae_prk", shared)
        context, size = kem_output + public_key, hash_size(hash_name)
        return Secret(labeled_expand(hash_name, suite_id, extracted, b"shared_secret", context, size))

    def encapsulate(public_key: bytes) -> tuple[Secret, bytes]:
        ephemeral = derive(generate_ephemeral_secret(private_key_size))
        shared = exchange(load_private(ephemeral.private), load_public(public_key))
        return extract_and_expand(shared, ephemeral.public, public_key), ephemeral.public

    def decapsulate(private_key: Secret, kem_output: bytes) -> Secret:
        private = load_private(private_key)
        shared = exchange(private, load_public(kem_output))
        return extract_and_expand(shared, kem_output, _serialised(private.public_key()))

    return Kem(
        kem_id,
        public_key_size,
        public_key_size,
        private_key_size,
        primitive,
        derive,
        load_public,
        load_private,
        encapsulate,
        decapsulate,
    )


def _serialised(public_key: Any) -> bytes:
    """A public key of DHKEM as bytes: SerializePublicKey (RFC 9180 §7.1.1)."""
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        encoding, form = serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        return public_key.public_bytes(encoding, form)
    raw: bytes = public_key.public_bytes_raw()
    return raw


_P25519, _P448 = 2**255 - 19, 2**448 - 2**224 - 1

_LOW_ORDER_25519 = frozenset(
    number.to_bytes(32, "little")
    for number in (
        0,
        1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
        _P25519 - 1,
        _P25519,
        _P25519 + 1,
    )
)
"""The u-coordinates of order at most 8 on Curve25519 and its twist: X25519 gives zero for them (RFC 7748 §6.1)."""

_LOW_ORDER_448 = frozenset(number.to_bytes(56, "little") for number in (0, 1, _P448 - 1, _P448, _P448 + 1))
"""The same of order at most 4 on Curve448 and its twist, for X448 (RFC 7748 §6.2)."""


def _montgomery_derive(
    kem_id: int, hash_name: str, size: int, base: Callable[[bytes], bytes]
) -> Callable[[Secret], HPKEKeyPair]:
    """DeriveKeyPair of DHKEM(X25519) and DHKEM(X448) (RFC 9180 §7.1.3)."""
    suite_id = b"KEM" + kem_id.to_bytes(2, "big")

    def derive(secret: Secret) -> HPKEKeyPair:
        extracted = labeled_extract(hash_name, suite_id, b"dkp_prk", secret.reveal())
        private = labeled_expand(hash_name, suite_id, extracted, b"sk", b"", size)
        return HPKEKeyPair(Secret(private), base(private))

    return derive


def _x25519_public(public: bytes) -> x25519.X25519PublicKey:
    if public[:-1] + bytes([public[-1] & 0x7F]) in _LOW_ORDER_25519:  # X25519 ignores the top bit
        raise ValueError("a point of low order")
    return x25519.X25519PublicKey.from_public_bytes(public)


def _x25519_private(private: Secret) -> x25519.X25519PrivateKey:
    return x25519.X25519PrivateKey.from_private_bytes(private.reveal())


def _x448_public(public: bytes) -> x448.X448PublicKey:
    if public in _LOW_ORDER_448:
        raise ValueError("a point of low order")
    return x448.X448PublicKey.from_public_bytes(public)


def _x448_private(private: Secret) -> x448.X448PrivateKey:
    return x448.X448PrivateKey.from_private_bytes(private.reveal())


def _x448_base(private: bytes) -> bytes:
    return x448.X448PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def _montgomery_exchange(private: Any, public: Any) -> bytes:
    shared: bytes = private.exchange(public)  # refuses a result of all zeros (RFC 9180 §7.1.4)
    return shared


def _nist_exchange(private: ec.EllipticCurvePrivateKey, public: ec.EllipticCurvePublicKey) -> bytes:
    return private.exchange(ec.ECDH(), public)


def _nist_kem(kem_id: int, curve: ec.EllipticCurve, hash_name: str, primitive: KEM) -> Kem:
    size = (curve.key_size + 7) // 8
    top_bits = 0xFF >> (8 * size - curve.key_size)

    def derive(secret: Secret) -> HPKEKeyPair:
        """DeriveKeyPair of DHKEM over a NIST curve: draw candidates until one is a scalar (RFC 9180 §7.1.3)."""
        suite_id = b"KEM" + kem_id.to_bytes(2, "big")
        extracted = labeled_extract(hash_name, suite_id, b"dkp_prk", secret.reveal())
        for counter in range(256):
            label_context = counter.to_bytes(1, "big")
            drawn = labeled_expand(hash_name, suite_id, extracted, b"candidate", label_context, size)
            candidate = Secret(bytes([drawn[0] & top_bits]) + drawn[1:])
            try:
                key = load_private(candidate)
            except ValueError:  # zero, or not below the order
                continue
            return HPKEKeyPair(candidate, _serialised(key.public_key()))
        raise AssertionError("256 candidates outside the field: not a hash function")

    def load_private(private: Secret) -> ec.EllipticCurvePrivateKey:
        return ec.derive_private_key(int.from_bytes(private.reveal(), "big"), curve)

    def load_public(public: bytes) -> ec.EllipticCurvePublicKey:
        return ec.EllipticCurvePublicKey.from_encoded_point(curve, public)

    return _dhkem(kem_id, hash_name, 1 + 2 * size, size, primitive, derive, load_public, load_private, _nist_exchange)


def _shake256(data: bytes, length: int) -> bytes:
    return hashlib.shake_256(data).digest(length)


def _derive_x_wing(secret: Secret) -> HPKEKeyPair:
    """DeriveKeyPair of X-Wing as draft-ietf-hpke-pq has it: SHAKE256.LabeledDerive to the 32-byte seed."""
    label = b"DeriveKeyPair"
    labelled = b"HPKE-v1" + b"KEM" + (0x647A).to_bytes(2, "big")
    labelled += len(label).to_bytes(2, "big") + label + (32).to_bytes(2, "big")
    seed = Secret(_shake256(secret.reveal() + labelled, 32))
    return HPKEKeyPair(seed, _x_wing_public_of(*_x_wing_parts(seed)))


def _x_wing_parts(seed: Secret) -> tuple[mlkem.MLKEM768PrivateKey, bytes]:
    """expandDecapsulationKey: the ML-KEM key (d || z) and the X25519 scalar (draft-connolly-cfrg-xwing-kem §5.2)."""
    expanded = _shake256(seed.reveal(), 96)
    return mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:64]), expanded[64:]


def _x_wing_public_of(ml_kem: mlkem.MLKEM768PrivateKey, scalar: bytes) -> bytes:
    return ml_kem.public_key().public_bytes_raw() + nacl.bindings.crypto_scalarmult_base(scalar)


def _x_wing_private(seed: Secret) -> MLKEM768X25519PrivateKey:
    ml_kem, scalar = _x_wing_parts(seed)
    return MLKEM768X25519PrivateKey(ml_kem, x25519.X25519PrivateKey.from_private_bytes(scalar))


def _x_wing_public(public: bytes) -> MLKEM768X25519PublicKey:
    ml_kem = mlkem.MLKEM768PublicKey.from_public_bytes(public[:1184])
    return MLKEM768X25519PublicKey(ml_kem, _x25519_public(public[1184:]))


def _x_wing_combined(ml_kem_shared: bytes, x25519_shared: bytes, x25519_output: bytes, x25519_public: bytes) -> Secret:
    """The combiner of X-Wing (draft-connolly-cfrg-xwing-kem §5.3)."""
    return Secret(
        hashlib.sha3_256(ml_kem_shared + x25519_shared + x25519_output + x25519_public + rb"\.//^" + b"\\").digest()
    )


def _encapsulate_x_wing(public: bytes) -> tuple[Secret, bytes]:
    """Encapsulate (draft-connolly-cfrg-xwing-kem §5.4)."""
    ml_kem_shared, ml_kem_output = mlkem.MLKEM768PublicKey.from_public_bytes(public[:1184]).encapsulate()
    ephemeral = _x25519_private(generate_ephemeral_secret(32))
    x25519_shared = ephemeral.exchange(_x25519_public(public[1184:]))
    x25519_output = ephemeral.public_key().public_bytes_raw()
    combined = _x_wing_combined(ml_kem_shared, x25519_shared, x25519_output, public[1184:])
    return combined, ml_kem_output + x25519_output


def _decapsulate_x_wing(seed: Secret, kem_output: bytes) -> Secret:
    """Decapsulate (draft-connolly-cfrg-xwing-kem §5.5)."""
    ml_kem, scalar = _x_wing_parts(seed)
    ml_kem_shared = ml_kem.decapsulate(kem_output[:1088])
    private = _x25519_private(Secret(scalar))
    x25519_shared = private.exchange(_x25519_public(kem_output[1088:]))
    x25519_public = private.public_key().public_bytes_raw()
    return _x_wing_combined(ml_kem_shared, x25519_shared, kem_output[1088:], x25519_public)


_derive_x25519 = _montgomery_derive(0x0020, "sha256", 32, nacl.bindings.crypto_scalarmult_base)
_derive_x448 = _montgomery_derive(0x0021, "sha512", 56, _x448_base)

X25519 = _dhkem(
    0x0020, "sha256", 32, 32, KEM.X25519, _derive_x25519, _x25519_public, _x25519_private, _montgomery_exchange
)
X448 = _dhkem(0x0021, "sha512", 56, 56, None, _derive_x448, _x448_public, _x448_private, _montgomery_exchange)
P256 = _nist_kem(0x0010, ec.SECP256R1(), "sha256", KEM.P256)
P384 = _nist_kem(0x0011, ec.SECP384R1(), "sha384", KEM.P384)
P521 = _nist_kem(0x0012, ec.SECP521R1(), "sha512", KEM.P521)
X_WING = Kem(
    0x647A,
    1216,
    1120,
    32,
    KEM.MLKEM768_X25519,
    _derive_x_wing,
    _x_wing_public,
    _x_wing_private,
    _encapsulate_x_wing,
    _decapsulate_x_wing,
)
