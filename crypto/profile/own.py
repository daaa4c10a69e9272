"""The owner's side: the keys of one's own fields, and every change of a field as the next value of them.

::

    keys, sealed = set_field(keys, manifest, "Passport number", text_value(FieldType.TEXT, "C01X00T47"))
    manifest = sign_manifest(signer, certificate, manifest, [sealed], frozenset(), now)

A change counts when the server has taken manifest and fields together; until then the former keys are the keys. Store
the next ones beside them before sending: after a rotation nothing else opens the field. Two devices that change at once
end well: one is refused, fetches, opens the profile, and does its change again. A device that has not seen the newest
version of a field cannot change or show it: it might go back to a key that was rotated.

Who was granted a field reads its later values too, because a new value is sealed under the same key. `rotate_field`
ends that: a new key, which only those have who are granted the field anew. Nothing takes back what was read before.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from crypto.errors import AuthenticationError, DecodeError, IdentityError, Stale, UsageError
from crypto.identity.signing import Id
from crypto.profile.fields import (
    AnyFieldValue,
    FieldId,
    FieldType,
    FileValue,
    SealedField,
    check_field_key,
    check_field_name,
    encode_field_name,
    generate_field_id,
    generate_field_key,
    generate_field_salt,
    open_field,
    seal_field,
)
from crypto.profile.manifest import FIELDS_MAX, VerifiedManifest, check_field, check_profile, next_version
from crypto.secret import Secret
from crypto.wire import Max, Uint, Uint32, decode, encode, struct


@struct
class FieldKey:
    """What the owner knows of a field: its name, and the key under which `version`, its newest, is sealed."""

    field_id: FieldId
    name: bytes
    type: Annotated[FieldType, Uint(1)]
    version: Uint32
    key: Secret

    def __post_init__(self) -> None:
        check_field_name(self.name)
        check_field_key(self.key)


@struct
class ProfileKeys:
    """All keys of a profile, by ascending id; every name once."""

    account_id: Id
    fields: Annotated[tuple[FieldKey, ...], Max(FIELDS_MAX)]

    def __post_init__(self) -> None:
        if any(first.field_id >= second.field_id for first, second in itertools.pairwise(self.fields)):
            raise DecodeError("the ids of a profile's keys are not strictly ascending")
        if len({field.name for field in self.fields}) != len(self.fields):
            raise DecodeError("two fields of a profile have one name")

    def find(self, name: str) -> FieldKey | None:
        """The field of this name, None if there is none. Raises `DecodeError` for what is no name."""
        encoded = encode_field_name(name)
        return next((field for field in self.fields if field.name == encoded), None)

    def field(self, name: str) -> FieldKey:
        """The field of this name. Raises `UsageError` if there is none."""
        found = self.find(name)
        if found is None:
            raise UsageError("the profile has no field of this name")
        return found


@dataclass(frozen=True, slots=True)
class OwnField:
    """A field as its owner sees it. Made by `open_own_profile` only."""

    name: str
    field_id: bytes
    value: AnyFieldValue


def encode_profile_keys(keys: ProfileKeys) -> Secret:
    """All keys as one secret: for the store, or for another device of the account.

    Whoever gets it needs the newest manifest beside it, as the one that comes before any other.
    """
    return Secret(encode(keys))


def decode_profile_keys(encoded: Secret) -> ProfileKeys:
    """The keys again. Raises `DecodeError`."""
    return decode(ProfileKeys, encoded.reveal())


def set_field(
    keys: ProfileKeys, manifest: VerifiedManifest | None, name: str, value: AnyFieldValue
) -> tuple[ProfileKeys, SealedField]:
    """Give a field its next value, or make the field if there is none of this name.

    `manifest` is the newest one, None before the first. Whoever was granted the field reads the new value. Raises
    `UsageError` for a manifest of another account, a value of another type, or one field too many, and `Stale` if
    another device changed the field since.
    """
    found = keys.find(name)
    if found is None:
        if len(keys.fields) == FIELDS_MAX:
            raise UsageError(f"a profile has at most {FIELDS_MAX} fields")
        found = FieldKey(generate_field_id(), encode_field_name(name), value.type, 0, generate_field_key())
    return _seal_next(keys, manifest, found, value)


def rotate_field(
    keys: ProfileKeys, manifest: VerifiedManifest, field: SealedField, replacement: AnyFieldValue | None = None
) -> tuple[ProfileKeys, SealedField]:
    """Seal a field under a new key: nobody who had the old one opens this version or a later one.

    `field` is the field as it is stored now; its value stays unless there is a `replacement`. A picture or scan must be
    replaced by the same attachment sealed anew, because the key of the old one was shown. Raises `UsageError`,
    `IdentityError` for a field that the manifest does not name, and `AuthenticationError` if it is not ours.
    """
    found = _key_of(keys, field.field_id)
    check_field(manifest, field)
    before = _open(keys, found, field)
    value = before if replacement is None else replacement
    if isinstance(before, FileValue) and isinstance(value, FileValue) and value.key == before.key:
        raise UsageError("seal the attachment under a new key first: the old key was shown to others")
    return _seal_next(keys, manifest, replace(found, key=generate_field_key()), value)


def remove_field(keys: ProfileKeys, name: str) -> tuple[ProfileKeys, bytes]:
    """The keys without a field, and its id, for the manifest. The id never comes again. Raises `UsageError`."""
    gone = keys.field(name)
    return replace(keys, fields=tuple(field for field in keys.fields if field != gone)), gone.field_id


def open_own_profile(
    keys: ProfileKeys, manifest: VerifiedManifest, fields: Sequence[SealedField]
) -> tuple[ProfileKeys, tuple[OwnField, ...]]:
    """One's own profile, complete, in the order of the manifest; and the keys as of this manifest.

    Raises `IdentityError` unless these are exactly the fields that the manifest names, `Stale` if they are older than
    our keys, or if another device of ours has keys that this one lacks.
    """
    if manifest.account_id != keys.account_id:
        raise IdentityError("the profile is of another account than the keys")
    check_profile(manifest, fields)
    by_id = {field.field_id: field for field in keys.fields}
    current, opened = [], []
    for field in sorted(fields, key=_field_id):
        found = by_id.get(field.field_id)
        if found is None:
            raise Stale("another device of yours made a field whose key this one lacks: bring its profile keys here")
        if field.version < found.version:
            raise Stale("the profile is older than this device's keys: fetch the newest")
        opened.append(OwnField(found.name.decode(), field.field_id, _open(keys, found, field)))
        current.append(replace(found, version=field.version))
    return ProfileKeys(keys.account_id, tuple(current)), tuple(opened)


def _seal_next(
    keys: ProfileKeys, manifest: VerifiedManifest | None, field: FieldKey, value: AnyFieldValue
) -> tuple[ProfileKeys, SealedField]:
    if manifest is not None and manifest.account_id != keys.account_id:
        raise UsageError("the manifest is of another account than the keys")
    if value.type != field.type:
        raise UsageError(f"this field is a {field.type.name}, and stays one: remove it first")
    entry = manifest.entry(field.field_id) if manifest is not None else None
    if field.version != (entry.version if entry is not None else 0):
        raise Stale("manifest and keys do not have the same version of this field: fetch and open the profile first")
    sealed_as = replace(field, version=next_version(field.version))
    salt = generate_field_salt()
    sealed = seal_field(sealed_as.key, keys.account_id, field.field_id, sealed_as.version, value, salt)
    others = (other for other in keys.fields if other.field_id != field.field_id)
    ordered = tuple(sorted((*others, sealed_as), key=_field_id))
    return replace(keys, fields=ordered), sealed


def _open(keys: ProfileKeys, field: FieldKey, sealed: SealedField) -> AnyFieldValue:
    """`sealed` is signed; so if our key does not open it, another device of ours sealed it with a newer one."""
    try:
        value = open_field(field.key, keys.account_id, sealed)
    except AuthenticationError:
        if sealed.version > field.version:
            raise Stale("another device of yours changed a field's key: bring its profile keys here") from None
        raise
    if value.type != field.type:
        raise IdentityError("a field of the profile holds another type than its owner said")
    return value


def _key_of(keys: ProfileKeys, field_id: bytes) -> FieldKey:
    found = next((field for field in keys.fields if field.field_id == field_id), None)
    if found is None:
        raise UsageError("this is no field of the profile")
    return found


def _field_id(field: FieldKey | SealedField) -> bytes:
    return field.field_id
