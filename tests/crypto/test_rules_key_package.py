"""Section K of the rules: key packages, where we fetch them, where others add them, and where we do.

K2 is section L, see `test_rules_leaf_places`. Whose package it is, and whether it was used before (K7 to K10), the
application judges: `tests/attacks`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import pytest

from crypto.errors import DecodeError
from crypto.kem import HPKEKeyPair
from crypto.mls.extensions import GREASE, Extension, ExtensionType
from crypto.mls.group import ReceivedProposal, StagedCommit, generate_key_package, verify_key_package
from crypto.mls.headers import ProtocolVersion
from crypto.mls.key_package import KeyPackage, sign_key_package, verify_key_package_signature
from crypto.mls.mls_message import encode_message
from crypto.mls.own_leaf import OUR_CAPABILITIES
from crypto.mls.proposals import Add
from crypto.mls.rules import key_package as rules
from crypto.mls.rules import leaf as leaf_rules
from crypto.mls.rules import proposal_list as list_rules
from crypto.suites import SUITES, CipherSuite, SignatureKeyPair, suite_of
from tests.crypto.forge import (
    UNLISTED,
    assert_enters,
    assert_not_authentic,
    assert_refused,
    forged_commit,
    forged_proposal,
    off,
    offered_with,
    taken_in,
    values,
)
from tests.crypto.matrix import every_group, without_group
from tests.crypto.world import LIFETIME, NOW, World, person, won

SIBLING = {0x0001: suite_of(3), 0xF647: suite_of(1)}
"""For each suite of the groups another one with the same signature scheme."""


@every_group
def test_k1_a_key_package_of_another_suite(world: World) -> None:
    """In what others send and in what we would. It is a good package, for another group.

    A classical package in a hybrid group has no key to which a Welcome could be encrypted, so none is made.
    """
    other = person("newcomer", SIBLING[world.suite.id]).offer()
    sender, receiver = world["person 0"], world[world.receiver]
    assert_refused("K1", lambda: sender.commit([other], now=NOW), sender)
    assert_refused("K1", lambda: sender.propose_add(other, now=NOW), sender)
    add = Add(other.key_package)
    proposed = forged_proposal(sender, add)
    pending = forged_commit(
        sender, values(world, add), change=lambda made: replace(made, changes=replace(made.changes, added={}))
    )
    assert_refused("K1", lambda: receiver.receive(proposed, NOW), receiver)
    assert_refused("K1", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(rules.k1_suite):
        assert isinstance(receiver.receive(proposed, NOW), ReceivedProposal)
        assert_enters(receiver, pending.message, won(pending))


def signed_by_another_key(belongs: CipherSuite, _: SignatureKeyPair, package: KeyPackage) -> KeyPackage:
    return sign_key_package(belongs, belongs.signature.generate(), package)


def signed_under_another_label(belongs: CipherSuite, signer: SignatureKeyPair, package: KeyPackage) -> KeyPackage:
    leaf_signature = belongs.sign_with_label(signer, "LeafNodeTBS", b"")
    return replace(package, signature=leaf_signature)


def signed_before_a_change(belongs: CipherSuite, _: SignatureKeyPair, package: KeyPackage) -> KeyPackage:
    return replace(package, init_key=belongs.generate_hpke_key_pair().public)


@every_group
@pytest.mark.parametrize("signing", [signed_by_another_key, signed_under_another_label, signed_before_a_change])
def test_k3_a_key_package_that_its_leaf_did_not_sign(world: World, signing: object) -> None:
    """Fetched, proposed and committed; its leaf is signed as it should be."""
    assert callable(signing)
    newcomer, receiver = world.person("newcomer"), world[world.receiver]
    add = Add(signing(world.suite, newcomer.signer, newcomer.offer().key_package))
    proposed = forged_proposal(world["person 0"], add)
    pending = forged_commit(world["person 0"], values(world, add))
    assert_not_authentic(lambda: verify_key_package(encode_message(add.key_package), NOW))
    assert_not_authentic(lambda: receiver.receive(proposed, NOW), receiver)
    assert_not_authentic(lambda: receiver.receive(pending.message, NOW), receiver)
    with off(verify_key_package_signature):
        verify_key_package(encode_message(add.key_package), NOW)
        assert isinstance(receiver.receive(proposed, NOW), ReceivedProposal)
        assert_enters(receiver, pending.message, won(pending))


@every_group
def test_k4_one_key_as_init_key_and_encryption_key(world: World) -> None:
    newcomer, receiver = world.person("newcomer"), world[world.receiver]
    add = offered_with(newcomer, package=lambda package: replace(package, init_key=package.leaf_node.encryption_key))
    proposed = forged_proposal(world["person 0"], add)
    pending = forged_commit(world["person 0"], values(world, add))
    assert_refused("K4", lambda: verify_key_package(encode_message(add.key_package), NOW))
    assert_refused("K4", lambda: receiver.receive(proposed, NOW), receiver)
    assert_refused("K4", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(rules.k4_init_key_differs):
        verify_key_package(encode_message(add.key_package), NOW)
        assert isinstance(receiver.receive(proposed, NOW), ReceivedProposal)
        assert_enters(receiver, pending.message, won(pending))


@without_group("a version that nobody decodes")
@pytest.mark.parametrize("place", [0, 4], ids=["of the wrapper", "of the key package"])
@pytest.mark.parametrize("version", [0, 2, 0xFFFF])
def test_k5_wrapper_and_key_package_of_two_versions(place: int, version: int) -> None:
    message = person("one", suite_of(1)).offer_bytes()
    assert message[place : place + 2] == ProtocolVersion.MLS10.to_bytes(2, "big")
    forged = message[:place] + version.to_bytes(2, "big") + message[place + 2 :]
    with pytest.raises(DecodeError):
        verify_key_package(forged, NOW)
    assert [*ProtocolVersion] == [ProtocolVersion.MLS10], "a second version needs a rule that compares the two"


@every_group
@pytest.mark.parametrize("by_reference", [False, True])
def test_k6_two_key_packages_with_one_init_key(world: World, by_reference: bool) -> None:
    """In another's commit and in ours: of two that were proposed we leave one out."""
    one, two = world.person("one"), world.person("two")
    first = offered_with(one)
    init_key = first.key_package.init_key
    second = offered_with(two, package=lambda package: replace(package, init_key=init_key))
    sender, receiver = world["person 0"], world[world.receiver]
    verified = [verify_key_package(encode_message(add.key_package), NOW) for add in (first, second)]
    if by_reference:
        for each in verified:
            sender, message = sender.propose_add(each, now=NOW)
            receiver = taken_in(receiver, message)
        assert len(won(sender.commit(now=NOW)).members) == len(sender.members) + 1
        covered = list(sender.pending_proposals)
    else:
        assert_refused("K6", lambda: sender.commit(verified, now=NOW), sender)
        covered = values(world, first, second)
    with off(rules.k6_init_keys_unique):
        pending = forged_commit(sender, covered)
    assert_refused("K6", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(rules.k6_init_keys_unique):
        assert_enters(receiver, pending.message, won(pending))


@without_group("a key package names itself")
def test_k7_the_reference_is_recomputed() -> None:
    """Whatever a server says, a package is called by the hash of what it is: any change gives another name."""
    someone = person("someone", suite_of(1))
    offered = someone.offer()
    assert someone.bundle is not None
    assert offered.reference == someone.bundle.reference
    for field in ("init_key", "signature"):
        value = getattr(offered.key_package, field)
        other = replace(offered.key_package, **{field: value[:-1] + bytes([value[-1] ^ 1])})
        assert replace(offered, key_package=other).reference != offered.reference


@every_group
def test_k9_a_package_whose_owner_is_in_the_group(world: World) -> None:
    """Of what was used, a group knows the packages of those who are in it."""
    newcomer, receiver = world.person("newcomer"), world[world.receiver]
    offered = newcomer.offer()
    first = world["person 0"].commit([offered], now=NOW)
    sender, second = won(first), values(world, Add(offered.key_package))
    staged = receiver.receive(first.message, NOW)
    assert isinstance(staged, StagedCommit)
    assert_refused("Q6", lambda: sender.commit([offered], now=NOW), sender)
    with off(list_rules.q6_added_client_is_new):
        assert_refused("L13", lambda: sender.commit([offered], now=NOW), sender)
        with off(leaf_rules.l13_encryption_key_unique):
            again = forged_commit(sender, second)
    receiver = receiver.adopt(staged)
    assert_refused("Q6", lambda: receiver.receive(again.message, NOW), receiver)
    with off(list_rules.q6_added_client_is_new):
        assert_refused("L13", lambda: receiver.receive(again.message, NOW), receiver)
        with off(leaf_rules.l13_encryption_key_unique):
            assert_enters(receiver, again.message, won(again))


@without_group("a key package alone")
@pytest.mark.parametrize("belongs", SUITES.values(), ids=lambda each: f"suite {each.id:#06x}")
def test_k11_l19_every_suite_that_we_advertise_works(belongs: CipherSuite) -> None:
    """And no other is advertised; no default type is listed, and the rest is one value for GREASE."""
    assert {*OUR_CAPABILITIES.cipher_suites} == {*SUITES}
    someone = person("someone", belongs)
    bundle = generate_key_package(belongs, someone.credential, someone.signer, lifetime=LIFETIME)
    sent = verify_key_package(encode_message(bundle.key_package), NOW).leaf.capabilities
    (grease,) = {*sent.proposals}
    assert grease in GREASE
    for field in dataclasses.fields(OUR_CAPABILITIES):
        extra = [] if field.name == "versions" else [grease]
        assert [*getattr(sent, field.name)] == [*getattr(OUR_CAPABILITIES, field.name), *extra]
    keys = HPKEKeyPair(bundle.init_private, bundle.key_package.init_key)
    sealed = belongs.encrypt_with_label(keys.public, "Test", b"", b"text")
    assert belongs.decrypt_with_label(keys, "Test", b"", sealed).reveal() == b"text"


@every_group
def test_l6_a_key_package_carries_what_its_leaf_does_not_list(world: World) -> None:
    """§10: what a key package carries is listed in its leaf, like what the leaf carries."""
    sender, receiver = world["person 0"], world[world.receiver]
    add = offered_with(
        world.person("newcomer"), package=lambda package: replace(package, extensions=(*package.extensions, UNLISTED))
    )
    message = encode_message(add.key_package)
    proposed = forged_proposal(sender, add)
    with off(rules.l6_key_package_extensions):
        pending = forged_commit(sender, values(world, add))
    assert_refused("L6", lambda: verify_key_package(message, NOW))
    assert_refused("L6", lambda: receiver.receive(proposed, NOW), receiver)
    assert_refused("L6", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(rules.l6_key_package_extensions):
        verify_key_package(message, NOW)
        taken_in(receiver, proposed)
        assert_enters(receiver, pending.message, won(pending))


@without_group("our own key packages")
def test_l6_ours_lists_what_it_carries() -> None:
    someone = person("someone", suite_of(1))
    for _ in range(20):
        package = someone.offer().key_package
        assert {each.extension_type for each in package.extensions} <= set(package.leaf_node.capabilities.extensions)


@every_group
def test_c5_a_last_resort_mark_that_holds_something(world: World) -> None:
    sender, receiver = world["person 0"], world[world.receiver]
    marked = Extension(ExtensionType.LAST_RESORT_KEY_PACKAGE, b"junk")
    add = offered_with(world.person("newcomer"), package=lambda package: replace(package, extensions=(marked,)))
    assert_refused("C5", lambda: verify_key_package(encode_message(add.key_package), NOW))
    message = forged_proposal(sender, add)
    assert_refused("C5", lambda: receiver.receive(message, NOW), receiver)
    with off(rules.c5_last_resort_mark):
        taken_in(receiver, message)
