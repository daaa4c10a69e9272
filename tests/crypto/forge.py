"""Inputs that break exactly one rule: made by the real code with that rule switched off, so that all else is right.

A sender whose own check is off signs, MACs and encrypts what it should not. The receiver, whose check is on, must
refuse with that rule and stay as it was; with its check off too it must accept, or something else was wrong as well.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from crypto.errors import AuthenticationError, CommitFirst, RuleViolation
from crypto.kem import HPKEKeyPair
from crypto.mls import commit as commit_module
from crypto.mls import messages, proposing, treekem
from crypto.mls.extensions import Extension, ExtensionType, RequiredCapabilities
from crypto.mls.framing import AnyContent, ProposalContent
from crypto.mls.group import Group, KeyPackageBundle, PendingCommit, ReceivedProposal, StagedCommit
from crypto.mls.group_view import pending_commit
from crypto.mls.headers import WireFormat
from crypto.mls.key_package import sign_key_package
from crypto.mls.proposal_list import check_proposal
from crypto.mls.proposals import Add, AnyProposal, CheckedProposal, PreSharedKey
from crypto.mls.psk import PreSharedKeyID, ResumptionPSK, ResumptionPSKUsage
from crypto.mls.psk_lookup import no_psks, own_psks_first
from crypto.mls.snapshot import rows
from crypto.mls.state import GroupState
from crypto.mls.tree_nodes import CommitSource, LeafIndex, LeafNode, UpdateSource
from crypto.suites import SignatureKeyPair
from crypto.wire import encode
from tests.crypto.identities import signed_leaf, unsigned_leaf
from tests.crypto.world import NOW, Person, World, won

Change = Callable[[Any], Any]
Rule = Callable[..., Any]
Breach = Callable[[LeafNode], LeafNode]
E = TypeVar("E", bound=Exception)

FIRST_LEAF = LeafIndex(0)

GREASE = 0x0A0A
UNLISTED = Extension(0xF123, b"")


@contextmanager
def off(*rules: Callable[..., Any]) -> Iterator[None]:
    """Switch checks off, under every name by which a module calls them: each becomes a function that finds nothing."""
    with pytest.MonkeyPatch.context() as patch:
        for rule in rules:
            found = False
            for module in [module for name, module in sys.modules.items() if name.startswith("crypto.")]:
                if getattr(module, rule.__name__, None) is rule:
                    patch.setattr(module, rule.__name__, lambda *_, **__: None)
                    found = True
            assert found, f"{rule.__name__} is nowhere to be switched off"
        yield


def assert_refused_with(error: type[E], action: Callable[[], object], *watched: Group) -> E:
    """`action` is refused with exactly this error, and those who looked at it are as they were."""
    before = [rows(group) for group in watched]
    with pytest.raises(error) as caught:
        action()
    assert caught.type is error
    assert [rows(group) for group in watched] == before
    return caught.value


def assert_refused(rule: str, action: Callable[[], object], *watched: Group) -> None:
    """`action` breaks `rule`."""
    error = CommitFirst if rule in {"D1", "R8"} else RuleViolation
    assert assert_refused_with(error, action, *watched).rule == rule


def assert_not_authentic(action: Callable[[], object], *watched: Group) -> None:
    """`action` meets a signature, MAC or AEAD tag that does not hold."""
    assert_refused_with(AuthenticationError, action, *watched)


def forged_message(group: Group, content: AnyContent, wire_format: WireFormat = WireFormat.PRIVATE_MESSAGE) -> bytes:
    """Any content, signed and protected by a member."""
    return messages.protect(group.state, messages.sign(group.state, wire_format, content, b""))[1]


def forged_proposal(group: Group, proposal: AnyProposal) -> bytes:
    return forged_message(group, ProposalContent(proposal))


def forged_commit(
    group: Group, proposals: list[CheckedProposal], *, with_path: bool = True, change: Change = lambda created: created
) -> PendingCommit:
    """A commit of exactly these proposals. Rules that it breaks must be off. Of PSKs it knows the present epoch's."""
    state = group.state
    created = change(
        commit_module.create_commit(
            state,
            commit_module.apply_proposals(state, group.own_leaf, proposals),
            with_path=with_path,
            wire_format=WireFormat.PRIVATE_MESSAGE,
            authenticated_data=b"",
            find_psk=own_psks_first(state, no_psks),
        )
    )
    return pending_commit(state, created)


