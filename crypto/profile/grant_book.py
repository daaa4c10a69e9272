"""The owner's record: what was shown to whom, when, and until when. Kept on the owner's devices, never at the server.

A field is shown to an audience: a person, a chat, or those of a role in a chat. The book has one record for each
account that it reached, because an audience changes and a key that was given does not come back. So the book can tell
who opens a field now, who has ever seen it, and whom to grant it anew after its key was rotated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated

from crypto.errors import UsageError
from crypto.identity.signing import Id
from crypto.profile.fields import AnyFieldValue, FieldId, SealedField, check_field_name
from crypto.profile.manifest import VerifiedManifest
from crypto.profile.own import FieldKey, ProfileKeys, rotate_field
from crypto.wire import Fixed, Max, Select, Uint8, Uint64, struct, variant

RECORDS_MAX = 65_536
"""Most records of one book."""

CHAT_ID_SIZE = 32

ChatId = Annotated[bytes, Fixed(CHAT_ID_SIZE)]


@variant(1)
class Person:
    """One account, by a private chat."""

    account_id: Id


@variant(2)
class Chat:
    """Everybody who reads a chat."""

    chat_id: ChatId


@variant(3)
class RoleInChat:
    """The members of a chat with this role (a `crypto.identity.roles.Role`), each by a private chat.

    A message in the chat itself would reach the others too.
    """

    chat_id: ChatId
    role: Uint8


AnyAudience = Person | Chat | RoleInChat


@struct
class GrantRecord:
    """A field reached an account as part of an audience. Times are Unix seconds; None: the grant stands."""

    field_id: FieldId
    name: bytes
    audience: Annotated[AnyAudience, Select(1)]
    account_id: Id
    granted_at: Uint64
    revoked_at: Uint64 | None

    def __post_init__(self) -> None:
        check_field_name(self.name)

    @property
    def stands(self) -> bool:
        """Whether it was not taken back."""
        return self.revoked_at is None


@struct
class GrantBook:
    """All records, oldest first, those that were taken back too: what was seen was seen."""

    records: Annotated[tuple[GrantRecord, ...], Max(RECORDS_MAX)] = ()

    def add(self, field: FieldKey, audience: AnyAudience, accounts: frozenset[bytes], now: int) -> GrantBook:
        """The book after a field was granted to an audience, which now is these accounts; who has it stays as it is.

        Raises `UsageError` for a person who is not the one account, and for a book that is full.
        """
        if isinstance(audience, Person) and accounts != {audience.account_id}:
            raise UsageError("a person is one account")
        having = {record.account_id for record in self.standing(field.field_id) if record.audience == audience}
        added = tuple(
            GrantRecord(field.field_id, field.name, audience, account_id, now, None)
            for account_id in sorted(accounts - having)
        )
        if len(self.records) + len(added) > RECORDS_MAX:
            raise UsageError(f"the book of grants has room for {RECORDS_MAX} records")
        return GrantBook((*self.records, *added))

    def revoke(self, field_id: bytes, audience: AnyAudience, now: int) -> GrantBook:
        """The book after a grant was taken back from an audience. Raises `UsageError` if there is no such grant.

        That alone takes nothing from anybody: `revoke` below also rotates the key.
        """
        return self._closed(lambda record: record.field_id == field_id and record.audience == audience, now)

    def leave(self, chat_id: bytes, account_id: bytes, now: int) -> tuple[GrantBook, frozenset[bytes]]:
        """The book after an account left a chat, and the ids of the fields that it opens no longer by right.

        Rotate their keys and grant them anew to the audiences that remain.
        """

        def left(record: GrantRecord) -> bool:
            by_chat = not isinstance(record.audience, Person) and record.audience.chat_id == chat_id
            return by_chat and record.account_id == account_id

        touched = {record.field_id for record in self.standing() if left(record)}
        if not touched:
            return self, frozenset()
        book = self._closed(left, now)
        return book, frozenset(field_id for field_id in touched if account_id not in book.readers(field_id))

    def standing(self, field_id: bytes | None = None) -> tuple[GrantRecord, ...]:
        """The grants that were not taken back, of one field or of all."""
        return tuple(record for record in self.records if record.stands and field_id in (None, record.field_id))

    def audiences(self, field_id: bytes) -> tuple[AnyAudience, ...]:
        """To whom the field is granted now, in the order of granting."""
        return tuple(dict.fromkeys(record.audience for record in self.standing(field_id)))

    def readers(self, field_id: bytes) -> frozenset[bytes]:
        """The accounts that the field is granted to now."""
        return frozenset(record.account_id for record in self.standing(field_id))

    def seen_by(self, field_id: bytes) -> frozenset[bytes]:
        """The accounts that the field was ever granted to: each may have kept what it saw."""
        return frozenset(record.account_id for record in self.records if record.field_id == field_id)

    def _closed(self, ends: Callable[[GrantRecord], bool], now: int) -> GrantBook:
        records = tuple(
            replace(record, revoked_at=now) if record.stands and ends(record) else record for record in self.records
        )
        if records == self.records:
            raise UsageError("nothing was granted there")
        return GrantBook(records)


@dataclass(frozen=True, slots=True)
class Revocation:
    """What a revocation changes. It counts when the server has taken the field and a manifest that names it.

    `grant_again`: audiences to send the new key to. `seen_by`: accounts that lost the grant and may have kept what they
    saw. `still_reached`: those of them that get the new key all the same, as part of another audience.
    """

    keys: ProfileKeys
    field: SealedField
    book: GrantBook
    grant_again: tuple[AnyAudience, ...]
    seen_by: frozenset[bytes]
    still_reached: frozenset[bytes]


def revoke(
    keys: ProfileKeys,
    book: GrantBook,
    manifest: VerifiedManifest,
    field: SealedField,
    audience: AnyAudience,
    now: int,
    replacement: AnyFieldValue | None = None,
) -> Revocation:
    """Take a field back from an audience, for the future: whatever is written from now on has another key.

    `field` and `replacement` are as in `own.rotate_field`, and so are the errors; `UsageError` also if the audience was
    not granted the field.
    """
    after = book.revoke(field.field_id, audience, now)
    new_keys, sealed = rotate_field(keys, manifest, field, replacement)
    lost = frozenset(record.account_id for record in book.standing(field.field_id) if record.audience == audience)
    readers = after.readers(field.field_id)
    return Revocation(new_keys, sealed, after, after.audiences(field.field_id), lost, lost & readers)
