"""Report a search to Ray's metrics, for Prometheus and Grafana.

The driver sets every gauge, with two labels: the run, and the slot of a running trial. Slots are
numbered from 0 and reused, so that a search has no more time series than concurrent trials.
"""

import math
from collections import Counter

from ray.util.metrics import Gauge

from results.score_names import BESIDE_THE_SCORE, OVERALL
from results.trial_states import Status
from tuning.observers import Observer
from tuning.trials import Trial, TrialStore
from tuning.workers import Worker

_BESIDE = {name: OVERALL[name] for name in BESIDE_THE_SCORE}

RUN, SLOT, STATE = "run", "slot", "state"

OF_TRIALS = {
    "trial_number": "Number of the trial that a slot runs: 3 is t0003; -1 when it runs none",
    "score": "Score of the last evaluation of the trial in a slot",
    **{
        name: f"{label} of the last evaluation of the trial in a slot"
        for name, label in _BESIDE.items()
    },
    "eval_loss": "Loss on the validation rows of the last evaluation of the trial in a slot",
    "train_loss": "Training loss since the previous evaluation of the trial in a slot",
    "rows_per_second": "Training rows per second between the last two evaluations of the trial",
    "device_memory_bytes": "Most device memory that the process of the trial has reserved",
}


class RayMetrics(Observer):
    """Sets the gauges of one search; Ray must be connected."""

    def __init__(self, run: str, store: TrialStore) -> None:
        """Make the gauges.

        Args:
            run: name of the run.
            store: all trials of the search.
        """
        self._store = store
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
        self._best = {
            name: Gauge(
                f"severity_search_best_{name}",
                description=f"Highest {label} of the search at the full budget so far",
                tag_keys=(RUN,),
            )
            for name, label in {"score": "score", **_BESIDE}.items()
        }
        self._slots: dict[str, int] = {}

    def started(self, trial: Trial) -> None:
        """Count the trials."""
        self._count()

    def placed(self, trial: Trial, worker: Worker) -> None:
        """Give the trial a slot."""
        if trial.trial_id not in self._slots:
            taken = set(self._slots.values())
            free = next(number for number in range(len(taken) + 1) if number not in taken)
            self._slots[trial.trial_id] = free
            self._set(trial, "trial_number", int(trial.trial_id[1:]))

    def evaluated(self, trial: Trial) -> None:
        """Set the gauges of the trial's slot to its last evaluation."""
        last = trial.evaluations[-1]
        before = trial.evaluations[-2] if len(trial.evaluations) > 1 else None
        seconds = last.seconds - (before.seconds if before else 0.0)
        rows = last.examples - (before.examples if before else 0)
        self._set(trial, "score", last.score)
        for name in _BESIDE:
            self._set(trial, name, getattr(last, name))
        self._set(trial, "eval_loss", last.eval_loss)
        self._set(trial, "train_loss", last.train_loss)
        if seconds > 0:
            self._set(trial, "rows_per_second", rows / seconds)
        if trial.device_memory:
            self._set(trial, "device_memory_bytes", trial.device_memory)

    def ended(self, trial: Trial) -> None:
        """Free the slot of the trial, and count the trials."""
        slot = self._slots.pop(trial.trial_id, None)
        if slot is not None:
            self._of_trials["trial_number"].set(-1, self._tags(slot))
        self._count()

    def _count(self) -> None:
        counts = Counter(trial.status for trial in self._store)
        for state in Status:
            self._trials.set(counts[state], {**self._run, STATE: state.value})
        finals = [trial.final for trial in self._store.searched if trial.final is not None]
        full = [final for final in finals if not final.collapsed]
        for name, gauge in self._best.items() if full else ():
            gauge.set(max(getattr(final, name) for final in full), self._run)

    def _set(self, trial: Trial, name: str, value: float) -> None:
        slot = self._slots.get(trial.trial_id)
        if slot is not None and math.isfinite(value):
            self._of_trials[name].set(value, self._tags(slot))

    def _tags(self, slot: int) -> dict[str, str]:
        return {**self._run, SLOT: str(slot)}
