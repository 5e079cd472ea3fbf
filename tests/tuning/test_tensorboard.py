"""Event files of a search, read back as TensorBoard's HParams page reads them."""

import math
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from results.trial_states import SearchStatus, Status
from tests.tuning.builders import configuration, evaluation, trial
from tests.tuning.hparams_page import Page, read_page
from tuning.tensorboard import TensorBoard
from tuning.trials import Ending, Trial

SPACE = {
    "learning_rate": {"log_uniform": ["1e-4", "4e-4"]},
    "batch_size": {"choice": ["32", "64"]},
    "weight_decay": {"uniform": ["0.0", "0.5"]},
    "warmup_steps": {"integer": ["0", "9"]},
}
SEARCHED = configuration(search={"space": SPACE})  # batch size 16 of trial 0 lies outside
VALUES = {"learning_rate": 2e-4, "batch_size": 64, "weight_decay": 0.0, "warmup_steps": 0}


@pytest.fixture
def tensorboard(tmp_path: Path) -> TensorBoard:
    return TensorBoard(directory=tmp_path, configuration=SEARCHED)


def ended(
    tensorboard: TensorBoard, number: int, *scores: tuple[int, float], **changes: Any
) -> Trial:
    """Run a trial from its start to its end."""
    found = trial(number, config=SEARCHED, **changes)
    tensorboard.started(found)
    for examples, score in scores:
        found.add(evaluation(examples, score))
        tensorboard.evaluated(found)
    tensorboard.ended(found)
    return found


def page(tensorboard: TensorBoard) -> Page:
    return read_page(tensorboard.directory)


@pytest.mark.parametrize("stopped_by", ["scheduler", "confirmation"])
def test_a_trial_is_a_session_with_its_values_its_last_score_and_the_rows_it_saw(
    tensorboard: TensorBoard, stopped_by: str
) -> None:
    end = {"status": "stopped", "stopped_by": stopped_by}
    ended(tensorboard, 1, (500, 0.3), (1000, 0.2), parameters=VALUES, **end)
    (session,) = page(tensorboard).sessions.values()
    assert session.values == {**VALUES, "source": "search", "replicate": 0}
    assert session.metrics == pytest.approx({"score": 0.2, "examples": 1000})
    assert session.status == "success"


def test_trial_0_outside_of_the_space_is_within_the_ranges_of_the_page(
    tensorboard: TensorBoard,
) -> None:
    ended(tensorboard, 0, (500, 0.3), status="completed")
    assert page(tensorboard).sessions["t0000"].values["batch_size"] == 16


def test_the_page_knows_kind_and_bounds_of_each_parameter(tensorboard: TensorBoard) -> None:
    ended(tensorboard, 0, status="failed")
    infos = {info.name: info for info in page(tensorboard).experiment.hparam_infos}
    rate, decay = infos["learning_rate"].domain_interval, infos["weight_decay"].domain_interval
    assert (rate.min_value, rate.max_value) == (1e-4, 5e-4)  # 5e-4 is trial 0's
    assert (decay.min_value, decay.max_value) == (0.0, 0.5)
    assert list(infos["batch_size"].domain_discrete) == [16, 32, 64]
    assert list(infos["source"].domain_discrete) == ["default", "search", "confirm"]


def test_a_confirmation_has_its_replicate(tensorboard: TensorBoard) -> None:
    ended(tensorboard, 4, (3000, 0.5), source="confirm", replicate=2, status="completed")
    values = page(tensorboard).sessions["t0004"].values
    assert (values["source"], values["replicate"]) == ("confirm", 2)


@pytest.mark.parametrize("status", ["failed", "diverged"])
def test_a_trial_that_fails_after_an_evaluation_has_no_score(
    tensorboard: TensorBoard, status: str
) -> None:
    ended(tensorboard, 1, (500, 0.3), status=status)
    session = page(tensorboard).sessions["t0001"]
    assert math.isnan(session.metrics["score"])
    assert session.metrics["examples"] == 500
    assert session.status == "failure"


def test_a_trial_that_ends_before_any_evaluation_is_there_without_a_score(
    tensorboard: TensorBoard,
) -> None:
    ended(tensorboard, 1, status="failed")
    session = page(tensorboard).sessions["t0001"]
    assert (session.metrics, session.status) == ({}, "failure")


def test_a_running_trial_has_its_last_score(tensorboard: TensorBoard) -> None:
    running = trial(1, config=SEARCHED)
    tensorboard.started(running)
    running.add(evaluation(500, 0.25))
    tensorboard.evaluated(running)
    session = page(tensorboard).sessions["t0001"]  # as a killed process would leave it
    assert session.metrics == pytest.approx({"score": 0.25, "examples": 500})
    assert session.status == "unknown"
    tensorboard.closed(SearchStatus.INTERRUPTED)


def test_a_trial_resumed_in_another_process_is_one_session(
    tensorboard: TensorBoard,
) -> None:
    running = trial(1, (500, 0.25), config=SEARCHED)
    tensorboard.started(running)
    tensorboard.evaluated(running)
    tensorboard.closed(SearchStatus.INTERRUPTED)
    time.sleep(1.0)  # TensorBoard orders event files by the second in their names
    again = TensorBoard(directory=tensorboard.directory, configuration=SEARCHED)
    again.started(running)
    running.add(evaluation(1000, 0.5))
    again.evaluated(running)
    running.end(Ending(status=Status.COMPLETED))
    again.ended(running)
    (session,) = page(tensorboard).sessions.values()
    assert session.metrics == pytest.approx({"score": 0.5, "examples": 1000})
    assert session.status == "success"


def test_any_directory_of_a_trial_can_be_read_alone(tensorboard: TensorBoard) -> None:
    for number in (0, 1):
        ended(tensorboard, number, (500, 0.3), status="completed")
    shutil.rmtree(tensorboard.directory / "t0000")
    assert list(page(tensorboard).sessions) == ["t0001"]
    assert len(page(tensorboard).experiment.metric_infos) == 2


def test_only_running_trials_keep_a_file_open(tensorboard: TensorBoard) -> None:
    ended(tensorboard, 0, (500, 0.3), status="completed")
    tensorboard.started(trial(1, config=SEARCHED))
    assert set(tensorboard._writers) == {"t0001"}
    tensorboard.closed(SearchStatus.INTERRUPTED)
    assert not tensorboard._writers
