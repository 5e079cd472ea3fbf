"""When a checkpoint is not used: of another training, or damaged."""

import logging
import os
import sys
import zipfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from tests.training.broken_off import (
    SMALL,
    assert_same,
    break_off,
    saved_model,
    tuned_with,
)
from tests.training.models import LABELS, VOCABULARY, toy_rows, toy_task
from training.config import ModelConfig
from training.finetune import FineTuned, finetune
from training.model import TokenizerFacts


@pytest.fixture(scope="module")
def small() -> FineTuned:
    return tuned_with(None, toy_task(64), **SMALL)


@pytest.fixture
def warnings_of(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The warnings so far, without what torch and transformers say."""
    return lambda: [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING and record.name == "training.checkpoint"
    ]


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
    break_off(tmp_path, told=2, task=toy_task(64), **SMALL)
    other = toy_task(64, **changed_task)
    found = tuned_with(tmp_path, other, **(SMALL | changed))
    (line,) = warnings_of()
    assert "is of another training" in line
    assert str(tmp_path) in line
    assert_same(found, tuned_with(None, other, **(SMALL | changed)))
    tuned_with(tmp_path, other, **(SMALL | changed))  # its own checkpoint is there now
    assert len(warnings_of()) == 1


def test_weights_that_changed_in_the_models_directory_are_another_training(
    tmp_path: Path, warnings_of: Callable[[], list[str]]
) -> None:
    task = toy_task(64, model=saved_model(tmp_path / "model", "bert"))
    break_off(tmp_path / "checkpoint", told=2, task=task, **SMALL)
    built = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
    with torch.no_grad():
        built.get_input_embeddings().weight[7, 3] += 1e-6
    built.save_pretrained(tmp_path / "model")
    tuned_with(tmp_path / "checkpoint", task, **SMALL)
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
    break_off(tmp_path, told=2, task=toy_task(64), **SMALL)
    DAMAGES[damage](tmp_path / "resume.pt")
    found = tuned_with(tmp_path, toy_task(64), **SMALL)
    (line,) = warnings_of()
    assert "cannot be read" in line
    assert "\n" not in line
    assert not (tmp_path / "proof").exists()
    assert_same(found, small)


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
        break_off(tmp_path, told=2, task=toy_task(64), **SMALL)
    found = tuned_with(tmp_path, toy_task(64), **SMALL)
    assert ["versions of torch and transformers" in line for line in warnings_of()] == [True]
    assert_same(found, small)


def test_the_file_holds_the_evaluations_to_the_last_digit(tmp_path: Path) -> None:
    found = tuned_with(tmp_path, toy_task(64), **SMALL)
    content = torch.load(tmp_path / "resume.pt", weights_only=True)
    assert content["evaluations"] == [asdict(evaluation) for evaluation in found.evaluations]
