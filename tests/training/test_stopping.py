from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.training.test_metrics import EVALUATION
from training.objective import CLEARLY_ABOVE
from training.schedule import EarlyStopping

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
