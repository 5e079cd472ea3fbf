"""The driver between Ray Tune and the policy, called as Tune would call it."""

import errno

import pytest

from results.micro_batch_limits import Limits
from results.trial_states import SearchStatus, Status
from tests.tuning.builders import evaluation
from tests.tuning.deciding import driver_of, policy_of
from tuning.driver import Driver
from tuning.observers import Observer
from tuning.policy import HALT_S
from tuning.trainable import TRIAL_ID
from tuning.trials import Ending, NoTrial, Phase, Trial
from tuning.workers import Worker

HERE = Worker(node="n", address="1.2.3.4", node_id="a", process=1, actor_id="b", gpu="")


class Recorder(Observer):
    """Records the events that it is notified of."""

    def __init__(self) -> None:
        self.events: list[tuple[str, ...]] = []

    def started(self, trial: Trial) -> None:
        self.events.append(("started", trial.trial_id))

    def placed(self, trial: Trial, worker: Worker) -> None:
        self.events.append(("placed", trial.trial_id, worker.node))

    def evaluated(self, trial: Trial) -> None:
        self.events.append(("evaluated", trial.trial_id, str(trial.examples)))

    def ended(self, trial: Trial) -> None:
        self.events.append(("ended", trial.trial_id, trial.status))

    def phase_changed(self, phase: Phase) -> None:
        self.events.append(("phase", phase))

    def closed(self, status: SearchStatus) -> None:
        self.events.append(("closed", status))


class Full(Observer):
    """A disk that is full."""

    error = OSError(errno.ENOSPC, "No space left on device")

    def started(self, trial: Trial) -> None:
        raise self.error


def next_id(driver: Driver) -> str:
    given = driver.next_trial()
    assert not isinstance(given, NoTrial), given
    return str(given[TRIAL_ID])


def complete(driver: Driver, trial_id: str, score: float) -> None:
    driver.reported(trial_id, evaluation(3000, score))
    driver.ended(trial_id, Ending(status=Status.COMPLETED, seconds=1.0))


def test_observers_are_notified_of_a_whole_search_in_one_order() -> None:
    recorder = Recorder()
    driver = driver_of(policy_of(trials=2, confirm_top=1, confirm_replicates=2), recorder)
    default, other = next_id(driver), next_id(driver)
    driver.placed(default, HERE)
    driver.reported(default, evaluation(250, 0.3))
    complete(driver, default, 0.5)
    complete(driver, other, 0.6)
    assert recorder.events == [
        ("phase", "search"),
        ("started", "t0000"),
        ("started", "t0001"),
        ("placed", "t0000", "n"),
        ("evaluated", "t0000", "250"),
        ("evaluated", "t0000", "3000"),
        ("ended", "t0000", "completed"),
        ("evaluated", "t0001", "3000"),
        ("ended", "t0001", "completed"),
        ("phase", "confirmation"),
    ]


def test_observers_are_not_notified_of_evaluations_that_a_restarted_trial_repeats() -> None:
    recorder = Recorder()
    driver = driver_of(policy_of(), recorder)
    trial_id = next_id(driver)
    for _ in range(2):
        assert driver.reported(trial_id, evaluation(250, 0.3))
    assert recorder.events.count(("evaluated", trial_id, "250")) == 1


def test_no_more_trials_run_at_once_than_the_resources_hold() -> None:
    driver = driver_of(policy_of(), capacity=lambda: 2)
    first = next_id(driver)
    next_id(driver)
    assert driver.next_trial() is NoTrial.WAIT
    complete(driver, first, 0.5)
    assert next_id(driver) == "t0002"
    assert driver.next_trial() is NoTrial.WAIT


def test_a_cluster_that_holds_no_trial_at_the_moment_is_still_asked_for_one() -> None:
    assert next_id(driver_of(policy_of(), capacity=lambda: 0)) == "t0000"


