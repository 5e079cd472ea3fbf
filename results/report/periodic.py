"""The report of a running search, rewritten seldom enough to cost next to nothing."""

import time

from results.report.page import write_report
from results.run import Run

_SECONDS_BETWEEN = 60.0
_SHARE_OF_TIME = 0.02
"""Most of the time that goes into reports: their page grows with the trials."""


class PeriodicReport:
    """Rewrites `report.html` from the run's files."""

    def __init__(self, run: Run) -> None:
        """Take the run; nothing is written yet."""
        self._run = run
        self._due = float("-inf")

    def update(self) -> None:
        """Write it if it is due.

        Raises:
            OSError: the file cannot be written.
        """
        began = time.monotonic()
        if began < self._due:
            return
        write_report(self._run, self._run.read_record())
        ended = time.monotonic()
        self._due = ended + max(_SECONDS_BETWEEN, (ended - began) / _SHARE_OF_TIME)
