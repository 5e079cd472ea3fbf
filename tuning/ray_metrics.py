"""Report a search to Ray's metrics, for Prometheus and Grafana.

The driver sets every gauge, with two labels: the run, and the slot of a running trial. Slots are
numbered from 0 and reused, so that a search has no more time series than concurrent trials.
"""

import math
from collections import Counter

from ray.util.metrics import Gauge

from results.rung_scores import mean
from results.score_names import BESIDE_THE_SCORE, OVERALL
from results.trial_states import Status
from tuning.observers import Observer
from tuning.ranking import Ranking
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

    def __init__(self, run: str, store: TrialStore, ranking: Ranking) -> None:
        """Make the gauges.

        Args:
            run: name of the run.
            store: all trials of the search.
            ranking: of the trials of the search.
        """
        self._store = store
        self._ranking = ranking
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
                description=f"Highest {label} of the search so far, at the highest rung that a"
                " trial reached, or at the full budget",
                tag_keys=(RUN,),
            )
            for name, label in {"score": "score", **_BESIDE}.items()
        }
        self._slots: dict[str, int] = {}
        self._level, self._highest = 0, dict[str, float]()
        for trial in store.searched:  # of an earlier start
            self._compare(trial)

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
        """Free the slot of the trial, count the trials, and compare its scores with the best."""
        slot = self._slots.pop(trial.trial_id, None)
        if slot is not None:
            self._of_trials["trial_number"].set(-1, self._tags(slot))
        self._count()
        self._compare(trial)

    def _count(self) -> None:
        counts = Counter(trial.status for trial in self._store)
        for state in Status:
            self._trials.set(counts[state], {**self._run, STATE: state.value})

    def _compare(self, trial: Trial) -> None:
        """Set the best scores of the search, if they are of this trial."""
        score = self._ranking.search_score(trial)
        is_ranked = not trial.is_confirmation and bool(self._ranking.ranked([trial]))
        if score is None or not is_ranked or score.level < self._level:
            return
        before = self._highest if score.level == self._level else {}
        found = {name: mean([getattr(e, name) for e in score.evaluations]) for name in self._best}
        self._highest = {name: max(found[name], before.get(name, found[name])) for name in found}
        self._level = score.level
        for name, gauge in self._best.items():
            gauge.set(self._highest[name], self._run)

    def _set(self, trial: Trial, name: str, value: float) -> None:
        slot = self._slots.get(trial.trial_id)
        if slot is not None and math.isfinite(value):
            self._of_trials[name].set(value, self._tags(slot))

    def _tags(self, slot: int) -> dict[str, str]:
        return {**self._run, SLOT: str(slot)}
