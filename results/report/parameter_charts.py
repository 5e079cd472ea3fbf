"""Plots of `report.html` on the searched parameters: score against each, pairs, importance."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import unescape
from itertools import combinations
from typing import Any

from results.importance import CONFIDENCE, MIN_TRIALS, Importance, parameter_importances
from results.parameter_values import (
    Value,
    format_value,
    in_order,
    is_number,
    is_numeric,
)
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
from results.report.parallel_coordinates import plot_parallel_coordinates
from results.report.run_data import ReportTrial, RunData, RungTrials
from results.score_names import capitalise
from results.trial_states import SearchStatus

MIN_TO_COMPARE = 10
"""Trials that the budget displayed first has, where any budget has so many."""

_LONGEST_LABEL = 28
"""Characters of a word beside its axis; of a longer one its beginning and its end."""

_MOST_PAIRED = 6
"""Parameters with a plot for each pair: of 12 there would be 66 plots."""

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
    few = names[:_MOST_PAIRED]
    omitted = [f"Pairs of the first {len(few)} parameters; all {len(names)} are in the last plot."]
    pairs = grid(_plot_pair(pair, plotted) for pair in combinations(few, 2))
    return (
        paragraphs(omitted if len(few) < len(names) else [])
        + pairs
        + plot_parallel_coordinates(names, plotted.data, plotted.rungs, plotted.selected)
    )


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
            "x": _parameter_values(name, plotted, trials),
            "y": rounded([score for _, score in chosen]),
            "text": [f"{trial.trial_id}: {name} {_whole(trial, name)}" for trial in trials],
            "hovertemplate": "%{text}, %{y:.4f}<extra></extra>",
            "marker": {"color": colour, "symbol": symbol, "size": size, "opacity": 0.8},
        }


def _parameter_axis(name: str, plotted: _Plotted) -> Layout:
    """Return a logarithmic, linear or categorical axis, as the parameter was searched."""
    domain = plotted.space[name]
    values = [trial.parameters.get(name) for rung in plotted.rungs for trial in rung.trials]
    if "log_uniform" in domain:
        return log_axis(name, map(_as_number, values))
    if _is_category(name, plotted):
        labels = [_label(value, plotted) for value in in_order(domain, values)]
        ticks = {"tickvals": labels, "ticktext": list(map(_shortened, labels))}
        return axis(name, type="category", categoryarray=labels, **ticks)
    return axis(name)


def _is_category(name: str, plotted: _Plotted) -> bool:
    domain = plotted.space[name]
    values = (trial.parameters.get(name) for rung in plotted.rungs for trial in rung.trials)
    return "choice" in domain or not is_numeric(domain, values)


def _parameter_values(name: str, plotted: _Plotted, trials: Sequence[ReportTrial]) -> list[Any]:
    """Return a parameter's values for that axis: texts on a categorical one, else numbers."""
    values = [trial.parameters.get(name) for trial in trials]
    if _is_category(name, plotted):
        return [_label(value, plotted) for value in values]
    return rounded(list(map(_as_number, values)))


def _label(value: Value, plotted: _Plotted) -> str:
    """Return a value of a choice as its axis has it, in Plotly's markup."""
    text = f"{value:g}" if is_number(value) else format_value(value, plotted.data.model_names)
    return plotly_text(text)


def _shortened(label: str) -> str:
    """Return the beginning and the end of a long label, whose marks are escaped."""
    text, kept = unescape(label), (_LONGEST_LABEL - 1) // 2
    return (
        label if len(text) <= _LONGEST_LABEL else plotly_text(f"{text[:kept]}\u2026{text[-kept:]}")
    )


def _whole(trial: ReportTrial, name: str) -> str:
    """Return a trial's value of a parameter in full, in Plotly's markup."""
    return plotly_text(format_value(trial.parameters.get(name)))


def _as_number(value: Value) -> float:
    return float(value) if is_number(value) else math.nan  # type: ignore[arg-type]


def _plot_pair(pair: tuple[str, str], plotted: _Plotted) -> str:
    first, second = pair
    label = plotted.data.score_label
    ascending = {  # what is plotted last is on top
        rung.examples: sorted(zip(rung.trials, rung.scores, strict=True), key=lambda pair: pair[1])
        for rung in plotted.rungs
    }
    traces = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "trials",
            **plotted.at(rung),
            "x": _parameter_values(first, plotted, [t for t, _ in ascending[rung.examples]]),
            "y": _parameter_values(second, plotted, [t for t, _ in ascending[rung.examples]]),
            "text": [
                f"{trial.trial_id}: {score:.4f}<br>{_whole(trial, first)}, {_whole(trial, second)}"
                for trial, score in ascending[rung.examples]
            ],
            "hovertemplate": "%{text}<extra></extra>",
            "marker": {
                "color": rounded([score for _, score in ascending[rung.examples]]),
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
    described = "The brighter a point, the better the score; where trials meet, the best is on top."
    return chart(f"{second} against {first}", described, traces, layout, height=340)


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
        " explains by itself (fANOVA, Hutter et al. 2014); its"
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
