"""HPKE against the vectors of RFC 9180 and of the hybrid KEM, and against bad keys and ciphertexts.

Both files come with the package `cryptography-vectors`. Its ciphertexts have associated data, which MLS never uses; so
the key and nonce that a vector gives for its first message encrypt that message again without.
"""

from __future__ import annotations

import hmac
import json
from importlib import resources
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hpke import AEAD, KDF

from crypto import hpke
from crypto.errors import AuthenticationError, DecodeError
from crypto.secret import Secret
from tests.vectors import wycheproof

Vector = dict[str, Any]

KEMS = {kem.id: kem for kem in (hpke.P256, hpke.P384, hpke.P521, hpke.X25519, hpke.X_WING)}
KDFS = {1: KDF.HKDF_SHA256, 2: KDF.HKDF_SHA384, 3: KDF.HKDF_SHA512}
AEADS: dict[int, tuple[AEAD, type[AESGCM] | type[ChaCha20Poly1305]]] = {
    1: (AEAD.AES_128_GCM, AESGCM),
    2: (AEAD.AES_256_GCM, AESGCM),
    3: (AEAD.CHACHA20_POLY1305, ChaCha20Poly1305),
}
NAMES = {0x10: "P-256", 0x11: "P-384", 0x12: "P-521", 0x20: "X25519", 0x647A: "X-Wing"}
BASE_MODE = 0

X25519_LOW_ORDER = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]
EVERY_KEM = pytest.mark.parametrize("kem", KEMS.values(), ids=NAMES.values())


def _published() -> list[Vector]:
    folder = resources.files("cryptography_vectors") / "HPKE"
    files = ("test-vectors.json", "hpke-pq-test-vectors.json")
    return [vector for file in files for vector in json.loads((folder / file).read_bytes())]


def _id(vector: Vector) -> str:
    return f"{NAMES[vector['kem_id']]}-{vector['kdf_id']}-{vector['aead_id']}"


OF_OUR_KEMS = [vector for vector in _published() if vector["kem_id"] in KEMS]
TO_OPEN = [
    vector
    for vector in OF_OUR_KEMS
    if vector["mode"] == BASE_MODE and vector["kdf_id"] in KDFS and vector["aead_id"] in AEADS
]


def test_the_published_vectors_cover_every_kem_of_ours() -> None:
    assert len(OF_OUR_KEMS) == 96 + 5
    assert {vector["kem_id"] for vector in OF_OUR_KEMS} == set(KEMS)
    assert len(TO_OPEN) == 3 * 2 * 3 + 1  # P-384 has vectors with other KDFs only
    assert {vector["kem_id"] for vector in TO_OPEN} == set(KEMS) - {hpke.P384.id}


@pytest.mark.parametrize("vector", OF_OUR_KEMS, ids=_id)
def test_derive_key_pair(vector: Vector) -> None:
    kem = KEMS[vector["kem_id"]]
    pairs = [("ikmR", "skRm", "pkRm"), ("ikmE", "skEm", "pkEm"), ("ikmS", "skSm", "pkSm")]
    checked = 0
    for secret, private, public in pairs:
        if private in vector:  # a KEM that is no DHKEM has no ephemeral key pair, and only some modes a sender's
            pair = kem.derive_key_pair(Secret(bytes.fromhex(vector[secret])))
            assert pair.private.reveal().hex() == vector[private]
            assert pair.public.hex() == vector[public]
            assert (len(pair.private), len(pair.public)) == (kem.private_key_size, kem.public_key_size)
            checked += 1
    assert checked


@pytest.mark.parametrize("vector", TO_OPEN, ids=_id)
def test_open(vector: Vector) -> None:
    aead, primitive = AEADS[vector["aead_id"]]
    box = hpke.hpke(KEMS[vector["kem_id"]], KDFS[vector["kdf_id"]], aead)
    private, info, kem_output = (bytes.fromhex(vector[name]) for name in ("skRm", "info", "enc"))
    first = vector["encryptions"][0]
    key, nonce, plaintext = (
        bytes.fromhex(hexadecimal) for hexadecimal in (vector["key"], vector["base_nonce"], first["pt"])
    )
    assert primitive(key).encrypt(nonce, plaintext, bytes.fromhex(first["aad"])).hex() == first["ct"]
    ciphertext = primitive(key).encrypt(nonce, plaintext, None)
    assert box.open(Secret(private), info, kem_output, ciphertext) == plaintext


def _box(kem: hpke.Kem) -> hpke.HPKE:
    return hpke.hpke(kem, KDF.HKDF_SHA256, AEAD.AES_128_GCM)


def _pair(kem: hpke.Kem, seed: int = 1) -> hpke.HPKEKeyPair:
    return kem.derive_key_pair(Secret(bytes([seed]) * 66))


