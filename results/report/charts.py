"""Plots of `report.html`: learning curves, replicates, F1, calibration. Add a new plot here.

A plot is a function that returns HTML by `markup.chart`; `page.py` and the modules of sections call
it. Plots of the searched parameters are in `parameter_charts.py`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from results.report.markup import Layout, Trace, axis, chart, paragraphs, plotly_text, rounded
from results.report.run_data import ReportTrial, RunData
from results.score_names import capitalise
from results.trial_states import Status

_CURVES_HEIGHT = 520

_GROUPS: Sequence[tuple[str, str, Callable[[ReportTrial], bool]]] = (
    ("stopped early", "@muted", lambda trial: trial.was_stopped_early),
    ("failed or diverged", "@red", lambda trial: trial.status in (Status.FAILED, Status.DIVERGED)),
    ("collapsed", "@purple", lambda trial: trial.status == Status.COLLAPSED),
    ("ended at the last rung", "@blue", lambda trial: trial.is_at_last_rung),
    ("completed", "@blue", lambda trial: trial.status == Status.COMPLETED),
    ("running", "@green", lambda trial: trial.status == Status.RUNNING),
)


def plot_learning_curves(data: RunData) -> str:
    """Plot each trial's validation score over its training, with rungs and early stops."""
    evaluated = [trial for trial in data.trials if trial.curve]
    if not evaluated:
        return paragraphs(["No trial has been evaluated yet."])
    scale = data.schedule.get("rows_per_epoch") or 1
    unit = "epochs" if data.schedule else "training rows seen"
    rungs = [rung / scale for rung in data.schedule.get("rungs", ())]
    return paragraphs(_count_stopped(data)) + chart(
        f"{capitalise(data.score_label)} on the validation rows against {unit}",
        "Each line is a trial; a cross marks where the scheduler stopped it; dashed lines are the"
        " rungs at which trials are compared. Click a name in the legend to hide or display it.",
        [trace for trace in _curve_traces(data, evaluated, scale) if trace["x"]],
        {
            "xaxis": axis(unit, rangemode="tozero"),
            "yaxis": axis(f"{data.score_label} (validation)"),
            "shapes": [_rung_line(rung) for rung in rungs],
            "annotations": [_rung_name(rung, number) for number, rung in enumerate(rungs, 1)],
        },
        height=_CURVES_HEIGHT,
    )


def _count_stopped(data: RunData) -> Sequence[str]:
    """Report for each rung how many trials reached it and how many were stopped there."""
    budget = data.schedule.get("budget")
    return [
        f"{rung.name}: {len(rung.trials)} trials reached it; "
        + ("the search ends there." if rung.is_end else f"stopped early there: {rung.num_stopped}.")
        for rung in data.rung_trials()
        if rung.examples != budget
    ]


def _curve_traces(data: RunData, evaluated: Sequence[ReportTrial], scale: float) -> Sequence[Trace]:
    """Return a trace for each group of trials, then default and winner, plotted on top."""
    named = {data.id_of("default"): ("the default", "@orange")}
    named |= {data.id_of("best"): ("the winner", "@green")}
    searched = [t for t in evaluated if not t.is_confirmation and t.trial_id not in named]
    confirmed = [t for t in evaluated if t.is_confirmation]
    return [
        *(
            _lines(name, colour, [trial for trial in searched if belongs(trial)], scale)
            for name, colour, belongs in _GROUPS
        ),
        {**_lines("confirmations", "@purple", confirmed, scale), "visible": "legendonly"},
        _early_stops([t for t in searched if t.was_stopped_early], scale),
        *(
            _highlight(trial, *named[trial.trial_id], scale)
            for trial in evaluated
            if trial.trial_id in named
        ),
        *_line_to_beat(data, max(trial.curve[-1][0] for trial in evaluated) / scale),
    ]


def _line_to_beat(data: RunData, end: float) -> Iterator[Trace]:
    """Yield the baseline's score on the validation rows as a level line, where it was measured."""
    score = (data.record.get("baseline") or {}).get("score")
    if score is not None:
        yield {
            **_curve_trace("TF-IDF", [0, end], [score] * 2, ["TF-IDF"] * 2),
            "mode": "lines",
            "line": {"color": "@orange", "width": 2, "dash": "dot"},
        }


