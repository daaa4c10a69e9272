"""Hybrid public key encryption (RFC 9180), base mode: what our cipher suites seal, open and export with.

`cryptography` seals and opens; this module adds what it lacks: the exporter (§5.3), which an external commit needs
(RFC 9420 §8.3), and the same steps by hand for X448. The KEMs stand in `kem`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hpke import AEAD, KDF, Suite

from crypto.errors import AuthenticationError, DecodeError
from crypto.kem import Kem, hash_size, labeled_expand, labeled_extract
from crypto.secret import Secret

_MODE_BASE = b"\x00"
_NONCE_SIZE = 12
_KDFS = {KDF.HKDF_SHA256: (1, "sha256"), KDF.HKDF_SHA384: (2, "sha384"), KDF.HKDF_SHA512: (3, "sha512")}
_AEADS: dict[AEAD, tuple[int, int, type[AESGCM] | type[ChaCha20Poly1305]]] = {
    AEAD.AES_128_GCM: (1, 16, AESGCM),
    AEAD.AES_256_GCM: (2, 32, AESGCM),
    AEAD.CHACHA20_POLY1305: (3, 32, ChaCha20Poly1305),
}


@dataclass(frozen=True, slots=True)
class HPKE:
    """A KEM with its KDF and AEAD."""

    kem: Kem
    suite: Suite | None
    """The same in `cryptography`; None where it lacks the KEM."""
    suite_id: bytes
    hash_name: str
    aead: type[AESGCM] | type[ChaCha20Poly1305]
    aead_key_size: int

    def seal(self, public_key: bytes, info: bytes, plaintext: bytes) -> tuple[bytes, bytes]:
        """Encrypt to a public key: SealBase with empty AAD (RFC 9180 §6.1). Returns KEM output and ciphertext.

        Raises `DecodeError` for a bad public key.
        """
        loaded = self._load_public(public_key)
        if self.suite is None:
            shared, kem_output = self.kem.encapsulate(public_key)
            aead, nonce = self._aead_nonce(shared, info)
            return kem_output, aead.encrypt(nonce, plaintext, None)
        sealed = self.suite.encrypt(plaintext, loaded, info)
        return sealed[: self.kem.output_size], sealed[self.kem.output_size :]

    def open(self, private_key: Secret, info: bytes, kem_output: bytes, ciphertext: bytes) -> bytes:
        """Decrypt: OpenBase with empty AAD (RFC 9180 §6.1). Raises `AuthenticationError` whatever is wrong."""
        if len(kem_output) != self.kem.output_size:
            raise AuthenticationError
        try:
            if self.suite is None:
                aead, nonce = self._aead_nonce(self.kem.decapsulate(private_key, kem_output), info)
                return aead.decrypt(nonce, ciphertext, None)
            return self.suite.decrypt(kem_output + ciphertext, self.kem.load_private(private_key), info)
        except (InvalidTag, ValueError) as error:
            raise AuthenticationError from error

    def send_export(self, public_key: bytes, info: bytes, context: bytes, length: int) -> tuple[bytes, Secret]:
        """Agree on a secret with the holder of a public key: SendExportBase (RFC 9180 §6.2).

        Returns KEM output and `length` bytes. Raises `DecodeError` for a bad public key.
        """
        self._load_public(public_key)
        shared, kem_output = self.kem.encapsulate(public_key)
        return kem_output, self._export(shared, info, context, length)

    def receive_export(
        self, private_key: Secret, info: bytes, kem_output: bytes, context: bytes, length: int
    ) -> Secret:
        """The secret that `send_export` gave its caller: ReceiveExportBase (RFC 9180 §6.2).

        Raises `DecodeError` for bytes that are no KEM output. Another key or context gives another secret, no error.
        """
        if len(kem_output) != self.kem.output_size:
            raise DecodeError("KEM output of the wrong size")
        try:
            shared = self.kem.decapsulate(private_key, kem_output)
        except ValueError as error:
            raise DecodeError("not a KEM output") from error
        return self._export(shared, info, context, length)

    def check_public_key(self, public_key: bytes) -> None:
        """Raise `DecodeError` unless the bytes are a public key of this KEM that one can encrypt to."""
        self._load_public(public_key)

    def _load_public(self, public_key: bytes) -> Any:
        if len(public_key) != self.kem.public_key_size:
            raise DecodeError("HPKE public key of the wrong size")
        try:
            return self.kem.load_public(public_key)
        except ValueError as error:
            raise DecodeError("not an HPKE public key") from error

    def _aead_nonce(self, shared: Secret, info: bytes) -> tuple[AESGCM | ChaCha20Poly1305, bytes]:
        """The AEAD with its key, and base_nonce: what one message is sealed with (RFC 9180 §5.1)."""
        key = self._schedule(shared, info, b"key", self.aead_key_size)
        return self.aead(key), self._schedule(shared, info, b"base_nonce", _NONCE_SIZE)

    def _export(self, shared: Secret, info: bytes, context: bytes, length: int) -> Secret:
        """Context.Export(exporter_context, L) (RFC 9180 §5.3)."""
        exporter_secret = self._schedule(shared, info, b"exp", hash_size(self.hash_name))
        return Secret(labeled_expand(self.hash_name, self.suite_id, exporter_secret, b"sec", context, length))

    def _schedule(self, shared: Secret, info: bytes, label: bytes, length: int) -> bytes:
        """One output of KeySchedule in base mode, where psk and psk_id are empty (RFC 9180 §5.1)."""
        name, suite_id = self.hash_name, self.suite_id
        psk_id_hash = labeled_extract(name, suite_id, b"psk_id_hash", b"")
        context = _MODE_BASE + psk_id_hash + labeled_extract(name, suite_id, b"info_hash", info)
        secret = labeled_extract(name, suite_id, b"secret", b"", salt=shared.reveal())
        return labeled_expand(name, suite_id, secret, label, context, length)


def hpke(kem: Kem, kdf: KDF, aead: AEAD) -> HPKE:
    """Put a KEM, a KDF and an AEAD together."""
    kdf_id, hash_name = _KDFS[kdf]
    aead_id, key_size, cipher = _AEADS[aead]
    suite_id = b"HPKE" + b"".join(number.to_bytes(2, "big") for number in (kem.id, kdf_id, aead_id))
    suite = None if kem.primitive is None else Suite(kem.primitive, kdf, aead)
    return HPKE(kem, suite, suite_id, hash_name, cipher, key_size)
