"""What the gauges of a search are set to; that they arrive is tested with a real dashboard."""

import math
from collections.abc import Mapping
from typing import Any

import pytest

from tests.tuning.builders import evaluation, trial
from tuning import telemetry
from tuning.telemetry import Telemetry


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
    monkeypatch.setattr(telemetry, "Gauge", found.make)
    return found


def test_slots_are_given_again_so_that_series_stay_few(gauges: Gauges) -> None:
    told = Telemetry("first")
    trials = [trial(number) for number in range(50)]
    for number, one in enumerate(trials):
        told.changed(trials[: number + 1])
        told.placed(one)
        one.evaluations.append(evaluation(100, 0.5))
        told.evaluated(one)
        one.status = "completed"
    told.changed(trials)
    assert set(gauges["trial_number"]) == {"first 0"}
    assert gauges["trial_number"]["first 0"] == -1
    assert set(gauges["f1_macro"]) == {"first 0"}
    assert gauges["trials"]["first completed"] == 50
    assert gauges["trials"]["first running"] == 0


def test_trials_at_once_have_slots_of_their_own(gauges: Gauges) -> None:
    told = Telemetry("first")
    trials = [trial(0), trial(1), trial(2)]
    told.changed(trials)
    for one in trials:
        told.placed(one)
    trials[1].status = "stopped"
    trials[1].evaluations.append(evaluation(100, 0.4))
    waiting = trial(4)
    told.changed([*trials, trial(3), waiting])
    told.placed(trial(3))
    assert gauges["trial_number"] == {"first 0": 0, "first 1": 3, "first 2": 2}


def test_the_best_is_of_the_search_and_of_full_trials_alone(gauges: Gauges) -> None:
    told = Telemetry("first")
    whole, cut, confirmed = trial(0), trial(1), trial(2, source="confirm", replicate=1)
    for one, score in ((whole, 0.5), (cut, 0.9), (confirmed, 0.8)):
        one.evaluations.append(evaluation(100, score))
        one.status = "stopped" if one is cut else "completed"
    told.changed([whole, cut, confirmed])
    assert gauges["best_f1_macro"] == {"first": 0.5}


def test_rows_a_second_are_those_since_the_evaluation_before(gauges: Gauges) -> None:
    told, one = Telemetry("first"), trial(0)
    told.placed(one)
    for examples, seconds, rate in ((100, 2.0, 50.0), (400, 3.0, 300.0)):
        one.evaluations.append(evaluation(examples, 0.5, seconds=seconds))
        told.evaluated(one)
        assert gauges["rows_per_second"] == {"first 0": rate}


def test_a_loss_that_is_not_finite_is_not_told(gauges: Gauges) -> None:
    told, one = Telemetry("first"), trial(0)
    told.placed(one)
    one.evaluations.append(evaluation(100, 0.1, eval_loss=math.nan))
    told.evaluated(one)
    assert gauges["eval_loss"] == {}
