"""What the report and the model card say alike of a winner's scores."""

from collections.abc import Mapping
from typing import Any

from results.older_runs import with_tested_score

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
