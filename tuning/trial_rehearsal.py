"""What the process of a rehearsal does: steps, an evaluation and a checkpoint, each measured."""

import json
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from results.log import quiet_libraries
from training.batches import order_batches, pad
from training.checkpoint import Checkpoint, CheckpointFile
from training.config import TrainingConfig
from training.device import card_memory, peak_memory, uses_bfloat16
from training.finetune import NUM_FIXED_ROWS, Task
from training.inference import Inference
from training.metrics import class_weights, evaluate_probabilities
from training.model_cache import ModelCache
from training.optimizer_step import OptimizerStep
from training.tokens import Integers, LabelledTokens
from tuning.rehearsal import Rehearsal
from tuning.trainable import SearchData

_SECONDS_A_SIZE = 1.0
"""Seconds in which steps of one batch size are timed, if a step is short enough."""
_NUM_WARM, _MIN_STEPS, _MOST_STEPS = 2, 4, 100
"""Steps of a batch size that are not counted; steps that are timed, at least and at most."""
_NUM_SHAPES = 8
"""Batches that are timed on a GPU."""
_NUM_EVALUATED = 1_000
"""Validation rows that are evaluated at most; all of them take longer in proportion."""
_RATE = 1e-5
"""Learning rate of the steps, whose weights nobody uses."""

_COMPUTE = """
import numpy
a = numpy.random.default_rng(0).standard_normal((128, 128)).astype("float32")
print(flush=True)
while True:
    for i in range(500):
        a @ a
"""
"""Program that keeps a core busy as a trial does: small matrix products, called from Python."""


def rehearse(
    data: SearchData, training: TrainingConfig, sizes: Sequence[int], *, at_once: int
) -> Rehearsal:
    """Rehearse a trial of each encoder, one after the other in this process.

    Args:
        data: what the trials of the search share.
        training: of trial 0.
        sizes: batch sizes to time, ascending.
        at_once: trials that will run at once on this machine.

    Raises:
        EncoderMemoryError: the largest batch of an encoder does not fit in memory.
    """
    started, cache = time.monotonic(), ModelCache()
    torch.set_num_threads(data.num_threads)
    found = {}
    with _busy_cores((at_once - 1) * data.num_threads):
        for name in data.encoders:
            with _as_memory_error(name):
                task = data.task(0, name)
                found[name] = _rehearse(task, training, sizes, cache, at_once=at_once)
    first, *others = found
    return replace(
        found[first],
        others={name: found[name] for name in others},
        memory=peak_memory(),
        seconds=time.monotonic() - started,
    )


def _rehearse(
    task: Task, training: TrainingConfig, sizes: Sequence[int], cache: ModelCache, *, at_once: int
) -> Rehearsal:
    """Train a few steps of each batch size, evaluate, write a checkpoint; measure all of it."""
    started = time.monotonic()
    with _borrowed(task, training, cache) as step:
        build = time.monotonic() - started
        bench = _Bench(task=task, training=training, step=step)
        steps = {size: bench.time_steps(size) for size in sizes}
        evaluation = bench.time_evaluation()
        of_largest = bench.time_longest_rows(sizes[-1])
        checkpoint = bench.time_checkpoint()
        num_parameters = sum(parameter.numel() for parameter in step.model.parameters())
    again = time.monotonic()
    with _borrowed(task, training.model_copy(update={"seed": training.seed ^ 1}), cache):
        reset = time.monotonic() - again
    num_fixed = min(NUM_FIXED_ROWS, len(task.train))
    fixed_rows = evaluation * num_fixed / max(len(task.validation or ()), 1)
    return Rehearsal(
        steps=steps,
        evaluation=evaluation,
        checkpoint=checkpoint,
        between=reset + fixed_rows,
        build=build,
        memory=peak_memory(),
        card_memory=card_memory(),
        batch_size=sizes[-1],
        longest_row=int(task.train.tokens.lengths.max()),
        seconds_of_largest=of_largest,
        num_parameters=num_parameters,
        at_once=at_once,
        seconds=time.monotonic() - started,
    )


class EncoderMemoryError(MemoryError):
    """The largest batch of an encoder does not fit in memory."""

    def __init__(self, encoder: str) -> None:
        """Name the encoder."""
        super().__init__(encoder)
        self.encoder = encoder


@contextmanager
def _borrowed(task: Task, training: TrainingConfig, cache: ModelCache) -> Iterator[OptimizerStep]:
    """Yield the optimizer step of the model, as `training.finetune` uses it."""
    with cache.borrow(
        task.read_encoder(),
        seed=training.seed,
        most_tokens=task.model.max_length,
        padding=task.tokenizer.padding,
        captures=training.cuda_graphs,
    ) as step:
        yield step


