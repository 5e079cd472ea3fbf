"""One optimizer step of ours beside a bare PyTorch loop over the same batches."""

import time
from collections.abc import Callable
from itertools import islice
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, set_seed

from training.batches import Batch, to_device, training_batches
from training.config import TrainingConfig
from training.finetune import Task
from training.optimizer import learning_rate_after
from training.resident import Resident
from training.schedule import schedule_of
from training.weights import class_weights


def compare_steps(
    task: Task, training: TrainingConfig, *, num_steps: int, num_repeats: int, bfloat16: bool
) -> dict[str, Any]:
    """Milliseconds a step, ours and a bare loop's, measured in turns.

    Ours makes its batches as it goes; the bare loop finds them made, which is the limit for one
    process that runs the model of transformers as it is.

    Args:
        task: rows and model.
        training: batch size, seed and all else.
        num_steps: of one turn, after as many of warming up.
        num_repeats: turns of each.
        bfloat16: whether forward passes compute in it.

    Returns:
        `ours` and `bare` ({`ms`, `spread`}: mean and standard deviation over the turns), `ratio`
        (ours over bare), `rows` and `pieces` a step.
    """
    schedule = schedule_of(training, len(task.train))
    assert 2 * num_steps <= schedule.total_steps, "too few rows"
    encoder = task.read_encoder()
    pad_token_id = task.tokenizer.pad_token_id

    def batches() -> Any:
        return training_batches(
            task.train, schedule=schedule, seed=training.seed, pad_token_id=pad_token_id
        )

    weights = class_weights(task.train.labels, len(task.labels), training.class_weights)
    lent = Resident().lent(
        encoder,
        seed=training.seed,
        most_pieces=task.model.max_length,
        pad_token_id=pad_token_id,
    )
    bare = _Bare(encoder.build(training.seed), training, weights, bfloat16=bfloat16)
    made: list[Batch] = list(islice(batches(), num_steps))
    with lent as stepper:
        stepper.begin(training, weights, bfloat16=bfloat16)
        set_seed(training.seed)

        def ours() -> None:
            for number, batch in enumerate(islice(batches(), num_steps)):
                rate = learning_rate_after(number + 1, training, schedule)
                stepper.step(batch, learning_rate=rate)

        def theirs() -> None:
            for number, batch in enumerate(made):
                bare.step(batch, learning_rate_after(number + 1, training, schedule))

        turns: dict[str, list[float]] = {"ours": [], "bare": []}
        for turn in range(num_repeats + 1):
            for name, run in (("ours", ours), ("bare", theirs)):
                seconds = _timed(run)
                if turn:  # the first one warms up, and captures where there is a GPU
                    turns[name].append(1000 * seconds / num_steps)
    return {
        **{name: {"ms": mean(ms), "spread": stdev(ms)} for name, ms in turns.items()},
        "ratio": mean(turns["ours"]) / mean(turns["bare"]),
        "ratio_spread": stdev(
            [one / other for one, other in zip(turns["ours"], turns["bare"], strict=True)]
        ),
        "rows": training.batch_size,
        "pieces": float(np.mean([batch["attention_mask"].sum() for batch in made])),
        "padded_pieces": float(np.mean([batch["input_ids"].numel() for batch in made])),
    }


class _Bare:
    """What anybody would write: forward, weighted loss, backward, clipping, AdamW."""

    def __init__(
        self, model: PreTrainedModel, training: TrainingConfig, weights: Any, *, bfloat16: bool
    ) -> None:
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = model.to(self._device).train()  # type: ignore[arg-type]
        self._weights = torch.tensor(weights, dtype=torch.float32, device=self._device)
        self._optimizer = torch.optim.AdamW(
            model.parameters(), lr=0.0, weight_decay=training.weight_decay, fused=True
        )
        self._limit, self._bfloat16 = training.max_grad_norm, bfloat16

    def step(self, batch: Batch, learning_rate: float) -> None:
        batch = to_device(batch, self._device)
        self._optimizer.param_groups[0]["lr"] = learning_rate
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bfloat16):
            logits = self._model(batch["input_ids"], batch["attention_mask"]).logits
        cross_entropy(logits.float(), batch["labels"], weight=self._weights).backward()
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), self._limit)
        self._optimizer.step()
        self._optimizer.zero_grad()


def _timed(run: Callable[[], None]) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    began = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began
