"""What a target of the fuzzer is: ways for bytes into `crypto`, and the errors that each of them documents."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from crypto.errors import CryptoError
from crypto.wire import decode_as, encode_as
from tests.fuzzing.world import drawn_from

Errors = tuple[type[Exception], ...]


@dataclass(frozen=True)
class Way:
    """One way in. `run` takes what the fuzzer made and raises nothing but `errors`, or there is a bug."""

    name: str
    run: Callable[[bytes], object]
    errors: Errors
    samples: Callable[[], list[bytes]]
    """What `run` takes to the end: the fuzzer starts from these."""
    shape: Any = None
    """The annotated type of the bytes, for changes that keep to its structure; None: they have none of ours."""


@dataclass(frozen=True)
class Target:
    """The ways in of one kind. The first byte of an input chooses one, the rest is for it."""

    name: str
    ways: tuple[Way, ...]

    def __call__(self, data: bytes) -> None:
        """Raise nothing for any bytes, or there is a bug."""
        if data:
            way = self.way_of(data)
            with contextlib.suppress(*way.errors):
                self.accept(data)

    def way_of(self, data: bytes) -> Way:
        """The way that the first byte chooses."""
        return self.ways[data[0] % len(self.ways)]

    def accept(self, data: bytes) -> None:
        """The same, and let the documented errors out: for inputs that are good."""
        with drawn_from(b"a run of the fuzzer"):  # so that it comes out the same when it is replayed
            self.way_of(data).run(data[1:])

    def samples(self) -> dict[str, bytes]:
        """A good input or more of every way, by name; always the same ones."""
        found = {}
        for chosen, way in enumerate(self.ways):
            with drawn_from(way.name.encode()):
                for number, sample in enumerate(way.samples()):
                    found[f"{way.name} {number}"] = bytes([chosen]) + sample
        return found


@contextlib.contextmanager
def accepted() -> Iterator[None]:
    """What was accepted has to work: inside, a documented error is a bug too."""
    try:
        yield
    except CryptoError as error:
        raise AssertionError("accepted at first, and of no use then") from error


def decoded(shape: Any, data: bytes) -> Any:
    """Decode, and hold the codec to its promise: a value has one encoding. Raises `DecodeError`."""
    value = decode_as(shape, data)
    assert encode_as(shape, value) == data, "decoded and encoded again, it is something else"
    return value
