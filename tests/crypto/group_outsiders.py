"""What comes from outside in the random life of a group: services that propose, clients that ask to come or just do.

Whoever comes may be new, or have been there before.
"""

from __future__ import annotations

from crypto.mls.extensions import Extension, external_senders
from crypto.mls.group import (
    Group,
    PendingJoin,
    external_join,
    propose_as_external_sender,
    propose_own_addition,
    verify_group_info,
)
from crypto.mls.proposals import Add, AnyProposal, GroupContextExtensions, PreSharedKey, Remove
from crypto.mls.psk import ExternalPSK, PreSharedKeyID, ResumptionPSK, ResumptionPSKUsage
from tests.crypto.forge import REQUIRED
from tests.crypto.group_clients import AnyPSK, Client, Handshake, names_in, unknown_to
from tests.crypto.group_life import Draw, chance, some
from tests.crypto.group_mail import Mail
from tests.crypto.world import NOW

RESUMABLE = 6
"""How many epochs back a resumption PSK may come from: further than clients keep it by themselves."""


class Outsiders(Mail):
    """The world with all who are not in the group, and what they may bring along."""

    # What is drawn

    def newcomers(self, draw: Draw, group: Group, count: int) -> tuple[str, ...]:
        """Clients to add, as far as there is room: new ones, and some who have been there before."""
        count = min(count, self.room)
        members = names_in(group)
        out = [client for name, client in self.clients.items() if name not in members and client.last_epoch >= 0]
        unaware = [client.name for client in out if client.group is not None]
        again = some(draw, unaware or [client.name for client in out], min(count, 2)) if chance(draw, 50) else ()
        return (*again, *(self.new_client().name for _ in range(count - len(again))))

    def any_psk(self, draw: Draw) -> AnyPSK:
        """A paper key, or the resumption PSK of the present or of a former epoch."""
        if chance(draw, 40):
            return ExternalPSK(b"paper %d" % draw.randrange(0, 12))
        epoch = self.front.epoch - draw.randrange(0, RESUMABLE)
        group_id = self.front.group_id
        epoch = epoch if (group_id, epoch) in self.records else self.front.epoch
        return ResumptionPSK(ResumptionPSKUsage.APPLICATION, group_id, epoch)

    def any_extensions(self, draw: Draw) -> tuple[Extension, ...]:
        """Different lists of external senders and of requirements, that all clients support."""
        return self.listing(draw.choice([0, 1, 2, 2, 2])) + (REQUIRED if chance(draw, 50) else ())

    # Proposals

    def service_proposes(self, draw: Draw) -> None:
        """One outside proposes; everybody refuses it where the group lists no such service, or another key."""
        number = draw.randrange(0, 2)
        listed = len(external_senders(self.front.extensions))
        impostor = chance(draw, 15)
        names = names_in(self.front)
        proposal: AnyProposal
        kind = draw.choice(["add", "remove", "psk", "psk", "extensions"])
        if kind == "add":
            adds = self.newcomers(draw, self.front, 1)
            if not adds:
                return
            proposal = Add(self.clients[adds[0]].offer(self.suite).key_package)
        elif kind == "remove":
            proposal = Remove(draw.choice(list(names.values())))
        elif kind == "psk":
            nonce = self.suite.generate_secret().reveal()
            proposal = PreSharedKey(PreSharedKeyID(self.any_psk(draw), nonce))
        else:
            proposal = GroupContextExtensions(self.any_extensions(draw))
        signer = self.services[1 - number if impostor else number]
        front = self.front
        message = propose_as_external_sender(self.suite, front.group_id, front.epoch, number, signer, proposal)
        refusal = "F14" if number >= listed else "AuthenticationError" if impostor else ""
        comes = frozenset(adds) if kind == "add" and not refusal else frozenset()
        self.submit(Handshake(front.group_id, front.epoch, "", message, by_member=False, comes=comes, refusal=refusal))
        self.done[f"service_proposes {kind}"] += 1

    def propose_oneself(self, draw: Draw) -> None:
        """A client asks to be added."""
        names = self.newcomers(draw, self.front, 1)
        if not names:
            return
        client, front = self.clients[names[0]], self.front
        message = propose_own_addition(client.offer_bundle(self.suite), client.signer, front.group_id, front.epoch)
        self.submit(Handshake(front.group_id, front.epoch, "", message, by_member=False, comes=frozenset(names)))
        self.done["propose_oneself"] += 1

    # Coming by oneself

    def join_by_oneself(self, draw: Draw) -> None:
        """A client joins by external commit; who vouches for the group may be behind, and then it is too late."""
        if self.room:
            joiner = self.clients[draw.choice(self.newcomers(draw, self.front, 1))]
            self.submit_join(draw, joiner, draw.choice(self.present).view)
            self.done["join_by_oneself"] += 1

    def come_back(self, draw: Draw) -> None:
        """A member has lost its state, and replaces its former self, with or without a proof that it was there."""
        vouching = draw.choice(self.present)
        members = names_in(vouching.view)
        if len(members) > 1:
            self.submit_join(draw, self.clients[draw.choice(list(members))], vouching.view, returns=True)
            self.done["come_back"] += 1

    def submit_join(self, draw: Draw, joiner: Client, vouching: Group, *, returns: bool = False) -> bool:
        verified = verify_group_info(vouching.group_info(), now=NOW)
        members = names_in(verified)
        if (joiner.name in members) is not returns:
            return False
        psks = tuple(self.any_psk(draw) for _ in range(draw.choice([0, 0, 1, 2])))

        def attempt() -> PendingJoin:
            return external_join(
                verified,
                joiner.credential,
                joiner.signer,
                removes=members[joiner.name] if returns else None,
                psks=psks,
                find_psk=joiner.find_psk,
                config=joiner.config,
            )

        if unknown_to(joiner, psks):
            self.refused("U10", attempt)
            self.tell(joiner, psks)
        pending = attempt()
        only_itself = frozenset([joiner.name])
        handshake = Handshake(
            verified.group_id,
            verified.epoch,
            joiner.name,
            pending.message,
            by_member=False,
            next_group=pending.next_group,
            psks=psks,
            comes=only_itself,
            goes=only_itself if returns else frozenset(),
        )
        if not self.submit(handshake):
            return False
        joiner.leave()
        joiner.position = len(self.log)
        self.keep(joiner, pending.next_group)
        return True

    def accept_invitation(self, draw: Draw) -> None:
        """One of those who were added joins, in whatever order; rather one who does not know yet that it was out."""
        if self.invitations:
            unaware = [invited for invited in self.invitations if self.clients[invited.name].group is not None]
            self.accept(draw.choice(unaware or self.invitations))
            self.done["accept_invitation"] += 1
