"""Application messages in the random life of a group: spoken, lost, delayed, repeated, reordered, over the epochs."""

from __future__ import annotations

from crypto.mls.secret_tree import SKIP_MAX
from tests.crypto.group_clients import Client, Post, names_in
from tests.crypto.group_judge import post_verdict
from tests.crypto.group_life import INBOX_MAX, Delivery, Draw, chance


class Mail(Delivery):
    """The world with all that concerns application messages."""

    def say(self, draw: Draw) -> None:
        """A member speaks, unless there are proposals to commit first; everybody in its epoch will hear it."""
        client = draw.choice(self.present)
        if client.view.pending_proposals:
            self.refused("D1", lambda: client.view.protect(b"not now"), client)
            return
        self.speak(client, lost=0, data=b"message %d" % draw.randrange(0, 1000))
        self.done["say"] += 1

    def babble(self, draw: Draw) -> None:
        """So many messages are lost that a receiver skips all it may, or would have to skip one more."""
        client, listener = draw.choice(self.present), draw.choice(self.present)
        if client.view.pending_proposals:
            return
        self.speak(client, lost=draw.choice([SKIP_MAX, SKIP_MAX + 1]), data=b"after a silence")
        self.open_post(listener, listener.inbox[-1])
        self.done["babble"] += 1

    def speak(self, client: Client, *, lost: int, data: bytes) -> None:
        group = client.view
        for _ in range(lost):
            group, _ = group.protect(b"")
        group, message = group.protect(data)
        generation = client.spoken.get(group.epoch, 0) + lost
        client.spoken[group.epoch] = generation + 1
        self.keep(client, group)
        post = Post(group.group_id, group.epoch, client.name, group.own_leaf, generation, data, message)
        for name in {*names_in(group), *(other.name for other in self.present)}:
            self.clients[name].inbox = [*self.clients[name].inbox, post][-INBOX_MAX:]

    def deliver(self, draw: Draw) -> None:
        """Some application messages reach a client, in any order; they may come again, and some get lost."""
        waiting = [client for client in self.present if client.inbox]
        if not waiting:
            return
        client = draw.choice(waiting)
        for _ in range(draw.randrange(1, 6)):
            readable = [post for post in client.inbox if not post_verdict(client, post)]
            if client.inbox:
                post = draw.choice(readable if readable and chance(draw, 60) else client.inbox)
                if not chance(draw, 20):
                    client.inbox.remove(post)
                if not chance(draw, 10):
                    self.open_post(client, post)
                    self.done["deliver"] += 1

    def replay(self, draw: Draw) -> None:
        """Somebody sends again what a client has opened before, in this epoch or in another."""
        readers = [client for client in self.present if client.opened]
        if readers:
            client = draw.choice(readers)
            for post in client.opened:
                assert post_verdict(client, post) in {"GenerationUsed", "PastEpoch", "F1"}
                self.open_post(client, post)
            self.done["replay"] += 1

    def forget(self, draw: Draw) -> None:
        """A client erases the keys of former epochs."""
        client = draw.choice(self.present)
        client.store(client.view.forget_former_epochs())
        client.kept_since = client.view.epoch
        self.done["forget"] += 1
