"""HPKE against the vectors of RFC 9180 and of the hybrid KEM, and against bad keys and ciphertexts.

Both files come with the package `cryptography-vectors`. Its ciphertexts have associated data, which MLS never uses; so
the key and nonce that a vector gives for its first message encrypt that message again without.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import replace
from importlib import resources
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, Suite
from nacl.exceptions import RuntimeError as NaClError

from crypto import hpke
from crypto import kem as kems
from crypto.errors import AuthenticationError, DecodeError
from crypto.secret import Secret

Vector = dict[str, Any]

KEMS = {kem.id: kem for kem in (kems.P256, kems.P384, kems.P521, kems.X25519, kems.X448, kems.X_WING)}
HASHES = {1: "sha256", 2: "sha384", 3: "sha512"}
AEADS: dict[int, tuple[type[AESGCM] | type[ChaCha20Poly1305], int]] = {
    1: (AESGCM, 16),
    2: (AESGCM, 32),
    3: (ChaCha20Poly1305, 32),
}
NAMES = {0x10: "P-256", 0x11: "P-384", 0x12: "P-521", 0x20: "X25519", 0x21: "X448", 0x647A: "X-Wing"}
BASE_MODE, PSK_MODE = 0, 1
NO_AEAD = 0xFFFF

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


def _left_out(vector: Vector) -> str | None:
    """Why a vector cannot be opened as it stands; None: it can."""
    if vector["kem_id"] not in KEMS:
        return "a KEM that no suite of ours has"
    if vector["mode"] != BASE_MODE:
        return "a mode with a pre-shared key or a sender's key, which MLS does not use"
    if vector["kdf_id"] not in HASHES:
        return "a KDF that no suite of ours has"
    if vector["aead_id"] not in AEADS:
        return "export only, without an AEAD"
    return None


PUBLISHED = _published()
OF_OUR_KEMS = [vector for vector in PUBLISHED if vector["kem_id"] in KEMS]
TO_OPEN = [vector for vector in PUBLISHED if _left_out(vector) is None]
TO_DECAPSULATE = [vector for vector in OF_OUR_KEMS if vector["mode"] in (BASE_MODE, PSK_MODE)]
EXPORT_ONLY = [vector for vector in OF_OUR_KEMS if vector["mode"] == BASE_MODE and vector["aead_id"] == NO_AEAD]


def test_every_published_vector_is_used_or_has_its_reason() -> None:
    """Those that cannot be opened are used too: each of our KEMs' gives key pairs, and most a shared secret."""
    assert len(PUBLISHED) == 128 + 13
    assert Counter(map(_left_out, PUBLISHED)) == {
        None: 4 * 2 * 3 + 1,
        "a KEM that no suite of ours has": 7,
        "a mode with a pre-shared key or a sender's key, which MLS does not use": 96,
        "a KDF that no suite of ours has": 5,
        "export only, without an AEAD": 8,
    }
    assert (len(OF_OUR_KEMS), len(TO_DECAPSULATE), len(EXPORT_ONLY)) == (128 + 6, 64 + 6, 8)
    assert {vector["kem_id"] for vector in TO_DECAPSULATE} == set(KEMS)
    assert {vector["kem_id"] for vector in TO_OPEN} == set(KEMS) - {kems.P384.id}  # with other KDFs only


@pytest.mark.parametrize("vector", TO_DECAPSULATE, ids=_id)
def test_decapsulate(vector: Vector) -> None:
    """The KEM alone, so the KDF and the AEAD beside it do not matter."""
    shared = KEMS[vector["kem_id"]].decapsulate(_pair_of(vector), bytes.fromhex(vector["enc"]))
    assert shared.reveal().hex() == vector["shared_secret"]


@pytest.mark.parametrize("vector", EXPORT_ONLY, ids=_id)
def test_receive_export_without_an_aead(vector: Vector) -> None:
    """No suite of MLS is without AEAD, but the exporter needs none: only the suite's id tells them apart."""
    box = hpke.hpke(KEMS[vector["kem_id"]], HASHES[vector["kdf_id"]], AESGCM, 16)
    suite_id = box.suite_id[:-2] + NO_AEAD.to_bytes(2, "big")
    psk_id_hash = kems.labeled_extract(box.hash_name, suite_id, b"psk_id_hash", b"")
    _receives_exports(replace(box, suite_id=suite_id, psk_id_hash=psk_id_hash), vector)


