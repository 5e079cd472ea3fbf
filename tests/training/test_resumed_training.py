"""A training that is broken off and gone on with ends as one without a break."""

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

from tests.training.breaking import ROWS, train
from tests.training.broken_off import (
    SMALL,
    assert_same,
    at_call,
    break_off,
    saved_model,
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
def unbroken() -> FineTuned:
    return train(None)


def _in_a_process(checkpoint: Path, result: Path, kill: str) -> int:
    command = [sys.executable, "-m", "tests.training.breaking", checkpoint, result, kill]
    return subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True).returncode


@pytest.mark.slow
def test_a_training_killed_four_times_ends_as_one_without_a_break(
    unbroken: FineTuned, tmp_path: Path
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
    assert [replace(evaluation, seconds=0.0) for evaluation in found] == untimed(unbroken)
    seconds = [evaluation.seconds for evaluation in found]
    assert seconds == sorted(seconds)
    assert end["fixed_rows_loss"] == unbroken.fixed_rows_loss
    for name, tensor in unbroken.model.state_dict().items():
        assert tensor.equal(end["weights"][name]), name


@pytest.mark.parametrize("told", [4, 7])
def test_a_break_at_an_evaluation_changes_nothing(
    unbroken: FineTuned, tmp_path: Path, told: int
) -> None:
    break_off(tmp_path, told=told)
    torch.rand(3)
    np.random.rand(3)
    heard: list[Evaluation] = []
    found = tuned_with(tmp_path, on_evaluation=heard.append)
    assert_same(found, unbroken)
    assert heard == list(found.evaluations)


@pytest.mark.parametrize("step", [1, 15, 20, 59])  # 15: an evaluation, 20: an epoch's end
def test_a_training_asked_to_stop_goes_on_from_that_very_step(
    unbroken: FineTuned, tmp_path: Path, step: int
) -> None:
    with pytest.raises(TrainingStoppedError, match=f"at step {step}$"):
        tuned_with(tmp_path, should_stop=at_call(step))
    asked: list[int] = []
    found = tuned_with(tmp_path, should_stop=lambda: bool(asked.append(1)))
    assert_same(found, unbroken)
    assert len(asked) == 59 - step  # the last step ends the training anyway


def test_evaluations_after_the_last_checkpoint_are_made_again_and_equal(
    unbroken: FineTuned, tmp_path: Path
) -> None:
    first: list[Evaluation] = []
    with pytest.raises(TrainingStoppedError):
        tuned_with(tmp_path, on_evaluation=first.append, should_stop=at_call(10))
    break_off(tmp_path, told=7, checkpoint_share=1e-6)
    heard: list[Evaluation] = []
    found = tuned_with(tmp_path, on_evaluation=heard.append)
    assert heard[:2] == first  # told again, not made again
    assert heard == list(found.evaluations)
    assert_same(found, unbroken)


def test_a_checkpoint_changes_nothing_and_is_never_more_than_one_file(
    unbroken: FineTuned, tmp_path: Path
) -> None:
    seen: list[list[str]] = []

    def look(_: Evaluation) -> None:
        seen.append(sorted(path.name for path in tmp_path.iterdir()))

    def look_unasked() -> bool:
        seen.append(sorted(path.name for path in tmp_path.iterdir()))
        return False

    found = tuned_with(tmp_path, on_evaluation=look, should_stop=look_unasked)
    assert_same(found, unbroken)
    assert len(seen) == 59 + 12
    assert all(names in ([], ["resume.pt"]) for names in seen)
    assert seen[-1] == ["resume.pt"]


def test_after_the_end_nothing_is_trained_again(unbroken: FineTuned, tmp_path: Path) -> None:
    tuned_with(tmp_path)
    before = (tmp_path / "resume.pt").stat()
    asked: list[int] = []
    found = tuned_with(tmp_path, should_stop=lambda: bool(asked.append(1)))
    assert_same(found, unbroken)
    assert asked == []
    assert (tmp_path / "resume.pt").stat().st_mtime_ns == before.st_mtime_ns
    assert found.seconds >= found.evaluations[-1].seconds


def test_the_seconds_before_a_break_count(tmp_path: Path) -> None:
    break_off(tmp_path, told=6)
    before: list[Evaluation] = []
    found = tuned_with(tmp_path, on_evaluation=before.append)
    seconds = [evaluation.seconds for evaluation in found.evaluations]
    assert seconds == sorted(seconds)
    assert found.seconds > seconds[-1] > seconds[5] > 0


@pytest.mark.parametrize("before_the_stop", [1, 0])
def test_early_stopping_counts_on_over_a_break(tmp_path: Path, before_the_stop: int) -> None:
    settings: dict[str, Any] = {
        "stop_early_after": ROWS // 2,
        "epochs": 12,
        "early_stopping_patience": 1,
        "evaluate_at": range(ROWS // 4, 12 * ROWS + 1, ROWS // 4),
    }
    whole = tuned_with(**settings)
    assert whole.outcome == "stopped early"
    break_off(tmp_path, told=len(whole.evaluations) - before_the_stop, **settings)
    assert_same(tuned_with(tmp_path, **settings), whole)


def test_a_training_that_has_diverged_does_not_go_on(tmp_path: Path) -> None:
    task = toy_task(64, model=_without_numbers(tmp_path / "model"))
    whole = tuned_with(None, task, **SMALL)
    assert whole.outcome == "diverged"
    assert len(whole.evaluations) == 1
    break_off(tmp_path / "checkpoint", told=1, task=task, **SMALL)
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
def test_an_encoder_whose_files_name_its_weights_otherwise_goes_on_too(
    tmp_path: Path, kind: str
) -> None:
    task = toy_task(64, model=saved_model(tmp_path / "model", kind))
    whole = tuned_with(None, task, **SMALL)
    break_off(tmp_path / "checkpoint", told=2, task=task, **SMALL)
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
    broken = Checkpoint(step=1, state={"weights": lambda: None}, evaluations=(), seconds=1.0)
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
            assert {len(part) for part in found.state["weights"].values()} <= {
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
