"""What the report and the model card say alike of a winner's scores."""

from collections.abc import Mapping
from typing import Any

TOO_FEW_ROWS = "too few rows for its interval to be trusted"
"""Said of a class that `method.few_rows` of a report names."""


def three_scores(
    searched: float | None, confirmed: float | None, tested: float | None
) -> list[tuple[str, float | None, str]]:
    """Name, macro-F1 and rows of the winner's three scores, None for what was not measured."""
    return [
        ("search", searched, "the best of many on the same validation rows"),
        ("confirmation", confirmed, "mean of fresh draws, selected on"),
        ("test", tested, "rows that chose nothing: the one to quote"),
    ]


def between_trainings(test: Mapping[str, Any]) -> str:
    """How far another training moves macro-F1: the doubt that the test's interval leaves out.

    Args:
        test: content of `evaluation_report.json`; in `search` its `confirmed_deviation`.
    """
    deviation = test.get("search", {}).get("confirmed_deviation")
    if deviation is None:
        return "How far another seed or training split moves macro-F1 was not measured."
    low, high = test["confidence_intervals"]["f1_macro"]
    return (
        "Another seed and training split move macro-F1 too: the winner's confirmed scores, each"
        " with a seed, a training split and validation rows of its own, lie within about +/-"
        f" {200 * deviation:.2f} points (two standard deviations, which those validation rows"
        f" widen); the test's interval is about +/- {50 * (high - low):.2f} points (half its"
        " width)."
    )
