"""Searches in the offline files of Weights & Biases, which are read back."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from results.run import Run
from results.tracking import STATE_FILE, WANDB, RunEnding, prepare_library
from results.wandb_tracker import WandbTracker, problem_of_login
from tests.results.tracked import OfflineRun, make_outcome, make_trial, read_offline_run

prepare_library(WANDB)

import wandb  # noqa: E402


@pytest.fixture(autouse=True)
def _service_ends() -> Iterator[None]:
    yield
    wandb.teardown()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    for name in ("WANDB_DIR", "WANDB_PROJECT", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    directory = tmp_path / "my run"
    (directory / "logs").mkdir(parents=True)
    return Run(directory)


def _opened(run: Run) -> WandbTracker:
    tracker = WandbTracker(run)
    tracker.open({"data": "tweets.csv", "seed": 42}, [])
    return tracker


def _runs(run: Run) -> list[OfflineRun]:
    """All offline runs, by time."""
    wandb.teardown()  # waits until the files are written
    directories = (run.directory / "logs" / "wandb").glob("offline-run-*")
    return [read_offline_run(one) for one in sorted(directories)]


def _steps(found: OfflineRun) -> list[int]:
    return [int(point["_step"]) for point in found.history]


def test_a_search_is_a_group_with_a_run_a_trial_and_one_of_its_own(run: Run) -> None:
    tracker = _opened(run)
    tracker.sync(make_trial("t0000", num_points=1))
    tracker.sync(make_trial("t0001", ending=RunEnding.FAILED, error="ValueError: bad"))
    tracker.sync(make_trial("t0000", num_points=3, ending=RunEnding.FINISHED))
    tracker.conclude(make_outcome(learning_rate=2e-5))
    found = {one.name: one for one in _runs(run)}
    parent, first, second = found["my run"], found["t0000 search"], found["t0001 search"]
    assert [one.group for one in (parent, first, second)] == ["my run"] * 3
    assert [one.kind for one in (parent, first, second)] == ["search", "trial", "trial"]
    assert [one.exit_code for one in (parent, first, second)] == [0, 0, 1]
    assert json.loads(first.config["learning_rate"]) == 2e-5
    assert json.loads(first.config["schedule"]) == "linear"
    assert _steps(first) == [100, 200, 300]
    assert [json.loads(point["score"]) for point in first.history] == [0.1, 0.2, 0.3]
    assert json.loads(second.summary["error"]) == "ValueError: bad"
    assert json.loads(parent.config["data"]) == "tweets.csv"
    assert json.loads(parent.config["winner.learning_rate"]) == 2e-5
    assert json.loads(parent.summary["winner.score"]) == 0.75
    assert parent.notes == "the winner is t0000"
    assert (parent.files / "report.html").read_text("utf-8") == "<title>Search \u2713</title>"


def test_nothing_is_sent_beside_the_values(run: Run) -> None:
    tracker = _opened(run)
    tracker.sync(make_trial(ending=RunEnding.FINISHED))
    tracker.conclude(make_outcome())
    assert sorted(path.name for one in _runs(run) for path in one.files.iterdir()) == [
        "report.html"
    ]


def test_a_run_of_the_user_in_the_same_process_is_left_alone(run: Run, tmp_path: Path) -> None:
    theirs = wandb.init(mode="offline", dir=tmp_path, settings=wandb.Settings(silent=True))
    tracker = _opened(run)
    tracker.sync(make_trial(ending=RunEnding.FINISHED))
    tracker.conclude(make_outcome())
    theirs.log({"mine": 1})
    assert wandb.run is theirs
    theirs.finish()
    wandb.teardown()
    (file,) = (tmp_path / "wandb").glob("offline-run-*")
    assert [point["mine"] for point in read_offline_run(file).history] == ["1"]


def test_a_resumed_search_continues_its_runs_without_duplicates(run: Run) -> None:
    before = _opened(run)
    before.sync(make_trial("t0000", ending=RunEnding.FINISHED))
    before.sync(make_trial("t0001", num_points=2))
    before.sync(make_trial("t0001", num_points=2, ending=RunEnding.KILLED))
    before.conclude(make_outcome(RunEnding.KILLED))
    num_before = len(_runs(run))
    time.sleep(1.1)  # a directory's name has the time in seconds
    after = _opened(run)
    after.sync(make_trial("t0000", ending=RunEnding.FINISHED))
    after.sync(make_trial("t0001", num_points=3))
    after.sync(make_trial("t0001", num_points=4, ending=RunEnding.FINISHED))
    after.conclude(make_outcome())
    old, new = _runs(run)[:num_before], _runs(run)[num_before:]
    assert {one.run_id for one in new} < {one.run_id for one in old}
    assert sorted(one.name for one in new) == ["my run", "t0001 search"]
    assert [_steps(one) for one in new if one.kind == "trial"] == [[300, 400]]
    killed = [one for one in old if one.name != "t0000 search"]
    assert [one.exit_code for one in killed] == [255, 255]


@pytest.mark.parametrize(
    "content",
    ["", '{"wandb": []}', '{"wandb": {"parent": "../x"}}', '{"wandb": {"parent": 3, "trials": 3}}'],
)
def test_a_damaged_file_of_ids_gives_a_new_parent(run: Run, content: str) -> None:
    (run.directory / STATE_FILE).write_text(content)
    tracker = WandbTracker(run)
    assert not tracker.attach()


def test_damaged_trials_in_the_file_are_sent_again(run: Run) -> None:
    trials = {"t0000": {"examples": "many"}, "t0001": 3, "t0002": {"examples": 100, "ending": ""}}
    ids = {"parent": "0123456789", "trials": trials}
    (run.directory / STATE_FILE).write_text(json.dumps({"wandb": ids}))
    tracker = WandbTracker(run)
    assert tracker.attach()
    tracker.sync(make_trial("t0000", ending=RunEnding.FINISHED))
    tracker.sync(make_trial("t0002", ending=RunEnding.FINISHED))
    tracker.conclude(make_outcome())
    assert [_steps(one) for one in _runs(run) if one.kind == "trial"] == [[100, 200], [200]]


class TestLogin:
    @pytest.fixture(autouse=True)
    def _nobody_is_logged_in(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        for name in ("WANDB_API_KEY", "WANDB_MODE"):
            monkeypatch.delenv(name, raising=False)
        wandb.teardown()  # which has read the environment

    def test_without_a_key_the_search_does_not_start(self) -> None:
        problem = problem_of_login()
        assert problem is not None
        assert problem.startswith("output.tracker is 'wandb', but it has no API key")
        assert "WANDB_MODE=offline" in problem

    def test_a_key_of_another_form_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WANDB_API_KEY", "short")
        problem = problem_of_login()
        assert problem is not None
        assert "WANDB_API_KEY invalid" in problem
        assert "\n" not in problem

    def test_offline_needs_no_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WANDB_MODE", "offline")
        assert problem_of_login() is None

    def test_with_a_key_no_server_is_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
        monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:1")
        assert problem_of_login() is None
