"""Section L of the rules: what a leaf says of itself, broken at each place where a leaf appears.

One table of breaches, one test for each place: a key package that is fetched, an Add by value and by reference, an
Update, the paths of commits from inside and from outside, the trees of groups that we enter, and our own sending side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from crypto.mls.extensions import Extension, ExtensionType
from crypto.mls.group import Group, StagedCommit, verify_group_info, verify_key_package
from crypto.mls.mls_message import encode_message
from crypto.mls.proposals import Add, Update
from crypto.mls.rules import extensions as extension_rules
from crypto.mls.rules import leaf as rules
from crypto.mls.verified_key_package import VerifiedKeyPackage
from tests.crypto.forge import (
    GREASE,
    REQUIRED,
    UNLISTED,
    Breach,
    Rule,
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
from tests.crypto.matrix import every_group, groups_of, open_groups, without_group
from tests.crypto.outside import OPEN, joining
from tests.crypto.world import NOW, World, won


@dataclass(frozen=True)
class Wrong:
    """A leaf that breaks one rule: the checks that would find it, and what is done to the leaf."""

    rule: str
    checks: tuple[Rule, ...]
    breach: Breach
    can_be_signed: bool = True
    """Whether a leaf can be so and have a signature that holds. If not, it is not authentic once the rule is off."""


def holding(*extensions: Extension) -> Breach:
    return lambda leaf: replace(leaf, extensions=extensions)


BREACHES = {
    "lacks a required extension": Wrong("L3", (rules.l3_requirements,), capabilities(extensions=())),
    "claims it by GREASE only": Wrong("L3", (rules.l3_requirements,), capabilities(extensions=(GREASE,))),
    "does not list its credential type": Wrong(  # nor then one that is in use, which is L4
        "L5", (rules.l5_own_credential_type, rules.l4_credential_types), capabilities(credentials=(2, GREASE))
    ),
    "does not list its extension": Wrong("L6", (rules.l6_own_extensions,), holding(UNLISTED)),
    "does not list the version": Wrong("L7", (rules.l7_version_and_suite,), capabilities(versions=(2,))),
    "does not list the suite": Wrong("L7", (rules.l7_version_and_suite,), capabilities(cipher_suites=(0x0002, GREASE))),
    "has a signature key that is too long": Wrong(
        "L15",
        (rules.l15_signature_key,),
        lambda leaf: replace(leaf, signature_key=leaf.signature_key + b"\0"),
        can_be_signed=False,
    ),
    "has no signature key": Wrong(
        "L15", (rules.l15_signature_key,), lambda leaf: replace(leaf, signature_key=b""), can_be_signed=False
    ),
    "holds a ratchet tree": Wrong(
        "L17", (extension_rules.l17_leaf_extensions,), holding(Extension(ExtensionType.RATCHET_TREE, b""))
    ),
    "holds required capabilities": Wrong(
        "L17",
        (extension_rules.l17_leaf_extensions,),
        holding(Extension(ExtensionType.REQUIRED_CAPABILITIES, b"\0\0\0")),
    ),
    "is marked as a last-resort package": Wrong(
        "L17", (extension_rules.l17_leaf_extensions,), holding(Extension(ExtensionType.LAST_RESORT_KEY_PACKAGE, b""))
    ),
    "holds two extensions of a type": Wrong(
        "L18",
        (extension_rules.l18_extension_types_unique,),
        holding(*(Extension(ExtensionType.APPLICATION_ID, b"1"),) * 2),
    ),
    "has an encryption key of low order": Wrong(
        "L20",
        (rules.l20_public_key,),
        lambda leaf: replace(leaf, encryption_key=leaf.encryption_key[:-32] + bytes(32)),
    ),
    "has an encryption key that is too short": Wrong(
        "L20", (rules.l20_public_key,), lambda leaf: replace(leaf, encryption_key=leaf.encryption_key[:-1])
    ),
}

every_breach = pytest.mark.parametrize("wrong", BREACHES.values(), ids=BREACHES)
every_requirement = pytest.mark.parametrize(
    "wrong",
    [wrong for wrong in BREACHES.values() if wrong.rule == "L3"],
    ids=[name for name, wrong in BREACHES.items() if wrong.rule == "L3"],
)
every_breach_without_requirements = pytest.mark.parametrize(
    "wrong",
    [wrong for wrong in BREACHES.values() if wrong.rule != "L3"],
    ids=[name for name, wrong in BREACHES.items() if wrong.rule != "L3"],
)


def demanding(world: World, *who: str) -> World:
    """Let the group require the one extension that our clients list. Only `who` follow: nobody else is asked."""
    pending = world["person 0"].commit(now=NOW, extensions=REQUIRED)
    for name in {*who} - {"person 0"}:
        staged = world[name].receive(pending.message, NOW)
        assert isinstance(staged, StagedCommit)
        world.people[name].group = world[name].adopt(staged)
    world.people["person 0"].group = won(pending)
    return world


def judged(wrong: Wrong, action: Callable[[], object], *watched: Group) -> None:
    """`action` is refused; with that rule off it is accepted, or finds that the leaf is not signed."""
    assert_refused(wrong.rule, action, *watched)
    with off(*wrong.checks):
        if wrong.can_be_signed:
            action()
        else:
            assert_not_authentic(action, *watched)


@every_group
@every_breach_without_requirements
@pytest.mark.breaks("K2", "L5", "L6", "L7", "L15", "L17", "L18", "L20")
def test_in_a_key_package_that_we_fetch(world: World, wrong: Wrong) -> None:
    """What a group requires is known only in the group: rule L3 comes with the Add."""
    add = offered_with(world.person("newcomer"), leaf=wrong.breach)
    message = encode_message(add.key_package)
    judged(wrong, lambda: verify_key_package(message, NOW), world["person 0"])


@every_group
@every_breach
@pytest.mark.breaks("K2", "P1", "L3", "L5", "L6", "L7", "L15", "L17", "L18", "L20")
def test_in_an_add_by_value(world: World, wrong: Wrong) -> None:
    if wrong.rule == "L3":
        demanding(world, world.receiver)
    receiver = world[world.receiver]
    add = offered_with(world.person("newcomer"), leaf=wrong.breach)
    with off(*wrong.checks):
        pending = forged_commit(world["person 0"], values(world, add))
    assert_refused(wrong.rule, lambda: receiver.receive(pending.message, NOW), receiver)
    with off(*wrong.checks):
        if wrong.can_be_signed:
            assert_enters(receiver, pending.message, won(pending))
        else:
            assert_not_authentic(lambda: receiver.receive(pending.message, NOW), receiver)


@every_group
@every_breach_without_requirements
@pytest.mark.breaks("K2", "P1", "L5", "L6", "L7", "L15", "L17", "L18", "L20")
def test_in_an_add_by_reference(world: World, wrong: Wrong) -> None:
    """The proposal itself is refused, before anybody can commit it."""
    receiver = world[world.receiver]
    message = forged_proposal(world["person 0"], offered_with(world.person("newcomer"), leaf=wrong.breach))
    judged(wrong, lambda: receiver.receive(message, NOW), receiver)


@every_group
@every_requirement
@pytest.mark.breaks("L3")
def test_in_an_add_by_reference_that_is_committed(world: World, wrong: Wrong) -> None:
    """A commit may change what is required, so the proposal alone is not judged by it; we would leave it out."""
    demanding(world, world.receiver)
    add = offered_with(world.person("newcomer"), leaf=wrong.breach)
    sender, message = world["person 0"].propose_add(VerifiedKeyPackage(world.suite, add.key_package), now=NOW)
    receiver = taken_in(world[world.receiver], message)
    with off(*wrong.checks):
        pending = sender.commit(now=NOW)
    assert_refused("L3", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(*wrong.checks):
        assert_enters(receiver, pending.message, won(pending))
    assert sender.commit(now=NOW).welcome is None


@every_group
@every_requirement
@pytest.mark.breaks("L3")
def test_in_an_add_that_we_commit(world: World, wrong: Wrong) -> None:
    sender = demanding(world)["person 0"]
    add = offered_with(world.person("newcomer"), leaf=wrong.breach)
    verified = verify_key_package(encode_message(add.key_package), NOW)
    judged(wrong, lambda: sender.commit([verified], now=NOW), sender)


@every_group
@every_breach_without_requirements
@pytest.mark.breaks("P2", "L5", "L6", "L7", "L15", "L17", "L18", "L20")
def test_in_an_update(world: World, wrong: Wrong) -> None:
    updater, receiver = world[world.receiver], world["person 0"]
    message = forged_proposal(updater, Update(changed_update(world, world.receiver, wrong.breach)))
    judged(wrong, lambda: receiver.receive(message, NOW), receiver)


@groups_of(5, 9, 33, why="one updates, one commits, and a third judges")
@every_requirement
@pytest.mark.breaks("L3")
def test_in_an_update_that_is_committed(world: World, wrong: Wrong) -> None:
    """A commit may change what is required, so the proposal alone is not judged by it."""
    demanding(world, "person 1", world.receiver)
    message = forged_proposal(world["person 1"], Update(changed_update(world, "person 1", wrong.breach)))
    sender, receiver = taken_in(world["person 0"], message), taken_in(world[world.receiver], message)
    with off(*wrong.checks):
        pending = sender.commit(now=NOW)
    assert_refused("L3", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(*wrong.checks):
        assert_enters(receiver, pending.message, won(pending))


@every_group
@every_breach
@pytest.mark.breaks("U7", "L3", "L5", "L6", "L7", "L15", "L17", "L18", "L20")
def test_in_the_path_of_a_commit(world: World, wrong: Wrong) -> None:
    if wrong.rule == "L3":
        demanding(world, world.receiver)
    receiver = world[world.receiver]
    with off(*wrong.checks), path_leaf(wrong.breach):
        pending = forged_commit(world["person 0"], [])
    assert_refused(wrong.rule, lambda: receiver.receive(pending.message, NOW), receiver)
    with off(*wrong.checks):
        if wrong.can_be_signed:
            assert_enters(receiver, pending.message, won(pending))
        else:
            assert_not_authentic(lambda: receiver.receive(pending.message, NOW), receiver)


@open_groups(OPEN)
@every_breach
@pytest.mark.breaks("L3", "L5", "L6", "L7", "L15", "L17", "L18", "L20")
def test_in_the_path_of_an_external_commit(world: World, wrong: Wrong) -> None:
    """The message is verified under the key in the leaf: one that is no key (L15) is not authentic from the start."""
    if wrong.rule == "L3":
        demanding(world, world.receiver)
    receiver = world[world.receiver]
    with off(*wrong.checks), path_leaf(wrong.breach):
        pending = joining(world, world.person("joiner"))
    if not wrong.can_be_signed:
        assert_not_authentic(lambda: receiver.receive(pending.message, NOW), receiver)
        return
    assert_refused(wrong.rule, lambda: receiver.receive(pending.message, NOW), receiver)
    with off(*wrong.checks):
        assert_enters(receiver, pending.message, pending.next_group)


@every_group
@every_breach
@pytest.mark.parametrize("first", [True, False], ids=["first leaf", "last leaf"])
@pytest.mark.breaks("T10", "T13", "L3", "L5", "L6", "L7", "L15", "L17", "L18", "L20")
def test_in_the_tree_of_a_welcome(world: World, wrong: Wrong, first: bool) -> None:
    """The committer's own leaf is bad, and it adds somebody: whoever comes sees the tree for the first time."""
    committer = "person 0" if first else world.receiver
    if wrong.rule == "L3":
        demanding(world, committer)
    newcomer = world.person("newcomer")
    add = Add(newcomer.offer().key_package)
    with off(*wrong.checks), path_leaf(wrong.breach):
        pending = forged_commit(world[committer], [by_value(world[committer], add)])
    assert_refused(wrong.rule, lambda: newcomer.accept(pending.welcome))
    assert newcomer.group is None
    with off(*wrong.checks):
        if wrong.can_be_signed:
            newcomer.accept(pending.welcome)
            assert newcomer.view.epoch_authenticator == won(pending).epoch_authenticator
        else:
            assert_not_authentic(lambda: newcomer.accept(pending.welcome))


@every_group
@every_breach
@pytest.mark.breaks("T10", "L3", "L5", "L6", "L7", "L15", "L17", "L18", "L20")
def test_in_the_tree_of_a_group_that_we_join_by_ourselves(world: World, wrong: Wrong) -> None:
    committer = world[world.bystander]
    if wrong.rule == "L3":
        committer = demanding(world, world.bystander)[world.bystander]
    with off(*wrong.checks), path_leaf(wrong.breach):
        group_info = won(forged_commit(committer, [])).group_info()
    judged(wrong, lambda: verify_group_info(group_info, now=NOW))


@without_group("the literal ids of the marks above")
def test_every_place_sees_the_whole_table() -> None:
    """The literal ids of the marks are those of the table, but for what a place calls the same."""
    ids = {wrong.rule for wrong in BREACHES.values()}
    tests = [value for name, value in globals().items() if name.startswith("test_in_")]
    by_place = {test.__name__: {*next(m for m in test.pytestmark if m.name == "breaks").args} for test in tests}
    sections = {"K2", "P1", "P2", "U7", "T10", "T13"}
    assert len(by_place) == 11
    for name, listed in by_place.items():
        assert listed - sections in (ids, ids - {"L3"}, {"L3"}), name
