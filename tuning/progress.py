"""What a driver measures while its search runs, for those who watch it."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tuning.decisions import Phase
from tuning.forecast import Outlook, seconds_left
from tuning.observers import Observer
from tuning.policy import Policy
from tuning.trials import Trial

_WINDOW_S = 60.0
"""The rows a second are those of the last minute, or since the last evaluation before it."""


@dataclass(kw_only=True)
class Progress(Observer):
    """Times of one start of a search, and what they say of the rest."""

    policy: Policy
    clock: Callable[[], float] = time.monotonic
    """Seconds, the time budget being counted from 0."""
    _began: dict[str, float] = field(default_factory=dict, init=False)
    _occupied: dict[str, float] = field(default_factory=dict, init=False)
    _at_once: int = field(default=0, init=False)
    _rows: int = field(default=0, init=False)
    """Training rows that were seen until the last evaluation."""
    _seen: deque[tuple[float, int]] = field(default_factory=deque, init=False)
    """Evaluations of the last minute and one before: (time, training rows seen by then)."""

    def started(self, trial: Trial) -> None:
        """Take a trial that a place is asked for."""
        self._began[trial.trial_id] = self.clock()
        self._at_once = max(self._at_once, len(self._began) - len(self._occupied))

    def evaluated(self, trial: Trial) -> None:
        """Take the last evaluation of a trial."""
        now, shown = self.clock(), [evaluation.examples for evaluation in trial.evaluations[-2:]]
        self._rows += shown[-1] - (shown[0] if len(shown) > 1 else 0)
        self._seen.append((now, self._rows))
        while len(self._seen) > 2 and self._seen[1][0] < now - _WINDOW_S:
            self._seen.popleft()

    def ended(self, trial: Trial) -> None:
        """Take a trial that has given its worker back."""
        began = self._began.get(trial.trial_id)
        if began is not None:
            self._occupied[trial.trial_id] = self.clock() - began

    def record(self) -> dict[str, Any]:
        """`progress` of the record of a running search."""
        left = seconds_left(self._outlook())
        phase = Phase.CONFIRMATION if self.policy.confirmation else Phase.SEARCH
        return {
            "phase": phase.value,
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "waiting": [t.trial_id for t in self.policy.store if self._waits(t)],
            "rows_per_second": self._rows_per_second(),
            "seconds_left": None if left is None else [round(end, 1) for end in left],
            "time_budget_s": self.policy.configuration.search.time_budget_s,
        }

    def _waits(self, trial: Trial) -> bool:
        return trial.is_running and trial.trial_id not in self._began

    def _rows_per_second(self) -> float | None:
        if len(self._seen) < 2:
            return None
        (before, rows_before), (now, rows) = self._seen[0], self._seen[-1]
        return round((rows - rows_before) / (now - before), 2) if now > before else None

    def _outlook(self) -> Outlook:
        policy = self.policy
        budget = policy.configuration.search.time_budget_s
        return Outlook(
            plan=policy.plan,
            search=policy.configuration.search,
            requested=policy.requested,
            trials=list(policy.store),
            slots=self._at_once,
            is_confirming=policy.phase != Phase.SEARCH,
            occupied=self._occupied,
            limit=None if budget is None else budget - self.clock(),
        )
