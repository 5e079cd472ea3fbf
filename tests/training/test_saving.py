"""When checkpoints are written, who is told, and how a training is stopped from outside."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.training.breaking import EVALUATE_AT, ROWS
from tests.training.broken_off import SMALL, BrokenOffError, assert_same, at_call, tuned_with
from tests.training.models import toy_task
from training.checkpoint import CHECKPOINT_FILE, is_due
from training.errors import TrainingStoppedError
from training.finetune import FineTuned
from training.metrics import Evaluation


@pytest.fixture(scope="module")
def small() -> FineTuned:
    return tuned_with(None, toy_task(64), **SMALL)


def _share_of_writing(*, write_s: float, evaluation_s: float, share: float) -> tuple[float, int]:
    """Share of the time, and number of writes, in 1,000 evaluations of a training."""
    now = writing = ended = last = 0.0
    writes = 0
    for _ in range(1000):
        now += evaluation_s
        if is_due(since_s=now - ended, last_write_s=last, share=share):
            now += write_s
            ended, last, writes = now, write_s, writes + 1
            writing += write_s
    return writing / now, writes


@pytest.mark.parametrize("write_s", [0.01, 1.0, 7.3, 60.0])
@pytest.mark.parametrize("share", [0.05, 0.2])
def test_writing_takes_no_more_than_its_share_of_the_time(write_s: float, share: float) -> None:
    found, writes = _share_of_writing(write_s=write_s, evaluation_s=10.0, share=share)
    assert 0 < found <= share + write_s / 10_000  # the first is written whatever it costs
    # And no less often than that allows: it waits for the next evaluation, no longer.
    assert writes >= 1000 / ((1 / share - 1) * write_s / 10.0 + 2)


def test_cheap_checkpoints_are_written_at_every_evaluation() -> None:
    assert _share_of_writing(write_s=0.1, evaluation_s=10.0, share=0.05)[1] == 1000
    assert _share_of_writing(write_s=60.0, evaluation_s=1.0, share=1.0)[1] == 1000


def test_the_first_evaluation_and_the_one_that_ends_the_training_write_a_checkpoint(
    tmp_path: Path,
) -> None:
    events: list[int | str] = []
    tuned_with(
        tmp_path,
        on_evaluation=lambda evaluation: events.append(evaluation.examples),
        # Held up by a storage, whose time counts: the next write is due after 200 s.
        on_checkpoint=lambda _: (events.append("written"), time.sleep(0.2)),
        checkpoint_share=0.001,
    )
    first, *between, last = EVALUATE_AT
    assert events == ["written", first, *between, "written", last]


def test_with_a_share_of_one_every_evaluation_writes_and_the_file_is_told(tmp_path: Path) -> None:
    told: list[Path] = []

    def hear(file: Path) -> None:
        assert file.stat().st_size > 10_000
        told.append(file)

    tuned_with(tmp_path, on_checkpoint=hear)
    assert told == [tmp_path / CHECKPOINT_FILE] * len(EVALUATE_AT)


def test_an_evaluation_that_stops_the_training_early_writes_a_checkpoint(tmp_path: Path) -> None:
    told: list[Path] = []
    settings: dict[str, Any] = {
        "stop_early_after": ROWS // 2,
        "epochs": 12,
        "early_stopping_patience": 1,
        "evaluate_at": range(ROWS // 4, 12 * ROWS + 1, ROWS // 4),
        "checkpoint_share": 1e-6,
    }
    whole = tuned_with(tmp_path, on_checkpoint=told.append, **settings)
    assert whole.outcome == "stopped early"
    assert len(told) == 2
    asked: list[int] = []
    again = tuned_with(tmp_path, should_stop=lambda: bool(asked.append(1)), **settings)
    assert_same(again, whole)
    assert asked == []


def test_what_the_listener_raises_ends_the_training_and_the_checkpoint_stays(
    small: FineTuned, tmp_path: Path
) -> None:
    heard: list[Evaluation] = []

    def fail(_: Path) -> None:
        raise BrokenOffError

    with pytest.raises(BrokenOffError):
        tuned_with(tmp_path, toy_task(64), on_evaluation=heard.append, on_checkpoint=fail, **SMALL)
    assert heard == []
    found = tuned_with(tmp_path, toy_task(64), on_evaluation=heard.append, **SMALL)
    assert heard == list(found.evaluations)
    assert_same(found, small)


@pytest.mark.parametrize(
    ("step", "share", "events"),
    [
        (3, 1.0, ["written", 32, "written"]),  # between evaluations
        (2, 1.0, ["written", 32]),  # an evaluation that has written this step's
        (4, 1e-6, ["written", 32, 64, "written"]),  # one that has not
    ],
)
def test_a_stop_writes_a_checkpoint_of_its_step_once(
    tmp_path: Path, step: int, share: float, events: list[int | str]
) -> None:
    seen: list[int | str] = []
    with pytest.raises(TrainingStoppedError):
        tuned_with(
            tmp_path,
            toy_task(64),
            on_evaluation=lambda evaluation: seen.append(evaluation.examples),
            on_checkpoint=lambda _: seen.append("written"),
            should_stop=at_call(step),
            checkpoint_share=share,
            **SMALL,
        )
    assert seen == events


def test_a_training_that_keeps_no_checkpoint_stops_too() -> None:
    with pytest.raises(TrainingStoppedError):
        tuned_with(None, toy_task(64), should_stop=at_call(3), **SMALL)


def test_a_training_that_has_ended_by_itself_is_not_asked_to_stop() -> None:
    asked: list[int] = []
    found = tuned_with(None, toy_task(64), should_stop=lambda: bool(asked.append(1)), **SMALL)
    assert found.outcome == "completed"
    assert len(asked) == 11  # of 12 steps
