"""The figure of the report: what an operation costs against the size of the group, on logarithmic scales.

The same figures give the same bytes: ids come from a fixed salt, and no date is written.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from benchmarks.crypto_report import OURS, TARGETS

PANELS: Final = {
    "create": "Create: n - 1 adds, Welcome",
    "join": "Join by Welcome",
    "commit": "Commit with path, full tree",
    "process_commit": "Process that commit",
}


@dataclass(frozen=True, slots=True)
class Style:
    """How a library is drawn: apart from the others by its colour, its marker and its line."""

    colour: str
    marker: str
    line: str
    width: float


STYLES: Final = {  # colours of Okabe and Ito, which people who see fewer colours tell apart
    "ours": Style("#0072B2", "o", "-", 2.4),
    "ours_public": Style("#0072B2", ".", ":", 1.2),
    "ours_xwing": Style("#D55E00", "s", "-", 2.4),
    "mls_rs": Style("#009E73", "^", "--", 1.3),
    "rine_mls": Style("#56B4E9", "v", "--", 1.3),
    "openmls": Style("#CC79A7", "D", "-.", 1.3),
    "rfc9420": Style("#E69F00", "X", ":", 1.3),
}
_GREY: Final = "#7F7F7F"
_FEW_DECADES: Final = 1_000
"""Up to this ratio of the ends, an axis has figures between the powers of ten."""
_SETTINGS: Final[Any] = {
    "svg.hashsalt": "sealdesk",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9,
}


def as_svg(content: Mapping[str, Any]) -> bytes:
    """The figure; `content` is what `report.results` gave."""
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(9.4, 7.0), layout="constrained")
        drawn: dict[str, Any] = {}
        for axes, (what, title) in zip(figure.subplots(2, 2).flat, PANELS.items(), strict=True):
            drawn |= _draw(axes, content, what)
            _dress(axes, title)
        names = [name for name in (*STYLES, "bound", "target") if name in drawn]
        titles = {
            **{name: f"Sealdesk, {title}" for name, title in OURS.items()},
            "target": "target, in the colour of its line",
        }
        titles |= {name: peer["title"] for name, peer in content["peers"].items()}
        titles["bound"] = "primitives alone, suite 0x0001"
        figure.legend(
            [drawn[name] for name in names],
            [titles[name] for name in names],
            loc="outside lower center",
            ncols=4,
            frameon=False,
        )
        out = io.BytesIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
        return out.getvalue()


def _draw(axes: Axes, content: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Draw one panel; what was drawn, by name."""
    drawn: dict[str, Any] = {}
    measured = _by_size(content["crypto"], what)
    bounds = _by_size(content["bounds"], what)
    at_bound = {members: found["ours"] for members, found in bounds.items() if "ours" in found}
    if at_bound:
        (drawn["bound"],) = axes.plot(*_points(at_bound), color=_GREY, linewidth=1.0, linestyle=(0, (1, 2)), zorder=1)
    for name, style in reversed(STYLES.items()):
        found = {members: cells[name] for members, cells in measured.items() if name in cells}
        if found:
            (drawn[name],) = axes.plot(
                *_points(found),
                color=style.colour,
                linestyle=style.line,
                linewidth=style.width,
                marker=style.marker,
                markersize=5.5 if name in OURS else 4.5,
                zorder=4 if name in OURS else 3,
            )
    for name, targets in TARGETS.items():
        keys = {members: f"{what}_{members}_ms" for members in measured}
        aimed = {members: float(targets[key]) for members, key in keys.items() if key in targets}
        if aimed:
            colour = STYLES[name].colour
            axes.scatter(*_points(aimed), marker="_", s=260, color=colour, linewidths=1.6, alpha=0.6, zorder=2)
            drawn["target"] = Line2D([], [], color=_GREY, marker="_", markersize=16, linestyle="")
    return drawn


def _dress(axes: Axes, title: str) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
    axes.set_xlabel("members, n")
    axes.set_ylabel("milliseconds")
    axes.set_xticks([2, 10, 100, 1_000, 10_000])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(_plain))
    axes.yaxis.set_major_formatter(FuncFormatter(_plain))
    axes.yaxis.set_minor_formatter(NullFormatter())
    low, high = axes.get_ylim()
    if high / low < _FEW_DECADES:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.grid(visible=True, which="major", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _plain(value: float, _position: int) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def _by_size(area: Mapping[str, Mapping[str, float]], what: str) -> dict[int, Mapping[str, float]]:
    """The milliseconds of an operation, by group size."""
    found = {}
    for key, cells in area.items():
        name, _, rest = key.removesuffix("_ms").rpartition("_")
        if name == what and key.endswith("_ms"):
            found[int(rest)] = cells
    return dict(sorted(found.items()))


def _points(values: Mapping[int, float]) -> tuple[list[int], list[float]]:
    return list(values), list(values.values())
