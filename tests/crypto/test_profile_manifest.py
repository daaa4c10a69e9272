"""The manifest: what makes a stale, mixed, truncated or swapped profile a refusal, in words that say what to do."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import AuthenticationError, DecodeError, IdentityError, Stale, UsageError
from crypto.identity.accounts import certify_signing_key, verify_signing_key
from crypto.identity.signing import SignedLabel, sign_object
from crypto.profile import (
    FIELDS_MAX,
    FieldEntry,
    ProfileManifest,
    SealedField,
    VerifiedManifest,
    check_field,
    check_profile,
    sign_manifest,
    verify_manifest,
)
from crypto.profile.fields import seal_field
from crypto.profile.manifest import next_version
from crypto.wire import decode, encode
from tests.crypto.identities import NOW, key_pair, secret
from tests.crypto.profiles import PASSPORT, Owner, owner, text

VECTORS = json.loads((Path(__file__).parent / "data" / "profile.json").read_text())
VERSION_MAX = 2**32 - 1


def alice_with(*names: str) -> Owner:
    alice = owner("alice")
    for name in names:
        alice.set(name, f"value of {name}")
    return alice


def resigned(alice: Owner, **changes: object) -> ProfileManifest:
    """The manifest with other fields, signed with the owner's own key: nothing but the change is wrong."""
    changed = dataclasses.replace(alice.newest.manifest, **changes)  # type: ignore[arg-type]  # fields by name
    return sign_object(alice.person.signing, SignedLabel.PROFILE_MANIFEST, changed)


def test_a_profile_is_what_its_manifest_names() -> None:
    alice = alice_with("A", "B", "C")
    assert alice.newest.account_id == alice.account_id
    assert alice.newest.moment == (1, 3)
    assert [entry.field_id for entry in alice.newest.manifest.fields] == sorted(alice.stored)
    check_profile(alice.newest, list(alice.stored.values()))
    check_profile(alice.newest, list(reversed(alice.stored.values())))
    for field in alice.stored.values():
        assert check_field(alice.newest, field).version == field.version


def test_an_empty_profile_is_one() -> None:
    alice = alice_with("A")
    alice.remove("A")
    check_profile(alice.newest, [])
    with pytest.raises(IdentityError, match="not in its owner's profile"):
        check_profile(alice.newest, alice.ever)


def test_the_manifest_shows_no_names() -> None:
    alice = alice_with(PASSPORT)
    assert b"Passport" not in encode(alice.newest.manifest) + encode(alice.sealed(PASSPORT))


def test_a20_an_older_version_of_a_field_is_refused() -> None:
    alice = alice_with("A")
    older = alice.sealed("A")
    alice.set("A", "new")
    with pytest.raises(Stale, match=r"older version of a field .* fetch the newest field"):
        check_profile(alice.newest, [older])
    with pytest.raises(IdentityError, match="not the one its owner signed"):
        check_field(alice.newest, dataclasses.replace(older, version=2))


def test_a20_a_field_newer_than_the_profile_says_that_the_profile_is_stale() -> None:
    alice = alice_with("A")
    before = alice.newest
    alice.set("A", "new")
    with pytest.raises(Stale, match="newer than the known profile: fetch the newest profile"):
        check_field(before, alice.sealed("A"))


def test_a20_another_users_field_is_refused() -> None:
    alice, bob = alice_with("A"), owner("bob")
    bob.set("A", "bob's")
    with pytest.raises(IdentityError, match="not in its owner's profile"):
        check_field(alice.newest, bob.sealed("A"))
    renamed = dataclasses.replace(bob.sealed("A"), field_id=alice.sealed("A").field_id)
    with pytest.raises(IdentityError, match="not the one its owner signed"):
        check_field(alice.newest, renamed)


def test_a20_swapped_ids_are_refused() -> None:
    alice = alice_with("A", "B")
    one, other = alice.sealed("A"), alice.sealed("B")
    swapped = [dataclasses.replace(one, field_id=other.field_id), dataclasses.replace(other, field_id=one.field_id)]
    with pytest.raises(IdentityError, match="not the one its owner signed"):
        check_profile(alice.newest, swapped)


def test_a20_a_truncated_profile_is_refused() -> None:
    alice = alice_with("A", "B", "C")
    with pytest.raises(IdentityError, match="left out 2 of 3 fields"):
        check_profile(alice.newest, [alice.sealed("A")])
    with pytest.raises(IdentityError, match="left out 3 of 3 fields"):
        check_profile(alice.newest, [])


