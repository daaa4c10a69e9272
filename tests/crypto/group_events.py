"""What members do in the random life of a group: they commit, propose, and read on.

The world in which they do it is `group_life`'s, application messages are `group_mail`'s, what comes from outside is
`group_outsiders`'. Each event draws its own particulars; one that finds nothing to do returns without counting itself.
"""

from __future__ import annotations

from crypto.mls.group import Group, PendingCommit
from crypto.mls.proposals import Add, PreSharedKey, Remove
from crypto.mls.psk import ExternalPSK
from crypto.mls.tree_nodes import LeafIndex
from tests.crypto.forge import UNLISTED
from tests.crypto.group_clients import Client, Handshake, names_in, spoiled
from tests.crypto.group_judge import Wants, covered, verdict
from tests.crypto.group_life import MEMBERS_MAX, Draw, chance, some
from tests.crypto.group_outsiders import Outsiders
from tests.crypto.world import NOW, won

KINDS = frozenset({"add", "remove", "update", "psk", "extensions", "unsupported"})
"""What members propose; nobody supports the extension of the last one, so no commit covers it."""


class Events(Outsiders):
    """One group, and everything that its members do."""

    # Helpers of the events

    def somebody(self, draw: Draw) -> Client:
        """A member who mostly, but not always, has read the log to its end."""
        client = draw.choice(self.present)
        if chance(draw, 80):
            self.catch_up(client)
        return client if client.group is not None else self.somebody(draw)

    def catch_up(self, client: Client) -> None:
        while self.read(client):
            pass

    def make_commit(self, client: Client, wants: Wants) -> tuple[PendingCommit, Handshake]:
        """A commit that nobody has seen yet, and what it must do."""
        group = client.view
        places = names_in(group)
        expected = covered(client, wants)
        pending = group.commit(
            [self.clients[name].offer(self.suite) for name in wants.adds],
            [places[name] for name in wants.removes],
            now=NOW,
            psks=wants.psks,
            extensions=wants.extensions,
            with_path=wants.with_path,
            find_psk=client.find_psk,
        )
        self.keep(client, pending.group)
        name_of = {leaf: name for name, leaf in places.items()}
        proposals = [checked.proposal for checked in expected]
        handshake = Handshake(
            group.group_id,
            group.epoch,
            client.name,
            pending.message,
            next_group=won(pending),
            next_epoch=pending.next_epoch,
            covers=frozenset(checked.reference for checked in expected if checked.reference is not None),
            psks=wants.psks + tuple(each.psk.psk for each in proposals if isinstance(each, PreSharedKey)),
            comes=frozenset(wants.adds)
            | {each.key_package.leaf_node.credential.identity.decode() for each in proposals if isinstance(each, Add)},
            goes=frozenset(wants.removes)
            | {name_of[LeafIndex(each.removed)] for each in proposals if isinstance(each, Remove)},
        )
        return pending, handshake

    def send_commit(self, client: Client, wants: Wants) -> bool:
        """Commit and submit; who is too late will try again."""
        self.tell(client, [psk for psk in wants.psks if not client.knows_as_member(psk)])
        pending, handshake = self.make_commit(client, wants)
        if self.submit(handshake):
            self.invite(pending, handshake)
            return True
        self.redo.append((client.name, wants))
        return False

    def any_wants(self, draw: Draw, client: Client) -> Wants:
        group = client.view
        others = [name for name in names_in(group) if name != client.name]
        return Wants(
            adds=self.newcomers(draw, group, draw.choice([0, 0, 0, 1, 1, 2, 3])),
            removes=some(draw, others, draw.choice([0, 0, 1, 2])),
            psks=tuple(self.any_psk(draw) for _ in range(draw.choice([0, 0, 0, 1, 2]))),
            extensions=self.any_extensions(draw) if chance(draw, 15) else None,
            with_path=chance(draw, 65),
        )

    def send_proposal(self, client: Client, sent: tuple[Group, bytes], comes: tuple[str, ...] = ()) -> None:
        group, message = sent
        self.keep(client, group)
        assert self.submit(Handshake(group.group_id, group.epoch, client.name, message, comes=frozenset(comes)))
        if not self.log[-1].is_public:
            client.taken.add(message)

    # Membership

    def add_crowd(self, draw: Draw) -> None:
        """Many come at once."""
        client = self.somebody(draw)
        adds = self.newcomers(draw, client.view, draw.randrange(4, MEMBERS_MAX))
        if adds and self.send_commit(client, Wants(adds=adds, with_path=chance(draw, 50))):
            self.done["add_crowd"] += 1

    def thin_out(self, draw: Draw) -> None:
        """Many go at once: a half, or all at the right."""
        client = self.somebody(draw)
        others = [name for name in names_in(client.view) if name != client.name]
        goes = others[len(others) // 3 :] if chance(draw, 50) else others[::2]
        if len(others) > 8 and self.send_commit(client, Wants(removes=tuple(goes))):
            self.done["thin_out"] += 1

    def out_and_in(self, draw: Draw) -> None:
        """A member speaks, is removed, and added again with somebody else, perhaps at its old leaf.

        It learns of all that in the wrong order, and the others hear what it has said after it has gone.
        """
        client, other = self.somebody(draw), draw.choice(self.present)
        if other is client or other.name not in names_in(client.view):
            return
        if not other.view.pending_proposals:
            self.speak(other, lost=0, data=b"before I go")
        if not self.send_commit(client, Wants(removes=(other.name,))):
            return
        self.catch_up(client)
        adds = (*self.newcomers(draw, client.view, 1), other.name)[-max(1, min(2, self.room)) :]
        if not self.send_commit(client, Wants(adds=tuple(dict.fromkeys(adds)))):
            return
        invitation = next(each for each in reversed(self.invitations) if each.name == other.name)
        if other.view.epoch < self.front.epoch:
            self.accept(invitation)
        for listener in list(self.present):
            self.catch_up(listener)
            if listener.group is not None and listener.inbox:
                self.open_post(listener, listener.inbox[-1])
        self.done["out_and_in"] += 1

    def commit(self, draw: Draw) -> None:
        """A member, perhaps one that is behind, commits the proposals of its epoch and wants of its own."""
        client = self.somebody(draw)
        self.send_commit(client, self.any_wants(draw, client))
        self.done["commit"] += 1

    def hear_meanwhile(self, draw: Draw) -> None:
        """A committer hears a message of its epoch before it knows that its commit has won; then it comes again."""
        client, speaker = self.somebody(draw), draw.choice(self.current or self.present)
        if client is speaker or client not in self.current or speaker.view.pending_proposals:
            return
        if not self.send_commit(client, Wants(with_path=chance(draw, 50))):
            return
        self.speak(speaker, lost=draw.randrange(0, 2), data=b"meanwhile")
        for _ in range(2):
            self.open_post(client, client.inbox[-1])
            self.catch_up(client)
        self.open_post(client, client.inbox[-1])
        self.done["hear_meanwhile"] += 1

    def race(self, draw: Draw) -> None:
        """Several commit the same epoch, a client that joins by itself perhaps among them. The first one wins."""
        racers = list(dict.fromkeys(self.somebody(draw) for _ in range(4)))
        racers = [client for client in racers if client in self.current]
        if len(racers) < 2:
            return
        joined_first = self.room > 0 and chance(draw, 20)
        joined_first = joined_first and self.submit_join(draw, self.new_client(), racers[0].view)
        made = [(client, wants, self.make_commit(client, wants)) for client, wants in self.race_wants(draw, racers)]
        for client, wants, (pending, handshake) in made:
            if self.submit(handshake):
                self.invite(pending, handshake)
            else:
                self.redo.append((client.name, wants))
        assert joined_first or self.log[-1].sender == racers[0].name
        self.done["race"] += 1

    def race_wants(self, draw: Draw, racers: list[Client]) -> list[tuple[Client, Wants]]:
        wanted = []
        for client in racers:
            wants = self.any_wants(draw, client)
            self.tell(client, [psk for psk in wants.psks if not client.knows_as_member(psk)])
            wanted.append((client, wants))
        return wanted

    def try_again(self, draw: Draw) -> None:
        """A member whose commit lost has read the one that won, and says again what it still wants."""
        if not self.redo:
            return
        name, wants = self.redo.pop(draw.randrange(0, len(self.redo)))
        client = self.clients[name]
        self.catch_up(client)
        if client.group is None:
            return
        members = names_in(client.view)
        adds = [name for name in wants.adds if name not in members][: self.room]
        removes = [name for name in wants.removes if name in members and name != client.name]
        psks = [psk for psk in wants.psks if isinstance(psk, ExternalPSK) or psk.psk_group_id == client.view.group_id]
        self.send_commit(client, Wants(tuple(adds), tuple(removes), tuple(psks), wants.extensions, wants.with_path))
        self.done["try_again"] += 1

    # Proposals

    def propose(self, draw: Draw) -> None:
        """A member of the newest epoch proposes something; several proposals may clash."""
        client = self.somebody(draw)
        if client not in self.current:
            return
        group = client.view
        kind = draw.choice(sorted(KINDS))
        if kind == "add":
            names = self.newcomers(draw, group, 1)
            for name in names:
                offer = self.clients[name].offer(self.suite)
                self.send_proposal(client, group.propose_add(offer, now=NOW), names)
        elif kind == "remove":
            target = draw.choice(list(names_in(group).values()))
            self.send_proposal(client, group.propose_remove(target, now=NOW))
        elif kind == "psk":
            self.send_proposal(client, group.propose_psk(self.any_psk(draw), now=NOW))
        elif kind == "extensions":
            self.send_proposal(client, group.propose_extensions(self.any_extensions(draw), now=NOW))
        elif kind == "unsupported":
            self.send_proposal(client, group.propose_extensions((UNLISTED,), now=NOW))
        else:
            self.send_proposal(client, group.propose_update(now=NOW))
        self.done[f"propose {kind}"] += 1

    # Messages on their ways

    def read_log(self, draw: Draw) -> None:
        """Some clients read on, each some way."""
        for _ in range(draw.randrange(1, 6)):
            client = draw.choice(self.present)
            for _ in range(draw.randrange(1, 12)):
                self.read(client)
        self.done["read_log"] += 1

    def settle(self, draw: Draw) -> None:
        """Everybody reads everything; then somebody commits what is left."""
        self.everybody_reads()
        client = draw.choice(self.present)
        self.send_commit(client, Wants())
        self.everybody_reads()
        self.done["settle"] += 1

    def hand_over(self, draw: Draw) -> None:
        """A handshake message reaches somebody too early, too late, again, or spoiled: nobody moves by that."""
        messages = [*self.log[-25:], *self.strays]
        if not messages:
            return
        client = draw.choice(self.present)
        near = [message for message in messages if message.epoch == client.view.epoch]
        handshake = draw.choice(near if near and chance(draw, 60) else messages)
        expected = verdict(client, handshake)
        accepts_removal = client.name in handshake.goes and not handshake.by_member
        if not expected and not accepts_removal:  # the tag that we spoil is not for those whom the commit removes
            wrong = spoiled(handshake.message)
            self.refused("AuthenticationError", lambda: client.view.receive(wrong, NOW, client.find_psk), client)
        if expected:
            self.refused(expected, lambda: client.view.receive(handshake.message, NOW, client.find_psk), client)
        elif handshake.next_group is None:
            self.take_in(client, handshake)
        else:
            client.view.receive(handshake.message, NOW, client.find_psk)  # staged and dropped
        self.done["hand_over"] += 1
