import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from ray.cluster_utils import Cluster

from cluster import resources
from cluster import session as session_module
from cluster.addresses import ClusterError
from cluster.resources import Resources, Share, fits
from cluster.session import ray_session
from tests.cluster.heads import ray_head
from tests.faults.breaking import SHORT, wait_until
from tests.tuning.searching import Run, Started, command, start

CODE = """
import json, os, urllib.error, urllib.request
import ray
from cluster.resources import describe_cluster, num_slots, resources_of_a_trial
from cluster.session import ray_session

with ray_session(None) as dashboard:
    default = resources_of_a_trial(None, None)
    found = {
        "default": [default.cpus, default.gpus],
        "asked": [num_slots(resources_of_a_trial(cpus, 0.0)) for cpus in (1.0, 0.5, 4000.0)],
        "description": describe_cluster(),
        "cpus": ray.cluster_resources()["CPU"],
        "statistics": os.environ["RAY_USAGE_STATS_ENABLED"],
        "dashboard": dashboard,
    }
    try:
        urllib.request.urlopen(f"http://{dashboard}/api/jobs/", timeout=30)
    except urllib.error.HTTPError as error:
        found["without_a_token"] = error.code
found["left"] = ray.is_initialized()
print(json.dumps(found))
"""


@pytest.mark.parametrize(
    ("cpus", "gpus", "node", "slots"),
    [
        (1.0, 0.0, {"CPU": 4.0}, 4),
        (2.0, 0.0, {"CPU": 5.0}, 2),
        (0.5, 0.0, {"CPU": 2.0}, 4),
        (8.0, 0.0, {"CPU": 4.0}, 0),
        (1.0, 1.0, {"CPU": 16.0, "GPU": 2.0}, 2),
        (1.0, 0.5, {"CPU": 16.0, "GPU": 2.0}, 4),
        (1.0, 0.4, {"CPU": 16.0, "GPU": 2.0}, 4),  # two a card, never one across two
        (4.0, 0.25, {"CPU": 8.0, "GPU": 1.0}, 2),
        (1.0, 1.0, {"CPU": 16.0}, 0),
        (1.0, 0.0, {"GPU": 1.0}, 0),
    ],
)
def test_a_node_holds_as_many_trials_as_its_cores_and_cards_allow(
    cpus: float, gpus: float, node: dict[str, float], slots: int
) -> None:
    assert fits(node, Resources(cpus=cpus, gpus=gpus)) == slots


def test_resources_have_ray_s_names() -> None:
    assert Resources(cpus=2.0, gpus=0.5).as_ray() == {"cpu": 2.0, "gpu": 0.5}


@pytest.fixture(scope="module")
def session() -> dict[str, object]:
    """Return what a session with a Ray of its own reports, and what is left of it."""
    environment = {k: v for k, v in os.environ.items() if k != "RAY_USAGE_STATS_ENABLED"}
    ended = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=False, env=environment
    )
    assert ended.returncode == 0, ended.stderr
    found: dict[str, object] = json.loads(ended.stdout.splitlines()[-1])
    return found


def test_a_trial_gets_one_core_and_no_card_where_there_is_none(session: dict[str, object]) -> None:
    assert session["default"] in ([1.0, 0.0], [1.0, 1.0])
    assert f"1 node(s), {session['cpus']:g} CPU cores, " in str(session["description"])


def test_slots_are_counted_on_the_nodes_that_are_there(session: dict[str, object]) -> None:
    cpus = session["cpus"]
    assert isinstance(cpus, float)
    assert session["asked"] == [int(cpus), int(cpus * 2), 0]


def test_usage_statistics_are_off_unless_the_user_turns_them_on(
    session: dict[str, object],
) -> None:
    assert session["statistics"] == "0"


def test_a_session_ends_with_its_block(session: dict[str, object]) -> None:
    assert session["left"] is False


