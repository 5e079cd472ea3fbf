"""Early stopping on the curves of real fine-tuning runs that a study recorded."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from tests.training.test_metrics import EVALUATION
from training.metrics import Evaluation
from training.schedule import EarlyStopping

CURVES = Path(__file__).parents[2] / ".." / "shared" / "data" / "study-curves.csv"
pytestmark = pytest.mark.skipif(not CURVES.exists(), reason="the study's curves are not here")

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


def test_the_study_s_own_rule_would_end_its_trials_before_they_learn() -> None:
    ended = [_stopped_by_counting_evaluations(run, patience=3) for run in TRIALS[1:7]]
    assert ended == [800] * 6
    assert _stopped_by_counting_evaluations("trial_13", patience=2) == 600


@pytest.mark.parametrize("patience", [1, 3])
def test_the_best_trial_which_began_late_is_never_ended(patience: int) -> None:
    assert _curve("trial_13")["f1_macro"].iloc[-1] > 0.5
    assert _stopped_at_step("trial_13", patience) is None


@pytest.mark.parametrize("patience", [1, 3])
@pytest.mark.parametrize("run", TRIALS[1:])
def test_a_trial_at_the_constant_predictor_s_score_is_not_ended(run: str, patience: int) -> None:
    assert _curve(run)["f1_macro"].max() < 0.2
    assert _stopped_at_step(run, patience) is None
