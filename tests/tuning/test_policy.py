import subprocess
import sys
from typing import Any

import pytest

from results.trial_states import Status
from tests.tuning.builders import evaluation, trial
from tests.tuning.deciding import complete, policy_of, reach, report, start
from tuning.trials import Ending, NoTrial, Phase


def test_trial_0_is_the_default_and_the_others_are_sampled() -> None:
    policy = policy_of()
    first, second = start(policy), start(policy)
    default = policy.configuration.training
    assert (first.trial_id, first.source) == ("t0000", "default")
    assert first.parameters == {"learning_rate": default.learning_rate, "batch_size": 16}
    assert first.training == default
    assert (second.trial_id, second.source) == ("t0001", "search")
    assert second.parameters["learning_rate"] != default.learning_rate
    assert second.training.learning_rate == second.parameters["learning_rate"]


def test_no_rung_stops_trial_0_however_far_behind_and_it_ends_at_the_last_one() -> None:
    policy = policy_of()
    default = start(policy)
    for _ in range(4):
        reach(policy, start(policy), 0.9, until=500)
    assert reach(policy, default, 0.1, until=1250)
    assert not reach(policy, default, 0.1, until=1500)
    assert (default.status, default.stopped_by) == ("stopped", "confirmation")


@pytest.mark.parametrize(
    "search", [{"scheduler": "none"}, {"confirm_replicates": 0}, {"decision_rule": 1}]
)
def test_where_no_trial_ends_at_the_last_rung_trial_0_runs_the_full_budget(
    search: dict[str, Any],
) -> None:
    policy = policy_of(**search)
    default = start(policy)
    for _ in range(4):
        reach(policy, start(policy), 0.9, until=500)
    assert reach(policy, default, 0.1, until=3000)


@pytest.mark.parametrize("scheduler", ["asha", "median"])
def test_every_trial_that_reaches_the_last_rung_ends_there_whatever_its_score(
    scheduler: str,
) -> None:
    policy = policy_of(trials=4, scheduler=scheduler)
    end = policy.plan.rungs[-1]
    trials = [start(policy) for _ in range(4)]
    for one in trials:
        reach(policy, one, 0.5, until=end - 250)
    for one, score in zip(trials, (0.9, 0.8, 0.1, 0.2), strict=True):
        assert not report(policy, one, evaluation(end, score))
    assert {one.status for one in trials} == {"stopped"}
    assert {one.stopped_by for one in trials} == {"confirmation"}
    assert {one.examples for one in trials} == {end}
    assert policy.phase == Phase.CONFIRMATION


def test_the_only_trial_of_a_search_runs_the_full_budget() -> None:
    policy = policy_of(trials=1)
    alone = start(policy)
    assert reach(policy, alone, 0.5, until=3000)
    policy.ended(alone.trial_id, Ending(status=Status.COMPLETED))
    assert (alone.status, policy.phase) == ("completed", Phase.FINISHED)


def test_a_trial_whose_warmup_ends_late_trains_on_after_the_last_rung() -> None:
    # 70 steps are 1,120 rows, more than two thirds of the last rung; 60 steps are 960.
    policy = policy_of(space={"warmup_steps": {"choice": ["60", "70"]}}, algorithm="grid")
    start(policy)
    early, late = start(policy), start(policy)
    assert (early.training.warmup_steps, late.training.warmup_steps) == (60, 70)
    assert not reach(policy, early, 0.5, until=1500)
    assert reach(policy, late, 0.1, until=3000)
    policy.ended(late.trial_id, Ending(status=Status.COMPLETED))
    assert late.status == "completed"
    assert policy.ranking.ranked(policy.store.searched) == [early, late]


def test_a_step_that_carries_a_trial_past_the_last_rung_ends_it() -> None:
    policy = policy_of()
    carried = start(policy)
    reach(policy, carried, 0.5, until=1250)
    assert not report(policy, carried, evaluation(1508, 0.5))
    assert carried.stopped_by == "confirmation"


def test_a_trial_behind_at_a_rung_is_stopped_there_and_not_before() -> None:
    policy = policy_of()
    start(policy)
    good, bad = start(policy), start(policy)
    assert reach(policy, good, 0.6, until=500)
    assert reach(policy, bad, 0.1, until=250)
    assert not reach(policy, bad, 0.1, until=500)
    assert (bad.status, bad.stopped_by, bad.final_score) == ("stopped", "scheduler", None)
    assert bad.seconds == bad.evaluations[-1].seconds


def test_trial_0_which_is_confirmed_anyway_is_no_rival_at_a_rung() -> None:
    policy = policy_of()
    default, first, second = (start(policy) for _ in range(3))
    reach(policy, default, 0.9, until=500)
    assert reach(policy, first, 0.5, until=500)
    assert not reach(policy, second, 0.4, until=500)


