"""A training that is broken off and goes on, against the same training without a break."""

import json
import logging
import os
import resource
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from tests.training.breaking import EVALUATE_AT, ROWS, train
from tests.training.toys import LABELS, VOCABULARY, toy_rows, toy_task, toy_training
from training.checkpoint import Checkpoint, CheckpointFile
from training.config import ModelConfig
from training.finetune import FineTuned, Task, finetune
from training.metrics import Evaluation
from training.model import TokenizerFacts

ROOT = Path(__file__).parents[2]
SMALL: dict[str, Any] = {"evaluate_at": [32, 64, 192]}


class _BrokenOffError(Exception):
    """The end of a training from outside."""


def _untimed(tuned: FineTuned) -> list[Evaluation]:
    return [replace(evaluation, seconds=0.0) for evaluation in tuned.evaluations]


def _assert_same(one: FineTuned, other: FineTuned) -> None:
    assert _untimed(one) == _untimed(other)
    assert one.outcome == other.outcome
    assert one.examples == other.examples
    assert one.fixed_rows_loss == other.fixed_rows_loss
    ours, theirs = one.model.state_dict(), other.model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(ours[name].equal(theirs[name]) for name in ours)


def _tuned(
    checkpoint: Path | None = None,
    task: Task | None = None,
    *,
    evaluate_at: Sequence[int] = EVALUATE_AT,
    stop_early_after: int | None = None,
    on_evaluation: Callable[[Evaluation], Any] = lambda _: None,
    wants_checkpoint: Callable[[], bool] = lambda: False,
    **training: Any,
) -> FineTuned:
    return finetune(
        task or toy_task(ROWS),
        toy_training(**training),
        evaluate_at=evaluate_at,
        on_evaluation=on_evaluation,
        stop_early_after=stop_early_after,
        checkpoint=checkpoint,
        wants_checkpoint=wants_checkpoint,
    )


def _break_off(checkpoint: Path, *, told: int, task: Task | None = None, **settings: Any) -> None:
    """Train until the evaluation of that number is told."""
    seen: list[Evaluation] = []

    def hear(evaluation: Evaluation) -> None:
        seen.append(evaluation)
        if len(seen) == told:
            raise _BrokenOffError

    with pytest.raises(_BrokenOffError):
        _tuned(checkpoint, task, on_evaluation=hear, **settings)


def _at_call(number: int) -> Callable[[], bool]:
    """Asks for a checkpoint at that call, and breaks the training off at the next."""
    calls: list[int] = []

    def ask() -> bool:
        calls.append(1)
        if len(calls) == number + 1:
            raise _BrokenOffError
        return len(calls) == number

    return ask


@pytest.fixture(scope="module")
def unbroken() -> FineTuned:
    return train(None)


@pytest.fixture(scope="module")
def small() -> FineTuned:
    return _tuned(None, toy_task(64), **SMALL)


