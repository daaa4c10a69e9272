"""Update paths: official vectors, and whole groups in memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.mls import parent_hashes, tree_math
from crypto.mls.headers import ProtocolVersion
from crypto.mls.key_schedule import GroupContext
from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.rules.tree import check_structure
from crypto.mls.tree_nodes import (
    CommitSource,
    LeafIndex,
    NodeIndex,
    ParentNode,
    RatchetTreeNodes,
    UpdatePath,
    verify_leaf_node,
)
from crypto.mls.treekem import (
    PrivateKeys,
    decrypt_path,
    derive_path,
    encrypt_path,
    generate_path,
    merge_path,
    private_keys_from_path_secret,
    prune,
)
from crypto.secret import Secret
from crypto.suites import CipherSuite, SignatureKeyPair, suite_of
from crypto.wire import decode, decode_as, encode
from tests import vectors
from tests.crypto.tree_samples import (
    ALL_SUITES,
    CLASSICAL_AND_HYBRID,
    GROUP_ID,
    GROUP_SIZES,
    NOBODY,
    KeyedTree,
    client,
    grown,
    ragged,
    with_removed,
)
from tests.vectors import Case

SUITE = suite_of(1)
CONTEXT = b"provisional group context"


# Official vectors


class Published:
    """A case of treekem.json: its tree, and what each member knows of it."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.suite = suite_of(case["cipher_suite"])
        nodes = decode_as(RatchetTreeNodes, bytes.fromhex(case["ratchet_tree"]))
        self.tree = RatchetTree.of_nodes(self.suite, nodes)
        self.keys: dict[LeafIndex, PrivateKeys] = {}
        self.signers: dict[LeafIndex, SignatureKeyPair] = {}
        for member in case["leaves_private"]:
            leaf = self.tree.leaf(member["index"])
            assert leaf is not None
            keys = {tree_math.node_of(member["index"]): Secret(bytes.fromhex(member["encryption_priv"]))}
            for entry in member["path_secrets"]:
                path_secret = Secret(bytes.fromhex(entry["path_secret"]))
                pair = self.suite.derive_key_pair(self.suite.derive_secret(path_secret, "node"))
                node = self.tree.node(entry["node"])
                assert isinstance(node, ParentNode)
                assert node.encryption_key == pair.public
                keys[entry["node"]] = pair.private
            self.keys[member["index"]] = keys
            self.signers[member["index"]] = SignatureKeyPair(
                Secret(bytes.fromhex(member["signature_priv"])), leaf.signature_key
            )

    def context(self, tree_hash: bytes) -> bytes:
        return encode(
            GroupContext(
                ProtocolVersion.MLS10,
                self.suite.id,
                bytes.fromhex(self.case["group_id"]),
                self.case["epoch"],
                tree_hash,
                bytes.fromhex(self.case["confirmed_transcript_hash"]),
                (),
            )
        )

    def others(self, sender: LeafIndex) -> list[LeafIndex]:
        others = [leaf for leaf, _ in self.tree.occupied() if leaf != sender]
        assert set(others) <= self.keys.keys()
        return others


@vectors.each("mls/treekem.json")
def test_published_paths(case: Case) -> None:
    group = Published(case)
    check_structure(group.tree)
    parent_hashes.verify(group.tree)
    for vector in case["update_paths"]:
        sender = LeafIndex(vector["sender"])
        path = decode(UpdatePath, bytes.fromhex(vector["update_path"]))
        after = merge_path(group.suite, group.tree, sender, path)
        assert after.tree_hash.hex() == vector["tree_hash_after"]
        verify_leaf_node(group.suite, path.leaf_node, bytes.fromhex(case["group_id"]), sender)
        parent_hashes.verify(after)
        context = group.context(after.tree_hash)
        for leaf in group.others(sender):
            held = group.keys[leaf]
            keys, commit_secret = decrypt_path(
                group.suite, group.tree, after, sender, leaf, held, path, context, NOBODY
            )
            assert commit_secret.reveal().hex() == vector["commit_secret"]
            path_secret = Secret(bytes.fromhex(vector["path_secrets"][leaf]))
            expected = private_keys_from_path_secret(group.suite, after, leaf, sender, path_secret)
            assert expected.items() <= keys.items()


@vectors.each("mls/treekem.json")
def test_our_paths_in_published_groups(case: Case) -> None:
    group = Published(case)
    group_id = bytes.fromhex(case["group_id"])
    for vector in case["update_paths"]:
        sender = LeafIndex(vector["sender"])
        old = group.tree.leaf(sender)
        assert old is not None
        made = generate_path(group.suite, group.tree, sender, old.contents, group.signers[sender], group_id)
        verify_leaf_node(group.suite, made.leaf, group_id, sender)
        context = group.context(made.tree.tree_hash)
        path = encrypt_path(group.suite, made, context, NOBODY)
        after = merge_path(group.suite, group.tree, sender, path)
        assert after == made.tree
        for leaf in group.others(sender):
            _, commit_secret = decrypt_path(
                group.suite, group.tree, after, sender, leaf, group.keys[leaf], path, context, NOBODY
            )
            assert commit_secret == made.commit_secret


# Whole groups: `KeyedTree` checks after each commit that all agree and that the tree invariant holds


