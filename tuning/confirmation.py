"""Confirm the best configurations against trial 0 on replicates: fresh seeds and splits.

Everything is a function of the trials in the store: a resume, a rebuild and a replay find the same
candidates, replicates and trial ids.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from results.trial_states import Source, Status, StoppedBy
from training.metrics import Evaluation
from tuning.config import Configuration
from tuning.confirmation_rule import ConfirmationRule
from tuning.paired_comparison import PairedDifference, paired_difference
from tuning.space import Parameters, default_point, with_parameters
from tuning.trials import Trial, TrialStore

_MIN_SHARED = 2
"""Replicates that challenger and default must share: a standard error needs two."""
_BROKEN = (Status.COLLAPSED, Status.DIVERGED)


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


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Scores of the candidates after some replicates, and what follows from them."""

    default: Confirmed
    challengers: Sequence[Confirmed]
    """Those that were trained on the last replicate: any of them may win."""
    dropped: Sequence[Confirmed] = ()
    rule: ConfirmationRule
    validation_share: float
    """Validation rows over training rows."""

    @property
    def leader(self) -> Confirmed | None:
        """The challenger with the largest lead; None: no challenger has a score.

        If any challenger shares two replicates with the default, those that share fewer cannot
        lead: a single score may be luck.
        """
        ahead = [one for one in self.by_lead() if one.sound]
        sound = [one for one in ahead if not one.broken] or ahead
        if self.default.sound:
            most = max((len(_shared(one, self.default)) for one in sound), default=0)
            required = min(most, _MIN_SHARED)
            sound = [one for one in sound if len(_shared(one, self.default)) >= required]
        return next(iter(sound), None)

    def by_lead(self) -> list[Confirmed]:
        """Return the challengers, the one furthest ahead of the default first.

        Some replicates are harder than others, so each is compared with the default on the
        replicates that both have; without scores of the default the best mean leads. Challengers
        that collapsed or diverged on some replicate come last, those without a score after them.
        """
        return sorted(
            self.challengers,
            key=lambda one: (not one.sound, bool(one.broken), -_lead(one, self.default)),
        )

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

    def is_settled(self, num_replicates: int) -> bool:
        """Return whether leader and default need no further replicate."""
        if num_replicates < self.rule.first_end:
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


def _lead(candidate: Confirmed, default: Confirmed) -> float:
    differences = _differences(candidate, default)
    if not candidate.scores:
        return -math.inf
    if not differences:
        return candidate.mean - (default.mean if default.scores else 0.0)
    return float(np.mean(differences))


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
        """Return the number of a trial; numbers of candidates that are dropped stay unused."""
        width = self.configuration.search.confirm_top + 1
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
        for replicate in range(self.num_replicates + 1, self._last + 1):
            num = self.rule.num_challengers(replicate)
            for parameters in (self.chosen[0], *challengers[:num]):
                if (trial := self._trial(parameters, replicate)).is_running:
                    yield trial

    def is_needed(self, trial: Trial) -> bool:
        """Return whether a trial may still matter: no decision was taken, nor was it dropped."""
        return not self.is_complete and trial.parameters in self._active

    def advance(self) -> None:
        """Enter further replicates until the difference is settled or a trial has not ended."""
        while not self.is_complete and not any(trial.is_running for trial in self._current):
            standing, num_replicates = self.standing(), self.num_replicates
            is_settled = bool(self.chosen[1:]) and standing.is_settled(num_replicates)
            if is_settled or num_replicates >= self._last or self._is_cut():
                self.is_complete = True
                return
            num = self.rule.num_challengers(num_replicates + 1)
            kept = [one.parameters for one in standing.by_lead()[:num]]
            self._enter([self.chosen[0], *(one for one in self.chosen[1:] if one in kept)])

    def standing(self) -> Standing:
        """Return the scores of the candidates on the replicates entered so far."""
        default, *challengers = (self._confirmed(one) for one in self.chosen)
        active = self._active
        return Standing(
            default=default,
            challengers=[one for one in challengers if one.parameters in active],
            dropped=[one for one in challengers if one.parameters not in active],
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

    def is_undecided(self) -> bool:
        """Return whether nothing was decided: no score, or cut off before the first comparison."""
        has_scores = any(trial.final is not None for trials in self._rounds for trial in trials)
        is_cut = self._is_cut() or any(trial.is_running for trial in self._current)
        return not has_scores or (is_cut and self.standing().compare() is None)

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
        self._rounds.append([self._trial(one, replicate) for one in candidates])
        for trial in self._rounds[-1]:
            if trial.trial_id not in self.store:
                self.store.add(trial)

    def _trial(self, parameters: Parameters, replicate: int) -> Trial:
        return self.plan.trial(parameters, replicate, position=self.chosen.index(parameters))

    def _is_cut(self) -> bool:
        return any(trial.stopped_by == StoppedBy.END_OF_SEARCH for trial in self._current)

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
