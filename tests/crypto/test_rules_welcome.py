"""Sections W and T of the rules: Welcomes, and the tree that a joiner gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from crypto.errors import (
    AuthenticationError,
    DecodeError,
    RuleViolation,
    UsageError,
)
from crypto.mls import group_info as group_info_module
from crypto.mls.config import GroupConfig
from crypto.mls.extensions import Extension
from crypto.mls.framing import (
    Welcome,
    decode_message,
    encode_message,
)
from crypto.mls.group import join
from crypto.mls.proposals import Add
from crypto.mls.psk import ExternalPSK, PreSharedKeyID, ResumptionPSK, ResumptionPSKUsage
from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.rules import leaf as leaf_rules
from crypto.mls.rules import proposal_list as proposal_list_rules
from crypto.mls.rules import tree as tree_rules
from crypto.mls.rules import welcome as welcome_rules
from crypto.mls.tree_nodes import LeafIndex
from crypto.secret import Secret
from crypto.suites import CipherSuite, suite
from tests.crypto.forge import (
    assert_refused,
    by_value,
    forged_commit,
    off,
)
from tests.crypto.world import NOW, Person, World, every_suite, world_of

PUBLIC = GroupConfig(send_public_handshakes=True, accept_public_handshakes=True)


@pytest.fixture
def world() -> World:
    return world_of(suite(1), 4)


def assert_welcome_refused(
    rule: str, newcomer: Person, welcome: bytes | None, *switched_off: Callable[..., Any]
) -> None:
    assert_refused(rule, lambda: newcomer.accept(welcome))
    with off(*switched_off):
        newcomer.accept(welcome)


def invited(world: World, change: Callable[[Any], Any], *, with_path: bool = True) -> bytes | None:
    """A Welcome for `newcomer` that was changed before it was signed and sealed."""
    add = by_value(world["person 0"], Add(world.person("newcomer").offer().key_package))
    return forged_commit(world["person 0"], [add], with_path=with_path, change=change).welcome


def next_state(**changes: Any) -> Callable[[Any], Any]:
    return lambda created: replace(created, next_state=replace(created.next_state, **changes))


def test_w1_exactly_one_entry_is_ours(world: World) -> None:
    welcome = world.pending("person 0", adds=["newcomer"]).welcome
    newcomer = world.people["newcomer"]
    assert welcome is not None
    assert newcomer.bundle is not None
    body = decode_message(welcome).body
    assert isinstance(body, Welcome)
    twice = encode_message(replace(body, secrets=body.secrets * 2))
    none = encode_message(replace(body, secrets=()))
    other_suite = encode_message(replace(body, cipher_suite=3))
    for forged in (twice, none, other_suite):
        assert_refused("W1", lambda forged=forged: newcomer.accept(forged))
    with pytest.raises(RuleViolation, match="W1"):
        join(welcome, {}, newcomer.signer, now=NOW)


def test_w1_several_entries_may_be_for_others(world: World) -> None:
    welcome = world.pending("person 0", adds=["newcomer", "another", "third"]).welcome
    world.people["another"].accept(welcome)


def test_w2_secrets_are_bound_to_their_group_info(world: World) -> None:
    first = world.pending("person 0", adds=["newcomer"])
    assert first.welcome is not None
    other = world.pending("person 1", adds=["another"]).welcome
    assert other is not None
    one, two = decode_message(first.welcome).body, decode_message(other).body
    assert isinstance(one, Welcome)
    assert isinstance(two, Welcome)
    mixed = encode_message(replace(one, encrypted_group_info=two.encrypted_group_info))
    with pytest.raises(AuthenticationError):
        world.people["newcomer"].accept(mixed)


def with_psks(*psk_ids: PreSharedKeyID) -> Callable[[Any], Any]:
    return lambda created: replace(created, changes=replace(created.changes, psk_ids=psk_ids))


def test_w3_unknown_and_special_psks(world: World) -> None:
    unknown = PreSharedKeyID(ExternalPSK(b"unknown"), bytes(32))
    welcome = invited(world, with_psks(unknown))
    assert_refused("W3", lambda: world.people["newcomer"].accept(welcome))
    reinit = PreSharedKeyID(ResumptionPSK(ResumptionPSKUsage.REINIT, b"old group", 3), bytes(32))
    branch = PreSharedKeyID(ResumptionPSK(ResumptionPSKUsage.BRANCH, b"old group", 3), bytes(32))
    welcome = invited(world, with_psks(reinit, branch))
    assert_refused("W3", lambda: world.people["newcomer"].accept(welcome))


def test_w4_the_signer_is_a_member(world: World) -> None:
    world.commit("person 0", removes=["person 2"])
    world.commit("person 0", adds=["filler"])
    world.commit("person 0", removes=["person 3"])
    blank = LeafIndex(3)

    def signed_by_nobody(created: Any) -> Any:
        return replace(created, next_state=replace(created.next_state, own_leaf=LeafIndex(7)), path_secrets={})

    assert world["person 0"].member(blank) is None
    welcome = invited(world, signed_by_nobody, with_path=False)
    assert_refused("W4", lambda: world.people["newcomer"].accept(welcome))


@every_suite
def test_w4_the_signature_is_the_signers(belongs: CipherSuite) -> None:
    world = world_of(belongs, 4)
    welcome = invited(world, next_state(signer=world.people["person 1"].signer))
    with pytest.raises(AuthenticationError):
        world.people["newcomer"].accept(welcome)


def test_w5_a_group_that_we_hold(world: World) -> None:
    pending = world.pending("person 0", adds=["newcomer"])
    newcomer = world.people["newcomer"]
    assert newcomer.bundle is not None
    assert pending.welcome is not None
    bundles = {newcomer.bundle.reference: newcomer.bundle}
    held = {world["person 0"].group_id}

    def enter() -> None:
        assert pending.welcome is not None
        join(pending.welcome, bundles, newcomer.signer, now=NOW, held_groups=held)

    assert_refused("W5", enter)
    with off(welcome_rules.w5_group_is_new):
        enter()


def test_w6_a_group_info_of_another_suite(world: World) -> None:
    context = world["person 0"].state.context

    def other_suite(created: Any) -> Any:
        changed = replace(created.next_state.context, cipher_suite=3)
        return replace(created, next_state=replace(created.next_state, context=changed))

    assert context.cipher_suite == 1
    welcome = invited(world, other_suite)
    assert_refused("W6", lambda: world.people["newcomer"].accept(welcome))
    with off(welcome_rules.w6_suites_agree), pytest.raises(AuthenticationError):
        world.people["newcomer"].accept(welcome)  # the confirmation tag covers the whole context


def test_w7_a_welcome_without_a_tree(world: World) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("crypto.mls.group_info.Extension", lambda _, data: Extension(0xF123, data))
        welcome = invited(world, lambda created: created)
    assert_refused("W7", lambda: world.people["newcomer"].accept(welcome))


def test_w8_our_leaf_is_the_signers(world: World) -> None:
    def signed_by_newcomer(created: Any) -> Any:
        (leaf,) = created.changes.added
        return replace(
            created,
            next_state=replace(created.next_state, own_leaf=leaf, signer=world.people["newcomer"].signer),
            path_secrets={},
        )

    welcome = invited(world, signed_by_newcomer, with_path=False)
    assert_refused("W8", lambda: world.people["newcomer"].accept(welcome))


def test_w8_our_leaf_is_not_in_the_tree(world: World) -> None:
    state = world["person 0"].state
    welcome = invited(
        world,
        lambda created: replace(
            created,
            next_state=replace(
                created.next_state,
                tree=state.tree,
                context=replace(created.next_state.context, tree_hash=state.tree.tree_hash),
            ),
            path_secrets={},
        ),
        with_path=False,
    )
    assert_refused("W8", lambda: world.people["newcomer"].accept(welcome))


def test_w9_a_path_secret_that_leads_elsewhere(world: World) -> None:
    def unrelated(created: Any) -> Any:
        return replace(created, path_secrets={node: Secret(bytes(32)) for node in created.path_secrets})

    welcome = invited(world, unrelated)
    assert_refused("W9", lambda: world.people["newcomer"].accept(welcome))


def test_w9_a_path_secret_that_is_left_out(world: World) -> None:
    welcome = invited(world, lambda created: replace(created, path_secrets={}))
    assert_welcome_refused("W9", world.people["newcomer"], welcome, welcome_rules.w9_ancestors_known)


@pytest.mark.parametrize("tag", [b"", b"1", bytes(31), bytes(32), bytes(33)])
def test_w10_a_wrong_confirmation_tag(world: World, tag: bytes) -> None:
    welcome = invited(world, next_state(confirmation_tag=tag))
    with pytest.raises(AuthenticationError):
        world.people["newcomer"].accept(welcome)


def test_w12_an_extension_that_we_do_not_support(world: World) -> None:
    everything = (leaf_rules.l3_requirements, proposal_list_rules.p8_members_support_extensions)
    with off(*everything):
        world.commit("person 0", extensions=(Extension(0xF123, b""),))
        welcome = world.pending("person 0", adds=["newcomer"]).welcome
        newcomer = world.people["newcomer"]
        assert_welcome_refused("W12", newcomer, welcome, welcome_rules.w12_we_support)


def test_w13_unknown_group_info_extensions_are_ignored(world: World) -> None:
    honest = group_info_module.sign_group_info

    def with_unknown(suite_: Any, signer: Any, group_info: Any) -> Any:
        # No value for GREASE: one of them, drawn at random, is there already, and a type stands once (rule L18).
        return honest(suite_, signer, replace(group_info, extensions=(*group_info.extensions, Extension(0xF124, b"x"))))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(group_info_module, "sign_group_info", with_unknown)
        welcome = invited(world, lambda created: created)
    world.people["newcomer"].accept(welcome)


@pytest.mark.parametrize("rule", ["L17", "L18"])
def test_extensions_of_a_group_info(world: World, rule: str) -> None:
    honest = group_info_module.sign_group_info
    extra = Extension(3, b"\0\0\0") if rule == "L17" else Extension(0xF124, b"")
    function = leaf_rules.l17_group_info_extensions if rule == "L17" else leaf_rules.l18_extension_types_unique

    def with_more(suite_: Any, signer: Any, group_info: Any) -> Any:
        extensions = (*group_info.extensions, *[extra] * (1 if rule == "L17" else 2))
        return honest(suite_, signer, replace(group_info, extensions=extensions))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(group_info_module, "sign_group_info", with_more)
        welcome = invited(world, lambda created: created)
    assert_welcome_refused(rule, world.people["newcomer"], welcome, function)


def test_t3_a_tree_that_the_context_does_not_name(world: World) -> None:
    def other_tree(created: Any) -> Any:
        leaf_index = LeafIndex(1)
        leaf = created.next_state.tree.leaf(leaf_index)
        tree = created.next_state.tree.update_leaf(leaf_index, replace(leaf, signature=bytes(64)))
        return replace(created, next_state=replace(created.next_state, tree=tree))

    welcome = invited(world, other_tree)
    assert_refused("T3", lambda: world.people["newcomer"].accept(welcome))
    with off(tree_rules.t3_tree_hash), pytest.raises(AuthenticationError):
        world.people["newcomer"].accept(welcome)  # that leaf did not sign itself


def test_t10_every_leaf_is_looked_at_and_every_tree_is_checked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules T10, T12, T13: wherever a leaf sits, and by way of a Welcome."""
    seen: list[int] = []
    original = tree_rules.t10_leaf
    monkeypatch.setattr(tree_rules, "t10_leaf", lambda *args: (seen.append(args[1]), original(*args))[1])
    called: list[str] = []
    for name in ("verify_structure", "verify_parent_hashes"):
        method = getattr(RatchetTree, name)
        monkeypatch.setattr(RatchetTree, name, lambda self, m=method, n=name: (called.append(n), m(self))[1])
    welcome = world.pending("person 0", adds=["newcomer"]).welcome
    world.people["newcomer"].accept(welcome)
    assert seen == [0, 1, 2, 3, 4]
    assert called == ["verify_structure", "verify_parent_hashes"]


