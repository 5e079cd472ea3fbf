"""A training that is broken off and gone on with ends as one without a break."""

import json
import signal
import subprocess
import sys
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
from tests.training.toys import toy_task
from training.config import ModelConfig
from training.errors import TrainingStoppedError
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
    for kill in ("step 12", "told 4", "write 6", "told 12"):
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
