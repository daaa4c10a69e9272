"""The owner's side: changes of fields, several devices, and keys that travel between them."""

from __future__ import annotations

import dataclasses

import pytest

from crypto.errors import AuthenticationError, DecodeError, IdentityError, Stale, UsageError
from crypto.profile import (
    FIELDS_MAX,
    FieldKey,
    FieldType,
    ProfileKeys,
    decode_profile_keys,
    encode_profile_keys,
    open_own_profile,
    remove_field,
    rotate_field,
    set_field,
    text_value,
)
from crypto.profile.fields import open_field, seal_field
from crypto.secret import Secret
from crypto.wire import decode, encode
from tests.crypto.identities import secret
from tests.crypto.profiles import PASSPORT, Owner, owner, scan, text


def values(alice: Owner, keys: ProfileKeys | None = None) -> dict[str, str]:
    _, opened = open_own_profile(keys or alice.keys, alice.newest, list(alice.stored.values()))
    return {field.name: field.value.text for field in opened if field.value.type == FieldType.TEXT}  # type: ignore[union-attr]  # text values alone


def alice_with(*names: str) -> Owner:
    alice = owner("alice")
    for name in names:
        alice.set(name, f"value of {name}")
    return alice


def key(number: int, name: bytes, value: Secret = secret("key")) -> FieldKey:  # noqa: B008  a frozen value
    return FieldKey(number.to_bytes(16, "big"), name, FieldType.TEXT, 1, value)


def test_the_owner_reads_what_the_owner_wrote() -> None:
    alice = alice_with("A", "B")
    alice.set("A", "changed")
    assert values(alice) == {"A": "changed", "B": "value of B"}
    alice.remove("B")
    assert values(alice) == {"A": "changed"}


def test_every_field_has_its_own_id_and_key_and_keeps_them() -> None:
    alice = alice_with("A", "B")
    before = alice.keys.field("A")
    assert before.key != alice.keys.field("B").key
    alice.set("A", "changed")
    after = alice.keys.field("A")
    assert (after.field_id, after.key, after.version) == (before.field_id, before.key, 2)


def test_a_field_that_was_removed_comes_back_as_another() -> None:
    alice = alice_with("A")
    before = alice.keys.field("A")
    alice.remove("A")
    assert alice.keys.find("A") is None
    alice.set("A", "again")
    after = alice.keys.field("A")
    assert after.field_id != before.field_id
    assert after.key != before.key


def test_a_rotated_field_keeps_its_value_and_opens_with_the_new_key_alone() -> None:
    alice = alice_with("A")
    old_key, old = alice.keys.field("A").key, alice.sealed("A")
    alice.rotate("A")
    assert values(alice) == {"A": "value of A"}
    assert alice.keys.field("A").version == 2
    with pytest.raises(AuthenticationError):
        open_field(old_key, alice.account_id, alice.sealed("A"))
    with pytest.raises(AuthenticationError):
        open_field(alice.keys.field("A").key, alice.account_id, old)
    alice.rotate("A", text("another"))
    assert values(alice) == {"A": "another"}


def test_a_rotated_picture_needs_another_key_of_its_own() -> None:
    alice = owner("alice")
    alice.set("Passport", scan("first"))
    for replacement in (None, scan("first")):
        with pytest.raises(UsageError, match="seal the attachment under a new key first"):
            alice.rotate("Passport", replacement)
    alice.rotate("Passport", scan("second"))
    _, (opened,) = open_own_profile(alice.keys, alice.newest, list(alice.stored.values()))
    assert opened.value == scan("second")


def test_what_cannot_be_done_is_refused_and_changes_nothing() -> None:
    alice, bob = alice_with("A"), owner("bob")
    bob.set("A", "bob's")
    before = alice.keys
    with pytest.raises(UsageError, match="another account"):
        set_field(alice.keys, bob.newest, "A", text("x"))
    with pytest.raises(UsageError, match="this field is a TEXT"):
        set_field(alice.keys, alice.newest, "A", text_value(FieldType.NAME, "x"))
    with pytest.raises(UsageError, match="this field is a TEXT"):
        rotate_field(alice.keys, alice.newest, alice.sealed("A"), text_value(FieldType.NAME, "x"))
    with pytest.raises(UsageError, match="no field of the profile"):
        rotate_field(alice.keys, alice.newest, bob.sealed("A"))
    with pytest.raises(UsageError, match="no field of this name"):
        remove_field(alice.keys, "B")
    with pytest.raises(DecodeError):
        set_field(alice.keys, alice.newest, "", text("x"))
    assert alice.keys is before
    assert values(alice) == {"A": "value of A"}


def test_a20_a_swapped_field_is_not_rotated() -> None:
    alice = alice_with("A", "B")
    swapped = dataclasses.replace(alice.sealed("B"), field_id=alice.keys.field("A").field_id)
    with pytest.raises(IdentityError, match="not the one its owner signed"):
        rotate_field(alice.keys, alice.newest, swapped)


def test_the_number_of_fields_is_bounded() -> None:
    alice = owner("alice")
    for number in range(FIELDS_MAX):
        alice.set(f"Field {number}", "x")
    assert len(values(alice)) == FIELDS_MAX
    with pytest.raises(UsageError, match=f"at most {FIELDS_MAX}"):
        alice.set("One more", "x")


