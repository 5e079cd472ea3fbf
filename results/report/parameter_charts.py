"""Plots of `report.html` on the searched parameters: score against each, pairs, importance."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from results.importance import CONFIDENCE, MIN_TRIALS, Importance, parameter_importances
from results.report.markup import (
    Layout,
    Trace,
    at_budget,
    axis,
    chart,
    choice,
    fold,
    grid,
    heading,
    log_axis,
    number,
    paragraphs,
    plotly_text,
    rounded,
    table,
)
from results.report.run_data import ReportTrial, RunData, RungTrials
from results.score_names import capitalise
from results.trial_states import SearchStatus

Floats = NDArray[np.float64]

MIN_TO_COMPARE = 10
"""Trials that the budget displayed first has, where any budget has so many."""

_RULE = (
    "Only trials at the same rung are compared. From the second rung on only promoted trials are"
    " left, so that the effect of a parameter appears smaller than it is."
)


@dataclass(frozen=True, kw_only=True)
class _Plotted:
    """Which trials the plots of this section contain."""

    data: RunData
    rungs: Sequence[RungTrials]
    selected: RungTrials
    """The rung that is displayed first; the reader may choose another."""
    space: Mapping[str, Any]

    def at(self, rung: RungTrials) -> Trace:
        return at_budget(rung.examples, is_selected=rung is self.selected)


def plot_parameters(data: RunData) -> str:
    """Plot score against each parameter, pairs, parallel coordinates, and importance."""
    rungs, space = data.rung_trials(), data.schedule.get("space", {})
    if not rungs or not space:
        return paragraphs(["There are no comparable trials yet."])
    plotted = _Plotted(data=data, rungs=rungs, selected=select_rung(rungs), space=space)
    names = list(space)
    labels = {str(rung.examples): f"{rung.name} ({len(rung.trials)} trials)" for rung in rungs}
    return "".join(
        [
            paragraphs([_RULE] if len(rungs) > 1 else []),
            choice("Compare trials at", labels, selected=str(plotted.selected.examples))
            if len(rungs) > 1
            else "",
            heading("Which parameters matter") + _report_importance(plotted)
            if len(names) > 1
            else "",
            grid(_plot_score_against(name, plotted) for name in names),
            fold("Pairs of parameters and parallel coordinates", _plot_together(names, plotted))
            if len(names) > 1
            else "",
        ]
    )


def _plot_together(names: Sequence[str], plotted: _Plotted) -> str:
    pairs = grid(_plot_pair(pair, plotted) for pair in combinations(names, 2))
    return pairs + _plot_parallel_coordinates(names, plotted)


def select_rung(rungs: Sequence[RungTrials]) -> RungTrials:
    """Return the longest training that enough trials had; if none, the one with most trials."""
    enough = [rung for rung in rungs if len(rung.trials) >= MIN_TO_COMPARE]
    return enough[-1] if enough else max(rungs, key=lambda rung: len(rung.trials))


def _plot_score_against(name: str, plotted: _Plotted) -> str:
    label = plotted.data.score_label
    layout = {
        "xaxis": _parameter_axis(name, plotted),
        # With automargin, this axis and the ticks below it could move each other without end.
        "yaxis": axis(label, automargin=False),
        "showlegend": True,
    }
    return chart(
        f"{capitalise(label)} against {name}",
        "Each point is a trial.",
        [trace for rung in plotted.rungs for trace in _score_traces(name, rung, plotted)],
        layout,
        height=340,
    )


def _score_traces(name: str, rung: RungTrials, plotted: _Plotted) -> Iterator[Trace]:
    best, default = plotted.data.id_of("best"), plotted.data.id_of("default")
    for title, colour, symbol, size, belongs in (
        ("trials", "@blue", "circle", 7, lambda t: t.trial_id not in (best, default)),
        ("the default", "@orange", "square", 11, lambda t: t.trial_id == default),
        ("the winner", "@green", "diamond", 12, lambda t: t.trial_id == best != default),
    ):
        chosen = [pair for pair in zip(rung.trials, rung.scores, strict=True) if belongs(pair[0])]
        trials = [trial for trial, _ in chosen]
        yield {
            "type": "scatter",
            "mode": "markers",
            "name": title,
            **plotted.at(rung),
            "x": _parameter_values(name, plotted.space[name], trials),
            "y": rounded([score for _, score in chosen]),
            "text": [trial.trial_id for trial in trials],
            "hovertemplate": "%{text}: %{y:.4f} at %{x}<extra></extra>",
            "marker": {"color": colour, "symbol": symbol, "size": size, "opacity": 0.8},
        }


def _parameter_axis(name: str, plotted: _Plotted) -> Layout:
    """Return a logarithmic, linear or categorical axis, as the parameter was searched."""
    domain = plotted.space[name]
    trials = (trial for rung in plotted.rungs for trial in rung.trials)
    values = {trial.parameters.get(name, math.nan) for trial in trials}
    if "log_uniform" in domain:
        return log_axis(name, values)
    if "choice" in domain:
        ordered = sorted({*domain["choice"], *values})
        return axis(name, type="category", categoryarray=[f"{value:g}" for value in ordered])
    return axis(name)


def _parameter_values(
    name: str, domain: Mapping[str, Any], trials: Sequence[ReportTrial]
) -> list[Any]:
    """Return a parameter's values for that axis: texts on a categorical one, else numbers."""
    values = [trial.parameters.get(name, math.nan) for trial in trials]
    return [f"{v:g}" for v in values] if "choice" in domain else rounded(values)


