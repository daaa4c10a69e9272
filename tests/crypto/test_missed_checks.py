"""Checks that no other test missed when they were taken away: a rule at one more place, or one half of a condition."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from crypto.errors import AuthenticationError
from crypto.mls import treekem
from crypto.mls.credentials import X509Credential
from crypto.mls.extensions import Extension
from crypto.mls.group import StagedCommit
from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.rules import leaf as leaf_rules
from crypto.mls.rules import welcome as welcome_rules
from crypto.mls.tree_nodes import LeafIndex, NodeIndex, ParentNode
from crypto.suites import CipherSuite, suite
from tests.crypto.forge import REQUIRED, assert_refused, by_value, capabilities, forged_commit, off, offered, path_leaf
from tests.crypto.tree_samples import client
from tests.crypto.world import NOW, every_suite, world_of

SUITE = suite(1)


@every_suite
@pytest.mark.parametrize("other", ["group", "place"])
def test_l2_the_leaf_of_a_path_is_signed_for_its_group_and_place(
    belongs: CipherSuite, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = world_of(belongs, 3)
    honest = treekem.sign_leaf_node

    def for_another(suite_: Any, signer: Any, unsigned: Any, group_id: bytes, leaf_index: LeafIndex) -> Any:
        if other == "group":
            return honest(suite_, signer, unsigned, b"another group", leaf_index)
        return honest(suite_, signer, unsigned, group_id, LeafIndex(leaf_index + 1))

    with monkeypatch.context() as patch:
        patch.setattr(treekem, "sign_leaf_node", for_another)
        pending = world["person 0"].commit(now=NOW)
    receiver = world["person 1"]
    before = receiver.state
    with pytest.raises(AuthenticationError):
        receiver.receive(pending.message, NOW)
    assert receiver.state is before
    assert isinstance(receiver.receive(world["person 0"].commit(now=NOW).message, NOW), StagedCommit)


def test_l4_a_tree_that_we_join_has_a_member_that_cannot_read_anothers_credential() -> None:
    world = world_of(SUITE, 2)

    def certified(leaf: Any) -> Any:
        both = capabilities(credentials=(1, 2))(leaf)
        return replace(both, credential=X509Credential((b"certificate",)))

    with off(leaf_rules.l4_credential_types), path_leaf(certified):
        pending = forged_commit(world["person 0"], [by_value(world["person 0"], offered(world, "newcomer"))])
    newcomer = world.people["newcomer"]
    assert_refused("L4", lambda: newcomer.accept(pending.welcome))
    with off(leaf_rules.l4_credential_types):
        newcomer.accept(pending.welcome)


def test_l18_a_group_that_we_join_has_two_extensions_of_one_type() -> None:
    world = world_of(SUITE, 2)
    with off(leaf_rules.l18_extension_types_unique):
        world.commit("person 0", extensions=REQUIRED * 2)
        welcome = world.pending("person 0", adds=["newcomer"]).welcome
    newcomer = world.people["newcomer"]
    assert_refused("L18", lambda: newcomer.accept(welcome))
    with off(leaf_rules.l18_extension_types_unique):
        newcomer.accept(welcome)


def test_w8_a_leaf_with_our_key_that_says_something_else_is_not_ours() -> None:
    leaf = client(SUITE, "we").leaf
    signer = 7
    assert welcome_rules.w8_our_leaf(RatchetTree.of_leaf(SUITE, leaf), leaf, signer) == 0
    altered = replace(leaf, extensions=(Extension(0xF124, b"not from us"),))
    assert_refused("W8", lambda: welcome_rules.w8_our_leaf(RatchetTree.of_leaf(SUITE, altered), leaf, signer))


@pytest.mark.parametrize("leaf", [client(SUITE, "somebody").leaf, None], ids=["somebody", "nobody"])
def test_a_parent_stands_for_what_is_below_it_whoever_that_is(leaf: Any) -> None:
    """Below node 3 is only node 1, and below that at most the first leaf."""
    parent = ParentNode(SUITE.generate_hpke_key_pair().public, b"", ())
    tree = RatchetTree.of_nodes(SUITE, [leaf, parent, *[None] * 6, client(SUITE, "another").leaf])
    assert tree.resolution(NodeIndex(3)) == (1,)
