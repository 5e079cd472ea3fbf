"""Event files of a search, read back as TensorBoard's HParams page reads them."""

import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.tuning.builders import configuration, evaluation, trial
from tests.tuning.hparams_page import Page, read_page
from tuning.board import Board
from tuning.trials import Trial

SPACE = {
    "learning_rate": {"log_uniform": ["1e-4", "4e-4"]},
    "batch_size": {"choice": ["32", "64"]},
    "weight_decay": {"uniform": ["0.0", "0.5"]},
    "warmup_steps": {"integer": ["0", "9"]},
}
SEARCHED = configuration(search={"space": SPACE})  # batch size 16 of trial 0 lies outside
VALUES = {"learning_rate": 2e-4, "batch_size": 64, "weight_decay": 0.0, "warmup_steps": 0}


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(directory=tmp_path, configuration=SEARCHED)


def ended(board: Board, number: int, *scores: tuple[int, float], **changes: Any) -> Trial:
    """A trial from its beginning to its end."""
    shown = trial(number, config=SEARCHED, **changes)
    board.begun(shown)
    for examples, score in scores:
        shown.evaluations.append(evaluation(examples, score))
        board.evaluated(shown)
    board.ended(shown)
    return shown


def page(board: Board) -> Page:
    return read_page(board.directory)


def test_a_trial_is_a_session_with_its_values_its_last_score_and_the_rows_it_saw(
    board: Board,
) -> None:
    ended(board, 1, (500, 0.3), (1000, 0.2), parameters=VALUES, status="stopped")
    (session,) = page(board).sessions.values()
    assert session.values == {**VALUES, "source": "search", "replicate": 0}
    assert session.metrics == pytest.approx({"f1_macro": 0.2, "examples": 1000})
    assert session.status == "success"


def test_trial_0_outside_of_the_space_is_within_what_the_page_shows(board: Board) -> None:
    ended(board, 0, (500, 0.3), status="completed")
    assert page(board).sessions["t0000"].values["batch_size"] == 16


def test_the_page_knows_kind_and_bounds_of_each_parameter(board: Board) -> None:
    ended(board, 0, status="failed")
    infos = {info.name: info for info in page(board).experiment.hparam_infos}
    rate, decay = infos["learning_rate"].domain_interval, infos["weight_decay"].domain_interval
    assert (rate.min_value, rate.max_value) == (1e-4, 5e-4)  # 5e-4 is trial 0's
    assert (decay.min_value, decay.max_value) == (0.0, 0.5)
    assert list(infos["batch_size"].domain_discrete) == [16, 32, 64]
    assert list(infos["source"].domain_discrete) == ["default", "search", "confirm"]


def test_a_confirmation_tells_its_replicate(board: Board) -> None:
    ended(board, 4, (3000, 0.5), source="confirm", replicate=2, status="completed")
    values = page(board).sessions["t0004"].values
    assert (values["source"], values["replicate"]) == ("confirm", 2)


@pytest.mark.parametrize("status", ["failed", "diverged"])
def test_a_trial_that_fails_after_an_evaluation_has_no_score(board: Board, status: str) -> None:
    ended(board, 1, (500, 0.3), status=status)
    session = page(board).sessions["t0001"]
    assert math.isnan(session.metrics["f1_macro"])
    assert session.metrics["examples"] == 500
    assert session.status == "failure"


def test_a_trial_that_ends_before_any_evaluation_is_there_without_a_score(board: Board) -> None:
    ended(board, 1, status="failed")
    session = page(board).sessions["t0001"]
    assert (session.metrics, session.status) == ({}, "failure")


def test_a_trial_that_runs_shows_what_is_known(board: Board) -> None:
    running = trial(1, config=SEARCHED)
    board.begun(running)
    running.evaluations.append(evaluation(500, 0.25))
    board.evaluated(running)
    session = page(board).sessions["t0001"]  # as a killed process would leave it
    assert session.metrics == pytest.approx({"f1_macro": 0.25, "examples": 500})
    assert session.status == "unknown"
    board.close()


def test_a_trial_that_goes_on_in_another_process_is_one_session(board: Board) -> None:
    running = trial(1, (500, 0.25), config=SEARCHED)
    board.begun(running)
    board.evaluated(running)
    board.close()
    again = Board(directory=board.directory, configuration=SEARCHED)
    again.begun(running)
    running.evaluations.append(evaluation(1000, 0.5))
    again.evaluated(running)
    running.status = "completed"
    again.ended(running)
    (session,) = page(board).sessions.values()
    assert session.metrics == pytest.approx({"f1_macro": 0.5, "examples": 1000})
    assert session.status == "success"


def test_any_directory_of_a_trial_can_be_read_alone(board: Board) -> None:
    for number in (0, 1):
        ended(board, number, (500, 0.3), status="completed")
    shutil.rmtree(board.directory / "t0000")
    assert list(page(board).sessions) == ["t0001"]
    assert len(page(board).experiment.metric_infos) == 2


def test_only_trials_that_run_hold_a_file_open(board: Board) -> None:
    ended(board, 0, (500, 0.3), status="completed")
    board.begun(trial(1, config=SEARCHED))
    assert set(board._writers) == {"t0001"}
    board.close()
    assert not board._writers
