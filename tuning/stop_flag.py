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
    """Runs in a process of its own beside the driver: one flag a phase."""

    def __init__(self) -> None:
        self._flags: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def wait(self, phase: str) -> None:
        await self._flags[phase].wait()

    async def lift(self, phase: str) -> None:
        self._flags[phase].set()


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

    def lift(self, phase: str) -> None:
        """Tell all trials of a phase to write a checkpoint and end; does not wait for them."""
        self._flags.lift.remote(phase)

    def wait(self, phase: str) -> None:
        """Wait until the flag of a phase is raised; endless if it never is."""
        ray.get(self._flags.wait.remote(phase))


_EVENTS: dict[str, threading.Event] = {}
"""Of this worker, by phase."""


def watch(flag: StopFlag, phase: str) -> threading.Event:
    """An event that is set once the flag of a phase is raised; asking it costs nothing.

    One thread a phase waits for it, whatever number of trials the worker runs.
    """
    if phase not in _EVENTS:
        event = _EVENTS[phase] = threading.Event()
        threading.Thread(target=_wait, args=(flag, phase, event), daemon=True).start()
    return _EVENTS[phase]


def _wait(flag: StopFlag, phase: str, event: threading.Event) -> None:
    try:
        flag.wait(phase)
    except RayError:
        return  # the driver is gone, and Ray ends this worker
    event.set()
