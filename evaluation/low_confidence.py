"""Scores on the rows that the confidence filter removed from the test set, reported separately."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.scores import score
from evaluation.test_predictions import Predictions
from evaluation.uncertainty import bootstrap_intervals, few_rows
from results.score_names import F1_MACRO_PRESENT, LOW_CONFIDENCE

NOTE = (
    "rows that would be in the test set without the confidence filter; their labels are doubtful,"
    " so they count neither in the test scores nor in the gates; macro-F1 is the mean over the"
    " classes that have rows here, so it cannot be compared with the macro-F1 of the test set"
)
"""The note that explains these rows in the report."""


def report_low_confidence(
    predictions: Predictions | None, names: Sequence[str], *, seed: int
) -> dict[str, Any] | None:
    """Compute the scores on the rows of low confidence.

    Args:
        predictions: predictions on these rows only; None if there is no such row.
        names: [num_labels], names in the order of the codes.
        seed: seed of the bootstrap.

    Returns:
        `rows`, `classes_present` [name], `accuracy`, `f1_macro_of_classes_present`, `per_class` as
        in `scores.score`, `few_rows` {class: rows}, `confidence_intervals` (without the classes
        that have no row), `baseline` {accuracy, f1_macro_of_classes_present}, `note`; None if there
        is no such row.
    """
    if predictions is None or not len(predictions.data.rows):
        return None
    labels, groups = predictions.data.labels, predictions.data.groups
    model = score(labels, predictions.of_model, names)
    baseline = score(labels, predictions.of_baseline, names)
    absent = [name for name, row in model["per_class"].items() if not row["support"]]
    # The F1 of a class without rows is 0 in every resample: the mean only needs another divisor.
    factor = len(names) / (len(names) - len(absent))
    intervals = bootstrap_intervals(labels, predictions.of_model, groups, names, seed=seed)
    intervals[F1_MACRO_PRESENT] = [end * factor for end in intervals.pop("f1_macro")]
    for name in absent:
        del intervals[f"f1 of {name}"]
    for scores in (model, baseline):
        scores[F1_MACRO_PRESENT] = scores["f1_macro"] * factor
    return {
        "rows": len(labels),
        "classes_present": [name for name in names if name not in absent],
        **{key: model[key] for key in (*LOW_CONFIDENCE, "per_class")},
        "few_rows": few_rows(labels, groups, names),
        "confidence_intervals": intervals,
        "baseline": {key: baseline[key] for key in LOW_CONFIDENCE},
        "note": NOTE,
    }


def describe_low_confidence(low: Mapping[str, Any] | None) -> str:
    """Return a sentence for the model card; empty if there is no such row.

    Args:
        low: as returned by `report_low_confidence`.
    """
    if not low:
        return ""
    return (
        f"On {low['rows']:,} such rows, which are not in the test set, the model has accuracy"
        f" {low['accuracy']:.4f} and macro-F1 {low[F1_MACRO_PRESENT]:.4f} over the"
        f" {len(low['classes_present'])} classes that have rows there, so this macro-F1 cannot be"
        " compared with the one of the test set.\n"
    )
