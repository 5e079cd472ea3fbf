"""The log lines of a search: one for each start, rung and end of a trial."""

import logging

import pytest

from tests.tuning.builders import NUM_ROWS, configuration, evaluation, trial
from tuning.log_lines import LogLines
from tuning.rungs import plan_evaluations
from tuning.trials import Trial
from tuning.workers import Worker

PLAN = plan_evaluations(
    NUM_ROWS, 3, configuration().search, batch_size=1
)  # rungs at 500 and 1,500 rows
WORKER = Worker(node="a", address="10.0.0.1", node_id="0", process=7, actor_id="f00", gpu="")


@pytest.fixture(autouse=True)
def _all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="tuning.log_lines")


def log_lines(*, with_nodes: bool = False) -> LogLines:
    return LogLines(score_label="macro-F1", plan=PLAN, num_rows=NUM_ROWS, with_nodes=with_nodes)


def test_a_start_has_the_parameters_and_a_resume_the_epochs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log_lines().started(trial(0))
    log_lines().started(trial(3, source="confirm", replicate=2))
    log_lines().started(trial(1, (500, 0.3)))
    assert caplog.messages == [
        "trial t0000 started: learning_rate 0.0005, batch_size 16 (the default)",
        "trial t0003 started: learning_rate 0.0005, batch_size 16 (replicate 2)",
        "trial t0001 resumed after 0.50 epochs",
    ]


def test_each_rung_that_a_trial_passes_is_a_line(caplog: pytest.LogCaptureFixture) -> None:
    running = trial(1, (500, 0.3))
    log_lines().evaluated(running)
    for examples in (1000, 1500):
        running.add(evaluation(examples, 0.3))
        log_lines().evaluated(running)
    assert caplog.messages == [
        "trial t0001 promoted at rung 1 of 2",
        "trial t0001 promoted at rung 2 of 2",
    ]


def test_a_trial_in_its_warm_up_continues_without_being_judged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    long_warmup = configuration(training={"warmup_steps": 30})  # 480 rows
    log_lines().evaluated(trial(1, (500, 0.3), config=long_warmup))
    assert caplog.messages == [
        "trial t0001 continues, not judged at rung 1 of 2: its warm-up ended too late"
    ]


@pytest.mark.parametrize(
    "found",
    [
        trial(0, (500, 0.3)),
        trial(1, (500, 0.3), source="confirm"),
        trial(1, (500, 0.3), status="stopped", stopped_by="scheduler"),
    ],
)
def test_a_trial_that_no_rung_promotes_has_no_line_at_it(
    found: Trial, caplog: pytest.LogCaptureFixture
) -> None:
    log_lines().evaluated(found)
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("status", "stopped_by", "expected"),
    [
        ("completed", "", "completed"),
        ("stopped", "confirmation", "ended at the last rung"),
        ("collapsed", "", "collapsed"),
        ("stopped", "scheduler", "stopped early at rung 1 of 2"),
        ("stopped", "patience", "stopped early for lack of improvement"),
        ("stopped", "end of search", "stopped at the end of the search"),
    ],
)
def test_an_end_has_its_reason_score_epochs_and_seconds(
    status: str, stopped_by: str, expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    log_lines().ended(trial(1, (500, 0.3), status=status, stopped_by=stopped_by))
    assert caplog.messages == [f"trial t0001 {expected}: macro-F1 0.3000, 0.50 epochs, 5 s"]


def test_the_score_at_the_last_rung_is_that_which_the_search_compares(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scores = ((500, 0.3), (1000, 0.4), (1500, 0.6))
    log_lines().ended(trial(1, *scores, status="stopped", stopped_by="confirmation"))
    assert caplog.messages == [
        "trial t0001 ended at the last rung: macro-F1 0.5000 (mean of the last two evaluations),"
        " 1.50 epochs, 15 s"
    ]


def test_a_training_that_the_confirmation_does_not_need_is_stopped_for_that(
    caplog: pytest.LogCaptureFixture,
) -> None:
    changes = {"source": "confirm", "status": "stopped", "stopped_by": "end of search"}
    log_lines().ended(trial(7, (500, 0.3), **changes))
    log_lines().ended(trial(8, **changes))
    reason = "stopped, since its score is not needed or the time is up"
    assert caplog.messages == [
        f"trial t0007 {reason}: macro-F1 0.3000, 0.50 epochs, 5 s",
        f"trial t0008 {reason}: no evaluation",
    ]


def test_a_diverged_trial_has_no_score(caplog: pytest.LogCaptureFixture) -> None:
    lost = trial(1, status="diverged")
    lost.add(evaluation(500, 0.3, eval_loss=float("nan")))
    log_lines().ended(lost)
    assert caplog.messages == ["trial t0001 diverged: no score, 0.50 epochs, 5 s"]


def test_a_failed_trial_is_a_warning_with_its_error(caplog: pytest.LogCaptureFixture) -> None:
    log_lines().ended(trial(1, (500, 0.3), status="failed", error="RuntimeError: x"))
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == (
        "WARNING",
        "trial t0001 failed: RuntimeError: x",
    )


def test_nodes_are_logged_on_a_joined_cluster_alone(caplog: pytest.LogCaptureFixture) -> None:
    log_lines().placed(trial(1), WORKER)
    log_lines(with_nodes=True).placed(trial(1), WORKER)
    assert caplog.messages == ["trial t0001 runs on node a (10.0.0.1)"]