def test_a20_a_doubled_field_does_not_hide_a_missing_one() -> None:
    alice = alice_with("A", "B")
    with pytest.raises(IdentityError, match="a field twice"):
        check_profile(alice.newest, [alice.sealed("A"), alice.sealed("A")])


def test_a20_a_truncated_manifest_is_refused() -> None:
    alice = alice_with("A", "B")
    cut = dataclasses.replace(alice.newest.manifest, fields=alice.newest.manifest.fields[:1])
    with pytest.raises(AuthenticationError):
        verify_manifest(cut, alice.signing_key, None)


def test_a20_a_mixed_manifest_is_refused() -> None:
    alice = alice_with("A", "B")
    before = alice.newest
    alice.set("A", "new")
    mixed = dataclasses.replace(alice.newest.manifest, fields=before.manifest.fields)
    with pytest.raises(AuthenticationError):
        verify_manifest(mixed, alice.signing_key, before)


def test_a20_an_older_manifest_is_refused() -> None:
    alice = alice_with("A")
    before = alice.newest
    alice.set("A", "new")
    with pytest.raises(Stale, match="older than one seen before: fetch the newest"):
        verify_manifest(before.manifest, alice.signing_key, alice.newest)


def test_a20_another_accounts_manifest_is_refused() -> None:
    alice, bob = alice_with("A"), owner("bob")
    bob.set("A", "bob's")
    with pytest.raises(IdentityError, match="another account than was asked for"):
        verify_manifest(bob.newest.manifest, alice.signing_key, None)
    with pytest.raises(AuthenticationError):
        verify_manifest(resigned(bob, account_id=alice.account_id), alice.signing_key, None)
    with pytest.raises(IdentityError, match="another account than the one before"):
        verify_manifest(bob.newest.manifest, bob.signing_key, alice.newest)


def test_the_same_and_a_later_manifest_follow() -> None:
    alice = alice_with("A")
    before = alice.newest
    assert verify_manifest(before.manifest, alice.signing_key, before) == before
    alice.set("B", "b")
    alice.remove("A")
    assert verify_manifest(alice.newest.manifest, alice.signing_key, before).moment == (1, 3)


def test_equal_versions_have_equal_bytes() -> None:
    alice = alice_with("A")
    with pytest.raises(IdentityError, match="two different profiles have the same version"):
        verify_manifest(resigned(alice, issued_at=NOW + 1), alice.signing_key, alice.newest)


@pytest.mark.parametrize("entry_change", [{"version": 1}, {"content_hash": bytes(32)}])
def test_a20_a_later_manifest_takes_no_field_back(entry_change: dict[str, object]) -> None:
    """Signed by the owner: a device that was put back to an old backup, or a thief."""
    alice = alice_with("A")
    alice.set("A", "second")
    (entry,) = alice.newest.manifest.fields
    back = resigned(alice, version=9, fields=(dataclasses.replace(entry, **entry_change),))  # type: ignore[arg-type]  # fields by name
    with pytest.raises(IdentityError, match="a field in it is older or swapped"):
        verify_manifest(back, alice.signing_key, alice.newest)


def test_a_replaced_signing_key_signs_no_profile_and_its_successor_starts_anew() -> None:
    stolen, renewed = alice_with("A"), owner("alice", signing_key_version=2)
    thieving = verify_manifest(resigned(stolen, version=VERSION_MAX), stolen.signing_key, stolen.newest)
    signed = sign_manifest(renewed.person.signing, renewed.person.certificate, stolen.newest, [], frozenset(), NOW)
    recovered = verify_manifest(signed, renewed.signing_key, thieving)
    assert recovered.moment == (2, 1)
    check_profile(recovered, list(stolen.stored.values()))
    with pytest.raises(Stale, match="a key that its owner has replaced: fetch the newest profile"):
        verify_manifest(thieving.manifest, renewed.signing_key, None)
    with pytest.raises(Stale, match="fetch the newest device list"):
        verify_manifest(signed, stolen.signing_key, None)
    with pytest.raises(Stale, match="older than one seen before"):
        verify_manifest(thieving.manifest, stolen.signing_key, recovered)


def test_two_signing_keys_of_one_version_are_refused() -> None:
    alice = alice_with("A")
    other = key_pair("alice other signing")
    certificate = certify_signing_key(alice.person.root, other.public, 1)
    signed = sign_manifest(other, certificate, alice.newest, [], frozenset(), NOW)
    with pytest.raises(IdentityError, match="two different signing keys"):
        verify_manifest(signed, verify_signing_key(certificate), alice.newest)


