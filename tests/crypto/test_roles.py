"""Role certificates: what holds, and that nobody has a role that the organisation's key does not lead to."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import (
    AuthenticationError,
    CryptoError,
    DecodeError,
    IdentityError,
    PolicyViolation,
    Stale,
    UsageError,
)
from crypto.identity.permissions import TABLE, Action, Alone, check_permission, may
from crypto.identity.revocations import CLOCK_TOLERANCE_S
from crypto.identity.roles import (
    CHAIN_BYTES_MAX,
    LABEL_BYTES_MAX,
    LIFETIME_MAX_S,
    ROLE_EXTENSION,
    Issuer,
    Role,
    RoleChain,
    certify_role,
    certify_role_as_admin,
    generate_serial,
    renewal_time,
    role_extension,
    role_of_leaf,
    verify_role,
)
from crypto.identity.signing import SignedLabel, sign_object
from crypto.mls.extensions import Extension
from crypto.wire import decode, encode
from tests.crypto.identities import DAY_S, NOW, account, key_pair
from tests.crypto.organisations import (
    ADMIN,
    BOT,
    CLIENT,
    ORGANISATION,
    ORGANISATION_ID,
    OTHER_ORGANISATION,
    WORKER,
    admin_chain,
    grant,
    issuer,
    resigned,
    revocations,
    serial,
    signed,
    verify,
    with_issuer,
    worker_chain,
)

VECTORS = json.loads((Path(__file__).parent / "data" / "roles.json").read_text())
FIELDS = [field.name for field in dataclasses.fields(worker_chain().certificate)]
OTHER_VALUES = {
    "organisation_id": bytes(20),
    "account_id": CLIENT.account_id,
    "role": Role.BOT,
    "label": b"Head of all",
    "not_before": NOW - 2 * DAY_S,
    "not_after": NOW + 91 * DAY_S,
    "serial": bytes(16),
    "issuer_serial": bytes(16),
    "signing_key_version": 7,
    "signature": bytes(64),
}


def test_a_worker_certified_by_an_admin() -> None:
    verified = verify(worker_chain())
    assert (verified.organisation_id, verified.account_id) == (ORGANISATION_ID, WORKER.account_id)
    assert (verified.role, verified.label) == (Role.WORKER, "Dr. Weber, intake")
    assert (verified.not_before, verified.not_after) == (NOW - DAY_S, NOW + 90 * DAY_S)
    assert (verified.serial, verified.issuer_serial) == (serial("worker"), serial("admin"))


def test_an_admin_certified_by_the_organisation() -> None:
    verified = verify(admin_chain(), ADMIN)
    assert (verified.role, verified.label) == (Role.ADMIN, "Office")
    assert (verified.serial, verified.issuer_serial) == (serial("admin"), None)


@pytest.mark.parametrize("role", [Role.CLIENT, Role.WORKER, Role.BOT])
def test_organisation_and_admin_certify_every_other_role(role: Role) -> None:
    for chain in (
        certify_role(ORGANISATION, grant(BOT, role, "Triage"), generate_serial()),
        certify_role_as_admin(ADMIN.signing, issuer(), grant(BOT, role, "Triage"), generate_serial()),
    ):
        assert verify(chain, BOT).role is role


def test_serials_are_drawn_anew() -> None:
    assert len(generate_serial()) == 16
    assert generate_serial() != generate_serial()


def test_a_leaf_without_the_extension_is_of_a_client() -> None:
    for extensions in ((), (Extension(0x0A0A, b"noise"),)):
        verified = role_of_leaf(extensions, ORGANISATION.public, CLIENT.account_id, None, NOW)
        assert (verified.role, verified.label, verified.serial) == (Role.CLIENT, "", None)
        assert (verified.organisation_id, verified.account_id) == (ORGANISATION_ID, CLIENT.account_id)


def test_a_leaf_with_the_extension_has_its_role() -> None:
    extensions = (Extension(0x0A0A, b"noise"), role_extension(worker_chain()))
    found = role_of_leaf(extensions, ORGANISATION.public, WORKER.account_id, revocations(), NOW)
    assert found == verify(worker_chain())
    assert extensions[1].extension_type == ROLE_EXTENSION == 0xF5E1


@pytest.mark.parametrize("data", [b"", b"worker", encode(worker_chain())[:-1], encode(worker_chain()) + b"\x00"])
def test_a21_an_extension_that_is_no_certificate_is_an_error_and_never_a_client(data: bytes) -> None:
    with pytest.raises(DecodeError):
        role_of_leaf((Extension(ROLE_EXTENSION, data),), ORGANISATION.public, WORKER.account_id, revocations(), NOW)


def test_a21_a_role_on_anothers_leaf_is_an_error_and_never_a_client() -> None:
    extensions = (role_extension(worker_chain()),)
    with pytest.raises(IdentityError, match="another account"):
        role_of_leaf(extensions, ORGANISATION.public, CLIENT.account_id, revocations(), NOW)


@pytest.mark.parametrize("role", Role)
def test_a21_a_certificate_by_whoever_is_not_the_organisation_is_refused(role: Role) -> None:
    """What a server can do that has the whole database: make keys, accounts and certificates of its own."""
    made = certify_role(OTHER_ORGANISATION, grant(WORKER, role), serial("forged"))
    with pytest.raises(AuthenticationError):
        verify(resigned(made, OTHER_ORGANISATION, organisation_id=ORGANISATION_ID))
    with pytest.raises(AuthenticationError):
        verify(made)


def test_a21_an_admin_that_the_organisation_did_not_make_makes_no_workers() -> None:
    false_admin = admin_chain(organisation=OTHER_ORGANISATION).certificate
    for admin in (false_admin, dataclasses.replace(false_admin, organisation_id=ORGANISATION_ID)):
        chain = dataclasses.replace(worker_chain(), issuer=Issuer(admin, ADMIN.certificate))
        with pytest.raises(AuthenticationError):
            verify(chain)


@pytest.mark.parametrize("field", FIELDS)
def test_a21_no_field_of_a_certificate_can_change(field: str) -> None:
    for chain, person in ((worker_chain(), WORKER), (admin_chain(), ADMIN)):
        changed = dataclasses.replace(chain.certificate, **{field: OTHER_VALUES[field]})
        with pytest.raises((AuthenticationError, IdentityError)):
            verify(dataclasses.replace(chain, certificate=changed), person)
        assert changed != chain.certificate


@pytest.mark.parametrize("field", FIELDS)
def test_a21_no_field_of_the_issuers_certificate_can_change(field: str) -> None:
    chain = worker_chain()
    assert chain.issuer is not None
    changed = dataclasses.replace(chain.issuer.certificate, **{field: OTHER_VALUES[field]})
    with pytest.raises(AuthenticationError):
        verify(dataclasses.replace(chain, issuer=dataclasses.replace(chain.issuer, certificate=changed)))


@given(st.integers(min_value=0), st.integers(min_value=0, max_value=7))
def test_no_bit_of_a_chain_can_change(place: int, bit: int) -> None:
    encoded = bytearray(encode(worker_chain()))
    encoded[place % len(encoded)] ^= 1 << bit
    with pytest.raises((DecodeError, AuthenticationError, IdentityError)):
        verify_role(bytes(encoded), ORGANISATION.public, WORKER.account_id, revocations(), NOW)


@given(st.binary(max_size=400))
def test_random_bytes_are_no_chain(data: bytes) -> None:
    with pytest.raises(DecodeError):
        verify_role(data, ORGANISATION.public, WORKER.account_id, revocations(), NOW)


@pytest.mark.parametrize("size", [0, 1, 63, 65])
def test_a42_signatures_of_other_sizes_are_refused(size: int) -> None:
    made = worker_chain()
    signature = (made.certificate.signature * 2)[:size]
    with pytest.raises(DecodeError):
        decode(RoleChain, encode(made)[:-64] + signature)


def test_chains_are_bounded_before_they_are_decoded() -> None:
    longest = certify_role_as_admin(
        ADMIN.signing,
        Issuer(resigned(admin_chain(), ORGANISATION, label=b"a" * LABEL_BYTES_MAX).certificate, ADMIN.certificate),
        grant(WORKER, Role.WORKER, "w" * LABEL_BYTES_MAX),
        serial("worker"),
    )
    assert verify(longest).label == "w" * LABEL_BYTES_MAX
    assert len(encode(longest)) <= CHAIN_BYTES_MAX
    with pytest.raises(DecodeError, match=f"more than {CHAIN_BYTES_MAX}"):
        verify_role(bytes(CHAIN_BYTES_MAX + 1), ORGANISATION.public, WORKER.account_id, revocations(), NOW)


# Who may issue what.


def test_a27_an_admin_certifies_no_admin_and_not_itself() -> None:
    given = dataclasses.replace(grant(CLIENT, Role.ADMIN), signing_key_version=1)
    with pytest.raises(IdentityError, match="may not certify this role"):
        certify_role_as_admin(ADMIN.signing, issuer(), given, serial("second admin"))
    forged = resigned(worker_chain(), ADMIN.signing, role=Role.ADMIN, signing_key_version=1)
    with pytest.raises(IdentityError, match="may not certify this role"):
        verify(forged)


@pytest.mark.parametrize("role", [Role.CLIENT, Role.WORKER, Role.BOT])
def test_a27_only_admins_certify(role: Role) -> None:
    """A worker with a certificate straight from the organisation, which pins a key it need not pin, makes nobody."""
    made = with_issuer(worker_chain(), role=role, signing_key_version=None)
    with pytest.raises(IdentityError, match="may not certify this role"):
        verify(made)
    with pytest.raises(IdentityError, match="and no other, pins"):
        verify(with_issuer(worker_chain(), role=role))


def test_a27_a_chain_has_two_links_at_most() -> None:
    """The certificate of a worker, by an admin, cannot stand where that of an admin belongs."""
    link = Issuer(worker_chain().certificate, WORKER.certificate)
    below = RoleChain(link, resigned(worker_chain(), WORKER.signing, issuer_serial=serial("worker")).certificate)
    with pytest.raises(AuthenticationError):
        verify(below)
    with pytest.raises(IdentityError, match="may not certify this role"):
        verify(with_issuer(worker_chain(), issuer_serial=serial("somebody")))


def test_certificate_signed_by_another_account_than_the_admins_is_refused() -> None:
    """The admin's certificate is in every leaf; what is missing is its key."""
    thief = account("thief")
    mixed = Issuer(admin_chain().certificate, thief.certificate)
    with pytest.raises(IdentityError, match="another account than the admin's"):
        verify(RoleChain(mixed, signed(worker_chain().certificate, thief.signing)))
    with pytest.raises(AuthenticationError):
        verify(RoleChain(issuer(), signed(worker_chain().certificate, thief.signing)))


