"""How a policy ends: the time is up, a signal, a full disk, trials that fail alike."""

import itertools

from results.trial_states import Status
from tests.tuning.builders import evaluation, trial
from tests.tuning.deciding import complete, fail, policy_of, reach, report, start
from tuning.policy import HALT_S
from tuning.trials import NUM_ALIKE, Ending, NoTrial, Phase, Trial


def test_first_trials_that_fail_alike_end_the_search() -> None:
    policy = policy_of()
    for _ in range(NUM_ALIKE):
        assert not policy.is_ending
        fail(policy, "RuntimeError: the same")
    assert policy.is_ending
    assert policy.aborted_by == "RuntimeError: the same"
    assert policy.next() is NoTrial.DONE


def test_first_trials_that_fail_each_in_its_way_do_not_end_the_search() -> None:
    policy = policy_of()
    for number in range(NUM_ALIKE):
        fail(policy, f"RuntimeError: {number}")
    assert not policy.is_ending


def test_alike_failures_after_a_success_do_not_end_the_search() -> None:
    policy = policy_of()
    complete(policy, start(policy), 0.5)
    for _ in range(NUM_ALIKE):
        fail(policy, "RuntimeError: the same")
    assert not policy.is_ending


def test_after_the_deadline_no_trial_starts_and_the_running_ones_are_closed() -> None:
    policy = policy_of(time_budget_s=1000, confirm_replicates=0)
    running, done = start(policy), start(policy)
    complete(policy, done, 0.4)
    reach(policy, running, 0.5, until=500)
    policy.pass_time(949.0)
    assert not policy.is_ending
    policy.pass_time(950.0)  # 50 seconds are kept for the next evaluation
    assert policy.is_ending
    assert policy.next() is NoTrial.DONE
    assert not policy.halting
    assert not policy.is_finished
    assert not report(policy, running, evaluation(750, 0.9))
    assert policy.is_finished
    assert (running.status, running.stopped_by) == ("stopped", "end of search")
    assert done.status == "completed"


def test_without_a_time_budget_time_ends_nothing() -> None:
    policy = policy_of()
    start(policy)
    policy.pass_time(1e9)
    assert not policy.is_ending
    assert not policy.halting


def test_an_interrupt_ends_the_search() -> None:
    policy = policy_of()
    start(policy)
    policy.interrupt(10.0)
    assert policy.is_ending
    assert policy.halting == {Phase.SEARCH, Phase.CONFIRMATION}
    assert not policy.is_finished
    assert policy.next() is NoTrial.DONE


def test_trials_that_never_started_are_closed_with_the_search() -> None:
    policy = policy_of(known=[trial(0)], time_budget_s=100, confirm_replicates=0)
    policy.pass_time(95.0)
    assert policy.store["t0000"].stopped_by == "end of search"
    assert policy.store["t0000"].row()["examples"] == 0
    assert policy.phase == Phase.FINISHED


def test_trials_that_halt_stay_running_and_nothing_more_is_waited_for() -> None:
    policy = policy_of()
    first, second = start(policy), start(policy)
    policy.interrupt(10.0)
    for one in (first, second):
        assert not policy.is_finished
        policy.ended(one.trial_id, Ending(status=Status.RUNNING))
        assert not policy.is_finished  # Ray has not yet seen its end
        policy.ended(one.trial_id, Ending(status=Status.FAILED, error="it ended without a report"))
    assert policy.is_finished
    assert [first.status, second.status] == ["running", "running"]


def test_a_trial_that_does_not_halt_is_not_waited_for_long() -> None:
    policy = policy_of()
    start(policy)
    policy.interrupt(10.0)
    policy.pass_time(10.0 + HALT_S - 0.1)
    assert not policy.is_finished
    policy.pass_time(10.0 + HALT_S)
    assert policy.is_finished


def test_an_evaluation_that_comes_while_trials_halt_is_kept() -> None:
    policy = policy_of()
    running = start(policy)
    policy.interrupt(0.0)
    assert report(policy, running, evaluation(250, 0.4))
    assert running.evaluations[-1].examples == 250


def test_trials_that_come_to_no_evaluation_after_the_deadline_halt_and_are_closed() -> None:
    policy = policy_of(time_budget_s=100, confirm_replicates=0)
    running = start(policy)
    policy.pass_time(99.0)
    assert not policy.halting
    policy.pass_time(100.0)
    assert Phase.SEARCH in policy.halting
    policy.ended(running.trial_id, Ending(status=Status.RUNNING))
    assert policy.is_finished
    assert (running.status, running.stopped_by) == ("stopped", "end of search")


def test_trials_that_do_not_even_halt_after_the_deadline_are_closed_soon() -> None:
    policy = policy_of(time_budget_s=100, confirm_replicates=0)
    running = start(policy)
    policy.pass_time(100.0 + HALT_S)
    assert running.stopped_by == "end of search"
    assert policy.is_finished
    assert not report(policy, running, evaluation(250, 0.4))


