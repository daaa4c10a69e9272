"""Section X of the rules: clients that join by themselves, and clients that come back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from crypto.errors import AuthenticationError, DecodeError, PastEpoch, RuleViolation
from crypto.mls import external, treekem
from crypto.mls.config import GroupConfig
from crypto.mls.credentials import BasicCredential
from crypto.mls.extensions import Extension, ExtensionType, ExternalPub
from crypto.mls.framing import (
    CommitAuth,
    FramedContent,
    MemberSender,
    NewMemberCommitSender,
    PublicMessage,
    WireFormat,
    decode_message,
    encode_message,
)
from crypto.mls.group import (
    Group,
    PendingJoin,
    StagedCommit,
    VerifiedGroupInfo,
    create_group,
    external_join,
    verify_group_info,
)
from crypto.mls.group_info import sign_group_info
from crypto.mls.proposals import (
    Commit,
    ExternalInit,
    GroupContextExtensions,
    PreSharedKey,
    ProposalByReference,
    ProposalByValue,
    ReInit,
    Remove,
    Update,
)
from crypto.mls.psk import ExternalPSK, PreSharedKeyID, ResumptionPSK, ResumptionPSKUsage
from crypto.mls.rules import commit as commit_rules
from crypto.mls.rules import external as rules
from crypto.mls.rules import leaf as leaf_rules
from crypto.mls.rules import message as message_rules
from crypto.mls.rules import proposal_list as list_rules
from crypto.mls.rules import welcome as welcome_rules
from crypto.mls.rules.commit import EPOCH_MAX
from crypto.mls.snapshot import load, rows
from crypto.mls.tree_nodes import LeafIndex, ProtocolVersion
from crypto.mls.welcome import GroupInfo
from crypto.secret import Secret
from crypto.suites import SUITES, CipherSuite, suite
from crypto.wire import encode
from tests.crypto.forge import UNLISTED, assert_refused, capabilities, changed_state, off, offered, requiring
from tests.crypto.world import LIFETIME, NOW, SIZES, Person, World, every_suite, world_of

OPEN = GroupConfig(accept_external_commits=True)


def open_world(belongs: CipherSuite, count: int, config: GroupConfig = OPEN) -> World:
    return world_of(belongs, count, config)


def seen(group: Group, now: int = NOW) -> VerifiedGroupInfo:
    """What a client outside learns of a group."""
    return verify_group_info(group.group_info(), now=now)


def joining(world: World, someone: Person, by: str = "person 0", **options: Any) -> PendingJoin:
    options = {"config": world.config} | options
    return external_join(seen(world[by]), someone.credential, someone.signer, **options)


def win(world: World, someone: Person, pending: PendingJoin, find_psk: Any = lambda _: None) -> list[StagedCommit]:
    """The delivery service accepts the commit: all members merge it, and the joiner is in."""
    staged = []
    for member in world.members:
        if member is someone:
            continue
        received = member.view.receive(pending.message, NOW, find_psk)
        assert isinstance(received, StagedCommit)
        staged.append(received)
        member.group = None if received.removes_us else received.merge()
    someone.group = pending.next_group
    world.assert_agreement()
    return staged


@every_suite
@pytest.mark.parametrize("size", [1, *SIZES])
def test_a_client_joins_by_itself(belongs: CipherSuite, size: int) -> None:
    world = open_world(belongs, size)
    joiner = world.person("joiner")
    epoch = world["person 0"].epoch
    pending = joining(world, joiner)
    assert [member.credential for member in seen(world["person 0"]).members] == [
        someone.credential for someone in world.members
    ]
    staged = win(world, joiner, pending)
    assert world["joiner"].epoch == epoch + 1
    for each in staged:
        assert each.is_external
        assert each.sender == world["joiner"].member(world["joiner"].own_leaf)
        assert each.added == (each.sender,)
        assert (each.removed, each.updated, each.psks, each.removes_us) == ((), (), (), False)
    joiner.group = load(rows(joiner.view), joiner.signer, joiner.config)
    world.say("joiner", b"here I am")
    world.say("person 0", b"welcome")
    world.commit("joiner", adds=["another"])
    world.commit("person 0")
    world.say("another", b"so am I")


@pytest.mark.parametrize("belongs", SUITES.values(), ids=lambda each: f"suite {each.id:#06x}")
def test_every_suite_has_external_commits(belongs: CipherSuite) -> None:
    world = open_world(belongs, 3)
    joiner = world.person("joiner")
    win(world, joiner, joining(world, joiner))
    world.say("joiner", b"here I am")


@every_suite
@pytest.mark.parametrize("size", [2, 5, 9])
def test_a_client_comes_back_in_place_of_its_former_self(belongs: CipherSuite, size: int) -> None:
    world = open_world(belongs, size)
    last = world.people[f"person {size - 1}"]
    lost = last.view
    last.group = None
    staged = win(world, last, joining(world, last, removes=lost.own_leaf))
    assert last.view.own_leaf == lost.own_leaf
    for each in staged:
        assert [member.credential for member in each.removed] == [last.credential]
        assert [member.credential for member in each.added] == [last.credential]
    world.say(last.name, b"back again")
    world.commit("person 0")


def test_the_former_self_of_who_comes_back_learns_that_it_is_out() -> None:
    world = open_world(suite(1), 3)
    someone = world.people["person 2"]
    lost = someone.view
    pending = joining(world, someone, removes=lost.own_leaf)
    staged = lost.receive(pending.message, NOW)
    assert isinstance(staged, StagedCommit)
    assert staged.removes_us


@every_suite
def test_x9_a_joiner_takes_the_leftmost_blank_leaf(belongs: CipherSuite) -> None:
    world = open_world(belongs, 9)
    world.commit("person 0", removes=["person 3", "person 5"])
    joiner = world.person("joiner")
    win(world, joiner, joining(world, joiner))
    assert world["joiner"].own_leaf == 3
    another = world.person("another")
    win(world, another, joining(world, another, by="joiner"))
    assert world["another"].own_leaf == 5
    third = world.person("third")
    win(world, third, joining(world, third))
    assert world["third"].own_leaf == 9


def test_x9_a_joiner_at_another_place() -> None:
    """Its leaf is signed for that place, and its path made for it."""
    world = open_world(suite(1), 5)
    world.commit("person 0", removes=["person 1", "person 3"])
    honest = external._make_room

    def other_place(*arguments: Any) -> Any:
        tree, roster, _ = honest(*arguments)
        return tree, roster, LeafIndex(3)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(external, "_make_room", other_place)
        pending = joining(world, world.person("joiner"))
    for name in ("person 0", "person 4"):
        with pytest.raises(AuthenticationError):
            world[name].receive(pending.message, NOW)


def test_external_commits_are_refused_by_default() -> None:
    """Rule F20."""
    world = world_of(suite(1), 3)
    pending = joining(world, world.person("joiner"))
    receiver = world["person 1"]
    assert_refused("F20", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(message_rules.f20_public_allowed):
        receiver.receive(pending.message, NOW)
    members_public = changed_state(receiver, config=GroupConfig(accept_public_handshakes=True))
    assert_refused("F20", lambda: members_public.receive(pending.message, NOW), members_public)


@every_suite
def test_psks_prove_what_the_members_ask_for(belongs: CipherSuite) -> None:
    """Rule X10: the application sees who comes, who goes and what was proved."""
    world = open_world(belongs, 4)
    someone = world.people["person 3"]
    former = ResumptionPSK(ResumptionPSKUsage.APPLICATION, someone.view.group_id, someone.view.epoch)
    known = {former: someone.view.resumption_psk, ExternalPSK(b"paper"): Secret(b"paper" * 8)}
    world.commit("person 0")
    leaf = world.leaf("person 3")
    pending = joining(world, someone, removes=leaf, psks=tuple(known), find_psk=known.get)
    receiver = world["person 1"]
    assert_refused("U10", lambda: receiver.receive(pending.message, NOW), receiver)
    with pytest.raises(AuthenticationError):
        receiver.receive(pending.message, NOW, lambda _: Secret(b"another"))
    someone.group = None
    staged = win(world, someone, pending, known.get)
    assert all(each.psks == tuple(known) for each in staged)
    with pytest.raises(RuleViolation, match="U10"):
        joining(world, world.person("joiner"), psks=(ExternalPSK(b"unknown"),))


# Forged external commits: made by the real code, or by it with one rule switched off

Change = Callable[[Any], Any]


def forged(world: World, someone: Person, change: Callable[[list[Any]], list[Any]], **options: Any) -> bytes:
    """An external commit whose list of proposals was changed before anything was signed or derived."""

    def changed(proposals: list[Any]) -> Any:
        return tuple(
            proposal if isinstance(proposal, ProposalByReference) else ProposalByValue(proposal)
            for proposal in change(proposals)
        )

    honest = Commit
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            external,
            "Commit",
            lambda named, path: honest(changed([each.proposal for each in named]), path),
        )
        return joining(world, someone, **options).message


@pytest.mark.parametrize("count", [0, 2])
def test_x1_exactly_one_external_init(count: int) -> None:
    world = open_world(suite(1), 4)
    message = forged(world, world.person("joiner"), lambda proposals: proposals * count)
    receiver = world["person 2"]
    assert_refused("X1", lambda: receiver.receive(message, NOW), receiver)


def test_x2_one_remove_at_most() -> None:
    world = open_world(suite(1), 4)
    honest = external._removed
    with pytest.MonkeyPatch.context() as patch:  # the joiner makes its path for a tree without both
        patch.setattr(external, "_removed", lambda _: [LeafIndex(1), LeafIndex(2)])
        with off(rules.x2_removes_own_old_leaf):
            message = forged(world, world.person("joiner"), lambda proposals: [*proposals, Remove(1), Remove(2)])
    receiver = world["person 3"]
    with off(rules.x2_removes_own_old_leaf):
        assert_refused("X2", lambda: receiver.receive(message, NOW), receiver)
        with off(rules.x2_one_remove):
            receiver.receive(message, NOW)
    assert honest([Remove(1)]) == [1]


@every_suite
def test_x2_a_joiner_removes_nobody_else(belongs: CipherSuite) -> None:
    world = open_world(belongs, 4)
    with off(rules.x2_removes_own_old_leaf):
        pending = joining(world, world.person("joiner"), removes=world.leaf("person 3"))
    receiver = world["person 1"]
    assert_refused("X2", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(rules.x2_removes_own_old_leaf):
        assert receiver.receive(pending.message, NOW).merge().epoch == pending.next_group.epoch  # type: ignore[union-attr]
    assert_refused("X2", lambda: joining(world, world.person("joiner"), removes=world.leaf("person 3")))


def test_x2_the_application_knows_who_is_one_client() -> None:
    """A successor of the old credential (rule L16) passes where the application says so."""

    def same_name(old: Any, new: Any) -> bool:
        return bool(old.identity.split(b"/")[0] == new.identity.split(b"/")[0])

    world = open_world(suite(1), 3, GroupConfig(accept_external_commits=True, same_client=same_name))
    someone = world.person("person 2")
    leaf, someone.group = world.leaf("person 2"), None
    someone.name = "person 2/new"
    win(world, someone, joining(world, someone, removes=leaf))
    assert someone.credential == BasicCredential(b"person 2/new")


def test_x2_who_comes_back_has_a_new_encryption_key() -> None:
    world = open_world(suite(1), 4)
    someone = world.people["person 3"]
    old = someone.view.state.leaf(someone.view.own_leaf)
    private = someone.view.state.private_keys[6]  # type: ignore[index]  # node of leaf 3
    honest = treekem.generate_path

    def generate_path(*arguments: Any) -> treekem.NewPath:
        keys = treekem.HPKEKeyPair(private, old.encryption_key)
        return treekem.derive_path(*arguments, keys, suite(1).generate_secret())

    with pytest.MonkeyPatch.context() as patch, off(rules.x2_removes_own_old_leaf):
        patch.setattr(treekem, "generate_path", generate_path)
        pending = joining(world, someone, removes=world.leaf("person 3"))
    assert honest is treekem.generate_path
    receiver = world["person 1"]
    assert_refused("X2", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(rules.x2_removes_own_old_leaf):
        receiver.receive(pending.message, NOW)


@pytest.mark.parametrize("what", ["add", "update", "extensions", "reinit"])
def test_x3_nothing_else_in_an_external_commit(what: str) -> None:
    world = open_world(suite(1), 4)
    leaf = world["person 1"].state.leaf(LeafIndex(1))
    extra = {
        "add": offered(world, "another"),
        "update": Update(leaf),
        "extensions": GroupContextExtensions(()),
        "reinit": ReInit(b"another group", ProtocolVersion.MLS10, 1, ()),
    }[what]
    message = forged(world, world.person("joiner"), lambda proposals: [*proposals, extra])
    receiver = world["person 2"]
    assert_refused("X3", lambda: receiver.receive(message, NOW), receiver)
    with off(rules.x3_nothing_else):
        receiver.receive(message, NOW)


def resigned(world: World, someone: Person, message: bytes, change: Callable[[Commit], Commit]) -> bytes:
    """A joiner's message with another commit, signed again; its confirmation tag stays, as nobody gets that far."""
    body = decode_message(message).body
    assert isinstance(body, PublicMessage)
    assert isinstance(body.content.content, Commit)
    assert isinstance(body.auth, CommitAuth)
    content = replace(body.content, content=change(body.content.content))
    signed = external.sign_content(
        world.suite, someone.signer, WireFormat.PUBLIC_MESSAGE, content, world["person 0"].state.encoded_context
    )
    return encode_message(PublicMessage(content, CommitAuth(signed.auth.signature, body.auth.confirmation_tag), None))


