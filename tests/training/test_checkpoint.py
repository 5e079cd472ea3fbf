"""When a checkpoint is written, and when it is not used: of another training, or damaged."""

import logging
import os
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from tests.training.interrupted import (
    EVALUATE_AT,
    ROWS,
    SMALL,
    InterruptionError,
    assert_same,
    at_call,
    interrupt,
    saved_model,
    tuned_with,
)
from tests.training.models import LABELS, VOCABULARY, toy_rows, toy_task
from training.checkpoint import CHECKPOINT_FILE, is_due
from training.config import ModelConfig
from training.errors import TrainingStoppedError
from training.finetune import FineTuned, finetune
from training.metrics import Evaluation
from training.model import TokenizerFacts


@pytest.fixture(scope="module")
def small() -> FineTuned:
    return tuned_with(None, toy_task(64), **SMALL)


@pytest.fixture
def warnings_of(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The warnings so far, without those of torch and transformers."""
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
    interrupt(tmp_path, at_evaluation=2, task=toy_task(64), **SMALL)
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
    interrupt(tmp_path / "checkpoint", at_evaluation=2, task=task, **SMALL)
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
    interrupt(tmp_path, at_evaluation=2, task=toy_task(64), **SMALL)
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
        interrupt(tmp_path, at_evaluation=2, task=toy_task(64), **SMALL)
    found = tuned_with(tmp_path, toy_task(64), **SMALL)
    assert ["versions of torch and transformers" in line for line in warnings_of()] == [True]
    assert_same(found, small)


def test_the_file_holds_the_evaluations_to_the_last_digit(tmp_path: Path) -> None:
    found = tuned_with(tmp_path, toy_task(64), **SMALL)
    content = torch.load(tmp_path / "resume.pt", weights_only=True)
    assert content["evaluations"] == [asdict(evaluation) for evaluation in found.evaluations]


def _share_of_writing(*, write_s: float, evaluation_s: float, share: float) -> tuple[float, int]:
    """Share of the time, and number of writes, in 1,000 evaluations of a training."""
    now = writing = ended = last = 0.0
    writes = 0
    for _ in range(1000):
        now += evaluation_s
        if is_due(since_s=now - ended, last_write_s=last, share=share):
            now += write_s
            ended, last, writes = now, write_s, writes + 1
            writing += write_s
    return writing / now, writes


@pytest.mark.parametrize("write_s", [0.01, 1.0, 7.3, 60.0])
@pytest.mark.parametrize("share", [0.05, 0.2])
def test_writing_takes_no_more_than_its_share_of_the_time(write_s: float, share: float) -> None:
    found, writes = _share_of_writing(write_s=write_s, evaluation_s=10.0, share=share)
    assert 0 < found <= share + write_s / 10_000  # the first is written whatever it costs
    # And no less often than that allows: it waits for the next evaluation, no longer.
    assert writes >= 1000 / ((1 / share - 1) * write_s / 10.0 + 2)


def test_cheap_checkpoints_are_written_at_every_evaluation() -> None:
    assert _share_of_writing(write_s=0.1, evaluation_s=10.0, share=0.05)[1] == 1000
    assert _share_of_writing(write_s=60.0, evaluation_s=1.0, share=1.0)[1] == 1000


def test_the_first_evaluation_and_the_one_that_ends_the_training_write_a_checkpoint(
    tmp_path: Path,
) -> None:
    events: list[int | str] = []
    tuned_with(
        tmp_path,
        on_evaluation=lambda evaluation: events.append(evaluation.examples),
        # A slow storage, whose time counts: the next write is due after 200 s.
        on_checkpoint=lambda _: (events.append("written"), time.sleep(0.2)),
        checkpoint_share=0.001,
    )
    first, *between, last = EVALUATE_AT
    assert events == ["written", first, *between, "written", last]


def test_with_a_share_of_one_every_evaluation_writes_and_reports_the_file(tmp_path: Path) -> None:
    written: list[Path] = []

    def note(file: Path) -> None:
        assert file.stat().st_size > 10_000
        written.append(file)

    tuned_with(tmp_path, on_checkpoint=note)
    assert written == [tmp_path / CHECKPOINT_FILE] * len(EVALUATE_AT)


def test_an_evaluation_that_stops_the_training_early_writes_a_checkpoint(tmp_path: Path) -> None:
    written: list[Path] = []
    settings: dict[str, Any] = {
        "stop_early_after": ROWS // 2,
        "epochs": 12,
        "early_stopping_patience": 1,
        "evaluate_at": range(ROWS // 4, 12 * ROWS + 1, ROWS // 4),
        "checkpoint_share": 1e-6,
    }
    whole = tuned_with(tmp_path, on_checkpoint=written.append, **settings)
    assert whole.outcome == "stopped early"
    assert len(written) == 2
    asked: list[int] = []
    again = tuned_with(tmp_path, should_stop=lambda: bool(asked.append(1)), **settings)
    assert_same(again, whole)
    assert asked == []


def test_an_error_of_on_checkpoint_ends_the_training_and_the_checkpoint_stays(
    small: FineTuned, tmp_path: Path
) -> None:
    reported: list[Evaluation] = []

    def fail(_: Path) -> None:
        raise InterruptionError

    with pytest.raises(InterruptionError):
        tuned_with(
            tmp_path, toy_task(64), on_evaluation=reported.append, on_checkpoint=fail, **SMALL
        )
    assert reported == []
    found = tuned_with(tmp_path, toy_task(64), on_evaluation=reported.append, **SMALL)
    assert reported == list(found.evaluations)
    assert_same(found, small)


@pytest.mark.parametrize(
    ("step", "share", "events"),
    [
        (3, 1.0, ["written", 32, "written"]),  # between evaluations
        (2, 1.0, ["written", 32]),  # an evaluation that has written this step's
        (4, 1e-6, ["written", 32, 64, "written"]),  # one that has not
    ],
)
def test_a_stop_writes_a_checkpoint_of_its_step_once(
    tmp_path: Path, step: int, share: float, events: list[int | str]
) -> None:
    seen: list[int | str] = []
    with pytest.raises(TrainingStoppedError):
        tuned_with(
            tmp_path,
            toy_task(64),
            on_evaluation=lambda evaluation: seen.append(evaluation.examples),
            on_checkpoint=lambda _: seen.append("written"),
            should_stop=at_call(step),
            checkpoint_share=share,
            **SMALL,
        )
    assert seen == events


def test_a_training_that_keeps_no_checkpoint_stops_too() -> None:
    with pytest.raises(TrainingStoppedError):
        tuned_with(None, toy_task(64), should_stop=at_call(3), **SMALL)


def test_a_training_that_has_ended_by_itself_is_not_asked_to_stop() -> None:
    asked: list[int] = []
    found = tuned_with(None, toy_task(64), should_stop=lambda: bool(asked.append(1)), **SMALL)
    assert found.outcome == "completed"
    assert len(asked) == 11  # of 12 steps