def test_files_that_cannot_be_written_end_the_search_and_other_observers_are_still_notified() -> (
    None
):
    recorder = Recorder()
    driver = driver_of(policy_of(), Full(), recorder)
    next_id(driver)
    assert driver.error is Full.error
    assert driver.is_finished
    assert driver.next_trial() is NoTrial.DONE
    assert ("started", "t0000") in recorder.events


def test_a_checkpoint_that_cannot_be_written_ends_the_search_and_leaves_the_trial() -> None:
    policy = policy_of()
    driver = driver_of(policy)
    trial_id = next_id(driver)
    driver.ended(trial_id, Ending(status=Status.RUNNING, error="no space left"))
    assert str(driver.error) == "no space left"
    assert driver.is_finished
    assert policy.store[trial_id].status == "running"


def test_what_ends_the_search_from_outside_is_noticed() -> None:
    lost = OSError("the mirror is gone")
    driver = driver_of(policy_of(), outer_error=lambda: lost)
    assert driver.next_trial() is NoTrial.DONE
    assert driver.error is lost


def test_trials_are_halted_once_and_those_of_the_search_before_the_others() -> None:
    halted: list[str] = []
    now = 0.0
    policy = policy_of(time_budget_s=1000, trials=3, confirm_top=1, confirm_replicates=2)
    driver = driver_of(policy, clock=lambda: now, halt=halted.append)
    default, challenger, _ = (next_id(driver) for _ in range(3))
    now = 100.0
    complete(driver, default, 0.5)
    now = 200.0
    complete(driver, challenger, 0.6)
    # 3,000 rows took 100 s; four trainings of 3,000 rows take 400, and are given 540.
    now = 459.0
    driver.idle()
    assert halted == []
    now = 461.0
    for _ in range(2):
        driver.idle()
    assert [flag.partition("-")[0] for flag in halted] == ["search"]
    now = 1001.0
    driver.idle()
    assert [flag.partition("-")[0] for flag in halted] == ["search", "confirmation"]


def test_trials_lost_with_their_experiment_start_again_in_the_next_under_another_flag() -> None:
    driver = driver_of(policy_of())
    first = driver.next_trial()
    driver.start_experiment()
    again = driver.next_trial()
    assert isinstance(first, dict)
    assert isinstance(again, dict)
    assert again[TRIAL_ID] == first[TRIAL_ID]
    assert again["flag"] != first["flag"]


def test_a_lower_memory_limit_is_given_to_the_trials_that_follow(
    caplog: pytest.LogCaptureFixture,
) -> None:
    limits: Limits = {}
    driver = driver_of(policy_of(), memory_limits=limits)
    trial_id = next_id(driver)
    driver.limited_memory(trial_id, "cuda", 8)
    given = driver.next_trial()
    assert isinstance(given, dict)
    assert given["micro_batch_sizes"] == {"cuda": 8}
    assert "micro-batches of 8 rows" in caplog.text


def test_free_workers_are_kept_within_the_search_s_share_which_may_fall() -> None:
    share = 8
    driver = driver_of(policy_of(trials=24), capacity=lambda: share)
    for _ in range(3):
        next_id(driver)
    assert driver.num_to_keep == 5
    share = 4  # another search has joined
    assert driver.num_to_keep == 1
    share = 2
    assert driver.num_to_keep == 0


def test_no_more_free_workers_are_kept_than_trials_may_come() -> None:
    driver = driver_of(policy_of(trials=3, confirm_replicates=0))
    first = next_id(driver)
    assert driver.num_to_keep == 2
    next_id(driver)
    next_id(driver)
    complete(driver, first, 0.5)
    assert driver.num_to_keep == 0


def test_a_trial_that_breaks_after_its_time_was_up_breaks_nothing() -> None:
    now = 0.0
    policy = policy_of(trials=2, time_budget_s=1000, confirm_replicates=0)
    driver = driver_of(policy, clock=lambda: now)
    late = next_id(driver)
    now = 1000 + HALT_S
    driver.idle()
    assert policy.store[late].stopped_by == "end of search"
    driver.ended(late, Ending(status=Status.RUNNING, error="its checkpoint is gone"))
    assert driver.error is None


