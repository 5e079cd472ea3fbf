"""Who wins: the best of the full budget, then a confirmation on replicates."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from results.trial_states import Source, Status
from tuning.paired import PairedDifference, paired_difference
from tuning.space import Parameters
from tuning.trials import Trial

_FEWEST_SHARED = 2
"""Replicates that challenger and default must share: a standard error needs two."""


def ranking(trials: Iterable[Trial]) -> list[Trial]:
    """Trials that reached the full budget and have not collapsed, best first.

    Only equal budgets are compared; equal scores go to the older trial.
    """
    finished = [trial for trial in trials if trial.status == Status.COMPLETED]
    return sorted(finished, key=lambda trial: (-(trial.final_score or 0.0), trial.number))


def candidates(trials: Sequence[Trial], num_best: int) -> list[Parameters]:
    """Configurations to confirm: the default, however it fared, then the best others.

    One that was drawn twice stands once.
    """
    chosen = [next(trial.parameters for trial in trials if trial.source == Source.DEFAULT)]
    for trial in ranking(trials):
        if len(chosen) <= num_best and trial.parameters not in chosen:
            chosen.append(trial.parameters)
    return chosen


@dataclass(frozen=True, kw_only=True)
class Confirmed:
    """A candidate and its scores by replicate number; failed replicates are missing."""

    parameters: Parameters
    scores: Mapping[int, float]
    broken: frozenset[int] = frozenset()
    """Replicates on which it collapsed (one class for every row) or diverged."""

    @property
    def mean(self) -> float:
        """Mean score over replicates."""
        return float(np.mean(list(self.scores.values())))

    @property
    def standard_error(self) -> float | None:
        """Of the mean over seeds and splits, uncorrected; None for a single replicate."""
        values = list(self.scores.values())
        return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None

    @property
    def sound(self) -> Mapping[int, float]:
        """Scores of the replicates on which it learnt."""
        return {k: score for k, score in self.scores.items() if k not in self.broken}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The leader against the default, over the replicates on which both learnt."""

    leader: Confirmed
    default: Confirmed
    shared: Sequence[int]
    paired: PairedDifference

    @property
    def means(self) -> tuple[float, float]:
        """Mean score of leader and default over the shared replicates."""
        leader, default = (
            float(np.mean([one.scores[k] for k in self.shared]))
            for one in (self.leader, self.default)
        )
        return leader, default


def leader(confirmed: Sequence[Confirmed]) -> Confirmed | None:
    """The challenger (any but the first, the default) that is furthest ahead of the default.

    Candidates may have seen different replicates, and some are harder than others: each is held
    against the default's scores on its own. One that failed on replicates where another did not is
    not judged by one lucky rest: two shared replicates are asked for, where any has them. One that
    collapsed or diverged on some replicate leads only where all did. Without scores of the
    default the best mean leads.
    """
    default, scored = confirmed[0], [c for c in confirmed[1:] if c.sound]
    scored = [c for c in scored if not c.broken] or scored
    if default.sound:
        most = max((len(_shared(candidate, default)) for candidate in scored), default=0)
        fewest = min(most, _FEWEST_SHARED)
        scored = [c for c in scored if len(_shared(c, default)) >= fewest]
    return max(scored, key=lambda candidate: _lead(candidate, default), default=None)


def compare(confirmed: Sequence[Confirmed], *, validation_share: float) -> Comparison | None:
    """The leader against the default, which comes first.

    Args:
        confirmed: the default, then the others.
        validation_share: validation rows over training rows.

    Returns:
        The comparison over shared replicates; None if fewer than two are shared.
    """
    default, ahead = confirmed[0], leader(confirmed)
    shared = [] if ahead is None else _shared(ahead, default)
    if ahead is None or len(shared) < _FEWEST_SHARED:
        return None
    others = [_differences(other, default) for other in confirmed[1:] if other is not ahead]
    return Comparison(
        leader=ahead,
        default=default,
        shared=shared,
        paired=paired_difference(
            [ahead.scores[k] for k in shared],
            [default.scores[k] for k in shared],
            validation_share=validation_share,
            other_variances=[float(np.var(d, ddof=1)) for d in others if len(d) >= _FEWEST_SHARED],
        ),
    )


def winner(confirmed: Sequence[Confirmed], *, validation_share: float) -> Confirmed:
    """The leader if it replaces the default, else the default.

    It does where its lead is clear. A configuration that collapsed or diverged on some replicate
    is not relied on: as the default it gives way to a leader that did not, unless that one is
    clearly worse; as the leader it never replaces a default that did not.
    """
    default, challenger = confirmed[0], leader(confirmed)
    if challenger is None:
        return default
    if not default.sound:
        return challenger
    if challenger.broken and not default.broken:
        return default
    found = compare(confirmed, validation_share=validation_share)
    if default.broken and not challenger.broken:
        is_worse = found is not None and found.paired.difference < -found.paired.needed
        return default if is_worse else challenger
    return challenger if found is not None and found.paired.is_clear else default


def _shared(one: Confirmed, other: Confirmed) -> list[int]:
    """Replicates on which both learnt."""
    return sorted(one.sound.keys() & other.sound.keys())


def _differences(candidate: Confirmed, default: Confirmed) -> list[float]:
    return [candidate.scores[k] - default.scores[k] for k in _shared(candidate, default)]


def _lead(candidate: Confirmed, default: Confirmed) -> float:
    differences = _differences(candidate, default)
    if not differences:
        return candidate.mean - (default.mean if default.scores else 0.0)
    return float(np.mean(differences))
