import json
import os
import socket
import subprocess
import sys

import pytest

from cluster import session as session_module
from cluster.errors import ClusterError
from cluster.resources import Resources, fits
from cluster.session import ray_session

CODE = """
import json, os, urllib.error, urllib.request
import ray
from cluster.resources import describe_cluster, num_slots, resources_of_a_trial
from cluster.session import ray_session

with ray_session(None) as dashboard:
    default = resources_of_a_trial(None, None)
    told = {
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
        told["without_a_token"] = error.code
told["left"] = ray.is_initialized()
print(json.dumps(told))
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


def test_resources_are_told_to_ray_under_its_names() -> None:
    assert Resources(cpus=2.0, gpus=0.5).as_ray() == {"cpu": 2.0, "gpu": 0.5}


@pytest.fixture(scope="module")
def session() -> dict[str, object]:
    """What a Ray of its own says, and what is left of it."""
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
def test_an_address_where_no_ray_answers_is_told_soon_in_one_line(address: str) -> None:
    with pytest.raises(ClusterError) as refused, ray_session(address):
        pass
    told = str(refused.value)
    assert told.startswith(f"cluster.address is '{address}', but no Ray could be reached there (")
    assert "\n" not in told


def test_something_else_that_listens_there_is_told_in_time(
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
