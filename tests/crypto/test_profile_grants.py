"""Grants, requests and answers: who shows what to whom, and what a reader takes for it."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Callable

import pytest

from crypto.errors import AccessWithdrawn, AuthenticationError, DecodeError, IdentityError, Stale, UsageError
from crypto.identity.signing import SignedLabel, sign_object
from crypto.profile import (
    FIELDS_MAX,
    REASON_BYTES_MAX,
    REQUESTED_MAX,
    AcceptedGrant,
    Answer,
    FieldAnswer,
    FieldEntry,
    FieldGrant,
    FieldRequest,
    FieldType,
    GrantMessage,
    RequestedField,
    accept_grant,
    accepted_fields,
    check_request,
    decode_profile_keys,
    decode_profile_message,
    encode_profile_keys,
    encode_profile_message,
    generate_request_id,
    make_grants,
    newer_grant,
    open_granted,
    sign_manifest,
    verify_manifest,
)
from crypto.profile.messages import ProfileMessage
from crypto.secret import Secret
from crypto.wire import decode, encode, encode_as
from tests.crypto.identities import NOW, secret
from tests.crypto.profiles import PASSPORT, Owner, owner, scan, text

ALICE = owner("alice").account_id
BOB = owner("bob").account_id
REQUEST = FieldRequest(
    b"r" * 16, ALICE, b"for your contract", (RequestedField(b"A", FieldType.TEXT), RequestedField(b"B", FieldType.DATE))
)


def alice_with(*names: str) -> Owner:
    alice = owner("alice")
    for name in names:
        alice.set(name, f"value of {name}")
    return alice


def shown(alice: Owner, name: str) -> AcceptedGrant:
    """The grant as it arrives in a message of alice's."""
    content = encode_profile_message(make_grants(alice.keys, alice.newest, [name]))
    message = decode_profile_message(content.reveal())
    assert isinstance(message, GrantMessage)
    (grant,) = message.grants
    return accept_grant(grant, alice.account_id)


def test_a_granted_field_opens() -> None:
    alice = alice_with(PASSPORT, "B")
    grant = shown(alice, PASSPORT)
    assert (grant.account_id, grant.name) == (alice.account_id, PASSPORT)
    assert open_granted(grant, alice.newest, alice.sealed(PASSPORT)) == text(f"value of {PASSPORT}")


def test_a_granted_picture_opens() -> None:
    alice = owner("alice")
    alice.set("Picture", scan(field_type=FieldType.PICTURE))
    assert open_granted(shown(alice, "Picture"), alice.newest, alice.sealed("Picture")).type is FieldType.PICTURE


def test_a_reader_follows_later_values() -> None:
    alice = alice_with("A")
    grant = shown(alice, "A")
    alice.set("A", "second")
    alice.set("B", "another field")
    alice.set("A", "third")
    assert open_granted(grant, alice.newest, alice.sealed("A")) == text("third")


def test_a_revoked_reader_opens_nothing_that_was_written_after() -> None:
    alice = alice_with("A")
    grant = shown(alice, "A")
    alice.rotate("A")
    for value in ("second", "third"):
        with pytest.raises(AccessWithdrawn, match="no longer shows it to you"):
            open_granted(grant, alice.newest, alice.sealed("A"))
        alice.set("A", value)
    assert open_granted(shown(alice, "A"), alice.newest, alice.sealed("A")) == text("third")


def test_a_removed_field_is_withdrawn() -> None:
    alice = alice_with("A")
    grant, field = shown(alice, "A"), alice.sealed("A")
    alice.remove("A")
    for given in (field, None):
        with pytest.raises(AccessWithdrawn, match="removed"):
            open_granted(grant, alice.newest, given)


