"""Everything that watches a search, told in one way: files, log, TensorBoard, metrics, terminal.

As the callbacks of Syne Tune's tuner: an observer takes what happens and decides nothing.
"""

from results.trial_states import SearchStatus
from tuning.trials import Phase, Trial
from tuning.workers import Worker


class Observer:
    """Takes what happens in a search; a subclass overrides what it is interested in.

    An OSError that a method raises ends the search; nothing else may be raised.
    """

    def started(self, trial: Trial) -> None:
        """Take a trial that starts, or continues after a resume; a worker is asked for."""

    def placed(self, trial: Trial, worker: Worker) -> None:
        """Take the process that a trial runs in from now on."""

    def evaluated(self, trial: Trial) -> None:
        """Take the last evaluation of a trial."""

    def ended(self, trial: Trial) -> None:
        """Take a trial that has finished, for good."""

    def phase_changed(self, phase: Phase) -> None:
        """Take what the search is at from now on."""

    def closed(self, status: SearchStatus) -> None:
        """Take the end of the search in this process; nothing follows."""

    def idle(self) -> None:
        """Do what is due; called many times a second."""