def test_x4_a_path_is_there() -> None:
    world = open_world(suite(1), 4)
    joiner = world.person("joiner")
    message = resigned(world, joiner, joining(world, joiner).message, lambda commit: replace(commit, path=None))
    receiver = world["person 2"]
    assert_refused("X4", lambda: receiver.receive(message, NOW), receiver)


def test_x5_nothing_by_reference() -> None:
    world = open_world(suite(1), 4)
    world.deliver_proposal("person 1", world["person 1"].propose_psk(ExternalPSK(b"paper"), now=NOW))
    reference = world["person 2"].pending_proposals[0].reference
    assert reference is not None
    joiner = world.person("joiner")
    named = ProposalByReference(reference)
    message = resigned(
        world,
        joiner,
        joining(world, joiner).message,
        lambda commit: replace(commit, proposals=(*commit.proposals, named)),
    )
    receiver = world["person 2"]
    assert_refused("X5", lambda: receiver.receive(message, NOW), receiver)


@every_suite
def test_x6_signed_by_the_key_in_the_path(belongs: CipherSuite) -> None:
    world = open_world(belongs, 4)
    joiner = world.person("joiner")
    honest = joining(world, joiner).message
    impostor = replace(joiner, signer=world.people["person 1"].signer)
    message = resigned(world, impostor, honest, lambda same: same)
    receiver = world["person 2"]
    with pytest.raises(AuthenticationError):
        receiver.receive(message, NOW)
    receiver.receive(resigned(world, joiner, honest, lambda same: same), NOW)


