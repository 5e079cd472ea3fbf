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
from functools import lru_cache
from statistics import fmean

import numpy as np
import numpy.typing as npt
from scipy import special

from training.objective import NEGLIGIBLE

CONFIDENCE = 0.95
"""Probability of a lead above which the difference of leader and default is significant."""

POWER = 0.8
"""Probability with which the smallest detectable difference would be significant."""

_ROUNDING = 1e-12

_MOST_OF_OTHERS = 2
"""Most degrees of freedom that the other challengers' variance counts for: those of three
replicates."""


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """Challenger minus default over the replicates that both were trained on."""

    difference: float
    """Mean difference of the scores."""
    variance: float
    """Estimated variance of one replicate's difference."""
    degrees_of_freedom: int
    """Of the variance."""
    num_replicates: int
    validation_share: float
    """Validation rows over training rows."""
    required: float | None
    """Probability of a lead above which the challenger wins; None: it cannot win yet."""

    @property
    def standard_error(self) -> float:
        """Standard error of the mean difference."""
        return self._error_after(self.num_replicates)

    @property
    def needed(self) -> float | None:
        """Difference above which the challenger replaces the default; None: it cannot yet."""
        return None if self.required is None else self._quantile_of_mean(self.required)

    @property
    def is_clear(self) -> bool:
        """Whether the challenger leads by enough to replace the default."""
        return self.needed is not None and self.difference > self.needed

    @property
    def interval(self) -> tuple[float, float]:
        """Both ends of the difference's two-sided `CONFIDENCE` interval (Student's t)."""
        half_width = self._quantile_of_mean((1 + CONFIDENCE) / 2)
        return self.difference - half_width, self.difference + half_width

    @property
    def probability_of_lead(self) -> float:
        """Probability that the sign of the difference is right (Student's t)."""
        if self.standard_error == 0:
            return 1.0 if self.difference else 0.5
        t = abs(self.difference) / self.standard_error
        return float(special.stdtr(self.degrees_of_freedom, t))

    @property
    def is_distinguishable(self) -> bool:
        """Whether the difference is significant: probability of the lead above `CONFIDENCE`."""
        return self.probability_of_lead > CONFIDENCE

    @property
    def is_clearly_worse(self) -> bool:
        """Whether the challenger is as far behind as it would have to be ahead to win."""
        return self.difference < -self._quantile_of_mean(self.required or CONFIDENCE)

    @property
    def excludes_a_difference(self) -> bool:
        """Whether the 95 % interval excludes a difference of `NEGLIGIBLE` in either direction."""
        return all(abs(end) < NEGLIGIBLE for end in self.interval)

    @property
    def smallest_detectable(self) -> float:
        """True difference that would be significant with probability `POWER`.

        In units of the score, given as many replicates with this variance, for the test of
        `is_distinguishable` (Bloom 1995, Minimum Detectable Effects).
        """
        return self._quantile_of_mean(CONFIDENCE) + self._quantile_of_mean(POWER)

    def probability_of_reaching(self, required: float, *, num_replicates: int) -> float:
        """Return the predictive probability that the lead is clear after more replicates.

        The mean of the replicates to come is predicted from those so far; the variance stays.

        Args:
            required: probability of a lead that is required then.
            num_replicates: replicates by then.
        """
        num, more = self.num_replicates, num_replicates - self.num_replicates
        assert more >= 0
        needed = _quantile(required, self.degrees_of_freedom + more)
        ahead = self.difference - needed * self._error_after(num_replicates)
        deviation = math.sqrt(self.variance * more / (num * num_replicates))
        if deviation == 0:
            return float(ahead > 0)
        return float(special.stdtr(self.degrees_of_freedom, ahead / deviation))

    def _error_after(self, num_replicates: int) -> float:
        return math.sqrt(self.variance * (1 / num_replicates + self.validation_share))

    def _quantile_of_mean(self, probability: float) -> float:
        return _quantile(probability, self.degrees_of_freedom) * self.standard_error


def paired_difference(
    challenger: Sequence[float],
    default: Sequence[float],
    *,
    validation_share: float,
    required: float | None,
    others: Sequence[Sequence[float]] = (),
) -> PairedDifference:
    """Return the difference of two configurations, paired by replicate.

    Args:
        challenger: its score on each replicate, at least two.
        default: score of the default on the same replicates.
        validation_share: validation rows over training rows.
        required: probability of a lead above which the challenger wins; None: it cannot win yet.
        others: differences from the default of each other challenger, one for each replicate.
    """
    differences = [one - other for one, other in zip(challenger, default, strict=True)]
    num = len(differences)
    assert num >= 2, "a standard error needs two replicates"
    variance, degrees = _variance(differences), num - 1
    known = [(_variance(one), len(one) - 1) for one in others if len(one) >= 2]
    of_others = sum(freedom for _, freedom in known)
    if of_others:
        pooled = sum(one * freedom for one, freedom in known) / of_others
        counted = min(of_others, _MOST_OF_OTHERS)
        variance = (degrees * variance + counted * pooled) / (degrees + counted)
        degrees += counted
    return PairedDifference(
        difference=fmean(differences),
        variance=variance,
        degrees_of_freedom=degrees,
        num_replicates=num,
        validation_share=validation_share,
        required=required,
    )


def _variance(values: Sequence[float]) -> float:
    """Return the variance with one degree of freedom less; numpy takes longer for a few values."""
    mean = fmean(values)
    return sum((value - mean) ** 2 for value in values) / (len(values) - 1)


@lru_cache(maxsize=4096)
def _quantile(probability: float, degrees_of_freedom: int) -> float:
    return float(special.stdtrit(degrees_of_freedom, probability))


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
