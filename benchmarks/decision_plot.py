"""The plot of `python -m benchmarks.decisions`: cost against gain and harm, a panel for each."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from benchmarks.decision_figures import SIMULATED

_MARKS = "osD^vPX*h<>p"
_INCHES = (4.6, 4.2)
"""Of one panel."""


_COLUMNS = 2
_TICKS = (1, 2, 5, 10, 20, 50, 100)
_LABELS = {
    "mean_gain": "mean gain over the default, points",
    "worst_harm": "searches that did harm in the worst cell, %",
}
_FACTORS = {"mean_gain": 1, "worst_harm": 100}


def save_plot(entries: Sequence[dict[str, Any]], path: Path) -> None:
    """Write a PNG with a mark for each policy and size, without variants of this program.

    The sizes of a policy are joined by a line.

    Args:
        entries: as `benchmarks.decision_figures.policies` returns them.
        path: of the picture.
    """
    entries = [entry for entry in entries if not entry["is_variant"]]
    sources = {name for entry in entries for name in entry["sources"]}
    panels = [(name, "mean_gain") for name in sorted(sources, key=lambda n: (n != SIMULATED, n))]
    if SIMULATED in sources:
        panels.insert(1, (SIMULATED, "worst_harm"))
    width, height = _INCHES
    num_rows = -(-len(panels) // _COLUMNS)
    size = (width * min(_COLUMNS, len(panels)), height * num_rows + 1)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    subplots = figure.subplots(num_rows, min(_COLUMNS, len(panels)), squeeze=False).flatten()
    for axes, (source, name) in zip(subplots, panels, strict=False):
        _plot_source(axes, entries, source, name)
    for axes in subplots[len(panels) :]:
        axes.set_visible(False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=_COLUMNS, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, metadata={"Software": None})


def _plot_source(axes: Axes, entries: Sequence[dict[str, Any]], source: str, name: str) -> None:
    for number, label in enumerate(dict.fromkeys(entry["label"] for entry in entries)):
        ours = [e for e in entries if e["label"] == label and source in e["sources"]]
        figures = [entry["sources"][source] for entry in ours]
        points = [(one["full_trainings"], one[name] * _FACTORS[name]) for one in figures]
        axes.errorbar(
            [cost for cost, _ in points],
            [value for _, value in points],
            yerr=[(one[f"{name}_standard_error"] or 0.0) * _FACTORS[name] for one in figures],
            label=label,
            marker=_MARKS[number % len(_MARKS)],
            color=f"C{number % 10}",
            linewidth=1,
        )
        for entry, point in zip(ours, points, strict=True):
            axes.annotate(
                str(entry["trials"]), point, xytext=(4, 4), textcoords="offset points", fontsize=7
            )
    axes.set_title(source)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(_TICKS))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("full trainings until a retrained winner")
    axes.set_ylabel(_LABELS[name])
    axes.grid(alpha=0.3)