def test_grants_of_fields_that_are_not_published_are_not_made() -> None:
    alice, bob = alice_with("A"), owner("bob")
    bob.set("A", "bob's")
    before, keys = alice.newest, alice.keys
    alice.set("B", "b")
    with pytest.raises(Stale, match="open the profile first"):
        make_grants(alice.keys, before, ["B"])
    other = decode_profile_keys(encode_profile_keys(keys))
    alice.rotate("A")
    with pytest.raises(Stale, match="open the profile first"):
        make_grants(other, alice.newest, ["A"])
    with pytest.raises(UsageError, match="another account"):
        make_grants(alice.keys, bob.newest, ["A"])
    with pytest.raises(UsageError, match="no field of this name"):
        make_grants(alice.keys, alice.newest, ["C"])


def test_a20_a_grant_of_another_accounts_field_is_refused() -> None:
    """Bob was shown the field, and passes it on as hers; or claims a field of his own as hers."""
    alice = alice_with("A")
    with pytest.raises(IdentityError, match="a field of another account"):
        accept_grant(shown(alice, "A").grant, BOB)
    bob = owner("bob")
    bob.set("A", "bob's")
    claimed = dataclasses.replace(shown(bob, "A").grant, account_id=ALICE)
    with pytest.raises(IdentityError, match="a field of another account"):
        accept_grant(claimed, BOB)


def test_a20_a_field_shown_as_another_of_its_owner_does_not_open() -> None:
    alice = alice_with("A", "B")
    a, b = shown(alice, "A").grant, shown(alice, "B").grant
    mixed = accept_grant(dataclasses.replace(a, field_id=b.field_id), ALICE)
    with pytest.raises(AuthenticationError):
        open_granted(mixed, alice.newest, alice.sealed("B"))


def test_a20_another_field_in_its_place_is_refused() -> None:
    alice = alice_with("A", "B")
    grant = shown(alice, "A")
    with pytest.raises(IdentityError, match="another field than the one that was shown"):
        open_granted(grant, alice.newest, alice.sealed("B"))
    swapped = dataclasses.replace(alice.sealed("B"), field_id=grant.grant.field_id)
    with pytest.raises(IdentityError, match="not the one its owner signed"):
        open_granted(grant, alice.newest, swapped)


def test_a20_another_accounts_profile_in_its_place_is_refused() -> None:
    alice, bob = alice_with("A"), owner("bob")
    bob.set("A", "bob's")
    with pytest.raises(IdentityError, match="another account than the field that was shown"):
        open_granted(shown(alice, "A"), bob.newest, bob.sealed("A"))


def test_a20_a_profile_older_than_the_grant_is_refused() -> None:
    """Also by a reader who sees a manifest of this account for the first time."""
    alice = alice_with("A")
    old_manifest, old_field = alice.newest, alice.sealed("A")
    alice.set("A", "second")
    with pytest.raises(Stale, match="older than what its owner showed: fetch the newest"):
        open_granted(shown(alice, "A"), old_manifest, old_field)


def test_a20_an_older_field_beside_the_newest_manifest_is_refused() -> None:
    alice = alice_with("A")
    grant, old = shown(alice, "A"), alice.sealed("A")
    alice.set("A", "second")
    with pytest.raises(Stale, match="fetch the newest field"):
        open_granted(grant, alice.newest, old)


def test_a20_a_field_that_is_withheld_is_noticed() -> None:
    alice = alice_with("A")
    with pytest.raises(Stale, match="left out a field of the profile: fetch it again"):
        open_granted(shown(alice, "A"), alice.newest, None)


def test_a20_a_field_older_than_the_grant_is_refused_whatever_is_signed() -> None:
    """Her restored backup, or a thief of her keys, signs an old value as the newest; the reader kept no manifest."""
    alice = alice_with("A")
    old = alice.sealed("A")
    alice.set("A", "second")
    grant = shown(alice, "A")
    entry = FieldEntry(old.field_id, old.version, hashlib.sha256(old.sealed).digest())
    back = dataclasses.replace(alice.newest.manifest, version=9, fields=(entry,))
    signed = sign_object(alice.person.signing, SignedLabel.PROFILE_MANIFEST, back)
    with pytest.raises(IdentityError, match="an older version of the field than its owner showed"):
        open_granted(grant, verify_manifest(signed, alice.signing_key, None), old)


