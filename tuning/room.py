"""Whether there is room for a trial."""

import os

import torch

from training.errors import InputError
from tuning.config import Configuration


def num_slots_here(configuration: Configuration) -> int:
    """Trials that this machine holds at once.

    Raises:
        InputError: none, and there is no cluster to hold one.
    """
    cluster, cards = configuration.cluster, torch.cuda.device_count()
    cpus = cluster.cpus_per_trial or 1.0
    by_cpu = int((os.cpu_count() or 1) / cpus)
    gpus = (1.0 if cards else 0.0) if cluster.gpus_per_trial is None else cluster.gpus_per_trial
    slots = min(by_cpu, cards * int(1 / gpus)) if gpus else by_cpu
    if not slots and cluster.address is None:
        raise no_room(cpus, gpus)
    return min(slots, configuration.search.max_concurrent or slots)


def no_room(cpus: float, gpus: float) -> InputError:
    """The error that no machine at hand will ever hold a trial."""
    return InputError(
        f"cluster: a trial needs {cpus:g} CPU cores and {gpus:g} GPUs, but this machine does not"
        " have them; lower cluster.cpus_per_trial or cluster.gpus_per_trial, or give the address"
        " of a cluster"
    )
