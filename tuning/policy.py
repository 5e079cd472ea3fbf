"""Decide which trial starts next, which is stopped early or promoted, and when the search ends.

The policy is a state machine without clock, Ray, files or log: it is notified of the time. A live
search, a resume, a rebuild, a replay of recorded curves and simulations in the tests all use it.
The rule of promotion itself is in `tuning.rungs`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from results.trial_states import Source, Status, StoppedBy
from training.metrics import Evaluation
from training.objective import Codes
from tuning.config import Configuration, objective_of
from tuning.confirmation import Confirmation, ConfirmationPlan, confirmed_in_time, winner_of
from tuning.confirmation_rule import ConfirmationRule, most_trainings, rule_of
from tuning.ranking import Ranking
from tuning.rungs import EvaluationPlan, Judge, RungScores
from tuning.searchers import Searcher, make_searcher, num_requested
from tuning.space import Parameters, with_parameters
from tuning.time_budget import TimeBudget
from tuning.trials import Decision, Ending, NoTrial, Phase, Trial, TrialStore

HALT_S = 4.0
"""Seconds in which running trials can write a checkpoint when they are halted; those that have not
by then continue from their last one. The rest of ten seconds is for Ray to end."""


@dataclass(kw_only=True)
class Policy:
    """Decides everything in a search, from the first trial to the last confirmation."""

    configuration: Configuration
    plan: EvaluationPlan
    """When trials are evaluated and judged."""
    num_rows: int
    """Training rows per epoch."""
    validation_share: float
    """Validation rows over training rows."""
    constant_score: float
    """Score of the best constant predictor on the validation rows."""
    searcher: Searcher
    store: TrialStore = field(default_factory=TrialStore)
    """Trials, also those of an earlier start: finished ones stay, the others start again."""
    last_evaluated: str | None = None
    """The trial whose evaluation was recorded last by an earlier start, which may have been killed
    before it took the decision that follows from it."""
    phase: Phase = field(default=Phase.SEARCH, init=False)
    confirmation: Confirmation | None = field(default=None, init=False)
    aborted_by: str = field(default="", init=False)
    """The error that all of the first trials failed with."""
    confirmation_failed_by: str = field(default="", init=False)
    """The error that all of the first trials of the confirmation failed with."""
    requested: int = field(init=False)
    """Trials of the search, trial 0 included."""
    ranking: Ranking = field(init=False)
    """Ranks the trials of the search."""
    rule: ConfirmationRule = field(init=False)
    """Of the confirmation."""
    _interrupted_at: float | None = field(default=None, init=False)
    _waiting: list[Trial] = field(init=False)
    """Trials of the search to start again: left by an earlier start, or lost with their workers."""
    _live: dict[str, Trial] = field(default_factory=dict, init=False)
    """Trials that run, by id."""
    _halted: set[str] = field(default_factory=set, init=False)
    """Live trials that have written a checkpoint; a resume continues them."""
    _released: set[str] = field(default_factory=set, init=False)
    """Halted trials whose worker is free again."""
    _has_stuck: bool = field(default=False, init=False)
    """Whether a worker may still hang in a trial that was stopped without it."""
    _has_unneeded: bool = field(default=False, init=False)
    """Whether trials ran ahead of time when the last decision was taken."""
    _concluded: list[Trial] = field(default_factory=list, init=False)
    """Trials that have finished since the last `take_concluded`."""

    def __post_init__(self) -> None:
        """Take over the trials of an earlier start."""
        search, searched = self.configuration.search, self.store.searched
        self.requested = num_requested(self.configuration)
        self._num_searched = len(searched)
        scores = RungScores(plan=self.plan, num_rows=self.num_rows)
        self.ranking = Ranking(rung_scores=scores)
        self._rungs = Judge(rung_scores=scores, search=search, constant_score=self.constant_score)
        self.rule = rule_of(search)
        self._time = TimeBudget(search=search, rows_of_training=self.plan.budget)
        self._plan = ConfirmationPlan(
            configuration=self.configuration,
            store=self.store,
            num_requested=self.requested,
        )
        self.searcher.recall([trial for trial in searched if not trial.is_running])
        self._waiting = [trial for trial in searched if trial.is_running]
        # The time budget ended this search: a resume would have set those trials to running.
        self._was_cut = not self._waiting and any(
            trial.stopped_by == StoppedBy.END_OF_SEARCH for trial in searched
        )
        self._default = self.configuration.default_point
        self._has_challenger = any(map(self._is_challenger, searched))
        self._decide_again()
        self._advance()

    # What to do next

    def next(self) -> Trial | NoTrial:
        """Return the next trial to start, or why there is none."""
        if self.is_ending:
            return NoTrial.DONE
        trial = self._next_searched() if self.phase == Phase.SEARCH else self._next_confirmation()
        if trial is None:
            return NoTrial.DONE if self.phase == Phase.FINISHED else NoTrial.WAIT
        if trial.trial_id not in self.store:
            self.store.add(trial)
        self._live[trial.trial_id] = trial
        self._time.start()
        return trial

    @property
    def num_live(self) -> int:
        """The number of trials that run."""
        return len(self._live)

    @property
    def num_to_come(self) -> int:
        """The largest number of trials that may still start."""
        search = self.configuration.search
        if self.is_ending or self.phase == Phase.FINISHED:
            return 0
        num = max(self.requested - self._num_searched, 0) + len(self._waiting)
        num *= not self._is_late(Phase.SEARCH)
        if self.confirmation is None:
            return num + most_trainings(search, up_to=search.confirm_max_replicates)
        return sum(t.trial_id not in self._live for t in self.confirmation.to_start())

    @property
    def has_winner(self) -> bool:
        """Whether some configuration can be retrained."""
        return winner_of(self.ranking.ranked(self.store.searched), self.confirmation) is not None

    @property
    def is_ending(self) -> bool:
        """Whether no new trial may start: interrupted, aborted, or the time is up."""
        return bool(self.aborted_by) or self._interrupted_at is not None or self._is_late(None)

    @property
    def halting(self) -> frozenset[Phase]:
        """Phases whose running trials must write a checkpoint and end at their next step."""
        if self._interrupted_at is not None:
            return frozenset({Phase.SEARCH, Phase.CONFIRMATION})
        if self._has_unneeded:
            return frozenset({Phase.CONFIRMATION})
        return frozenset(
            phase
            for phase in (Phase.SEARCH, Phase.CONFIRMATION)
            if self._is_late(phase, by=self._time.slack)
        )

    @property
    def is_finished(self) -> bool:
        """Whether the experiment can end; trials may still be running."""
        if self.aborted_by:
            return True
        if self._interrupted_at is not None:
            is_overdue = self._time.now >= self._interrupted_at + HALT_S
            return is_overdue or self._live.keys() <= self._released
        is_cut = self._has_stuck or bool(self.confirmation_failed_by) or self._is_late(None)
        may_end = is_cut or self._has_unneeded
        return self.needs_workers or (self.phase == Phase.FINISHED and may_end)

    @property
    def needs_workers(self) -> bool:
        """Whether a worker hangs in a stopped trial, so that the search needs other workers."""
        return self._has_stuck and not self.is_ending and self.phase != Phase.FINISHED

    def take_concluded(self) -> list[Trial]:
        """Return the trials that have finished since the last call, in the order of their ends."""
        concluded, self._concluded = self._concluded, []
        return concluded

    # What has happened

    def pass_time(self, now: float) -> None:
        """Set the time, in seconds since the search started."""
        self._time.pass_to(now)
        if self._interrupted_at is None:
            for phase in (Phase.SEARCH, Phase.CONFIRMATION):
                if self._is_late(phase, by=self._time.slack + HALT_S):
                    self._stop_late(phase)  # those that do not reach their next step
        self._advance()

    def interrupt(self, now: float) -> None:
        """End the search because of a signal; safe to call from a signal handler."""
        self._interrupted_at = now

    def report(self, trial_id: str, evaluation: Evaluation) -> Decision:
        """Record an evaluation of a trial; return whether the trial continues."""
        trial = self.store[trial_id]
        if not trial.is_running:
            return Decision.STOP
        if evaluation.examples <= trial.examples:
            return Decision.CONTINUE  # a restarted trial repeats known evaluations
        trial.add(evaluation)
        if not trial.is_confirmation:
            self.searcher.evaluated(trial)
            self._measure_time()
        self._judge(trial)
        self._advance()
        return Decision.CONTINUE if trial.is_running else Decision.STOP

    def ended(self, trial_id: str, ending: Ending) -> None:
        """Record the end of a trial; anything reported after the end is ignored."""
        trial = self.store[trial_id]
        if trial_id in self._halted:
            self._released.add(trial_id)
            return
        if trial_id not in self._live:
            return
        if ending.is_final:
            trial.end(ending)
            self._conclude(trial)
        elif self._interrupted_at is None and self._is_late(trial):
            self._stop(trial, StoppedBy.END_OF_SEARCH)
        else:
            self._halted.add(trial_id)
        if trial.status == Status.FAILED:
            self._abort_if_all_fail_alike()
        self._advance()

    def requeue_live(self) -> None:
        """Start all running trials again from their checkpoints: their workers were lost."""
        lost = sorted(self._live.values(), key=lambda trial: trial.number)
        self._waiting[:0] = [trial for trial in lost if not trial.is_confirmation]
        for trials in (self._live, self._halted, self._released):
            trials.clear()
        self._has_stuck = False

    def requeue(self, trial_id: str) -> None:
        """Start a running trial again: its worker was lost before the trial started there."""
        trial = self._live.pop(trial_id)
        if not trial.is_confirmation:
            self._waiting.insert(0, trial)
        self._advance()

    # Searching

    def _next_searched(self) -> Trial | None:
        if self._is_late(Phase.SEARCH):
            return None
        if self._waiting:
            return self._waiting.pop(0)
        if self._num_searched < self.requested:
            return self._new_trial()
        return self._next_of_default()

    def _new_trial(self) -> Trial:
        configuration, number = self.configuration, self._num_searched
        trial_id = self.store.free_id(number)
        parameters = self.searcher.suggest(trial_id, number) if number else self._default
        self._num_searched += 1
        return Trial(
            trial_id=trial_id,
            source=Source.SEARCH if number else Source.DEFAULT,
            parameters=parameters,
            training=with_parameters(configuration.training, parameters),
            split_seed=configuration.data.split_seed,
        )

    # Judging at rungs

    def _judge(self, trial: Trial) -> None:
        """Stop a trial if its last evaluation decides so: at a rung, or because time is up."""
        last = trial.evaluations[-1]
        if not last.is_finite or last.examples >= self.plan.budget:
            return  # it ends by itself
        if trial.is_confirmation:
            is_dropped = self.confirmation is not None and not self.confirmation.is_needed(trial)
            if is_dropped or self._is_late(trial):
                self._stop(trial, StoppedBy.END_OF_SEARCH)
        elif reason := self._rungs.reason_to_stop(trial, self.store.searched):
            self._stop(trial, reason)
        elif self._is_late(trial):
            self._stop(trial, StoppedBy.END_OF_SEARCH)

    def _decide_again(self) -> None:
        for trial in list(self._waiting):
            if trial.trial_id == self.last_evaluated and trial.evaluations:
                self._judge(trial)
                if not trial.is_running:
                    self._waiting.remove(trial)

    # Confirming

    def _next_of_default(self) -> Trial | None:
        """Return trial 0's next replicate, which is needed as soon as there is a challenger.

        If time is limited, every finalist gets its first one before trial 0 gets a second.
        """
        trials = list(self._plan.default_trials() if self._has_challenger else ())
        trials = trials[: 1 if self.configuration.search.time_budget_s else None]
        return next((t for t in trials if t.is_running and t.trial_id not in self._live), None)

    def _next_confirmation(self) -> Trial | None:
        if self.confirmation is None:
            return None
        trials = self.confirmation.to_start()
        return next((trial for trial in trials if trial.trial_id not in self._live), None)

    # Phases

    def _advance(self) -> None:
        """Change to the next phase if this one has finished."""
        if self.phase == Phase.SEARCH and self._is_search_finished():
            self._stop_waiting(self._waiting)
            self._waiting = []
            self._start_confirmation()
        if self.phase == Phase.CONFIRMATION and self.confirmation is not None:
            self.confirmation.advance()
            if self._interrupted_at is None and self._is_late(self.phase) and not self._live:
                self._stop_waiting(self._unfinished())
                self.confirmation.advance()
            if self.confirmation.is_complete:
                self._has_unneeded = bool(self._live)
                self._stop_waiting(self._unfinished())
                self.phase = Phase.FINISHED
            else:
                self._stop_waiting(self.confirmation.dropped(self._live))

    def _unfinished(self) -> Iterable[Trial]:
        return (trial for trial in self.store.confirmations if trial.is_running)

    def _is_search_finished(self) -> bool:
        if self._interrupted_at is not None:
            return False
        if any(not trial.is_confirmation for trial in self._live.values()):
            return False
        is_whole = not self._waiting and self._num_searched >= self.requested
        return is_whole or self._was_cut or self._is_late(Phase.SEARCH)

    def _start_confirmation(self) -> None:
        search = self.configuration.search
        if not search.confirm_replicates or not self.ranking.ranked(self.store.searched):
            self.phase = Phase.FINISHED
            return
        self.phase = Phase.CONFIRMATION
        self.confirmation = Confirmation(
            configuration=self.configuration,
            store=self.store,
            plan=self._plan,
            rule=self.rule,
            chosen=confirmed_in_time(
                self.ranking.candidates(self.store.searched, search.num_finalists),
                self.store,
                most=None if search.time_budget_s is None else self._time.num_finalists(),
            ),
            validation_share=self.validation_share,
            confirms_default_alone=self.plan.ends_at_last_rung,
        )
        self._abort_if_all_fail_alike()

    def _abort_if_all_fail_alike(self) -> None:
        """End the search, or its confirmation, if its first trials failed with the same error."""
        if error := self.store.first_error(self.configuration.search.encoders):
            self.aborted_by = error
            self._stop_waiting([*self._live.values(), *self._waiting])
            self._waiting = []
        if self.confirmation is not None and not self.confirmation_failed_by:
            self.confirmation_failed_by = self.store.first_error_of_confirmation()
            if self.confirmation_failed_by:
                self.confirmation.cut()

    # Time

    def _is_late(self, what: Trial | Phase | None, *, by: float = 0.0) -> bool:
        """Return whether the time of a trial, a phase or (None) all was up `by` seconds ago."""
        of_search = not what.is_confirmation if isinstance(what, Trial) else what == Phase.SEARCH
        return self._time.is_late(of_search=of_search, by=by)

    def _measure_time(self) -> None:
        rows_seen = sum(trial.examples for trial in self.store.searched)
        self._time.measure(rows_seen, has_challenger=self._has_challenger)

    # Ends of trials

    def _stop_late(self, phase: Phase) -> None:
        is_of_search = phase == Phase.SEARCH
        for trial in list(self._live.values()):
            if trial.is_confirmation != is_of_search:
                self._stop(trial, StoppedBy.END_OF_SEARCH)
                self._has_stuck = True

    def _stop_waiting(self, trials: Iterable[Trial]) -> None:
        for trial in list(trials):
            self._stop(trial, StoppedBy.END_OF_SEARCH)

    def _stop(self, trial: Trial, reason: StoppedBy) -> None:
        trial.stop(reason)
        self._conclude(trial)

    def _conclude(self, trial: Trial) -> None:
        self._live.pop(trial.trial_id, None)
        if not trial.is_confirmation:
            self.searcher.ended(trial)
            self._has_challenger |= self._is_challenger(trial)
            self._measure_time()
        self._concluded.append(trial)

    def _is_challenger(self, trial: Trial) -> bool:
        return trial.parameters != self._default and bool(self.ranking.ranked([trial]))


def make_policy(
    configuration: Configuration,
    plan: EvaluationPlan,
    *,
    num_rows: int,
    validation_labels: Codes,
    store: TrialStore | None = None,
    last_evaluated: str | None = None,
    first_points: Sequence[Parameters] = (),
) -> Policy:
    """Make the policy of a configuration.

    Args:
        configuration: of the search.
        plan: when trials are evaluated and judged.
        num_rows: training rows of the search's split.
        validation_labels: codes of the labels of its validation rows, int64 [rows].
        store: with the trials of an earlier start.
        last_evaluated: the trial whose evaluation that start recorded last.
        first_points: configurations that are tried right after trial 0.
    """
    return Policy(
        configuration=configuration,
        plan=plan,
        num_rows=num_rows,
        validation_share=len(validation_labels) / num_rows,
        constant_score=objective_of(configuration).constant_score(validation_labels),
        searcher=make_searcher(configuration, first_points),
        store=TrialStore() if store is None else store,
        last_evaluated=last_evaluated,
    )
