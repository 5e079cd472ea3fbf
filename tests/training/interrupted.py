"""Trainings on toy rows that are interrupted and resumed.

`python -m tests.training.interrupted CHECKPOINT RESULT KILL` trains in a process that kills itself.
"""

import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from tests.training.models import VOCABULARY, toy_task, toy_training
from training.config import ModelConfig
from training.finetune import FineTuned, Task, finetune
from training.metrics import Evaluation

ROWS = 320  # 20 steps an epoch
EVALUATE_AT = tuple(range(ROWS // 4, 3 * ROWS + 1, ROWS // 4))  # every fifth step
SMALL: dict[str, Any] = {"evaluate_at": [32, 64, 192]}


class InterruptionError(Exception):
    """Interrupts a training."""


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
    """Train on the toy rows; by default every evaluation writes a checkpoint."""
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


def interrupt(
    checkpoint: Path, *, at_evaluation: int, task: Task | None = None, **settings: Any
) -> None:
    """Train until evaluation `at_evaluation` is reported."""
    seen: list[Evaluation] = []

    def count(evaluation: Evaluation) -> None:
        seen.append(evaluation)
        if len(seen) == at_evaluation:
            raise InterruptionError

    with pytest.raises(InterruptionError):
        tuned_with(checkpoint, task, on_evaluation=count, **settings)


def at_call(number: int) -> Callable[[], bool]:
    """Return a `should_stop` that is true at that call."""
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


def train(checkpoint: Path | None, *, kill: str = "") -> FineTuned:
    """Train on the toy rows with dropout.

    Args:
        checkpoint: directory of the checkpoint.
        kill: `step N`: after step N; `evaluation N`: when evaluation N is reported;
            `write N`: in the middle of the write after evaluation N.
    """
    what, _, number = kill.partition(" ")
    steps: list[int] = []
    reported: list[Evaluation] = []

    def at_step() -> bool:
        steps.append(1)
        if what == "step" and len(steps) == int(number):
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    def at_evaluation(evaluation: Evaluation) -> None:
        reported.append(evaluation)
        if what == "evaluation" and len(reported) == int(number):
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "write" and len(reported) == int(number):
            _die_beyond(100_000)

    tuned = finetune(
        toy_task(ROWS),
        toy_training(),
        evaluate_at=EVALUATE_AT,
        on_evaluation=at_evaluation,
        checkpoint=checkpoint,
        checkpoint_share=1.0,
        should_stop=at_step,
    )
    assert reported == list(tuned.evaluations)
    return tuned


def _die_beyond(num_bytes: int) -> None:
    """Let the system kill this process when it writes a longer file."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, num_bytes))


def main(checkpoint: str, result: str, kill: str) -> None:
    tuned = train(Path(checkpoint), kill=kill)
    evaluations = json.dumps([asdict(evaluation) for evaluation in tuned.evaluations])
    end = {"weights": tuned.model.state_dict(), "evaluations": evaluations}
    torch.save(end | {"fixed_rows_loss": tuned.fixed_rows_loss}, result)


if __name__ == "__main__":
    main(*sys.argv[1:])
