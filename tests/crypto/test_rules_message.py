"""Section F of the rules: messages of members on their way in, private and public; and the form of all rules."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace
from typing import Any

import pytest

from crypto.errors import DecodeError, FutureEpoch, PastEpoch
from crypto.mls import commit as commit_module
from crypto.mls import messages, protection
from crypto.mls import rules as rules_package
from crypto.mls.framing import FramedContent
from crypto.mls.group import ApplicationMessage, Group, ReceivedProposal, StagedCommit
from crypto.mls.headers import WireFormat
from crypto.mls.mls_message import encode_message
from crypto.mls.roster import Member
from crypto.mls.rules import commit as commit_rules
from crypto.mls.rules import external as external_rules
from crypto.mls.rules import key_package as key_package_rules
from crypto.mls.rules import leaf as leaf_rules
from crypto.mls.rules import message as message_rules
from crypto.mls.rules import proposal_list as proposal_list_rules
from crypto.mls.rules import tree as tree_rules
from crypto.mls.rules import welcome as welcome_rules
from crypto.mls.tree_nodes import LeafIndex
from tests.crypto.forge import (
    assert_not_authentic,
    assert_refused,
    assert_refused_with,
    changed_state,
    forged_commit,
    forged_message,
    off,
)
from tests.crypto.forge_messages import (
    FORMATS,
    HELLO,
    PROPOSAL,
    PUBLIC,
    another_label,
    said,
    sender_data,
)
from tests.crypto.matrix import every_group, groups_of, open_groups
from tests.crypto.world import NOW, World, won

RULE_MODULES = (
    leaf_rules, key_package_rules, proposal_list_rules, commit_rules, external_rules, message_rules, tree_rules,
    welcome_rules,
)  # fmt: skip


@pytest.mark.parametrize("module", RULE_MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_every_rule_is_named_by_its_id_and_says_its_section(module: object) -> None:
    for name, function in inspect.getmembers(module, inspect.isfunction):
        if function.__module__ != module.__name__ or name.startswith("_"):  # type: ignore[attr-defined]  # functions have both
            continue
        assert function.__doc__, name
        if re.match(r"([a-z]\d+_)+", name):
            assert "§" in function.__doc__, f"{name} does not say where its rule stands"
        else:
            assert name.startswith(("check_", "required_", "missing_")), name
    assert rules_package.__doc__


# F1, F2, F3: the group and the epoch


@open_groups(PUBLIC)
@FORMATS
def test_f1_a_message_of_another_group(world: World, wire_format: WireFormat) -> None:
    sender, receiver = world["person 0"], world[world.receiver]
    elsewhere = changed_state(sender, context=replace(sender.state.context, group_id=b"another group"))
    message = forged_message(elsewhere, PROPOSAL, wire_format)
    assert_refused("F1", lambda: receiver.receive(message, NOW), receiver)
    with off(message_rules.f1_our_group):
        receiver.receive(message, NOW)


EPOCHS = pytest.mark.parametrize(
    "wrong, error",
    [(lambda epoch: epoch - 1, PastEpoch), (lambda epoch: epoch + 1, FutureEpoch), (lambda _: 2**64 - 1, FutureEpoch)],
    ids=["the one before", "the next", "the last there is"],
)


def at(group: Group, epoch: int) -> Group:
    """A member who names another epoch in what it sends."""
    return changed_state(group, context=replace(group.state.context, epoch=epoch))


@open_groups(PUBLIC)
@FORMATS
@EPOCHS
def test_f2_a_proposal_of_another_epoch(
    world: World, wire_format: WireFormat, wrong: Any, error: type[Exception]
) -> None:
    sender, receiver = world["person 0"], world[world.receiver]
    message = forged_message(at(sender, wrong(sender.epoch)), PROPOSAL, wire_format)
    assert_refused_with(error, lambda: receiver.receive(message, NOW), receiver)
    with off(message_rules.f2_f3_current_epoch):
        assert isinstance(receiver.receive(message, NOW), ReceivedProposal)


@open_groups(replace(PUBLIC, send_public_handshakes=True))
@FORMATS
@EPOCHS
def test_f2_a_commit_of_another_epoch(
    world: World, wire_format: WireFormat, wrong: Any, error: type[Exception]
) -> None:
    sender, receiver = world["person 0"], world[world.receiver]

    def framed(group_id: bytes, epoch: int, *rest: Any) -> FramedContent:
        return FramedContent(group_id, wrong(epoch), *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commit_module, "FramedContent", framed)
        public = replace(sender.state.config, send_public_handshakes=wire_format is WireFormat.PUBLIC_MESSAGE)
        pending = changed_state(sender, config=public).commit(now=NOW)
    assert_refused_with(error, lambda: receiver.receive(pending.message, NOW), receiver)
    with off(message_rules.f2_f3_current_epoch):
        staged = receiver.receive(pending.message, NOW)
    assert isinstance(staged, StagedCommit)
    assert receiver.adopt(staged).epoch_authenticator == won(pending).epoch_authenticator


@every_group
@EPOCHS
def test_f3_application_data_of_another_epoch(world: World, wrong: Any, error: type[Exception]) -> None:
    """No former epoch is kept in these groups; those in which some are: `test_former_epochs`."""
    sender, receiver = world["person 0"], world[world.receiver]
    message = forged_message(at(sender, wrong(sender.epoch)), HELLO)
    assert_refused_with(error, lambda: receiver.receive(message, NOW), receiver)
    with off(message_rules.f2_f3_current_epoch):
        assert isinstance(receiver.receive(message, NOW), ApplicationMessage)


# F4, F12, F19: who says that it is from them


def believed(sender: Group, leaf: int) -> Any:
    """F4 for somebody who takes a place for the sender's that is not."""
    member = Member(LeafIndex(leaf), sender.member(sender.own_leaf).credential, sender.state.signer.public, ())  # type: ignore[union-attr]  # it is one
    return lambda _found: member


