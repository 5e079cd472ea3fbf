"""A training that is interrupted and resumed ends like an uninterrupted one."""

import json
import pickle
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from tests.training.interrupted import (
    ROWS,
    SMALL,
    assert_same,
    at_call,
    interrupt,
    saved_model,
    train,
    tuned_with,
    untimed,
)
from tests.training.models import toy_task
from training.checkpoint import CHECKPOINT_FILE, Checkpoint, CheckpointFile
from training.config import ModelConfig
from training.errors import CheckpointError, TrainingStoppedError
from training.finetune import FineTuned
from training.metrics import Evaluation

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def uninterrupted() -> FineTuned:
    return train(None)


def _in_a_process(checkpoint: Path, result: Path, kill: str) -> int:
    command = [sys.executable, "-m", "tests.training.interrupted", checkpoint, result, kill]
    return subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True).returncode


@pytest.mark.slow
def test_a_training_killed_four_times_ends_like_an_uninterrupted_one(
    uninterrupted: FineTuned, tmp_path: Path
) -> None:
    checkpoint, result = tmp_path / "checkpoint", tmp_path / "result.pt"
    # In mid-epoch between two evaluations; directly after the checkpoint at an epoch's end; in
    # the middle of a write; after the last checkpoint.
    for kill in ("step 12", "evaluation 4", "write 6", "evaluation 12"):
        code = _in_a_process(checkpoint, result, kill)
        assert code == -(signal.SIGXFSZ if kill.startswith("write") else signal.SIGKILL), kill
        torn = list(checkpoint.glob("*.writing"))
        assert len(torn) == kill.startswith("write")
        assert all(0 < path.stat().st_size <= 100_000 for path in torn)
    assert not result.exists()
    assert _in_a_process(checkpoint, result, "") == 0
    assert [path.name for path in checkpoint.iterdir()] == ["resume.pt"]
    end = torch.load(result, weights_only=True)
    found = [Evaluation(**values) for values in json.loads(end["evaluations"])]
    assert [replace(evaluation, seconds=0.0) for evaluation in found] == untimed(uninterrupted)
    seconds = [evaluation.seconds for evaluation in found]
    assert seconds == sorted(seconds)
    assert end["fixed_rows_loss"] == uninterrupted.fixed_rows_loss
    for name, tensor in uninterrupted.model.state_dict().items():
        assert tensor.equal(end["weights"][name]), name


@pytest.mark.parametrize("evaluation", [4, 7])
def test_an_interruption_at_an_evaluation_changes_nothing(
    uninterrupted: FineTuned, tmp_path: Path, evaluation: int
) -> None:
    interrupt(tmp_path, at_evaluation=evaluation)
    torch.rand(3)
    np.random.rand(3)
    reported: list[Evaluation] = []
    found = tuned_with(tmp_path, on_evaluation=reported.append)
    assert_same(found, uninterrupted)
    assert reported == list(found.evaluations)


@pytest.mark.parametrize("step", [1, 15, 20, 59])  # 15: an evaluation, 20: an epoch's end
def test_a_training_asked_to_stop_is_resumed_from_that_very_step(
    uninterrupted: FineTuned, tmp_path: Path, step: int
) -> None:
    with pytest.raises(TrainingStoppedError, match=f"at step {step}$"):
        tuned_with(tmp_path, should_stop=at_call(step))
    asked: list[int] = []
    found = tuned_with(tmp_path, should_stop=lambda: bool(asked.append(1)))
    assert_same(found, uninterrupted)
    assert len(asked) == 59 - step  # the last step ends the training anyway


def test_evaluations_after_the_last_checkpoint_are_made_again_and_equal(
    uninterrupted: FineTuned, tmp_path: Path
) -> None:
    first: list[Evaluation] = []
    with pytest.raises(TrainingStoppedError):
        tuned_with(tmp_path, on_evaluation=first.append, should_stop=at_call(10))
    interrupt(tmp_path, at_evaluation=7, checkpoint_share=1e-6)
    reported: list[Evaluation] = []
    found = tuned_with(tmp_path, on_evaluation=reported.append)
    assert reported[:2] == first  # reported again, not made again
    assert reported == list(found.evaluations)
    assert_same(found, uninterrupted)


def test_a_checkpoint_changes_nothing_and_is_never_more_than_one_file(
    uninterrupted: FineTuned, tmp_path: Path
) -> None:
    seen: list[list[str]] = []

    def list_files(_: Evaluation) -> None:
        seen.append(sorted(path.name for path in tmp_path.iterdir()))

    def list_and_continue() -> bool:
        seen.append(sorted(path.name for path in tmp_path.iterdir()))
        return False

    found = tuned_with(tmp_path, on_evaluation=list_files, should_stop=list_and_continue)
    assert_same(found, uninterrupted)
    assert len(seen) == 59 + 12
    assert all(names in ([], ["resume.pt"]) for names in seen)
    assert seen[-1] == ["resume.pt"]


def test_after_the_end_nothing_is_trained_again(uninterrupted: FineTuned, tmp_path: Path) -> None:
    tuned_with(tmp_path)
    before = (tmp_path / "resume.pt").stat()
    asked: list[int] = []
    found = tuned_with(tmp_path, should_stop=lambda: bool(asked.append(1)))
    assert_same(found, uninterrupted)
    assert asked == []
    assert (tmp_path / "resume.pt").stat().st_mtime_ns == before.st_mtime_ns
    assert found.seconds >= found.evaluations[-1].seconds