def test_x6_the_sender_type_is_new_member_commit() -> None:
    """The same commit from a member: an ExternalInit is not for members (rule P7)."""
    world = open_world(suite(1), 4, GroupConfig(accept_external_commits=True, accept_public_handshakes=True))
    joiner = world.person("joiner")
    body = decode_message(joining(world, joiner).message).body
    assert isinstance(body, PublicMessage)
    assert isinstance(body.auth, CommitAuth)
    state = world["person 1"].state
    content = replace(body.content, sender=MemberSender(1))
    signed = external.sign_content(state.suite, state.signer, WireFormat.PUBLIC_MESSAGE, content, state.encoded_context)
    complete = external.with_confirmation_tag(signed, body.auth.confirmation_tag)
    message = external.protect_public(state.suite, complete, state.encoded_context, state.secrets.membership_key)
    receiver = world["person 2"]
    assert_refused("P7", lambda: receiver.receive(encode_message(message), NOW), receiver)


def test_a_joiner_signs_no_proposal() -> None:
    """Rule F13."""
    world = open_world(suite(1), 2)
    state = world["person 0"].state
    content = FramedContent(state.context.group_id, state.context.epoch, NewMemberCommitSender(), b"", Commit((), None))
    signed = external.sign_content(state.suite, state.signer, WireFormat.PUBLIC_MESSAGE, content, b"")
    with pytest.raises(RuleViolation, match="X4"):
        world["person 1"].receive(
            encode_message(PublicMessage(content, CommitAuth(signed.auth.signature, b""), None)), NOW
        )


