from typing import Any

import pytest

from tests.tuning.builders import evaluation, trial
from tests.tuning.conducting import complete, conductor, reach, start
from tuning.trials import Ending, Trial


def test_trial_0_is_the_default_and_the_others_are_drawn() -> None:
    phase = conductor()
    first, second = start(phase), start(phase)
    default = phase.configuration.training
    assert (first.trial_id, first.source) == ("t0000", "default")
    assert first.parameters == {"learning_rate": default.learning_rate, "batch_size": 16}
    assert first.training == default
    assert (second.trial_id, second.source) == ("t0001", "search")
    assert second.parameters["learning_rate"] != default.learning_rate
    assert second.training.learning_rate == second.parameters["learning_rate"]


def test_trial_0_is_never_stopped_however_far_behind() -> None:
    phase = conductor()
    default = start(phase)
    for _ in range(4):
        reach(phase, start(phase), 0.9, until=500)
    assert reach(phase, default, 0.1, until=3000)


def test_a_trial_behind_at_a_rung_is_stopped_there_and_not_before() -> None:
    phase = conductor()
    start(phase)
    good, bad = start(phase), start(phase)
    assert reach(phase, good, 0.6, until=500)
    assert reach(phase, bad, 0.1, until=250)
    assert not reach(phase, bad, 0.1, until=500)
    assert (bad.status, bad.stopped_by, bad.final_f1_macro) == ("stopped", "scheduler", None)
    assert bad.seconds == bad.evaluations[-1].seconds


def test_the_default_s_scores_count_at_the_rungs() -> None:
    phase = conductor()
    default, other = start(phase), start(phase)
    reach(phase, default, 0.6, until=500)
    assert not reach(phase, other, 0.5, until=500)


def test_a_peak_before_the_last_two_evaluations_saves_no_trial() -> None:
    phase = conductor(grace_epochs=1)
    default, other = start(phase), start(phase)
    reach(phase, default, 0.5, until=1000)
    for examples, score in ((250, 0.9), (500, 0.9), (750, 0.4)):
        assert phase.report(other.trial_id, evaluation(examples, score))
    assert not phase.report(other.trial_id, evaluation(1000, 0.5))


@pytest.mark.parametrize("status", ["failed", "diverged"])
def test_a_failed_or_diverged_trial_never_competes(status: Any) -> None:
    phase = conductor()
    start(phase)
    gone, other = start(phase), start(phase)
    reach(phase, gone, 0.9, until=750)
    phase.end(gone.trial_id, Ending(status=status, error="x"))
    assert reach(phase, other, 0.1, until=500)
    assert gone.final_f1_macro is None


def test_a_trial_whose_loss_is_not_finite_is_left_to_end_by_itself_and_scores_nothing() -> None:
    phase = conductor()
    start(phase)
    lost, other = start(phase), start(phase)
    reach(phase, lost, 0.9, until=250)
    assert phase.report(lost.trial_id, evaluation(500, 0.1, eval_loss=float("nan")))
    phase.end(lost.trial_id, Ending(status="diverged"))
    assert lost.status == "diverged"
    assert lost.row()["f1_macro"] == ""
    assert lost.row()["peak_f1_macro"] == 0.9
    assert reach(phase, other, 0.2, until=500)


def test_a_trial_that_lost_patience_keeps_its_score_at_later_rungs() -> None:
    phase = conductor()
    start(phase)
    patient, other = start(phase), start(phase)
    reach(phase, patient, 0.7, until=1000)
    phase.end(patient.trial_id, Ending(status="stopped early", seconds=3.0))
    assert (patient.status, patient.stopped_by, patient.seconds) == ("stopped", "patience", 3.0)
    assert reach(phase, other, 0.8, until=1250)
    # At 1,500 the mean of the last two is 0.5.
    assert not phase.report(other.trial_id, evaluation(1500, 0.2))


def test_a_trial_stopped_by_the_scheduler_is_not_held_against_later_rungs() -> None:
    phase = conductor(trials=9)
    default, first = start(phase), start(phase)
    reach(phase, default, 0.9, until=500)
    assert not reach(phase, first, 0.8, until=500)
    second = start(phase)
    reach(phase, second, 0.95, until=1250)
    assert reach(phase, second, 0.1, until=1500)


def test_a_trial_in_its_warmup_passes_a_rung_unjudged_and_uncounted() -> None:
    phase = conductor(
        space={"warmup_steps": {"choice": ["0", "60"]}}, algorithm="grid", scheduler="asha"
    )
    start(phase)
    warming = start(phase)
    assert warming.training.warmup_steps == 60  # 960 rows: not before two thirds of 500
    reach(phase, phase.trials["t0000"], 0.9, until=500)
    assert reach(phase, warming, 0.1, until=1250)
    assert reach(phase, phase.trials["t0000"], 0.9, until=1500)
    assert not reach(phase, warming, 0.1, until=1500)


