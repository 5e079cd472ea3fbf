"""Checkpoints in the run and in a storage, and what a worker receives and reports."""

import errno
import pickle
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from results.errors import StorageError
from results.storage import Storage
from tests.tuning.builders import completed, trial
from tests.tuning.deciding import driver_of, policy_of
from training.checkpoint import CHECKPOINT_FILE
from training.config import TrainingConfig
from training.errors import InputError
from tuning.checkpoints import CheckpointRemover, Checkpoints
from tuning.observers import Observer
from tuning.trainable import describe_error, to_config
from tuning.trials import Trial


@pytest.fixture(params=["in the run", "in a storage"])
def checkpoints(request: pytest.FixtureRequest, tmp_path: Path) -> Checkpoints:
    (tmp_path / "run").mkdir()
    storage = (
        Storage(str(tmp_path / "storage" / "run")) if request.param == "in a storage" else None
    )
    return Checkpoints(run=tmp_path / "run", storage=storage)


def test_a_worker_finds_the_checkpoints_that_the_driver_keeps(checkpoints: Checkpoints) -> None:
    checkpoints.open([])
    with checkpoints.of("t0000") as (directory, written):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "resume.pt").write_text("weights")
        written(directory / "resume.pt")
    checkpoints.open(["t0000"])
    with checkpoints.of("t0000") as (directory, _):
        assert (directory / "resume.pt").read_text() == "weights"
    checkpoints.open([])
    with checkpoints.of("t0000") as (directory, _):
        assert not (directory / "resume.pt").exists()
    checkpoints.close()
    assert list(checkpoints.run.iterdir()) == []


def test_a_node_that_does_not_mount_the_directory_is_named_and_restarts_no_trial(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    checkpoints.open([])
    for path in tmp_path.iterdir():
        shutil.rmtree(path)  # as a node sees it that has an empty directory there
    with (
        pytest.raises(StorageError, match=f"{socket.gethostname()} does not see") as refused,
        checkpoints.of("t0000"),
    ):
        pass
    assert "--resume" in str(refused.value)


class FullDisk(Observer):
    """Files that cannot be written."""

    def ended(self, trial: Trial) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(("files", "is_kept"), [(Observer(), False), (FullDisk(), True)])
def test_a_checkpoint_goes_once_the_end_of_its_trial_is_written_and_not_before(
    checkpoints: Checkpoints, files: Observer, is_kept: bool
) -> None:
    checkpoints.open([])
    with checkpoints.of("t0000") as (directory, written):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / CHECKPOINT_FILE).write_text("weights")
        written(directory / CHECKPOINT_FILE)
    remover = CheckpointRemover(checkpoints, is_written=lambda: driver.write_error is None)
    driver = driver_of(policy_of(), files, remover)
    driver.notify(lambda observer: observer.ended(completed(0, 0.5)))
    with checkpoints.of("t0000") as (directory, _):
        assert (directory / CHECKPOINT_FILE).exists() is is_kept


def caught(error: Exception) -> str:
    try:
        raise error
    except Exception as raised:
        return describe_error(raised)


def handed_over(given: Trial) -> dict[str, Any]:
    return to_config(given, flag="search-1", micro_batch_sizes={"cpu": 4})


def test_an_input_error_is_reported_as_it_is() -> None:
    assert caught(InputError("model.name is 'x', but must be there")) == (
        "model.name is 'x', but must be there"
    )
    assert caught(InputError("first", "second")) == "first; second"


def test_an_error_of_the_code_is_one_line_with_its_type_and_position() -> None:
    line = caught(RuntimeError("shapes\n  do not   match"))
    assert line.startswith("RuntimeError: shapes do not match (caught:")
    assert "\n" not in line


def test_equal_errors_of_two_trials_have_equal_messages() -> None:
    assert caught(RuntimeError("same")) == caught(RuntimeError("same"))


def test_a_worker_is_handed_plain_values_that_make_the_same_configuration() -> None:
    given = trial(3, source="search")
    handed = pickle.loads(pickle.dumps(handed_over(given)))
    assert TrainingConfig.model_validate(handed["training"]) == given.training
    assert (handed["trial_id"], handed["replicate"], handed["stops_early"]) == ("t0003", 0, True)
    assert (handed["flag"], handed["micro_batch_sizes"]) == ("search-1", {"cpu": 4})


def test_default_and_confirmations_are_not_stopped_early() -> None:
    for given in (trial(0), trial(5, source="confirm", replicate=2)):
        assert handed_over(given)["stops_early"] is False
    assert handed_over(trial(5, source="confirm", replicate=2))["replicate"] == 2
