"""Whether each node of a joined cluster can run trials: program, model, shared place."""

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
from tuning.checkpoints import resources_for
from tuning.config import Configuration
from tuning.preparation import Preparation

_SHORT = Retries(number=2)
_NOT_SEEN = "does not see what this machine writes there"

Versions = tuple[str, str]


def check_joined_nodes(
    configuration: Configuration, resources: Resources, encoder: Encoder | None = None
) -> None:
    """Have every node that holds a trial import the program, read and write, and build the model.

    A Ray of our own has one node, which is this machine, and is not asked.

    Args:
        configuration: where checkpoints go.
        resources: of a trial.
        encoder: what every trial builds its model from, sent to each node; None: it is not tried.

    Raises:
        InputError: a line for each thing that some nodes cannot do, with their names.
        StorageError: this machine cannot write the place itself.
    """
    if address_to_join(configuration.cluster.address) is None:
        return
    nodes = nodes_for(resources)
    if not nodes:
        return  # none is there yet; trials look again when they begin
    problems = [*_check_programs(nodes, encoder), *_check_place(configuration, nodes)]
    if problems:
        raise InputError(*problems)


@dataclass(frozen=True, kw_only=True)
class JoinedCluster:
    """What a cluster holds, all of its nodes being able to."""

    slots: int
    """Trials at once."""
    description: str


def try_cluster(configuration: Configuration, preparation: Preparation) -> JoinedCluster | None:
    """Join the cluster, check its nodes, and leave it; None where there is none to join.

    Raises:
        ClusterError: it cannot be reached.
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
    """On a node: why it cannot run a trial, or nothing."""
    if _versions() != versions:
        return (
            "it has torch {}, transformers {}, but this machine has torch {}, transformers {};"
            " install the same there".format(*_versions(), *versions)
        )
    if encoder is not None:
        encoder.build(seed=0)
    return ""


def _versions() -> Versions:
    return str(torch.__version__), transformers.__version__


def _check_place(configuration: Configuration, nodes: list[Node]) -> Iterator[str]:
    # A worker's own directory is another one than the driver's.
    output = str(Path(configuration.output.directory).absolute())
    place = configuration.cluster.storage_path or output
    storage = Storage(f"{place.rstrip('/')}/.nodes-{uuid.uuid4().hex}", retries=_SHORT)
    try:
        storage.write_text("driver", "")
        answers = ask_each(nodes, try_place, storage)
        blind = {node: problem for node, problem in answers.items() if problem}
        for node in set(nodes) - set(blind):
            if storage.read_text(node.node_id) is None:
                blind[node] = "what it writes there is not seen here"
    finally:
        storage.remove()
    if blind:
        name = "cluster.storage_path" if configuration.cluster.storage_path else "output.directory"
        told = "; ".join(f"{node}: {blind[node]}" for node in nodes if node in blind)
        yield (
            f"{name} is {hide_secrets(place)!r}, but {len(blind)} of {len(nodes)} nodes"
            f" do not share it ({told}); give --cluster.storage_path a directory that is mounted on"
            " all nodes, or a URI such as s3://bucket/runs"
        )


def try_place(node: Node, storage: Storage) -> str:
    """On a node: why the place is not the driver's, or nothing once a file of its own is there."""
    try:
        if storage.read_text("driver") is None:
            return _NOT_SEEN
        storage.write_text(node.node_id, "")
    except StorageError as error:
        return error.reason
    return ""
