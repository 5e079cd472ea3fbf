"""A fake of Ray Tune and its workers in simulated time, with faults of machines.

A real policy behind a real driver decides. Workers hang, are lost, or are lost together with Tune;
the driver's process is killed while it writes, or is interrupted; each time the search is started
again from the disk.
"""

import random
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from results.trial_states import SearchStatus, Status, StoppedBy
from training.metrics import Evaluation
from tuning.config import Configuration
from tuning.driver import Driver
from tuning.observers import Observer
from tuning.policy import Policy, make_policy
from tuning.rungs import EvaluationPlan
from tuning.trainable import TRIAL_ID
from tuning.trials import Ending, NoTrial, Phase, Trial, TrialStore
from tuning.workers import Worker


class KilledError(BaseException):
    """The driver's process was killed; nothing catches this."""


@dataclass
class Disk(Observer):
    """Stores what a run's files store; the process may be killed before or after each write."""

    chance: random.Random
    rows: dict[str, Trial] = field(default_factory=dict)
    curves: list[tuple[str, Evaluation]] = field(default_factory=list)
    store: TrialStore = field(default_factory=TrialStore)
    """Trials of the process that writes."""
    events_left: int | None = None
    """Events until the process is killed; None: it is not."""

    def started(self, trial: Trial) -> None:
        self._write(lambda: self._write_row(trial))

    def placed(self, trial: Trial, worker: Worker) -> None:
        self._write(lambda: None)

    def evaluated(self, trial: Trial) -> None:
        self._write(lambda: self._write_evaluation(trial))
        if self.chance.random() < 0.2:
            self._write(self._write_all)

    def ended(self, trial: Trial) -> None:
        self._write(lambda: self._write_row(trial))
        if self.chance.random() < 0.5:
            self._write(self._write_all)

    def phase_changed(self, phase: Phase) -> None:
        self._write(lambda: None)

    def closed(self, status: SearchStatus) -> None:
        self._write(self._write_all)

    def hold(self, trials: Iterable[Trial]) -> None:
        """Store trials that had ended before."""
        for trial in trials:
            self.rows[trial.trial_id] = replace(trial, evaluations=[])
            self.curves += [(trial.trial_id, evaluation) for evaluation in trial.evaluations]

    def recall(self) -> TrialStore:
        """Return the trials as a resume reads them."""
        trials = [replace(one, evaluations=self._curve(one.trial_id)) for one in self.rows.values()]
        for trial in trials:
            if trial.stopped_by == StoppedBy.END_OF_SEARCH:
                trial.status, trial.stopped_by = Status.RUNNING, StoppedBy.NOBODY
            trial.seconds = None if trial.is_running else trial.seconds
        return TrialStore(trials)

    @property
    def last_evaluated(self) -> str | None:
        return self.curves[-1][0] if self.curves else None

    def is_finished(self, trial_id: str) -> bool:
        """Return whether a trial is recorded as finished for good."""
        row = self.rows.get(trial_id)
        is_known = row is not None and not row.is_running
        return is_known and row.stopped_by != StoppedBy.END_OF_SEARCH

    def _curve(self, trial_id: str) -> list[Evaluation]:
        return [evaluation for one, evaluation in self.curves if one == trial_id]

    def _write(self, change: Callable[[], None]) -> None:
        self._pass_event()
        change()
        self._pass_event()

    def _pass_event(self) -> None:
        if self.events_left is not None:
            self.events_left -= 1
            if self.events_left <= 0:
                self.events_left = None
                raise KilledError

    def _write_row(self, trial: Trial) -> None:
        known = self.rows.get(trial.trial_id, trial)
        assert _identity(known) == _identity(trial), "one id, two trials"
        assert not self.is_finished(trial.trial_id) or known.status == trial.status
        self.rows[trial.trial_id] = replace(trial, evaluations=[])

    def _write_evaluation(self, trial: Trial) -> None:
        known = self._curve(trial.trial_id)
        assert not known or known[-1].examples < trial.examples, "an evaluation written twice"
        self.curves.append((trial.trial_id, trial.evaluations[-1]))

    def _write_all(self) -> None:
        for trial in self.store:
            self._write_row(trial)


