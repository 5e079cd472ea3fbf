"""Writes what happens to the run's files, TensorBoard and the log, as it happens."""

import logging
import math
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from results.log import DETAIL
from results.report.page import write_report
from results.run import Run
from training.saving import is_due
from tuning.board import Board
from tuning.config import Configuration
from tuning.confirmation import Confirmation
from tuning.edge import at_edge
from tuning.progress import Progress
from tuning.record import (
    choose,
    count_examples,
    count_trials,
    describe_candidate,
    describe_confirmation,
    fixed_rows_losses,
)
from tuning.trials import Trial, evaluation_row
from tuning.workers import Worker

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_WRITES = 5.0
"""After evaluations, which come many a second where models are small."""

_SHARE_OF_TIME = 0.05
"""Most of the time that goes into the files that are written whole: they grow with the trials."""


@dataclass(kw_only=True)
class Recorder:
    """Keeps the files of a run at what is known; all numbers in them were measured."""

    run: Run
    configuration: Configuration
    facts: dict[str, Any]
    """What is known from the start: command, repeatable, data, environment."""
    requested: int
    trials: list[Trial] = field(default_factory=list)
    """Of search and confirmation, in order of creation."""
    confirmation: Confirmation | None = None
    rows_at_once: dict[str, int] = field(default_factory=dict)
    """By kind of device, where memory ran out: most rows a pass of the model holds."""
    progress: Progress | None = None
    """What is measured of this start; None where nothing runs."""
    status: str = "running"
    started_at: str = field(default_factory=lambda: now())
    seconds_before: float = 0.0
    """Spent by earlier starts of the same search."""
    _began: float = field(default_factory=time.monotonic)
    _written: float = float("-inf")
    _write_s: float = 0.0
    """Seconds that the last write took."""
    _has_changes: bool = False
    """Whether a trial has begun or ended since."""
    _board: Board = field(init=False)

    def __post_init__(self) -> None:
        """Open no file yet."""
        self._board = Board(directory=self.run.tensorboard, configuration=self.configuration)

    def evaluated(self, trial: Trial) -> None:
        """Take the last evaluation of a trial."""
        evaluation = trial.evaluations[-1]
        self.run.append_evaluation(evaluation_row(trial.trial_id, evaluation))
        self._board.evaluated(trial)
        if self.progress:
            self.progress.evaluated(trial)
        if time.monotonic() >= self._written + _SECONDS_BETWEEN_WRITES:
            self.write()

    def placed(self, trial: Trial, worker: Worker, *, is_told: bool) -> None:
        """Take where a trial begins, or goes on.

        Args:
            trial: which one.
            worker: its process.
            is_told: whether the log says it, too: on one machine it says nothing.
        """
        row = {"trial_id": trial.trial_id, "at": now(), **asdict(worker)}
        self.run.append_worker(row)
        if self.progress:
            self.progress.placed(trial)
        if is_told:
            where = (trial.trial_id, worker.node, worker.address)
            logger.info("%s runs on %s (%s)", *where, extra=DETAIL)

    def changed(self, trial: Trial) -> None:
        """Take the beginning or the end of a trial."""
        if not any(known is trial for known in reversed(self.trials)):
            self.trials.append(trial)
            self.trials.sort(key=lambda t: int(t.trial_id[1:]))
        if trial.status == "running":
            self._board.begun(trial)
            _say_beginning(trial)
        else:
            self._board.ended(trial)
            level = logging.WARNING if trial.status == "failed" else logging.INFO
            logger.log(level, "%s", _describe_end(trial), extra=DETAIL)
        if self.progress:
            took = self.progress.began if trial.status == "running" else self.progress.ended
            took(trial)
        self.run.append_trial(self._searched, trial.row())
        self._has_changes = True
        self.catch_up()

    def catch_up(self) -> None:
        """Write what is written whole, if it has changed and that is cheap; called often."""
        since = time.monotonic() - self._written
        if self._has_changes and is_due(
            since_s=since, last_write_s=self._write_s, share=_SHARE_OF_TIME
        ):
            self.write()

    def write(self) -> None:
        """Bring `trials.csv` and `search.json` up to what is known."""
        began = time.monotonic()
        self.run.write_trials(self._searched, map(Trial.row, self.trials))
        self.run.write_record(self.record())
        self._written = time.monotonic()
        self._write_s, self._has_changes = self._written - began, False

    @property
    def _searched(self) -> tuple[str, ...]:
        return tuple(self.configuration.search.space)

    def finish(self, status: str) -> None:
        """Write the final state, completed, interrupted or aborted, and the report."""
        self.status = status
        self._board.close()
        self.write()
        write_report(self.run, self.run.read_record())

    def record(self) -> dict[str, Any]:
        """Content of `search.json`."""
        best = choose(self.trials, self.confirmation)
        scores = self.confirmation.scores() if self.confirmation else []
        default = next((t.parameters for t in self.trials if t.source == "default"), None)
        running = self.status == "running"
        return {
            "status": self.status,
            "started_at": self.started_at,
            "finished_at": None if running else now(),
            "seconds": round(self.seconds_before + time.monotonic() - self._began, 3),
            **self.facts,
            "rows_at_once": self.rows_at_once,
            "progress": self.progress.record(self.trials) if running and self.progress else None,
            "trials": count_trials(self.trials, self.requested),
            "examples_trained": count_examples(self.trials),
            "best": best
            and {
                **describe_candidate(self.trials, best, scores),
                "fixed_rows_loss": fixed_rows_losses(self.trials, best),
                "at_edge": at_edge(
                    self.configuration.search.space,
                    self.configuration.training,
                    best,
                    num_rows=sum(self.facts["data"]["class_counts"]["train"].values()),
                ),
            },
            "default": default and describe_candidate(self.trials, default, scores),
            "confirmation": self.confirmation and describe_confirmation(self.confirmation),
        }


def now() -> str:
    """The time in UTC, ISO 8601, seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def describe_parameters(trial: Trial) -> str:
    """The searched values of a trial in one line; a confirmation says its replicate."""
    values = ", ".join(f"{name} {value:.4g}" for name, value in trial.parameters.items())
    kind = {"default": " (the default)", "search": "", "confirm": f" (replicate {trial.replicate})"}
    return values + kind[trial.source]


def _say_beginning(trial: Trial) -> None:
    name, further = trial.trial_id, trial.training.model_dump(exclude=set(trial.parameters))
    if trial.evaluations:
        logger.info("%s goes on after %.2f epochs", name, trial.evaluations[-1].epoch)
    else:
        logger.info("%s begins: %s", name, describe_parameters(trial), extra=DETAIL)
    logger.debug("%s further hyperparameters: %s", name, further)


def _describe_end(trial: Trial) -> str:
    if not trial.evaluations or trial.status == "failed":
        return f"{trial.trial_id} {trial.status}: {trial.error}"
    last = trial.evaluations[-1]
    score = f"{last.f1_macro:.4f}" if math.isfinite(last.eval_loss) else "no score"
    why = f" by the {trial.stopped_by}" if trial.stopped_by in ("scheduler", "patience") else ""
    return (
        f"{trial.trial_id} {trial.status}{why} after {last.epoch:.2f} epochs,"
        f" macro-F1 {score}, {last.seconds:.0f} s"
    )
