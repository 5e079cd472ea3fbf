import subprocess
import sys

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


def test_trial_0_is_never_stopped_however_far_behind() -> None:
    policy = policy_of()
    default = start(policy)
    for _ in range(4):
        reach(policy, start(policy), 0.9, until=500)
    assert reach(policy, default, 0.1, until=3000)


def test_a_trial_behind_at_a_rung_is_stopped_there_and_not_before() -> None:
    policy = policy_of()
    start(policy)
    good, bad = start(policy), start(policy)
    assert reach(policy, good, 0.6, until=500)
    assert reach(policy, bad, 0.1, until=250)
    assert not reach(policy, bad, 0.1, until=500)
    assert (bad.status, bad.stopped_by, bad.final_score) == ("stopped", "scheduler", None)
    assert bad.seconds == bad.evaluations[-1].seconds


def test_the_default_s_scores_count_at_the_rungs() -> None:
    policy = policy_of()
    default, other = start(policy), start(policy)
    reach(policy, default, 0.6, until=500)
    assert not reach(policy, other, 0.5, until=500)


def test_a_peak_before_the_last_two_evaluations_saves_no_trial() -> None:
    policy = policy_of(grace_epochs=1)
    default, other = start(policy), start(policy)
    reach(policy, default, 0.5, until=1000)
    for examples, score in ((250, 0.9), (500, 0.9), (750, 0.4)):
        assert report(policy, other, evaluation(examples, score))
    assert not report(policy, other, evaluation(1000, 0.5))


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
    policy = policy_of()
    start(policy)
    patient, other = start(policy), start(policy)
    reach(policy, patient, 0.7, until=1000)
    policy.ended(patient.trial_id, Ending(status=Status.STOPPED, seconds=3.0))
    assert (patient.status, patient.stopped_by, patient.seconds) == ("stopped", "patience", 3.0)
    assert reach(policy, other, 0.8, until=1250)
    # At 1,500 the mean of the last two is 0.5.
    assert not report(policy, other, evaluation(1500, 0.2))


def test_a_trial_stopped_by_the_scheduler_is_not_held_against_later_rungs() -> None:
    policy = policy_of(trials=9)
    default, first = start(policy), start(policy)
    reach(policy, default, 0.9, until=500)
    assert not reach(policy, first, 0.8, until=500)
    second = start(policy)
    reach(policy, second, 0.95, until=1250)
    assert reach(policy, second, 0.1, until=1500)


def test_a_trial_in_its_warmup_passes_a_rung_unjudged_and_uncounted() -> None:
    policy = policy_of(
        space={"warmup_steps": {"choice": ["0", "60"]}}, algorithm="grid", scheduler="asha"
    )
    start(policy)
    warming = start(policy)
    assert warming.training.warmup_steps == 60  # 960 rows: not before two thirds of 500
    reach(policy, policy.store["t0000"], 0.9, until=500)
    assert reach(policy, warming, 0.1, until=1250)
    assert reach(policy, policy.store["t0000"], 0.9, until=1500)
    assert not reach(policy, warming, 0.1, until=1500)


def test_a_step_that_spans_a_rung_and_the_next_point_is_judged_at_the_rung() -> None:
    policy = policy_of(grace_epochs=0.24)  # a rung at 240, the next point at 250
    default, other = start(policy), start(policy)
    report(policy, default, evaluation(256, 0.9))
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
    policy = policy_of()
    trial = start(policy)
    reach(policy, trial, 0.2, until=2750)
    report(policy, trial, evaluation(3000, 0.16, collapsed=True))
    policy.ended(trial.trial_id, Ending(status=Status.COMPLETED))
    assert (trial.status, trial.final_score) == ("collapsed", 0.16)


def test_a_collapse_that_clears_itself_leaves_no_trace() -> None:
    policy = policy_of()
    trial = start(policy)
    report(policy, trial, evaluation(250, 0.16, collapsed=True))
    complete(policy, trial, 0.5)
    assert trial.status == "completed"


def test_what_is_reported_after_a_trial_s_end_is_ignored() -> None:
    policy = policy_of()
    trial = start(policy)
    complete(policy, trial, 0.5)
    policy.ended(trial.trial_id, Ending(status=Status.FAILED, error="its process was lost"))
    assert (trial.status, trial.error) == ("completed", "")


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