def test_a_wrong_key_of_the_same_version_is_not_a_withdrawal() -> None:
    alice = alice_with("A")
    wrong = accept_grant(dataclasses.replace(shown(alice, "A").grant, key=secret("wrong")), ALICE)
    with pytest.raises(AuthenticationError):
        open_granted(wrong, alice.newest, alice.sealed("A"))


def test_a_field_of_another_type_than_shown_is_refused() -> None:
    alice = alice_with("A")
    grant = accept_grant(dataclasses.replace(shown(alice, "A").grant, type=FieldType.DATE), ALICE)
    with pytest.raises(IdentityError, match="another type than its owner showed"):
        open_granted(grant, alice.newest, alice.sealed("A"))


def test_the_newest_grant_is_kept() -> None:
    alice = alice_with("A", "B")
    first, of_b = shown(alice, "A"), shown(alice, "B")
    alice.rotate("A")
    second = shown(alice, "A")
    assert newer_grant(None, first) is first
    assert newer_grant(first, second) is second
    assert newer_grant(second, first) is second
    assert newer_grant(second, shown(alice, "A")) == second
    with pytest.raises(UsageError, match="different fields"):
        newer_grant(first, of_b)
    other = accept_grant(dataclasses.replace(second.grant, key=secret("other")), ALICE)
    with pytest.raises(IdentityError, match="two different grants"):
        newer_grant(second, other)
    bobs = accept_grant(dataclasses.replace(first.grant, account_id=BOB), BOB)
    with pytest.raises(UsageError, match="different fields"):
        newer_grant(first, bobs)


def test_a_new_signing_key_of_the_owner_makes_later_grants() -> None:
    alice, renewed = alice_with("A"), owner("alice", signing_key_version=2)
    first = shown(alice, "A")
    person = renewed.person
    signed = sign_manifest(person.signing, person.certificate, alice.newest, [], frozenset(), NOW)
    manifest = verify_manifest(signed, renewed.signing_key, alice.newest)
    (grant,) = make_grants(alice.keys, manifest, ["A"]).grants
    assert grant.moment == (2, 1) > first.grant.moment
    assert newer_grant(first, accept_grant(grant, ALICE)).grant == grant
    assert open_granted(first, manifest, alice.sealed("A")) == text("value of A")


# What is said in a chat


def messages() -> dict[str, GrantMessage | FieldRequest | FieldAnswer]:
    return {
        "grants": make_grants(SAMPLE.keys, SAMPLE.newest, ["A", "B"]),
        "request": REQUEST,
        "answer": FieldAnswer(REQUEST.request_id, (Answer.YES, Answer.NO)),
    }


SAMPLE = alice_with("A", "B")


@pytest.mark.parametrize("kind", messages())
def test_what_is_said_arrives(kind: str) -> None:
    content = encode_profile_message(messages()[kind])
    assert decode_profile_message(content.reveal()) == messages()[kind]
    assert repr(content) == "Secret(redacted)"


@pytest.mark.parametrize("said, asked", list(itertools.permutations(messages(), 2)))
def test_a39_no_profile_message_reads_as_another(said: str, asked: str) -> None:
    """Its content, under the tag of the other."""
    content = encode_profile_message(messages()[said]).reveal()
    tag = encode_profile_message(messages()[asked]).reveal()[:1]
    assert type(decode_profile_message(content)) is type(messages()[said])
    with pytest.raises(DecodeError):
        decode_profile_message(tag + content[1:])


