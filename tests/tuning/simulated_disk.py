"""A fake of the disk that a search writes to, whose process may be killed at each write."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from results.trial_states import SearchStatus, Status, StoppedBy
from training.metrics import Evaluation
from tuning.observers import Observer
from tuning.trials import Phase, Trial, TrialStore
from tuning.workers import Worker


class KilledError(BaseException):
    """The driver's process was killed; nothing catches this."""


@dataclass
class Disk(Observer):
    """Keeps what the files of a run keep; the process may be killed before or after each write."""

    chance: random.Random
    rows: dict[str, Trial] = field(default_factory=dict)
    curves: list[tuple[str, Evaluation]] = field(default_factory=list)
    store: TrialStore = field(default_factory=TrialStore)
    """Of the process that writes."""
    events_left: int | None = None
    """Until the process is killed; None: it is not."""

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

    def recall(self) -> TrialStore:
        """The trials as a resume reads them."""
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
        """Whether a trial was written as one that no start touches again."""
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
