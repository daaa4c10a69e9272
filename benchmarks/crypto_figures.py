"""The operations of a group: bytes in, bytes out, as a transport would see them, and each on a state it has not seen.

- `encrypt_1k_us`, `decrypt_1k_us`: one message of 1,024 bytes in a chat of two, one sender after itself.
- `key_package_us`: a key package, keys generated, signed, encoded.
- `create_N_ms`: n - 1 key packages as bytes to a group of n: all checked, added in one commit, Welcome encoded.
- `join_N_ms`: that Welcome, tree included, to a group.
- `commit_N_ms`: a commit with a path in a tree without blank parents, encoded.
- `process_commit_N_ms`: the same at the committer's neighbour, who has most to derive; `process_commit_far_N_ms` on
  the other side of the tree, where half of the members are.
- `state_N_mib`: what one member's group holds in memory after it joined.
"""

from __future__ import annotations

import gc
import os
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle

from benchmarks import groups
from benchmarks.figures import Figures
from benchmarks.groups import Candidate, Views
from benchmarks.timing import Effort, quiet, repeated, rounded, streak, timed
from crypto import suites
from crypto.mls.group import ApplicationMessage
from crypto.suites import CipherSuite

MEMBERS = (2, 100, 1_000)
MEMBERS_QUICK = (2, 8)
"""A group of 1,000 takes X-Wing half a minute to fill: only on request."""

PLAINTEXT_BYTES = 1_024

Say = Callable[[str, float], None]
"""Told what is being measured, and the share of that which is done."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure, and how thoroughly."""

    members: Sequence[int]
    messages: int
    commits: int
    effort: Effort

    def parts(self) -> list[tuple[str, CipherSuite, Sequence[int]]]:
        """Each implementation's name in the results, its suite and its group sizes."""
        ours = ("ours", suites.suite(1), self.members)
        return [ours, ("ours_xwing", suites.X_WING, self.members)]


def plan(*, quick: bool) -> Plan:
    """The quick plan only shows that everything runs."""
    if quick:
        return Plan(MEMBERS_QUICK, messages=20, commits=2, effort=Effort(0, 1))
    return Plan(MEMBERS, messages=3_000, commits=100, effort=Effort(2.0, 5))


def measure(figures: Figures, wanted: Plan, say: Say) -> None:
    """Fill in `crypto` and its part of `sizes`."""
    for name, suite, sizes in wanted.parts():
        now = groups.clock()
        say(f"{name}: key packages", 0)
        candidates = groups.generate_candidates(suite, max(sizes), now)
        _measure_key_package(figures, name, suite, candidates[0], wanted.effort)
        for members in sizes:
            views = _measure_group(figures, name, suite, candidates[:members], wanted, say)
            if members == 2:
                say(f"{name}: messages of 1 KiB", 0)
                _measure_messages(figures, name, views, wanted.messages)


def _measure_key_package(figures: Figures, name: str, suite: CipherSuite, candidate: Candidate, effort: Effort) -> None:
    now = groups.clock()
    count = 500 if effort.budget_s else effort.samples_min

    def make() -> bytes:
        return groups.candidate(suite, candidate.identity, now).package

    streak(make, count // 10)
    seconds, packages = streak(make, count)
    figures.time("key_package_us", name, seconds)
    figures.size("key_package_bytes", name, len(packages[0]))


def _measure_group(
    figures: Figures, name: str, suite: CipherSuite, candidates: list[Candidate], wanted: Plan, say: Say
) -> Views:
    now, members = groups.clock(), len(candidates)
    say(f"{name}: create with {members:,} members", 0)
    figures.time(f"create_{members}_ms", name, repeated(lambda: groups.create(suite, candidates, now), wanted.effort))
    created = groups.create(suite, candidates, now)
    assert created.welcome is not None
    welcome = created.welcome
    figures.size(f"welcome_{members}_bytes", name, len(welcome))

    say(f"{name}: join with {members:,} members", 0)
    joiners = cycle(candidates[1:])  # each in turn, so that no two runs in a row have a private key in common
    figures.time(f"join_{members}_ms", name, repeated(lambda: groups.enter(welcome, next(joiners), now), wanted.effort))
    figures.crypto.setdefault(f"state_{members}_mib", {})[name] = rounded(_memory_mib(welcome, candidates[1], now))

    filling = f"{name}: fill the tree of {members:,} members"
    views = groups.full(created, candidates, now, lambda share: say(filling, share))
    say(f"{name}: commit and process with {members:,} members", 0)
    return _measure_commits(figures, name, views, members, wanted.commits)


def _memory_mib(welcome: bytes, joiner: Candidate, now: int) -> float:
    """What is allocated by joining and still held afterwards."""
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        group = groups.enter(welcome, joiner, now)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert group.epoch == 1
    return (after - before) / 2**20


def _measure_commits(figures: Figures, name: str, views: Views, members: int, count: int) -> Views:
    now = groups.clock()
    rounds = []
    message = b""
    with quiet():
        for _ in range(count + 2):  # two for warmth
            seconds, message, views = _commit_once(views, now)
            rounds.append(seconds)
    assert views.committer.epoch_authenticator == views.near.epoch_authenticator == views.far.epoch_authenticator
    for what, samples in zip(
        ("commit", "process_commit", "process_commit_far"), zip(*rounds[2:], strict=True), strict=True
    ):
        figures.time(f"{what}_{members}_ms", name, samples)
    figures.size(f"commit_{members}_bytes", name, len(message))
    return views


def _commit_once(views: Views, now: int) -> tuple[tuple[float, float, float], bytes, Views]:
    """Seconds at the committer and at the two receivers, the commit, and the next epoch."""
    committing, pending = timed(lambda: views.committer.commit(now=now))
    near_s, near = timed(lambda: groups.merged(views.near, pending.message, now))
    far_s, far = timed(lambda: groups.merged(views.far, pending.message, now))
    return (committing, near_s, far_s), pending.message, Views(pending.next_group, near, far)


def _measure_messages(figures: Figures, name: str, views: Views, count: int) -> None:
    now, plaintext = groups.clock(), os.urandom(PLAINTEXT_BYTES)
    sender, receiver = views.committer, views.near

    def encrypt() -> bytes:
        nonlocal sender
        sender, message = sender.protect(plaintext)
        return message

    def decrypt() -> None:
        nonlocal receiver
        received = receiver.receive(next(waiting), now)
        assert isinstance(received, ApplicationMessage)
        assert received.data == plaintext
        receiver = received.group

    warm = count // 10
    encrypting, messages = streak(encrypt, warm + count)
    waiting = iter(messages)
    decrypting, _ = streak(decrypt, warm + count)
    figures.time("encrypt_1k_us", name, encrypting[warm:])
    figures.time("decrypt_1k_us", name, decrypting[warm:])
    figures.size("message_1k_bytes", name, len(messages[0]))
