"""Fakes for what cannot be here: a device whose memory runs out, a broken library, a GPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal
from unittest import mock

import torch
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)

from tuning import trainable
from tuning.trainable import SearchData, Surroundings, run_trial

ROWS_OF_A_SMALL_DEVICE = 4

Moment = Literal["forward", "backward", "evaluation"]


@contextmanager
def device_memory_for(rows: int, *, at: Moment = "forward") -> Iterator[list[int]]:
    """A fake device that holds so many rows of a pass; more raise `torch.OutOfMemoryError`.

    It looks at what is embedded, int64 [rows, length]: position ids have one row. On a real device
    memory also depends on the length of the rows, and what stays of a failed pass counts too.

    Args:
        rows: that fit; 0: not even one.
        at: `forward` and `backward` fail in training, the latter when all gradients but those of
            the embeddings are there already; `evaluation` fails outside of training.

    Yields:
        Rows of each pass that failed, in order.
    """
    failed: list[int] = []

    def fail(num_rows: int) -> None:
        failed.append(num_rows)
        raise torch.OutOfMemoryError(f"fake: {num_rows} rows, but {rows} fit")

    def before(module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        training = at != "evaluation"
        if training and not torch.is_grad_enabled():
            return  # a model is tried on a row, without gradients, where it is built
        if _embeds(module) and module.training == training and len(inputs[0]) > rows:
            fail(len(inputs[0]))

    def after(module: torch.nn.Module, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        if _embeds(module) and output.requires_grad and len(inputs[0]) > rows:
            output.register_hook(lambda _: fail(len(inputs[0])))

    if at == "backward":
        handle = register_module_forward_hook(after)
    else:
        handle = register_module_forward_pre_hook(before)
    with handle:
        yield failed


def run_trial_on_a_small_device(
    config: dict[str, Any], data: SearchData, surroundings: Surroundings
) -> None:
    """A trial in a worker whose (fake) device holds few rows."""
    with device_memory_for(ROWS_OF_A_SMALL_DEVICE):
        run_trial(config, data, surroundings)


def run_trial_with_a_broken_library(
    config: dict[str, Any], data: SearchData, surroundings: Surroundings
) -> None:
    """A trial in a worker where training raises whatever is trained."""
    broken = RuntimeError("fake: a library is broken")
    with mock.patch.object(trainable, "finetune", side_effect=broken):
        run_trial(config, data, surroundings)


def _embeds(module: torch.nn.Module) -> bool:
    return isinstance(module, torch.nn.Embedding)
