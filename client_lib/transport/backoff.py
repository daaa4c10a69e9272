"""How long to wait before the next try."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential waiting with jitter: half of each wait is fixed, half is random, so a crowd spreads out.

    `first_s` is the longest first wait; each further one is twice as long, up to `longest_s`. Seconds.
    """

    first_s: float = 1.0
    longest_s: float = 60.0

    def delay_s(self, failures: int, jitter: float) -> float:
        """The wait after so many failures in a row (1 or more); `jitter` is a random number from 0 to 1."""
        # 2**64 seconds is beyond every cap; a larger exponent would only overflow.
        whole = min(self.longest_s, self.first_s * 2.0 ** min(failures - 1, 64))
        return whole * (0.5 + 0.5 * jitter)
