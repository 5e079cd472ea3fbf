"""Where a trial runs: what finds its process in the cluster, and its lines in the dashboard."""

import asyncio
import logging
import os
import sys
import threading
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

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


_MOST_WAITING = 10_000
"""Workers that may wait for the flag at once: each holds one call that ends when it is raised."""


class _Flags:
    """Runs in a process of its own beside the driver: a flag by name."""

    def __init__(self) -> None:
        self._flags: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def wait(self, name: str) -> None:
        await self._flags[name].wait()

    async def lift(self, name: str) -> None:
        self._flags[name].set()


class StopFlag:
    """The driver's end, which can be sent to workers."""

    def __init__(self, name: str) -> None:
        """Start the process that holds the flags, on the driver's node: others may leave.

        Args:
            name: of the process, by which other searches on the cluster, and the dashboard, see
                this one.
        """
        node = ray.get_runtime_context().get_node_id()
        here = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
        self._flags: Any = (
            ray.remote(_Flags)
            .options(
                name=name,
                num_cpus=0,
                max_concurrency=_MOST_WAITING,
                max_restarts=-1,  # a lost flag must not end trials
                max_task_retries=-1,
                scheduling_strategy=here,
            )
            .remote()
        )

    def lift(self, name: str) -> None:
        """Tell all trials that watch a flag to write a checkpoint and end; does not wait."""
        self._flags.lift.remote(name)

    def wait(self, name: str) -> None:
        """Wait until a flag is raised; endless if it never is."""
        ray.get(self._flags.wait.remote(name))


_EVENTS: dict[str, threading.Event] = {}
"""Of this worker, by name of the flag."""


def watch(flag: StopFlag, name: str) -> threading.Event:
    """An event that is set once a flag is raised; asking it costs nothing.

    One thread a flag waits for it, whatever number of trials the worker runs.
    """
    if name not in _EVENTS:
        event = _EVENTS[name] = threading.Event()
        threading.Thread(target=_wait, args=(flag, name, event), daemon=True).start()
    return _EVENTS[name]


def _wait(flag: StopFlag, name: str, event: threading.Event) -> None:
    try:
        flag.wait(name)
    except RayError:
        return  # the driver is gone, and Ray ends this worker
    event.set()
