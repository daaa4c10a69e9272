"""Device lists: who is on them, and that they never go back."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import AuthenticationError, DecodeError, IdentityError
from crypto.identity.accounts import certify_signing_key, derive_root_key, verify_chain
from crypto.identity.device_list import (
    DEVICES_MAX,
    DeviceList,
    authenticate_leaf,
    certify_leaf,
    sign_device_list,
    verify_device_list,
    verify_listed,
)
from crypto.identity.signing import SignedLabel, sign_object
from crypto.mls.credentials import BasicCredential, X509Credential
from crypto.wire import decode, encode
from tests.crypto.identities import NOW, Account, account, device, key_pair

VECTORS = json.loads((Path(__file__).parent / "data" / "identity.json").read_text())


def resigned(person: Account, **changes: object) -> DeviceList:
    """The account's list with other fields, signed with its own signing key: nothing but the change is wrong."""
    changed = dataclasses.replace(person.device_list(), **changes)  # type: ignore[arg-type]  # fields by name
    return sign_object(person.signing, SignedLabel.DEVICE_LIST, changed)


def test_a_list_names_its_devices_in_order() -> None:
    alice = account("alice", devices=5)
    verified = alice.verified_list(version=9)
    assert verified.account_id == alice.account_id
    assert verified.version == 9
    assert verified.device_ids == tuple(sorted(device.device_id for device in alice.devices))


def test_a_listed_device_is_who_it_says() -> None:
    alice = account("alice", devices=2)
    for listed in alice.devices:
        found = authenticate_leaf(listed.credential, listed.keys.public, alice.verified_list(4))
        assert found.account_id == alice.account_id
        assert found.device_id == listed.device_id
        assert found.device_key == listed.keys.public
        assert found.root_key == alice.root.public
        assert found.device_list_version == 4


def test_a15_ghost_device_with_a_stolen_signing_key_is_not_listed() -> None:
    alice = account("alice")
    ghost = device(alice.certificate, alice.signing, "ghost")
    with pytest.raises(IdentityError, match="not on its account's device list"):
        authenticate_leaf(ghost.credential, ghost.keys.public, alice.verified_list())


def test_a15_ghost_device_put_into_a_list_breaks_its_signature() -> None:
    alice = account("alice")
    ghost = device(alice.certificate, alice.signing, "ghost")
    ids = tuple(sorted((ghost.device_id, alice.devices[0].device_id)))
    with pytest.raises(AuthenticationError):
        verify_device_list(dataclasses.replace(alice.device_list(), device_ids=ids), alice.certificate, None)


def test_without_a_list_there_is_no_device() -> None:
    alice = account("alice")
    with pytest.raises(IdentityError, match="no device list"):
        authenticate_leaf(alice.devices[0].credential, alice.devices[0].keys.public, None)


def test_list_of_another_account_does_not_count() -> None:
    alice, bob = account("alice"), account("bob")
    with pytest.raises(IdentityError, match="different accounts"):
        verify_listed(verify_chain(encode(alice.devices[0].chain)), bob.verified_list())


def test_a09_leaf_key_that_is_not_the_certified_one_is_refused() -> None:
    alice = account("alice")
    with pytest.raises(IdentityError, match="another key than the leaf's"):
        authenticate_leaf(alice.devices[0].credential, key_pair("mallory").public, alice.verified_list())


def test_only_device_chains_are_credentials() -> None:
    with pytest.raises(IdentityError, match="not a Sealdesk device chain"):
        certify_leaf(X509Credential((b"certificate",)), key_pair("alice").public)
    with pytest.raises(DecodeError):
        certify_leaf(BasicCredential(b"alice"), key_pair("alice").public)


def test_device_certified_by_an_older_signing_key_stays_if_it_is_listed() -> None:
    old, new = account("alice", signing_key_version=1), account("alice", signing_key_version=2)
    listed = authenticate_leaf(old.devices[0].credential, old.devices[0].keys.public, new.verified_list(2))
    assert listed.device_id == new.devices[0].device_id


def test_device_certified_by_a_newer_signing_key_shows_that_the_list_is_old() -> None:
    old, new = account("alice", signing_key_version=1), account("alice", signing_key_version=2)
    with pytest.raises(IdentityError, match="fetch the newest"):
        authenticate_leaf(new.devices[0].credential, new.devices[0].keys.public, old.verified_list())


def test_same_and_later_versions_follow() -> None:
    alice = account("alice")
    second = alice.verified_list(2)
    assert verify_device_list(alice.device_list(2), alice.certificate, second) == second
    assert verify_device_list(alice.device_list(3), alice.certificate, second).version == 3


def test_a16_older_list_is_refused() -> None:
    alice = account("alice")
    with pytest.raises(IdentityError, match="older than one seen before"):
        verify_device_list(alice.device_list(1), alice.certificate, alice.verified_list(2))


