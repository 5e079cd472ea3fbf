"""The three figures beside a verdict: the scores of model, baseline and default, with intervals."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
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
    """Whose score it is: `this model`, `TF-IDF`, `winner` or `default configuration`."""
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

    Before the evaluation on the test set they are those of winner, default and baseline on the
    validation rows.

    Args:
        record: content of `search.json`, of any version.
        test: content of `evaluation_report.json`, of any version; None: not evaluated.
    """
    record = with_objective(record)
    if test is None:
        return [*_of_winner(record), *_of_default(record), *_of_baseline(record)]
    return [*_of_test(with_tested_score(test)), *_of_default(record, is_tested=True)]


def _of_test(test: Mapping[str, Any]) -> Iterator[KeyFigure]:
    num_rows = (test.get("method") or {}).get("rows")
    rows = f"{num_rows:,} test rows" if num_rows else "the test rows"
    for name, part, origin in (
        ("this model", test, f"on {rows}, which no decision was based on"),
        ("TF-IDF", test.get("baseline") or {}, "no neural network; on the same test rows"),
    ):
        if "score" in part:
            ends = part.get("confidence_intervals", {}).get("score")
            yield KeyFigure(name=name, score=part["score"], interval=_interval(ends), origin=origin)


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
        name += " (this model)" if record.get("is_of_choice") else " (the winner)"
    elif role == "best":
        name, selected = "winner", ", which it was selected on"
    return KeyFigure(
        name=name,
        score=mean,
        interval=_interval_of_mean(scores, lowest=_LOWEST.get(record["objective"]["name"], 0.0)),
        origin=f"mean of {count}, on validation rows and with fewer training rows{selected}",
    )


def _of_winner(record: Mapping[str, Any]) -> Iterator[KeyFigure]:
    """Yield the winner's mean over the replicates; without a confirmation its search score."""
    if record["best"] is None or has_default_won(record):
        return
    if confirmed := confirmed_figure(record, "best"):
        yield confirmed
    else:
        note = "too high, since it was selected among many"
        yield from _search_score(record, "best", "best trial", note)


def _search_score(
    record: Mapping[str, Any], role: str, name: str, note: str
) -> Iterator[KeyFigure]:
    score = (record[role] or {}).get("search_score")
    if score is not None:
        origin = f"on validation rows; {note}"
        yield KeyFigure(name=name, score=score, interval=None, origin=origin)


def _of_default(record: Mapping[str, Any], *, is_tested: bool = False) -> Iterator[KeyFigure]:
    """Yield the default's mean; beside a test score also the winner's, measured like it."""
    found, of_winner = confirmed_figure(record, "default"), confirmed_score(record, "best")
    if found is None:
        if not is_tested and not record["confirmation"]:
            yield from _search_score(record, "default", "default configuration", "one training")
        return
    if is_tested and of_winner is not None and not has_default_won(record):
        found = replace(found, origin=f"{found.origin}, where this model has {of_winner:.3f}")
    yield found


def _of_baseline(record: Mapping[str, Any]) -> Iterator[KeyFigure]:
    found = record.get("baseline") or {}
    if found.get("score") is not None:
        yield KeyFigure(
            name="TF-IDF", score=found["score"], interval=None, origin="on the validation rows"
        )


def _on_replicates(record: Mapping[str, Any], role: str) -> list[float]:
    for candidate in record["confirmation"]["candidates"]:
        if candidate["parameters"] == record[role]["parameters"]:
            return [score for score in candidate["score"] if score is not None]
    return []


def _interval_of_mean(scores: list[float], *, lowest: float) -> tuple[float, float] | None:
    """Return Student's interval of a mean over replicates, within the values of a score.

    That of two replicates reaches from one end of the scale to the other.
    """
    if len(scores) < 3:
        return None
    mean, num = sum(scores) / len(scores), len(scores)
    half = float(student_t.ppf((1 + CONFIDENCE) / 2, num - 1)) * stdev(scores) / math.sqrt(num)
    return _interval([max(mean - half, lowest), min(mean + half, 1.0)])


def _interval(ends: list[float] | None) -> tuple[float, float] | None:
    return None if ends is None or ends[0] == ends[1] else (ends[0], ends[1])
