"""Random lives of mixed groups: whatever is done by whoever can do it, all members agree after each commit.

One seed is one life. In a normal run each mix lives a few lives of `STEPS` steps; with `SEALDESK_LONG=1` in the
environment it lives 25 of 400, which takes some twenty minutes. A failure names the mix and the seed. Keys and packages
are random, so a seed fixes what is done, by whom and in which order, not the bytes.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.interop import peers
from tests.interop.mixed_world import MixedWorld
from tests.interop.peers import mix

LONG = os.environ.get("SEALDESK_LONG") == "1"
STEPS = 400 if LONG else 60
SEEDS = range(25 if LONG else 3)
MEMBERS_MAX = 10
MIXES = [
    mix("ours", "mls-rs"),
    mix("ours", "mls-rs", "rine"),
    mix("ours", "OpenMLS"),
    mix("ours", "mls-rs", "rine", "OpenMLS"),
]


class Life:
    """One group, and all clients that are ever in it."""

    def __init__(self, implementations: tuple[str, ...], seed: int) -> None:
        self.draw = random.Random(seed)
        self.world = MixedWorld(implementations, public=self.draw.random() < 0.5)
        self.clients: list[Any] = self.world.clients([*implementations * 3, "ours"])
        self.done: list[str] = []
        self.proposed: dict[str, list[Any]] = {"added": [], "gone": [], "updated": []}
        self.world.mint(self.clients)
        founder = next(client for client in self.clients if client.implementation == "ours")
        self.world.found(founder)

    def live(self, steps: int) -> None:
        acts: list[Callable[[], bool]] = [
            self.add, self.add, self.remove, self.renew, self.say, self.say, self.propose, self.propose, self.restart,
            self.join_externally, self.come_back,
        ]  # fmt: skip
        while len(self.done) < steps:
            act = self.draw.choice(acts)
            if act():
                self.done.append(act.__name__)

    # Who may do it

    def pick(self, able: list[Any]) -> Any:
        return self.draw.choice(able) if able else None

    def committers(self) -> list[Any]:
        return [member for member in self.world.members if self.world.can_commit(member)]

    def able(self, operation: str) -> list[Any]:
        return [member for member in self.world.members if peers.can(member, operation)]

    def outside(self) -> list[Any]:
        spoken_for = [*self.world.members, *self.proposed["added"]]
        return [client for client in self.clients if client not in spoken_for]

    def removable(self, by: Any) -> list[Any]:
        """All whom it can remove, but for the last of ours: without it nobody would see the group whole."""
        ours = [member for member in self.world.members if member.implementation == "ours"]
        return [member for member in self.world.members if [member] != ours and self.world.can_remove(by, member)]

    # What may be done; False if nobody can do it now

    def add(self) -> bool:
        room = MEMBERS_MAX - len(self.world.members)
        committer = self.pick(self.committers())
        newcomers = self.outside()[:room]
        if committer is None or not newcomers or self.anything_pending():
            return False
        count = self.draw.randint(1, min(3, len(newcomers), peers.abilities(committer).adds_max))
        self.world.add(committer, *self.draw.sample(newcomers, count))
        return True

    def remove(self) -> bool:
        committer = self.pick(self.committers())
        if committer is None or self.anything_pending():
            return False
        gone = self.pick(self.removable(committer))
        if gone is None:
            return False
        self.world.remove(committer, gone)
        return True

    def renew(self) -> bool:
        """An empty commit, or one of all that was proposed."""
        able = [member for member in self.committers() if peers.can(member, "commit")]
        able = [member for member in able if member not in [*self.proposed["gone"], *self.proposed["updated"]]]
        committer = self.pick(able)
        if committer is None:
            return False
        added, gone = self.proposed["added"], self.proposed["gone"]
        self.proposed = {"added": [], "gone": [], "updated": []}
        self.world.renew(committer, added, gone)
        return True

    def propose(self) -> bool:
        if not all(peers.IMPLEMENTATIONS[each].abilities.keeps_proposals for each in self.world.allowed):
            return False
        kind = self.draw.choice(["add", "remove", "update"])
        proposer = self.pick(self.able(f"propose_{kind}"))
        if proposer is None:
            return False
        touched = [*self.proposed["gone"], *self.proposed["updated"]]
        if kind == "add":
            newcomer = self.pick(self.outside())
            if newcomer is None or len(self.world.members) + len(self.proposed["added"]) >= MEMBERS_MAX:
                return False
            message = proposer.propose_add(self.world.offer(newcomer))
            self.proposed["added"].append(newcomer)
        elif kind == "remove":
            gone = self.pick([member for member in self.removable(proposer) if member not in touched])
            staying = [member for member in self.world.members if member not in [*touched, gone]]
            if gone is None or not any(member.implementation == "ours" for member in staying):  # ours can commit
                return False
            message = proposer.propose_remove(self.world.seat(gone))
            self.proposed["gone"].append(gone)
        else:
            others = [member for member in self.committers() if member not in [*touched, proposer]]
            if proposer in touched or not any(peers.can(member, "commit") for member in others):
                return False
            message = proposer.propose_update()
            self.proposed["updated"].append(proposer)
        self.world.propose(proposer, message)
        return True

    def say(self) -> bool:
        """Nobody says anything while there is something to commit (§15.2)."""
        speaker = self.pick(self.able("send"))
        if speaker is None or self.anything_pending():
            return False
        self.world.say(speaker, self.draw.randbytes(self.draw.choice([0, 1, 100, 3_000])))
        return True

    def restart(self) -> bool:
        self.world.restart(self.pick(self.world.members))
        return True

    def join_externally(self) -> bool:
        outsider = self.pick([client for client in self.outside() if peers.can(client, "join_externally")])
        vouching = self.pick(self.able("group_info"))
        if outsider is None or len(self.world.members) >= MEMBERS_MAX or self.anything_pending():
            return False
        self.world.join_externally(outsider, vouching)
        return True

    def come_back(self) -> bool:
        lost = self.pick(self.able("come_back"))
        vouching = self.pick([member for member in self.able("group_info") if member is not lost])
        if lost is None or vouching is None or self.anything_pending():
            return False
        if "OpenMLS" in self.world.allowed and self.world.halves_and_doubles(lost):  # see `test_limits_of_peers`
            return False
        self.world.come_back(lost, vouching)
        return True

    def anything_pending(self) -> bool:
        """Adds and Removes by value wait for the commit of what is proposed: so we know who comes and goes."""
        return any(self.proposed.values())


@pytest.mark.timeout(1800 if LONG else 120)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("implementations", MIXES)
def test_all_members_agree_in_every_epoch(implementations: tuple[str, ...], seed: int) -> None:
    life = Life(implementations, seed)
    life.live(STEPS)
    assert life.world.epochs >= STEPS // 3
    assert {"add", "remove", "renew", "say", "restart"} <= set(life.done)
    assert ("propose" in life.done) == (implementations == ("ours", "mls-rs"))