def reissued(group: Group, change: Change) -> bytes:
    """A GroupInfo with a change, signed again by its member."""
    body = decode_message(group.group_info()).body
    assert isinstance(body, GroupInfo)
    return encode_message(sign_group_info(group.suite, group.state.signer, change(body)))


def with_external_pub(key: bytes | None) -> Change:
    def change(group_info: GroupInfo) -> GroupInfo:
        others = [each for each in group_info.extensions if each.extension_type != ExtensionType.EXTERNAL_PUB]
        if key is not None:
            others.append(Extension(ExtensionType.EXTERNAL_PUB, encode(ExternalPub(key))))
        return replace(group_info, extensions=tuple(others))

    return change


@every_suite
@pytest.mark.parametrize("key", [None, b"", b"short", bytes(32), bytes(1216)])
def test_x7_no_external_key_to_join_by(belongs: CipherSuite, key: bytes | None) -> None:
    world = open_world(belongs, 2)
    joiner = world.person("joiner")
    verified = verify_group_info(reissued(world["person 0"], with_external_pub(key)), now=NOW)
    assert_refused("X7", lambda: external_join(verified, joiner.credential, joiner.signer))


@every_suite
def test_x7_a_key_swapped_by_the_server(belongs: CipherSuite) -> None:
    """The member's signature covers it; and where a member swapped it, the others find the epoch to be another."""
    world = open_world(belongs, 3)
    joiner = world.person("joiner")
    other_key = with_external_pub(belongs.generate_hpke_key_pair().public)
    body = decode_message(world["person 0"].group_info()).body
    assert isinstance(body, GroupInfo)
    with pytest.raises(AuthenticationError):
        verify_group_info(encode_message(other_key(body)), now=NOW)
    verified = verify_group_info(reissued(world["person 0"], other_key), now=NOW)
    pending = external_join(verified, joiner.credential, joiner.signer)
    with pytest.raises(AuthenticationError):
        world["person 1"].receive(pending.message, NOW)