def test_signing_key_certificate_that_its_root_did_not_sign_is_refused() -> None:
    thief = key_pair("thief")
    false = dataclasses.replace(ADMIN.certificate, signing_key=thief.public)
    with pytest.raises(AuthenticationError):
        verify(RoleChain(Issuer(admin_chain().certificate, false), signed(worker_chain().certificate, thief)))


def test_an_issuer_that_is_named_must_come_along_and_one_that_comes_must_be_named() -> None:
    by_organisation = certify_role(ORGANISATION, grant(WORKER, Role.WORKER), serial("worker"))
    with pytest.raises(IdentityError, match="does not come with it"):
        verify(resigned(by_organisation, ORGANISATION, issuer_serial=serial("admin")))
    with pytest.raises(IdentityError, match="another certificate of the admin"):
        verify(resigned(worker_chain(), ADMIN.signing, issuer_serial=None))
    with pytest.raises(AuthenticationError):
        verify(dataclasses.replace(worker_chain(), issuer=None))


def test_certificates_end_no_later_than_that_of_their_admin() -> None:
    last = issuer().certificate.not_after
    made = certify_role_as_admin(ADMIN.signing, issuer(), grant(WORKER, Role.WORKER, not_after=last), serial("worker"))
    assert verify(made).not_after == last
    with pytest.raises(IdentityError, match="ends later"):
        verify(resigned(made, ADMIN.signing, not_after=last + 1))
    with pytest.raises(IdentityError, match="ends later"):
        certify_role_as_admin(ADMIN.signing, issuer(), grant(WORKER, Role.WORKER, not_after=last + 1), serial("w"))


