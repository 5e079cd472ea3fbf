"""The error analysis: error rates by steps on a scale, length, label confidence, similarity."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluation.predictions import Predictions, RowFacts
from evaluation.scores import equal_mass_bins
from results.intervals import CONFIDENCE, wilson_interval

NUM_MOST_CONFIDENT = 50
"""Number of most confident errors that the analysis lists."""

NUM_MOST_FREQUENT = 10
"""Number of most frequent pairs of label and prediction that the analysis of a scale lists."""

_INTERVAL = (
    f"Wilson, {100 * CONFIDENCE:.0f} %, rows taken as independent: slightly too narrow if there are"
    " many near-duplicates"
)
_FINDINGS = "counts in the first and the last bin; differences are not tested for significance"

Rate = Mapping[str, Any]
"""`rows`, `errors` and `error_rate` of some rows, and `low` and `high` of a bin."""


def analyse_errors(
    predictions: Predictions, names: Sequence[str], facts: RowFacts, *, is_ordered: bool
) -> dict[str, Any]:
    """Describe the errors; the result contains no text of a row.

    Args:
        predictions: predictions on n rows, at least one.
        names: [num_labels], names in the order of the codes.
        facts: facts about the same rows.
        is_ordered: whether the labels are a scale.

    Returns:
        `rows`, `errors`, `error_rate`, `interval`; `findings` [sentence]; `most_confident`
        [{index (position among these rows, from 0), row (record number), label, prediction,
        confidence}]; of a scale `by_distance` (by how many steps label and prediction are apart);
        `by_characters` (length of the text), `by_label_confidence`, `by_unknown_share`,
        `by_similarity`, each as returned by `error_rate_by_quarter`, or null; `by_max_length`
        {filled, shorter: {rows, errors, error_rate, interval}} or null; `not_analysed` {part that
        is null: reason}; `method`.
    """
    is_wrong = predictions.is_wrong
    assert len(is_wrong) > 0
    lengths = np.array([len(text) for text in predictions.data.texts], dtype=np.int64)
    analysed = {
        "by_characters": _by_quarter(lengths, is_wrong),
        "by_label_confidence": _by_quarter(facts.label_confidences, is_wrong),
        "by_unknown_share": _by_quarter(facts.unknown_shares, is_wrong),
        "by_similarity": _by_quarter(facts.similarities, is_wrong),
        "by_max_length": _by_max_length(facts.fills_max_length, is_wrong),
    }
    parts = {name: part for name, (part, _) in analysed.items()}
    by_distance = _by_distance(predictions, names) if is_ordered else None
    rate = _rate(is_wrong)
    return {
        **rate,
        "findings": findings(rate, by_distance, parts),
        "most_confident": _most_confident(predictions, names),
        **({"by_distance": by_distance} if is_ordered else {}),
        **parts,
        "not_analysed": {name: reason for name, (_, reason) in analysed.items() if reason},
        "method": {"interval": _INTERVAL, "findings": _FINDINGS},
    }


def error_rate_by_quarter(
    values: NDArray[Any], is_wrong: NDArray[np.bool_]
) -> list[dict[str, Any]]:
    """Compute the error rate in four bins of about equal count, by rising value.

    Args:
        values: number [n], the values to sort the rows by; equal values share a bin.
        is_wrong: bool [n], whether the prediction is wrong.

    Returns:
        [{low, high, rows, errors, error_rate, interval}]: `low` and `high` are the lowest and the
        highest value in the bin, `interval` is [low, high] of the error rate (Wilson 1927). There
        are fewer than four bins if values are equal, and two, the lowest value and all others, if
        most rows have the lowest value.
    """
    bins = equal_mass_bins(values, 4)
    lowest = values == values.min()
    if len(bins) == 1 and not lowest.all():
        bins = [np.flatnonzero(lowest), np.flatnonzero(~lowest)]
    return [
        {
            "low": values[members].min().item(),
            "high": values[members].max().item(),
            **_rate(is_wrong[members]),
        }
        for members in bins
    ]


class _Comparison(NamedTuple):
    """Two groups of rows in one part of an analysis; `{}` stands for the values in a bin."""

    part: str
    quantity: str
    first_group: str
    second_group: str
    first: int | str
    second: int | str


_COMPARISONS = (
    _Comparison(
        part="by_similarity",
        quantity="similarity to the nearest training text",
        first_group="for the least similar texts ({})",
        second_group="for the most similar ({})",
        first=0,
        second=-1,
    ),
    _Comparison(
        part="by_label_confidence",
        quantity="the labeller's confidence",
        first_group="for the least confident labels ({})",
        second_group="for the most confident ({})",
        first=0,
        second=-1,
    ),
    _Comparison(
        part="by_characters",
        quantity="length of the text",
        first_group="for the shortest texts ({} characters)",
        second_group="for the longest ({})",
        first=0,
        second=-1,
    ),
    _Comparison(
        part="by_max_length",
        quantity="the model's maximum length",
        first_group="for texts that fill it and may be truncated",
        second_group="for shorter texts",
        first="filled",
        second="shorter",
    ),
    _Comparison(
        part="by_unknown_share",
        quantity="share of unknown tokens",
        first_group="for the smallest shares ({})",
        second_group="for the largest ({})",
        first=0,
        second=-1,
    ),
)


def findings(
    rate: Rate, by_distance: Mapping[str, Any] | None, parts: Mapping[str, Any]
) -> list[str]:
    """Return one sentence of counts for each part of an analysis that is not null.

    Args:
        rate: `rows`, `errors` and `error_rate` of all rows.
        by_distance: as returned by `analyse_errors`.
        parts: the other parts by name, as returned by `analyse_errors`.
    """
    if not rate["errors"]:
        return ["No row is misclassified."]
    return [
        *([] if by_distance is None else [_distance_sentence(rate, by_distance)]),
        *(
            _sentence(comparison, part[comparison.first], part[comparison.second])
            for comparison in _COMPARISONS
            if (part := parts[comparison.part])
        ),
    ]


def _distance_sentence(rate: Rate, by_distance: Mapping[str, Any]) -> str:
    near, mean = by_distance["neighbouring"], by_distance["mean_absolute_distance"]
    return (
        f"In {near['errors']} of {rate['errors']} errors ({100 * near['share_of_errors']:.1f} %)"
        f" label and prediction are one step apart; the mean over all rows is {mean:.2f} steps."
        f"{_most_frequent(by_distance)}"
    )


def _most_frequent(by_distance: Mapping[str, Any]) -> str:
    """Return a sentence on the most frequent error, in the labels' own words."""
    first = by_distance["most_frequent"][0]
    steps = {1: "one step", 2: "two steps"}.get(first["steps"], f"{first['steps']} steps")
    return (
        f" The most frequent error: '{first['label']}' taken for '{first['prediction']}', {steps}"
        f" apart, {_times(first['errors'])}."
    )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _sentence(comparison: _Comparison, first: Rate, second: Rate) -> str:
    return (
        f"Error rate by {comparison.quantity}:"
        f" {_counted(first)} {comparison.first_group.format(_range(first))},"
        f" {_counted(second)} {comparison.second_group.format(_range(second))}."
    )


