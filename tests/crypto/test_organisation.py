"""The organisation's key: its fingerprint, and the file that holds it under a passphrase."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import DecodeError, IdentityError
from crypto.identity import organisation
from crypto.identity.organisation import (
    DEFAULT_COST,
    ITERATIONS_MAX,
    LANES_MAX,
    MEMORY_KIB_MAX,
    Argon2Cost,
    OrganisationKeyFile,
    check_organisation_key,
    format_fingerprint,
    generate_key_file,
    generate_organisation_key,
    open_key_file,
    organisation_id_of,
    parse_fingerprint,
    read_key_file,
    seal_key_file,
)
from crypto.wire import decode, encode
from tests.crypto.identities import key_pair
from tests.crypto.organisations import ORGANISATION, ORGANISATION_ID, OTHER_ORGANISATION

VECTORS = json.loads((Path(__file__).parent / "data" / "roles.json").read_text())
CHEAP = Argon2Cost(iterations=1, lanes=1, memory_kib=8)
PASSPHRASE = "grüße aus der praxis"
SALT = bytes(range(16))


def sealed(**changes: object) -> bytes:
    """A key file whose header says something else than what was sealed."""
    made = decode(OrganisationKeyFile, seal_key_file(ORGANISATION, PASSPHRASE, SALT, CHEAP))
    return encode(dataclasses.replace(made, header=dataclasses.replace(made.header, **changes)))  # type: ignore[arg-type]  # fields by name


def asking(iterations: int, lanes: int, memory_kib: int) -> bytes:
    return sealed(cost=Argon2Cost(iterations, lanes, memory_kib))


def test_keys_are_drawn_anew() -> None:
    assert generate_organisation_key() != generate_organisation_key()


def test_the_id_is_a_truncated_hash_with_its_own_label() -> None:
    key = ORGANISATION.public
    assert organisation_id_of(key) == hashlib.sha256(b"Sealdesk 1.0 organisation" + key).digest()[:20]


def test_a_key_is_held_against_the_pinned_id() -> None:
    check_organisation_key(ORGANISATION.public, ORGANISATION_ID)
    for key in (OTHER_ORGANISATION.public, b"", ORGANISATION.public + b"\x00"):
        with pytest.raises(IdentityError, match="not the organisation that the invitation came from"):
            check_organisation_key(key, ORGANISATION_ID)


@given(st.binary(min_size=20, max_size=20))
def test_fingerprints_round_trip_through_what_people_type(organisation_id: bytes) -> None:
    text = format_fingerprint(organisation_id)
    assert [len(group) for group in text.split(" ")] == [4] * 8
    for typed in (text, text.upper(), text.replace(" ", ""), text.replace(" ", "-"), f" {text} "):
        assert parse_fingerprint(typed) == organisation_id


@pytest.mark.parametrize("text", ["", "a" * 31, "a" * 33, "1" * 32, "a" * 31 + "\n", "\uff41" * 32, "\u0131" * 32])
def test_other_texts_are_no_fingerprints(text: str) -> None:
    with pytest.raises(IdentityError, match="32 characters"):
        parse_fingerprint(text)


def test_a_key_file_opens_with_its_passphrase() -> None:
    made = generate_key_file(ORGANISATION, PASSPHRASE, CHEAP)
    assert open_key_file(made, PASSPHRASE) == ORGANISATION
    assert read_key_file(made) == ORGANISATION.public
    assert ORGANISATION.private.reveal() not in made
    assert made != generate_key_file(ORGANISATION, PASSPHRASE, CHEAP)


def test_keyboards_that_compose_differently_type_one_passphrase() -> None:
    made = generate_key_file(ORGANISATION, PASSPHRASE, CHEAP)
    assert open_key_file(made, PASSPHRASE.replace("ü", "u\u0308")) == ORGANISATION


@pytest.mark.parametrize("typed", ["", PASSPHRASE + " ", PASSPHRASE.upper(), "another passphrase", "\ud800"])
def test_another_passphrase_does_not_open_it(typed: str) -> None:
    made = seal_key_file(ORGANISATION, PASSPHRASE, SALT, CHEAP)
    with pytest.raises(IdentityError, match="the passphrase does not open this key file") as caught:
        open_key_file(made, typed)
    assert caught.value.__suppress_context__
    assert not typed or typed not in str(caught.value)


def test_short_passphrases_are_refused_for_new_files() -> None:
    assert open_key_file(generate_key_file(ORGANISATION, "a" * 12, CHEAP), "a" * 12) == ORGANISATION
    with pytest.raises(IdentityError, match="at least 12 characters"):
        generate_key_file(ORGANISATION, "a" * 11, CHEAP)


@given(st.integers(min_value=0), st.integers(min_value=0, max_value=7))
def test_no_bit_of_a_key_file_can_change(place: int, bit: int) -> None:
    made = bytearray(seal_key_file(ORGANISATION, PASSPHRASE, SALT, CHEAP))
    cost = range(32 + 16, 32 + 16 + 12)
    place %= len(made)
    made[place] ^= 1 << (bit if place not in cost else bit % 2)  # more memory would be asked for, at most
    with pytest.raises((DecodeError, IdentityError)):
        open_key_file(bytes(made), PASSPHRASE)


def test_a_file_that_holds_another_key_than_it_says_is_refused() -> None:
    """The owner of the passphrase alone can make one, or who has found a key to which the cipher commits twice."""
    mixed = dataclasses.replace(ORGANISATION, public=OTHER_ORGANISATION.public)
    with pytest.raises(IdentityError, match="another key than it says"):
        open_key_file(seal_key_file(mixed, PASSPHRASE, SALT, CHEAP), PASSPHRASE)


@pytest.mark.parametrize(
    "iterations, lanes, memory_kib",
    [
        (ITERATIONS_MAX + 1, 1, 8),
        (1, LANES_MAX + 1, 8 * (LANES_MAX + 1)),
        (1, 1, MEMORY_KIB_MAX + 1),
        (2**32 - 1, 2**32 - 1, 2**32 - 1),
        (0, 1, 8),
        (1, 0, 8),
        (1, 1, 7),
        (1, 4, 31),
        (0, 0, 0),
    ],
)
def test_a_file_that_asks_for_too_much_or_too_little_is_refused_before_any_work(
    iterations: int, lanes: int, memory_kib: int
) -> None:
    with pytest.raises(DecodeError, match="the key file asks for"):
        open_key_file(asking(iterations, lanes, memory_kib), PASSPHRASE)
    with pytest.raises(DecodeError, match="the key file asks for"):
        read_key_file(asking(iterations, lanes, memory_kib))
    with pytest.raises(DecodeError, match="the key file asks for"):
        generate_key_file(ORGANISATION, PASSPHRASE, Argon2Cost(iterations, lanes, memory_kib))


def test_bounds_themselves_are_allowed() -> None:
    assert read_key_file(asking(ITERATIONS_MAX, LANES_MAX, MEMORY_KIB_MAX)) == ORGANISATION.public
    assert read_key_file(asking(1, LANES_MAX, 8 * LANES_MAX)) == ORGANISATION.public


def test_cut_and_lengthened_files_are_refused() -> None:
    made = seal_key_file(ORGANISATION, PASSPHRASE, SALT, CHEAP)
    for damaged in (b"", made[:-1], made + b"\x00"):
        with pytest.raises(DecodeError):
            open_key_file(damaged, PASSPHRASE)
    with pytest.raises(DecodeError, match="too large"):
        read_key_file(bytes(257))


def test_nothing_of_the_cost_is_taken_back() -> None:
    """What new files cost to guess may grow, and not shrink by mistake."""
    assert (DEFAULT_COST.iterations, DEFAULT_COST.lanes, DEFAULT_COST.memory_kib) == (4, 4, 262_144)
    assert open_key_file(generate_key_file(key_pair("founder"), PASSPHRASE), PASSPHRASE) == key_pair("founder")


def test_key_file_stays_as_it_is() -> None:
    assert seal_key_file(ORGANISATION, PASSPHRASE, SALT, CHEAP).hex() == VECTORS["key_file"]
    assert organisation.organisation_id_of(ORGANISATION.public).hex() == VECTORS["organisation_id"]
