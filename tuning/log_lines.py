"""The lines that a search writes to its terminal and `logs/search.log`, from start to end."""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from cluster.resources import describe_cluster, num_slots
from results.live_view import display
from results.log import DETAIL, log_to_file
from results.overview import WatchedRun
from results.run import Run
from results.status_text import next_step
from results.trial_states import SearchStatus, Source, Status, StoppedBy
from results.verdict_lines import describe_search_result
from training.data import DataSummary
from training.schedule import schedule_of
from tuning.errors import SearchInterruptedError
from tuning.observers import Observer
from tuning.preparation import Preparation
from tuning.rungs import (
    EvaluationPlan,
    RungScores,
    describe_absent_rungs,
    is_judged_at,
)
from tuning.signals import StopSignal
from tuning.trials import Phase, Trial
from tuning.worker_pool import Connection
from tuning.workers import Worker

logger = logging.getLogger(__name__)


def log_start(run: Run, preparation: Preparation, connection: Connection) -> None:
    """Open the run's log and write which data are searched and where trials run."""
    log_to_file(run.log)
    logger.info("run %s", run.directory)
    for line in describe_data(preparation):
        logger.info("%s", line)
    if absent := describe_absent_rungs(preparation.configuration, preparation.plan):
        logger.info("rungs: %s", absent)
    if connection.dashboard:
        logger.info("Ray dashboard: http://%s", connection.dashboard)
    slots = num_slots(connection.resources)
    logger.info("%s, %d trials at once", describe_cluster(), slots)
    if not slots:
        logger.warning("no node of the cluster can run a trial at the moment; waiting for one")


def describe_data(preparation: Preparation) -> Iterator[str]:
    """Describe rows, splits, label noise, tokens and model, a line each."""
    summary = preparation.data.summary
    dropped = [f"{count:,} {reason}" for reason, count in summary.dropped.items() if count]
    yield (
        f"data {summary.path} ({summary.format}): {summary.kept:,} of {summary.rows:,} rows kept"
        + (f"; dropped: {', '.join(dropped)}" if dropped else "")
    )
    yield from summary.notes
    parts = (f"{name} {sum(n.values()):,}" for name, n in summary.class_counts.items())
    similar = (
        f"{summary.duplicate_groups:,} groups of similar texts, each kept in one split"
        if summary.duplicate_groups
        else "no two texts are similar"
    )
    yield f"split: {', '.join(parts)}; {similar}"
    yield from describe_special_rows(summary)
    if summary.label_noise is not None:
        yield (
            f"label noise: {summary.label_noise:.1%} of the texts that occur more than once have"
            " conflicting labels"
        )
    for name, encoder in preparation.encoders.items():
        statistics = encoder.statistics
        of_model = f" of {name}" if len(preparation.encoders) > 1 else ""
        yield (
            f"tokens{of_model}: {statistics.unknown_share:.2%} unknown,"
            f" {statistics.tokens_per_word:.2f} per word, {statistics.truncated_share:.2%} of the"
            " rows truncated"
        )
    yield (
        f"model: checked in {preparation.seconds_of_checks:.1f} s; its outputs agree for a row"
        " alone, padded and at full length"
    )
    yield from preparation.notes


def describe_special_rows(summary: DataSummary) -> Iterator[str]:
    """Describe repeated test rows, and rows that the starting model was trained on."""
    if summary.repeated_test_rows:
        yield (
            f"test: {summary.repeated_test_rows:,} rows repeat the text of another row; all are"
            " kept, since the file fixes the test split"
        )
    if summary.rows_seen is not None:
        yield (
            f"starting model: it was trained on {summary.rows_seen['train']:,} of the training"
            f" rows, {summary.rows_seen['validation']:,} of the validation rows and"
            f" {summary.rows_seen['test']:,} of the test rows"
        )


