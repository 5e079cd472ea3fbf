"""Confirm the best configurations against trial 0 on replicates: fresh seeds and splits.

Everything is a function of the trials in the store: a resume, a rebuild and a replay find the same
candidates, replicates and trial ids.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from results.trial_states import Source, Status, StoppedBy
from training.metrics import Evaluation
from tuning.config import Configuration
from tuning.confirmation_rule import ConfirmationRule
from tuning.space import Parameters, with_parameters
from tuning.standing import Confirmed, Standing
from tuning.trials import Trial, TrialStore

_BROKEN = (Status.COLLAPSED, Status.DIVERGED)


def fresh_seed(seed: int, replicate: int) -> int:
    """Return the seed of a replicate, which differs from `seed` and from other replicates'."""
    return int(np.random.SeedSequence([seed, replicate]).generate_state(1)[0])


def split_seed(configuration: Configuration, replicate: int) -> int:
    """Return the seed of a replicate's train/validation split."""
    return fresh_seed(configuration.data.split_seed, replicate)


@dataclass(kw_only=True)
class ConfirmationPlan:
    """Makes the trials of a confirmation; their ids and seeds depend on no order of events."""

    configuration: Configuration
    store: TrialStore
    num_requested: int
    """Trials of the search, whose ids come first."""

    def default_trials(self) -> Iterator[Trial]:
        """Yield trial 0's trials on the first replicates, known before the search ends."""
        for replicate in range(1, self.configuration.search.confirm_replicates + 1):
            yield self.trial(self.configuration.default_point, replicate, position=0)

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
        """Return the number of a trial; numbers of candidates that are dropped stay unused."""
        width = self.configuration.search.num_finalists + 1
        return self.num_requested + (replicate - 1) * width + position


