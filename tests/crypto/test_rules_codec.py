"""Section C of the rules in living groups: members who seal, sign and MAC what has no reading.

`test_wire` breaks the same rules at the codec itself, with every value there is. Here they come where they would come:
inside a message that opens under the group's keys, of which nobody but a member can be the author. The sender's proofs
cover the canonical form, so a receiver that read the bytes at all would accept them; where the lax reader is a function
of ours it stands in for the strict one, and does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from crypto import wire
from crypto.errors import AuthenticationError, DecodeError
from crypto.mls import commit as commit_module
from crypto.mls.config import GroupConfig
from crypto.mls.extensions import Extension, ExtensionType
from crypto.mls.framing import (
    AnyContent,
    ProposalContent,
    WireFormat,
    decode_message,
    encode_message,
)
from crypto.mls.group import ApplicationMessage, Group, ReceivedProposal, StagedCommit, create_group, join
from crypto.mls.proposals import (
    PROPOSALS_MAX,
    AnyProposal,
    CheckedProposal,
    GroupContextExtensions,
    PreSharedKey,
    Remove,
)
from crypto.mls.psk import ExternalPSK, PreSharedKeyID, ResumptionPSK, ResumptionPSKUsage
from crypto.mls.rules import message as message_rules
from crypto.mls.tree_nodes import UpdatePath
from crypto.mls.welcome import Welcome
from crypto.suites import HPKECiphertext
from tests.crypto.forge import (
    assert_not_authentic,
    assert_refused,
    by_value,
    capable,
    changed_key_package,
    forged_commit,
    forged_message,
    forged_proposal,
    off,
    offered,
)
from tests.crypto.forge_messages import HELLO, PROPOSAL, assert_refused_with, plaintext, said
from tests.crypto.matrix import every_group, open_groups
from tests.crypto.world import LIFETIME, NOW, World

PUBLIC = GroupConfig(accept_public_handshakes=True)
Bytes = Callable[[bytes], bytes]


def assert_unreadable(world: World, message: bytes) -> None:
    """The receiver refuses it, and the message that should have been sent opens: no key was used up (rule R5)."""
    receiver = world[world.receiver]
    assert_refused_with(DecodeError, lambda: receiver.receive(message, NOW), receiver)
    receiver.receive(forged_message(world["person 0"], HELLO), NOW)
    receiver.receive(forged_message(world["person 0"], PROPOSAL), NOW)


def misread(world: World, content: AnyContent | list[CheckedProposal], change: Bytes) -> bytes:
    """A message of person 0 with other bytes than were signed: a commit if a list of proposals is given."""
    with plaintext(change):
        if isinstance(content, list):
            return forged_commit(world["person 0"], content).message
        return forged_message(world["person 0"], content)


# C1, C2, C3, C4: optionals and lengths


@every_group
@pytest.mark.parametrize("presence", [2, 3, 0x40, 0x80, 0xFF])
def test_c1_a_commits_path_is_there_or_not(world: World, presence: int) -> None:
    assert_unreadable(world, misread(world, [], lambda whole: b"\0" + bytes([presence]) + whole[2:]))


def lax_length(data: bytes, position: int, end: int) -> tuple[int, int]:
    """Reads a length in any form, as a reader would that forgot rule C2."""
    size = 1 << (data[position] >> 6)
    length = int.from_bytes(data[position : position + size], "big") & (1 << (8 * size - 2)) - 1
    return position + size, position + size + length


@every_group
@pytest.mark.parametrize("prefix", ["4005", "80000005"])
def test_c2_a_length_that_is_longer_than_it_need_be(world: World, prefix: str) -> None:
    message = misread(world, HELLO, lambda whole: bytes.fromhex(prefix) + whole[1:])
    assert_unreadable(world, message)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "_decode_length", lax_length)
        received = world[world.receiver].receive(message, NOW)
    assert isinstance(received, ApplicationMessage)
    assert received.data == b"hello"


@every_group
@pytest.mark.parametrize("first", [0xC0, 0xC5, 0xFF])
def test_c3_a_length_of_the_unused_class(world: World, first: int) -> None:
    assert_unreadable(world, misread(world, HELLO, lambda whole: bytes([first]) + bytes(7) + whole[1:]))


@every_group
@pytest.mark.parametrize("prefix", ["bfffffff", "80004000", "7fff"])
def test_c4_a_length_beyond_the_message(world: World, prefix: str) -> None:
    assert_unreadable(world, misread(world, HELLO, lambda whole: bytes.fromhex(prefix) + whole[1:]))


# C5: nothing left over


@open_groups(PUBLIC)
@pytest.mark.parametrize("wire_format", [WireFormat.PRIVATE_MESSAGE, WireFormat.PUBLIC_MESSAGE])
@pytest.mark.parametrize("extra", [b"\0", b"more"])
def test_c5_bytes_after_a_message(world: World, wire_format: WireFormat, extra: bytes) -> None:
    message = forged_message(world["person 0"], PROPOSAL, wire_format) + extra
    assert_unreadable(world, message)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "decode_as", lambda annotation, data: wire.decode_prefix(annotation, data)[0])
        assert isinstance(world[world.receiver].receive(message, NOW), ReceivedProposal)


NESTED = {
    "external senders": Extension(ExtensionType.EXTERNAL_SENDERS, b"\0\0"),
    "required capabilities": Extension(ExtensionType.REQUIRED_CAPABILITIES, b"\0\0\0\0"),
}


@every_group
@pytest.mark.parametrize("what", NESTED)
def test_c5_bytes_after_what_an_extension_holds(world: World, what: str) -> None:
    """Signed and sealed as it is, by a sender that does not look into its own extensions."""
    proposal = GroupContextExtensions((NESTED[what],))
    assert_refused_with(DecodeError, lambda: world["person 0"].propose_extensions(proposal.extensions, now=NOW))
    message = forged_proposal(world["person 0"], proposal)
    assert_unreadable(world, message)
    with pytest.MonkeyPatch.context() as patch:
        for module in ("crypto.wire.decode_as", "crypto.mls.extensions.decode_as"):
            patch.setattr(module, lambda annotation, data: wire.decode_prefix(annotation, data)[0])
        assert isinstance(world[world.receiver].receive(message, NOW), ReceivedProposal)


@every_group
def test_c5_bytes_inside_a_nested_vector(world: World) -> None:
    """One byte that belongs to no extension at the end of a list of extensions."""
    assert_unreadable(world, misread(world, PROPOSAL, lambda whole: whole[:2] + b"\1\0" + whole[3:]))


# C6: tags and enums


@every_group
@pytest.mark.parametrize("at, value", [(0, 2), (0, 0), (2, 0), (2, 6), (2, 0x0A0A)])
def test_c6_a_version_or_wire_format_that_is_none(world: World, at: int, value: int) -> None:
    message = encode_message(said(world["person 0"]))
    assert_unreadable(world, message[:at] + value.to_bytes(2, "big") + message[at + 2 :])


@open_groups(PUBLIC)
@pytest.mark.parametrize("wire_format", [WireFormat.PRIVATE_MESSAGE, WireFormat.PUBLIC_MESSAGE])
@pytest.mark.parametrize("value", [0, 5, 255])
def test_c6_a_content_or_sender_type_that_is_none(world: World, wire_format: WireFormat, value: int) -> None:
    """After group and epoch comes the content type of a private message, the sender type of a public one."""
    message = forged_message(world["person 0"], PROPOSAL, wire_format)
    place = 4 + len(wire.encode_opaque(world["person 0"].group_id)) + 8
    assert_unreadable(world, message[:place] + bytes([value]) + message[place + 1 :])


def psk(world: World, kind: ExternalPSK | ResumptionPSK) -> ProposalContent:
    return ProposalContent(PreSharedKey(PreSharedKeyID(kind, bytes(world.suite.hash_size))))


def external(world: World) -> ProposalContent:
    return psk(world, ExternalPSK(b"paper"))


def resumption(world: World) -> ProposalContent:
    return psk(world, ResumptionPSK(ResumptionPSKUsage.APPLICATION, b"group", 1))


TAGS: dict[str, tuple[Callable[[World], Any], int, bytes]] = {
    # what is sent instead, and the place and value of the tag that is none
    "proposal type 0": (lambda _: PROPOSAL, 0, b"\0\0"),
    "proposal type 8": (lambda _: PROPOSAL, 0, b"\0\x08"),
    "GREASE proposal type": (lambda _: PROPOSAL, 0, b"\x0a\x0a"),
    "PSK type 3": (external, 2, b"\3"),
    "resumption PSK usage 0": (resumption, 3, b"\0"),
    "resumption PSK usage 4": (resumption, 3, b"\4"),
    "way 3 to name a proposal": (lambda world: [by_value(world["person 0"], GroupContextExtensions(()))], 1, b"\3"),
    "version of a key package": (lambda world: ProposalContent(offered(world, "newcomer")), 2, b"\0\2"),
}


@every_group
@pytest.mark.parametrize("what", TAGS)
def test_c6_c11_a_tag_that_is_none_inside_a_sealed_message(world: World, what: str) -> None:
    """A proposal of an unknown type has no length of its own: it cannot be carried, so it is refused, not guessed."""
    content, place, value = TAGS[what]

    def with_tag(whole: bytes) -> bytes:
        return whole[:place] + value + whole[place + len(value) :]

    assert_unreadable(world, misread(world, content(world), with_tag))


# C7: one value, one encoding


@every_group
@pytest.mark.parametrize("size", [0, 63, 64, 16_383, 16_384])
def test_c7_messages_around_each_boundary_of_a_length(world: World, size: int) -> None:
    message = encode_message(said(world["person 0"], b"\xab" * size, b"\xcd" * size))
    assert encode_message(decode_message(message).body) == message
    received = world[world.receiver].receive(message, NOW)
    assert isinstance(received, ApplicationMessage)
    assert (received.data, received.authenticated_data) == (b"\xab" * size, b"\xcd" * size)


@every_group
def test_c7_whatever_a_group_sends_has_one_encoding(world: World) -> None:
    pending = world.pending("person 0", adds=["newcomer"])
    assert pending.welcome is not None
    group = world["person 0"]
    offer = world.person("another").offer_bytes()
    for sent in (pending.message, pending.welcome, offer, group.group_info(), group.propose_update(now=NOW)[1]):
        assert encode_message(decode_message(sent).body) == sent


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
        patch.setattr(message_rules, "PROPOSALS_MAX", 2)
        for number in range(2):
            receiver = one_more(receiver, number)
        assert_refused("C10", lambda: one_more(receiver, 2), receiver)
    with off(message_rules.c10_proposals_bounded):
        assert len(one_more(receiver, 2).pending_proposals) == 3


@every_group
def test_c10_a_commit_of_more_proposals_than_an_epoch_may_have(world: World) -> None:
    """It names one that is there once more than the bound: refused while it is read, before rule Q10 looks any up."""
    sender = world["person 0"]
    named = CheckedProposal(GroupContextExtensions(()), sender.own_leaf, bytes(world.suite.hash_size))
    applied = commit_module.apply_proposals(sender.state, sender.own_leaf, [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            commit_module, "apply_proposals", lambda *_: replace(applied, proposals=(named,) * (PROPOSALS_MAX + 1))
        )
        too_many = forged_commit(sender, []).message
        patch.setattr(commit_module, "apply_proposals", lambda *_: replace(applied, proposals=(named,) * PROPOSALS_MAX))
        just_so = forged_commit(sender, []).message
    receiver = world[world.receiver]
    assert_refused_with(DecodeError, lambda: receiver.receive(too_many, NOW), receiver)
    assert_refused("Q10", lambda: receiver.receive(just_so, NOW), receiver)


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
    assert staged.merge().epoch_authenticator == pending.next_group.epoch_authenticator


@every_group
def test_c11_an_unknown_extension_of_the_group_is_carried_by_who_lists_its_type(world: World) -> None:
    founder = world.person("founder")
    supported = (UNKNOWN.extension_type,)
    group = create_group(
        world.suite, b"another", founder.credential, founder.signer, lifetime=LIFETIME, now=NOW,
        extensions=(UNKNOWN,), supported_extensions=supported,
    )  # fmt: skip
    assert group.extensions == (UNKNOWN,)
    assert wire.encode(group.state.context).endswith(wire.encode_as(tuple[Extension, ...], (UNKNOWN,)))
