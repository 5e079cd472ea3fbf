"""The search's own state: which trial is next, which may go on, when to end. Knows no Ray.

Ray's searcher, scheduler, callback and stopper (`tuning.ray_adapters`) only hand over to it, so
that a replay of recorded curves, a resume and a live search take the same decisions.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from training.metrics import Evaluation
from tuning.config import Configuration
from tuning.proposers import Proposer, num_requested
from tuning.rungs import EvaluationPlan, goes_on
from tuning.space import default_point, with_parameters
from tuning.standings import Standings
from tuning.trials import Ending, Status, StoppedBy, Trial, in_order, trial_name

NUM_ALIKE = 3
"""First trials that must fail with the same error before the search is ended for it."""

HALT_S = 4.0
"""Seconds in which running trials write a checkpoint once they were told to halt; those that have
not by then go on from their last one. The rest of ten seconds is for Ray to end."""

Wait = Literal["wait", "finished"]
Listener = Callable[[Trial], None]


@dataclass(kw_only=True)
class Conductor:
    """Runs the trials of one phase: those of the search, or a given list of confirmations."""

    configuration: Configuration
    plan: EvaluationPlan
    num_rows: int
    """Training rows a pass."""
    proposer: Proposer
    num_slots: Callable[[], int]
    """How many trials the resources hold at the moment."""
    on_evaluation: Listener = lambda _: None
    on_change: Listener = lambda _: None
    """Called when a trial has begun or ended."""
    phase: str = "search"
    """Name of the phase, unlike that of any other."""
    deadline: float | None = None
    """When trials end at their next evaluation and none begins, on the clock of `time.monotonic`;
    None: no limit."""
    slack_s: float = 0.0
    """Seconds after the deadline at which trials halt wherever they are."""
    rows_at_once: dict[str, int] = field(default_factory=dict)
    """By kind of device, where memory ran out: most rows a pass of the model holds."""
    trials: dict[str, Trial] = field(default_factory=dict)
    waiting: list[Trial] = field(default_factory=list)
    """Trials made beforehand: left over from an earlier start, or confirmations."""
    num_trials: int = 0
    """Trials that this phase shall have in all."""
    num_others: int = 0
    """Trials of other phases, whose ids are taken."""
    aborted_by: str = ""
    """The error that the first trials failed with, all of them."""
    broken_by: Exception | None = None
    """What kept the run's files from being written, or a checkpoint; or an outer error."""
    outer_error: Callable[[], Exception | None] = lambda: None
    """What ends the search from outside: of its mirror, or of the check of what ships."""
    interrupted_at: float | None = None
    """On the clock of `time.monotonic`."""
    _standings: Standings = field(init=False)
    _live: set[str] = field(default_factory=set, init=False)
    _halted: set[str] = field(default_factory=set, init=False)
    """Live trials that have said that they end, to be finished by a resume."""
    _gone: set[str] = field(default_factory=set, init=False)
    """Those of them whose worker is free again."""

    def __post_init__(self) -> None:
        """Begin without a score."""
        self._standings = Standings(plan=self.plan, num_rows=self.num_rows)

    def next_trial(self) -> Trial | Wait:
        """The next trial to start; `wait` while all slots are taken."""
        if self.is_ending or (not self.waiting and len(self.trials) >= self.num_trials):
            return "finished"
        limit = self.configuration.search.max_concurrent
        slots = self.num_slots() if limit is None else min(limit, self.num_slots())
        if len(self._live) >= max(slots, 1):
            return "wait"
        trial = self.waiting.pop(0) if self.waiting else self._new_trial()
        self.trials[trial.trial_id] = trial
        self._live.add(trial.trial_id)
        self.heed(lambda: self.on_change(trial))
        return trial

    def interrupt(self) -> None:
        """Ask the phase to end; safe to call from a signal handler."""
        self.interrupted_at = time.monotonic()

    @property
    def is_late(self) -> bool:
        """Whether the time is up: running trials end at their next evaluation."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    @property
    def is_ending(self) -> bool:
        """Whether no new trial shall begin."""
        return self._is_broken or self.interrupted_at is not None or self.is_late

    @property
    def is_halting(self) -> bool:
        """Whether running trials shall write a checkpoint and end, wherever they are."""
        since = self._halts_at()
        return since is not None and time.monotonic() >= since

    @property
    def is_over(self) -> bool:
        """Whether nothing runs, or what still runs is no longer waited for."""
        if self._is_broken:
            return True
        since = self._halts_at()
        is_overdue = since is not None and time.monotonic() >= since + HALT_S
        return self.is_ending and (is_overdue or self._live <= self._gone)

    @property
    def _is_broken(self) -> bool:
        self.broken_by = self.broken_by or self.outer_error()
        return bool(self.aborted_by) or self.broken_by is not None

    def _halts_at(self) -> float | None:
        if self.interrupted_at is not None:
            return self.interrupted_at
        return None if self.deadline is None else self.deadline + self.slack_s

    def report(self, trial_id: str, evaluation: Evaluation) -> bool:
        """Take an evaluation of a running trial; return whether the trial may go on."""
        trial = self.trials[trial_id]
        before = trial.evaluations[-1].examples if trial.evaluations else 0
        if evaluation.examples <= before:
            return True  # a restarted trial shows again what is known
        trial.evaluations.append(evaluation)
        self.heed(lambda: self.on_evaluation(trial))
        self.proposer.observe(trial)
        return self._decide(trial)

    def decide_again(self, trial_id: str) -> None:
        """Judge a trial by its last evaluation, which was written down when the driver was lost."""
        trial = self.trials[trial_id]
        if trial.status == "running" and not self._decide(trial):
            self.waiting.remove(trial)

    def end(self, trial_id: str, ending: Ending) -> None:
        """Take the end of a trial; what comes after its end is of no interest.

        One that has halted is still to be finished, so that it stays as it is.
        """
        trial = self.trials[trial_id]
        if trial_id in self._halted:
            self._gone.add(trial_id)
        if trial_id not in self._live - self._halted:
            return
        if ending.status in ("halted", "broken"):
            self._halted.add(trial_id)
            if ending.status == "broken":
                self.broken_by = self.broken_by or OSError(ending.error)
            return
        trial.fixed_rows_loss, trial.seconds = ending.fixed_rows_loss, ending.seconds
        trial.error = ending.error
        status = ending.trial_status
        if status == "stopped":
            trial.stopped_by = "patience"
        elif status == "completed" and trial.evaluations[-1].collapsed:
            status = "collapsed"
        self._conclude(trial, status)
        self._abort_if_all_fail_alike()

    def begin_again(self) -> None:
        """Let all live trials start once more, from their checkpoints: they were lost together."""
        self.waiting[:0] = in_order(self.trials[trial_id] for trial_id in self._live)
        for lost in (self._live, self._halted, self._gone):
            lost.clear()

    def cut_short(self) -> None:
        """Close what was running, or had yet to run, when the time budget ended the phase."""
        live = in_order(self.trials[trial_id] for trial_id in self._live)
        for trial in [*live, *self.waiting]:
            self._stop(trial, "end of search")

    def ended(self) -> Sequence[Trial]:
        """Trials that have ended, in order of creation."""
        return [t for t in in_order(self.trials.values()) if t.status != "running"]

    def _new_trial(self) -> Trial:
        configuration, number = self.configuration, len(self.trials)
        trial_id = trial_name(number + self.num_others)
        if number == 0:
            parameters = default_point(configuration.search.space, configuration.training)
        else:
            parameters = self.proposer.propose(trial_id, number)
        return Trial(
            trial_id=trial_id,
            source="default" if number == 0 else "search",
            parameters=parameters,
            training=with_parameters(configuration.training, parameters),
            split_seed=configuration.data.split_seed,
        )

    def _decide(self, trial: Trial) -> bool:
        """Whether a trial may go on after its last evaluation; concluded if not."""
        last = trial.evaluations[-1]
        if not last.is_finite or last.examples >= self.plan.budget:
            return True  # it is about to end by itself
        if self.is_late:
            self._stop(trial, "end of search")
        elif not trial.is_never_stopped and not self._survives(trial):
            self._stop(trial, "scheduler")
        return trial.status == "running"

    def _stop(self, trial: Trial, reason: StoppedBy) -> None:
        trial.stopped_by = reason
        self._conclude(trial, "stopped")

    def _survives(self, trial: Trial) -> bool:
        before = trial.evaluations[-2].examples if len(trial.evaluations) > 1 else 0
        reached = self.plan.rungs_between(before, trial.evaluations[-1].examples)
        return all(self._survives_at(rung, trial) for rung in reached)

    def _survives_at(self, rung: int, trial: Trial) -> bool:
        own = self._standings.score(trial, rung)
        if own is None:
            return True
        scores = self._standings.at(rung, self.trials.values())
        return goes_on(own, scores, self.configuration.search)

    def _conclude(self, trial: Trial, status: Status) -> None:
        trial.status = status
        if trial.seconds is None and trial.evaluations:
            trial.seconds = trial.evaluations[-1].seconds
        self._live.discard(trial.trial_id)
        self.proposer.conclude(trial)
        self.heed(lambda: self.on_change(trial))

    def heed(self, work: Callable[[], None]) -> None:
        """Let something be written down; an error of it ends the phase."""
        try:
            work()
        except OSError as error:  # raised through Ray it would lose its kind
            self.broken_by = self.broken_by or error

    def _abort_if_all_fail_alike(self) -> None:
        if sum(trial.status != "running" for trial in self.trials.values()) > NUM_ALIKE:
            return
        ended = self.ended()
        if len(ended) == NUM_ALIKE and {t.status for t in ended} == {"failed"}:
            errors = {trial.error for trial in ended}
            if len(errors) == 1:
                self.aborted_by = errors.pop()


def search_phase(
    configuration: Configuration,
    plan: EvaluationPlan,
    num_rows: int,
    proposer: Proposer,
    num_slots: Callable[[], int],
    *,
    known: Iterable[Trial] = (),
    num_others: int = 0,
) -> Conductor:
    """The conductor of the search itself.

    Args:
        configuration: what is searched.
        plan: when trials are evaluated and judged.
        num_rows: training rows a pass.
        proposer: where configurations come from.
        num_slots: how many trials the resources hold at the moment.
        known: trials of an earlier start; ended ones are kept, the others start again.
        num_others: trials of an earlier start's confirmation.
    """
    trials = {trial.trial_id: trial for trial in known}
    proposer.recall([trial for trial in trials.values() if trial.status != "running"])
    return Conductor(
        configuration=configuration,
        plan=plan,
        num_rows=num_rows,
        proposer=proposer,
        num_slots=num_slots,
        trials=trials,
        waiting=[trial for trial in trials.values() if trial.status == "running"],
        num_trials=num_requested(configuration.search, configuration.training),
        num_others=num_others,
    )
