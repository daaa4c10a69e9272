"""`python -m benchmarks`: measure, show, and write `latest.json`, `report.md` and the figure to `results`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import chart, client_figures, crypto_figures, machine, report, server_figures
from benchmarks.crypto_report import CHART
from benchmarks.figures import Figures
from benchmarks.processes import BenchmarkError
from sealdesk_cli.errors import while_read

RESULTS = Path(__file__).with_name("results")
AREAS = ("crypto", "server", "client")


class Steps:
    """Progress on the terminal. It is drawn between measurements, by no thread that would take time from them."""

    def __init__(self, console: Console) -> None:
        columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
        self._live = console.is_terminal
        self._console = console
        self._progress = Progress(*columns, console=console, auto_refresh=False, transient=True)
        self._task = self._progress.add_task("", total=1)
        self._said = ""

    def __enter__(self) -> Steps:
        if self._live:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._progress.stop()

    def say(self, what: str, share: float) -> None:
        """Something is being measured, and this share of it is done."""
        if self._live:
            self._progress.update(self._task, description=what, completed=share, refresh=True)
        elif what != self._said:
            self._console.print(what)
        self._said = what


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for; 0 if everything could be measured."""
    options = _parser().parse_args(arguments)
    console = Console(stderr=True)
    figures, described = Figures(), machine.describe()
    try:
        with Steps(console) as steps:
            if options.only in (None, "crypto"):
                plan = crypto_figures.plan(quick=options.quick)
                crypto_figures.measure(figures, plan, steps.say)
            if options.only in (None, "server"):
                server_figures.measure(figures, quick=options.quick, say=steps.say)
            if options.only in (None, "client"):
                client_figures.measure(figures, quick=options.quick, say=steps.say)
    except BenchmarkError as error:
        console.print(f"benchmarks: {error}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        return 130
    content = report.results(described, figures)
    if options.json:
        sys.stdout.write(report.as_json(content))
    else:
        Console().print(Markdown(report.as_markdown(content)))
    if options.only is None and not options.quick:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "latest.json").write_text(report.as_json(content), "utf-8")
        (RESULTS / "report.md").write_text(report.as_markdown(content), "utf-8")
        (RESULTS / CHART).write_bytes(chart.as_svg(content))
        console.print(f"written: {RESULTS / 'latest.json'}, report.md and {CHART}", markup=False)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure Sealdesk on this machine. A whole run takes about a quarter of an hour and writes "
        "benchmarks/results; with --only or --quick the figures are only shown.",
        allow_abbrev=False,
    )
    parser.add_argument("--only", choices=AREAS, help="measure one area")
    parser.add_argument("--quick", action="store_true", help="show that everything runs; the figures mean nothing")
    parser.add_argument("--json", action="store_true", help="show JSON in place of tables")
    return parser


if __name__ == "__main__":
    sys.exit(while_read(main))
