"""The figures of a run: numbers by area, key and name, such as crypto, encrypt_1k_us, ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.timing import Spread, spread

UNITS = {"us": 1e6, "ms": 1e3}
"""Units of times, by the ending of the key that they are filed under, in parts of a second."""


@dataclass(slots=True)
class Figures:
    """Where measurements are put down. `crypto` and `sizes` have a column for each implementation."""

    crypto: dict[str, dict[str, float]] = field(default_factory=dict)
    sizes: dict[str, dict[str, int]] = field(default_factory=dict)
    server: dict[str, float] = field(default_factory=dict)
    client: dict[str, float] = field(default_factory=dict)
    spreads: dict[str, Spread] = field(default_factory=dict)
    """Of those figures that are medians, by their full name: `crypto.encrypt_1k_us.ours`."""
    cores: dict[str, dict[str, float]] = field(default_factory=dict)
    """Processor cores in use while the server was measured: by the server, its database and the load."""
    peers: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Of each library that ours is measured beside: its title and version, and what must be said about its figures."""
    primitives: dict[str, dict[str, float]] = field(default_factory=dict)
    """Microseconds of each primitive, by suite: what no implementation over the same libraries can do without."""
    bounds: dict[str, dict[str, float]] = field(default_factory=dict)
    """What an operation costs if only its primitives cost anything, filed like `crypto`."""
    postgres: dict[str, str] = field(default_factory=dict)
    """What the database says of itself."""

    def time(self, key: str, name: str, seconds: Sequence[float]) -> None:
        """Put down the median of some samples in the unit that the key ends with."""
        factor = UNITS[key.rpartition("_")[2]]
        result = spread([sample * factor for sample in seconds])
        self.crypto.setdefault(key, {})[name] = result.median
        self.spreads[f"crypto.{key}.{name}"] = result

    def size(self, key: str, name: str, size_bytes: int) -> None:
        """Put down a size."""
        self.sizes.setdefault(key, {})[name] = size_bytes

    def rate(self, key: str, per_second: Sequence[float]) -> None:
        """Put down the median of a rate of the server that was counted over several stretches of time."""
        result = spread(per_second)
        self.server[key] = result.median
        self.spreads[f"server.{key}"] = result