class LogLines(Observer):
    """Writes a line when a trial starts, is promoted, is stopped or ends."""

    def __init__(
        self, *, score_label: str, plan: EvaluationPlan, num_rows: int, with_nodes: bool
    ) -> None:
        """Set what the lines need to know.

        Args:
            score_label: name of the score, for people.
            plan: the rungs and the full budget.
            num_rows: training rows per epoch.
            with_nodes: whether to write which node runs a trial; one machine needs no such line.
        """
        self._score_label = score_label
        self._plan = plan
        self._num_rows = num_rows
        self._with_nodes = with_nodes

    def started(self, trial: Trial) -> None:
        """Write that a trial started or was resumed, and all of its hyperparameters."""
        name = trial.trial_id
        if trial.evaluations:
            epochs = trial.evaluations[-1].epoch
            logger.info("trial %s resumed after %.2f epochs", name, epochs)
        else:
            logger.info("trial %s started: %s", name, describe_parameters(trial), extra=DETAIL)
        others = trial.training.model_dump(exclude=set(trial.parameters))
        logger.debug("trial %s: hyperparameters that are not searched: %s", name, others)

    def placed(self, trial: Trial, worker: Worker) -> None:
        """Write which node runs the trial."""
        if self._with_nodes:
            where = (trial.trial_id, worker.node, worker.address)
            logger.info("trial %s runs on node %s (%s)", *where, extra=DETAIL)

    def evaluated(self, trial: Trial) -> None:
        """Write each rung that the trial passed; the policy has judged it already."""
        if trial.is_never_stopped or not trial.is_running:
            return
        schedule = schedule_of(trial.training, self._num_rows)
        for number in self._rungs_reached(trial):
            line = "trial %s promoted at rung %d of %d"
            if not is_judged_at(self._plan.rungs[number - 1], trial.training, schedule):
                line = "trial %s continues, not judged at rung %d of %d: its warm-up ended too late"
            where = (trial.trial_id, number, len(self._plan.rungs))
            logger.info(line, *where, extra=DETAIL)

    def ended(self, trial: Trial) -> None:
        """Write how the trial ended."""
        level = logging.WARNING if trial.status == Status.FAILED else logging.INFO
        logger.log(level, "trial %s %s", trial.trial_id, self._describe_end(trial), extra=DETAIL)

    def _describe_end(self, trial: Trial) -> str:
        if trial.status == Status.FAILED or trial.error:
            return f"{trial.status}: {trial.error}"
        if not trial.evaluations:
            return f"{self._describe_stop(trial)}: no evaluation"
        last = trial.evaluations[-1]
        return (
            f"{self._describe_stop(trial)}: {self._describe_score(trial)}, {last.epoch:.2f} epochs,"
            f" {last.seconds:.0f} s"
        )

    def _describe_score(self, trial: Trial) -> str:
        """Describe the last score; of a trial that ended at the last rung, its score there."""
        last = trial.evaluations[-1]
        if trial.stopped_by == StoppedBy.CONFIRMATION:
            scores = RungScores(plan=self._plan, num_rows=self._num_rows)
            if (score := scores.score(trial, self._plan.end)) is not None:
                return f"{self._score_label} {score:.4f} (mean of the last two evaluations)"
        if not math.isfinite(last.eval_loss):
            return "no score"
        return f"{self._score_label} {last.score:.4f}"

    def _describe_stop(self, trial: Trial) -> str:
        if trial.stopped_by == StoppedBy.SCHEDULER and (rungs := self._rungs_reached(trial)):
            return f"stopped early at rung {rungs[-1]} of {len(self._plan.rungs)}"
        if trial.stopped_by == StoppedBy.PATIENCE:
            return "stopped early for lack of improvement"
        if trial.stopped_by == StoppedBy.CONFIRMATION:
            return "ended at the last rung"
        if trial.stopped_by == StoppedBy.END_OF_SEARCH and trial.is_confirmation:
            return "stopped, since its score is not needed or the time is up"
        if trial.stopped_by == StoppedBy.END_OF_SEARCH:
            return "stopped at the end of the search"
        return str(trial.status)

    def _rungs_reached(self, trial: Trial) -> list[int]:
        """Return the numbers, from 1, of the rungs that the last evaluation reached."""
        before = trial.evaluations[-2].examples if len(trial.evaluations) > 1 else 0
        reached = self._plan.rungs_between(before, trial.examples)
        return [self._plan.rungs.index(rung) + 1 for rung in reached]


def describe_parameters(trial: Trial) -> str:
    """Describe the searched values of a trial in one line, with the replicate it confirms on."""
    values = trial.searched_values
    if trial.source == Source.CONFIRM:
        return f"{values} (replicate {trial.replicate})"
    return values + (" (the default)" if trial.source == Source.DEFAULT else "")


def log_signals(run: Run, stop: StopSignal, *, write: Callable[[], None]) -> None:
    """Write how to resume the search once a signal has been received.

    Args:
        run: the run that is interrupted.
        stop: the signal.
        write: writes the run's files where something hangs and the process ends without waiting.
    """

    def received() -> None:  # at once: a batch system may end Ray, and the driver with it
        interrupted = SearchInterruptedError(run.directory, stop.exit_code)
        logger.info("trials write their checkpoints; resume by: %s", interrupted.resume_command)

    def overdue() -> None:
        interrupted = SearchInterruptedError(run.directory, stop.exit_code)
        write()
        print(f"{interrupted} Next: {interrupted.resume_command}", flush=True)

    stop.call_in_thread(on_received=received, on_overdue=overdue)


def log_next_step(run: Run, status: str) -> None:
    """Write the next step of a search that failed; the error itself follows as the last line."""
    logger.info("Next: %s", next_step(run, {"status": status}, is_alive=False))


def log_result(run: Run) -> None:
    """Write what a completed search found, its outcome in one sentence first."""
    for line in describe_search_result(run, run.read_whole_record()):
        logger.info("%s", line)
    logger.info("report %s", run.report)


class TerminalView(Observer):
    """Displays the search on the terminal while it runs; it reads the run's files."""

    def __init__(self, run: Run) -> None:
        """Set the run; the display starts with the first phase."""
        self._watched = WatchedRun(run=run)
        self._view = ExitStack()
        self._is_displayed = False

    def phase_changed(self, phase: Phase) -> None:
        """Start the display at the first phase."""
        if not self._is_displayed:
            self._is_displayed = True
            self._view.enter_context(display(self._watched.read))

    def closed(self, status: SearchStatus) -> None:
        """End the display; its last state stays on the terminal."""
        self._view.close()
