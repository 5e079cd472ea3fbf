"""Confirm the best configurations against trial 0 on replicates: fresh seeds and splits.

Everything is a function of the trials in the store: a resume, a rebuild and a replay find the same
candidates, replicates and trial ids.
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

_MIN_SHARED = 2
"""Replicates that challenger and default must share: a standard error needs two."""
_BROKEN = (Status.COLLAPSED, Status.DIVERGED)


def ranking(trials: Iterable[Trial]) -> list[Trial]:
    """Return the trials that reached the full budget and did not collapse, best first.

    Only equal budgets are compared; of equal scores the older trial comes first.
    """
    finished = [trial for trial in trials if trial.status == Status.COMPLETED]
    return sorted(finished, key=lambda trial: (-(trial.final_score or 0.0), trial.number))


def candidates(trials: Sequence[Trial], num_best: int) -> list[Parameters]:
    """Return the configurations to confirm: the default, whatever its score, then the best others.

    One that was sampled twice is included once.
    """
    chosen = [next(trial.parameters for trial in trials if trial.source == Source.DEFAULT)]
    for trial in ranking(trials):
        if len(chosen) <= num_best and trial.parameters not in chosen:
            chosen.append(trial.parameters)
    return chosen


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

    @property
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


def leader(confirmed: Sequence[Confirmed]) -> Confirmed | None:
    """Return the challenger (any candidate but the first, the default) with the largest lead.

    Candidates may have different replicates, and some are harder than others, so each is compared
    with the default on the replicates that both have. If any challenger shares two replicates with
    the default, those that share fewer cannot lead: a single score may be luck. A challenger that
    collapsed or diverged on some replicate leads only if all did. Without scores of the default the
    best mean leads.
    """
    default, scored = confirmed[0], [c for c in confirmed[1:] if c.sound]
    scored = [c for c in scored if not c.broken] or scored
    if default.sound:
        most = max((len(_shared(candidate, default)) for candidate in scored), default=0)
        required = min(most, _MIN_SHARED)
        scored = [c for c in scored if len(_shared(c, default)) >= required]
    return max(scored, key=lambda candidate: _lead(candidate, default), default=None)


def compare(confirmed: Sequence[Confirmed], *, validation_share: float) -> Comparison | None:
    """Compare the leader with the default.

    Args:
        confirmed: the default, then the challengers.
        validation_share: validation rows over training rows.

    Returns:
        The comparison over the shared replicates; None if fewer than two are shared.
    """
    default, ahead = confirmed[0], leader(confirmed)
    shared = [] if ahead is None else _shared(ahead, default)
    if ahead is None or len(shared) < _MIN_SHARED:
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
            other_variances=[float(np.var(d, ddof=1)) for d in others if len(d) >= _MIN_SHARED],
        ),
    )


def winner(confirmed: Sequence[Confirmed], *, validation_share: float) -> Confirmed:
    """Return the leader if it replaces the default, else the default.

    The leader replaces the default if its lead is clear. A configuration that collapsed or diverged
    on some replicate is unreliable: such a default is replaced by a leader that did not, unless
    that one is clearly worse; such a leader never replaces a default that did not.
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
    """Return the replicates that are sound for both."""
    return sorted(one.sound.keys() & other.sound.keys())


def _differences(candidate: Confirmed, default: Confirmed) -> list[float]:
    return [candidate.scores[k] - default.scores[k] for k in _shared(candidate, default)]


def _lead(candidate: Confirmed, default: Confirmed) -> float:
    differences = _differences(candidate, default)
    if not differences:
        return candidate.mean - (default.mean if default.scores else 0.0)
    return float(np.mean(differences))


def fresh_seed(seed: int, replicate: int) -> int:
    """Return the seed of a replicate, which differs from `seed` and from other replicates'."""
    return int(np.random.SeedSequence([seed, replicate]).generate_state(1)[0])


def split_seed(configuration: Configuration, replicate: int) -> int:
    """Return the seed of a replicate's train/validation split."""
    return fresh_seed(configuration.data.split_seed, replicate)


def most_confirmations(search: SearchConfig) -> int:
    """Return the largest number of trainings in a confirmation, additional replicates included."""
    first = search.confirm_replicates
    additional = search.confirm_max_replicates - first
    return ((search.confirm_top + 1) * first + 2 * additional) * (first > 0)


