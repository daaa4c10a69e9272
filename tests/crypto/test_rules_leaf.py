"""Section L of the rules: a leaf's signature, its source, and what it must support together with all others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from crypto.errors import AuthenticationError
from crypto.mls import treekem
from crypto.mls.credentials import X509Credential
from crypto.mls.extensions import Extension, ExtensionType, RequiredCapabilities
from crypto.mls.group import ReceivedProposal, verify_group_info, verify_key_package
from crypto.mls.mls_message import encode_message
from crypto.mls.proposals import Add, Update
from crypto.mls.roster import roster_of
from crypto.mls.rules import leaf as rules
from crypto.mls.rules import proposal_list as list_rules
from crypto.mls.tree_nodes import (
    AnySource,
    CommitSource,
    KeyPackageSource,
    LeafContents,
    LeafIndex,
    LeafNode,
    UpdateSource,
    leaf_node_tbs,
    verify_leaf_node,
)
from crypto.suites import CipherSuite, SignatureKeyPair, suite_of
from crypto.wire import encode
from tests.crypto.forge import (
    UNLISTED,
    Breach,
    assert_enters,
    assert_not_authentic,
    assert_refused,
    by_value,
    capabilities,
    changed_update,
    forged_commit,
    forged_proposal,
    off,
    offered_with,
    path_leaf,
    taken_in,
    values,
)
from tests.crypto.identities import signed_leaf, unsigned_leaf
from tests.crypto.matrix import every_group, groups_of, open_groups, without_group
from tests.crypto.outside import OPEN, joining
from tests.crypto.world import LIFETIME, NOW, World, person, won

Signing = Callable[[CipherSuite, SignatureKeyPair, LeafNode, bytes, LeafIndex], LeafNode]


@contextmanager
def path_leaf_signed(signing: Signing) -> Iterator[None]:
    """The leaves of paths that are made meanwhile are signed in this way."""

    def sign(
        suite: CipherSuite,
        signer: SignatureKeyPair,
        contents: LeafContents,
        encryption_key: bytes,
        source: AnySource,
        group_id: bytes,
        place: LeafIndex,
    ) -> LeafNode:
        return signing(suite, signer, unsigned_leaf(contents, encryption_key, source), group_id, place)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(treekem, "sign_leaf_node", sign)
        yield


def by_another_key(
    belongs: CipherSuite, _: SignatureKeyPair, leaf: LeafNode, group_id: bytes, place: LeafIndex
) -> LeafNode:
    return signed_leaf(belongs, belongs.signature.generate(), leaf, group_id, place)


def for_another_group(
    belongs: CipherSuite, signer: SignatureKeyPair, leaf: LeafNode, _: bytes, place: LeafIndex
) -> LeafNode:
    return signed_leaf(belongs, signer, leaf, b"another group", place)


def for_another_place(
    belongs: CipherSuite, signer: SignatureKeyPair, leaf: LeafNode, group_id: bytes, place: LeafIndex
) -> LeafNode:
    return signed_leaf(belongs, signer, leaf, group_id, LeafIndex(place ^ 1))


def under_another_label(
    belongs: CipherSuite, signer: SignatureKeyPair, leaf: LeafNode, group_id: bytes, place: LeafIndex
) -> LeafNode:
    signature = belongs.sign_with_label(signer, "KeyPackageTBS", leaf_node_tbs(leaf, group_id, place))
    return replace(leaf, signature=signature)


in_a_group = pytest.mark.parametrize("signing", [by_another_key, for_another_group, for_another_place])
in_no_group = pytest.mark.parametrize("signing", [by_another_key, under_another_label])


@every_group
@in_no_group
def test_l2_in_a_key_package(world: World, signing: Signing) -> None:
    """Fetched, proposed, and committed; the key package itself is signed as it should be."""
    newcomer, receiver = world.person("newcomer"), world[world.receiver]
    add = offered_with(
        newcomer,
        package=lambda package: replace(
            package, leaf_node=signing(world.suite, newcomer.signer, package.leaf_node, b"", LeafIndex(0))
        ),
    )
    with off(verify_leaf_node):
        pending = forged_commit(world["person 0"], values(world, add))
    proposed = forged_proposal(world["person 0"], add)
    assert_not_authentic(lambda: verify_key_package(encode_message(add.key_package), NOW))
    assert_not_authentic(lambda: receiver.receive(proposed, NOW), receiver)
    assert_not_authentic(lambda: receiver.receive(pending.message, NOW), receiver)
    with off(verify_leaf_node):
        verify_key_package(encode_message(add.key_package), NOW)
        assert isinstance(receiver.receive(proposed, NOW), ReceivedProposal)
        assert_enters(receiver, pending.message, won(pending))


@every_group
@in_a_group
def test_l2_in_an_update(world: World, signing: Signing) -> None:
    updater, receiver = world[world.receiver], world["person 0"]
    honest = changed_update(world, world.receiver, lambda leaf: leaf)
    signer = world.people[world.receiver].signer
    leaf = signing(world.suite, signer, honest, updater.group_id, updater.own_leaf)
    message = forged_proposal(updater, Update(leaf))
    assert_not_authentic(lambda: receiver.receive(message, NOW), receiver)
    with off(verify_leaf_node):
        assert isinstance(receiver.receive(message, NOW), ReceivedProposal)


@every_group
@in_a_group
def test_l2_in_a_path_and_in_a_tree_that_we_enter(world: World, signing: Signing) -> None:
    """The committer's own leaf is badly signed, and it adds somebody, who sees the tree for the first time."""
    newcomer, receiver = world.person("newcomer"), world[world.receiver]
    add = by_value(world["person 0"], Add(newcomer.offer().key_package))
    with path_leaf_signed(signing):
        pending = forged_commit(world["person 0"], [add])
    group_info = won(pending).group_info()
    assert_not_authentic(lambda: receiver.receive(pending.message, NOW), receiver)
    assert_not_authentic(lambda: newcomer.accept(pending.welcome))
    assert_not_authentic(lambda: verify_group_info(group_info, now=NOW))
    with off(verify_leaf_node):
        assert_enters(receiver, pending.message, won(pending))
        newcomer.accept(pending.welcome)
        verify_group_info(group_info, now=NOW)