@groups_of(5, 9, 33, why="the leaf of a third member is blank", config=PUBLIC)
@FORMATS
def test_f4_a_sender_at_a_blank_leaf(world: World, wire_format: WireFormat) -> None:
    """Open only to who would put another key in the place of the one that is not there."""
    world.commit("person 0", removes=["person 1"])
    sender, receiver = world["person 0"], world[world.receiver]
    message = forged_message(changed_state(sender, own_leaf=LeafIndex(1)), PROPOSAL, wire_format)
    assert_refused("F4", lambda: receiver.receive(message, NOW), receiver)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(message_rules, "f4_sender_is_member", believed(sender, 1))
        receiver.receive(message, NOW)


@open_groups(PUBLIC)
@FORMATS
@pytest.mark.parametrize("leaf", [64, 2**24 - 1, 2**24, 2**31, 2**32 - 1])
def test_f4_c9_a_sender_past_the_tree(world: World, wire_format: WireFormat, leaf: int) -> None:
    """As a private message it has no key that could open it, so that leaving F4 out would not make it acceptable."""
    sender, receiver = world["person 0"], world[world.receiver]
    if wire_format is WireFormat.PRIVATE_MESSAGE:
        with sender_data(leaf_index=leaf):
            message = forged_message(sender, PROPOSAL)
    else:
        message = forged_message(changed_state(sender, own_leaf=LeafIndex(leaf)), PROPOSAL, wire_format)
    assert_refused("F4", lambda: receiver.receive(message, NOW), receiver)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(message_rules, "f4_sender_is_member", believed(sender, leaf))
        if wire_format is WireFormat.PRIVATE_MESSAGE:
            assert_refused("F4", lambda: receiver.receive(message, NOW), receiver)  # the secret tree has no such leaf
        else:
            receiver.receive(message, NOW)


@groups_of(5, 9, 33, why="the sender names a third member")
def test_f12_a_private_message_under_another_members_index(world: World) -> None:
    """The keys of a private message are those of its sender's leaf: there is no naming another."""
    sender, receiver = world["person 0"], world[world.receiver]
    with sender_data(leaf_index=world.leaf(world.bystander)):
        message = forged_message(sender, HELLO)
    assert_not_authentic(lambda: receiver.receive(message, NOW), receiver)
    assert isinstance(receiver.receive(forged_message(sender, HELLO), NOW), ApplicationMessage)


@every_group
@pytest.mark.parametrize("size", [0, 11, 13, 64])
def test_f12_sender_data_that_names_nobody(world: World, size: int) -> None:
    """Nothing in it could say that the sender is no member: it is a leaf index, a generation and the reuse guard."""
    sender, receiver = world["person 0"], world[world.receiver]
    original = protection.encode
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            protection,
            "encode",
            lambda value: bytes(size) if isinstance(value, protection.SenderData) else original(value),
        )
        message = forged_message(sender, HELLO)
    assert_refused_with(DecodeError, lambda: receiver.receive(message, NOW), receiver)
    receiver.receive(forged_message(sender, HELLO), NOW)


@open_groups(PUBLIC)
@FORMATS
def test_f19_somebody_else_sends_as_us(world: World, wire_format: WireFormat) -> None:
    """Whoever holds a copy of our keys, or the server that sends our own message back to us."""
    receiver = world[world.receiver]
    message = forged_message(receiver, PROPOSAL, wire_format)
    assert_refused("F19", lambda: receiver.receive(message, NOW), receiver)
    with off(message_rules.f19_not_from_us):
        assert isinstance(receiver.receive(message, NOW), ReceivedProposal)


