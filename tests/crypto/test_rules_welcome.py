"""Sections W and T of the rules: Welcomes, and the tree that a joiner gets. W11: `test_rules_linked_groups`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from crypto.errors import AuthenticationError, RuleViolation
from crypto.mls import group_info as group_info_module
from crypto.mls import parent_hashes
from crypto.mls.commit import CreatedCommit
from crypto.mls.extensions import Extension
from crypto.mls.group import join
from crypto.mls.key_package import KeyPackageBundle
from crypto.mls.key_schedule import verify_confirmation_tag
from crypto.mls.mls_message import decode_message, encode_message
from crypto.mls.proposals import Add
from crypto.mls.psk import ExternalPSK, ResumptionPSK, ResumptionPSKUsage
from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.rules import extensions as extension_rules
from crypto.mls.rules import leaf as leaf_rules
from crypto.mls.rules import proposal_list as list_rules
from crypto.mls.rules import tree as tree_rules
from crypto.mls.rules import welcome as rules
from crypto.mls.tree_nodes import LeafIndex
from crypto.mls.welcome import Welcome
from crypto.secret import Secret
from crypto.suites import suite_of
from tests.crypto.forge import (
    REQUIRED,
    UNLISTED,
    Change,
    Rule,
    assert_not_authentic,
    assert_refused,
    by_value,
    capabilities,
    capable,
    changed_key_package,
    changed_update,
    follow,
    forged_commit,
    off,
)
from tests.crypto.matrix import every_group
from tests.crypto.tree_samples import with_updated
from tests.crypto.world import NOW, World, won, world_of

KEY = Secret(b"paper" * 8)


def invited(world: World, change: Change = lambda created: created, *, with_path: bool = True) -> bytes | None:
    """A Welcome for `newcomer` that was changed before it was signed and sealed."""
    add = by_value(world["person 0"], Add(world.person("newcomer").offer().key_package))
    return forged_commit(world["person 0"], [add], with_path=with_path, change=change).welcome


def next_state(**changes: Any) -> Change:
    return lambda created: replace(created, next_state=replace(created.next_state, **changes))


def assert_welcome_refused(rule: str, world: World, welcome: bytes | None, *checks: Rule) -> None:
    """The newcomer refuses a Welcome, and with these checks off it comes to be in the group."""
    newcomer = world.people["newcomer"]
    assert_refused(rule, lambda: newcomer.accept(welcome))
    assert newcomer.group is None
    with off(*checks):
        newcomer.accept(welcome)
    assert newcomer.view.members[0] == world["person 0"].members[0]


def assert_welcome_not_authentic(world: World, welcome: bytes | None) -> None:
    assert_not_authentic(lambda: world.people["newcomer"].accept(welcome))
    assert world.people["newcomer"].group is None


def body_of(welcome: bytes | None) -> Welcome:
    assert welcome is not None
    body = decode_message(welcome).body
    assert isinstance(body, Welcome)
    return body


def bundle_of(world: World, name: str = "newcomer") -> KeyPackageBundle:
    bundle = world.people[name].bundle
    assert bundle is not None
    return bundle


@every_group
def test_w1_exactly_one_entry_is_ours(world: World) -> None:
    """With the rule off there is none to open, or no telling which."""
    body = body_of(invited(world))
    newcomer = world.people["newcomer"]
    wrong = {
        "twice": replace(body, secrets=body.secrets * 2),
        "none": replace(body, secrets=()),
        "another suite": replace(body, cipher_suite=3),
    }
    for each in wrong.values():
        assert_refused("W1", lambda each=each: newcomer.accept(encode_message(each)))
    assert_refused("W1", lambda: join(encode_message(body), {}, newcomer.signer, now=NOW))
    newcomer.accept(encode_message(body))


@every_group
def test_w1_other_entries_are_for_others(world: World) -> None:
    welcome = world.pending("person 0", adds=["newcomer", "another", "third"]).welcome
    assert len(body_of(welcome).secrets) == 3
    world.people["another"].accept(welcome)


@every_group
def test_w2_secrets_are_bound_to_their_group_info(world: World) -> None:
    other = body_of(world.pending("person 0", adds=["another"]).welcome)
    welcome = body_of(invited(world))
    mixed = replace(welcome, encrypted_group_info=other.encrypted_group_info)
    assert_welcome_not_authentic(world, encode_message(mixed))
    world.people["newcomer"].accept(encode_message(welcome))


@every_group
def test_w3_an_unknown_psk(world: World) -> None:
    offer = world.person("newcomer").offer()
    pending = world["person 0"].commit([offer], psks=[ExternalPSK(b"paper")], now=NOW, find_psk=lambda _: KEY)
    newcomer = world.people["newcomer"]
    assert_refused("W3", lambda: newcomer.accept(pending.welcome))
    assert_not_authentic(lambda: newcomer.accept(pending.welcome, lambda _: Secret(b"another")))
    newcomer.accept(pending.welcome, lambda _: KEY)
    assert newcomer.view.epoch_authenticator == won(pending).epoch_authenticator


@every_group
def test_w3_two_psks_for_reinit_or_branch(world: World) -> None:
    """All of them known: but which of the two would say what group this one follows from?"""
    offer = world.person("newcomer").offer()
    psks = [ResumptionPSK(usage, b"old", 3) for usage in (ResumptionPSKUsage.REINIT, ResumptionPSKUsage.BRANCH)]
    with off(list_rules.p5_psk_usage):
        pending = world["person 0"].commit([offer], psks=psks, now=NOW, find_psk=lambda _: KEY)
    newcomer = world.people["newcomer"]
    assert_refused("W3", lambda: newcomer.accept(pending.welcome, lambda _: KEY))
    with off(rules.w3_reinit_or_branch_alone):
        newcomer.accept(pending.welcome, lambda _: KEY)
    assert newcomer.view.epoch_authenticator == won(pending).epoch_authenticator


@every_group
def test_w3_two_psks_for_the_application(world: World) -> None:
    offer = world.person("newcomer").offer()
    psks = [ResumptionPSK(ResumptionPSKUsage.APPLICATION, b"old", epoch) for epoch in (3, 4)]
    pending = world["person 0"].commit([offer], psks=psks, now=NOW, find_psk=lambda _: KEY)
    world.people["newcomer"].accept(pending.welcome, lambda _: KEY)


@every_group
def test_w4_the_signer_is_a_member(world: World) -> None:
    """The GroupInfo names a blank leaf, or one outside the tree. With the rule off there is no key to verify it by."""
    for nobodys in (len(world.members) + 1, 2**32 - 1):

        def signed_by_nobody(created: CreatedCommit, place: int = nobodys) -> CreatedCommit:
            return replace(created, next_state=replace(created.next_state, own_leaf=LeafIndex(place)))

        welcome = invited(world, signed_by_nobody, with_path=False)
        assert_refused("W4", lambda welcome=welcome: world.people["newcomer"].accept(welcome))


@every_group
def test_w4_the_signature_is_the_signers(world: World) -> None:
    welcome = invited(world, next_state(signer=world.people[world.receiver].signer))
    assert_welcome_not_authentic(world, welcome)


@every_group
def test_w5_a_group_that_we_hold(world: World) -> None:
    welcome = invited(world)
    newcomer, bundle = world.people["newcomer"], bundle_of(world)
    assert welcome is not None

    def enter(*held: bytes) -> None:
        join(welcome, {bundle.reference: bundle}, newcomer.signer, now=NOW, held_groups=held)

    held = world["person 0"].group_id
    assert_refused("W5", lambda: enter(b"another group", held))
    with off(rules.w5_group_is_new):
        enter(b"another group", held)
    enter(b"another group")


@every_group
def test_w6_a_group_info_of_another_suite(world: World) -> None:
    """With the rule off the other suite's algorithms find that nothing fits."""
    context = replace(world["person 0"].state.context, cipher_suite=3)

    def other_suite(created: CreatedCommit) -> CreatedCommit:
        changed = replace(created.next_state.context, cipher_suite=context.cipher_suite)
        return replace(created, next_state=replace(created.next_state, context=changed))

    welcome = invited(world, other_suite)
    newcomer = world.people["newcomer"]
    assert_refused("W6", lambda: newcomer.accept(welcome))
    with off(rules.w6_suites_agree), pytest.raises((AuthenticationError, RuleViolation)):
        newcomer.accept(welcome)


