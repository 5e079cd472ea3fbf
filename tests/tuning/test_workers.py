"""The processes that trials run in: one experiment keeps them from the first to the last trial."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from ray.tune.execution.tune_controller import TuneController
from ray.tune.utils.object_cache import _ObjectCache

from tests.tuning.deciding import driver_of, policy_of
from tests.tuning.searching import Run, search
from tests.tuning.test_driver import next_id
from tuning.ray_tune import DrivenScheduler, KeptWorkers

SEARCH = [
    *("--config", "ci", "--trials", "3", "--search.scheduler", "none", "--training.epochs", "2"),
    *("--search.confirm_top", "1", "--search.confirm_replicates", "2"),
]


KIND = "1 CPU"
"""The resources by which Tune groups its workers."""


class FakeController:
    """Tune's controller as a scheduler sees it; the cache is Tune's own."""

    def __init__(self) -> None:
        self._tune_controller = self
        self._actor_cache = _ObjectCache(may_keep_one=True)


def num_kept(controller: FakeController, num_free: int) -> int:
    """How many of some free workers Tune keeps; the rest it would end."""
    cache = controller._actor_cache
    taken = [cache.cache_object(KIND, n) for n in range(num_free)]
    return sum(taken) - len(list(cache.flush_cached_objects()))


def test_tune_keeps_one_free_worker_by_itself_and_as_many_as_are_asked_for() -> None:
    assert num_kept(FakeController(), 3) == 1
    controller, kept = FakeController(), KeptWorkers()
    kept.set_resources(KIND)
    kept.keep(controller, 3)
    assert num_kept(controller, 4) == 3


def test_workers_that_are_not_needed_any_more_are_let_go() -> None:
    controller, kept = FakeController(), KeptWorkers()
    kept.set_resources(KIND)
    kept.keep(controller, 4)
    assert num_kept(controller, 4) == 4
    kept.keep(controller, 2)
    assert len(list(controller._actor_cache.flush_cached_objects())) == 2


def test_the_scheduler_updates_at_each_step_how_many_workers_are_kept() -> None:
    share, controller = 4, FakeController()
    driver = driver_of(policy_of(trials=9), capacity=lambda: share)
    next_id(driver)
    scheduler = DrivenScheduler(driver)
    scheduler.on_trial_add(controller, SimpleNamespace(placement_group_factory=KIND))
    scheduler.choose_trial_to_run(controller)
    assert num_kept(controller, 4) == 3
    share = 2  # another search has joined
    scheduler.choose_trial_to_run(controller)
    assert len(list(controller._actor_cache.flush_cached_objects())) == 2


def test_tune_s_controller_still_has_the_cache_that_is_used() -> None:
    assert "_actor_cache" in TuneController.__init__.__code__.co_names


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Run]:
    """By trials at once, the same search."""
    directory, found = tmp_path_factory.mktemp("workers"), {}
    for num in (1, 2):
        ended, run = search(
            directory, f"at-once-{num}", *SEARCH, "--search.max_concurrent", str(num)
        )
        assert ended.returncode == 0, ended.stderr
        found[num] = run
    return found


def workers_of(directory: Path) -> pd.DataFrame:
    return pd.read_csv(directory / "workers.csv")


@pytest.mark.slow
@pytest.mark.parametrize("num", [1, 2])
@pytest.mark.long
def test_a_search_and_its_confirmation_run_in_the_same_processes(
    runs: dict[int, Run], num: int
) -> None:
    workers = workers_of(runs[num].directory)
    assert workers["process"].nunique() == num
    assert len(workers) == len(runs[num].trials)


@pytest.mark.slow
def test_without_a_scheduler_a_search_repeats_at_any_concurrency_its_confirmation_too(
    runs: dict[int, Run],
) -> None:
    assert all(run.record["repeatable"] for run in runs.values())
    one, two = (runs[num].trials.drop(columns="seconds") for num in (1, 2))
    pd.testing.assert_frame_equal(one, two)
    assert (one["source"] == "confirm").sum() == 4
