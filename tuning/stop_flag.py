"""A flag that the driver raises and every running trial sees at its next step, on any node."""

import asyncio
import threading
from collections import defaultdict
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

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
