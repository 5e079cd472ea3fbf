"""Which rows a model gets wrong: how surely, how far off, and on what kind of text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.findings import RULE, findings
from evaluation.labelled_answers import Answers
from evaluation.scores import equal_mass_bins
from results.proportions import LEVEL, wilson_interval

NUM_MOST_CONFIDENT = 50
"""Most confident mistakes that the analysis lists."""

_INTERVAL = (
    f"Wilson, {100 * LEVEL:.0f} %, rows taken as independent: a little narrow where near-duplicates"
    " are many"
)


@dataclass(frozen=True, kw_only=True)
class RowFacts:
    """What may make a row hard; each is an array [n], or None where it was not measured."""

    label_confidences: NDArray[np.float64] | None
    """The labeller's confidence, 0 to 1; NaN where there is none."""
    unknown_shares: NDArray[np.float64] | None
    """Share of unknown pieces among the row's, 0 to 1."""
    similarities: NDArray[np.float64] | None
    """Similarity to the nearest training row, 0 to 1."""
    fills_max_length: NDArray[np.bool_] | None
    """Whether the row has as many pieces as the model takes: its end is cut, or it just fits."""


def analyse_errors(answers: Answers, names: Sequence[str], facts: RowFacts) -> dict[str, Any]:
    """Describe the mistakes; no text is repeated in the answer.

    Args:
        answers: on n rows, at least one; codes are ordered by severity.
        names: [num_labels], names in the order of the codes.
        facts: of the same rows.

    Returns:
        `rows`, `errors`, `error_rate`, `interval`; `findings` [sentence]; `most_confident`
        [{index (place among these rows, from 0), row (record number), label, prediction,
        confidence}]; `by_distance` (how many severities off); `by_characters` (length of the
        text), `by_label_confidence`, `by_unknown_share`, `by_similarity`, each as
        `error_rate_by_quarter` has it, or null; `by_max_length` {filled, shorter: {rows, errors,
        error_rate, interval}} or null; `not_analysed` {what is null: reason}; `method`.
    """
    wrong = answers.wrong
    assert len(wrong) > 0
    lengths = np.array([len(text) for text in answers.data.texts], dtype=np.int64)
    analysed = {
        "by_characters": _by_quarter(lengths, wrong),
        "by_label_confidence": _by_quarter(facts.label_confidences, wrong),
        "by_unknown_share": _by_quarter(facts.unknown_shares, wrong),
        "by_similarity": _by_quarter(facts.similarities, wrong),
        "by_max_length": _by_max_length(facts.fills_max_length, wrong),
    }
    parts = {name: part for name, (part, _) in analysed.items()}
    by_distance = _by_distance(answers.predictions - answers.data.labels, len(names))
    return {
        **_rate(wrong),
        "findings": findings(by_distance, parts),
        "most_confident": _most_confident(answers, names),
        "by_distance": by_distance,
        **parts,
        "not_analysed": {name: reason for name, (_, reason) in analysed.items() if reason},
        "method": {"interval": _INTERVAL, "findings": RULE},
    }


def error_rate_by_quarter(values: NDArray[Any], wrong: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Error rate in four bins of about equal count, by rising value.

    Args:
        values: number [n], what the rows are sorted by; equal values share a bin.
        wrong: bool [n], whether the prediction is wrong.

    Returns:
        [{low, high, rows, errors, error_rate, interval}], `low` and `high` both met in the bin,
        `interval` [low, high] of the error rate (Wilson 1927); fewer than four where values are
        equal, and two, the lowest value and all others, where most rows have the lowest.
    """
    bins = equal_mass_bins(values, 4)
    lowest = values == values.min()
    if len(bins) == 1 and not lowest.all():
        bins = [np.flatnonzero(lowest), np.flatnonzero(~lowest)]
    return [
        {
            "low": values[members].min().item(),
            "high": values[members].max().item(),
            **_rate(wrong[members]),
        }
        for members in bins
    ]


def _by_quarter(
    values: NDArray[Any] | None, wrong: NDArray[np.bool_]
) -> tuple[list[dict[str, Any]] | None, str | None]:
    """Error rates by quarter over the rows that have a value, or why there are none."""
    if values is None:
        return None, "not measured"
    known = ~np.isnan(values)
    if not known.any():
        return None, "no row has a value"
    if (values[known] == values[known][0]).all():
        return None, f"it is {values[known][0]:g} in every row"
    return error_rate_by_quarter(values[known], wrong[known]), None


def _by_max_length(
    fills: NDArray[np.bool_] | None, wrong: NDArray[np.bool_]
) -> tuple[dict[str, Any] | None, str | None]:
    """Error rates of the rows that fill the model's length and of the others."""
    if fills is None:
        return None, "not measured"
    if fills.all() or not fills.any():
        return None, f"{'every' if fills.all() else 'no'} row fills it"
    return {"filled": _rate(wrong[fills]), "shorter": _rate(wrong[~fills])}, None


def _rate(wrong: NDArray[np.bool_]) -> dict[str, Any]:
    return {
        "rows": len(wrong),
        "errors": int(wrong.sum()),
        "error_rate": float(wrong.mean()),
        "interval": list(wilson_interval(int(wrong.sum()), len(wrong))),
    }


def _most_confident(answers: Answers, names: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "index": place,
            "row": int(answers.data.rows[place]),
            "label": names[answers.data.labels[place]],
            "prediction": names[answers.predictions[place]],
            "confidence": float(answers.confidence[place]),
        }
        for place in answers.most_confident_errors()[:NUM_MOST_CONFIDENT].tolist()
    ]


def _by_distance(steps: NDArray[np.int64], num_labels: int) -> dict[str, Any]:
    """Errors by how many severities they are off: `neighbouring` is 1, `distant` more."""
    num_errors = int(np.count_nonzero(steps))
    distances = np.abs(steps)

    def part(chosen: NDArray[np.bool_]) -> dict[str, Any]:
        count = int(chosen.sum())
        return {"errors": count, "share_of_errors": count / max(num_errors, 1)}

    return {
        "neighbouring": part(distances == 1),
        "distant": part(distances > 1),
        "too_severe": part(steps > 0),
        "too_mild": part(steps < 0),
        "distribution": [
            {
                "distance": distance,
                "rows": int(np.count_nonzero(distances == distance)),
                "share_of_rows": float(np.mean(distances == distance)),
                "too_severe": int(np.count_nonzero(steps == distance)) if distance else 0,
                "too_mild": int(np.count_nonzero(steps == -distance)) if distance else 0,
            }
            for distance in range(num_labels)
        ],
        "mean_absolute_distance": float(distances.mean()),
    }
