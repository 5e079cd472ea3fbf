"""`python -m benchmarks.steps`: seconds of an optimizer step, compared with a bare PyTorch loop's.

Both train on the same batches; our loop builds them on the way, the bare loop gets them ready-made.
The bare loop is the limit for one process that runs the models of transformers unchanged.
"""

from training.cli import ExitCode, OptionParser, exit_on_interrupt, run_command

if __name__ == "__main__":
    exit_on_interrupt()  # while the libraries below are loaded

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, set_seed

from training.batches import Batch, to_device, training_batches
from training.config import SAMPLE, TINY, TrainingConfig
from training.device import most_reserved_memory, training_device, uses_bfloat16
from training.finetune import Task
from training.metrics import class_weights
from training.model_cache import ModelCache
from training.schedule import learning_rate_after, schedule_of
from tuning.preparation import prepare_search
from tuning.start import build

_WARM_UP = 2
"""Turns that do not count; on a GPU, the second one captures the steps as CUDA graphs."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    parser = OptionParser(prog="python -m benchmarks.steps", description=__doc__)
    parser.add_argument("--data", default=SAMPLE, metavar="FILE", help="rows with columns as ours")
    parser.add_argument(
        "--model",
        default=TINY,
        metavar="DIR",
        help="random weights; or `tiny`",
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of PyTorch")
    parser.add_argument("--batch-size", type=int, default=16, metavar="N", help="rows a step")
    parser.add_argument("--steps", type=int, default=100, metavar="N", help="of one turn")
    parser.add_argument("--alone", action="store_true", help="without the bare loop")
    parser.add_argument("--plain", action="store_true", help="no CUDA graphs")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="turns of each")
    options = parser.parse(arguments)
    torch.set_num_threads(options.threads)
    configuration = build(
        {
            "data": {"path": options.data},
            "model": {"name": options.model, "weights": "random"},
            "training": {"batch_size": options.batch_size, "warmup_steps": 0.1, "epochs": 3},
            "search": {"space": {"learning_rate": {"choice": [2e-5]}}},  # any that fits the rows
        }
    )
    with tempfile.TemporaryDirectory() as directory:
        prepared = prepare_search(
            configuration,
            tokenizer_directory=Path(directory) / "tokenizer",
            num_threads=options.threads,
        )
        found = compare_steps(
            prepared.search_data.task(0),
            configuration.training,
            num_steps=options.steps,
            num_repeats=options.repeats,
            bfloat16=uses_bfloat16(configuration.training),
            captures=not options.plain,
            alone=options.alone,
        )
    name = options.model if options.model == TINY else Path(options.model).resolve().name
    print(json.dumps({"model": name, "threads": options.threads, **found}))
    return ExitCode.DONE


def compare_steps(
    task: Task,
    training: TrainingConfig,
    *,
    num_steps: int,
    num_repeats: int,
    bfloat16: bool,
    captures: bool = True,
    alone: bool = False,
) -> dict[str, Any]:
    """Measure the milliseconds of a step, ours and a bare loop's in alternating turns.

    Args:
        task: rows and model.
        training: batch size, seed and all other fields.
        num_steps: of one turn.
        num_repeats: turns of each.
        bfloat16: whether forward passes compute in it.
        captures: whether our steps run as CUDA graphs where there is a GPU.
        alone: without the bare loop.

    Returns:
        `ours` and `bare` ({`ms`, `spread`}: mean and standard deviation over the turns), `ratio`
        (ours over bare), `rows`, tokens a step (`padded_pieces` with padding), `parameters`,
        `device_mib` (most that torch held; None without a GPU).
    """
    schedule = schedule_of(training, len(task.train))
    assert 2 * num_steps <= schedule.total_steps, "too few rows"
    encoder = task.read_encoder()
    padding = task.tokenizer.padding

    def batches() -> Any:
        return training_batches(task.train, schedule=schedule, seed=training.seed, padding=padding)

    weights = class_weights(task.train.labels, len(task.labels), training.class_weights)
    borrowed = ModelCache().borrow(
        encoder,
        seed=training.seed,
        most_tokens=task.model.max_length,
        padding=padding,
        captures=captures,
    )
    made: list[Batch] = list(islice(batches(), num_steps))
    rates = [learning_rate_after(step, training, schedule) for step in range(1, num_steps + 1)]
    with borrowed as optimizer_step:
        optimizer_step.start(training, weights, bfloat16=bfloat16)
        set_seed(training.seed)

        def ours() -> None:
            for batch, rate in zip(batches(), rates, strict=False):
                optimizer_step.step(batch, learning_rate=rate)

        runs = {"ours": ours}
        if not alone:
            bare = _Bare(encoder.build(training.seed), training, weights, bfloat16=bfloat16)

            def theirs() -> None:
                for batch, rate in zip(made, rates, strict=True):
                    bare.step(batch, rate)

            runs["bare"] = theirs
        turns: dict[str, list[float]] = {name: [] for name in runs}
        for turn in range(_WARM_UP + num_repeats):
            for name, run in runs.items():
                seconds = _timed(run)
                if turn >= _WARM_UP:
                    turns[name].append(1000 * seconds / num_steps)
    ratios = [one / other for one, other in zip(turns["ours"], turns.get("bare", []), strict=False)]
    return {
        **{name: {"ms": mean(ms), "spread": stdev(ms)} for name, ms in turns.items()},
        "ratio": mean(ratios) if ratios else None,
        "ratio_spread": stdev(ratios) if ratios else None,
        "rows": training.batch_size,
        "parameters": sum(p.numel() for p in optimizer_step.model.parameters()),
        "device_mib": None if (most := most_reserved_memory()) is None else most / 2**20,
        "pieces": float(np.mean([batch["attention_mask"].sum() for batch in made])),
        "padded_pieces": float(np.mean([batch["input_ids"].numel() for batch in made])),
    }


class _Bare:
    """The usual loop: forward pass, weighted loss, backward pass, clipping, AdamW."""

    def __init__(
        self, model: PreTrainedModel, training: TrainingConfig, weights: Any, *, bfloat16: bool
    ) -> None:
        self._device = training_device()
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
        cross_entropy(logits.float(), batch["labels"], weight=self._weights).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), self._limit)
        self._optimizer.step()
        self._optimizer.zero_grad()


def _timed(run: Callable[[], None]) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    started = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


if __name__ == "__main__":
    raise SystemExit(run_command(main))
