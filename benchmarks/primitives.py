"""What the primitives alone cost, and what an operation would cost if nothing else did: the bound.

Nobody who stands on the same libraries can be below it. A bound is a formula of counts, `FORMULAS`, over the medians of
one run: a signature is made or checked, a key derived, something sealed or opened, hashed or expanded. The counts are
those that RFC 9420 asks for in the scenario; `n` is the number of members and `d` the length of a path in a full tree,
log2 of n, rounded up.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import statistics
from collections.abc import Callable, Mapping
from typing import Final

from cryptography.hazmat.primitives.asymmetric import mlkem
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nacl import bindings

from benchmarks.timing import rounded, streak
from crypto import suites
from crypto.suites import CipherSuite

SYMBOLS: Final = {
    "S": "Ed25519 signature",
    "V": "Ed25519 verification",
    "G": "key pair of the KEM from a secret",
    "E": "HPKE seal: encapsulate, 7 HMAC, one AES-GCM",
    "O": "HPKE open: decapsulate, 7 HMAC, one AES-GCM",
    "A": "AES-128-GCM, 1 KiB, key and all",
    "a": "AES-128-GCM, 32 bytes, key and all",
    "H": "HMAC-SHA256, one block: a step of HKDF",
    "h": "SHA-256 of 128 bytes: a node of the tree",
}

FORMULAS: Final = {
    "encrypt_1k_us": "S + 6 H + A + a",
    "decrypt_1k_us": "V + 6 H + A + a",
    "key_package_us": "2 S + 2 G",
    "create_{}_ms": "(n - 1) (2 V + E) + d (G + 2 H) + 3 S + 3 n h",
    "join_{}_ms": "(n + 1) V + O + 3 n h + 25 H",
    "commit_{}_ms": "d (G + E + 2 H) + 2 S + 3 d h + 25 H",
    "process_commit_{}_ms": "O + d (G + 2 H) + 2 V + 3 d h + 25 H",
    "process_commit_far_{}_ms": "O + G + 2 H + 2 V + 3 d h + 25 H",
}
"""Of each row; a `{}` stands for the number of members."""


def measure(suite: CipherSuite, count: int) -> dict[str, float]:
    """Microseconds of each symbol, each the median of `count` runs."""
    hybrid = suite is suites.X_WING
    public, secret = bindings.crypto_sign_keypair()
    content, signed = os.urandom(300), b""
    signed = bindings.crypto_sign(content, secret)
    key, nonce, short, long = os.urandom(16), os.urandom(12), os.urandom(32), os.urandom(1_024)
    block = os.urandom(128)
    generate, encapsulate, decapsulate = _hybrid_kem() if hybrid else _x25519_kem()

    def around(kem: Callable[[], object]) -> Callable[[], None]:
        def with_key_schedule() -> None:
            kem()
            for _ in range(7):
                hmac.digest(short, block, "sha256")
            AESGCM(key).encrypt(nonce, short, b"")

        return with_key_schedule

    operations: dict[str, Callable[[], object]] = {
        "S": lambda: bindings.crypto_sign(content, secret),
        "V": lambda: bindings.crypto_sign_open(signed, public),
        "G": generate,
        "E": around(encapsulate),
        "O": around(decapsulate),
        "A": lambda: AESGCM(key).encrypt(nonce, long, b""),
        "a": lambda: AESGCM(key).encrypt(nonce, short, b""),
        "H": lambda: hmac.digest(short, short, "sha256"),
        "h": lambda: hashlib.sha256(block).digest(),
    }
    costs = {}
    for symbol, operation in operations.items():
        streak(operation, count // 10)
        seconds, _ = streak(operation, count)
        costs[symbol] = rounded(statistics.median(seconds) * 1e6)
    return costs


def bounds(costs: Mapping[str, float], sizes: tuple[int, ...]) -> dict[str, float]:
    """The bound of each row, in the unit of its key."""
    found = {}
    for form in FORMULAS:
        for members in sizes if "{}" in form else sizes[:1]:
            if form.startswith("process_commit_far") and members == 2:
                continue
            factor = 1e-3 if form.endswith("_ms") else 1.0
            found[form.format(members)] = rounded(_evaluated(FORMULAS[form], costs, members) * factor)
    return found


def _evaluated(formula: str, costs: Mapping[str, float], members: int) -> float:
    """A formula in the notation above: sums of products, a product being written by a space."""
    values = {**costs, "n": members, "d": (members - 1).bit_length()}
    position, tokens = 0, formula.replace("(", " ( ").replace(")", " ) ").split()

    def total() -> float:
        nonlocal position
        result = product()
        while position < len(tokens) and tokens[position] in ("+", "-"):
            sign = 1 if tokens[position] == "+" else -1
            position += 1
            result += sign * product()
        return result

    def product() -> float:
        nonlocal position
        result = 1.0
        while position < len(tokens) and tokens[position] not in ("+", "-", ")"):
            token = tokens[position]
            position += 1
            if token == "(":
                result *= total()
                position += 1
            else:
                result *= values[token] if token in values else float(token)
        return result

    return total()


def _x25519_kem() -> tuple[Callable[[], object], Callable[[], object], Callable[[], object]]:
    scalar, point = os.urandom(32), bindings.crypto_scalarmult_base(os.urandom(32))

    def generate() -> object:
        return bindings.crypto_scalarmult_base(scalar)

    def encapsulate() -> object:
        return bindings.crypto_scalarmult_base(scalar), bindings.crypto_scalarmult(scalar, point)

    def decapsulate() -> object:
        return bindings.crypto_scalarmult(scalar, point)

    return generate, encapsulate, decapsulate


def _hybrid_kem() -> tuple[Callable[[], object], Callable[[], object], Callable[[], object]]:
    """X25519 beside ML-KEM-768, from seeds as MLS has them, and one hash to combine them."""
    x_generate, x_encapsulate, x_decapsulate = _x25519_kem()
    seed = os.urandom(64)
    private = mlkem.MLKEM768PrivateKey.from_seed_bytes(seed)
    encoded = private.public_key().public_bytes_raw()
    _, ciphertext = private.public_key().encapsulate()
    combined = os.urandom(134)

    def generate() -> object:
        made = mlkem.MLKEM768PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw()
        return hashlib.shake_256(seed).digest(96), made, x_generate()

    def encapsulate() -> object:
        made = mlkem.MLKEM768PublicKey.from_public_bytes(encoded).encapsulate()
        return made, x_encapsulate(), hashlib.sha3_256(combined).digest()

    def decapsulate() -> object:
        opened = mlkem.MLKEM768PrivateKey.from_seed_bytes(seed).decapsulate(ciphertext)
        return opened, x_decapsulate(), hashlib.sha3_256(combined).digest()

    return generate, encapsulate, decapsulate
