"""A group of clients of several implementations, and a delivery service that keeps order."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from crypto.mls.credentials import BasicCredential
from crypto.mls.group import Group, Member
from tests.interop import peers
from tests.interop.our_peer import OurPeer
from tests.interop.peers import Peer, Sent


@dataclass
class MixedWorld:
    """Members of one group. Whatever is sent reaches everybody else at once and in order.

    `allowed` are the implementations that may ever be in the group: where OpenMLS is among them, ours send handshakes
    as PrivateMessage. Elsewhere `public` decides.
    """

    allowed: tuple[str, ...]
    public: bool = True
    members: list[Peer] = field(default_factory=list)
    stock: dict[bytes, bytes] = field(default_factory=dict)
    """A key package made in advance, by identity."""
    minted_at: int = 0
    epochs: int = 0
    numbers: Any = field(default_factory=itertools.count)

    # Who there is

    def client(self, implementation: str) -> Any:
        """A new client, not yet in the group."""
        name = f"{implementation} {next(self.numbers)}"
        if implementation != "ours":
            return peers.new(implementation, name)
        return OurPeer(name, public=self.public and "OpenMLS" not in self.allowed)

    def clients(self, implementations: Iterable[str]) -> list[Any]:
        return [self.client(implementation) for implementation in implementations]

    @property
    def ours(self) -> Group:
        """The group as the first of our clients in it sees it."""
        return next(member.view for member in self.members if isinstance(member, OurPeer))

    def seat(self, peer: Peer) -> Member:
        """Where a member sits, as we see it."""
        credential = BasicCredential(peer.identity)
        return next(member for member in self.ours.members if member.credential == credential)

    def can_commit(self, peer: Peer) -> bool:
        """Whether all others accept the wire format in which it sends handshakes."""
        sends = peers.abilities(peer).handshakes_sent
        if isinstance(peer, OurPeer) and peer.config.send_public_handshakes:
            sends = peers.PUBLIC
        return all(sends in peers.abilities(other).handshakes_accepted for other in self.members if other is not peer)

    def can_remove(self, by: Any, member: Peer) -> bool:
        """Whether a binding lets its client name this member: see `MlsRsPeer` and `OpenMlsPeer`."""
        match by.implementation:
            case "mls-rs":
                return member is not by and bool(by.knows(self.seat(member)))
            case "OpenMLS":
                return member is not by and self.seat(member).leaf_index < len(self.members)
            case _:
                return member is not by

    def halves_and_doubles(self, lost: Peer) -> bool:
        """Whether the tree would shrink and grow again if this member came back, which OpenMLS gets wrong."""
        left = self.seat(lost).leaf_index
        others = [member.leaf_index for member in self.ours.members if member.leaf_index != left]
        is_full = others == list(range(len(others))) and len(others).bit_count() == 1
        return is_full and left > len(others) > 1

    # Key packages

    def mint(self, clients: Iterable[Peer]) -> None:
        """Make key packages in advance, so that nobody waits for each of them."""
        for client in clients:
            self.stock[client.identity] = client.key_package()
            if client.implementation in ("mls-rs", "rine"):
                self.minted_at = peers.now()

    def offer(self, client: Peer) -> bytes:
        """A key package that all members accept: mls-rs sets not_before to now, and OpenMLS wants it in the past."""
        if client.identity not in self.stock:
            self.mint([client])
        while "OpenMLS" in self.allowed and peers.now() <= self.minted_at:
            time.sleep(0.05)
        return self.stock.pop(client.identity)

    # What may happen

    def found(self, founder: Peer) -> None:
        founder.create()
        self.members = [founder]

    def add(self, committer: Peer, *newcomers: Peer) -> None:
        """One commit adds them all; only where several do not fit one commit, each gets its own."""
        at_once = peers.abilities(committer).adds_max
        for start in range(0, len(newcomers), at_once):
            chunk = newcomers[start : start + at_once]
            self.win(committer, committer.add([self.offer(client) for client in chunk]), chunk)

    def remove(self, committer: Peer, gone: Peer) -> None:
        self.win(committer, committer.remove(self.seat(gone)), gone=[gone])

    def renew(self, committer: Any, newcomers: Sequence[Peer] = (), gone: Sequence[Peer] = ()) -> None:
        """An empty commit, or one of what has been proposed."""
        self.win(committer, committer.commit(), newcomers, gone)

    def propose(self, proposer: Peer, message: bytes) -> None:
        """Everybody else takes a proposal in."""
        for member in self.members:
            if member is not proposer:
                assert member.process(message, proposer.identity).kind == "proposal"

    def say(self, speaker: Any, data: bytes) -> None:
        """Everybody else reads application data."""
        self.deliver(speaker, data, speaker.send(data))

    def deliver(self, speaker: Peer, data: bytes, message: bytes) -> None:
        for member in self.members:
            if member is not speaker:
                received = member.process(message, speaker.identity)
                assert received.kind == "data"
                assert received.data == (data if peers.abilities(member).shows_data else None)

    def join_externally(self, outsider: Any, vouching: Any) -> None:
        """A client comes in by itself, with what a member says of the group."""
        sent = outsider.join_externally(vouching.group_info())
        self.members.append(outsider)
        self.win(outsider, sent)

    def come_back(self, lost: Any, vouching: Any) -> None:
        """A member that fears for its state replaces its old leaf by an external commit."""
        self.win(lost, lost.come_back(vouching.group_info()))

    def restart(self, member: Peer) -> None:
        member.restart(self.ours.group_id)

    def win(self, committer: Peer, sent: Sent, newcomers: Sequence[Peer] = (), gone: Sequence[Peer] = ()) -> None:
        """The delivery service accepts a commit: all others adopt it, the added join, the removed are out."""
        for member in self.members:
            if member is not committer:
                received = member.process(sent.commit, committer.identity)
                assert received.kind == ("removal" if member in gone else "commit")
        self.members = [member for member in self.members if member not in gone]
        for place, newcomer in enumerate(newcomers):
            newcomer.join(sent.welcome(place))
            self.members.append(newcomer)
        self.epochs += 1
        self.assert_agreement()

    def assert_agreement(self) -> None:
        """All members are in one epoch with the same secrets and the same people."""
        view = self.ours
        assert len(view.members) == len(self.members)
        assert {member.credential for member in view.members} == {
            BasicCredential(member.identity) for member in self.members
        }
        for member in self.members:
            member.assert_agrees(view)


def world_of(*founding: str, allowed: tuple[str, ...] = (), public: bool = True) -> tuple[MixedWorld, list[Any]]:
    """A group that the first client founds, and in which it then adds all others."""
    world = MixedWorld(allowed or founding, public)
    clients = world.clients(founding)
    world.mint(clients[1:])
    world.found(clients[0])
    world.add(clients[0], *clients[1:])
    return world, clients
