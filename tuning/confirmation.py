"""The best configurations trained again, beside trial 0, on replicates: fresh seeds and splits.

All of it is a function of the trials that there are: a resume, a rebuild and a replay come to the
same candidates, replicates and trial ids.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from results.trial_states import Source, Status, StoppedBy
from tuning.config import Configuration, SearchConfig
from tuning.selection import Comparison, Confirmed, candidates, compare, leader
from tuning.space import Parameters, default_point, with_parameters
from tuning.trials import Trial, TrialStore

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