def test_x7_an_old_group_info_leads_to_an_old_epoch() -> None:
    world = open_world(suite(1), 3)
    old = seen(world["person 0"])
    world.commit("person 1")
    joiner = world.person("joiner")
    pending = external_join(old, joiner.credential, joiner.signer)
    assert old.epoch == world["person 0"].epoch - 1
    with pytest.raises(PastEpoch):
        world["person 2"].receive(pending.message, NOW)


@every_suite
@pytest.mark.parametrize("breach", ["short", "long", "empty", "zeros"])
def test_x8_a_kem_output_that_does_not_decapsulate(belongs: CipherSuite, breach: str) -> None:
    world = open_world(belongs, 3)

    def change(proposals: list[Any]) -> list[Any]:
        (init,) = proposals
        output = init.kem_output
        changed = {
            "short": output[:-1],
            "long": output + b"\0",
            "empty": b"",
            "zeros": output[:-32] + bytes(32),
        }
        return [ExternalInit(changed[breach])]

    message = forged(world, world.person("joiner"), change)
    receiver = world["person 2"]
    assert_refused("X8", lambda: receiver.receive(message, NOW), receiver)


def test_a_kem_output_for_another_key_gives_another_epoch() -> None:
    world = open_world(suite(1), 3)
    other, _ = suite(1).hpke.send_export(suite(1).generate_hpke_key_pair().public, b"", b"", 32)
    message = forged(world, world.person("joiner"), lambda _: [ExternalInit(other)])
    with pytest.raises(AuthenticationError):
        world["person 2"].receive(message, NOW)


