"""Two configurations compared on the same replicates: a mean difference and what it is worth.

A replicate is shared by both, so its own ease or hardness cancels. The standard error counts the
rows that re-drawn splits share: s^2 (1/k + n_validation/n_train) (Nadeau and Bengio 2003,
Inference for the Generalization Error, section 3). Three differences alone say little of their
own variance, so it is steadied by that of the other challengers' differences: both are weighed by
their degrees of freedom (Smyth 2004, Linear Models and Empirical Bayes Methods, section 3).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from training.objective import NEGLIGIBLE

CONFIDENCE = 0.95
"""Probability of a lead above which leader and default are told apart."""

REPLACES = 0.92
"""Probability of a lead above which a challenger replaces the default: about 1.6 standard errors
after three draws of four configurations, more where fewer draws say less of their own variance.

One standard error is too few: over narrow and wide spaces, weak and strong defaults, simulated
searches then return a configuration that is worse by more than 0.3 point in up to 4 % of the cases;
so in under 2 % (tests/tuning/test_simulated_searches.py).
"""

POWER = 0.8
"""Chance of being told apart that the smallest detectable difference has."""

_ROUNDING = 1e-12

_OTHERS_DEGREES = 2
"""Degrees of freedom that the other challengers' variance counts for: those of three draws."""


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """Challenger less default over replicates that both have seen."""

    difference: float
    """Mean difference of the scores."""
    standard_error: float
    degrees_of_freedom: int

    @property
    def needed(self) -> float:
        """Difference above which the challenger replaces the default."""
        return self._quantile(REPLACES) * self.standard_error

    @property
    def is_clear(self) -> bool:
        """Whether the challenger leads by enough to replace the default."""
        return self.difference > self.needed

    @property
    def probability_of_lead(self) -> float:
        """Probability that the sign of the difference is right (Student's t)."""
        if self.standard_error == 0:
            return 1.0 if self.difference else 0.5
        t = abs(self.difference) / self.standard_error
        return float(stats.t.cdf(t, self.degrees_of_freedom))

    @property
    def is_distinguishable(self) -> bool:
        """Whether the leader leads with probability above `CONFIDENCE`."""
        return self.probability_of_lead > CONFIDENCE

    @property
    def excludes_a_difference(self) -> bool:
        """Whether a difference of `NEGLIGIBLE` either way is outside the 95 % interval."""
        reach = self._quantile((1 + CONFIDENCE) / 2) * self.standard_error
        return abs(self.difference) + reach < NEGLIGIBLE

    @property
    def is_settled(self) -> bool:
        """Whether another replicate would change nothing that matters."""
        return self.is_distinguishable or self.excludes_a_difference

    @property
    def smallest_detectable(self) -> float:
        """True difference that draws like these would tell apart with probability `POWER`.

        In units of the score, for the test behind `is_distinguishable` (Bloom 1995, Minimum
        Detectable Effects).
        """
        return (self._quantile(CONFIDENCE) + self._quantile(POWER)) * self.standard_error

    def _quantile(self, probability: float) -> float:
        return float(stats.t.ppf(probability, self.degrees_of_freedom))


def paired_difference(
    challenger: Sequence[float],
    default: Sequence[float],
    *,
    validation_share: float,
    other_variances: Sequence[float] = (),
) -> PairedDifference:
    """Compare two configurations, replicate by replicate.

    Args:
        challenger: score of each replicate, at least two.
        default: the same replicates of the default.
        validation_share: validation rows over training rows.
        other_variances: variance of each other challenger's differences from the default.
    """
    differences = np.subtract(challenger, default)
    num = len(differences)
    assert num >= 2, "a standard error needs two replicates"
    variance, degrees = float(differences.var(ddof=1)), num - 1
    if other_variances:
        others = float(np.mean(other_variances))
        together = degrees + _OTHERS_DEGREES
        variance = (degrees * variance + _OTHERS_DEGREES * others) / together
        degrees = together
    return PairedDifference(
        difference=float(differences.mean()),
        standard_error=math.sqrt(variance * (1 / num + validation_share)),
        degrees_of_freedom=degrees,
    )


def score_correlation(scores: npt.ArrayLike) -> float | None:
    """Correlation of scores between configurations of one replicate.

    The intraclass correlation ICC(3,1) of Shrout and Fleiss 1979, replicates being the targets:
    near 1 where a replicate is easy or hard for all configurations alike, 0 or below where each
    fares by itself; the higher, the more the pairing gains.

    Args:
        scores: float [replicates, configurations].

    Returns:
        -1 to 1; None for fewer than two replicates or configurations, or equal scores.
    """
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2:
        return None
    num_replicates, num_configurations = table.shape
    means = table.mean(axis=1)
    residuals = table - means[:, None] - table.mean(axis=0) + table.mean()
    between = num_configurations * float(means.var(ddof=1))
    within = float((residuals**2).sum()) / ((num_replicates - 1) * (num_configurations - 1))
    total = between + (num_configurations - 1) * within
    # Scores that are equal on paper differ in their last digits.
    return (between - within) / total if total > _ROUNDING else None
