"""Check that a run can be created, or that it may be resumed with the same data and rules."""

from pathlib import Path

from results.environment import VERSION, check_data_rules
from results.errors import RunError
from results.run import Run, check_new_run
from results.storage import Storage
from training.cli import hide_secrets
from training.data import RULES, PreparedData
from training.errors import InputError
from tuning.config import Configuration
from tuning.preparation import Preparation
from tuning.searchers import num_requested
from tuning.trials import TrialStore


def storage_of(configuration: Configuration) -> Storage | None:
    """Return the storage that the run is mirrored to; None: it is not mirrored."""
    path = configuration.cluster.storage_path
    return None if path is None else Storage(path)


def check_new(configuration: Configuration) -> None:
    """Check that a new run of this name can be created, here and in the storage.

    Raises:
        RunError: the name is taken, here or in the storage, or the directory cannot be written.
        StorageError: the storage cannot be reached.
    """
    check_new_run(Path(configuration.output.directory), configuration.output.name)
    _check_new_in_storage(configuration)


def _check_new_in_storage(configuration: Configuration) -> None:
    storage, name = storage_of(configuration), configuration.output.name
    if storage is None or name is None:
        return  # a name made of the time is new
    if storage.child(name).read_text("config.yaml") is not None:
        uri = hide_secrets(storage.child(name).location)
        raise RunError(
            f"output.name is {name!r}, but cluster.storage_path holds a run of that name; choose"
            f" another --name, or resume that run by --resume {uri}"
        )


def check_not_tested(run: Run) -> None:
    """Check that the run to resume has not been evaluated on the test set.

    Raises:
        RunError: it has been.
    """
    if run.test_openings.exists():
        raise RunError(
            f"--resume: run {run.directory} has been evaluated on the test set, but a search must"
            " not be resumed after that; start a new run under another --name"
        )


def check_enough_trials(configuration: Configuration, known: TrialStore) -> None:
    """Check that at least as many trials are requested as have started.

    Raises:
        InputError: fewer are requested.
    """
    requested = num_requested(configuration.search, configuration.training)
    started = len(known.searched)
    if requested < started:
        raise InputError(
            f"--resume: search.trials is {requested}, but {started} trials have started; request"
            f" at least {started}, or start a new run"
        )


def check_same_rules(run: Run) -> None:
    """Check that this version drops and groups rows by the rules that the run was made with.

    Raises:
        RunError: the rules differ, or the record cannot be read.
    """
    if run.record.exists():
        check_data_rules(run, run.read_whole_record(), RULES, goal="resume it")


def check_same_data(run: Run, preparation: Preparation) -> None:
    """Check that the data are those that the run started with.

    Raises:
        RunError: the data differ, or the record cannot be read.
    """
    if not run.record.exists():  # the process was killed before it wrote one
        check_same_split(run, preparation.data)
        return
    before, found = run.read_whole_record()["data"]["sha256"], preparation.data.summary.sha256
    if before != found:
        raise RunError(
            f"--resume: data {preparation.data.summary.path} has SHA-256 {found[:12]}..., but the"
            f" run started with {before[:12]}...; restore the file, or start a new run"
        )


def check_same_split(run: Run, data: PreparedData) -> None:
    """Check that the data are split as `splits.csv` records, where that file exists.

    Raises:
        RunError: the split differs; without a record either the data or the version has changed.
    """
    text = data.assignment.to_csv(index=False, lineterminator="\n")
    if run.splits.exists() and run.splits.read_text(encoding="utf-8") != text:
        raise RunError(
            f"run {run.directory}: splits.csv does not hold the split that this version ({VERSION})"
            f" makes of data {data.summary.path}; restore the data that were searched, or use the"
            " version that searched them, or start a new run"
        )
