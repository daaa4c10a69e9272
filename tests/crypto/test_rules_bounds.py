"""Section C of the rules in living groups: sizes, indices, counts (C8 to C10), and what nobody knows (C11)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from crypto.errors import AuthenticationError, DecodeError, UsageError
from crypto.mls import commit as commit_module
from crypto.mls.extensions import EXTENSIONS_MAX, Extension
from crypto.mls.group import (
    Group,
    ReceivedProposal,
    StagedCommit,
    create_group,
    generate_key_package,
    join,
    verify_key_package,
)
from crypto.mls.mls_message import decode_message, encode_message
from crypto.mls.proposals import (
    PROPOSALS_MAX,
    AnyProposal,
    CheckedProposal,
    GroupContextExtensions,
    Remove,
)
from crypto.mls.rules import extensions as extension_rules
from crypto.mls.rules import message as message_rules
from crypto.mls.tree_nodes import UpdatePath
from crypto.mls.welcome import Welcome
from crypto.suites import CipherSuite, HPKECiphertext
from crypto.wire import decode_prefix, encode_opaque
from tests.crypto.forge import (
    assert_not_authentic,
    assert_refused,
    assert_refused_with,
    by_value,
    capable,
    changed_key_package,
    forged_commit,
    forged_proposal,
    off,
    offered,
)
from tests.crypto.forge_messages import plaintext
from tests.crypto.matrix import every_group, without_group
from tests.crypto.world import LIFETIME, NOW, World, every_suite, person, won

Bytes = Callable[[bytes], bytes]


# C8: sizes that the suite fixes; of keys see L20 and X7, of tags F8 and U11, of signatures F10, of PSK nonces P4

SIZES = pytest.mark.parametrize(
    "resize", [lambda _: b"", lambda right: right[:-1], lambda right: right + b"\0"], ids=["empty", "short", "long"]
)


def resized(sealed: HPKECiphertext, resize: Bytes) -> HPKECiphertext:
    return replace(sealed, kem_output=resize(sealed.kem_output))


@every_group
@SIZES
def test_c8_a_kem_output_of_another_size_in_a_path(world: World, resize: Bytes) -> None:
    """The committer signs it, so nothing but the decapsulation refuses; nothing can be got from it."""
    honest = commit_module.encrypt_path

    def encrypt_path(*arguments: Any) -> UpdatePath:
        path = honest(*arguments)
        nodes = [
            replace(node, encrypted_path_secret=tuple(resized(each, resize) for each in node.encrypted_path_secret))
            for node in path.nodes
        ]
        return replace(path, nodes=tuple(nodes))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commit_module, "encrypt_path", encrypt_path)
        pending = forged_commit(world["person 0"], [])
    receiver = world[world.receiver]
    assert_not_authentic(lambda: receiver.receive(pending.message, NOW), receiver)


@every_group
@SIZES
def test_c8_a_kem_output_of_another_size_in_a_welcome(world: World, resize: Bytes) -> None:
    welcome = world.pending("person 0", adds=["newcomer"]).welcome
    assert welcome is not None
    body = decode_message(welcome).body
    assert isinstance(body, Welcome)
    secrets = [
        replace(each, encrypted_group_secrets=resized(each.encrypted_group_secrets, resize)) for each in body.secrets
    ]
    newcomer = world.people["newcomer"]
    assert newcomer.bundle is not None
    bundles = {newcomer.bundle.reference: newcomer.bundle}
    with pytest.raises(AuthenticationError):
        join(encode_message(replace(body, secrets=tuple(secrets))), bundles, newcomer.signer, now=NOW)
    join(welcome, bundles, newcomer.signer, now=NOW)


# C9: indices; of senders see F4 and F14


@every_group
@pytest.mark.parametrize("leaf", [64, 2**24 - 1, 2**24, 2**31, 2**32 - 1])
@pytest.mark.parametrize("way", ["by value", "proposed"])
def test_c9_p3_a_leaf_past_the_tree_is_removed(world: World, leaf: int, way: str) -> None:
    """No such leaf can be blanked, so there is no accepting it either."""
    sender, receiver = world["person 0"], world[world.receiver]
    assert_refused("P3", lambda: sender.propose_remove(leaf, now=NOW), sender)  # type: ignore[arg-type]  # that is the point
    if way == "proposed":
        message = forged_proposal(sender, Remove(leaf))
    else:
        listed = by_value(sender, Remove(leaf))
        with pytest.MonkeyPatch.context() as patch:
            applied = commit_module.apply_proposals(sender.state, sender.own_leaf, [])
            patch.setattr(commit_module, "apply_proposals", lambda *_: replace(applied, proposals=(listed,)))
            message = forged_commit(sender, [listed]).message
    assert_refused("P3", lambda: receiver.receive(message, NOW), receiver)


# C10: counts; `test_counts` has every list there is


@every_group
@pytest.mark.parametrize("whose", ["ours", "another's"])
def test_c10_an_epochs_proposals_are_bounded(world: World, whose: str) -> None:
    sender, receiver = world["person 0"], world[world.receiver]
    updates = []
    for _ in range(3):
        sender, message = sender.propose_update(now=NOW)
        updates.append(message)

    def one_more(group: Group, number: int) -> Group:
        if whose == "ours":
            return group.propose_update(now=NOW)[0]
        received = group.receive(updates[number], NOW)
        assert isinstance(received, ReceivedProposal)
        return received.group

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(message_rules, "PENDING_MAX", 2)
        for number in range(2):
            receiver = one_more(receiver, number)
        assert_refused("C10", lambda: one_more(receiver, 2), receiver)
    with off(message_rules.c10_proposals_bounded):
        assert len(one_more(receiver, 2).pending_proposals) == 3


@every_group
def test_c10_a_commit_of_more_proposals_than_one_may_have(world: World) -> None:
    """It names one that is there once more than the bound: refused while it is read, before rule Q10 looks any up."""

    def one_more(content: bytes) -> bytes:
        listed, size = decode_prefix(bytes, content)
        return encode_opaque(listed + listed[: len(listed) // PROPOSALS_MAX]) + content[size:]

    sender = world["person 0"]
    named = CheckedProposal(GroupContextExtensions(()), sender.own_leaf, bytes(world.suite.hash_size))
    applied = commit_module.apply_proposals(sender.state, sender.own_leaf, [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commit_module, "apply_proposals", lambda *_: replace(applied, proposals=(named,) * PROPOSALS_MAX))
        just_so = forged_commit(sender, []).message
        with plaintext(one_more):
            too_many = forged_commit(sender, []).message
    receiver = world[world.receiver]
    assert_refused_with(DecodeError, lambda: receiver.receive(too_many, NOW), receiver)
    assert_refused("Q10", lambda: receiver.receive(just_so, NOW), receiver)


@every_group
def test_c10_we_make_no_longer_list_of_extensions_than_others_read(world: World) -> None:
    sender = world["person 0"]
    many = tuple(Extension(0xF000 + number, b"") for number in range(EXTENSIONS_MAX + 1))
    assert_refused_with(UsageError, lambda: sender.propose_extensions(many, now=NOW), sender)
    sender.propose_extensions(many[1:], now=NOW)
    with off(extension_rules.require_support):
        sender.commit(now=NOW, extensions=many[1:])
        assert_refused_with(UsageError, lambda: sender.commit(now=NOW, extensions=many), sender)


# C11: what we do not know

UNKNOWN = Extension(0xF123, b"of a later version")


@every_group
def test_c11_extensions_that_nobody_knows_are_carried_untouched(world: World) -> None:
    """In a leaf, a key package and the GroupContext, from the one who sends to the one who judges."""
    newcomer = world.person("newcomer")
    newcomer.offer()
    assert newcomer.bundle is not None
    bundle = changed_key_package(
        newcomer,
        newcomer.bundle,
        leaf=lambda leaf: capable(UNKNOWN.extension_type)(replace(leaf, extensions=(*leaf.extensions, UNKNOWN))),
        package=lambda package: replace(package, extensions=(*package.extensions, UNKNOWN)),
    )
    add: AnyProposal = replace(offered(world, "newcomer"), key_package=bundle.key_package)
    pending = forged_commit(world["person 0"], [by_value(world["person 0"], add)])
    staged = world[world.receiver].receive(pending.message, NOW)
    assert isinstance(staged, StagedCommit)
    (added,) = staged.added
    assert UNKNOWN in added.extensions
    assert [checked.proposal for checked in staged.proposals] == [add]
    assert world[world.receiver].adopt(staged).epoch_authenticator == won(pending).epoch_authenticator


@without_group("a group of two who list a type that means nothing to `crypto`")
@every_suite
def test_c11_an_unknown_extension_of_a_group_is_carried_by_those_who_list_its_type(belongs: CipherSuite) -> None:
    founder, newcomer = person("founder", belongs), person("newcomer", belongs)
    supported = (UNKNOWN.extension_type,)
    group = create_group(
        belongs, b"group", founder.credential, founder.signer, lifetime=LIFETIME, now=NOW,
        extensions=(UNKNOWN,), supported_extensions=supported,
    )  # fmt: skip
    bundle = generate_key_package(
        belongs, newcomer.credential, newcomer.signer, lifetime=LIFETIME, supported_extensions=supported
    )
    pending = group.commit([verify_key_package(encode_message(bundle.key_package), NOW)], now=NOW)
    assert pending.welcome is not None
    staged = join(pending.welcome, {bundle.reference: bundle}, newcomer.signer, now=NOW)
    assert staged.extensions == won(pending).extensions == (UNKNOWN,)
    assert staged.accept().epoch_authenticator == won(pending).epoch_authenticator
