"""Reasons for which the result of a test evaluation cannot be trusted, read from its report."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist
from typing import Any

from results.intervals import CONFIDENCE

FEWEST_TEST_ROWS = 10
"""Test rows below which the score of a class is too coarse: one row moves its recall by a tenth."""

MAX_STANDARD_ERRORS = 3
"""Joint standard errors by which a test score may be below the confirmed mean."""

_HALF_WIDTH = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
"""Half the width of the confidence interval of the test score, in standard errors."""


class Cause(StrEnum):
    """Why a result cannot be trusted."""

    BELOW_CONFIRMED = "below_confirmed"
    ROWS_SEEN = "rows_seen"
    SECOND_ACCESS = "second_access"
    EARLIER_RUN = "earlier_run"
    """A run that the search started from was evaluated on the same test rows."""
    OTHER_RUNS = "other_runs"
    """Other runs were evaluated on the same test rows, which can only flatter a model."""
    COLLAPSED = "collapsed"
    FEW_ROWS = "few_rows"


@dataclass(frozen=True, kw_only=True)
class Reason:
    """A reason not to trust a result: a clause that completes "do not trust it, because"."""

    cause: Cause
    text: str


@dataclass(frozen=True, kw_only=True)
class Fall:
    """How far a test score is below the confirmed mean."""

    points: float
    """Hundredths of the score; negative where the test score is above the mean."""
    joint_standard_error: float
    """Root of the sum of the squares of the standard errors of test score and mean."""
    is_too_far: bool
    """Whether it is more than `MAX_STANDARD_ERRORS` joint standard errors."""


def fall_below_confirmed(test: Mapping[str, Any]) -> Fall | None:
    """Compare the test score with the mean of the winner's replicates.

    The standard error of the test score is taken from its interval. A mean over one replicate has
    no standard error: it counts as that of the test score.

    Args:
        test: content of `evaluation_report.json`: `score`, `confidence_intervals`, `search`.

    Returns:
        None without a confirmation: the score of the search is biased by selection, so that the
        test score cannot be compared with it.
    """
    search = test.get("search") or {}
    confirmed: float | None = search.get("confirmed_score")
    interval = test.get("confidence_intervals", {}).get("score")
    if confirmed is None or interval is None:
        return None
    low, high = interval
    of_test, of_mean = (high - low) / (2 * _HALF_WIDTH), search.get("confirmed_standard_error")
    joint = math.hypot(of_test, of_test if of_mean is None else of_mean)
    return Fall(
        points=(confirmed - test["score"]) * 100,
        joint_standard_error=joint,
        is_too_far=not test["score"] >= confirmed - MAX_STANDARD_ERRORS * joint,
    )


def find_reasons(record: Mapping[str, Any], test: Mapping[str, Any]) -> list[Reason]:
    """Return every reason not to trust a result, the gravest first; empty: there is none.

    Args:
        record: content of `search.json`.
        test: content of `evaluation_report.json`.
    """
    clauses = {
        Cause.ROWS_SEEN: _rows_seen(record),
        Cause.COLLAPSED: _collapsed(test),
        Cause.BELOW_CONFIRMED: _below_confirmed(test),
        Cause.SECOND_ACCESS: _second_access(test),
        Cause.EARLIER_RUN: _earlier_runs(test),
        Cause.OTHER_RUNS: _other_runs(test),
        Cause.FEW_ROWS: _few_rows(test),
    }
    return [Reason(cause=cause, text=text) for cause, found in clauses.items() for text in found]


def classes_with_few_rows(test: Mapping[str, Any]) -> dict[str, int]:
    """Return {class: test rows} of the classes with fewer than `FEWEST_TEST_ROWS`."""
    supports = {name: int(row["support"]) for name, row in test.get("per_class", {}).items()}
    return {name: rows for name, rows in supports.items() if rows < FEWEST_TEST_ROWS}


def has_collapsed(test: Mapping[str, Any]) -> bool:
    """Return whether the model predicts one class for every test row."""
    matrix: Sequence[Sequence[int]] = test.get("confusion_matrix") or []
    predicted = [sum(column) for column in zip(*matrix, strict=False)]
    return len(predicted) > 1 and sum(count > 0 for count in predicted) == 1


def num_evaluations(test: Mapping[str, Any]) -> int:
    """Count the evaluations of this run on its test set; an access without scores is none."""
    accesses = test.get("test_openings", ())
    own = [access for access in accesses if not access.get("run")]
    return sum(access.get("has_scores", True) for access in own)


def _below_confirmed(test: Mapping[str, Any]) -> Iterator[str]:
    fall = fall_below_confirmed(test)
    if fall is not None and fall.is_too_far:
        yield (
            f"its test score is {fall.points:.1f} points below the mean of its replicates"
            f" ({test['search']['confirmed_score']:.3f}), which is more than"
            f" {MAX_STANDARD_ERRORS} joint standard errors"
        )


def _rows_seen(record: Mapping[str, Any]) -> Iterator[str]:
    seen = record["data"].get("rows_seen") or {}
    held_out = ["test", "validation", *(["train"] if record.get("confirmation") else [])]
    found = [f"{seen[split]:,} {split} rows" for split in held_out if seen.get(split)]
    if found:
        yield f"the starting model was trained on {_listed(found)} of these data"


def _second_access(test: Mapping[str, Any]) -> Iterator[str]:
    num_own = num_evaluations(test)
    if num_own > 1:
        yield f"this run was evaluated on its test set {num_own} times"


def _earlier_runs(test: Mapping[str, Any]) -> Iterator[str]:
    found = {str(one["run"]): one for one in test.get("test_openings", ()) if one.get("run")}
    if found:
        listed = [f"{name} (at {one['at']})" for name, one in sorted(found.items())]
        more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
        yield (
            f"its search started from {', '.join(listed[:3])}{more}, of which a model was evaluated"
            f" on up to {max(one.get('rows', 0) for one in found.values()):,} of these test rows"
        )


def _other_runs(test: Mapping[str, Any]) -> Iterator[str]:
    others = {str(access["run"]) for access in test.get("earlier_openings", ())}
    if others:
        names = sorted(others)
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield (
            f"other runs were evaluated on these test rows before ({', '.join(names[:3])}{more}),"
            " and a choice after such an evaluation makes the score too high"
        )


def _collapsed(test: Mapping[str, Any]) -> Iterator[str]:
    if has_collapsed(test):
        column = [sum(counts) > 0 for counts in zip(*test["confusion_matrix"], strict=False)]
        names = list(test.get("per_class", {}))
        name = f" '{names[column.index(True)]}'" if len(names) == len(column) else ""
        yield f"the model collapsed: it predicts one class{name} for every test row"


def _few_rows(test: Mapping[str, Any]) -> Iterator[str]:
    few = classes_with_few_rows(test)
    if not few:
        return
    fewest = sorted(few.items(), key=lambda item: item[1])
    counted = [f"'{name}' has {_count(rows, 'test row')}" for name, rows in fewest[:3]]
    if len(fewest) > 3:
        counted.append(f"{len(fewest) - 3} more classes have as few")
    yield (
        f"{_listed(counted)}, but a reliable score needs at least {FEWEST_TEST_ROWS} of each class"
    )


def _count(number: int, what: str) -> str:
    return f"{'no' if number == 0 else number} {what}{'' if number == 1 else 's'}"


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