@pytest.mark.parametrize("order", [(1, 0), (0, 0)])
def test_unsorted_and_doubled_entries_are_refused(order: tuple[int, int]) -> None:
    alice = alice_with("A", "B")
    entries = tuple(alice.newest.manifest.fields[place] for place in order)
    with pytest.raises(IdentityError, match="not strictly ascending"):
        verify_manifest(resigned(alice, fields=entries), alice.signing_key, None)


def test_the_number_of_fields_is_bounded() -> None:
    alice = alice_with("A")
    entries = tuple(FieldEntry(number.to_bytes(16, "big"), 1, bytes(32)) for number in range(FIELDS_MAX + 1))
    assert decode(ProfileManifest, encode(resigned(alice, fields=entries[1:]))).fields == entries[1:]
    with pytest.raises(UsageError):
        resigned(alice, fields=entries)
    fields = [SealedField(entry.field_id, 1, bytes(4096)) for entry in entries]
    with pytest.raises(UsageError, match=f"at most {FIELDS_MAX}"):
        sign_manifest(alice.person.signing, alice.person.certificate, None, fields, frozenset(), NOW)


def test_a_manifest_is_made_from_the_one_before() -> None:
    alice, bob = alice_with("A", "B"), owner("bob")
    bob.set("A", "bob's")

    def sign(previous: VerifiedManifest, changed: list[SealedField], removed: frozenset[bytes]) -> ProfileManifest:
        return sign_manifest(alice.person.signing, alice.person.certificate, previous, changed, removed, NOW)

    field = alice.sealed("A")
    with pytest.raises(UsageError, match="another account"):
        sign(bob.newest, [], frozenset())
    with pytest.raises(UsageError, match="a higher version than before"):
        sign(alice.newest, [field], frozenset())
    with pytest.raises(UsageError, match="cannot be removed"):
        sign(alice.newest, [], frozenset({bytes(16)}))
    next_one = seal_field(secret("key"), alice.account_id, field.field_id, 2, text("next"), bytes(32))
    assert sign(alice.newest, [next_one], frozenset()).fields != alice.newest.manifest.fields
    assert sign(alice.newest, [], frozenset({field.field_id})).fields == tuple(
        entry for entry in alice.newest.manifest.fields if entry.field_id != field.field_id
    )


def test_versions_end() -> None:
    assert next_version(VERSION_MAX - 1) == VERSION_MAX
    with pytest.raises(UsageError, match="no higher version"):
        next_version(VERSION_MAX)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(ProfileManifest)])
def test_no_field_of_a_manifest_can_change(name: str) -> None:
    alice = alice_with("A")
    manifest = alice.newest.manifest
    other = {
        "account_id": bytes(20), "version": 7, "signing_key_version": 7, "fields": (), "issued_at": 7,
        "signature": bytes(64),
    }  # fmt: skip
    with pytest.raises((AuthenticationError, IdentityError)):
        verify_manifest(dataclasses.replace(manifest, **{name: other[name]}), alice.signing_key, None)  # type: ignore[arg-type]  # fields by name


@given(st.integers(min_value=0), st.integers(min_value=0, max_value=7))
def test_no_bit_of_a_manifest_can_change(place: int, bit: int) -> None:
    encoded = bytearray(encode(SAMPLE.newest.manifest))
    encoded[place % len(encoded)] ^= 1 << bit
    with pytest.raises((DecodeError, AuthenticationError, IdentityError)):
        verify_manifest(decode(ProfileManifest, bytes(encoded)), SAMPLE.signing_key, None)


@pytest.mark.parametrize("size", [0, 1, 63, 65])
def test_a42_signatures_of_other_sizes_are_refused(size: int) -> None:
    alice = alice_with("A")
    made = alice.newest.manifest
    signature = (made.signature * 2)[:size]
    with pytest.raises(AuthenticationError):
        verify_manifest(dataclasses.replace(made, signature=signature), alice.signing_key, None)
    with pytest.raises(DecodeError):
        decode(ProfileManifest, encode(made)[:-64] + signature)


def test_encoding_and_signature_stay_as_they_are() -> None:
    alice = owner("vector")
    field = seal_field(secret("key"), alice.account_id, b"f" * 16, 1, text("value"), bytes(32))
    made = sign_manifest(alice.person.signing, alice.person.certificate, None, [field], frozenset(), NOW)
    assert encode(made).hex() == VECTORS["manifest"]


SAMPLE = alice_with("A", "B")
