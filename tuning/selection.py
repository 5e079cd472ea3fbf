"""Who wins: the best of the full budget, then a confirmation on fresh draws.

The standard error of a paired difference over re-drawn splits counts the rows that the draws
share: s^2 (1/k + n_validation/n_train) (Nadeau and Bengio 2003, Inference for the Generalization
Error, section 3).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from tuning.space import Parameters
from tuning.trials import Trial, in_order

CONFIDENCE = 0.95
"""Probability of a lead above which leader and default are told apart."""

_FEWEST_SHARED = 2
"""Replicates that challenger and default must share: a standard error needs two."""

NEGLIGIBLE = 0.005
"""Difference of macro-F1 that is not worth another replicate once it is excluded."""


def ranking(trials: Iterable[Trial]) -> list[Trial]:
    """Trials that reached the full budget and have not collapsed, best first.

    Only equal budgets are compared; equal scores go to the older trial.
    """
    finished = [trial for trial in trials if trial.status == "completed"]
    return sorted(in_order(finished), key=lambda trial: -(trial.final_f1_macro or 0.0))


def candidates(trials: Sequence[Trial], num_best: int) -> list[Parameters]:
    """Configurations to confirm: the default, however it fared, then the best others.

    One that was drawn twice stands once.
    """
    chosen = [next(trial.parameters for trial in trials if trial.source == "default")]
    for trial in ranking(trials):
        if len(chosen) <= num_best and trial.parameters not in chosen:
            chosen.append(trial.parameters)
    return chosen


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """Challenger less default over replicates that both have seen."""

    difference: float
    """Mean difference of macro-F1."""
    standard_error: float
    num_replicates: int

    @property
    def probability_of_lead(self) -> float:
        """Probability that the sign of the difference is right (Student's t)."""
        if self.standard_error == 0:
            return 1.0 if self.difference else 0.5
        t = abs(self.difference) / self.standard_error
        return float(stats.t.cdf(t, self.num_replicates - 1))

    @property
    def is_distinguishable(self) -> bool:
        """Whether the leader leads with probability above `CONFIDENCE`."""
        return self.probability_of_lead > CONFIDENCE

    @property
    def excludes_a_difference(self) -> bool:
        """Whether a difference of `NEGLIGIBLE` either way is outside the 95 % interval."""
        if self.num_replicates < 2:
            return False
        reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, self.num_replicates - 1))
        return abs(self.difference) + reach * self.standard_error < NEGLIGIBLE

    @property
    def is_settled(self) -> bool:
        """Whether another replicate would change nothing that matters."""
        return self.is_distinguishable or self.excludes_a_difference


def paired_difference(
    challenger: Sequence[float], default: Sequence[float], *, validation_share: float
) -> PairedDifference:
    """Compare two configurations, replicate by replicate.

    Args:
        challenger: macro-F1 of each replicate, at least two.
        default: the same replicates of the default.
        validation_share: validation rows over training rows.
    """
    differences = np.subtract(challenger, default)
    num = len(differences)
    assert num >= 2, "a standard error needs two replicates"
    variance = float(differences.var(ddof=1)) * (1 / num + validation_share)
    return PairedDifference(
        difference=float(differences.mean()),
        standard_error=math.sqrt(variance),
        num_replicates=num,
    )


@dataclass(frozen=True, kw_only=True)
class Confirmed:
    """A candidate and its macro-F1 by replicate number; failed replicates are missing."""

    parameters: Parameters
    scores: Mapping[int, float]

    @property
    def mean(self) -> float:
        """Mean macro-F1 over replicates."""
        return float(np.mean(list(self.scores.values())))

    @property
    def standard_error(self) -> float | None:
        """Of the mean over seeds and splits, uncorrected; None for a single replicate."""
        values = list(self.scores.values())
        return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None


def compare(
    challenger: Confirmed, default: Confirmed, *, validation_share: float
) -> PairedDifference | None:
    """The paired difference over shared replicates; None if fewer than two are shared."""
    shared = sorted(challenger.scores.keys() & default.scores.keys())
    if len(shared) < _FEWEST_SHARED:
        return None
    return paired_difference(
        [challenger.scores[k] for k in shared],
        [default.scores[k] for k in shared],
        validation_share=validation_share,
    )


def leader(confirmed: Sequence[Confirmed]) -> Confirmed | None:
    """The challenger (any but the first, the default) that is furthest ahead of the default.

    Candidates may have seen different replicates, and some are harder than others: each is held
    against the default's scores on its own. One that failed on draws where another did not is
    not judged by one lucky rest: two shared replicates are asked for, where any has them. Without
    scores of the default the best mean leads.
    """
    default = confirmed[0]
    scored = [candidate for candidate in confirmed[1:] if candidate.scores]
    if default.scores:
        most = max((_num_shared(candidate, default) for candidate in scored), default=0)
        fewest = min(most, _FEWEST_SHARED)
        scored = [c for c in scored if _num_shared(c, default) >= fewest]
    return max(scored, key=lambda candidate: _lead(candidate, default), default=None)


def _num_shared(candidate: Confirmed, default: Confirmed) -> int:
    return len(candidate.scores.keys() & default.scores.keys())


def _lead(candidate: Confirmed, default: Confirmed) -> float:
    shared = candidate.scores.keys() & default.scores.keys()
    if not shared:
        return candidate.mean - (default.mean if default.scores else 0.0)
    return float(np.mean([candidate.scores[k] - default.scores[k] for k in sorted(shared)]))


def winner(confirmed: Sequence[Confirmed], *, validation_share: float) -> Confirmed:
    """The leader if it leads the default by more than one standard error, else the default."""
    default, challenger = confirmed[0], leader(confirmed)
    if challenger is None:
        return default
    if not default.scores:
        return challenger
    paired = compare(challenger, default, validation_share=validation_share)
    clear = paired is not None and paired.difference > paired.standard_error
    return challenger if clear else default
