"""What the log of a search says of its trials."""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from cluster.resources import describe_cluster, num_slots
from results.live_view import shown
from results.log import DETAIL, log_to_file
from results.overview import Watched
from results.run import Run
from results.status_text import next_step
from results.trial_states import SearchStatus, Source, Status, StoppedBy
from results.verdict import describe_result
from training.data import DataSummary
from tuning.errors import SearchInterruptedError
from tuning.observers import Observer
from tuning.preparation import Preparation
from tuning.signals import StopSignal
from tuning.trials import Phase, Trial
from tuning.worker_pool import Connection
from tuning.workers import Worker

logger = logging.getLogger(__name__)

_TOLD = (StoppedBy.SCHEDULER, StoppedBy.PATIENCE)


class LogLines(Observer):
    """Writes a line a start and an end of a trial."""

    def __init__(self, label: str, *, tells_places: bool) -> None:
        """Take how to speak.

        Args:
            label: of the objective.
            tells_places: whether it says where trials run: on one machine there is nothing to say.
        """
        self._label = label
        self._tells_places = tells_places

    def started(self, trial: Trial) -> None:
        """Say that it starts, or continues."""
        name = trial.trial_id
        if trial.evaluations:
            logger.info("%s goes on after %.2f epochs", name, trial.evaluations[-1].epoch)
        else:
            logger.info("%s begins: %s", name, describe_parameters(trial), extra=DETAIL)
        further = trial.training.model_dump(exclude=set(trial.parameters))
        logger.debug("%s further hyperparameters: %s", name, further)

    def placed(self, trial: Trial, worker: Worker) -> None:
        """Say where it runs."""
        if self._tells_places:
            where = (trial.trial_id, worker.node, worker.address)
            logger.info("%s runs on %s (%s)", *where, extra=DETAIL)

    def ended(self, trial: Trial) -> None:
        """Say how it ended."""
        level = logging.WARNING if trial.status == Status.FAILED else logging.INFO
        logger.log(level, "%s", self._describe_end(trial), extra=DETAIL)

    def _describe_end(self, trial: Trial) -> str:
        if not trial.evaluations or trial.status == Status.FAILED:
            return f"{trial.trial_id} {trial.status}: {trial.error}"
        last = trial.evaluations[-1]
        score = f"{last.score:.4f}" if math.isfinite(last.eval_loss) else "no score"
        why = f" by the {trial.stopped_by}" if trial.stopped_by in _TOLD else ""
        return (
            f"{trial.trial_id} {trial.status}{why} after {last.epoch:.2f} epochs,"
            f" {self._label} {score}, {last.seconds:.0f} s"
        )


def describe_parameters(trial: Trial) -> str:
    """The searched values of a trial in one line; a confirmation says its replicate."""
    values = ", ".join(f"{name} {value:.4g}" for name, value in trial.parameters.items())
    if trial.source == Source.CONFIRM:
        return f"{values} (replicate {trial.replicate})"
    return values + (" (the default)" if trial.source == Source.DEFAULT else "")


def describe_special_rows(summary: DataSummary) -> Iterator[str]:
    """Test rows that repeat a text, and rows that the starting model was trained on."""
    if summary.repeated_test_rows:
        yield (
            f"test: {summary.repeated_test_rows:,} rows repeat the text of another; the file fixes"
            " the test, so all stay"
        )
    if summary.rows_seen is not None:
        yield (
            f"starting model: it was trained on {summary.rows_seen['train']:,} of the train rows,"
            f" {summary.rows_seen['validation']:,} of validation, {summary.rows_seen['test']:,} of"
            " the test"
        )


def describe_data(preparation: Preparation) -> Iterator[str]:
    """Rows kept and dropped, special rows, label noise, tokens, the model."""
    summary, statistics = preparation.data.summary, preparation.statistics
    dropped = [f"{count:,} {reason}" for reason, count in summary.dropped.items() if count]
    yield (
        f"data {summary.path} ({summary.format}): {summary.kept:,} of {summary.rows:,} rows kept"
        + (f"; dropped: {', '.join(dropped)}" if dropped else "")
    )
    yield from summary.notes
    parts = (f"{name} {sum(n.values()):,}" for name, n in summary.class_counts.items())
    yield f"split: {', '.join(parts)}; {summary.duplicate_groups:,} groups of like texts kept whole"
    yield from describe_special_rows(summary)
    if summary.label_noise is not None:
        yield (
            f"label noise: {summary.label_noise:.1%} of the texts that stand more than once have"
            " labels that disagree"
        )
    yield (
        f"tokens: {statistics.unknown_share:.2%} unknown, {statistics.tokens_per_word:.2f} pieces"
        f" a word, {statistics.truncated_share:.2%} of the rows truncated"
    )
    yield (
        f"model: tried in {preparation.seconds_of_checks:.1f} s, answers alike alone, padded and at"
        " full length"
    )
    if note := preparation.search_data.encoder.note:
        yield note


def announce_start(run: Run, preparation: Preparation, connection: Connection) -> None:
    """Open the run's log, and say what is searched where."""
    log_to_file(run.log)
    logger.info("run %s", run.directory)
    for line in describe_data(preparation):
        logger.info("%s", line)
    if connection.dashboard:
        logger.info("Ray dashboard http://%s", connection.dashboard)
    slots = num_slots(connection.resources)
    logger.info("%s, %d trials at once", describe_cluster(), slots)
    if not slots:
        logger.warning("no node of the cluster holds a trial at the moment; waiting for one")


def announce_next(run: Run, status: str) -> None:
    """Say what to do next, before the error, which is told last."""
    logger.info("Next: %s", next_step(run, {"status": status}, lives=False))


def announce_stops(run: Run, stop: StopSignal, *, write: Callable[[], None]) -> None:
    """Say how the search continues once a signal has come.

    Args:
        run: that is interrupted.
        stop: the signal.
        write: writes what is known; called where the process ends although something hangs.
    """

    def received() -> None:  # at once: a batch system may end Ray, and the driver with it
        interrupted = SearchInterruptedError(run.directory, stop.exit_code)
        logger.info("trials write their checkpoints; %s", interrupted.resume_command + " goes on")

    def overdue() -> None:
        interrupted = SearchInterruptedError(run.directory, stop.exit_code)
        write()
        print(f"{interrupted} Next: {interrupted.resume_command}", flush=True)

    stop.tell(received=received, overdue=overdue)


def announce_end(run: Run) -> None:
    """Say how a completed search ended."""
    for line in describe_result(run.read_whole_record()):
        logger.info("%s", line)
    logger.info("report %s", run.report)


class TerminalView(Observer):
    """Shows the search from its first moment to its end; it reads the run's files."""

    def __init__(self, run: Run) -> None:
        """Take the run; nothing is shown yet."""
        self._watched = Watched(run=run)
        self._view = ExitStack()
        self._is_shown = False

    def phase_changed(self, phase: Phase) -> None:
        """Show it, the first time."""
        if not self._is_shown:
            self._is_shown = True
            self._view.enter_context(shown(self._watched.look))

    def closed(self, status: SearchStatus) -> None:
        """Leave what was shown last."""
        self._view.close()
