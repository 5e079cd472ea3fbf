"""What must hold before a run begins or goes on."""

from pathlib import Path

from results.environment import VERSION, check_data_rules
from results.errors import RunError
from results.places import without_secrets
from results.run import Run, check_new_run
from results.storage import Storage
from training.data import RULES, PreparedData
from training.errors import InputError
from tuning.config import Configuration
from tuning.preparation import Preparation
from tuning.searchers import num_requested
from tuning.trials import TrialStore


def storage_of(configuration: Configuration) -> Storage | None:
    """Where the run is mirrored; None: nowhere."""
    place = configuration.cluster.storage_path
    return None if place is None else Storage(place)


def check_new(configuration: Configuration) -> None:
    """Make sure that a new run of this name can be made.

    Raises:
        RunError: the name is taken, here or in the storage, or the directory cannot be written.
        StorageError: the storage cannot be reached.
    """
    check_new_run(Path(configuration.output.directory), configuration.output.name)
    check_new_in_storage(configuration)


def check_new_in_storage(configuration: Configuration) -> None:
    """Make sure that a new run would not be mirrored over another.

    Raises:
        RunError: the storage holds a run of that name.
        StorageError: it cannot be reached.
    """
    storage, name = storage_of(configuration), configuration.output.name
    if storage is None or name is None:
        return  # a name made of the time is new
    if storage.child(name).read_text("config.yaml") is not None:
        uri = without_secrets(storage.child(name).place)
        raise RunError(
            f"output.name is {name!r}, but cluster.storage_path holds a run of that name; choose"
            f" another --name, or go on with that run by --resume {uri}"
        )


def check_same_split(run: Run, data: PreparedData) -> None:
    """Make sure that the data are split into what `splits.csv` holds, where it is there.

    Raises:
        RunError: they are not; whether data or version changed cannot be told without a record.
    """
    text = data.assignment.to_csv(index=False, lineterminator="\n")
    if run.splits.exists() and run.splits.read_text(encoding="utf-8") != text:
        raise RunError(
            f"run {run.directory}: splits.csv is not what data {data.summary.path} are split into"
            f" by this version ({VERSION}); restore the data that were searched, or use the version"
            " that searched them, or start a new run"
        )


def check_test_is_closed(run: Run) -> None:
    """Make sure that the test rows of a run to go on with have not been opened.

    Raises:
        RunError: they have.
    """
    if run.test_openings.exists():
        raise RunError(
            f"--resume: the test rows of {run.directory} were opened, but a search must not go on"
            " after that; start a new run under another --name"
        )


def check_enough_trials(configuration: Configuration, known: TrialStore) -> None:
    """Make sure that no trial that has begun is asked away.

    Raises:
        InputError: fewer trials are asked for than have begun.
    """
    requested = num_requested(configuration.search, configuration.training)
    begun = len(known.searched)
    if requested < begun:
        raise InputError(
            f"--resume: search.trials is {requested}, but {begun} have begun; ask for at least"
            f" {begun}, or start a new run"
        )


def check_same_rules(run: Run) -> None:
    """Make sure that this version drops rows and holds them together as the run's did.

    Raises:
        RunError: it does not, or the record cannot be read.
    """
    if run.record.exists():
        check_data_rules(run, run.read_whole_record(), RULES, goal="resume it")


def check_same_data(run: Run, preparation: Preparation) -> None:
    """Make sure that the data are those that the run began with.

    Raises:
        RunError: they are not, or the record cannot be read.
    """
    if not run.record.exists():  # it was killed before it had one
        check_same_split(run, preparation.data)
        return
    before, found = run.read_whole_record()["data"]["sha256"], preparation.data.summary.sha256
    if before != found:
        raise RunError(
            f"--resume: data {preparation.data.summary.path} has SHA-256 {found[:12]}..., but the"
            f" run began with {before[:12]}...; restore the file, or start a new run"
        )