def test_trial_0_is_not_counted_among_those_at_a_rung_either() -> None:
    # One in three of the challengers is promoted: with trial 0 there would be six, of which two.
    policy = policy_of(trials=7)
    trials = [start(policy) for _ in range(6)]
    promoted = [
        reach(policy, one, score, until=500)
        for one, score in zip(trials, (0.1, 0.9, 0.2, 0.3, 0.4, 0.8), strict=True)
    ]
    assert promoted == [True, True, False, False, False, False]


def test_under_the_first_rule_trial_0_is_a_rival() -> None:
    policy = policy_of(decision_rule=1)
    default, other = start(policy), start(policy)
    reach(policy, default, 0.6, until=500)
    assert not reach(policy, other, 0.5, until=500)


def test_a_peak_before_the_last_two_evaluations_saves_no_trial() -> None:
    policy = policy_of(grace_epochs=0.9, reduction_factor=2)  # rungs at 900 and 1,800
    start(policy)
    first, other = start(policy), start(policy)
    reach(policy, first, 0.5, until=900)
    for examples, score in ((250, 0.9), (500, 0.9), (750, 0.4)):
        assert report(policy, other, evaluation(examples, score))
    assert not report(policy, other, evaluation(900, 0.5))


@pytest.mark.parametrize("status", [Status.FAILED, Status.DIVERGED])
def test_a_failed_or_diverged_trial_never_competes(status: Status) -> None:
    policy = policy_of()
    start(policy)
    gone, other = start(policy), start(policy)
    reach(policy, gone, 0.9, until=750)
    policy.ended(gone.trial_id, Ending(status=status, error="x"))
    assert reach(policy, other, 0.1, until=500)
    assert gone.final_score is None


def test_a_trial_whose_loss_is_not_finite_is_left_to_end_by_itself_and_scores_nothing() -> None:
    policy = policy_of()
    start(policy)
    lost, other = start(policy), start(policy)
    reach(policy, lost, 0.9, until=250)
    assert report(policy, lost, evaluation(500, 0.1, eval_loss=float("nan")))
    policy.ended(lost.trial_id, Ending(status=Status.DIVERGED))
    assert lost.status == "diverged"
    assert lost.row()["f1_macro"] == ""
    assert lost.row()["peak_f1_macro"] == 0.9
    assert reach(policy, other, 0.2, until=500)


def test_a_trial_that_lost_patience_keeps_its_score_at_later_rungs() -> None:
    policy = policy_of(confirm_replicates=0)  # the rung at 1,500 is not the end
    start(policy)
    patient, other = start(policy), start(policy)
    reach(policy, patient, 0.7, until=1000)
    policy.ended(patient.trial_id, Ending(status=Status.STOPPED, seconds=3.0))
    assert (patient.status, patient.stopped_by, patient.seconds) == ("stopped", "patience", 3.0)
    assert reach(policy, other, 0.8, until=1250)
    # At 1,500 the mean of the last two is 0.5.
    assert not report(policy, other, evaluation(1500, 0.2))


def test_a_trial_stopped_by_the_scheduler_is_not_held_against_later_rungs() -> None:
    policy = policy_of(trials=9, confirm_replicates=0)
    start(policy)
    best, first = start(policy), start(policy)
    reach(policy, best, 0.9, until=500)
    assert not reach(policy, first, 0.8, until=500)
    second = start(policy)
    reach(policy, second, 0.95, until=1250)
    assert reach(policy, second, 0.1, until=1500)


def test_a_trial_in_its_warmup_passes_a_rung_unjudged_and_uncounted() -> None:
    policy = policy_of(
        space={"warmup_steps": {"choice": ["1", "2", "60"]}},
        algorithm="grid",
        confirm_replicates=0,
    )
    start(policy)
    first, second, warming = (start(policy) for _ in range(3))
    assert warming.training.warmup_steps == 60  # 960 rows: not before two thirds of 500
    reach(policy, warming, 0.1, until=500)
    assert reach(policy, first, 0.05, until=500)
    reach(policy, second, 0.9, until=500)
    assert reach(policy, warming, 0.1, until=1250)
    assert reach(policy, second, 0.9, until=1500)
    assert not reach(policy, warming, 0.1, until=1500)


def test_a_step_that_spans_a_rung_and_the_next_point_is_judged_at_the_rung() -> None:
    policy = policy_of(grace_epochs=0.24)  # a rung at 240, the next point at 250
    start(policy)
    first, other = start(policy), start(policy)
    report(policy, first, evaluation(256, 0.9))
    assert not report(policy, other, evaluation(256, 0.1))


