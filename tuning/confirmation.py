"""The best configurations trained again, beside trial 0, on replicates: fresh seeds and splits.

All of it is a function of the trials that there are: a resume, a rebuild and a replay come to the
same candidates, replicates and trial ids.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from results.trial_states import Source, Status, StoppedBy
from tuning.config import Configuration, SearchConfig
from tuning.paired_comparison import PairedDifference, paired_difference
from tuning.space import Parameters, default_point, with_parameters
from tuning.trials import Trial, TrialStore

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


_BROKEN = (Status.COLLAPSED, Status.DIVERGED)


def fresh_seed(seed: int, replicate: int) -> int:
    """Seed of a replicate: a function of its arguments, unlike `seed` and other replicates'."""
    return int(np.random.SeedSequence([seed, replicate]).generate_state(1)[0])


def split_seed(configuration: Configuration, replicate: int) -> int:
    """Seed of a replicate's train/validation split."""
    return fresh_seed(configuration.data.split_seed, replicate)


def most_confirmations(search: SearchConfig) -> int:
    """Trainings that a confirmation may come to: all candidates, then additional replicates."""
    first = search.confirm_replicates
    additional = search.confirm_max_replicates - first
    return ((search.confirm_top + 1) * first + 2 * additional) * (first > 0)


@dataclass(kw_only=True)
class ConfirmationPlan:
    """Names and makes the trainings of a confirmation; what it gives depends on no time."""

    configuration: Configuration
    store: TrialStore
    num_requested: int
    """Trials of the search, whose ids come first."""

    def default_trial(self, replicate: int) -> Trial:
        """Trial 0's training on one of the first replicates, known before the search ends."""
        space, training = self.configuration.search.space, self.configuration.training
        return self.trial(default_point(space, training), replicate, place=0)

    def trial(self, parameters: Parameters, replicate: int, *, place: int) -> Trial:
        """The training of a candidate on a replicate: the known one, or a new one.

        Args:
            parameters: of the candidate.
            replicate: its number, from 1.
            place: of the candidate among those that train on the replicate; 0 is trial 0.
        """
        if known := self.store.confirmation(parameters, replicate):
            return known
        seed = fresh_seed(self.configuration.training.seed, replicate)
        return Trial(
            trial_id=self.store.free_id(self._number(replicate, place)),
            source=Source.CONFIRM,
            parameters=parameters,
            training=with_parameters(self.configuration.training, {**parameters, "seed": seed}),
            replicate=replicate,
            split_seed=split_seed(self.configuration, replicate),
        )

    def _number(self, replicate: int, place: int) -> int:
        """Number of a training; numbers of candidates that there are not stay unused."""
        search = self.configuration.search
        first, width = search.confirm_replicates, search.confirm_top + 1
        if replicate <= first:
            return self.num_requested + (replicate - 1) * width + place
        return self.num_requested + first * width + 2 * (replicate - first - 1) + place


@dataclass(kw_only=True)
class Confirmation:
    """Who is confirmed, on how many replicates, and what came of it so far."""

    configuration: Configuration
    store: TrialStore
    plan: ConfirmationPlan
    validation_share: float
    """Validation rows over training rows."""
    num_replicates: int = field(default=0, init=False)
    """Replicates that were come to: later ones, of an earlier start, decide nothing yet."""
    is_complete: bool = field(default=False, init=False)
    """Whether nothing is left to train."""
    chosen: list[Parameters] = field(init=False)
    _round: list[Trial] = field(default_factory=list, init=False)
    """Trainings of the replicates that were come to last."""

    def __post_init__(self) -> None:
        """Choose the candidates, and come to the first replicates."""
        search = self.configuration.search
        self.chosen = candidates(self.store.searched, search.confirm_top)
        if len(self.chosen) < 2:
            self.is_complete = True
            return
        self._enter(range(1, search.confirm_replicates + 1), self.chosen)
        self.advance()

    @property
    def waiting(self) -> Iterator[Trial]:
        """Trainings that have not finished, in the order in which they start."""
        return (trial for trial in self._round if trial.is_running)

    def left_over(self) -> Iterator[Trial]:
        """Unfinished trainings of an earlier start for configurations that are not chosen now."""
        for trial in self.store.confirmations:
            if trial.is_running and trial.parameters not in self.chosen:
                yield trial

    def advance(self) -> None:
        """Come to the next replicate for leader and default, while neither is clearly ahead."""
        last = self.configuration.search.confirm_max_replicates
        while not self.is_complete and not any(trial.is_running for trial in self._round):
            is_cut = any(t.stopped_by == StoppedBy.END_OF_SEARCH for t in self._round)
            if is_cut or self.num_replicates >= last or self._is_settled():
                self.is_complete = True
                return
            ahead = leader(self.scores())
            chosen = [self.chosen[0]] + ([ahead.parameters] if ahead else [])
            self._enter([self.num_replicates + 1], chosen)

    def scores(self) -> list[Confirmed]:
        """Each candidate's score by replicate, the default first.

        Only replicates that were come to: a confirmation that continues decides at each point by
        what it decided by the first time.
        """
        return [self._confirmed(parameters) for parameters in self.chosen]

    def lead(self) -> Comparison | None:
        """The leader against the default; None while there is nothing to compare."""
        return compare(self.scores(), validation_share=self.validation_share)

    def is_undecided(self) -> bool:
        """Whether there is nothing to go by: no score, or cut off before there was a comparison."""
        ours = self.store.confirmations
        is_cut = any(t.is_running or t.stopped_by == StoppedBy.END_OF_SEARCH for t in ours)
        has_scores = any(trial.final is not None for trial in ours)
        return not has_scores or (is_cut and self.lead() is None)

    def _enter(self, replicates: range | list[int], chosen: list[Parameters]) -> None:
        self._round = []
        for replicate in replicates:
            for place, parameters in enumerate(chosen):
                trial = self.plan.trial(parameters, replicate, place=place)
                if trial.trial_id not in self.store:
                    self.store.add(trial)
                self._round.append(trial)
        self.num_replicates = max(replicates)

    def _is_settled(self) -> bool:
        found = self.lead()
        return found is None or found.paired.is_settled

    def _confirmed(self, parameters: Parameters) -> Confirmed:
        ours = [
            trial
            for trial in self.store.confirmations
            if trial.parameters == parameters and trial.replicate <= self.num_replicates
        ]
        return Confirmed(
            parameters=parameters,
            scores={t.replicate: t.final.score for t in ours if t.final is not None},
            broken=frozenset(t.replicate for t in ours if t.status in _BROKEN),
        )