def test_an_admin_of_two_organisations_keeps_them_apart() -> None:
    """One signing key, an admin here and there, even under one serial: what it signs there holds nothing here."""
    there = Issuer(admin_chain(organisation=OTHER_ORGANISATION).certificate, ADMIN.certificate)
    made = certify_role_as_admin(ADMIN.signing, there, grant(WORKER, Role.WORKER), serial("worker"))
    with pytest.raises(AuthenticationError):
        verify(made)
    with pytest.raises(IdentityError, match="another organisation"):
        verify(dataclasses.replace(made, issuer=issuer()))


def test_another_key_than_the_issuers_does_not_certify_by_mistake() -> None:
    with pytest.raises(UsageError, match="not the signing key"):
        certify_role_as_admin(WORKER.signing, issuer(), grant(WORKER, Role.WORKER), serial("worker"))


# Times.


def test_a_certificate_holds_within_its_times_and_the_tolerance_of_clocks() -> None:
    certificate = worker_chain().certificate
    current = revocations(issued_at=certificate.not_after)
    first, last = certificate.not_before - CLOCK_TOLERANCE_S, certificate.not_after + CLOCK_TOLERANCE_S
    assert verify(worker_chain(), now=first) == verify(worker_chain(), revoked=current, now=last)
    with pytest.raises(IdentityError, match="the role begins in 1 hour"):
        verify(admin_chain(), ADMIN, now=first - 1)
    with pytest.raises(IdentityError, match="the role of the admin behind it begins in 1 hour"):
        verify(worker_chain(), now=first - 1)
    with pytest.raises(IdentityError, match="the role expired 1 hour ago"):
        verify(worker_chain(), revoked=current, now=last + 1)
    with pytest.raises(IdentityError, match="the role expired 20 days ago"):
        verify(worker_chain(), revoked=current, now=certificate.not_after + 20 * DAY_S)