def by_value(group: Group, proposal: AnyProposal) -> CheckedProposal:
    """A proposal as its committer names it, unchecked."""
    return CheckedProposal(proposal, group.own_leaf, None)


def changed_leaf(
    someone: Person, leaf: LeafNode, change: Change, group_id: bytes = b"", leaf_index: LeafIndex = FIRST_LEAF
) -> LeafNode:
    """A leaf with a change, signed again."""
    return signed_leaf(someone.suite, someone.signer, change(leaf), group_id, leaf_index)


def changed_key_package(
    someone: Person, bundle: KeyPackageBundle, *, leaf: Change = lambda same: same, package: Change = lambda same: same
) -> KeyPackageBundle:
    """A key package with a change to its leaf or to itself, both signed again. It carries what its new leaf lists."""
    key_package = bundle.key_package
    new_leaf = changed_leaf(someone, key_package.leaf_node, leaf)
    listed = [each for each in key_package.extensions if each.extension_type in new_leaf.capabilities.extensions]
    unsigned = package(replace(key_package, leaf_node=new_leaf, extensions=tuple(listed)))
    return replace(bundle, key_package=sign_key_package(someone.suite, someone.signer, unsigned))


@contextmanager
def path_leaf(change: Change, signer: SignatureKeyPair | None = None) -> Iterator[None]:
    """Commits made meanwhile, from outside too, have a changed leaf in their path, signed by `signer` if one is given.

    Its encryption key may be among what changes: the private key is then that of the key before the change.
    """

    def generate_path(suite: Any, tree: Any, leaf_index: Any, contents: Any, own_signer: Any, group: Any) -> Any:
        pair, secret = suite.generate_hpke_key_pair(), suite.generate_secret()
        changed = change(unsigned_leaf(contents, pair.public, CommitSource(b"")))
        keys = HPKEKeyPair(pair.private, changed.encryption_key)
        said, signing = changed.contents, signer or own_signer
        return treekem.derive_path(suite, tree, leaf_index, said, signing, group, keys, secret)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commit_module, "generate_path", generate_path)
        patch.setattr(treekem, "generate_path", generate_path)
        yield


def changed_state(group: Group, **changes: Any) -> Group:
    """A member whose state is not what it should be."""
    state: GroupState = dataclasses.replace(group.state, **changes)
    return Group(state)


def capabilities(**changes: Any) -> Breach:
    """Other capabilities, and no extension in the leaf that they would have to list."""
    return lambda leaf: replace(leaf, capabilities=replace(leaf.capabilities, **changes), extensions=())


def capable(*extension_types: int) -> Breach:
    """A leaf that also supports these types of extensions."""
    return lambda leaf: replace(
        leaf,
        capabilities=replace(leaf.capabilities, extensions=(*leaf.capabilities.extensions, *extension_types)),
    )


def requiring(*extension_types: int) -> tuple[Extension, ...]:
    data = encode(RequiredCapabilities(extension_types, (), ()))
    return (Extension(ExtensionType.REQUIRED_CAPABILITIES, data),)


REQUIRED = requiring(ExtensionType.LAST_RESORT_KEY_PACKAGE)


def changed_update(world: World, name: str, breach: Breach) -> LeafNode:
    """The leaf of an Update of `name`, changed and signed again."""
    group = world[name]
    unsigned = replace(
        group.state.leaf(group.own_leaf),
        encryption_key=world.suite.generate_hpke_key_pair().public,
        source=UpdateSource(),
    )
    return changed_leaf(world.people[name], unsigned, breach, group.group_id, group.own_leaf)