@dataclass(kw_only=True)
class Confirmation:
    """The candidates, the replicates that they are trained on, and their scores so far."""

    configuration: Configuration
    store: TrialStore
    plan: ConfirmationPlan
    rule: ConfirmationRule
    chosen: list[Parameters]
    """The candidates, the default first, then the finalists, best first."""
    validation_share: float
    """Validation rows over training rows."""
    confirms_default_alone: bool
    """Whether the default is trained even if there is no challenger: it has no other score."""
    is_complete: bool = field(default=False, init=False)
    """Whether the decision is taken."""
    _was_cut: bool = field(default=False, init=False)
    _rounds: list[list[Trial]] = field(default_factory=list, init=False)
    """By replicate, the trials that the decision depends on, that of the default first."""

    def __post_init__(self) -> None:
        """Enter the first replicate, and those that trials of an earlier start allow."""
        self.is_complete = not self.chosen[1:] and not self.confirms_default_alone
        if not self.is_complete:
            self._enter(self.chosen)
            self.advance()

    @property
    def num_replicates(self) -> int:
        """Replicates entered so far; trials that started ahead of time do not count yet."""
        return len(self._rounds)

    def to_start(self) -> Iterator[Trial]:
        """Yield the trials that have not ended, in the order in which they start.

        First those that the next decision depends on; then, for free slots, those that will be
        needed if the present order of the challengers stays and no decision ends the confirmation.
        """
        if self.is_complete:
            return
        yield from (trial for trial in self._current if trial.is_running)
        challengers = [one.parameters for one in self.standing().by_lead()]
        last = self._last if self.rule.drops else self.rule.first_end
        for replicate in range(self.num_replicates + 1, last + 1):
            num = self.rule.num_challengers(replicate)
            for parameters in (self.chosen[0], *challengers[:num]):
                if (trial := self._trial(parameters, replicate)).is_running:
                    yield trial

    def is_needed(self, trial: Trial) -> bool:
        """Return whether a trial may still matter: no decision was taken, nor was it dropped."""
        return not self.is_complete and trial.parameters in self._active

    def dropped(self, live: Collection[str]) -> list[Trial]:
        """Return the unfinished trials that are not needed any more and have no worker.

        Those that run are stopped at their next evaluation.

        Args:
            live: ids of the trials that run.
        """
        unfinished = (trial for trial in self.store.confirmations if trial.is_running)
        waiting = (trial for trial in unfinished if trial.trial_id not in live)
        return [trial for trial in waiting if not self.is_needed(trial)]

    def advance(self) -> None:
        """Enter further replicates until the difference is settled or a trial has not ended."""
        while not self.is_complete and not any(trial.is_running for trial in self._current):
            challengers = self.standing().next_round(self.num_replicates, last=self._last)
            if challengers is None or self._is_cut():
                self.is_complete = True
                return
            kept = [one.parameters for one in challengers]
            self._enter([self.chosen[0], *(one for one in self.chosen[1:] if one in kept)])

    def cut(self) -> None:
        """End the confirmation where it is."""
        self.is_complete = self._was_cut = True

    def standing(self) -> Standing:
        """Return the scores of the candidates on the replicates entered so far."""
        default, *challengers = (self._confirmed(one) for one in self.chosen)
        kept = self._active if self.rule.drops else self.chosen
        return Standing(
            default=default,
            challengers=[one for one in challengers if one.parameters in kept],
            dropped=[one for one in challengers if one.parameters not in kept],
            rule=self.rule,
            validation_share=self.validation_share,
        )

    def finals(self, parameters: Parameters) -> dict[int, Evaluation | None]:
        """Return a candidate's evaluation at the full budget by replicate; None: it has none.

        Only replicates that were entered for it count: a resumed confirmation then takes each
        decision on the same scores as the first time.
        """
        return {
            replicate: next((t.final for t in trials if t.parameters == parameters), None)
            for replicate, trials in enumerate(self._rounds, start=1)
        }

    def dropped_after(self, parameters: Parameters) -> int | None:
        """Return the last replicate of a candidate that was dropped; None: it was not."""
        entered = sum(any(t.parameters == parameters for t in trials) for trials in self._rounds)
        return None if entered == self.num_replicates else entered

    def is_undecided(self) -> bool:
        """Return whether nothing was decided: no score, or cut off before the first comparison."""
        has_scores = any(trial.final is not None for trials in self._rounds for trial in trials)
        is_cut = self._is_cut() or any(trial.is_running for trial in self._current)
        return not has_scores or (is_cut and self.standing().compare() is None)

    @property
    def ended_by_time(self) -> bool:
        """Whether the time budget ended it before the decision."""
        was_stopped = any(t.stopped_by == StoppedBy.END_OF_SEARCH for t in self._current)
        return self.is_complete and was_stopped and not self._was_cut

    @property
    def _current(self) -> Sequence[Trial]:
        """The trials of the replicate that was entered last."""
        return self._rounds[-1] if self._rounds else ()

    @property
    def _active(self) -> list[Parameters]:
        """Candidates that are trained on the last replicate that was entered."""
        return [trial.parameters for trial in self._current]

    @property
    def _last(self) -> int:
        """The number of the last replicate."""
        search = self.configuration.search
        return search.confirm_max_replicates if self.chosen[1:] else search.confirm_replicates

    def _enter(self, candidates: Sequence[Parameters]) -> None:
        replicate = self.num_replicates + 1
        self._rounds.append([])
        for parameters in candidates:
            trial = self._trial(parameters, replicate)
            if trial.trial_id not in self.store:
                self.store.add(trial)  # before the next one takes its id
            self._rounds[-1].append(trial)

    def _trial(self, parameters: Parameters, replicate: int) -> Trial:
        return self.plan.trial(parameters, replicate, position=self.chosen.index(parameters))

    def _is_cut(self) -> bool:
        was_stopped = any(t.stopped_by == StoppedBy.END_OF_SEARCH for t in self._current)
        return self._was_cut or was_stopped

    def _confirmed(self, parameters: Parameters) -> Confirmed:
        ours = {
            replicate: trial
            for replicate, trials in enumerate(self._rounds, start=1)
            for trial in trials
            if trial.parameters == parameters
        }
        return Confirmed(
            parameters=parameters,
            scores={k: trial.final.score for k, trial in ours.items() if trial.final is not None},
            broken=frozenset(k for k, trial in ours.items() if trial.status in _BROKEN),
        )


def confirmed_in_time(
    chosen: list[Parameters], store: TrialStore, *, most: int | None
) -> list[Parameters]:
    """Return which of the chosen configurations are confirmed in the time that is left.

    Args:
        chosen: the default, then the finalists, best first.
        store: with the replicates of an earlier start, which has taken this decision.
        most: finalists that there is time for; None: time is not limited.
    """
    started = [one for one in chosen[1:] if store.confirmation(one, 1)]
    if most is not None and started:
        return [chosen[0], *started]
    return chosen if most is None else chosen[: 1 + most]


def winner_of(ranked: Sequence[Trial], confirmation: Confirmation | None) -> Parameters | None:
    """Return the configuration that wins; None if no trial has a score, or all collapsed.

    Before the confirmation is decided, that is the leader if it is ahead of the default. If the
    time budget ended it before the first comparison, the default stays.

    Args:
        ranked: the trials of the search, best first.
        confirmation: the confirmation; None: there is none, or it has not started.
    """
    if not ranked:
        return None
    if confirmation is None or confirmation.is_undecided():
        leader = ranked[0]
        if confirmation is not None and confirmation.rule.drops and confirmation.ended_by_time:
            leader = next((one for one in ranked if one.source == Source.DEFAULT), leader)
        return None if leader.has_collapsed else leader.parameters
    standing = confirmation.standing()
    if not confirmation.is_complete and (found := standing.compare()) is not None:
        return (found.leader if found.paired.difference > 0 else found.default).parameters
    winner = standing.winner()
    return None if winner.broken and not winner.sound else winner.parameters
