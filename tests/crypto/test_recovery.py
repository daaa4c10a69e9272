"""Devices that go and accounts that come back: unlinking, a stolen phone, the phrase alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import AuthenticationError, IdentityError, UsageError
from crypto.identity.accounts import (
    CertifiedDevice,
    CertifiedSigningKey,
    DeviceChain,
    certify_signing_key,
    device_id_of,
    verify_chain,
    verify_device,
    verify_signing_key,
)
from crypto.identity.device_list import (
    sign_device_list,
    sign_next_device_list,
    verify_device_list,
    verify_listed,
)
from crypto.identity.recovery import (
    ReplacedSigningKey,
    check_newest,
    next_version,
    recover,
    replace_signing_key,
    unlink_devices,
)
from crypto.public import verify_account
from crypto.wire import encode
from tests.crypto.identities import NOW, Account, account, device, key_pair

ALICE, BOB = account("alice", devices=3), account("bob")
PHONE, LAPTOP, TABLET = ALICE.devices
FRESH = key_pair("alice signing fresh")
MINUTES = NOW // 60


def certified(person: Account, number: int) -> CertifiedDevice:
    return verify_chain(encode(person.devices[number].chain))


def newest_of(person: Account) -> CertifiedSigningKey:
    return verify_signing_key(person.certificate)


def stolen_phone(now: int = NOW) -> ReplacedSigningKey:
    """Alice puts a fresh signing key in place; laptop and tablet stay."""
    return replace_signing_key(ALICE.root, FRESH, newest_of(ALICE), [certified(ALICE, 1), certified(ALICE, 2)], now)


def test_an_unlinked_device_is_off_the_next_list() -> None:
    before = ALICE.verified_list(version=7)
    after = unlink_devices(ALICE.signing, before, frozenset({TABLET.device_id}), NOW)
    assert after.version == 8
    assert set(after.device_ids) == {PHONE.device_id, LAPTOP.device_id}
    verify_device_list(after.device_list, after.certificate, before)
    with pytest.raises(IdentityError, match="not on its account's device list"):
        verify_listed(certified(ALICE, 2), after)


def test_a_device_that_is_not_listed_is_not_unlinked() -> None:
    ids = frozenset({TABLET.device_id, BOB.devices[0].device_id})
    with pytest.raises(IdentityError, match="is to be unlinked is not on"):
        unlink_devices(ALICE.signing, ALICE.verified_list(), ids, NOW)


def test_the_last_device_is_not_unlinked() -> None:
    with pytest.raises(IdentityError, match="1 to 64 devices"):
        unlink_devices(BOB.signing, BOB.verified_list(), frozenset({BOB.devices[0].device_id}), NOW)


def test_only_the_signing_key_unlinks() -> None:
    with pytest.raises(AuthenticationError):
        unlink_devices(BOB.signing, ALICE.verified_list(), frozenset({TABLET.device_id}), NOW)


def test_a_list_follows_until_the_versions_end() -> None:
    last = ALICE.verified_list(version=2**32 - 1)
    before = sign_next_device_list(ALICE.signing, ALICE.verified_list(2**32 - 2), frozenset(last.device_ids), NOW)
    assert before.version == 2**32 - 1
    with pytest.raises(IdentityError, match="replace it, with the recovery phrase"):
        unlink_devices(ALICE.signing, last, frozenset({TABLET.device_id}), NOW)


def test_a_replaced_signing_key_comes_with_everything_that_the_server_asks_for() -> None:
    made = stolen_phone()
    assert made.account_id == ALICE.account_id
    assert made.signing_key == FRESH
    assert made.device_list.version == 1
    assert set(made.device_list.device_ids) == {LAPTOP.device_id, TABLET.device_id}
    parts = encode(made.certificate), [*map(encode, made.device_certificates)], encode(made.device_list.device_list)
    account_at_the_server = verify_account(*parts)
    assert account_at_the_server.signing_key == FRESH.public
    assert tuple(each.device_id for each in account_at_the_server.devices) == made.device_list.device_ids
    assert tuple(device_id_of(each.device_key) for each in made.device_certificates) == made.device_list.device_ids


@pytest.mark.parametrize("version", [1, 900, 2**32 - 1])
def test_the_new_list_follows_every_list_of_the_old_key(version: int) -> None:
    """Also the last one that there is, which a thief can sign."""
    made = stolen_phone()
    verify_device_list(made.device_list.device_list, made.certificate, ALICE.verified_list(version))
    with pytest.raises(IdentityError, match="older"):
        verify_device_list(ALICE.device_list(version), ALICE.certificate, made.device_list)


def test_a15_a_thief_with_the_old_signing_key_brings_no_device_in() -> None:
    """Neither the stolen one nor a ghost that he certifies, with or without a list of his own."""
    made = stolen_phone()
    ghost = device(ALICE.certificate, ALICE.signing, "ghost")
    for unwanted in (PHONE, ghost):
        with pytest.raises(IdentityError, match="not on its account's device list"):
            verify_listed(verify_chain(encode(unwanted.chain)), made.device_list)
        ids = frozenset({unwanted.device_id})
        his = sign_device_list(ALICE.signing, ALICE.certificate, 2**32 - 1, ids, NOW)
        with pytest.raises(IdentityError, match="older"):
            verify_device_list(his, ALICE.certificate, made.device_list)
        under_the_new = sign_device_list(ALICE.signing, made.certificate, 2, ids, NOW)
        with pytest.raises(AuthenticationError):
            verify_device_list(under_the_new, made.certificate, made.device_list)


def test_a16_the_server_cannot_go_back_to_the_stolen_key() -> None:
    made = stolen_phone()
    with pytest.raises(IdentityError, match="older"):
        verify_device_list(ALICE.device_list(99), ALICE.certificate, made.device_list)


def test_devices_that_stay_go_on_with_their_former_certificates_and_with_the_new() -> None:
    """So nobody has to replace a leaf in every chat before the stolen one is out."""
    made = stolen_phone()
    verify_listed(certified(ALICE, 1), made.device_list)
    for certificate in made.device_certificates:
        verify_listed(verify_chain(encode(DeviceChain(made.certificate, certificate))), made.device_list)


def test_a35_what_was_stolen_speaks_for_nobody_afterwards() -> None:
    made = stolen_phone()
    assert made.signing_key.public != ALICE.signing.public
    with pytest.raises(IdentityError, match="another version"):
        verify_device(verify_signing_key(made.certificate), PHONE.certificate)


def test_the_phrase_of_another_account_replaces_nothing() -> None:
    with pytest.raises(IdentityError, match="phrase is of another account"):
        replace_signing_key(BOB.root, FRESH, newest_of(ALICE), [certified(ALICE, 1)], NOW)


def test_a_device_of_another_account_does_not_stay() -> None:
    with pytest.raises(IdentityError, match="to stay is of another account"):
        replace_signing_key(ALICE.root, FRESH, newest_of(ALICE), [certified(ALICE, 1), certified(BOB, 0)], NOW)


def test_at_least_one_device_stays() -> None:
    with pytest.raises(IdentityError, match="1 to 64 devices"):
        replace_signing_key(ALICE.root, FRESH, newest_of(ALICE), [], NOW)


def test_a_signing_key_is_not_replaced_by_itself() -> None:
    with pytest.raises(UsageError, match="another one"):
        replace_signing_key(ALICE.root, ALICE.signing, newest_of(ALICE), [certified(ALICE, 1)], NOW)


def test_an_account_comes_back_with_one_device() -> None:
    new = key_pair("new phone")
    made = recover(ALICE.root, FRESH, new.public, newest_of(ALICE), NOW)
    assert made.account_id == ALICE.account_id
    assert made.device_list.device_ids == (device_id_of(new.public),)
    verify_device_list(made.device_list.device_list, made.certificate, ALICE.verified_list(2**32 - 1))
    (certificate,) = made.device_certificates
    verify_listed(verify_chain(encode(DeviceChain(made.certificate, certificate))), made.device_list)


def test_a_server_that_shows_another_account_is_caught() -> None:
    with pytest.raises(IdentityError, match="phrase is of another account"):
        recover(ALICE.root, FRESH, key_pair("new phone").public, newest_of(BOB), NOW)


@pytest.mark.parametrize("shown", [None, newest_of(ALICE)])
def test_a16_a_server_that_hides_newer_signing_keys_gains_nothing(shown: CertifiedSigningKey | None) -> None:
    """Contacts have seen the key that came after a theft a week ago; the server says that there is none."""
    week_ago = stolen_phone(NOW - 7 * 86_400)
    signing = key_pair("alice signing after recovery")
    made = recover(ALICE.root, signing, key_pair("new phone").public, shown, NOW)
    verify_device_list(made.device_list.device_list, made.certificate, week_ago.device_list)
    check_newest(verify_signing_key(made.certificate), verify_signing_key(week_ago.certificate))


def test_a_version_that_is_too_low_is_noticed() -> None:
    """By a clock that was behind: contacts refuse the list, and the first certificate of ours that we meet says why."""
    last = stolen_phone(NOW)
    signing = key_pair("alice signing after recovery")
    made = recover(ALICE.root, signing, key_pair("new phone").public, newest_of(ALICE), NOW - 86_400)
    ours, seen = verify_signing_key(made.certificate), verify_signing_key(last.certificate)
    with pytest.raises(IdentityError, match="older"):
        verify_device_list(made.device_list.device_list, made.certificate, last.device_list)
    with pytest.raises(IdentityError, match="newer signing key than this device"):
        check_newest(ours, seen)
    again = recover(ALICE.root, signing, key_pair("new phone").public, seen, NOW - 86_400)
    verify_device_list(again.device_list.device_list, again.certificate, last.device_list)
    check_newest(verify_signing_key(again.certificate), seen)


def test_two_keys_of_one_version_are_noticed() -> None:
    other = verify_signing_key(certify_signing_key(ALICE.root, FRESH.public, 1))
    with pytest.raises(IdentityError, match="two signing keys of one version"):
        check_newest(newest_of(ALICE), other)


def test_our_own_and_former_keys_are_no_news() -> None:
    made = verify_signing_key(stolen_phone().certificate)
    check_newest(made, made)
    check_newest(made, newest_of(ALICE))
    with pytest.raises(UsageError, match="two accounts"):
        check_newest(made, newest_of(BOB))


@pytest.mark.parametrize(
    "newest, now, version",
    [
        (0, 0, 1),
        (1, NOW, MINUTES),
        (MINUTES - 1, NOW, MINUTES),
        (MINUTES, NOW, MINUTES + 1),
        (MINUTES, NOW + 59, MINUTES + 1),
        (MINUTES, NOW + 60, MINUTES + 1),
        (2**32 - 2, NOW, 2**32 - 1),
        (1, 60 * (2**32 - 1), 2**32 - 1),
    ],
)
def test_the_next_version_follows_the_last_and_the_clock(newest: int, now: int, version: int) -> None:
    assert next_version(newest, now) == version


@pytest.mark.parametrize("newest, now", [(2**32 - 1, NOW), (1, 60 * 2**32)])
def test_beyond_the_last_version_there_is_none(newest: int, now: int) -> None:
    with pytest.raises(IdentityError, match="set the clock"):
        next_version(newest, now)


@given(st.integers(0, 2**31), st.integers(0, 2**33), st.integers(60, 2**33), st.integers(0, 2**31))
def test_what_is_hidden_was_made_by_an_earlier_minute(newest: int, then: int, later_s: int, shown: int) -> None:
    """Whatever is shown, an honest clock's later version is above an earlier one that came from the clock."""
    hidden = next_version(newest, then)
    if hidden == then // 60:
        assert next_version(shown, then + later_s) > hidden
