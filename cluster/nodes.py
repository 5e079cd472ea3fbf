"""Nodes of a cluster: call a function on each of them, and send them our packages."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.resources import Resources, fits

ANSWER_WITHIN_S = 120.0
"""On a node, a new process imports the libraries before its first answer."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node that is alive."""

    node_id: str
    host: str
    address: str

    def __str__(self) -> str:
        """Return host name and IP address."""
        return f"{self.host} ({self.address})"


def nodes_for(resources: Resources) -> list[Node]:
    """Return the nodes on which a trial fits, busy or not, in order of their addresses."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]  # Ray's own
    found = [
        Node(
            node_id=node["NodeID"],
            host=node["NodeManagerHostname"],
            address=node["NodeManagerAddress"],
        )
        for node in nodes
        if node["Alive"] and fits(node["Resources"], resources)
    ]
    return sorted(found, key=lambda node: node.address)


def ask_each(
    nodes: Sequence[Node], question: Callable[..., str], *arguments: Any
) -> dict[Node, str]:
    """Return what `question(node, *arguments)` returns on each node; all run concurrently.

    Args:
        nodes: on which the question is asked.
        question: a function of a module, run in a process on the node; if it raises an error, the
            error is its answer, in one line.
        arguments: sent to each node; put large ones in the object store before.
    """
    ask = ray.remote(num_cpus=0, max_retries=0)(question)
    asked = {
        node: ask.options(
            name=f"{question.__name__} {node}",
            scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=node.node_id, soft=False),
        ).remote(node, *arguments)
        for node in nodes
    }
    ready, _ = ray.wait(list(asked.values()), num_returns=len(asked), timeout=ANSWER_WITHIN_S)
    return {
        node: _answer(reference, is_there=reference in ready) for node, reference in asked.items()
    }


def _answer(reference: Any, *, is_there: bool) -> str:
    if not is_there:
        ray.cancel(reference, force=True)
        return f"no answer within {ANSWER_WITHIN_S:g} s"
    try:
        return str(ray.get(reference, timeout=10))
    except RayTaskError as error:
        return f"{type(error.cause).__name__}: {_in_one_line(error.cause)}"
    except (RayError, GetTimeoutError) as error:
        return _in_one_line(error)


def _in_one_line(error: object) -> str:
    """Return the message without its middle: Ray ends a failed import with what was missing."""
    line = " ".join(str(error).split())
    return line if len(line) <= 200 else f"{line[:80]} ... {line[-115:]}"


PACKAGES = ("cluster", "evaluation", "results", "training", "tuning")
_LEFT_OUT = ("runs", "__pycache__")
"""`results/runs` of a checkout holds all runs."""


@contextmanager
def packages_to_send() -> Iterator[list[str]]:
    """Copy our packages, for Ray's `py_modules`, for the time of a `with` block.

    Workers then run the code of the driver, whatever version of it is installed on their node.
    The libraries must be installed there.

    Yields:
        The directories of the copies.
    """
    here = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory(prefix="packages-") as scratch:
        for name in PACKAGES:
            shutil.copytree(
                here / name, Path(scratch) / name, ignore=shutil.ignore_patterns(*_LEFT_OUT)
            )
        yield [f"{scratch}/{name}" for name in PACKAGES]