def _identity(trial: Trial) -> tuple[object, ...]:
    return trial.source, trial.parameters, trial.replicate, trial.training, trial.split_seed


STEP_S = 0.25
MAX_STEPS = 8_000
MAX_STARTS = 30
MAX_FAILURES = 3
HERE = Worker(node="n", address="1.2.3.4", node_id="a", process=1, actor_id="b", gpu="")


class NodeLostError(Exception):
    """A node ran out of memory and took Tune with it."""


@dataclass(frozen=True, kw_only=True)
class Faults:
    """How many kills and interrupts happen; the others are probabilities."""

    kills: int = 0
    interrupts: int = 0
    lost_node: float = 0.0
    """Per step."""
    lost_worker: float = 0.0
    """Per step of a trial, before it has started or later."""
    hangs: float = 0.0
    """Per trial, that one of its steps does not end."""


@dataclass(frozen=True)
class Script:
    """The evaluations and the ending of a training, the same each time it runs."""

    evaluations: tuple[Evaluation, ...]
    ending: Ending


@dataclass
class Clock:
    """Seconds since the start of the search."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Queued:
    """A trial that Tune runs, or that waits for a worker."""

    trial: Trial
    flag: str
    script: Script
    position: int | None = None
    """Evaluations up to its checkpoint; None: it waits for a worker."""
    hangs_at: int | None = None


@dataclass
class SimulatedTune:
    """One experiment: a fake of Tune as the driver meets it."""

    driver: Driver
    disk: Disk
    num_workers: int
    clock: Clock
    flags: Collection[str]
    faults: Faults
    chance: random.Random
    script: Callable[[Trial], Script]
    interrupt_at: float
    """Seconds."""
    is_interrupted: bool = False
    _queue: list[Queued] = field(default_factory=list, init=False)
    _has_more: bool = field(default=True, init=False)
    """Whether the driver may have more trials; after `NoTrial.DONE` it is not asked again."""

    def fit(self) -> None:
        """Run the driver's trials until it has finished, or none is left."""
        for _ in range(MAX_STEPS):
            if self.driver.is_finished or not (self._has_more or self._queue):
                return
            self._step()
        running = [trial.trial_id for trial in self.driver.policy.store if trial.is_running]
        raise AssertionError(f"hangs in {self.driver.policy.phase} with {running}")

    def _step(self) -> None:
        self.clock.now += STEP_S
        if self.clock.now >= self.interrupt_at and not self.is_interrupted:
            self.is_interrupted = True
            self.driver.interrupt()
        self.driver.idle()
        if self._has_more:
            self._ask()
        if self._queue and self._happens(self.faults.lost_node):
            raise NodeLostError
        for queued in list(self._queue):
            if not self.driver.is_finished:
                self._run(queued)

    def _ask(self) -> None:
        answer = self.driver.next_trial()
        self._has_more = answer is not NoTrial.DONE
        if isinstance(answer, NoTrial):
            return
        trial_id = answer[TRIAL_ID]
        assert trial_id not in {queued.trial.trial_id for queued in self._queue}, "started twice"
        trial = self.driver.policy.store[trial_id]
        assert not self.disk.is_finished(trial_id), f"{trial_id} is trained again"
        self._queue.append(Queued(trial, answer["flag"], self.script(trial)))

    def _run(self, queued: Queued) -> None:
        if queued.position is None:
            self._assign_worker(queued)
        elif queued.position == queued.hangs_at:
            return
        elif queued.flag in self.flags:
            self._end(queued, Ending(status=Status.RUNNING))
        elif self._happens(self.faults.lost_worker):
            queued.position = self._checkpoint(queued)
        elif self._happens(0.6):  # workers are not equally fast
            self._train(queued, queued.position)

    def _assign_worker(self, queued: Queued) -> None:
        if sum(one.position is not None for one in self._queue) >= self.num_workers:
            return
        if self._happens(self.faults.lost_worker):
            self._lose_before_start(queued)
            return
        queued.position = self._checkpoint(queued)
        if self._happens(self.faults.hangs):
            queued.hangs_at = self.chance.randint(queued.position, len(queued.script.evaluations))
        self.driver.placed(queued.trial.trial_id, HERE)

    def _lose_before_start(self, queued: Queued) -> None:
        if self.driver.lost_before_start(queued.trial.trial_id, max_restarts=MAX_FAILURES):
            self._queue.remove(queued)
        else:
            self._end(queued, Ending(status=Status.FAILED, error="its worker was lost"))

    def _train(self, queued: Queued, position: int) -> None:
        evaluations = queued.script.evaluations
        if position == len(evaluations):
            self._end(queued, queued.script.ending)
            return
        queued.position = position + 1
        if not self.driver.reported(queued.trial.trial_id, evaluations[position]):
            self._queue.remove(queued)
            self._report_return(queued)

    def _end(self, queued: Queued, ending: Ending) -> None:
        self._queue.remove(queued)
        self.driver.ended(queued.trial.trial_id, ending)
        self._report_return(queued)

    def _report_return(self, queued: Queued) -> None:
        """Report the end again, as Tune does for every trial when its function has returned."""
        self.driver.ended(
            queued.trial.trial_id, Ending(status=Status.FAILED, error="it ended without a report")
        )

    def _checkpoint(self, queued: Queued) -> int:
        return self.chance.randint(0, len(queued.trial.evaluations))

    def _happens(self, chance: float) -> bool:
        return self.chance.random() < chance


