"""Section C of the rules in living groups: members who seal, sign and MAC what has no reading.

`test_wire` breaks the same rules at the codec itself, with every value there is. Here they come where they would come:
inside a message that opens under the group's keys, of which nobody but a member can be the author. The sender's proofs
cover the canonical form, so a receiver that read the bytes at all would accept them; where the lax reader is a function
of ours it stands in for the strict one, and does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from crypto import codecs, wire
from crypto.errors import DecodeError
from crypto.mls.config import GroupConfig
from crypto.mls.extensions import Extension, ExtensionType
from crypto.mls.framing import AnyContent, ProposalContent
from crypto.mls.group import (
    ApplicationMessage,
    ReceivedProposal,
)
from crypto.mls.headers import WireFormat
from crypto.mls.mls_message import decode_message, encode_message
from crypto.mls.proposals import (
    CheckedProposal,
    GroupContextExtensions,
    PreSharedKey,
)
from crypto.mls.psk import ExternalPSK, PreSharedKeyID, ResumptionPSK, ResumptionPSKUsage
from tests.crypto.forge import (
    assert_refused_with,
    by_value,
    forged_commit,
    forged_message,
    forged_proposal,
    offered,
)
from tests.crypto.forge_messages import HELLO, PROPOSAL, plaintext, said
from tests.crypto.matrix import every_group, open_groups
from tests.crypto.world import NOW, World

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
        patch.setattr(codecs, "_decode_length", lax_length)
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
    """The signature's, which is the last field: cut off at the end of what is there, it would be read, and be wrong."""
    assert_unreadable(world, misread(world, HELLO, lambda whole: whole[:-66] + bytes.fromhex(prefix) + whole[-64:]))


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