@dataclass(kw_only=True)
class ConfirmationPlan:
    """Makes the trials of a confirmation; their ids and seeds depend on no order of events."""

    configuration: Configuration
    store: TrialStore
    num_requested: int
    """Trials of the search, whose ids come first."""

    def default_trial(self, replicate: int) -> Trial:
        """Return trial 0's trial on one of the first replicates, known before the search ends."""
        space, training = self.configuration.search.space, self.configuration.training
        return self.trial(default_point(space, training), replicate, position=0)

    def trial(self, parameters: Parameters, replicate: int, *, position: int) -> Trial:
        """Return the trial of a candidate on a replicate: the known one, or a new one.

        Args:
            parameters: of the candidate.
            replicate: its number, from 1.
            position: of the candidate among those of the replicate; 0 is trial 0.
        """
        if known := self.store.confirmation(parameters, replicate):
            return known
        seed = fresh_seed(self.configuration.training.seed, replicate)
        return Trial(
            trial_id=self.store.free_id(self._number(replicate, position)),
            source=Source.CONFIRM,
            parameters=parameters,
            training=with_parameters(self.configuration.training, {**parameters, "seed": seed}),
            replicate=replicate,
            split_seed=split_seed(self.configuration, replicate),
        )

    def _number(self, replicate: int, position: int) -> int:
        """Return the number of a trial; numbers of candidates that are missing stay unused."""
        search = self.configuration.search
        first, width = search.confirm_replicates, search.confirm_top + 1
        if replicate <= first:
            return self.num_requested + (replicate - 1) * width + position
        return self.num_requested + first * width + 2 * (replicate - first - 1) + position


@dataclass(kw_only=True)
class Confirmation:
    """The candidates, the replicates that they are trained on, and their scores so far."""

    configuration: Configuration
    store: TrialStore
    plan: ConfirmationPlan
    validation_share: float
    """Validation rows over training rows."""
    num_replicates: int = field(default=0, init=False)
    """Replicates entered so far; later ones of an earlier start do not count yet."""
    is_complete: bool = field(default=False, init=False)
    """Whether no trial is left to train."""
    chosen: list[Parameters] = field(init=False)
    """The candidates, the default first."""
    _round: list[Trial] = field(default_factory=list, init=False)
    """Trials of the replicates that were entered last."""

    def __post_init__(self) -> None:
        """Choose the candidates, and enter the first replicates."""
        search = self.configuration.search
        self.chosen = candidates(self.store.searched, search.confirm_top)
        if len(self.chosen) < 2:
            self.is_complete = True
            return
        self._enter(range(1, search.confirm_replicates + 1), self.chosen)
        self.advance()

    @property
    def waiting(self) -> Iterator[Trial]:
        """Trials that have not finished, in the order in which they start."""
        return (trial for trial in self._round if trial.is_running)

    def left_over(self) -> Iterator[Trial]:
        """Yield unfinished trials of an earlier start whose configurations are not chosen now."""
        for trial in self.store.confirmations:
            if trial.is_running and trial.parameters not in self.chosen:
                yield trial

    def advance(self) -> None:
        """Enter additional replicates of leader and default until the difference is settled."""
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
        """Return each candidate's scores by replicate, the default first.

        Only replicates that were entered count: a resumed confirmation then takes each decision on
        the same scores as the first time.
        """
        return [self._confirmed(parameters) for parameters in self.chosen]

    def lead(self) -> Comparison | None:
        """Return the leader compared with the default; None while there is nothing to compare."""
        return compare(self.scores(), validation_share=self.validation_share)

    def is_undecided(self) -> bool:
        """Return whether nothing was decided: no score, or cut off before the first comparison."""
        ours = self.store.confirmations
        is_cut = any(t.is_running or t.stopped_by == StoppedBy.END_OF_SEARCH for t in ours)
        has_scores = any(trial.final is not None for trial in ours)
        return not has_scores or (is_cut and self.lead() is None)

    def _enter(self, replicates: range | list[int], chosen: list[Parameters]) -> None:
        self._round = []
        for replicate in replicates:
            for position, parameters in enumerate(chosen):
                trial = self.plan.trial(parameters, replicate, position=position)
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
