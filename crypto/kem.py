"""The KEMs of our cipher suites (RFC 9180 §4.1, §7.1; X-Wing: draft-connolly-cfrg-xwing-kem): keys and shared secrets.

The groups and ML-KEM are PyNaCl's and `cryptography`'s; what is here is what RFC 9180 puts around them: `DeriveKeyPair`
for TreeKEM, `Encap` and `Decap`. Keys are bytes in RFC 9180's serialisation (a private key is a `Secret`). A point off
the curve, a point of low order, or an ML-KEM key that fails the modulus check is a `ValueError`, which `hpke` makes a
`DecodeError`.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass

import nacl.bindings
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x448

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
    derive_key_pair: Callable[[Secret], HPKEKeyPair]
    check_public_key: Callable[[bytes], object]
    """Raises `ValueError` unless one can encrypt to the key; the caller has checked its size."""
    encapsulate: Callable[[bytes], tuple[Secret, bytes]]
    """Encap(pkR): the shared secret and the KEM output. Raises `ValueError` for a bad public key."""
    decapsulate: Callable[[HPKEKeyPair, bytes], Secret]
    """Decap(enc, skR), the keys first. Raises `ValueError` for a bad KEM output.

    The public key enters the derivation. Whoever holds a private key has it at hand, so it is not computed anew.
    """


def labeled_extract(hash_name: str, suite_id: bytes, label: bytes, key: bytes, salt: bytes = b"") -> bytes:
    """LabeledExtract(salt, label, ikm) (RFC 9180 §4)."""
    return hmac.digest(salt or bytes(hash_size(hash_name)), b"HPKE-v1" + suite_id + label + key, hash_name)


def labeled_expand(hash_name: str, suite_id: bytes, secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
    """LabeledExpand (RFC 9180 §4)."""
    info = length.to_bytes(2, "big") + b"HPKE-v1" + suite_id + label + context
    return hkdf_expand(hash_name, secret, info, length)


def hkdf_expand(hash_name: str, secret: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand (RFC 5869 §2.3). `length` is at most 255 outputs of the hash."""
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
    derive: Callable[[Secret], HPKEKeyPair],
    check_public: Callable[[bytes], object],
    exchange: Callable[[Secret, bytes], bytes],
) -> Kem:
    """DHKEM (RFC 9180 §4.1) over a group. `exchange` is its Diffie-Hellman function. Nsecret is KDF.Nh."""
    suite_id = b"KEM" + kem_id.to_bytes(2, "big")

    def extract_and_expand(shared: bytes, kem_output: bytes, public_key: bytes) -> Secret:
        extracted = labeled_extract(hash_name, suite_id, b"eae_prk", shared)
        context, size = kem_output + public_key, hash_size(hash_name)
        return Secret(labeled_expand(hash_name, suite_id, extracted, b"shared_secret", context, size))

    def encapsulate(public_key: bytes) -> tuple[Secret, bytes]:
        check_public(public_key)
        ephemeral = derive(generate_ephemeral_secret(private_key_size))
        shared = exchange(ephemeral.private, public_key)
        return extract_and_expand(shared, ephemeral.public, public_key), ephemeral.public

    def decapsulate(keys: HPKEKeyPair, kem_output: bytes) -> Secret:
        check_public(kem_output)
        return extract_and_expand(exchange(keys.private, kem_output), kem_output, keys.public)

    return Kem(
        kem_id, public_key_size, public_key_size, private_key_size, derive, check_public, encapsulate, decapsulate
    )


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
    kem_id: int, hash_name: str, size: int, public_of: Callable[[Secret], bytes]
) -> Callable[[Secret], HPKEKeyPair]:
    """DeriveKeyPair of DHKEM(X25519) and DHKEM(X448) (RFC 9180 §7.1.3)."""
    suite_id = b"KEM" + kem_id.to_bytes(2, "big")

    def derive(secret: Secret) -> HPKEKeyPair:
        extracted = labeled_extract(hash_name, suite_id, b"dkp_prk", secret.reveal())
        private = Secret(labeled_expand(hash_name, suite_id, extracted, b"sk", b"", size))
        return HPKEKeyPair(private, public_of(private))

    return derive


def _check_x25519(public: bytes) -> None:
    if public[:-1] + bytes([public[-1] & 0x7F]) in _LOW_ORDER_25519:  # X25519 ignores the top bit
        raise ValueError("a point of low order")


def _x25519_exchange(private: Secret, public: bytes) -> bytes:
    _check_x25519_sizes(len(private), len(public))
    return nacl.bindings.crypto_scalarmult(private.reveal(), public)


def _x25519_public(private: Secret) -> bytes:
    _check_x25519_sizes(len(private))
    return nacl.bindings.crypto_scalarmult_base(private.reveal())


def _check_x25519_sizes(*sizes: int) -> None:
    """PyNaCl does not look, and libsodium would read past the end of a short key."""
    if any(size != 32 for size in sizes):
        raise ValueError("an X25519 key of the wrong size")


def _check_x448(public: bytes) -> None:
    if public in _LOW_ORDER_448:
        raise ValueError("a point of low order")


