"""Between Ray Tune and the policy: asks the one, tells the other, and tells whoever watches."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from training.metrics import Evaluation
from tuning.observers import Observer
from tuning.policy import Policy
from tuning.trainable import to_config
from tuning.trials import Decision, Ending, NoTrial, Phase, Trial
from tuning.workers import Worker

logger = logging.getLogger(__name__)

_LONGEST_WAIT_S = 30.0


class Driver:
    """Runs what a policy decides; complete at construction, and used by one search."""

    def __init__(
        self,
        *,
        policy: Policy,
        observers: Sequence[Observer],
        capacity: Callable[[], int],
        halt: Callable[[str], None],
        outer_error: Callable[[], Exception | None],
        memory_limits: dict[str, int],
        clock: Callable[[], float],
    ) -> None:
        """Take the parts.

        Args:
            policy: decides.
            observers: are told in this order; those that read what others write come after them.
            capacity: how many trials the resources hold at the moment.
            halt: tells all running trials of a flag's name to write a checkpoint and end.
            outer_error: what ends the search from outside, of its mirror or of the check of what
                ships; None: nothing.
            memory_limits: by kind of device, where memory ran out: micro-batch size in rows; what
                trials report goes in there.
            clock: seconds since the search began.
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
        self._given_again: Counter[str] = Counter()
        self._phase: Phase | None = None

    def start_experiment(self) -> str:
        """Give an experiment of Ray Tune its name; trials of a lost one start once more."""
        if self._experiment:
            self.policy.requeue_live()
        self._placed.clear()
        self._experiment = str(time.time_ns())
        self._settle()
        return self._experiment

    def notify(self, event: Callable[[Observer], None]) -> None:
        """Tell all observers of an event: `lambda observer: observer.ended(trial)`.

        The first OSError is kept, and the others are still told.
        """
        for observer in self._observers:
            try:
                event(observer)
            except OSError as error:  # raised through Ray it would lose its kind
                self._write_error = self._write_error or error

    @property
    def error(self) -> Exception | None:
        """What keeps the search from going on: files, a checkpoint, or an outer error."""
        return self._write_error or self._outer_error()

    @property
    def write_error(self) -> OSError | None:
        """What kept a file or a checkpoint from being written, the first time; None: nothing."""
        return self._write_error

    @property
    def is_finished(self) -> bool:
        """Whether nothing is waited for any more, though trials may still run."""
        return self.error is not None or self.policy.is_finished

    @property
    def num_to_keep(self) -> int:
        """Workers that may be kept free: trials may come, and they are this search's share."""
        free = self._capacity() - self.policy.num_live
        return max(min(self.policy.num_to_come, free), 0)

    def interrupt(self) -> None:
        """Take that the search shall end; safe to call from a signal handler."""
        self.policy.interrupt(self._clock())

    def next_trial(self) -> dict[str, Any] | NoTrial:
        """What the worker of the next trial is given, or why there is none."""
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
        return to_config(trial, flag=self._flag(phase), micro_batch_sizes=self._memory_limits)

    def reported(self, trial_id: str, evaluation: Evaluation) -> bool:
        """Take an evaluation; return whether the trial continues."""
        self.policy.pass_time(self._clock())
        trial = self.policy.store[trial_id]
        known = len(trial.evaluations)
        decision = self.policy.report(trial_id, evaluation)
        if len(trial.evaluations) > known:
            self.notify(lambda observer: observer.evaluated(trial))
        self._settle()
        return decision is Decision.CONTINUE

    def ended(self, trial_id: str, ending: Ending) -> None:
        """Take the end of a trial."""
        if ending.status == "broken" and self._trial(trial_id).is_running:
            self._write_error = self._write_error or OSError(ending.error)
        self.policy.ended(trial_id, ending)
        self._settle()

    def placed(self, trial_id: str, worker: Worker) -> None:
        """Take the process that a trial runs in."""
        trial = self._trial(trial_id)
        self._placed.add(trial_id)
        self.notify(lambda observer: observer.placed(trial, worker))

    def lost_before_start(self, trial_id: str, *, most: int) -> bool:
        """Take that a trial's worker was lost; whether the trial is given out once more.

        So it is where no process has begun it: a worker that was kept may have died meanwhile.

        Args:
            trial_id: of the trial.
            most: times that it is given out again.
        """
        is_given = trial_id not in self._placed and self._given_again[trial_id] < most
        if is_given and self._trial(trial_id).is_running:
            self._given_again[trial_id] += 1
            self.policy.requeue(trial_id)
            self._settle()
            return True
        return False

    def measured_memory(self, trial_id: str, num_bytes: int) -> None:
        """Take the most device memory that the process of a trial has reserved."""
        self._trial(trial_id).reserve(num_bytes)

    def limited_memory(self, trial_id: str, device: str, rows: int) -> None:
        """Take that a batch did not fit in the memory of a kind of device."""
        self._memory_limits[device] = rows
        logger.warning(
            "%s: a batch does not fit in the memory of %s; from now on %d rows at once, the"
            " batch size stays",
            *(trial_id, device, rows),
        )

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
        """Let what took the memory end: tried again at once, all retries are spent in moments.

        Args:
            count: of the failure, from 1: 4 seconds, 16, then 30.
        """
        ends = self._clock() + min(4.0**count, _LONGEST_WAIT_S)
        while self._clock() < ends and not self.policy.is_ending:
            time.sleep(0.1)
            self.policy.pass_time(self._clock())

    def _trial(self, trial_id: str) -> Trial:
        return self.policy.store[trial_id]

    def _flag(self, phase: Phase) -> str:
        return f"{phase.value}-{self._experiment}"

    def _settle(self) -> None:
        """Tell what has followed from an event."""
        for trial in self.policy.take_concluded():
            self._tell_end(trial)
        if self._phase != self.policy.phase:
            self._phase = phase = self.policy.phase
            self.notify(lambda observer: observer.phase_changed(phase))

    def _tell_end(self, trial: Trial) -> None:
        self.notify(lambda observer: observer.ended(trial))
