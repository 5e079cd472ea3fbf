"""Connect Ray Tune and the policy: forward trials and evaluations, and notify the observers."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from results.micro_batch_limits import Limits
from training.metrics import Evaluation
from tuning.observers import Observer
from tuning.policy import Policy
from tuning.trainable import to_config
from tuning.trials import Decision, Ending, NoTrial, Phase, Trial
from tuning.workers import Worker

logger = logging.getLogger(__name__)

_MAX_WAIT_S = 30.0


class Driver:
    """Runs the trials of one policy; complete at construction, and used by one search."""

    def __init__(
        self,
        *,
        policy: Policy,
        observers: Sequence[Observer],
        capacity: Callable[[], int],
        halt: Callable[[str], None],
        outer_error: Callable[[], Exception | None],
        memory_limits: Limits,
        clock: Callable[[], float],
    ) -> None:
        """Take the parts.

        Args:
            policy: decides.
            observers: notified in this order; one that reads what another writes comes after it.
            capacity: returns how many trials the resources can run at the moment.
            halt: makes all running trials that watch a flag write a checkpoint and end.
            outer_error: returns an error outside the driver that ends the search, such as one of
                the mirror or of the check of the shipped model; None: there is none.
            memory_limits: micro-batch size in rows by encoder and kind of device, where memory ran
                out; trials that run out of memory add to it.
            clock: seconds since the search started.
        """
        self.policy = policy
        self._observers = tuple(observers)
        self._capacity = capacity
        self._halt = halt
        self._outer_error = outer_error
        self._memory_limits = memory_limits
        self._clock = clock
        self._write_error: OSError | None = None
        self._experiment = ""
        self._halted: set[str] = set()
        self._placed: set[str] = set()
        self._num_restarts: Counter[str] = Counter()
        self._phase: Phase | None = None

    # State of the search

    @property
    def error(self) -> Exception | None:
        """The error that ends the search: of a file, of a checkpoint, or outside; None: none."""
        return self._write_error or self._outer_error()

    @property
    def write_error(self) -> OSError | None:
        """The first error in writing a file or a checkpoint; None: there was none."""
        return self._write_error

    @property
    def is_finished(self) -> bool:
        """Whether the experiment can end; trials may still be running."""
        return self.error is not None or self.policy.is_finished

    @property
    def num_to_keep(self) -> int:
        """Free workers to keep: at most the trials to come, within this search's share."""
        free = self._capacity() - self.policy.num_live
        return max(min(self.policy.num_to_come, free), 0)

    # What Tune asks for

    def start_experiment(self) -> str:
        """Return the name of a new experiment of Ray Tune; trials of a lost one start again."""
        if self._experiment:
            self.policy.requeue_live()
        self._placed.clear()
        self._experiment = str(time.time_ns())
        self._settle()
        return self._experiment

    def next_trial(self) -> dict[str, Any] | NoTrial:
        """Return what the worker of the next trial is given, or why there is no trial."""
        self.policy.pass_time(self._clock())
        if self.error is not None:
            return NoTrial.DONE
        if self.policy.num_live >= max(self._capacity(), 1) and not self.policy.is_ending:
            return NoTrial.WAIT
        trial = self.policy.next()
        if isinstance(trial, NoTrial):
            self._settle()
            return trial
        self._placed.discard(trial.trial_id)
        self.notify(lambda observer: observer.started(trial))
        self._settle()
        phase = Phase.CONFIRMATION if trial.is_confirmation else Phase.SEARCH
        limits = self._memory_limits.get(self._model_of(trial), {})
        return to_config(trial, flag=self._flag(phase), micro_batch_sizes=limits)

    # What Tune and the workers report

    def placed(self, trial_id: str, worker: Worker) -> None:
        """Record the process that a trial runs in."""
        trial = self._trial(trial_id)
        self._placed.add(trial_id)
        self.notify(lambda observer: observer.placed(trial, worker))

    def reported(self, trial_id: str, evaluation: Evaluation) -> bool:
        """Record an evaluation; return whether the trial continues."""
        self.policy.pass_time(self._clock())
        trial = self._trial(trial_id)
        num_known = len(trial.evaluations)
        decision = self.policy.report(trial_id, evaluation)
        if len(trial.evaluations) > num_known:
            self.notify(lambda observer: observer.evaluated(trial))
        self._settle()
        return decision is Decision.CONTINUE

    def ended(self, trial_id: str, ending: Ending) -> None:
        """Record the end of a trial."""
        if ending.is_broken and self._trial(trial_id).is_running:
            self._write_error = self._write_error or OSError(ending.error)
        self.policy.ended(trial_id, ending)
        self._settle()

    def lost_before_start(self, trial_id: str, *, max_restarts: int) -> bool:
        """Record that a trial's worker was lost; return whether the trial starts again.

        It does if no process has started it: a free worker that was kept may have died meanwhile.

        Args:
            trial_id: of the trial.
            max_restarts: times that it may start again.
        """
        can_restart = trial_id not in self._placed and self._num_restarts[trial_id] < max_restarts
        if can_restart and self._trial(trial_id).is_running:
            self._num_restarts[trial_id] += 1
            self.policy.requeue(trial_id)
            self._settle()
            return True
        return False

    def measured_memory(self, trial_id: str, *, process: int, device: int | None) -> None:
        """Record the peak memory of a trial's process, and what it has reserved on its device."""
        self._trial(trial_id).occupy(process)
        if device:
            self._trial(trial_id).reserve(device)

    def limited_memory(self, trial_id: str, device: str, micro_batch_size: int) -> None:
        """Record that a batch of a trial's encoder did not fit in the memory of its device."""
        model = self._model_of(self._trial(trial_id))
        self._memory_limits.setdefault(model, {})[device] = micro_batch_size
        logger.warning(
            "trial %s: a batch of %s does not fit in the memory of %s; from now on it is split into"
            " micro-batches of %d rows, with the same batch size",
            *(trial_id, model, device, micro_batch_size),
        )

    def interrupt(self) -> None:
        """End the search because of a signal; safe to call from a signal handler."""
        self.policy.interrupt(self._clock())

    def idle(self) -> None:
        """Do what is due; called many times a second."""
        self.policy.pass_time(self._clock())
        self._settle()
        for phase in self.policy.halting:
            flag = self._flag(phase)
            if flag not in self._halted:
                self._halted.add(flag)
                self._halt(flag)
        self.notify(lambda observer: observer.idle())

    def wait_for_memory(self, count: int) -> None:
        """Wait until memory may be free again: without a wait, retries would be used up at once.

        Args:
            count: number of the failure, from 1: waits 4 seconds, 16, then 30.
        """
        ends = self._clock() + min(4.0**count, _MAX_WAIT_S)
        while self._clock() < ends and not self.policy.is_ending:
            time.sleep(0.1)
            self.policy.pass_time(self._clock())

    # Observers

    def notify(self, event: Callable[[Observer], None]) -> None:
        """Notify all observers of an event: `lambda observer: observer.ended(trial)`.

        The first OSError is kept, and the other observers are still notified.
        """
        for observer in self._observers:
            try:
                event(observer)
            except OSError as error:  # raised through Ray it would lose its type
                self._write_error = self._write_error or error

    def _settle(self) -> None:
        """Notify the observers of trials that have finished, then of a new phase."""
        for trial in self.policy.take_concluded():
            self._notify_ended(trial)
        if self._phase != self.policy.phase:
            self._phase = phase = self.policy.phase
            self.notify(lambda observer: observer.phase_changed(phase))

    def _notify_ended(self, trial: Trial) -> None:
        self.notify(lambda observer: observer.ended(trial))

    def _trial(self, trial_id: str) -> Trial:
        return self.policy.store[trial_id]

    def _model_of(self, trial: Trial) -> str:
        return self.policy.configuration.model_of(trial.parameters).name

    def _flag(self, phase: Phase) -> str:
        return f"{phase.value}-{self._experiment}"
