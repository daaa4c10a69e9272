"""Members and trees for the tests of the ratchet tree: real keys, signatures and commits, one world in memory."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pytest

from crypto.errors import RuleViolation
from crypto.mls import parent_hashes, tree_math
from crypto.mls.credentials import BasicCredential
from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.rules.tree import check_structure
from crypto.mls.tree_hashes import AnyNode
from crypto.mls.tree_nodes import (
    Capabilities,
    CommitSource,
    KeyPackageSource,
    LeafIndex,
    LeafNode,
    Lifetime,
    NodeIndex,
    ParentNode,
    UpdatePath,
    UpdateSource,
    verify_leaf_node,
)
from crypto.mls.treekem import (
    NewPath,
    PrivateKeys,
    decrypt_path,
    encrypt_path,
    generate_path,
    merge_path,
    private_keys_from_path_secret,
    prune,
)
from crypto.secret import Secret
from crypto.suites import SUITES, X_WING, CipherSuite, SignatureKeyPair, suite_of
from tests.crypto.identities import signed_leaf

GROUP_ID = b"a group of the tests"
NOBODY: frozenset[LeafIndex] = frozenset()
CLASSICAL_AND_HYBRID = pytest.mark.parametrize("suite", [suite_of(1), X_WING], ids=lambda suite: suite.name)
ALL_SUITES = pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: suite.name)
GROUP_SIZES = pytest.mark.parametrize("size", [2, 5, 9, 33])


@dataclass(frozen=True)
class Client:
    """Someone who may be a member: a leaf and its two private keys."""

    leaf: LeafNode
    encryption_private: Secret
    signer: SignatureKeyPair


def client(suite: CipherSuite, name: str) -> Client:
    keys, signer = suite.generate_hpke_key_pair(), suite.signature.generate()
    unsigned = LeafNode(
        keys.public,
        signer.public,
        BasicCredential(name.encode()),
        Capabilities((1,), (suite.id,), (), (), (1,)),
        KeyPackageSource(Lifetime(0, 2**40)),
        (),
        b"",
    )
    return Client(signed_leaf(suite, signer, unsigned, GROUP_ID, LeafIndex(0)), keys.private, signer)


@dataclass
class KeyedTree:
    """A group as all its members see it: one public tree, and the private keys of each."""

    suite: CipherSuite
    tree: RatchetTree
    keys: dict[LeafIndex, PrivateKeys] = field(default_factory=dict)
    signers: dict[LeafIndex, SignatureKeyPair] = field(default_factory=dict)
    commits: int = 0

    @classmethod
    def of_creator(cls, suite: CipherSuite) -> KeyedTree:
        creator = client(suite, "creator")
        first = LeafIndex(0)
        keys = {first: {tree_math.node_of(first): creator.encryption_private}}
        return cls(suite, RatchetTree.of_leaf(suite, creator.leaf), dict(keys), {first: creator.signer})

    @property
    def members(self) -> list[LeafIndex]:
        return sorted(self.keys)

    def commit(
        self,
        sender: int,
        *,
        updates: Sequence[int] = (),
        removes: Sequence[int] = (),
        adds: int = 0,
        path: bool = True,
    ) -> None:
        """Commit, let everybody process it, and check that all agree and that the tree invariant holds."""
        suite = self.suite
        self.commits += 1
        updated = {LeafIndex(leaf): self._updated(LeafIndex(leaf)) for leaf in updates}
        added = [client(suite, f"member {self.commits}.{number}") for number in range(adds)]
        tree, places = self.tree.apply(
            {leaf: new.leaf for leaf, new in updated.items()},
            [LeafIndex(leaf) for leaf in removes],
            [new.leaf for new in added],
        )
        for leaf, new in updated.items():
            self.keys[leaf] = dict(self.keys[leaf]) | {tree_math.node_of(leaf): new.encryption_private}
        for gone in map(LeafIndex, removes):
            del self.keys[gone], self.signers[gone]
        joiners: dict[LeafIndex, PrivateKeys] = {
            place: {tree_math.node_of(place): new.encryption_private} for place, new in zip(places, added, strict=True)
        }
        self.signers |= {place: new.signer for place, new in zip(places, added, strict=True)}
        if path:
            self._path(tree, LeafIndex(sender), joiners)
        else:
            self.tree = tree
            self.keys = {leaf: prune(keys, tree) for leaf, keys in self.keys.items()} | joiners
        self.check()

    def _updated(self, leaf: LeafIndex) -> Client:
        old = self.tree.leaf(leaf)
        assert old is not None
        keys = self.suite.generate_hpke_key_pair()
        unsigned = replace(old, encryption_key=keys.public, source=UpdateSource())
        signed = signed_leaf(self.suite, self.signers[leaf], unsigned, GROUP_ID, leaf)
        return Client(signed, keys.private, self.signers[leaf])

    def _path(self, tree: RatchetTree, sender: LeafIndex, joiners: dict[LeafIndex, PrivateKeys]) -> None:
        suite, excluded, context = self.suite, frozenset(joiners), f"context {self.commits}".encode()
        new_path = self.new_path(sender, tree)
        path = encrypt_path(suite, new_path, context, excluded)
        after = merge_path(suite, tree, sender, path)
        assert after == new_path.tree
        assert after.tree_hash == new_path.tree.tree_hash
        next_keys = {sender: new_path.private_keys}
        for leaf, held in self.keys.items():
            if leaf != sender:
                opened = decrypt_path(suite, tree, after, sender, leaf, held, path, context, excluded)
                next_keys[leaf] = opened[0]
                assert opened[1] == new_path.commit_secret
        for leaf, own in joiners.items():
            ancestor = tree_math.common_ancestor(tree_math.node_of(leaf), tree_math.node_of(sender))
            path_secret = new_path.path_secrets[ancestor]
            given = private_keys_from_path_secret(suite, after, leaf, sender, path_secret)
            next_keys[leaf] = dict(own) | dict(given)
        self.tree, self.keys = after, next_keys

    def new_path(self, sender: int, tree: RatchetTree | None = None) -> NewPath:
        leaf = LeafIndex(sender)
        tree = self.tree if tree is None else tree
        old = tree.leaf(leaf)
        assert old is not None
        return generate_path(self.suite, tree, leaf, old.contents, self.signers[leaf], GROUP_ID)

    def check(self) -> None:
        """All that each member knows is what it may know (§4.2), and every leaf is signed."""
        assert [leaf for leaf, _ in self.tree.occupied()] == self.members
        for index, leaf in self.tree.occupied():
            verify_leaf_node(self.suite, leaf, GROUP_ID, index)
        for member, keys in self.keys.items():
            own = tree_math.node_of(member)
            assert own in keys
            for place in keys:
                assert tree_math.is_in_subtree(own, place)
                assert self.tree.node(place) is not None
            for place in tree_math.direct_path(own, self.tree.leaf_count):
                node = self.tree.node(place)
                knows = isinstance(node, ParentNode) and member not in node.unmerged_leaves
                assert knows == (place in keys)
        check_structure(self.tree)
        parent_hashes.verify(self.tree)


def grown(suite: CipherSuite, size: int) -> KeyedTree:
    """A group of `size` in which member i has added member i + 1: every parent is set. A copy of one made before."""
    made = _grown(suite.id, size)
    return KeyedTree(suite, made.tree, dict(made.keys), dict(made.signers), made.commits)


@functools.cache
def _grown(suite_id: int, size: int) -> KeyedTree:
    world = KeyedTree.of_creator(SUITES[suite_id])
    for sender in range(size - 1):
        world.commit(sender, adds=1)
    return world


def ragged(suite: CipherSuite, size: int) -> KeyedTree:
    """A group grown to `size`, then with blanks in the middle, blank subtrees and unmerged leaves at several levels."""
    world = grown(suite, size)
    world.commit(0, removes=[leaf for leaf in range(size - 1) if leaf % 8 in {1, 4, 5, 6}])
    world.commit(size - 1)
    world.commit(size - 1, adds=2, path=False)
    world.commit(world.members[-1], adds=1)
    world.commit(0, adds=1, path=False)
    return world


def crafted(
    world: KeyedTree,
    sender: int,
    context: bytes,
    *,
    keys: dict[NodeIndex, bytes] | None = None,
    leaf_key: bytes | None = None,
    secrets: dict[NodeIndex, Secret] | None = None,
) -> tuple[NewPath, UpdatePath]:
    """A path of `sender` with the given public keys and path secrets in place of the derived ones.

    All else is right: parent hashes, signature and encryption are made anew.
    """
    suite, tree, leaf_index = world.suite, world.tree, LeafIndex(sender)
    honest = world.new_path(sender)
    public_keys = {}
    for index in honest.path_secrets:
        node = honest.tree.node(index)
        assert node is not None
        public_keys[index] = (keys or {}).get(index, node.encryption_key)
    parents, parent_hash = parent_hashes.path_parents(tree, leaf_index, public_keys)
    unsigned = replace(
        honest.leaf,
        encryption_key=honest.leaf.encryption_key if leaf_key is None else leaf_key,
        source=CommitSource(parent_hash),
    )
    leaf = signed_leaf(suite, world.signers[leaf_index], unsigned, GROUP_ID, leaf_index)
    made = replace(
        honest,
        leaf=leaf,
        tree=tree.with_path(leaf_index, leaf, parents),
        path_secrets=dict(honest.path_secrets) | (secrets or {}),
    )
    return made, encrypt_path(suite, made, context, NOBODY)


@contextmanager
def refused(rule: str, *trees: RatchetTree) -> Iterator[None]:
    """The block breaks exactly this rule, and the trees are as before."""
    before = [(tree.export(), tree.tree_hash) for tree in trees]
    with pytest.raises(RuleViolation) as caught:
        yield
    assert caught.value.rule == rule
    for tree, (nodes, tree_hash) in zip(trees, before, strict=True):
        assert tree.export() == nodes
        assert tree.tree_hash == tree_hash == RatchetTree.of_nodes(tree.suite, nodes).tree_hash


def indices(tree: RatchetTree) -> list[NodeIndex]:
    return [NodeIndex(index) for index in range(2 * tree.leaf_count - 1)]


def parent_at(tree: RatchetTree, index: int) -> ParentNode:
    node = tree.node(NodeIndex(index))
    assert isinstance(node, ParentNode)
    return node


def with_added(tree: RatchetTree, leaf: LeafNode) -> tuple[RatchetTree, LeafIndex]:
    after, (index,) = tree.apply({}, (), (leaf,))
    return after, index


def with_updated(tree: RatchetTree, index: LeafIndex, leaf: LeafNode) -> RatchetTree:
    return tree.apply({index: leaf}, (), ())[0]


def with_removed(tree: RatchetTree, index: LeafIndex) -> RatchetTree:
    return tree.apply({}, (index,), ())[0]


def with_node(tree: RatchetTree, index: int, node: AnyNode | None) -> RatchetTree:
    """The tree with one node exchanged, and nothing else."""
    nodes = [*tree.export(), *[None] * (2 * tree.leaf_count - 1 - len(tree.export()))]
    nodes[index] = node
    while nodes[-1] is None:
        nodes.pop()
    return RatchetTree.of_nodes(tree.suite, nodes)


def with_unmerged(tree: RatchetTree, index: int, *unmerged: int) -> RatchetTree:
    return with_node(tree, index, replace(parent_at(tree, index), unmerged_leaves=unmerged))
