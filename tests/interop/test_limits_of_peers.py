"""What does not work with a peer, and why it is not for us to mend.

Each test fails once the peer has changed: then the mixes and `docs/interop.md` can grow.
"""

from __future__ import annotations

import pytest

from crypto.mls.config import GroupConfig
from crypto.mls.extensions import GREASE, Extension
from crypto.mls.group import create_group, verify_key_package
from tests.interop import peers
from tests.interop.mixed_world import MixedWorld, world_of
from tests.interop.our_peer import SUITE, OurPeer, lifetime
from tests.interop.peers import needs


@needs("OpenMLS")
def test_openmls_refuses_leaves_that_carry_grease() -> None:
    """OpenMLS issue 2156: it compares such an extension's type with the capabilities as if the two were different.

    The leaf lists it, as §7.2 demands, and every receiver has to ignore it (§13.4). So our leaves and key packages
    carry none. GREASE in capabilities and GroupInfo is accepted: all other tests with OpenMLS have it there.
    """
    world = MixedWorld(("ours", "OpenMLS"))
    us, them = OurPeer("greased"), world.client("OpenMLS")
    us.group = create_group(
        SUITE,
        b"a group of greased leaves",
        us.credential,
        us.signer,
        lifetime=lifetime(),
        now=peers.now(),
        supported_extensions=(GREASE[0],),
        leaf_extensions=(Extension(GREASE[0], b""),),
        config=us.config,
    )
    with pytest.raises(OSError, match=r"LeafNodeValidation\(UnsupportedExtensions\)"):
        them.join(us.add([them.key_package()]).welcome(0))


@needs("OpenMLS", "mls-rs")
def test_openmls_refuses_public_handshakes() -> None:
    """§6 leaves it to the application. So nobody who sends them can commit in a group with OpenMLS."""
    world, (us, them, talker) = world_of("ours", "OpenMLS", "mls-rs")
    assert not world.can_commit(talker)
    sent = talker.commit()
    assert us.process(sent.commit, talker.identity).kind == "commit"
    with pytest.raises(OSError, match="IncompatibleWireFormat"):
        them.process(sent.commit, talker.identity)


@needs("OpenMLS")
def test_the_binding_of_openmls_drops_proposals() -> None:
    """It says that they are authentic, and does not keep them. So commits in a group with it hold Adds by value."""
    world, (us, them, third) = world_of("ours", "OpenMLS", "ours")
    world.propose(third, third.propose_update())
    sent = us.commit()
    assert third.process(sent.commit, us.identity).kind == "commit"
    with pytest.raises(OSError, match="MissingProposal"):
        them.process(sent.commit, us.identity)


@needs("OpenMLS", "rine", "mls-rs")
@pytest.mark.parametrize("implementation", ["ours", "rine"])
def test_openmls_gets_a_tree_wrong_that_shrinks_and_grows(implementation: str) -> None:
    """Leaves 0 and 1 are full, 2 is blank, 3 comes back: its Remove halves the tree, and its new leaf, 2, doubles it.

    OpenMLS then expects a path as long as if leaf 3 were still there (§12.1.3 truncates the tree, §7.7 extends it). It
    refuses our commit and that of rine alike; mls-rs accepts both.
    """
    for witness in ("mls-rs", "OpenMLS"):
        world, (us, them) = world_of("ours", witness, allowed=("ours", witness, implementation))
        third, lost = world.client("ours"), world.client(implementation)
        world.add(us, third)
        world.add(us, lost)
        world.remove(us, third)
        assert world.halves_and_doubles(lost)
        if witness == "mls-rs":
            world.come_back(lost, us)
            continue
        sent = lost.come_back(us.group_info())
        with pytest.raises(OSError, match="PathLengthMismatch"):
            them.process(sent.commit, lost.identity)


@needs("OpenMLS")
def test_the_binding_of_openmls_counts_members_where_it_should_count_leaves() -> None:
    """With a blank in the tree it does not remove the last member."""
    world, (us, them, third, last) = world_of("ours", "OpenMLS", "ours", "ours")
    world.remove(us, third)
    assert not world.can_remove(them, last)
    with pytest.raises(OSError, match="leaf_index 3 out of range"):
        them.remove(world.seat(last))


@needs("rine")
def test_rine_refuses_proposals() -> None:
    _, (us, them) = world_of("ours", "rine")
    with pytest.raises(them.refusal, match="expected a Commit message"):
        them.process(us.propose_update(), us.identity)


@needs("mls-rs", "OpenMLS")
def test_openmls_refuses_what_mls_rs_made_in_the_same_second() -> None:
    """mls-rs begins a lifetime now; OpenMLS wants it to have begun. `MixedWorld.offer` waits for the next second."""
    world, (_, them) = world_of("ours", "OpenMLS")
    fresh = world.client("mls-rs")

    def add_at_once() -> None:
        for _ in range(3):  # a second may end between the two calls, but not three times
            them.add([fresh.key_package()])

    with pytest.raises(OSError, match="InvalidLifetime"):
        add_at_once()


@needs("mls-rs")
def test_mls_rs_wants_every_name_once() -> None:
    """§5.3.1 leaves it to the application whether one name may be in a group twice: ours may, mls-rs refuses."""
    _, (us, them) = world_of("ours", "mls-rs")
    twin = OurPeer(us.identity.decode())
    commit = us.view.commit([verify_key_package(twin.key_package(), peers.now())], now=peers.now())
    with pytest.raises(them.refusal, match="duplicate"):
        them.process(commit.message, us.identity)


@needs("mls-rs", "rine")
def test_mls_rs_accepts_private_handshakes_and_sends_public_ones() -> None:
    """So with it, our `GroupConfig` must accept public ones, which by default it does not (rule F20)."""
    world, (us, them, other) = world_of("ours", "mls-rs", "rine", public=False)
    world.renew(us)
    us.config = GroupConfig()
    us.restart(us.view.group_id)
    with pytest.raises(us.refusal, match="F20"):
        us.process(them.commit().commit, them.identity)
    with pytest.raises(us.refusal, match="F20"):
        us.process(other.add([OurPeer("newcomer").key_package()]).commit, other.identity)


@needs("rine")
def test_mls_rs_wants_its_former_stay_erased() -> None:
    """It keeps former epochs by number, and calls it a wrong epoch if there is a gap. See `mls_rs_peer.Storage`."""
    world, (us, them) = world_of("ours", "rine")
    world.renew(us)
    world.restart(them)
    world.remove(us, them)
    offer, bystander = us.change([them.key_package()], []), world.client("ours")
    them.group = them.client.join_from_welcome(offer.welcome(0))
    with pytest.raises(them.refusal, match="incorrect epoch"):
        them.process(us.add([bystander.key_package()]).commit, us.identity)
