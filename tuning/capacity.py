"""Check before a search that its trials fit on the machine and its storage can be written."""

import os
import uuid
from pathlib import Path

import torch

from cluster.addresses import address_to_join
from cluster.resources import Resources, num_slots, resources_of_a_trial
from results.errors import StorageError
from results.storage import Retries, Storage
from training.cli import is_uri
from training.errors import InputError
from tuning.config import Configuration

_SHORT = Retries(number=2)
"""Before anything runs there is nothing to lose, and somebody waits for the answer."""


def num_slots_here(configuration: Configuration) -> int:
    """Return how many trials this machine can run at once.

    Raises:
        InputError: none, and there is no cluster to run one.
    """
    cluster, cards = configuration.cluster, torch.cuda.device_count()
    cpus = cluster.cpus_per_trial or 1.0
    by_cpu = int((os.cpu_count() or 1) / cpus)
    gpus = (1.0 if cards else 0.0) if cluster.gpus_per_trial is None else cluster.gpus_per_trial
    slots = min(by_cpu, cards * int(1 / gpus)) if gpus else by_cpu
    if not slots and address_to_join(cluster.address) is None:
        raise _no_capacity(cpus, gpus)
    return min(slots, configuration.search.max_concurrent or slots)


def resources_for(configuration: Configuration) -> Resources:
    """Return the resources of a trial on the Ray that this process is connected to.

    Raises:
        InputError: no node of a Ray of our own can run a trial.
    """
    cluster = configuration.cluster
    resources = resources_of_a_trial(cluster.cpus_per_trial, cluster.gpus_per_trial)
    if address_to_join(cluster.address) is None and not num_slots(resources):
        raise _no_capacity(resources.cpus, resources.gpus)
    return resources


def _no_capacity(cpus: float, gpus: float) -> InputError:
    return InputError(
        f"cluster: a trial needs {cpus:g} CPU cores and {gpus:g} GPUs, but this machine does not"
        " have them; lower cluster.cpus_per_trial or cluster.gpus_per_trial, or give the address"
        " of a cluster"
    )


def check_storage(configuration: Configuration) -> None:
    """Write a small file to the storage that the run is mirrored to, and remove it.

    Raises:
        InputError: `cluster.storage_path` cannot be written.
    """
    location = configuration.cluster.storage_path
    if location is None:
        return
    storage, name = Storage(location, retries=_SHORT), f".write-test-{uuid.uuid4().hex}"
    is_new = not is_uri(location) and not Path(location).exists()
    try:
        storage.write_text(name, "")
        (storage if is_new else storage.child(name)).remove()
    except StorageError as error:
        raise InputError(
            f"cluster.storage_path is {location!r}, but it cannot be written ({error.reason}); give"
            " a directory, or a URI that fsspec opens"
        ) from error
