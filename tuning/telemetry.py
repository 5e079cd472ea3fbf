"""What Ray's metrics tell of a search, for Prometheus and Grafana.

All of it is told by the driver, with two labels: the run, and the slot that a trial has while it
runs. Slots are numbered from 0 and given again, so that no search makes more series than it has
trials at once, however many it tries.
"""

import math
from collections import Counter
from collections.abc import Iterable
from typing import get_args

from ray.util.metrics import Gauge

from tuning.trials import Status, Trial

RUN, SLOT, STATE = "run", "slot", "state"

OF_TRIALS = {
    "trial_number": "Number of the trial that a slot runs: 3 is t0003; -1 when it runs none",
    "f1_macro": "Macro-F1 of the last evaluation of the trial in a slot",
    "eval_loss": "Loss on the validation rows of the last evaluation of the trial in a slot",
    "train_loss": "Training loss since the evaluation before of the trial in a slot",
    "rows_per_second": "Training rows a second between the last two evaluations of the trial",
    "device_memory_bytes": "Most device memory that the process of the trial has reserved",
}


class Telemetry:
    """Gauges of one search; Ray must be connected."""

    def __init__(self, run: str) -> None:
        """Make the gauges.

        Args:
            run: the run's name.
        """
        self._run = {RUN: run}
        self._of_trials = {
            name: Gauge(f"severity_search_{name}", description=text, tag_keys=(RUN, SLOT))
            for name, text in OF_TRIALS.items()
        }
        self._trials = Gauge(
            "severity_search_trials",
            description="Trials by state, confirmations included",
            tag_keys=(RUN, STATE),
        )
        self._best = Gauge(
            "severity_search_best_f1_macro",
            description="Highest macro-F1 of the search at the full budget so far",
            tag_keys=(RUN,),
        )
        self._slots: dict[str, int] = {}

    def placed(self, trial: Trial) -> None:
        """Take a trial that begins, or goes on, in a process."""
        if trial.trial_id not in self._slots:
            taken = set(self._slots.values())
            free = next(number for number in range(len(taken) + 1) if number not in taken)
            self._slots[trial.trial_id] = free
            self._set(trial, "trial_number", int(trial.trial_id[1:]))

    def evaluated(self, trial: Trial) -> None:
        """Take the last evaluation of a running trial."""
        last = trial.evaluations[-1]
        before = trial.evaluations[-2] if len(trial.evaluations) > 1 else None
        seconds = last.seconds - (before.seconds if before else 0.0)
        rows = last.examples - (before.examples if before else 0)
        self._set(trial, "f1_macro", last.f1_macro)
        self._set(trial, "eval_loss", last.eval_loss)
        self._set(trial, "train_loss", last.train_loss)
        if seconds > 0:
            self._set(trial, "rows_per_second", rows / seconds)

    def reserved(self, trial: Trial, num_bytes: int) -> None:
        """Take the device memory of a running trial."""
        self._set(trial, "device_memory_bytes", num_bytes)

    def changed(self, trials: Iterable[Trial]) -> None:
        """Take all trials that have begun, after one of them began or ended."""
        trials = list(trials)
        running = {trial.trial_id for trial in trials if trial.status == "running"}
        for trial_id in self._slots.keys() - running:
            self._of_trials["trial_number"].set(-1, self._tags(self._slots.pop(trial_id)))
        counts = Counter(trial.status for trial in trials)
        for state in get_args(Status):
            self._trials.set(counts[state], {**self._run, STATE: state})
        full = [t for t in trials if t.status == "completed" and t.source != "confirm"]
        if full:
            self._best.set(max(t.evaluations[-1].f1_macro for t in full), self._run)

    def _set(self, trial: Trial, name: str, value: float) -> None:
        slot = self._slots.get(trial.trial_id)
        if slot is not None and math.isfinite(value):
            self._of_trials[name].set(value, self._tags(slot))

    def _tags(self, slot: int) -> dict[str, str]:
        return {**self._run, SLOT: str(slot)}