def test_an_expired_admin_takes_along_what_it_issued() -> None:
    ended = with_issuer(worker_chain(), not_after=NOW - 3 * DAY_S, not_before=NOW - 30 * DAY_S)
    with pytest.raises(IdentityError, match="the role of the admin behind it expired 3 days ago"):
        verify(ended)


@pytest.mark.parametrize("lifetime", [-1, 0, LIFETIME_MAX_S + 1])
def test_endless_empty_and_backward_certificates_are_refused(lifetime: int) -> None:
    start = NOW - DAY_S
    with pytest.raises(IdentityError, match="up to 400 days"):
        verify(resigned(admin_chain(), ORGANISATION, not_after=start + lifetime), ADMIN)
    with pytest.raises(IdentityError, match="up to 400 days"):
        certify_role(ORGANISATION, grant(WORKER, Role.WORKER, not_after=start + lifetime), serial("worker"))


def test_longest_lifetime() -> None:
    longest = certify_role(ORGANISATION, grant(WORKER, Role.WORKER, not_after=NOW - DAY_S + LIFETIME_MAX_S), bytes(16))
    assert verify(longest).not_after == NOW - DAY_S + LIFETIME_MAX_S


def test_renewal_is_due_when_a_third_is_left() -> None:
    certificate = certify_role(
        ORGANISATION, grant(WORKER, Role.WORKER, not_after=NOW + 89 * DAY_S), bytes(16)
    ).certificate
    assert renewal_time(certificate) == NOW - DAY_S + 60 * DAY_S


