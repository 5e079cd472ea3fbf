"""Trainings on toy rows that are broken off and gone on with, and what must come out."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from tests.training.breaking import EVALUATE_AT, ROWS
from tests.training.models import VOCABULARY, toy_task, toy_training
from training.config import ModelConfig
from training.finetune import FineTuned, Task, finetune
from training.metrics import Evaluation

SMALL: dict[str, Any] = {"evaluate_at": [32, 64, 192]}


class BrokenOffError(Exception):
    """The end of a training from outside."""


def untimed(tuned: FineTuned) -> list[Evaluation]:
    return [replace(evaluation, seconds=0.0) for evaluation in tuned.evaluations]


def assert_same(one: FineTuned, other: FineTuned) -> None:
    assert untimed(one) == untimed(other)
    assert one.outcome == other.outcome
    assert one.examples == other.examples
    assert one.fixed_rows_loss == other.fixed_rows_loss
    ours, theirs = one.model.state_dict(), other.model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(ours[name].equal(theirs[name]) for name in ours)


def tuned_with(
    checkpoint: Path | None = None,
    task: Task | None = None,
    *,
    evaluate_at: Sequence[int] = EVALUATE_AT,
    stop_early_after: int | None = None,
    on_evaluation: Callable[[Evaluation], Any] = lambda _: None,
    checkpoint_share: float = 1.0,
    on_checkpoint: Callable[[Path], Any] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
    micro_batch_size: int | None = None,
    **training: Any,
) -> FineTuned:
    """Train on the toy rows; unless told otherwise every evaluation writes a checkpoint."""
    return finetune(
        task or toy_task(ROWS),
        toy_training(**training),
        evaluate_at=evaluate_at,
        on_evaluation=on_evaluation,
        stop_early_after=stop_early_after,
        checkpoint=checkpoint,
        checkpoint_share=checkpoint_share,
        on_checkpoint=on_checkpoint,
        should_stop=should_stop,
        micro_batch_size=micro_batch_size,
    )


def break_off(checkpoint: Path, *, told: int, task: Task | None = None, **settings: Any) -> None:
    """Train until the evaluation of that number is told."""
    seen: list[Evaluation] = []

    def hear(evaluation: Evaluation) -> None:
        seen.append(evaluation)
        if len(seen) == told:
            raise BrokenOffError

    with pytest.raises(BrokenOffError):
        tuned_with(checkpoint, task, on_evaluation=hear, **settings)


def at_call(number: int) -> Callable[[], bool]:
    """Asks the training to stop at that call."""
    calls: list[int] = []

    def ask() -> bool:
        calls.append(1)
        return len(calls) == number

    return ask


def saved_model(directory: Path, kind: str, **settings: Any) -> ModelConfig:
    config = AutoConfig.for_model(
        kind,
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        pad_token_id=0,
        **settings,
    )
    torch.manual_seed(3)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(directory)
    return ModelConfig(name=str(directory), max_length=16)
