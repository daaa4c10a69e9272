"""Project Wycheproof: every case of every file that we have, through our own functions where there is one.

Each file has a judge: it asserts what we make of one case, or says why the case does not concern us. The numbers of
both stand in `COUNTS`, so a case that is silently skipped, or a file that grows, is a failed test.

There are files for the primitives of the suites 1, 2, 3 and the hybrid. X448, Ed448, P-384 and P-521 have none here;
the vectors of RFC 9180, RFC 8032 and MLS cover them (`test_hpke`, `test_suites`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from crypto import kem as kems
from crypto.errors import AuthenticationError, DecodeError
from crypto.hpke import HPKE
from crypto.kem import HPKEKeyPair
from crypto.secret import Secret
from crypto.suites import SUITES, X_WING, suite_of, verify_ed25519
from tests.vectors import WITHOUT_VECTORS, Case, folder, wycheproof

OTHER_NONCE = "a nonce of MLS is 12 bytes, always (RFC 9420 §5.1)"
NO_AES_192 = "no suite has AES keys of 192 bits"
SIZE_OF_P1363 = "the size of a fixed-size encoding; in DER the same two integers are a good signature"

Judge = Callable[[Case, Case], str | None]
"""Takes a group and one of its tests. Returns why the test does not concern us, or None once it is decided."""


@dataclass(frozen=True)
class Count:
    """How many cases of a file were decided, and how many left out for which reason."""

    decided: int
    left_out: dict[str, int] = field(default_factory=dict)


def hexed(case: Case, *names: str) -> list[bytes]:
    return [bytes.fromhex(case[name]) for name in names]


def judge_aead(group: Case, test: Case) -> str | None:
    """AES-GCM and ChaCha20-Poly1305 as a suite opens and seals."""
    suite_ids = {128: 1, 256: 5} if "aes" in group["file"] else {256: 3}
    if group["keySize"] not in suite_ids:
        return NO_AES_192
    chosen = suite_of(suite_ids[group["keySize"]])
    key, nonce, aad, plaintext, ciphertext, tag = hexed(test, "key", "iv", "aad", "msg", "ct", "tag")
    if test["result"] == "valid" and len(nonce) != 12:
        return OTHER_NONCE
    if test["result"] == "valid":
        assert chosen.aead_open(Secret(key), nonce, aad, ciphertext + tag) == plaintext
        assert chosen.aead_seal(Secret(key), nonce, aad, plaintext) == ciphertext + tag
    else:
        with pytest.raises(AuthenticationError):
            chosen.aead_open(Secret(key), nonce, aad, ciphertext + tag)
    return None


def judge_hmac(group: Case, test: Case) -> str | None:
    """A MAC counts whole: a truncated tag that is right as far as it goes is wrong for us."""
    key, message, tag = hexed(test, "key", "msg", "tag")
    if group["tagSize"] == 256 and test["result"] == "valid":
        suite_of(1).verify_mac(Secret(key), message, tag)
        assert suite_of(1).mac(Secret(key), message) == tag
    else:
        with pytest.raises(AuthenticationError):
            suite_of(1).verify_mac(Secret(key), message, tag)
        assert (suite_of(1).mac(Secret(key), message)[: len(tag)] == tag) == (test["result"] == "valid")
    return None


def judge_hkdf(_group: Case, test: Case) -> str | None:
    """KDF.Extract and HKDF-Expand, one after the other. A block counter of one byte ends after 255 blocks."""
    key, salt, info = hexed(test, "ikm", "salt", "info")
    extracted = suite_of(1).extract(Secret(salt), Secret(key)).reveal()
    if test["result"] == "valid":
        assert kems.hkdf_expand("sha256", extracted, info, test["size"]).hex() == test["okm"]
    else:
        assert test["flags"] == ["SizeTooLarge"]
        with pytest.raises(OverflowError):
            kems.hkdf_expand("sha256", extracted, info, test["size"])
    return None


def judge_ed25519(group: Case, test: Case) -> str | None:
    public, message, signature = bytes.fromhex(group["publicKey"]["pk"]), *hexed(test, "msg", "sig")
    if test["result"] == "valid":
        verify_ed25519(public, message, signature)
    else:
        with pytest.raises(AuthenticationError):
            verify_ed25519(public, message, signature)
    return None


def judge_ecdsa_p256(group: Case, test: Case) -> str | None:
    """The file has signatures of two integers of fixed size; MLS has them in DER (RFC 9420 §5.1.2)."""
    scheme = SUITES[2].signature
    public, message, fixed = bytes.fromhex(group["publicKey"]["uncompressed"]), *hexed(test, "msg", "sig")
    with pytest.raises(AuthenticationError):  # as they stand they are no DER, the good ones too
        scheme.verify(public, message, fixed)
    half = len(fixed) // 2
    signature = encode_dss_signature(int.from_bytes(fixed[:half], "big"), int.from_bytes(fixed[half:], "big"))
    if "SignatureSize" in test["flags"]:
        scheme.verify(public, message, signature)
        return SIZE_OF_P1363
    if test["result"] == "valid":
        scheme.verify(public, message, signature)
    else:
        with pytest.raises(AuthenticationError):
            scheme.verify(public, message, signature)
    return None


def judge_x25519(_group: Case, test: Case) -> str | None:
    """Where Wycheproof leaves a choice: a zero secret is refused (RFC 9180 §7.1.4), every other point is taken."""
    public, private, shared = hexed(test, "public", "private", "shared")
    if "ZeroSharedSecret" in test["flags"]:
        assert shared == bytes(32)
        assert_refused(SUITES[1].hpke, public, private)
        ml_kem_key = X_WING.generate_hpke_key_pair().public[:-32]
        with pytest.raises(DecodeError, match="not an HPKE public key"):
            X_WING.hpke.check_public_key(ml_kem_key + public)
    else:
        assert_agrees(SUITES[1].hpke, public, private, shared)
    return None


def judge_ecdh_p256(_group: Case, test: Case) -> str | None:
    """Where Wycheproof leaves a choice: a compressed point is refused, for keys are uncompressed (RFC 9420 §5.1.1)."""
    public, private, shared = hexed(test, "public", "private", "shared")
    if test["result"] == "valid":
        assert_agrees(SUITES[2].hpke, public, private.rjust(32, b"\0")[-32:], shared)
    else:
        assert test["result"] == "invalid" or "CompressedPoint" in test["flags"]
        assert_refused(SUITES[2].hpke, public, private.rjust(32, b"\0")[-32:])
    return None


def p256_public_of(private: bytes) -> bytes:
    key = ec.derive_private_key(int.from_bytes(private, "big"), ec.SECP256R1())
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def x25519_public_of(private: bytes) -> bytes:
    return x25519.X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


PUBLIC_OF = {kems.X25519: x25519_public_of, kems.P256: p256_public_of}


def assert_agrees(box: HPKE, public: bytes, private: bytes, shared: bytes) -> None:
    """As a public key `public` is taken; as a KEM output it gives the secret that follows from `shared`."""
    box.check_public_key(public)
    kem = box.kem
    own_public = PUBLIC_OF[kem](private)
    suite_id = b"KEM" + kem.id.to_bytes(2, "big")
    extracted = kems.labeled_extract(box.hash_name, suite_id, b"eae_prk", shared)  # DHKEM (RFC 9180 §4.1)
    expected = kems.labeled_expand(box.hash_name, suite_id, extracted, b"shared_secret", public + own_public, 32)
    assert kem.decapsulate(HPKEKeyPair(Secret(private), own_public), public) == Secret(expected)


def assert_refused(box: HPKE, public: bytes, private: bytes) -> None:
    """`public` is no public key and no KEM output."""
    with pytest.raises(DecodeError):
        box.check_public_key(public)
    keys = HPKEKeyPair(Secret(private), bytes(box.kem.public_key_size))
    with pytest.raises(DecodeError):
        box.receive_export(keys, b"", public, b"", 32)
    with pytest.raises(AuthenticationError):
        box.open(keys, b"", public, bytes(32))


def judge_ml_kem_keygen(_group: Case, test: Case) -> str | None:
    """The primitive, as X-Wing makes its key (`dk` is the expanded form, of which we see the second half)."""
    seed, public, expanded = hexed(test, "seed", "ek", "dk")
    assert mlkem.MLKEM768PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw() == public
    assert expanded[1152:2336] == public
    assert expanded[-32:] == seed[32:]
    return None


def judge_ml_kem_encaps(_group: Case, test: Case) -> str | None:
    """The check of a key that somebody sends us, inside X-Wing's.

    `m`, `c` and `K` are not compared: the primitive takes no randomness from outside. Decapsulation checks the rest.
    """
    key = bytes.fromhex(test["ek"])
    x25519_key = X_WING.generate_hpke_key_pair().public[-32:]
    if test["result"] == "valid":
        X_WING.hpke.check_public_key(key + x25519_key)
        _, kem_output = X_WING.hpke.kem.encapsulate(key + x25519_key)
        assert len(kem_output) == X_WING.hpke.kem.output_size
    else:
        with pytest.raises(DecodeError):
            X_WING.hpke.check_public_key(key + x25519_key)
    return None


def judge_ml_kem_decaps(_group: Case, test: Case) -> str | None:
    """The primitive, as X-Wing opens with it. A ciphertext that was tampered with gives another key, no error."""
    seed, ciphertext = hexed(test, "seed", "c")
    if test["result"] == "valid":
        private = mlkem.MLKEM768PrivateKey.from_seed_bytes(seed)
        assert private.decapsulate(ciphertext).hex() == test["K"]
        assert test.get("ek") in (None, private.public_key().public_bytes_raw().hex())
    else:
        with pytest.raises(ValueError, match="ML-KEM-768"):
            mlkem.MLKEM768PrivateKey.from_seed_bytes(seed).decapsulate(ciphertext)
    return None


JUDGES: dict[str, Judge] = {
    "aes_gcm_test.json": judge_aead,
    "chacha20_poly1305_test.json": judge_aead,
    "ecdh_secp256r1_ecpoint_test.json": judge_ecdh_p256,
    "ecdsa_secp256r1_sha256_p1363_test.json": judge_ecdsa_p256,
    "ed25519_test.json": judge_ed25519,
    "hkdf_sha256_test.json": judge_hkdf,
    "hmac_sha256_test.json": judge_hmac,
    "mlkem_768_encaps_test.json": judge_ml_kem_encaps,
    "mlkem_768_keygen_seed_test.json": judge_ml_kem_keygen,
    "mlkem_768_test.json": judge_ml_kem_decaps,
    "x25519_test.json": judge_x25519,
}
COUNTS = {
    "aes_gcm_test.json": Count(137, {OTHER_NONCE: 76, NO_AES_192: 103}),
    "chacha20_poly1305_test.json": Count(325),
    "ecdh_secp256r1_ecpoint_test.json": Count(355),
    "ecdsa_secp256r1_sha256_p1363_test.json": Count(250, {SIZE_OF_P1363: 12}),
    "ed25519_test.json": Count(151),
    "hkdf_sha256_test.json": Count(86),
    "hmac_sha256_test.json": Count(174),
    "mlkem_768_encaps_test.json": Count(265),
    "mlkem_768_keygen_seed_test.json": Count(100),
    "mlkem_768_test.json": Count(193),
    "x25519_test.json": Count(518),
}


def counted(name: str) -> Count:
    """Judge every case of a file."""
    tests = wycheproof(name)
    reasons = [JUDGES[name]({**group, "file": name}, test) for group, test in tests]
    left_out = Counter(reason for reason in reasons if reason is not None)
    return Count(len(tests) - left_out.total(), dict(left_out))


def wycheproof_counts() -> dict[str, Count]:
    """Judge every file: what was decided, and what was left out for which reason."""
    return {name: counted(name) for name in JUDGES}


@pytest.mark.parametrize("name", JUDGES)
def test_wycheproof(name: str) -> None:
    assert counted(name) == COUNTS[name]


def test_every_file_has_a_judge() -> None:
    place = folder()
    if place is None:
        pytest.skip(WITHOUT_VECTORS)
    assert {path.name for path in (place / "wycheproof").iterdir()} == set(JUDGES) == set(COUNTS)
