"""A random life of a group of up to 40 members: those of one epoch agree, whatever happens, or a named error says why.

Its world: `group_clients` (after every step a client goes on from its stored rows), `group_life` (the delivery
service), `group_judge` (who says every outcome in advance), and what may happen: `group_mail`, `group_outsiders`,
`group_events`, `group_ends`.
Hypothesis plays it, and so does a seeded die, which must have met every event and every error. With SEALDESK_LONG=1
both play for long.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from crypto.suites import X_WING, CipherSuite, suite_of
from tests.crypto.group_ends import Life
from tests.crypto.group_events import KINDS
from tests.crypto.group_life import MEMBERS_MAX, SUITES, Draw

IS_LONG = os.environ.get("SEALDESK_LONG") == "1"
pytestmark = pytest.mark.timeout(3600 if IS_LONG else 300)

EVENTS: dict[Callable[[Life, Draw], None], float] = {
    Life.add_crowd: 1,
    Life.thin_out: 0.5,
    Life.out_and_in: 1,
    Life.commit: 8,
    Life.hear_meanwhile: 2,
    Life.race: 4,
    Life.try_again: 4,
    Life.propose: 14,
    Life.service_proposes: 5,
    Life.propose_oneself: 2,
    Life.join_by_oneself: 2,
    Life.come_back: 2,
    Life.accept_invitation: 3,
    Life.read_log: 16,
    Life.settle: 1,
    Life.hand_over: 14,
    Life.say: 8,
    Life.babble: 1,
    Life.deliver: 14,
    Life.replay: 3,
    Life.forget: 0.5,
    Life.blunder: 3,
    Life.branch_off: 0.7,
    Life.reinitialise: 0.5,
}
"""What may happen, and how often the die lets it happen."""

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

    belongs: CipherSuite = suite_of(1)
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

    @invariant()
    def members_of_one_epoch_agree(self) -> None:
        self.life.end_step()

    def teardown(self) -> None:
        if self.is_whole:
            self.life.end()
            event(f"at most {-(-self.life.most_members // 8) * 8} members")


for what in EVENTS:
    setattr(GroupMachine, what.__name__, happens(what))


class HybridGroupMachine(GroupMachine):
    """The same with the post-quantum suite."""

    belongs = X_WING
    next_suites = (X_WING,)


def as_often(examples: int, steps: int) -> settings:
    return settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)
    )


TestGroup = GroupMachine.TestCase
TestGroup.settings = as_often(150, 80) if IS_LONG else as_often(10, 40)
TestHybridGroup = HybridGroupMachine.TestCase
TestHybridGroup.settings = as_often(30, 60) if IS_LONG else as_often(4, 30)


def live(seed: int, belongs: CipherSuite, next_suites: tuple[CipherSuite, ...], steps: int) -> Life:
    """A life whose steps a seeded die has chosen."""
    draw = random.Random(seed)
    life = Life(belongs)
    life.next_suites = next_suites
    for what in draw.choices(list(EVENTS), list(EVENTS.values()), k=steps):
        what(life, draw)
        life.end_step()
    life.end()
    return life


def test_lives_meet_everything() -> None:
    """Big groups, every event and every named error do occur: a world where nothing happens would pass in silence."""
    done, met, sizes = Counter[str](), Counter[str](), []
    for seed in range(16 if IS_LONG else 6):
        life = live(seed, suite_of(1), SUITES, 1000 if IS_LONG else 250)
        done, met = done + life.done, met + life.met
        sizes.append(life.most_members)
    assert {name.split()[0] for name in done} == {what.__name__ for what in EVENTS}
    assert {name.split()[1] for name in done if name.startswith("propose ")} == KINDS
    assert set(met) == ERRORS
    assert max(sizes) == MEMBERS_MAX
    assert sum(size >= 33 for size in sizes) >= len(sizes) // 2


def test_lives_with_the_hybrid_suite() -> None:
    lives = [live(seed, X_WING, (X_WING,), 600 if IS_LONG else 200) for seed in range(6 if IS_LONG else 2)]
    assert max(life.most_members for life in lives) >= 33
