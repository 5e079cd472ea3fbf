"""Keys of a report's scores, and their names as a reader knows them."""

from collections.abc import Mapping
from typing import Any

from scipy.stats import binomtest

from results.older_runs import with_tested_score

OVERALL = {
    "f1_macro": "macro-F1",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "matthews_correlation": "Matthews correlation",
    "kappa_linear": "kappa, linear weights",
    "kappa_quadratic": "kappa, quadratic weights",
}

CALIBRATION = {
    "expected_calibration_error": "expected calibration error",
    "brier_score": "Brier score (0 to 2)",
    "negative_log_likelihood": "negative log-likelihood, nats a row",
}

BESIDE_THE_SCORE = ("f1_macro", "accuracy")
"""Columns of `trials.csv` that hold what else the last evaluation measured."""

F1_MACRO_PRESENT = "f1_macro_of_classes_present"
"""Key of a macro-F1 over the classes that have rows, which is another score than `f1_macro`."""

LOW_CONFIDENCE = {
    "accuracy": "accuracy",
    F1_MACRO_PRESENT: "macro-F1 of the classes that have rows here",
}


def capitalised(label: str) -> str:
    """A metric's label at the beginning of a line: `Macro-F1`."""
    return label[:1].upper() + label[1:]


TOO_FEW_ROWS = "too few rows for its interval to be trusted"
"""Said of a class that `method.few_rows` of a report names."""


def three_scores(
    searched: float | None, confirmed: float | None, tested: float | None
) -> list[tuple[str, float | None, str]]:
    """Name, score and rows of the winner's three scores, None for what was not measured."""
    return [
        ("search", searched, "the best of many on the same validation rows"),
        ("confirmation", confirmed, "mean of fresh draws, selected on"),
        ("test", tested, "rows that chose nothing: the one to quote"),
    ]


def between_trainings(test: Mapping[str, Any]) -> str:
    """How far another training moves the score: the doubt that the test's interval leaves out.

    Args:
        test: content of `evaluation_report.json`; in `search` its `confirmed_deviation`.
    """
    test = with_tested_score(test)
    label = test["objective"]["label"]
    deviation = test.get("search", {}).get("confirmed_deviation")
    if deviation is None:
        return f"How far another seed or training split moves {label} was not measured."
    low, high = test["confidence_intervals"]["score"]
    return (
        f"Another seed and training split move {label} too: the winner's confirmed scores, each"
        " with a seed, a training split and validation rows of its own, lie within about +/-"
        f" {200 * deviation:.2f} points (two standard deviations, which those validation rows"
        f" widen); the test's interval is about +/- {50 * (high - low):.2f} points (half its"
        " width)."
    )


LEVEL = 0.95
"""Coverage that the interval aims at."""


def wilson_interval(count: int, num_rows: int) -> tuple[float, float]:
    """Both ends of the interval of a share (Wilson 1927), rows taken as independent.

    Args:
        count: rows that have the property.
        num_rows: all rows, at least 1.
    """
    found = binomtest(count, num_rows).proportion_ci(LEVEL, method="wilson")
    return float(found.low), float(found.high)
