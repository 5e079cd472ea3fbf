"""Where a trial runs: what finds its process in the cluster, and its lines in the dashboard."""

import logging
import os
import sys
from dataclasses import dataclass

import ray

from results.log import PACKAGES, quiet_libraries


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A process that runs trials."""

    node: str
    """Host name."""
    address: str
    """IP address of the node."""
    node_id: str
    """Of the node, as the Ray dashboard lists it."""
    process: int
    """Process id there."""
    actor_id: str
    """As the Ray dashboard lists it."""
    gpu: str
    """Number of its card on the node; empty without one."""


def this_worker() -> Worker:
    """The process that asks, which is a trial's."""
    context = ray.get_runtime_context()
    nodes = ray.nodes()  # type: ignore[no-untyped-call]  # Ray's own
    here = next(node for node in nodes if node["NodeID"] == context.get_node_id())
    return Worker(
        node=here["NodeManagerHostname"],
        address=here["NodeManagerAddress"],
        node_id=here["NodeID"],
        process=os.getpid(),
        actor_id=context.get_actor_id() or "",
        gpu=",".join(context.get_accelerator_ids().get("GPU", [])),
    )


def log_as(trial_id: str) -> None:
    """Begin each line that this process logs with the trial; the dashboard shows them.

    Libraries and our packages alike, to standard output, which Ray keeps a file of.
    """
    quiet_libraries()
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter(f"{trial_id} %(asctime)s %(levelname)s %(message)s"))
    logging.getLogger().handlers = [handler]
    for name in PACKAGES:
        logging.getLogger(name).setLevel(logging.INFO)
