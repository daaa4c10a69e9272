"""The operations of a group, ours and the peers' in turns; each one on a state that has not seen it.

- `encrypt_1k_us`, `decrypt_1k_us`: one message of 1,024 bytes in a chat of two, one sender after itself.
- `key_package_us`: a key package, keys generated, signed, encoded.
- `create_N_ms`, `join_N_ms`, `commit_N_ms`, `process_commit_N_ms`, `process_commit_far_N_ms`, `state_N_mib`: see
  `group_figures`.
- the bounds: what the primitives alone would cost, see `primitives`.

What a library cannot do is left out, and what would take it minutes too: `peers` says so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from benchmarks import group_figures, primitives
from benchmarks.figures import Figures
from benchmarks.group_figures import Amount, Contest, Say
from benchmarks.libraries import installed_peers, ours
from benchmarks.libraries.interface import Library
from benchmarks.timing import Effort, streak
from crypto import suites

__all__ = ["MEMBERS", "MEMBERS_QUICK", "Plan", "Say", "measure", "plan"]

_OFTEN = Effort(1.5, 5)
_AMOUNTS = {
    2: Amount(_OFTEN, joins=60, commits=100),
    10: Amount(_OFTEN, joins=60, commits=100),
    100: Amount(_OFTEN, joins=20, commits=60),
    1_000: Amount(Effort(2.0, 3), joins=7, commits=30),
    10_000: Amount(Effort(0, 1), joins=3, commits=7),
}
_AMOUNTS_QUICK = dict.fromkeys((2, 8), Amount(Effort(0, 1), joins=1, commits=1))

MEMBERS = tuple(_AMOUNTS)
MEMBERS_QUICK = tuple(_AMOUNTS_QUICK)

PLAINTEXT_BYTES = 1_024


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure, and how thoroughly."""

    amounts: Mapping[int, Amount]
    streaks: int
    """How often each library has its turn with key packages and messages, and how many it then makes in a row."""
    in_a_row: int

    def parts(self) -> list[list[Library]]:
        """Libraries of one suite each, to be measured in turns. Ours comes first."""
        default = ours.library("ours", "suite 0x0001", suites.suite_of(1))
        return [
            [default, ours.library_in_the_clear(), *installed_peers()],
            [ours.library("ours_xwing", "X-Wing", suites.X_WING)],
        ]


def plan(*, quick: bool) -> Plan:
    """The quick plan only shows that everything runs."""
    return Plan(_AMOUNTS_QUICK, 2, 10) if quick else Plan(_AMOUNTS, 30, 100)


def measure(figures: Figures, wanted: Plan, say: Say) -> None:
    """Fill in `crypto` and its part of `sizes`, `peers`, `primitives` and `bounds`."""
    for libraries in wanted.parts():
        contest = Contest(figures, libraries, say)
        _measure_key_packages(contest, wanted)
        _measure_messages(contest, wanted)
        for members, amount in wanted.amounts.items():
            group_figures.measure(contest, members, amount)
        own = libraries[0]
        say(f"{own.name}: primitives", 0)
        costs = primitives.measure(own.suite, 20 if wanted.in_a_row < 100 else 300)
        figures.primitives[own.name] = costs
        for key, bound in primitives.bounds(costs, tuple(wanted.amounts)).items():
            figures.bounds.setdefault(key, {})[own.name] = bound
        for peer in libraries[1:]:
            notes = [*peer.notes, *contest.remarks[peer.name]]
            figures.peers[peer.name] = {
                "title": peer.title,
                "version": peer.version,
                "notes": notes,
                "beside": peer.beside,
            }


def _measure_key_packages(contest: Contest, wanted: Plan) -> None:
    contest.say("key packages", 0)
    made: dict[str, list[bytes]] = {}
    operations = {}
    for library in contest.taking_part("key_package", 2):
        operations[library.name] = library.generate_client().key_package
    seconds = _in_turns(operations, wanted, made)
    for name, samples in seconds.items():
        contest.figures.time("key_package_us", name, samples)
    own = contest.libraries[0].name
    contest.figures.size("key_package_bytes", own, len(made[own][0]))


def _measure_messages(contest: Contest, wanted: Plan) -> None:
    contest.say("messages of 1 KiB", 0)
    plaintext = os.urandom(PLAINTEXT_BYTES)
    pairs = group_figures.pairs_of(contest, "messages")
    messages: dict[str, list[bytes]] = {}
    encrypting = {name: partial(sender.encrypt, plaintext) for name, (sender, _) in pairs.items()}
    for name, samples in _in_turns(encrypting, wanted, messages).items():
        contest.figures.time("encrypt_1k_us", name, samples)
    waiting = {name: iter(found) for name, found in messages.items()}
    decrypting = {name: partial(_next_of, receiver.decrypt, waiting[name]) for name, (_, receiver) in pairs.items()}
    read: dict[str, list[bytes]] = {}
    for name, samples in _in_turns(decrypting, wanted, read).items():
        contest.figures.time("decrypt_1k_us", name, samples)
        assert set(read[name]) == {plaintext}, name
    own = contest.libraries[0].name
    contest.figures.size("message_1k_bytes", own, len(messages[own][0]))


def _next_of(operation: Callable[[bytes], bytes], arguments: Iterator[bytes]) -> bytes:
    return operation(next(arguments))


def _in_turns(
    operations: Mapping[str, Callable[[], bytes]], wanted: Plan, results: dict[str, list[bytes]]
) -> dict[str, list[float]]:
    """Seconds of operations that take microseconds, in short streaks by turns; the first streak is for warmth alone."""
    seconds: dict[str, list[float]] = {name: [] for name in operations}
    for turn in range(wanted.streaks + 1):
        for name, operation in operations.items():
            samples, made = streak(operation, wanted.in_a_row)
            results.setdefault(name, []).extend(made)
            seconds[name] += samples if turn else []
    return seconds