@pytest.mark.parametrize("vector", OF_OUR_KEMS, ids=_id)
def test_derive_key_pair(vector: Vector) -> None:
    kem = KEMS[vector["kem_id"]]
    pairs = [("ikmR", "skRm", "pkRm"), ("ikmE", "skEm", "pkEm"), ("ikmS", "skSm", "pkSm")]
    checked = 0
    for secret, private, public in pairs:
        if private in vector:  # a KEM that is no DHKEM has no ephemeral key pair, and only some modes a sender's
            pair = kem.derive_key_pair(Secret(bytes.fromhex(vector[secret])))
            derived = pair.private.reveal()
            assert vector[private] in (derived.hex(), as_published(kem, derived).hex())
            assert pair.public.hex() == vector[public]
            assert (len(pair.private), len(pair.public)) == (kem.private_key_size, kem.public_key_size)
            checked += 1
    assert checked


def as_published(kem: kems.Kem, private: bytes) -> bytes:
    """The newer file has X448 keys with those bits set already that X448 sets itself (RFC 7748 §5)."""
    if kem is not kems.X448:
        return private
    return bytes([private[0] & 0xFC]) + private[1:-1] + bytes([private[-1] | 0x80])


@pytest.mark.parametrize("vector", TO_OPEN, ids=_id)
def test_open(vector: Vector) -> None:
    box, primitive = _box_of(vector), AEADS[vector["aead_id"]][0]
    info, kem_output = (bytes.fromhex(vector[name]) for name in ("info", "enc"))
    first = vector["encryptions"][0]
    key, nonce, plaintext = (
        bytes.fromhex(hexadecimal) for hexadecimal in (vector["key"], vector["base_nonce"], first["pt"])
    )
    assert primitive(key).encrypt(nonce, plaintext, bytes.fromhex(first["aad"])).hex() == first["ct"]
    ciphertext = primitive(key).encrypt(nonce, plaintext, None)
    assert box.open(_pair_of(vector), info, kem_output, ciphertext) == plaintext


@pytest.mark.parametrize("vector", TO_OPEN, ids=_id)
def test_receive_export(vector: Vector) -> None:
    _receives_exports(_box_of(vector), vector)


def _receives_exports(box: hpke.HPKE, vector: Vector) -> None:
    info, kem_output = (bytes.fromhex(vector[name]) for name in ("info", "enc"))
    assert vector["exports"]
    for export in vector["exports"]:
        context = bytes.fromhex(export["exporter_context"])
        exported = box.receive_export(_pair_of(vector), info, kem_output, context, export["L"])
        assert exported.reveal().hex() == export["exported_value"]


@pytest.mark.parametrize("vector", [each for each in TO_OPEN if each["kem_id"] != kems.X_WING.id], ids=_id)
def test_send_export(vector: Vector, monkeypatch: pytest.MonkeyPatch) -> None:
    """X-Wing is left out: the primitive draws ML-KEM's randomness itself."""
    box, kem, primitive = _box_of(vector), KEMS[vector["kem_id"]], AEADS[vector["aead_id"]][0]
    public, info, drawn = (bytes.fromhex(vector[name]) for name in ("pkRm", "info", "ikmE"))
    monkeypatch.setattr(kems.os, "urandom", lambda size: drawn[:size])
    assert len(drawn) == kem.private_key_size
    shared, kem_output = kem.encapsulate(public)
    assert shared.reveal().hex() == vector["shared_secret"]
    assert kem_output.hex() == vector["enc"]
    for export in vector["exports"]:
        context = bytes.fromhex(export["exporter_context"])
        again, exported = box.send_export(public, info, context, export["L"])
        assert again == kem_output
        assert exported.reveal().hex() == export["exported_value"]
    key, nonce = bytes.fromhex(vector["key"]), bytes.fromhex(vector["base_nonce"])
    assert _seal(box, public, info) == (kem_output, primitive(key).encrypt(nonce, b"plaintext", None))


