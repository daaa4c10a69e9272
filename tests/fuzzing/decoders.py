"""Targets for what a group is made of: messages, key packages, trees, GroupInfo, and the rows of a store.

Where a signature or a hash is in the way, what the fuzzer made is signed and hashed anew, so that the checks behind it
are reached too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from crypto.errors import DecodeError, InvalidMessage, Unsupported, UsageError
from crypto.mls import parent_hashes, snapshot
from crypto.mls.credentials import BasicCredential
from crypto.mls.extensions import ExtensionType, find_extension
from crypto.mls.group import (
    Group,
    StagedCommit,
    VerifiedGroupInfo,
    VerifiedKeyPackage,
    external_join,
    generate_key_package,
    verify_group_info,
    verify_key_package,
)
from crypto.mls.group_info import sign_group_info
from crypto.mls.key_package import KeyPackage
from crypto.mls.key_schedule import GroupContext
from crypto.mls.mls_message import MLSMessage, encode_message
from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.rules.tree import check_structure, check_tree
from crypto.mls.tree_nodes import LeafIndex, LeafNode, RatchetTreeNodes
from crypto.mls.welcome import GroupInfo
from crypto.suites import SUITES, X_WING
from crypto.wire import decode, decode_as, encode, encode_as, struct
from tests.crypto.tree_samples import with_added, with_removed
from tests.crypto.world import LIFETIME, NOW, won
from tests.fuzzing.target import Target, Way, accepted, decoded
from tests.fuzzing.values import signed_anew
from tests.fuzzing.world import OPEN, SUITE, find_psk, key_pair, world

REFUSALS = (InvalidMessage, Unsupported)

Tree = tuple[Any, ...]


# Messages


def sample_messages() -> list[bytes]:
    """One of each body, and the others that a group sees."""
    w = world()
    talkative = Group(replace(w.ada.state, config=replace(OPEN, send_public_handshakes=True)))
    _, public = talkative.propose_remove(w.people.leaf("fay"), now=NOW)
    commit = talkative.commit(now=NOW).message
    return [
        w.late,
        w.adding.message,
        w.invitation.welcome,
        w.bob.group_info(),
        encode_message(w.joiner.key_package),
        public,
        commit,
    ]


MESSAGE = Target(
    "message", (Way("decode", lambda data: decoded(MLSMessage, data), (DecodeError,), sample_messages, MLSMessage),)
)


# Key packages


def _verify_key_package(data: bytes) -> None:
    """Whoever passes can be added, and all come to the same group."""
    assert_can_be_added(verify_key_package(data, NOW))


def _verify_key_package_signed_anew(data: bytes) -> None:
    package = signed_anew(decoded(KeyPackage, data), world().keyring)
    assert_can_be_added(verify_key_package(encode_message(package), NOW))


def _verify_key_package_of_any_suite(data: bytes) -> None:
    package = signed_anew(decoded(KeyPackage, data), world().keyring)
    assert verify_key_package(encode_message(package), NOW).key_package == package


def assert_can_be_added(verified: VerifiedKeyPackage) -> None:
    """A member adds what was verified, unless a rule of the group is against it; then the others follow."""
    pending = world().ada.commit([verified], now=NOW, find_psk=find_psk)
    with accepted():
        staged = world().bob.receive(pending.message, NOW, find_psk)
        assert isinstance(staged, StagedCommit)
        assert world().bob.adopt(staged).epoch_authenticator == won(pending).epoch_authenticator
        assert verified.leaf.signature_key in {member.signature_key for member in staged.added}


def _key_packages() -> list[KeyPackage]:
    """Of clients who are not in the group; the keyring has their keys."""
    bundles = []
    for suite, last_resort in ((SUITE, False), (SUITE, True), (SUITES[3], False), (X_WING, False)):
        credential, signer = BasicCredential(b"somebody"), world().gil
        bundles.append(generate_key_package(suite, credential, signer, lifetime=LIFETIME, last_resort=last_resort))
    return [bundle.key_package for bundle in bundles]


def _of_our_suite(packages: list[KeyPackage]) -> list[KeyPackage]:
    return [package for package in packages if package.cipher_suite == SUITE.id]


KEY_PACKAGE = Target(
    "key_package",
    (
        Way(
            "as it is",
            _verify_key_package,
            REFUSALS,
            lambda: [encode_message(package) for package in _of_our_suite(_key_packages())],
            MLSMessage,
        ),
        Way(
            "signed anew",
            _verify_key_package_signed_anew,
            REFUSALS,
            lambda: [encode(package) for package in _of_our_suite(_key_packages())],
            KeyPackage,
        ),
        Way(
            "of any suite",
            _verify_key_package_of_any_suite,
            REFUSALS,
            lambda: [encode(package) for package in _key_packages()],
            KeyPackage,
        ),
    ),
)


# Ratchet trees


def tree_signed_anew(nodes: Tree) -> Tree:
    """The leaves of a tree, each signed for its place."""
    w = world()
    return tuple(
        signed_anew(node, w.keyring, w.bob.group_id, LeafIndex(index // 2)) if isinstance(node, LeafNode) else node
        for index, node in enumerate(nodes)
    )


def _check_tree(data: bytes) -> None:
    _check_nodes(decoded(RatchetTreeNodes, data))


def _check_tree_signed_anew(data: bytes) -> None:
    _check_nodes(tree_signed_anew(decoded(RatchetTreeNodes, data)))


def _check_nodes(nodes: Tree) -> None:
    tree = RatchetTree.of_nodes(SUITE, nodes)
    assert RatchetTree.of_nodes(SUITE, tree.export()) == tree
    context = replace(world().bob.state.context, tree_hash=tree.tree_hash)
    check_tree(tree, context, OPEN, NOW)
    newcomer = world().joiner.key_package.leaf_node
    with accepted():
        larger, place = with_added(tree, newcomer)
        check_structure(larger)
        parent_hashes.verify(larger)
        assert larger.leaf(place) == newcomer
        assert with_removed(larger, place).leaf(place) is None


def _trees() -> list[bytes]:
    return [encode_as(RatchetTreeNodes, group.state.tree.export()) for group in (world().bob, won(world().adding))]


RATCHET_TREE = Target(
    "ratchet_tree",
    (
        Way("as it is", _check_tree, (InvalidMessage,), _trees, RatchetTreeNodes),
        Way("signed anew", _check_tree_signed_anew, (InvalidMessage,), _trees, RatchetTreeNodes),
    ),
)


# GroupInfo


def group_info_signed_anew(group_info: GroupInfo, tag: Callable[[GroupContext], bytes] | None = None) -> GroupInfo:
    """A GroupInfo that names the tree that it holds, signed by the member that it says; with its `tag`, if given."""
    encoded = find_extension(group_info.extensions, ExtensionType.RATCHET_TREE)
    tree = RatchetTree.of_nodes(SUITE, () if encoded is None else decode_as(RatchetTreeNodes, encoded))
    context = replace(group_info.group_context, tree_hash=tree.tree_hash)
    confirmation_tag = group_info.confirmation_tag if tag is None else tag(context)
    unsigned = replace(group_info, group_context=context, confirmation_tag=confirmation_tag)
    leaf = tree.leaf(LeafIndex(group_info.signer))
    signer = world().keyring.get(leaf.signature_key) if leaf is not None else None
    return unsigned if signer is None else sign_group_info(SUITE, signer, unsigned)


def _verify_group_info(data: bytes) -> None:
    _join_by_oneself(verify_group_info(data, now=NOW, config=OPEN))


def _verify_group_info_signed_anew(data: bytes) -> None:
    message = encode_message(group_info_signed_anew(decoded(GroupInfo, data)))
    _join_by_oneself(verify_group_info(message, now=NOW, config=OPEN))


def _verify_tree_beside(data: bytes) -> None:
    """The tree comes by another way than the GroupInfo."""
    message = world().bob.group_info(ratchet_tree=False)
    verify_group_info(message, now=NOW, ratchet_tree=data, config=OPEN)


def _join_by_oneself(verified: VerifiedGroupInfo) -> None:
    """What was verified can be joined, or a rule is against it."""
    signer = key_pair(b"somebody else")
    joining = external_join(verified, BasicCredential(b"newcomer"), signer, config=OPEN)
    assert joining.next_group.epoch == verified.epoch + 1
    assert {member.credential for member in verified.members} < {m.credential for m in joining.next_group.members}


def _group_infos() -> list[GroupInfo]:
    found = [decode(MLSMessage, world().bob.group_info()).body]
    return [body for body in found if isinstance(body, GroupInfo)]


GROUP_INFO = Target(
    "group_info",
    (
        Way(
            "as it is",
            _verify_group_info,
            REFUSALS,
            lambda: [encode_message(each) for each in _group_infos()],
            MLSMessage,
        ),
        Way(
            "signed anew",
            _verify_group_info_signed_anew,
            REFUSALS,
            lambda: [encode(each) for each in _group_infos()],
            GroupInfo,
        ),
        Way("tree beside", _verify_tree_beside, REFUSALS, lambda: _trees()[:1], RatchetTreeNodes),
    ),
)


# What a store gives back


@struct
class StoredRow:
    """A row as the fuzzer changes it: the name is text."""

    name: bytes
    value: bytes


StoredRows = tuple[StoredRow, ...]


def _load(data: bytes) -> None:
    """What loads is a group that is stored as the same rows again."""
    stored = {row.name.decode("latin-1"): row.value for row in decode_as(StoredRows, data)}
    group = snapshot.load(stored, world().people.person("bob").signer, OPEN)
    assert snapshot.rows(group) == stored


def _load_bundle(data: bytes) -> None:
    assert snapshot.encode_bundle(snapshot.decode_bundle(data)) == data


def _stored_groups() -> list[bytes]:
    """Bob's group as it is, and with a former epoch's message read."""
    groups = [world().bob, world().bob.receive(world().late, NOW).group]
    return [
        encode_as(StoredRows, tuple(StoredRow(name.encode(), row) for name, row in snapshot.rows(group).items()))
        for group in groups
    ]


SNAPSHOT = Target(
    "snapshot",
    (
        Way("rows", _load, (DecodeError, UsageError), _stored_groups, StoredRows),
        Way("bundle", _load_bundle, (DecodeError,), lambda: [snapshot.encode_bundle(world().joiner)]),
    ),
)
