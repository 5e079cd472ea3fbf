"""The device to train on: GPU or CPU, its share of GPU memory, and bfloat16."""

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

from training.config import TrainingConfig
from training.errors import InputError

_CGROUP_FILES = (
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file"),
    (
        Path("/sys/fs/cgroup/memory"),
        *("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ),
)
"""Directory, limit, use and reclaimable cache of a container's memory, versions 2 and 1."""
_MOST_CONTEXT = 2**30
"""Upper bound, in bytes, of a CUDA context that cannot be measured exactly."""


def kind_of_device(share: float = 1.0) -> str:
    """Return the name of the GPU model, or `cpu`; devices of one kind have the same memory.

    Args:
        share: of the GPU that the process may use; a part of a GPU is a kind of its own.
    """
    if not torch.cuda.is_available():
        return "cpu"
    name = torch.cuda.get_device_name()
    return name if share >= 1 else f"{share:g} of {name}"


def cap_memory(share: float) -> None:
    """Limit this process to its share of the GPU's memory, for the sake of others on the GPU.

    Ray counts shares of a GPU but does not enforce them. Torch limits only its own allocator, so
    the memory of the process's CUDA context, as measured now, is subtracted from the share.

    Args:
        share: 0 or 1, or a machine without a GPU, needs no limit.

    Raises:
        InputError: the CUDA context alone needs more than the share.
    """
    if share <= 0 or share >= 1 or not torch.cuda.is_available():
        return
    torch.zeros(1, device="cuda")  # creates the context
    total = torch.cuda.get_device_properties(0).total_memory
    context = context_memory()
    if share * total <= context:
        raise InputError(
            f"cluster.gpus_per_trial is {share:g}, but that share of {torch.cuda.get_device_name()}"
            f" ({share * total / 2**20:,.0f} MiB) is too small for a process's CUDA context"
            f" ({context / 2**20:,.0f} MiB); give trials a larger share"
        )
    torch.cuda.set_per_process_memory_fraction(share - context / total)


def context_memory() -> int:
    """Return the bytes that this process uses on its GPU outside torch's allocator.

    They are the driver's count for this process. In a container that does not see its own process
    there, they are all used memory outside torch's allocator, but at most 1 GiB, since other
    processes may use the GPU too.
    """
    ours = torch.cuda.memory_reserved()
    used = _used_by_this_process()
    if used is not None:
        return max(used - ours, 0)
    free, total = torch.cuda.mem_get_info()
    return min(max(total - free - ours, 0), _MOST_CONTEXT)


def _used_by_this_process() -> int | None:
    """Return the bytes that the driver counts for this process; None if it does not report them."""
    import pynvml  # needs the driver's library, which machines without a GPU lack

    try:
        pynvml.nvmlInit()
        uuid = f"GPU-{torch.cuda.get_device_properties(0).uuid}"
        gpu = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        processes = pynvml.nvmlDeviceGetComputeRunningProcesses(gpu)
    except pynvml.NVMLError:
        return None
    counts = [one.usedGpuMemory for one in processes if one.pid == os.getpid()]
    return counts[0] if counts and counts[0] else None


def most_reserved_memory() -> int | None:
    """Return the most GPU memory that torch reserved so far, in bytes; None without a GPU."""
    return int(torch.cuda.max_memory_reserved()) if torch.cuda.is_available() else None


def peak_memory() -> int:
    """Return the peak memory of this process in bytes: on the GPU, without one main memory."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_reserved()) + context_memory()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def card_memory() -> int | None:
    """Return the bytes of memory that the GPU has; None without a GPU."""
    if not torch.cuda.is_available():
        return None
    return int(torch.cuda.get_device_properties(0).total_memory)


def available_memory() -> int | None:
    """Return the bytes that this machine, or this container, can still give; None: unknown."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvail"))
    except (OSError, StopIteration, ValueError):
        return None
    return min([free, *_free_in_container()])


def _free_in_container() -> Iterator[int]:
    """Yield what the memory limit of this container leaves, where there is one.

    The page cache, which is given up when memory is short, does not count as used.
    """
    for directory, limit, used, cache in _CGROUP_FILES:
        try:
            most, now = (int((directory / name).read_text("ascii")) for name in (limit, used))
            lines = (directory / "memory.stat").read_text("ascii").splitlines()
            cached = sum(int(line.split()[1]) for line in lines if line.split()[0] == cache)
        except (OSError, ValueError):
            continue  # no such file, or `max`: no limit
        yield most - max(now - cached, 0)


def free_memory() -> int | None:
    """Return the bytes that a new model can still get on the training device; None: unknown.

    On a GPU they are what other processes leave within this process's share, and what torch has
    reserved without using it.
    """
    if not torch.cuda.is_available():
        return available_memory()
    unused = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    share = torch.cuda.get_per_process_memory_fraction() * (card_memory() or 0)
    free, _ = torch.cuda.mem_get_info()
    return int(min(free + unused, share - torch.cuda.memory_allocated()))


def training_device() -> torch.device:
    """Return the device to train on: the process's GPU, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def uses_bfloat16(training: TrainingConfig) -> bool:
    """Return whether forward passes use bfloat16: if set so, or `auto` on a GPU that has it."""
    if training.precision == "auto":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return training.precision == "bfloat16"


def autocast(
    device: torch.device, *, bfloat16: bool, keeps_casts: bool
) -> AbstractContextManager[Any]:
    """Return a context in which forward passes compute in bfloat16, if asked for.

    Args:
        device: of the model.
        bfloat16: whether to compute in bfloat16; else nothing changes.
        keeps_casts: whether a weight is cast once in the `with` block, not at each use; a captured
            step must not depend on casts that are kept outside it.
    """
    if not bfloat16:
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=keeps_casts)
