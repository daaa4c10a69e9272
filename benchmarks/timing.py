"""The clock: samples of one operation, and what is said about them."""

from __future__ import annotations

import contextlib
import gc
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

TURN_S = 0.02
"""How long one of several libraries is measured before the next has its turn: long enough to warm the caches."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Samples of one operation in short, in the samples' unit. Half of them lie between `lower` and `upper`."""

    median: float
    lower: float
    upper: float
    samples: int


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure: operations are repeated until `budget_s` is used up, and `samples_min` times at least."""

    budget_s: float
    samples_min: int


def spread(samples: Sequence[float]) -> Spread:
    """Median and quartiles of at least one sample."""
    if len(samples) == 1:
        only = rounded(samples[0])
        return Spread(only, only, only, 1)
    lower, median, upper = statistics.quantiles(samples, n=4, method="inclusive")
    return Spread(rounded(median), rounded(lower), rounded(upper), len(samples))


def rounded(value: float) -> float:
    """Four significant digits: what follows is noise."""
    return float(f"{value:.4g}")


def percentile(samples: Sequence[float], share: float) -> float:
    """The smallest sample that `share` (0 to 1) of all samples do not exceed."""
    return sorted(samples)[max(0, math.ceil(share * len(samples)) - 1)]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No garbage collection until the end of the block. Collecting before each sample instead would cool the caches."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def timed(operation: Callable[[], T]) -> tuple[float, T]:
    """Seconds that an operation takes, and its result."""
    started = time.perf_counter_ns()
    result = operation()
    return (time.perf_counter_ns() - started) / 1e9, result


def by_turns(work: Mapping[str, Iterator[float]]) -> None:
    """Let each iterator work for `TURN_S` and give way to the next, until all are exhausted: noise hits all alike.

    What an iterator gives is how many seconds it has just used.
    """
    waiting = dict(work)
    with quiet():
        while waiting:
            for name in list(waiting):
                spent = 0.0
                while spent < TURN_S:
                    took = next(waiting[name], None)
                    if took is None:
                        del waiting[name]
                        break
                    spent += took


def interleaved(operations: Mapping[str, Callable[[], object]], effort: Effort) -> dict[str, list[float]]:
    """Seconds of each run of several operations that can be repeated, by turns. Each has the whole budget."""
    samples: dict[str, list[float]] = {name: [] for name in operations}
    by_turns({name: _repeated(operation, effort, samples[name]) for name, operation in operations.items()})
    return samples


def _repeated(operation: Callable[[], object], effort: Effort, samples: list[float]) -> Iterator[float]:
    used = 0.0
    while len(samples) < effort.samples_min or used < effort.budget_s:
        seconds, _ = timed(operation)
        samples.append(seconds)
        used += seconds
        yield seconds


def streak(operation: Callable[[], T], count: int) -> tuple[list[float], list[T]]:
    """Seconds and results of `count` runs of an operation, one after the other."""
    with quiet():
        runs = [timed(operation) for _ in range(count)]
    return [seconds for seconds, _ in runs], [result for _, result in runs]
