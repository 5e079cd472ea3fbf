"""The time budget of a search: when its trials must end for the confirmation to fit in, too."""

from dataclasses import dataclass, field

_SLACK_SHARE = 0.05
"""Of the budget, kept for trials to come to an evaluation; what trains on then is halted."""


@dataclass(kw_only=True)
class TimeBudget:
    """Deadlines in seconds since the search began; who tells the time passes it in."""

    seconds: float | None
    """None: no limit."""
    rows_before: int
    """Training rows seen by an earlier start."""
    now: float = field(default=0.0, init=False)
    """Seconds since the search began."""
    _first_trial: float | None = field(default=None, init=False)
    """When the first trial started."""
    _search_ends: float | None = field(default=None, init=False)
    _search_is_halted: bool = field(default=False, init=False)

    @property
    def slack(self) -> float:
        """Seconds that trials have after a deadline for coming to their next evaluation."""
        return _SLACK_SHARE * (self.seconds or 0.0)

    def pass_to(self, now: float) -> None:
        """Take the time."""
        self.now = now
        # For good: the flag that halts its trials does not come down again.
        self._search_is_halted |= self.is_late(of_search=True, by=self.slack)

    def start(self) -> None:
        """Take the start of a trial."""
        self._first_trial = self.now if self._first_trial is None else self._first_trial

    def is_late(self, *, of_search: bool, by: float = 0.0) -> bool:
        """Whether the time is up: of the search's own trials, or of all; `by` some seconds."""
        if self.seconds is None:
            return False
        ends = self.seconds - self.slack
        if of_search and self._search_ends is not None:
            ends = self._search_ends
        is_halted = of_search and self._search_is_halted and by <= self.slack
        return is_halted or self.now >= ends + by

    def measure(self, *, rows_seen: int, rows_to_confirm: int) -> None:
        """Take how far the search is, and leave the confirmation the time that it needs.

        A confirmation that would take more than half of the time does not fit in any case.

        Args:
            rows_seen: training rows seen by the trials of the search.
            rows_to_confirm: training rows that the confirmation will see.
        """
        began = self._first_trial
        if self.seconds is None or began is None:
            return
        ends = self.seconds - self.slack
        pace = (self.now - began) / max(rows_seen - self.rows_before, 1)
        self._search_ends = ends - min(rows_to_confirm * pace, (ends - began) / 2)
