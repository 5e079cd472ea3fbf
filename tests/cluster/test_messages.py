"""What Ray's servers say comes as lines of ours, a kind once."""

import logging

import pytest
from ray._private import worker

from cluster.session import message_logger

DEAD = "A worker died or was killed while executing a task by an unexpected system error. Lease: 1"


def said(*lines: str) -> dict[str, object]:
    return {"lines": list(lines), "pid": "raylet", "is_err": False}


def test_a_kind_of_message_is_shown_once_and_each_is_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = message_logger()
    with caplog.at_level(logging.DEBUG, "cluster.session"):
        log(said("node 4f3a2b1c9d8e died at 12:01"), ignore_prefix=False)
        log(said("node 99aa2b1c9d8e died at 12:02"), ignore_prefix=False)
        log(said("the disk of 10.0.0.1 is full"), ignore_prefix=False)
    shown = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert shown == [
        "Ray says: node 4f3a2b1c9d8e died at 12:01",
        "Ray says: the disk of 10.0.0.1 is full",
    ]
    assert sum(record.levelno == logging.DEBUG for record in caplog.records) == 3


def test_a_dead_worker_is_left_to_the_search_to_tell(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "cluster.session"):
        message_logger()(said(DEAD))
    assert [record.levelname for record in caplog.records] == ["DEBUG"]


def test_ray_still_prints_through_the_function_that_is_replaced() -> None:
    assert "print_to_stdstream" in worker.listen_error_messages.__code__.co_names