def offered(world: World, name: str) -> Add:
    """An Add of a newcomer."""
    return Add(world.person(name).offer().key_package)


def values(world: World, *proposals: AnyProposal) -> list[CheckedProposal]:
    return [by_value(world["person 0"], proposal) for proposal in proposals]


def assert_commit_refused(rule: str, world: World, function: object, proposals: list[CheckedProposal]) -> None:
    """Person 0 commits the list with the rule off; the receiver refuses it, and accepts it with the rule off."""
    assert callable(function)
    with off(function):
        pending = forged_commit(world["person 0"], proposals)
    receiver = world[world.receiver]
    assert_refused(rule, lambda: receiver.receive(pending.message, NOW), receiver)
    with off(function):
        staged = receiver.receive(pending.message, NOW)
    assert isinstance(staged, StagedCommit)
    assert receiver.adopt(staged).epoch_authenticator == won(pending).epoch_authenticator


def told(world: World, proposer: str, sent: tuple[Group, bytes]) -> CheckedProposal:
    """Who commits and who judges keep what `proposer` has sent. Returns it as a commit names it: by reference."""
    world.people[proposer].group = sent[0]
    for name in {"person 0", world.receiver} - {proposer}:
        received = world[name].receive(sent[1], NOW)
        assert isinstance(received, ReceivedProposal)
        world.people[name].group = received.group
    return world["person 0"].pending_proposals[-1]


def by_reference(world: World, proposer: str, proposal: AnyProposal) -> CheckedProposal:
    """A proposal that `proposer` has sent before. Rules that it breaks by itself must be off."""
    state = world[proposer].state
    state, message = proposing.propose(state, check_proposal(state, proposal, state.own_leaf, None, NOW))
    return told(world, proposer, (Group(state), message))


def follow(world: World, committer: str, pending: PendingCommit) -> None:
    """A commit wins; who commits and who judges next enter its epoch, as does its committer."""
    for name in {"person 0", world.receiver} - {committer}:
        staged = world[name].receive(pending.message, NOW)
        assert isinstance(staged, StagedCommit)
        world.people[name].group = world[name].adopt(staged)
    world.people[committer].group = won(pending)


@contextmanager
def naming(*more: CheckedProposal) -> Iterator[None]:
    """Commits made meanwhile name these proposals too, and do nothing of what they say."""
    original = commit_module.apply_proposals

    def apply_proposals(*arguments: Any) -> Any:
        changes = original(*arguments)
        return replace(changes, proposals=(*changes.proposals, *more))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commit_module, "apply_proposals", apply_proposals)
        yield


def present_psk(group: Group, usage: ResumptionPSKUsage = ResumptionPSKUsage.APPLICATION) -> PreSharedKey:
    """A proposal of the one PSK that every member knows without asking: the present epoch's."""
    psk = ResumptionPSK(usage, group.group_id, group.epoch)
    return PreSharedKey(PreSharedKeyID(psk, bytes(group.suite.hash_size)))


def assert_enters(receiver: Group, message: bytes, next_group: Group) -> None:
    """The receiver accepts a commit, and comes to where its sender is."""
    staged = receiver.receive(message, NOW)
    assert isinstance(staged, StagedCommit)
    assert receiver.adopt(staged).epoch_authenticator == next_group.epoch_authenticator


def offered_with(someone: Person, *, leaf: Change = lambda same: same, package: Change = lambda same: same) -> Add:
    """An Add of somebody whose key package has a change; `someone.bundle` is what it then holds."""
    someone.offer()
    assert someone.bundle is not None
    someone.bundle = changed_key_package(someone, someone.bundle, leaf=leaf, package=package)
    return Add(someone.bundle.key_package)


def taken_in(group: Group, message: bytes) -> Group:
    """The group that has seen a proposal."""
    received = group.receive(message, NOW)
    assert isinstance(received, ReceivedProposal)
    return received.group
