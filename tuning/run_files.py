"""Keep `trials.csv`, `curves.csv`, `search.json` and the report of a run up to date."""

import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from results.files import write_text
from results.micro_batch_limits import Limits, limits_record
from results.report.page import PeriodicReport, write_report
from results.run import Run
from results.trial_states import SearchStatus
from training.checkpoint import is_due
from training.options import to_yaml
from tuning.config import Configuration, objective_of
from tuning.encoder_record import describe_encoders
from tuning.forecast import Progress
from tuning.observers import Observer
from tuning.planned import PlannedAndTaken
from tuning.policy import Policy
from tuning.record import (
    count_examples,
    count_trials,
    describe_candidate,
    describe_confirmation,
    describe_winner,
    parameters_of_default,
    winning_configuration,
)
from tuning.trials import Trial, evaluation_row
from tuning.warm_start import with_trials
from tuning.workers import Worker

_SECONDS_BETWEEN_WRITES = 5.0
"""Seconds between writes after evaluations; small models are evaluated many times a second."""

_SHARE_OF_TIME = 0.05
"""Largest share of the time that is spent on rewriting the files, which grow with the trials."""


class RunFiles(Observer):
    """Writes the files of a run after each event; all numbers in them are measured."""

    def __init__(
        self,
        run: Run,
        *,
        configuration: Configuration,
        policy: Policy,
        facts: dict[str, Any],
        memory_limits: Limits,
        baseline: dict[str, Any] | None = None,
        progress: Progress | None = None,
        planned: PlannedAndTaken | None = None,
        started_at: str | None = None,
        seconds_before: float = 0.0,
    ) -> None:
        """Set what the files are made from; nothing is written yet.

        Args:
            run: the run.
            configuration: the configuration of the search.
            policy: the policy, whose trials and confirmation are written.
            facts: the part of the record that is known from the start, as `describe_facts`.
            memory_limits: micro-batch size in rows by encoder and kind of device, where memory
                ran out.
            baseline: its scores, as `baseline_record`, from an earlier start; None: not measured.
            progress: measurements of this start; None where no trial runs.
            planned: what this start was planned to take, and took; None where no trial runs.
            started_at: start of the search, ISO 8601; None: now.
            seconds_before: seconds spent by earlier starts of the search.
        """
        self.run = run
        self._configuration = configuration
        self._policy = policy
        self._facts = facts
        self._memory_limits = memory_limits
        self._baseline = baseline
        self._progress = progress
        self._planned = planned
        self._started_at = started_at or now()
        self._seconds_before = seconds_before
        self._status = SearchStatus.RUNNING
        self._started = time.monotonic()
        self._report = PeriodicReport(run)
        self._written = float("-inf")
        self._write_s = 0.0  # duration of the last write
        self._has_changes = False  # since a trial started or finished

    def started(self, trial: Trial) -> None:
        """Write the row of the trial."""
        self._changed(trial)

    def placed(self, trial: Trial, worker: Worker) -> None:
        """Write the process that the trial runs in."""
        self.run.append_worker({"trial_id": trial.trial_id, "at": now(), **asdict(worker)})

    def evaluated(self, trial: Trial) -> None:
        """Write the last evaluation of the trial."""
        self.run.append_evaluation(evaluation_row(trial.trial_id, trial.evaluations[-1]))
        if time.monotonic() >= self._written + _SECONDS_BETWEEN_WRITES:
            self.write()

    def ended(self, trial: Trial) -> None:
        """Write the final row of the trial."""
        self._changed(trial)

    def idle(self) -> None:
        """Rewrite the files if a trial has changed and rewriting is cheap at the moment."""
        since = time.monotonic() - self._written
        if self._has_changes and is_due(
            since_s=since, last_write_s=self._write_s, share=_SHARE_OF_TIME
        ):
            self.write()

    def closed(self, status: SearchStatus) -> None:
        """Write the winner of a completed search, the final record and the report."""
        self._status = status
        record = self.record()
        # The winner is written before the record, so that every completed run has one.
        if status == SearchStatus.COMPLETED:
            best = winning_configuration(self._configuration, record["best"]["parameters"])
            write_text(self.run.best, to_yaml(best))
        self.write()
        write_report(self.run, self.run.read_record())

    def add_baseline(self, baseline: dict[str, Any]) -> None:
        """Add the scores of the baseline, as `baseline_record`, to the record."""
        self._baseline = baseline
        self._has_changes = True
        self.idle()

    def write(self) -> None:
        """Rewrite `trials.csv` and `search.json`."""
        started = time.monotonic()
        self.run.write_trials(self._searched, map(Trial.row, self._policy.store))
        self.run.write_record(self.record())
        self._written = time.monotonic()
        self._write_s, self._has_changes = self._written - started, False

    def record(self) -> dict[str, Any]:
        """Return the content of `search.json`."""
        policy, is_running = self._policy, self._status == SearchStatus.RUNNING
        progress = self._progress.record() if is_running and self._progress else None
        return {
            "status": self._status.value,
            "started_at": self._started_at,
            "finished_at": None if is_running else now(),
            "seconds": round(self._seconds_before + time.monotonic() - self._started, 3),
            **self._facts,
            "warm_start": with_trials(self._facts.get("warm_start", ()), policy.store),
            "decision_rule": self._configuration.search.decision_rule,
            "objective": objective_of(self._configuration).as_record(),
            "rows_at_once": limits_record(
                self._memory_limits, is_searched=bool(self._configuration.search.encoders)
            ),
            "progress": progress,
            "planned": self._planned and self._planned.record(),
            "trials": count_trials(policy.store, policy.requested),
            "examples_trained": count_examples(policy.store),
            "baseline": self._baseline,
            "encoders": describe_encoders(policy, self._facts.get("encoders", ())),
            "best": self._best(),
            "default": self._default(),
            "confirmation": policy.confirmation and describe_confirmation(policy.confirmation),
        }

    def _best(self) -> dict[str, Any] | None:
        num_rows = sum(self._facts["data"]["class_counts"]["train"].values())
        return describe_winner(self._policy, num_rows=num_rows)

    def _default(self) -> dict[str, Any] | None:
        default = parameters_of_default(self._policy)
        return default and describe_candidate(self._policy, default)

    def _changed(self, trial: Trial) -> None:
        self.run.append_trial(self._searched, trial.row())
        self._has_changes = True
        self.idle()
        self._report.update()

    @property
    def _searched(self) -> tuple[str, ...]:
        return tuple(self._configuration.search.space)


def now() -> str:
    """Return the time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
