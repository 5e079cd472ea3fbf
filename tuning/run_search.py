"""One search from configuration to record: what the command does, callable from Python."""

import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from pathlib import Path
from typing import Any

from cluster.resources import Resources, describe_cluster, num_slots
from cluster.session import check_not_connected, ray_session
from results.environment import describe_environment, hash_model
from results.files import write_text
from results.log import log_to_file
from results.mirror import Mirror
from results.new_run import check_new_run
from results.next_step import next_step
from results.run import Run
from results.verdict import describe_result
from training.config import TINY
from training.errors import InputError
from training.options import to_yaml
from training.trained_on import known_to
from tuning.checkpoints import Checkpoints
from tuning.config import Configuration
from tuning.endings import SearchAbortedError, SearchInterruptedError
from tuning.node_checks import check_joined_nodes
from tuning.phases import Phases
from tuning.preparation import Preparation, prepare_search
from tuning.progress import Progress
from tuning.proposers import num_requested
from tuning.record import describe_search, is_repeatable, winning_configuration
from tuning.recorder import Recorder
from tuning.resume import last_shown, recall_trials
from tuning.room import check_storage, num_slots_here, resources_for
from tuning.run_checks import (
    check_enough_trials,
    check_new_in_storage,
    check_same_data,
    check_same_rules,
    check_test_is_closed,
    storage_of,
)
from tuning.shipping_check import shipment_of, shipping_check
from tuning.signals import StopSignal, stop_signals
from tuning.start import new_run, with_name, write_configuration
from tuning.summary import describe_data
from tuning.trials import Trial

logger = logging.getLogger(__name__)


def run_search(
    configuration: Configuration,
    *,
    resume: Run | None = None,
    command: str = "",
    label: str = "",
    show: Callable[[Run], AbstractContextManager[None]] = lambda _: nullcontext(),
    ends_process: bool = True,
) -> Recorder:
    """Search, confirm, and write the run's files.

    Args:
        configuration: checked by `tuning.start.resolve`.
        resume: the run to go on with; None: a new one.
        command: kept in the record.
        label: the beginning of a new run's name where the configuration gives none.
        show: shows the run's progress for the time of a `with` block.
        ends_process: whether a second Ctrl-C, or a hang after the first, ends the whole process.

    Returns:
        The recorder: its `run` is the directory, its `record()` the content of `search.json`.

    Raises:
        InputError: the data, model or warm-up does not do.
        RunError: the run's directory cannot be made or read.
        ClusterError: Ray cannot be reached.
        SearchAbortedError: the trials fail alike, or none has a score.
        SearchInterruptedError: a signal ended the search; exit code in it.
    """
    started = time.monotonic()
    check_not_connected()
    if resume is None:
        configuration = with_name(configuration, label)
    num_slots_here(configuration)
    check_storage(configuration)
    with ExitStack() as stack:
        if resume is not None:
            stack.enter_context(resume.held())
            resume.sweep()
        known = recall_trials(resume, configuration) if resume else []
        if resume is not None:
            resume.keep_curves_of({trial.trial_id for trial in known})
        check_enough_trials(configuration, known)
        learnt = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "tokenizer"
        preparation = _prepare(configuration, resume, learnt)
        shipping = stack.enter_context(shipping_check())  # loads its libraries from here on
        # What the data, the cluster or its nodes do not allow is said before a directory is made.
        connection = stack.enter_context(ExitStack())
        name = resume.directory.name if resume else configuration.output.name
        metadata = {"run": str(name), "command": command}
        dashboard = connection.enter_context(
            ray_session(configuration.cluster.address, metadata=metadata)
        )
        resources = resources_for(configuration)
        check_joined_nodes(configuration, resources)
        # Now that Ray has put a handler of its own in place.
        stop = stack.enter_context(stop_signals(ends_process=ends_process))
        run = resume or _new_run(configuration, preparation, learnt)
        if resume is None:
            stack.enter_context(run.held())
        else:
            write_configuration(run, configuration)
        recorder = _make_recorder(configuration, preparation, resources, run, command, known)
        budget = configuration.search.time_budget_s
        recorder.progress = Progress(
            plan=preparation.plan,
            search=configuration.search,
            requested=recorder.requested,
            ends=None if budget is None else started + budget,
        )
        recorder.write()
        shipping.begin(shipment_of(configuration, preparation), run.directory)
        errors: list[OSError] = []
        storage = storage_of(configuration)
        if storage is not None:
            stack.enter_context(Mirror(run, storage, on_error=errors.append))
        checkpoints = Checkpoints(
            run=run.directory, storage=storage and storage.child(run.directory.name)
        )
        _describe_start(recorder, preparation, resources, dashboard)
        phases = Phases(
            configuration=configuration,
            preparation=preparation,
            resources=resources,
            run=run,
            checkpoints=checkpoints,
            mirror_error=lambda: errors[0] if errors else None,
            shipping=shipping,
            recorder=recorder,
            signal=stop,
            known=known,
            last_shown=last_shown(run),
            started=started,
        )
        with show(run):
            _search_and_confirm(phases, connection)
            close_completed(recorder)
        describe_end(recorder.run)
    return recorder


