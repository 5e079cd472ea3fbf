"""Measure the baseline on the validation rows of the search, in a process beside it.

The process is started as soon as the data are split and runs while Ray and its workers start. It
needs no slot of the search and yields to the trials. A baseline that cannot be measured is a
warning: the search has no line to beat then.
"""

import json
import logging
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from results.status_text import describe_baseline
from results.trial_states import SearchStatus
from training.data import PreparedData
from tuning.config import Configuration
from tuning.observers import Observer
from tuning.record import baseline_record
from tuning.run_files import RunFiles
from tuning.shipping_check import start_process

logger = logging.getLogger(__name__)

LONGEST_WAIT_S = 30.0
"""Seconds for which a search that has finished waits for the baseline."""


class BaselineMeasurement:
    """A process that fits the baseline; `start` gives it the rows, `record` has the scores."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._communicate, name="baseline", daemon=True)
        self._rows = ""
        self._output, self._errors = "", ""
        self._configuration: Configuration | None = None
        self._num_training_rows = 0

    def start(self, configuration: Configuration, data: PreparedData) -> None:
        """Start the process, and send it the training and validation rows from a thread.

        Args:
            configuration: of the search, with the labels of the data.
            data: split as the search splits them.
        """
        self._configuration = configuration
        self._num_training_rows = len(data.train.labels)
        self._rows = json.dumps(
            {
                "train_texts": data.train.texts,
                "train_labels": data.train.labels.tolist(),
                "validation_texts": data.validation.texts,
                "validation_labels": data.validation.labels.tolist(),
                "names": configuration.data.label_names,
                "seed": configuration.training.seed,
            }
        )
        self._process = start_process("training.baseline", stderr=subprocess.PIPE)
        self._thread.start()

    @property
    def is_started(self) -> bool:
        """Whether `start` was called; the process may have ended since."""
        return self._process is not None

    @property
    def is_running(self) -> bool:
        """Whether the process has started and not ended; cheap enough to ask in a loop."""
        return self._thread.is_alive()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until the process has ended, at most for some seconds; None: without a limit."""
        if self._process is not None:
            self._thread.join(seconds)

    def record(self) -> dict[str, Any] | None:
        """Return `baseline` of the record; None, after a warning: the process has failed."""
        assert self._process is not None
        assert self._configuration is not None
        if self._process.returncode or not self._output:
            reason = (self._errors.strip().splitlines() or [""])[-1]
            logger.warning(
                "the baseline could not be measured (%s); there is no line to beat",
                reason[:200] or f"its process ended with code {self._process.returncode}",
            )
            return None
        return baseline_record(
            self._configuration,
            num_training_rows=self._num_training_rows,
            **json.loads(self._output),
        )

    def observer(self, files: RunFiles, score_label: str) -> Observer:
        """Return the observer that adds the baseline to the files of a run."""
        return BaselineObserver(self, files, score_label=score_label)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._thread.join()

    def _communicate(self) -> None:
        assert self._process is not None
        self._output, self._errors = self._process.communicate(self._rows)
        self._rows = ""


@contextmanager
def baseline_measurement() -> Iterator[BaselineMeasurement]:
    """Return a measurement whose process ends with the `with` block."""
    measurement = BaselineMeasurement()
    try:
        yield measurement
    finally:
        measurement.close()


def measure_baseline(configuration: Configuration, data: PreparedData) -> dict[str, Any] | None:
    """Measure the baseline now, in a process of its own, and return `baseline` of the record.

    Returns:
        None, after a warning, if it cannot be measured.
    """
    with baseline_measurement() as measurement:
        measurement.start(configuration, data)
        measurement.wait()
        return measurement.record()


class BaselineObserver(Observer):
    """Writes the baseline into the record and the log once it is measured."""

    def __init__(
        self, measurement: BaselineMeasurement, files: RunFiles, *, score_label: str
    ) -> None:
        """Set the parts.

        Args:
            measurement: started; or not, where an earlier start has recorded the baseline.
            files: gets the baseline.
            score_label: label of the score, for people.
        """
        self._measurement = measurement
        self._files = files
        self._score_label = score_label
        self._is_pending = measurement.is_started

    def idle(self) -> None:
        """Record the baseline if its process has just ended."""
        if self._is_pending and not self._measurement.is_running:
            self._is_pending = False
            if (found := self._measurement.record()) is not None:
                self._files.add_baseline(found)
                logger.info("line to beat: %s", describe_measured(found, self._score_label))

    def closed(self, status: SearchStatus) -> None:
        """Record the baseline of a short search, which waits for it."""
        if status == SearchStatus.COMPLETED:
            self._measurement.wait(LONGEST_WAIT_S)
        self.idle()
        if self._is_pending and status == SearchStatus.COMPLETED:
            logger.warning("the search ended before the baseline was measured")


def describe_measured(baseline: Mapping[str, Any], score_label: str) -> str:
    """Describe a measured baseline for log and dry run: score, name, number of rows, seconds."""
    return (
        f"{describe_baseline(baseline, score_label)} on"
        f" {baseline['num_validation_rows']:,} validation rows, fitted on"
        f" {baseline['num_training_rows']:,} training rows in {baseline['seconds']:.1f} s"
    )