def test_evaluations_that_a_restarted_trial_repeats_are_ignored() -> None:
    policy = policy_of()
    trial = start(policy)
    reach(policy, trial, 0.5, until=750)
    for examples in (250, 500, 750):
        assert report(policy, trial, evaluation(examples, 0.99))
    assert report(policy, trial, evaluation(1000, 0.6))
    assert trial.curve == [(250, 0.5), (500, 0.5), (750, 0.5), (1000, 0.6)]


def test_a_trial_that_gives_every_row_one_class_at_its_end_has_collapsed() -> None:
    policy = policy_of(scheduler="none")
    trial = start(policy)
    reach(policy, trial, 0.2, until=2750)
    report(policy, trial, evaluation(3000, 0.16, collapsed=True))
    policy.ended(trial.trial_id, Ending(status=Status.COMPLETED))
    assert (trial.status, trial.final_score) == ("collapsed", 0.16)


def test_a_trial_that_predicts_one_class_at_the_last_rung_is_the_last_of_the_finalists() -> None:
    policy = policy_of(trials=3)
    default, collapsed, other = (start(policy) for _ in range(3))
    for one in (default, other):
        complete(policy, one, 0.3)
    reach(policy, collapsed, 0.9, until=1250)
    report(policy, collapsed, evaluation(1500, 0.16, collapsed=True))
    assert (collapsed.status, collapsed.stopped_by) == ("stopped", "confirmation")
    assert policy.confirmation is not None
    assert policy.confirmation.chosen == [one.parameters for one in (default, other, collapsed)]


def test_a_collapse_that_clears_itself_leaves_no_trace() -> None:
    policy = policy_of(trials=2)
    start(policy)
    trial = start(policy)
    report(policy, trial, evaluation(250, 0.16, collapsed=True))
    complete(policy, trial, 0.5)
    assert policy.ranking.ranked(policy.store.searched) == [trial]


@pytest.mark.parametrize(
    ("scheduler", "status"), [("none", Status.COMPLETED), ("asha", Status.STOPPED)]
)
def test_what_is_reported_after_a_trial_s_end_is_ignored(scheduler: str, status: Status) -> None:
    policy = policy_of(scheduler=scheduler)
    trial = start(policy)
    complete(policy, trial, 0.5)
    policy.ended(trial.trial_id, Ending(status=Status.FAILED, error="its process was lost"))
    assert (trial.status, trial.error) == (status, "")


def test_a_search_without_a_confirmation_is_done_after_the_requested_trials() -> None:
    policy = policy_of(trials=2, confirm_replicates=0)
    first, second = start(policy), start(policy)
    assert policy.next() is NoTrial.WAIT
    complete(policy, first, 0.5)
    complete(policy, second, 0.5)
    assert policy.next() is NoTrial.DONE
    assert policy.phase == Phase.FINISHED


def test_known_trials_are_kept_and_those_that_ran_start_again_before_new_ones() -> None:
    known = [
        trial(0, (3000, 0.5), status="completed"),
        trial(1, (250, 0.3), parameters={"learning_rate": 2e-3, "batch_size": 32}),
    ]
    policy = policy_of(known=known, trials=3)
    again, new = start(policy), start(policy)
    assert again is known[1]
    assert new.trial_id == "t0002"
    assert policy.next() is NoTrial.WAIT


def test_trials_that_finish_are_returned_once_in_the_order_of_their_ends() -> None:
    policy = policy_of()
    first, second, third = (start(policy) for _ in range(3))
    for one in (third, first):
        complete(policy, one, 0.5)
    assert policy.take_concluded() == [third, first]
    complete(policy, second, 0.4)
    assert policy.take_concluded() == [second]
    assert policy.take_concluded() == []


def test_a_resumed_search_samples_the_configurations_of_the_unbroken_one() -> None:
    whole = policy_of(trials=4)
    sampled = [start(whole).parameters for _ in range(4)]
    resumed = policy_of(trials=4, known=[trial(0, status="failed"), trial(1, status="failed")])
    assert [start(resumed).parameters for _ in range(2)] == sampled[2:]


def test_new_trials_of_a_resumed_search_take_no_id_of_a_confirmation() -> None:
    finished = [trial(number, (3000, 0.5), status="completed") for number in range(2)]
    confirmed = [
        trial(number, (3000, 0.5), status="completed", source="confirm", replicate=number - 1)
        for number in range(2, 5)
    ]
    policy = policy_of(known=[*finished, *confirmed], trials=4)
    assert [start(policy).trial_id for _ in range(2)] == ["t0005", "t0006"]


def test_a_fresh_process_that_imports_the_policy_loads_neither_ray_nor_pandas() -> None:
    code = "import sys, tuning.policy; print(sorted({'ray', 'pandas'} & set(sys.modules)))"
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == "[]"
