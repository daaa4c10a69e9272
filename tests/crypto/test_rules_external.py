"""Section X of the rules: external commits that break one of them. Rules of other sections: `..._external_places`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from crypto.errors import AuthenticationError, PastEpoch, RuleViolation
from crypto.mls import external, treekem
from crypto.mls.config import GroupConfig
from crypto.mls.credentials import BasicCredential
from crypto.mls.framing import CommitAuth, FramedContent, PublicMessage
from crypto.mls.group import Group, StagedCommit, external_join, verify_group_info
from crypto.mls.headers import MemberSender, NewMemberCommitSender, ProtocolVersion, WireFormat
from crypto.mls.mls_message import decode_message, encode_message
from crypto.mls.proposals import (
    AnyProposal,
    Commit,
    ExternalInit,
    GroupContextExtensions,
    ProposalByReference,
    ReInit,
    Remove,
    Update,
)
from crypto.mls.psk import ExternalPSK, ResumptionPSK, ResumptionPSKUsage
from crypto.mls.rules import external as rules
from crypto.mls.rules import message as message_rules
from crypto.mls.rules import proposal_list as list_rules
from crypto.mls.tree_math import node_of
from crypto.mls.tree_nodes import LeafIndex
from crypto.secret import Secret
from tests.crypto.forge import assert_not_authentic, assert_refused, follow, off, offered, told
from tests.crypto.matrix import every_group, groups_of, open_groups
from tests.crypto.outside import OPEN, forged, joining, reissued, resigned, seen, win, with_external_pub
from tests.crypto.world import NOW, World


def same_name(old: Any, new: Any) -> bool:
    """An identity is a person's name, and behind a slash what may change."""
    return bool(old.identity.split(b"/")[0] == new.identity.split(b"/")[0])


RENAMING = GroupConfig(accept_external_commits=True, same_client=same_name)
ALL_PUBLIC = GroupConfig(accept_external_commits=True, accept_public_handshakes=True)


def judge(world: World) -> Group:
    """Who looks at a commit that removes person 1."""
    return world["person 0" if world.receiver == "person 1" else world.receiver]


def accepted(receiver: Group, message: bytes) -> StagedCommit:
    staged = receiver.receive(message, NOW)
    assert isinstance(staged, StagedCommit)
    return staged


@open_groups(OPEN)
@pytest.mark.parametrize("count", [0, 2])
def test_x1_exactly_one_external_init(world: World, count: int) -> None:
    """With the rule off there is no telling from which of none or two the epoch starts."""
    message = forged(world, world.person("joiner"), lambda proposals: proposals * count)
    receiver = world[world.receiver]
    assert_refused("X1", lambda: receiver.receive(message, NOW), receiver)


@groups_of(5, 9, 33, why="two members are removed, and a third judges", config=OPEN)
def test_x2_one_remove_at_most(world: World) -> None:
    """Both are of the joiner's own client, as far as the members are told: two former selves are one too many."""
    with pytest.MonkeyPatch.context() as patch, off(rules.x2_removes_own_old_leaf):
        patch.setattr(external, "_removed", lambda _: [LeafIndex(1), LeafIndex(2)])  # it makes its path without both
        message = forged(world, world.person("joiner"), lambda proposals: [*proposals, Remove(1), Remove(2)])
    receiver = world[world.receiver]
    with off(rules.x2_removes_own_old_leaf):
        assert_refused("X2", lambda: receiver.receive(message, NOW), receiver)
        with off(rules.x2_one_remove):
            assert len(accepted(receiver, message).removed) == 2