def test_a_confirmation_that_fails_alike_is_finished_and_later_failures_break_nothing() -> None:
    policy = policy_of(trials=2, scheduler="none", confirm_top=1, confirm_replicates=3)
    driver = driver_of(policy)
    for trial_id, score in zip([next_id(driver), next_id(driver)], (0.5, 0.6), strict=True):
        complete(driver, trial_id, score)
    confirmed = [next_id(driver) for _ in range(6)]
    for trial_id in confirmed[:3]:
        assert not driver.is_finished
        driver.ended(trial_id, Ending(status=Status.FAILED, error="the same"))
    assert policy.confirmation_failed_by == "the same"
    assert driver.is_finished
    assert not any(policy.store[trial_id].is_running for trial_id in confirmed)
    driver.ended(confirmed[3], Ending(status=Status.RUNNING, error="no space left"))
    assert driver.error is None


def test_the_experiment_ends_with_the_decision_and_halts_what_ran_ahead_of_it() -> None:
    halted: list[str] = []
    recorder = Recorder()
    policy = policy_of(
        **{"trials": 2, "scheduler": "none", "confirm_top": 1},
        **{"confirm_replicates": 2, "confirm_max_replicates": 3},
    )
    driver = driver_of(policy, recorder, halt=halted.append)
    for trial_id, score in zip([next_id(driver), next_id(driver)], (0.5, 0.6), strict=True):
        complete(driver, trial_id, score)
    confirmed = [next_id(driver) for _ in range(6)]
    for trial_id, score in zip(confirmed[:4], (0.5, 0.6, 0.5, 0.6), strict=True):
        assert not driver.is_finished
        complete(driver, trial_id, score)
    assert policy.phase == Phase.FINISHED
    assert driver.is_finished
    assert [("ended", one, "stopped") in recorder.events for one in confirmed[4:]] == [True] * 2
    assert driver.next_trial() is NoTrial.DONE
    assert driver.num_to_keep == 0
    driver.idle()
    assert [flag.partition("-")[0] for flag in halted] == ["confirmation"]


def test_a_dropped_finalist_is_stopped_at_its_next_evaluation_and_frees_its_worker() -> None:
    policy = policy_of(trials=3, scheduler="none", confirm_top=2, confirm_replicates=2)
    driver = driver_of(policy, capacity=lambda: 5)
    searched = [next_id(driver) for _ in range(3)]
    for trial_id, score in zip(searched, (0.5, 0.7, 0.6), strict=True):
        complete(driver, trial_id, score)
    default, best, other, _, ahead = (next_id(driver) for _ in range(5))
    assert policy.store[ahead].parameters == policy.store[best].parameters
    for trial_id, score in ((default, 0.5), (best, 0.5), (other, 0.7)):
        complete(driver, trial_id, score)
    assert driver.reported(next_id(driver), evaluation(250, 0.3))
    assert not driver.reported(ahead, evaluation(250, 0.3))
    assert policy.store[ahead].stopped_by == "end of search"
    assert not driver.is_finished


def test_the_confirmation_runs_in_a_new_experiment_where_a_trial_hangs_in_its_worker() -> None:
    now = 0.0
    policy = policy_of(
        trials=3, time_budget_s=1000, scheduler="none", confirm_top=1, confirm_replicates=2
    )
    driver = driver_of(policy, clock=lambda: now, capacity=lambda: 1)
    for score in (0.5, 0.6):
        trial_id = next_id(driver)
        now += 50
        complete(driver, trial_id, score)
    hung = next_id(driver)
    now = 950 - 4 * 50 + 50 + HALT_S  # a training took 50 s; four are to come, and it was halted
    driver.idle()
    assert policy.store[hung].stopped_by == "end of search"
    assert (driver.is_finished, policy.needs_workers) == (True, True)
    driver.start_experiment()
    assert (driver.is_finished, policy.needs_workers) == (False, False)
    for _ in range(4):
        complete(driver, next_id(driver), 0.5)
    assert policy.phase == Phase.FINISHED
    assert {trial.status for trial in policy.store.confirmations} == {"completed"}
