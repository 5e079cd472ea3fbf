"""Send a search to its tracker in a thread: nothing waits on a network, and no failure ends it."""

import logging
import threading
import time
from collections.abc import Mapping

from results.tracking import (
    Outcome,
    TrackedTrial,
    Tracker,
    Value,
    describe_error,
    tracker_name,
)

logger = logging.getLogger(__name__)

_THREAD = "tracker"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 2.0, 60.0


class TrackerThread:
    """Sends the newest state of each trial, in the order in which trials first changed.

    A tracker that is slower than the search is sent several points at once, so that at most one
    state a trial waits. After an error the states wait too, and are sent once the tracker answers
    again.
    """

    def __init__(self, tracker: Tracker, kind: str, parameters: Mapping[str, Value]) -> None:
        """Start the thread.

        Args:
            tracker: sends; the thread alone uses it.
            kind: `mlflow` or `wandb`.
            parameters: of the search.
        """
        self._tracker = tracker
        self._name = tracker_name(kind)
        self._parameters = parameters
        self._changed = threading.Condition()
        self._waiting: dict[str, TrackedTrial] = {}
        self._running: set[str] = set()
        self._outcome: Outcome | None = None
        self._ends_at = float("inf")
        self._is_open = False
        self._has_ended = False
        self._num_errors = self._num_missing = 0
        self._last_error = ""
        _silence_retries()
        self._thread = threading.Thread(target=self._send_all, name=_THREAD, daemon=True)
        self._thread.start()

    def submit(self, trial: TrackedTrial) -> None:
        """Send a trial as it is now; it replaces an older state that still waits; never blocks."""
        with self._changed:
            self._waiting[trial.trial_id] = trial
            (self._running.discard if trial.ending else self._running.add)(trial.trial_id)
            self._changed.notify()

    def close(self, outcome: Outcome, timeout_s: float) -> None:
        """Send what waits and the outcome, for at most `timeout_s` seconds; log what is missing."""
        with self._changed:
            if self._outcome is not None:
                return
            self._outcome = outcome
            self._ends_at = time.monotonic() + timeout_s
            self._changed.notify()
        self._thread.join(timeout_s)
        num_missing = len(self._waiting) + self._num_missing
        if not self._has_ended or num_missing:
            logger.warning(
                "%s lacks %sthe newest state of %d trials%s; the run's own files are complete",
                *(self._name, "" if self._has_ended else "the end of the search and "),
                *(num_missing, self._last_error and f" ({self._last_error})"),
            )
        elif self._num_errors:
            logger.info("%s answered again: nothing is missing there", self._name)

    def _send_all(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._has_ended and time.monotonic() < self._ends_at:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting) or self._is_ending)
            try:
                self._send_next()
                pause_s = _FIRST_PAUSE_S
            except Exception as error:  # whatever a library raises
                self._note(error)
                self._pause(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _send_next(self) -> None:
        """Send one trial, or the outcome if none waits."""
        with self._changed:
            running = sorted(self._running)
            trial = next(iter(self._waiting.values()), None)
        if not self._is_open:
            self._tracker.open(self._parameters, running)
            self._is_open = True
        if trial is not None:
            self._send(trial)
        elif self._outcome is not None:
            self._tracker.conclude(self._outcome)
            self._has_ended = True

    def _send(self, trial: TrackedTrial) -> None:
        """Send a trial; after an error it waits behind the others, unless the search has ended."""
        is_sent = False
        try:
            self._tracker.sync(trial)
            is_sent = True
        finally:
            with self._changed:
                newest = self._waiting.pop(trial.trial_id)
                if newest is not trial or not (is_sent or self._is_ending):
                    self._waiting[trial.trial_id] = newest
                elif not is_sent:
                    self._num_missing += 1

    @property
    def _is_ending(self) -> bool:
        return self._outcome is not None

    def _pause(self, seconds: float) -> None:
        with self._changed:
            if self._is_ending:
                seconds = min(seconds, 1.0)
            is_ending = self._is_ending
            self._changed.wait_for(lambda: self._is_ending != is_ending, seconds)

    def _note(self, error: Exception) -> None:
        """Warn of the first error; after any, the tracker is opened anew."""
        self._is_open = False
        self._num_errors += 1
        self._last_error = describe_error(error)
        if self._num_errors == 1:
            logger.warning(
                "%s cannot be used at the moment (%s); the search continues without it, and sends"
                " what is missing once it answers",
                *(self._name, self._last_error),
            )


def conclude(tracker: Tracker, kind: str, outcome: Outcome, *, timeout_s: float) -> None:
    """Add an outcome to the parent that a search made, if there is one; warn of an error.

    Args:
        tracker: sends.
        kind: `mlflow` or `wandb`.
        outcome: is added.
        timeout_s: seconds after which nobody waits any longer.
    """
    problems = [f"no answer in {timeout_s:.0f} s"]

    def send() -> None:
        try:
            if tracker.attach():
                tracker.conclude(outcome)
            problems.clear()
        except Exception as error:  # whatever a library raises
            problems[:] = [describe_error(error)]

    _silence_retries()
    thread = threading.Thread(target=send, name=_THREAD, daemon=True)
    thread.start()
    thread.join(timeout_s)
    if problems:
        logger.warning("%s lacks the test scores (%s)", tracker_name(kind), problems[0])


def _silence_retries() -> None:
    """Drop urllib3's warnings of each retry in this thread: one warning is enough."""
    logging.getLogger("urllib3.connectionpool").addFilter(_is_of_others)


def _is_of_others(record: logging.LogRecord) -> bool:
    return record.threadName != _THREAD
