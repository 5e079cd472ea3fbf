"""The three figures beside a verdict: the scores of model, baseline and default, with intervals."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import stdev
from typing import Any

from scipy.stats import t as student_t

from results.intervals import CONFIDENCE
from results.older_runs import with_objective, with_tested_score
from results.verdict import confirmed_score, has_default_won

_LOWEST = {"mcc": -1.0, "kappa_quadratic": -1.0}
"""Lowest value of a metric, where it is not 0."""


@dataclass(frozen=True, kw_only=True)
class KeyFigure:
    """A score with its interval."""

    name: str
    """Whose score it is: `this model`, `TF-IDF` or `default configuration`."""
    score: float
    interval: tuple[float, float] | None
    """Both ends of the 95 % interval; None: unknown, or a point."""
    origin: str
    """On which rows it was measured."""

    def __str__(self) -> str:
        """Return the figure in one line."""
        ends = self.interval
        between = f" (95 % interval {ends[0]:.3f} to {ends[1]:.3f})" if ends else ""
        return f"{self.name} {self.score:.3f}{between}, {self.origin}"


def key_figures(record: Mapping[str, Any], test: Mapping[str, Any] | None) -> list[KeyFigure]:
    """Return the scores of model and baseline on the test rows, and that of the default.

    Args:
        record: content of `search.json`, of any version.
        test: content of `evaluation_report.json`, of any version; None: not evaluated.
    """
    record = with_objective(record)
    tested = [] if test is None else list(_of_test(with_tested_score(test)))
    default = confirmed_figure(record, "default")
    return [*tested, *([default] if default else [])]


def _of_test(test: Mapping[str, Any]) -> Iterator[KeyFigure]:
    for name, part in (("this model", test), ("TF-IDF", test.get("baseline") or {})):
        if "score" in part:
            ends = part.get("confidence_intervals", {}).get("score")
            yield KeyFigure(
                name=name,
                score=part["score"],
                interval=_interval(ends),
                origin="on the test rows",
            )


def confirmed_figure(record: Mapping[str, Any], role: str) -> KeyFigure | None:
    """Return the mean over the replicates; there is none without a confirmation.

    Args:
        record: content of `search.json`, with its objective.
        role: `best` or `default`.
    """
    mean = confirmed_score(record, role)
    if mean is None:
        return None
    scores = _on_replicates(record, role)
    count = f"{len(scores)} replicates" if len(scores) > 1 else "one replicate"
    name, selected = "default configuration", ""
    if has_default_won(record):
        name += " (the winner)"
    elif role == "best":
        name, selected = "winner", ", which it was selected on"
    return KeyFigure(
        name=name,
        score=mean,
        interval=_interval_of_mean(scores, lowest=_LOWEST.get(record["objective"]["name"], 0.0)),
        origin=f"mean of {count}, on validation rows and with fewer training rows{selected}",
    )


def _on_replicates(record: Mapping[str, Any], role: str) -> list[float]:
    for candidate in record["confirmation"]["candidates"]:
        if candidate["parameters"] == record[role]["parameters"]:
            return [score for score in candidate["score"] if score is not None]
    return []


def _interval_of_mean(scores: list[float], *, lowest: float) -> tuple[float, float] | None:
    """Return Student's interval of a mean over replicates, within the values of a score."""
    if len(scores) < 2:
        return None
    mean, num = sum(scores) / len(scores), len(scores)
    half = float(student_t.ppf((1 + CONFIDENCE) / 2, num - 1)) * stdev(scores) / math.sqrt(num)
    return _interval([max(mean - half, lowest), min(mean + half, 1.0)])


def _interval(ends: list[float] | None) -> tuple[float, float] | None:
    return None if ends is None or ends[0] == ends[1] else (ends[0], ends[1])
