"""Every input of the corpus through its target: what was found once stays found, with or without a fuzzer."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from crypto.errors import DecodeError
from crypto.mls.mls_message import MLSMessage
from crypto.wire import decode_as
from tests.fuzzing import corpus
from tests.fuzzing.mutations import mutate
from tests.fuzzing.target import Target, Way
from tests.fuzzing.targets import TARGETS

BYTES_MAX = 1_000_000
INPUTS_MAX = 120
"""Of one target: a replay takes seconds and not minutes."""

every_target = pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))


@every_target
def test_samples_are_those_that_our_code_makes(target: Target) -> None:
    """Otherwise `python -m tests.fuzzing.corpus` was not run after a change.

    It also shows that the world comes out the same in every process: without that no crash could be replayed.
    """
    kept = {name: data for name, data in corpus.read(target.name).items() if not name.startswith(corpus.FOUND)}
    assert kept == target.samples()
    assert {target.way_of(data).name for data in kept.values()} == {way.name for way in target.ways}


@every_target
def test_samples_are_accepted(target: Target) -> None:
    """The fuzzer starts from what goes all the way."""
    for data in target.samples().values():
        target.accept(data)


@every_target
def test_replay(target: Target) -> None:
    inputs = corpus.read(target.name)
    assert inputs
    for data in inputs.values():
        target(data)
    target(b"")


@every_target
def test_names_of_found_inputs_are_their_hashes(target: Target) -> None:
    found = corpus.found(target.name)
    assert all(name == corpus.name_of(data) for name, data in found.items())
    assert len(corpus.read(target.name)) <= INPUTS_MAX


def test_the_corpus_is_small_and_there_is_one_for_every_target() -> None:
    assert {path.stem for path in corpus.FOLDER.iterdir()} == set(TARGETS)
    assert sum(path.stat().st_size for path in corpus.FOLDER.iterdir()) < BYTES_MAX


def test_what_is_written_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "FOLDER", tmp_path / "corpus")
    assert corpus.found("message") == {}
    found = {corpus.name_of(data): data for data in (b"\0", b"abc")}
    corpus.write("message", {"decode 0": b"\1"}, found)
    assert corpus.read("message") == {"decode 0": b"\1"} | found
    assert corpus.found("message") == found


def test_an_error_that_is_not_documented_is_a_crash() -> None:
    """A target hides what its way documents and nothing else."""

    def run(data: bytes) -> None:
        raise DecodeError if data == b"bad" else ZeroDivisionError

    target = Target("of this test", (Way("only", run, (DecodeError,), list),))
    target(b"\0bad")
    with pytest.raises(DecodeError):
        target.accept(b"\0bad")
    with pytest.raises(ZeroDivisionError):
        target(b"\0good")


def test_changes_keep_to_the_structure() -> None:
    """Most of them decode, and are something else than before."""
    target = TARGETS["message"]
    data = target.samples()["decode 4"]
    changed = {mutate(target, data, 8_192, seed, _flip) for seed in range(400)}
    decodable = {one for one in changed if _decodes(one[1:])}
    assert len(changed) > 100
    assert len(decodable) > len(changed) / 2
    assert all(len(mutate(target, data, 64, seed, _flip)) <= 64 for seed in range(400))


def test_bytes_without_structure_change_too() -> None:
    target = TARGETS["identity"]
    text = target.samples()["text 1"]
    assert len({mutate(target, text, 8_192, seed, _flip) for seed in range(50)}) > 5
    assert {mutate(target, b"\0", 64, seed, _flip) for seed in range(5)} == {b"\1"}


def _flip(data: bytes, size_max: int) -> bytes:
    """Stands for the fuzzer's own change of bytes."""
    if not data:
        return b"\1"
    place = random.Random(data).randrange(len(data))
    return (data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])[:size_max]


def _decodes(data: bytes) -> bool:
    try:
        decode_as(MLSMessage, data)
    except DecodeError:
        return False
    return True