@pytest.fixture
def warnings_of(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The warnings so far, without what torch and transformers say."""
    return lambda: [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING and record.name == "training.checkpoint"
    ]


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
    for kill in ("step 10", "told 4", "write 6", "told 12"):
        code = _in_a_process(checkpoint, result, kill)
        assert code == -(signal.SIGXFSZ if kill.startswith("write") else signal.SIGKILL), kill
        torn = checkpoint / "resume.pt.writing"
        assert torn.exists() == kill.startswith("write")
        assert not torn.exists() or 0 < torn.stat().st_size <= 100_000
    assert not result.exists()
    assert _in_a_process(checkpoint, result, "") == 0
    assert [path.name for path in checkpoint.iterdir()] == ["resume.pt"]
    end = torch.load(result, weights_only=True)
    found = [Evaluation(**values) for values in json.loads(end["evaluations"])]
    assert [replace(evaluation, seconds=0.0) for evaluation in found] == _untimed(unbroken)
    seconds = [evaluation.seconds for evaluation in found]
    assert seconds == sorted(seconds)
    assert end["fixed_rows_loss"] == unbroken.fixed_rows_loss
    for name, tensor in unbroken.model.state_dict().items():
        assert tensor.equal(end["weights"][name]), name


@pytest.mark.parametrize("told", [4, 7])
def test_a_break_at_an_evaluation_changes_nothing(
    unbroken: FineTuned, tmp_path: Path, told: int
) -> None:
    _break_off(tmp_path, told=told)
    torch.rand(3)
    np.random.rand(3)
    heard: list[Evaluation] = []
    found = _tuned(tmp_path, on_evaluation=heard.append)
    _assert_same(found, unbroken)
    assert heard == list(found.evaluations)


@pytest.mark.parametrize("step", [1, 14, 31])
def test_a_checkpoint_between_evaluations_can_be_asked_for(
    unbroken: FineTuned, tmp_path: Path, step: int
) -> None:
    with pytest.raises(_BrokenOffError):
        _tuned(tmp_path, wants_checkpoint=_at_call(step))
    asked: list[int] = []
    found = _tuned(tmp_path, wants_checkpoint=lambda: bool(asked.append(1)))
    _assert_same(found, unbroken)
    assert len(asked) == 48 - step  # of the 60 steps 12 have an evaluation


def test_a_checkpoint_changes_nothing_and_is_never_more_than_one_file(
    unbroken: FineTuned, tmp_path: Path
) -> None:
    seen: list[list[str]] = []

    def look(_: Evaluation) -> None:
        seen.append(sorted(path.name for path in tmp_path.iterdir()))

    def look_and_ask() -> bool:
        seen.append(sorted(path.name for path in tmp_path.iterdir()))
        return len(seen) % 7 == 0

    found = _tuned(tmp_path, on_evaluation=look, wants_checkpoint=look_and_ask)
    _assert_same(found, unbroken)
    assert len(seen) == 60
    assert all(names in ([], ["resume.pt"]) for names in seen)
    assert seen[-1] == ["resume.pt"]


def test_after_the_end_nothing_is_trained_again(unbroken: FineTuned, tmp_path: Path) -> None:
    _tuned(tmp_path)
    before = (tmp_path / "resume.pt").stat()
    asked: list[int] = []
    found = _tuned(tmp_path, wants_checkpoint=lambda: bool(asked.append(1)))
    _assert_same(found, unbroken)
    assert asked == []
    assert (tmp_path / "resume.pt").stat().st_mtime_ns == before.st_mtime_ns
    assert found.seconds >= found.evaluations[-1].seconds


def test_the_seconds_before_a_break_count(tmp_path: Path) -> None:
    _break_off(tmp_path, told=6)
    before: list[Evaluation] = []
    found = _tuned(tmp_path, on_evaluation=before.append)
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
    whole = _tuned(**settings)
    assert whole.outcome == "stopped early"
    _break_off(tmp_path, told=len(whole.evaluations) - before_the_stop, **settings)
    _assert_same(_tuned(tmp_path, **settings), whole)


def test_a_training_that_has_diverged_does_not_go_on(tmp_path: Path) -> None:
    task = toy_task(64, model=_without_numbers(tmp_path / "model"))
    whole = _tuned(None, task, **SMALL)
    assert whole.outcome == "diverged"
    assert len(whole.evaluations) == 1
    _break_off(tmp_path / "checkpoint", told=1, task=task, **SMALL)
    found = _tuned(tmp_path / "checkpoint", task, **SMALL)
    assert found.outcome == "diverged"
    assert found.examples == whole.examples == 32
    assert len(found.evaluations) == 1
    assert np.isnan([found.fixed_rows_loss, found.evaluations[0].eval_loss]).all()


def _without_numbers(directory: Path) -> ModelConfig:
    model = _saved(directory, "bert")
    built = AutoModelForSequenceClassification.from_pretrained(directory)
    with torch.no_grad():
        built.get_input_embeddings().weight.fill_(float("nan"))
    built.save_pretrained(directory)
    return model


def _saved(directory: Path, kind: str) -> ModelConfig:
    config = AutoConfig.for_model(
        kind,
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        pad_token_id=0,
    )
    torch.manual_seed(3)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(directory)
    return ModelConfig(name=str(directory), max_length=16)


@pytest.mark.parametrize("kind", ["bert", "nomic_bert"])
def test_an_encoder_whose_files_name_its_weights_otherwise_goes_on_too(
    tmp_path: Path, kind: str
) -> None:
    task = toy_task(64, model=_saved(tmp_path / "model", kind))
    whole = _tuned(None, task, **SMALL)
    _break_off(tmp_path / "checkpoint", told=2, task=task, **SMALL)
    _assert_same(_tuned(tmp_path / "checkpoint", task, **SMALL), whole)


@pytest.mark.parametrize(
    ("changed_task", "changed"),
    [
        ({"train": toy_rows(64, seed=5)}, {}),
        ({"train": replace(toy_rows(64), labels=toy_rows(64, seed=5).labels)}, {}),
        ({"validation": toy_rows(80, seed=5)}, {}),
        ({"validation": None}, {}),
        ({"labels": (*LABELS[:-1], "liyane")}, {}),
        ({"model": ModelConfig(name="tiny", max_length=17)}, {}),
        ({"tokenizer": TokenizerFacts(size=VOCABULARY + 1, pad_token_id=0)}, {}),
        ({}, {"seed": 43}),
        ({}, {"learning_rate": 4e-3}),
        ({}, {"epochs": 4}),
        ({}, {"evaluate_at": [32, 128, 192]}),
        ({}, {"stop_early_after": 64}),
    ],
)
def test_a_checkpoint_of_another_training_is_not_used(
    tmp_path: Path,
    warnings_of: Callable[[], list[str]],
    changed_task: dict[str, Any],
    changed: dict[str, Any],
) -> None:
    _break_off(tmp_path, told=2, task=toy_task(64), **SMALL)
    other = toy_task(64, **changed_task)
    found = _tuned(tmp_path, other, **(SMALL | changed))
    (line,) = warnings_of()
    assert "is of another training" in line
    assert str(tmp_path) in line
    _assert_same(found, _tuned(None, other, **(SMALL | changed)))
    _tuned(tmp_path, other, **(SMALL | changed))  # its own checkpoint is there now
    assert len(warnings_of()) == 1


def test_weights_that_changed_in_the_models_directory_are_another_training(
    tmp_path: Path, warnings_of: Callable[[], list[str]]
) -> None:
    task = toy_task(64, model=_saved(tmp_path / "model", "bert"))
    _break_off(tmp_path / "checkpoint", told=2, task=task, **SMALL)
    built = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
    with torch.no_grad():
        built.get_input_embeddings().weight[7, 3] += 1e-6
    built.save_pretrained(tmp_path / "model")
    _tuned(tmp_path / "checkpoint", task, **SMALL)
    assert ["another training" in line for line in warnings_of()] == [True]


class _Hostile:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.proof,))


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _a_foreign_archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("words.txt", "not ours")


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not a checkpoint"),
    "torn": lambda path: os.truncate(path, path.stat().st_size - 1000),
    "half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "flipped": _flip_a_bit,
    "foreign": _a_foreign_archive,
    "another object": lambda path: torch.save([1, 2], path),
    "hostile": lambda path: torch.save(_Hostile(path.parent / "proof"), path),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_not_used_and_nothing_in_it_is_run(
    small: FineTuned, tmp_path: Path, warnings_of: Callable[[], list[str]], damage: str
) -> None:
    _break_off(tmp_path, told=2, task=toy_task(64), **SMALL)
    DAMAGES[damage](tmp_path / "resume.pt")
    found = _tuned(tmp_path, toy_task(64), **SMALL)
    (line,) = warnings_of()
    assert "cannot be read" in line
    assert "\n" not in line
    assert not (tmp_path / "proof").exists()
    _assert_same(found, small)


def test_a_full_disk_is_a_warning_and_the_former_checkpoint_stays(
    small: FineTuned, tmp_path: Path, warnings_of: Callable[[], list[str]]
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    kept: list[bytes] = []

    def fill(_: Evaluation) -> None:
        kept.append((tmp_path / "resume.pt").read_bytes())
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))

    try:
        found = _tuned(tmp_path, toy_task(64), on_evaluation=fill, **SMALL)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(warnings_of()) == 2
    assert all("cannot be written" in line and "\n" not in line for line in warnings_of())
    assert kept[0] == kept[1] == kept[2] == (tmp_path / "resume.pt").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["resume.pt"]
    _assert_same(found, small)
    _assert_same(found, _tuned(tmp_path, toy_task(64), **SMALL))


def test_what_a_failed_write_leaves_need_not_be_removable(
    tmp_path: Path, warnings_of: Callable[[], list[str]]
) -> None:
    (tmp_path / "resume.pt.writing" / "in the way").mkdir(parents=True)
    file = CheckpointFile(directory=tmp_path, fingerprint="a")
    file.write(Checkpoint(trainer={}, evaluations=(), seconds=1.0))
    (line,) = warnings_of()
    assert "cannot be written" in line


@pytest.mark.parametrize("name", ["torch", "transformers"])
def test_a_checkpoint_of_another_version_of_a_library_is_not_used(
    small: FineTuned,
    tmp_path: Path,
    warnings_of: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    # `sys.modules` may hold another object for transformers, which loads itself lazily.
    library = getattr(sys.modules[finetune.__module__], name)
    with monkeypatch.context() as before:
        before.setattr(library, "__version__", f"{library.__version__}.before")
        _break_off(tmp_path, told=2, task=toy_task(64), **SMALL)
    found = _tuned(tmp_path, toy_task(64), **SMALL)
    assert ["versions of torch and transformers" in line for line in warnings_of()] == [True]
    _assert_same(found, small)


def test_a_place_where_no_directory_can_be_is_an_error_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    heard: list[Evaluation] = []
    with pytest.raises(OSError, match="file"):
        _tuned(tmp_path / "file" / "checkpoint", toy_task(64), on_evaluation=heard.append, **SMALL)
    assert heard == []


def test_the_file_holds_the_evaluations_to_the_last_digit(tmp_path: Path) -> None:
    found = _tuned(tmp_path, toy_task(64), **SMALL)
    content = torch.load(tmp_path / "resume.pt", weights_only=True)
    assert content["evaluations"] == [asdict(evaluation) for evaluation in found.evaluations]
