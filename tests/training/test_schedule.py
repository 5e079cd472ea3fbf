"""Steps and epochs, warm-up, early stopping, also on curves of real trials of a study."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.test_metrics import EVALUATION
from training.config import TrainingConfig
from training.metrics import Evaluation
from training.objective import CLEARLY_ABOVE
from training.schedule import EarlyStopping, Schedule, num_warmup_steps, schedule_of

SCHEDULES = st.builds(
    Schedule,
    num_rows=st.integers(1, 5000),
    batch_size=st.integers(1, 300),
    epochs=st.integers(1, 9),
)


@given(schedule=SCHEDULES, data=st.data())
def test_the_step_of_the_rows_seen_after_a_step_is_that_step(
    schedule: Schedule, data: st.DataObject
) -> None:
    step = data.draw(st.integers(0, schedule.total_steps))
    assert schedule.step_at(schedule.examples_after(step)) == step


@given(schedule=SCHEDULES, data=st.data())
def test_a_step_is_the_first_after_which_so_many_rows_have_been_seen(
    schedule: Schedule, data: st.DataObject
) -> None:
    examples = data.draw(st.integers(1, schedule.budget))
    step = schedule.step_at(examples)
    assert 1 <= step <= schedule.total_steps
    assert schedule.examples_after(step - 1) < examples <= schedule.examples_after(step)


@given(schedule=SCHEDULES)
def test_rows_seen_grow_a_batch_at_a_time_and_end_at_the_budget(schedule: Schedule) -> None:
    assert schedule.examples_after(0) == 0
    assert schedule.examples_after(schedule.total_steps) == schedule.budget
    seen = [schedule.examples_after(step) for step in range(min(schedule.total_steps, 40) + 1)]
    gains = [after - before for before, after in itertools.pairwise(seen)]
    assert all(1 <= gain <= schedule.batch_size for gain in gains)


@pytest.mark.parametrize(
    ("warmup", "steps"), [(0, 0), (0.1, 3), (0.999, 29), (1, 1), (500, 500), (1e-9, 1)]
)
def test_a_warm_up_below_one_is_a_share_of_all_steps_rounded_up(warmup: float, steps: int) -> None:
    training = TrainingConfig(epochs=3, batch_size=10, warmup_steps=warmup)
    schedule = schedule_of(training, num_rows=95)
    assert schedule.total_steps == 30
    assert num_warmup_steps(training, schedule) == steps


ROWS = 1000
CONSTANT = 0.16


def _stopped_at(scores: Sequence[float], *, patience: int = 1, after: int = 0) -> float | None:
    """Epoch at which training ends, four evaluations an epoch; None: it does not."""
    stopping = EarlyStopping(patience=patience, after_examples=after, constant_score=CONSTANT)
    for number, score in enumerate(scores, start=1):
        epoch = number / 4
        seen = replace(EVALUATION, epoch=epoch, examples=round(epoch * ROWS), score=score)
        if stopping.should_stop(seen):
            return epoch
    return None


def test_training_ends_after_patience_epochs_without_a_better_score() -> None:
    assert _stopped_at([0.5] + [0.4] * 20, patience=1) == 1.25
    assert _stopped_at([0.5] + [0.4] * 20, patience=3) == 3.25


def test_patience_counts_epochs_and_not_evaluations() -> None:
    assert _stopped_at([0.5, 0.4, 0.4, 0.4], patience=1) is None


def test_a_better_score_starts_the_count_anew() -> None:
    assert _stopped_at([0.5, 0.4, 0.4, 0.6] + [0.4] * 20, patience=1) == 2.0


def test_an_equal_score_is_not_a_better_one() -> None:
    assert _stopped_at([0.5] * 20, patience=1) == 1.25


def test_a_trial_that_sits_at_the_constant_predictor_is_not_ended() -> None:
    assert _stopped_at([CONSTANT] * 100, patience=1) is None
    assert _stopped_at([CONSTANT + CLEARLY_ABOVE] * 100, patience=1) is None


def test_a_late_start_is_counted_from_its_start() -> None:
    assert _stopped_at([CONSTANT] * 12 + [0.5] + [0.4] * 20, patience=1) == 4.25


def test_nothing_counts_before_the_warm_up_and_the_first_rung_have_ended() -> None:
    scores = [0.5] + [0.4] * 30
    assert _stopped_at(scores, patience=1, after=3 * ROWS) == 4.0
    # The 0.5 was seen in the warm-up: 0.41 afterwards is the best there is.
    assert _stopped_at([0.5] * 7 + [0.4] + [0.41] + [0.4] * 9, patience=1, after=2 * ROWS) == 3.25


def test_a_rising_trial_runs_to_the_end() -> None:
    assert _stopped_at([0.2 + 0.01 * number for number in range(40)], patience=1) is None


def test_a_trial_that_learnt_in_the_warm_up_and_then_collapsed_is_ended() -> None:
    scores = [0.5] * 7 + [CONSTANT] * 20
    assert _stopped_at(scores, patience=1, after=2 * ROWS) == 3.0


@pytest.mark.parametrize("rising", ["f1_macro", "accuracy"])
def test_a_metric_that_rises_beside_the_score_keeps_no_trial_going(rising: str) -> None:
    stopping = EarlyStopping(patience=1, after_examples=0, constant_score=CONSTANT)
    ended = [
        stopping.should_stop(
            replace(EVALUATION, epoch=number / 4, score=0.5, **{rising: 0.3 + number / 20})
        )
        for number in range(1, 6)
    ]
    assert ended == [False] * 4 + [True]


CURVES = Path(__file__).parents[2] / ".." / "shared" / "data" / "study-curves.csv"
needs_curves = pytest.mark.skipif(not CURVES.exists(), reason="the study's curves are not here")

CONSTANT_SCORE = 0.16304
NUM_ROWS = 16_700  # at the study's batch size of 16 these are its 1,044 steps an epoch
FIRST_RUNG = NUM_ROWS // 2
TRIALS = [f"trial_{number}" for number in range(13, 23)]


def _curve(run: str) -> pd.DataFrame:
    table = pd.read_csv(CURVES)
    curve = table[table["run"] == run].sort_values("step")
    assert len(curve), f"{run} is not among the curves"
    return curve


def _evaluations(curve: pd.DataFrame) -> list[Evaluation]:
    return [
        replace(
            EVALUATION,
            examples=round(row.epoch * NUM_ROWS),
            epoch=row.epoch,
            learning_rate=row.learning_rate,
            score=row.f1_macro,
            f1_macro=row.f1_macro,
        )
        for row in curve.itertuples()
    ]


def _stopped_at_step(run: str, patience: int) -> int | None:
    curve = _curve(run)
    evaluations = _evaluations(curve)
    peak = max(evaluations, key=lambda evaluation: evaluation.learning_rate)
    stopping = EarlyStopping(
        patience=patience,
        after_examples=max(FIRST_RUNG, peak.examples),
        constant_score=CONSTANT_SCORE,
    )
    for step, evaluation in zip(curve["step"], evaluations, strict=True):
        if stopping.should_stop(evaluation):
            return int(step)
    return None


def _stopped_by_counting_evaluations(run: str, patience: int) -> int | None:
    best, waited = float("-inf"), 0
    for row in _curve(run).itertuples():
        best, waited = (row.f1_macro, 0) if row.f1_macro > best else (best, waited + 1)
        if waited >= patience:
            return int(row.step)
    return None


@needs_curves
def test_the_study_s_own_rule_would_end_its_trials_before_they_learn() -> None:
    ended = [_stopped_by_counting_evaluations(run, patience=3) for run in TRIALS[1:7]]
    assert ended == [800] * 6
    assert _stopped_by_counting_evaluations("trial_13", patience=2) == 600


@needs_curves
@pytest.mark.parametrize("patience", [1, 3])
def test_the_best_trial_which_started_late_is_never_ended(patience: int) -> None:
    assert _curve("trial_13")["f1_macro"].iloc[-1] > 0.5
    assert _stopped_at_step("trial_13", patience) is None


@needs_curves
@pytest.mark.parametrize("patience", [1, 3])
@pytest.mark.parametrize("run", TRIALS[1:])
def test_a_trial_at_the_constant_predictor_s_score_is_not_ended(run: str, patience: int) -> None:
    assert _curve(run)["f1_macro"].max() < 0.2
    assert _stopped_at_step(run, patience) is None