def test_a_step_that_spans_a_rung_and_the_next_point_is_judged_at_the_rung() -> None:
    phase = conductor(grace_epochs=0.24)  # a rung at 240, the next point at 250
    default, other = start(phase), start(phase)
    phase.report(default.trial_id, evaluation(256, 0.9))
    assert not phase.report(other.trial_id, evaluation(256, 0.1))


def test_what_a_restarted_trial_shows_again_is_ignored() -> None:
    phase = conductor()
    heard: list[int] = []
    phase.on_evaluation = lambda trial: heard.append(trial.evaluations[-1].examples)
    trial = start(phase)
    reach(phase, trial, 0.5, until=750)
    for examples in (250, 500, 750):
        assert phase.report(trial.trial_id, evaluation(examples, 0.99))
    assert phase.report(trial.trial_id, evaluation(1000, 0.6))
    assert heard == [250, 500, 750, 1000]
    assert [e.f1_macro for e in trial.evaluations] == [0.5, 0.5, 0.5, 0.6]


def test_a_trial_that_gives_every_row_one_class_at_its_end_has_collapsed() -> None:
    phase = conductor()
    trial = start(phase)
    reach(phase, trial, 0.2, until=2750)
    phase.report(trial.trial_id, evaluation(3000, 0.16, collapsed=True))
    phase.end(trial.trial_id, Ending(status="completed"))
    assert (trial.status, trial.final_f1_macro) == ("collapsed", 0.16)


def test_a_collapse_that_clears_itself_leaves_no_trace() -> None:
    phase = conductor()
    trial = start(phase)
    phase.report(trial.trial_id, evaluation(250, 0.16, collapsed=True))
    complete(phase, trial, 0.5)
    assert trial.status == "completed"


def test_what_comes_after_a_trial_s_end_is_of_no_interest() -> None:
    phase = conductor()
    trial = start(phase)
    complete(phase, trial, 0.5)
    phase.end(trial.trial_id, Ending(status="failed", error="its process was lost"))
    assert (trial.status, trial.error) == ("completed", "")


def test_no_more_trials_run_at_once_than_the_resources_hold() -> None:
    phase = conductor(num_slots=2)
    first = start(phase)
    start(phase)
    assert phase.next_trial() == "wait"
    complete(phase, first, 0.5)
    assert start(phase).trial_id == "t0002"
    assert phase.next_trial() == "wait"


def test_no_more_trials_run_at_once_than_max_concurrent() -> None:
    phase = conductor(num_slots=4, max_concurrent=1)
    first = start(phase)
    assert phase.next_trial() == "wait"
    reach(phase, first, 0.5, until=500)
    assert phase.next_trial() == "wait"
    fail_first = Ending(status="failed", error="x")
    phase.end(first.trial_id, fail_first)
    assert isinstance(phase.next_trial(), Trial)


def test_a_cluster_that_holds_no_trial_at_the_moment_is_still_asked_for_one() -> None:
    assert isinstance(conductor(num_slots=0).next_trial(), Trial)


def test_a_phase_is_finished_after_the_requested_trials() -> None:
    phase = conductor(trials=2)
    for _ in range(2):
        complete(phase, start(phase), 0.5)
    assert phase.next_trial() == "finished"


def test_known_trials_are_kept_and_those_that_ran_begin_again_before_new_ones() -> None:
    known = [
        trial(0, (3000, 0.5), status="completed"),
        trial(1, (250, 0.3), parameters={"learning_rate": 2e-3, "batch_size": 32}),
    ]
    phase = conductor(known=known, trials=3)
    again, new = start(phase), start(phase)
    assert again is known[1]
    assert new.trial_id == "t0002"
    assert phase.next_trial() == "finished"


def test_a_resumed_search_draws_what_it_would_have_drawn() -> None:
    whole = conductor(trials=4)
    drawn = [start(whole).parameters for _ in range(4)]
    resumed = conductor(trials=4, known=[trial(0, status="failed"), trial(1, status="failed")])
    assert [start(resumed).parameters for _ in range(2)] == drawn[2:]


def test_new_trials_of_a_resumed_search_take_no_id_of_a_confirmation() -> None:
    phase = conductor(known=[trial(0, (3000, 0.5), status="completed")])
    phase.num_others = 4
    assert start(phase).trial_id == "t0005"
