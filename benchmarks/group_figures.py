"""Operations whose cost grows with the group, each library in turns on trees that we made.

- `create_N_ms`: n - 1 key packages as bytes to a group of n: all checked, added in one commit, Welcome encoded.
- `join_N_ms`: the Welcome of such a group, tree included, to a group.
- `commit_N_ms`: a commit with a path in a tree without blank parents, encoded, and merged by the committer, leaf 0.
- `process_commit_N_ms`: the same at leaf 1, who has most to derive; `process_commit_far_N_ms` at the last leaf, on the
  other side of the tree, where half of the members are.
- `state_N_mib`: what one member's group holds in memory after it joined.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from benchmarks import groups, memory
from benchmarks.figures import Figures
from benchmarks.groups import Candidate
from benchmarks.libraries.interface import Client, Library, Member, Row
from benchmarks.timing import Effort, by_turns, interleaved, rounded, timed

T = TypeVar("T")

Say = Callable[[str, float], None]
"""Told what is being measured, and the share of that which is done."""

PATIENCE_S = 60.0
"""A peer is left out of a row if the row at the size before lets expect that one sample takes longer than this."""

_WARM_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class Amount:
    """How much of each operation to measure at one group size."""

    create: Effort
    joins: int
    commits: int


@dataclass(slots=True)
class Contest:
    """The libraries of one suite, ours first, and what has become known of them."""

    figures: Figures
    libraries: Sequence[Library]
    tell: Say
    remarks: dict[str, list[str]] = field(default_factory=dict)
    """Of each library what was left out, and why."""
    _latest: dict[tuple[str, Row], tuple[int, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.remarks = {library.name: [] for library in self.libraries}

    def say(self, what: str, share: float) -> None:
        """Something is being measured for all."""
        self.tell(f"{self.libraries[0].title}: {what}", share)

    def taking_part(self, row: Row, members: int) -> list[Library]:
        """Who is measured."""
        return [
            library
            for library in self.libraries
            if library.measures(row, members) and self._worth(library, row, members)
        ]

    def let_key_packages_run_in(self) -> None:
        """Wait until the strictest of the peers takes those made just now."""
        if len(self.libraries) > 1:
            groups.wait_until_valid()

    def took(self, library: Library, row: Row, members: int, seconds: float) -> None:
        """What a row took, for what to expect at the next size."""
        self._latest[library.name, row] = (members, seconds)

    def attempt(self, library: Library, row: Row, members: int, operation: Callable[[], T]) -> T | None:
        """What an operation of a library gives; None if the library fails, which is noted."""
        try:
            return operation()
        except library.errors as error:
            remark = f"{row} at n = {members:,} failed: {error!r}"
            if remark not in self.remarks[library.name]:
                self.remarks[library.name].append(remark)
            return None

    def _worth(self, library: Library, row: Row, members: int) -> bool:
        if library is self.libraries[0] or (library.name, row) not in self._latest:
            return True
        before, seconds = self._latest[library.name, row]
        expected = seconds * (members / before) ** 2
        if expected > PATIENCE_S:
            reason = f"{seconds:.1f} s at n = {before:,} lets expect minutes"
            self.remarks[library.name].append(f"{row} at n = {members:,} is left out: {reason}")
        return expected <= PATIENCE_S


@dataclass(frozen=True, slots=True)
class Joiner:
    """A client that somebody adds, by this key package."""

    library: Library
    client: Client
    package: bytes


@dataclass(frozen=True, slots=True)
class Seats:
    """One epoch of one group, as its members at leaf 0, leaf 1 and the last leaf see it. Of two, there is no last."""

    committer: Member
    near: Member
    far: Member | None

    def renewed(self) -> Seats:
        """For the next round."""
        return Seats(self.committer.renewed(), self.near.renewed(), None if self.far is None else self.far.renewed())


def measure(contest: Contest, members: int, amount: Amount) -> None:
    """Measure all operations at one group size."""
    now, own = groups.clock(), contest.libraries[0]
    contest.say(f"people for {members:,} members", 0)
    candidates = groups.generate_candidates(own.suite, members, now)
    joiners = _joiners(contest, members, amount.joins + 1)
    entering = [joiners[start : start + members - 1] for start in range(0, len(joiners), members - 1)]
    contest.let_key_packages_run_in()
    welcome = _measure_create(contest, members, amount.create, _packages(entering[0], candidates))
    _measure_join(contest, members, candidates, entering, welcome)
    if members == 2:
        pairs = pairs_of(contest, "commit")
        seats = {name: Seats(committer, near, None) for name, (committer, near) in pairs.items()}
    else:
        seats = _seats(contest, members, candidates)
    _measure_commits(contest, members, amount.commits, seats)


def pairs_of(contest: Contest, row: Row) -> dict[str, tuple[Member, Member]]:
    """A group of two of each library."""
    found = {}
    for library in contest.taking_part(row, 2):
        both = contest.attempt(library, row, 2, partial(pair, library))
        if both is not None:
            found[library.name] = both
    return found


def pair(library: Library) -> tuple[Member, Member]:
    """A group of two with one library on both sides."""
    creator, joiner = library.generate_client(), library.generate_client()
    member, welcome = creator.create([joiner.key_package()])
    return member, joiner.join(welcome)


def _measure_create(contest: Contest, members: int, effort: Effort, packages: Sequence[bytes]) -> bytes:
    """Let each add the same people; the Welcome of ours."""
    welcomes: dict[str, bytes] = {}
    operations: dict[str, Callable[[], None]] = {}
    samples: dict[str, list[float]] = {}
    for library in contest.taking_part("create", members):
        contest.say(f"create with {members:,} members: {library.name}", 0)
        creator = library.generate_client()
        create = partial(_create, library.name, creator, packages, welcomes)
        first = contest.attempt(library, "create", members, partial(timed, create))
        if first is not None:
            contest.took(library, "create", members, first[0])
            operations[library.name], samples[library.name] = create, [first[0]]
    if effort.budget_s:  # the first run was for warmth
        contest.say(f"create with {members:,} members", 0)
        samples = interleaved(operations, effort)
    for name, found in samples.items():
        contest.figures.time(f"create_{members}_ms", name, found)
    own = contest.libraries[0].name
    contest.figures.size(f"welcome_{members}_bytes", own, len(welcomes[own]))
    return welcomes[own]


def _create(name: str, creator: Client, packages: Sequence[bytes], welcomes: dict[str, bytes]) -> None:
    _, welcomes[name] = creator.create(packages)


def _joiners(contest: Contest, members: int, count: int) -> list[Joiner]:
    """So many clients of each library, by turns."""
    found = []
    libraries = contest.taking_part("join", members)
    for _ in range(count):
        for library in libraries:
            client = library.generate_client()
            found.append(Joiner(library, client, client.key_package_for_all()))
    return found


def _packages(entering: Sequence[Joiner], candidates: Sequence[Candidate]) -> list[bytes]:
    """What a creator adds: these, and others until the group is full."""
    others = candidates[1 : len(candidates) - len(entering)]
    return [*(joiner.package for joiner in entering), *(other.package for other in others)]


def _measure_join(
    contest: Contest,
    members: int,
    candidates: Sequence[Candidate],
    batches: Sequence[Sequence[Joiner]],
    welcome: bytes,
) -> None:
    """Let each join once; `welcome` is for the first batch, and the others are welcomed by groups made for them."""
    waiting: dict[str, list[tuple[Joiner, bytes]]] = {}
    suite, founder = contest.libraries[0].suite, candidates[0].identity
    for number, entering in enumerate(batches):
        contest.say(f"groups of {members:,} members to join", number / len(batches))
        if number:
            created = groups.create(suite, founder, _packages(entering, candidates), groups.clock())
            assert created.welcome is not None
            welcome = created.welcome
        for joiner in entering:
            waiting.setdefault(joiner.library.name, []).append((joiner, welcome))

    contest.say(f"join with {members:,} members", 0)
    entered = Entered()
    by_turns({name: _join_all(contest, members, found, entered) for name, found in waiting.items()})
    for name, found in waiting.items():
        joiner, welcome = found[0]
        if joiner.library.in_python and name in entered.seconds:
            entered.held[name] = [memory.traced(partial(joiner.client.join, welcome))]
    for name, samples in entered.seconds.items():
        if len(samples) > 1:  # the first was for warmth
            contest.figures.time(f"join_{members}_ms", name, samples[1:])
    for name, sizes in entered.held.items():
        mean_mib = statistics.fmean(sizes[1:] or sizes) / memory.MIB
        contest.figures.crypto.setdefault(f"state_{members}_mib", {})[name] = rounded(mean_mib)


@dataclass(slots=True)
class Entered:
    """Those who have joined, how long each took and what its group holds, by library."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    held: dict[str, list[int]] = field(default_factory=dict)
    members: list[Member] = field(default_factory=list)
    """Kept, so that memory which one of them gives back is not what the next one takes."""

    def join(self, joiner: Joiner, welcome: bytes) -> float:
        """Let one join; the seconds that it took."""
        name, before = joiner.library.name, memory.allocated()
        joining_s, member = timed(partial(joiner.client.join, welcome))
        after = memory.allocated()
        self.members.append(member)
        self.seconds.setdefault(name, []).append(joining_s)
        if not joiner.library.in_python and before is not None and after is not None:
            self.held.setdefault(name, []).append(after - before)
        return joining_s


