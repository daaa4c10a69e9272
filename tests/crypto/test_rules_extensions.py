"""Rules L17, L18, L19 and L21: extensions out of place, twice in a list, and those that mean nothing to us.

The extensions of leaves have their place in `test_rules_leaf_places`; here are the other lists: of key packages, of
GroupContexts, in proposals and on their way to a joiner, and of GroupInfos.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from crypto.mls.extensions import GREASE, Extension, ExtensionType, RequiredCapabilities
from crypto.mls.group import ReceivedProposal, create_group, verify_group_info, verify_key_package
from crypto.mls.group_info import sign_group_info
from crypto.mls.headers import ProtocolVersion
from crypto.mls.mls_message import decode_message, encode_message
from crypto.mls.proposals import AnyProposal, GroupContextExtensions, ReInit
from crypto.mls.rules import extensions as extension_rules
from crypto.mls.rules import leaf as rules
from crypto.mls.rules import welcome as welcome_rules
from crypto.mls.welcome import GroupInfo
from crypto.suites import suite_of
from crypto.wire import encode
from tests.crypto.forge import (
    REQUIRED,
    assert_enters,
    assert_refused,
    capabilities,
    capable,
    forged_commit,
    forged_proposal,
    off,
    offered_with,
    path_leaf,
    values,
)
from tests.crypto.matrix import every_group, without_group
from tests.crypto.world import LIFETIME, NOW, World, person, won

Extensions = tuple[Extension, ...]
TWICE = (Extension(0xF123, b"1"), Extension(0xF123, b"2"))


def of_type(*types: int) -> dict[str, Extensions]:
    """A list with one extension, once for each of these types."""
    return {f"type {each}": (Extension(each, b""),) for each in types}


@every_group
@pytest.mark.parametrize("extensions", of_type(1, 2, 3, 4, 5).values(), ids=of_type(1, 2, 3, 4, 5))
def test_l17_extensions_that_no_key_package_holds(world: World, extensions: Extensions) -> None:
    assert_no_key_package(world, "L17", extension_rules.l17_key_package_extensions, extensions)


@every_group
def test_l18_two_extensions_of_a_type_in_a_key_package(world: World) -> None:
    assert_no_key_package(world, "L18", extension_rules.l18_extension_types_unique, TWICE)


def assert_no_key_package(world: World, rule: str, check: Callable[..., object], extensions: Extensions) -> None:
    """A key package with such extensions is refused where it is fetched, proposed and committed."""
    add = offered_with(
        world.person("newcomer"),
        leaf=capable(*{each.extension_type for each in extensions}),  # or rule L6 would refuse it first
        package=lambda package: replace(package, extensions=extensions),
    )
    with off(check):
        pending = forged_commit(world["person 0"], values(world, add))
    proposed = forged_proposal(world["person 0"], add)
    receiver = world[world.receiver]
    assert_refused(rule, lambda: verify_key_package(encode_message(add.key_package), NOW))
    assert_refused(rule, lambda: receiver.receive(proposed, NOW), receiver)
    assert_refused(rule, lambda: receiver.receive(pending.message, NOW), receiver)
    with off(check):
        verify_key_package(encode_message(add.key_package), NOW)
        assert isinstance(receiver.receive(proposed, NOW), ReceivedProposal)
        assert_enters(receiver, pending.message, won(pending))


@every_group
@pytest.mark.parametrize("extensions", of_type(1, 2, 4).values(), ids=of_type(1, 2, 4))
def test_l17_extensions_that_no_group_context_holds(world: World, extensions: Extensions) -> None:
    """Those of default types: that all members support it does not help."""
    assert_no_group_context(world, "L17", extension_rules.l17_group_context_extensions, extensions)


@every_group
def test_l17_last_resort_in_a_group_context(world: World) -> None:
    extensions = (Extension(ExtensionType.LAST_RESORT_KEY_PACKAGE, b""),)
    assert_no_group_context(world, "L17", extension_rules.l17_group_context_extensions, extensions)


@every_group
def test_l18_two_extensions_of_a_type_in_a_group_context(world: World) -> None:
    assert_no_group_context(world, "L18", extension_rules.l18_extension_types_unique, REQUIRED * 2)


def assert_no_group_context(world: World, rule: str, check: Callable[..., object], extensions: Extensions) -> None:
    """Such a list is refused in what we send, in proposals of both kinds, in a commit and where one joins."""
    sender, receiver = world["person 0"], world[world.receiver]
    assert_refused(rule, lambda: sender.commit(now=NOW, extensions=extensions), sender)
    assert_refused(rule, lambda: sender.propose_extensions(extensions, now=NOW), sender)
    assert_refused(rule, lambda: sender.propose_reinit(b"next", world.suite, extensions, now=NOW), sender)
    reinit = ReInit(b"next", ProtocolVersion.MLS10, world.suite.id, extensions)
    proposals: list[AnyProposal] = [GroupContextExtensions(extensions), reinit]
    for proposal in proposals:
        message = forged_proposal(sender, proposal)
        assert_refused(rule, lambda message=message: receiver.receive(message, NOW), receiver)
        with off(check):
            assert isinstance(receiver.receive(message, NOW), ReceivedProposal)
    with off(check):
        pending = sender.commit(now=NOW, extensions=extensions)
    assert_refused(rule, lambda: receiver.receive(pending.message, NOW), receiver)
    group_info = won(pending).group_info()
    assert_refused(rule, lambda: verify_group_info(group_info, now=NOW))
    with off(check):
        assert_enters(receiver, pending.message, won(pending))
        verify_group_info(group_info, now=NOW)


@every_group
@pytest.mark.parametrize("extensions", of_type(1, 3, 5, 10).values(), ids=of_type(1, 3, 5, 10))
def test_l17_extensions_that_no_group_info_holds(world: World, extensions: Extensions) -> None:
    assert_no_group_info(world, "L17", extension_rules.l17_group_info_extensions, extensions)


@every_group
def test_l18_two_extensions_of_a_type_in_a_group_info(world: World) -> None:
    assert_no_group_info(world, "L18", extension_rules.l18_extension_types_unique, TWICE)


def assert_no_group_info(world: World, rule: str, check: Callable[..., object], extensions: Extensions) -> None:
    """A GroupInfo that holds such extensions besides its own, signed again, is refused."""
    signer = world["person 0"]
    honest = decode_message(signer.group_info()).body
    assert isinstance(honest, GroupInfo)
    unsigned = replace(honest, extensions=(*honest.extensions, *extensions))
    message = encode_message(sign_group_info(world.suite, world.people["person 0"].signer, unsigned))
    assert_refused(rule, lambda: verify_group_info(message, now=NOW))
    with off(check):
        verify_group_info(message, now=NOW)


# GREASE


@without_group("what a list of capabilities grants")
@pytest.mark.parametrize("kind", ["extension", "required extension", "required proposal", "required credential"])
@pytest.mark.parametrize("value", GREASE)
def test_l19_values_for_grease_are_types_like_any_other(kind: str, value: int) -> None:
    """§13.5: nobody treats them in a special way on receipt. What our own leaf lists of them, we do not support."""
    everything = capabilities(extensions=GREASE, proposals=GREASE, credentials=(1, *GREASE))
    leaf = everything(person("someone", suite_of(1)).offer().leaf)
    extensions = {
        "extension": Extension(value, b""),
        "required extension": Extension(3, encode(RequiredCapabilities((value,), (), ()))),
        "required proposal": Extension(3, encode(RequiredCapabilities((), (value,), ()))),
        "required credential": Extension(3, encode(RequiredCapabilities((), (), (value,)))),
    }
    rules.l3_requirements(leaf.capabilities, (extensions[kind],))
    assert_refused("W12", lambda: welcome_rules.w12_we_support(leaf.capabilities, (extensions[kind],)))


@without_group("it is about to be made")
def test_w12_nobody_founds_a_group_that_asks_for_grease() -> None:
    """What its own leaf lists of it is a claim with nothing behind; joiners of ours would refuse the group."""
    founder = person("founder", suite_of(1))
    found = lambda: create_group(  # noqa: E731  # one line, twice
        suite_of(1),
        b"id",
        founder.credential,
        founder.signer,
        lifetime=LIFETIME,
        now=NOW,
        extensions=(Extension(GREASE[0], b""),),
        supported_extensions=(GREASE[0],),
    )
    assert_refused("W12", found)
    with off(welcome_rules.w12_we_support):
        found()


@every_group
def test_l19_leaves_full_of_grease_are_welcome(world: World) -> None:
    """As a joiner's, in a path, and in the tree that the joiner sees."""
    full = capabilities(
        cipher_suites=(*GREASE, world.suite.id), extensions=GREASE, proposals=GREASE, credentials=(*GREASE, 1)
    )
    newcomer = world.person("newcomer")
    carrying = tuple(Extension(value, b"anything") for value in GREASE)
    add = offered_with(newcomer, leaf=lambda leaf: replace(full(leaf), extensions=carrying))
    verified = verify_key_package(encode_message(add.key_package), NOW)
    with path_leaf(lambda leaf: replace(full(leaf), extensions=carrying)):
        pending = world["person 0"].commit([verified], now=NOW)
    assert_enters(world[world.receiver], pending.message, won(pending))
    newcomer.accept(pending.welcome)
    assert newcomer.view.epoch_authenticator == won(pending).epoch_authenticator


@every_group
def test_l21_two_members_with_one_application_id(world: World) -> None:
    """It is carried and shown, and means nothing: members are told apart by their credentials and signature keys."""
    named = (Extension(ExtensionType.APPLICATION_ID, b"one id"),)
    add = offered_with(world.person("newcomer"), leaf=lambda leaf: replace(leaf, extensions=named))
    verified = verify_key_package(encode_message(add.key_package), NOW)
    pending = world["person 0"].commit([verified], now=NOW, leaf_extensions=named)
    assert_enters(world[world.receiver], pending.message, won(pending))
    alike = [member for member in won(pending).members if named[0] in member.extensions]
    assert len(alike) == 2
    assert len({member.credential for member in alike}) == len({member.signature_key for member in alike}) == 2
