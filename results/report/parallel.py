"""Parallel coordinates, as plain lines: they print, and need no graphics card as Plotly's do."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from results.report.charts import Layout, Trace, chart, of_level, plotly_text, rounded
from results.report.material import Level

Floats = NDArray[np.float64]

_FIFTHS = ("lowest fifth", "second fifth", "middle fifth", "fourth fifth", "best fifth")
_MOST_MARKS = 6


def parallel_coordinates(
    names: Sequence[str],
    space: Mapping[str, Any],
    levels: Sequence[Level],
    shown: Level,
    score_label: str,
) -> str:
    """A line a trial through its values and its score, coloured by fifths of the score."""
    traces: list[Trace] = []
    for level in levels:
        columns = _columns(names, level, score_label)
        scales = [_Scale(column, space.get(name, {})) for name, column in columns.items()]
        traces.append(_axis_lines(scales, level, shown))
        traces += _lines(columns, scales, level, shown)
    return chart(
        "Parallel coordinates",
        "A line a trial, stronger for better; each axis runs from its lowest to its highest value,"
        " learning rates and the like on the logarithm. Names in the legend switch fifths on and"
        " off.",
        traces,
        _layout([*names, score_label]),
        height=440,
    )


class _Scale:
    """Where values stand between the lowest, 0, and the highest, 1."""

    def __init__(self, values: Floats, domain: Mapping[str, Any]) -> None:
        self._is_log = "log_uniform" in domain and bool((values > 0).all())
        self._choices = np.unique(values) if "choice" in domain else None
        moved = self._moved(values)
        self._low, self._width = float(moved.min()), float(np.ptp(moved)) or 1.0

    def place(self, values: Floats) -> Floats:
        """Of each value."""
        return (self._moved(values) - self._low) / self._width

    def marks(self) -> Floats:
        """Values to be written beside the axis: those of a choice, or both ends and the middle."""
        if self._choices is not None and len(self._choices) <= _MOST_MARKS:
            return self._choices
        moved = self._low + np.array([0.0, 0.5, 1.0]) * self._width
        return np.exp(moved) if self._is_log else moved

    def _moved(self, values: Floats) -> Floats:
        if self._choices is not None:
            return np.searchsorted(self._choices, values).astype(np.float64)
        return np.log(values) if self._is_log else values


def _columns(names: Sequence[str], level: Level, score_label: str) -> dict[str, Floats]:
    values = {name: np.array([trial.parameters[name] for trial in level.trials]) for name in names}
    return {**values, score_label: np.array(level.scores)}


def _lines(
    columns: Mapping[str, Floats],
    scales: Sequence[_Scale],
    level: Level,
    shown: Level,
) -> list[Trace]:
    places = np.stack(
        [scale.place(column) for scale, column in zip(scales, columns.values(), strict=True)]
    )
    fifths = np.searchsorted(np.quantile(level.scores, [0.2, 0.4, 0.6, 0.8]), level.scores)
    traces = []
    for fifth, name in enumerate(_FIFTHS):
        members = np.flatnonzero(fifths == fifth)
        x: list[float | None] = []
        y: list[float | None] = []
        text: list[str | None] = []
        for member in members:
            x += [*range(len(columns)), None]
            y += [*rounded(places[:, member].tolist(), 3), None]
            text += [*_told(columns, int(member), level), None]
        traces.append(
            {
                **{"type": "scatter", "mode": "lines", "name": name, "x": x, "y": y, "text": text},
                **of_level(level.examples, is_shown=level is shown),
                "line": {"color": f"@fifth-{fifth + 1}", "width": 1.8},
                "opacity": 0.75,
                "hovertemplate": "%{text}<extra></extra>",
            }
        )
    return [trace for trace in traces if trace["x"]]


def _told(columns: Mapping[str, Floats], member: int, level: Level) -> list[str]:
    trial_id = level.trials[member].trial_id
    return [
        f"{trial_id}: {plotly_text(name)} {column[member]:.4g}" for name, column in columns.items()
    ]


def _axis_lines(scales: Sequence[_Scale], level: Level, shown: Level) -> Trace:
    """An upright line a parameter with its values beside it."""
    x: list[float | None] = []
    y: list[float | None] = []
    text: list[str | None] = []
    for place, scale in enumerate(scales):
        marks = scale.marks()
        x += [place] * len(marks) + [None]
        y += [*scale.place(marks).tolist(), None]
        text += [*[f" {value:.3g}" for value in marks], None]
    return {
        **{"type": "scatter", "mode": "lines+text", "x": x, "y": y, "text": text},
        **of_level(level.examples, is_shown=level is shown),
        "textposition": "top right",
        "textfont": {"color": "@ink", "size": 11},
        "line": {"color": "@muted", "width": 1},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _layout(names: Sequence[str]) -> Layout:
    return {
        "xaxis": {
            **{
                "tickvals": list(range(len(names))),
                "ticktext": [plotly_text(name) for name in names],
            },
            **{"range": [-0.15, len(names) - 0.6], "showgrid": False, "zeroline": False},
        },
        "yaxis": {"visible": False, "range": [-0.04, 1.1]},
    }
