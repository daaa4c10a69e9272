"""Extensions of the application, required capabilities, and GREASE (RFC 9420 §11.1, §13)."""

from __future__ import annotations

from crypto.mls.extensions import GREASE, Extension, RequiredCapabilities, generate_grease, generate_grease_extension
from crypto.mls.group import Group, create_group, generate_key_package, verify_key_package
from crypto.mls.key_package import KeyPackage
from crypto.mls.mls_message import decode_message, encode_message
from crypto.mls.tree_nodes import LeafIndex
from crypto.mls.verified_key_package import VerifiedKeyPackage
from crypto.mls.welcome import GroupInfo
from crypto.suites import CipherSuite, suite_of
from crypto.wire import encode
from tests.crypto.forge import assert_refused
from tests.crypto.world import LIFETIME, NOW, Person, World, every_suite, person, world_of

ROLE, POLICY = 0xF100, 0xF101
BOTH = (ROLE, POLICY)


def role(name: bytes) -> tuple[Extension, ...]:
    return (Extension(ROLE, name),)


def founded(belongs: CipherSuite, config_of: Person) -> Group:
    return create_group(
        belongs,
        b"a group of this test",
        config_of.credential,
        config_of.signer,
        lifetime=LIFETIME,
        now=NOW,
        extensions=(Extension(POLICY, b"strict"), required(ROLE, POLICY)),
        supported_extensions=BOTH,
        leaf_extensions=role(b"owner"),
    )


def required(*extension_types: int) -> Extension:
    return Extension(3, encode(RequiredCapabilities(extension_types, (), (1,))))


def offer(someone: Person, *, supported: tuple[int, ...] = BOTH) -> VerifiedKeyPackage:
    someone.bundle = generate_key_package(
        someone.suite,
        someone.credential,
        someone.signer,
        lifetime=LIFETIME,
        supported_extensions=supported,
        leaf_extensions=role(b"member") if ROLE in supported else (),
    )
    return verify_key_package(encode_message(someone.bundle.key_package), NOW)


def roles(group: Group) -> dict[bytes, bytes]:
    """What each member's leaf says of its role."""
    return {
        member.credential.identity: extension.extension_data  # type: ignore[union-attr]  # basic credentials
        for member in group.members
        for extension in member.extensions
        if extension.extension_type == ROLE
    }


@every_suite
def test_the_application_has_extensions_of_its_own(belongs: CipherSuite) -> None:
    world = World(belongs)
    owner, member, plain = (world.person(name) for name in ("owner", "member", "plain"))
    owner.group = founded(belongs, owner)
    world.win("owner", owner.view.commit([offer(member)], now=NOW))
    assert roles(world["member"]) == {b"owner": b"owner", b"member": b"member"}
    assert_refused("L3", lambda: owner.view.commit([offer(plain, supported=())], now=NOW))
    world.win("owner", owner.view.commit(now=NOW))
    world.win("member", world["member"].commit(now=NOW, leaf_extensions=role(b"moderator"), with_path=False))
    assert roles(world["owner"]) == {b"owner": b"owner", b"member": b"moderator"}
    world.deliver_proposal("member", world["member"].propose_update(now=NOW, leaf_extensions=role(b"guest")))
    world.deliver_proposal("member", world["member"].propose_update(now=NOW, leaf_extensions=role(b"speaker")))
    staged = world.commit("owner", extensions=(Extension(POLICY, b"open"),))["member"]
    assert staged.extensions == (Extension(POLICY, b"open"),)
    assert roles(world["owner"])[b"member"] == b"speaker"
    world.win("member", world["member"].commit([offer(plain)], now=NOW, leaf_extensions=(), with_path=False))
    assert roles(world["owner"]) == {b"owner": b"owner", b"plain": b"member"}
    assert {member.credential for member in staged.updated} == {owner.credential, member.credential}


# GREASE


def test_what_we_send_holds_grease_where_others_bear_it() -> None:
    """OpenMLS 0.8 refuses it in leaves and key packages: see `tests/interop/test_limits_of_peers.py`."""
    world = world_of(suite_of(1), 2)
    bundle = person("someone", suite_of(1)).offer().key_package
    assert isinstance(bundle, KeyPackage)
    leaf, group_info = bundle.leaf_node, decode_message(world["person 0"].group_info()).body
    assert isinstance(group_info, GroupInfo)
    for listed in (
        leaf.capabilities.cipher_suites,
        leaf.capabilities.extensions,
        leaf.capabilities.proposals,
        leaf.capabilities.credentials,
        [extension.extension_type for extension in group_info.extensions],
    ):
        assert len({*listed} & {*GREASE}) == 1
    for others_would_refuse in (leaf.extensions, bundle.extensions, group_info.group_context.extensions):
        assert not {extension.extension_type for extension in others_would_refuse} & {*GREASE}


def test_grease_stays_through_commits_and_updates() -> None:
    world = world_of(suite_of(1), 3)
    kinds = len(world["person 0"].state.roster.kinds)
    before = [world["person 0"].state.leaf(LeafIndex(number)).capabilities for number in range(3)]
    for number in range(3):
        world.commit(f"person {number}")
    world.deliver_proposal("person 1", world["person 1"].propose_update(now=NOW, leaf_extensions=()))
    world.commit("person 0")
    assert [world["person 0"].state.leaf(LeafIndex(number)).capabilities for number in range(3)] == before
    assert len(world["person 0"].state.roster.kinds) == kinds <= 3


def test_grease_values_are_the_registered_ones() -> None:
    assert len(GREASE) == 15
    assert all(value >> 8 == value & 0xFF and value & 0xF == 0xA for value in GREASE)
    assert {generate_grease() for _ in range(1000)} == set(GREASE)
    lengths = {len(generate_grease_extension().extension_data) for _ in range(1000)}
    assert lengths == set(range(16))