def test_the_seconds_before_an_interruption_count(tmp_path: Path) -> None:
    interrupt(tmp_path, at_evaluation=6)
    before: list[Evaluation] = []
    found = tuned_with(tmp_path, on_evaluation=before.append)
    seconds = [evaluation.seconds for evaluation in found.evaluations]
    assert seconds == sorted(seconds)
    assert found.seconds > seconds[-1] > seconds[5] > 0


@pytest.mark.parametrize("before_the_stop", [1, 0])
def test_early_stopping_counts_across_an_interruption(tmp_path: Path, before_the_stop: int) -> None:
    settings: dict[str, Any] = {
        "stop_early_after": ROWS // 2,
        "epochs": 12,
        "early_stopping_patience": 1,
        "evaluate_at": range(ROWS // 4, 12 * ROWS + 1, ROWS // 4),
    }
    whole = tuned_with(**settings)
    assert whole.outcome == "stopped early"
    interrupt(tmp_path, at_evaluation=len(whole.evaluations) - before_the_stop, **settings)
    assert_same(tuned_with(tmp_path, **settings), whole)


def test_a_training_that_has_diverged_does_not_continue(tmp_path: Path) -> None:
    task = toy_task(64, model=_without_numbers(tmp_path / "model"))
    whole = tuned_with(None, task, **SMALL)
    assert whole.outcome == "diverged"
    assert len(whole.evaluations) == 1
    interrupt(tmp_path / "checkpoint", at_evaluation=1, task=task, **SMALL)
    found = tuned_with(tmp_path / "checkpoint", task, **SMALL)
    assert found.outcome == "diverged"
    assert found.examples == whole.examples == 32
    assert len(found.evaluations) == 1
    assert np.isnan([found.fixed_rows_loss, found.evaluations[0].eval_loss]).all()


def _without_numbers(directory: Path) -> ModelConfig:
    model = saved_model(directory, "bert")
    built = AutoModelForSequenceClassification.from_pretrained(directory)
    with torch.no_grad():
        built.get_input_embeddings().weight.fill_(float("nan"))
    built.save_pretrained(directory)
    return model


@pytest.mark.parametrize("kind", ["bert", "nomic_bert"])
def test_an_encoder_whose_files_name_its_weights_otherwise_is_resumed_too(
    tmp_path: Path, kind: str
) -> None:
    task = toy_task(64, model=saved_model(tmp_path / "model", kind))
    whole = tuned_with(None, task, **SMALL)
    interrupt(tmp_path / "checkpoint", at_evaluation=2, task=task, **SMALL)
    assert_same(tuned_with(tmp_path / "checkpoint", task, **SMALL), whole)


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
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def _sized(num_bytes: int, *, seconds: float = 1.0) -> Checkpoint:
    """A checkpoint of about that size."""
    weights = {f"part {i}": torch.ones(num_bytes // 16) for i in range(4)}
    return Checkpoint(step=1, state={"weights": weights}, evaluations=(), seconds=seconds)


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
def test_no_space_left_is_reported_whatever_did_not_fit(
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


def test_a_directory_that_was_removed_is_reported_with_the_system_s_reason(tmp_path: Path) -> None:
    file = CheckpointFile(directory=tmp_path / "gone", fingerprint="a")
    with pytest.raises(CheckpointError) as caught:
        file.write(_sized(1000))
    _assert_one_line(caught.value, file.path, "No such file or directory")


def test_what_cannot_be_saved_at_all_is_no_error_of_the_disk(tmp_path: Path) -> None:
    file = CheckpointFile(directory=tmp_path, fingerprint="a")
    broken = Checkpoint(step=1, state={"weights": lambda: None}, evaluations=(), seconds=1.0)
    with pytest.raises((AttributeError, pickle.PicklingError)):
        file.write(broken)
    assert list(tmp_path.iterdir()) == []


def test_two_writers_in_one_directory_leave_a_whole_checkpoint_to_a_reader(tmp_path: Path) -> None:
    writers = [CheckpointFile(directory=tmp_path, fingerprint="a") for _ in range(2)]
    sizes = (3_000_000, 5_000_000)
    with ThreadPoolExecutor(2) as pool:
        for _ in range(10):
            list(pool.map(lambda writer, size: writer.write(_sized(size)), writers, sizes))
            found = writers[0].read()
            assert found is not None
            assert {len(part) for part in found.state["weights"].values()} <= {
                size // 16 for size in sizes
            }
    (tmp_path / f"{CHECKPOINT_FILE}.abc.writing").write_bytes(b"of a process that was killed")
    assert writers[0].read() is not None
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT_FILE]


def test_the_error_can_be_pickled(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        CheckpointFile(directory=tmp_path / "gone", fingerprint="a").write(_sized(1000))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_path_where_no_directory_can_be_made_is_an_error_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    reported: list[Evaluation] = []
    with pytest.raises(CheckpointError, match="Not a directory"):
        tuned_with(
            tmp_path / "file" / "checkpoint", toy_task(64), on_evaluation=reported.append, **SMALL
        )
    assert reported == []