@open_groups(OPEN)
def test_x2_a_joiner_removes_nobody_else(world: World) -> None:
    joiner, receiver = world.person("joiner"), judge(world)
    with off(rules.x2_removes_own_old_leaf):
        pending = joining(world, joiner, removes=LeafIndex(1))
    assert_refused("X2", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(rules.x2_removes_own_old_leaf):
        after = receiver.adopt(accepted(receiver, pending.message))
    assert after.epoch_authenticator == pending.next_group.epoch_authenticator
    assert_refused("X2", lambda: joining(world, joiner, removes=LeafIndex(1)), world["person 0"])


@open_groups(OPEN)
def test_x2_who_comes_back_has_a_new_encryption_key(world: World) -> None:
    someone, receiver = world.people["person 1"], judge(world)
    old = treekem.HPKEKeyPair(
        someone.view.state.private_keys[node_of(LeafIndex(1))],
        someone.view.state.leaf(LeafIndex(1)).encryption_key,
    )
    secret = world.suite.generate_secret()
    with pytest.MonkeyPatch.context() as patch, off(rules.x2_removes_own_old_leaf):
        patch.setattr(treekem, "generate_path", lambda *arguments: treekem.derive_path(*arguments, old, secret))
        pending = joining(world, someone, removes=LeafIndex(1))
    assert_refused("X2", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(rules.x2_removes_own_old_leaf):
        accepted(receiver, pending.message)


@open_groups(RENAMING, 2, 5)
def test_x2_the_application_knows_who_is_one_client(world: World) -> None:
    """A successor of the old credential (rule L16) passes where the application says so."""
    someone = world.people["person 1"]
    someone.group, someone.name = None, "person 1/new"
    win(world, someone, joining(world, someone, removes=LeafIndex(1)))
    assert someone.credential == BasicCredential(b"person 1/new")


@open_groups(OPEN)
@pytest.mark.parametrize("what", ["add", "update", "extensions", "reinit"])
def test_x3_nothing_else_in_an_external_commit(world: World, what: str) -> None:
    extra: dict[str, AnyProposal] = {
        "add": offered(world, "another"),
        "update": Update(world["person 0"].state.leaf(LeafIndex(1))),
        "extensions": GroupContextExtensions(()),
        "reinit": ReInit(b"another group", ProtocolVersion.MLS10, world.suite.id, ()),
    }
    message = forged(world, world.person("joiner"), lambda proposals: [*proposals, extra[what]])
    receiver = world[world.receiver]
    assert_refused("X3", lambda: receiver.receive(message, NOW), receiver)
    with off(rules.x3_nothing_else):
        accepted(receiver, message)


@open_groups(OPEN)
def test_x4_a_path_is_there(world: World) -> None:
    """Without one there is not even a key to verify the message by."""
    joiner = world.person("joiner")
    message = resigned(world, joiner, joining(world, joiner).message, lambda commit: replace(commit, path=None))
    receiver = world[world.receiver]
    assert_refused("X4", lambda: receiver.receive(message, NOW), receiver)


@open_groups(OPEN)
def test_x4_from_a_member_too(world: World) -> None:
    """Who is a member and has its commit sent as a joiner's is asked for a path before anything else (rule F13)."""
    state = world["person 0"].state
    content = FramedContent(state.context.group_id, state.context.epoch, NewMemberCommitSender(), b"", Commit((), None))
    signed = external.sign_framed_content(
        state.suite, state.signer, WireFormat.PUBLIC_MESSAGE, content, state.encoded_context
    )
    message = encode_message(PublicMessage(content, CommitAuth(signed.auth.signature, b""), None))
    receiver = world[world.receiver]
    assert_refused("X4", lambda: receiver.receive(message, NOW), receiver)


@open_groups(OPEN)
def test_x5_nothing_by_reference(world: World) -> None:
    """Not even what the members know; with the rule off it has no meaning for somebody who saw no proposals."""
    known = told(world, "person 0", world["person 0"].propose_psk(ExternalPSK(b"paper"), now=NOW))
    assert known.reference is not None
    named = ProposalByReference(known.reference)
    joiner = world.person("joiner")
    message = forged(world, joiner, lambda proposals: [*proposals, named])
    receiver = world[world.receiver]
    assert_refused("X5", lambda: receiver.receive(message, NOW), receiver)


@open_groups(OPEN)
def test_x6_signed_by_the_key_in_the_path(world: World) -> None:
    """Not by a member's, nor by the key that a client had before it came back."""
    someone = replace(world.people["person 1"])
    former, someone.signer = someone.signer, world.suite.signature.generate()
    pending = joining(world, someone, removes=LeafIndex(1))
    receiver = judge(world)
    for other in (former, world.people["person 0"].signer):
        message = resigned(world, replace(someone, signer=other), pending.message, lambda same: same)
        assert_not_authentic(lambda message=message: receiver.receive(message, NOW), receiver)
    accepted(receiver, resigned(world, someone, pending.message, lambda same: same))


@open_groups(ALL_PUBLIC)
def test_x6_the_sender_type_is_new_member_commit(world: World) -> None:
    """The same commit from a member: an ExternalInit is not for members (rule P7)."""
    body = decode_message(joining(world, world.person("joiner")).message).body
    assert isinstance(body, PublicMessage)
    assert isinstance(body.auth, CommitAuth)
    state = world["person 0"].state
    content = replace(body.content, sender=MemberSender(0))
    signed = external.sign_framed_content(
        state.suite, state.signer, WireFormat.PUBLIC_MESSAGE, content, state.encoded_context
    )
    complete = external.with_confirmation_tag(signed, body.auth.confirmation_tag)
    message = external.protect_public(state.suite, complete, state.encoded_context, state.secrets.membership_key)
    receiver = world[world.receiver]
    assert_refused("P7", lambda: receiver.receive(encode_message(message), NOW), receiver)


@every_group
@pytest.mark.parametrize("key", [None, b"", b"short", bytes(32), bytes(1216)], ids=lambda key: f"{key and len(key)}")
def test_x7_no_external_key_to_join_by(world: World, key: bytes | None) -> None:
    joiner = world.person("joiner")
    verified = verify_group_info(reissued(world["person 0"], with_external_pub(key)), now=NOW)
    assert_refused("X7", lambda: external_join(verified, joiner.credential, joiner.signer))


@open_groups(OPEN)
def test_x7_a_key_swapped_by_the_server(world: World) -> None:
    """The member's signature covers it; and where a member swapped it, the others find the epoch to be another."""
    joiner, receiver = world.person("joiner"), world[world.receiver]
    other_key = with_external_pub(world.suite.generate_hpke_key_pair().public)
    unsigned = encode_message(other_key(decode_message(world["person 0"].group_info()).body))
    assert_not_authentic(lambda: verify_group_info(unsigned, now=NOW))
    verified = verify_group_info(reissued(world["person 0"], other_key), now=NOW)
    pending = external_join(verified, joiner.credential, joiner.signer)
    assert_not_authentic(lambda: receiver.receive(pending.message, NOW), receiver)


@open_groups(OPEN)
def test_x7_an_old_group_info_leads_to_an_old_epoch(world: World) -> None:
    old = seen(world["person 0"])
    follow(world, world.receiver, world[world.receiver].commit(now=NOW))
    joiner = world.person("joiner")
    pending = external_join(old, joiner.credential, joiner.signer)
    assert old.epoch == world["person 0"].epoch - 1
    with pytest.raises(PastEpoch):
        world[world.receiver].receive(pending.message, NOW)


@open_groups(OPEN)
@pytest.mark.parametrize("breach", ["short", "long", "empty", "zeros"])
def test_x8_a_kem_output_that_does_not_decapsulate(world: World, breach: str) -> None:
    """With the rule off there is no secret that the epoch could start from."""

    def change(proposals: list[Any]) -> list[Any]:
        (init,) = proposals
        output = init.kem_output
        changed = {"short": output[:-1], "long": output + b"\0", "empty": b"", "zeros": output[:-32] + bytes(32)}
        return [ExternalInit(changed[breach])]

    message = forged(world, world.person("joiner"), change)
    receiver = world[world.receiver]
    assert_refused("X8", lambda: receiver.receive(message, NOW), receiver)


@open_groups(OPEN)
def test_x8_a_kem_output_for_another_key_gives_another_epoch(world: World) -> None:
    other, _ = world.suite.hpke.send_export(world.suite.generate_hpke_key_pair().public, b"", b"", 32)
    message = forged(world, world.person("joiner"), lambda _: [ExternalInit(other)])
    receiver = world[world.receiver]
    assert_not_authentic(lambda: receiver.receive(message, NOW), receiver)


def with_blanks(world: World) -> None:
    """Leaves 1 and 3 are blank; who went looks on no more."""
    removes = [world.leaf("person 1"), world.leaf("person 3")]
    follow(world, "person 0", world["person 0"].commit(removes=removes, now=NOW))
    world.people["person 1"].group = world.people["person 3"].group = None


@open_groups(OPEN)
def test_x9_a_joiner_takes_the_leftmost_blank_leaf(world: World) -> None:
    """In a full tree that of a wider one."""
    full = len(world.members) == 2
    if not full:
        with_blanks(world)
    places = []
    for name in ("joiner", "another"):
        pending = joining(world, world.person(name))
        for member in ("person 0", world.receiver):
            staged = accepted(world[member], pending.message)
            world.people[member].group = world[member].adopt(staged)
        places.append(pending.next_group.own_leaf)
    assert places == [2, 3] if full else [1, 3]


@groups_of(5, 9, 33, why="two leaves are blank, and the joiner takes the second", config=OPEN)
def test_x9_a_joiner_at_another_place(world: World) -> None:
    """Its leaf is signed for that place, and its path made for it."""
    with_blanks(world)
    honest = external._make_room

    def other_place(*arguments: Any) -> Any:
        tree, roster, _ = honest(*arguments)
        return tree, roster, LeafIndex(3)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(external, "_make_room", other_place)
        pending = joining(world, world.person("joiner"))
        accepted(world[world.receiver], pending.message)
    for name in ("person 0", world.receiver):
        assert_not_authentic(lambda name=name: world[name].receive(pending.message, NOW), world[name])


@every_group
def test_x10_nobody_joins_by_itself_unless_the_application_accepts_it(world: World) -> None:
    """Rule F20, of which joiners have a switch of their own."""
    pending = joining(world, world.person("joiner"))
    receiver = world[world.receiver]
    assert_refused("F20", lambda: receiver.receive(pending.message, NOW), receiver)
    members_public = Group(
        replace(receiver.state, config=GroupConfig(accept_public_handshakes=True, accept_external_proposals=True))
    )
    assert_refused("F20", lambda: members_public.receive(pending.message, NOW), members_public)
    with off(message_rules.f20_public_allowed):
        accepted(receiver, pending.message)


@open_groups(OPEN)
def test_x10_psks_prove_what_the_members_ask_for(world: World) -> None:
    """The application sees who comes, who goes and what was proved: an earlier membership, a secret given out."""
    someone = world.people["person 1"]
    former = ResumptionPSK(ResumptionPSKUsage.APPLICATION, someone.view.group_id, someone.view.epoch)
    known = {former: someone.view.resumption_psk, ExternalPSK(b"paper"): Secret(b"paper" * 8)}
    follow(world, "person 0", world["person 0"].commit(now=NOW))
    pending = joining(world, someone, removes=LeafIndex(1), psks=tuple(known), find_psk=known.get)
    receiver = judge(world)
    assert_refused("U10", lambda: receiver.receive(pending.message, NOW), receiver)
    with pytest.raises(AuthenticationError):
        receiver.receive(pending.message, NOW, lambda _: Secret(b"another"))
    staged = receiver.receive(pending.message, NOW, known.get)
    assert isinstance(staged, StagedCommit)
    assert staged.is_external
    assert staged.psks == tuple(known)
    assert [member.credential for member in staged.removed] == [someone.credential] == [staged.sender.credential]
    with pytest.raises(RuleViolation, match="U10"):
        joining(world, world.person("joiner"), psks=(ExternalPSK(b"unknown"),))


@open_groups(OPEN)
def test_each_proposal_meets_the_judge_of_single_ones(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the joiner and at a member, with the sender that it has: there is one list of what a proposal must keep."""
    judged: list[tuple[object, object]] = []
    honest = list_rules.check_single
    monkeypatch.setattr(list_rules, "check_single", lambda *given: (judged.append(given[2:]), honest(*given))[1])
    pending = joining(world, world.person("person 1"), removes=world.leaf("person 1"))
    by_joiner = [*judged]
    judged.clear()
    accepted(judge(world), pending.message)
    assert by_joiner == judged
    assert [(type(proposal), sender) for proposal, sender in judged] == [
        (ExternalInit, NewMemberCommitSender()),
        (Remove, NewMemberCommitSender()),
    ]
