"""The baseline is measured in a process beside the search, and never ends it."""

import logging
import time
from pathlib import Path

import psutil
import pytest
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from results.run import Run
from results.trial_states import SearchStatus
from tests.tuning.builders import configuration, files_of
from training.baseline import NAME, fit
from training.data import PreparedData, prepare
from tuning import baseline_measurement as module
from tuning.baseline_measurement import (
    BaselineMeasurement,
    BaselineObserver,
    baseline_measurement,
    describe_measured,
    measure_baseline,
)
from tuning.config import Configuration, with_data

METRIC = "mcc"


@pytest.fixture(scope="module")
def data() -> PreparedData:
    return prepare(configuration().data)


@pytest.fixture(scope="module")
def config(data: PreparedData) -> Configuration:
    return with_data(configuration(search={"metric": METRIC}), data.config)


def _children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


def test_the_scores_are_those_of_the_baseline_on_the_validation_rows_of_the_search(
    config: Configuration, data: PreparedData
) -> None:
    found = measure_baseline(config, data)
    assert found is not None
    train, held = data.train, data.validation
    fitted = fit(
        train.texts, train.labels, names=config.data.label_names, seed=config.training.seed
    )
    predictions = fitted.predict(held.texts)
    macro = f1_score(held.labels, predictions, average="macro")
    assert (found["name"], found["f1_macro"]) == (NAME, pytest.approx(macro, abs=1e-12))
    assert found["accuracy"] == pytest.approx(accuracy_score(held.labels, predictions), abs=1e-12)
    correlation = matthews_corrcoef(held.labels, predictions)
    assert found["score"] == pytest.approx(correlation, abs=1e-12)
    assert found["num_training_rows"] == len(train.labels)
    assert found["num_validation_rows"] == len(held.labels)
    again = measure_baseline(config, data)
    assert again is not None
    assert {**again, "seconds": 0} == {**found, "seconds": 0}


def _wait(measurement: BaselineMeasurement) -> None:
    measurement.wait()
    assert not measurement.is_running


def test_the_baseline_is_recorded_and_logged_once_while_the_search_runs(
    config: Configuration, data: PreparedData, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    run = Run(tmp_path)
    files, _ = files_of(run)
    files.write()
    assert run.read_record()["baseline"] is None
    with baseline_measurement() as measurement:
        measurement.start(config, data)
        observer = BaselineObserver(measurement, files, score_label="Matthews correlation")
        observer.idle()
        _wait(measurement)
        for _ in range(2):
            observer.idle()
        files.write()
    found = run.read_record()["baseline"]
    (line,) = caplog.messages
    assert line == f"line to beat: {describe_measured(found, 'Matthews correlation')}"
    assert f"Matthews correlation {found['score']:.4f} by {NAME} on" in line


def test_a_process_that_fails_is_a_warning_and_null(
    config: Configuration, data: PreparedData, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files, _ = files_of(Run(tmp_path))
    with baseline_measurement() as measurement:
        before = _children()
        measurement.start(config, data)
        for pid in _children() - before:
            psutil.Process(pid).kill()
        observer = BaselineObserver(measurement, files, score_label="macro-F1")
        _wait(measurement)
        observer.closed(SearchStatus.COMPLETED)
    assert files.record()["baseline"] is None
    (line,) = caplog.messages
    assert line.startswith("the baseline could not be measured (its process ended with code -9)")


def test_a_search_that_ends_first_ends_the_process_and_waits_only_if_it_completed(
    config: Configuration,
    data: PreparedData,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files, _ = files_of(Run(tmp_path))
    before = _children()
    with baseline_measurement() as measurement:
        measurement.start(config, data)
        observer = BaselineObserver(measurement, files, score_label="macro-F1")
        started = time.monotonic()
        observer.closed(SearchStatus.INTERRUPTED)
        assert time.monotonic() - started < 0.5
        monkeypatch.setattr(module, "LONGEST_WAIT_S", 0.0)
        observer.closed(SearchStatus.COMPLETED)
    assert _children() == before
    assert caplog.messages == ["the search ended before the baseline was measured"]
    with baseline_measurement() as measurement:  # a resumed search that knows its baseline
        observer = BaselineObserver(measurement, files, score_label="macro-F1")
        observer.closed(SearchStatus.COMPLETED)
    assert len(caplog.messages) == 1