@dataclass(kw_only=True)
class SimulatedSearch:
    """A search that is started again after each kill and interrupt, as with `--resume`."""

    configuration: Configuration
    plan: EvaluationPlan
    num_rows: int
    num_workers: int
    script: Callable[[Trial], Script]
    faults: Faults
    chance: random.Random
    known: Sequence[Trial] = ()
    """Trials that had ended before."""
    num_starts: int = 0
    num_experiments: int = 0
    seconds: float = 0.0
    """Duration of the last start."""

    def run(self) -> Policy:
        """Run the search to its end; return the policy of the last start."""
        disk, kills, interrupts = Disk(self.chance), self.faults.kills, self.faults.interrupts
        disk.hold(self.known)
        while self.num_starts < MAX_STARTS:
            self.num_starts += 1
            policy = self._policy(disk)
            disk.events_left = self.chance.randint(1, 150) if kills else None
            interrupt_at = self.chance.uniform(1, 80) if interrupts else float("inf")
            try:
                if self._start(policy, disk, interrupt_at):
                    return policy
                interrupts -= 1
            except KilledError:
                kills -= 1
        raise AssertionError("it starts again and again")

    def _policy(self, disk: Disk) -> Policy:
        disk.store = disk.recall()
        return make_policy(
            self.configuration,
            self.plan,
            num_rows=self.num_rows,
            validation_labels=np.arange(self.num_rows // 4) % 4,
            store=disk.store,
            last_evaluated=disk.last_evaluated,
        )

    def _start(self, policy: Policy, disk: Disk, interrupt_at: float) -> bool:
        """Run one process of the search; return whether it reached the end."""
        clock, flags = Clock(), set[str]()
        driver = Driver(
            policy=policy,
            observers=[disk],
            capacity=lambda: self.num_workers,
            halt=flags.add,
            outer_error=lambda: None,
            memory_limits={},
            clock=clock,
        )
        experiment = SimulatedTune(
            driver=driver,
            disk=disk,
            num_workers=self.num_workers,
            clock=clock,
            flags=flags,
            faults=self.faults,
            chance=self.chance,
            script=self.script,
            interrupt_at=interrupt_at,
        )
        is_whole = self._fit(experiment)
        self.seconds = clock.now
        return is_whole

    def _fit(self, experiment: SimulatedTune) -> bool:
        """Run experiments until no more is needed; return whether none was interrupted."""
        is_needed = True
        while is_needed and not experiment.is_interrupted:
            assert self.num_experiments < MAX_STARTS * 2, "one experiment after the other"
            experiment = replace(experiment)
            self.num_experiments += 1
            experiment.driver.start_experiment()
            try:
                experiment.fit()
                is_needed = experiment.driver.policy.needs_workers
            except NodeLostError:
                continue
        return not experiment.is_interrupted