def _join_all(
    contest: Contest, members: int, waiting: Sequence[tuple[Joiner, bytes]], entered: Entered
) -> Iterator[float]:
    """Let the clients of one library join, one after the other, until one fails."""
    for joiner, welcome in waiting:
        took = contest.attempt(joiner.library, "join", members, partial(entered.join, joiner, welcome))
        if took is None:
            return
        yield took


def _seats(contest: Contest, members: int, candidates: Sequence[Candidate]) -> dict[str, Seats]:
    """Three members of each library in a full tree: the same one for all, and from there on a group of its own each."""
    libraries = contest.taking_part("commit", members)
    clients = {library.name: [library.generate_client() for _ in range(3)] for library in libraries}
    packages = {name: [client.key_package_for_all() for client in three] for name, three in clients.items()}
    contest.let_key_packages_run_in()
    filling, now = f"fill the tree of {members:,} members", groups.clock()
    tree = groups.full_tree(contest.libraries[0].suite, candidates, now, lambda share: contest.say(filling, share))
    found = {}
    for library in libraries:
        welcome = tree.newcomers(packages[library.name], now)
        seats = contest.attempt(library, "commit", members, partial(_enter, clients[library.name], welcome))
        if seats is not None:
            found[library.name] = seats
    return found


def _enter(clients: Sequence[Client], welcome: bytes) -> Seats:
    return Seats(*(client.join(welcome) for client in clients))


