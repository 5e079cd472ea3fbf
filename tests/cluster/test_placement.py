"""Trials on nodes of a real Ray whose GPUs are numbers alone: what stands on which card."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from ray.cluster_utils import Cluster

from tests.faults.breaking import SHORT
from tests.tuning.searching import Run, start

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A head without GPUs, a node with one, and a node with two and one core: they differ."""
    found = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )
    found.add_node(num_cpus=2, num_gpus=1)
    found.add_node(num_cpus=1, num_gpus=2)
    yield found
    found.shutdown()


def test_a_quarter_of_a_gpu_puts_four_trials_on_a_card_and_cores_limit_the_other_node(
    cluster: Cluster, tmp_path: Path
) -> None:
    run = Run(directory=tmp_path / "quarters")
    parts = ["--cluster.gpus_per_trial", "0.25", "--cluster.cpus_per_trial", "0.5"]
    options = [*SHORT, "--training.epochs", "40", "--trials", "6", "--search.max_concurrent", "6"]
    started = start(tmp_path, "quarters", *options, *parts, "--address", cluster.address)
    most: Counter[tuple[str, int]] = Counter()
    while started.process.poll() is None:
        most |= trials_on_cards(run)
        time.sleep(0.1)
    code, out, err = started.ended()
    assert code == 0, out + err
    assert "3 node(s), 3 CPU cores, 3 GPUs, 6 trials at once" in out
    assert sorted(most.values()) in ([2, 4], [1, 1, 4]), most
    assert set(run.trials["status"]) <= {"completed", "stopped"}


def trials_on_cards(run: Run) -> Counter[tuple[str, int]]:
    """Running trials by node and card, at this moment."""
    try:
        status = run.trials["status"]
        workers = pd.read_csv(run.directory / "workers.csv").drop_duplicates(
            "trial_id", keep="last"
        )
    except (OSError, ValueError, pd.errors.ParserError):
        return Counter()  # there is none yet
    running = workers[workers["trial_id"].map(lambda trial: status.get(trial) == "running")]
    return Counter(zip(running["node_id"], running["gpu"], strict=True))
