"""Nodes of a real Ray cluster on this machine that leave and join during a search."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from tests.faults.breaking import SHORT, Unbroken, assert_as_unbroken, num_evaluations, wait_until
from tests.tuning.searching import Run, start

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Start a head without cores for trials; tests add nodes."""
    found = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )
    yield found
    found.shutdown()


@pytest.mark.long
def test_a_trial_whose_node_leaves_is_resumed_on_another_from_its_checkpoint(
    runs: Path, unbroken: Unbroken, cluster: Cluster
) -> None:
    first = cluster.add_node(num_cpus=1)
    run = Run(directory=runs / "node-left")
    started = start(runs, "node-left", *SHORT, "--address", cluster.address)
    wait_until(lambda: num_evaluations(run, "t0001") == 3, started)
    cluster.add_node(num_cpus=1)
    cluster.remove_node(first, allow_graceful=False)
    code, out, err = started.ended()
    assert code == 0, out + err
    assert "t0001 lost its process or node (The actor is" in out
    assert_as_unbroken(run, unbroken)


@pytest.mark.long
def test_a_node_that_joins_is_used(runs: Path, cluster: Cluster) -> None:
    cluster.add_node(num_cpus=1)
    run = Run(directory=runs / "joined")
    options = [*SHORT, "--trials", "4", "--search.max_concurrent", "2"]
    started = start(runs, "joined", *options, "--address", cluster.address)
    wait_until(lambda: num_evaluations(run, "t0001") == 1, started)
    assert list(run.trials["status"]) == ["completed", "running"]
    cluster.add_node(num_cpus=1)
    wait_until(lambda: sum(run.trials["status"] == "running") == 2, started)
    code, out, err = started.ended()
    assert code == 0, out + err
    assert len(run.trials) == 4
