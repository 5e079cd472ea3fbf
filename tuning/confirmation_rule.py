"""When a confirmation ends, who stays in it, and how clear a lead must be: the two decision rules.

Rule 2 compares after every replicate from the first allowed one to the last. Each comparison is a
chance to be wrong, so early ones ask for more: a challenger wins if its probability of a lead after
k of at most K replicates is above the normal probability of c sqrt(K / k) (O'Brien and Fleming
1979, A Multiple Testing Procedure for Clinical Trials). c is such that a challenger without a lead
passes any of the thresholds with probability `LEVEL`, whatever the number of comparisons; it is
computed by recursive integration (Armitage, McPherson and Rowe 1969, section 2).

The confirmation also ends when a win is out of reach: the predictive probability that the lead
passes the last threshold is below `OUT_OF_REACH` (Spiegelhalter, Freedman and Blackburn 1986,
Monitoring Clinical Trials: Conditional or Predictive Power?).
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from scipy import special

from tuning.config import SearchConfig
from tuning.paired_comparison import PairedDifference

LEVEL = 0.105
"""Probability that a challenger without a lead passes a threshold. At this level simulated searches
return a configuration that is worse than the default by more than 0.3 points in under 2 % of the
cases (tests/tuning/test_simulated_searches.py)."""

OUT_OF_REACH = 0.15
"""Predictive probability of a win below which the confirmation ends."""

_OF_ONE_COMPARISON = 0.92
"""Rule 1: probability of a lead above which a challenger replaces the default."""

_GRID_STEP = 0.05
"""Distance of grid points in the recursive integration, in standard deviations of a replicate."""
_TAIL = 5.0
"""Standard deviations below 0 at which the integration starts."""


class ConfirmationRule(Protocol):
    """Decides about the challengers after each replicate."""

    @property
    def first_end(self) -> int:
        """The first replicate after which the confirmation may end."""
        ...

    @property
    def drops(self) -> bool:
        """Whether a challenger that is left out of one replicate cannot lead any more."""
        ...

    def num_challengers(self, replicate: int) -> int:
        """Return how many challengers, at most, are trained on a replicate."""
        ...

    def required(self, num_replicates: int) -> float | None:
        """Return the probability of a lead above which a challenger wins; None: too early."""
        ...

    def is_settled(self, found: PairedDifference | None) -> bool:
        """Return whether leader and default need no further replicate.

        Args:
            found: the difference so far; None: they share fewer than two replicates.
        """
        ...

    def is_out_of_reach(self, found: PairedDifference) -> bool:
        """Return whether the leader is unlikely to win even with all replicates."""
        ...


@dataclass(frozen=True, kw_only=True)
class AdditionalReplicates:
    """Rule 1: all candidates get the first replicates, then leader and default additional ones."""

    search: SearchConfig
    drops: bool = False
    """Another challenger may come to lead, as the leader's mean falls."""

    @property
    def first_end(self) -> int:
        """The replicate of the first comparison."""
        return self.search.confirm_replicates

    def num_challengers(self, replicate: int) -> int:
        """Return all up to the first comparison, then one."""
        return self.search.num_finalists if replicate <= self.search.confirm_replicates else 1

    def required(self, num_replicates: int) -> float | None:
        """Return the same probability for each comparison."""
        return _OF_ONE_COMPARISON

    def is_settled(self, found: PairedDifference | None) -> bool:
        """Return whether another replicate would not change the decision in a way that matters."""
        return found is None or found.is_distinguishable or found.excludes_a_difference

    def is_out_of_reach(self, found: PairedDifference) -> bool:
        """Return False: this rule does not predict."""
        return False


@dataclass(frozen=True, kw_only=True)
class OneDroppedEach:
    """Rule 2: after each replicate the challenger furthest behind is dropped, until one is left."""

    search: SearchConfig
    first_end: int = 2
    """A standard error needs two replicates."""
    drops: bool = True

    def num_challengers(self, replicate: int) -> int:
        """Return one less for each replicate, at least one."""
        return max(self.search.num_finalists + 1 - replicate, 1)

    def required(self, num_replicates: int) -> float | None:
        """Return the threshold, which falls with the replicates."""
        first, last = self.search.confirm_replicates, self.search.confirm_max_replicates
        if num_replicates < first:
            return None
        return required_probability(num_replicates, first=first, last=last)

    def is_settled(self, found: PairedDifference | None) -> bool:
        """Return whether the leader has won, or a win is out of reach."""
        return found is not None and (found.is_clear or self.is_out_of_reach(found))

    def is_out_of_reach(self, found: PairedDifference) -> bool:
        """Return whether the predictive probability of a win is small."""
        last = self.search.confirm_max_replicates
        required = self.required(last)
        assert required is not None
        return found.probability_of_reaching(required, num_replicates=last) < OUT_OF_REACH


def rule_of(search: SearchConfig) -> ConfirmationRule:
    """Return the rule of `search.decision_rule`."""
    is_first = search.decision_rule == 1
    return AdditionalReplicates(search=search) if is_first else OneDroppedEach(search=search)


def most_trainings(search: SearchConfig, *, up_to: int, num_finalists: int | None = None) -> int:
    """Return the largest number of trainings on the replicates up to a number.

    Args:
        search: with the rule and the number of finalists; without replicates there are none.
        up_to: number of a replicate.
        num_finalists: challengers on the first replicate; None: as many as are confirmed.
    """
    if not search.confirm_replicates:
        return 0
    rule = rule_of(search)
    most = search.num_finalists if num_finalists is None else num_finalists
    return sum(1 + min(rule.num_challengers(number), most) for number in range(1, up_to + 1))


@lru_cache(maxsize=1024)
def required_probability(num: int, *, first: int, last: int) -> float:
    """Return the probability of a lead above which a challenger wins after `num` replicates.

    Args:
        num: replicates so far, `first` to `last`.
        first: replicates at the first comparison.
        last: replicates at the last comparison.
    """
    return float(special.ndtr(_boundary(first, last) / math.sqrt(num)))


@lru_cache(maxsize=128)
def _boundary(first: int, last: int) -> float:
    """Return the bound that a sum of standard normal numbers passes with probability `LEVEL`.

    It is checked after `first`, `first` + 1, ..., `last` numbers. c sqrt(K / k) for the mean of k
    numbers is a constant bound for their sum.
    """
    low, high = 0.0, 4.0 * math.sqrt(last)
    while high - low > 1e-6:
        middle = (low + high) / 2
        if _probability_of_passing(middle, first, last) > LEVEL:
            low = middle
        else:
            high = middle
    return high


def _probability_of_passing(bound: float, first: int, last: int) -> float:
    """Return the probability that the sum passes `bound` at any of the checks."""
    sums = np.arange(bound, -_TAIL * math.sqrt(last), -_GRID_STEP)
    weights = np.full(len(sums), _GRID_STEP)
    weights[[0, -1]] /= 2  # trapezoidal rule
    density = _normal_density(sums / math.sqrt(first)) / math.sqrt(first)
    step = _normal_density(sums[:, None] - sums) if last > first else None
    for _ in range(first, last):
        assert step is not None
        density = step @ (density * weights)
    return 1.0 - float(density @ weights)


def _normal_density(values: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * values**2) / math.sqrt(2 * math.pi)
