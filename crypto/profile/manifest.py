"""The manifest: which fields a profile has, at which version and with which bytes. Signed, versioned, never going back.

A field alone says what it is, not that it is the newest or that no other is missing. The manifest says it: whoever has
a `VerifiedManifest` takes a field only if it is the one that the manifest names, byte for byte. Whoever keeps the
newest manifest of an account gives it as `previous` when another arrives. The next one is taken only if

- it is of the same account under the same root key, signed by the signing key of the account's newest device list;
- under the same signing key its version is not lower, and an equal version comes with equal bytes;
- no field goes back to an older version, or has other bytes at the same version.

A signing key with a higher version starts the versions anew, as with device lists: else a thief of the old one could
sign the highest version that there is. The manifest holds no names: to the server a profile is a number of opaque ids
with the times at which they change.

A server can withhold a newer manifest. A grant names the manifest that it was made with, so whoever is granted
something knows at least that one.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

from crypto.errors import IdentityError, Stale, UsageError
from crypto.identity.accounts import CertifiedSigningKey, SigningKeyCertificate, account_id_of
from crypto.identity.signing import Id, Signature, SignedLabel, sign_object, verify_object
from crypto.profile.fields import FieldId, SealedField
from crypto.suites import SignatureKeyPair
from crypto.wire import Fixed, Max, Uint32, Uint64, struct

FIELDS_MAX = 64
"""Most fields of one profile."""

_VERSION_MAX = 2**32 - 1


@struct
class FieldEntry:
    """One field: its newest version, and the SHA-256 of its sealed bytes."""

    field_id: FieldId
    version: Uint32
    content_hash: Annotated[bytes, Fixed(32)]


@struct
class ProfileManifest:
    """All fields of a profile, ids ascending. `issued_at` is Unix seconds, shown to people."""

    account_id: Id
    version: Uint32
    signing_key_version: Uint32
    fields: Annotated[tuple[FieldEntry, ...], Max(FIELDS_MAX)]
    issued_at: Uint64
    signature: Signature


@dataclass(frozen=True, slots=True)
class VerifiedManifest:
    """A manifest that holds. Made by `verify_manifest` only.

    To keep it, store the encodings of the manifest and of the signing key's certificate, and verify when loading.
    """

    manifest: ProfileManifest
    signing_key: CertifiedSigningKey

    @property
    def account_id(self) -> bytes:
        """The account whose profile it is."""
        return self.manifest.account_id

    @property
    def moment(self) -> tuple[int, int]:
        """Versions of signing key and manifest: of two manifests of an account the later one has the higher moment."""
        return self.manifest.signing_key_version, self.manifest.version

    def entry(self, field_id: bytes) -> FieldEntry | None:
        """What it says of this field; None if the profile has no such field."""
        return next((entry for entry in self.manifest.fields if entry.field_id == field_id), None)


def sign_manifest(
    signer: SignatureKeyPair,
    certificate: SigningKeyCertificate,
    previous: VerifiedManifest | None,
    changed: Iterable[SealedField],
    removed: frozenset[bytes],
    issued_at: int,
) -> ProfileManifest:
    """The account's next manifest: the previous one (None: there is none yet) with some fields changed or gone.

    `signer` is the signing key that `certificate` is about. Raises `UsageError` for a previous manifest of another
    account, for fields changed without a higher version, removed without being there, or too many, and when there is
    no next version.
    """
    account_id = account_id_of(certificate.root_key)
    if previous is not None and previous.account_id != account_id:
        raise UsageError("the manifest before is of another account")
    entries = {entry.field_id: entry for entry in previous.manifest.fields} if previous is not None else {}
    for field in changed:
        if field.field_id in entries and field.version <= entries[field.field_id].version:
            raise UsageError("a changed field has a higher version than before")
        entries[field.field_id] = FieldEntry(field.field_id, field.version, hashlib.sha256(field.sealed).digest())
    if not removed <= entries.keys():
        raise UsageError("a field that is not in the profile cannot be removed")
    ordered = tuple(entries[field_id] for field_id in sorted(entries.keys() - removed))
    if len(ordered) > FIELDS_MAX:
        raise UsageError(f"a profile has at most {FIELDS_MAX} fields")
    version = 1
    if previous is not None and previous.manifest.signing_key_version == certificate.version:
        version = next_version(previous.manifest.version)
    unsigned = ProfileManifest(account_id, version, certificate.version, ordered, issued_at, signature=b"")
    return sign_object(signer, SignedLabel.PROFILE_MANIFEST, unsigned)


def next_version(version: int) -> int:
    """The version after this one. Raises `UsageError` after the last: only a thief of the keys comes that far."""
    if version >= _VERSION_MAX:
        raise UsageError("there is no higher version: take a new signing key and new fields")
    return version + 1


def verify_manifest(
    manifest: ProfileManifest, signing_key: CertifiedSigningKey, previous: VerifiedManifest | None
) -> VerifiedManifest:
    """Check a manifest against its account's signing key and the newest manifest seen before (None: this is the first).

    `signing_key` is that of the account's newest `VerifiedDeviceList`. Raises `AuthenticationError` for a signature
    that does not hold, `Stale` for what the newest would settle, `IdentityError` for everything else.
    """
    if manifest.account_id != signing_key.account_id:
        raise IdentityError("the profile is of another account than was asked for")
    if manifest.signing_key_version < signing_key.version:
        raise Stale("the profile is signed with a key that its owner has replaced: fetch the newest profile")
    if manifest.signing_key_version > signing_key.version:
        raise Stale("the profile is newer than the known device list of its owner: fetch the newest device list")
    verify_object(signing_key.signing_key, SignedLabel.PROFILE_MANIFEST, manifest)
    ids = [entry.field_id for entry in manifest.fields]
    if any(first >= second for first, second in itertools.pairwise(ids)):
        raise IdentityError("the ids of a profile's fields are not strictly ascending")
    verified = VerifiedManifest(manifest, signing_key)
    if previous is not None:
        _check_succession(previous, verified)
    return verified


def check_field(manifest: VerifiedManifest, field: SealedField) -> FieldEntry:
    """The manifest's entry of a field. Raises `IdentityError` unless the field is the very one that it names."""
    entry = manifest.entry(field.field_id)
    if entry is None:
        raise IdentityError(
            "the server gave a field that is not in its owner's profile: drop it, fetch the profile again"
        )
    if field.version < entry.version:
        raise Stale("the server gave an older version of a field than its owner signed: fetch the newest field")
    if field.version > entry.version:
        raise Stale("the field is newer than the known profile: fetch the newest profile")
    if hashlib.sha256(field.sealed).digest() != entry.content_hash:
        raise IdentityError("the server gave a field that is not the one its owner signed: drop it, fetch it again")
    return entry


