"""The fuzzer itself, for a bounded number of runs of every target, and what drives it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzzing import __main__ as command
from tests.fuzzing import campaign, corpus
from tests.fuzzing.campaign import ROOT, Status
from tests.fuzzing.targets import TARGETS

RUNS = {"commit": 200, "public_message": 250, "private_message": 250}
"""What takes some two seconds with the start of the process; lighter targets run more."""
RUNS_OF_OTHERS = 600

needs_atheris = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="atheris is there for Linux on x86-64 only; the corpus is replayed everywhere",
)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of a test run gets into the folder of real ones."""
    monkeypatch.setattr(campaign, "WORK", tmp_path)
    monkeypatch.setattr(campaign, "CRASHES", tmp_path / "crashes")
    return tmp_path


@needs_atheris
@pytest.mark.parametrize("name", TARGETS)
def test_some_runs(name: str, work: Path) -> None:
    """Bounded by runs and begun from one seed, so that it comes out the same on a slow machine."""
    runs = RUNS.get(name, RUNS_OF_OTHERS)
    run = campaign.start(name, f"-runs={runs}", "-seed=1")
    run.process.wait()
    result = run.result(1.0)
    assert result.crashes == (), run.log.read_text("utf-8", "replace")[-4_000:]
    assert result.executions >= runs
    assert result.edges > 0


@needs_atheris
def test_what_was_found_is_kept_if_it_reaches_something(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "attachment"
    samples = TARGETS[name].samples()
    monkeypatch.setattr(corpus, "FOLDER", tmp_path / "corpus")
    corpus.write(name, samples, {})
    run = campaign.start(name, "-runs=3000", "-seed=1")
    run.process.wait()
    kept = campaign.keep(name)
    assert 0 < kept < len(list((work / name / "found").iterdir()))
    assert corpus.read(name) == samples | corpus.found(name)
    assert len(corpus.found(name)) == kept


PLANTED = """
import sys
from tests.fuzzing.process import TARGETS, main
from tests.fuzzing.target import Target, Way

def run(data):
    if b"\\x07" in data:
        raise ZeroDivisionError

TARGETS["message"] = Target("message", (Way("with a bug", run, (), list),))
main("message", sys.argv[1:])
"""


@needs_atheris
def test_a_crash_is_found_kept_and_shown(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(campaign, "_command", lambda _, options: [sys.executable, "-c", PLANTED, *options])
    assert command.main(["--seconds", "60", "--target", "message", "--json"]) == 1
    shown = capsys.readouterr()
    record = json.loads(shown.out)
    (crash,) = record["targets"][0]["crashes"]
    assert record["crashes"] == 1
    assert b"\x07" in Path(crash).read_bytes()
    assert f"python -m tests.fuzzing --target message --replay {crash}" in shown.err


def test_without_the_fuzzer_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SystemExit):
        command.main(["--target", "message"])
    assert "atheris, is not installed" in capsys.readouterr().err


@needs_atheris
def test_a_run_that_does_not_begin_is_no_success(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no input to show then; the log says why."""
    monkeypatch.setattr(campaign, "_command", lambda *_: [sys.executable, "-c", "raise SystemExit(2)"])
    run = campaign.start("message", "-runs=1")
    run.process.wait()
    assert run.result(1.0).crashes == (str(run.log),)


def test_replay_shows_what_one_input_does(tmp_path: Path) -> None:
    good = tmp_path / "input"
    good.write_bytes(TARGETS["message"].samples()["decode 0"])
    shown = subprocess.run(
        [sys.executable, "-m", "tests.fuzzing", "--target", "message", "--replay", str(good)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert shown.stdout == "message: no crash\n"


def test_the_log_of_a_run_is_read(work: Path) -> None:
    log = work / "log"
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    run = campaign.Run("message", done, log)
    log.write_text("INFO: Loaded 1 modules\n")
    assert run.status() is None
    log.write_text(
        "#9\tINITED cov: 951 ft: 1702 corp: 8/4896b exec/s: 0 rss: 71Mb\n"
        "#4096\tpulse  cov: 980 ft: 1900 corp: 20/12Kb lim: 4096 exec/s: 1024 rss: 72Mb\n"
        "artifact_prefix='a folder/'; Test unit written to a folder/message-crash-1\n"
    )
    assert run.status() == Status(executions=4096, edges=980, inputs=20)
    result = run.result(seconds=4.0)
    assert (result.executions_per_s, result.crashes) == (1024, ("a folder/message-crash-1",))