@dataclass(frozen=True, kw_only=True)
class _Bench:
    """A model in training whose parts are timed."""

    task: Task
    training: TrainingConfig
    step: OptimizerStep

    def time_steps(self, batch_size: int) -> float:
        """Return the mean seconds of a step on the batches of an epoch, or on some of each length.

        Each is another batch, since a step with a new shape takes longer than the next one with it.
        """
        self._start(batch_size)
        lengths = self.task.train.tokens.lengths
        order = order_batches(lengths, batch_size=batch_size, seed=self.training.seed, epoch=0)
        on_gpu = self.step.device.type == "cuda"
        first = [self._take(rows) for rows in order[:_NUM_WARM]][-1]
        num = _NUM_SHAPES if on_gpu else max(int(_SECONDS_A_SIZE / first), _MIN_STEPS)
        order.sort(key=lambda rows: int(lengths[rows].max()))
        middles = (np.arange(min(num, _MOST_STEPS)) + 0.5) * len(order) / min(num, _MOST_STEPS)
        chosen = [order[int(position)] for position in middles]
        if on_gpu:  # the first step with each shape of a batch captures a graph
            for rows in chosen:
                self._take(rows)
        return sum(self._take(rows) for rows in chosen) / len(chosen)

    def time_evaluation(self) -> float:
        """Return the seconds of an evaluation on all validation rows."""
        rows = self.task.validation
        assert rows is not None, "a search has validation rows"
        spread = np.linspace(0, len(rows) - 1, min(len(rows), _NUM_EVALUATED)).astype(np.int64)
        some = rows.take(spread)
        started = time.monotonic()
        self._evaluate(some)
        if time.monotonic() - started < _SECONDS_A_SIZE:  # the first one was a warm-up
            started = time.monotonic()
            self._evaluate(some)
        return (time.monotonic() - started) * len(rows) / len(some)

    def time_longest_rows(self, batch_size: int) -> float:
        """Return the seconds of a step on the longest rows; evaluate the longest ones, too."""
        self._start(batch_size)
        longest = np.argsort(-self.task.train.tokens.lengths, kind="stable")[:batch_size]
        seconds = self._take(longest)
        rows = self.task.validation
        assert rows is not None, "a search has validation rows"
        order = np.argsort(-rows.tokens.lengths, kind="stable")
        self._evaluate(rows.take(order[: self.training.eval_batch_size]))
        return seconds

    def time_checkpoint(self) -> float:
        """Return the seconds in which a checkpoint is written."""
        with tempfile.TemporaryDirectory() as directory:
            file = CheckpointFile(directory=Path(directory), fingerprint="")
            state, started = self.step.snapshot(), time.monotonic()
            file.write(Checkpoint(step=1, state=state, evaluations=(), seconds=0.0))
            return time.monotonic() - started

    def _start(self, batch_size: int) -> None:
        self.step.start(
            self.training.model_copy(update={"batch_size": batch_size}),
            np.ones(len(self.task.labels)),
            bfloat16=uses_bfloat16(self.training),
        )

    def _take(self, rows: Integers) -> float:
        """Take a step on rows, and return its seconds."""
        started = time.monotonic()
        batch = pad(self.task.train.tokens, rows, padding=self.task.tokenizer.padding)
        batch["labels"] = torch.from_numpy(self.task.train.labels[rows])
        self.step.step(batch, learning_rate=_RATE)
        self.step.take_interval_loss()  # waits for the GPU
        return time.monotonic() - started

    def _evaluate(self, rows: LabelledTokens) -> None:
        inference = Inference(
            model=self.step.model,
            batch_size=self.training.eval_batch_size,
            padding=self.task.tokenizer.padding,
            bfloat16=uses_bfloat16(self.training),
            release=self.step.release,
        )
        log_p = inference.log_probabilities(rows.tokens)
        weights = class_weights(self.task.train.labels, len(self.task.labels), "none")
        evaluate_probabilities(rows.labels, log_p, weights, self.task.objective)
        self.step.model.train()


@contextmanager
def _busy_cores(num: int) -> Iterator[None]:
    """Keep `num` cores busy during a `with` block, as the other trials will."""
    program = [sys.executable, "-c", _COMPUTE]
    processes = [subprocess.Popen(program, stdout=subprocess.PIPE) for _ in range(num)]
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()  # it computes from now on
        yield
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@contextmanager
def _as_memory_error(encoder: str) -> Iterator[None]:
    """Raise EncoderMemoryError for torch's RuntimeErrors, which on the CPU have no own class."""
    try:
        yield
    except MemoryError as error:
        raise EncoderMemoryError(encoder) from error
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
            raise EncoderMemoryError(encoder) from error
        raise


def main() -> None:
    """Read what to rehearse from standard input; write what was found as the last line."""
    quiet_libraries()
    data, training, sizes, at_once = pickle.load(sys.stdin.buffer)
    answer: dict[str, str | bool]
    try:
        answer = {"found": rehearse(data, training, sizes, at_once=at_once).to_json()}
    except EncoderMemoryError as error:
        answer = {"is_memory": True, "encoder": error.encoder}
    except Exception as error:  # the search itself will report it, if it matters
        answer = {"problem": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
