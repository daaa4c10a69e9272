"""Hybrid public key encryption (RFC 9180), base mode: what our cipher suites seal, open and export with.

The KEMs stand in `kem`, AEADs and HMAC are `cryptography`'s and Python's; what is here is the key schedule between them
(§5.1). `cryptography` has HPKE too, and a test holds the two against each other. Ours is in use because MLS needs what
that has not: the exporter (RFC 9420 §8.3), X448, and one Welcome sealed to a thousand joiners without hashing it for
each of them again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from crypto.errors import AuthenticationError, DecodeError
from crypto.kem import HPKEKeyPair, Kem, hash_size, labeled_expand, labeled_extract
from crypto.secret import Secret

_MODE_BASE = b"\x00"
_NONCE_SIZE = 12
_KDF_IDS = {"sha256": 1, "sha384": 2, "sha512": 3}
_AEAD_IDS = {(AESGCM, 16): 1, (AESGCM, 32): 2, (ChaCha20Poly1305, 32): 3}
"""By cipher and bytes of key (RFC 9180 §7.3)."""


@dataclass(frozen=True, slots=True)
class HPKE:
    """A KEM with its KDF and AEAD."""

    kem: Kem
    suite_id: bytes
    hash_name: str
    aead: type[AESGCM] | type[ChaCha20Poly1305]
    aead_key_size: int
    psk_id_hash: bytes
    """Of the empty psk_id of base mode (RFC 9180 §5.1): always the same."""

    def seal_each(self, info: bytes, addressed: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Encrypt to many under one `info`: SealBase with empty AAD (RFC 9180 §6.1) of each (public key, plaintext).

        Returns KEM output and ciphertext of each, in order. Raises `DecodeError` for a bad public key.
        """
        context = self._context(info)
        sealed = []
        for public_key, plaintext in addressed:
            shared, kem_output = self._encapsulate(public_key)
            aead, nonce = self._aead_nonce(shared, context)
            sealed.append((kem_output, aead.encrypt(nonce, plaintext, None)))
        return sealed

    def open(self, keys: HPKEKeyPair, info: bytes, kem_output: bytes, ciphertext: bytes) -> bytes:
        """Decrypt: OpenBase with empty AAD (RFC 9180 §6.1). Raises `AuthenticationError` whatever is wrong."""
        try:
            shared = self._decapsulate(keys, kem_output)
            aead, nonce = self._aead_nonce(shared, self._context(info))
            return aead.decrypt(nonce, ciphertext, None)
        except (DecodeError, InvalidTag) as error:
            raise AuthenticationError from error

    def send_export(self, public_key: bytes, info: bytes, context: bytes, length: int) -> tuple[bytes, Secret]:
        """Agree on a secret with the holder of a public key: SendExportBase (RFC 9180 §6.2).

        Returns KEM output and `length` bytes. Raises `DecodeError` for a bad public key.
        """
        shared, kem_output = self._encapsulate(public_key)
        return kem_output, self._export(shared, info, context, length)

    def receive_export(self, keys: HPKEKeyPair, info: bytes, kem_output: bytes, context: bytes, length: int) -> Secret:
        """The secret that `send_export` gave its caller: ReceiveExportBase (RFC 9180 §6.2).

        Raises `DecodeError` for bytes that are no KEM output. Another key or context gives another secret, no error.
        """
        return self._export(self._decapsulate(keys, kem_output), info, context, length)

    def check_public_key(self, public_key: bytes) -> None:
        """Raise `DecodeError` unless the bytes are a public key of this KEM that one can encrypt to."""
        self._check_size(public_key)
        try:
            self.kem.check_public_key(public_key)
        except ValueError as error:
            raise DecodeError("not an HPKE public key") from error

    def _check_size(self, public_key: bytes) -> None:
        if len(public_key) != self.kem.public_key_size:
            raise DecodeError("HPKE public key of the wrong size")

    def _encapsulate(self, public_key: bytes) -> tuple[Secret, bytes]:
        self._check_size(public_key)
        try:
            return self.kem.encapsulate(public_key)
        except ValueError as error:
            raise DecodeError("not an HPKE public key") from error

    def _decapsulate(self, keys: HPKEKeyPair, kem_output: bytes) -> Secret:
        if len(kem_output) != self.kem.output_size:
            raise DecodeError("KEM output of the wrong size")
        try:
            return self.kem.decapsulate(keys, kem_output)
        except ValueError as error:
            raise DecodeError("not a KEM output") from error

    def _context(self, info: bytes) -> bytes:
        """key_schedule_context in base mode (RFC 9180 §5.1)."""
        return _MODE_BASE + self.psk_id_hash + labeled_extract(self.hash_name, self.suite_id, b"info_hash", info)

    def _secret(self, shared: Secret) -> Secret:
        """The `secret` of KeySchedule in base mode, where psk is empty (RFC 9180 §5.1)."""
        return Secret(labeled_extract(self.hash_name, self.suite_id, b"secret", b"", salt=shared.reveal()))

    def _aead_nonce(self, shared: Secret, context: bytes) -> tuple[AESGCM | ChaCha20Poly1305, bytes]:
        """The AEAD with its key, and base_nonce: what one message is sealed with (RFC 9180 §5.1)."""
        name, suite_id, secret = self.hash_name, self.suite_id, self._secret(shared).reveal()
        key = labeled_expand(name, suite_id, secret, b"key", context, self.aead_key_size)
        return self.aead(key), labeled_expand(name, suite_id, secret, b"base_nonce", context, _NONCE_SIZE)

    def _export(self, shared: Secret, info: bytes, exporter_context: bytes, length: int) -> Secret:
        """Context.Export(exporter_context, L) (RFC 9180 §5.3)."""
        name, suite_id, secret = self.hash_name, self.suite_id, self._secret(shared).reveal()
        exporter_secret = labeled_expand(name, suite_id, secret, b"exp", self._context(info), hash_size(name))
        return Secret(labeled_expand(name, suite_id, exporter_secret, b"sec", exporter_context, length))


def hpke(kem: Kem, hash_name: str, aead: type[AESGCM] | type[ChaCha20Poly1305], aead_key_size: int) -> HPKE:
    """Put a KEM, HKDF with a hash, and an AEAD together."""
    numbers = (kem.id, _KDF_IDS[hash_name], _AEAD_IDS[aead, aead_key_size])
    suite_id = b"HPKE" + b"".join(number.to_bytes(2, "big") for number in numbers)
    psk_id_hash = labeled_extract(hash_name, suite_id, b"psk_id_hash", b"")
    return HPKE(kem, suite_id, hash_name, aead, aead_key_size, psk_id_hash)
