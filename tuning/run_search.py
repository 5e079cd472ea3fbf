"""Run a search from its configuration to its record; the command and the Python API call this."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

from results.log import DETAIL
from results.mirror import Mirror
from results.run import Run
from results.trial_states import SearchStatus
from training.errors import InputError
from tuning.assembly import Search, assemble
from tuning.checkpoints import Checkpoints
from tuning.checks import is_like_this_machine, num_slots_here, storage_of
from tuning.config import Configuration
from tuning.errors import SearchAbortedError, SearchInterruptedError
from tuning.initial_state import InitialState, prepare_state
from tuning.log_lines import log_next_step, log_result, log_signals, log_start
from tuning.observers import Observer
from tuning.ray_tune import Experiment, check_has_score
from tuning.rehearsal import Rehearsal, RehearsalProcess, rehearsal_process
from tuning.shipping_check import shipments_of, shipping_check
from tuning.signals import StopSignal, stop_signals
from tuning.worker_pool import connected, make_pool

logger = logging.getLogger(__name__)

Watchers = Callable[[Run], Sequence[Observer]]
"""Return further observers of a run."""


def run_search(
    configuration: Configuration,
    *,
    resume: Run | None = None,
    command: str = "",
    label: str = "",
    owns_data: bool = False,
    watchers: Watchers = lambda _: (),
    ends_process: bool = True,
) -> Run:
    """Search, confirm the winner, and write the run's files.

    Args:
        configuration: a configuration that `tuning.start.build` has checked.
        resume: the run to resume; None: a new run.
        command: the command, for the record.
        label: first part of a new run's name where the configuration gives no name.
        owns_data: whether a new run gets the file of `data.path` as its `data.parquet`.
        watchers: return the observers to add for a run.
        ends_process: whether a second Ctrl-C, or a hang after the first, ends the whole process.

    Raises:
        InputError: resources, data, model or a warm-up are not usable.
        RunError: the run's directory cannot be made or read.
        ClusterError: Ray cannot be reached.
        SearchAbortedError: the trials fail with the same error, or none has a score.
        SearchInterruptedError: a signal ended the search; it holds the exit code.
    """
    started = time.monotonic()
    with ExitStack() as stack:
        rehearsing = stack.enter_context(rehearsal_process())  # it loads libraries meanwhile
        initial, baseline = prepare_state(stack, configuration, resume, label, owns_data=owns_data)
        configuration = initial.configuration
        rehearsal = _rehearse(rehearsing, initial)
        shipping = stack.enter_context(shipping_check())  # its process loads libraries meanwhile
        # The run is made last, so that a refused search leaves no directory behind.
        until_disconnected = stack.enter_context(ExitStack())
        metadata = {"run": initial.name, "command": command}
        connection = until_disconnected.enter_context(
            connected(configuration, metadata, initial.preparation.models_to_build)
        )
        # After Ray, which sets handlers of its own.
        stop = stack.enter_context(stop_signals(ends_process=ends_process))
        run = initial.make_run()
        if resume is None:
            stack.enter_context(run.lock())
        storage, mirror_errors = storage_of(configuration), list[OSError]()
        checkpoints = Checkpoints(
            run=run.directory, storage=storage and storage.child(run.directory.name)
        )
        pool = make_pool(
            configuration,
            initial.preparation.search_data,
            run=run,
            resources=connection.resources,
            checkpoints=checkpoints,
        )
        search = assemble(
            initial,
            run=run,
            pool=pool,
            checkpoints=checkpoints,
            rehearsal=rehearsal,
            command=command,
            outer_error=lambda: mirror_errors[0] if mirror_errors else shipping.error(),
            clock=lambda: time.monotonic() - started,
            baseline_observer=baseline.observer,
            watchers=watchers(run),
        )
        search.files.write()
        shipping.start(shipments_of(configuration, initial.preparation), run.directory)
        if storage is not None:
            stack.enter_context(Mirror(run, storage, on_error=mirror_errors.append))
        log_start(run, initial.preparation, connection)
        experiment = Experiment(
            driver=search.driver, pool=pool, configuration=configuration, run=run, signal=stop
        )
        with _closed(search, run, stop, disconnect=until_disconnected.close):
            checkpoints.open([trial.trial_id for trial in initial.store if trial.is_running])
            experiment.fit()
            logger.info("checks: %s", shipping.require(), extra=DETAIL)
            check_has_score(search.driver.policy, run)
            until_disconnected.close()
            checkpoints.close()
        log_result(run)
    return run


def _rehearse(process: RehearsalProcess, initial: InitialState) -> Rehearsal | None:
    """Return what a trial takes on this machine; None, with a warning, if that is not known."""
    configuration, data = initial.configuration, initial.preparation.search_data
    if not is_like_this_machine(configuration):
        process.close()
        logger.info("no plan: the cluster may have GPUs, and this machine has none to measure with")
        return None
    try:
        return process.run(configuration, data, max(num_slots_here(configuration), 1))
    except MemoryError as error:
        logger.warning("tried before the search: %s; trials may run out of memory, too", error)
    except RuntimeError as error:
        logger.warning("nothing could be timed before the search: %s", error)
    return None


@contextmanager
def _closed(
    search: Search, run: Run, stop: StopSignal, *, disconnect: Callable[[], None]
) -> Iterator[None]:
    """Close the search after a `with` block, with the status that follows from how it ended."""
    log_signals(run, stop, write=lambda: search.close(SearchStatus.INTERRUPTED))
    try:
        yield
    except (SearchAbortedError, InputError):
        search.close(SearchStatus.ABORTED)
        log_next_step(run, SearchStatus.ABORTED)
        raise
    except BaseException as error:
        disconnect()  # no trial may write into a run that another process resumes
        with suppress(OSError):  # a full disk, which the raised error reports
            search.close(SearchStatus.INTERRUPTED)
        if not isinstance(error, SearchInterruptedError):  # whose message holds the next step
            log_next_step(run, SearchStatus.INTERRUPTED)
        raise
    search.close(SearchStatus.COMPLETED)
