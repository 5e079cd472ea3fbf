"""Levels of confidence and significance, and the confidence interval of a proportion."""

from scipy.stats import binomtest

CONFIDENCE = 0.95
"""Confidence of the intervals."""

SIGNIFICANCE = 0.05
"""A difference with a two-sided p-value below it is significant."""


def wilson_interval(count: int, num_rows: int) -> tuple[float, float]:
    """Return both ends of a proportion's `CONFIDENCE` interval (Wilson 1927).

    Rows are assumed to be independent.

    Args:
        count: rows that have the property.
        num_rows: all rows, at least 1.
    """
    found = binomtest(count, num_rows).proportion_ci(CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)