def test_keys_travel_to_another_device_as_one_secret() -> None:
    alice = alice_with("A", PASSPORT)
    package = encode_profile_keys(alice.keys)
    assert "Passport" not in repr(package)
    assert decode_profile_keys(package) == alice.keys
    assert values(alice, decode_profile_keys(package)) == values(alice)
    assert decode_profile_keys(encode_profile_keys(ProfileKeys(alice.account_id, ()))).fields == ()
    for cut in (0, 1, len(package) - 1):
        with pytest.raises(DecodeError):
            decode_profile_keys(Secret(package.reveal()[:cut]))


def test_a_device_follows_another_by_opening_the_profile() -> None:
    alice = alice_with("A", "B")
    other = decode_profile_keys(encode_profile_keys(alice.keys))
    alice.set("A", "changed")
    alice.remove("B")
    for stale in (
        lambda: set_field(other, alice.newest, "A", text("x")),
        lambda: set_field(other, None, "A", text("x")),
    ):
        with pytest.raises(Stale, match="fetch and open the profile first"):
            stale()
    with pytest.raises(Stale, match="fetch and open the profile first"):
        set_field(other, alice.newest, "B", text("x"))
    with pytest.raises(Stale, match="fetch and open the profile first"):
        rotate_field(other, alice.newest, alice.sealed("A"))
    current, _ = open_own_profile(other, alice.newest, list(alice.stored.values()))
    assert current == alice.keys


def test_a_device_that_missed_a_rotation_cannot_undo_it() -> None:
    """Else it would seal the next value under the key that was taken from somebody."""
    alice = alice_with("A")
    other = decode_profile_keys(encode_profile_keys(alice.keys))
    alice.rotate("A")
    with pytest.raises(Stale, match="fetch and open the profile first"):
        set_field(other, alice.newest, "A", text("x"))
    with pytest.raises(Stale, match="changed a field's key: bring its profile keys here"):
        open_own_profile(other, alice.newest, list(alice.stored.values()))
    with pytest.raises(Stale, match="changed a field's key"):
        rotate_field(other, alice.newest, alice.sealed("A"))


def test_a_device_without_the_key_of_a_new_field_says_so() -> None:
    alice = alice_with("A")
    other = alice.keys
    alice.set("B", "new")
    with pytest.raises(Stale, match="bring its profile keys here"):
        open_own_profile(other, alice.newest, list(alice.stored.values()))


def test_a20_ones_own_profile_older_than_the_keys_is_refused() -> None:
    """For a device that has the keys and has not seen a manifest yet."""
    alice = alice_with("A")
    manifest, stored = alice.newest, list(alice.stored.values())
    alice.set("A", "changed")
    with pytest.raises(Stale, match="older than this device's keys: fetch the newest"):
        open_own_profile(alice.keys, manifest, stored)


def test_a20_ones_own_profile_is_read_whole_or_not_at_all() -> None:
    alice, bob = alice_with("A", "B"), owner("bob")
    bob.set("A", "bob's")
    with pytest.raises(IdentityError, match="left out 1 of 2"):
        open_own_profile(alice.keys, alice.newest, [alice.sealed("A")])
    with pytest.raises(IdentityError, match="another account than the keys"):
        open_own_profile(alice.keys, bob.newest, [bob.sealed("A")])


def test_a_wrong_key_of_the_same_version_is_no_key_of_another_device() -> None:
    alice = alice_with("A")
    (mine,) = alice.keys.fields
    wrong = ProfileKeys(alice.account_id, (dataclasses.replace(mine, key=secret("wrong")),))
    with pytest.raises(AuthenticationError):
        open_own_profile(wrong, alice.newest, list(alice.stored.values()))


def test_a_value_of_another_type_than_the_field_is_refused() -> None:
    """Signed by our own account all the same: a broken device of ours, or a thief of its keys."""
    alice = alice_with("A")
    mine = alice.keys.field("A")
    odd = text_value(FieldType.NAME, "x")
    planted = seal_field(mine.key, alice.account_id, mine.field_id, 2, odd, bytes(32))
    alice.publish(ProfileKeys(alice.account_id, (dataclasses.replace(mine, version=2),)), planted)
    with pytest.raises(IdentityError, match="another type than its owner said"):
        open_own_profile(alice.keys, alice.newest, list(alice.stored.values()))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_keys_of_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(DecodeError, match="32 bytes"):
        key(1, b"A", Secret(bytes(size)))


@pytest.mark.parametrize(
    "fields",
    [
        (key(2, b"A"), key(1, b"B")),
        (key(1, b"A"), key(1, b"B")),
        (key(1, b"A"), key(2, b"A")),
    ],
)
def test_unsorted_and_doubled_keys_are_refused(fields: tuple[FieldKey, ...]) -> None:
    with pytest.raises(DecodeError):
        ProfileKeys(bytes(20), fields)


def test_bad_names_do_not_come_with_keys() -> None:
    encoded = encode(key(1, b"AAAA"))
    assert decode(FieldKey, encoded) == key(1, b"AAAA")
    for bad in (b"\xff\xff\xff\xff", "\u202ea".encode(), b"A  \n"):
        with pytest.raises(DecodeError):
            decode(FieldKey, encoded.replace(b"AAAA", bad))
    with pytest.raises(DecodeError, match="without a name"):
        key(1, b"")
