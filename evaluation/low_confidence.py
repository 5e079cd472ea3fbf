"""The rows that the confidence filter took from the test part, reported apart."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.baseline import Answers
from evaluation.scores import score
from evaluation.uncertainty import bootstrap_intervals, few_rows
from results.score_names import F1_MACRO_PRESENT, LOW_CONFIDENCE

NOTE = (
    "rows that the test part would hold if no confidence were asked for; their labels are the"
    " doubtful ones, and they enter neither the scores of the test nor its gates; macro-F1 is the"
    " mean over the classes that have rows here, so it cannot be held against the test's"
)
"""What these rows are."""


def report_low_confidence(
    answers: Answers | None, names: Sequence[str], *, seed: int
) -> dict[str, Any] | None:
    """Scores on the rows of low confidence.

    Args:
        answers: on these rows alone; None: there is no such row.
        names: [num_labels], names in the order of the codes.
        seed: seed of the bootstrap.

    Returns:
        `rows`, `classes_present` [name], `accuracy`, `f1_macro_of_classes_present`, `per_class` as
        in `scores.score`, `few_rows` {class: rows}, `confidence_intervals` (classes that have no
        row are left out), `baseline` {accuracy, f1_macro_of_classes_present}, `note`; None where
        there is no such row.
    """
    if answers is None or not len(answers.data.rows):
        return None
    labels, groups = answers.data.labels, answers.data.groups
    model = score(labels, answers.predictions, names)
    baseline = score(labels, answers.baseline_predictions, names)
    absent = [name for name, row in model["per_class"].items() if not row["support"]]
    # The F1 of a class without rows is 0 in every resample, so the mean only needs another divisor.
    factor = len(names) / (len(names) - len(absent))
    intervals = bootstrap_intervals(labels, answers.predictions, groups, names, seed=seed)
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
    """A sentence for the model card; empty where there is no such row.

    Args:
        low: as `report_low_confidence` has it.
    """
    if not low:
        return ""
    return (
        f"On {low['rows']:,} such rows, apart from the test: accuracy {low['accuracy']:.4f},"
        f" macro-F1 {low[F1_MACRO_PRESENT]:.4f} over the {len(low['classes_present'])} classes that"
        " have rows among them, so it cannot be held against the test's.\n"
    )
