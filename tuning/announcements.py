"""What a search says at its start and its end, to the log and so to the terminal."""

import logging
from collections.abc import Callable

from cluster.resources import describe_cluster, num_slots
from results.log import log_to_file
from results.next_step import next_step
from results.run import Run
from results.verdict import describe_result
from tuning.connection import Connection
from tuning.endings import SearchInterruptedError
from tuning.preparation import Preparation
from tuning.signals import StopSignal
from tuning.summary import describe_data

logger = logging.getLogger(__name__)


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
