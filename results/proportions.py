"""The interval of a share of rows."""

from scipy.stats import binomtest

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
