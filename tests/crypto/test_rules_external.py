"""Section X of the rules: external commits that break one rule, and rules of other sections where they apply there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from crypto.errors import AuthenticationError, RuleViolation
from crypto.mls import external, ratchet_tree, treekem
from crypto.mls.config import GroupConfig
from crypto.mls.credentials import BasicCredential, X509Credential
from crypto.mls.extensions import ExtensionType
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
    external_join,
)
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
from crypto.mls.tree_nodes import LeafIndex, ProtocolVersion
from crypto.suites import CipherSuite, suite
from tests.crypto.forge import UNLISTED, Change, assert_refused, capabilities, changed_state, off, offered, requiring
from tests.crypto.outside import joining, open_world, seen, win
from tests.crypto.world import NOW, Person, World, every_suite

# Forged external commits: made by the real code, or by it with one rule switched off


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
        assert receiver.receive(pending.message, NOW).merge().epoch == pending.next_group.epoch  # type: ignore[union-attr]  # a commit
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


def test_l4_a_joiners_credential_type_is_supported_by_all() -> None:
    world = open_world(suite(1), 4)
    honest = treekem.generate_path
    certified = capabilities(credentials=(1, 2))

    def generate_path(suite_: Any, tree: Any, place: Any, template: Any, *rest: Any) -> Any:
        leaf = replace(certified(template), credential=X509Credential((b"certificate",)))
        return honest(suite_, tree, place, leaf, *rest)

    with pytest.MonkeyPatch.context() as patch, off(leaf_rules.l4_credential_types):
        patch.setattr(treekem, "generate_path", generate_path)
        pending = joining(world, world.person("joiner"))
    receiver = world["person 2"]
    assert_refused("L4", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(leaf_rules.l4_credential_types):
        receiver.receive(pending.message, NOW)


def test_t11_a_full_group_has_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratchet_tree, "LEAF_COUNT_MAX", 4)
    world = open_world(suite(1), 4)
    assert_refused("T11", lambda: joining(world, world.person("joiner")))
    monkeypatch.setattr(ratchet_tree, "LEAF_COUNT_MAX", 8)
    message = joining(world, world.people["joiner"]).message
    monkeypatch.setattr(ratchet_tree, "LEAF_COUNT_MAX", 4)
    receiver = world["person 2"]
    assert_refused("T11", lambda: receiver.receive(message, NOW), receiver)


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
