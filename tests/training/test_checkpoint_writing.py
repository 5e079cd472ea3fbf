"""Checkpoints that cannot be written, and several processes that write to one place."""

import pickle
import resource
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import torch

from tests.training.broken_off import SMALL, assert_same, tuned_with
from tests.training.toys import toy_task
from training.checkpoint import CHECKPOINT_FILE, Checkpoint, CheckpointFile
from training.errors import CheckpointError
from training.metrics import Evaluation


@contextmanager
def _files_of_at_most(num_bytes: int) -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.fixture
def two_megabytes(tmp_path: Path) -> Iterator[Path]:
    """A file system of that size."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def _sized(num_bytes: int, *, seconds: float = 1.0) -> Checkpoint:
    """A checkpoint of about that size."""
    weights = {f"part {i}": torch.ones(num_bytes // 16) for i in range(4)}
    return Checkpoint(step=1, stepper={"weights": weights}, evaluations=(), seconds=seconds)


def _assert_one_line(error: CheckpointError, path: Path, reason: str) -> None:
    text = str(error)
    assert text.startswith(f"checkpoint {path}: cannot be written ({reason})")
    assert "free space there" in text
    assert "\n" not in text


def test_a_full_disk_ends_the_training_and_the_former_checkpoint_stays(tmp_path: Path) -> None:
    path = tmp_path / CHECKPOINT_FILE
    kept: list[bytes] = []
    with _files_of_at_most(100_000), pytest.raises(CheckpointError) as caught:
        tuned_with(tmp_path, toy_task(64), **SMALL)
    _assert_one_line(caught.value, path, "File too large")
    assert list(tmp_path.iterdir()) == []
    limits = ExitStack()

    def fill(_: Evaluation) -> None:
        kept.append(path.read_bytes())
        limits.enter_context(_files_of_at_most(100_000))

    with limits, pytest.raises(CheckpointError):
        tuned_with(tmp_path, toy_task(64), on_evaluation=fill, **SMALL)
    assert kept == [path.read_bytes()]
    assert list(tmp_path.iterdir()) == [path]
    whole = tuned_with(None, toy_task(64), **SMALL)
    assert_same(tuned_with(tmp_path, toy_task(64), **SMALL), whole)


@pytest.mark.parametrize("missing", [4096, 700_000], ids=["its last bytes", "half of it"])
def test_no_space_left_is_told_as_such_whatever_did_not_fit(
    two_megabytes: Path, tmp_path: Path, missing: int
) -> None:
    CheckpointFile(directory=tmp_path, fingerprint="a").write(_sized(1_000_000))
    need = (tmp_path / CHECKPOINT_FILE).stat().st_size
    file = CheckpointFile(directory=two_megabytes, fingerprint="a")
    file.write(_sized(400_000, seconds=7.0))
    filler = two_megabytes / "filler"
    filler.write_bytes(b"x" * (shutil.disk_usage(two_megabytes).free - need + missing))
    with pytest.raises(CheckpointError) as caught:
        file.write(_sized(1_000_000))
    _assert_one_line(caught.value, file.path, "No space left on device")
    assert sorted(two_megabytes.iterdir()) == [filler, file.path]
    found = file.read()
    assert found is not None
    assert found.seconds == 7.0
    filler.unlink()
    file.write(_sized(1_000_000))


def test_a_place_that_went_away_is_told_with_the_systems_reason(tmp_path: Path) -> None:
    file = CheckpointFile(directory=tmp_path / "gone", fingerprint="a")
    with pytest.raises(CheckpointError) as caught:
        file.write(_sized(1000))
    _assert_one_line(caught.value, file.path, "No such file or directory")


def test_what_cannot_be_saved_at_all_is_no_error_of_the_disk(tmp_path: Path) -> None:
    file = CheckpointFile(directory=tmp_path, fingerprint="a")
    broken = Checkpoint(step=1, stepper={"weights": lambda: None}, evaluations=(), seconds=1.0)
    with pytest.raises((AttributeError, pickle.PicklingError)):
        file.write(broken)
    assert list(tmp_path.iterdir()) == []


def test_writers_of_the_same_place_do_not_meet_and_a_reader_takes_it_over(tmp_path: Path) -> None:
    writers = [CheckpointFile(directory=tmp_path, fingerprint="a") for _ in range(2)]
    sizes = (3_000_000, 5_000_000)
    with ThreadPoolExecutor(2) as pool:
        for _ in range(10):
            list(pool.map(lambda writer, size: writer.write(_sized(size)), writers, sizes))
            found = writers[0].read()
            assert found is not None
            assert {len(part) for part in found.stepper["weights"].values()} <= {
                size // 16 for size in sizes
            }
    (tmp_path / f"{CHECKPOINT_FILE}.abc.writing").write_bytes(b"of a process that was killed")
    assert writers[0].read() is not None
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT_FILE]


def test_the_error_survives_the_way_between_two_processes(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        CheckpointFile(directory=tmp_path / "gone", fingerprint="a").write(_sized(1000))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_place_where_no_directory_can_be_is_an_error_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    heard: list[Evaluation] = []
    with pytest.raises(CheckpointError, match="Not a directory"):
        tuned_with(
            tmp_path / "file" / "checkpoint", toy_task(64), on_evaluation=heard.append, **SMALL
        )
    assert heard == []