@open_groups(OPEN)
@in_a_group
def test_l2_in_the_path_of_an_external_commit(world: World, signing: Signing) -> None:
    receiver = world[world.receiver]
    with path_leaf_signed(signing):
        pending = joining(world, world.person("joiner"))
    assert_not_authentic(lambda: receiver.receive(pending.message, NOW), receiver)
    with off(verify_leaf_node):
        assert_enters(receiver, pending.message, pending.next_group)


@without_group("what one list requires of another")
@pytest.mark.parametrize("missing", ["extension", "proposal", "credential", "group context extension"])
def test_l3_each_kind_of_requirement(missing: str) -> None:
    """No group of ours requires a type of proposal or credential: our members support the defaults and basic only."""
    leaf = person("someone", suite_of(1)).offer().leaf
    required = {
        "extension": RequiredCapabilities((0xF123,), (), ()),
        "proposal": RequiredCapabilities((), (0xF123,), ()),
        "credential": RequiredCapabilities((), (), (2,)),
    }
    if missing in required:
        extensions = (Extension(ExtensionType.REQUIRED_CAPABILITIES, encode(required[missing])),)
    else:
        extensions = (UNLISTED,)
    assert_refused("L3", lambda: rules.l3_requirements(leaf.capabilities, extensions))


@without_group("what one list requires of another")
def test_l3_default_types_need_no_listing() -> None:
    leaf = person("someone", suite_of(1)).offer().leaf
    defaults = RequiredCapabilities((1, 2, 3, 4, 5), (1, 2, 3, 4, 5, 6, 7), (1,))
    rules.l3_requirements(leaf.capabilities, (Extension(ExtensionType.REQUIRED_CAPABILITIES, encode(defaults)),))


@without_group("a roster")
def test_p8_is_for_old_members_and_l3_for_new_ones() -> None:
    roster = roster_of([person("someone", suite_of(1)).offer().leaf])
    assert_refused("P8", lambda: list_rules.p8_members_support_extensions((UNLISTED,), roster))


certified: Breach = lambda leaf: replace(  # noqa: E731  # a breach is one line
    capabilities(credentials=(1, 2))(leaf), credential=X509Credential((b"certificate",))
)
"""Supports what all others use; nobody else supports what it uses."""


@every_group
def test_l4_in_an_add(world: World) -> None:
    """By value, by reference, and as we would commit it ourselves."""
    add = offered_with(world.person("newcomer"), leaf=certified)
    verified = verify_key_package(encode_message(add.key_package), NOW)
    sender, receiver = world["person 0"], world[world.receiver]
    assert_refused("L4", lambda: sender.commit([verified], now=NOW), sender)
    with off(rules.l4_credential_types):
        pending = sender.commit([verified], now=NOW)
    assert_refused("L4", lambda: receiver.receive(pending.message, NOW), receiver)
    proposing, proposed = sender.propose_add(verified, now=NOW)
    received = receiver.receive(proposed, NOW)
    assert isinstance(received, ReceivedProposal)
    with off(rules.l4_credential_types):
        assert_enters(receiver, pending.message, won(pending))
        by_reference = proposing.commit(now=NOW)
    assert_refused("L4", lambda: received.group.receive(by_reference.message, NOW), received.group)
    with off(rules.l4_credential_types):
        assert_enters(received.group, by_reference.message, won(by_reference))
    assert proposing.commit(now=NOW).welcome is None, "we leave it out"


