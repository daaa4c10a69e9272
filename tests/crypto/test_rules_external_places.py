"""Rules of other sections where they apply to external commits; U2 to U11 are in `test_rules_paths`, `..._commit`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from crypto.mls import ratchet_tree, treekem
from crypto.mls.credentials import X509Credential
from crypto.mls.group import StagedCommit, external_join
from crypto.mls.proposals import Commit, Remove
from crypto.mls.psk import ExternalPSK, PreSharedKeyID, ResumptionPSK, ResumptionPSKUsage
from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.rules import leaf as leaf_rules
from crypto.mls.rules import proposal_list as list_rules
from crypto.mls.tree_nodes import LeafIndex
from crypto.secret import Secret
from tests.crypto.forge import (
    assert_refused,
    capabilities,
    off,
)
from tests.crypto.matrix import open_groups
from tests.crypto.outside import OPEN, forged, joining, resigned, seen
from tests.crypto.world import NOW, World

PAPER = ExternalPSK(b"paper")
KEY = Secret(b"paper" * 8)


@open_groups(OPEN)
def test_p3_who_comes_back_was_there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tree would refuse it, too: there is nothing to blank. So the rule must come before the tree."""
    nobodys = len(world.members) + 1
    message = forged(world, world.person("joiner"), lambda proposals: [*proposals, Remove(nobodys)])
    receiver, verified, joiner = world[world.receiver], seen(world["person 0"]), world.people["joiner"]
    with off(list_rules.p3_removes_member):
        assert_refused("P3", lambda: receiver.receive(message, NOW), receiver)
    monkeypatch.delattr(RatchetTree, "apply")
    assert_refused("P3", lambda: receiver.receive(message, NOW), receiver)
    assert_refused("P3", lambda: external_join(verified, joiner.credential, joiner.signer, removes=LeafIndex(nobodys)))


RULES: dict[str, Any] = {
    "P4": list_rules.p4_psk_nonce,
    "P5": list_rules.p5_psk_usage,
    "Q7": list_rules.q7_psk_ids_unique,
}


@open_groups(OPEN)
@pytest.mark.parametrize("rule", RULES)
def test_p4_p5_q7_psks_of_an_external_commit(world: World, rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of another size, for another use, named twice: the members refuse it, and we do not send it."""
    psks = {"P4": [PAPER], "P5": [ResumptionPSK(ResumptionPSKUsage.REINIT, b"old", 1)], "Q7": [PAPER, PAPER]}[rule]
    nonce = bytes(world.suite.hash_size - (rule == "P4"))
    monkeypatch.setattr("crypto.mls.group.generate_psk_id", lambda _, psk: PreSharedKeyID(psk, nonce))
    joiner, receiver = world.person("joiner"), world[world.receiver]
    assert_refused(rule, lambda: joining(world, joiner, psks=psks, find_psk=lambda _: KEY))
    with off(RULES[rule]):
        pending = joining(world, joiner, psks=psks, find_psk=lambda _: KEY)
    assert_refused(rule, lambda: receiver.receive(pending.message, NOW, lambda _: KEY), receiver)
    with off(RULES[rule]):
        staged = receiver.receive(pending.message, NOW, lambda _: KEY)
    assert isinstance(staged, StagedCommit)
    assert receiver.adopt(staged).epoch_authenticator == pending.next_group.epoch_authenticator


@open_groups(OPEN)
def test_l4_a_joiners_credential_type_is_supported_by_all(world: World) -> None:
    honest = treekem.generate_path
    certified = capabilities(credentials=(1, 2))

    def generate_path(suite: Any, tree: Any, place: Any, contents: Any, *rest: Any) -> Any:
        changed = replace(certified(contents), credential=X509Credential((b"certificate",)))
        return honest(suite, tree, place, changed, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(treekem, "generate_path", generate_path)
        assert_refused("L4", lambda: joining(world, world.person("joiner")))
        with off(leaf_rules.l4_credential_types):
            pending = joining(world, world.person("joiner"))
    receiver = world[world.receiver]
    assert_refused("L4", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(leaf_rules.l4_credential_types):
        receiver.receive(pending.message, NOW)


@open_groups(OPEN)
def test_l8_a_joiners_leaf_is_from_a_commit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It could not be placed either, having no parent hash. So the rule must come before the tree."""
    joiner = world.person("joiner")
    joiner.offer()
    assert joiner.bundle is not None
    of_key_package = joiner.bundle.key_package.leaf_node

    def change(commit: Commit) -> Commit:
        assert commit.path is not None
        return replace(commit, path=replace(commit.path, leaf_node=of_key_package))

    message = resigned(world, joiner, joining(world, joiner).message, change)
    receiver = world[world.receiver]
    monkeypatch.delattr(treekem, "merge_path")
    assert_refused("L8", lambda: receiver.receive(message, NOW), receiver)


@open_groups(OPEN)
def test_l12_a_joiner_takes_no_signature_key_of_a_member(world: World) -> None:
    joiner = world.person("joiner")
    joiner.signer = world.people["person 1"].signer
    assert_refused("L12", lambda: joining(world, joiner))
    with off(leaf_rules.l12_signature_key_unique):
        pending = joining(world, joiner)
    receiver = world[world.receiver]
    assert_refused("L12", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(leaf_rules.l12_signature_key_unique):
        receiver.receive(pending.message, NOW)


@open_groups(OPEN, 2)
def test_t11_a_full_group_has_no_room(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """In two, which fill their tree: a joiner needs a wider one than is allowed."""
    joiner, receiver = world.person("joiner"), world[world.receiver]
    message = joining(world, joiner).message
    monkeypatch.setattr(ratchet_tree, "LEAF_COUNT_MAX", 2)
    assert_refused("T11", lambda: joining(world, joiner), receiver)
    assert_refused("T11", lambda: receiver.receive(message, NOW), receiver)
