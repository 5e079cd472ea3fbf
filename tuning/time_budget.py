"""Compute the deadlines of a time budget, so that the confirmation has time left, too."""

from dataclasses import dataclass, field

from tuning.config import SearchConfig
from tuning.confirmation_rule import most_trainings

SLACK_SHARE = 0.05
"""Share of the budget in which trials may reach their next evaluation; then they are halted."""
_SHARE_OF_ALL = 0.5
"""Most of the time that the confirmation of all finalists may take from the search."""
_SHARE_OF_ONE = 0.8
"""Most of the time that the confirmation of one finalist may take: without it there is no
verdict."""
_MARGIN = 1.35
"""The time that is left to the confirmation over the one that it is expected to take: trials of the
search end late, and the last trainings do not fill all slots."""


@dataclass(kw_only=True)
class TimeBudget:
    """Deadlines in seconds since the search started; the caller passes the time in."""

    search: SearchConfig
    """With the budget; None: no limit."""
    rows_of_training: int
    """Training rows that a confirming training sees."""
    now: float = field(default=0.0, init=False)
    """Seconds since the search started."""
    _first_trial: float | None = field(default=None, init=False)
    """When the first trial started."""
    _first_measured: tuple[float, int] | None = field(default=None, init=False)
    """When it was measured first, and the training rows seen by then; before, workers start."""
    _pace: float | None = field(default=None, init=False)
    """Seconds per training row of all slots together."""
    _search_ends: float | None = field(default=None, init=False)
    _search_is_halted: bool = field(default=False, init=False)

    @property
    def slack(self) -> float:
        """Seconds after a deadline in which trials may reach their next evaluation."""
        return SLACK_SHARE * (self.search.time_budget_s or 0.0)

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
        ends = self._ends
        if ends is None:
            return False
        if of_search and self._search_ends is not None:
            ends = self._search_ends
        is_halted = of_search and self._search_is_halted and by <= self.slack
        return is_halted or self.now >= ends + by

    def measure(self, rows_seen: int, *, has_challenger: bool) -> None:
        """Set the search's deadline so that the confirmation has the time that it needs.

        There is none before a challenger has ended with a score: nothing could be confirmed.

        For all finalists it gets at most half of the time; where that is not enough for one of
        them, it gets what one needs.

        Args:
            rows_seen: training rows seen by the trials of the search.
            has_challenger: whether a trial other than trial 0 has a score.
        """
        started, ends = self._first_trial, self._ends
        if ends is None or started is None:
            return
        if self._first_measured is None:
            self._first_measured = self.now, rows_seen
        before, rows_before = self._first_measured
        if self.now > before:
            self._pace = (self.now - before) / max(rows_seen - rows_before, 1)
        if has_challenger and self._pace is not None:
            span, most = ends - started, self.search.num_finalists
            of_all = min(self._seconds_to_confirm(most), _SHARE_OF_ALL * span)
            of_one = min(self._seconds_to_confirm(1), _SHARE_OF_ONE * span)
            self._search_ends = ends - max(of_all, of_one)

    def num_finalists(self) -> int:
        """Return how many finalists can be confirmed in the time that is left, at least one."""
        most, ends = self.search.num_finalists, self._ends
        if ends is None or self._pace is None:
            return most
        left = ends - self.now
        fits = (num for num in range(most, 1, -1) if self._seconds_to_confirm(num) <= left)
        return next(fits, 1)

    @property
    def _ends(self) -> float | None:
        budget = self.search.time_budget_s
        return None if budget is None else budget - self.slack

    def _seconds_to_confirm(self, num_finalists: int) -> float:
        """Return the time until the first replicate at which a finalist can win."""
        replicates = self.search.confirm_replicates
        num = most_trainings(self.search, up_to=replicates, num_finalists=num_finalists)
        return _MARGIN * num * self.rows_of_training * (self._pace or 0.0)