@pytest.mark.parametrize(
    "address", ["127.0.0.1:1", "127.0.0.1:99999", "nonsense", "no.such.host:6379"]
)
def test_an_address_where_no_ray_answers_is_soon_an_error_of_one_line(address: str) -> None:
    with pytest.raises(ClusterError) as refused, ray_session(address):
        pass
    problem = str(refused.value)
    start = f"cluster.address is '{address}', but no Ray could be reached there ("
    assert problem.startswith(start)
    assert "\n" not in problem


def test_something_else_that_listens_there_is_an_error_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session_module, "_CONNECTS_WITHIN_S", 4.0)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(ClusterError, match="no answer within 4 s"), ray_session(address):
            pass


def test_the_dashboard_listens_on_loopback_and_answers_nobody_without_the_token(
    session: dict[str, object],
) -> None:
    assert str(session["dashboard"]).startswith("127.0.0.1:")
    assert session["without_a_token"] == 401


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


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(600)
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
        return Counter()  # no trial has started yet
    running = workers[workers["trial_id"].map(lambda trial: status.get(trial) == "running")]
    return Counter(zip(running["node_id"], running["gpu"], strict=True))


LONG = [*SHORT, "--training.epochs", "30", "--trials", "6", "--search.scheduler", "none"]


@pytest.mark.parametrize(
    ("is_joined", "limit", "slots", "searches", "share"),
    [
        (False, None, 4, 1, 4),
        (False, 2, 4, 1, 4),  # the pool has the limit itself
        (True, None, 4, 1, 4),
        (True, 8, 4, 1, 8),  # waiting trials make an autoscaled cluster grow
        (True, 100, 4, 1, 8),
        (True, 100, 32, 1, 64),
        (True, 8, 0, 1, 4),
        (True, 2, 0, 1, 2),
        (True, None, 0, 1, 0),  # the pool starts one all the same
        (True, None, 6, 2, 3),
        (True, 8, 6, 2, 3),
        (True, None, 2, 5, 1),
    ],
)
def test_a_search_takes_what_it_may_and_leaves_the_others_theirs(
    is_joined: bool,
    limit: int | None,
    slots: int,
    searches: int,
    share: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resources, "num_slots", lambda _: slots)
    names = [f"search {number}" for number in range(searches)]
    monkeypatch.setattr(resources, "searches", lambda: names)
    each = Resources(cpus=1.0, gpus=0.0)
    mine = Share(name="search 0", resources=each, limit=limit, is_joined=is_joined)
    assert mine() == share


@pytest.mark.parametrize(("slots", "shares"), [(7, [3, 2, 2]), (5, [2, 2, 1]), (2, [1, 1, 1])])
def test_what_does_not_divide_goes_to_some_searches_and_is_not_idle(
    slots: int, shares: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["search a", "search b", "search c"]
    monkeypatch.setattr(resources, "num_slots", lambda _: slots)
    monkeypatch.setattr(resources, "searches", lambda: names)
    each = Resources(cpus=1.0, gpus=0.0)
    found = [Share(name=n, resources=each, limit=None, is_joined=True)() for n in names]
    assert found == shares


@pytest.mark.slow
@pytest.mark.long
def test_a_second_search_gets_its_share_while_the_first_runs(tmp_path: Path) -> None:
    runs = [Run(directory=tmp_path / name) for name in ("first", "second")]
    with ray_head("--num-cpus", "2") as head:
        both = ["--search.max_concurrent", "2", "--address", head.address]

        def search(name: str) -> Started:
            module, *rest = command(tmp_path, name, *LONG, *both)[2:]
            return Started(head.python(module, *rest))

        def running(run: Run) -> int:
            is_there = (run.directory / "trials.csv").exists()
            return int((run.trials["status"] == "running").sum()) if is_there else 0

        first = search("first")
        wait_until(lambda: running(runs[0]) == 2, first)
        second = search("second")
        wait_until(lambda: (running(runs[0]), running(runs[1])) == (1, 1), first)
        wait_until(lambda: (runs[1].directory / "curves.csv").exists(), first)
        assert runs[0].record["status"] == "running"
        for started in (first, second):
            code, out, err = started.ended()
            assert code == 0, out + err
    for run in runs:
        assert len(run.trials) == 6
        assert set(run.trials["status"]) <= {"completed", "stopped"}