# Revocation.


def test_a_revoked_certificate_is_refused_and_others_are_not() -> None:
    with pytest.raises(IdentityError, match="the role was revoked by the organisation"):
        verify(worker_chain(), revoked=revocations("worker", version=2))
    assert verify(worker_chain(), revoked=revocations("somebody else", version=2)).role is Role.WORKER


def test_what_a_revoked_admin_issued_is_worth_nothing() -> None:
    with pytest.raises(IdentityError, match="the role of the admin behind it was revoked"):
        verify(worker_chain(), revoked=revocations("admin", version=2))


def test_a_new_certificate_of_a_revoked_admin_revives_nothing() -> None:
    """The former worker staples the admin's new certificate, with the same signing key, to what was issued before."""
    old = dataclasses.replace(worker_chain(), issuer=issuer(name="admin again"))
    with pytest.raises(IdentityError, match="issue it anew"):
        verify(old, revoked=revocations("admin", version=2))
    anew = worker_chain(name="admin again")
    assert verify(anew, revoked=revocations("admin", version=2)).issuer_serial == serial("admin again")


def test_a_stolen_admin_device_certifies_nobody_after_the_admin_was_issued_anew() -> None:
    """The thief keeps signing key 1 and reads the new certificate in any leaf; it pins signing key 2."""
    recovered = account("admin", signing_key_version=2)
    assert recovered.account_id == ADMIN.account_id
    renewed = admin_chain(recovered, "admin again").certificate
    revoked = revocations("admin", version=2)
    by_thief = Issuer(renewed, ADMIN.certificate)
    forged = RoleChain(by_thief, resigned(worker_chain(), ADMIN.signing, issuer_serial=renewed.serial).certificate)
    with pytest.raises(IdentityError, match="another signing key than the admin's certificate pins"):
        verify(forged, revoked=revoked)
    with pytest.raises(IdentityError, match="another signing key"):
        certify_role_as_admin(ADMIN.signing, by_thief, grant(WORKER, Role.WORKER), serial("w"))
    assert verify(worker_chain(recovered, "admin again"), revoked=revoked).role is Role.WORKER


def test_no_role_is_believed_without_a_current_statement() -> None:
    with pytest.raises(Stale, match="no revocation statement"):
        verify(worker_chain(), revoked=None)
    with pytest.raises(Stale, match="expired 10 days ago: fetch a newer one"):
        verify(worker_chain(), now=NOW - DAY_S + 40 * DAY_S)


def test_a_statement_of_another_organisation_does_not_count() -> None:
    made = certify_role(OTHER_ORGANISATION, grant(WORKER, Role.WORKER), serial("worker"))
    with pytest.raises(IdentityError, match="statement is of another organisation"):
        verify_role(encode(made), OTHER_ORGANISATION.public, WORKER.account_id, revocations(), NOW)


# Labels, and what an admin cannot do.


@pytest.mark.parametrize("label", ["Weber\u202egnp.exe", "two\nlines", " Weber", "x" * 121, "\ufeffWeber", "\ud800"])
def test_a32_labels_that_deceive_the_eye_are_refused(label: str) -> None:
    with pytest.raises(DecodeError):
        certify_role(ORGANISATION, grant(WORKER, Role.WORKER, label), serial("worker"))
    by_organisation = certify_role(ORGANISATION, grant(WORKER, Role.WORKER), serial("worker"))
    with pytest.raises(DecodeError):
        verify(resigned(by_organisation, ORGANISATION, label=label.encode("utf-8", "surrogatepass")))


