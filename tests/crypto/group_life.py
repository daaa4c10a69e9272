"""The world of a group's random life: clients, and a delivery service with a log.

The delivery service takes proposals and commits of the newest epoch only, in one order for all. Clients read its log
each at its own pace; what it refused, and what others have read already, may reach anybody at any time. For every
message `group_judge` says beforehand what must come of it: any other outcome fails. Whoever enters an epoch is compared
with all who did so before.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import pytest

from crypto.errors import MLSError, RuleViolation
from crypto.mls.config import GroupConfig
from crypto.mls.credentials import BasicCredential
from crypto.mls.extensions import Extension, ExtensionType, ExternalSender
from crypto.mls.group import (
    ApplicationMessage,
    Group,
    PendingCommit,
    ReceivedProposal,
    StagedCommit,
    StagedJoin,
    create_group,
    join,
)
from crypto.mls.mls_message import decode_message
from crypto.mls.psk import ExternalPSK
from crypto.mls.roster import member_at
from crypto.mls.snapshot import rows
from crypto.mls.welcome import Welcome
from crypto.suites import X_WING, CipherSuite, suite_of
from crypto.wire import encode_as
from tests.crypto.group_clients import (
    AnyPSK,
    Client,
    EpochRecord,
    Handshake,
    Post,
    check_private_keys,
    names_in,
    spoiled,
    unknown_to,
)
from tests.crypto.group_judge import Wants, check_staged, post_verdict, verdict
from tests.crypto.world import LIFETIME, NOW, won

SUITES = (suite_of(1), suite_of(3), X_WING)
"""The cipher suites of a life: one kind of signature keys, so that who was there before can come again."""

MEMBERS_MAX = 40
INBOX_MAX = 40
OPENED_MAX = 12
STRAYS_MAX = 60

T = TypeVar("T")


class Draw(Protocol):
    """Where chance comes from: `random.Random`, seeded or played by Hypothesis."""

    def randrange(self, start: int, stop: int) -> int: ...
    def choice(self, seq: Sequence[T]) -> T: ...


def chance(draw: Draw, percent: int) -> bool:
    return draw.randrange(0, 100) < percent


def some(draw: Draw, items: list[str], at_most: int) -> tuple[str, ...]:
    """Up to so many different ones."""
    left = list(items)
    count = min(len(left), draw.randrange(0, at_most + 1))
    return tuple(left.pop(draw.randrange(0, len(left))) for _ in range(count))


@dataclass(frozen=True, eq=False)
class Invitation:
    """A Welcome on its way, and where in the log its receiver goes on."""

    name: str
    welcome: bytes
    position: int
    group_id: bytes
    epoch: int
    psks: tuple[AnyPSK, ...]


def error_name(error: MLSError) -> str:
    """How the tests call an error: a broken rule by its id."""
    return error.rule if isinstance(error, RuleViolation) else type(error).__name__


class Delivery:
    """Clients, a delivery service, one group."""

    def __init__(self, belongs: CipherSuite) -> None:
        self.suite = belongs
        self.clients: dict[str, Client] = {}
        self.records: dict[tuple[bytes, int], EpochRecord] = {}
        self.log: list[Handshake] = []
        self.invitations: list[Invitation] = []
        self.strays: deque[Handshake] = deque(maxlen=STRAYS_MAX)
        self.redo: list[tuple[str, Wants]] = []
        self.services = [belongs.signature.generate() for _ in range(2)]
        self.met: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.most_members = 1
        founder = self.new_client()
        self.front = create_group(
            belongs,
            b"a group's life",
            founder.credential,
            founder.signer,
            lifetime=LIFETIME,
            now=NOW,
            extensions=self.listing(2),
            config=founder.config,
        )
        self.keep(founder, self.front)

    def listing(self, count: int) -> tuple[Extension, ...]:
        """The extension that lists the first services as external senders."""
        listed = [
            ExternalSender(service.public, BasicCredential(b"service %d" % number))
            for number, service in enumerate(self.services[:count])
        ]
        data = encode_as(tuple[ExternalSender, ...], tuple(listed))
        return (Extension(ExtensionType.EXTERNAL_SENDERS, data),) if listed else ()

    # Clients

    def new_client(self) -> Client:
        """A client who was never in the group; they differ in how they send and in how much past they keep."""
        number = len(self.clients)
        config = GroupConfig(
            send_public_handshakes=number % 3 == 1,
            accept_public_handshakes=True,
            accept_external_commits=True,
            accept_external_proposals=True,
            former_epochs_max=(2, 0, 5, 1)[number % 4],
        )
        client = Client(f"client {number}", self.suite.signature.generate(), config)
        self.clients[client.name] = client
        return client

    @property
    def present(self) -> list[Client]:
        """Who holds a state of the group, up to date or not."""
        return [client for client in self.clients.values() if client.group is not None]

    @property
    def current(self) -> list[Client]:
        """Who has reached the newest epoch."""
        return [client for client in self.present if client.view.epoch == self.front.epoch]

    @property
    def room(self) -> int:
        """How many may come, beside those who were proposed."""
        coming = 0
        for entry in reversed(self.log):
            if entry.epoch != self.front.epoch:
                break
            coming += len(entry.comes)
        return max(0, MEMBERS_MAX - len(names_in(self.front)) - coming)

    def keep(self, client: Client, after: Group) -> None:
        """The client stores its new state. Entering an epoch, it knows what everybody knows there."""
        before = client.group
        if before is None or before.epoch != after.epoch:
            self.agree(after)
        client.store(after)

    def agree(self, group: Group) -> None:
        """Whoever enters an epoch has all its secrets, its tree and its context in common with all others."""
        record = EpochRecord.of(group)
        assert record == self.records.setdefault((group.group_id, group.epoch), record)

    def refused(self, name: str, action: Callable[[], object], *clients: Client) -> None:
        """`action` fails in the expected way, and leaves those who tried it as they were."""
        with pytest.raises(MLSError) as caught:
            action()
        assert error_name(caught.value) == name
        for client in clients:
            assert rows(client.view) == client.stored
        self.met[name] += 1

    def tell(self, client: Client, psks: Iterable[AnyPSK]) -> None:
        """Hand over PSKs by some other way."""
        for psk in psks:
            if isinstance(psk, ExternalPSK):
                client.papers.add(psk.psk_id)
            else:
                key = (psk.psk_group_id, psk.psk_epoch)
                client.told[key] = self.records[key].secrets.resumption_psk

    # The delivery service

    def submit(self, handshake: Handshake) -> bool:
        """Take a message into the log if it is of the newest epoch; what is too late strays about."""
        if (handshake.group_id, handshake.epoch) != (self.front.group_id, self.front.epoch):
            self.strays.append(handshake)
            return False
        self.log.append(handshake)
        if handshake.next_group is not None:
            before, after = set(names_in(self.front)), set(names_in(handshake.next_group))
            assert after == (before - handshake.goes) | handshake.comes
            self.front = handshake.next_group
            self.agree(self.front)
            self.most_members = max(self.most_members, len(after))
        return True

    def invite(self, pending: PendingCommit, handshake: Handshake) -> None:
        """An accepted commit's Welcome goes out to everybody whom it adds."""
        assert (pending.welcome is not None) == bool(handshake.comes)
        if pending.welcome is None:
            return
        welcome = decode_message(pending.welcome).body
        assert isinstance(welcome, Welcome)
        assert len(welcome.secrets) == len(handshake.comes)
        group, position = won(pending), len(self.log)
        for name in sorted(handshake.comes):
            self.invitations.append(
                Invitation(name, pending.welcome, position, group.group_id, group.epoch, handshake.psks)
            )

    def accept(self, invitation: Invitation) -> None:
        """Join by Welcome, unless the client is in the group still, or was in a later epoch."""
        client = self.clients[invitation.name]
        self.invitations.remove(invitation)
        if client.last_epoch >= invitation.epoch:
            return
        held = [] if client.group is None else [client.view.group_id]

        def enter() -> StagedJoin:
            return join(
                invitation.welcome,
                client.bundles,
                client.signer,
                now=NOW,
                held_groups=held,
                find_psk=client.find_psk,
                config=client.config,
            )

        if unknown_to(client, invitation.psks):
            self.refused("W3", enter)
            self.tell(client, invitation.psks)
        if held:
            self.refused("W5", enter, client)
            self.invitations.append(invitation)
            return
        staged = enter()
        del client.bundles[staged.used_reference]
        client.position = invitation.position
        self.keep(client, staged.accept())
        held.append(client.view.group_id)
        self.refused("W1", enter, client)

    # Reading

    def read(self, client: Client) -> bool:
        """Read the next entry of the log; false if there is none, or the client is out."""
        if client.group is None or client.position == len(self.log):
            return False
        handshake = self.log[client.position]
        client.position += 1
        if handshake.sender != client.name:
            self.take_in(client, handshake)
        elif handshake.next_epoch is not None:
            self.keep(client, client.view.adopt(handshake.next_epoch))
        return True

    def take_in(self, client: Client, handshake: Handshake) -> None:
        """A client processes a message in its turn, and goes where it leads."""
        expected = verdict(client, handshake)
        if expected == "U10":
            self.refused("U10", lambda: client.view.receive(handshake.message, NOW, client.find_psk), client)
            self.tell(client, handshake.psks)
            expected = verdict(client, handshake)
        if expected:
            self.refused(expected, lambda: client.view.receive(handshake.message, NOW, client.find_psk), client)
            return
        received = client.view.receive(handshake.message, NOW, client.find_psk)
        if isinstance(received, ReceivedProposal):
            assert handshake.next_group is None
            self.keep(client, received.group)
            if not handshake.is_public:
                client.taken.add(handshake.message)
            return
        assert isinstance(received, StagedCommit)
        check_staged(client, handshake, received)
        if received.removes_us:
            client.leave()
        else:
            self.keep(client, client.view.adopt(received))

    def open_post(self, client: Client, post: Post) -> None:
        """An application message reaches a client, as often and as late as it may be."""
        expected = post_verdict(client, post)
        if expected:
            self.refused(expected, lambda: client.view.receive(post.message, NOW), client)
            return
        wrong = spoiled(post.message)
        self.refused("AuthenticationError", lambda: client.view.receive(wrong, NOW), client)
        received = client.view.receive(post.message, NOW)
        assert isinstance(received, ApplicationMessage)
        assert (received.data, received.generation, received.epoch) == (post.data, post.generation, post.epoch)
        assert received.sender.credential.identity.decode() == post.sender
        assert received.sender.leaf_index == post.leaf
        trees = [self.records[post.group_id, epoch].tree for epoch in range(post.epoch, client.view.epoch + 1)]
        assert received.sender_is_current == (len({member_at(tree, post.leaf) for tree in trees}) == 1)
        client.window(post).take(post.generation)
        client.opened = [*client.opened, post][-OPENED_MAX:]
        self.keep(client, received.group)

    def everybody_reads(self) -> None:
        """Until nobody has anything to read, and nobody is invited."""
        busy = True
        while busy:
            busy = False
            for client in self.present:
                while self.read(client):
                    busy = True
            for invitation in list(self.invitations):
                busy = True
                self.accept(invitation)

    def end_step(self) -> None:
        """All clients restart. Whoever is in an epoch, new or old, still has its secrets and its tree."""
        for client in self.present:
            client.restart()
            state = client.view.state
            record = self.records[client.view.group_id, client.view.epoch]
            assert (state.secrets, state.tree.tree_hash) == (record.secrets, record.tree.tree_hash)

    def assert_agreement(self) -> None:
        """Everybody reads everything: all members are in one state, hold the keys that they should, and no others."""
        self.everybody_reads()
        record = self.records[self.front.group_id, self.front.epoch]
        assert {client.name for client in self.present} == set(record.names)
        for client in self.present:
            group = client.view
            assert (group.group_id, group.epoch) == (self.front.group_id, self.front.epoch)
            assert group.own_leaf == record.names[client.name]
            now = EpochRecord.of(group)
            assert (now.secrets, now.exported, now.tree) == (record.secrets, record.exported, record.tree)
            check_private_keys(group)
