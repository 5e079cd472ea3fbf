"""Trials whose worker or process Ray lost, from what Tune reports."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import tune
from ray.tune.experiment import Trial as RayTrial

from results.trial_states import Status
from tests.tuning.builders import evaluation
from tests.tuning.deciding import driver_of, policy_of
from tests.tuning.searching import ROOT
from tests.tuning.test_driver import HERE, complete, next_id
from tuning.driver import Driver
from tuning.observers import Observer
from tuning.ray_tune import LostTrials, run_with_ray
from tuning.trainable import ENDING, EVALUATION, TRIAL_ID, WORKER
from tuning.trials import Ending, Phase, Trial
from tuning.workers import Worker


@dataclass
class FakeTuneTrial:
    """A trial as Tune hands it to a callback."""

    trial_id: str
    config: dict[str, str]
    status: str = RayTrial.ERROR
    num_failures: int = 1
    max_failures: int = 3
    error_file: str | None = None


def given(trial_id: str, number: int = 0) -> Any:
    """Return one of our trials as Tune's trial of a number."""
    return FakeTuneTrial(trial_id=f"tune-{number}", config={TRIAL_ID: trial_id})


def test_a_trial_whose_worker_was_lost_before_it_started_starts_again() -> None:
    driver = driver_of(policy_of())
    first, second = next_id(driver), next_id(driver)
    LostTrials(driver).on_trial_error(0, [], given(first))
    assert next_id(driver) == first
    assert driver.policy.num_live == 2
    assert driver.policy.store[second].is_running


def test_a_trial_whose_worker_is_lost_again_and_again_fails() -> None:
    driver = driver_of(policy_of())
    lost = LostTrials(driver)
    for number in range(4):
        assert next_id(driver) == "t0000"
        assert driver.policy.store["t0000"].is_running
        lost.on_trial_error(0, [], given("t0000", number))
    assert driver.policy.store["t0000"].status == "failed"
    assert next_id(driver) == "t0001"


def test_a_trial_that_had_started_fails_when_tune_gives_it_up() -> None:
    driver = driver_of(policy_of())
    trial_id = next_id(driver)
    driver.placed(trial_id, HERE)
    LostTrials(driver).on_trial_error(0, [], given(trial_id))
    assert driver.policy.store[trial_id].status == "failed"
    assert "was lost 1 times" in driver.policy.store[trial_id].error


def test_what_tune_lists_as_an_error_is_settled_once() -> None:
    driver = driver_of(policy_of())
    lost, listed = LostTrials(driver), given(next_id(driver))
    lost.on_step_end(0, [listed])
    assert next_id(driver) == "t0000"
    for _ in range(9):
        lost.check()  # Tune's list still holds it
    lost.on_trial_complete(0, [listed], listed)
    driver.placed("t0000", HERE)
    complete(driver, "t0000", 0.5)
    assert driver.policy.store["t0000"].status == "completed"


def test_a_trial_whose_worker_is_lost_while_the_search_is_interrupted_is_left_to_a_resume() -> None:
    driver = driver_of(policy_of())
    trial_id = next_id(driver)
    driver.interrupt()
    LostTrials(driver).on_trial_error(0, [], given(trial_id))
    assert driver.policy.store[trial_id].is_running
    assert driver.is_finished  # nobody has to write a checkpoint


def test_a_trial_whose_worker_is_lost_after_the_deadline_is_closed_with_the_search() -> None:
    now = 0.0
    driver = driver_of(policy_of(time_budget_s=100, confirm_replicates=0), clock=lambda: now)
    trial_id = next_id(driver)
    now = 96.0
    driver.idle()
    LostTrials(driver).on_trial_error(0, [], given(trial_id))
    assert driver.policy.store[trial_id].stopped_by == "end of search"
    assert driver.policy.phase == Phase.FINISHED


class Killer(Observer):
    """Kills the free worker of trial 0 after its end, while another trial trains in another one."""

    def __init__(self) -> None:
        self.processes: dict[str, list[int]] = {}
        self.killed: list[int] = []

    def placed(self, trial: Trial, worker: Worker) -> None:
        self.processes.setdefault(trial.trial_id, []).append(worker.process)

    def ended(self, trial: Trial) -> None:
        if trial.trial_id == "t0000":
            threading.Timer(1.0, self._kill, self.processes["t0000"]).start()

    def _kill(self, process: int) -> None:
        os.kill(process, signal.SIGKILL)
        self.killed.append(process)


@pytest.fixture
def two_workers() -> Iterator[None]:
    """A Ray of its own that holds two trials."""
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
    )
    yield
    ray.shutdown()


def train_for(seconds: dict[str, float]) -> Any:
    """Return a trainable that sleeps for these seconds by trial, else 0.5 s, then has a score."""
    last = json.dumps(asdict(evaluation(3000, 0.5)))
    ended = Ending(status=Status.COMPLETED, seconds=1.0).to_json()
    here = asdict(HERE)

    def train(config: dict[str, Any]) -> None:
        tune.report({WORKER: json.dumps(here | {"process": os.getpid()})})
        time.sleep(seconds.get(config[TRIAL_ID], 0.5))
        tune.report({EVALUATION: last})
        tune.report({ENDING: ended})

    return train


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("two_workers")
@pytest.mark.long
def test_a_search_continues_where_a_free_worker_died(tmp_path: Path) -> None:
    policy = policy_of(
        trials=2, scheduler="none", confirm_top=1, confirm_replicates=2, confirm_max_replicates=2
    )
    killer, started = Killer(), time.monotonic()
    driver: Driver = driver_of(
        policy, killer, capacity=lambda: 2, clock=lambda: time.monotonic() - started
    )
    run_with_ray(
        driver,
        train_for({"t0000": 6.0, "t0001": 12.0}),
        resources={"cpu": 1.0},
        max_failures=3,
        storage_path=str(tmp_path),
        name="search",
    )
    assert killer.killed == [killer.processes["t0000"][0]]
    assert killer.killed != killer.processes["t0001"]  # which trained in the other one
    assert policy.phase == Phase.FINISHED
    assert {trial.status for trial in policy.store} == {"completed"}
    assert len(policy.store) == 6
