"""Section K of the rules: key packages."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crypto.errors import AuthenticationError, DecodeError
from crypto.mls.framing import encode_message
from crypto.mls.group import verify_key_package
from crypto.mls.proposals import (
    Add,
)
from crypto.mls.rules import key_package as key_package_rules
from crypto.mls.tree_nodes import ProtocolVersion
from crypto.suites import CipherSuite, suite
from tests.crypto.forge import (
    UNLISTED,
    assert_commit_refused,
    assert_refused,
    changed_key_package,
    forged_commit,
    forged_proposal,
    off,
    values,
)
from tests.crypto.matrix import every_group
from tests.crypto.world import NOW, World, every_suite, person, world_of


def test_k1_a_key_package_of_another_suite() -> None:
    world = world_of(suite(1), 4)
    other = Add(person("newcomer", suite(3)).offer().key_package)  # Ed25519 and X25519 too: only the id differs
    with off(key_package_rules.k1_suite):
        message = forged_proposal(world["person 0"], other)
        pending = forged_commit(world["person 0"], values(world, other))
    receiver = world["person 3"]
    assert_refused("K1", lambda: receiver.receive(message, NOW), receiver)
    assert_refused("K1", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(key_package_rules.k1_suite):
        receiver.receive(pending.message, NOW)


@every_suite
def test_k3_a_key_package_signed_by_another_key(belongs: CipherSuite) -> None:
    world = world_of(belongs, 4)
    one, other = world.person("one"), world.person("other")
    one.offer()
    assert one.bundle is not None
    stranger = replace(one, signer=other.signer)
    forged = changed_key_package(stranger, one.bundle, leaf=lambda leaf: leaf).key_package
    package = replace(forged, leaf_node=one.bundle.key_package.leaf_node)
    receiver = world["person 3"]
    with pytest.raises(AuthenticationError):
        verify_key_package(encode_message(package), NOW)
    message = forged_proposal(world["person 0"], Add(package))
    with pytest.raises(AuthenticationError):
        receiver.receive(message, NOW)


@every_suite
def test_k4_one_key_as_init_key_and_encryption_key(belongs: CipherSuite) -> None:
    world = world_of(belongs, 4)
    one = world.person("one")
    one.offer()
    assert one.bundle is not None
    same = one.bundle.key_package.leaf_node.encryption_key
    changed = changed_key_package(one, one.bundle, package=lambda package: replace(package, init_key=same))
    assert_refused("K4", lambda: verify_key_package(changed.message(), NOW))
    assert_commit_refused("K4", world, key_package_rules.k4_init_key_differs, values(world, Add(changed.key_package)))


def test_k5_wrapper_and_key_package_of_two_versions() -> None:
    one = person("one", suite(1))
    message = one.offer_bytes()
    for place in (0, 4):  # the version of the wrapper, that of the key package
        forged = message[:place] + b"\0\2" + message[place + 2 :]
        with pytest.raises(DecodeError):
            verify_key_package(forged, NOW)
    assert ProtocolVersion.MLS10 == 1


def test_k6_two_key_packages_with_one_init_key() -> None:
    world = world_of(suite(1), 4)
    one, two = world.person("one"), world.person("two")
    one.offer()
    two.offer()
    assert one.bundle is not None
    assert two.bundle is not None
    init_key = one.bundle.key_package.init_key
    second = changed_key_package(two, two.bundle, package=lambda package: replace(package, init_key=init_key))
    adds = values(world, Add(one.bundle.key_package), Add(second.key_package))
    assert_commit_refused("K6", world, key_package_rules.k6_init_keys_unique, adds)


@every_group
def test_l6_a_key_package_carries_what_its_leaf_does_not_list(world: World) -> None:
    newcomer = world.person("newcomer")
    newcomer.offer()
    assert newcomer.bundle is not None
    unlisted = lambda package: replace(package, extensions=(*package.extensions, UNLISTED))  # noqa: E731  # a breach is one line
    changed = changed_key_package(newcomer, newcomer.bundle, package=unlisted)
    assert_refused("L6", lambda: verify_key_package(changed.message(), NOW))
    adds = values(world, Add(changed.key_package))
    assert_commit_refused("L6", world, key_package_rules.l6_key_package_extensions, adds)


def test_l6_ours_lists_what_it_carries() -> None:
    someone = person("someone", suite(1))
    for _ in range(20):
        package = someone.offer().key_package
        assert {each.extension_type for each in package.extensions} <= set(package.leaf_node.capabilities.extensions)