def _x448_exchange(private: Secret, public: bytes) -> bytes:
    key = x448.X448PrivateKey.from_private_bytes(private.reveal())
    return key.exchange(x448.X448PublicKey.from_public_bytes(public))


def _x448_public(private: Secret) -> bytes:
    return x448.X448PrivateKey.from_private_bytes(private.reveal()).public_key().public_bytes_raw()


def _nist_kem(kem_id: int, curve: ec.EllipticCurve, hash_name: str) -> Kem:
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
                return HPKEKeyPair(candidate, public_of(candidate))
            except ValueError:  # zero, or not below the order
                continue
        raise AssertionError("256 candidates outside the field: not a hash function")

    def load_private(private: Secret) -> ec.EllipticCurvePrivateKey:
        return ec.derive_private_key(int.from_bytes(private.reveal(), "big"), curve)

    def load_public(public: bytes) -> ec.EllipticCurvePublicKey:
        return ec.EllipticCurvePublicKey.from_encoded_point(curve, public)

    def public_of(private: Secret) -> bytes:
        encoding, form = serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        return load_private(private).public_key().public_bytes(encoding, form)

    def exchange(private: Secret, public: bytes) -> bytes:
        return load_private(private).exchange(ec.ECDH(), load_public(public))

    return _dhkem(kem_id, hash_name, 1 + 2 * size, size, derive, load_public, exchange)


def _shake256(data: bytes, length: int) -> bytes:
    return hashlib.shake_256(data).digest(length)


def _derive_x_wing(secret: Secret) -> HPKEKeyPair:
    """DeriveKeyPair of X-Wing as draft-ietf-hpke-pq has it: SHAKE256.LabeledDerive to the 32-byte seed."""
    label = b"DeriveKeyPair"
    labelled = b"HPKE-v1" + b"KEM" + (0x647A).to_bytes(2, "big")
    labelled += len(label).to_bytes(2, "big") + label + (32).to_bytes(2, "big")
    seed = Secret(_shake256(secret.reveal() + labelled, 32))
    ml_kem, scalar = _x_wing_parts(seed)
    return HPKEKeyPair(seed, ml_kem.public_key().public_bytes_raw() + _x25519_public(scalar))


def _x_wing_parts(seed: Secret) -> tuple[mlkem.MLKEM768PrivateKey, Secret]:
    """expandDecapsulationKey: the ML-KEM key (d || z) and the X25519 scalar (draft-connolly-cfrg-xwing-kem §5.2)."""
    expanded = _shake256(seed.reveal(), 96)
    return mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:64]), Secret(expanded[64:])


def _check_x_wing(public: bytes) -> None:
    mlkem.MLKEM768PublicKey.from_public_bytes(public[:1184])
    _check_x25519(public[1184:])


def _x_wing_combined(ml_kem_shared: bytes, x25519_shared: bytes, x25519_output: bytes, x25519_public: bytes) -> Secret:
    """The combiner of X-Wing (draft-connolly-cfrg-xwing-kem §5.3)."""
    return Secret(
        hashlib.sha3_256(ml_kem_shared + x25519_shared + x25519_output + x25519_public + rb"\.//^" + b"\\").digest()
    )


def _encapsulate_x_wing(public: bytes) -> tuple[Secret, bytes]:
    """Encapsulate (draft-connolly-cfrg-xwing-kem §5.4)."""
    _check_x25519(public[1184:])
    ml_kem_shared, ml_kem_output = mlkem.MLKEM768PublicKey.from_public_bytes(public[:1184]).encapsulate()
    ephemeral = generate_ephemeral_secret(32)
    x25519_shared, x25519_output = _x25519_exchange(ephemeral, public[1184:]), _x25519_public(ephemeral)
    combined = _x_wing_combined(ml_kem_shared, x25519_shared, x25519_output, public[1184:])
    return combined, ml_kem_output + x25519_output


def _decapsulate_x_wing(keys: HPKEKeyPair, kem_output: bytes) -> Secret:
    """Decapsulate (draft-connolly-cfrg-xwing-kem §5.5)."""
    _check_x25519(kem_output[1088:])
    ml_kem, scalar = _x_wing_parts(keys.private)
    ml_kem_shared = ml_kem.decapsulate(kem_output[:1088])
    x25519_shared = _x25519_exchange(scalar, kem_output[1088:])
    return _x_wing_combined(ml_kem_shared, x25519_shared, kem_output[1088:], keys.public[1184:])


X25519 = _dhkem(
    0x0020,
    "sha256",
    32,
    32,
    _montgomery_derive(0x0020, "sha256", 32, _x25519_public),
    _check_x25519,
    _x25519_exchange,
)
X448 = _dhkem(
    0x0021,
    "sha512",
    56,
    56,
    _montgomery_derive(0x0021, "sha512", 56, _x448_public),
    _check_x448,
    _x448_exchange,
)
P256 = _nist_kem(0x0010, ec.SECP256R1(), "sha256")
P384 = _nist_kem(0x0011, ec.SECP384R1(), "sha384")
P521 = _nist_kem(0x0012, ec.SECP521R1(), "sha512")
X_WING = Kem(0x647A, 1216, 1120, 32, _derive_x_wing, _check_x_wing, _encapsulate_x_wing, _decapsulate_x_wing)
