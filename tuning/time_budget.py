"""Compute the deadlines of a time budget, so that the confirmation has time left, too."""

from dataclasses import dataclass, field

_SLACK_SHARE = 0.05
"""Share of the budget in which trials may reach their next evaluation; then they are halted."""


@dataclass(kw_only=True)
class TimeBudget:
    """Deadlines in seconds since the search started; the caller passes the time in."""

    seconds: float | None
    """None: no limit."""
    rows_before: int
    """Training rows seen by earlier starts of the search."""
    now: float = field(default=0.0, init=False)
    """Seconds since the search started."""
    _first_trial: float | None = field(default=None, init=False)
    """When the first trial started."""
    _search_ends: float | None = field(default=None, init=False)
    _search_is_halted: bool = field(default=False, init=False)

    @property
    def slack(self) -> float:
        """Seconds after a deadline in which trials may reach their next evaluation."""
        return _SLACK_SHARE * (self.seconds or 0.0)

    def pass_to(self, now: float) -> None:
        """Set the time."""
        self.now = now
        # For good: the flag that halts its trials is never cleared.
        self._search_is_halted |= self.is_late(of_search=True, by=self.slack)

    def start(self) -> None:
        """Note the start of a trial."""
        self._first_trial = self.now if self._first_trial is None else self._first_trial

    def is_late(self, *, of_search: bool, by: float = 0.0) -> bool:
        """Return whether a deadline has passed.

        Args:
            of_search: that of the search's own trials; else that of all trials.
            by: seconds after the deadline.
        """
        if self.seconds is None:
            return False
        ends = self.seconds - self.slack
        if of_search and self._search_ends is not None:
            ends = self._search_ends
        is_halted = of_search and self._search_is_halted and by <= self.slack
        return is_halted or self.now >= ends + by

    def measure(self, *, rows_seen: int, rows_to_confirm: int) -> None:
        """Set the search's deadline so that the confirmation has the time that it needs.

        It gets at most half of the time: a confirmation that needs more does not fit anyway.

        Args:
            rows_seen: training rows seen by the trials of the search.
            rows_to_confirm: training rows that the confirmation will see.
        """
        started = self._first_trial
        if self.seconds is None or started is None:
            return
        ends = self.seconds - self.slack
        pace = (self.now - started) / max(rows_seen - self.rows_before, 1)
        self._search_ends = ends - min(rows_to_confirm * pace, (ends - started) / 2)
