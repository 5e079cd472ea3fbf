"""The section of learning curves: each trial's score over its training, rungs, where it ended."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from results.report.markup import Layout, Trace, axis, chart, paragraphs, rounded
from results.report.run_data import ReportTrial, RunData
from results.score_names import capitalise
from results.trial_states import Status

_HEIGHT = 520

_GROUPS: Sequence[tuple[str, str, Callable[[ReportTrial], bool]]] = (
    ("stopped early", "@muted", lambda trial: trial.status == Status.STOPPED),
    ("failed or diverged", "@red", lambda trial: trial.status in (Status.FAILED, Status.DIVERGED)),
    ("collapsed", "@purple", lambda trial: trial.status == Status.COLLAPSED),
    ("completed", "@blue", lambda trial: trial.status == Status.COMPLETED),
    ("running", "@green", lambda trial: trial.status == Status.RUNNING),
)


def learning_curves(data: RunData) -> str:
    """Curves of all trials, those of default and winner on top."""
    shown = [trial for trial in data.trials if trial.curve]
    if not shown:
        return paragraphs(["No trial has been evaluated yet."])
    scale = data.schedule.get("rows_per_epoch") or 1
    unit = "epochs" if data.schedule else "training rows seen"
    named = {data.id_of("default"): ("the default", "@orange")}
    named |= {data.id_of("best"): ("the winner", "@green")}
    searched = [t for t in shown if not t.is_confirmation and t.trial_id not in named]
    traces = [
        _lines(name, colour, [trial for trial in searched if belongs(trial)], scale)
        for name, colour, belongs in _GROUPS
    ]
    confirmed = _lines("confirmations", "@purple", [t for t in shown if t.is_confirmation], scale)
    traces.append({**confirmed, "visible": "legendonly"})
    traces.append(_endings([t for t in searched if t.status == Status.STOPPED], scale))
    for trial in shown:
        if trial.trial_id in named:
            name, colour = named[trial.trial_id]
            traces.append(_highlighted(trial, f"{name}, {trial.trial_id}", colour, scale))
    rungs = rungs_seen(data)
    return paragraphs(rungs) + chart(
        f"{capitalise(data.score_label)} on the validation rows against {unit}",
        "A line a trial; a cross is where the scheduler stopped it, dashed lines are the rungs at"
        " which trials are compared. Curves drop and cross: only equal budgets are compared, and"
        " only the last evaluation of a full training is its score. Names in the legend switch"
        " lines on and off; confirmations have other seeds and splits.",
        [trace for trace in traces if trace["x"]],
        _layout(
            data.score_label,
            unit,
            [rung / scale for rung in data.schedule.get("rungs", ())],
        ),
        height=_HEIGHT,
    )


def rungs_seen(data: RunData) -> Sequence[str]:
    """For each rung how many trials got there, and how many were stopped there."""
    budget = data.schedule.get("budget")
    return [
        f"{level.name}: {len(level.trials)} trials got there, {level.num_stopped} of them were"
        " stopped there."
        for level in data.rung_trials()
        if level.examples != budget
    ]


def _lines(name: str, colour: str, trials: Iterable[ReportTrial], scale: float) -> Trace:
    """One trace for many curves, with a gap after each: far cheaper than a trace each."""
    x: list[float | None] = []
    y: list[float | None] = []
    text: list[str | None] = []
    for trial in trials:
        x += [*rounded([examples / scale for examples, _ in trial.curve]), None]
        y += [*rounded([score for _, score in trial.curve]), None]
        text += [*[trial.trial_id] * len(trial.curve), None]
    return {
        **_trace(name, x, y, text),
        "mode": "lines",
        "line": {"color": colour, "width": 1.2},
        "opacity": 0.6,
    }


def _endings(trials: Sequence[ReportTrial], scale: float) -> Trace:
    last = [trial.curve[-1] for trial in trials]
    return {
        **_trace(
            "stopped here",
            rounded([examples / scale for examples, _ in last]),
            rounded([score for _, score in last]),
            [f"{trial.trial_id}, stopped by the {trial.stopped_by}" for trial in trials],
        ),
        "mode": "markers",
        "marker": {"symbol": "x", "size": 6, "color": "@muted"},
    }


def _highlighted(trial: ReportTrial, name: str, colour: str, scale: float) -> Trace:
    return {
        **_trace(
            name,
            rounded([examples / scale for examples, _ in trial.curve]),
            rounded([score for _, score in trial.curve]),
            [trial.trial_id] * len(trial.curve),
        ),
        "mode": "lines+markers",
        "line": {"color": colour, "width": 3},
        "marker": {"size": 6, "color": colour},
    }


def _trace(name: str, x: list[Any], y: list[Any], text: list[Any]) -> Trace:
    return {
        "type": "scatter",
        "name": name,
        **{"x": x, "y": y, "text": text},
        "hovertemplate": "%{text}: %{y:.4f} at %{x:.3g}<extra></extra>",
    }


def _layout(label: str, unit: str, rungs: Sequence[float]) -> Layout:
    lines = [
        {
            **{"type": "line", "x0": rung, "x1": rung, "y0": 0, "y1": 1, "yref": "paper"},
            "line": {"color": "@muted", "width": 1, "dash": "dash"},
        }
        for rung in rungs
    ]
    notes = [
        {
            **{"x": rung, "y": 0, "yref": "paper", "yanchor": "bottom", "xanchor": "left"},
            "showarrow": False,
            **{"text": f"rung {number}", "font": {"color": "@muted", "size": 12}},
        }
        for number, rung in enumerate(rungs, 1)
    ]
    return {
        "xaxis": axis(unit, rangemode="tozero"),
        "yaxis": axis(f"{label} (validation)"),
        "shapes": lines,
        "annotations": notes,
    }