@groups_of(5, 9, 33, why="one updates, one commits, and a third judges")
def test_l4_in_an_update(world: World) -> None:
    message = forged_proposal(world["person 1"], Update(changed_update(world, "person 1", certified)))
    sender, receiver = taken_in(world["person 0"], message), taken_in(world[world.receiver], message)
    with off(rules.l4_credential_types):
        pending = sender.commit(now=NOW)
    assert_refused("L4", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(rules.l4_credential_types):
        assert_enters(receiver, pending.message, won(pending))


@every_group
@pytest.mark.parametrize("with_add", [False, True])
def test_l4_in_a_path_and_in_a_tree_that_we_enter(world: World, with_add: bool) -> None:
    newcomer, receiver, sender = world.person("newcomer"), world[world.receiver], world["person 0"]
    adds = [by_value(sender, Add(newcomer.offer().key_package))] if with_add else []
    with off(rules.l4_credential_types), path_leaf(certified):
        pending = forged_commit(sender, adds)
    group_info = won(pending).group_info()
    assert_refused("L4", lambda: receiver.receive(pending.message, NOW), receiver)
    assert_refused("L4", lambda: verify_group_info(group_info, now=NOW))
    with off(rules.l4_credential_types):
        assert_enters(receiver, pending.message, won(pending))
        verify_group_info(group_info, now=NOW)
    if with_add:
        assert_refused("L4", lambda: newcomer.accept(pending.welcome))
        with off(rules.l4_credential_types):
            newcomer.accept(pending.welcome)


@open_groups(OPEN)
def test_l4_in_the_path_of_an_external_commit(world: World) -> None:
    """The joiner hears of it, too."""
    receiver, joiner = world[world.receiver], world.person("joiner")
    with path_leaf(certified):
        assert_refused("L4", lambda: joining(world, joiner), world["person 0"])
        with off(rules.l4_credential_types):
            pending = joining(world, joiner)
    assert_refused("L4", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(rules.l4_credential_types):
        assert_enters(receiver, pending.message, pending.next_group)


@without_group("our clients all list one type: a roster of others")
def test_l4_a_member_that_lacks_a_type_in_use() -> None:
    """The other way round: all support the certificate's type but for one, who is basic itself."""
    leaf = person("someone", suite_of(1)).offer().leaf
    able, unable = capabilities(credentials=(1, 2))(leaf), capabilities(credentials=(1,))(leaf)
    rules.l4_credential_types(roster_of([certified(leaf), able, able]))
    assert_refused("L4", lambda: rules.l4_credential_types(roster_of([certified(leaf), able, unable])))


@every_group
@pytest.mark.parametrize("source", [UpdateSource(), CommitSource(b"")])
def test_l8_a_key_package_holds_a_key_package_leaf(world: World, source: UpdateSource | CommitSource) -> None:
    """With the rule off there is still no lifetime that could be judged, so no such leaf passes."""
    add = offered_with(world.person("newcomer"), leaf=lambda leaf: replace(leaf, source=source))
    receiver = world[world.receiver]
    assert_refused("L8", lambda: verify_key_package(encode_message(add.key_package), NOW))
    proposed, pending = forged_proposal(world["person 0"], add), forged_commit(world["person 0"], values(world, add))
    assert_refused("L8", lambda: receiver.receive(proposed, NOW), receiver)
    assert_refused("L8", lambda: receiver.receive(pending.message, NOW), receiver)


@every_group
@pytest.mark.parametrize("source", [CommitSource(b""), KeyPackageSource(LIFETIME)])
def test_l8_an_update_holds_an_update_leaf(world: World, source: CommitSource | KeyPackageSource) -> None:
    updater, receiver = world[world.receiver], world["person 0"]
    leaf = changed_update(world, world.receiver, lambda leaf: replace(leaf, source=source))
    message = forged_proposal(updater, Update(leaf))
    assert_refused("L8", lambda: receiver.receive(message, NOW), receiver)
    with off(rules.l8_source):
        assert isinstance(receiver.receive(message, NOW), ReceivedProposal)


@open_groups(OPEN)
@pytest.mark.parametrize("source", [UpdateSource(), KeyPackageSource(LIFETIME)])
def test_l8_a_path_holds_a_commit_leaf(world: World, source: UpdateSource | KeyPackageSource) -> None:
    """From inside and from outside. With the rule off, the tree finds that such a leaf holds no parent hash."""

    def of_another_source(
        belongs: CipherSuite, signer: SignatureKeyPair, leaf: LeafNode, group_id: bytes, place: LeafIndex
    ) -> LeafNode:
        return signed_leaf(belongs, signer, replace(leaf, source=source), group_id, place)

    receiver = world[world.receiver]
    with path_leaf_signed(of_another_source), off(rules.l8_source):
        inside = forged_commit(world["person 0"], [])
        outside = joining(world, world.person("joiner"))
    for message in (inside.message, outside.message):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(treekem, "merge_path", unreachable)
            assert_refused("L8", lambda message=message: receiver.receive(message, NOW), receiver)
        with off(rules.l8_source):
            assert_refused("L8", lambda message=message: receiver.receive(message, NOW), receiver)


def unreachable(*_: object) -> None:
    raise AuthenticationError("the rule was to refuse before this")
