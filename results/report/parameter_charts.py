"""The section of parameters: what each does to the score, among trials of one equal budget."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from results.importance import FEWEST_TRIALS, LEVEL, Importance, parameter_importances
from results.report.markup import (
    Layout,
    Trace,
    axis,
    chart,
    choice,
    grid,
    heading,
    log_axis,
    number,
    of_level,
    paragraphs,
    plotly_text,
    rounded,
    table,
)
from results.report.run_data import ReportTrial, RunData, RungTrials
from results.score_names import capitalise
from results.trial_states import SearchStatus

Floats = NDArray[np.float64]

_FIFTHS = ("lowest fifth", "second fifth", "middle fifth", "fourth fifth", "best fifth")
_MOST_MARKS = 6


def parallel_coordinates(
    names: Sequence[str],
    space: Mapping[str, Any],
    levels: Sequence[RungTrials],
    shown: RungTrials,
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


def _columns(names: Sequence[str], level: RungTrials, score_label: str) -> dict[str, Floats]:
    values = {name: np.array([trial.parameters[name] for trial in level.trials]) for name in names}
    return {**values, score_label: np.array(level.scores)}


def _lines(
    columns: Mapping[str, Floats],
    scales: Sequence[_Scale],
    level: RungTrials,
    shown: RungTrials,
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


def _told(columns: Mapping[str, Floats], member: int, level: RungTrials) -> list[str]:
    trial_id = level.trials[member].trial_id
    return [
        f"{trial_id}: {plotly_text(name)} {column[member]:.4g}" for name, column in columns.items()
    ]


def _axis_lines(scales: Sequence[_Scale], level: RungTrials, shown: RungTrials) -> Trace:
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


FEWEST_TO_COMPARE = 10
"""Trials that the budget shown first has, where there is one."""


def parameters(data: RunData) -> str:
    """Score against each parameter, pairs, parallel coordinates, and importance."""
    levels, space = data.rung_trials(), data.schedule.get("space", {})
    if not levels or not space:
        return paragraphs(["No trials that can be compared yet."])
    shown = first_shown(levels)
    names = list(space)
    labels = {str(level.examples): f"{level.name} ({len(level.trials)} trials)" for level in levels}
    parts = [
        paragraphs([_RULE]),
        choice("Compare trials at", labels, selected=str(shown.examples)),
        heading("Score against each parameter"),
        grid(_against(name, space, levels, shown, data) for name in names),
    ]
    if len(names) > 1:
        parts += [
            heading("Pairs of parameters"),
            grid(_pair(pair, space, levels, shown, data) for pair in combinations(names, 2)),
            heading("Parallel coordinates"),
            parallel_coordinates(names, space, levels, shown, data.score_label),
            heading("Importance"),
            _importance(data, shown),
        ]
    return "".join(parts)


_RULE = (
    "Only trials that were trained equally long are compared: choose at which rung. A score at a"
    " rung is the mean of the last two evaluations, at the full budget the last one. After the"
    " first rung only those that did well there are left, so that a parameter's effect looks"
    " smaller than it is."
)


def first_shown(levels: Sequence[RungTrials]) -> RungTrials:
    """The longest training that enough trials had; the one with the most where none has."""
    enough = [level for level in levels if len(level.trials) >= FEWEST_TO_COMPARE]
    return enough[-1] if enough else max(levels, key=lambda level: len(level.trials))


def parameter_axis(name: str, domain: Mapping[str, Any], levels: Sequence[RungTrials]) -> Layout:
    """An axis as the parameter was searched: logarithmic, even, or its values side by side."""
    seen = {trial.parameters.get(name, math.nan) for level in levels for trial in level.trials}
    if "log_uniform" in domain:
        return log_axis(name, seen)
    if "choice" in domain:
        ordered = sorted({*domain["choice"], *seen})
        return axis(name, type="category", categoryarray=[f"{value:g}" for value in ordered])
    return axis(name)


def parameter_values(
    name: str, domain: Mapping[str, Any], trials: Sequence[ReportTrial]
) -> list[Any]:
    """Values of a parameter as that axis takes them."""
    values = [trial.parameters.get(name, math.nan) for trial in trials]
    return [f"{v:g}" for v in values] if "choice" in domain else rounded(values)


def _against(
    name: str,
    space: Mapping[str, Any],
    levels: Sequence[RungTrials],
    shown: RungTrials,
    data: RunData,
) -> str:
    traces = [
        trace for level in levels for trace in _scatter(name, space[name], level, shown, data)
    ]
    layout = {
        "xaxis": parameter_axis(name, space[name], levels),
        "yaxis": axis(
            data.score_label, automargin=False
        ),  # it and the ticks below can move each other
        "showlegend": True,
    }
    described = "A point a trial; the winner and the default are marked."
    title = f"{capitalise(data.score_label)} against {name}"
    return chart(title, described, traces, layout, height=340)


def _scatter(
    name: str, domain: Mapping[str, Any], level: RungTrials, shown: RungTrials, data: RunData
) -> Iterator[Trace]:
    best, default = data.id_of("best"), data.id_of("default")
    for title, colour, symbol, size, belongs in (
        ("trials", "@blue", "circle", 7, lambda t: t.trial_id not in (best, default)),
        ("the default", "@orange", "square", 11, lambda t: t.trial_id == default),
        ("the winner", "@green", "diamond", 12, lambda t: t.trial_id == best != default),
    ):
        chosen = [pair for pair in zip(level.trials, level.scores, strict=True) if belongs(pair[0])]
        trials = [trial for trial, _ in chosen]
        yield {
            "type": "scatter",
            "mode": "markers",
            "name": title,
            **of_level(level.examples, is_shown=level is shown),
            "x": parameter_values(name, domain, trials),
            "y": rounded([score for _, score in chosen]),
            "text": [trial.trial_id for trial in trials],
            "hovertemplate": "%{text}: %{y:.4f} at %{x}<extra></extra>",
            "marker": {"color": colour, "symbol": symbol, "size": size, "opacity": 0.8},
        }


def _pair(
    pair: tuple[str, str],
    space: Mapping[str, Any],
    levels: Sequence[RungTrials],
    shown: RungTrials,
    data: RunData,
) -> str:
    first, second = pair
    traces = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "trials",
            **of_level(level.examples, is_shown=level is shown),
            "x": parameter_values(first, space[first], level.trials),
            "y": parameter_values(second, space[second], level.trials),
            "text": [
                f"{trial.trial_id}: {score:.4f}"
                for trial, score in zip(level.trials, level.scores, strict=True)
            ],
            "hovertemplate": "%{text}<br>%{x}, %{y}<extra></extra>",
            "marker": {
                "color": rounded(level.scores),
                "colorscale": "Viridis",
                "size": 9,
                "line": {"color": "@muted", "width": 0.5},
                "colorbar": {
                    "title": {"text": plotly_text(data.score_label)},
                    **{"thickness": 10, "outlinewidth": 0},
                },
            },
        }
        for level in levels
    ]
    layout = {
        "xaxis": parameter_axis(first, space[first], levels),
        "yaxis": parameter_axis(second, space[second], levels),
        "showlegend": False,
        "margin": {"t": 16},
    }
    return chart(f"{second} against {first}", "Brighter is better.", traces, layout, height=340)


def _importance(data: RunData, shown: RungTrials) -> str:
    if (
        data.record["status"] != SearchStatus.COMPLETED
    ):  # one that is interrupted has seconds to end
        return paragraphs(["Computed when the search is completed."])
    found = parameter_importances(
        [trial.parameters for trial in shown.trials], shown.scores, data.schedule["space"]
    )
    if not found:
        return paragraphs(
            [f"Not computed: it takes at least {FEWEST_TRIALS} trials of equal budget that differ."]
        )
    rows = [
        [item.parameter, number(item.share), f"{item.low:.4f} to {item.high:.4f}"] for item in found
    ]
    told = (
        f"Share of the variance of {data.score_label} among {len(shown.trials)} trials"
        f" ({shown.name}) that a parameter explains by itself (fANOVA, Hutter et al. 2014, by"
        f" Optuna's evaluator). The interval is the middle {LEVEL:.0%} over resampled trials; where"
        " intervals overlap, the order is not known."
    )
    header = ["parameter", "share of variance", f"{LEVEL:.0%} interval"]
    return paragraphs([told]) + _bars(found) + table(header, rows)


def _bars(found: Sequence[Importance]) -> str:
    upwards = found[::-1]
    bars: Trace = {
        "type": "bar",
        "orientation": "h",
        "x": rounded([item.share for item in upwards]),
        "y": [item.parameter for item in upwards],
        "marker": {"color": "@blue"},
        "hovertemplate": "%{y}: %{x:.3f}<extra></extra>",
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": rounded([max(item.high - item.share, 0.0) for item in upwards]),
            "arrayminus": rounded([max(item.share - item.low, 0.0) for item in upwards]),
            "color": "@ink",
        },
    }
    layout = {"xaxis": axis("share of the variance", rangemode="tozero"), "showlegend": False}
    layout["margin"] = {"t": 16}
    return chart(
        "Importance of the parameters",
        "Bars are shares, lines their intervals.",
        [bars],
        layout,
        height=120 + 40 * len(found),
    )
