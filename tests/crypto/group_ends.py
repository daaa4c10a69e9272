"""What a group may come to in its random life: wrong turns that are refused, branches, a new life, its end.

The events of every day stand in `group_events`.
"""

from __future__ import annotations

from collections.abc import Callable

from crypto.mls.extensions import external_senders
from crypto.mls.group import (
    Group,
    PendingCommit,
    StagedJoin,
    VerifiedKeyPackage,
    branch,
    external_join,
    join,
    propose_as_external_sender,
    reinitialise,
    verify_group_info,
)
from crypto.mls.headers import ProtocolVersion
from crypto.mls.proposals import ReInit
from crypto.mls.psk import ExternalPSK, ResumptionPSK, ResumptionPSKUsage
from crypto.mls.tree_nodes import LeafIndex
from crypto.suites import CipherSuite
from tests.crypto.forge import UNLISTED
from tests.crypto.group_clients import Client, EpochRecord, Handshake, check_private_keys, names_in
from tests.crypto.group_events import Events
from tests.crypto.group_judge import Wants
from tests.crypto.group_life import SUITES, Draw, chance, some
from tests.crypto.world import LIFETIME, NOW, won


class Life(Events):
    """One group from its first member to its end, and beyond."""

    next_suites: tuple[CipherSuite, ...] = ()
    """To which the group may be reinitialised; always the same if there is none."""

    # Wrong turns

    def blunder(self, draw: Draw) -> None:
        """A client tries what no valid commit can do, and is refused before anything is sent."""
        client, stranger = draw.choice(self.present), self.new_client()
        group = client.view
        others = [leaf for leaf in names_in(group).values() if leaf != group.own_leaf]
        nobody = LeafIndex(group.state.tree.leaf_count + draw.randrange(0, 9))
        own_offer, first_offer, second_offer = (each.offer(self.suite) for each in (client, stranger, stranger))
        other_suite = next(each for each in SUITES if each is not self.suite)
        verified = verify_group_info(group.group_info(), now=NOW)
        blunders: dict[str, Callable[[], object]] = {
            "Q3": lambda: group.commit((), [group.own_leaf], now=NOW),
            "Q5": lambda: group.commit([first_offer, second_offer], now=NOW),
            "Q6": lambda: group.commit([own_offer], now=NOW),
            "K1": lambda: group.commit([stranger.offer(other_suite)], now=NOW),
            "P3": lambda: group.commit((), [nobody], now=NOW),
            "P5": lambda: group.propose_psk(ResumptionPSK(ResumptionPSKUsage.BRANCH, b"", 0), now=NOW),
            "P8": lambda: group.commit(extensions=(UNLISTED,), now=NOW),
            "U10": lambda: group.commit(psks=[ExternalPSK(b"nobody's")], now=NOW, find_psk=client.find_psk),
            "L12": lambda: external_join(verified, client.credential, client.signer),
        }
        if others:
            victim = draw.choice(others)
            blunders["Q4"] = lambda: group.commit((), [victim, victim], now=NOW)
            blunders["X2"] = lambda: external_join(verified, stranger.credential, stranger.signer, removes=victim)
        for rule in some(draw, sorted(blunders), 5):
            self.refused(rule, blunders[rule], client)
        self.done["blunder"] += 1

    # Groups that follow

    def branch_off(self, draw: Draw) -> None:
        """Some members make a group of their own; who is in another epoch needs the PSK of the one that it is of."""
        maker = draw.choice(self.present)
        members = names_in(maker.view)
        others = [each.name for each in self.present if each.name in members and each is not maker]
        chosen = [self.clients[name] for name in some(draw, others, 4)]
        offers = [each.offer(self.suite) for each in chosen]
        group_id = b"branch %d" % self.done["branch_off"]
        stranger = self.new_client().offer(self.suite)
        self.refused("W11", lambda: self.made_branch(maker, group_id, [*offers, stranger]), maker)
        pending = self.made_branch(maker, group_id, offers)
        psk = ResumptionPSK(ResumptionPSKUsage.BRANCH, maker.view.group_id, maker.view.epoch)
        everybody = {maker.name, *(each.name for each in chosen)}
        for client in chosen:
            self.enter_branch(client, pending, psk, everybody)
        self.done["branch_off"] += 1

    def enter_branch(self, client: Client, pending: PendingCommit, psk: ResumptionPSK, everybody: set[str]) -> None:
        """A member joins a branch if it finds the PSK, and sees all the others in its own epoch."""

        def enter(previous: Group | None) -> StagedJoin:
            return self.entered(client, pending, previous)

        self.refused("W3" if client.find_psk(psk) is None else "W11", lambda: enter(None), client)
        if not client.knows_as_member(psk):
            self.refused("W3", lambda: enter(client.view), client)
            self.tell(client, [psk])
        if not everybody <= set(names_in(client.view)):
            self.refused("W11", lambda: enter(client.view), client)
            return
        group = enter(client.view).accept()
        assert EpochRecord.of(group) == EpochRecord.of(won(pending))
        assert group.epoch == 1
        check_private_keys(group)

    def made_branch(self, maker: Client, group_id: bytes, offers: list[VerifiedKeyPackage]) -> PendingCommit:
        return branch(maker.view, group_id, offers, lifetime=LIFETIME, now=NOW)

    def entered(self, client: Client, pending: PendingCommit, previous: Group | None) -> StagedJoin:
        assert pending.welcome is not None
        return join(
            pending.welcome,
            client.bundles,
            client.signer,
            now=NOW,
            find_psk=client.find_psk,
            previous=previous,
            config=client.config,
        )

    def reinitialise(self, draw: Draw) -> None:
        """The group ends, and goes on as another with the same members, perhaps with another cipher suite."""
        if len(names_in(self.front)) < 2:
            return
        self.settle(draw)
        following = draw.choice(self.next_suites or (self.suite,))
        reinit = ReInit(
            b"life %d" % (self.done["reinitialise"] + 2),
            ProtocolVersion.MLS10,
            following.id,
            self.any_extensions(draw),
        )
        if self.front.pending_proposals or not self.propose_end(draw, reinit):
            return
        self.everybody_reads()
        self.send_commit(draw.choice(self.present), Wants(with_path=chance(draw, 50)))
        self.assert_agreement()
        assert all(client.view.reinitialised_to == reinit for client in self.present)
        self.assert_frozen(draw)
        self.begin_anew(draw, following)
        self.done["reinitialise"] += 1

    def propose_end(self, draw: Draw, reinit: ReInit) -> bool:
        """A member proposes the end, or a service whom the group lists."""
        front = self.front
        if external_senders(front.extensions) and chance(draw, 50):
            message = propose_as_external_sender(self.suite, front.group_id, front.epoch, 0, self.services[0], reinit)
            return self.submit(Handshake(front.group_id, front.epoch, "", message, by_member=False))
        client = draw.choice(self.current)
        suite = next(each for each in SUITES if each.id == reinit.cipher_suite)
        self.send_proposal(client, client.view.propose_reinit(reinit.group_id, suite, reinit.extensions, now=NOW))
        return True

    def assert_frozen(self, draw: Draw) -> None:
        """Nothing more is said in the old group."""
        client = draw.choice(self.present)
        group = client.view
        for action in (
            lambda: group.protect(b"too late"),
            lambda: group.commit(now=NOW),
            lambda: group.propose_update(now=NOW),
            group.group_info,
        ):
            self.refused("U15", action, client)

    def begin_anew(self, draw: Draw, suite: CipherSuite) -> None:
        """One member makes the new group, all others join; what strays about is of another group from now on."""
        members, maker = self.present, draw.choice(self.present)
        old = {client.name: client.view for client in members}
        self.suite = suite
        for client in members:
            if chance(draw, 50):
                client.signer = suite.signature.generate()
        offers = [client.offer(suite) for client in members if client is not maker]

        def made(adds: list[VerifiedKeyPackage]) -> PendingCommit:
            return reinitialise(old[maker.name], adds, maker.credential, maker.signer, lifetime=LIFETIME, now=NOW)

        self.refused("W11", lambda: made(offers[1:]))
        pending = made(offers)
        self.strays.extend(self.log)
        self.log, self.invitations, self.redo, self.front = [], [], [], won(pending)
        for client in self.clients.values():
            client.leave()
            client.position, client.last_epoch = 0, min(client.last_epoch, 0)
        for client in members:
            if client is maker:
                self.keep(client, won(pending))
                continue
            self.refused("W3", lambda client=client: self.entered(client, pending, None))
            staged = self.entered(client, pending, old[client.name])
            self.keep(client, staged.accept())
            del client.bundles[staged.used_reference]

    def end(self) -> None:
        """In the end everybody reads everything, all agree, and they hear each other."""
        self.assert_agreement()
        speaker = self.present[0]
        self.send_commit(speaker, Wants())
        self.assert_agreement()
        assert not self.front.pending_proposals
        self.speak(speaker, lost=0, data=b"the last word")
        for client in self.present[1:]:
            self.open_post(client, client.inbox[-1])