def test_the_end_of_the_search_s_time_ends_its_trials_and_starts_the_confirmation() -> None:
    policy = policy_of(time_budget_s=2000, trials=4, confirm_top=1)
    default, challenger, late = (start(policy) for _ in range(3))
    points = [250, 500, 750, 1000, 1250, 1500]
    for number, (one, point) in enumerate(itertools.product((default, challenger), points)):
        policy.pass_time(100.0 + 10 * number)
        report(policy, one, evaluation(point, 0.4))
    # 250 rows take 10 s; the six trainings of 3,000 rows that a verdict needs take 720 s, and a
    # margin of 35 % is added.
    policy.pass_time(1900.0 - 973)
    assert isinstance(policy.next(), Trial)
    policy.pass_time(1900.0 - 971)
    assert not isinstance(policy.next(), Trial)
    assert policy.phase == Phase.SEARCH
    assert not report(policy, late, evaluation(500, 0.9))
    policy.pass_time(1900.0 - 971 + 100 + HALT_S)  # the other one did not reach its next step
    assert late.stopped_by == "end of search"
    assert policy.phase == Phase.CONFIRMATION
    assert start(policy).source == "confirm"
    assert not policy.is_ending
    assert policy.halting <= {Phase.SEARCH}


def rungs_of_three(last: float) -> list[Trial]:
    """Two trials ended, one is at the first rung; the driver was lost before its decision."""
    first, other = ({"learning_rate": rate, "batch_size": 32} for rate in (1e-3, 2e-3))
    ended = {"status": "stopped", "stopped_by": "confirmation"}
    return [
        trial(0, (250, 0.5), (500, 0.5), (1500, 0.5), **ended),
        trial(1, (250, 0.5), (500, 0.5), (1500, 0.5), parameters=first, **ended),
        trial(2, (250, last), (500, last), parameters=other),
    ]


def test_the_decision_that_a_lost_driver_had_not_taken_is_taken_at_the_resume() -> None:
    behind = policy_of(known=rungs_of_three(0.1), trials=3, last_evaluated="t0002")
    stopped = behind.store["t0002"]
    assert (stopped.status, stopped.stopped_by) == ("stopped", "scheduler")
    assert behind.take_concluded() == [stopped]
    assert behind.phase == Phase.CONFIRMATION
    ahead = policy_of(known=rungs_of_three(0.9), trials=3, last_evaluated="t0002")
    assert ahead.next() is ahead.store["t0002"]


def test_a_trial_that_a_lost_driver_left_at_the_last_rung_ends_there_at_the_resume() -> None:
    known = rungs_of_three(0.9)
    known[2].add(evaluation(1500, 0.9))
    policy = policy_of(known=known, trials=3, last_evaluated="t0002")
    assert (known[2].status, known[2].stopped_by) == ("stopped", "confirmation")
    assert policy.phase == Phase.CONFIRMATION


def test_a_trial_that_had_finished_is_not_decided_on_again() -> None:
    known = rungs_of_three(0.1)
    policy_of(known=known, trials=3, last_evaluated="t0000")
    assert known[0].stopped_by == "confirmation"


def test_trials_that_were_lost_together_start_again_before_new_ones() -> None:
    policy = policy_of()
    ended, *lost = (start(policy) for _ in range(3))
    complete(policy, ended, 0.5)
    policy.requeue_live()
    assert [start(policy) for _ in range(2)] == lost
    assert start(policy).trial_id == "t0003"


def test_a_search_whose_first_trials_fail_alike_leaves_no_trial_running() -> None:
    policy = policy_of(known=[trial(0), trial(1)], trials=6)
    started = [start(policy) for _ in range(5)]
    for one in started[:NUM_ALIKE]:
        policy.ended(one.trial_id, Ending(status=Status.FAILED, error="the same"))
    assert policy.aborted_by == "the same"
    assert policy.is_finished
    assert [one.stopped_by for one in started[NUM_ALIKE:]] == ["end of search"] * 2
    assert policy.take_concluded() == started


def test_where_nothing_is_left_to_confirm_a_trial_that_hangs_is_not_waited_for() -> None:
    policy = policy_of(
        trials=2, time_budget_s=1000, scheduler="none", confirm_top=1, confirm_replicates=2
    )
    default, hung = start(policy), start(policy)
    policy.pass_time(400.0)
    complete(policy, default, 0.5)
    policy.pass_time(950.0 + 50.0 + HALT_S)  # there is no challenger, which could be confirmed
    assert hung.stopped_by == "end of search"
    assert policy.phase == Phase.FINISHED
    assert policy.is_finished
    assert not policy.needs_workers


def test_replicates_that_are_come_to_after_the_deadline_are_closed_at_once() -> None:
    policy = policy_of(
        trials=2, time_budget_s=1000, scheduler="none", confirm_top=1, confirm_replicates=2
    )
    for score in (0.5, 0.6):
        complete(policy, start(policy), score)
    first = [start(policy) for _ in range(4)]
    policy.pass_time(949.0)
    for one, score in zip(first, (0.5, 0.6, 0.6, 0.5), strict=True):  # nobody is ahead
        reach(policy, one, score, until=3000)
    policy.pass_time(951.0)
    for one in first:
        policy.ended(one.trial_id, Ending(status=Status.COMPLETED, seconds=1.0))
    assert policy.phase == Phase.FINISHED
    assert not any(one.is_running for one in policy.store)
