"""Each peer and we in one group, step by step: who founds it, who adds, who removes, who says what."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from crypto.errors import GenerationUsed
from crypto.mls.framing import PrivateMessage, PublicMessage
from crypto.mls.mls_message import decode_message
from tests.interop import peers
from tests.interop.mixed_world import MixedWorld, world_of
from tests.interop.our_peer import OurPeer
from tests.interop.peers import mix, needs

OTHERS = ("mls-rs", "rine", "OpenMLS")
PAIRS = [mix("ours", other) for other in OTHERS]
BOTH_WAYS = [
    pytest.param((first, second), id=f"{first} founds, {second} joins", marks=needs(first, second))
    for other in OTHERS
    for first, second in (("ours", other), (other, "ours"))
]
EVERYBODY = ("ours", "mls-rs", "rine", "OpenMLS")


def all_speak(world: MixedWorld) -> None:
    for speaker in world.members:
        if peers.can(speaker, "send"):
            world.say(speaker, b"said by " + speaker.identity)


@pytest.mark.parametrize("founding", BOTH_WAYS)
def test_each_founds_a_group_for_the_other(founding: tuple[str, str]) -> None:
    world, _ = world_of(*founding)
    assert len(world.ours.members) == 2
    all_speak(world)


@pytest.mark.parametrize("founding", BOTH_WAYS)
def test_both_add_and_remove_by_value(founding: tuple[str, str]) -> None:
    """Several Adds in one commit, where the binding can; the Removes leave blanks that later Adds fill."""
    world, (first, second) = world_of(*founding)
    newcomers = world.clients([*founding, *founding, founding[1]])
    world.mint(newcomers)
    third, fourth, fifth, sixth, seventh = newcomers
    world.add(second, third, fourth)
    world.add(first, fifth, sixth)
    all_speak(world)
    world.remove(first, fourth)
    world.remove(second, fifth)
    all_speak(world)
    world.add(third, seventh)
    all_speak(world)
    assert [member.leaf_index for member in world.ours.members] == [0, 1, 2, 3, 5]


@pytest.mark.parametrize("founding", PAIRS)
def test_our_commits_of_every_shape(founding: tuple[str, str]) -> None:
    """Empty, adding without a path, adding and removing at once."""
    world, (us, them) = world_of(*founding)
    newcomers = world.clients([*founding, *founding])
    world.mint(newcomers)
    third, fourth, fifth, sixth = newcomers
    world.renew(us)
    world.win(us, us.change([world.offer(third), world.offer(fourth)], [], with_path=False), [third, fourth])
    world.renew(third)
    gone = [world.seat(them).leaf_index, world.seat(third).leaf_index]
    world.win(us, us.change([world.offer(fifth), world.offer(sixth)], gone), [fifth, sixth], [them, third])
    all_speak(world)
    assert [member.leaf_index for member in world.ours.members] == [0, 1, 2, 3]


@needs("mls-rs")
@pytest.mark.parametrize("public", [True, False], ids=["our handshakes are public", "our handshakes are private"])
def test_proposals_of_one_are_committed_by_the_other(public: bool) -> None:
    world, (us, them, bystander) = world_of("ours", "mls-rs", "ours", public=public)
    expected = PublicMessage if public else PrivateMessage
    all_speak(world)
    for proposer, committer, newcomer in ((us, them, "mls-rs"), (them, us, "ours"), (bystander, them, "mls-rs")):
        added, gone = world.client(newcomer), world.client("ours")
        world.add(us, gone)
        all_speak(world)
        update = bystander if proposer is not bystander else us
        for sender, message in (
            (proposer, proposer.propose_add(world.offer(added))),
            (proposer, proposer.propose_remove(world.seat(gone))),
            (update, update.propose_update()),
        ):
            assert isinstance(decode_message(message).body, expected if isinstance(sender, OurPeer) else PublicMessage)
            world.propose(sender, message)
        before = world.ours.state.leaf(world.seat(update).leaf_index)
        world.renew(committer, [added], [gone])
        assert world.ours.state.leaf(world.seat(update).leaf_index).encryption_key != before.encryption_key
        all_speak(world)


@needs("mls-rs")
def test_a_member_that_proposes_to_leave_is_out() -> None:
    world, (_, them, leaver) = world_of("ours", "mls-rs", "ours")
    world.propose(leaver, leaver.propose_remove(world.seat(leaver)))
    world.renew(them, gone=[leaver])
    assert leaver.group is None
    all_speak(world)


@needs("mls-rs")
def test_empty_commits_through_many_epochs() -> None:
    world, clients = world_of("ours", "mls-rs", "ours", "mls-rs", "mls-rs")
    for turn in range(40):
        world.renew(clients[turn * 3 % 5])
    assert world.ours.epoch == 41
    all_speak(world)


@pytest.mark.parametrize("founding", PAIRS)
def test_two_commits_of_one_epoch(founding: tuple[str, str]) -> None:
    """One wins; the other's sender drops its own and follows, and nobody follows the loser."""
    world, (us, them) = world_of(*founding)
    bystander = world.client("ours")
    world.add(us, bystander)
    for loser, winner in ((us, them), (them, us)):
        lost = loser.commit_in_vain(world.offer(world.client("ours")))
        world.add(winner, world.client("ours"))
        for member in (winner, bystander):
            with pytest.raises(member.refusal):
                member.process(lost, loser.identity)
        world.assert_agreement()
    world.add(them, world.client(founding[1]))
    all_speak(world)