# Rules of other sections, where they apply here


def test_p3_who_comes_back_was_there() -> None:
    world = open_world(suite(1), 4)
    message = forged(world, world.person("joiner"), lambda proposals: [*proposals, Remove(9)])
    receiver = world["person 2"]
    assert_refused("P3", lambda: receiver.receive(message, NOW), receiver)


@pytest.mark.parametrize("rule", ["P4", "P5", "Q7"])
def test_psks_of_an_external_commit(rule: str) -> None:
    world = open_world(suite(1), 4)
    good = PreSharedKeyID(ExternalPSK(b"paper"), bytes(32))
    extra = {
        "P4": [PreSharedKey(replace(good, psk_nonce=bytes(31)))],
        "P5": [PreSharedKey(replace(good, psk=ResumptionPSK(ResumptionPSKUsage.REINIT, b"old", 1)))],
        "Q7": [PreSharedKey(good), PreSharedKey(good)],
    }[rule]
    function = {
        "P4": list_rules.p4_psk_nonce,
        "P5": list_rules.p5_psk_usage,
        "Q7": list_rules.q7_psk_ids_unique,
    }[rule]
    message = forged(world, world.person("joiner"), lambda proposals: [*proposals, *extra])
    receiver = world["person 2"]
    assert_refused(rule, lambda: receiver.receive(message, NOW), receiver)
    with off(function):
        assert_refused("U10", lambda: receiver.receive(message, NOW), receiver)


BREACHES: dict[str, tuple[str, Any, Change]] = {
    "lacks a required extension": ("L3", leaf_rules.l3_requirements, capabilities(extensions=())),
    "does not list its credential type": ("L5", leaf_rules.l5_own_credential_type, capabilities(credentials=(2,))),
    "does not list its extension": (
        "L6",
        leaf_rules.l6_own_extensions,
        lambda leaf: replace(leaf, extensions=(UNLISTED,)),
    ),
    "does not list the suite": ("L7", leaf_rules.l7_version_and_suite, capabilities(cipher_suites=())),
}


@every_suite
@pytest.mark.parametrize("name", BREACHES)
def test_section_l_holds_for_a_joiners_leaf(belongs: CipherSuite, name: str) -> None:
    rule, function, breach = BREACHES[name]
    world = open_world(belongs, 4)
    world.commit("person 0", extensions=requiring(ExtensionType.LAST_RESORT_KEY_PACKAGE))
    honest = treekem.generate_path

    def generate_path(suite_: Any, tree: Any, place: Any, template: Any, *rest: Any) -> Any:
        return honest(suite_, tree, place, breach(template), *rest)

    switched_off = [function, leaf_rules.l4_credential_types, welcome_rules.w12_we_support]
    with pytest.MonkeyPatch.context() as patch, off(*switched_off):
        patch.setattr(treekem, "generate_path", generate_path)
        pending = joining(world, world.person("joiner"))
    receiver = world["person 2"]
    assert_refused(rule, lambda: receiver.receive(pending.message, NOW), receiver)
    with off(*switched_off):
        receiver.receive(pending.message, NOW)


