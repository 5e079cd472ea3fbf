"""The plot of `report.html` in which each trial is a line across all searched parameters."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from results.parameter_values import Value, format_value, in_order, is_number, is_numeric
from results.report.markup import Trace, at_budget, chart, plotly_text, rounded
from results.report.run_data import RunData, RungTrials

Floats = NDArray[np.float64]

_FIFTHS = ("lowest fifth", "second fifth", "middle fifth", "fourth fifth", "best fifth")
_MOST_NUMBERS = 6
"""Numbers of a choice beside its axis; of more only both ends and the middle are written."""
_NULL_BELOW = 0.15
"""Share of an axis between its lowest number and null."""
_LONGEST_LABEL = 22
"""Characters of a value beside its axis; of a longer word its beginning and its end."""


def plot_parallel_coordinates(
    names: Sequence[str], data: RunData, rungs: Sequence[RungTrials], selected: RungTrials
) -> str:
    """Plot the trials at each rung; lines have the colour of their score.

    Args:
        names: of the searched parameters, one axis each.
        data: of the run.
        rungs: with their trials.
        selected: the rung that is displayed first.
    """
    label, space = data.score_label, data.schedule.get("space", {})
    traces: list[Trace] = []
    for rung in rungs:
        columns: dict[str, Sequence[Value]] = {
            **{name: [trial.parameters.get(name) for trial in rung.trials] for name in names},
            label: list(rung.scores),
        }
        scales = [
            _Scale(values, space.get(name, {}), data.model_names)
            for name, values in columns.items()
        ]
        at = at_budget(rung.examples, is_selected=rung is selected)
        traces.append({**_axes(scales), **at})
        traces += [{**line, **at} for line in _lines(columns, scales, rung)]
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
    """Map values to heights from 0, the lowest, to 1; words stand at equal distances."""

    def __init__(
        self, values: Sequence[Value], domain: Mapping[str, Any], names: Mapping[str, str]
    ) -> None:
        self._names = names
        self._is_log = "log_uniform" in domain and all(
            value is None or (is_number(value) and float(value) > 0) for value in values
        )
        self._choices: list[Value] | None = None
        if "choice" in domain or not is_numeric(domain, values):
            used = {(type(value), value) for value in values}
            ordered = in_order(domain, values)
            self._choices = [value for value in ordered if (type(value), value) in used] or ordered
        numbers = [number for value in values if math.isfinite(number := self._number(value))]
        self._low = min(numbers, default=0.0)
        self._width = (max(numbers, default=0.0) - self._low) or 1.0
        has_null = self._choices is None and None in values
        self._below = _NULL_BELOW if has_null else 0.0

    def heights(self, values: Sequence[Value]) -> list[float]:
        """Return the height of each value; null is below all numbers."""
        return [self._height(value) for value in values]

    def ticks(self) -> list[tuple[float, str]]:
        """Return heights and texts beside the axis: of a choice, or both ends and the middle."""
        choices = self._choices
        if choices is not None:
            are_numbers = all(map(is_number, choices))
            if not are_numbers or len(choices) <= _MOST_NUMBERS:
                return [(self._height(value), self._text(value)) for value in choices]
            chosen = [choices[0], choices[(len(choices) - 1) // 2], choices[-1]]
            return [(self._height(value), self._text(value)) for value in chosen]
        found = [(0.0, "null")] if self._below else []
        for share in (0.0, 0.5, 1.0):
            value = self._low + share * self._width
            height = self._below + share * (1 - self._below)
            found.append((height, f"{math.exp(value) if self._is_log else value:.3g}"))
        return found

    def _text(self, value: Value) -> str:
        text = f"{value:.3g}" if is_number(value) else format_value(value, self._names)
        kept = (_LONGEST_LABEL - 1) // 2
        if len(text) > _LONGEST_LABEL:
            text = f"{text[:kept]}\u2026{text[-kept:]}"
        return text

    def _height(self, value: Value) -> float:
        if value is None and self._choices is None:
            return 0.0
        share = (self._number(value) - self._low) / self._width
        return self._below + share * (1 - self._below)

    def _number(self, value: Value) -> float:
        """Return the number that is placed on the axis; NaN if there is none."""
        if self._choices is not None:
            return float(self._choices.index(value))
        if value is None or isinstance(value, str):
            return math.nan
        return math.log(value) if self._is_log else float(value)


def _axes(scales: Sequence[_Scale]) -> Trace:
    """Return a vertical line for each column, with its values beside it."""
    x: list[float | None] = []
    y: list[float | None] = []
    text: list[str | None] = []
    for position, scale in enumerate(scales):
        ticks = scale.ticks()
        x += [position] * len(ticks) + [None]
        y += [*(height for height, _ in ticks), None]
        text += [*(f" {plotly_text(label)}" for _, label in ticks), None]
    return {
        **{"type": "scatter", "mode": "lines+text", "x": x, "y": y, "text": text},
        "textposition": "top right",
        "textfont": {"color": "@ink", "size": 11},
        "line": {"color": "@muted", "width": 1},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _lines(
    columns: Mapping[str, Sequence[Value]], scales: Sequence[_Scale], rung: RungTrials
) -> list[Trace]:
    """Return a trace for each fifth of the scores, with a line for each of its trials."""
    heights = np.array(
        [scale.heights(column) for scale, column in zip(scales, columns.values(), strict=True)]
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
                *(
                    plotly_text(f"{trial_id}: {n} {format_value(c[member])}")
                    for n, c in columns.items()
                ),
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