def check_profile(manifest: VerifiedManifest, fields: Sequence[SealedField]) -> None:
    """Raise `IdentityError` unless these are all fields that the manifest names, each once and in any order."""
    for field in fields:
        check_field(manifest, field)
    given, named = len({field.field_id for field in fields}), len(manifest.manifest.fields)
    if given != len(fields):
        raise IdentityError("the server gave a field twice: fetch the profile again")
    if given != named:
        raise IdentityError(f"the server left out {named - given} of {named} fields of the profile: fetch it again")


def _check_succession(previous: VerifiedManifest, following: VerifiedManifest) -> None:
    if following.signing_key.root_key != previous.signing_key.root_key:
        raise IdentityError("the profile is of another account than the one before")
    if following.moment < previous.moment:
        raise Stale("the profile is older than one seen before: fetch the newest")
    if following.signing_key.version > previous.signing_key.version:
        return
    if following.signing_key != previous.signing_key:
        raise IdentityError("two different signing keys have the same version")
    if following.moment == previous.moment and following.manifest != previous.manifest:
        raise IdentityError("two different profiles have the same version: its owner, or a thief, shows two faces")
    for entry in following.manifest.fields:
        before = previous.entry(entry.field_id)
        if before is None or entry == before:
            continue
        if entry.version <= before.version:
            raise IdentityError("the profile is newer than one seen before, and a field in it is older or swapped")