@EVERY_KEM
def test_an_exported_secret_is_shared_by_two_and_bound_to_all_that_enters(kem: kems.Kem) -> None:
    box, pair = _box(kem), _pair(kem)
    kem_output, secret = box.send_export(pair.public, b"info", b"context", 32)
    assert box.receive_export(pair, b"info", kem_output, b"context", 32) == secret
    assert box.send_export(pair.public, b"info", b"context", 32)[1] != secret
    for keys, info, context, length in (
        (_pair(kem, 2), b"info", b"context", 32),
        (pair, b"other", b"context", 32),
        (pair, b"info", b"other", 32),
        (pair, b"info", b"context", 33),
    ):
        assert box.receive_export(keys, info, kem_output, context, length).reveal()[:32] != secret.reveal()


@EVERY_KEM
def test_what_is_no_kem_output_exports_nothing(kem: kems.Kem) -> None:
    box, pair = _box(kem), _pair(kem)
    good, _ = box.send_export(pair.public, b"", b"", 32)
    for size in (0, len(good) - 1, len(good) + 1):
        with pytest.raises(DecodeError, match="wrong size"):
            box.receive_export(pair, b"", (good * 2)[:size], b"", 32)
    with pytest.raises(DecodeError, match="not a KEM output"):
        box.receive_export(pair, b"", good[:-66] + bytes(len(good[-66:])), b"", 32)
    with pytest.raises(DecodeError, match="not an HPKE public key"):
        box.send_export(pair.public[:-66] + bytes(len(pair.public[-66:])), b"", b"", 32)


def _x_wing_key_of_cryptography(seed: bytes) -> MLKEM768X25519PrivateKey:
    expanded = hashlib.shake_256(seed).digest(96)
    ml_kem = mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
    return MLKEM768X25519PrivateKey(ml_kem, x25519.X25519PrivateKey.from_private_bytes(expanded[64:]))


OF_CRYPTOGRAPHY = {
    kems.X25519: (KEM.X25519, x25519.X25519PrivateKey.from_private_bytes),
    kems.P256: (KEM.P256, lambda private: ec.derive_private_key(int.from_bytes(private, "big"), ec.SECP256R1())),
    kems.P384: (KEM.P384, lambda private: ec.derive_private_key(int.from_bytes(private, "big"), ec.SECP384R1())),
    kems.P521: (KEM.P521, lambda private: ec.derive_private_key(int.from_bytes(private, "big"), ec.SECP521R1())),
    kems.X_WING: (KEM.MLKEM768_X25519, _x_wing_key_of_cryptography),
}
"""Each KEM as `cryptography` has it, and how it loads a private key. It has no X448."""


@pytest.mark.parametrize("kem", OF_CRYPTOGRAPHY, ids=lambda kem: NAMES[kem.id])
@pytest.mark.parametrize("aead", [1, 2, 3], ids=["AES-128", "AES-256", "ChaCha20"])
def test_as_cryptography_has_it(kem: kems.Kem, aead: int) -> None:
    """Two implementations of one standard: what the one seals, the other opens, both ways."""
    box, pair = hpke.hpke(kem, "sha256", *AEADS[aead]), _pair(kem)
    their_kem, load = OF_CRYPTOGRAPHY[kem]
    suite = Suite(their_kem, KDF.HKDF_SHA256, [AEAD.AES_128_GCM, AEAD.AES_256_GCM, AEAD.CHACHA20_POLY1305][aead - 1])
    private = load(pair.private.reveal())
    assert suite.decrypt(b"".join(_seal(box, pair.public, b"info")), private, b"info") == b"plaintext"
    sealed = suite.encrypt(b"plaintext", private.public_key(), b"info")
    kem_output, ciphertext = sealed[: kem.output_size], sealed[kem.output_size :]
    assert box.open(pair, b"info", kem_output, ciphertext) == b"plaintext"


