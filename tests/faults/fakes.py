"""Fakes of a device whose memory runs out, of a broken library and of a GPU."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal
from unittest import mock

import pynvml
import torch
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)

from tuning import trainable
from tuning.trainable import SearchData, Surroundings, run_trial

ROWS_OF_A_SMALL_DEVICE = 4

Moment = Literal["forward", "backward", "evaluation"]


LONGEST_ROW = 14
"""Tokens of the longest of `toy_rows`."""


@contextmanager
def device_memory_for(rows: int, *, at: Moment = "forward") -> Iterator[list[int]]:
    """Fake a device with memory for a number of rows; more raise `torch.OutOfMemoryError`.

    It counts the rows of the embeddings' inputs, int64 [rows, length]; position ids have one row.
    On a real device memory also depends on the length of the rows, which this fake considers only
    in evaluations, and on what remains of a failed forward pass.

    Args:
        rows: that fit, in evaluations with the length of the longest toy row; 0: none fits.
        at: `forward` and `backward` fail in training, `backward` when all gradients except those
            of the embeddings exist; `evaluation` fails outside of training.

    Yields:
        The number of rows of each failed forward pass, in order.
    """
    failed: list[int] = []

    def fail(num_rows: int) -> None:
        failed.append(num_rows)
        raise torch.OutOfMemoryError(f"fake: {num_rows} rows, but {rows} fit")

    def before(module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        training = at != "evaluation"
        if training and not torch.is_grad_enabled():
            return  # a new model is checked on one row without gradients
        if not _embeds(module) or module.training != training:
            return
        fits = len(inputs[0]) <= rows if training else inputs[0].numel() <= rows * LONGEST_ROW
        if not fits:
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
    """Run a trial in a worker whose (fake) device has memory for few rows."""
    with device_memory_for(ROWS_OF_A_SMALL_DEVICE):
        run_trial(config, data, surroundings)


ROWS_BY_ENCODER = {"small": 1000, "middle": ROWS_OF_A_SMALL_DEVICE, "large": 0}
"""Rows for which a (fake) device has memory, by the name of the encoder's directory."""


def run_trial_with_memory_by_encoder(
    config: dict[str, Any], data: SearchData, surroundings: Surroundings
) -> None:
    """Run a trial in a worker whose (fake) device has less memory for larger encoders."""
    with device_memory_for(ROWS_BY_ENCODER[Path(config["model"]).name]):
        run_trial(config, data, surroundings)


@contextmanager
def card(
    *, total: int, context: int, others: int, sees_itself: bool = True
) -> Iterator[list[float]]:
    """Fake a GPU that this process shares with others; it computes nothing.

    Args:
        total: bytes of its memory.
        context: bytes that this process uses besides torch's allocator, which has a tenth of it.
        others: bytes that other processes use.
        sees_itself: whether the driver's list of processes contains this one, as outside of
            containers.

    Yields:
        The fractions to which torch's allocator was limited, in order.
    """
    capped: list[float] = []
    reserved = context // 10
    listed = [SimpleNamespace(pid=1, usedGpuMemory=others)]
    if sees_itself:
        listed.append(SimpleNamespace(pid=os.getpid(), usedGpuMemory=context + reserved))
    about = SimpleNamespace(total_memory=total, uuid="fake")
    answers: dict[str, Any] = {
        "is_available": True,
        "get_device_name": "Fake GPU",
        "get_device_properties": about,
        "memory_reserved": reserved,
        "max_memory_reserved": 2 * reserved,
        "mem_get_info": (total - context - reserved - others, total),
    }
    driver = {"nvmlInit": None, "nvmlDeviceGetHandleByUUID": "fake"}
    with ExitStack() as stack:
        for name, answer in answers.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, lambda *_, is_=answer: is_))
        for name, answer in (driver | {"nvmlDeviceGetComputeRunningProcesses": listed}).items():
            stack.enter_context(mock.patch.object(pynvml, name, lambda *_, is_=answer: is_))
        cap = mock.patch.object(torch.cuda, "set_per_process_memory_fraction", capped.append)
        stack.enter_context(cap)
        stack.enter_context(mock.patch.object(torch, "zeros"))
        yield capped


def run_trial_with_a_broken_library(
    config: dict[str, Any], data: SearchData, surroundings: Surroundings
) -> None:
    """Run a trial in a worker where every training raises an error."""
    broken = RuntimeError("fake: a library is broken")
    with mock.patch.object(trainable, "finetune", side_effect=broken):
        run_trial(config, data, surroundings)


def _embeds(module: torch.nn.Module) -> bool:
    return isinstance(module, torch.nn.Embedding)
