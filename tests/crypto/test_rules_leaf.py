"""Section L of the rules: what concerns one place, or two leaves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crypto import kem
from crypto.errors import AuthenticationError, DecodeError, RuleViolation
from crypto.mls.config import DEFAULT_CONFIG, GroupConfig
from crypto.mls.credentials import X509Credential
from crypto.mls.extensions import Extension, ExtensionType, RequiredCapabilities
from crypto.mls.group import join, verify_key_package
from crypto.mls.proposals import Add, Update
from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.roster import roster_of
from crypto.mls.rules import leaf as rules
from crypto.mls.rules import proposal_list as list_rules
from crypto.mls.rules.tree import check_tree
from crypto.mls.tree_nodes import (
    CommitSource,
    KeyPackageSource,
    LeafIndex,
    Lifetime,
    ParentNode,
    UpdateSource,
    sign_leaf_node,
)
from crypto.suites import X_WING, CipherSuite, suite
from crypto.wire import encode
from tests.crypto.forge import (
    REQUIRED,
    UNLISTED,
    Breach,
    assert_refused,
    by_value,
    capabilities,
    changed_key_package,
    changed_leaf,
    changed_update,
    forged_commit,
    forged_proposal,
    off,
    path_leaf,
)
from tests.crypto.world import NOW, World, every_suite, world_of


@pytest.mark.parametrize("missing", ["extension", "proposal", "credential", "group context extension"])
def test_l3_each_kind_of_requirement(missing: str) -> None:
    leaf = world_of(suite(1), 1)["person 0"].state.leaf(LeafIndex(0))
    required = {
        "extension": RequiredCapabilities((0xF123,), (), ()),
        "proposal": RequiredCapabilities((), (0xF123,), ()),
        "credential": RequiredCapabilities((), (), (2,)),
    }
    if missing in required:
        extensions = (Extension(ExtensionType.REQUIRED_CAPABILITIES, encode(required[missing])),)
    else:
        extensions = (UNLISTED,)
    assert_refused("L3", lambda: rules.l3_requirements(leaf.capabilities, extensions))


def test_l3_default_types_need_no_listing() -> None:
    leaf = world_of(suite(1), 1)["person 0"].state.leaf(LeafIndex(0))
    defaults = RequiredCapabilities((1, 2, 3, 4, 5), (1, 2, 3, 4, 5, 6, 7), (1,))
    rules.l3_requirements(leaf.capabilities, (Extension(ExtensionType.REQUIRED_CAPABILITIES, encode(defaults)),))


def test_l4_a_credential_type_that_a_member_does_not_support() -> None:
    world = world_of(suite(1), 3)
    certified = lambda leaf: replace(  # noqa: E731  # a breach is one line
        capabilities(credentials=(1, 2))(leaf), credential=X509Credential((b"certificate",))
    )
    with off(rules.l4_credential_types), path_leaf(certified):
        pending = forged_commit(world["person 0"], [])
    receiver = world["person 1"]
    assert_refused("L4", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(rules.l4_credential_types):
        receiver.receive(pending.message, NOW)


@pytest.mark.parametrize("source", [UpdateSource(), CommitSource(b"")])
def test_l8_a_key_package_holds_a_key_package_leaf(source: UpdateSource | CommitSource) -> None:
    someone = World(suite(1)).person("someone")
    someone.offer()
    assert someone.bundle is not None
    message = changed_key_package(someone, someone.bundle, leaf=lambda leaf: replace(leaf, source=source)).message()
    assert_refused("L8", lambda: verify_key_package(message, NOW))


@pytest.mark.parametrize("source", [CommitSource(b""), KeyPackageSource(Lifetime(0, NOW * 2))])
def test_l8_an_update_holds_an_update_leaf(source: CommitSource | KeyPackageSource) -> None:
    world = world_of(suite(1), 3)
    leaf = changed_update(world, "person 1", lambda leaf: replace(leaf, source=source))
    message = forged_proposal(world["person 1"], Update(leaf))
    receiver = world["person 0"]
    assert_refused("L8", lambda: receiver.receive(message, NOW), receiver)
    with off(rules.l8_source):
        receiver.receive(message, NOW)


def test_l8_a_path_holds_a_commit_leaf() -> None:
    leaf = world_of(suite(1), 2)["person 1"].state.leaf(LeafIndex(1))
    assert_refused("L8", lambda: rules.check_leaf(suite(1), leaf, CommitSource))


@pytest.mark.parametrize("now", [NOW - 3 * 3600, NOW + 91 * 86400])
def test_l9_a_leaf_that_we_send_is_valid_now(now: int) -> None:
    world = world_of(suite(1), 2)
    newcomer = world.person("newcomer")
    offer = newcomer.offer()
    message = newcomer.bundle.message()  # type: ignore[union-attr]  # it has joined
    assert_refused("L9", lambda: verify_key_package(message, now))
    assert_refused("L9", lambda: world["person 0"].commit([offer], now=now), world["person 0"])
    with off(rules.l9_lifetime_of_sent_leaf):
        verify_key_package(message, now)


def test_l10_an_added_leaf_may_have_expired_a_while_ago_but_not_long_ago() -> None:
    world = world_of(suite(1), 2)
    pending = world.pending("person 0", adds=["newcomer"])
    receiver = world["person 1"]
    receiver.receive(pending.message, NOW + 179 * 86400)  # a member that was away keeps up with the others
    assert_refused("L10", lambda: receiver.receive(pending.message, NOW + 181 * 86400), receiver)
    with off(rules.l10_lifetime_of_received_leaf):
        receiver.receive(pending.message, NOW + 181 * 86400)


def test_l10_a_leaf_in_a_tree_may_have_expired_up_to_a_year_ago() -> None:
    world = world_of(suite(1), 3)
    newcomer = world.person("newcomer")
    newcomer.offer()
    assert newcomer.bundle is not None
    newcomer.bundle = changed_key_package(
        newcomer, newcomer.bundle, leaf=lambda leaf: replace(leaf, source=KeyPackageSource(Lifetime(NOW, NOW * 2)))
    )
    config = GroupConfig(lifetime_max_s=NOW * 2)
    later = NOW + 457 * 86400
    offer = verify_key_package(newcomer.bundle.message(), later, config)
    welcome = world["person 0"].commit([offer], now=later).welcome
    assert welcome is not None
    bundles = {newcomer.bundle.reference: newcomer.bundle}

    def enter(now: int) -> None:
        join(welcome, bundles, newcomer.signer, now=now, config=config)

    enter(NOW + 455 * 86400)
    assert_refused("L10", lambda: enter(later))
    with off(rules.l10_lifetime_of_standing_leaf):
        enter(later)


@pytest.mark.parametrize("lifetime", [Lifetime(NOW - 1, 2**64 - 1), Lifetime(NOW + 1, NOW - 1)])
def test_l11_a_lifetime_is_neither_endless_nor_negative(lifetime: Lifetime) -> None:
    someone = World(suite(1)).person("someone")
    someone.offer()
    assert someone.bundle is not None
    source = KeyPackageSource(lifetime)
    message = changed_key_package(someone, someone.bundle, leaf=lambda leaf: replace(leaf, source=source)).message()
    assert_refused("L11", lambda: verify_key_package(message, NOW))
    with off(rules.l11_total_lifetime):
        verify_key_package(message, NOW)


def test_l11_in_a_tree_that_we_join() -> None:
    world = world_of(suite(1), 2)
    newcomer = world.person("newcomer")
    welcome = world.pending("person 0", adds=["newcomer"]).welcome
    newcomer.config = GroupConfig(lifetime_max_s=86400)
    assert_refused("L11", lambda: newcomer.accept(welcome))


def with_signature_key_of(world: World, name: str, other: str) -> Breach:
    """Give `name` the key pair of `other`, as two devices of one person might share it."""
    world.people[name].signer = world.people[other].signer
    return lambda leaf: replace(leaf, signature_key=world.people[other].signer.public)


def test_l12_an_update_takes_no_signature_key_of_another_member() -> None:
    world = world_of(suite(1), 4)
    honest_signer = world.people["person 1"].signer
    leaf = changed_update(world, "person 1", with_signature_key_of(world, "person 1", "person 2"))
    world.people["person 1"].signer = honest_signer
    world.deliver_proposal("person 1", (world["person 1"], forged_proposal(world["person 1"], Update(leaf))))
    checked = list(world["person 0"].pending_proposals)
    with off(rules.l12_signature_key_unique):
        pending = forged_commit(world["person 0"], checked)
    receiver = world["person 3"]
    assert_refused("L12", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(rules.l12_signature_key_unique):
        receiver.receive(pending.message, NOW)


def test_l12_in_a_path_and_in_a_tree_that_we_join() -> None:
    world = world_of(suite(1), 4)
    thief, victim = world["person 0"], world.people["person 2"]
    with pytest.MonkeyPatch.context() as patch, off(rules.l12_signature_key_unique):
        sign = sign_leaf_node
        patch.setattr(
            "crypto.mls.treekem.sign_leaf_node", lambda suite_, _signer, *rest: sign(suite_, victim.signer, *rest)
        )
        with path_leaf(lambda leaf: replace(leaf, signature_key=victim.signer.public)):
            pending = forged_commit(thief, [])
    receiver = world["person 3"]
    assert_refused("L12", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(rules.l12_signature_key_unique):
        world.win("person 0", pending)
        welcome = world.pending("person 1", adds=["newcomer"]).welcome
    assert_refused("L12", lambda: world.people["newcomer"].accept(welcome))
    with off(rules.l12_signature_key_unique):
        world.people["newcomer"].accept(welcome)


def test_l13_an_added_leaf_takes_no_encryption_key_of_another() -> None:
    world = world_of(suite(1), 4)
    taken = world["person 0"].state.leaf(world.leaf("person 1")).encryption_key
    newcomer = world.person("newcomer")
    newcomer.offer()
    assert newcomer.bundle is not None
    newcomer.bundle = changed_key_package(
        newcomer, newcomer.bundle, leaf=lambda leaf: replace(leaf, encryption_key=taken)
    )
    with off(rules.l13_encryption_key_unique):
        pending = forged_commit(world["person 0"], [by_value(world["person 0"], Add(newcomer.bundle.key_package))])
    receiver = world["person 3"]
    assert_refused("L13", lambda: receiver.receive(pending.message, NOW), receiver)
    assert_refused("L13", lambda: newcomer.accept(pending.welcome))
    with off(rules.l13_encryption_key_unique):
        receiver.receive(pending.message, NOW)


def test_l13_two_added_leaves_have_two_encryption_keys() -> None:
    world = world_of(suite(1), 4)
    one, two = world.person("one"), world.person("two")
    one.offer()
    two.offer()
    assert one.bundle is not None
    assert two.bundle is not None
    shared = one.bundle.key_package.leaf_node.encryption_key
    second = changed_key_package(two, two.bundle, leaf=lambda leaf: replace(leaf, encryption_key=shared))
    sender = world["person 0"]
    adds = [by_value(sender, Add(bundle.key_package)) for bundle in (one.bundle, second)]
    with off(rules.l13_encryption_key_unique):
        pending = forged_commit(sender, adds)
    receiver = world["person 3"]
    assert_refused("L13", lambda: receiver.receive(pending.message, NOW), receiver)


def test_l14_an_update_brings_a_new_encryption_key() -> None:
    world = world_of(suite(1), 3)
    old = world["person 1"].state.leaf(world.leaf("person 1")).encryption_key
    leaf = changed_update(world, "person 1", lambda leaf: replace(leaf, encryption_key=old))
    message = forged_proposal(world["person 1"], Update(leaf))
    receiver = world["person 0"]
    assert_refused("L14", lambda: receiver.receive(message, NOW), receiver)
    with off(rules.l14_new_encryption_key):
        receiver.receive(message, NOW)


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33), b"\x04" + bytes(64)])
def test_l15_a_signature_key_is_of_the_suite(key: bytes) -> None:
    someone = World(suite(1)).person("someone")
    someone.offer()
    assert someone.bundle is not None
    breach = lambda leaf: replace(leaf, signature_key=key)  # noqa: E731  # a breach is one line
    message = changed_key_package(someone, someone.bundle, leaf=breach).message()
    assert_refused("L15", lambda: verify_key_package(message, NOW))
    with off(rules.l15_signature_key), pytest.raises(AuthenticationError):
        verify_key_package(message, NOW)


@pytest.mark.parametrize("extension_type", [1, 2, 3, 4, 5])
def test_l17_extensions_that_no_key_package_holds(extension_type: int) -> None:
    someone = World(suite(1)).person("someone")
    someone.offer()
    assert someone.bundle is not None
    extensions = (Extension(extension_type, b""),)
    package = lambda key_package: replace(key_package, extensions=extensions)  # noqa: E731  # a breach is one line
    message = changed_key_package(someone, someone.bundle, package=package).message()
    assert_refused("L17", lambda: verify_key_package(message, NOW))
    with off(rules.l17_key_package_extensions):
        verify_key_package(message, NOW)


@pytest.mark.parametrize("extension_type", [1, 2, 4, 10])
def test_l17_extensions_that_no_group_context_holds(extension_type: int) -> None:
    world = world_of(suite(1), 3)
    extensions = (Extension(extension_type, b""),)
    assert_refused("L17", lambda: world["person 0"].commit(now=NOW, extensions=extensions), world["person 0"])
    with off(rules.l17_group_context_extensions):
        pending = world.pending("person 0", extensions=extensions)
    receiver = world["person 1"]
    assert_refused("L17", lambda: receiver.receive(pending.message, NOW), receiver)


def test_l18_two_extensions_of_a_type_in_a_group_context() -> None:
    world = world_of(suite(1), 3)
    extensions = REQUIRED * 2
    with off(rules.l18_extension_types_unique):
        pending = world.pending("person 0", extensions=extensions)
    receiver = world["person 1"]
    assert_refused("L18", lambda: receiver.receive(pending.message, NOW), receiver)
    with off(rules.l18_extension_types_unique):
        receiver.receive(pending.message, NOW)


LOW_ORDER = sorted(kem._LOW_ORDER_25519)


@pytest.mark.parametrize("point", LOW_ORDER, ids=lambda point: point.hex()[:8])
@pytest.mark.parametrize("top_bit", [0, 0x80])
@every_suite
def test_l20_low_order_points(belongs: CipherSuite, point: bytes, top_bit: int) -> None:
    """Nobody can encrypt to them: the primitive refuses every one."""
    start = belongs.generate_hpke_key_pair().public[:-32]
    key = start + point[:-1] + bytes([point[-1] | top_bit])
    with pytest.raises(DecodeError):
        belongs.encrypt_with_label(key, "Test", b"", b"")
    assert_refused("L20", lambda: rules.l20_public_key(belongs, key))


@every_suite
@pytest.mark.parametrize("field", ["encryption_key", "init_key"])
@pytest.mark.parametrize("breach", ["short", "long", "empty", "modulus", "low order"])
def test_l20_bad_public_keys_in_a_key_package(belongs: CipherSuite, field: str, breach: str) -> None:
    good = belongs.generate_hpke_key_pair().public
    if breach == "modulus" and belongs is not X_WING:
        pytest.skip("every string of 32 bytes is an X25519 key")
    bad = {
        "short": good[:-1],
        "long": good + b"\0",
        "empty": b"",
        "modulus": b"\xff" * 3 + good[3:],
        "low order": good[:-32] + bytes(32),
    }[breach]
    someone = World(belongs).person("someone")
    someone.offer()
    assert someone.bundle is not None
    if field == "init_key":
        changed = changed_key_package(someone, someone.bundle, package=lambda package: replace(package, init_key=bad))
    else:
        changed = changed_key_package(someone, someone.bundle, leaf=lambda leaf: replace(leaf, encryption_key=bad))
    assert_refused("L20", lambda: verify_key_package(changed.message(), NOW))
    with off(rules.l20_public_key):
        verify_key_package(changed.message(), NOW)


def test_l2_a_leaf_signed_for_another_place() -> None:
    world = world_of(suite(1), 3)
    group = world["person 1"]
    unsigned = replace(
        group.state.leaf(group.own_leaf), encryption_key=suite(1).generate_hpke_key_pair().public, source=UpdateSource()
    )
    receiver = world["person 0"]
    for group_id, leaf_index in ((b"another group", 1), (group.group_id, 2)):
        leaf = changed_leaf(world.people["person 1"], unsigned, lambda same: same, group_id, LeafIndex(leaf_index))
        message = forged_proposal(group, Update(leaf))
        with pytest.raises(AuthenticationError):
            receiver.receive(message, NOW)


def test_p8_is_for_old_members_and_l3_for_new_ones() -> None:
    world = world_of(suite(1), 3)
    roster = roster_of([leaf for _, leaf in world["person 0"].state.tree.occupied()])
    with pytest.raises(RuleViolation, match="P8"):
        list_rules.p8_members_support_extensions((UNLISTED,), roster)


def test_c8_a_parent_key_of_low_order_in_the_tree_of_a_welcome() -> None:
    """Nobody could encrypt to that node; `check_tree` looks before the parent hashes do."""
    world = world_of(suite(1), 2)
    world.commit("person 0")
    state = world["person 1"].state
    root = state.tree.node(state.tree.root)
    assert isinstance(root, ParentNode)
    nodes = list(state.tree.export())
    nodes[state.tree.root] = ParentNode(bytes(32), root.parent_hash, root.unmerged_leaves)
    tree = RatchetTree.of_nodes(suite(1), nodes)
    context = replace(state.context, tree_hash=tree.tree_hash)
    assert_refused("C8", lambda: check_tree(tree, context, DEFAULT_CONFIG, NOW))