@EVERY_KEM
def test_what_is_sealed_to_many_is_for_each_its_own(kem: kems.Kem) -> None:
    box, pairs = _box(kem), [_pair(kem, seed) for seed in (1, 2, 3)]
    texts = [b"one", b"two", b"three"]
    sealed = box.seal_each(b"info", zip([pair.public for pair in pairs], texts, strict=True))
    assert [box.open(pair, b"info", *each) for pair, each in zip(pairs, sealed, strict=True)] == texts
    assert len({kem_output for kem_output, _ in sealed}) == 3
    with pytest.raises(AuthenticationError):
        box.open(pairs[0], b"info", *sealed[1])
    assert box.seal_each(b"info", []) == []


def _box(kem: kems.Kem) -> hpke.HPKE:
    return hpke.hpke(kem, "sha256", AESGCM, 16)


def _box_of(vector: Vector) -> hpke.HPKE:
    return hpke.hpke(KEMS[vector["kem_id"]], HASHES[vector["kdf_id"]], *AEADS[vector["aead_id"]])


def _pair_of(vector: Vector) -> kems.HPKEKeyPair:
    return kems.HPKEKeyPair(Secret(bytes.fromhex(vector["skRm"])), bytes.fromhex(vector["pkRm"]))


def _seal(box: hpke.HPKE, public: bytes, info: bytes, plaintext: bytes = b"plaintext") -> tuple[bytes, bytes]:
    (sealed,) = box.seal_each(info, [(public, plaintext)])
    return sealed


def _pair(kem: kems.Kem, seed: int = 1) -> kems.HPKEKeyPair:
    return kem.derive_key_pair(Secret(bytes([seed]) * 66))


@EVERY_KEM
def test_what_is_sealed_opens_and_only_as_it_was_sealed(kem: kems.Kem) -> None:
    box, pair = _box(kem), _pair(kem)
    kem_output, ciphertext = _seal(box, pair.public, b"info")
    assert len(kem_output) == kem.output_size
    assert box.open(pair, b"info", kem_output, ciphertext) == b"plaintext"

    def flipped(data: bytes, place: int) -> bytes:
        return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]

    wrong = [
        (_pair(kem, 2), b"info", kem_output, ciphertext),
        (kems.HPKEKeyPair(_pair(kem, 2).private, pair.public), b"info", kem_output, ciphertext),
        (kems.HPKEKeyPair(pair.private, _pair(kem, 2).public), b"info", kem_output, ciphertext),
        (pair, b"inf0", kem_output, ciphertext),
        (pair, b"", kem_output, ciphertext),
        *[(pair, b"info", flipped(kem_output, n), ciphertext) for n in (0, 9, kem.output_size - 1)],
        *[(pair, b"info", kem_output, flipped(ciphertext, n)) for n in range(len(ciphertext))],
        *[(pair, b"info", kem_output, ciphertext[:n]) for n in range(len(ciphertext))],
        (pair, b"info", kem_output, ciphertext + b"\0"),
        (pair, b"info", kem_output[:-1], kem_output[-1:] + ciphertext),  # the same bytes, cut elsewhere
        (pair, b"info", kem_output + ciphertext[:1], ciphertext[1:]),
        (pair, b"info", b"", ciphertext),
        (pair, b"info", bytes(kem.output_size), ciphertext),
        (pair, b"info", b"\xff" * kem.output_size, ciphertext),
    ]
    for keys, info, output, text in wrong:
        with pytest.raises(AuthenticationError, match=r"^the message is not authentic$"):
            box.open(keys, info, output, text)


@EVERY_KEM
def test_a_public_key_of_another_size_is_refused(kem: kems.Kem) -> None:
    box, public = _box(kem), _pair(kem).public
    box.check_public_key(public)
    for wrong in (b"", public[:-1], public + b"\0", public * 2):
        with pytest.raises(DecodeError, match="wrong size"):
            box.check_public_key(wrong)
        with pytest.raises(DecodeError, match="wrong size"):
            _seal(box, wrong, b"")


@pytest.mark.parametrize("kem", [kems.P256, kems.P384, kems.P521], ids=["P-256", "P-384", "P-521"])
def test_a_point_off_the_curve_is_refused(kem: kems.Kem) -> None:
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
            _seal(box, wrong, b"")