def _lines(name: str, colour: str, trials: Iterable[ReportTrial], scale: float) -> Trace:
    """Return one trace for all curves, with a gap after each: far cheaper than a trace each."""
    x: list[float | None] = []
    y: list[float | None] = []
    text: list[str | None] = []
    for trial in trials:
        x += [*rounded([examples / scale for examples, _ in trial.curve]), None]
        y += [*rounded([score for _, score in trial.curve]), None]
        text += [*[trial.trial_id] * len(trial.curve), None]
    return {
        **_curve_trace(name, x, y, text),
        "mode": "lines",
        "line": {"color": colour, "width": 1.2},
        "opacity": 0.6,
    }


def _early_stops(trials: Sequence[ReportTrial], scale: float) -> Trace:
    last = [trial.curve[-1] for trial in trials]
    return {
        **_curve_trace(
            "stopped here",
            rounded([examples / scale for examples, _ in last]),
            rounded([score for _, score in last]),
            [f"{trial.trial_id}, {trial.ending}" for trial in trials],
        ),
        "mode": "markers",
        "marker": {"symbol": "x", "size": 6, "color": "@muted"},
    }


def _highlight(trial: ReportTrial, name: str, colour: str, scale: float) -> Trace:
    return {
        **_curve_trace(
            f"{name}, {trial.trial_id}",
            rounded([examples / scale for examples, _ in trial.curve]),
            rounded([score for _, score in trial.curve]),
            [trial.trial_id] * len(trial.curve),
        ),
        "mode": "lines+markers",
        "line": {"color": colour, "width": 3},
        "marker": {"size": 6, "color": colour},
    }


def _curve_trace(name: str, x: list[Any], y: list[Any], text: list[Any]) -> Trace:
    return {
        "type": "scatter",
        "name": name,
        **{"x": x, "y": y, "text": text},
        "hovertemplate": "%{text}: %{y:.4f} at %{x:.3g}<extra></extra>",
    }


def _rung_line(rung: float) -> Layout:
    return {
        **{"type": "line", "x0": rung, "x1": rung, "y0": 0, "y1": 1, "yref": "paper"},
        "line": {"color": "@muted", "width": 1, "dash": "dash"},
    }


def _rung_name(rung: float, number: int) -> Layout:
    return {
        **{"x": rung, "y": 0, "yref": "paper", "yanchor": "bottom", "xanchor": "left"},
        "showarrow": False,
        **{"text": f"rung {number}", "font": {"color": "@muted", "size": 12}},
    }


def plot_replicates(
    names: Sequence[str], candidates: Sequence[Mapping[str, Any]], score_label: str
) -> str:
    """Plot the scores of each candidate on the replicates, and its mean.

    Args:
        names: the name of each candidate.
        candidates: of the record's confirmation: `score` [one per replicate] and `mean`.
        score_label: name of the score for people.
    """
    num_replicates = max((len(candidate["score"]) for candidate in candidates), default=0)
    traces: list[Trace] = [
        {
            **{"type": "scatter", "mode": "lines+markers", "name": f"replicate {index + 1}"},
            "x": list(map(plotly_text, names)),
            "y": [_score_at(candidate["score"], index) for candidate in candidates],
            "line": {"width": 1, "dash": "dot", "color": "@muted"},
            "marker": {"color": "@blue", "size": 8},
            "showlegend": False,
            "hovertemplate": f"replicate {index + 1}, %{{x}}: %{{y:.4f}}<extra></extra>",
        }
        for index in range(num_replicates)
    ]
    traces.append(
        {
            **{"type": "scatter", "mode": "markers", "name": "mean"},
            "x": list(map(plotly_text, names)),
            "y": [candidate["mean"] for candidate in candidates],
            "marker": {
                **{"symbol": "line-ew", "size": 34},
                "line": {"color": "@orange", "width": 3},
            },
            "hovertemplate": "mean of %{x}: %{y:.4f}<extra></extra>",
        }
    )
    layout = {
        "xaxis": axis("", type="category"),
        "yaxis": axis(f"{score_label} (validation)"),
        "meta": {"narrow": {"xaxis": _short_ticks(names, 9)}},
    }
    return chart(
        "Candidates on the replicates",
        "A dotted line joins the scores of one replicate: the same seed and split for all"
        " candidates.",
        traces,
        layout,
        height=340,
    )


