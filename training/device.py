"""The device that a training runs on, and its share of the memory there."""

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from training.config import TrainingConfig
from training.errors import InputError

_MOST_CONTEXT = 2**30
"""Bytes that a process is taken to hold beside torch's allocator where its own cannot be told."""


def kind_of_device(share: float = 1.0) -> str:
    """Name of the GPU model, or `cpu`: what holds for one of a kind holds for all of it.

    Args:
        share: of the card that the process may use; a part of a card is a kind of its own.
    """
    if not torch.cuda.is_available():
        return "cpu"
    name = torch.cuda.get_device_name()
    return name if share >= 1 else f"{share:g} of {name}"


def cap_memory(share: float) -> None:
    """Keep this process within its share of the card, so that others on it have theirs.

    Ray counts shares of a card but isolates nothing. Torch caps its allocator alone, so the
    process's CUDA context, as it is measured now, is taken off the share before.

    Args:
        share: a whole card, none of one, and a machine without one need no cap.

    Raises:
        InputError: the context alone takes the share.
    """
    if share <= 0 or share >= 1 or not torch.cuda.is_available():
        return
    torch.zeros(1, device="cuda")  # makes the context
    total = torch.cuda.get_device_properties(0).total_memory
    context = context_memory()
    if share * total <= context:
        raise InputError(
            f"cluster.gpus_per_trial is {share:g}, but that share of {torch.cuda.get_device_name()}"
            f" ({share * total / 2**20:,.0f} MiB) does not hold a process's CUDA context"
            f" ({context / 2**20:,.0f} MiB); give trials a larger share"
        )
    torch.cuda.set_per_process_memory_fraction(share - context / total)


def context_memory() -> int:
    """Bytes that this process holds on its card beside torch's allocator.

    As the driver counts them for this process; in a container that does not see its own process
    there, what is on the card beside torch's memory, at most 1 GiB: others may be on it.
    """
    ours = torch.cuda.memory_reserved()
    used = _used_by_this_process()
    if used is not None:
        return max(used - ours, 0)
    free, total = torch.cuda.mem_get_info()
    return min(max(total - free - ours, 0), _MOST_CONTEXT)


def _used_by_this_process() -> int | None:
    """Bytes on the card, by the driver's count; None where it does not say."""
    import pynvml  # needs the driver's library, which is where a card is

    try:
        pynvml.nvmlInit()
        uuid = f"GPU-{torch.cuda.get_device_properties(0).uuid}"
        card = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        processes = pynvml.nvmlDeviceGetComputeRunningProcesses(card)
    except pynvml.NVMLError:
        return None
    counts = [one.usedGpuMemory for one in processes if one.pid == os.getpid()]
    return counts[0] if counts and counts[0] else None


def most_reserved_memory() -> int | None:
    """Bytes of the card that torch has held at most in this process; None without one."""
    return int(torch.cuda.max_memory_reserved()) if torch.cuda.is_available() else None


def training_device() -> torch.device:
    """Where models are trained: the process's GPU, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def uses_bfloat16(training: TrainingConfig) -> bool:
    """Whether the forward pass runs in bfloat16: asked for, or `auto` on a GPU that has it."""
    if training.precision == "auto":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return training.precision == "bfloat16"


def autocast(
    device: torch.device, *, bfloat16: bool, keeps_casts: bool
) -> AbstractContextManager[Any]:
    """Forward passes within it compute in bfloat16, or as they are.

    Args:
        device: of the model.
        bfloat16: whether at all.
        keeps_casts: whether a weight is cast once in the whole `with` block, not at each use; a
            captured step must not rely on what is kept outside of it.
    """
    if not bfloat16:
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=keeps_casts)
