"""Check that each node of a joined cluster can run trials: versions, model, shared storage."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ray
import torch
import transformers

from cluster.addresses import address_to_join
from cluster.nodes import Node, ask_each, nodes_for
from cluster.resources import Resources, describe_cluster, num_slots
from cluster.session import ray_session
from results.errors import StorageError
from results.storage import Retries, Storage
from training.cli import hide_secrets
from training.encoder import Encoder
from training.errors import InputError
from tuning.capacity import resources_for
from tuning.config import Configuration
from tuning.preparation import Preparation

_SHORT = Retries(number=2)
_NOT_SHARED = "does not see the files that this machine writes there"

Versions = tuple[str, str]


def check_joined_nodes(
    configuration: Configuration, resources: Resources, encoder: Encoder | None = None
) -> None:
    """Check versions, model and shared storage on each node that can run a trial.

    A Ray that the search itself started has one node, this machine, which is not checked.

    Args:
        configuration: the configuration, which has the storage of the checkpoints.
        resources: the resources of a trial.
        encoder: the encoder, which each node builds a model from; None: no model is built.

    Raises:
        InputError: one line for each problem, with the names of the nodes.
        StorageError: this machine cannot write to the storage.
    """
    if address_to_join(configuration.cluster.address) is None:
        return
    nodes = nodes_for(resources)
    if not nodes:
        return  # none has joined yet; trials check the storage again when they start
    problems = [*_check_programs(nodes, encoder), *_check_storage(configuration, nodes)]
    if problems:
        raise InputError(*problems)


@dataclass(frozen=True, kw_only=True)
class JoinedCluster:
    """The capacity of a cluster whose nodes have passed the checks."""

    slots: int
    """Most trials at once."""
    description: str


def try_cluster(configuration: Configuration, preparation: Preparation) -> JoinedCluster | None:
    """Join the cluster, check its nodes, and leave it; return None where there is none to join.

    Raises:
        ClusterError: the cluster cannot be reached.
        InputError: as `check_joined_nodes`.
    """
    if address_to_join(configuration.cluster.address) is None:
        return None
    with ray_session(configuration.cluster.address, metadata={"run": "dry run"}):
        resources = resources_for(configuration)
        check_joined_nodes(configuration, resources, preparation.search_data.encoder)
        slots, limit = num_slots(resources), configuration.search.max_concurrent
        return JoinedCluster(slots=min(slots, limit or slots), description=describe_cluster())


def _check_programs(nodes: list[Node], encoder: Encoder | None) -> Iterator[str]:
    answers = ask_each(nodes, try_program, ray.put(encoder), _versions())
    for node, problem in answers.items():
        if problem:
            yield f"cluster: node {node} cannot train this model: {problem}"


def try_program(_node: Node, encoder: Encoder | None, versions: Versions) -> str:
    """Return, on a node, why it cannot run a trial; empty: it can."""
    if _versions() != versions:
        return (
            "it has torch {} and transformers {}, but this machine has torch {} and transformers"
            " {}; install the same versions there".format(*_versions(), *versions)
        )
    if encoder is not None:
        encoder.build(seed=0)
    return ""


def _versions() -> Versions:
    return str(torch.__version__), transformers.__version__


def _check_storage(configuration: Configuration, nodes: list[Node]) -> Iterator[str]:
    # Absolute, since the working directory of a worker is not that of the driver.
    output = str(Path(configuration.output.directory).absolute())
    location = configuration.cluster.storage_path or output
    storage = Storage(f"{location.rstrip('/')}/.nodes-{uuid.uuid4().hex}", retries=_SHORT)
    try:
        storage.write_text("driver", "")
        answers = ask_each(nodes, try_storage, storage)
        unshared = {node: problem for node, problem in answers.items() if problem}
        for node in set(nodes) - set(unshared):
            if storage.read_text(node.node_id) is None:
                unshared[node] = "this machine does not see the files that it writes there"
    finally:
        storage.remove()
    if unshared:
        name = "cluster.storage_path" if configuration.cluster.storage_path else "output.directory"
        reasons = "; ".join(f"{node}: {unshared[node]}" for node in nodes if node in unshared)
        yield (
            f"{name} is {hide_secrets(location)!r}, but {len(unshared)} of {len(nodes)} nodes"
            f" do not share it ({reasons}); give --cluster.storage_path a directory that is mounted"
            " on all nodes, or a URI such as s3://bucket/runs"
        )


def try_storage(node: Node, storage: Storage) -> str:
    """Write a file on a node; return why the storage is not the driver's, empty: it is."""
    try:
        if storage.read_text("driver") is None:
            return _NOT_SHARED
        storage.write_text(node.node_id, "")
    except StorageError as error:
        return error.reason
    return ""
