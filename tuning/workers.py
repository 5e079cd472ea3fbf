"""Describe a worker process, prefix its log lines with the trial, and watch its stop flag."""

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
    """Return the process that calls this, which is a trial's."""
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
    """Prefix each line that this process logs with the trial.

    All loggers write to standard output, of which Ray keeps a file that the dashboard displays.
    """
    quiet_libraries()
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter(f"{trial_id} %(asctime)s %(levelname)s %(message)s"))
    logging.getLogger().handlers = [handler]
    for name in PACKAGES:
        logging.getLogger(name).setLevel(logging.INFO)


_MAX_WAITING = 10_000
"""Workers that may wait at once: each occupies one call, which ends when the flag is set."""


class _Flags:
    """Holds the flags by name, in a process of its own on the driver's node."""

    def __init__(self) -> None:
        self._flags: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def wait(self, name: str) -> None:
        await self._flags[name].wait()

    async def set(self, name: str) -> None:
        self._flags[name].set()


class StopFlag:
    """Makes running trials write a checkpoint and end; can be sent to workers."""

    def __init__(self, name: str) -> None:
        """Start the process that holds the flags, on the driver's node: other nodes may leave.

        Args:
            name: of the process, by which other searches on the cluster and the dashboard know
                this search.
        """
        node = ray.get_runtime_context().get_node_id()
        here = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
        self._flags: Any = (
            ray.remote(_Flags)
            .options(
                name=name,
                num_cpus=0,
                max_concurrency=_MAX_WAITING,
                max_restarts=-1,  # a lost flag must not end trials
                max_task_retries=-1,
                scheduling_strategy=here,
            )
            .remote()
        )

    def set(self, name: str) -> None:
        """Set a flag, on which all trials that watch it write a checkpoint and end; do not wait."""
        self._flags.set.remote(name)

    def wait(self, name: str) -> None:
        """Wait until a flag is set, without a timeout."""
        ray.get(self._flags.wait.remote(name))


_EVENTS: dict[str, threading.Event] = {}
"""Events of this worker, by name of the flag."""


def watch(flag: StopFlag, name: str) -> threading.Event:
    """Return an event that is set once a flag is set; reading it costs nothing.

    One thread per flag waits for it, however many trials the worker runs.
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