def _measure_commits(contest: Contest, members: int, count: int, seats: dict[str, Seats]) -> None:
    contest.say(f"commit and process with {members:,} members", 0)
    rounds: dict[str, list[tuple[float, ...]]] = {name: [] for name in seats}
    sizes: dict[str, int] = {}
    by_turns(
        {
            library.name: _rounds(contest, library, members, seats[library.name], count, rounds[library.name], sizes)
            for library in contest.libraries
            if library.name in seats
        }
    )
    for name, found in rounds.items():
        columns = zip(*found[_WARM_ROUNDS:], strict=True)
        for what, column in zip(("commit", "process_commit", "process_commit_far"), columns, strict=False):
            contest.figures.time(f"{what}_{members}_ms", name, column)
    own = contest.libraries[0].name
    contest.figures.size(f"commit_{members}_bytes", own, sizes[own])


def _rounds(
    contest: Contest,
    library: Library,
    members: int,
    seats: Seats,
    count: int,
    rounds: list[tuple[float, ...]],
    sizes: dict[str, int],
) -> Iterator[float]:
    """Let one library commit and process, each time from the epoch before, until it fails."""
    for _ in range(count + _WARM_ROUNDS):
        done = contest.attempt(library, "commit", members, partial(_one_round, seats))
        if done is None:
            return
        seats, samples, sizes[library.name] = done
        rounds.append(samples)
        yield sum(samples)


def _one_round(before: Seats) -> tuple[Seats, tuple[float, ...], int]:
    """The seats after a commit, the seconds at the committer and at the receivers, and the size of the commit."""
    seats = before.renewed()
    committing_s, commit = timed(seats.committer.commit)
    samples = [committing_s]
    for receiver in [seats.near] if seats.far is None else [seats.near, seats.far]:
        samples.append(timed(partial(receiver.process, commit))[0])
        assert receiver.fingerprint() == seats.committer.fingerprint()
    return seats, tuple(samples), len(commit)
