"""How fast a phase goes, and when it must end for the next one to fit into the time budget."""

import time
from dataclasses import dataclass


@dataclass(kw_only=True)
class Pace:
    """How fast a phase gets through training rows, its workers' start told apart."""

    began: float
    """On the clock of `time.monotonic`."""
    rows_before: int
    """Training rows seen before it began."""
    start_up: float | None = None
    """Seconds up to the first evaluation."""

    def seconds_for(self, rows: int, rows_seen: int) -> float:
        """Seconds that a phase of `rows` would take, as this one has gone since it began."""
        elapsed = time.monotonic() - self.began
        self.start_up = elapsed if self.start_up is None else self.start_up
        return self.start_up + rows * elapsed / max(rows_seen - self.rows_before, 1)


def deadline_of_search(began: float, ends: float, needed: float) -> float:
    """When a search must end so that its confirmation ends in time.

    Args:
        began: when the first trial began, in seconds on any clock.
        ends: when the time budget is spent, on the same clock.
        needed: seconds that the confirmation takes.

    Returns:
        A moment not earlier than halfway between `began` and `ends`: a confirmation that would
        take longer does not fit in any case.
    """
    return ends - min(needed, (ends - began) / 2)
