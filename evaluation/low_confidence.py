"""The rows that the confidence filter took from the test part, reported apart."""

from collections.abc import Sequence
from typing import Any

from evaluation.labelled_answers import Answers
from evaluation.scores import score
from evaluation.uncertainty import bootstrap_intervals

NOTE = (
    "rows that the test part would hold if no confidence were asked for; their labels are the"
    " doubtful ones, and they enter neither the scores of the test nor its gates"
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
        `rows`, `accuracy`, `f1_macro`, `per_class` as in `scores.score`, `confidence_intervals`,
        `baseline` {accuracy, f1_macro}, `note`; None where there is no such row.
    """
    if answers is None or not len(answers.data.rows):
        return None
    labels, groups = answers.data.labels, answers.data.groups
    model = score(labels, answers.predictions, names)
    baseline = score(labels, answers.baseline_predictions, names)
    return {
        "rows": len(labels),
        **{key: model[key] for key in ("accuracy", "f1_macro", "per_class")},
        "confidence_intervals": bootstrap_intervals(
            labels, answers.predictions, groups, names, seed=seed
        ),
        "baseline": {key: baseline[key] for key in ("accuracy", "f1_macro")},
        "note": NOTE,
    }
