"""Who wins: the best of the full budget, then a confirmation on fresh draws."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tuning.paired import PairedDifference, paired_difference
from tuning.space import Parameters
from tuning.trials import Trial, in_order

_FEWEST_SHARED = 2
"""Replicates that challenger and default must share: a standard error needs two."""


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
class Confirmed:
    """A candidate and its macro-F1 by replicate number; failed replicates are missing."""

    parameters: Parameters
    scores: Mapping[int, float]
    has_collapsed: bool = False
    """Whether it gave every row one class on some replicate."""

    @property
    def mean(self) -> float:
        """Mean macro-F1 over replicates."""
        return float(np.mean(list(self.scores.values())))

    @property
    def standard_error(self) -> float | None:
        """Of the mean over seeds and splits, uncorrected; None for a single replicate."""
        values = list(self.scores.values())
        return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None


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


def compare(confirmed: Sequence[Confirmed], *, validation_share: float) -> PairedDifference | None:
    """The leader against the default, which comes first.

    Challengers that collapsed on a draw tell nothing of how much scores vary, and are left out of
    the variance.

    Args:
        confirmed: the default, then the others.
        validation_share: validation rows over training rows.

    Returns:
        The paired difference over shared replicates; None if fewer than two are shared.
    """
    default, ahead = confirmed[0], leader(confirmed)
    if ahead is None or _num_shared(ahead, default) < _FEWEST_SHARED:
        return None
    others = [
        float(np.var(_differences(other, default), ddof=1))
        for other in confirmed[1:]
        if other is not ahead
        and not other.has_collapsed
        and _num_shared(other, default) >= _FEWEST_SHARED
    ]
    shared = _shared(ahead, default)
    return paired_difference(
        [ahead.scores[k] for k in shared],
        [default.scores[k] for k in shared],
        validation_share=validation_share,
        other_variances=others,
    )


def winner(confirmed: Sequence[Confirmed], *, validation_share: float) -> Confirmed:
    """The leader if its lead over the default is clear, else the default."""
    default, challenger = confirmed[0], leader(confirmed)
    if challenger is None:
        return default
    if not default.scores:
        return challenger
    paired = compare(confirmed, validation_share=validation_share)
    return challenger if paired is not None and paired.is_clear else default


def _shared(one: Confirmed, other: Confirmed) -> list[int]:
    """Replicates that both have scores of."""
    return sorted(one.scores.keys() & other.scores.keys())


def _num_shared(one: Confirmed, other: Confirmed) -> int:
    return len(_shared(one, other))


def _differences(candidate: Confirmed, default: Confirmed) -> list[float]:
    return [candidate.scores[k] - default.scores[k] for k in _shared(candidate, default)]


def _lead(candidate: Confirmed, default: Confirmed) -> float:
    differences = _differences(candidate, default)
    if not differences:
        return candidate.mean - (default.mean if default.scores else 0.0)
    return float(np.mean(differences))