@EVERY_KEM
def test_what_is_sealed_opens_and_only_as_it_was_sealed(kem: hpke.Kem) -> None:
    box, pair = _box(kem), _pair(kem)
    kem_output, ciphertext = box.seal(pair.public, b"info", b"plaintext")
    assert len(kem_output) == kem.output_size
    assert box.open(pair.private, b"info", kem_output, ciphertext) == b"plaintext"

    def flipped(data: bytes, place: int) -> bytes:
        return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]

    wrong = [
        (_pair(kem, 2).private, b"info", kem_output, ciphertext),
        (pair.private, b"inf0", kem_output, ciphertext),
        (pair.private, b"", kem_output, ciphertext),
        *[(pair.private, b"info", flipped(kem_output, n), ciphertext) for n in (0, 9, kem.output_size - 1)],
        *[(pair.private, b"info", kem_output, flipped(ciphertext, n)) for n in range(len(ciphertext))],
        *[(pair.private, b"info", kem_output, ciphertext[:n]) for n in range(len(ciphertext))],
        (pair.private, b"info", kem_output, ciphertext + b"\0"),
        (pair.private, b"info", kem_output[:-1], kem_output[-1:] + ciphertext),  # the same bytes, cut elsewhere
        (pair.private, b"info", kem_output + ciphertext[:1], ciphertext[1:]),
        (pair.private, b"info", b"", ciphertext),
        (pair.private, b"info", bytes(kem.output_size), ciphertext),
        (pair.private, b"info", b"\xff" * kem.output_size, ciphertext),
    ]
    for private, info, output, text in wrong:
        with pytest.raises(AuthenticationError, match=r"^the message is not authentic$"):
            box.open(private, info, output, text)


@EVERY_KEM
def test_a_public_key_of_another_size_is_refused(kem: hpke.Kem) -> None:
    box, public = _box(kem), _pair(kem).public
    box.check_public_key(public)
    for wrong in (b"", public[:-1], public + b"\0", public * 2):
        with pytest.raises(DecodeError, match="wrong size"):
            box.check_public_key(wrong)
        with pytest.raises(DecodeError, match="wrong size"):
            box.seal(wrong, b"", b"")


@pytest.mark.parametrize("kem", [hpke.P256, hpke.P384, hpke.P521], ids=["P-256", "P-384", "P-521"])
def test_a_point_off_the_curve_is_refused(kem: hpke.Kem) -> None:
    box, public = _box(kem), _pair(kem).public
    moved = public[:-1] + bytes([public[-1] ^ 1])
    for wrong in (
        moved,
        bytes(len(public)),
        b"\x06" + public[1:],
        b"\x02" + public[1:],
        b"\x04" + bytes(len(moved) - 1),
    ):
        with pytest.raises(DecodeError, match="not an HPKE public key"):
            box.check_public_key(wrong)
        with pytest.raises(DecodeError, match="not an HPKE public key"):
            box.seal(wrong, b"", b"")


@pytest.mark.parametrize("point", X25519_LOW_ORDER)
@pytest.mark.parametrize("kem", [hpke.X25519, hpke.X_WING], ids=["X25519", "X-Wing"])
def test_nothing_is_sealed_to_a_point_of_low_order(kem: hpke.Kem, point: str) -> None:
    public = _pair(kem).public[:-32] + bytes.fromhex(point)
    with pytest.raises(DecodeError, match="not an HPKE public key"):
        _box(kem).seal(public, b"info", b"plaintext")


def test_an_ml_kem_key_that_fails_the_modulus_check_is_refused() -> None:
    box, x25519_public = _box(hpke.X_WING), _pair(hpke.X25519).public
    overflowing = 0
    for _group, test in wycheproof("mlkem_768_encaps_test.json"):
        public = bytes.fromhex(test["ek"]) + x25519_public
        if test["result"] == "valid":
            box.check_public_key(public)
        else:
            with pytest.raises(DecodeError):
                box.check_public_key(public)
            overflowing += "ModulusOverflow" in test["flags"]
    assert overflowing == 12


@pytest.mark.parametrize("kem", [hpke.P256, hpke.P384, hpke.P521], ids=["P-256", "P-384", "P-521"])
def test_candidates_that_are_no_scalar_are_passed_over(kem: hpke.Kem, monkeypatch: pytest.MonkeyPatch) -> None:
    """For P-256 one candidate in 2**32 is too large, so the draws are given here: all ones, zero, then one."""
    size = kem.private_key_size
    draws = iter([b"\xff" * size, bytes(size), bytes(size - 1) + b"\x01"])
    monkeypatch.setattr(hpke, "_labeled_expand", lambda *_arguments: next(draws))
    assert kem.derive_key_pair(Secret(bytes(66))).private.reveal() == bytes(size - 1) + b"\x01"
    monkeypatch.setattr(hpke, "_labeled_expand", lambda *_arguments: bytes(size))
    with pytest.raises(AssertionError, match="256 candidates"):
        kem.derive_key_pair(Secret(bytes(66)))


def test_hkdf_expand_gives_any_length_up_to_its_limit() -> None:
    checked = 0
    for _group, test in wycheproof("hkdf_sha256_test.json"):
        if test["result"] != "valid":
            continue
        salt = bytes.fromhex(test["salt"]) or bytes(32)
        extracted = hmac.digest(salt, bytes.fromhex(test["ikm"]), "sha256")
        assert hpke.hkdf_expand("sha256", extracted, bytes.fromhex(test["info"]), test["size"]).hex() == test["okm"]
        checked += 1
    assert checked > 70


@pytest.mark.parametrize("name, size", [("sha256", 32), ("sha384", 48), ("sha512", 64)])
def test_hash_size(name: str, size: int) -> None:
    assert hpke.hash_size(name) == size
