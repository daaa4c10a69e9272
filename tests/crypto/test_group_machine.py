"""A random life of a group: whatever happens, members of one epoch agree, or a named error says why not.

Members come by Welcome and by themselves, go, lose their state and come back.

The delivery service keeps a log, as the server does: it takes commits and proposals of the current epoch only. Members
read it in order, each at its own pace. Application messages take another way, where they are lost, delayed, repeated
and reordered. After every step the touched member goes on from its stored rows.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from crypto.errors import FutureEpoch, GenerationUsed, PastEpoch, RuleViolation
from crypto.mls.config import GroupConfig
from crypto.mls.framing import decode_message
from crypto.mls.group import (
    ApplicationMessage,
    Group,
    PendingCommit,
    ReceivedProposal,
    StagedCommit,
    external_join,
    verify_group_info,
)
from crypto.mls.psk import ExternalPSK, ResumptionPSK
from crypto.mls.snapshot import difference, load, rows
from crypto.mls.welcome import Welcome
from crypto.secret import Secret
from crypto.suites import X_WING, CipherSuite, suite
from tests.crypto.world import NOW, Person, World

MEMBERS_MAX = 12


@dataclass
class Entry:
    """What the delivery service keeps in its log."""

    sender: str
    message: bytes
    pending: PendingCommit | None = None


@dataclass
class Post:
    """An application message on its way to one member."""

    epoch: int
    sender: str
    data: bytes
    message: bytes
    opened: bool = field(default=False)


def find_psk(psk: ExternalPSK | ResumptionPSK) -> Secret | None:
    return Secret(b"secret of " + psk.psk_id) if isinstance(psk, ExternalPSK) else None


class GroupMachine(RuleBasedStateMachine):
    """One group, up to twelve members."""

    belongs: CipherSuite = suite(1)

    def __init__(self) -> None:
        super().__init__()
        config = GroupConfig(accept_public_handshakes=True, accept_external_commits=True, former_epochs_max=2)
        self.world = World(self.belongs, config=config)
        self.log: list[Entry] = []
        self.epoch = 0
        self.positions: dict[str, int] = {}
        self.stored: dict[str, dict[str, bytes]] = {}
        self.authenticators: dict[int, bytes] = {}
        self.posts: dict[str, list[Post]] = {}
        self.names = 0
        self.external_commits = 0

    # The world's ways

    def new_name(self) -> str:
        self.names += 1
        return f"person {self.names}"

    def store(self, name: str, after: Group) -> None:
        """Persist the new state as a store would, and go on from what is there."""
        someone = self.world.people[name]
        rows_now = self.stored.setdefault(name, {})
        for row_name, row in difference(someone.group if rows_now else None, after).items():
            if row is None:
                rows_now.pop(row_name, None)
            else:
                rows_now[row_name] = row
        assert rows_now == rows(after)
        someone.group = load(rows_now, someone.signer, someone.config)

    def pick(self, number: int) -> Person:
        members = self.world.members
        return members[number % len(members)]

    def is_current(self, someone: Person) -> bool:
        return someone.view.epoch == self.epoch

    # What may happen

    @initialize(size=st.integers(2, 8))
    def found(self, size: int) -> None:
        founder = self.new_name()
        self.world.found(founder)
        self.positions[founder] = 0
        self.store(founder, self.world[founder])
        self.commit(0, size - 1, [], True, False, True)
        self.everybody_reads()

    @rule()
    def everybody_reads(self) -> None:
        behind = True
        while behind:  # those who join meanwhile get their turn in the next round
            behind = False
            for someone in self.world.members:
                while someone.group is not None and self.positions[someone.name] < len(self.log):
                    behind = True
                    self.read_entry(someone)

    @rule(
        who=st.integers(0, 99),
        adds=st.sampled_from([0, 0, 1, 2]),
        removes=st.lists(st.integers(0, 99), max_size=2),
        with_path=st.booleans(),
        psk=st.booleans(),
        wins=st.sampled_from([True, True, True, False]),
    )
    def commit(self, who: int, adds: int, removes: list[int], with_path: bool, psk: bool, wins: bool) -> None:
        committer = self.pick(who)
        group = committer.view
        gone = {group.members[number % len(group.members)].leaf_index for number in removes} - {group.own_leaf}
        adds = min(adds, max(0, MEMBERS_MAX - len(group.members))) if self.is_current(committer) else 0
        newcomers = tuple(self.new_name() for _ in range(adds))
        pending = group.commit(
            [self.world.person(name).offer() for name in newcomers],
            sorted(gone),
            now=NOW,
            psks=(ExternalPSK(b"paper"),) if psk else (),
            with_path=with_path,
            find_psk=find_psk,
        )
        self.store(committer.name, pending.group)
        accepted = self.is_current(committer) and wins
        if accepted:
            self.log.append(Entry(committer.name, pending.message, pending))
            self.epoch += 1
            self.welcome(pending)

    @rule(who=st.integers(0, 99), by=st.integers(0, 99), returns=st.booleans(), psk=st.booleans())
    def join_externally(self, who: int, by: int, returns: bool, psk: bool) -> None:
        """Somebody joins by itself, or a member that has lost its state comes back; refused if `by` is behind."""
        vouching = self.pick(by)
        verified = verify_group_info(vouching.view.group_info(), now=NOW, config=vouching.config)
        lost = self.pick(who)
        returns = returns and len(verified.members) > 1
        joiner = lost if returns else self.world.person(self.new_name())
        leaves = [member.leaf_index for member in verified.members if member.credential == joiner.credential]
        if bool(leaves) != returns or (not returns and len(verified.members) >= MEMBERS_MAX):
            return
        pending = external_join(
            verified,
            joiner.credential,
            joiner.signer,
            removes=leaves[0] if returns else None,
            psks=(ExternalPSK(b"paper"),) if psk else (),
            find_psk=find_psk,
            config=joiner.config,
        )
        if verified.epoch != self.epoch:
            return
        self.external_commits += 1
        self.log.append(Entry(joiner.name, pending.message))
        self.epoch += 1
        self.positions[joiner.name] = len(self.log)
        self.stored.pop(joiner.name, None)
        self.posts.pop(joiner.name, None)
        joiner.group = None
        self.store(joiner.name, pending.next_group)

    @rule(who=st.integers(0, 99), kind=st.sampled_from(["add", "remove", "update", "psk"]), which=st.integers(0, 99))
    def propose(self, who: int, kind: str, which: int) -> None:
        proposer = self.pick(who)
        if not self.is_current(proposer):
            return
        group = proposer.view
        if kind == "add" and len(group.members) < MEMBERS_MAX:
            group, message = group.propose_add(self.world.person(self.new_name()).offer(), now=NOW)
        elif kind == "remove":
            target = group.members[which % len(group.members)].leaf_index
            group, message = group.propose_remove(target, now=NOW)
        elif kind == "psk":
            group, message = group.propose_psk(ExternalPSK(b"paper"), now=NOW)
        else:
            group, message = group.propose_update(now=NOW)
        self.store(proposer.name, group)
        self.log.append(Entry(proposer.name, message))

    @rule(who=st.integers(0, 99), steps=st.integers(1, 5))
    def read_log(self, who: int, steps: int) -> None:
        someone = self.pick(who)
        for _ in range(steps):
            if someone.group is None or self.positions[someone.name] == len(self.log):
                return
            self.read_entry(someone)

    def read_entry(self, someone: Person) -> None:
        entry = self.log[self.positions[someone.name]]
        self.positions[someone.name] += 1
        if entry.sender == someone.name:
            if entry.pending is not None:
                self.store(someone.name, entry.pending.next_group)
            return
        received = someone.view.receive(entry.message, NOW, find_psk)
        if isinstance(received, ReceivedProposal):
            self.store(someone.name, received.group)
            return
        assert isinstance(received, StagedCommit)
        if received.removes_us:
            someone.group = None
            del self.stored[someone.name]
        else:
            self.store(someone.name, received.merge())

    def welcome(self, pending: PendingCommit) -> None:
        """Everybody whom an accepted commit added joins, and reads the log from there on."""
        if pending.welcome is None:
            return
        welcome = decode_message(pending.welcome).body
        assert isinstance(welcome, Welcome)
        references = {entry.new_member for entry in welcome.secrets}
        for someone in self.world.people.values():
            if someone.bundle is not None and someone.bundle.reference in references:
                someone.accept(pending.welcome, find_psk)
                self.positions[someone.name] = len(self.log)
                self.store(someone.name, someone.view)

    @rule(who=st.integers(0, 99), data=st.binary(max_size=40))
    def say(self, who: int, data: bytes) -> None:
        speaker = self.pick(who)
        if speaker.view.pending_proposals:
            with pytest.raises(RuleViolation, match="D1"):
                speaker.view.protect(data)
            return
        epoch = speaker.view.epoch
        group, message = speaker.view.protect(data)
        self.store(speaker.name, group)
        for someone in self.world.members:
            if someone.name != speaker.name:
                self.posts.setdefault(someone.name, []).append(Post(epoch, speaker.name, data, message))

    @precondition(lambda self: any(self.posts.values()))
    @rule(who=st.integers(0, 99), which=st.integers(0, 99), lost=st.booleans(), again=st.booleans())
    def deliver(self, who: int, which: int, lost: bool, again: bool) -> None:
        waiting = sorted(name for name, posts in self.posts.items() if posts)
        name = waiting[who % len(waiting)]
        posts = self.posts[name]
        post = posts[which % len(posts)]
        someone = self.world.people[name]
        if not again:
            posts.remove(post)
        if lost or someone.group is None:
            return
        epoch = someone.view.epoch
        kept = {former.epoch for former in someone.view.state.former}
        if post.epoch != epoch and post.epoch not in kept:
            with pytest.raises(PastEpoch if post.epoch < epoch else FutureEpoch):
                someone.view.receive(post.message, NOW)
        elif post.opened:
            with pytest.raises(GenerationUsed):
                someone.view.receive(post.message, NOW)
        else:
            received = someone.view.receive(post.message, NOW)
            assert isinstance(received, ApplicationMessage)
            assert received.data == post.data
            assert received.sender.credential == self.world.people[post.sender].credential
            self.store(name, received.group)
            post.opened = True

    @invariant()
    def members_of_one_epoch_agree(self) -> None:
        for someone in self.world.members:
            known = self.authenticators.setdefault(someone.view.epoch, someone.view.epoch_authenticator)
            assert someone.view.epoch_authenticator == known

    def teardown(self) -> None:
        """In the end everybody reads everything, and they agree."""
        self.everybody_reads()
        assert {someone.view.epoch for someone in self.world.members} <= {self.epoch}
        if self.world.members:
            self.world.assert_agreement()


class HybridGroupMachine(GroupMachine):
    """The same with the post-quantum suite."""

    belongs = X_WING


TestGroup = GroupMachine.TestCase
TestGroup.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestHybridGroup = HybridGroupMachine.TestCase
TestHybridGroup.settings = settings(
    max_examples=6, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("machine, seed", [(GroupMachine, seed) for seed in range(5)] + [(HybridGroupMachine, 5)])
def test_a_long_life(machine: type[GroupMachine], seed: int) -> None:
    """The same steps in a long random order, which Hypothesis seldom tries."""
    draw = random.Random(seed)
    life = machine()
    life.found(6)
    opened = 0
    for _ in range(150):
        match draw.choice(
            ["commit", "commit", "propose", "read", "read", "say", "say", "deliver", "deliver", "settle", "join"]
        ):
            case "commit":
                removes = [draw.randrange(100) for _ in range(draw.choice([0, 0, 1, 2]))]
                adds = draw.choice([0, 0, 1, 2])
                life.commit(draw.randrange(100), adds, removes, draw.random() < 0.7, draw.random() < 0.2, True)
            case "propose":
                kind = draw.choice(["add", "remove", "update", "update", "psk"])
                life.propose(draw.randrange(100), kind, draw.randrange(100))
            case "read":
                life.read_log(draw.randrange(100), draw.randrange(1, 5))
            case "say":
                life.say(draw.randrange(100), draw.randbytes(20))
            case "deliver" if any(life.posts.values()):
                life.deliver(draw.randrange(100), draw.randrange(100), draw.random() < 0.2, draw.random() < 0.2)
                opened += 1
            case "join":
                if draw.random() < 0.7:
                    life.everybody_reads()
                life.join_externally(draw.randrange(100), draw.randrange(100), draw.random() < 0.6, draw.random() < 0.3)
            case "settle":
                life.everybody_reads()
                life.commit(draw.randrange(100), 0, [], True, False, True)
        life.members_of_one_epoch_agree()
    life.teardown()
    assert life.epoch > 10
    assert opened > 5
    assert life.external_commits > 2
