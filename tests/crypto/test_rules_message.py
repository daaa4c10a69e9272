"""Section F of the rules: messages on their way in; and the form of all rules."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace

import pytest

from crypto.errors import (
    AuthenticationError,
    FutureEpoch,
    PastEpoch,
)
from crypto.mls import messages, protection
from crypto.mls import rules as rules_package
from crypto.mls.config import GroupConfig
from crypto.mls.framing import (
    ApplicationContent,
    ProposalContent,
    PublicMessage,
    WireFormat,
    decode_message,
    encode_message,
)
from crypto.mls.group import Group
from crypto.mls.proposals import Remove
from crypto.mls.rules import commit as commit_rules
from crypto.mls.rules import key_package as key_package_rules
from crypto.mls.rules import leaf as leaf_rules
from crypto.mls.rules import message as message_rules
from crypto.mls.rules import proposal_list as proposal_list_rules
from crypto.mls.rules import tree as tree_rules
from crypto.mls.rules import welcome as welcome_rules
from crypto.mls.tree_nodes import LeafIndex
from crypto.suites import CipherSuite, suite
from tests.crypto.forge import (
    assert_refused,
    changed_state,
    forged_message,
    off,
)
from tests.crypto.world import NOW, every_suite, world_of

PUBLIC = GroupConfig(send_public_handshakes=True, accept_public_handshakes=True)


RULE_MODULES = (
    leaf_rules, key_package_rules, proposal_list_rules, commit_rules, message_rules, tree_rules, welcome_rules
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


def test_f1_a_message_of_another_group() -> None:
    world = world_of(suite(1), 3)
    sender = world["person 0"]
    elsewhere = changed_state(sender, context=replace(sender.state.context, group_id=b"another group"))
    receiver = world["person 1"]
    message = forged_message(elsewhere, ApplicationContent(b"hello"))
    assert_refused("F1", lambda: receiver.receive(message, NOW), receiver)


@pytest.mark.parametrize("config", [GroupConfig(), PUBLIC], ids=["private", "public"])
@pytest.mark.parametrize("by", [-1, 1, 2**64 - 2])
def test_f2_a_handshake_message_of_another_epoch(config: GroupConfig, by: int) -> None:
    world = world_of(suite(1), 3, config)
    sender, receiver = world["person 0"], world["person 1"]
    elsewhen = changed_state(sender, context=replace(sender.state.context, epoch=sender.epoch + by))
    message = forged_message(elsewhen, ProposalContent(Remove(2)), messages.handshake_format(sender.state))
    with pytest.raises(PastEpoch if by < 0 else FutureEpoch):
        receiver.receive(message, NOW)


@pytest.mark.parametrize("config", [GroupConfig(), PUBLIC], ids=["private", "public"])
@pytest.mark.parametrize("leaf", [2, 4, 2**24, 2**32 - 1])
def test_f4_a_sender_that_is_no_member(config: GroupConfig, leaf: int) -> None:
    world = world_of(suite(1), 4, config)
    world.commit("person 0", removes=["person 2"])
    sender = world["person 0"]
    stranger = changed_state(sender, own_leaf=LeafIndex(leaf))
    receiver = world["person 1"]
    if config is PUBLIC:
        message = forged_message(stranger, ProposalContent(Remove(3)), WireFormat.PUBLIC_MESSAGE)
    else:
        message = sealed_as(sender, leaf)
    assert_refused("F4", lambda: receiver.receive(message, NOW), receiver)


def sealed_as(sender: Group, leaf: int) -> bytes:
    """A private message whose sender data names a leaf of our choice."""
    signed = messages.sign(sender.state, WireFormat.PRIVATE_MESSAGE, ApplicationContent(b"hello"), b"")
    with pytest.MonkeyPatch.context() as patch:
        honest = protection.SenderData
        patch.setattr(protection, "SenderData", lambda _, generation, guard: honest(leaf, generation, guard))
        return messages.protect(sender.state, signed)[1]


@every_suite
def test_f10_a_message_signed_by_another_member(belongs: CipherSuite) -> None:
    """An insider has every key of the group but the others' signature keys."""
    world = world_of(belongs, 3)
    insider = world["person 1"]
    honest = world["person 2"]
    posing = changed_state(
        insider, own_leaf=honest.own_leaf, secret_tree=honest.state.secret_tree, signer=insider.state.signer
    )
    forged = forged_message(posing, ApplicationContent(b"forged"))
    receiver = world["person 0"]
    with pytest.raises(AuthenticationError):
        receiver.receive(forged, NOW)
    _, real = honest.protect(b"real")  # of the same generation: the forgery used nothing up (rule R5)
    assert receiver.receive(real, NOW).data == b"real"  # type: ignore[union-attr]  # application data


def test_f10_a_message_signed_in_another_context() -> None:
    world = world_of(suite(1), 3)
    sender, receiver = world["person 1"], world["person 0"]
    elsewhere = changed_state(sender, encoded_context=sender.state.encoded_context + b"\0")
    with pytest.raises(AuthenticationError):
        receiver.receive(forged_message(elsewhere, ApplicationContent(b"hello")), NOW)


@pytest.mark.parametrize("content", [ApplicationContent(b"hello"), ProposalContent(Remove(2))])
def test_f19_somebody_else_sends_as_us(content: ApplicationContent | ProposalContent) -> None:
    world = world_of(suite(1), 3)
    receiver = world["person 0"]
    ahead = receiver
    for _ in range(3):
        ahead, message = ahead.protect(b"not sent by this copy of us")
    assert_refused("F19", lambda: receiver.receive(message, NOW), receiver)
    message = forged_message(receiver, content)
    with off(message_rules.f19_not_from_us):
        receiver.receive(message, NOW)


def test_f19_in_a_public_message() -> None:
    world = world_of(suite(1), 3, PUBLIC)
    receiver = world["person 0"]
    message = forged_message(receiver, ProposalContent(Remove(2)), WireFormat.PUBLIC_MESSAGE)
    assert_refused("F19", lambda: receiver.receive(message, NOW), receiver)


def test_f20_public_messages_are_refused_by_default() -> None:
    world = world_of(suite(1), 3)
    receiver = world["person 0"]
    message = forged_message(world["person 1"], ProposalContent(Remove(2)), WireFormat.PUBLIC_MESSAGE)
    assert_refused("F20", lambda: receiver.receive(message, NOW), receiver)
    with off(message_rules.f20_public_allowed):
        receiver.receive(message, NOW)


def test_f8_a_public_message_with_a_wrong_membership_tag() -> None:
    world = world_of(suite(1), 3, PUBLIC)
    body = decode_message(world["person 1"].propose_update(now=NOW)[1]).body
    assert isinstance(body, PublicMessage)
    assert body.membership_tag is not None
    receiver = world["person 0"]
    for tag in (b"", body.membership_tag[:1], body.membership_tag[:-1], body.membership_tag + b"\0", bytes(32)):
        with pytest.raises(AuthenticationError):
            receiver.receive(encode_message(replace(body, membership_tag=tag)), NOW)
