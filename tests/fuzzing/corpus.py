"""The inputs that every run starts from and that every test run replays: `corpus/TARGET.txt`, one input a line.

A line is a name and the input in hexadecimal, so that the files are text and a change shows in review. Names of the
samples, which our own code makes, say what they are; those of what the fuzzer has found are hashes.

::

    python -m tests.fuzzing.corpus      write the samples again, after a change of the world or of the wire format
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from tests.fuzzing.targets import TARGETS

FOLDER = Path(__file__).with_suffix("")
FOUND = "found "
"""What the names of inputs begin with that the fuzzer has found."""


def read(name: str) -> dict[str, bytes]:
    """The corpus of a target."""
    lines = (FOLDER / f"{name}.txt").read_text("ascii").splitlines()
    return {key: bytes.fromhex(value) for key, _, value in (line.partition(": ") for line in lines)}


def write(name: str, samples: Mapping[str, bytes], found: Mapping[str, bytes]) -> None:
    """Replace the corpus of a target: first what our code makes, then what the fuzzer has found."""
    FOLDER.mkdir(exist_ok=True)
    lines = [f"{key}: {value.hex()}\n" for key, value in [*samples.items(), *sorted(found.items())]]
    (FOLDER / f"{name}.txt").write_text("".join(lines), "ascii")


def found(name: str) -> dict[str, bytes]:
    """That part of a target's corpus which the fuzzer has found."""
    if not (FOLDER / f"{name}.txt").exists():
        return {}
    return {key: value for key, value in read(name).items() if key.startswith(FOUND)}


def name_of(data: bytes) -> str:
    """How an input is called that the fuzzer has found."""
    return FOUND + hashlib.sha256(data).hexdigest()[:16]


if __name__ == "__main__":
    for target in TARGETS.values():
        write(target.name, target.samples(), found(target.name))