def _plot_pair(pair: tuple[str, str], plotted: _Plotted) -> str:
    first, second = pair
    space, label = plotted.space, plotted.data.score_label
    traces = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "trials",
            **plotted.at(rung),
            "x": _parameter_values(first, space[first], rung.trials),
            "y": _parameter_values(second, space[second], rung.trials),
            "text": [
                f"{trial.trial_id}: {score:.4f}"
                for trial, score in zip(rung.trials, rung.scores, strict=True)
            ],
            "hovertemplate": "%{text}<br>%{x}, %{y}<extra></extra>",
            "marker": {
                "color": rounded(rung.scores),
                "colorscale": "Viridis",
                "size": 9,
                "line": {"color": "@muted", "width": 0.5},
                "colorbar": {
                    "title": {"text": plotly_text(label)},
                    **{"thickness": 10, "outlinewidth": 0},
                },
            },
        }
        for rung in plotted.rungs
    ]
    layout = {
        "xaxis": _parameter_axis(first, plotted),
        "yaxis": _parameter_axis(second, plotted),
        "showlegend": False,
        "margin": {"t": 16},
    }
    described = "The brighter a point, the better the score of its trial."
    return chart(f"{second} against {first}", described, traces, layout, height=340)


_FIFTHS = ("lowest fifth", "second fifth", "middle fifth", "fourth fifth", "best fifth")
_MAX_CHOICE_TICKS = 6


def _plot_parallel_coordinates(names: Sequence[str], plotted: _Plotted) -> str:
    label = plotted.data.score_label
    traces: list[Trace] = []
    for rung in plotted.rungs:
        columns = {
            **{name: np.array([t.parameters[name] for t in rung.trials]) for name in names},
            label: np.array(rung.scores),
        }
        scales = [_Scale(values, plotted.space.get(name, {})) for name, values in columns.items()]
        traces.append({**_parallel_axes(scales), **plotted.at(rung)})
        traces += [{**line, **plotted.at(rung)} for line in _parallel_lines(columns, scales, rung)]
    titles = [plotly_text(name) for name in (*names, label)]
    return chart(
        "Parallel coordinates",
        "Each line is a trial, coloured by its score. Click a fifth in the legend to hide or"
        " display it.",
        traces,
        {
            "xaxis": {
                **{"tickvals": list(range(len(titles))), "ticktext": titles},
                **{"range": [-0.15, len(titles) - 0.6], "showgrid": False, "zeroline": False},
            },
            "yaxis": {"visible": False, "range": [-0.04, 1.1]},
        },
        height=440,
    )


