"""One search from configuration to record: what the command does, callable from Python."""

import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from results.log import DETAIL
from results.mirror import Mirror
from results.run import Run
from results.trial_states import SearchStatus
from training.errors import InputError
from tuning.assembly import Search, assemble
from tuning.checkpoints import Checkpoints
from tuning.config import Configuration
from tuning.errors import SearchAbortedError, SearchInterruptedError
from tuning.initial_state import Opening, check_place, open_again, open_new
from tuning.log_lines import announce_end, announce_next, announce_start, announce_stops
from tuning.observers import Observer
from tuning.ray_tune import Experiment, check_has_score
from tuning.run_checks import storage_of
from tuning.shipping_check import shipment_of, shipping_check
from tuning.signals import StopSignal, stop_signals
from tuning.worker_pool import connected, make_pool

logger = logging.getLogger(__name__)

Watchers = Callable[[Run], Sequence[Observer]]
"""Further observers of a run."""


def run_search(
    configuration: Configuration,
    *,
    resume: Run | None = None,
    command: str = "",
    label: str = "",
    watchers: Watchers = lambda _: (),
    ends_process: bool = True,
) -> Run:
    """Search, confirm, and write the run's files.

    Args:
        configuration: checked by `tuning.start.build`.
        resume: the run to continue; None: a new one.
        command: kept in the record.
        label: the beginning of a new run's name where the configuration gives none.
        watchers: what else observes the search.
        ends_process: whether a second Ctrl-C, or a hang after the first, ends the whole process.

    Raises:
        InputError: the data, model or warm-up does not do.
        RunError: the run's directory cannot be made or read.
        ClusterError: Ray cannot be reached.
        SearchAbortedError: the trials fail alike, or none has a score.
        SearchInterruptedError: a signal ended the search; exit code in it.
    """
    began = time.monotonic()
    check_place(configuration)
    with ExitStack() as stack:
        opening = _open(stack, configuration, resume, label)
        configuration = opening.configuration
        shipping = stack.enter_context(shipping_check())  # loads its libraries from here on
        # What the data, the cluster or its nodes do not allow is said before a directory is made.
        until_disconnected = stack.enter_context(ExitStack())
        metadata = {"run": opening.name, "command": command}
        connection = until_disconnected.enter_context(connected(configuration, metadata))
        # Now that Ray has put a handler of its own in place.
        stop = stack.enter_context(stop_signals(ends_process=ends_process))
        run = opening.make_run()
        if resume is None:
            stack.enter_context(run.held())
        storage, mirror_errors = storage_of(configuration), list[OSError]()
        checkpoints = Checkpoints(
            run=run.directory, storage=storage and storage.child(run.directory.name)
        )
        pool = make_pool(
            configuration,
            opening.preparation.search_data,
            run=run,
            resources=connection.resources,
            checkpoints=checkpoints,
        )
        search = assemble(
            opening,
            run=run,
            pool=pool,
            checkpoints=checkpoints,
            command=command,
            outer_error=lambda: mirror_errors[0] if mirror_errors else shipping.error(),
            clock=lambda: time.monotonic() - began,
            watchers=watchers(run),
        )
        search.files.write()
        shipping.begin(shipment_of(configuration, opening.preparation), run.directory)
        if storage is not None:
            stack.enter_context(Mirror(run, storage, on_error=mirror_errors.append))
        announce_start(run, opening.preparation, connection)
        experiment = Experiment(
            driver=search.driver, pool=pool, configuration=configuration, run=run, signal=stop
        )
        with _closed(search, run, stop, disconnect=until_disconnected.close):
            checkpoints.open([trial.trial_id for trial in opening.store if trial.is_running])
            experiment.fit()
            logger.info("checks: %s", shipping.require(), extra=DETAIL)
            check_has_score(search.driver.policy, run)
            until_disconnected.close()
            checkpoints.close()
        announce_end(run)
    return run


def _open(
    stack: ExitStack, configuration: Configuration, resume: Run | None, label: str
) -> Opening:
    if resume is not None:
        stack.enter_context(resume.held())
        return open_again(resume, configuration)
    learnt = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "tokenizer"
    return open_new(configuration, label, learnt)


@contextmanager
def _closed(
    search: Search, run: Run, stop: StopSignal, *, disconnect: Callable[[], None]
) -> Iterator[None]:
    """Write the end of a search after a `with` block, however that ended."""
    announce_stops(run, stop, write=lambda: search.close(SearchStatus.INTERRUPTED))
    try:
        yield
    except (SearchAbortedError, InputError):
        search.close(SearchStatus.ABORTED)
        announce_next(run, SearchStatus.ABORTED)
        raise
    except BaseException as error:
        disconnect()  # trials write no checkpoint into a run that another process may take
        with suppress(OSError):  # a full disk, which the error that is raised speaks of
            search.close(SearchStatus.INTERRUPTED)
        if not isinstance(error, SearchInterruptedError):  # which says it itself
            announce_next(run, SearchStatus.INTERRUPTED)
        raise
    search.close(SearchStatus.COMPLETED)
