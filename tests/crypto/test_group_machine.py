"""A random life of a group of up to 40 members: whatever happens, those of one epoch agree, or a named error says why not.

Three modules are the world of it: `group_clients` (a client goes on from its stored rows after every step),
`group_life` (the delivery service, and a judge who says every outcome in advance), `group_events` and `group_ends` (what
may happen). Here Hypothesis plays it, and so does a seeded die, which must have met every event and every error.
With SEALDESK_LONG=1 both play for many minutes.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from crypto.suites import X_WING, CipherSuite, suite
from tests.crypto.group_ends import Life
from tests.crypto.group_life import MEMBERS_MAX, SUITES, Draw

IS_LONG = os.environ.get("SEALDESK_LONG") == "1"

WEIGHTS: dict[str, float] = {
    "add_crowd": 1,
    "thin_out": 0.5,
    "commit": 8,
    "race": 4,
    "try_again": 4,
    "propose": 14,
    "service_proposes": 5,
    "propose_oneself": 2,
    "join_by_oneself": 2,
    "come_back": 2,
    "accept_invitation": 3,
    "read_log": 16,
    "settle": 1,
    "hand_over": 14,
    "say": 8,
    "babble": 0.3,
    "deliver": 14,
    "forget": 0.3,
    "blunder": 3,
    "branch_off": 0.7,
    "reinitialise": 0.3,
}
"""How often the die lets each event happen."""

ERRORS = {
    "AuthenticationError", "FutureEpoch", "PastEpoch", "GenerationUsed", "GenerationTooFar",
    "F1", "F14", "F19", "D1", "K1", "L12", "P3", "P5", "P8",
    "Q3", "Q4", "Q5", "Q6", "Q10", "U10", "U15", "W1", "W3", "W5", "W11", "X2",
}  # fmt: skip
"""Every way in which a life lets somebody be refused."""

CHANCE = st.randoms(note_method_calls=True, use_true_random=False)


def happens(what: Callable[[Life, Draw], None]) -> Callable[..., None]:
    """The rule that something happens. Where Hypothesis stops in its middle, the life cannot be brought to its end."""

    def step(self: GroupMachine, draw: random.Random) -> None:
        self.is_whole = False
        what(self.life, draw)
        self.is_whole = True

    step.__name__ = what.__name__
    made: Callable[..., None] = rule(draw=CHANCE)(step)
    return made


class GroupMachine(RuleBasedStateMachine):
    """One group with the classical suite; it may be reinitialised to another one."""

    belongs: CipherSuite = suite(1)
    next_suites: tuple[CipherSuite, ...] = SUITES

    def __init__(self) -> None:
        super().__init__()
        self.life = Life(self.belongs)
        self.life.next_suites = self.next_suites
        self.is_whole = True

    @initialize(draw=CHANCE)
    def found(self, draw: random.Random) -> None:
        """Most lives begin with a crowd."""
        self.life.add_crowd(draw)
        self.life.everybody_reads()

    add_crowd = happens(Life.add_crowd)
    thin_out = happens(Life.thin_out)
    commit = happens(Life.commit)
    race = happens(Life.race)
    try_again = happens(Life.try_again)
    propose = happens(Life.propose)
    service_proposes = happens(Life.service_proposes)
    propose_oneself = happens(Life.propose_oneself)
    join_by_oneself = happens(Life.join_by_oneself)
    come_back = happens(Life.come_back)
    accept_invitation = happens(Life.accept_invitation)
    read_log = happens(Life.read_log)
    settle = happens(Life.settle)
    hand_over = happens(Life.hand_over)
    say = happens(Life.say)
    babble = happens(Life.babble)
    deliver = happens(Life.deliver)
    forget = happens(Life.forget)
    blunder = happens(Life.blunder)
    branch_off = happens(Life.branch_off)
    reinitialise = happens(Life.reinitialise)

    @invariant()
    def members_of_one_epoch_agree(self) -> None:
        self.life.assert_nobody_strays()

    def teardown(self) -> None:
        if self.is_whole:
            self.life.end()
            event(f"at most {-(-self.life.most_members // 8) * 8} members")


class HybridGroupMachine(GroupMachine):
    """The same with the post-quantum suite."""

    belongs = X_WING
    next_suites = (X_WING,)


TestGroup = GroupMachine.TestCase
TestGroup.settings = settings(
    max_examples=600 if IS_LONG else 20,
    stateful_step_count=100 if IS_LONG else 40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestHybridGroup = HybridGroupMachine.TestCase
TestHybridGroup.settings = settings(
    max_examples=100 if IS_LONG else 5,
    stateful_step_count=60 if IS_LONG else 30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
