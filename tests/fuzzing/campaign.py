"""A run of one target: the process that does it, what it prints, and what it leaves behind."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.fuzzing import corpus

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "build" / "fuzzing"
CRASHES = WORK / "crashes"

INPUT_BYTES_MAX = 8_192
RSS_MB_MAX = 1_024
"""A few kilobytes of input may not take more; the process itself has some 70 MB."""

INPUT_SECONDS_MAX = 20
"""No input may take longer. Generous, because the machine may be busy; the slowest known one takes milliseconds."""

_STATUS = re.compile(r"^#(\d+)\s.*?cov: (\d+) ft: \d+ corp: (\d+)/", re.MULTILINE)
_ARTIFACT = re.compile(r"Test unit written to (.+)")


@dataclass(frozen=True)
class Status:
    """How far a run has come. `edges` are those of `crypto` that were reached, making the world included."""

    executions: int
    edges: int
    inputs: int


@dataclass(frozen=True)
class Result:
    """What a run of one target gave."""

    target: str
    seconds: float
    executions: int
    executions_per_s: int
    edges: int
    inputs: int
    crashes: tuple[str, ...]
    """Inputs in `CRASHES`, as seen from the checkout; or the log, of a run that never got as far as an input."""


@dataclass(frozen=True)
class Run:
    """A target under the fuzzer, as a process that writes a log."""

    target: str
    process: subprocess.Popen[bytes]
    log: Path

    def status(self) -> Status | None:
        """The last that it said of itself."""
        lines = _STATUS.findall(self.log.read_text("utf-8", "replace"))
        return Status(*map(int, lines[-1])) if lines else None

    def result(self, seconds: float) -> Result:
        """What it gave, once it has ended."""
        status = self.status() or Status(0, 0, 0)
        crashes = [Path(path) for path in _ARTIFACT.findall(self.log.read_text("utf-8", "replace"))]
        if self.process.returncode != 0 and not crashes:
            crashes = [self.log]
        return Result(
            target=self.target,
            seconds=round(seconds, 1),
            executions=status.executions,
            executions_per_s=round(status.executions / max(seconds, 1)),
            edges=status.edges,
            inputs=status.inputs,
            crashes=tuple(map(_shown, crashes)),
        )


def start(target: str, *limits: str) -> Run:
    """Begin a run that ends by itself at `limits`, options of libFuzzer such as `-max_total_time=600`."""
    found, given = WORK / target / "found", WORK / target / "given"
    shutil.rmtree(given, ignore_errors=True)
    for folder in (found, given, CRASHES):
        folder.mkdir(parents=True, exist_ok=True)
    _put(given, corpus.read(target).values())
    log = WORK / target / "log"
    options = [
        *limits,
        f"-max_len={INPUT_BYTES_MAX}",
        f"-timeout={INPUT_SECONDS_MAX}",
        f"-rss_limit_mb={RSS_MB_MAX}",
        f"-artifact_prefix={CRASHES}/{target}-",
        str(found),
        str(given),
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(_command(target, options), cwd=ROOT, stdout=output, stderr=output)
    return Run(target, process, log)


def keep(target: str) -> int:
    """Add to the corpus what reaches more of `crypto` than the samples do, and no more; returns how much that is.

    Edges count, not how often each is passed: a few dozen inputs reach what hundreds do.
    """
    samples, merged = WORK / target / "samples", WORK / target / "merged"
    for folder in (samples, merged):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    of_our_code = {key: data for key, data in corpus.read(target).items() if not key.startswith(corpus.FOUND)}
    _put(merged, of_our_code.values())
    folders = [merged, WORK / target / "given", WORK / target / "found"]
    options = ["-merge=1", "-use_counters=0", f"-max_len={INPUT_BYTES_MAX}", *map(str, folders)]
    subprocess.run(_command(target, options), cwd=ROOT, check=True, capture_output=True)
    inputs = {path.read_bytes() for path in merged.iterdir()} - set(of_our_code.values())
    corpus.write(target, of_our_code, {corpus.name_of(data): data for data in inputs})
    return len(inputs)


def _shown(path: Path) -> str:
    """A path as one types it in the checkout, and as it may stand in a document."""
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def _put(folder: Path, inputs: Iterable[bytes]) -> None:
    for data in inputs:
        (folder / corpus.name_of(data).replace(" ", "-")).write_bytes(data)


def _command(target: str, options: list[str]) -> list[str]:
    return [sys.executable, "-m", "tests.fuzzing.process", target, *options]