def prepare_only(configuration: Configuration, tokenizer_directory: Path) -> Preparation:
    """Read, check, split and tokenise the data.

    Raises:
        InputError: the data, the model or a warm-up does not do.
    """
    threads = max(1, int(configuration.cluster.cpus_per_trial or 1))
    return prepare_search(
        configuration, tokenizer_directory=tokenizer_directory, num_threads=threads
    )


def _prepare(configuration: Configuration, resume: Run | None, learnt: Path) -> Preparation:
    if resume is not None:
        check_test_is_closed(resume)
        check_same_rules(resume)
        preparation = prepare_only(configuration, resume.tokenizer)
        check_same_data(resume, preparation)
        return preparation
    check_new_run(Path(configuration.output.directory), configuration.output.name)
    check_new_in_storage(configuration)
    return prepare_only(configuration, learnt)


def _new_run(configuration: Configuration, preparation: Preparation, learnt: Path) -> Run:
    def fill(run: Run) -> None:
        if configuration.model.name == TINY:
            shutil.copytree(learnt, run.tokenizer)
        assignment = preparation.data.assignment.to_csv(index=False, lineterminator="\n")
        write_text(run.splits, assignment)

    return new_run(configuration, fill)


def _make_recorder(
    configuration: Configuration,
    preparation: Preparation,
    resources: Resources,
    run: Run,
    command: str,
    known: Sequence[Trial],
) -> Recorder:
    recorder = Recorder(
        run=run,
        configuration=configuration,
        facts={
            "command": command,
            "repeatable": is_repeatable(configuration, has_gpu=resources.gpus > 0),
            "data": preparation.data.summary.as_record(),
            "search": describe_search(configuration, preparation.plan, preparation.num_rows),
            "environment": describe_search_environment(configuration),
        },
        requested=num_requested(configuration.search, configuration.training),
        trials=list(known),
    )
    if run.record.exists():
        before = run.read_whole_record()
        recorder.started_at = before["started_at"]
        recorder.facts["command"] = before["command"]  # the one that repeats the run
        recorder.seconds_before = before["seconds"]
        recorder.rows_at_once = before.get("rows_at_once", {})
    return recorder


def describe_search_environment(configuration: Configuration) -> dict[str, Any]:
    """`environment` of the record: versions, devices, commit, the model and its hash."""
    model = configuration.model
    return {
        **describe_environment(),
        "model": {
            "name": model.name,
            "revision": model.revision,
            "sha256": None if model.name == TINY else hash_model(Path(model.name)),
            "texts_trained_on": None if (known := known_to(model)) is None else len(known),
        },
    }


def _describe_start(
    recorder: Recorder, preparation: Preparation, resources: Resources, dashboard: str | None
) -> None:
    log_to_file(recorder.run.log)
    logger.info("run %s", recorder.run.directory)
    for line in describe_data(preparation):
        logger.info("%s", line)
    if dashboard:
        logger.info("Ray dashboard http://%s", dashboard)
    slots = num_slots(resources)
    logger.info("%s, %d trials at once", describe_cluster(), slots)
    if not slots:
        logger.warning("no node of the cluster holds a trial at the moment; waiting for one")


def _search_and_confirm(phases: Phases, connection: ExitStack) -> None:
    """Run both phases; Ray has ended, and no checkpoint is left, when this returns."""
    recorder, stop = phases.recorder, phases.signal
    stop.on_received = lambda: _say_what_is_known(recorder, stop)
    stop.on_overdue = lambda: _end_overdue(recorder, stop)
    try:
        phases.checkpoints.open([t.trial_id for t in phases.known if t.status == "running"])
        phases.search()
        phases.confirm()
        connection.close()
        phases.checkpoints.close()
    except (SearchAbortedError, InputError):
        recorder.finish("aborted")
        _say_next(recorder)
        raise
    except BaseException as error:
        connection.close()  # trials write no checkpoint into a run that another process may take
        with suppress(OSError):  # a full disk, which the error that is raised speaks of
            recorder.finish("interrupted")
        if not isinstance(error, SearchInterruptedError):  # which says it itself
            _say_next(recorder)
        raise


def _say_next(recorder: Recorder) -> None:
    """Said before the error, which is told last."""
    step = next_step(recorder.run, {"status": recorder.status}, lives=False)
    logger.info("Next: %s", step)


def _say_what_is_known(recorder: Recorder, stop: StopSignal) -> None:
    """Said at once: a batch system may end Ray too, which takes the driver with it."""
    interrupted = SearchInterruptedError(recorder.run.directory, stop.exit_code)
    logger.info("trials write their checkpoints; %s", interrupted.resume_command + " goes on")


def _end_overdue(recorder: Recorder, stop: StopSignal) -> None:
    """Something hangs: what is known is written, and the user told how to go on."""
    interrupted = SearchInterruptedError(recorder.run.directory, stop.exit_code)
    recorder.finish("interrupted")
    print(f"{interrupted} Next: {interrupted.resume_command}", flush=True)


def close_completed(recorder: Recorder) -> None:
    """Write `best.yaml`, the final record and the report."""
    record = recorder.record()
    best = winning_configuration(recorder.configuration, record["best"]["parameters"])
    write_text(recorder.run.best, to_yaml(best))
    recorder.finish("completed")  # last: whoever reads "completed" finds the winner


def describe_end(run: Run) -> None:
    """Say how a completed search ended."""
    for line in describe_result(run.read_whole_record()):
        logger.info("%s", line)
    logger.info("report %s", run.report)