class _Scale:
    """Map values to heights from 0, the lowest value, to 1, the highest."""

    def __init__(self, values: Floats, domain: Mapping[str, Any]) -> None:
        self._is_log = "log_uniform" in domain and bool((values > 0).all())
        self._choices = np.unique(values) if "choice" in domain else None
        transformed = self._transform(values)
        self._low, self._width = float(transformed.min()), float(np.ptp(transformed)) or 1.0

    def height(self, values: Floats) -> Floats:
        """Return the height of each value."""
        return (self._transform(values) - self._low) / self._width

    def ticks(self) -> Floats:
        """Return the values to print beside the axis: of a choice, or both ends and the middle."""
        if self._choices is not None and len(self._choices) <= _MAX_CHOICE_TICKS:
            return self._choices
        transformed = self._low + np.array([0.0, 0.5, 1.0]) * self._width
        return np.exp(transformed) if self._is_log else transformed

    def _transform(self, values: Floats) -> Floats:
        if self._choices is not None:
            return np.searchsorted(self._choices, values).astype(np.float64)
        return np.log(values) if self._is_log else values


def _parallel_axes(scales: Sequence[_Scale]) -> Trace:
    """Return a vertical line for each column, with its values beside it."""
    x: list[float | None] = []
    y: list[float | None] = []
    text: list[str | None] = []
    for position, scale in enumerate(scales):
        ticks = scale.ticks()
        x += [position] * len(ticks) + [None]
        y += [*scale.height(ticks).tolist(), None]
        text += [*[f" {value:.3g}" for value in ticks], None]
    return {
        **{"type": "scatter", "mode": "lines+text", "x": x, "y": y, "text": text},
        "textposition": "top right",
        "textfont": {"color": "@ink", "size": 11},
        "line": {"color": "@muted", "width": 1},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _parallel_lines(
    columns: Mapping[str, Floats], scales: Sequence[_Scale], rung: RungTrials
) -> list[Trace]:
    """Return a trace for each fifth of the scores, with a line for each of its trials."""
    heights = np.stack(
        [scale.height(column) for scale, column in zip(scales, columns.values(), strict=True)]
    )
    fifths = np.searchsorted(np.quantile(rung.scores, [0.2, 0.4, 0.6, 0.8]), rung.scores)
    traces = []
    for fifth, name in enumerate(_FIFTHS):
        x: list[float | None] = []
        y: list[float | None] = []
        text: list[str | None] = []
        for member in np.flatnonzero(fifths == fifth).tolist():
            trial_id = rung.trials[member].trial_id
            x += [*range(len(columns)), None]
            y += [*rounded(heights[:, member].tolist(), 3), None]
            text += [
                *(f"{trial_id}: {plotly_text(n)} {c[member]:.4g}" for n, c in columns.items()),
                None,
            ]
        traces.append(
            {
                **{"type": "scatter", "mode": "lines", "name": name, "x": x, "y": y, "text": text},
                "line": {"color": f"@fifth-{fifth + 1}", "width": 1.8},
                "opacity": 0.75,
                "hovertemplate": "%{text}<extra></extra>",
            }
        )
    return [trace for trace in traces if trace["x"]]


def _report_importance(plotted: _Plotted) -> str:
    # An interrupted search has seconds to exit: it computes no importance.
    if plotted.data.record["status"] != SearchStatus.COMPLETED:
        return paragraphs(["Computed when the search is completed."])
    rung = plotted.selected
    found = parameter_importances(
        [trial.parameters for trial in rung.trials], rung.scores, plotted.space
    )
    if not found:
        return paragraphs(
            [
                f"Not computed: it requires at least {MIN_TRIALS} trials at the same rung with"
                " different parameters and scores."
            ]
        )
    rows = [
        [item.parameter, number(item.share), f"{item.low:.3f} to {item.high:.3f}"] for item in found
    ]
    explained = (
        "The importance of a parameter is the share of the variance of"
        f" {plotted.data.score_label} among {len(rung.trials)} trials ({rung.name}) that it"
        " explains by itself (fANOVA, Hutter et al. 2014, by Optuna's evaluator); its"
        f" {CONFIDENCE:.0%} interval is of resampled trials."
    )
    header = ["parameter", "share of variance", f"{CONFIDENCE:.0%} interval"]
    return _plot_importance(found) + fold(
        "Importance in numbers", paragraphs([explained]) + table(header, rows)
    )


def _plot_importance(found: Sequence[Importance]) -> str:
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
        "Share of the variance of the score that each explains by itself, with its interval;"
        " parameters with overlapping intervals may matter alike.",
        [bars],
        layout,
        height=120 + 40 * len(found),
    )
