"""The thread between a search and its tracker, with a tracker in memory that fails on request."""

import logging
import threading
import time
from collections.abc import Callable

import pytest

from results import tracker_thread
from results.tracker_thread import TrackerThread, conclude
from results.tracking import RunEnding
from tests.results.tracked import TrackerInMemory, make_outcome, make_trial

DOWN = ConnectionError("https://me:hunter2@tracker.example is down")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(tracker_thread, "_FIRST_PAUSE_S", 0.01)
    caplog.set_level(logging.INFO, "results")


def _start(tracker: TrackerInMemory) -> TrackerThread:
    return TrackerThread(tracker, "mlflow", {"seed": 42})


def _wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]


def test_trials_and_the_outcome_arrive(caplog: pytest.LogCaptureFixture) -> None:
    tracker = TrackerInMemory()
    thread = _start(tracker)
    thread.submit(make_trial("t0000", ending=RunEnding.FINISHED))
    thread.submit(make_trial("t0001"))
    thread.close(make_outcome(), timeout_s=20)
    assert list(tracker.trials) == ["t0000", "t0001"]
    assert tracker.outcomes == [make_outcome()]
    assert caplog.records == []


def test_a_hanging_tracker_delays_neither_the_search_nor_its_end_beyond_the_limit(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tracker = TrackerInMemory(blocked=threading.Event())
    thread = _start(tracker)
    started = time.monotonic()
    for count in range(1000):
        thread.submit(make_trial(f"t{count:04}"))
    assert time.monotonic() - started < 2
    thread.close(make_outcome(), timeout_s=0.2)
    assert time.monotonic() - started < 4
    (line,) = _warnings(caplog)
    assert line.startswith("MLflow lacks the end of the search and the newest state of 1000 trials")
    assert tracker.blocked is not None
    tracker.blocked.set()


def test_states_that_wait_are_replaced_by_newer_ones() -> None:
    tracker = TrackerInMemory(blocked=threading.Event())
    thread = _start(tracker)
    for num_points in range(1, 200):
        thread.submit(make_trial(num_points=num_points))
    assert tracker.blocked is not None
    tracker.blocked.set()
    thread.close(make_outcome(), timeout_s=20)
    assert len(tracker.trials["t0000"].points) == 199
    assert tracker.num_calls <= 4  # it is opened, one or two states are sent, and it is concluded


def test_a_tracker_that_is_down_causes_one_warning_without_its_password_and_a_note_at_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tracker = TrackerInMemory(error=DOWN)
    thread = _start(tracker)
    thread.submit(make_trial())
    _wait_until(lambda: tracker.num_calls > 3)
    assert len(_warnings(caplog)) == 1
    thread.close(make_outcome(), timeout_s=0.3)
    first, last = _warnings(caplog)
    assert "https://***@tracker.example is down" in first
    assert "the search continues without it" in first
    assert last.startswith("MLflow lacks the end of the search")
    assert "hunter2" not in caplog.text


def test_what_is_missing_arrives_once_the_tracker_answers_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tracker = TrackerInMemory(error=DOWN)
    thread = _start(tracker)
    thread.submit(make_trial("t0000", ending=RunEnding.FINISHED))
    thread.submit(make_trial("t0001"))
    _wait_until(lambda: tracker.num_calls > 2)
    tracker.recover()
    thread.close(make_outcome(), timeout_s=20)
    assert sorted(tracker.trials) == ["t0000", "t0001"]
    assert tracker.running == [["t0001"]]  # opened once it answered, with what runs
    assert len(tracker.outcomes) == 1
    assert caplog.messages[-1] == "MLflow answered again: nothing is missing there"


def test_a_trial_that_is_refused_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    tracker = TrackerInMemory(refused="t0000")
    thread = _start(tracker)
    thread.submit(make_trial("t0000"))
    thread.submit(make_trial("t0001"))
    _wait_until(lambda: "t0001" in tracker.trials)
    thread.close(make_outcome(), timeout_s=20)
    assert len(tracker.outcomes) == 1
    assert _warnings(caplog)[-1].startswith("MLflow lacks the newest state of 1 trials (ValueError")


def test_a_second_close_does_nothing() -> None:
    tracker = TrackerInMemory()
    thread = _start(tracker)
    thread.close(make_outcome(RunEnding.KILLED), timeout_s=20)
    thread.close(make_outcome(), timeout_s=20)
    assert [one.ending for one in tracker.outcomes] == [RunEnding.KILLED]


def test_retries_of_urllib3_in_the_thread_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    thread = _start(TrackerInMemory())
    log = logging.getLogger("urllib3.connectionpool")
    retry = threading.Thread(target=log.warning, args=("Retrying",), name="tracker")
    retry.start()
    retry.join()
    log.warning("of others")
    thread.close(make_outcome(), timeout_s=20)
    assert caplog.messages == ["of others"]


class TestConcludeAfterTheSearch:
    def test_an_outcome_is_added_to_the_parent(self, caplog: pytest.LogCaptureFixture) -> None:
        tracker = TrackerInMemory(has_parent=True)
        conclude(tracker, "mlflow", make_outcome(), timeout_s=20)
        assert tracker.outcomes == [make_outcome()]
        assert caplog.messages == []

    def test_without_a_parent_nothing_is_made(self) -> None:
        tracker = TrackerInMemory()
        conclude(tracker, "mlflow", make_outcome(), timeout_s=20)
        assert tracker.outcomes == []

    def test_an_error_is_one_warning(self, caplog: pytest.LogCaptureFixture) -> None:
        conclude(TrackerInMemory(error=DOWN), "wandb", make_outcome(), timeout_s=20)
        (line,) = _warnings(caplog)
        assert line.startswith("Weights & Biases lacks the test scores (ConnectionError")

    def test_a_hanging_tracker_is_left_after_the_limit(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        tracker = TrackerInMemory(blocked=threading.Event())
        conclude(tracker, "mlflow", make_outcome(), timeout_s=0.1)
        assert _warnings(caplog) == ["MLflow lacks the test scores (no answer in 0 s)"]
        assert tracker.blocked is not None
        tracker.blocked.set()