def test_an_answer_says_yes_or_no_to_each_field() -> None:
    def accepted(*answers: Answer) -> tuple[RequestedField, ...]:
        return accepted_fields(REQUEST, FieldAnswer(REQUEST.request_id, answers), ALICE)

    first, second = REQUEST.fields
    assert accepted(Answer.YES, Answer.NO) == (first,)
    assert accepted(Answer.NO, Answer.YES) == (second,)
    assert accepted(Answer.NO, Answer.NO) == ()
    assert accepted(Answer.YES, Answer.YES) == (first, second)
    for answers in ((), (Answer.YES,), (Answer.YES,) * 3):
        with pytest.raises(DecodeError, match="does not fit the request"):
            accepted(*answers)


def test_an_answer_fits_its_request_and_comes_from_who_was_asked() -> None:
    answer = FieldAnswer(REQUEST.request_id, (Answer.YES, Answer.YES))
    with pytest.raises(IdentityError, match="was not asked"):
        accepted_fields(REQUEST, answer, BOB)
    with pytest.raises(DecodeError, match="does not fit the request"):
        accepted_fields(dataclasses.replace(REQUEST, request_id=bytes(16)), answer, ALICE)
    check_request(REQUEST, ALICE)
    with pytest.raises(IdentityError, match="asks somebody else"):
        check_request(REQUEST, BOB)


def fields_asked(count: int) -> tuple[RequestedField, ...]:
    return tuple(RequestedField(f"Field {number}".encode(), FieldType.TEXT) for number in range(count))


def test_requests_have_bounds() -> None:
    assert len(dataclasses.replace(REQUEST, fields=fields_asked(REQUESTED_MAX)).fields) == REQUESTED_MAX
    assert dataclasses.replace(REQUEST, reason=b"").reason == b""
    assert dataclasses.replace(REQUEST, reason=b"r" * REASON_BYTES_MAX)
    refused: list[Callable[[], object]] = [
        lambda: dataclasses.replace(REQUEST, fields=()),
        lambda: dataclasses.replace(REQUEST, fields=fields_asked(REQUESTED_MAX + 1)),
        lambda: dataclasses.replace(REQUEST, fields=fields_asked(1) * 2),
        lambda: dataclasses.replace(REQUEST, reason=b"r" * (REASON_BYTES_MAX + 1)),
        lambda: dataclasses.replace(REQUEST, reason=b"two\nlines"),
        lambda: dataclasses.replace(REQUEST, reason="\u202enosaer".encode()),
        lambda: RequestedField(b"", FieldType.TEXT),
        lambda: RequestedField("\u202eeman".encode(), FieldType.TEXT),
    ]
    for attempt in refused:
        with pytest.raises(DecodeError):
            attempt()


def test_grants_and_answers_have_bounds() -> None:
    (grant, _) = make_grants(SAMPLE.keys, SAMPLE.newest, ["A", "B"]).grants
    for good, bad in (
        (GrantMessage((grant,) * FIELDS_MAX), GrantMessage((grant,) * (FIELDS_MAX + 1))),
        (
            FieldAnswer(bytes(16), (Answer.NO,) * REQUESTED_MAX),
            FieldAnswer(bytes(16), (Answer.NO,) * (REQUESTED_MAX + 1)),
        ),
    ):
        assert decode_profile_message(encode_as(ProfileMessage, good)) == good
        with pytest.raises(UsageError, match="more than"):
            encode_as(ProfileMessage, bad)


def test_a_grant_has_a_key_and_a_name() -> None:
    grant = shown(SAMPLE, "A").grant
    assert decode(FieldGrant, encode(grant)) == grant
    for change in ({"key": Secret(bytes(31))}, {"name": b""}, {"name": "\u202eeman".encode()}):
        with pytest.raises(DecodeError):
            dataclasses.replace(grant, **change)  # type: ignore[arg-type]  # fields by name


def test_request_ids_are_new_each_time() -> None:
    assert len({generate_request_id() for _ in range(50)}) == 50