def test_a37_an_admins_shadow_account_is_somebody_and_shows_who_let_it_in() -> None:
    """An admin can certify an account of its own. It passes neither as somebody else nor as let in by somebody else."""
    shadow = account("shadow")
    chain = certify_role_as_admin(ADMIN.signing, issuer(), grant(shadow, Role.WORKER, "Dr. Weber, intake"), serial("s"))
    seen = verify(chain, shadow)
    assert (seen.account_id, seen.issuer_serial) == (shadow.account_id, serial("admin"))
    with pytest.raises(IdentityError, match="another account"):
        verify(chain, WORKER)
    other_admin = account("other admin")
    with pytest.raises((AuthenticationError, IdentityError)):
        verify(dataclasses.replace(chain, issuer=issuer(other_admin, "other admin")), shadow)
    without = role_of_leaf((), ORGANISATION.public, shadow.account_id, revocations(), NOW)
    assert (without.role, without.account_id) == (Role.CLIENT, shadow.account_id)


def test_a37_no_role_is_allowed_to_be_unseen() -> None:
    """Nothing in the table reads a chat, joins one or changes a key; an admin may two things more than a worker."""
    assert {action.name for action in Action} == {
        "OPEN_CHAT",
        "CREATE_GROUP",
        "ADD_TO_GROUP",
        "INVITE",
        "CERTIFY",
        "SEE_IN_DIRECTORY",
        "ERASE_OWN_ACCOUNT",
        "ERASE_ACCOUNT",
    }
    more = {
        action
        for action, permission in TABLE.items()
        for other in ([None] if isinstance(permission, Alone) else Role)
        if may(Role.ADMIN, action, other) and not may(Role.WORKER, action, other)
    }
    assert more == {Action.CERTIFY, Action.ERASE_ACCOUNT}
    with pytest.raises(PolicyViolation, match="an admin may not certify as an admin"):
        check_permission(Role.ADMIN, Action.CERTIFY, Role.ADMIN)


def test_a39_a_certificate_does_not_pass_under_another_label() -> None:
    for label in SignedLabel:
        if label is not SignedLabel.ROLE_CERTIFICATE:
            forged = sign_object(ORGANISATION, label, admin_chain().certificate)
            with pytest.raises(AuthenticationError):
                verify(RoleChain(None, forged), ADMIN)


@given(
    st.sampled_from(list(Role)),
    st.integers(NOW - LIFETIME_MAX_S, NOW + LIFETIME_MAX_S),
    st.integers(1, LIFETIME_MAX_S),
    st.sampled_from([None, "worker", "admin"]),
)
def test_a_role_is_exactly_what_was_granted_or_nothing(
    role: Role, start: int, lifetime: int, revoked: str | None
) -> None:
    """Whatever an admin grants: it holds as granted, at times within both, unless one of the two is revoked."""
    given = dataclasses.replace(grant(WORKER, role), not_before=start, not_after=start + lifetime)
    statement = revocations(*([revoked] if revoked else []), version=2)
    try:
        chain = certify_role_as_admin(ADMIN.signing, issuer(), given, serial("worker"))
        verified = verify(chain, revoked=statement)
    except CryptoError:
        inside = start - CLOCK_TOLERANCE_S <= NOW <= start + lifetime + CLOCK_TOLERANCE_S
        allowed = role is not Role.ADMIN and start + lifetime <= issuer().certificate.not_after
        assert not (inside and allowed and revoked is None)
    else:
        assert (verified.role, verified.not_before, verified.not_after) == (role, start, start + lifetime)
        assert revoked is None


def test_every_pair_of_issuer_and_role_is_judged_by_the_table() -> None:
    for holder, role in itertools.product(Role, Role):
        pins: dict[str, object] = {"signing_key_version": ADMIN.certificate.version if role is Role.ADMIN else None}
        chain = resigned(worker_chain(), ADMIN.signing, role=role, **pins)
        chain = with_issuer(chain, role=holder, **({} if holder is Role.ADMIN else {"signing_key_version": None}))
        if holder is Role.ADMIN and role is not Role.ADMIN:
            assert verify(chain).role is role
        else:
            with pytest.raises(IdentityError, match="may not certify this role"):
                verify(chain)


def test_encodings_and_signatures_stay_as_they_are() -> None:
    assert encode(admin_chain()).hex() == VECTORS["admin_chain"]
    assert encode(worker_chain()).hex() == VECTORS["worker_chain"]
