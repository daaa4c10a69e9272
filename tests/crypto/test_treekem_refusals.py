"""Update paths that must be refused (rules U2 to U6, U9, L8, W9, C9), each wrong in exactly one thing.

Here a path meets a bare tree, as every one of its members sees it; `test_rules_paths` sends some of them in commits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from crypto.errors import AuthenticationError, DecodeError, UsageError
from crypto.mls import tree_math
from crypto.mls.tree_nodes import (
    LeafIndex,
    NodeIndex,
    UpdatePath,
    UpdatePathNode,
    UpdateSource,
    verify_leaf_node,
)
from crypto.mls.treekem import (
    PrivateKeys,
    decrypt_path,
    encrypt_path,
    merge_path,
    private_keys_from_path_secret,
)
from crypto.secret import Secret
from crypto.suites import CipherSuite, suite_of
from tests.crypto.matrix import without_group
from tests.crypto.tree_samples import (
    CLASSICAL_AND_HYBRID,
    GROUP_ID,
    GROUP_SIZES,
    NOBODY,
    KeyedTree,
    client,
    crafted,
    grown,
    refused,
    with_removed,
    with_updated,
)

SUITE = suite_of(1)
CONTEXT = b"provisional group context"


def received(world: KeyedTree, path: UpdatePath, sender: int, own: int, context: bytes = CONTEXT) -> PrivateKeys:
    """What a member makes of a path, step by step."""
    tree, leaf = world.tree, LeafIndex(own)
    after = merge_path(world.suite, tree, LeafIndex(sender), path)
    return decrypt_path(world.suite, tree, after, LeafIndex(sender), leaf, world.keys[leaf], path, context, NOBODY)[0]


def merge_refused(rule: str, world: KeyedTree, sender: int, path: UpdatePath) -> None:
    with refused(rule, world.tree):
        merge_path(world.suite, world.tree, LeafIndex(sender), path)


def honest(world: KeyedTree, sender: int) -> UpdatePath:
    return crafted(world, sender, CONTEXT)[1]


@CLASSICAL_AND_HYBRID
@GROUP_SIZES
def test_the_crafted_path_is_right_when_nothing_is_changed(suite: CipherSuite, size: int) -> None:
    world = grown(suite, size)
    path = honest(world, 0)
    for leaf in world.members[1:]:
        assert tree_math.root(world.tree.leaf_count) in received(world, path, 0, leaf)


@without_group("on bare trees of every size, in both suites")
@CLASSICAL_AND_HYBRID
@GROUP_SIZES
def test_u2_one_node_too_few_or_too_many(suite: CipherSuite, size: int) -> None:
    world = grown(suite, size)
    path = honest(world, 0)
    extra = UpdatePathNode(suite.generate_hpke_key_pair().public, ())
    for nodes in (path.nodes[:-1], path.nodes[1:], (*path.nodes, extra), ()):
        wrong = replace(path, nodes=nodes)
        merge_refused("U2", world, 0, wrong)
        with refused("U2", world.tree):
            decrypt_path(
                suite, world.tree, world.tree, LeafIndex(0), LeafIndex(1), world.keys[LeafIndex(1)], wrong, CONTEXT,
                NOBODY,
            )  # fmt: skip


@without_group("on bare trees of every size, in both suites")
@CLASSICAL_AND_HYBRID
@GROUP_SIZES
def test_u3_one_ciphertext_too_few_or_too_many(suite: CipherSuite, size: int) -> None:
    world = grown(suite, size)
    path = honest(world, 0)
    for place, node in enumerate(path.nodes):
        sealed = node.encrypted_path_secret
        for wrong in (sealed[:-1], (*sealed, sealed[0]), ()):
            nodes = list(path.nodes)
            nodes[place] = replace(node, encrypted_path_secret=wrong)
            for leaf in world.members[1:]:  # everybody sees it, wherever in the path it is
                with refused("U3", world.tree):
                    received(world, replace(path, nodes=tuple(nodes)), 0, leaf)


@without_group("on a bare tree, in both suites")
@CLASSICAL_AND_HYBRID
def test_u3_a_ciphertext_for_a_new_member(suite: CipherSuite) -> None:
    world = grown(suite, 3)
    tree, added = world.tree.apply({}, (), [client(suite, "new").leaf])
    made = world.new_path(0, tree)
    sender, own = LeafIndex(0), LeafIndex(1)
    for encrypted_to, excluded in ((NOBODY, frozenset(added)), (frozenset(added), NOBODY)):
        path = encrypt_path(suite, made, CONTEXT, encrypted_to)
        after = merge_path(suite, tree, sender, path)
        with refused("U3", tree, after):
            decrypt_path(suite, tree, after, sender, own, world.keys[own], path, CONTEXT, excluded)


@without_group("on bare trees of every size, in both suites")
@CLASSICAL_AND_HYBRID
@GROUP_SIZES
def test_u4_another_context(suite: CipherSuite, size: int) -> None:
    world = grown(suite, size)
    path = honest(world, 0)
    for leaf in world.members[1:]:
        with pytest.raises(AuthenticationError):
            received(world, path, 0, leaf, b"another context")


@without_group("on a bare tree, in both suites")
@CLASSICAL_AND_HYBRID
def test_u4_a_secret_sealed_for_another_node(suite: CipherSuite) -> None:
    world = grown(suite, 5)
    world.commit(4, adds=1, path=False)  # leaf 5 is unmerged at the root: two ciphertexts there
    path = honest(world, 0)
    top = path.nodes[-1]
    assert len(top.encrypted_path_secret) == 2
    swapped = replace(top, encrypted_path_secret=top.encrypted_path_secret[::-1])
    wrong = replace(path, nodes=(*path.nodes[:-1], swapped))
    for leaf in (4, 5):
        with pytest.raises(AuthenticationError):
            received(world, wrong, 0, leaf)
    received(world, wrong, 0, 1)  # this ciphertext is none of its business


@without_group("on a bare tree, in both suites")
@CLASSICAL_AND_HYBRID
def test_u4_a_truncated_ciphertext(suite: CipherSuite) -> None:
    world = grown(suite, 2)
    path = honest(world, 0)
    (sealed,) = path.nodes[0].encrypted_path_secret
    for wrong in (replace(sealed, ciphertext=b""), replace(sealed, kem_output=sealed.kem_output[:-1])):
        node = replace(path.nodes[0], encrypted_path_secret=(wrong,))
        with pytest.raises(AuthenticationError):
            received(world, replace(path, nodes=(node,)), 0, 1)


@without_group("on bare trees of every size, in both suites")
@CLASSICAL_AND_HYBRID
@pytest.mark.parametrize("size", [5, 9, 33])
def test_u5_a_fragmenting_path_is_refused_by_whoever_can_tell(suite: CipherSuite, size: int) -> None:
    # RFC 9420 §16.12: from one node on, secrets that do not follow from those below. Members whose secret comes from
    # below the break see it; members above it cannot, so the others' refusal is all that there is.
    world = grown(suite, size)
    filtered = world.tree.filtered_direct_path(LeafIndex(0))
    unrelated = suite.generate_secret()
    pair = suite.derive_key_pair(suite.derive_secret(unrelated, "node"))
    top = filtered[-1]
    _, path = crafted(world, 0, CONTEXT, keys={top: pair.public}, secrets={top: unrelated})
    for leaf in world.members[1:]:
        if tree_math.common_ancestor(NodeIndex(0), tree_math.node_of(leaf)) == top:
            assert received(world, path, 0, leaf)[top] == pair.private
        else:
            with refused("U5", world.tree):
                received(world, path, 0, leaf)


@without_group("on bare trees of every size, in both suites")
@CLASSICAL_AND_HYBRID
@GROUP_SIZES
def test_u5_a_public_key_that_is_not_the_secrets(suite: CipherSuite, size: int) -> None:
    world = grown(suite, size)
    for index in world.tree.filtered_direct_path(LeafIndex(0)):
        _, path = crafted(world, 0, CONTEXT, keys={index: suite.generate_hpke_key_pair().public})
        for leaf in world.members[1:]:
            start = tree_math.common_ancestor(NodeIndex(0), tree_math.node_of(leaf))
            if tree_math.level(start) <= tree_math.level(index):
                with refused("U5", world.tree):
                    received(world, path, 0, leaf)
            else:
                received(world, path, 0, leaf)


@CLASSICAL_AND_HYBRID
@pytest.mark.parametrize("length", [0, 1, 31, 33, 64])
def test_a_path_secret_of_another_size(suite: CipherSuite, length: int) -> None:
    world = grown(suite, 2)
    secret = Secret(bytes(length))
    pair = suite.derive_key_pair(suite.derive_secret(secret, "node"))
    _, path = crafted(world, 0, CONTEXT, keys={NodeIndex(1): pair.public}, secrets={NodeIndex(1): secret})
    with pytest.raises(DecodeError):
        received(world, path, 0, 1)


@without_group("on bare trees of every size, in both suites")
@CLASSICAL_AND_HYBRID
@GROUP_SIZES
def test_u6_a_stale_parent_hash(suite: CipherSuite, size: int) -> None:
    world = grown(suite, size)
    stale = honest(world, 0).leaf_node
    path = replace(honest(world, 0), leaf_node=stale)
    verify_leaf_node(suite, stale, GROUP_ID, LeafIndex(0))
    merge_refused("U6", world, 0, path)


@without_group("on a bare tree, in both suites")
@CLASSICAL_AND_HYBRID
def test_l8_a_leaf_from_elsewhere(suite: CipherSuite) -> None:
    world = grown(suite, 5)
    path = honest(world, 0)
    wrong = replace(path, leaf_node=replace(path.leaf_node, source=UpdateSource()))
    merge_refused("L8", world, 0, wrong)


@without_group("on bare trees of every size, in both suites")
@CLASSICAL_AND_HYBRID
@GROUP_SIZES
def test_u9_a_key_that_is_in_use(suite: CipherSuite, size: int) -> None:
    world = grown(suite, size)
    used = {"own leaf": 0, "other leaf": 2 * (size - 1), "parent": world.tree.root}
    lowest = world.tree.filtered_direct_path(LeafIndex(0))[0]
    for place in used.values():
        node = world.tree.node(NodeIndex(place))
        assert node is not None
        _, reused = crafted(world, 0, CONTEXT, keys={lowest: node.encryption_key})
        merge_refused("U9", world, 0, reused)
        _, reused = crafted(world, 0, CONTEXT, leaf_key=node.encryption_key)
        merge_refused("U9", world, 0, reused)


@without_group("on bare trees of every size, in both suites")
@CLASSICAL_AND_HYBRID
@GROUP_SIZES
def test_u9_a_key_twice_in_the_path(suite: CipherSuite, size: int) -> None:
    world = grown(suite, size)
    key = suite.generate_hpke_key_pair().public
    filtered = world.tree.filtered_direct_path(LeafIndex(0))
    _, twice = crafted(world, 0, CONTEXT, keys={filtered[0]: key}, leaf_key=key)
    merge_refused("U9", world, 0, twice)
    if len(filtered) > 1:
        _, twice = crafted(world, 0, CONTEXT, keys={filtered[0]: key, filtered[-1]: key})
        merge_refused("U9", world, 0, twice)


@without_group("on a bare tree: no key of it is used")
@pytest.mark.parametrize("sender", [8, 2**32 - 1])
def test_c9_a_sender_outside_the_tree(sender: int) -> None:
    world = grown(SUITE, 5)
    path = honest(world, 0)
    merge_refused("C9", world, sender, path)


def test_a_path_that_is_not_for_us() -> None:
    world = grown(SUITE, 3)
    tree, (joiner,) = world.tree.apply({}, (), [client(SUITE, "new").leaf])
    made = world.new_path(0, tree)
    excluded = frozenset([joiner])
    path = encrypt_path(SUITE, made, CONTEXT, excluded)
    nothing: Mapping[NodeIndex, Secret] = {}
    for own, held in ((0, world.keys[LeafIndex(0)]), (1, nothing), (joiner, nothing), (2**32 - 1, nothing)):
        with pytest.raises(UsageError):
            decrypt_path(SUITE, tree, made.tree, LeafIndex(0), LeafIndex(own), held, path, CONTEXT, excluded)


# Joiners


@without_group("on a bare tree, in both suites")
@CLASSICAL_AND_HYBRID
def test_w9_keys_that_do_not_follow_from_the_path_secret(suite: CipherSuite) -> None:
    world = grown(suite, 5)
    made = world.new_path(0)
    for own, ancestor in ((1, 1), (2, 3), (4, 7)):
        path_secret = made.path_secrets[NodeIndex(ancestor)]
        keys = private_keys_from_path_secret(suite, made.tree, LeafIndex(own), LeafIndex(0), path_secret)
        assert {index: made.private_keys[index] for index in keys} == keys
        with refused("W9", made.tree):
            private_keys_from_path_secret(suite, made.tree, LeafIndex(own), LeafIndex(0), suite.generate_secret())
        with refused("W9", world.tree):
            private_keys_from_path_secret(suite, world.tree, LeafIndex(own), LeafIndex(0), path_secret)
    with pytest.raises(DecodeError):
        private_keys_from_path_secret(suite, made.tree, LeafIndex(1), LeafIndex(0), Secret(b"short"))


@without_group("on a bare tree, in both suites")
@CLASSICAL_AND_HYBRID
def test_w9_a_signer_without_a_path_to_us(suite: CipherSuite) -> None:
    world = grown(suite, 5)
    blanked = with_updated(world.tree, LeafIndex(1), client(suite, "updated").leaf)
    secret = suite.generate_secret()
    with refused("W9", blanked):  # the common ancestor is blank
        private_keys_from_path_secret(suite, blanked, LeafIndex(1), LeafIndex(0), secret)
    with refused("W9", blanked):  # nobody is at leaf 7, nor below its parent
        private_keys_from_path_secret(suite, blanked, LeafIndex(7), LeafIndex(0), secret)
    lonely = with_removed(blanked, LeafIndex(1))
    with refused("W9", lonely):  # filtered out: the place is blank
        private_keys_from_path_secret(suite, lonely, LeafIndex(1), LeafIndex(0), secret)


@without_group("on a bare tree: no key of it is used")
def test_c9_a_signer_outside_the_tree() -> None:
    world = grown(SUITE, 3)
    with refused("C9", world.tree):
        private_keys_from_path_secret(SUITE, world.tree, LeafIndex(0), LeafIndex(4), SUITE.generate_secret())