def _score_at(scores: Sequence[float | None], index: int) -> float | None:
    return scores[index] if index < len(scores) else None


def plot_class_f1(test: Mapping[str, Any]) -> str:
    """Plot the F1 of each class with its interval, for the model and the baseline.

    Args:
        test: content of `evaluation_report.json`.
    """
    labels = list(test["per_class"])
    traces = [
        _f1_markers("the model", "@blue", "circle", labels, test),
        _f1_markers("the baseline", "@orange", "square", labels, test["baseline"]),
    ]
    layout = {
        **{"scattermode": "group", "scattergap": 0.75},
        "xaxis": axis("F1", range=[0, 1.02]),
        "yaxis": axis("", type="category", autorange="reversed"),
        "meta": {"narrow": {"yaxis": _short_ticks(labels, 22)}},
    }
    height = 120 + 44 * len(labels)
    described = "Lines are 95 % intervals."
    return chart(
        "F1 of each class", described, [t for t in traces if t["x"]], layout, height=height
    )


def _short_ticks(labels: Sequence[str], longest: int) -> Layout:
    """Return ticks for narrow screens: of a long name its beginning and its end."""
    kept = (longest - 1) // 2
    short = [
        label if len(label) <= longest else f"{label[:kept]}\u2026{label[-kept:]}"
        for label in labels
    ]
    return {
        "tickvals": [plotly_text(label) for label in labels],
        "ticktext": [plotly_text(label) for label in short],
    }


def _f1_markers(
    name: str, colour: str, symbol: str, labels: list[str], scores: Mapping[str, Any]
) -> Trace:
    of_class = scores.get("per_class", {})
    intervals = scores.get("confidence_intervals", {})
    scored = [label for label in labels if label in of_class]
    values = [of_class[label]["f1"] for label in scored]
    ends = [intervals.get(f"f1 of {label}") or [of_class[label]["f1"]] * 2 for label in scored]
    pairs = list(zip(ends, values, strict=True))
    return {
        **{"type": "scatter", "mode": "markers", "name": name, "orientation": "h"},
        "y": [plotly_text(label) for label in scored],
        "x": values,
        "marker": {"color": colour, "symbol": symbol, "size": 10},
        "error_x": {
            **{"type": "data", "symmetric": False, "color": colour},
            "array": [max(high - value, 0.0) for (_, high), value in pairs],
            "arrayminus": [max(value - low, 0.0) for (low, _), value in pairs],
        },
        "hovertemplate": "%{y}: %{x:.3f}<extra></extra>",
    }


def plot_calibration(calibration: Mapping[str, Any]) -> str:
    """Plot accuracy against confidence, bin by bin (reliability diagram); empty without bins.

    Args:
        calibration: of `evaluation_report.json`: `bins` [{confidence, accuracy, count}].
    """
    bins = calibration.get("bins") or []
    if not bins:
        return ""
    traces: list[Trace] = [
        {
            **{"type": "scatter", "mode": "lines", "name": "perfect calibration"},
            **{"x": [0, 1], "y": [0, 1], "hoverinfo": "skip"},
            "line": {"color": "@muted", "dash": "dash", "width": 1},
        },
        {
            **{"type": "scatter", "mode": "lines+markers", "name": "test rows"},
            "x": [row["confidence"] for row in bins],
            "y": [row["accuracy"] for row in bins],
            "text": [f"{row['count']:,} rows" for row in bins],
            "marker": {"color": "@blue", "size": 8},
            "line": {"color": "@blue"},
            "hovertemplate": "confidence %{x:.3f}, accuracy %{y:.3f}, %{text}<extra></extra>",
        },
    ]
    layout = {
        "xaxis": axis("confidence", range=[0, 1]),
        "yaxis": axis("accuracy", range=[0, 1.02]),
    }
    described = (
        "Test rows in bins of equal count. Below the dashed line the model is overconfident."
    )
    return chart("Accuracy against confidence", described, traces, layout, height=380)