@every_group
def test_f19_our_own_application_data_comes_back(world: World) -> None:
    receiver = world[world.receiver]
    message = encode_message(said(receiver))
    assert_refused("F19", lambda: receiver.receive(message, NOW), receiver)
    with off(message_rules.f19_not_from_us):
        assert isinstance(receiver.receive(message, NOW), ApplicationMessage)


# F10: signatures


def by_another_member(world: World, wire_format: WireFormat) -> bytes:
    """An insider has every key of the group but the others' signature keys."""
    insider, honest = world[world.bystander], world["person 0"]
    posing = changed_state(honest, signer=insider.state.signer)
    return forged_message(posing, PROPOSAL, wire_format)


def in_another_group(world: World, wire_format: WireFormat) -> bytes:
    context = replace(world["person 0"].state.context, group_id=b"another group")
    return signed_under(world, messages.encode(context), wire_format)


def in_another_epoch(world: World, wire_format: WireFormat) -> bytes:
    context = replace(world["person 0"].state.context, epoch=world["person 0"].epoch - 1)
    return signed_under(world, messages.encode(context), wire_format)


def without_the_context(world: World, wire_format: WireFormat) -> bytes:
    return signed_under(world, b"", wire_format)


def signed_under(world: World, encoded_context: bytes, wire_format: WireFormat) -> bytes:
    """Signed in another context, and then sent in this one with a right membership tag."""
    sender = world["person 0"]
    elsewhere = changed_state(sender, encoded_context=encoded_context)
    signed = messages.sign(elsewhere.state, wire_format, PROPOSAL, b"")
    return messages.protect(sender.state, signed)[1]


def under_another_label(world: World, wire_format: WireFormat) -> bytes:
    with another_label():
        return forged_message(world["person 0"], PROPOSAL, wire_format)


def for_the_other_format(world: World, wire_format: WireFormat) -> bytes:
    sender = world["person 0"]
    signed = messages.sign(sender.state, WireFormat(3 - wire_format), PROPOSAL, b"")
    return messages.protect(sender.state, replace(signed, wire_format=wire_format))[1]


@open_groups(PUBLIC)
@FORMATS
@pytest.mark.parametrize(
    "forge",
    [
        by_another_member,
        in_another_group,
        in_another_epoch,
        without_the_context,
        under_another_label,
        for_the_other_format,
    ],
)
def test_f10_a_signature_of_another_key_context_label_or_format(
    world: World, wire_format: WireFormat, forge: Any
) -> None:
    receiver = world[world.receiver]
    message = forge(world, wire_format)
    assert_not_authentic(lambda: receiver.receive(message, NOW), receiver)
    with off(protection.verify_framed_content):
        assert isinstance(receiver.receive(message, NOW), ReceivedProposal)


@every_group
@pytest.mark.parametrize("size", [0, 1, 63, 65])
def test_c8_f10_a_signature_of_another_size(world: World, size: int) -> None:
    sender, receiver = world["person 0"], world[world.receiver]
    signed = messages.sign(sender.state, WireFormat.PRIVATE_MESSAGE, HELLO, b"")
    whole = signed.auth.signature + b"\0"
    cut = replace(signed, auth=replace(signed.auth, signature=whole[:size]))
    message = messages.protect(sender.state, cut)[1]
    assert_not_authentic(lambda: receiver.receive(message, NOW), receiver)
    with off(protection.verify_framed_content):
        receiver.receive(message, NOW)


@every_group
def test_f10_a_commit_signed_by_somebody_else(world: World) -> None:
    """Only a commit's signature says whose it is: the keys that derive the epoch are everybody's."""
    sender, receiver = world["person 0"], world[world.receiver]
    strange = world.suite.signature.generate()
    with pytest.MonkeyPatch.context() as patch:
        honest = commit_module.sign_framed_content
        patch.setattr(commit_module, "sign_framed_content", lambda suite, _, *rest: honest(suite, strange, *rest))
        pending = forged_commit(sender, [])
    assert_not_authentic(lambda: receiver.receive(pending.message, NOW), receiver)
    with off(protection.verify_framed_content):
        staged = receiver.receive(pending.message, NOW)
    assert isinstance(staged, StagedCommit)
    assert receiver.adopt(staged).epoch_authenticator == won(pending).epoch_authenticator


# F21: who is shown


@every_group
def test_f21_the_sender_is_the_leaf_that_signed(world: World) -> None:
    """Nothing but the message goes in, so no envelope has a say."""
    assert set(inspect.signature(Group.receive).parameters) == {"self", "message", "now", "find_psk"}
    for someone in world.members[:-1][:3]:
        received = world[world.receiver].receive(encode_message(said(someone.view)), NOW)
        assert isinstance(received, ApplicationMessage)
        assert (received.sender.leaf_index, received.sender.credential) == (someone.view.own_leaf, someone.credential)
        assert received.sender.signature_key == someone.signer.public