def test_same_version_with_other_bytes_is_refused() -> None:
    alice, more = account("alice"), account("alice", devices=2)
    with pytest.raises(IdentityError, match="two different device lists"):
        verify_device_list(more.device_list(2), more.certificate, alice.verified_list(2))
    with pytest.raises(IdentityError, match="two different device lists"):
        verify_device_list(resigned(alice, issued_at=NOW + 1), alice.certificate, alice.verified_list(1))


def test_two_signing_keys_of_one_version_are_refused() -> None:
    alice = account("alice")
    other = key_pair("alice other signing")
    certificate = certify_signing_key(alice.root, other.public, 1)
    ids = frozenset({alice.devices[0].device_id})
    with pytest.raises(IdentityError, match="two different signing keys"):
        verify_device_list(sign_device_list(other, certificate, 2, ids, NOW), certificate, alice.verified_list(1))


def test_thief_of_an_old_signing_key_is_shut_out_by_a_new_one() -> None:
    """Even if he signed the highest version that there is: a new signing key starts the lists anew, and he ends."""
    stolen, renewed = account("alice", devices=2, signing_key_version=1), account("alice", signing_key_version=2)
    thieving = stolen.verified_list(2**32 - 1)
    recovered = verify_device_list(renewed.device_list(1), renewed.certificate, thieving)
    assert recovered.device_ids == (renewed.devices[0].device_id,)
    with pytest.raises(IdentityError, match="older than one seen before"):
        verify_device_list(thieving.device_list, thieving.certificate, recovered)


def test_list_does_not_follow_one_of_another_account() -> None:
    alice, bob = account("alice"), account("bob")
    with pytest.raises(IdentityError, match="another account"):
        verify_device_list(bob.device_list(2), bob.certificate, alice.verified_list(1))


def test_list_under_another_accounts_certificate_is_refused() -> None:
    alice, bob = account("alice"), account("bob")
    with pytest.raises(IdentityError, match="another account"):
        verify_device_list(alice.device_list(), bob.certificate, None)
    with pytest.raises(AuthenticationError):
        verify_device_list(resigned(bob, account_id=alice.account_id), alice.certificate, None)


def test_list_of_another_signing_key_version_is_refused() -> None:
    old, new = account("alice", signing_key_version=1), account("alice", signing_key_version=2)
    with pytest.raises(IdentityError, match="another version"):
        verify_device_list(old.device_list(), new.certificate, None)


@pytest.mark.parametrize("ids", [(), (b"b" * 20, b"a" * 20), (b"a" * 20, b"a" * 20)])
def test_empty_unsorted_and_doubled_ids_are_refused(ids: tuple[bytes, ...]) -> None:
    alice = account("alice")
    with pytest.raises(IdentityError, match="device list"):
        verify_device_list(resigned(alice, device_ids=ids), alice.certificate, None)


def test_number_of_devices_is_bounded() -> None:
    alice = account("alice")
    ids = tuple(number.to_bytes(20, "big") for number in range(DEVICES_MAX + 1))
    assert verify_device_list(resigned(alice, device_ids=ids[1:]), alice.certificate, None).version == 1
    with pytest.raises(IdentityError, match=f"1 to {DEVICES_MAX}"):
        verify_device_list(resigned(alice, device_ids=ids), alice.certificate, None)


@pytest.mark.parametrize("size", [0, 1, 63, 65])
def test_a42_signatures_of_other_sizes_are_refused(size: int) -> None:
    alice = account("alice")
    made = alice.device_list()
    signature = (made.signature * 2)[:size]
    with pytest.raises(AuthenticationError):
        verify_device_list(dataclasses.replace(made, signature=signature), alice.certificate, None)
    with pytest.raises(DecodeError):
        decode(DeviceList, encode(made)[:-64] + signature)


@given(st.integers(min_value=0), st.integers(min_value=0, max_value=7))
def test_no_bit_of_a_list_can_change(place: int, bit: int) -> None:
    alice = account("alice", devices=2)
    encoded = bytearray(encode(alice.device_list()))
    encoded[place % len(encoded)] ^= 1 << bit
    with pytest.raises((DecodeError, AuthenticationError, IdentityError)):
        verify_device_list(decode(DeviceList, bytes(encoded)), alice.certificate, None)


def test_encoding_and_signature_stay_as_they_are() -> None:
    root, signing = derive_root_key(VECTORS["phrase"]), key_pair("vector signing")
    certificate = certify_signing_key(root, signing.public, 3)
    made = sign_device_list(signing, certificate, 5, frozenset({bytes.fromhex(VECTORS["device_id"])}), NOW)
    assert encode(made).hex() == VECTORS["device_list"]
