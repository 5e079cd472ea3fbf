"""Compare the candidates of a confirmation after some replicates: who leads, stays in it, or wins.

Everything is a function of the scores.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

import numpy as np

from tuning.confirmation_rule import ConfirmationRule
from tuning.paired_comparison import PairedDifference, paired_difference
from tuning.space import Parameters

_MIN_SHARED = 2
"""Replicates that challenger and default must share: a standard error needs two."""


@dataclass(frozen=True, kw_only=True)
class Confirmed:
    """A candidate with its scores by replicate number; failed replicates are missing."""

    parameters: Parameters
    scores: Mapping[int, float]
    broken: frozenset[int] = frozenset()
    """Replicates on which it collapsed (one class for every row) or diverged."""

    @property
    def mean(self) -> float:
        """Mean score over the replicates."""
        return float(np.mean(list(self.scores.values())))

    @property
    def standard_error(self) -> float | None:
        """Standard error of the mean, uncorrected for shared rows; None for a single replicate."""
        values = list(self.scores.values())
        return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None

    @cached_property
    def sound(self) -> Mapping[int, float]:
        """Scores of the replicates on which it neither collapsed nor diverged."""
        return {k: score for k, score in self.scores.items() if k not in self.broken}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The leader compared with the default, over the replicates that are sound for both."""

    leader: Confirmed
    default: Confirmed
    shared: Sequence[int]
    paired: PairedDifference

    @property
    def means(self) -> tuple[float, float]:
        """Mean scores of leader and default over the shared replicates."""
        leader, default = (
            float(np.mean([one.scores[k] for k in self.shared]))
            for one in (self.leader, self.default)
        )
        return leader, default


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Scores of the candidates after some replicates, and what follows from them."""

    default: Confirmed
    challengers: Sequence[Confirmed]
    """Those that may still win."""
    dropped: Sequence[Confirmed] = ()
    rule: ConfirmationRule
    validation_share: float
    """Validation rows over training rows."""

    @property
    def leader(self) -> Confirmed | None:
        """The challenger with the largest lead; None: no challenger has a score."""
        return next((one for one in self._by_lead if one.sound), None)

    def by_lead(self) -> list[Confirmed]:
        """Return the challengers, the one furthest ahead of the default first.

        Some replicates are harder than others, so each is compared with the default on the
        replicates that both have; without scores of the default the best mean leads. Behind the
        others come challengers that share only one replicate with the default while another shares
        more, since a single score may be luck; behind these, challengers that collapsed or diverged
        on some replicate; last, those without a score.
        """
        return list(self._by_lead)

    @cached_property
    def _by_lead(self) -> Sequence[Confirmed]:
        differences = [_differences(one, self.default) for one in self.challengers]
        pairs = list(zip(self.challengers, differences, strict=True))
        most_shared = max((len(found) for one, found in pairs if not one.broken), default=0)
        required = min(most_shared, _MIN_SHARED)
        pairs.sort(
            key=lambda pair: (
                not pair[0].sound,
                bool(pair[0].broken),
                len(pair[1]) < required,
                -_lead(pair[0], pair[1], self.default),
            )
        )
        return [one for one, _ in pairs]

    def compare(self) -> Comparison | None:
        """Compare the leader with the default; None if they share fewer than two replicates."""
        ahead = self.leader
        shared = [] if ahead is None else _shared(ahead, self.default)
        if ahead is None or len(shared) < _MIN_SHARED:
            return None
        others = [one for one in (*self.challengers, *self.dropped) if one is not ahead]
        return Comparison(
            leader=ahead,
            default=self.default,
            shared=shared,
            paired=paired_difference(
                [ahead.scores[k] for k in shared],
                [self.default.scores[k] for k in shared],
                validation_share=self.validation_share,
                required=self.rule.required(len(shared)),
                others=[_differences(other, self.default) for other in others],
            ),
        )

    def winner(self) -> Confirmed:
        """Return the leader if it replaces the default, else the default.

        The leader replaces the default if its lead is clear. A configuration that collapsed or
        diverged on some replicate is unreliable: such a default is replaced by a leader that did
        not, unless that one is clearly worse; such a leader never replaces a default that did not.
        """
        challenger = self.leader
        if challenger is None:
            return self.default
        if not self.default.sound:
            return challenger
        found = self.compare()
        if self.default.broken and not challenger.broken:
            is_worse = found is not None and found.paired.is_clearly_worse
            return self.default if is_worse else challenger
        if challenger.broken and not self.default.broken:
            return self.default
        return challenger if found is not None and found.paired.is_clear else self.default

    def next_round(self, num_replicates: int, *, last: int) -> list[Confirmed] | None:
        """Return the challengers of the next replicate, furthest ahead first; None: decided.

        Args:
            num_replicates: replicates so far.
            last: the most replicates.
        """
        if num_replicates >= last or self._is_settled(num_replicates):
            return None
        return self.by_lead()[: self.rule.num_challengers(num_replicates + 1)]

    def _is_settled(self, num_replicates: int) -> bool:
        """Return whether leader and default need no further replicate."""
        if not (self.challengers or self.dropped) or num_replicates < self.rule.first_end:
            return False
        ahead, found = self.leader, self.compare()
        if ahead is None or (ahead.broken and not self.default.broken):
            return True  # no challenger can win any more
        if self.default.broken and self.rule.required(num_replicates) is None:
            return False  # the leader is about to win, but not on so few replicates
        return self.rule.is_settled(None if found is None else found.paired)


def _shared(one: Confirmed, other: Confirmed) -> list[int]:
    """Return the replicates that are sound for both."""
    return sorted(one.sound.keys() & other.sound.keys())


def _differences(candidate: Confirmed, default: Confirmed) -> list[float]:
    return [candidate.scores[k] - default.scores[k] for k in _shared(candidate, default)]


def _lead(candidate: Confirmed, differences: Sequence[float], default: Confirmed) -> float:
    if not candidate.scores:
        return -math.inf
    if not differences:
        return candidate.mean - (default.mean if default.scores else 0.0)
    return fmean(differences)