@pytest.mark.parametrize("point", X25519_LOW_ORDER)
@pytest.mark.parametrize("top_bit", [0, 0x80])
@pytest.mark.parametrize("kem", [kems.X25519, kems.X_WING], ids=["X25519", "X-Wing"])
def test_a_point_of_low_order_is_no_public_key(kem: kems.Kem, point: str, top_bit: int) -> None:
    end = bytes.fromhex(point)
    low_order = end[:-1] + bytes([end[-1] | top_bit])
    assert_refused(kem, _pair(kem).public[:-32] + low_order)
    with pytest.raises(NaClError):  # the list agrees with the primitive
        kems._x25519_exchange(Secret(b"1" * 32), low_order)


@pytest.mark.parametrize("point", sorted(kems._LOW_ORDER_448), ids=lambda point: point.hex()[:8])
def test_a_point_of_low_order_is_no_public_key_of_x448(point: bytes) -> None:
    assert_refused(kems.X448, point)
    with pytest.raises(ValueError, match="Error computing"):  # the list agrees with the primitive
        kems._x448_exchange(Secret(b"1" * 56), point)


def assert_refused(kem: kems.Kem, public: bytes) -> None:
    with pytest.raises(DecodeError, match="not an HPKE public key"):
        _box(kem).check_public_key(public)
    with pytest.raises(DecodeError, match="not an HPKE public key"):
        _seal(_box(kem), public, b"info")


@pytest.mark.parametrize("kem", [kems.P256, kems.P384, kems.P521], ids=["P-256", "P-384", "P-521"])
def test_candidates_that_are_no_scalar_are_passed_over(kem: kems.Kem, monkeypatch: pytest.MonkeyPatch) -> None:
    """For P-256 one candidate in 2**32 is too large, so the draws are given here: all ones, zero, then one."""
    size = kem.private_key_size
    draws = iter([b"\xff" * size, bytes(size), bytes(size - 1) + b"\x01"])
    monkeypatch.setattr(kems, "labeled_expand", lambda *_arguments: next(draws))
    assert kem.derive_key_pair(Secret(bytes(66))).private.reveal() == bytes(size - 1) + b"\x01"
    monkeypatch.setattr(kems, "labeled_expand", lambda *_arguments: bytes(size))
    with pytest.raises(AssertionError, match="256 candidates"):
        kem.derive_key_pair(Secret(bytes(66)))


@pytest.mark.parametrize("name, size", [("sha256", 32), ("sha384", 48), ("sha512", 64)])
def test_hash_size(name: str, size: int) -> None:
    assert kems.hash_size(name) == size


def test_ml_kem_768_against_its_known_answers() -> None:
    """Key generation and decapsulation of FIPS 203 by the primitive, as X-Wing calls it: its own random values aside.

    Each answer has a good ciphertext and one that was tampered with, which gives another secret and no error.
    """
    path = resources.files("cryptography_vectors") / "asymmetric" / "MLKEM" / "kat_MLKEM_768.rsp"
    answers = [_answer(block) for block in path.read_text("ascii").split("count = ")[1:]]
    assert len(answers) == 1_000
    for answer in answers:
        private = mlkem.MLKEM768PrivateKey.from_seed_bytes(answer["d"] + answer["z"])
        public = private.public_key().public_bytes_raw()
        assert public == answer["pk"]
        assert answer["sk"][1152:] == public + hashlib.sha3_256(public).digest() + answer["z"]
        assert private.decapsulate(answer["ct"]) == answer["ss"]
        assert private.decapsulate(answer["ct_n"]) == answer["ss_n"] != answer["ss"]


def _answer(block: str) -> dict[str, bytes]:
    """The lines `name = hexadecimal` of one answer, after its number."""
    pairs = [line.split(" = ") for line in block.split("\n")[1:] if line]
    return {name: bytes.fromhex(value) for name, value in pairs}


@pytest.mark.parametrize("size", [0, 1, 31, 33])
def test_x25519_takes_keys_of_its_size_only(size: int) -> None:
    """PyNaCl does not look, and libsodium reads 32 bytes."""
    for call in (
        lambda: kems._x25519_public(Secret(bytes(size))),
        lambda: kems._x25519_exchange(Secret(bytes(size)), _pair(kems.X25519).public),
        lambda: kems._x25519_exchange(_pair(kems.X25519).private, bytes(size)),
    ):
        with pytest.raises(ValueError, match="wrong size"):
            call()
