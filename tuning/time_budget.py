"""The time budget of a search: when its trials must end for the confirmation to fit in, too."""

from dataclasses import dataclass, field

_SLACK_SHARE = 0.05
"""Of the budget, kept for trials to come to an evaluation; what trains on then is halted."""


@dataclass(kw_only=True)
class TimeBudget:
    """Deadlines in seconds since the search began, measured by whoever tells the time."""

    seconds: float | None
    """None: no limit."""
    rows_before: int
    """Training rows seen by an earlier start."""
    _first_trial: float | None = field(default=None, init=False)
    """When the first trial started."""
    _search_ends: float | None = field(default=None, init=False)

    @property
    def slack(self) -> float:
        """Seconds that trials have after a deadline for coming to their next evaluation."""
        return _SLACK_SHARE * (self.seconds or 0.0)

    @property
    def ends(self) -> float | None:
        """When every trial ends at its next evaluation, so that the budget is kept."""
        return None if self.seconds is None else self.seconds - self.slack

    @property
    def search_ends(self) -> float | None:
        """When the trials of the search do, so that the confirmation has its time."""
        return self.ends if self._search_ends is None else self._search_ends

    def start(self, now: float) -> None:
        """Take the start of a trial."""
        self._first_trial = now if self._first_trial is None else self._first_trial

    def measure(self, now: float, *, rows_seen: int, rows_to_confirm: int) -> None:
        """Take how far the search is, and leave the confirmation the time that it needs.

        A confirmation that would take more than half of the time does not fit in any case.

        Args:
            now: seconds since the search began.
            rows_seen: training rows seen by the trials of the search.
            rows_to_confirm: training rows that the confirmation will see.
        """
        ends, began = self.ends, self._first_trial
        if ends is None or began is None:
            return
        pace = (now - began) / max(rows_seen - self.rows_before, 1)
        self._search_ends = ends - min(rows_to_confirm * pace, (ends - began) / 2)
