"""Grants: showing a field to others, and opening what was shown to us.

A grant holds a field's key, so it opens every version that is sealed under this key: the one it was made for, later
ones until the owner rotates the key, and earlier ones since the key was made, should a server have kept them. What a
reader takes as the field's value is another matter: only the version that the owner's newest known manifest names,
never older than the grant.

The receiver keeps, for each account and field, the newest grant. One for a field of another account than its sender's
is refused: members do not pass on what was shown to them in the name of its owner.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from crypto.errors import AccessWithdrawn, AuthenticationError, IdentityError, Stale, UsageError
from crypto.profile.fields import AnyFieldValue, SealedField, open_field
from crypto.profile.manifest import VerifiedManifest, check_field
from crypto.profile.messages import FieldGrant, GrantMessage
from crypto.profile.own import ProfileKeys


@dataclass(frozen=True, slots=True)
class AcceptedGrant:
    """A grant that its field's owner sent. Made by `accept_grant` only.

    To keep it, store the grant's encoding with the sender's account, and accept it again when loading.
    """

    grant: FieldGrant

    @property
    def account_id(self) -> bytes:
        """Whose field it is."""
        return self.grant.account_id

    @property
    def name(self) -> str:
        """The field's name in its owner's words."""
        return self.grant.name.decode()


def make_grants(keys: ProfileKeys, manifest: VerifiedManifest, names: Iterable[str]) -> GrantMessage:
    """Show these fields to whoever reads the message: one's own fields, as the newest manifest names them.

    Raises `UsageError` for a manifest of another account and for an unknown name, `Stale` for a field that another
    device has changed since or that the manifest does not have yet.
    """
    if manifest.account_id != keys.account_id:
        raise UsageError("the manifest is of another account than the keys")
    grants = []
    for name in names:
        field = keys.field(name)
        entry = manifest.entry(field.field_id)
        if entry is None or entry.version != field.version:
            raise Stale("manifest and keys do not have the same version of this field: open the profile first")
        key_version, manifest_version = manifest.moment
        grants.append(
            FieldGrant(
                keys.account_id,
                field.field_id,
                entry.version,
                field.key,
                field.name,
                field.type,
                key_version,
                manifest_version,
            )
        )
    return GrantMessage(tuple(grants))


def accept_grant(grant: FieldGrant, sender_account_id: bytes) -> AcceptedGrant:
    """Take a grant from a message whose sender, by its verified leaf, is of this account.

    Raises `IdentityError` unless it is the sender's own field.
    """
    if grant.account_id != sender_account_id:
        raise IdentityError("somebody shows a field of another account in its name: dropped")
    return AcceptedGrant(grant)


def newer_grant(held: AcceptedGrant | None, received: AcceptedGrant) -> AcceptedGrant:
    """Which of two grants of one field to keep: a late one does not replace a newer.

    Raises `UsageError` if they are of different fields, `IdentityError` if they contradict each other.
    """
    if held is None:
        return received
    old, new = held.grant, received.grant
    if (old.account_id, old.field_id) != (new.account_id, new.field_id):
        raise UsageError("the grants are of different fields")
    if new.moment == old.moment and new != old:
        raise IdentityError("two different grants of one field, made at the same time")
    return received if new.moment > old.moment else held


def open_granted(accepted: AcceptedGrant, manifest: VerifiedManifest, field: SealedField | None) -> AnyFieldValue:
    """The field's newest value, by a grant. `field` is what the server gave, None if it gave nothing.

    Raises `AccessWithdrawn` if the owner has removed the field or changed its key since, `Stale` for a profile or a
    field that is not the newest, `IdentityError` and `AuthenticationError` for what is not the field that was shown.
    """
    grant = accepted.grant
    if manifest.account_id != grant.account_id:
        raise IdentityError("the profile is of another account than the field that was shown")
    if manifest.moment < grant.moment:
        raise Stale("the profile is older than what its owner showed: fetch the newest")
    entry = manifest.entry(grant.field_id)
    if entry is None:
        raise AccessWithdrawn("the owner has removed this field")
    if field is None:
        raise Stale("the server left out a field of the profile: fetch it again")
    if field.field_id != grant.field_id:
        raise IdentityError("the server gave another field than the one that was shown: drop it, fetch it again")
    check_field(manifest, field)
    if entry.version < grant.version:
        raise IdentityError("the profile has an older version of the field than its owner showed")
    try:
        value = open_field(grant.key, grant.account_id, field)
    except AuthenticationError:
        # The owner signed these bytes, so they are good, and at a later version another key is the owner's will.
        if entry.version > grant.version:
            raise AccessWithdrawn("the owner has changed this field and no longer shows it to you") from None
        raise
    if value.type != grant.type:
        raise IdentityError("the field holds another type than its owner showed")
    return value