def test_l12_a_joiner_takes_no_signature_key_of_a_member() -> None:
    world = open_world(suite(1), 4)
    joiner = world.person("joiner")
    joiner.signer = world.people["person 1"].signer
    with off(leaf_rules.l12_signature_key_unique):
        pending = joining(world, joiner)
    receiver = world["person 2"]
    assert_refused("L12", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(leaf_rules.l12_signature_key_unique):
        receiver.receive(pending.message, NOW)
    assert_refused("L12", lambda: joining(world, joiner))


def test_l8_a_joiners_leaf_is_from_a_commit() -> None:
    world = open_world(suite(1), 4)
    joiner = world.person("joiner")
    joiner.offer()
    assert joiner.bundle is not None
    of_key_package = joiner.bundle.key_package.leaf_node

    def change(commit: Commit) -> Commit:
        assert commit.path is not None
        return replace(commit, path=replace(commit.path, leaf_node=of_key_package))

    message = resigned(world, joiner, joining(world, joiner).message, change)
    receiver = world["person 2"]
    assert_refused("L8", lambda: receiver.receive(message, NOW), receiver)


def test_c8_a_joiners_path_holds_only_keys_of_the_suite() -> None:
    world = open_world(suite(1), 4)
    joiner = world.person("joiner")

    def change(commit: Commit) -> Commit:
        assert commit.path is not None
        nodes = (replace(commit.path.nodes[0], encryption_key=b"short"), *commit.path.nodes[1:])
        return replace(commit, path=replace(commit.path, nodes=nodes))

    message = resigned(world, joiner, joining(world, joiner).message, change)
    receiver = world["person 2"]
    assert_refused("C8", lambda: receiver.receive(message, NOW), receiver)
    with off(commit_rules.c8_path_keys):
        assert_refused("U6", lambda: receiver.receive(message, NOW), receiver)


@pytest.mark.parametrize("tag", [b"", b"1", bytes(31), bytes(32), bytes(33)])
def test_u11_a_wrong_confirmation_tag(tag: bytes) -> None:
    world = open_world(suite(1), 3)
    body = decode_message(joining(world, world.person("joiner")).message).body
    assert isinstance(body, PublicMessage)
    assert isinstance(body.auth, CommitAuth)
    message = encode_message(replace(body, auth=replace(body.auth, confirmation_tag=tag)))
    with pytest.raises(AuthenticationError):
        world["person 1"].receive(message, NOW)


def test_u13_the_last_epoch() -> None:
    world = open_world(suite(1), 2)
    pending = joining(world, world.person("joiner"))
    verified = seen(world["person 0"])
    context = replace(verified.group_info.group_context, epoch=EPOCH_MAX)
    last = replace(verified, group_info=replace(verified.group_info, group_context=context))
    joiner = world.people["joiner"]
    assert_refused("U13", lambda: external_join(last, joiner.credential, joiner.signer))
    receiver = changed_state(world["person 1"], context=replace(world["person 1"].state.context, epoch=EPOCH_MAX))
    with off(message_rules.f2_f3_current_epoch):
        assert_refused("U13", lambda: receiver.receive(pending.message, NOW), receiver)


def test_w12_a_joiner_supports_what_the_group_asks_for() -> None:
    world = World(suite(1), config=OPEN)
    founder = world.person("founder")
    founder.group = create_group(
        suite(1),
        b"a group of this test",
        founder.credential,
        founder.signer,
        lifetime=LIFETIME,
        now=NOW,
        extensions=(UNLISTED,),
        supported_extensions=(UNLISTED.extension_type,),
        config=OPEN,
    )
    joiner = world.person("joiner")
    assert_refused("W12", lambda: joining(world, joiner, by="founder"))
    win(world, joiner, joining(world, joiner, by="founder", supported_extensions=(UNLISTED.extension_type,)))


def test_what_is_no_group_info() -> None:
    world = open_world(suite(1), 2)
    _, message = world["person 0"].protect(b"hello")
    with pytest.raises(DecodeError):
        verify_group_info(message, now=NOW)


def test_a_group_info_may_leave_out_the_tree() -> None:
    world = open_world(suite(1), 3)
    message = world["person 0"].group_info(ratchet_tree=False)
    assert_refused("W7", lambda: verify_group_info(message, now=NOW))
    whole = decode_message(world["person 0"].group_info()).body
    assert isinstance(whole, GroupInfo)
    tree = next(each.extension_data for each in whole.extensions if each.extension_type == ExtensionType.RATCHET_TREE)
    verified = verify_group_info(message, now=NOW, ratchet_tree=tree)
    assert verified.signer == world["person 0"].member(world["person 0"].own_leaf)
    assert (verified.group_id, verified.extensions) == (world["person 0"].group_id, ())


def test_w4_a_group_info_is_signed_by_the_member_that_it_names() -> None:
    world = open_world(suite(1), 3)

    def by(signer: int) -> bytes:
        return reissued(world["person 0"], lambda group_info: replace(group_info, signer=signer))

    with pytest.raises(AuthenticationError):
        verify_group_info(by(1), now=NOW)
    assert_refused("W4", lambda: verify_group_info(by(3), now=NOW))