def _counted(part: Rate) -> str:
    return f"{100 * part['error_rate']:.1f} % ({part['errors']} of {part['rows']})"


def _range(part: Rate) -> str:
    """Return the lowest and the highest value in a bin; empty if the rows are not a bin."""
    low, high = (_number(part[end]) if end in part else "" for end in ("low", "high"))
    return low if low == high else f"{low} to {high}"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _by_quarter(
    values: NDArray[Any] | None, is_wrong: NDArray[np.bool_]
) -> tuple[list[dict[str, Any]] | None, str | None]:
    """Return error rates by quarter over the rows that have a value, or why there are none."""
    if values is None:
        return None, "not measured"
    known = ~np.isnan(values)
    if not known.any():
        return None, "no row has a value"
    if (values[known] == values[known][0]).all():
        return None, f"it is {values[known][0]:g} in every row"
    return error_rate_by_quarter(values[known], is_wrong[known]), None


def _by_max_length(
    fills: NDArray[np.bool_] | None, is_wrong: NDArray[np.bool_]
) -> tuple[dict[str, Any] | None, str | None]:
    """Return error rates of the rows that fill the model's maximum length and of the others."""
    if fills is None:
        return None, "not measured"
    if fills.all() or not fills.any():
        return None, f"{'every' if fills.all() else 'no'} row fills it"
    return {"filled": _rate(is_wrong[fills]), "shorter": _rate(is_wrong[~fills])}, None


def _rate(is_wrong: NDArray[np.bool_]) -> dict[str, Any]:
    return {
        "rows": len(is_wrong),
        "errors": int(is_wrong.sum()),
        "error_rate": float(is_wrong.mean()),
        "interval": list(wilson_interval(int(is_wrong.sum()), len(is_wrong))),
    }


def _most_confident(predictions: Predictions, names: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "index": index,
            "row": int(predictions.data.rows[index]),
            "label": names[predictions.data.labels[index]],
            "prediction": names[predictions.of_model[index]],
            "confidence": float(predictions.confidence[index]),
        }
        for index in predictions.most_confident_errors()[:NUM_MOST_CONFIDENT].tolist()
    ]


def _by_distance(predictions: Predictions, names: Sequence[str]) -> dict[str, Any]:
    """Count errors by the steps between label and prediction: `neighbouring` is 1, `distant` more.

    `too_severe` counts predictions later in the list of labels than the true one, `too_mild`
    earlier ones.
    """
    steps = predictions.of_model - predictions.data.labels
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
            for distance in range(len(names))
        ],
        "mean_absolute_distance": float(distances.mean()),
        "most_frequent": _pairs(predictions, names),
    }


def _pairs(predictions: Predictions, names: Sequence[str]) -> list[dict[str, Any]]:
    """Count the errors of each label and prediction, the most frequent first."""
    wrong = predictions.is_wrong
    codes = zip(
        predictions.data.labels[wrong].tolist(), predictions.of_model[wrong].tolist(), strict=True
    )
    counted = sorted(Counter(codes).items(), key=lambda item: (-item[1], item[0]))
    return [
        {
            "label": names[label],
            "prediction": names[prediction],
            "steps": abs(prediction - label),
            "errors": errors,
        }
        for (label, prediction), errors in counted[:NUM_MOST_FREQUENT]
    ]