@ALL_SUITES
def test_groups_of_every_suite_follow_each_other(suite: CipherSuite) -> None:
    world = grown(suite, 6)
    world.commit(2, removes=[0, 3], adds=3, updates=[1, 5])
    assert world.members == [0, 1, 2, 3, 4, 5, 6]
    world.commit(6)
    world.commit(5, adds=2, path=False)
    world.commit(7)
    world.commit(1, removes=[7, 8])


@CLASSICAL_AND_HYBRID
@GROUP_SIZES
def test_ragged_groups_follow_each_other(suite: CipherSuite, size: int) -> None:
    world = ragged(suite, size)
    for sender in world.members[:: max(1, size // 6)]:
        world.commit(sender)


@given(
    st.integers(0, 12),
    st.lists(
        st.tuples(
            st.integers(0, 30),
            st.lists(st.integers(0, 30), max_size=3),
            st.lists(st.integers(0, 30), max_size=3),
            st.integers(0, 4),
            st.booleans(),
        ),
        min_size=1,
        max_size=10,
    ),
)
def test_random_groups_follow_each_other(
    start: int, commits: list[tuple[int, list[int], list[int], int, bool]]
) -> None:
    world = KeyedTree.of_creator(SUITE)
    world.commit(0, adds=start)
    for who, updating, leaving, adds, path in commits:
        members = world.members
        sender = members[who % len(members)]
        others = [leaf for leaf in members if leaf != sender]
        removes = {others[number % len(others)] for number in leaving} if others else set()
        updates = ({others[number % len(others)] for number in updating} if others else set()) - removes
        world.commit(sender, updates=sorted(updates), removes=sorted(removes), adds=adds, path=path)


def test_one_member_alone_commits_to_nobody() -> None:
    world = KeyedTree.of_creator(SUITE)
    made = world.new_path(0)
    assert isinstance(made.leaf.source, CommitSource)
    assert made.leaf.source.parent_hash == b""
    assert made.path_secrets == {}
    path = encrypt_path(SUITE, made, CONTEXT, NOBODY)
    assert path.nodes == ()
    assert merge_path(SUITE, world.tree, LeafIndex(0), path) == made.tree


def test_a_node_above_new_members_only_has_no_ciphertexts() -> None:
    world = grown(SUITE, 2)
    tree, places = world.tree.apply({}, (), [client(SUITE, "new").leaf])
    path = encrypt_path(SUITE, world.new_path(0, tree), CONTEXT, frozenset(places))
    assert [len(node.encrypted_path_secret) for node in path.nodes] == [1, 0]


def test_a_parent_gets_its_ciphertext_though_a_new_member_has_half_its_number() -> None:
    """Node 3 is a parent, and leaf 1 is node 2: who adds leaf 1 leaves out the one and not the other."""
    world = grown(SUITE, 8)
    world.commit(0, removes=[1])
    assert isinstance(world.tree.node(NodeIndex(3)), ParentNode)
    world.commit(5, adds=1)
    assert LeafIndex(1) in world.members


def test_the_same_randomness_gives_the_same_path() -> None:
    world = grown(SUITE, 5)
    old = world.tree.leaf(LeafIndex(1))
    assert old is not None
    leaf_keys = SUITE.derive_key_pair(Secret(bytes(32)))
    paths = [
        derive_path(
            SUITE,
            world.tree,
            LeafIndex(1),
            old.contents,
            world.signers[LeafIndex(1)],
            GROUP_ID,
            leaf_keys,
            Secret(first),
        )
        for first in (bytes(32), bytes(32), bytes([1] * 32))
    ]
    assert paths[0] == paths[1]
    assert paths[0].commit_secret != paths[2].commit_secret
    assert "redacted" in repr(paths[0].commit_secret)
    assert paths[0].path_secrets[NodeIndex(1)] == Secret(bytes(32))
    assert "path_secrets" not in repr(paths[0])


def test_generated_paths_differ() -> None:
    world = grown(SUITE, 5)
    one, other = world.new_path(1), world.new_path(1)
    assert one.commit_secret != other.commit_secret
    assert one.leaf.encryption_key != other.leaf.encryption_key
    changed = (NodeIndex(1), NodeIndex(2), NodeIndex(3), NodeIndex(7))
    assert one.tree.changed_since(other.tree) == one.tree.changed_since(world.tree) == changed


def test_private_keys_cannot_be_changed() -> None:
    made = grown(SUITE, 3).new_path(0)
    with pytest.raises(TypeError):
        made.private_keys[NodeIndex(0)] = Secret(b"")  # type: ignore[index]  # that is the point
    with pytest.raises(TypeError):
        made.path_secrets[NodeIndex(1)] = Secret(b"")  # type: ignore[index]  # that is the point


def test_keys_of_blanked_nodes_are_dropped() -> None:
    world = grown(SUITE, 8)
    keys = world.keys[LeafIndex(0)]
    assert sorted(keys) == [0, 1, 3, 7]
    assert sorted(prune(keys, with_removed(world.tree, LeafIndex(3)))) == [0, 1]
    assert sorted(prune(keys, with_removed(world.tree, LeafIndex(7)))) == [0, 1, 3]
    truncated, _ = world.tree.apply({}, [LeafIndex(leaf) for leaf in range(4, 8)], ())
    assert sorted(prune(keys, truncated)) == [0, 1, 3]