@pytest.mark.parametrize("founding", [mix("ours", "mls-rs"), mix("ours", "rine")])
def test_messages_out_of_order_and_again(founding: tuple[str, str]) -> None:
    _, clients = world_of(*founding)
    for speaker, listener in (clients, clients[::-1]):
        said = [b"", b"x" * 5_000, *(b"message %d" % number for number in range(20))]
        sent = [speaker.send(data) for data in said]
        for place in (21, *range(0, 21, 2), *range(19, 0, -2)):
            assert listener.process(sent[place], speaker.identity).data == said[place]
        with pytest.raises(GenerationUsed if isinstance(listener, OurPeer) else listener.refusal):
            listener.process(sent[7], speaker.identity)


@pytest.mark.parametrize("other", [pytest.param(name, marks=needs(name)) for name in ("mls-rs", "rine")])
def test_messages_that_come_two_epochs_late(other: str) -> None:
    world = MixedWorld(("ours", other))
    us, them, third = world.clients(["ours", other, "ours"])
    for client in (us, third):
        client.config = replace(client.config, former_epochs_max=2)
    world.found(us)
    world.add(us, them, third)
    for speaker, listener in ((us, them), (them, us)):
        late = [speaker.send(b"late %d" % number) for number in range(3)]
        world.renew(us)
        world.add(them, world.client("ours"))
        for place in (2, 0, 1):
            assert listener.process(late[place], speaker.identity).data == b"late %d" % place


@needs("OpenMLS")
def test_openmls_accepts_our_data_in_any_order_and_only_once() -> None:
    _, (us, them) = world_of("ours", "OpenMLS")
    sent = [us.send(b"message %d" % number) for number in range(6)]
    for place in (3, 0, 5, 1):
        assert them.process(sent[place], us.identity).kind == "data"
    with pytest.raises(OSError, match="SecretReuseError"):
        them.process(sent[3], us.identity)
    with pytest.raises(OSError, match="UnableToDecrypt"):
        them.process(sent[4][:-1] + bytes([sent[4][-1] ^ 1]), us.identity)


@pytest.mark.parametrize("founding", PAIRS)
def test_a_removed_client_is_added_again(founding: tuple[str, str]) -> None:
    world, (us, them) = world_of(*founding)
    bystander = world.client("ours")
    world.add(us, bystander)
    for _ in range(2):
        world.remove(us, them)
        world.add(us, them)
        world.say(us, b"welcome back")
    all_speak(world)
    world.remove(them, us)
    world.add(them, us)
    all_speak(world)


@pytest.mark.parametrize("founding", [mix("ours", "mls-rs", "rine"), mix(*EVERYBODY)])
def test_all_go_on_from_what_they_stored(founding: tuple[str, ...]) -> None:
    world, clients = world_of(*founding)
    newcomer = world.client("ours")
    for member in world.members:
        world.restart(member)
    world.say(clients[0], b"still there?")
    world.add(clients[-1], newcomer)
    for member in world.members:
        world.restart(member)
    world.renew(newcomer)
    all_speak(world)


@pytest.mark.parametrize("founding", [mix("ours", "mls-rs", "rine"), mix(*EVERYBODY)])
def test_one_welcome_for_33_members(founding: tuple[str, ...]) -> None:
    """The others sit among ours, so that the tree has blanks and unmerged leaves on all sides of them."""
    world = MixedWorld(founding)
    crowd: list[Any] = world.clients(["ours"] * (32 - len(founding) + 1))
    others = world.clients(founding[1:])
    for place, other in zip((3, 16, 32), others, strict=False):
        crowd.insert(place, other)
    founder = world.client("ours")
    world.found(founder)
    world.mint(crowd)
    world.add(founder, *crowd)
    assert len(world.ours.members) == 33
    latecomers = world.clients([founding[-1], "ours"])
    world.mint(latecomers)
    committers = [founder, *(other for other in others if world.can_commit(other)), crowd[20]]
    for committer in committers:
        if peers.can(committer, "commit"):
            world.renew(committer)
    world.add(committers[1], *latecomers)
    world.remove(committers[1], founder)
    all_speak(world)
