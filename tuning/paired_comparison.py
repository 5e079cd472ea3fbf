"""Compare two configurations on the same replicates: mean difference, error and significance.

Both share each replicate, so that its difficulty cancels out. The standard error accounts for the
rows that the splits share: s^2 (1/k + n_validation/n_train) (Nadeau and Bengio 2003, Inference for
the Generalization Error, section 3). Three differences estimate their variance poorly, so it is
pooled with that of the other challengers' differences, both weighted by their degrees of freedom
(Smyth 2004, Linear Models and Empirical Bayes Methods, section 3).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from training.objective import NEGLIGIBLE

CONFIDENCE = 0.95
"""Probability of a lead above which the difference of leader and default is significant."""

REPLACES = 0.92
"""Probability of a lead above which a challenger replaces the default: about 1.6 standard errors
after three replicates of four configurations, more if there are fewer to estimate the variance.

At one standard error, simulated searches over narrow and wide spaces with weak and strong defaults
return a configuration that is worse by more than 0.3 points in up to 4 % of the cases; at this
value in under 2 % (tests/tuning/test_simulated_searches.py).
"""

POWER = 0.8
"""Probability with which the smallest detectable difference would be significant."""

_ROUNDING = 1e-12

_OTHERS_DEGREES = 2
"""Degrees of freedom of the other challengers' variance: those of three replicates."""


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """Challenger minus default over the replicates that both were trained on."""

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
        """Whether the difference is significant: probability of the lead above `CONFIDENCE`."""
        return self.probability_of_lead > CONFIDENCE

    @property
    def excludes_a_difference(self) -> bool:
        """Whether the 95 % interval excludes a difference of `NEGLIGIBLE` in either direction."""
        half_width = self._quantile((1 + CONFIDENCE) / 2) * self.standard_error
        return abs(self.difference) + half_width < NEGLIGIBLE

    @property
    def is_settled(self) -> bool:
        """Whether another replicate would not change the decision in a way that matters."""
        return self.is_distinguishable or self.excludes_a_difference

    @property
    def smallest_detectable(self) -> float:
        """True difference that would be significant with probability `POWER`.

        In units of the score, given as many replicates with this variance, for the test of
        `is_distinguishable` (Bloom 1995, Minimum Detectable Effects).
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
    """Return the difference of two configurations, paired by replicate.

    Args:
        challenger: its score on each replicate, at least two.
        default: score of the default on the same replicates.
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
    """Return the correlation of the scores of different configurations on one replicate.

    It is the intraclass correlation ICC(3,1) of Shrout and Fleiss 1979, with replicates as targets:
    near 1 if a replicate is easy or hard for all configurations alike, 0 or below if their scores
    are unrelated. The higher it is, the more precise the paired comparison is.

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
    # Scores that are mathematically equal differ in their last digits.
    return (between - within) / total if total > _ROUNDING else None
