"""Profiles for the tests: an owner with devices and a server that keeps every byte it was ever given."""

from __future__ import annotations

from dataclasses import dataclass, field

from crypto.identity.accounts import CertifiedSigningKey, verify_signing_key
from crypto.profile import (
    AnyFieldValue,
    FieldType,
    FileValue,
    GrantBook,
    ProfileKeys,
    SealedField,
    TextValue,
    VerifiedManifest,
    remove_field,
    rotate_field,
    set_field,
    sign_manifest,
    text_value,
    verify_manifest,
)
from tests.crypto.identities import NOW, Account, account, secret

PASSPORT = "Passport number"


def text(value: str) -> TextValue:
    return text_value(FieldType.TEXT, value)


def scan(name: str = "scan", field_type: FieldType = FieldType.DOCUMENT_SCAN) -> FileValue:
    return FileValue(field_type, bytes(16), secret(f"{name} key"), secret(name).reveal(), 70_000, b"image/png")


@dataclass
class Owner:
    """An owner's device, and the server beside it."""

    person: Account
    keys: ProfileKeys
    manifest: VerifiedManifest | None = None
    book: GrantBook = field(default_factory=GrantBook)
    stored: dict[bytes, SealedField] = field(default_factory=dict)
    ever: list[SealedField] = field(default_factory=list)

    @property
    def account_id(self) -> bytes:
        return self.person.account_id

    @property
    def signing_key(self) -> CertifiedSigningKey:
        return verify_signing_key(self.person.certificate)

    @property
    def newest(self) -> VerifiedManifest:
        assert self.manifest is not None
        return self.manifest

    def sealed(self, name: str) -> SealedField:
        return self.stored[self.keys.field(name).field_id]

    def set(self, name: str, value: AnyFieldValue | str) -> SealedField:
        keys, sealed = set_field(self.keys, self.manifest, name, text(value) if isinstance(value, str) else value)
        return self.publish(keys, sealed)

    def rotate(self, name: str, replacement: AnyFieldValue | None = None) -> SealedField:
        return self.publish(*rotate_field(self.keys, self.newest, self.sealed(name), replacement))

    def remove(self, name: str) -> None:
        self.keys, field_id = remove_field(self.keys, name)
        del self.stored[field_id]
        self._sign([], frozenset({field_id}))

    def publish(self, keys: ProfileKeys, sealed: SealedField) -> SealedField:
        self.keys = keys
        self.stored[sealed.field_id] = sealed
        self.ever.append(sealed)
        self._sign([sealed], frozenset())
        return sealed

    def _sign(self, changed: list[SealedField], removed: frozenset[bytes]) -> None:
        signed = sign_manifest(self.person.signing, self.person.certificate, self.manifest, changed, removed, NOW)
        self.manifest = verify_manifest(signed, self.signing_key, self.manifest)


def owner(name: str = "alice", signing_key_version: int = 1) -> Owner:
    person = account(name, signing_key_version=signing_key_version)
    return Owner(person, ProfileKeys(person.account_id, ()))
