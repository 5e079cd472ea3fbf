import logging

import pytest
from ray._private import worker

from cluster.addresses import address_to_join, problem_of_address
from cluster.session import message_logger


@pytest.mark.parametrize(
    ("configured", "environment", "joined"),
    [
        (None, None, None),
        ("auto", None, "auto"),
        (None, "10.0.0.1:6379", "10.0.0.1:6379"),
        ("10.0.0.2:6379", "10.0.0.1:6379", "10.0.0.2:6379"),
        (None, "", None),
        (None, "local", None),
        ("local", "10.0.0.1:6379", None),
    ],
)
def test_the_configured_ray_takes_precedence_over_the_environment_s(
    configured: str | None,
    environment: str | None,
    joined: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if environment is not None:
        monkeypatch.setenv("RAY_ADDRESS", environment)
    assert address_to_join(configured) == joined


@pytest.mark.parametrize("address", [None, "auto", "head:6379", "[::1]:6379"])
def test_addresses_that_can_be_joined_have_no_problem(
    address: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert problem_of_address(address) == ""


@pytest.mark.parametrize(
    ("address", "command"),
    [
        ("ray://head:10001", "--head http://head:8265 OPTIONS"),
        ("http://head:8265", "--head http://head:8265 OPTIONS"),
    ],
)
def test_a_client_s_address_is_answered_with_the_job_to_submit_instead(
    address: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for configured in (address, None):
        monkeypatch.setenv("RAY_ADDRESS", address)
        problem = problem_of_address(configured)
        name = "address" if configured else "the environment's RAY_ADDRESS"
        assert problem.startswith(f"{name} is ")
        assert problem.endswith(f"submit it as a job: python -m cluster.submit {command}")


DEAD = "A worker died or was killed while executing a task by an unexpected system error. Lease: 1"


def message(*lines: str) -> dict[str, object]:
    return {"lines": list(lines), "pid": "raylet", "is_err": False}


def test_a_kind_of_message_is_displayed_once_and_each_is_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = message_logger()
    with caplog.at_level(logging.DEBUG, "cluster.session"):
        log(message("node 4f3a2b1c9d8e died at 12:01"), ignore_prefix=False)
        log(message("node 99aa2b1c9d8e died at 12:02"), ignore_prefix=False)
        log(message("the disk of 10.0.0.1 is full"), ignore_prefix=False)
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [
        "Ray reports: node 4f3a2b1c9d8e died at 12:01",
        "Ray reports: the disk of 10.0.0.1 is full",
    ]
    assert sum(record.levelno == logging.DEBUG for record in caplog.records) == 3


def test_a_dead_worker_is_reported_by_the_search(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "cluster.session"):
        message_logger()(message(DEAD))
    assert [record.levelname for record in caplog.records] == ["DEBUG"]


def test_ray_still_prints_through_the_function_that_is_replaced() -> None:
    assert "print_to_stdstream" in worker.listen_error_messages.__code__.co_names