@every_group
def test_w7_a_welcome_without_a_tree(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless it comes some other way."""
    monkeypatch.setattr("crypto.mls.group_info.Extension", lambda _, data: Extension(0xF123, data))
    trees: list[bytes] = []
    honest = group_info_module.encode_as
    monkeypatch.setattr(group_info_module, "encode_as", lambda *each: (trees.append(honest(*each)), trees[-1])[1])
    welcome = invited(world)
    assert welcome is not None
    newcomer, bundle = world.people["newcomer"], bundle_of(world)
    assert_refused("W7", lambda: newcomer.accept(welcome))
    join(welcome, {bundle.reference: bundle}, newcomer.signer, now=NOW, ratchet_tree=trees[0])


@every_group
def test_w8_our_leaf_is_the_signers(world: World) -> None:
    """Somebody who holds our signature key invites us in our own name."""

    def signed_by_newcomer(created: CreatedCommit) -> CreatedCommit:
        (leaf,) = created.changes.added
        signer = world.people["newcomer"].signer
        return replace(created, next_state=replace(created.next_state, own_leaf=leaf, signer=signer))

    welcome = invited(world, signed_by_newcomer, with_path=False)
    assert_refused("W8", lambda: world.people["newcomer"].accept(welcome))


@every_group
def test_w8_our_leaf_is_not_in_the_tree(world: World) -> None:
    state = world["person 0"].state

    def without_us(created: CreatedCommit) -> CreatedCommit:
        context = replace(created.next_state.context, tree_hash=state.tree.tree_hash)
        return replace(created, next_state=replace(created.next_state, tree=state.tree, context=context))

    welcome = invited(world, without_us, with_path=False)
    assert_refused("W8", lambda: world.people["newcomer"].accept(welcome))


@every_group
def test_w8_an_altered_copy_of_our_leaf(world: World) -> None:
    """Our keys and our signature, but we said something else when we made the key package that the Welcome is for."""
    newcomer = world.person("newcomer")
    newcomer.offer()
    bundle = bundle_of(world)
    altered = changed_key_package(newcomer, bundle, leaf=capabilities(proposals=(0xF123,))).key_package

    def for_the_first(created: CreatedCommit) -> CreatedCommit:
        (place,) = created.changes.added
        return replace(created, changes=replace(created.changes, added={place: bundle.key_package}))

    add = by_value(world["person 0"], Add(altered))
    welcome = forged_commit(world["person 0"], [add], change=for_the_first).welcome
    assert_refused("W8", lambda: newcomer.accept(welcome))


@every_group
def test_w9_a_path_secret_that_leads_elsewhere(world: World) -> None:
    def unrelated(created: CreatedCommit) -> CreatedCommit:
        secrets = {node: world.suite.generate_secret() for node in created.path_secrets}
        return replace(created, path_secrets=secrets)

    welcome = invited(world, unrelated)
    assert_refused("W9", lambda: world.people["newcomer"].accept(welcome))


@every_group
def test_w9_a_path_secret_that_is_left_out(world: World) -> None:
    welcome = invited(world, lambda created: replace(created, path_secrets={}))
    assert_welcome_refused("W9", world, welcome, rules.w9_ancestors_known)


@every_group
@pytest.mark.parametrize("tag", [b"", b"1", bytes(31), bytes(32), bytes(33)], ids=lambda tag: f"{len(tag)} bytes")
def test_w10_a_wrong_confirmation_tag(world: World, tag: bytes) -> None:
    welcome = invited(world, next_state(confirmation_tag=tag))
    assert_welcome_not_authentic(world, welcome)
    with off(verify_confirmation_tag):
        world.people["newcomer"].accept(welcome)


@every_group
def test_w12_an_extension_that_we_do_not_support(world: World) -> None:
    """Nobody does, which is for others to refuse."""
    with off(leaf_rules.l3_requirements, list_rules.p8_members_support_extensions):
        follow(world, "person 0", world["person 0"].commit(extensions=(UNLISTED,), now=NOW))
        assert_welcome_refused("W12", world, invited(world), rules.w12_we_support)


@every_group
def test_w12_a_requirement_that_we_do_not_meet(world: World) -> None:
    """We alone do not. The leaf is judged as one of the tree, too (L3)."""
    follow(world, "person 0", world["person 0"].commit(extensions=REQUIRED, now=NOW))
    newcomer = world.person("newcomer")
    newcomer.offer()
    newcomer.bundle = changed_key_package(newcomer, bundle_of(world), leaf=capabilities(extensions=()))
    with off(leaf_rules.l3_requirements):
        add = by_value(world["person 0"], Add(newcomer.bundle.key_package))
        welcome = forged_commit(world["person 0"], [add]).welcome
        assert_welcome_refused("W12", world, welcome, rules.w12_we_support)


def signing(monkeypatch: pytest.MonkeyPatch, *extra: Extension) -> None:
    """Every GroupInfo made from now on holds these extensions, too."""
    honest = group_info_module.sign_group_info

    def with_more(suite_: Any, signer: Any, group_info: Any) -> Any:
        return honest(suite_, signer, replace(group_info, extensions=(*group_info.extensions, *extra)))

    monkeypatch.setattr(group_info_module, "sign_group_info", with_more)


@every_group
def test_w13_what_we_do_not_know_is_ignored(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Extensions of types that mean nothing here: in a GroupInfo, and in a key package whose leaf lists them (§10)."""
    unknown = (UNLISTED, Extension(0xF124, b"x"))
    signing(monkeypatch, *unknown)
    newcomer = world.person("newcomer")
    newcomer.offer()
    newcomer.bundle = changed_key_package(
        newcomer,
        bundle_of(world),
        leaf=capable(*[each.extension_type for each in unknown]),
        package=lambda package: replace(package, extensions=(*package.extensions, *unknown)),
    )
    pending = forged_commit(world["person 0"], [by_value(world["person 0"], Add(newcomer.bundle.key_package))])
    newcomer.accept(pending.welcome)
    assert newcomer.view.epoch_authenticator == won(pending).epoch_authenticator


@every_group
@pytest.mark.parametrize("rule", ["L17", "L18"])
def test_l17_l18_extensions_of_a_group_info(world: World, rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    signing(monkeypatch, *([Extension(3, b"\0\0\0")] if rule == "L17" else [UNLISTED, UNLISTED]))
    check = extension_rules.l17_group_info_extensions if rule == "L17" else extension_rules.l18_extension_types_unique
    assert_welcome_refused(rule, world, invited(world), check)


@every_group
def test_w15_the_welcome_of_a_commit_that_lost_leads_away_from_the_group(world: World) -> None:
    """Nobody here can tell, so it must not be delivered: whoever follows it reads nothing and is not read."""
    lost = invited(world)
    follow(world, world.receiver, world[world.receiver].commit(now=NOW))
    newcomer = world.people["newcomer"]
    newcomer.accept(lost)
    assert newcomer.view.epoch == world["person 0"].epoch
    assert newcomer.view.epoch_authenticator != world["person 0"].epoch_authenticator
    _, said = world["person 0"].protect(b"to us")
    assert_not_authentic(lambda: newcomer.view.receive(said, NOW), newcomer.view)


@every_group
def test_t3_a_tree_that_the_context_does_not_name(world: World) -> None:
    """It is a valid tree, in which the receiver has another leaf."""
    leaf = changed_update(world, world.receiver, lambda same: same)
    place = world.leaf(world.receiver)

    def other_tree(created: CreatedCommit) -> CreatedCommit:
        tree = with_updated(created.next_state.tree, place, leaf)
        return replace(created, next_state=replace(created.next_state, tree=tree))

    welcome = invited(world, other_tree, with_path=False)
    assert_welcome_refused("T3", world, welcome, tree_rules.t3_tree_hash)


@every_group
def test_t10_t12_t13_every_leaf_of_every_tree_is_looked_at(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it sits, and by way of a Welcome."""
    seen: list[int] = []
    original = tree_rules.t10_leaf
    monkeypatch.setattr(tree_rules, "t10_leaf", lambda *args: (seen.append(args[1]), original(*args))[1])
    called: list[str] = []
    for owner, name in ((tree_rules, "check_structure"), (parent_hashes, "verify")):
        check = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda tree, check=check, name=name: (called.append(name), check(tree))[1])
    world.person("newcomer")
    world.people["newcomer"].accept(invited(world))
    assert seen == list(range(len(world.members)))
    assert called == ["check_structure", "verify"]


def test_a_leaf_in_the_tree_that_did_not_sign_itself() -> None:
    """Rule L2, wherever that leaf sits."""
    world = world_of(suite_of(1), 4)
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
