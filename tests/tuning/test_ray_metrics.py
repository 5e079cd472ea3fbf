"""The values of a search's gauges; a test with a real dashboard checks that they arrive."""

import math
from collections.abc import Mapping
from typing import Any

import pytest

from results.trial_states import Status, StoppedBy
from tests.tuning.builders import completed, configuration, evaluation, policy, trial
from tuning import ray_metrics
from tuning.ray_metrics import RayMetrics
from tuning.trials import Ending, Trial, TrialStore
from tuning.workers import Worker

WORKER = Worker(node="a", address="10.0.0.1", node_id="0", process=7, actor_id="f00", gpu="")


class Gauges(dict[str, dict[str, float]]):
    """Values by metric and labels."""

    def make(self, name: str, **_about: Any) -> Any:
        values = self.setdefault(name.removeprefix("severity_search_"), {})

        class Gauge:
            def set(self, value: float, tags: Mapping[str, str]) -> None:
                values[" ".join(tags.values())] = value

        return Gauge()


@pytest.fixture
def gauges(monkeypatch: pytest.MonkeyPatch) -> Gauges:
    found = Gauges()
    monkeypatch.setattr(ray_metrics, "Gauge", found.make)
    return found


def end(metrics: RayMetrics, one: Trial, score: float) -> None:
    """Let a trial be evaluated once and end at its full budget."""
    one.add(evaluation(100, score))
    metrics.evaluated(one)
    one.end(Ending(status=Status.COMPLETED))
    metrics.ended(one)


def test_slots_are_reused_so_that_series_stay_few(gauges: Gauges) -> None:
    store = TrialStore()
    metrics = RayMetrics("first", store, policy().ranking)
    for number in range(50):
        one = trial(number)
        store.add(one)
        metrics.started(one)
        metrics.placed(one, WORKER)
        end(metrics, one, 0.5)
    assert set(gauges["trial_number"]) == {"first 0"}
    assert gauges["trial_number"]["first 0"] == -1
    assert set(gauges["f1_macro"]) == set(gauges["score"]) == {"first 0"}
    assert gauges["trials"]["first completed"] == 50
    assert gauges["trials"]["first running"] == 0


def test_concurrent_trials_have_slots_of_their_own(gauges: Gauges) -> None:
    trials = [trial(0), trial(1), trial(2)]
    store = TrialStore(trials)
    metrics = RayMetrics("first", store, policy().ranking)
    for one in trials:
        metrics.started(one)
        metrics.placed(one, WORKER)
    trials[1].add(evaluation(100, 0.4))
    trials[1].stop(StoppedBy.SCHEDULER)
    metrics.ended(trials[1])
    for one in (trial(3), trial(4)):  # the last one has no process yet
        store.add(one)
        metrics.started(one)
    metrics.placed(store["t0003"], WORKER)
    assert gauges["trial_number"] == {"first 0": 0, "first 1": 3, "first 2": 2}


def test_the_best_score_is_that_of_full_trials_where_trials_end_there(gauges: Gauges) -> None:
    whole, cut, confirmed = trial(0), trial(1), trial(2, source="confirm", replicate=1)
    without = policy(config=configuration(search={"confirm_replicates": 0}))
    metrics = RayMetrics("first", TrialStore([whole, cut, confirmed]), without.ranking)
    cut.add(evaluation(600, 0.9))
    cut.stop(StoppedBy.SCHEDULER)
    metrics.ended(cut)
    end(metrics, whole, 0.5)
    end(metrics, confirmed, 0.8)
    assert gauges["best_f1_macro"] == gauges["best_score"] == {"first": 0.5}


def test_the_best_score_is_the_mean_at_the_highest_rung_where_trials_end_at_the_last_one(
    gauges: Gauges,
) -> None:
    first, second, third = (trial(number) for number in range(3))
    metrics = RayMetrics("first", TrialStore([first, second, third]), policy().ranking)
    for one, scores in ((first, (0.9,)), (second, (0.1, 0.5, 0.7)), (third, (0.1, 0.5, 0.6))):
        for number, score in enumerate(scores, 1):
            one.add(evaluation(500 * number, score, accuracy=score / 2))
        one.stop(StoppedBy.CONFIRMATION if len(scores) == 3 else StoppedBy.SCHEDULER)
        metrics.ended(one)
        at_once = gauges["best_score"]["first"]
        assert at_once == pytest.approx(0.9 if one is first else 0.6)
    assert gauges["best_accuracy"]["first"] == pytest.approx(0.3)


def test_a_resumed_search_has_the_best_score_of_its_earlier_start(gauges: Gauges) -> None:
    trials = [completed(0, 0.5), trial(1), completed(2, 0.9, source="confirm")]
    RayMetrics("first", TrialStore(trials), policy().ranking)
    assert gauges["best_score"] == {"first": 0.5}


def test_rows_per_second_are_those_since_the_previous_evaluation(gauges: Gauges) -> None:
    metrics, one = _placed()
    for examples, seconds, rate in ((100, 2.0, 50.0), (400, 3.0, 300.0)):
        one.add(evaluation(examples, 0.5, seconds=seconds))
        metrics.evaluated(one)
        assert gauges["rows_per_second"] == {"first 0": rate}


def test_a_loss_that_is_not_finite_is_not_reported(gauges: Gauges) -> None:
    metrics, one = _placed()
    one.add(evaluation(100, 0.1, eval_loss=math.nan))
    metrics.evaluated(one)
    assert gauges["eval_loss"] == {}


def test_the_device_memory_of_a_trial_is_reported_where_it_is_known(gauges: Gauges) -> None:
    metrics, one = _placed()
    one.add(evaluation(100, 0.1))
    metrics.evaluated(one)
    assert gauges["device_memory_bytes"] == {}
    one.reserve(2**30)
    metrics.evaluated(one)
    assert gauges["device_memory_bytes"] == {"first 0": 2**30}


def _placed() -> tuple[RayMetrics, Trial]:
    one = trial(0)
    metrics = RayMetrics("first", TrialStore([one]), policy().ranking)
    metrics.placed(one, WORKER)
    return metrics, one
