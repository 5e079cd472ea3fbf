"""Places of checkpoints that are not, or no more, what the driver writes to."""

import errno
import shutil
import socket
from pathlib import Path

import pytest

from results.errors import StorageError
from results.storage import Storage
from tests.tuning.builders import completed
from tests.tuning.deciding import driver_of, policy_of
from training.checkpoint import CHECKPOINT_FILE
from tuning.checkpoints import CheckpointRemover, Checkpoints
from tuning.observers import Observer
from tuning.trials import Trial


@pytest.fixture(params=["in the run", "in a storage"])
def checkpoints(request: pytest.FixtureRequest, tmp_path: Path) -> Checkpoints:
    (tmp_path / "run").mkdir()
    place = str(tmp_path / "storage" / "run") if request.param == "in a storage" else None
    return Checkpoints(run=tmp_path / "run", storage=Storage(place) if place else None)


def test_a_worker_finds_the_place_that_the_driver_has_opened(checkpoints: Checkpoints) -> None:
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


def test_a_node_that_does_not_mount_the_place_is_named_and_begins_no_trial_anew(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    checkpoints.open([])
    for path in tmp_path.iterdir():
        shutil.rmtree(path)  # as a node sees it that has an empty directory there
    with (
        pytest.raises(StorageError, match=f"{socket.gethostname()} does not see there") as refused,
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
    driver.tell(lambda observer: observer.ended(completed(0, 0.5)))
    with checkpoints.of("t0000") as (directory, _):
        assert (directory / CHECKPOINT_FILE).exists() is is_kept