def test_a_leaf_in_the_tree_that_did_not_sign_itself(world: World) -> None:
    for victim in range(5):

        def broken(created: Any, victim: int = victim) -> Any:
            state = created.next_state
            leaf = state.tree.leaf(LeafIndex(victim))
            nodes = list(state.tree.export())
            nodes[2 * victim] = replace(leaf, signature=leaf.signature[:-1] + bytes([leaf.signature[-1] ^ 1]))
            tree = RatchetTree.of_nodes(state.suite, nodes)
            context = replace(state.context, tree_hash=tree.tree_hash)
            return replace(created, next_state=replace(state, tree=tree, context=context))

        welcome = invited(world, broken)
        with pytest.raises((AuthenticationError, RuleViolation)) as caught, off(tree_rules.t3_tree_hash):
            world.people["newcomer"].accept(welcome)
        # a leaf that hangs below a parent breaks its parent hash first; ours is then not the one that we made
        assert isinstance(caught.value, AuthenticationError) or caught.value.rule in {"T4", "W8"}


def test_a_welcome_for_another_signature_key(world: World) -> None:
    welcome = world.pending("person 0", adds=["newcomer"]).welcome
    newcomer = world.people["newcomer"]
    newcomer.signer = suite(1).signature.generate()
    with pytest.raises(UsageError):
        newcomer.accept(welcome)


def test_what_is_no_welcome(world: World) -> None:
    _, message = world["person 0"].protect(b"hello")
    with pytest.raises(DecodeError):
        join(message, {}, world.people["person 0"].signer, now=NOW)
